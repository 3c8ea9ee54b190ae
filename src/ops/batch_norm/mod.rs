//! Batch normalisation (S. Ioffe, C. Szegedy, "Batch Normalization: Accelerating Deep Network Training by Reducing Internal Covariate
//! Shift", ICML 2015): in training by the batch's statistics, in inference by running ones, its gradients, and how it is taken into the
//! weights before it.

mod cases;
mod fold;
mod grad;
mod inference;

pub use fold::BatchNormFold;
pub use grad::{BatchNormGradInput, BatchNormGradParameters};
pub use inference::BatchNormInference;

use super::channel_sums::{self as sums, Pass, channel_sums};
use super::elements::Elements;
use super::running_error::Running;
use super::update::expect_positive;
use crate::error::{Error, Result};
use crate::linalg::{Real, for_each_row};
use crate::op::{
    ACTIVATION, Activation, Bound, Buffer, Cost, Cpu, CpuArgs, Declaration, Gradient, Op, Oracle, Recorder, Source, TINY, UNIT,
    gamma as rounding, moved_bytes, shader,
};
use crate::ops::matmul::refuse_fused;
use crate::tensor::{DType, Shape, TensorType};
use std::sync::Arc;

static BATCH_NORM: Source = shader!("batch_norm");
static SUMS: Source = shader!("batch_norm_sums");
static STATISTICS: Source = shader!("batch_norm_statistics");

/// `y = activation(gamma (x - mean) / sqrt(variance + epsilon) + beta + residual)`, channel by channel, with the mean and the biased
/// variance (divided by N, the number of a channel's values) of x's channels.
///
/// Inputs: `x` [.., c] of 2 or more dimensions, `gamma` and `beta` `[c]`, and, fused, a `residual` like x. Outputs: `y` like x; `mean`,
/// `variance` and `running_variance` `[c]`. The last is what running statistics follow: the variance itself, or, with
/// `unbiased`, N / (N - 1) times that, as in PyTorch (Keras 3 has the former). Only `y` is differentiable, by all inputs.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct BatchNorm {
    /// Added to the variance.
    pub epsilon: f64,
    /// Whether `running_variance` is the unbiased one. Then a channel must have 2 values at least.
    pub unbiased: bool,
    residual: bool,
    activation: Option<Activation>,
}

/// A tensor seen as rows of channels.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Channels {
    rows: usize,
    c: usize,
}

impl Channels {
    /// Of `x`, or an error that says what a batch norm wants.
    fn of(x: &TensorType) -> Result<Channels> {
        x.expect_dtype("x", DType::F32)?;
        if x.shape.rank() < 2 {
            return Err(Error::invalid("x", x, "2 or more dimensions, a batch first and channels last"));
        }
        Ok(Channels::checked(&x.shape))
    }

    /// Of a shape that infer has accepted.
    fn checked(shape: &Shape) -> Channels {
        let c = shape.last();
        Channels { rows: shape.elements() / c, c }
    }

    /// Fails unless the named inputs are f32 `[c]`.
    fn expect(&self, inputs: &[TensorType], names: &[&str]) -> Result<()> {
        let vector = TensorType::f32([self.c]);
        inputs.iter().zip(names).try_for_each(|(ty, name)| ty.expect(name, &vector))
    }

    fn elements(&self) -> Elements {
        Elements::aligned(self.rows * self.c, self.c)
    }
}

/// The row that is taken off before sums are made: a pixel in the middle of the first image, as one at the edge of a padded feature
/// map can be far from typical. Any would do, but the nearer it is to the mean, the less is lost.
fn pivot_row(shape: &Shape) -> usize {
    match *shape.dims() {
        [_, h, w, _] => h / 2 * w + w / 2,
        _ => 0,
    }
}

impl BatchNorm {
    /// A batch norm without residual and activation.
    pub fn new(epsilon: f64, unbiased: bool) -> BatchNorm {
        BatchNorm { epsilon, unbiased, residual: false, activation: None }
    }

    fn correction(&self, rows: usize) -> f64 {
        if self.unbiased { rows as f64 / (rows as f64 - 1.0) } else { 1.0 }
    }
}

/// Fails unless there is an input for each name and a last one like the first if there is a residual.
fn expect_inputs(inputs: &[TensorType], names: &[&str], residual: bool) -> Result<()> {
    let names: Vec<&str> = names.iter().copied().chain(residual.then_some("residual")).collect();
    crate::op::expect_inputs(inputs, &names)?;
    if residual { inputs[names.len() - 1].expect("residual", &inputs[0]) } else { Ok(()) }
}

