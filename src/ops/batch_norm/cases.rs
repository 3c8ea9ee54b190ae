//! The shapes that every test and bench of the batch norms runs.

use super::{BatchNorm, BatchNormFold, BatchNormGradInput, BatchNormGradParameters, BatchNormInference};
use crate::op::{Case, Op, sample};
use crate::ops::unary::{Relu, activation};
use crate::tensor::Tensor;
use std::sync::Arc;

const EPSILON: f64 = 1e-3;

/// Shapes of x. The long ones take several blocks of rows: vectors of channels, and single ones.
const SHAPES: [(&str, &[usize]); 8] = [
    ("two_values", &[2, 1]),
    ("odd", &[3, 5, 7, 5]),
    ("vec4", &[2, 6, 5, 8]),
    ("matrix", &[9, 12]),
    ("wide", &[6, 1, 1, 300]),
    ("wide_odd", &[5, 1, 1, 131]),
    ("long", &[2, 70, 61, 4]),
    ("long_odd", &[2, 80, 53, 1]),
];

fn map(t: &Tensor, f: impl Fn(usize, f32) -> f32) -> Tensor {
    let values = t.as_f32().unwrap_or_default();
    let data = values.iter().enumerate().map(|(i, &x)| f(i, x)).collect();
    Tensor::f32(t.shape().clone(), data).unwrap_or_else(|_| unreachable!("made to fit"))
}

/// Around 1.
fn gamma(seed: u64, c: usize) -> Tensor {
    map(&sample::normal(seed, [c]), |_, x| 1.0 + 0.25 * x)
}

fn x(seed: u64, shape: &[usize]) -> Tensor {
    sample::normal(seed, shape.to_vec())
}

fn last(shape: &[usize]) -> usize {
    shape.last().copied().unwrap_or(1)
}

fn training_inputs(seed: u64, x: Tensor) -> Vec<Tensor> {
    let c = x.shape().last();
    vec![x, gamma(seed + 1, c), sample::normal(seed + 2, [c])]
}

/// A case of a fused op, which has no gradient.
fn fused(name: &str, op: Option<Arc<dyn Op>>, inputs: Vec<Tensor>) -> Option<Case> {
    op.map(|op| Case { name: name.to_string(), op, inputs, differentiable: Vec::new() })
}

pub(super) fn batch_norm() -> Vec<Case> {
    let op = BatchNorm::new(EPSILON, false);
    let unbiased = BatchNorm::new(1e-5, true);
    let mut cases = Vec::new();
    for (i, (name, shape)) in SHAPES.into_iter().enumerate() {
        let seed = 10 * i as u64;
        let op = if i % 2 == 0 { unbiased } else { op };
        let case = Case::new(name, op, training_inputs(seed, x(seed, shape)));
        // Finite differences of sums of so many elements are noise.
        cases.push(if name.starts_with("long") { case.differentiable_by(&[]) } else { case });
    }
    let shape = [2, 6, 5, 8];
    let moved = map(&x(100, &shape), |_, x| x + 1000.0);
    // By x, finite differences have few digits here too.
    cases.push(Case::new("large_mean", op, training_inputs(101, moved)).differentiable_by(&[1, 2]));
    cases.push(Case::new("positive", op, training_inputs(102, sample::positive(103, [4, 9, 7, 6]))));
    // A channel in four has one value throughout, one is far from the rest at the pivot.
    let flat = map(&x(104, &shape), |i, x| if i % 4 == 1 { 3.0 } else { x });
    cases.push(Case::new("constant_channels", op, training_inputs(105, flat)).differentiable_by(&[1, 2]));
    let outlier = map(&x(106, &shape), |i, x| if i / 8 == 17 { 50.0 } else { x });
    cases.push(Case::new("outlier_at_the_pivot", op, training_inputs(107, outlier)));
    let nan = map(&x(108, &shape), |i, x| if i == 43 { f32::NAN } else { x });
    cases.push(Case::new("nan", op, training_inputs(109, nan)).differentiable_by(&[]));
    let relu = activation::<Relu>();
    cases.extend(fused("relu", op.with_activation(relu), training_inputs(110, x(110, &shape))));
    for (name, shape) in [("residual", [2, 6, 5, 8]), ("residual_odd", [3, 5, 4, 3])] {
        let inputs = [training_inputs(111, x(111, &shape)), vec![x(114, &shape)]].concat();
        cases.extend(fused(name, op.with_residual(), inputs.clone()));
        let both = op.with_residual().and_then(|op| op.with_activation(relu));
        cases.extend(fused(&format!("{name}_relu"), both, inputs));
    }
    cases
}

