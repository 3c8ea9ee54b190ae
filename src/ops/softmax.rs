//! Softmax and log softmax over the last axis, and their gradients.

use super::row_reduction::{Lanes, ROW, check_row, largest, sum};
use crate::error::Result;
use crate::linalg::{Real, for_each_row};
use crate::op::{
    Bound, Buffer, Case, Cost, Cpu, CpuArgs, Declaration, FINITE, GRID, Gradient, Interchange, Kernel, Op, Recorder, Source,
    StandardNode, TINY, Term, UNIT, expect_inputs, gamma, moved_bytes, sample, shader,
};
use crate::tensor::{DType, Tensor, TensorType};

static SHADER: Source = shader!("softmax");
static GRAD_SHADER: Source = shader!("softmax_grad");

/// `y = exp(x) / sum of exp(x)` along the last axis: each row is a distribution over its classes. Input `x` f32 of any shape with at
/// least one axis, output of the same shape. Stable: the largest element of a row is taken off first. A row with a NaN becomes NaN.
///
/// Fails for a last axis longer than 2,097,152.
#[derive(Clone, PartialEq, Debug)]
pub struct Softmax;

/// `y = x - log(sum of exp(x))` along the last axis: the logarithm of [`Softmax`], without its underflow. Shapes and errors as there.
#[derive(Clone, PartialEq, Debug)]
pub struct LogSoftmax;

/// Gradient of [`Softmax`], from its output: `dx = y * (dy - sum of y * dy)`. Inputs `y` and `dy` f32 of the same shape.
#[derive(Clone, PartialEq, Debug)]
pub struct SoftmaxGrad;

/// Gradient of [`LogSoftmax`], from its output: `dx = dy - exp(y) * sum of dy`. Inputs `y` and `dy` f32 of the same shape.
#[derive(Clone, PartialEq, Debug)]
pub struct LogSoftmaxGrad;

fn infer(inputs: &[TensorType], names: &[&str]) -> Result<Vec<TensorType>> {
    expect_inputs(inputs, names)?;
    inputs[0].expect_dtype(names[0], DType::F32)?;
    let shape = inputs[0].shape.clone().checked(names[0])?;
    check_row("length of the last axis", shape.last())?;
    for (input, name) in inputs.iter().zip(names).skip(1) {
        input.expect(name, &inputs[0])?;
    }
    Ok(vec![inputs[0].clone()])
}

fn describe(d: &mut Interchange<'_>, op_type: &'static str) -> Result<Vec<Term>> {
    let last = d.input_type(0).shape.rank() - 1;
    Ok(vec![d.same(StandardNode::free(op_type, &[d.x(0)]).axis("axis", last))])
}

fn record(r: &mut Recorder<'_>, source: &'static Source, log: bool) {
    let c = r.x(0).shape.last();
    let rows = r.x(0).elements() / c;
    let lanes = Lanes::of(c);
    // The additions, and the product of each term.
    r.declare_depth(lanes.additions() + 1);
    let reads: Vec<Buffer> = (0..r.inputs().len()).map(Buffer::Input).collect();
    r.dispatch(
        lanes.set(Kernel::new(source, &[&FINITE, &GRID, &ROW]).set("LOG", log)),
        &reads,
        &[Buffer::Output(0)],
        &[("n_rows", rows.into()), ("c", c.into())],
        lanes.grid(r, rows),
    );
}

/// exp counted as 8 operations.
fn cost(inputs: &[TensorType], outputs: &[TensorType], flops: u64) -> Cost {
    Cost { flops: outputs[0].elements() as u64 * flops, bytes: moved_bytes(inputs, outputs) }
}

/// A row's softmax, with bounds on what a kernel computes for its parts.
///
/// With `d = x - max(x)` exact and u = 2^-23: the kernel's d is off by a rounding, relative u, which exp turns into a relative
/// `exp(|d| u) - 1 <= 1.001 |d| u` as long as |d| < 104. WGSL lets exp itself be off by `3 + 2 |d|` ULP, each at most u. Below -104
/// exp is under 1e-45, and anything that a kernel makes of it is within TINY.
pub(super) struct RowSoftmax {
    /// `x - max(x)`.
    pub d: Vec<f64>,
    /// `exp(d)`.
    pub exp: Vec<f64>,
    /// Relative error of each `exp`.
    pub exp_error: Vec<f64>,
    /// Sum of `exp`.
    pub sum: f64,
    /// Relative error of `sum`.
    pub sum_error: f64,
    /// Absolute error of the sum's logarithm.
    pub log_error: f64,
}

