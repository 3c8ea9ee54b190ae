//! Optimizers: how parameters follow their gradients.

mod adadelta;
mod adam;
mod sgd;

pub use adadelta::Adadelta;
pub use adam::Adam;
pub use sgd::Sgd;

use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::op::Value;
use std::fmt::Debug;

/// What an update of a page of parameters works on. All tensors of the page are f32 of one dimension and equally long.
#[derive(Clone, Debug)]
pub struct Page {
    /// The parameters, overwritten.
    pub p: Value,
    /// The moments, in the order of [`Optimizer::moments`], overwritten. They are zeros at the start of training.
    pub moments: Vec<Value>,
    /// The gradient.
    pub g: Value,
    /// What [`Optimizer::hyper`] gives for the step, f32 `[4]`.
    pub hyper: Value,
    /// u32 `[2]`: the update must do nothing unless the first is 0.
    pub health: Value,
}

impl Page {
    /// The inputs of an update op: parameters, moments, gradient, hyper, health.
    pub fn inputs(&self) -> Vec<Value> {
        let moments = self.moments.iter().copied();
        std::iter::once(self.p).chain(moments).chain([self.g, self.hyper, self.health]).collect()
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

    /// All settings that [`Optimizer::update`] depends on, as text: equal texts may share programs.
    fn key(&self) -> String;

    /// Adds the op that updates a page.
    ///
    /// # Errors
    /// Those of the op.
    fn update(&self, graph: &mut Graph, page: &Page) -> Result<()>;

    /// The numbers that change from step to step. `step` counts from 1; `rate` is this step's learning rate.
    fn hyper(&self, step: u64, rate: f64) -> [f32; 4];
}

fn check_rate(rate: f64) -> Result<()> {
    check_positive("learning rate", rate)
}

fn check_positive(what: &str, value: f64) -> Result<()> {
    if value > 0.0 && (value as f32).is_finite() { Ok(()) } else { Err(Error::invalid(what, value, "a positive number")) }
}

fn check_share(what: &str, value: f64) -> Result<()> {
    if (0.0..1.0).contains(&value) { Ok(()) } else { Err(Error::invalid(what, value, "0 to less than 1")) }
}

fn check_decay(value: f64) -> Result<()> {
    if value >= 0.0 && (value as f32).is_finite() {
        Ok(())
    } else {
        Err(Error::invalid("weight decay", value, "0 or a positive number"))
    }
}