/// Records the kernel that normalises: `channel` are mean, variance, gamma and beta.
fn record_normalise(
    r: &mut Recorder<'_>,
    channel: [Buffer; 4],
    epsilon: f64,
    residual: Option<Buffer>,
    activation: Option<Activation>,
) {
    let channels = Channels::checked(&r.x(0).shape);
    let e = channels.elements();
    let groups = rows_of(&e, channels);
    let kernel = e.kernel(&BATCH_NORM, &[&ACTIVATION]).set("HAS_RESIDUAL", residual.is_some());
    let kernel = kernel.activation(activation);
    let params = [
        ("n", groups.n()),
        ("rows", channels.rows.into()),
        ("c", e.count(channels.c).into()),
        ("epsilon", (epsilon as f32).into()),
    ];
    let x = Buffer::Input(0);
    let [mean, variance, gamma, beta] = channel;
    let reads = [x, mean, variance, gamma, beta, residual.unwrap_or(x)];
    let grid = groups.grid(r);
    r.dispatch(kernel, &reads, &[Buffer::Output(0)], &params, grid);
}

/// Rows that an invocation of an elementwise kernel takes.
const ROWS: usize = 4;

/// The elements of a tensor with a row in place of [`ROWS`].
fn rows_of(e: &Elements, channels: Channels) -> Elements {
    let n = channels.rows.div_ceil(ROWS) * channels.c;
    // As aligned as the tensor itself.
    Elements::aligned(n, if e.count(4) == 1 { 4 } else { 1 })
}

/// The numbers of a channel that normalise it, on the CPU.
struct Normalise<'a, T> {
    mean: &'a [T],
    variance: &'a [T],
    gamma: &'a [T],
    beta: &'a [T],
    epsilon: f64,
}

impl<T: Real> Normalise<'_, T> {
    fn scale(&self) -> Vec<T> {
        let epsilon = T::from_f64(self.epsilon);
        self.gamma.iter().zip(self.variance).map(|(&gamma, &v)| gamma * (T::ONE / (v + epsilon).sqrt())).collect()
    }

    /// `activate` is applied to each row.
    fn run(&self, x: &[T], residual: Option<&[T]>, activate: impl Fn(&mut [T]) + Sync, y: &mut [T]) {
        const BLOCK: usize = 4096;
        let (c, scale) = (self.mean.len(), self.scale());
        // Rows together, so that an activation is applied to more than a few channels.
        let block_len = (BLOCK / c).max(1) * c;
        for_each_row(y, block_len, |block, y| {
            let start = block * block_len;
            for (y, x) in y.chunks_exact_mut(c).zip(x[start..].chunks_exact(c)) {
                for ((((y, &x), &mean), &scale), &beta) in y.iter_mut().zip(x).zip(self.mean).zip(&scale).zip(self.beta) {
                    *y = (x - mean) * scale + beta;
                }
            }
            if let Some(residual) = residual {
                y.iter_mut().zip(&residual[start..]).for_each(|(y, &r)| *y += r);
            }
            activate(y);
        });
    }
}

/// An activation on rows, in double precision.
fn oracle<T: Real>(activation: Option<Activation>) -> impl Fn(&mut [T]) + Sync {
    move |row| {
        if let Some(f) = activation {
            f.apply(row);
        }
    }
}

/// An activation on rows, in single precision.
fn single(activation: Option<Activation>) -> impl Fn(&mut [f32]) + Sync {
    move |row| {
        if let Some(f) = activation {
            f.f32.apply(row);
        }
    }
}

/// Error bound of `y`: the formula in running error analysis, then the activation. `channel` are mean, variance, gamma and beta with the
/// errors that they come with.
fn normalised_bound(
    b: &Bound<'_>,
    channel: impl Fn(usize) -> [Running; 4],
    epsilon: f64,
    residual: Option<usize>,
    activation: Option<Activation>,
) -> Vec<f64> {
    let c = b.types[0].shape.last();
    let of_channel: Vec<[Running; 3]> = (0..c)
        .map(|i| {
            let [mean, variance, gamma, beta] = channel(i);
            let scale = gamma * (Running::ONE / (variance + Running::from_f64(epsilon)).sqrt());
            [mean, scale, beta]
        })
        .collect();
    let input = |k: usize, i: usize| Running::new(b.inputs[k].real()[i], 0.0);
    let bound = |i: usize, y: f64| {
        let [mean, scale, beta] = of_channel[i % c];
        let mut v = (input(0, i) - mean) * scale + beta;
        if let Some(residual) = residual {
            v += input(residual, i);
        }
        match activation {
            None => v.error(),
            Some(f) => f.bound(v.error(), v.to_f64(), y),
        }
    };
    b.outputs[0].real().iter().enumerate().map(|(i, &y)| bound(i, y)).collect()
}