impl RowSoftmax {
    /// For a row whose sum a kernel computes with chains of `depth` roundings.
    pub fn new(x: &[f64], depth: usize) -> RowSoftmax {
        let m = largest(x);
        let d: Vec<f64> = x.iter().map(|x| x - m).collect();
        let exp: Vec<f64> = d.iter().map(|d| d.exp()).collect();
        let relative = |d: &f64| {
            if *d > -104.0 { (1.0 + 1.001 * d.abs() * UNIT) * (1.0 + (3.0 + 2.001 * d.abs()) * UNIT) - 1.0 } else { 0.0 }
        };
        let exp_error: Vec<f64> = d.iter().map(relative).collect();
        let total: f64 = exp.iter().sum();
        let terms: f64 = exp.iter().zip(&exp_error).map(|(e, r)| e * r + TINY).sum();
        let sum_error = (1.0 + terms / total) * (1.0 + gamma(depth)) - 1.0;
        // log(S (1 + r)) = log(S) + log(1 + r), |log(1 + r)| <= r / (1 - r). WGSL: log is off by 2^-21 = 4 u in [0.5, 2] and by
        // 3 ULP elsewhere.
        let log_moved = sum_error / (1.0 - sum_error);
        let log_error = log_moved + 4.0 * UNIT + 3.0 * UNIT * (total.ln().abs() + log_moved);
        RowSoftmax { d, exp, exp_error, sum: total, sum_error, log_error }
    }

    /// Relative error of `exp[j] / sum` when the division (2.5 ULP) and one product come on top.
    pub fn ratio_error(&self, j: usize) -> f64 {
        (1.0 + self.exp_error[j]) * (1.0 + gamma(4)) / (1.0 - self.sum_error) - 1.0
    }
}

/// Applies `f` to each row of an input and its index, and puts the results one after the other.
pub(super) fn by_row(x: &[f64], c: usize, f: impl Fn(usize, &[f64]) -> Vec<f64>) -> Vec<f64> {
    x.chunks_exact(c).enumerate().flat_map(|(row, x)| f(row, x)).collect()
}

impl Op for Softmax {
    fn name(&self) -> &'static str {
        "softmax"
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>> {
        infer(inputs, &["x"])
    }

    fn gradient(&self, g: &mut Gradient<'_>) -> Result<()> {
        let (y, dy) = (g.y(0), g.dy0()?);
        let dx = g.node(SoftmaxGrad, &[y, dy])?;
        g.set(0, dx);
        Ok(())
    }

    fn gpu(&self, r: &mut Recorder<'_>) -> Result<()> {
        record(r, &SHADER, false);
        Ok(())
    }

    fn cost(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Cost {
        cost(inputs, outputs, 20)
    }

    /// The relative error of exp over sum, see `RowSoftmax`.
    fn error_bound(&self, b: &Bound<'_>) -> Result<Vec<Vec<f64>>> {
        Ok(vec![by_row(b.inputs[0].real(), b.types[0].shape.last(), |_, x| {
            let row = RowSoftmax::new(x, b.depth);
            (0..x.len()).map(|j| row.exp[j] / row.sum * row.ratio_error(j) + TINY).collect()
        })])
    }

    fn interchange(&self, d: &mut Interchange<'_>) -> Result<Vec<Term>> {
        describe(d, "Softmax")
    }
}

impl Cpu for Softmax {
    fn cpu<T: Real>(&self, args: &mut CpuArgs<'_, T>) {
        let c = args.x_shape(0).last();
        let (x, y) = (args.x(0), args.y(0));
        for_each_row(y, c, |row, y| {
            let x = &x[row * c..][..c];
            let m = largest(x);
            y.iter_mut().zip(x).for_each(|(y, &x)| *y = (x - m).exp());
            let total = sum(0..c, &|j| y[j]);
            y.iter_mut().for_each(|y| *y /= total);
        });
    }
}

impl Op for LogSoftmax {
    fn name(&self) -> &'static str {
        "log_softmax"
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>> {
        infer(inputs, &["x"])
    }

