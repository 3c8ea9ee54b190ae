//! A contiguous range along an axis, and its inverse, which puts zeros around a tensor along an axis.

use crate::error::{Error, Result};
use crate::linalg::Real;
use crate::op::{Case, Cost, Cpu, CpuArgs, Declaration, Gradient, Op, Recorder, expect_inputs, moved_bytes, sample};
use crate::ops::columns::{Axis, COPY_COLUMNS, Columns, CopyColumns, join, special, with_len};
use crate::tensor::{DType, TensorType};

/// `y[.., l, ..] = x[.., start + l, ..]`: f32 `[.., d, ..]` to f32 `[.., len, ..]`, a range of one axis.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Slice {
    /// The axis.
    pub axis: usize,
    /// First element along it.
    pub start: usize,
    /// How many, at least 1; `start + len` is at most `d`.
    pub len: usize,
}

impl Op for Slice {
    fn name(&self) -> &'static str {
        "slice"
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>> {
        expect_inputs(inputs, &["x"])?;
        inputs[0].expect_dtype("x", DType::F32)?;
        let shape = &inputs[0].shape;
        let d = Axis::of(shape, self.axis, "x")?.len;
        if self.len == 0 || self.start.checked_add(self.len).is_none_or(|end| end > d) {
            return Err(Error::invalid(
                "range",
                format!("{} elements from {}", self.len, self.start),
                format!("at least 1, within the {d} along axis {} of {shape}", self.axis),
            ));
        }
        Ok(vec![TensorType::f32(with_len(shape, self.axis, self.len))])
    }

    fn gradient(&self, g: &mut Gradient<'_>) -> Result<()> {
        let d = g.type_of(g.x(0)).shape.dims()[self.axis];
        let dy = g.dy0()?;
        let dx = g.node(PadAxis { axis: self.axis, before: self.start, after: d - self.start - self.len }, &[dy])?;
        g.set(0, dx);
        Ok(())
    }

    fn gpu(&self, r: &mut Recorder<'_>) -> Result<()> {
        let x = Axis::checked(&r.x(0).shape, self.axis);
        let len = self.len * x.inner;
        let x_start = (self.start * x.inner) as i32;
        CopyColumns { rows: x.rows, len, x_len: x.columns(), y_len: len, x_start, y_start: 0 }.record(r, 0);
        Ok(())
    }

    fn cost(&self, _: &[TensorType], outputs: &[TensorType]) -> Cost {
        // Only the range is read.
        Cost { flops: 0, bytes: moved_bytes(outputs, outputs) }
    }
}

impl Cpu for Slice {
    fn cpu<T: Real>(&self, args: &mut CpuArgs<'_, T>) {
        let x = Axis::checked(args.x_shape(0), self.axis);
        let (start, len) = (self.start * x.inner, self.len * x.inner);
        let range = Columns::Of { x: args.x(0), row_len: x.columns(), start, len };
        join(args.y(0), &[range]);
    }
}

/// Zeros before and after a tensor along one axis: f32 `[.., d, ..]` to f32 `[.., before + d + after, ..]`. The gradient of [`Slice`],
/// and the other way round.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PadAxis {
    /// The axis.
    pub axis: usize,
    /// Zeros before the first element along it.
    pub before: usize,
    /// Zeros after the last.
    pub after: usize,
}

impl Op for PadAxis {
    fn name(&self) -> &'static str {
        "pad_axis"
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>> {
        expect_inputs(inputs, &["x"])?;
        inputs[0].expect_dtype("x", DType::F32)?;
        let shape = &inputs[0].shape;
        let d = Axis::of(shape, self.axis, "x")?.len;
        // A sum that overflows is too large for any shape too.
        let len = self.before.saturating_add(d).saturating_add(self.after);
        Ok(vec![TensorType::f32(with_len(shape, self.axis, len).checked("padded shape")?)])
    }

    fn gradient(&self, g: &mut Gradient<'_>) -> Result<()> {
        let len = g.type_of(g.x(0)).shape.dims()[self.axis];
        let dy = g.dy0()?;
        let dx = g.node(Slice { axis: self.axis, start: self.before, len }, &[dy])?;
        g.set(0, dx);
        Ok(())
    }

    fn gpu(&self, r: &mut Recorder<'_>) -> Result<()> {
        let x = Axis::checked(&r.x(0).shape, self.axis);
        let y = Axis::checked(&r.y(0).shape, self.axis);
        let x_start = -((self.before * x.inner) as i32);
        CopyColumns { rows: x.rows, len: y.columns(), x_len: x.columns(), y_len: y.columns(), x_start, y_start: 0 }.record(r, 0);
        Ok(())
    }

