//! One axis resampled by any fixed matrix whose rows have few neighbours: cubic interpolation, filters against aliasing, scales that are no
//! quotients of small numbers.

use crate::error::{Error, Result};
use crate::linalg::{Real, for_each_row};
use crate::op::{
    Bound, Buffer, Case, Cost, Cpu, CpuArgs, Declaration, Gradient, Interchange, MAX_ITERATIONS, NodeBuilder, Op, Recorder,
    Source, StandardNode, Term, Value, expect_inputs, moved_bytes, sample, shader,
};
use crate::ops::constant::{Constant, MAX_CONSTANT};
use crate::ops::elements::{Elements, QUOTIENT};
use crate::ops::reduce::Run;
use crate::tensor::{DType, Shape, Tensor, TensorType};
use std::sync::Arc;

static SHADER: Source = shader!("resample_axis");

/// A matrix, of which each row has weights for a few neighbouring columns, and zeros elsewhere.
#[derive(Clone, PartialEq, Debug)]
pub struct Band {
    columns: usize,
    taps: usize,
    starts: Vec<u32>,
    weights: Vec<f32>,
}

impl Band {
    /// A matrix of `columns` columns from its rows: the first column that has a weight, and the weights from there on.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a matrix without rows, without columns or without weights, for a weight in a column that there isn't, and if rows times
    /// the most weights of a row are more than 65,536.
    pub fn new(columns: usize, rows: &[(usize, Vec<f64>)]) -> Result<Band> {
        let taps = rows.iter().map(|(_, weights)| weights.len()).max().unwrap_or(0);
        let all = rows.len().saturating_mul(taps);
        if all == 0 || all > MAX_CONSTANT || taps > MAX_ITERATIONS {
            let want = format!("some of both, and no more than {MAX_CONSTANT} in all, {MAX_ITERATIONS} a row");
            return Err(Error::invalid("rows and weights of a matrix", format!("{} by {taps}", rows.len()), want));
        }
        Shape::from([columns]).checked("columns of a matrix")?;
        let beyond = |(start, of_row): &&(usize, Vec<f64>)| start.checked_add(of_row.len()).is_none_or(|end| end > columns);
        if let Some((start, of_row)) = rows.iter().find(beyond) {
            let got = format!("{} weights from column {start}", of_row.len());
            return Err(Error::invalid("row of a matrix", got, format!("weights of the {columns} columns")));
        }
        let (mut starts, mut weights) = (Vec::with_capacity(rows.len()), vec![0.0; all]);
        for (row, (start, of_row)) in weights.chunks_exact_mut(taps).zip(rows) {
            // A row that ends early begins with zeros where it would reach beyond the last column.
            let first = (*start).min(columns - taps);
            starts.push(first as u32);
            row[start - first..][..of_row.len()].iter_mut().zip(of_row).for_each(|(to, &from)| *to = from as f32);
        }
        Ok(Band { columns, taps, starts, weights })
    }

    fn rows(&self) -> usize {
        self.starts.len()
    }

    /// All of the matrix, `[rows, columns]`.
    fn matrix(&self) -> Result<Tensor> {
        let mut all = vec![0.0; self.rows() * self.columns];
        for ((row, &start), weights) in all.chunks_exact_mut(self.columns).zip(&self.starts).zip(self.weights.chunks_exact(self.taps)) {
            row[start as usize..][..self.taps].copy_from_slice(weights);
        }
        Tensor::f32([self.rows(), self.columns], all)
    }

    /// The transposed matrix.
    fn transposed(&self) -> Result<Band> {
        let mut columns: Vec<(usize, Vec<f64>)> = vec![(0, Vec::new()); self.columns];
        for (row, (&start, weights)) in self.starts.iter().zip(self.weights.chunks_exact(self.taps)).enumerate() {
            for (column, &weight) in columns[start as usize..].iter_mut().zip(weights).filter(|(_, weight)| **weight != 0.0) {
                if column.1.is_empty() {
                    column.0 = row;
                }
                column.1.resize(row - column.0, 0.0);
                column.1.push(f64::from(weight));
            }
        }
        // A matrix of zeros has a weight all the same.
        if columns.iter().all(|(_, weights)| weights.is_empty()) {
            columns[0].1.push(0.0);
        }
        Band::new(self.rows(), &columns)
    }

