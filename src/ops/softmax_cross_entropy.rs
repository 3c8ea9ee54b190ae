//! Softmax and cross-entropy in one, and the gradient.

use super::row_reduction::{Lanes, ROW, check_row, largest, sum};
use super::softmax::{RowSoftmax, by_row, mapped, with_element};
use crate::error::{Error, Result};
use crate::linalg::{Real, for_each_row, map_indices};
use crate::op::{
    Bound, Buffer, Case, Cost, Cpu, CpuArgs, Declaration, FINITE, GRID, Gradient, Kernel, Op, Oracle, Recorder, Source, TINY, UNIT, View,
    expect_inputs, gamma, moved_bytes, sample, shader,
};
use crate::tensor::{DType, Tensor, TensorType};

static SHADER: Source = shader!("softmax_cross_entropy");
static GRAD_SHADER: Source = shader!("softmax_cross_entropy_grad");
static SHARED: Source = shader!("shared/cross_entropy");

/// Cross-entropy of `softmax(logits)`, a loss for each row. Inputs: `logits [n, c]` f32, and `labels`, either class indices `[n]` u32
/// or distributions over the classes `[n, c]` f32; output: `loss [n]` f32, not yet averaged.
///
/// `loss = -sum over j of t_j log(softmax(logits)_j)` with `t = (1 - label_smoothing) * label + label_smoothing / c`, the label
/// being one-hot for a class index (Keras's and PyTorch's smoothing; Szegedy et al., arXiv:1512.00567). A distribution need not sum
/// to 1.
///
/// Differentiable by the logits only. Labels are constants, soft ones too: a loss whose labels depend on parameters is refused.
/// A class index of c or more makes its row's loss NaN, and its row of the gradient too.
///
/// Fails for other shapes, more than 2,097,152 classes, and a `label_smoothing` outside 0 to 1.
#[derive(Clone, PartialEq, Debug)]
pub struct SoftmaxCrossEntropy {
    /// How much of the label is spread evenly over all classes, 0 to 1.
    pub label_smoothing: f32,
}

/// Gradient of [`SoftmaxCrossEntropy`] by the logits: `dlogits = dloss * (softmax(logits) * sum of t - t)`. Inputs `logits`, `labels`
/// and `dloss [n]` f32; output of the logits' shape.
#[derive(Clone, PartialEq, Debug)]
pub struct SoftmaxCrossEntropyGrad {
    /// As of the loss.
    pub label_smoothing: f32,
}

/// Checks logits, labels and the attribute, and gives `[n, c]`.
fn check(inputs: &[TensorType], label_smoothing: f32) -> Result<[usize; 2]> {
    if !(0.0..=1.0).contains(&label_smoothing) {
        return Err(Error::invalid("label_smoothing", label_smoothing, "0 to 1"));
    }
    check_labels(inputs)
}

/// Checks that input 0 is f32 `[n, c]` and input 1 labels for it, and gives `[n, c]`.
pub(super) fn check_labels(inputs: &[TensorType]) -> Result<[usize; 2]> {
    inputs[0].expect_dtype("logits", DType::F32)?;
    let [n, c] = inputs[0].shape.clone().checked("logits")?.matrix("logits")?;
    check_row("number of classes", c)?;
    let (indices, soft) = (TensorType::u32([n]), TensorType::f32([n, c]));
    if inputs[1] != indices && inputs[1] != soft {
        return Err(Error::invalid("labels", &inputs[1], format!("{indices} (class indices) or {soft} (distributions)")));
    }
    Ok([n, c])
}

fn record(r: &mut Recorder<'_>, source: &'static Source, label_smoothing: f32) {
    let &[rows, c] = r.x(0).shape.dims() else { unreachable!("infer checks the rank") };
    let lanes = Lanes::of(c);
    let soft = r.x(1).dtype == DType::F32;
    r.declare_depth(lanes.additions());
    let reads: Vec<Buffer> = (0..r.inputs().len()).map(Buffer::Input).collect();
    let smoothing = f64::from(label_smoothing);
    r.dispatch(
        lanes.set(Kernel::new(source, &[&FINITE, &GRID, &ROW, &SHARED]).set("SOFT_LABELS", soft)),
        &reads,
        &[Buffer::Output(0)],
        &[
            ("n_rows", rows.into()),
            ("c", c.into()),
            ("keep", ((1.0 - smoothing) as f32).into()),
            ("base", ((smoothing / c as f64) as f32).into()),
        ],
        lanes.grid(r, rows),
    );
}