impl Op for BatchNorm {
    fn name(&self) -> &'static str {
        "batch_norm"
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>> {
        expect_inputs(inputs, &["x", "gamma", "beta"], self.residual)?;
        expect_positive("epsilon", self.epsilon)?;
        let channels = Channels::of(&inputs[0])?;
        channels.expect(&inputs[1..3], &["gamma", "beta"])?;
        if self.unbiased && channels.rows == 1 {
            let want = "2 values a channel at least, for an unbiased variance: a larger batch or image";
            return Err(Error::invalid("x", &inputs[0], want));
        }
        let vector = TensorType::f32([channels.c]);
        Ok(vec![inputs[0].clone(), vector.clone(), vector.clone(), vector])
    }

    fn gradient(&self, g: &mut Gradient<'_>) -> Result<()> {
        refuse_fused(self.residual, self.activation)?;
        let (dy, x, mean, variance) = (g.dy0()?, g.x(0), g.y(1), g.y(2));
        let epsilon = self.epsilon;
        let parameters = g.nodes(BatchNormGradParameters { epsilon }, &[dy, x, mean, variance])?;
        let &[dgamma, dbeta] = parameters.as_slice() else { unreachable!("two outputs") };
        if g.wants(0) {
            let dx = g.node(BatchNormGradInput { epsilon }, &[dy, x, mean, variance, g.x(1), dgamma, dbeta])?;
            g.set(0, dx);
        }
        g.set(1, dgamma);
        g.set(2, dbeta);
        Ok(())
    }

    fn remake(&self) -> Option<(Arc<dyn Op>, Vec<Buffer>)> {
        let op = BatchNormInference { epsilon: self.epsilon, residual: self.residual, activation: self.activation };
        let [x, gamma, beta] = [0, 1, 2].map(Buffer::Input);
        let residual = self.residual.then_some(Buffer::Input(3));
        let reads = [x, Buffer::Output(1), Buffer::Output(2), gamma, beta].into_iter().chain(residual);
        Some((Arc::new(op), reads.collect()))
    }

    fn gpu(&self, r: &mut Recorder<'_>) -> Result<()> {
        let shape = &r.x(0).shape;
        let channels = Channels::checked(shape);
        let e = channels.elements();
        let (rows, c) = (channels.rows, e.count(channels.c));
        let first = Pass::first(rows, c);
        let last = first.last();
        let partial = r.temp(TensorType::f32([first.n_blocks, 2, channels.c]));
        let constants = sums::Constants {
            pivot_row: pivot_row(shape),
            len: rows,
            correction: self.correction(rows),
            epsilon: self.epsilon,
            ..sums::Constants::default()
        };
        first.record(r, e.kernel(&SUMS, &[&sums::CHANNEL_SUMS]), &[Buffer::Input(0)], &[partial], constants);
        let kernel = e.kernel(&STATISTICS, &[&ACTIVATION, &sums::CHANNEL_SUMS]);
        let writes = [Buffer::Output(1), Buffer::Output(2), Buffer::Output(3)];
        last.record(r, kernel, &[partial, Buffer::Input(0)], &writes, constants);
        r.declare_depth(first.additions() + last.additions());
        let channel = [Buffer::Output(1), Buffer::Output(2), Buffer::Input(1), Buffer::Input(2)];
        record_normalise(r, channel, self.epsilon, self.residual.then_some(Buffer::Input(3)), self.activation);
        Ok(())
    }