    fn gradient(&self, g: &mut Gradient<'_>) -> Result<()> {
        let (y, dy) = (g.y(0), g.dy0()?);
        let dx = g.node(LogSoftmaxGrad, &[y, dy])?;
        g.set(0, dx);
        Ok(())
    }

    fn gpu(&self, r: &mut Recorder<'_>) -> Result<()> {
        record(r, &SHADER, true);
        Ok(())
    }

    fn cost(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Cost {
        cost(inputs, outputs, 12)
    }

    /// `d` is off by u |d|, the logarithm by `log_error`, and their difference is rounded once more.
    fn error_bound(&self, b: &Bound<'_>) -> Result<Vec<Vec<f64>>> {
        let y = b.outputs[0].real();
        let c = b.types[0].shape.last();
        Ok(vec![by_row(b.inputs[0].real(), c, |i, x| {
            let row = RowSoftmax::new(x, b.depth);
            let parts = row.d.iter().map(|d| UNIT * d.abs() + row.log_error);
            parts.zip(&y[i * c..]).map(|(parts, y)| parts + UNIT * (y.abs() + parts) + TINY).collect()
        })])
    }

    fn interchange(&self, d: &mut Interchange<'_>) -> Result<Vec<Term>> {
        describe(d, "LogSoftmax")
    }
}

impl Cpu for LogSoftmax {
    fn cpu<T: Real>(&self, args: &mut CpuArgs<'_, T>) {
        let c = args.x_shape(0).last();
        let (x, y) = (args.x(0), args.y(0));
        for_each_row(y, c, |row, y| {
            let x = &x[row * c..][..c];
            let m = largest(x);
            let log_sum = sum(0..c, &|j| (x[j] - m).exp()).ln();
            y.iter_mut().zip(x).for_each(|(y, &x)| *y = x - m - log_sum);
        });
    }
}

impl Op for SoftmaxGrad {
    fn name(&self) -> &'static str {
        "softmax_grad"
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>> {
        infer(inputs, &["y", "dy"])
    }

    fn gpu(&self, r: &mut Recorder<'_>) -> Result<()> {
        record(r, &GRAD_SHADER, false);
        Ok(())
    }

    fn cost(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Cost {
        cost(inputs, outputs, 4)
    }

    /// dx is the sum of `y dy` and of all `-y y_j dy_j`: chains of the sum's roundings (products are in `depth`), the subtraction
    /// and the last product. Each of the c products may underflow to zero, and is then multiplied by y.
    fn error_bound(&self, b: &Bound<'_>) -> Result<Vec<Vec<f64>>> {
        let c = b.types[0].shape.last();
        let dy = b.inputs[1].real();
        Ok(vec![by_row(b.inputs[0].real(), c, |i, y| {
            let dy = &dy[i * c..][..c];
            let total: f64 = y.iter().zip(dy).map(|(y, dy)| (y * dy).abs()).sum();
            let bound =
                |(y, dy): (&f64, &f64)| y.abs() * (dy.abs() + total) * gamma(b.depth + 2) + TINY * (1.0 + y.abs() * c as f64);
            y.iter().zip(dy).map(bound).collect()
        })])
    }
}

impl Cpu for SoftmaxGrad {
    fn cpu<T: Real>(&self, args: &mut CpuArgs<'_, T>) {
        let c = args.x_shape(0).last();
        let (y, dy, dx) = (args.x(0), args.x(1), args.y(0));
        for_each_row(dx, c, |row, dx| {
            let (y, dy) = (&y[row * c..][..c], &dy[row * c..][..c]);
            let total = sum(0..c, &|j| y[j] * dy[j]);
            dx.iter_mut().zip(y.iter().zip(dy)).for_each(|(dx, (&y, &dy))| *dx = y * (dy - total));
        });
    }
}

impl Op for LogSoftmaxGrad {
    fn name(&self) -> &'static str {
        "log_softmax_grad"
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>> {
        infer(inputs, &["y", "dy"])
    }

