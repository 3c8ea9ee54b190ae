//! Losses that are sums over elements of predictions and targets of one shape: a table, one row a loss, and its gradient. The WGSL of a
//! row is a case of `shaders/shared/losses.wgsl`.

use super::elements::Elements;
use super::row_reduction::{Lanes, ROW, check_row, sum};
use super::running_error::Running;
use crate::error::{Error, Result};
use crate::linalg::{Real, for_each_row, map_indices};
use crate::op::{
    Bound, Buffer, Case, Cost, Cpu, CpuArgs, Declaration, GRID, Gradient, Kernel, Op, Recorder, Source, TINY, expect_inputs, gamma,
    moved_bytes, sample, shader,
};
use crate::tensor::{DType, Tensor, TensorType};
use std::fmt::Debug;
use std::marker::PhantomData;

static SHARED: Source = shader!("shared/losses");
static SHADER: Source = shader!("losses");
static TOTAL_SHADER: Source = shader!("losses_total");
static GRAD_SHADER: Source = shader!("losses_grad");

/// Longest piece of a row that a workgroup sums. Longer rows take a second pass.
const PART: usize = 4096;

/// A row of the table: a loss of prediction `p` and target `t`, with a parameter `k`.
pub trait LossRow: Debug + Send + Sync + 'static {
    /// Name of the op.
    const NAME: &'static str;
    /// Name of its gradient.
    const GRAD_NAME: &'static str;
    /// The `case` of `LOSS` in `shaders/shared/losses.wgsl`.
    const CODE: u32;
    /// The parameter, for cases; rows without one take no notice of it.
    const PARAMETER: f64 = 1.0;
    /// Whether a sample's loss is the mean over its elements rather than their sum.
    const MEAN: bool = true;
    /// The loss of an element.
    fn loss<T: Real>(p: T, t: T, k: T) -> T;
    /// Its slope by the prediction.
    fn slope<T: Real>(p: T, t: T, k: T) -> T;
    /// Targets for cases: of classes 0 and 1, of probabilities, or of any numbers.
    fn targets(seed: u64, shape: &[usize]) -> Tensor {
        sample::normal(seed, shape)
    }
}

/// `(p - t)^2`.
#[derive(Debug)]
pub struct SquaredError;

impl LossRow for SquaredError {
    const NAME: &'static str = "mean_squared_error";
    const GRAD_NAME: &'static str = "mean_squared_error_grad";
    const CODE: u32 = 0;

    fn loss<T: Real>(p: T, t: T, _: T) -> T {
        (p - t) * (p - t)
    }

    fn slope<T: Real>(p: T, t: T, _: T) -> T {
        T::from_f64(2.0) * (p - t)
    }
}

/// `|p - t|`; the slope at 0 is 0, as in PyTorch.
#[derive(Debug)]
pub struct AbsoluteError;

impl LossRow for AbsoluteError {
    const NAME: &'static str = "mean_absolute_error";
    const GRAD_NAME: &'static str = "mean_absolute_error_grad";
    const CODE: u32 = 1;

    fn loss<T: Real>(p: T, t: T, _: T) -> T {
        (p - t).abs()
    }

    fn slope<T: Real>(p: T, t: T, _: T) -> T {
        (p - t).sign()
    }
}

fn min<T: Real>(a: T, b: T) -> T {
    -(-a).max(-b)
}

/// Huber's loss (P. Huber, "Robust Estimation of a Location Parameter", 1964): half the square of a difference up to `k`, from there on a
/// straight line, `k (|p - t| - k / 2)`.
#[derive(Debug)]
pub struct Huber;

impl LossRow for Huber {
    const NAME: &'static str = "huber";
    const GRAD_NAME: &'static str = "huber_grad";
    const CODE: u32 = 2;
    const PARAMETER: f64 = 0.75;

    fn loss<T: Real>(p: T, t: T, k: T) -> T {
        let d = (p - t).abs();
        let near = min(d, k);
        near * (d - T::from_f64(0.5) * near)
    }