/// The targets of all rows.
struct Targets<'a, T> {
    labels: View<'a, T>,
    c: usize,
    keep: T,
    base: T,
}

impl<'a, T: Real> Targets<'a, T> {
    fn new(labels: View<'a, T>, c: usize, label_smoothing: f32) -> Self {
        let smoothing = f64::from(label_smoothing);
        Targets { labels, c, keep: T::from_f64(1.0 - smoothing), base: T::from_f64(smoothing / c as f64) }
    }

    /// Whether a class index is in range.
    fn good(&self, row: usize) -> bool {
        !matches!(self.labels, View::U32(labels) if labels[row] as usize >= self.c)
    }

    /// What row `row` aims at for class `j`.
    fn at(&self, row: usize, j: usize) -> T {
        match self.labels {
            View::U32(labels) if labels[row] as usize == j => self.keep + self.base,
            View::Real(labels) => self.keep * labels[row * self.c + j] + self.base,
            _ => self.base,
        }
    }

    /// The sum of the row's targets.
    fn total(&self, row: usize) -> T {
        match self.labels {
            View::Real(_) => sum(0..self.c, &|j| self.at(row, j)),
            _ => T::ONE,
        }
    }
}

/// What a row's targets would be for absolute labels: all roundings of a target are in proportion to this.
fn absolute_targets(labels: &Oracle, row: usize, c: usize, label_smoothing: f32) -> Vec<f64> {
    let labels = match labels {
        Oracle::Real(v) => Oracle::Real(v[row * c..][..c].iter().map(|t| t.abs()).collect()),
        other => Oracle::copy(other.slice(row, 1)),
    };
    let targets = Targets::new(labels.view(), c, label_smoothing);
    (0..c).map(|j| targets.at(0, j)).collect()
}

impl Op for SoftmaxCrossEntropy {
    fn name(&self) -> &'static str {
        "softmax_cross_entropy"
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>> {
        expect_inputs(inputs, &["logits", "labels"])?;
        let [n, _] = check(inputs, self.label_smoothing)?;
        Ok(vec![TensorType::f32([n])])
    }

    fn gradient(&self, g: &mut Gradient<'_>) -> Result<()> {
        if g.wants(1) {
            return Err(Error::invalid("labels", "labels that depend on parameters", "constants"));
        }
        let inputs = [g.x(0), g.x(1), g.dy0()?];
        let dx = g.node(SoftmaxCrossEntropyGrad { label_smoothing: self.label_smoothing }, &inputs)?;
        g.set(0, dx);
        Ok(())
    }

    fn gpu(&self, r: &mut Recorder<'_>) -> Result<()> {
        record(r, &SHADER, self.label_smoothing);
        Ok(())
    }

