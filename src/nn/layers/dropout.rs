//! Dropout.

use crate::error::{Error, Result};
use crate::nn::{Layer, LayerContext, Mode};
use crate::op::Value;
use crate::ops::dropout;

/// In training, sets a random share `rate` of the values to 0 and multiplies the others by `1 / (1 - rate)`; in inference, passes
/// everything on. Which values is a function of the model's seed, the layer and the step.
#[derive(Clone, Copy, Debug)]
pub struct Dropout {
    rate: f32,
}

impl Dropout {
    /// Drops this share of the values, from 0 to less than 1.
    pub fn new(rate: f32) -> Self {
        Dropout { rate }
    }
}

impl Layer for Dropout {
    fn type_name(&self) -> &'static str {
        "dropout"
    }

    fn build(&self, ctx: &mut LayerContext<'_>, x: &[Value]) -> Result<Value> {
        let x = ctx.only(x)?;
        if !(0.0..1.0).contains(&self.rate) {
            return Err(Error::invalid("rate", self.rate, "0 to less than 1, the share to drop"));
        }
        match ctx.mode() {
            Mode::Inference => Ok(x),
            Mode::Training => {
                let (seed, stream, step) = (ctx.seed(), ctx.index(), ctx.step()?);
                ctx.node(dropout::Dropout { rate: self.rate, seed, stream }, &[x, step])
            }
        }
    }
}
