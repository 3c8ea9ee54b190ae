//! Shapes, tensor types, host tensors, and the arithmetic of sliding windows: the only place that works out the output size of a
//! convolution or pooling.

use crate::error::{Error, Result};
use std::fmt;

/// Largest number of elements of a tensor: shaders index with `u32` and do signed differences.
pub const MAX_ELEMENTS: usize = i32::MAX as usize;

/// The class index of what has no class, as pixels that nobody labelled: it has no loss, and metrics don't count it.
pub const UNLABELLED: u32 = u32::MAX - 1;

/// The lengths of a tensor's dimensions, outermost first; the last is contiguous in memory. Activations are `[n, h, w, c]`.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Shape(Vec<usize>);

impl Shape {
    /// A shape with these dimensions.
    pub fn new(dims: impl Into<Vec<usize>>) -> Self {
        Shape(dims.into())
    }

    /// The dimensions.
    pub fn dims(&self) -> &[usize] {
        &self.0
    }

    /// Number of dimensions.
    pub fn rank(&self) -> usize {
        self.0.len()
    }

    /// Number of elements. Shapes that come from outside go through [`Shape::checked`] first, so this can't overflow.
    pub fn elements(&self) -> usize {
        self.0.iter().product()
    }

    /// Length of the last dimension, 1 for a scalar.
    pub fn last(&self) -> usize {
        self.0.last().copied().unwrap_or(1)
    }

    /// This shape with `n` before its dimensions.
    pub fn with_batch(&self, n: usize) -> Shape {
        let mut dims = vec![n];
        dims.extend_from_slice(&self.0);
        Shape(dims)
    }

    /// Refuses a shape with a zero dimension or with more than [`MAX_ELEMENTS`] elements.
    pub fn checked(self, what: &str) -> Result<Shape> {
        let mut n: usize = 1;
        for &d in &self.0 {
            n = match n.checked_mul(d) {
                Some(0) => return Err(Error::invalid(what, &self, "no dimension of 0")),
                Some(n) if n <= MAX_ELEMENTS => n,
                _ => return Err(Error::invalid(what, &self, format!("at most {MAX_ELEMENTS} elements"))),
            };
        }
        Ok(self)
    }

    /// The four dimensions of an `[n, h, w, c]` tensor.
    pub fn nhwc(&self, what: &str) -> Result<[usize; 4]> {
        <[usize; 4]>::try_from(self.0.as_slice()).map_err(|_| Error::invalid(what, self, "4 dimensions [n, h, w, c]"))
    }

    /// The two dimensions of a matrix.
    pub fn matrix(&self, what: &str) -> Result<[usize; 2]> {
        <[usize; 2]>::try_from(self.0.as_slice()).map_err(|_| Error::invalid(what, self, "2 dimensions [rows, columns]"))
    }
}

impl<const N: usize> From<[usize; N]> for Shape {
    fn from(dims: [usize; N]) -> Self {
        Shape(dims.to_vec())
    }
}

impl From<Vec<usize>> for Shape {
    fn from(dims: Vec<usize>) -> Self {
        Shape(dims)
    }
}

impl From<&[usize]> for Shape {
    fn from(dims: &[usize]) -> Self {
        Shape(dims.to_vec())
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[")?;
        for (i, d) in self.0.iter().enumerate() {
            write!(f, "{}{d}", if i > 0 { ", " } else { "" })?;
        }
        write!(f, "]")
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What the elements of a tensor are.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum DType {
    /// 32-bit float: activations, parameters, gradients. The f64 CPU oracle runs these tensors in double precision.
    F32,
    /// 32-bit unsigned: class indices, sample indices, counters.
    U32,
    /// Byte: images as they are stored. On the GPU four to a 32-bit word.
    U8,
}

impl DType {
    /// Bytes of an element.
    pub fn bytes(self) -> usize {
        match self {
            DType::F32 | DType::U32 => 4,
            DType::U8 => 1,
        }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DType::F32 => "f32",
            DType::U32 => "u32",
            DType::U8 => "u8",
        })
    }
}

/// Element type and shape of a tensor.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct TensorType {
    /// Element type.
    pub dtype: DType,
    /// Shape.
    pub shape: Shape,
}

