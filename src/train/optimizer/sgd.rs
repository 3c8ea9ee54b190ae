//! Stochastic gradient descent.

use super::{Optimizer, Page, check_decay, check_rate, check_share};
use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::ops::sgd_update::SgdUpdate;

/// Stochastic gradient descent, with momentum if asked for, in PyTorch's form: `v = momentum v + g; p -= rate v`.
///
/// Defaults: rate 0.01 as in Keras (PyTorch 0.001), no momentum, no weight decay.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Sgd {
    learning_rate: f64,
    momentum: f64,
    nesterov: bool,
    weight_decay: f64,
}

impl Default for Sgd {
    fn default() -> Self {
        Sgd::new(0.01)
    }
}

impl Sgd {
    /// Plain gradient descent.
    pub fn new(learning_rate: f64) -> Self {
        Sgd { learning_rate, momentum: 0.0, nesterov: false, weight_decay: 0.0 }
    }

    /// Momentum, 0 to less than 1; 0.9 is usual.
    pub fn momentum(mut self, momentum: f64) -> Self {
        self.momentum = momentum;
        self
    }

    /// Nesterov's form of momentum: `p -= rate (g + momentum v)`.
    pub fn nesterov(mut self) -> Self {
        self.nesterov = true;
        self
    }

    /// Adds this times the parameter to its gradient: an L2 penalty, on biases too, as in PyTorch.
    pub fn weight_decay(mut self, weight_decay: f64) -> Self {
        self.weight_decay = weight_decay;
        self
    }
}

impl Optimizer for Sgd {
    fn name(&self) -> &'static str {
        "sgd"
    }

    fn learning_rate(&self) -> f64 {
        self.learning_rate
    }

    fn check(&self) -> Result<()> {
        check_rate(self.learning_rate)?;
        check_share("momentum", self.momentum)?;
        if self.nesterov && self.momentum == 0.0 {
            return Err(Error::invalid("momentum", 0, "more than 0 with Nesterov's form"));
        }
        check_decay(self.weight_decay)
    }

    fn moments(&self) -> &'static [&'static str] {
        if self.momentum == 0.0 { &[] } else { &["velocity"] }
    }

    fn key(&self) -> String {
        format!("{:?}", Sgd { learning_rate: 0.0, ..*self })
    }

    fn update(&self, graph: &mut Graph, page: &Page) -> Result<()> {
        let op = SgdUpdate { momentum: self.momentum, nesterov: self.nesterov, weight_decay: self.weight_decay };
        graph.node(op, &page.inputs()).map(drop)
    }

    fn hyper(&self, _: u64, rate: f64) -> [f32; 4] {
        [rate as f32, 0.0, 0.0, 0.0]
    }
}