    fn cost(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Cost {
        // Statistics: difference, square, two sums. Then difference, product, sum.
        Cost { flops: 7 * inputs[0].elements() as u64, bytes: moved_bytes(inputs, outputs) }
    }

    fn error_bound(&self, b: &Bound<'_>) -> Result<Vec<Vec<f64>>> {
        let shape = &b.types[0].shape;
        let Channels { rows, c } = Channels::checked(shape);
        let (x, n) = (b.inputs[0].real(), rows as f64);
        let pivot = &x[pivot_row(shape) * c..][..c];
        let [mut absolute, mut square] = [vec![0.0; c], vec![0.0; c]];
        for row in x.chunks_exact(c) {
            for (i, (&x, &pivot)) in row.iter().zip(pivot).enumerate() {
                absolute[i] += (x - pivot).abs() / n;
                square[i] += (x - pivot).powi(2) / n;
            }
        }
        let statistic = |output: usize, i: usize| b.outputs[output].real()[i];
        // d = x - pivot is rounded once, d^2 three times in all, sums `depth` times; the factor 1 / N twice, its own rounding and the
        // product's. So the mean of d is off by g A, A the mean of |d|, that of d^2 by g Q, with g for 5 roundings more; its
        // square by 2 |d| g A + (g A)^2, and the difference is rounded twice more.
        let g = rounding(b.depth + 5);
        let off = |i: usize| {
            let d = (statistic(1, i) - pivot[i]).abs();
            let off_d = g * absolute[i];
            let mean = off_d + UNIT * (statistic(1, i).abs() + off_d) + TINY;
            let off_variance = g * square[i] + 2.0 * d * off_d + off_d * off_d + UNIT * d * d;
            let variance = off_variance + UNIT * (statistic(2, i) + off_variance) + TINY;
            [mean, variance]
        };
        let off: Vec<[f64; 2]> = (0..c).map(off).collect();
        let correction = Running::from_f64(self.correction(rows));
        let [mean, variance] =
            [1, 2].map(|o| move |i: usize, off: &[[f64; 2]]| Running::new(b.outputs[o].real()[i], off[i][o - 1]));
        let channel = |i: usize| {
            let of = |k: usize| Running::new(b.inputs[k].real()[i], 0.0);
            [mean(i, &off), variance(i, &off), of(1), of(2)]
        };
        let y = normalised_bound(b, channel, self.epsilon, self.residual.then_some(3), self.activation);
        Ok(vec![
            y,
            off.iter().map(|off| off[0]).collect(),
            off.iter().map(|off| off[1]).collect(),
            (0..c).map(|i| (correction * variance(i, &off)).error()).collect(),
        ])
    }

    fn with_activation(&self, activation: Activation) -> Option<Arc<dyn Op>> {
        self.activation.is_none().then(|| Arc::new(BatchNorm { activation: Some(activation), ..*self }) as Arc<dyn Op>)
    }

    fn with_residual(&self) -> Option<Arc<dyn Op>> {
        let free = self.activation.is_none() && !self.residual;
        free.then(|| Arc::new(BatchNorm { residual: true, ..*self }) as Arc<dyn Op>)
    }
}

impl Cpu for BatchNorm {
    fn cpu<T: Real>(&self, args: &mut CpuArgs<'_, T>) {
        self.run(args, oracle(self.activation));
    }