    /// The starts `[rows]` and the weights `[rows, taps]` of the rows, inputs of [`ResampleAxis`].
    fn tensors(&self) -> Result<[Tensor; 2]> {
        let weights = Tensor::f32([self.rows(), self.taps], self.weights.clone())?;
        Ok([Tensor::u32([self.rows()], self.starts.clone())?, weights])
    }
}

/// `y[.., r, ..] = sum over k of weights[r, k] x[.., starts[r] + k, ..]`: f32 `[.., columns, ..]` times a [`Band`] along an axis, to f32 `[.., rows, ..]`.
/// Inputs: x, and the matrix as starts u32 `[rows]` and weights f32 `[rows, taps]`: constants, which [`resample_axis`] adds. What has a weight of 0 counts for
/// nothing, also if it is a NaN. Differentiable by x.
#[derive(Clone, PartialEq, Debug)]
pub struct ResampleAxis {
    /// The axis of x.
    pub axis: usize,
    /// The matrix.
    pub band: Arc<Band>,
}

/// Adds the nodes of the product of `x` and a matrix along an axis.
///
/// # Errors
/// [`Error::Invalid`] for an `x` that isn't f32, and for an axis that isn't as long as the matrix has columns.
pub fn resample_axis(graph: &mut dyn NodeBuilder, x: Value, axis: usize, band: &Arc<Band>) -> Result<Value> {
    let [starts, weights] = band.tensors()?;
    let starts = graph.add(Arc::new(Constant::new(starts)), &[])?[0];
    let weights = graph.add(Arc::new(Constant::new(weights)), &[])?[0];
    Ok(graph.add(Arc::new(ResampleAxis { axis, band: band.clone() }), &[x, starts, weights])?[0])
}

impl ResampleAxis {
    fn run(&self, x: &Shape) -> Result<Run> {
        Run::new(x, &(self.axis..self.axis.saturating_add(1)))
    }
}

impl Op for ResampleAxis {
    fn name(&self) -> &'static str {
        "resample_axis"
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>> {
        expect_inputs(inputs, &["x", "starts", "weights"])?;
        inputs[0].expect_dtype("x", DType::F32)?;
        let shape = inputs[0].shape.clone().checked("x")?;
        let Band { columns, taps, .. } = *self.band;
        if shape.dims().get(self.axis) != Some(&columns) {
            return Err(Error::invalid("x", &shape, format!("{columns} elements along axis {}, as the matrix has columns", self.axis)));
        }
        inputs[1].expect("starts", &TensorType::u32([self.band.rows()]))?;
        inputs[2].expect("weights", &TensorType::f32([self.band.rows(), taps]))?;
        let mut dims = shape.dims().to_vec();
        dims[self.axis] = self.band.rows();
        Ok(vec![TensorType::f32(Shape::from(dims).checked("resampled shape")?)])
    }

    fn gradient(&self, g: &mut Gradient<'_>) -> Result<()> {
        if g.wants(2) {
            return Err(Error::invalid("gradient", "a loss that depends on weights of a resampling", "constant weights"));
        }
        let band = self.band.transposed()?;
        let [starts, weights] = band.tensors()?.map(Constant::new);
        let (starts, weights) = (g.node(starts, &[])?, g.node(weights, &[])?);
        let dy = g.dy0()?;
        let dx = g.node(ResampleAxis { axis: self.axis, band: Arc::new(band) }, &[dy, starts, weights])?;
        g.set(0, dx);
        Ok(())
    }

    fn gpu(&self, r: &mut Recorder<'_>) -> Result<()> {
        let run = self.run(&r.x(0).shape)?;
        let e = Elements::aligned(r.y(0).elements(), run.inner);
        let params = [
            ("n", e.n()),
            ("len", run.len.into()),
            ("inner", e.count(run.inner).into()),
            ("rows", self.band.rows().into()),
            ("taps", self.band.taps.into()),
        ];
        let grid = e.grid(r);
        r.dispatch(e.kernel(&SHADER, &[&QUOTIENT]), &[0, 1, 2].map(Buffer::Input), &[Buffer::Output(0)], &params, grid);
        // A product and an addition a tap.
        r.declare_depth(self.band.taps + 1);
        Ok(())
    }

