//! What slice, pad, transpose, expand and concat share: a copy between tensors along whose axes both go on by fixed strides, with a value where there
//! is nothing to copy.

use crate::error::{Error, Result};
use crate::linalg::{Real, for_each_row};
use crate::op::{Buffer, CpuArgs, GRID, Kernel, Recorder, Source, View, ViewMut, Word, sample, shader};
use crate::ops::elements::QUOTIENT;
use crate::tensor::{DType, Shape, Tensor, TensorType};

pub(crate) static COPY_STRIDED: Source = shader!("copy_strided");

/// Invocations of a workgroup of the kernel.
const WORKGROUP: usize = 256;

/// Axes that the kernel has, after those that can be were put together.
const MOST_AXES: usize = 6;

/// An axis of a copy. Element `k` of the output is element `t = (k - before) / step` of the input if that is a whole number below `count`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Axis {
    pub len: usize,
    /// Elements from one of the input to the next.
    pub x_stride: isize,
    pub y_stride: usize,
    pub before: usize,
    pub count: usize,
    pub step: usize,
}

impl Axis {
    /// `len` elements of the input for as many of the output.
    pub fn whole(len: usize, x_stride: isize, y_stride: usize) -> Axis {
        Axis { len, x_stride, y_stride, before: 0, count: len, step: 1 }
    }

    fn is_whole(&self) -> bool {
        self.before == 0 && self.step == 1 && self.count == self.len
    }

    /// The element of the input.
    fn source(&self, k: usize) -> Option<usize> {
        let t = k.checked_sub(self.before)?;
        (t.is_multiple_of(self.step) && t / self.step < self.count).then_some(t / self.step)
    }

    /// This axis and one inside it as one, if elements lie in it as in one.
    fn with_inner(&self, inner: &Axis) -> Option<Axis> {
        let stride = inner.x_stride.checked_mul(inner.len as isize);
        let fits = inner.is_whole() && self.step == 1 && stride == Some(self.x_stride);
        (fits && self.y_stride == inner.y_stride * inner.len).then(|| Axis {
            len: self.len * inner.len,
            before: self.before * inner.len,
            count: self.count * inner.len,
            ..*inner
        })
    }
}

/// Fails for elements that aren't words, which is what is copied.
pub(crate) fn expect_words(what: &str, ty: &TensorType) -> Result<()> {
    match ty.dtype {
        DType::F32 | DType::U32 => Ok(()),
        DType::U8 => Err(Error::invalid(format!("{what} type"), ty.dtype, "f32 or u32")),
    }
}

/// Strides of a contiguous tensor.
pub(crate) fn strides(shape: &Shape) -> Vec<usize> {
    let dims = shape.dims();
    (0..dims.len()).map(|axis| dims[axis + 1..].iter().product()).collect()
}

/// A copy.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct StridedCopy {
    /// Outermost first, as few as possible, at least one.
    axes: Vec<Axis>,
    x_start: usize,
    y_start: usize,
    /// The bits of the output where there is no element of the input.
    value: u32,
}

impl StridedCopy {
    /// A copy along these axes, outermost first.
    pub fn new(axes: impl IntoIterator<Item = Axis>, x_start: usize, y_start: usize, value: u32) -> StridedCopy {
        let mut merged: Vec<Axis> = Vec::new();
        for axis in axes.into_iter().filter(|axis| axis.len > 1) {
            match merged.last().and_then(|outer| outer.with_inner(&axis)) {
                Some(both) => {
                    merged.pop();
                    merged.push(both);
                }
                None => merged.push(axis),
            }
        }
        if merged.is_empty() {
            merged.push(Axis::whole(1, 1, 1));
        }
        StridedCopy { axes: merged, x_start, y_start, value }
    }

    /// Fails if it has more axes than the kernel.
    pub fn checked(self) -> Result<StridedCopy> {
        if self.axes.len() <= MOST_AXES {
            return Ok(self);
        }
        Err(Error::invalid(
            "axes",
            self.axes.len(),
            format!("at most {MOST_AXES} that can't be seen as one with their neighbours"),
        ))
    }