impl TensorType {
    /// A type.
    pub fn new(dtype: DType, shape: impl Into<Shape>) -> Self {
        TensorType { dtype, shape: shape.into() }
    }

    /// An f32 type.
    pub fn f32(shape: impl Into<Shape>) -> Self {
        TensorType::new(DType::F32, shape)
    }

    /// A u32 type.
    pub fn u32(shape: impl Into<Shape>) -> Self {
        TensorType::new(DType::U32, shape)
    }

    /// Number of elements.
    pub fn elements(&self) -> usize {
        self.shape.elements()
    }

    /// Size in memory.
    pub fn bytes(&self) -> usize {
        self.elements() * self.dtype.bytes()
    }

    /// Fails unless the element type is `dtype`.
    pub fn expect_dtype(&self, what: &str, dtype: DType) -> Result<()> {
        if self.dtype == dtype { Ok(()) } else { Err(Error::invalid(format!("{what} type"), self.dtype, dtype)) }
    }

    /// Fails unless the type is exactly `want`.
    pub fn expect(&self, what: &str, want: &TensorType) -> Result<()> {
        if self == want { Ok(()) } else { Err(Error::invalid(what, self, want)) }
    }
}

impl fmt::Display for TensorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.dtype, self.shape)
    }
}

/// The elements of a host tensor.
#[derive(Clone, PartialEq, Debug)]
pub enum Data {
    /// 32-bit floats.
    F32(Vec<f32>),
    /// 32-bit unsigned integers.
    U32(Vec<u32>),
    /// Bytes.
    U8(Vec<u8>),
}

/// A tensor in host memory, row-major.
#[derive(Clone, PartialEq, Debug)]
pub struct Tensor {
    shape: Shape,
    data: Data,
}

impl Tensor {
    fn make(shape: Shape, len: usize, data: Data) -> Result<Tensor> {
        let want: Option<usize> = shape.dims().iter().try_fold(1usize, |n, &d| n.checked_mul(d));
        if want != Some(len) {
            let want = want.map_or("fewer than it has".to_string(), |n| n.to_string());
            return Err(Error::invalid("tensor data", format!("{len} elements"), format!("{want}, for shape {shape}")));
        }
        Ok(Tensor { shape, data })
    }

    /// An f32 tensor. Fails if `data` doesn't have as many elements as `shape`.
    pub fn f32(shape: impl Into<Shape>, data: Vec<f32>) -> Result<Tensor> {
        Tensor::make(shape.into(), data.len(), Data::F32(data))
    }

    /// A u32 tensor. Fails if `data` doesn't have as many elements as `shape`.
    pub fn u32(shape: impl Into<Shape>, data: Vec<u32>) -> Result<Tensor> {
        Tensor::make(shape.into(), data.len(), Data::U32(data))
    }

    /// A u8 tensor. Fails if `data` doesn't have as many elements as `shape`.
    pub fn u8(shape: impl Into<Shape>, data: Vec<u8>) -> Result<Tensor> {
        Tensor::make(shape.into(), data.len(), Data::U8(data))
    }

    /// A tensor of zeros.
    pub fn zeros(ty: &TensorType) -> Tensor {
        let n = ty.elements();
        let data = match ty.dtype {
            DType::F32 => Data::F32(vec![0.0; n]),
            DType::U32 => Data::U32(vec![0; n]),
            DType::U8 => Data::U8(vec![0; n]),
        };
        Tensor { shape: ty.shape.clone(), data }
    }

    /// The shape.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The element type.
    pub fn dtype(&self) -> DType {
        match self.data {
            Data::F32(_) => DType::F32,
            Data::U32(_) => DType::U32,
            Data::U8(_) => DType::U8,
        }
    }

    /// Element type and shape.
    pub fn tensor_type(&self) -> TensorType {
        TensorType::new(self.dtype(), self.shape.clone())
    }

    /// The elements.
    pub fn data(&self) -> &Data {
        &self.data
    }

    /// The elements of an f32 tensor.
    pub fn as_f32(&self) -> Result<&[f32]> {
        match &self.data {
            Data::F32(v) => Ok(v),
            _ => Err(Error::invalid("tensor type", self.dtype(), DType::F32)),
        }
    }

