//! Picks a batch out of a data set that lies on the device, and makes numbers of its bytes.

use crate::error::{Error, Result};
use crate::linalg::{Real, for_each_row};
use crate::op::{
    Bound, Buffer, Case, Cost, Cpu, CpuArgs, Declaration, GRID, Kernel, Op, Recorder, Source, TINY, View, expect_inputs, gamma, sample,
    shader,
};
use crate::tensor::{DType, Tensor, TensorType};

static GATHER_ROWS: Source = shader!("gather_rows");

/// `y[i, ..] = data[indices[i], ..] * scale + offset`: data `[rows, ..]` of u8 or f32 and indices, u32 `[n]`, to f32 `[n, ..]`. u32 data
/// (labels) stay u32 and as they are. A row that doesn't exist is NaN, or `u32::MAX`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct GatherRows {
    /// Factor, finite; 1 for u32 data.
    pub scale: f32,
    /// What is added, finite; 0 for u32 data.
    pub offset: f32,
}

impl Default for GatherRows {
    /// Rows as they are.
    fn default() -> Self {
        GatherRows { scale: 1.0, offset: 0.0 }
    }
}

impl GatherRows {
    fn keeps(&self) -> bool {
        *self == GatherRows::default()
    }
}

impl Op for GatherRows {
    fn name(&self) -> &'static str {
        "gather_rows"
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>> {
        expect_inputs(inputs, &["data", "indices"])?;
        let (data, indices) = (&inputs[0], &inputs[1]);
        indices.expect_dtype("indices", DType::U32)?;
        let &[n] = indices.shape.dims() else {
            return Err(Error::invalid("indices", indices, "1 dimension [n]"));
        };
        let Some((_, row)) = data.shape.dims().split_first() else {
            return Err(Error::invalid("data", data, "a first dimension, of rows"));
        };
        if !(self.scale.is_finite() && self.offset.is_finite()) {
            return Err(Error::invalid("scale and offset", format!("{} and {}", self.scale, self.offset), "finite numbers"));
        }
        if data.dtype == DType::U32 && !self.keeps() {
            return Err(Error::invalid("scale and offset", format!("{} and {}", self.scale, self.offset), "1 and 0 for u32 data"));
        }
        let dtype = if data.dtype == DType::U32 { DType::U32 } else { DType::F32 };
        let shape = crate::tensor::Shape::from(row).with_batch(n).checked("rows to gather")?;
        Ok(vec![TensorType { dtype, shape }])
    }

    fn gpu(&self, r: &mut Recorder<'_>) -> Result<()> {
        let (data, n) = (r.x(0), r.y(0).elements());
        let n_rows = data.shape.dims()[0];
        let kind = match data.dtype {
            DType::U8 => 0u32,
            DType::F32 if !self.keeps() => 1,
            DType::F32 | DType::U32 => 2,
        };
        let missing = if data.dtype == DType::U32 { u32::MAX } else { f32::NAN.to_bits() };
        let params = [
            ("n", n.into()),
            ("row_len", (data.elements() / n_rows).into()),
            ("n_rows", n_rows.into()),
            ("missing", missing.into()),
            ("scale", self.scale.into()),
            ("offset", self.offset.into()),
        ];
        let kernel = Kernel::new(&GATHER_ROWS, &[&GRID]).set("DATA", kind);
        let grid = r.linear_grid(n.div_ceil(256));
        r.dispatch(kernel, &[Buffer::Input(0), Buffer::Input(1)], &[Buffer::Output(0)], &params, grid);
        Ok(())
    }

