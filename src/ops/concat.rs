//! Tensors side by side along an axis.

use crate::error::{Error, Result};
use crate::linalg::Real;
use crate::op::{Case, Cost, Cpu, CpuArgs, Declaration, Gradient, Op, Recorder, moved_bytes, sample};
use crate::ops::columns::{Axis, COPY_COLUMNS, Columns, CopyColumns, join, special, with_len};
use crate::ops::slice::Slice;
use crate::tensor::{DType, TensorType};

/// One or more f32 tensors `[.., d_i, ..]`, equal but for the axis, to f32 `[.., sum of d_i, ..]`, in the order of the inputs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Concat {
    /// The axis.
    pub axis: usize,
}

impl Op for Concat {
    fn name(&self) -> &'static str {
        "concat"
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>> {
        let Some(first) = inputs.first() else {
            return Err(Error::invalid("inputs", 0, "at least 1"));
        };
        let mut len = 0usize;
        for (i, ty) in inputs.iter().enumerate() {
            let name = format!("input {i}");
            ty.expect_dtype(&name, DType::F32)?;
            let d = Axis::of(&ty.shape, self.axis, &name)?.len;
            if with_len(&first.shape, self.axis, d) != ty.shape {
                let want = format!("the shape of input 0, {}, but for axis {}", first.shape, self.axis);
                return Err(Error::invalid(name, &ty.shape, want));
            }
            // A sum that overflows is too large for any shape too.
            len = len.saturating_add(d);
        }
        Ok(vec![TensorType::f32(with_len(&first.shape, self.axis, len).checked("concatenated shape")?)])
    }

    fn gradient(&self, g: &mut Gradient<'_>) -> Result<()> {
        let dy = g.dy0()?;
        let mut start = 0;
        for i in 0..g.n_inputs() {
            let len = g.type_of(g.x(i)).shape.dims()[self.axis];
            if g.wants(i) {
                let dx = g.node(Slice { axis: self.axis, start, len }, &[dy])?;
                g.set(i, dx);
            }
            start += len;
        }
        Ok(())
    }

    fn gpu(&self, r: &mut Recorder<'_>) -> Result<()> {
        let y = Axis::checked(&r.y(0).shape, self.axis);
        let mut y_start = 0;
        // A dispatch an input: any number of inputs stays within the bindings of a kernel.
        for i in 0..r.inputs().len() {
            let len = Axis::checked(&r.x(i).shape, self.axis).columns();
            CopyColumns { rows: y.rows, len, x_len: len, y_len: y.columns(), x_start: 0, y_start }.record(r, i);
            y_start += len;
        }
        Ok(())
    }

    fn cost(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Cost {
        Cost { flops: 0, bytes: moved_bytes(inputs, outputs) }
    }
}

impl Cpu for Concat {
    fn cpu<T: Real>(&self, args: &mut CpuArgs<'_, T>) {
        let columns = |i| {
            let len = Axis::checked(args.x_shape(i), self.axis).columns();
            Columns::Of { x: args.x(i), row_len: len, start: 0, len }
        };
        let pieces: Vec<_> = (0..args.n_inputs()).map(columns).collect();
        join(args.y(0), &pieces);
    }
}

/// The list's entry.
pub static DECLARATIONS: &[Declaration] =
    &[Declaration { name: "concat", no_gradient: None, shaders: &[&COPY_COLUMNS], cases }];

fn cases() -> Vec<Case> {
    let op = |axis| Concat { axis };
    vec![
        Case::new("one", op(0), vec![sample::normal(1, [1])]),
        Case::new("one_input", op(1), vec![sample::normal(2, [3, 7, 5])]),
        Case::new("rows", op(0), vec![sample::normal(3, [3, 131]), sample::normal(4, [5, 131])]),
        Case::new(
            "inception",
            op(3),
            vec![
                sample::normal(5, [2, 5, 7, 16]),
                sample::normal(6, [2, 5, 7, 32]),
                sample::normal(7, [2, 5, 7, 8]),
                sample::normal(8, [2, 5, 7, 4]),
            ],
        ),
        Case::new(
            "odd_channels",
            op(3),
            vec![sample::normal(9, [2, 3, 5, 1]), sample::normal(10, [2, 3, 5, 4]), sample::normal(11, [2, 3, 5, 3])],
        ),
        Case::new("middle", op(1), vec![sample::normal(12, [3, 2, 6]), sample::normal(13, [3, 5, 6])]),
        Case::new("ten_inputs", op(0), (20..30).map(|seed| sample::normal(seed, [1 + seed as usize % 3, 3])).collect()),
        Case::new("special", op(1), vec![special([3, 7]), special([3, 2])]).differentiable_by(&[]),
        Case::new("random_14", op(2), vec![sample::normal(14, [4, 3, 13, 2]), sample::normal(15, [4, 3, 4, 2])]),
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
    fn columns_side_by_side() {
        let types = [TensorType::f32([2, 2]), TensorType::f32([2, 1])];
        let inputs = [View::Real(&[1.0, 2.0, 3.0, 4.0][..]), View::Real(&[5.0, 6.0])];
        let y = run_f64(&Concat { axis: 1 }, &types, &inputs).unwrap();
        assert_eq!(y[0].real(), [1.0, 2.0, 5.0, 3.0, 4.0, 6.0]);
    }

    #[test]
    fn bad_inputs_are_named() {
        let f32s = |shapes: &[&[usize]]| shapes.iter().map(|&s| TensorType::f32(s)).collect::<Vec<_>>();
        let infer = |axis, shapes: &[&[usize]]| Concat { axis }.infer(&f32s(shapes));
        let message = infer(1, &[&[2, 3, 4], &[2, 5, 4], &[2, 5, 3]]).unwrap_err().to_string();
        assert!(message.contains("input 2") && message.contains("[2, 3, 4], but for axis 1"), "{message}");
        assert!(infer(0, &[]).is_err());
        assert!(infer(2, &[&[2, 3]]).is_err());
        assert!(infer(0, &[&[2, 3], &[2]]).is_err());
        assert!(infer(1, &[&[2], &[2, 3]]).is_err());
        assert!(infer(0, &[&[2, 3], &[0, 3]]).is_err());
        assert!(infer(0, &[&[1 << 30], &[1 << 30]]).is_err());
        assert!(Concat { axis: 0 }.infer(&[TensorType::f32([2]), TensorType::u32([2])]).is_err());
    }
}