    fn cpu_single(&self, args: &mut CpuArgs<'_, f32>) {
        self.run(args, single(self.activation));
    }
}

impl BatchNorm {
    fn run<T: Real>(&self, args: &mut CpuArgs<'_, T>, activate: impl Fn(&mut [T]) + Sync) {
        let shape = args.x_shape(0);
        let Channels { rows, c } = Channels::checked(shape);
        let (x, gamma, beta) = (args.x(0), args.x(1), args.x(2));
        let residual = self.residual.then(|| args.x(3));
        let (y, mean, variance, running) = (args.y(0), args.y(1), args.y(2), args.y(3));
        let pivot = &x[pivot_row(shape) * c..][..c];
        let sums = channel_sums(rows, c, |row, a, b| {
            for (((a, b), &x), &pivot) in a.iter_mut().zip(b).zip(&x[row * c..][..c]).zip(pivot) {
                let d = x - pivot;
                *a += d;
                *b += d * d;
            }
        });
        let inverse = T::from_f64(1.0 / rows as f64);
        let correction = T::from_f64(self.correction(rows));
        for i in 0..c {
            let d = inverse * sums[0][i];
            let v = inverse * sums[1][i] - d * d;
            mean[i] = pivot[i] + d;
            // Roundings can leave a little less than 0.
            variance[i] = if v < T::ZERO { T::ZERO } else { v };
            running[i] = correction * variance[i];
        }
        Normalise { mean, variance, gamma, beta, epsilon: self.epsilon }.run(x, residual, activate, y);
    }
}

/// The numbers of channel `i` in inputs from `first` on, without an error.
fn exact_channel(b: &Bound<'_>, first: usize, i: usize) -> [Running; 4] {
    std::array::from_fn(|k| Running::new(Oracle::real(&b.inputs[first + k])[i], 0.0))
}

/// The list's entries.
pub static DECLARATIONS: &[Declaration] = &[
    Declaration { name: "batch_norm", no_gradient: None, shaders: &[&SUMS, &STATISTICS, &BATCH_NORM], cases: cases::batch_norm },
    Declaration {
        name: "batch_norm_grad_parameters",
        no_gradient: Some("gradient op: second derivatives are not needed for training"),
        shaders: &[&grad::SUMS, &grad::PARAMETERS],
        cases: cases::grad_parameters,
    },
    Declaration {
        name: "batch_norm_grad_input",
        no_gradient: Some("gradient op: second derivatives are not needed for training"),
        shaders: &[&grad::INPUT],
        cases: cases::grad_input,
    },
    Declaration {
        name: "batch_norm_inference",
        no_gradient: None,
        shaders: &[&BATCH_NORM],
        cases: cases::inference,
    },
    Declaration {
        name: "batch_norm_fold",
        no_gradient: Some("it prepares weights for inference"),
        shaders: &[&fold::FOLD],
        cases: cases::fold,
    },
];

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
    fn by_hand() {
        let op = BatchNorm::new(1e-9, true);
        let types = [TensorType::f32([4, 2]), TensorType::f32([2]), TensorType::f32([2])];
        let x = [1.0, 10.0, 2.0, 10.0, 3.0, 10.0, 6.0, 10.0];
        let y = run_f64(&op, &types, &[View::Real(&x), View::Real(&[2.0, 1.0]), View::Real(&[0.5, -1.0])]).unwrap();
        assert_eq!(y[1].real(), [3.0, 10.0]);
        assert_eq!(y[2].real(), [3.5, 0.0]);
        assert!((y[3].real()[0] - 14.0 / 3.0).abs() < 1e-14);
        let want = |x: f64| 2.0 * (x - 3.0) / (3.5f64 + 1e-9).sqrt() + 0.5;
        for (row, x) in y[0].real().chunks(2).zip([1.0, 2.0, 3.0, 6.0]) {
            assert!((row[0] - want(x)).abs() < 1e-14 && row[1] == -1.0, "{row:?}");
        }
    }

    /// Sums of squares would have no digit left in single precision.
    #[test]
    fn a_large_mean_cancels_nothing() {
        let case = cases::batch_norm().into_iter().find(|c| c.name == "large_mean").unwrap();
        let types: Vec<_> = case.inputs.iter().map(crate::Tensor::tensor_type).collect();
        let inputs: Vec<_> = case.inputs.iter().map(Oracle::from_tensor).collect();
        let outputs = check::outputs(&case);
        let bounds = case.op.error_bound(&Bound { types: &types, inputs: &inputs, outputs: &outputs, depth: 20 }).unwrap();
        assert!(outputs[1].real().iter().all(|&mean| mean > 990.0));
        for (bound, variance) in bounds[2].iter().zip(outputs[2].real()) {
            assert!(*bound < 1e-4 * variance, "{bound} {variance}");
        }
    }

    #[test]
    fn fused_forms() {
        let relu = crate::ops::unary::activation::<crate::ops::unary::Relu>();
        let op = BatchNorm::new(1e-3, false);
        let joined = op.with_residual().unwrap();
        assert!(joined.with_residual().is_none());
        let active = joined.with_activation(relu).unwrap();
        assert!(active.with_residual().is_none() && active.with_activation(relu).is_none());
        let x = TensorType::f32([2, 3, 3, 4]);
        let v = TensorType::f32([4]);
        assert!(active.infer(&[x.clone(), v.clone(), v.clone(), x.clone()]).is_ok());
        assert!(active.infer(&[x.clone(), v.clone(), v.clone()]).is_err());
        assert!(active.infer(&[x, v.clone(), v.clone(), v]).is_err());
    }

    #[test]
    fn bad_inputs_are_refused() {
        let types = |x: &[usize], c: usize| vec![TensorType::f32(x), TensorType::f32([c]), TensorType::f32([c])];
        let op = BatchNorm::new(1e-5, true);
        assert!(op.infer(&types(&[2, 5], 5)).is_ok());
        for (x, c) in [(&[5][..], 5), (&[2, 5], 4), (&[1, 5], 5), (&[1, 1, 1, 5], 5)] {
            assert!(op.infer(&types(x, c)).is_err(), "{x:?}");
        }
        assert!(BatchNorm::new(1e-5, false).infer(&types(&[1, 5], 5)).is_ok());
        for epsilon in [0.0, -1.0, f64::NAN] {
            assert!(BatchNorm::new(epsilon, false).infer(&types(&[2, 5], 5)).is_err());
        }
    }
}
