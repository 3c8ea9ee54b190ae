//! Adadelta.

use super::{Optimizer, Page, check_decay, check_positive, check_rate, check_share};
use crate::error::Result;
use crate::graph::Graph;
use crate::ops::adadelta_update::AdadeltaUpdate;

/// Adadelta (M. Zeiler, "ADADELTA: An Adaptive Learning Rate Method", arXiv:1212.5701, 2012).
///
/// Defaults are the paper's on MNIST: rate 1, rho 0.95, epsilon 1e-6. PyTorch has 1, 0.9 and 1e-6; Keras 3 has 0.001, 0.95 and 1e-7,
/// a rate with which training hardly moves.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Adadelta {
    learning_rate: f64,
    rho: f64,
    epsilon: f64,
    weight_decay: f64,
}

impl Default for Adadelta {
    fn default() -> Self {
        Adadelta::new(1.0)
    }
}

impl Adadelta {
    /// Adadelta with this learning rate.
    pub fn new(learning_rate: f64) -> Self {
        Adadelta { learning_rate, rho: 0.95, epsilon: 1e-6, weight_decay: 0.0 }
    }

    /// Decay of the running means of squared gradients and squared steps, 0 to less than 1.
    pub fn rho(mut self, rho: f64) -> Self {
        self.rho = rho;
        self
    }

    /// Added under both roots.
    pub fn epsilon(mut self, epsilon: f64) -> Self {
        self.epsilon = epsilon;
        self
    }

    /// Adds this times the parameter to its gradient: an L2 penalty, on biases too, as in PyTorch.
    pub fn weight_decay(mut self, weight_decay: f64) -> Self {
        self.weight_decay = weight_decay;
        self
    }
}

impl Optimizer for Adadelta {
    fn name(&self) -> &'static str {
        "adadelta"
    }

    fn learning_rate(&self) -> f64 {
        self.learning_rate
    }

    fn check(&self) -> Result<()> {
        check_rate(self.learning_rate)?;
        check_share("rho", self.rho)?;
        check_positive("epsilon", self.epsilon)?;
        check_decay(self.weight_decay)
    }

    fn moments(&self) -> &'static [&'static str] {
        &["squared_gradient", "squared_step"]
    }

    fn key(&self) -> String {
        format!("{:?}", Adadelta { learning_rate: 0.0, ..*self })
    }

    fn update(&self, graph: &mut Graph, page: &Page) -> Result<()> {
        let Adadelta { rho, epsilon, weight_decay, .. } = *self;
        graph.node(AdadeltaUpdate { rho, epsilon, weight_decay }, &page.inputs()).map(drop)
    }

    fn hyper(&self, _: u64, rate: f64) -> [f32; 4] {
        [rate as f32, 0.0, 0.0, 0.0]
    }
}
