//! Batch norm by statistics that are given.

use super::{BatchNormGradParameters, Channels, Normalise, exact_channel, expect_inputs, normalised_bound, oracle, record_normalise, single};
use crate::error::Result;
use crate::linalg::Real;
use crate::op::{
    Activation, Bound, Buffer, Cost, Cpu, CpuArgs, Gradient, Interchange, Op, Recorder, StandardNode, Term, Value, moved_bytes,
};
use crate::ops::fill::Fill;
use crate::ops::matmul::refuse_fused_export;
use crate::ops::scale::Scale;
use crate::ops::update::expect_positive;
use crate::ops::view::View;
use crate::tensor::TensorType;
use std::sync::Arc;

/// `y = activation(gamma (x - mean) / sqrt(variance + epsilon) + beta + residual)`, channel by channel. Inputs: `x` [.., c] of 2 or more
/// dimensions; `mean`, `variance`, `gamma`, `beta` `[c]`; and, fused, a `residual` like x. Output like x.
///
/// [`Graph::fuse`](crate::graph::Graph::fuse) takes it into the weights of a convolution or a product before it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct BatchNormInference {
    /// Added to the variance.
    pub epsilon: f64,
    pub(super) residual: bool,
    pub(super) activation: Option<Activation>,
}

impl BatchNormInference {
    /// A batch norm without residual and activation.
    pub fn new(epsilon: f64) -> BatchNormInference {
        BatchNormInference { epsilon, residual: false, activation: None }
    }
}

impl Op for BatchNormInference {
    fn name(&self) -> &'static str {
        "batch_norm_inference"
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>> {
        let names = ["x", "mean", "variance", "gamma", "beta"];
        expect_inputs(inputs, &names, self.residual)?;
        expect_positive("epsilon", self.epsilon)?;
        Channels::of(&inputs[0])?.expect(&inputs[1..5], &names[1..])?;
        Ok(vec![inputs[0].clone()])
    }

    /// In training too a layer that is frozen normalises so.
    fn gradient(&self, g: &mut Gradient<'_>) -> Result<()> {
        let [x, mean, variance, gamma, _] = [0, 1, 2, 3, 4].map(|i| g.x(i));
        let dy = g.dy0()?;
        let shape = g.type_of(mean).shape;
        let c = shape.last();
        let zeros = g.node(Fill { value: 0.0, shape: shape.clone() }, &[])?;
        let plain = BatchNormInference::new(self.epsilon);
        if g.wants(0) {
            let dx = g.node(plain, &[dy, zeros, variance, gamma, zeros])?;
            g.set(0, dx);
        }
        if !(1..5).any(|i| g.wants(i)) {
            return Ok(());
        }
        let sums = g.nodes(BatchNormGradParameters { epsilon: self.epsilon }, &[dy, x, mean, variance])?;
        g.set(3, sums[0]);
        g.set(4, sums[1]);
        // -dbeta gamma / sqrt(variance + epsilon), and -1/2 dgamma gamma / (variance + epsilon).
        let ones = g.node(Fill { value: 1.0, shape }, &[])?;
        let mut divided = |v: Value, factor: Value| {
            let row = g.node(View::reshape([1, c]), &[v])?;
            let row = g.node(plain, &[row, zeros, variance, factor, zeros])?;
            g.node(View::reshape([c]), &[row])
        };
        let by_mean = divided(sums[1], gamma)?;
        let by_variance = divided(sums[0], gamma)?;
        let by_variance = divided(by_variance, ones)?;
        let dmean = g.node(Scale { factor: -1.0 }, &[by_mean])?;
        let dvariance = g.node(Scale { factor: -0.5 }, &[by_variance])?;
        g.set(1, dmean);
        g.set(2, dvariance);
        Ok(())
    }

    fn gpu(&self, r: &mut Recorder<'_>) -> Result<()> {
        let channel = [1, 2, 3, 4].map(Buffer::Input);
        record_normalise(r, channel, self.epsilon, self.residual.then_some(Buffer::Input(5)), self.activation);
        Ok(())
    }

    fn cost(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Cost {
        Cost { flops: 3 * inputs[0].elements() as u64, bytes: moved_bytes(inputs, outputs) }
    }

    fn error_bound(&self, b: &Bound<'_>) -> Result<Vec<Vec<f64>>> {
        let channel = |i: usize| exact_channel(b, 1, i);
        Ok(vec![normalised_bound(b, channel, self.epsilon, self.residual.then_some(5), self.activation)])
    }

    fn with_activation(&self, activation: Activation) -> Option<Arc<dyn Op>> {
        self.activation.is_none().then(|| Arc::new(BatchNormInference { activation: Some(activation), ..*self }) as Arc<dyn Op>)
    }

    fn with_residual(&self) -> Option<Arc<dyn Op>> {
        let free = self.activation.is_none() && !self.residual;
        free.then(|| Arc::new(BatchNormInference { residual: true, ..*self }) as Arc<dyn Op>)
    }

    fn fold(&self, bias: bool) -> Option<Arc<dyn Op>> {
        let plain = self.activation.is_none() && !self.residual;
        plain.then(|| Arc::new(super::BatchNormFold { epsilon: self.epsilon, bias }) as Arc<dyn Op>)
    }

    fn interchange(&self, d: &mut Interchange<'_>) -> Result<Vec<Term>> {
        refuse_fused_export(self.residual, self.activation)?;
        let x = d.channels_first(d.x(0));
        let [mean, variance, gamma, beta] = [1, 2, 3, 4].map(|i| d.x(i));
        let node = StandardNode::fixed("BatchNormalization", &[x, gamma, beta, mean, variance]).float("epsilon", self.epsilon);
        let y = d.same(node);
        Ok(vec![d.channels_last(y)])
    }
}

impl Cpu for BatchNormInference {
    fn cpu<T: Real>(&self, args: &mut CpuArgs<'_, T>) {
        self.run(args, oracle(self.activation));
    }

    fn cpu_single(&self, args: &mut CpuArgs<'_, f32>) {
        self.run(args, single(self.activation));
    }
}

impl BatchNormInference {
    fn run<T: Real>(&self, args: &mut CpuArgs<'_, T>, activate: impl Fn(&mut [T]) + Sync) {
        let [mean, variance, gamma, beta] = [1, 2, 3, 4].map(|k| args.x(k));
        let residual = self.residual.then(|| args.x(5));
        Normalise { mean, variance, gamma, beta, epsilon: self.epsilon }.run(args.x(0), residual, activate, args.y(0));
    }
}
