//! From images to rows.

use crate::error::Result;
use crate::nn::{Layer, LayerContext};
use crate::op::Value;
use crate::ops::view::View;

/// Puts all values of a sample in one row: `[n, h, w, c]` to `[n, h * w * c]`, in that order (Keras's; PyTorch has channels first). It
/// moves nothing.
#[derive(Clone, Copy, Debug)]
pub struct Flatten;

impl Layer for Flatten {
    fn type_name(&self) -> &'static str {
        "flatten"
    }

    fn build(&self, ctx: &mut LayerContext<'_>, x: &[Value]) -> Result<Value> {
        let x = ctx.only(x)?;
        let n = ctx.batch(x);
        let len = ctx.shape(x).elements() / n;
        ctx.node(View::reshape([n, len]), &[x])
    }
}