    /// Records it from input `i` to output 0.
    pub fn record(&self, r: &mut Recorder<'_>, i: usize) {
        let (inner, outer) = self.axes.split_last().unwrap_or_else(|| unreachable!("there is an axis"));
        let in_fours = |n: usize| n.is_multiple_of(4);
        let aligned = inner.x_stride == 1
            && inner.y_stride == 1
            && inner.step == 1
            && [inner.len, inner.before, inner.count, self.x_start, self.y_start].into_iter().all(in_fours)
            && outer.iter().all(|axis| in_fours(axis.x_stride.unsigned_abs()) && in_fours(axis.y_stride))
            && in_fours(r.x(i).elements())
            && in_fours(r.y(0).elements());
        let (lanes, bits) = if aligned { (4, "vec4<u32>") } else { (1, "u32") };
        let n: usize = self.axes.iter().map(|axis| axis.len).product::<usize>() / lanes;
        let int = |v: usize| Word::I32(v as i32);
        let mut params: Vec<(&'static str, Word)> = vec![
            ("n", n.into()),
            ("value", self.value.into()),
            ("x_start", int(self.x_start / lanes)),
            ("y_start", (self.y_start / lanes).into()),
        ];
        const FIELDS: [[&str; 6]; MOST_AXES] = [
            ["len_0", "x_0", "y_0", "before_0", "count_0", "step_0"],
            ["len_1", "x_1", "y_1", "before_1", "count_1", "step_1"],
            ["len_2", "x_2", "y_2", "before_2", "count_2", "step_2"],
            ["len_3", "x_3", "y_3", "before_3", "count_3", "step_3"],
            ["len_4", "x_4", "y_4", "before_4", "count_4", "step_4"],
            ["len_5", "x_5", "y_5", "before_5", "count_5", "step_5"],
        ];
        for (number, [len, x, y, before, count, step]) in FIELDS.into_iter().enumerate() {
            let innermost = number == 0;
            let axis = self.axes.iter().rev().nth(number).copied().unwrap_or(Axis::whole(1, 0, 0));
            // Along the innermost axis four elements are one; along the others strides are in vectors.
            let along = |v: usize| if innermost { v / lanes } else { v };
            let stride = |v: isize| if innermost { v } else { v / lanes as isize };
            params.extend([
                (len, along(axis.len).into()),
                (x, Word::I32(stride(axis.x_stride) as i32)),
                (y, (stride(axis.y_stride as isize) as usize).into()),
                (before, int(along(axis.before))),
                (count, int(along(axis.count))),
                (step, int(axis.step)),
            ]);
        }
        let kernel = Kernel::new(&COPY_STRIDED, &[&GRID, &QUOTIENT])
            .set("Bits", bits)
            .set("RANK", self.axes.len())
            .set("PADDED", !self.axes.iter().all(Axis::is_whole))
            .set("SPREAD", self.axes.iter().any(|axis| axis.step > 1));
        let grid = r.linear_grid(n.div_ceil(WORKGROUP));
        r.dispatch(kernel, &[Buffer::Input(i)], &[Buffer::Output(0)], &params, grid);
    }

    /// Does it on the CPU from input 0 to output 0, which it fills in order.
    pub fn run<T: Real>(&self, args: &mut CpuArgs<'_, T>) {
        match (args.view(0), args.take(0)) {
            (View::Real(x), ViewMut::Real(y)) => self.fill(x, y, T::from_f32(f32::from_bits(self.value))),
            (View::U32(x), ViewMut::U32(y)) => self.fill(x, y, self.value),
            _ => unreachable!("infer checks the types"),
        }
    }

    fn fill<E: Copy + Send + Sync>(&self, x: &[E], y: &mut [E], value: E) {
        let (inner, outer) = self.axes.split_last().unwrap_or_else(|| unreachable!("there is an axis"));
        for_each_row(y, inner.len, |row, y| {
            let (mut rest, mut at) = (row, self.x_start as isize);
            for axis in outer.iter().rev() {
                let Some(t) = axis.source(rest % axis.len) else {
                    y.fill(value);
                    return;
                };
                at += t as isize * axis.x_stride;
                rest /= axis.len;
            }
            if inner.step == 1 && inner.x_stride == 1 {
                let (before, rest) = y.split_at_mut(inner.before);
                let (middle, after) = rest.split_at_mut(inner.count);
                before.fill(value);
                middle.copy_from_slice(&x[at as usize..][..inner.count]);
                after.fill(value);
                return;
            }
            if !inner.is_whole() {
                y.fill(value);
            }
            for (t, y) in y[inner.before..].iter_mut().step_by(inner.step).take(inner.count).enumerate() {
                *y = x[(at + t as isize * inner.x_stride) as usize];
            }
        });
    }
}

/// Data for cases: what only a copy of the bits keeps on every device. NaN, infinities, denormals, negative zero, extremes.
pub(crate) fn special(shape: impl Into<Shape>) -> Tensor {
    let shape = shape.into();
    let values = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e-40, -f32::from_bits(1), -0.0, f32::MAX, f32::MIN_POSITIVE];
    let data = values.into_iter().cycle().take(shape.elements()).collect();
    Tensor::f32(shape, data).unwrap_or_else(|_| unreachable!("made to fit"))
}

/// The same for u32: words of any bits.
pub(crate) fn words(seed: u64, shape: impl Into<Shape>) -> Tensor {
    let shape = shape.into();
    let words = sample::indices(seed, shape.elements(), u32::MAX);
    words.reshaped(shape).unwrap_or_else(|_| unreachable!("made to fit"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_are_put_together() {
        let axes = |shape: &[usize]| {
            let strides = strides(&shape.into());
            shape.iter().zip(strides).map(|(&len, stride)| Axis::whole(len, stride as isize, stride)).collect::<Vec<_>>()
        };
        assert_eq!(StridedCopy::new(axes(&[2, 3, 1, 5]), 0, 0, 0).axes, [Axis::whole(30, 1, 1)]);
        assert_eq!(StridedCopy::new(axes(&[1, 1]), 0, 0, 0).axes, [Axis::whole(1, 1, 1)]);
        // Padding stays with the axis outside the whole ones: [2, 3 of 5, 4] to [2, 7, 4].
        let padded = [
            Axis::whole(2, 12, 28),
            Axis { len: 7, x_stride: 4, y_stride: 4, before: 1, count: 3, step: 1 },
            Axis::whole(4, 1, 1),
        ];
        let merged = Axis { len: 28, x_stride: 1, y_stride: 1, before: 4, count: 12, step: 1 };
        assert_eq!(StridedCopy::new(padded, 0, 0, 0).axes, [Axis::whole(2, 12, 28), merged]);
        // Part of the input: [2, 3, 4 of 6].
        let part = [Axis::whole(2, 18, 12), Axis::whole(3, 6, 4), Axis::whole(4, 1, 1)];
        assert_eq!(StridedCopy::new(part, 2, 0, 0).axes, [Axis::whole(6, 6, 4), Axis::whole(4, 1, 1)]);
    }
}
