//! Tensors side by side along an axis.

use crate::error::{Error, Result};
use crate::linalg::{Real, for_each_chunk};
use crate::op::{
    Case, Cost, Cpu, CpuArgs, Declaration, Gradient, Interchange, Op, Recorder, StandardNode, Term, View, moved_bytes, sample,
};
use crate::ops::slice::Slice;
use crate::ops::strided::{Axis, COPY_STRIDED, StridedCopy, expect_words, special, words};
use crate::tensor::{Shape, TensorType};
use std::mem;

/// One or more f32 or u32 tensors `[.., d_i, ..]`, equal but for the axis, to the same `[.., sum of d_i, ..]`, in the order of the inputs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Concat {
    /// The axis.
    pub axis: usize,
}

/// `shape` with `len` elements along `axis`.
fn with_len(shape: &Shape, axis: usize, len: usize) -> Shape {
    let mut dims = shape.dims().to_vec();
    dims[axis] = len;
    dims.into()
}

impl Concat {
    /// The rows and columns of a tensor seen as a matrix whose rows run over the axis and all that follow it: inputs lie side by side in
    /// the output's rows.
    fn matrix(&self, shape: &Shape) -> [usize; 2] {
        let (rows, columns) = shape.dims().split_at(self.axis);
        [rows, columns].map(|dims| dims.iter().product())
    }
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
            expect_words(&name, ty)?;
            ty.expect_dtype(&name, first.dtype)?;
            let shape = ty.shape.clone().checked(&name)?;
            let Some(&d) = shape.dims().get(self.axis) else {
                let want = format!("one of the {} axes of {name}, which is {shape}", shape.rank());
                return Err(Error::invalid("axis", self.axis, want));
            };
            if self.axis >= first.shape.rank() || with_len(&first.shape, self.axis, d) != ty.shape {
                let want = format!("the shape of input 0, {}, but for axis {}", first.shape, self.axis);
                return Err(Error::invalid(name, &ty.shape, want));
            }
            // A sum that overflows is too large for any shape too.
            len = len.saturating_add(d);
        }
        Ok(vec![TensorType::new(first.dtype, with_len(&first.shape, self.axis, len).checked("concatenated shape")?)])
    }

    fn gradient(&self, g: &mut Gradient<'_>) -> Result<()> {
        let dy = g.dy0()?;
        let mut start = 0;
        for i in 0..g.n_inputs() {
            let len = g.type_of(g.x(i)).shape.dims()[self.axis];
            if g.wants(i) {
                let dx = g.node(Slice::along(self.axis, start, len), &[dy])?;
                g.set(i, dx);
            }
            start += len;
        }
        Ok(())
    }

    fn gpu(&self, r: &mut Recorder<'_>) -> Result<()> {
        let [rows, row_len] = self.matrix(&r.y(0).shape);
        let mut y_start = 0;
        // A dispatch an input: any number of inputs stays within the bindings of a kernel.
        for i in 0..r.inputs().len() {
            let [_, len] = self.matrix(&r.x(i).shape);
            let axes = [Axis::whole(rows, len as isize, row_len), Axis::whole(len, 1, 1)];
            StridedCopy::new(axes, 0, y_start, 0).record(r, i);
            y_start += len;
        }
        Ok(())
    }

    fn cost(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Cost {
        Cost { flops: 0, bytes: moved_bytes(inputs, outputs) }
    }

    fn interchange(&self, d: &mut Interchange<'_>) -> Result<Vec<Term>> {
        let shape = d.output_type(0).shape.clone();
        Ok(vec![d.add(StandardNode::free("Concat", &d.all()).axis("axis", self.axis), shape)])
    }
}

impl Cpu for Concat {
    fn cpu<T: Real>(&self, args: &mut CpuArgs<'_, T>) {
        let len = |i| self.matrix(args.x_shape(i))[1];
        let inputs = 0..args.n_inputs();
        match args.view(0) {
            View::U32(_) => {
                let pieces: Vec<_> = inputs.map(|i| (args.x_u32(i), len(i))).collect();
                join(args.y_u32(0), &pieces);
            }
            _ => {
                let pieces: Vec<_> = inputs.map(|i| (args.x(i), len(i))).collect();
                join(args.y(0), &pieces);
            }
        }
    }
}

/// Writes `y`, whose rows are those of the pieces, matrices of so many columns, side by side.
fn join<E: Copy + Send + Sync>(y: &mut [E], pieces: &[(&[E], usize)]) {
    let (mut starts, mut row_len) = (Vec::with_capacity(pieces.len()), 0);
    for &(_, len) in pieces {
        starts.push(row_len);
        row_len += len;
    }
    for_each_chunk(y, |at, mut y| {
        let (mut row, mut column) = (at / row_len, at % row_len);
        let mut p = starts.partition_point(|&start| start <= column) - 1;
        while !y.is_empty() {
            let ((x, len), skipped) = (pieces[p], column - starts[p]);
            let n = (len - skipped).min(y.len());
            let (to, rest) = mem::take(&mut y).split_at_mut(n);
            to.copy_from_slice(&x[row * len + skipped..][..n]);
            (y, column, p) = (rest, column + n, p + 1);
            if column == row_len {
                (row, column, p) = (row + 1, 0, 0);
            }
        }
    });
}

/// The list's entry.
pub static DECLARATIONS: &[Declaration] =
    &[Declaration { name: "concat", no_gradient: None, shaders: &[&COPY_STRIDED], cases }];

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
        Case::new("words", op(1), vec![words(16, [3, 5]), words(17, [3, 2])]),
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

    /// Many chunks, with boundaries at odd places.
    #[test]
    fn pieces_are_joined_over_chunks() {
        let (rows, lens) = (4001, [7, 12, 1]);
        let pieces: Vec<Vec<f64>> =
            lens.iter().enumerate().map(|(p, len)| (0..rows * len).map(|i| (i * 3 + p) as f64).collect()).collect();
        let mut y = vec![f64::NAN; rows * 20];
        let views: Vec<(&[f64], usize)> = pieces.iter().zip(lens).map(|(x, len)| (x.as_slice(), len)).collect();
        join(&mut y, &views);
        for (row, y) in y.chunks_exact(20).enumerate() {
            let parts = [&y[..7], &y[7..19], &y[19..]];
            assert!(parts.iter().zip(&views).all(|(y, (x, len))| *y == &x[row * len..][..*len]), "row {row}");
        }
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
        assert!(Concat { axis: 0 }.infer(&[TensorType::new(crate::tensor::DType::U8, [2])]).is_err());
    }
}
