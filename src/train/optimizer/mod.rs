//! Optimizers: how parameters follow their gradients. Each is a rule of [`crate::ops::update`] with the settings that its users know.

mod adagrad;
mod adam;
mod large_batch;
mod sgd;

pub use adagrad::{Adadelta, Adagrad, RmsProp};
pub use adam::{Adam, AdamW, Adamax, Lion, Nadam};
pub use large_batch::{Lamb, Lars};
pub use sgd::Sgd;

use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::op::{NodeBuilder, Value};
use crate::ops::update::{Coefficients, Update, UpdateRow};
use std::fmt::Debug;
use std::sync::Arc;

/// What an update of a page of parameters works on. Parameters, moments and gradient are f32 of one dimension and equally long.
#[derive(Clone, Debug)]
pub struct Page {
    /// The parameters, overwritten.
    pub p: Value,
    /// The moments, in the order of [`Optimizer::moments`], overwritten.
    pub moments: Vec<Value>,
    /// The gradient.
    pub g: Value,
    /// The step's numbers, f32 `[6]`, see [`HYPER`](crate::ops::update::HYPER): first those of [`Optimizer::hyper`].
    pub hyper: Value,
    /// u32 `[2]`: the update must do nothing unless the first is 0.
    pub health: Value,
    /// Factors of rate and weight decay, f32, see [`factors_type`](crate::ops::update::factors_type), unless all are 1.
    pub factors: Option<Value>,
    /// The page's tensors, u32 `[tensors, 2]`, as [`TrustRatio`](crate::ops::trust_ratio::TrustRatio) takes them.
    pub pieces: Value,
}

impl Page {
    /// Adds an update by rule `R`, which overwrites parameters and moments. Returns what they are then.
    ///
    /// # Errors
    /// Those of [`Update`].
    pub fn update<R: UpdateRow>(&self, graph: &mut Graph, coefficients: Coefficients) -> Result<Vec<Value>> {
        let moments = self.moments.iter().copied();
        let inputs = std::iter::once(self.p).chain(moments).chain([self.g, self.hyper, self.health]).chain(self.factors);
        graph.add(Arc::new(Update::<R>::new(coefficients)), &inputs.collect::<Vec<_>>())
    }
}

/// An optimizer.
pub trait Optimizer: Debug + Send + Sync {
    /// Name, with which the names of its moments begin.
    fn name(&self) -> &'static str;

    /// The learning rate, before a [`Schedule`](super::Schedule).
    fn learning_rate(&self) -> f64;

    /// Fails, naming the setting, if one makes no sense.
    ///
    /// # Errors
    /// [`Error::Invalid`].
    fn check(&self) -> Result<()>;

    /// Names of the tensors that it keeps for each parameter.
    fn moments(&self) -> &'static [&'static str];

    /// What the moments are at the start of training.
    fn initial_moment(&self) -> f32 {
        0.0
    }

    /// Whether [`Optimizer::update`] reads [`Page::pieces`].
    fn tells_tensors_apart(&self) -> bool {
        false
    }

    /// All settings that [`Optimizer::update`] depends on, as text: equal texts may share programs.
    fn key(&self) -> String;

    /// Adds the ops that update a page, and returns the updated parameters.
    ///
    /// # Errors
    /// Those of the ops.
    fn update(&self, graph: &mut Graph, page: &Page) -> Result<Value>;

    /// The numbers that change from step to step: the learning rate, and three of its rule. `step` counts from 1; `rate` is this step's
    /// learning rate.
    fn hyper(&self, step: u64, rate: f64) -> [f32; 4] {
        let _ = step;
        [rate as f32, 0.0, 0.0, 0.0]
    }
}

/// Setters of coefficients of the rule, in field `k`.
macro_rules! settings {
    ($($(#[$doc:meta])* $name:ident => $field:ident;)+) => {
        $(
            $(#[$doc])*
            pub fn $name(mut self, $name: f64) -> Self {
                self.k.$field = $name;
                self
            }
        )+
    };
}

/// The setting of both decays, documented.
macro_rules! betas {
    ($(#[$doc:meta])*) => {
        $(#[$doc])*
        pub fn betas(mut self, beta1: f64, beta2: f64) -> Self {
            (self.k.beta1, self.k.beta2) = (beta1, beta2);
            self
        }
    };
}

/// What is alike in all: the name, the rate, the text of the settings without it, and the checks of coefficients under their names,
/// with the method that checks more, if there is one.
macro_rules! common {
    ($name:literal $(, $what:literal: $check:ident $field:ident)* $(; $more:ident)?) => {
        fn name(&self) -> &'static str {
            $name
        }

        fn learning_rate(&self) -> f64 {
            self.learning_rate
        }

        fn key(&self) -> String {
            format!("{:?}", Self { learning_rate: 0.0, ..*self })
        }

        fn check(&self) -> Result<()> {
            super::check_positive("learning rate", self.learning_rate)?;
            super::check_decay(self.k.weight_decay)?;
            $(super::$check($what, self.k.$field)?;)*
            $(self.$more()?;)?
            Ok(())
        }
    };
}

use {betas, common, settings};

fn check_positive(what: &str, value: f64) -> Result<()> {
    let single = value as f32;
    if single > 0.0 && single.is_finite() { Ok(()) } else { Err(Error::invalid(what, value, "a positive number")) }
}

pub(super) fn check_share(what: &str, value: f64) -> Result<()> {
    if (0.0..1.0).contains(&value) { Ok(()) } else { Err(Error::invalid(what, value, "0 to less than 1")) }
}

fn check_decay(value: f64) -> Result<()> {
    if value >= 0.0 && (value as f32).is_finite() {
        Ok(())
    } else {
        Err(Error::invalid("weight decay", value, "0 or a positive number"))
    }
}
