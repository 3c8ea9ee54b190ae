//! Stochastic gradient descent.

use super::{Optimizer, Page, common, settings};
use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::op::Value;
use crate::ops::update::{self, Coefficients};

/// Stochastic gradient descent, with momentum if asked for, in PyTorch's form: `v = momentum v + g; p -= rate v`.
///
/// Defaults: rate 0.01 as in Keras (PyTorch 0.001), no momentum, no weight decay.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Sgd {
    learning_rate: f64,
    k: Coefficients,
    nesterov: bool,
}

impl Default for Sgd {
    fn default() -> Self {
        Sgd::new(0.01)
    }
}

impl Sgd {
    /// Plain gradient descent.
    pub fn new(learning_rate: f64) -> Self {
        Sgd { learning_rate, k: Coefficients::default(), nesterov: false }
    }

    /// Nesterov's form of momentum: `p -= rate (g + momentum v)`.
    pub fn nesterov(mut self) -> Self {
        self.nesterov = true;
        self
    }

    settings! {
        /// Momentum, 0 to less than 1; 0.9 is usual.
        momentum => momentum;
        /// Adds this times the parameter to its gradient: an L2 penalty, on biases too, as in PyTorch, unless
        /// [`Fit::decay_weights_only`](crate::train::Fit::decay_weights_only) says otherwise.
        weight_decay => weight_decay;
    }

    fn check_more(&self) -> Result<()> {
        if self.nesterov && self.k.momentum == 0.0 {
            return Err(Error::invalid("momentum", 0, "more than 0 with Nesterov's form"));
        }
        Ok(())
    }
}

impl Optimizer for Sgd {
    common!("sgd", "momentum": check_share momentum; check_more);

    fn moments(&self) -> &'static [&'static str] {
        if self.k.momentum == 0.0 { &[] } else { &["velocity"] }
    }

    fn update(&self, graph: &mut Graph, page: &Page) -> Result<Value> {
        Ok(match (self.k.momentum == 0.0, self.nesterov) {
            (true, _) => page.update::<update::Sgd>(graph, self.k)?,
            (false, false) => page.update::<update::Momentum>(graph, self.k)?,
            (false, true) => page.update::<update::Nesterov>(graph, self.k)?,
        }[0])
    }
}