    fn slope<T: Real>(p: T, t: T, k: T) -> T {
        min(p - t, k).max(-k)
    }
}

/// 1 where the target is class 1, -1 where it is class 0 (or -1).
fn side<T: Real>(t: T) -> T {
    if t > T::ZERO { T::ONE } else { -T::ONE }
}

/// 0 or 1.
fn classes(seed: u64, shape: &[usize]) -> Tensor {
    super::softmax::mapped(&sample::normal(seed, shape), |x| if x > 0.0 { 1.0 } else { 0.0 })
}

/// `max(0, 1 - s p)`, with `s` 1 for targets above 0 and -1 for others; the slope at 0 is 0.
#[derive(Debug)]
pub struct Hinge;

impl LossRow for Hinge {
    const NAME: &'static str = "hinge";
    const GRAD_NAME: &'static str = "hinge_grad";
    const CODE: u32 = 3;

    fn loss<T: Real>(p: T, t: T, _: T) -> T {
        (T::ONE - side(t) * p).max(T::ZERO)
    }

    fn slope<T: Real>(p: T, t: T, _: T) -> T {
        let margin = T::ONE - side(t) * p;
        if margin.is_nan() {
            margin
        } else if margin > T::ZERO {
            -side(t)
        } else {
            T::ZERO
        }
    }

    fn targets(seed: u64, shape: &[usize]) -> Tensor {
        classes(seed, shape)
    }
}

/// The square of [`Hinge`].
#[derive(Debug)]
pub struct SquaredHinge;

impl LossRow for SquaredHinge {
    const NAME: &'static str = "squared_hinge";
    const GRAD_NAME: &'static str = "squared_hinge_grad";
    const CODE: u32 = 4;

    fn loss<T: Real>(p: T, t: T, k: T) -> T {
        Hinge::loss(p, t, k) * Hinge::loss(p, t, k)
    }

    fn slope<T: Real>(p: T, t: T, k: T) -> T {
        T::from_f64(-2.0) * side(t) * Hinge::loss(p, t, k)
    }

    fn targets(seed: u64, shape: &[usize]) -> Tensor {
        classes(seed, shape)
    }
}

/// Cross-entropy of the sigmoid of `p`, stable for any `p` (PyTorch's `binary_cross_entropy_with_logits`):
/// `(1 - t) p + (1 + (k - 1) t) ln(1 + e^-p)`, with `k` the weight of class 1.
#[derive(Debug)]
pub struct BinaryCrossEntropy;

impl LossRow for BinaryCrossEntropy {
    const NAME: &'static str = "binary_cross_entropy";
    const GRAD_NAME: &'static str = "binary_cross_entropy_grad";
    const CODE: u32 = 5;
    const PARAMETER: f64 = 2.5;

    fn loss<T: Real>(p: T, t: T, k: T) -> T {
        let far = (-p.abs()).exp().ln_1p() + (-p).max(T::ZERO);
        (T::ONE - t) * p + (T::ONE + (k - T::ONE) * t) * far
    }

    fn slope<T: Real>(p: T, t: T, k: T) -> T {
        let e = (-p.abs()).exp();
        let s = (if p > T::ZERO { e } else { T::ONE }) / (T::ONE + e);
        (T::ONE - t) - (T::ONE + (k - T::ONE) * t) * s
    }

    fn targets(seed: u64, shape: &[usize]) -> Tensor {
        sample::positive(seed, shape)
    }
}

/// What a sample's distribution of log-probabilities `p` lacks to one of probabilities `t` (S. Kullback, R. Leibler, 1951), as in PyTorch's
/// `kl_div` with `batchmean`: the sum of `t (ln t - p)`, 0 where t is 0.
#[derive(Debug)]
pub struct KlDivergence;