    fn gpu(&self, r: &mut Recorder<'_>) -> Result<()> {
        record(r, &GRAD_SHADER, true);
        Ok(())
    }

    fn cost(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Cost {
        cost(inputs, outputs, 11)
    }

    /// The product `exp(y) sum` is off by exp's `3 + 2 |y|` ULP, the sum's roundings and its own; then the subtraction rounds. What
    /// underflows in the product is at most c terms of the sum times exp(y).
    fn error_bound(&self, b: &Bound<'_>) -> Result<Vec<Vec<f64>>> {
        let c = b.types[0].shape.last();
        let (dy, dx) = (b.inputs[1].real(), b.outputs[0].real());
        Ok(vec![by_row(b.inputs[0].real(), c, |i, y| {
            let total: f64 = dy[i * c..][..c].iter().map(|dy| dy.abs()).sum();
            let bound = |(y, dx): (&f64, &f64)| {
                let relative =
                    if *y > -104.0 { (1.0 + (3.0 + 2.0 * y.abs()) * UNIT) * (1.0 + gamma(b.depth + 1)) - 1.0 } else { 0.0 };
                let product = y.exp() * total * relative + TINY * (1.0 + total + y.exp() * c as f64);
                product + UNIT * (dx.abs() + product) + TINY
            };
            y.iter().zip(&dx[i * c..]).map(bound).collect()
        })])
    }
}

impl Cpu for LogSoftmaxGrad {
    fn cpu<T: Real>(&self, args: &mut CpuArgs<'_, T>) {
        let c = args.x_shape(0).last();
        let (y, dy, dx) = (args.x(0), args.x(1), args.y(0));
        for_each_row(dx, c, |row, dx| {
            let (y, dy) = (&y[row * c..][..c], &dy[row * c..][..c]);
            let total = sum(0..c, &|j| dy[j]);
            dx.iter_mut().zip(y.iter().zip(dy)).for_each(|(dx, (&y, &dy))| *dx = dy - y.exp() * total);
        });
    }
}

const GRADIENT_OP: Option<&str> = Some("gradient op: second derivatives are not needed for training");

/// The list's entries.
pub static DECLARATIONS: &[Declaration] = &[
    Declaration { name: "softmax", no_gradient: None, shaders: &[&SHADER], cases: || cases(|_| Softmax) },
    Declaration { name: "log_softmax", no_gradient: None, shaders: &[&SHADER], cases: || cases(|_| LogSoftmax) },
    Declaration {
        name: "softmax_grad",
        no_gradient: GRADIENT_OP,
        shaders: &[&GRAD_SHADER],
        cases: || grad_cases(|_| SoftmaxGrad, f32::exp),
    },
    Declaration {
        name: "log_softmax_grad",
        no_gradient: GRADIENT_OP,
        shaders: &[&GRAD_SHADER],
        cases: || grad_cases(|_| LogSoftmaxGrad, |y| y),
    },
];

/// Row shapes that reductions are tested on: [`Lanes`] of 1, 64 and 256, few and many rows.
pub(super) const ROWS: [(&str, [usize; 2]); 7] = [
    ("one_element", [1, 1]),
    ("one_row", [1, 10]),
    ("many_workgroups", [150, 7]),
    ("classes_100", [5, 100]),
    ("classes_65", [3, 65]),
    ("classes_1000", [2, 1000]),
    ("classes_5000", [2, 5000]),
];

/// A tensor with every element of `t` put through `f`.
pub(super) fn mapped(t: &Tensor, f: impl Fn(f32) -> f32) -> Tensor {
    let data = t.as_f32().unwrap_or(&[]).iter().map(|&x| f(x)).collect();
    Tensor::f32(t.shape().clone(), data).unwrap_or_else(|_| unreachable!("the same shape"))
}

fn cases<O: Op>(op: impl Fn(usize) -> O) -> Vec<Case> {
    let mut cases: Vec<Case> = ROWS
        .iter()
        .enumerate()
        .map(|(i, &(name, shape))| {
            let case = Case::new(name, op(i), vec![sample::normal(i as u64, shape)]);
            // Finite differences of long rows would take minutes.
            if shape[1] > 100 { case.differentiable_by(&[]) } else { case }
        })
        .collect();
    cases.push(Case::new("rank_4_positive", op(0), vec![sample::positive(10, [2, 3, 2, 5])]));
    let large = mapped(&sample::normal(11, [4, 40]), |x| 200.0 * x);
    cases.push(Case::new("large_logits", op(0), vec![large]).differentiable_by(&[]));
    let mut with_nan = sample::normal(12, [3, 70]);
    with_nan = with_element(with_nan, 100, f32::NAN);
    cases.push(Case::new("nan", op(0), vec![with_nan]).differentiable_by(&[]));
    let mut s = crate::random::Stream::new(crate::random::Seed(13), 0);
    let random = [s.below(20) as usize + 1, s.below(60) as usize + 2];
    cases.push(Case::new("random", op(0), vec![sample::normal(14, random)]));
    cases
}

/// `t` with element `at` replaced.
pub(super) fn with_element(t: Tensor, at: usize, value: f32) -> Tensor {
    let mut data = t.as_f32().unwrap_or(&[]).to_vec();
    data[at] = value;
    Tensor::f32(t.shape().clone(), data).unwrap_or_else(|_| unreachable!("the same shape"))
}

/// `from_log` makes `y` from log probabilities.
fn grad_cases<O: Op>(op: impl Fn(usize) -> O, from_log: fn(f32) -> f32) -> Vec<Case> {
    let case = |(i, &(name, shape)): (usize, &(&str, [usize; 2]))| {
        let y = mapped(&sample::normal(20 + i as u64, shape), |x| from_log(-x.abs() - (shape[1] as f32).ln()));
        let dy = if i % 2 == 0 { sample::normal(30 + i as u64, shape) } else { sample::positive(30 + i as u64, shape) };
        Case::new(name, op(i), vec![y, dy])
    };
    ROWS.iter().enumerate().map(case).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::{Oracle, View, run_f64};

    fn run(op: &dyn Op, x: &[f64]) -> Vec<f64> {
        run_f64(op, &[TensorType::f32([1, x.len()])], &[View::Real(x)]).unwrap()[0].real().to_vec()
    }

    #[test]
    fn values() {
        let close = |a: &[f64], b: &[f64]| assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-15), "{a:?} {b:?}");
        let e = 1f64.exp();
        close(&run(&Softmax, &[0.0, 1.0]), &[1.0 / (1.0 + e), e / (1.0 + e)]);
        close(&run(&LogSoftmax, &[5.0, 5.0]), &[-(2f64.ln()); 2]);
        close(&run(&Softmax, &[1e6, -1e6]), &[1.0, 0.0]);
        close(&run(&LogSoftmax, &[1e3, -1e3]), &[0.0, -2e3]);
        close(&run(&Softmax, &[f64::NEG_INFINITY, 0.0]), &[0.0, 1.0]);
        assert!(run(&Softmax, &[0.0, f64::NAN, 1.0]).iter().all(|y| y.is_nan()));
    }

    #[test]
    fn single_precision_stays_within_half_the_bound() {
        for case in cases(|_| Softmax).into_iter().chain(cases(|_| LogSoftmax)).filter(|c| c.name != "nan") {
            let types = [case.inputs[0].tensor_type()];
            let inputs = [Oracle::from_tensor(&case.inputs[0])];
            let outputs = run_f64(&*case.op, &types, &[inputs[0].view()]).unwrap();
            let depth = Lanes::of(types[0].shape.last()).additions() + 1;
            let bound = case.op.error_bound(&Bound { types: &types, inputs: &inputs, outputs: &outputs, depth }).unwrap();
            let mut y = vec![0f32; types[0].elements()];
            let views = vec![crate::op::ViewMut::Real(&mut y)];
            let x = vec![View::Real(case.inputs[0].as_f32().unwrap())];
            case.op.cpu_f32(&mut CpuArgs::new(&types, &types, x, views, Vec::new()));
            for ((y, want), bound) in y.iter().zip(outputs[0].real()).zip(&bound[0]) {
                assert!((f64::from(*y) - want).abs() <= 0.5 * bound, "{}: {y} {want} {bound}", case.name);
            }
        }
    }
}
