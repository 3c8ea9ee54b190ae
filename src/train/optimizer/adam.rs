//! Adam and its kin: steps along a running mean of the gradient.

use super::{Optimizer, Page, betas, common, settings};
use crate::error::Result;
use crate::graph::Graph;
use crate::op::Value;
use crate::ops::update::{self, Coefficients, correction};

/// Adam (D. Kingma, J. Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015).
///
/// Defaults are the paper's and PyTorch's: rate 0.001, betas 0.9 and 0.999, epsilon 1e-8 (Keras: 1e-7), no weight decay.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Adam {
    learning_rate: f64,
    k: Coefficients,
    amsgrad: bool,
}

impl Default for Adam {
    fn default() -> Self {
        Adam::new(0.001)
    }
}

impl Adam {
    /// Adam with this learning rate.
    pub fn new(learning_rate: f64) -> Self {
        Adam { learning_rate, k: Coefficients::default(), amsgrad: false }
    }

    /// Divides by the root of the largest second moment so far (S. Reddi, S. Kale, S. Kumar, "On the Convergence of Adam and Beyond", ICLR 2018).
    pub fn amsgrad(mut self) -> Self {
        self.amsgrad = true;
        self
    }

    betas! {
        /// Decays of the running means of the gradient and of its square, 0 to less than 1.
    }

    settings! {
        /// Added to the root of the corrected second moment.
        epsilon => epsilon;
        /// Adds this times the parameter to its gradient, as [`Sgd::weight_decay`](super::Sgd::weight_decay) and PyTorch's `Adam` do (not
        /// [`AdamW`]).
        weight_decay => weight_decay;
    }
}

/// The corrections of the two running means.
fn corrections(k: &Coefficients, step: u64, rate: f64) -> [f32; 4] {
    [rate as f32, correction(k.beta1, step), correction(k.beta2, step), 0.0]
}

/// What Adam does with its moments, with weight decay in either place.
macro_rules! second_moments {
    () => {
        fn moments(&self) -> &'static [&'static str] {
            if self.amsgrad { &["m", "v", "largest_v"] } else { &["m", "v"] }
        }

        fn update(&self, graph: &mut Graph, page: &Page) -> Result<Value> {
            Ok(match self.amsgrad {
                false => page.update::<update::Adam>(graph, self.k)?,
                true => page.update::<update::AmsGrad>(graph, self.k)?,
            }[0])
        }

        fn hyper(&self, step: u64, rate: f64) -> [f32; 4] {
            corrections(&self.k, step, rate)
        }
    };
}

impl Optimizer for Adam {
    common!("adam", "beta1": check_share beta1, "beta2": check_share beta2, "epsilon": check_positive epsilon);

    second_moments!();
}

/// Adam with weight decay beside the gradient, `p -= rate weight_decay p`, so that it isn't divided by the second moment (I. Loshchilov,
/// F. Hutter, "Decoupled Weight Decay Regularization", ICLR 2019).
///
/// Defaults are PyTorch's: rate 0.001, betas 0.9 and 0.999, epsilon 1e-8, weight decay 0.01 (Keras: 1e-7 and 0.004).
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct AdamW {
    learning_rate: f64,
    k: Coefficients,
    amsgrad: bool,
}

impl Default for AdamW {
    fn default() -> Self {
        AdamW::new(0.001)
    }
}

impl AdamW {
    /// AdamW with this learning rate.
    pub fn new(learning_rate: f64) -> Self {
        let k = Coefficients { weight_decay: 0.01, decoupled: true, ..Coefficients::default() };
        AdamW { learning_rate, k, amsgrad: false }
    }

    /// As [`Adam::amsgrad`].
    pub fn amsgrad(mut self) -> Self {
        self.amsgrad = true;
        self
    }

    betas! {
        /// As [`Adam::betas`].
    }

    settings! {
        /// Added to the root of the corrected second moment.
        epsilon => epsilon;
        /// Takes this times the rate of the parameter: on biases too, as in PyTorch, unless
        /// [`Fit::decay_weights_only`](crate::train::Fit::decay_weights_only) says otherwise.
        weight_decay => weight_decay;
    }
}

impl Optimizer for AdamW {
    common!("adamw", "beta1": check_share beta1, "beta2": check_share beta2, "epsilon": check_positive epsilon);

    second_moments!();
}

/// Adamax: Adam by the largest gradient instead of the mean square (in Adam's paper).
///
/// Defaults are PyTorch's: rate 0.002, betas 0.9 and 0.999, epsilon 1e-8 (Keras: rate 0.001, and an epsilon of 1e-7 that is added later).
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Adamax {
    learning_rate: f64,
    k: Coefficients,
}

impl Default for Adamax {
    fn default() -> Self {
        Adamax::new(0.002)
    }
}

impl Adamax {
    /// Adamax with this learning rate.
    pub fn new(learning_rate: f64) -> Self {
        Adamax { learning_rate, k: Coefficients::default() }
    }

    betas! {
        /// Decays of the running mean of the gradient and of its largest value, 0 to less than 1.
    }

