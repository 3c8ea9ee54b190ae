//! Dropout.

use crate::error::{Error, Result};
use crate::nn::layer::batched;
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

/// Dropout of whole channels: in training, a random share `rate` of the channels of each sample becomes 0, and the others are multiplied
/// by `1 / (1 - rate)`. For what convolutions make, where neighbours are alike and dropping one alone does little. Input `[n, .., c]`.
/// Keras's `SpatialDropout2D`, PyTorch's `Dropout2d`.
#[derive(Clone, Copy, Debug)]
pub struct SpatialDropout {
    rate: f32,
}

impl SpatialDropout {
    /// Drops this share of the channels, from 0 to less than 1.
    pub fn new(rate: f32) -> Self {
        SpatialDropout { rate }
    }
}

fn build(ctx: &mut LayerContext<'_>, x: &[Value], rate: f32, spatial: bool) -> Result<Value> {
    let x = ctx.only(x)?;
    if !(0.0..1.0).contains(&rate) {
        return Err(Error::invalid("rate", rate, "0 to less than 1, the share to drop"));
    }
    match ctx.mode() {
        Mode::Inference => Ok(x),
        Mode::Training => {
            let (seed, stream, step) = (ctx.seed(), ctx.index(), ctx.step()?);
            ctx.node(dropout::Dropout { rate, seed, stream, spatial }, &[x, step])
        }
    }
}

impl Layer for Dropout {
    fn type_name(&self) -> &'static str {
        "dropout"
    }

    fn build(&self, ctx: &mut LayerContext<'_>, x: &[Value]) -> Result<Value> {
        build(ctx, x, self.rate, false)
    }
}

impl Layer for SpatialDropout {
    fn type_name(&self) -> &'static str {
        "spatial_dropout"
    }

    fn build(&self, ctx: &mut LayerContext<'_>, x: &[Value]) -> Result<Value> {
        let shape = ctx.shape(ctx.only(x)?);
        if shape.rank() < 2 {
            return Err(Error::invalid("input shape", batched(shape), "2 or more dimensions [n, .., c]"));
        }
        build(ctx, x, self.rate, true)
    }
}