impl LossRow for KlDivergence {
    const NAME: &'static str = "kl_divergence";
    const GRAD_NAME: &'static str = "kl_divergence_grad";
    const CODE: u32 = 6;
    const MEAN: bool = false;

    fn loss<T: Real>(p: T, t: T, _: T) -> T {
        if t == T::ZERO { T::ZERO } else { t * (t.ln() - p) }
    }

    fn slope<T: Real>(_: T, t: T, _: T) -> T {
        -t
    }

    fn targets(seed: u64, shape: &[usize]) -> Tensor {
        super::softmax::mapped(&sample::normal(seed, shape), |x| x.max(0.0))
    }
}

/// Makes the list's entries from the rows.
macro_rules! rows {
    ($($row:ident),* $(,)?) => {
        /// The list's entries: for each row the loss and its gradient.
        pub static DECLARATIONS: &[Declaration] = &[$(
            Declaration {
                name: $row::NAME,
                no_gradient: None,
                shaders: &[&SHADER, &TOTAL_SHADER],
                cases: cases::<$row>,
            },
            Declaration {
                name: $row::GRAD_NAME,
                no_gradient: Some("gradient op: second derivatives are not needed for training"),
                shaders: &[&GRAD_SHADER],
                cases: grad_cases::<$row>,
            },
        )*];
    };
}

rows! {
    SquaredError,
    AbsoluteError,
    Huber,
    Hinge,
    SquaredHinge,
    BinaryCrossEntropy,
    KlDivergence,
}

/// A loss for each sample: the mean of the row's losses over the sample's elements, or their sum. Inputs: `prediction` and `target`
/// f32 of the same shape, whose first axis is the batch's; output: `loss [n]` f32, not yet averaged. Differentiable by the prediction;
/// targets are constants: a loss whose targets depend on parameters is refused.
///
/// Fails for tensors of other types, unequal shapes, a shape without axes, and a parameter that isn't positive and finite.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct ElementLoss<R> {
    /// The row's parameter.
    pub parameter: f64,
    row: PhantomData<R>,
}

/// Gradient of [`ElementLoss`] by the prediction. Inputs `prediction`, `target` and `dloss [n]` f32; output of the prediction's shape.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct ElementLossGrad<R> {
    /// The row's parameter.
    pub parameter: f64,
    row: PhantomData<R>,
}

impl<R: LossRow> ElementLoss<R> {
    /// The loss with this parameter.
    pub const fn new(parameter: f64) -> Self {
        ElementLoss { parameter, row: PhantomData }
    }
}

impl<R: LossRow> Default for ElementLoss<R> {
    /// With a parameter of 1.
    fn default() -> Self {
        ElementLoss::new(1.0)
    }
}

impl<R: LossRow> ElementLossGrad<R> {
    /// The gradient of the loss with this parameter.
    pub const fn new(parameter: f64) -> Self {
        ElementLossGrad { parameter, row: PhantomData }
    }
}

/// Checks prediction, target and parameter, and gives rows and their length.
fn check(inputs: &[TensorType], parameter: f64) -> Result<[usize; 2]> {
    super::update::expect_positive("parameter", parameter)?;
    inputs[0].expect_dtype("prediction", DType::F32)?;
    let shape = inputs[0].shape.clone().checked("prediction")?;
    inputs[1].expect("target", &inputs[0])?;
    let Some(&n) = shape.dims().first() else {
        return Err(Error::invalid("prediction", &inputs[0], "at least one axis, the batch's"));
    };
    check_row("pieces of a row", (shape.elements() / n).div_ceil(PART))?;
    Ok([n, shape.elements() / n])
}

/// Factor of a sample's sum.
fn scale<R: LossRow>(row_len: usize) -> f64 {
    if R::MEAN { 1.0 / row_len as f64 } else { 1.0 }
}

impl<R: LossRow> Op for ElementLoss<R> {
    fn name(&self) -> &'static str {
        R::NAME
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>> {
        expect_inputs(inputs, &["prediction", "target"])?;
        let [n, _] = check(inputs, self.parameter)?;
        Ok(vec![TensorType::f32([n])])
    }

