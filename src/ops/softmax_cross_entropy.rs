//! Softmax and cross-entropy in one, and the gradient.

use super::row_reduction::{Lanes, ROW, check_row, largest, sum};
use super::softmax::{RowSoftmax, by_row, mapped, with_element};
use crate::error::{Error, Result};
use crate::linalg::{Real, for_each_row, map_indices};
use crate::op::{
    Bound, Buffer, Case, Cost, Cpu, CpuArgs, Declaration, FINITE, GRID, Gradient, Kernel, Op, Oracle, Recorder, Source, TINY, UNIT, View,
    expect_inputs, gamma, moved_bytes, sample, shader,
};
use crate::tensor::{DType, Shape, Tensor, TensorType, UNLABELLED};

static SHADER: Source = shader!("softmax_cross_entropy");
static GRAD_SHADER: Source = shader!("softmax_cross_entropy_grad");
static SHARED: Source = shader!("shared/cross_entropy");

/// Cross-entropy of `softmax(logits)`, a loss for each row. Inputs: `logits [.., c]` f32, as `[n, c]` or `[n, h, w, c]`; `labels`, either
/// class indices `[..]` u32 or distributions over the classes `[.., c]` f32; and, if classes don't count alike, their weights `[c]` f32.
/// Output: `loss [..]` f32, not yet averaged.
///
/// `loss = -sum over j of w_j t_j log(softmax(logits)_j)` with `t = (1 - label_smoothing) * label + label_smoothing / c`, the label
/// being one-hot for a class index (Keras's and PyTorch's smoothing; Szegedy et al., arXiv:1512.00567; weights as in PyTorch). A
/// distribution need not sum to 1. The class index [`UNLABELLED`] has a loss of 0.
///
/// Differentiable by the logits only. Labels and weights are constants, soft ones too: a loss whose labels depend on parameters is
/// refused. Another class index of c or more makes its row's loss NaN, and its row of the gradient too.
///
/// Fails for other shapes, more than 2,097,152 classes, and a `label_smoothing` outside 0 to 1.
#[derive(Clone, PartialEq, Debug)]
pub struct SoftmaxCrossEntropy {
    /// How much of the label is spread evenly over all classes, 0 to 1.
    pub label_smoothing: f32,
}

/// Gradient of [`SoftmaxCrossEntropy`] by the logits: `dlogits = dloss * (softmax(logits) * sum of t - t)`. Inputs `logits`, `labels`,
/// `dloss [..]` f32, and perhaps weights; output of the logits' shape.
#[derive(Clone, PartialEq, Debug)]
pub struct SoftmaxCrossEntropyGrad {
    /// As of the loss.
    pub label_smoothing: f32,
}

/// Checks logits, labels, weights if there are some, and the attribute. Gives the shape of the rows.
fn check(inputs: &[TensorType], weights: Option<&TensorType>, label_smoothing: f32) -> Result<Shape> {
    if !(0.0..=1.0).contains(&label_smoothing) {
        return Err(Error::invalid("label_smoothing", label_smoothing, "0 to 1"));
    }
    let rows = check_labels(inputs)?;
    if let Some(weights) = weights {
        weights.expect("weights", &TensorType::f32([inputs[0].shape.last()]))?;
    }
    Ok(rows)
}

/// Checks that input 0 is f32 `[.., c]` and input 1 labels for it, and gives the shape of the rows.
pub(super) fn check_labels(inputs: &[TensorType]) -> Result<Shape> {
    inputs[0].expect_dtype("logits", DType::F32)?;
    let shape = inputs[0].shape.clone().checked("logits")?;
    let Some((&c, rows)) = shape.dims().split_last().filter(|(_, rows)| !rows.is_empty()) else {
        return Err(Error::invalid("logits", &inputs[0], "at least 2 dimensions [n, .., classes]"));
    };
    check_row("number of classes", c)?;
    let (indices, soft) = (TensorType::u32(rows), &inputs[0]);
    if inputs[1] != indices && inputs[1] != *soft {
        return Err(Error::invalid("labels", &inputs[1], format!("{indices} (class indices) or {soft} (distributions)")));
    }
    Ok(Shape::from(rows))
}

