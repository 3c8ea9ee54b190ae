//! Channels of zeros.

use super::image;
use crate::error::Result;
use crate::nn::{Layer, LayerContext};
use crate::op::Value;
use crate::ops::slice::PadAxis;

/// Channels of zeros before and after those of an image. Input `[n, h, w, c]`, output `[n, h, w, before + c + after]`: how a residual block
/// widens its shortcut without parameters.
#[derive(Clone, Copy, Debug)]
pub struct PadChannels {
    before: usize,
    after: usize,
}

impl PadChannels {
    /// So many channels before the first and after the last.
    pub fn new(before: usize, after: usize) -> Self {
        PadChannels { before, after }
    }
}

impl Layer for PadChannels {
    fn type_name(&self) -> &'static str {
        "pad_channels"
    }

    fn build(&self, ctx: &mut LayerContext<'_>, x: &[Value]) -> Result<Value> {
        let x = ctx.only(x)?;
        image(ctx.shape(x))?;
        ctx.node(PadAxis { axis: 3, before: self.before, after: self.after }, &[x])
    }
}