    fn gradient(&self, g: &mut Gradient<'_>) -> Result<()> {
        if g.wants(1) {
            return Err(Error::invalid("target", "targets that depend on parameters", "constants"));
        }
        let inputs = [g.x(0), g.x(1), g.dy0()?];
        let d = g.node(ElementLossGrad::<R>::new(self.parameter), &inputs)?;
        g.set(0, d);
        Ok(())
    }

    fn gpu(&self, r: &mut Recorder<'_>) -> Result<()> {
        let [n, row_len] = check(r.inputs(), self.parameter)?;
        let n_parts = row_len.div_ceil(PART);
        let part_len = row_len.min(PART);
        let factor = scale::<R>(row_len) as f32;
        let (sums, first) = match n_parts {
            1 => (Buffer::Output(0), factor),
            _ => (r.temp(TensorType::f32([n, n_parts])), 1.0),
        };
        let lanes = Lanes::of(part_len);
        r.dispatch(
            lanes.set(Kernel::new(&SHADER, &[&GRID, &ROW, &SHARED]).set("LOSS", R::CODE)),
            &[Buffer::Input(0), Buffer::Input(1)],
            &[sums],
            &[
                ("n_rows", (n * n_parts).into()),
                ("row_len", row_len.into()),
                ("n_parts", n_parts.into()),
                ("part_len", part_len.into()),
                ("scale", first.into()),
                ("parameter", (self.parameter as f32).into()),
            ],
            lanes.grid(r, n * n_parts),
        );
        let mut additions = lanes.additions();
        if n_parts > 1 {
            let lanes = Lanes::of(n_parts);
            r.dispatch(
                lanes.set(Kernel::new(&TOTAL_SHADER, &[&GRID, &ROW])),
                &[sums],
                &[Buffer::Output(0)],
                &[("n_rows", n.into()), ("c", n_parts.into()), ("scale", factor.into())],
                lanes.grid(r, n),
            );
            additions += lanes.additions();
        }
        // The sums, the factor and the product with it.
        r.declare_depth(additions + 2);
        Ok(())
    }

    fn cost(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Cost {
        Cost { flops: 3 * inputs[0].elements() as u64, bytes: moved_bytes(inputs, outputs) }
    }

    /// Each element's error by running error analysis, and the roundings of their sum.
    fn error_bound(&self, b: &Bound<'_>) -> Result<Vec<Vec<f64>>> {
        let row_len = b.inputs[0].real().len() / b.outputs[0].real().len();
        let (p, t) = (b.inputs[0].real(), b.inputs[1].real());
        let factor = scale::<R>(row_len);
        Ok(b.each(|row, _| {
            let (mut own, mut absolute) = (0.0, 0.0);
            for i in row * row_len..(row + 1) * row_len {
                let loss = self.running(p[i], t[i], R::loss);
                own += loss.error();
                absolute += loss.to_f64().abs() + loss.error();
            }
            (own * (1.0 + gamma(b.depth)) + gamma(b.depth) * absolute) * factor + TINY
        }))
    }
}

impl<R: LossRow> ElementLoss<R> {
    /// `f` in running error analysis.
    fn running(&self, p: f64, t: f64, f: fn(Running, Running, Running) -> Running) -> Running {
        f(Running::new(p, 0.0), Running::new(t, 0.0), Running::from_f64(self.parameter))
    }
}

impl<R: LossRow> Cpu for ElementLoss<R> {
    fn cpu<T: Real>(&self, args: &mut CpuArgs<'_, T>) {
        let (prediction, target, loss) = (args.x(0), args.x(1), args.y(0));
        let (row_len, k) = (prediction.len() / loss.len(), T::from_f64(self.parameter));
        let losses = map_indices(loss.len(), |row| {
            let (p, t) = (&prediction[row * row_len..][..row_len], &target[row * row_len..][..row_len]);
            let total = sum(0..row_len, &|j| R::loss(p[j], t[j], k));
            if R::MEAN { total / T::from_f64(row_len as f64) } else { total }
        });
        loss.copy_from_slice(&losses);
    }
}

impl<R: LossRow> Op for ElementLossGrad<R> {
    fn name(&self) -> &'static str {
        R::GRAD_NAME
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>> {
        expect_inputs(inputs, &["prediction", "target", "dloss"])?;
        let [n, _] = check(inputs, self.parameter)?;
        inputs[2].expect("dloss", &TensorType::f32([n]))?;
        Ok(vec![inputs[0].clone()])
    }

