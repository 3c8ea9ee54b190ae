//! Adagrad and what followed from it: rates that each parameter has for itself, by the squares of its gradients.

use super::{Optimizer, Page, check_decay, common, settings};
use crate::error::Result;
use crate::graph::Graph;
use crate::op::Value;
use crate::ops::update::{self, Coefficients};

/// Adagrad (J. Duchi, E. Hazan, Y. Singer, "Adaptive Subgradient Methods for Online Learning and Stochastic Optimization", JMLR 2011).
///
/// Defaults are PyTorch's: rate 0.01, epsilon 1e-10, squares that begin at 0. Keras has 0.001, 1e-7, and 0.1 to begin with.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Adagrad {
    learning_rate: f64,
    k: Coefficients,
    initial: f64,
}

impl Default for Adagrad {
    fn default() -> Self {
        Adagrad::new(0.01)
    }
}

impl Adagrad {
    /// Adagrad with this learning rate.
    pub fn new(learning_rate: f64) -> Self {
        Adagrad { learning_rate, k: Coefficients { epsilon: 1e-10, ..Coefficients::default() }, initial: 0.0 }
    }

    /// What the sums of squared gradients begin at, 0 or more.
    pub fn initial(mut self, initial: f64) -> Self {
        self.initial = initial;
        self
    }

    settings! {
        /// Added to the root of the sum of squares.
        epsilon => epsilon;
        /// Adds this times the parameter to its gradient, as [`Sgd::weight_decay`](super::Sgd::weight_decay).
        weight_decay => weight_decay;
    }

    fn check_more(&self) -> Result<()> {
        check_decay(self.initial)
    }
}

impl Optimizer for Adagrad {
    common!("adagrad", "epsilon": check_positive epsilon; check_more);

    fn moments(&self) -> &'static [&'static str] {
        &["squares"]
    }

    fn initial_moment(&self) -> f32 {
        self.initial as f32
    }

    fn update(&self, graph: &mut Graph, page: &Page) -> Result<Value> {
        Ok(page.update::<update::Adagrad>(graph, self.k)?[0])
    }
}

/// RMSprop (T. Tieleman, G. Hinton, "Lecture 6.5: rmsprop", Coursera, 2012).
///
/// Defaults are PyTorch's: rate 0.01, rho 0.99 (its `alpha`), epsilon 1e-8, no momentum, by the mean square. Keras has 0.001, 0.9 and 1e-7.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct RmsProp {
    learning_rate: f64,
    k: Coefficients,
    centered: bool,
}

impl Default for RmsProp {
    fn default() -> Self {
        RmsProp::new(0.01)
    }
}

impl RmsProp {
    /// RMSprop with this learning rate.
    pub fn new(learning_rate: f64) -> Self {
        RmsProp { learning_rate, k: Coefficients { beta2: 0.99, ..Coefficients::default() }, centered: false }
    }

    /// Divides by the root of the variance instead of the mean square (A. Graves, arXiv:1308.0850, 2013).
    pub fn centered(mut self) -> Self {
        self.centered = true;
        self
    }

    settings! {
        /// Decay of the running mean of squared gradients, 0 to less than 1.
        rho => beta2;
        /// Added to the root.
        epsilon => epsilon;
        /// Momentum, 0 to less than 1.
        momentum => momentum;
        /// Adds this times the parameter to its gradient, as [`Sgd::weight_decay`](super::Sgd::weight_decay).
        weight_decay => weight_decay;
    }
}

impl Optimizer for RmsProp {
    common!("rmsprop", "rho": check_share beta2, "epsilon": check_positive epsilon, "momentum": check_share momentum);

    fn moments(&self) -> &'static [&'static str] {
        match (self.centered, self.k.momentum == 0.0) {
            (true, _) => &["squares", "mean", "velocity"],
            (false, true) => &["squares"],
            (false, false) => &["squares", "velocity"],
        }
    }

    fn update(&self, graph: &mut Graph, page: &Page) -> Result<Value> {
        Ok(match (self.centered, self.k.momentum == 0.0) {
            (true, _) => page.update::<update::RmsPropCentered>(graph, self.k)?,
            (false, true) => page.update::<update::RmsProp>(graph, self.k)?,
            (false, false) => page.update::<update::RmsPropMomentum>(graph, self.k)?,
        }[0])
    }
}

/// Adadelta (M. Zeiler, "ADADELTA: An Adaptive Learning Rate Method", arXiv:1212.5701, 2012).
///
/// Defaults are the paper's on MNIST: rate 1, rho 0.95, epsilon 1e-6. PyTorch has 1, 0.9 and 1e-6; Keras 3 has 0.001, 0.95 and 1e-7,
/// a rate with which training hardly moves.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Adadelta {
    learning_rate: f64,
    k: Coefficients,
}

impl Default for Adadelta {
    fn default() -> Self {
        Adadelta::new(1.0)
    }
}

impl Adadelta {
    /// Adadelta with this learning rate.
    pub fn new(learning_rate: f64) -> Self {
        Adadelta { learning_rate, k: Coefficients { beta2: 0.95, epsilon: 1e-6, ..Coefficients::default() } }
    }

    settings! {
        /// Decay of the running means of squared gradients and squared steps, 0 to less than 1.
        rho => beta2;
        /// Added under both roots.
        epsilon => epsilon;
        /// Adds this times the parameter to its gradient, as [`Sgd::weight_decay`](super::Sgd::weight_decay).
        weight_decay => weight_decay;
    }
}

impl Optimizer for Adadelta {
    common!("adadelta", "rho": check_share beta2, "epsilon": check_positive epsilon);

    fn moments(&self) -> &'static [&'static str] {
        &["squared_gradient", "squared_step"]
    }

    fn update(&self, graph: &mut Graph, page: &Page) -> Result<Value> {
        Ok(page.update::<update::Adadelta>(graph, self.k)?[0])
    }
}