    /// exp counted as 8 operations.
    fn cost(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Cost {
        Cost { flops: inputs[0].elements() as u64 * 14, bytes: moved_bytes(inputs, outputs) }
    }

    /// With L = log(S), off by `log_error` (`RowSoftmax`), T = sum of t, Q = sum of t d, and |.| the sums of absolute values:
    /// a target has the roundings of keep, base, a product and a sum (4); T has those and the sum's; in L T is one more. Q has also
    /// those of d and of t d (6). The difference is rounded once. Each t and t d may underflow.
    fn error_bound(&self, b: &Bound<'_>) -> Result<Vec<Vec<f64>>> {
        let &[_, c] = b.types[0].shape.dims() else { unreachable!("infer checks the rank") };
        let loss = b.outputs[0].real();
        Ok(vec![by_row(b.inputs[0].real(), c, |i, x| {
            let row = RowSoftmax::new(x, b.depth);
            let targets = absolute_targets(&b.inputs[1], i, c, self.label_smoothing);
            let abs_t: f64 = targets.iter().sum();
            let abs_q: f64 = targets.iter().zip(&row.d).map(|(t, d)| if *t == 0.0 { 0.0 } else { t * d.abs() }).sum();
            let log = row.sum.ln().abs();
            let product = (log + row.log_error) * abs_t * (1.0 + gamma(b.depth + 5)) - log * abs_t;
            let q = gamma(b.depth + 6) * abs_q;
            let underflow = TINY * (1.0 + c as f64) * (1.0 + log);
            vec![product + q + UNIT * (loss[i].abs() + product + q) + underflow]
        })])
    }
}

impl Cpu for SoftmaxCrossEntropy {
    fn cpu<T: Real>(&self, args: &mut CpuArgs<'_, T>) {
        let c = args.x_shape(0).last();
        let (x, targets) = (args.x(0), Targets::new(args.view(1), c, self.label_smoothing));
        let loss = args.y(0);
        let losses = map_indices(loss.len(), |row| {
            if !targets.good(row) {
                return T::from_f64(f64::NAN);
            }
            let x = &x[row * c..][..c];
            let m = largest(x);
            let log_sum = sum(0..c, &|j| (x[j] - m).exp()).ln();
            // A class that isn't aimed at may be masked with a logit of -infinity.
            let td = |j| match targets.at(row, j) {
                t if t == T::ZERO => T::ZERO,
                t => t * (x[j] - m),
            };
            log_sum * targets.total(row) - sum(0..c, &td)
        });
        loss.copy_from_slice(&losses);
    }
}

impl Op for SoftmaxCrossEntropyGrad {
    fn name(&self) -> &'static str {
        "softmax_cross_entropy_grad"
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>> {
        expect_inputs(inputs, &["logits", "labels", "dloss"])?;
        let [n, _] = check(inputs, self.label_smoothing)?;
        inputs[2].expect("dloss", &TensorType::f32([n]))?;
        Ok(vec![inputs[0].clone()])
    }

    fn gpu(&self, r: &mut Recorder<'_>) -> Result<()> {
        record(r, &GRAD_SHADER, self.label_smoothing);
        Ok(())
    }

