//! What slice, pad_axis and concat share: a tensor seen as a matrix whose rows run over an axis and all that follow it, so that a
//! range of the axis is a range of columns.

use crate::error::{Error, Result};
use crate::linalg::{Real, for_each_chunk};
use crate::op::{Buffer, GRID, Kernel, Recorder, Source, Word, shader};
use crate::tensor::{Shape, Tensor};
use std::mem;

pub(crate) static COPY_COLUMNS: Source = shader!("copy_columns");

/// Invocations of a workgroup of the kernel.
const WORKGROUP: usize = 256;

/// An axis of a shape seen as `[rows, len, inner]`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Axis {
    pub rows: usize,
    pub len: usize,
    pub inner: usize,
}

impl Axis {
    /// `axis` of `shape`, the shape of what `what` names.
    pub fn of(shape: &Shape, axis: usize, what: &str) -> Result<Axis> {
        let dims = shape.clone().checked(what)?;
        let dims = dims.dims();
        if axis >= dims.len() {
            return Err(Error::invalid("axis", axis, format!("one of the {} axes of {what}, which is {shape}", dims.len())));
        }
        let product = |dims: &[usize]| dims.iter().product();
        Ok(Axis { rows: product(&dims[..axis]), len: dims[axis], inner: product(&dims[axis + 1..]) })
    }

    /// The same of a shape that infer has accepted.
    pub fn checked(shape: &Shape, axis: usize) -> Axis {
        let Ok(axis) = Axis::of(shape, axis, "shape") else { unreachable!("infer checks the axis") };
        axis
    }

    /// Columns of the matrix.
    pub fn columns(&self) -> usize {
        self.len * self.inner
    }
}

/// `shape` with `len` elements along `axis`.
pub(crate) fn with_len(shape: &Shape, axis: usize, len: usize) -> Shape {
    let mut dims = shape.dims().to_vec();
    dims[axis] = len;
    dims.into()
}

/// A run of the kernel: `len` columns of output 0 from `y_start` are those of an input from `x_start`, zeros where it has none.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct CopyColumns {
    pub rows: usize,
    pub len: usize,
    /// Columns of the input.
    pub x_len: usize,
    /// Columns of the output.
    pub y_len: usize,
    /// Negative: zeros come first.
    pub x_start: i32,
    pub y_start: usize,
}

impl CopyColumns {
    /// Records it for input `i`.
    pub fn record(&self, r: &mut Recorder<'_>, i: usize) {
        let x_start = self.x_start.unsigned_abs() as usize;
        let aligned = [self.len, self.x_len, self.y_len, x_start, self.y_start].iter().all(|n| n.is_multiple_of(4));
        let (lanes, bits) = if aligned { (4, "vec4<u32>") } else { (1, "u32") };
        let n = self.rows * self.len / lanes;
        let params = [
            ("n", n.into()),
            ("len", (self.len / lanes).into()),
            ("x_len", (self.x_len / lanes).into()),
            ("y_len", (self.y_len / lanes).into()),
            ("x_start", Word::I32(self.x_start / lanes as i32)),
            ("y_start", (self.y_start / lanes).into()),
        ];
        let kernel = Kernel::new(&COPY_COLUMNS, &[&GRID]).set("Bits", bits);
        let grid = r.linear_grid(n.div_ceil(WORKGROUP));
        r.dispatch(kernel, &[Buffer::Input(i)], &[Buffer::Output(0)], &params, grid);
    }
}

/// Some columns of an output.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Columns<'a, T> {
    /// So many columns of zeros.
    Zeros(usize),
    /// `len` columns from `start` of a matrix of `row_len` columns.
    Of { x: &'a [T], row_len: usize, start: usize, len: usize },
}

impl<T> Columns<'_, T> {
    fn len(&self) -> usize {
        match *self {
            Columns::Zeros(len) | Columns::Of { len, .. } => len,
        }
    }
}

/// Writes `y`, whose rows are `pieces` side by side.
pub(crate) fn join<T: Real>(y: &mut [T], pieces: &[Columns<'_, T>]) {
    let (mut starts, mut row_len) = (Vec::with_capacity(pieces.len()), 0);
    for piece in pieces {
        starts.push(row_len);
        row_len += piece.len();
    }
    for_each_chunk(y, |at, mut y| {
        let (mut row, mut column) = (at / row_len, at % row_len);
        let mut p = starts.partition_point(|&start| start <= column) - 1;
        while !y.is_empty() {
            let skipped = column - starts[p];
            let n = (pieces[p].len() - skipped).min(y.len());
            let (to, rest) = mem::take(&mut y).split_at_mut(n);
            match pieces[p] {
                Columns::Zeros(_) => to.fill(T::ZERO),
                Columns::Of { x, row_len, start, .. } => to.copy_from_slice(&x[row * row_len + start + skipped..][..n]),
            }
            (y, column, p) = (rest, column + n, p + 1);
            if column == row_len {
                (row, column, p) = (row + 1, 0, 0);
            }
        }
    });
}

/// Data for cases: what only a copy of the bits keeps on every device. NaN, infinities, denormals, negative zero, extremes.
pub(crate) fn special(shape: impl Into<Shape>) -> Tensor {
    let shape = shape.into();
    let values = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e-40, -f32::from_bits(1), -0.0, f32::MAX, f32::MIN_POSITIVE];
    let data = values.into_iter().cycle().take(shape.elements()).collect();
    Tensor::f32(shape, data).unwrap_or_else(|_| unreachable!("made to fit"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Many chunks, boundaries at odd places, empty pieces at both ends and in the middle.
    #[test]
    fn pieces_are_joined_over_chunks() {
        let (rows, a_len, b_len) = (4001, 7, 12);
        let a: Vec<f64> = (0..rows * a_len).map(|i| i as f64).collect();
        let b: Vec<f64> = (0..rows * b_len).map(|i| -(i as f64)).collect();
        let pieces = [
            Columns::Zeros(0),
            Columns::Of { x: &a, row_len: a_len, start: 2, len: 5 },
            Columns::Zeros(3),
            Columns::Zeros(0),
            Columns::Of { x: &b, row_len: b_len, start: 0, len: 12 },
            Columns::Zeros(0),
        ];
        let mut y = vec![f64::NAN; rows * 20];
        join(&mut y, &pieces);
        for (row, y) in y.chunks_exact(20).enumerate() {
            assert_eq!(y[..5], a[row * 7 + 2..][..5]);
            assert_eq!(y[5..8], [0.0; 3]);
            assert_eq!(y[8..], b[row * 12..][..12]);
        }
    }
}