    /// The elements of a u32 tensor.
    pub fn as_u32(&self) -> Result<&[u32]> {
        match &self.data {
            Data::U32(v) => Ok(v),
            _ => Err(Error::invalid("tensor type", self.dtype(), DType::U32)),
        }
    }

    /// The elements of a u8 tensor.
    pub fn as_u8(&self) -> Result<&[u8]> {
        match &self.data {
            Data::U8(v) => Ok(v),
            _ => Err(Error::invalid("tensor type", self.dtype(), DType::U8)),
        }
    }

    /// The same elements under another shape of equally many elements.
    pub fn reshaped(self, shape: impl Into<Shape>) -> Result<Tensor> {
        let len = self.shape.elements();
        Tensor::make(shape.into(), len, self.data)
    }

    /// The elements in little-endian bytes, for hashes and files.
    pub fn to_le_bytes(&self) -> Vec<u8> {
        match &self.data {
            Data::F32(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Data::U32(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Data::U8(v) => v.clone(),
        }
    }
}

/// Zero padding around the height and width of an image.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Padding {
    /// None: only windows that lie inside the input.
    #[default]
    Valid,
    /// As much as makes the output `ceil(input / stride)`; an odd row or column goes to the bottom and right (TensorFlow's rule).
    Same,
    /// Rows and columns to add on each side.
    Explicit {
        /// Rows above.
        top: usize,
        /// Rows below.
        bottom: usize,
        /// Columns on the left.
        left: usize,
        /// Columns on the right.
        right: usize,
    },
}

impl Padding {
    /// The same number of rows and columns on all four sides.
    pub fn all(p: usize) -> Padding {
        Padding::Explicit { top: p, bottom: p, left: p, right: p }
    }
}

/// A window that slides over height and width: a convolution's or a pooling's.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Window2d {
    /// Window `[height, width]`.
    pub kernel: [usize; 2],
    /// Step `[down, right]`.
    pub stride: [usize; 2],
    /// Distance between the window's taps.
    pub dilation: [usize; 2],
    /// Padding.
    pub padding: Padding,
    /// Whether a last window that is cut short by the edge counts (ceil mode; PyTorch's rule: it must start inside the input
    /// or its top or left padding).
    pub ceil: bool,
}

/// A [`Window2d`] applied to an input of known size.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Placed2d {
    /// Height of the output.
    pub h_out: usize,
    /// Width of the output.
    pub w_out: usize,
    /// Rows of padding above the input.
    pub pad_top: usize,
    /// Columns of padding left of the input.
    pub pad_left: usize,
    /// Rows of padding below the input.
    pub pad_bottom: usize,
    /// Columns of padding right of the input.
    pub pad_right: usize,
}

impl Window2d {
    /// A window with stride 1, no dilation, no padding.
    pub fn new(kernel: [usize; 2]) -> Self {
        Window2d { kernel, stride: [1, 1], dilation: [1, 1], padding: Padding::Valid, ceil: false }
    }

    /// Output size and padding on an input of `h_in` by `w_in`. Fails, naming the argument, for a zero or oversized
    /// argument and for a window larger than the padded input.
    pub fn place(&self, h_in: usize, w_in: usize) -> Result<Placed2d> {
        let pads = match self.padding {
            Padding::Valid => [Some((0, 0)); 2],
            Padding::Same => [None; 2],
            Padding::Explicit { top, bottom, left, right } => [Some((top, bottom)), Some((left, right))],
        };
        let (h_out, pad_top, pad_bottom) = self.place_axis(0, "height", h_in, pads[0])?;
        let (w_out, pad_left, pad_right) = self.place_axis(1, "width", w_in, pads[1])?;
        Ok(Placed2d { h_out, w_out, pad_top, pad_left, pad_bottom, pad_right })
    }