    /// exp counted as 8 operations.
    fn cost(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Cost {
        Cost { flops: inputs[0].elements() as u64 * 24, bytes: moved_bytes(inputs, outputs) }
    }

    /// `exp T / S` is off by `ratio_error` and the roundings of T (a target's 4 and the sum's), the target by its 4; then a
    /// difference and a product with dloss round. Each target and each part of `exp T / S` may underflow.
    fn error_bound(&self, b: &Bound<'_>) -> Result<Vec<Vec<f64>>> {
        let &[_, c] = b.types[0].shape.dims() else { unreachable!("infer checks the rank") };
        let (dloss, dx) = (b.inputs[2].real(), b.outputs[0].real());
        Ok(vec![by_row(b.inputs[0].real(), c, |i, x| {
            let row = RowSoftmax::new(x, b.depth);
            let targets = absolute_targets(&b.inputs[1], i, c, self.label_smoothing);
            let abs_t: f64 = targets.iter().sum();
            let dloss = dloss[i].abs();
            let bound = |j: usize| {
                let p = row.exp[j] / row.sum * abs_t;
                let e = p * ((1.0 + row.ratio_error(j)) * (1.0 + gamma(b.depth + 4)) - 1.0) + gamma(4) * targets[j];
                let underflow = TINY * (1.0 + c as f64 + abs_t) * (1.0 + dloss);
                dloss * e + gamma(2) * (dx[i * c + j].abs() + dloss * e) + underflow
            };
            (0..c).map(bound).collect()
        })])
    }
}

impl Cpu for SoftmaxCrossEntropyGrad {
    fn cpu<T: Real>(&self, args: &mut CpuArgs<'_, T>) {
        let c = args.x_shape(0).last();
        let (x, targets, dloss) = (args.x(0), Targets::new(args.view(1), c, self.label_smoothing), args.x(2));
        for_each_row(args.y(0), c, |row, dx| {
            if !targets.good(row) {
                return dx.fill(T::from_f64(f64::NAN));
            }
            let x = &x[row * c..][..c];
            let m = largest(x);
            dx.iter_mut().zip(x).for_each(|(dx, &x)| *dx = (x - m).exp());
            let scale = targets.total(row) / sum(0..c, &|j| dx[j]);
            for (j, dx) in dx.iter_mut().enumerate() {
                *dx = dloss[row] * (*dx * scale - targets.at(row, j));
            }
        });
    }
}

/// The list's entries.
pub static DECLARATIONS: &[Declaration] = &[
    Declaration { name: "softmax_cross_entropy", no_gradient: None, shaders: &[&SHADER], cases },
    Declaration {
        name: "softmax_cross_entropy_grad",
        no_gradient: Some("gradient op: second derivatives are not needed for training"),
        shaders: &[&GRAD_SHADER],
        cases: grad_cases,
    },
];

/// Positive rows that sum to 1.
pub(super) fn distributions(seed: u64, [n, c]: [usize; 2]) -> Tensor {
    let t = sample::positive(seed, [n, c]);
    let data = t.as_f32().unwrap_or(&[]);
    let sums: Vec<f32> = data.chunks(c).map(|row| row.iter().sum()).collect();
    let data = data.iter().enumerate().map(|(i, t)| t / sums[i / c]).collect();
    Tensor::f32([n, c], data).unwrap_or_else(|_| unreachable!("the same shape"))
}

/// Names, smoothing, logits and labels.
fn inputs() -> Vec<(&'static str, f32, Tensor, Tensor)> {
    let mut s = crate::random::Stream::new(crate::random::Seed(60), 0);
    let random = [s.below(20) as usize + 1, s.below(60) as usize + 2];
    let hard = |seed, [n, c]: [usize; 2]| (sample::normal(seed, [n, c]), sample::indices(seed, n, c as u32));
    let soft = |seed, [n, c]: [usize; 2]| (sample::normal(seed, [n, c]), distributions(seed, [n, c]));
    let not_to_1 = |seed, shape: [usize; 2]| (sample::normal(seed, shape), sample::normal(seed + 1, shape));
    let large =
        |seed, [n, c]: [usize; 2]| (mapped(&sample::normal(seed, [n, c]), |x| 100.0 * x), sample::indices(seed, n, c as u32));
    let out_of_range = Tensor::u32([3], vec![2, 4, u32::MAX]).unwrap_or_else(|_| unreachable!("made to fit"));
    let case = |name, smoothing, (x, labels)| (name, smoothing, x, labels);
    vec![
        case("one_class", 0.0, hard(1, [1, 1])),
        case("indices", 0.0, hard(2, [5, 10])),
        case("many_workgroups_smoothed", 0.1, hard(3, [150, 7])),
        case("indices_100_smoothed", 0.25, hard(4, [3, 100])),
        case("indices_1000", 0.0, hard(5, [2, 1000])),
        case("indices_5000_smoothed", 0.1, hard(6, [2, 5000])),
        case("soft", 0.0, soft(7, [4, 10])),
        case("soft_smoothed", 1.0, soft(8, [3, 70])),
        case("soft_not_summing_to_1", 0.1, not_to_1(9, [4, 33])),
        case("soft_5000", 0.0, soft(10, [1, 5000])),
        case("large_logits", 0.1, large(11, [6, 12])),
        case("random", 0.05, hard(12, random)),
        // In the middle of three rows, and not at the label: only the sum of exponentials meets it.
        case("nan", 0.0, (with_element(sample::normal(14, [3, 7]), 9, f32::NAN), sample::indices(15, 3, 2))),
        case("nan_100_smoothed", 0.1, (with_element(sample::normal(16, [3, 100]), 150, f32::NAN), sample::indices(17, 3, 40))),
        case("labels_out_of_range", 0.1, (sample::normal(13, [3, 4]), out_of_range)),
    ]
}

fn differentiable(name: &str, x: &Tensor) -> &'static [usize] {
    // Finite differences: no long rows, nothing so large that a step vanishes, nothing that is NaN.
    let none = ["large_logits", "labels_out_of_range", "nan", "nan_100_smoothed"];
    if x.shape().last() > 100 || none.contains(&name) { &[] } else { &[0] }
}

fn cases() -> Vec<Case> {
    let case = |(name, label_smoothing, x, labels): (&str, f32, Tensor, Tensor)| {
        let by = differentiable(name, &x);
        Case::new(name, SoftmaxCrossEntropy { label_smoothing }, vec![x, labels]).differentiable_by(by)
    };
    inputs().into_iter().map(case).collect()
}

fn grad_cases() -> Vec<Case> {
    let case = |(i, (name, label_smoothing, x, labels)): (usize, (&str, f32, Tensor, Tensor))| {
        let dloss = sample::normal(40 + i as u64, [x.shape().dims()[0]]);
        Case::new(name, SoftmaxCrossEntropyGrad { label_smoothing }, vec![x, labels, dloss])
    };
    inputs().into_iter().enumerate().map(case).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::run_f64;

    fn loss(label_smoothing: f32, x: &[f64], labels: View<'_, f64>) -> Vec<f64> {
        let n = if let View::U32(l) = labels { l.len() } else { 1 };
        let shape = [n, x.len() / n];
        let labels_type = if let View::U32(_) = labels { TensorType::u32([n]) } else { TensorType::f32(shape) };
        let op = SoftmaxCrossEntropy { label_smoothing };
        run_f64(&op, &[TensorType::f32(shape), labels_type], &[View::Real(x), labels]).unwrap()[0].real().to_vec()
    }

    #[test]
    fn values() {
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} {b}");
        // Ten equal logits: ln 10, whatever the smoothing.
        close(loss(0.0, &[3.0; 10], View::U32(&[4]))[0], 10f64.ln());
        close(loss(0.5, &[3.0; 10], View::U32(&[4]))[0], 10f64.ln());
        // Smoothing by a half on two classes: targets 3/4 and 1/4.
        let log_sum = (1.0 + 1f64.exp()).ln();
        close(loss(0.5, &[0.0, 1.0], View::U32(&[1]))[0], 0.75 * (log_sum - 1.0) + 0.25 * log_sum);
        close(loss(0.0, &[0.0, 1.0], View::Real(&[0.25, 0.75]))[0], 0.75 * (log_sum - 1.0) + 0.25 * log_sum);
        close(loss(0.0, &[0.0, 1.0], View::Real(&[2.0, 1.0]))[0], 3.0 * log_sum - 1.0);
        close(loss(0.0, &[-1e4, 1e4], View::U32(&[0]))[0], 2e4);
        // A masked class that isn't the label.
        close(loss(0.0, &[f64::NEG_INFINITY, 1.0, 1.0], View::U32(&[1]))[0], 2f64.ln());
        let out_of_range = loss(0.0, &[0.0; 4], View::U32(&[1, 2]));
        assert!(out_of_range[0].is_finite() && out_of_range[1].is_nan());
    }

    #[test]
    fn bad_arguments_are_refused() {
        let infer = |s: f32, x: TensorType, t: TensorType| SoftmaxCrossEntropy { label_smoothing: s }.infer(&[x, t]);
        let (x, t) = (TensorType::f32([2, 3]), TensorType::u32([2]));
        assert!(infer(0.0, x.clone(), t.clone()).is_ok());
        for s in [-0.1, 1.1, f32::NAN] {
            assert!(infer(s, x.clone(), t.clone()).unwrap_err().to_string().contains("label_smoothing"));
        }
        for bad in [TensorType::u32([3]), TensorType::f32([2]), TensorType::u32([2, 3]), TensorType::f32([3, 2])] {
            assert!(infer(0.0, x.clone(), bad).unwrap_err().to_string().contains("class indices"));
        }
        assert!(infer(0.0, TensorType::f32([6]), t).is_err());
    }
}
