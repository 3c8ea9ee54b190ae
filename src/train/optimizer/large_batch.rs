//! Optimizers for large batches: each tensor has a learning rate of its own, by its norm and that of its step.

use super::{Optimizer, Page, betas, common, settings};
use crate::error::Result;
use crate::graph::Graph;
use crate::op::Value;
use crate::ops::trust_ratio::TrustRatio;
use crate::ops::update::{self, Coefficients, correction};

/// LARS: momentum with rates of `eta |p| / (|g| + weight_decay |p|)` times the learning rate (Y. You, I. Gitman, B. Ginsburg, "Large Batch
/// Training of Convolutional Networks", arXiv:1708.03888, 2017): `v = momentum v + rate (g + weight_decay p); p -= v`.
///
/// Defaults are the paper's: momentum 0.9, weight decay 0.0005, eta 0.001; its rates go up to 30. Neither Keras nor PyTorch has it. Biases
/// and normalisations have neither decay nor a rate of their own if [`Fit::decay_weights_only`](crate::train::Fit::decay_weights_only) is
/// set, as is usual.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Lars {
    learning_rate: f64,
    k: Coefficients,
    eta: f64,
}

impl Lars {
    /// LARS with this learning rate.
    pub fn new(learning_rate: f64) -> Self {
        let k = Coefficients { momentum: 0.9, weight_decay: 5e-4, ..Coefficients::default() };
        Lars { learning_rate, k, eta: 1e-3 }
    }

    /// The trust coefficient: the share of its norm by which a tensor moves, at a rate of 1.
    pub fn eta(mut self, eta: f64) -> Self {
        self.eta = eta;
        self
    }

    settings! {
        /// Momentum, 0 to less than 1.
        momentum => momentum;
        /// Adds this times the parameter to its gradient.
        weight_decay => weight_decay;
    }

    fn check_more(&self) -> Result<()> {
        super::check_positive("eta", self.eta)
    }
}

impl Optimizer for Lars {
    common!("lars", "momentum": check_share momentum; check_more);

    fn moments(&self) -> &'static [&'static str] {
        &["velocity"]
    }

    fn tells_tensors_apart(&self) -> bool {
        true
    }

    fn update(&self, graph: &mut Graph, page: &Page) -> Result<Value> {
        let ratio = TrustRatio { eta: self.eta, weight_decay: self.k.weight_decay, joined: false, scaled: true };
        let inputs = [page.p, page.g, page.pieces, page.hyper].into_iter().chain(page.factors);
        let factors = Some(graph.node(ratio, &inputs.collect::<Vec<_>>())?);
        Ok(Page { factors, ..page.clone() }.update::<update::Lars>(graph, self.k)?[0])
    }
}

/// LAMB: Adam's direction with rates of `|p| / |direction|` times the learning rate (Y. You et al., "Large Batch Optimization for Deep
/// Learning: Training BERT in 76 minutes", ICLR 2020).
///
/// Defaults are the paper's: rate 0.001, betas 0.9 and 0.999, epsilon 1e-6, weight decay 0.01. Keras has an epsilon of 1e-7 and no weight
/// decay; PyTorch doesn't have it. Biases and normalisations have neither decay nor a rate of their own if
/// [`Fit::decay_weights_only`](crate::train::Fit::decay_weights_only) is set, as is usual.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Lamb {
    learning_rate: f64,
    k: Coefficients,
}

impl Default for Lamb {
    fn default() -> Self {
        Lamb::new(0.001)
    }
}

impl Lamb {
    /// LAMB with this learning rate.
    pub fn new(learning_rate: f64) -> Self {
        Lamb { learning_rate, k: Coefficients { epsilon: 1e-6, weight_decay: 0.01, ..Coefficients::default() } }
    }

    betas! {
        /// Decays of the running means of the gradient and of its square, 0 to less than 1.
    }

    settings! {
        /// Added to the root of the corrected second moment.
        epsilon => epsilon;
        /// Adds this times the parameter to its direction.
        weight_decay => weight_decay;
    }
}

impl Optimizer for Lamb {
    common!("lamb", "beta1": check_share beta1, "beta2": check_share beta2, "epsilon": check_positive epsilon);

    fn moments(&self) -> &'static [&'static str] {
        &["direction", "m", "v"]
    }

    fn tells_tensors_apart(&self) -> bool {
        true
    }

    fn update(&self, graph: &mut Graph, page: &Page) -> Result<Value> {
        let direction = Page { p: page.moments[0], moments: page.moments[1..].to_vec(), factors: None, ..page.clone() };
        let direction = direction.update::<update::Direction>(graph, self.k)?[0];
        let ratio = TrustRatio { eta: 1.0, weight_decay: self.k.weight_decay, joined: true, scaled: false };
        let inputs = [page.p, direction, page.pieces, page.hyper].into_iter().chain(page.factors);
        let factors = Some(graph.node(ratio, &inputs.collect::<Vec<_>>())?);
        let along = Page { moments: Vec::new(), g: direction, factors, ..page.clone() };
        Ok(along.update::<update::Along>(graph, self.k)?[0])
    }

    fn hyper(&self, step: u64, rate: f64) -> [f32; 4] {
        [rate as f32, correction(self.k.beta1, step), correction(self.k.beta2, step), 0.0]
    }
}
