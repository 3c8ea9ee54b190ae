//! The shapes that every test and bench of the group norms runs.

use super::{GroupNorm, GroupNormGradInput, GroupNormGradParameters, Grouping};
use crate::op::{Case, Op, sample};
use crate::ops::unary::{Relu, activation};
use crate::tensor::Tensor;

const EPSILON: f64 = 1e-3;

/// Shapes of x and how they are divided: groups of four and of odd numbers of channels, a group a channel, one group; rows.
fn shapes() -> Vec<(&'static str, Vec<usize>, Grouping)> {
    let channels = Grouping::channels;
    vec![
        ("groups_of_4", vec![2, 5, 3, 12], channels(3)),
        ("groups_of_3", vec![3, 4, 5, 6], channels(2)),
        ("groups_of_2", vec![2, 3, 5, 8], channels(4)),
        ("instance", vec![2, 5, 7, 8], channels(8)),
        ("instance_odd", vec![2, 5, 7, 3], channels(3)),
        ("one_group", vec![3, 3, 2, 8], channels(1)),
        ("no_pixels", vec![5, 12], channels(3)),
        ("two_values", vec![3, 2, 1], channels(1)),
        ("layer", vec![7, 40], Grouping::layer(2, 1)),
        ("layer_odd", vec![2, 3, 5, 13], Grouping::layer(4, 1)),
        ("layer_of_images", vec![3, 4, 5, 6], Grouping::layer(4, 3)),
        ("layer_of_all", vec![5, 3], Grouping::layer(2, 2)),
        ("wide", vec![2, 3, 2, 300], channels(4)),
        ("long", vec![2, 70, 61, 4], channels(2)),
        ("long_row", vec![2, 9_001], Grouping::layer(2, 1)),
    ]
}

fn map(t: &Tensor, f: impl Fn(usize, f32) -> f32) -> Tensor {
    let values = t.as_f32().unwrap_or_default();
    let data = values.iter().enumerate().map(|(i, &x)| f(i, x)).collect();
    Tensor::f32(t.shape().clone(), data).unwrap_or_else(|_| unreachable!("made to fit"))
}

fn channels(shape: &[usize], grouping: Grouping) -> usize {
    shape[shape.len() - grouping.channel_axes..].iter().product()
}

/// Around 1.
fn gamma(seed: u64, c: usize) -> Tensor {
    map(&sample::normal(seed, [c]), |_, x| 1.0 + 0.25 * x)
}

fn inputs(seed: u64, x: Tensor, grouping: Grouping) -> Vec<Tensor> {
    let c = channels(x.shape().dims(), grouping);
    vec![x, gamma(seed + 1, c), sample::normal(seed + 2, [c])]
}

pub(super) fn group_norm() -> Vec<Case> {
    let mut cases = Vec::new();
    for (i, (name, shape, grouping)) in shapes().into_iter().enumerate() {
        let seed = 10 * i as u64;
        let case = Case::new(name, GroupNorm::new(grouping, EPSILON), inputs(seed, sample::normal(seed, shape), grouping));
        // Finite differences of sums of so many elements are noise.
        cases.push(if name.starts_with("long") { case.differentiable_by(&[]) } else { case });
    }
    let (shape, grouping) = ([2, 6, 5, 8], Grouping::channels(2));
    let op = GroupNorm::new(grouping, EPSILON);
    let moved = map(&sample::normal(200, shape), |_, x| x + 1000.0);
    // By x, finite differences have few digits here.
    cases.push(Case::new("large_mean", op, inputs(201, moved, grouping)).differentiable_by(&[1, 2]));
    let flat = map(&sample::normal(202, shape), |i, x| if i % 8 < 4 { 3.0 } else { x });
    cases.push(Case::new("a_constant_group", op, inputs(203, flat, grouping)).differentiable_by(&[1, 2]));
    let apart = map(&sample::normal(204, shape), |i, x| x + 100.0 * (i % 4) as f32);
    cases.push(Case::new("channels_far_apart", op, inputs(205, apart, grouping)).differentiable_by(&[1, 2]));
    let nan = map(&sample::normal(206, shape), |i, x| if i == 43 { f32::NAN } else { x });
    cases.push(Case::new("nan", op, inputs(207, nan, grouping)).differentiable_by(&[]));
    if let Some(op) = op.with_activation(activation::<Relu>()) {
        let inputs = inputs(208, sample::normal(208, shape), grouping);
        cases.push(Case { name: "relu".to_string(), op, inputs, differentiable: Vec::new() });
    }
    cases
}

/// Mean and variance of groups, and the gradient's other inputs before them.
fn grad_inputs(seed: u64, shape: Vec<usize>, grouping: Grouping) -> Vec<Tensor> {
    let n: usize = shape[..grouping.batch_axes].iter().product();
    let statistic = [n, grouping.groups];
    let variance = map(&sample::positive(seed + 3, statistic), |_, v| v + 0.1);
    vec![sample::normal(seed, shape.clone()), sample::normal(seed + 1, shape), sample::normal(seed + 2, statistic), variance]
}

pub(super) fn grad_input() -> Vec<Case> {
    let mut cases = Vec::new();
    for (i, (name, shape, grouping)) in shapes().into_iter().enumerate() {
        let seed = 300 + 10 * i as u64;
        let gamma = gamma(seed + 5, channels(&shape, grouping));
        let inputs = [grad_inputs(seed, shape, grouping), vec![gamma]].concat();
        cases.push(Case::new(name, GroupNormGradInput { grouping, epsilon: EPSILON }, inputs));
    }
    cases
}

pub(super) fn grad_parameters() -> Vec<Case> {
    let mut cases = Vec::new();
    for (i, (name, shape, grouping)) in shapes().into_iter().enumerate() {
        let inputs = grad_inputs(600 + 10 * i as u64, shape, grouping);
        cases.push(Case::new(name, GroupNormGradParameters { grouping, epsilon: EPSILON }, inputs));
    }
    cases
}