    fn place_axis(&self, axis: usize, side: &str, len: usize, pad: Option<(usize, usize)>) -> Result<(usize, usize, usize)> {
        // Sums of a few of these stay far inside the i32 of a shader, and inside usize, which has 32 bits in a browser.
        const LARGEST: usize = 1 << 24;
        let in_range = |what: &str, v: usize, least: usize| {
            if (least..=LARGEST).contains(&v) {
                Ok(v)
            } else {
                Err(Error::invalid(format!("{what} ({side})"), v, format!("{least} to {LARGEST}")))
            }
        };
        let kernel = in_range("kernel", self.kernel[axis], 1)?;
        let stride = in_range("stride", self.stride[axis], 1)?;
        let dilation = in_range("dilation", self.dilation[axis], 1)?;
        let len = in_range("input", len, 1)?;
        let span = in_range("dilated kernel", dilation.saturating_mul(kernel - 1).saturating_add(1), 1)?;
        let (before, after) = match pad {
            Some((b, a)) => (in_range("padding", b, 0)?, in_range("padding", a, 0)?),
            None => {
                let total = ((len.div_ceil(stride) - 1) * stride + span).saturating_sub(len);
                (total / 2, total - total / 2)
            }
        };
        let padded = len + before + after;
        if span > padded {
            return Err(Error::invalid(
                format!("kernel ({side})"),
                if dilation > 1 { format!("{kernel}, which spans {span} with dilation {dilation}") } else { kernel.to_string() },
                format!("at most the padded input's {padded}; use padding `same`, a smaller kernel or a larger input"),
            ));
        }
        let mut out = (padded - span) / stride + 1;
        if self.ceil && !(padded - span).is_multiple_of(stride) && out * stride < len + before {
            out += 1;
        }
        Ok((out, before, after))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn out(window: Window2d, h: usize, w: usize) -> (usize, usize) {
        let p = window.place(h, w).unwrap();
        (p.h_out, p.w_out)
    }

    #[test]
    fn output_sizes_of_the_slides() {
        assert_eq!(out(Window2d::new([3, 3]), 5, 28), (3, 26));
        assert_eq!(out(Window2d::new([5, 5]), 32, 32), (28, 28));
        assert_eq!(out(Window2d { padding: Padding::all(2), ..Window2d::new([5, 5]) }, 32, 32), (32, 32));
        assert_eq!(out(Window2d { padding: Padding::Same, ..Window2d::new([5, 5]) }, 32, 32), (32, 32));
        let pool = Window2d { stride: [2, 2], ceil: true, ..Window2d::new([2, 2]) };
        assert_eq!(out(pool, 7, 7), (4, 4));
    }

    #[test]
    fn same_padding_at_stride_2_is_asymmetric() {
        let p = Window2d { padding: Padding::Same, stride: [2, 2], ..Window2d::new([3, 3]) }.place(224, 5).unwrap();
        assert_eq!((p.h_out, p.pad_top, p.w_out, p.pad_left), (112, 0, 3, 1));
    }

    #[test]
    fn bad_windows_are_named() {
        let zero = Window2d { stride: [0, 1], ..Window2d::new([3, 3]) }.place(5, 5).unwrap_err().to_string();
        assert!(zero.contains("stride (height)"), "{zero}");
        let huge = Window2d { stride: [1, usize::MAX], ..Window2d::new([3, 3]) }.place(5, 5).unwrap_err().to_string();
        assert!(huge.contains("stride (width)"), "{huge}");
        let large = Window2d::new([7, 3]).place(5, 5).unwrap_err().to_string();
        assert!(large.contains("kernel (height)") && large.contains("got 7"), "{large}");
        assert!(Window2d { dilation: [usize::MAX, 1], ..Window2d::new([3, 3]) }.place(5, 5).is_err());
        // Padding `same` would take half of it on each side, more than a shader's parameter holds.
        let wide = Window2d { dilation: [1 << 20, 1], padding: Padding::Same, ..Window2d::new([1 << 13, 1]) };
        let wide = wide.place(5, 5).unwrap_err().to_string();
        assert!(wide.contains("dilated kernel (height)"), "{wide}");
        assert!(Window2d { padding: Padding::all(usize::MAX), ..Window2d::new([3, 3]) }.place(5, 5).is_err());
    }

    #[test]
    fn shapes_that_overflow_are_refused() {
        assert!(Shape::from([usize::MAX, 2]).checked("x").is_err());
        assert!(Shape::from([1 << 20, 1 << 20]).checked("x").is_err());
        assert!(Shape::from([3, 0]).checked("x").is_err());
        assert!(Tensor::f32([usize::MAX, 2], vec![]).is_err());
    }
}