/// Mean and variance of channels.
fn statistics(seed: u64, c: usize) -> [Tensor; 2] {
    [sample::normal(seed, [c]), map(&sample::positive(seed + 1, [c]), |_, v| v + 0.1)]
}

pub(super) fn inference() -> Vec<Case> {
    let op = BatchNormInference::new(EPSILON);
    let inputs = |seed: u64, shape: &[usize]| {
        let c = last(shape);
        let [mean, variance] = statistics(seed + 1, c);
        vec![x(seed, shape), mean, variance, gamma(seed + 3, c), sample::normal(seed + 4, [c])]
    };
    let mut cases = Vec::new();
    for (i, (name, shape)) in SHAPES.into_iter().enumerate() {
        let case = Case::new(name, op, inputs(10 * i as u64, shape));
        // By a small variance finite differences have few digits.
        cases.push(case.differentiable_by(if name.starts_with("long") { &[] } else { &[0, 1, 3, 4] }));
    }
    let mut large_variance = inputs(90, &[2, 6, 5, 8]);
    large_variance[2] = map(&large_variance[2], |_, v| 1.0 + v);
    cases.push(Case::new("large_variance", op, large_variance));
    let relu = activation::<Relu>();
    cases.extend(fused("relu", op.with_activation(relu), inputs(100, &[2, 6, 5, 8])));
    for (name, shape) in [("residual", [2, 6, 5, 8]), ("residual_odd", [3, 5, 4, 3])] {
        let inputs = [inputs(110, &shape), vec![x(116, &shape)]].concat();
        let both = op.with_residual().and_then(|op| op.with_activation(relu));
        cases.extend(fused(name, op.with_residual(), inputs.clone()));
        cases.extend(fused(&format!("{name}_relu"), both, inputs));
    }
    cases
}

pub(super) fn grad_parameters() -> Vec<Case> {
    let op = BatchNormGradParameters { epsilon: EPSILON };
    let mut cases = Vec::new();
    for (i, (name, shape)) in SHAPES.into_iter().enumerate() {
        let seed = 10 * i as u64;
        let dy = if i % 2 == 0 { x(seed, shape) } else { sample::positive(seed, shape) };
        let [mean, variance] = statistics(seed + 2, last(shape));
        cases.push(Case::new(name, op, vec![dy, x(seed + 1, shape), mean, variance]));
    }
    cases
}

pub(super) fn grad_input() -> Vec<Case> {
    let op = BatchNormGradInput { epsilon: EPSILON };
    let mut cases = Vec::new();
    for (i, (name, shape)) in SHAPES.into_iter().enumerate() {
        let (seed, c) = (10 * i as u64, last(shape));
        let [mean, variance] = statistics(seed + 2, c);
        let rest = [gamma(seed + 4, c), sample::normal(seed + 5, [c]), sample::normal(seed + 6, [c])];
        cases.push(Case::new(name, op, [vec![x(seed, shape), x(seed + 1, shape), mean, variance], rest.to_vec()].concat()));
    }
    cases
}

pub(super) fn fold() -> Vec<Case> {
    let mut cases = Vec::new();
    let shapes: [(&str, &[usize]); 5] = [
        ("one", &[1]),
        ("kernel", &[3, 3, 4, 8]),
        ("kernel_odd", &[3, 2, 3, 5]),
        ("depthwise", &[3, 3, 1, 12]),
        ("dense", &[37, 20]),
    ];
    for (i, (name, shape)) in shapes.into_iter().enumerate() {
        let (seed, c) = (10 * i as u64, last(shape));
        let [mean, variance] = statistics(seed + 2, c);
        let channel = vec![mean, variance, gamma(seed + 4, c), sample::normal(seed + 5, [c])];
        let op = BatchNormFold { epsilon: EPSILON, bias: false };
        cases.push(Case::new(name, op, [vec![x(seed, shape)], channel.clone()].concat()));
        let op = BatchNormFold { bias: true, ..op };
        let w_and_bias = vec![x(seed, shape), sample::normal(seed + 1, [c])];
        cases.push(Case::new(format!("{name}_bias"), op, [w_and_bias, channel].concat()));
    }
    cases
}