/// The inputs are logits, labels, `dloss` for the gradient, and weights if there is one more.
fn record(r: &mut Recorder<'_>, source: &'static Source, n_inputs: usize, label_smoothing: f32) {
    let c = r.x(0).shape.last();
    let rows = r.x(0).elements() / c;
    let lanes = Lanes::of(c);
    let soft = r.x(1).dtype == DType::F32;
    let weights = r.inputs().len() > n_inputs;
    r.declare_depth(lanes.additions());
    let mut reads = vec![Buffer::Input(0), Buffer::Input(1), Buffer::Input(if weights { n_inputs } else { 0 })];
    reads.extend((2..n_inputs).map(Buffer::Input));
    let smoothing = f64::from(label_smoothing);
    let kernel = Kernel::new(source, &[&FINITE, &GRID, &ROW, &SHARED]);
    r.dispatch(
        lanes.set(kernel.set("SOFT_LABELS", soft).set("WEIGHTS", weights)),
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
    weights: Option<&'a [T]>,
    c: usize,
    keep: T,
    base: T,
}

impl<'a, T: Real> Targets<'a, T> {
    fn new(labels: View<'a, T>, weights: Option<&'a [T]>, c: usize, label_smoothing: f32) -> Self {
        let smoothing = f64::from(label_smoothing);
        Targets { labels, weights, c, keep: T::from_f64(1.0 - smoothing), base: T::from_f64(smoothing / c as f64) }
    }

    /// Whether a class index is in range.
    fn good(&self, row: usize) -> bool {
        !matches!(self.labels, View::U32(labels) if labels[row] as usize >= self.c && labels[row] != UNLABELLED)
    }

    /// Whether there is no label.
    fn none(&self, row: usize) -> bool {
        matches!(self.labels, View::U32(labels) if labels[row] == UNLABELLED)
    }

    /// What row `row` aims at for class `j`.
    fn at(&self, row: usize, j: usize) -> T {
        let t = match self.labels {
            View::U32(labels) if labels[row] as usize == j => self.keep + self.base,
            View::Real(labels) => self.keep * labels[row * self.c + j] + self.base,
            _ => self.base,
        };
        self.weights.map_or(t, |w| t * w[j])
    }

    /// The sum of the row's targets.
    fn total(&self, row: usize) -> T {
        match (self.labels, self.weights) {
            (View::U32(_), None) => T::ONE,
            _ => sum(0..self.c, &|j| self.at(row, j)),
        }
    }
}

/// The targets of an op whose weights, if there are some, are input `weights`.
fn targets<'a, T: Real>(args: &CpuArgs<'a, T>, weights: usize, label_smoothing: f32) -> Targets<'a, T> {
    let weights = (args.n_inputs() > weights).then(|| args.x(weights));
    Targets::new(args.view(1), weights, args.x_shape(0).last(), label_smoothing)
}

/// What a row's targets would be for absolute labels: all roundings of a target are in proportion to this.
fn absolute_targets(labels: &Oracle, weights: Option<&Oracle>, row: usize, c: usize, label_smoothing: f32) -> Vec<f64> {
    let labels = match labels {
        Oracle::Real(v) => Oracle::Real(v[row * c..][..c].iter().map(|t| t.abs()).collect()),
        other => Oracle::copy(other.slice(row, 1)),
    };
    let weights: Option<Vec<f64>> = weights.map(|w| w.real().iter().map(|w| w.abs()).collect());
    let targets = Targets::new(labels.view(), weights.as_deref(), c, label_smoothing);
    if targets.none(0) {
        return vec![0.0; c];
    }
    (0..c).map(|j| targets.at(0, j)).collect()
}

impl Op for SoftmaxCrossEntropy {
    fn name(&self) -> &'static str {
        "softmax_cross_entropy"
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>> {
        if inputs.len() != 3 {
            expect_inputs(inputs, &["logits", "labels"])?;
        }
        Ok(vec![TensorType::f32(check(inputs, inputs.get(2), self.label_smoothing)?)])
    }

