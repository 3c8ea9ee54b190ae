//! Adam.

use super::{Optimizer, Page, check_decay, check_positive, check_rate, check_share};
use crate::error::Result;
use crate::graph::Graph;
use crate::ops::adam_update::AdamUpdate;

/// Adam (D. Kingma, J. Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015).
///
/// Defaults are the paper's and PyTorch's: rate 0.001, betas 0.9 and 0.999, epsilon 1e-8 (Keras: 1e-7), no weight decay.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Adam {
    learning_rate: f64,
    beta1: f64,
    beta2: f64,
    epsilon: f64,
    weight_decay: f64,
}

impl Default for Adam {
    fn default() -> Self {
        Adam::new(0.001)
    }
}

impl Adam {
    /// Adam with this learning rate.
    pub fn new(learning_rate: f64) -> Self {
        Adam { learning_rate, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.0 }
    }

    /// Decays of the running means of the gradient and of its square, 0 to less than 1.
    pub fn betas(mut self, beta1: f64, beta2: f64) -> Self {
        (self.beta1, self.beta2) = (beta1, beta2);
        self
    }

    /// Added to the root of the corrected second moment.
    pub fn epsilon(mut self, epsilon: f64) -> Self {
        self.epsilon = epsilon;
        self
    }

    /// Adds this times the parameter to its gradient: an L2 penalty, on biases too, as in PyTorch's `Adam` (not `AdamW`).
    pub fn weight_decay(mut self, weight_decay: f64) -> Self {
        self.weight_decay = weight_decay;
        self
    }
}

impl Optimizer for Adam {
    fn name(&self) -> &'static str {
        "adam"
    }

    fn learning_rate(&self) -> f64 {
        self.learning_rate
    }

    fn check(&self) -> Result<()> {
        check_rate(self.learning_rate)?;
        check_share("beta1", self.beta1)?;
        check_share("beta2", self.beta2)?;
        check_positive("epsilon", self.epsilon)?;
        check_decay(self.weight_decay)
    }

    fn moments(&self) -> &'static [&'static str] {
        &["m", "v"]
    }

    fn key(&self) -> String {
        format!("{:?}", Adam { learning_rate: 0.0, ..*self })
    }

    fn update(&self, graph: &mut Graph, page: &Page) -> Result<()> {
        let Adam { beta1, beta2, epsilon, weight_decay, .. } = *self;
        graph.node(AdamUpdate { beta1, beta2, epsilon, weight_decay }, &page.inputs()).map(drop)
    }

    fn hyper(&self, step: u64, rate: f64) -> [f32; 4] {
        let correction = |beta: f64| (1.0 - beta.powf(step as f64)) as f32;
        [rate as f32, correction(self.beta1), correction(self.beta2), 0.0]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn corrections_go_from_one_minus_beta_to_one() {
        let adam = Adam::default();
        let [rate, c1, c2, _] = adam.hyper(1, 0.001);
        assert_eq!((rate, c1, c2), (0.001, 0.1, 0.001));
        assert_eq!(adam.hyper(1_000_000, 0.001)[1..3], [1.0, 1.0]);
        assert_eq!(Adam::new(1.0).key(), Adam::new(0.5).key());
    }
}