    fn cost(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Cost {
        Cost { flops: 0, bytes: moved_bytes(inputs, outputs) }
    }
}

impl Cpu for PadAxis {
    fn cpu<T: Real>(&self, args: &mut CpuArgs<'_, T>) {
        let x = Axis::checked(args.x_shape(0), self.axis);
        let middle = Columns::Of { x: args.x(0), row_len: x.columns(), start: 0, len: x.columns() };
        join(args.y(0), &[Columns::Zeros(self.before * x.inner), middle, Columns::Zeros(self.after * x.inner)]);
    }
}

/// The list's entries.
pub static DECLARATIONS: &[Declaration] = &[
    Declaration { name: "slice", no_gradient: None, shaders: &[&COPY_COLUMNS], cases: slice_cases },
    Declaration { name: "pad_axis", no_gradient: None, shaders: &[&COPY_COLUMNS], cases: pad_axis_cases },
];

fn slice_cases() -> Vec<Case> {
    let op = |axis, start, len| Slice { axis, start, len };
    vec![
        Case::new("one", op(0, 0, 1), vec![sample::normal(1, [1])]),
        Case::new("all", op(1, 0, 7), vec![sample::normal(2, [3, 7, 5])]),
        Case::new("columns_scalar", op(1, 3, 130), vec![sample::normal(3, [9, 263])]),
        Case::new("columns_vec4", op(1, 128, 64), vec![sample::normal(4, [33, 256])]),
        Case::new("columns_vec4_start_2", op(1, 2, 64), vec![sample::normal(5, [9, 128])]),
        Case::new("rows", op(0, 2, 5), vec![sample::normal(6, [8, 131])]),
        Case::new("channels_of_5", op(3, 4, 1), vec![sample::normal(7, [2, 5, 7, 5])]),
        Case::new("inner_of_4", op(1, 3, 3), vec![sample::normal(8, [2, 7, 3, 4])]),
        Case::new("special", op(1, 1, 5), vec![special([3, 7])]).differentiable_by(&[]),
        Case::new("random_10", op(2, 5, 6), vec![sample::normal(10, [4, 3, 13, 2])]),
    ]
}

fn pad_axis_cases() -> Vec<Case> {
    let op = |axis, before, after| PadAxis { axis, before, after };
    vec![
        Case::new("one", op(0, 0, 0), vec![sample::normal(1, [1])]),
        Case::new("before", op(0, 3, 0), vec![sample::normal(2, [5, 7])]),
        Case::new("after", op(1, 0, 2), vec![sample::normal(3, [5, 7])]),
        Case::new("columns_scalar", op(1, 3, 130), vec![sample::normal(4, [9, 61])]),
        Case::new("columns_vec4", op(1, 128, 64), vec![sample::normal(5, [33, 64])]),
        Case::new("columns_vec4_before_2", op(1, 2, 62), vec![sample::normal(6, [9, 64])]),
        Case::new("inner_of_4", op(1, 1, 3), vec![sample::normal(7, [2, 3, 3, 4])]),
        Case::new("special", op(1, 1, 1), vec![special([3, 7])]).differentiable_by(&[]),
        Case::new("random_9", op(2, 5, 2), vec![sample::normal(9, [4, 3, 6, 2])]),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::{View, run_f64};
    use crate::ops::check;

    #[test]
    fn cases_hold() {
        check::declarations(DECLARATIONS);
    }

    #[test]
    fn the_middle_axis() {
        let x: Vec<f64> = (1..=12).map(f64::from).collect();
        let types = [TensorType::f32([2, 3, 2])];
        let op = Slice { axis: 1, start: 1, len: 2 };
        let y = run_f64(&op, &types, &[View::Real(&x)]).unwrap();
        assert_eq!(y[0].real(), [3.0, 4.0, 5.0, 6.0, 9.0, 10.0, 11.0, 12.0]);
        let pad = PadAxis { axis: 1, before: 1, after: 0 };
        let back = run_f64(&pad, &op.infer(&types).unwrap(), &[y[0].view()]).unwrap();
        assert_eq!(back[0].real(), [0.0, 0.0, 3.0, 4.0, 5.0, 6.0, 0.0, 0.0, 9.0, 10.0, 11.0, 12.0]);
    }

    #[test]
    fn bad_ranges_are_refused() {
        let x = [TensorType::f32([3, 5])];
        for (axis, start, len) in [(2, 0, 1), (0, 0, 0), (0, 1, 3), (1, 5, 1), (1, usize::MAX, 2)] {
            assert!(Slice { axis, start, len }.infer(&x).is_err(), "{axis} {start} {len}");
        }
        for (axis, before, after) in [(2, 0, 1), (0, usize::MAX, 1), (1, 1, usize::MAX), (1, 1 << 30, 0)] {
            assert!(PadAxis { axis, before, after }.infer(&x).is_err(), "{axis} {before} {after}");
        }
        let message = Slice { axis: 1, start: 4, len: 2 }.infer(&x).unwrap_err().to_string();
        assert!(message.contains("2 elements from 4") && message.contains("the 5 along axis 1 of [3, 5]"), "{message}");
        assert!(Slice { axis: 0, start: 0, len: 1 }.infer(&[TensorType::u32([3])]).is_err());
        assert!(Slice { axis: 0, start: 0, len: 1 }.infer(&[TensorType::f32([])]).is_err());
        assert!(PadAxis { axis: 0, before: 0, after: 0 }.infer(&[]).is_err());
    }
}