    fn gradient(&self, g: &mut Gradient<'_>) -> Result<()> {
        if (1..g.n_inputs()).any(|i| g.wants(i)) {
            return Err(Error::invalid("labels", "labels that depend on parameters", "constants"));
        }
        let mut inputs = vec![g.x(0), g.x(1), g.dy0()?];
        inputs.extend((2..g.n_inputs()).map(|i| g.x(i)));
        let dx = g.node(SoftmaxCrossEntropyGrad { label_smoothing: self.label_smoothing }, &inputs)?;
        g.set(0, dx);
        Ok(())
    }

    fn gpu(&self, r: &mut Recorder<'_>) -> Result<()> {
        record(r, &SHADER, 2, self.label_smoothing);
        Ok(())
    }

    /// exp counted as 8 operations.
    fn cost(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Cost {
        Cost { flops: inputs[0].elements() as u64 * 14, bytes: moved_bytes(inputs, outputs) }
    }

    /// With L = log(S), off by `log_error` (`RowSoftmax`), T = sum of t, Q = sum of t d, and |.| the sums of absolute values:
    /// a target has the roundings of keep, base, a product, a sum and the weight's product (5); T has those and the sum's; in L T is one
    /// more. Q has also those of d and of t d (7). The difference is rounded once. Each t and t d may underflow.
    fn error_bound(&self, b: &Bound<'_>) -> Result<Vec<Vec<f64>>> {
        let c = b.types[0].shape.last();
        let loss = b.outputs[0].real();
        Ok(vec![by_row(b.inputs[0].real(), c, |i, x| {
            let row = RowSoftmax::new(x, b.depth);
            let targets = absolute_targets(&b.inputs[1], b.inputs.get(2), i, c, self.label_smoothing);
            let abs_t: f64 = targets.iter().sum();
            let abs_q: f64 = targets.iter().zip(&row.d).map(|(t, d)| if *t == 0.0 { 0.0 } else { t * d.abs() }).sum();
            let log = row.sum.ln().abs();
            let product = (log + row.log_error) * abs_t * (1.0 + gamma(b.depth + 6)) - log * abs_t;
            let q = gamma(b.depth + 7) * abs_q;
            let underflow = TINY * (1.0 + c as f64) * (1.0 + log);
            vec![product + q + UNIT * (loss[i].abs() + product + q) + underflow]
        })])
    }
}

impl Cpu for SoftmaxCrossEntropy {
    fn cpu<T: Real>(&self, args: &mut CpuArgs<'_, T>) {
        let c = args.x_shape(0).last();
        let (x, targets) = (args.x(0), targets(args, 2, self.label_smoothing));
        let loss = args.y(0);
        let losses = map_indices(loss.len(), |row| {
            if targets.none(row) {
                return T::ZERO;
            }
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
        if inputs.len() != 4 {
            expect_inputs(inputs, &["logits", "labels", "dloss"])?;
        }
        let rows = check(inputs, inputs.get(3), self.label_smoothing)?;
        inputs[2].expect("dloss", &TensorType::f32(rows))?;
        Ok(vec![inputs[0].clone()])
    }

    fn gpu(&self, r: &mut Recorder<'_>) -> Result<()> {
        record(r, &GRAD_SHADER, 3, self.label_smoothing);
        Ok(())
    }

    /// exp counted as 8 operations.
    fn cost(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Cost {
        Cost { flops: inputs[0].elements() as u64 * 24, bytes: moved_bytes(inputs, outputs) }
    }

    /// `exp T / S` is off by `ratio_error` and the roundings of T (a target's 5 and the sum's), the target by its 5; then a
    /// difference and a product with dloss round. Each target and each part of `exp T / S` may underflow.
    fn error_bound(&self, b: &Bound<'_>) -> Result<Vec<Vec<f64>>> {
        let c = b.types[0].shape.last();
        let (dloss, dx) = (b.inputs[2].real(), b.outputs[0].real());
        Ok(vec![by_row(b.inputs[0].real(), c, |i, x| {
            let row = RowSoftmax::new(x, b.depth);
            let targets = absolute_targets(&b.inputs[1], b.inputs.get(3), i, c, self.label_smoothing);
            let abs_t: f64 = targets.iter().sum();
            let dloss = dloss[i].abs();
            let bound = |j: usize| {
                let p = row.exp[j] / row.sum * abs_t;
                let e = p * ((1.0 + row.ratio_error(j)) * (1.0 + gamma(b.depth + 5)) - 1.0) + gamma(5) * targets[j];
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
        let (x, targets, dloss) = (args.x(0), targets(args, 3, self.label_smoothing), args.x(2));
        for_each_row(args.y(0), c, |row, dx| {
            if targets.none(row) {
                return dx.fill(T::ZERO);
            }
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

/// Names, smoothing, logits, labels and weights, of images too.
fn more_inputs() -> Vec<(&'static str, f32, Vec<Tensor>)> {
    let maps = |seed, shape: [usize; 3], c: u32| {
        let mut labels = sample::indices(seed, shape.iter().product(), c).as_u32().unwrap_or(&[]).to_vec();
        labels.iter_mut().step_by(3).for_each(|l| *l = UNLABELLED);
        Tensor::u32(shape, labels).unwrap_or_else(|_| unreachable!("made to fit"))
    };
    let hard = |seed, n, c| sample::indices(seed, n, c);
    vec![
        ("weights", 0.0, vec![sample::normal(40, [5, 10]), hard(41, 5, 10), sample::positive(42, [10])]),
        ("weights_smoothed", 0.2, vec![sample::normal(43, [4, 70]), hard(44, 4, 70), sample::positive(45, [70])]),
        ("weights_soft", 0.1, vec![sample::normal(46, [3, 7]), distributions(47, [3, 7]), sample::positive(48, [7])]),
        ("maps", 0.0, vec![sample::normal(49, [2, 5, 3, 4]), maps(50, [2, 5, 3], 4)]),
        ("maps_weights", 0.1, vec![sample::normal(51, [2, 3, 7, 5]), maps(52, [2, 3, 7], 5), sample::positive(53, [5])]),
    ]
}

fn cases() -> Vec<Case> {
    let case = |(name, label_smoothing, x, labels): (&str, f32, Tensor, Tensor)| {
        let by = differentiable(name, &x);
        Case::new(name, SoftmaxCrossEntropy { label_smoothing }, vec![x, labels]).differentiable_by(by)
    };
    let more = |(name, label_smoothing, inputs): (&str, f32, Vec<Tensor>)| {
        Case::new(name, SoftmaxCrossEntropy { label_smoothing }, inputs).differentiable_by(&[0])
    };
    inputs().into_iter().map(case).chain(more_inputs().into_iter().map(more)).collect()
}

fn grad_cases() -> Vec<Case> {
    let case = |(i, (name, label_smoothing, x, labels)): (usize, (&str, f32, Tensor, Tensor))| {
        let dloss = sample::normal(40 + i as u64, [x.shape().dims()[0]]);
        Case::new(name, SoftmaxCrossEntropyGrad { label_smoothing }, vec![x, labels, dloss])
    };
    let more = |(name, label_smoothing, mut inputs): (&str, f32, Vec<Tensor>)| {
        let rows = inputs[0].shape().dims();
        inputs.insert(2, sample::normal(60, &rows[..rows.len() - 1]));
        Case::new(name, SoftmaxCrossEntropyGrad { label_smoothing }, inputs)
    };
    inputs().into_iter().enumerate().map(case).chain(more_inputs().into_iter().map(more)).collect()
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
        assert_eq!(loss(0.0, &[0.0, 1.0, 5.0, f64::NAN], View::U32(&[UNLABELLED; 2])), [0.0, 0.0]);
        let types = [TensorType::f32([1, 2]), TensorType::u32([1]), TensorType::f32([2])];
        let weighted = [View::Real(&[0.0, 1.0][..]), View::U32(&[1]), View::Real(&[3.0, 0.5])];
        let op = SoftmaxCrossEntropy { label_smoothing: 0.0 };
        close(run_f64(&op, &types, &weighted).unwrap()[0].real()[0], 0.5 * (log_sum - 1.0));
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