    fn cost(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Cost {
        // The rows that are read, not the whole data set.
        let y = &outputs[0];
        let read = y.elements() * inputs[0].dtype.bytes() + inputs[1].bytes();
        Cost { flops: if self.keeps() { 0 } else { 2 * y.elements() as u64 }, bytes: (read + y.bytes()) as u64 }
    }

    fn error_bound(&self, b: &Bound<'_>) -> Result<Vec<Vec<f64>>> {
        if self.keeps() {
            return Ok(b.exact());
        }
        // A product and a sum, one rounding each.
        let offset = f64::from(self.offset);
        Ok(b.each(|_, y| gamma(1) * (y.abs() + (y - offset).abs()) + TINY))
    }
}

/// Calls `f(row, row of data)` for each row of `y`; `missing` fills those whose index is none.
fn gather<A: Copy + Sync, B: Copy + Send + Sync>(y: &mut [B], data: &[A], indices: &[u32], missing: B, f: impl Fn(A) -> B + Sync) {
    let row_len = y.len() / indices.len();
    let n_rows = data.len() / row_len;
    for_each_row(y, row_len, |i, y| {
        let row = indices[i] as usize;
        if row >= n_rows {
            y.fill(missing);
            return;
        }
        for (y, &x) in y.iter_mut().zip(&data[row * row_len..]) {
            *y = f(x);
        }
    });
}

impl Cpu for GatherRows {
    fn cpu<T: Real>(&self, args: &mut CpuArgs<'_, T>) {
        let (scale, offset) = (T::from_f32(self.scale), T::from_f32(self.offset));
        let (nan, indices) = (T::from_f32(f32::NAN), args.x_u32(1));
        match args.view(0) {
            View::U8(data) => gather(args.y(0), data, indices, nan, |x| T::from_f32(f32::from(x)) * scale + offset),
            View::Real(data) if self.keeps() => gather(args.y(0), data, indices, nan, |x| x),
            View::Real(data) => gather(args.y(0), data, indices, nan, |x| x * scale + offset),
            View::U32(data) => gather(args.y_u32(0), data, indices, u32::MAX, |x| x),
        }
    }
}

/// The list's entry.
pub static DECLARATIONS: &[Declaration] = &[Declaration {
    name: "gather_rows",
    no_gradient: Some("its input is a data set"),
    shaders: &[&GATHER_ROWS],
    cases,
}];

fn cases() -> Vec<Case> {
    let scaled = GatherRows { scale: 1.0 / 255.0, offset: -0.5 };
    let bytes = |shape: &[usize]| {
        let n: usize = shape.iter().product();
        Tensor::u8(shape, (0..n).map(|i| (i * 37 % 256) as u8).collect()).unwrap_or_else(|_| unreachable!("made to fit"))
    };
    let words = |values: &[u32]| Tensor::u32([values.len()], values.to_vec()).unwrap_or_else(|_| unreachable!("made to fit"));
    vec![
        Case::new("one", GatherRows::default(), vec![bytes(&[1, 1]), words(&[0])]),
        Case::new("bytes", scaled, vec![bytes(&[9, 7, 5, 3]), sample::indices(1, 12, 9)]),
        Case::new("bytes_as_they_are", GatherRows::default(), vec![bytes(&[5, 28]), sample::indices(2, 7, 5)]),
        Case::new("missing_rows", scaled, vec![bytes(&[3, 3]), words(&[2, 3, 0, u32::MAX, 1])]),
        Case::new("floats", scaled, vec![sample::normal(3, [6, 11, 5]), sample::indices(4, 9, 6)]),
        Case::new("floats_as_they_are", GatherRows::default(), vec![sample::normal(5, [6, 11]), words(&[5, 6, 5])]),
        Case::new("labels", GatherRows::default(), vec![sample::indices(6, 50, 10), sample::indices(7, 300, 50)]),
        Case::new("missing_labels", GatherRows::default(), vec![sample::indices(8, 5, 10), words(&[4, 5, 1 << 31])]),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::Oracle;
    use crate::ops::check;

    #[test]
    fn cases_hold() {
        check::declarations(DECLARATIONS);
    }

    #[test]
    fn missing_rows_are_marked() {
        let all = cases();
        let y = |name: &str| check::outputs(all.iter().find(|c| c.name == name).unwrap()).remove(0);
        let rows = y("missing_rows");
        let nan: Vec<_> = rows.real().iter().map(|y| y.is_nan()).collect();
        assert_eq!(nan, [[false; 3], [true; 3], [false; 3], [true; 3], [false; 3]].concat());
        // Byte 1 of row 2 is element 7: 7 * 37 % 256 = 3.
        assert!((rows.real()[1] - (3.0 / 255.0 - 0.5)).abs() < 1e-7);
        let Oracle::U32(labels) = y("missing_labels") else { panic!("labels are u32") };
        assert!(labels[0] < 10 && labels[1..] == [u32::MAX; 2]);
    }

    #[test]
    fn bad_arguments_are_refused() {
        let (data, indices) = (TensorType::new(DType::U8, [5, 3]), TensorType::u32([2]));
        let scaled = GatherRows { scale: 0.5, offset: 0.0 };
        assert_eq!(scaled.infer(&[data.clone(), indices.clone()]).unwrap(), [TensorType::f32([2, 3])]);
        assert!(scaled.infer(&[TensorType::u32([5]), indices.clone()]).is_err());
        assert!(scaled.infer(&[data.clone(), TensorType::u32([2, 1])]).is_err());
        assert!(scaled.infer(&[data.clone(), TensorType::f32([2])]).is_err());
        assert!(scaled.infer(&[TensorType::new(DType::U8, []), indices.clone()]).is_err());
        assert!(GatherRows { scale: f32::NAN, offset: 0.0 }.infer(&[data, indices.clone()]).is_err());
        let large = [TensorType::new(DType::U8, [2, 1 << 30]), TensorType::u32([4])];
        assert!(scaled.infer(&large).is_err());
    }
}