    fn cost(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Cost {
        let flops = 2 * outputs[0].elements() as u64 * self.band.taps as u64;
        Cost { flops, bytes: moved_bytes(inputs, outputs) }
    }

    fn error_bound(&self, b: &Bound<'_>) -> Result<Vec<Vec<f64>>> {
        b.sum_of_products(self)
    }

    fn interchange(&self, d: &mut Interchange<'_>) -> Result<Vec<Term>> {
        let rank = d.input_type(0).shape.rank();
        let mut order: Vec<usize> = (0..rank).collect();
        order.swap(self.axis, rank - 1);
        let x = d.transpose(d.x(0), order.clone());
        let matrix = d.numbers(self.band.matrix()?);
        let matrix = d.transpose(matrix, [1, 0]);
        let mut dims = d.shape(x).dims().to_vec();
        dims[rank - 1] = self.band.rows();
        let y = d.add(StandardNode::fixed("MatMul", &[x, matrix]), dims);
        Ok(vec![d.transpose(y, order)])
    }
}

impl Cpu for ResampleAxis {
    fn cpu<T: Real>(&self, args: &mut CpuArgs<'_, T>) {
        let Ok(Run { len, inner, .. }) = self.run(args.x_shape(0)) else { unreachable!("infer checks the axis") };
        let (x, starts, weights, taps) = (args.x(0), args.x_u32(1), args.x(2), self.band.taps);
        let rows = starts.len();
        for_each_row(args.y(0), inner, |row, y| {
            let (o, r) = (row / rows, row % rows);
            let first = (starts[r] as usize).min(len - taps);
            y.fill(T::ZERO);
            let x = x[(o * len + first) * inner..].chunks_exact(inner);
            for (x, &weight) in x.zip(&weights[r * taps..][..taps]) {
                if weight != T::ZERO {
                    y.iter_mut().zip(x).for_each(|(y, &x)| *y += weight * x);
                }
            }
        });
    }
}

/// The list's entry.
pub static DECLARATIONS: &[Declaration] = &[Declaration { name: "resample_axis", no_gradient: None, shaders: &[&SHADER], cases }];

fn cases() -> Vec<Case> {
    let case = |name: &str, axis, band: Result<Band>, x: Tensor| {
        let Ok(band) = band else { unreachable!("a matrix") };
        let Ok([starts, weights]) = band.tensors() else { unreachable!("made to fit") };
        Case::new(name, ResampleAxis { axis, band: Arc::new(band) }, vec![x, starts, weights]).differentiable_by(&[0])
    };
    // Weights of a cubic kernel, of which neighbours at the ends are left out.
    let cubic = |columns: usize, rows: usize| {
        let row = |r: usize| {
            let at = (r as f64 + 0.5) * columns as f64 / rows as f64 - 0.5;
            let weight = |i: usize| {
                let d = (i as f64 - at).abs();
                match d {
                    d if d < 1.0 => (1.25 * d - 2.25) * d * d + 1.0,
                    d if d < 2.0 => ((-0.75 * d + 3.75) * d - 6.0) * d + 3.0,
                    _ => 0.0,
                }
            };
            let start = (at.floor() - 1.0).max(0.0) as usize;
            let end = ((at.floor() + 3.0) as usize).min(columns);
            (start, (start..end).map(weight).collect())
        };
        Band::new(columns, &(0..rows).map(row).collect::<Vec<_>>())
    };
    let nearest = |columns: usize, from: &[usize]| Band::new(columns, &from.iter().map(|&i| (i, vec![1.0])).collect::<Vec<_>>());
    let nan = Tensor::f32([4, 2], vec![1.0, 2.0, f32::NAN, 3.0, 4.0, f32::INFINITY, 5.0, 6.0]);
    let nan = nan.unwrap_or_else(|_| unreachable!("made to fit"));
    vec![
        case("one", 0, Band::new(1, &[(0, vec![0.5])]), sample::normal(1, [1])),
        case("cubic_height", 1, cubic(7, 19), sample::normal(2, [2, 7, 5, 8])),
        case("cubic_width_odd", 2, cubic(5, 12), sample::normal(3, [2, 3, 5, 3])),
        case("cubic_down", 1, cubic(23, 6), sample::normal(4, [3, 23, 4])),
        case("last_axis", 1, cubic(11, 17), sample::positive(5, [9, 11])),
        case("workgroups", 0, cubic(40, 60), sample::normal(6, [40, 37])),
        case("nearest", 1, nearest(5, &[0, 0, 1, 3, 4, 4, 4]), sample::normal(7, [3, 5, 4])),
        case("backwards", 0, nearest(5, &[4, 2, 0]), sample::normal(8, [5, 3])),
        case("rows_of_zeros", 0, Band::new(4, &[(0, vec![]), (1, vec![1.0, -2.0, 3.0]), (3, vec![0.0])]), sample::normal(9, [4, 3])),
        case("nan", 0, Band::new(4, &[(0, vec![1.0]), (2, vec![0.5, 0.5])]), nan).differentiable_by(&[]),
        case("zeros", 0, Band::new(4, &[(2, vec![0.0]), (1, vec![])]), sample::normal(10, [4, 3])),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::Oracle;
    use crate::ops::check::{self, Tape};

    #[test]
    fn cases_hold() {
        check::declarations(DECLARATIONS);
    }

    #[test]
    fn the_transposed_of_the_transposed_is_the_matrix() {
        let band = Band::new(5, &[(3, vec![1.0, 2.0]), (0, vec![0.0, 3.0, 4.0]), (4, vec![5.0]), (1, vec![6.0])]).unwrap();
        let dense = |band: &Band| {
            let mut rows = vec![vec![0.0; band.columns]; band.rows()];
            for (r, row) in rows.iter_mut().enumerate() {
                row[band.starts[r] as usize..][..band.taps].copy_from_slice(&band.weights[r * band.taps..][..band.taps]);
            }
            rows
        };
        let rows = [[0.0, 0.0, 0.0, 1.0, 2.0], [0.0, 3.0, 4.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0, 5.0], [0.0, 6.0, 0.0, 0.0, 0.0]];
        assert_eq!(dense(&band), rows);
        let transposed = band.transposed().unwrap();
        let (t, back) = (dense(&transposed), dense(&transposed.transposed().unwrap()));
        assert!((0..4).all(|r| (0..5).all(|c| t[c][r] == rows[r][c])));
        assert_eq!(back, rows);
    }

    #[test]
    fn nodes_by_hand() {
        let mut tape = Tape::default();
        let x = tape.push(TensorType::f32([2, 2]), Oracle::Real(vec![1.0, 10.0, 2.0, 20.0]));
        let band = Arc::new(Band::new(2, &[(0, vec![1.0]), (0, vec![0.5, 0.5]), (1, vec![1.0])]).unwrap());
        let y = resample_axis(&mut tape, x, 0, &band).unwrap();
        assert_eq!(tape.value(y).real(), [1.0, 10.0, 1.5, 15.0, 2.0, 20.0]);
    }

    #[test]
    fn bad_matrices_are_refused() {
        for (columns, rows) in [(3, vec![]), (3, vec![(0, vec![])]), (3, vec![(2, vec![1.0, 2.0])]), (3, vec![(usize::MAX, vec![1.0])]), (3, vec![(0, vec![1.0]), (0, vec![1.0; 5])])] {
            assert!(Band::new(columns, &rows).is_err(), "{columns} {rows:?}");
        }
        assert!(Band::new(0, &[(0, vec![])]).is_err());
        let band = Arc::new(Band::new(3, &[(0, vec![1.0])]).unwrap());
        let types = [TensorType::f32([4]), TensorType::u32([1]), TensorType::f32([1, 1])];
        let message = ResampleAxis { axis: 0, band }.infer(&types).unwrap_err().to_string();
        assert!(message.contains("3 elements along axis 0"), "{message}");
    }
}