    settings! {
        /// Added to the magnitude of each gradient.
        epsilon => epsilon;
        /// Adds this times the parameter to its gradient, as [`Sgd::weight_decay`](super::Sgd::weight_decay).
        weight_decay => weight_decay;
    }
}

impl Optimizer for Adamax {
    common!("adamax", "beta1": check_share beta1, "beta2": check_share beta2, "epsilon": check_positive epsilon);

    fn moments(&self) -> &'static [&'static str] {
        &["m", "u"]
    }

    fn update(&self, graph: &mut Graph, page: &Page) -> Result<Value> {
        Ok(page.update::<update::Adamax>(graph, self.k)?[0])
    }

    fn hyper(&self, step: u64, rate: f64) -> [f32; 4] {
        corrections(&self.k, step, rate)
    }
}

/// Adam with Nesterov's momentum (T. Dozat, "Incorporating Nesterov Momentum into Adam", ICLR workshop 2016).
///
/// Defaults are PyTorch's: rate 0.002, betas 0.9 and 0.999, epsilon 1e-8, momentum decay 0.004 (Keras: rate 0.001, epsilon 1e-7).
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Nadam {
    learning_rate: f64,
    k: Coefficients,
    momentum_decay: f64,
}

impl Default for Nadam {
    fn default() -> Self {
        Nadam::new(0.002)
    }
}

impl Nadam {
    /// Nadam with this learning rate.
    pub fn new(learning_rate: f64) -> Self {
        Nadam { learning_rate, k: Coefficients::default(), momentum_decay: 0.004 }
    }

    betas! {
        /// Decays of the running means of the gradient and of its square, 0 to less than 1.
    }

    /// How fast the momentum grows from half of `beta1` to `beta1`: at step t it is `beta1 (1 - 0.96^(momentum_decay t) / 2)`.
    pub fn momentum_decay(mut self, momentum_decay: f64) -> Self {
        self.momentum_decay = momentum_decay;
        self
    }

    settings! {
        /// Added to the root of the corrected second moment.
        epsilon => epsilon;
        /// Adds this times the parameter to its gradient, as [`Sgd::weight_decay`](super::Sgd::weight_decay).
        weight_decay => weight_decay;
    }

    fn check_more(&self) -> Result<()> {
        super::check_decay(self.momentum_decay)
    }

    fn momentum(&self, step: u64) -> f64 {
        self.k.beta1 * (1.0 - 0.5 * 0.96f64.powf(step as f64 * self.momentum_decay))
    }
}

impl Optimizer for Nadam {
    common!("nadam", "beta1": check_share beta1, "beta2": check_share beta2, "epsilon": check_positive epsilon; check_more);

    fn moments(&self) -> &'static [&'static str] {
        &["m", "v"]
    }

    fn update(&self, graph: &mut Graph, page: &Page) -> Result<Value> {
        Ok(page.update::<update::Nadam>(graph, self.k)?[0])
    }

    fn hyper(&self, step: u64, rate: f64) -> [f32; 4] {
        let mut product = 1.0;
        for t in 1..=step {
            product *= self.momentum(t);
            // From here on `1 - product` is 1.
            if product < 1e-17 {
                break;
            }
        }
        let (now, next) = (self.momentum(step), self.momentum(step + 1));
        let of_g = (1.0 - now) / (1.0 - product);
        let of_m = next / (1.0 - product * next);
        [rate as f32, of_g as f32, of_m as f32, correction(self.k.beta2, step)]
    }
}

/// Lion: steps of one size along the sign of a running mean (X. Chen et al., "Symbolic Discovery of Optimization Algorithms", NeurIPS 2023).
///
/// Defaults are the paper's: rate 0.0001, betas 0.9 and 0.99, no weight decay. Keras has 0.001. The paper advises rates 3 to 10 times smaller
/// than Adam's, and as much more weight decay.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Lion {
    learning_rate: f64,
    k: Coefficients,
}

impl Default for Lion {
    fn default() -> Self {
        Lion::new(1e-4)
    }
}

impl Lion {
    /// Lion with this learning rate.
    pub fn new(learning_rate: f64) -> Self {
        Lion { learning_rate, k: Coefficients { beta2: 0.99, decoupled: true, ..Coefficients::default() } }
    }

    betas! {
        /// The share of the running mean in the direction of a step, and in the next running mean, 0 to less than 1.
    }

    settings! {
        /// Takes this times the rate of the parameter, as [`AdamW::weight_decay`].
        weight_decay => weight_decay;
    }
}

impl Optimizer for Lion {
    common!("lion", "beta1": check_share beta1, "beta2": check_share beta2);

    fn moments(&self) -> &'static [&'static str] {
        &["m"]
    }

    fn update(&self, graph: &mut Graph, page: &Page) -> Result<Value> {
        Ok(page.update::<update::Lion>(graph, self.k)?[0])
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
        let late = Nadam::default().hyper(1_000_000, 0.001);
        assert!((late[1] - 0.1).abs() < 1e-6 && (late[2] - 0.9).abs() < 1e-6 && late[3] == 1.0, "{late:?}");
    }
}