    fn gpu(&self, r: &mut Recorder<'_>) -> Result<()> {
        let [n, row_len] = check(r.inputs(), self.parameter)?;
        let e = Elements::aligned(n * row_len, row_len);
        let params = [
            ("n", e.n()),
            ("row_len", e.count(row_len).into()),
            ("scale", (scale::<R>(row_len) as f32).into()),
            ("parameter", (self.parameter as f32).into()),
        ];
        let kernel = e.kernel(&GRAD_SHADER, &[&SHARED]).set("LOSS", R::CODE);
        let grid = e.grid(r);
        let reads = [0, 1, 2].map(Buffer::Input);
        r.dispatch(kernel, &reads, &[Buffer::Output(0)], &params, grid);
        Ok(())
    }

    fn cost(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Cost {
        Cost { flops: 3 * inputs[0].elements() as u64, bytes: moved_bytes(inputs, outputs) }
    }

    fn error_bound(&self, b: &Bound<'_>) -> Result<Vec<Vec<f64>>> {
        let [p, t, dloss] = [0, 1, 2].map(|i| b.inputs[i].real());
        let row_len = p.len() / dloss.len();
        let loss = ElementLoss::<R>::new(self.parameter);
        let factor = Running::from_f64(scale::<R>(row_len));
        Ok(b.each(|i, _| {
            let slope = loss.running(p[i], t[i], R::slope);
            (factor * Running::new(dloss[i / row_len], 0.0) * slope).error()
        }))
    }
}

impl<R: LossRow> Cpu for ElementLossGrad<R> {
    fn cpu<T: Real>(&self, args: &mut CpuArgs<'_, T>) {
        let (prediction, target, dloss, d) = (args.x(0), args.x(1), args.x(2), args.y(0));
        let (row_len, k) = (d.len() / dloss.len(), T::from_f64(self.parameter));
        let scale = T::from_f64(scale::<R>(row_len));
        for_each_row(d, row_len, |row, d| {
            let factor = scale * dloss[row];
            let (p, t) = (&prediction[row * row_len..][..row_len], &target[row * row_len..][..row_len]);
            d.iter_mut().zip(p.iter().zip(t)).for_each(|(d, (&p, &t))| *d = factor * R::slope(p, t, k));
        });
    }
}

/// Names, predictions and targets.
fn inputs<R: LossRow>() -> Vec<(&'static str, Tensor, Tensor)> {
    let mut s = crate::random::Stream::new(crate::random::Seed(80), 0);
    let random = [s.below(9) as usize + 1, s.below(9) as usize + 1, s.below(9) as usize + 1];
    let of = |name, seed: u64, shape: &[usize]| (name, sample::normal(seed, shape), R::targets(seed + 1, shape));
    let special = |values: &[f32]| Tensor::f32([2, 4], values.to_vec()).unwrap_or_else(|_| unreachable!("made to fit"));
    vec![
        of("one_element", 1, &[1]),
        of("one_output", 3, &[70]),
        of("matrix", 5, &[5, 10]),
        of("image", 7, &[3, 5, 4, 3]),
        of("rows_of_4", 9, &[3, 64]),
        of("long_rows", 11, &[2, 9001]),
        of("random", 13, &random),
        ("far", special(&[80.0, -80.0, 200.0, -200.0, 1e4, -1e4, 0.0, 1.0]), special(&[0.0, 1.0, 1.0, 0.0, 1.0, 0.0, 0.0, 1.0])),
        ("nan", special(&[f32::NAN, 1.0, 2.0, 3.0, 0.5, 0.5, 0.5, 0.5]), special(&[1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 1.0])),
    ]
}

fn cases<R: LossRow>() -> Vec<Case> {
    let case = |(name, p, t): (&str, Tensor, Tensor)| {
        let by: &[usize] = if ["long_rows", "far", "nan"].contains(&name) { &[] } else { &[0] };
        Case::new(name, ElementLoss::<R>::new(R::PARAMETER), vec![p, t]).differentiable_by(by)
    };
    inputs::<R>().into_iter().map(case).collect()
}

fn grad_cases<R: LossRow>() -> Vec<Case> {
    let case = |(i, (name, p, t)): (usize, (&str, Tensor, Tensor))| {
        let dloss = sample::normal(20 + i as u64, [p.shape().dims()[0]]);
        Case::new(name, ElementLossGrad::<R>::new(R::PARAMETER), vec![p, t, dloss])
    };
    inputs::<R>().into_iter().enumerate().map(case).collect()
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

    fn loss<R: LossRow>(k: f64, p: &[f64], t: &[f64]) -> f64 {
        let types = [TensorType::f32([1, p.len()]), TensorType::f32([1, t.len()])];
        run_f64(&ElementLoss::<R>::new(k), &types, &[View::Real(p), View::Real(t)]).unwrap()[0].real()[0]
    }

    /// By hand.
    #[test]
    fn values() {
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} {b}");
        close(loss::<SquaredError>(1.0, &[3.0, 4.0], &[6.0, 5.0]), 5.0);
        close(loss::<AbsoluteError>(1.0, &[3.0, 4.0], &[6.0, 5.0]), 2.0);
        close(loss::<Huber>(1.0, &[3.0, 0.5], &[0.0, 0.0]), (2.5 + 0.125) / 2.0);
        close(loss::<Hinge>(1.0, &[0.5, 0.5, 2.0], &[1.0, 0.0, 1.0]), (0.5 + 1.5) / 3.0);
        close(loss::<SquaredHinge>(1.0, &[0.5, 0.5, 2.0], &[1.0, -1.0, 1.0]), (0.25 + 2.25) / 3.0);
        let far = (1.0 + (-2f64).exp()).ln();
        close(loss::<BinaryCrossEntropy>(1.0, &[2.0], &[1.0]), far);
        close(loss::<BinaryCrossEntropy>(3.0, &[2.0, 2.0], &[1.0, 0.0]), (3.0 * far + 2.0 + far) / 2.0);
        close(loss::<BinaryCrossEntropy>(1.0, &[-1e4], &[1.0]), 1e4);
        close(loss::<KlDivergence>(1.0, &[0.25f64.ln(), 0.75f64.ln()], &[0.5, 0.5]), 0.5 * 2f64.ln() + 0.5 * (2.0f64 / 3.0).ln());
        close(loss::<KlDivergence>(1.0, &[f64::NEG_INFINITY, 0.0], &[0.0, 1.0]), 0.0);
    }

    #[test]
    fn bad_arguments_are_refused() {
        let infer = |p: TensorType, t: TensorType| ElementLoss::<Huber>::default().infer(&[p, t]).unwrap_err().to_string();
        assert!(infer(TensorType::f32([2, 3]), TensorType::f32([2])).contains("target"));
        assert!(infer(TensorType::u32([2]), TensorType::u32([2])).contains("prediction"));
        assert!(infer(TensorType::f32([]), TensorType::f32([])).contains("batch"));
        let types = [TensorType::f32([2]), TensorType::f32([2])];
        assert!(ElementLoss::<Huber>::new(0.0).infer(&types).unwrap_err().to_string().contains("parameter"));
    }
}
