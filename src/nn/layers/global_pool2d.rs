//! Pooling over whole images.

use super::image;
use crate::error::Result;
use crate::nn::{Layer, LayerContext};
use crate::op::Value;
use crate::ops::max_pool2d::MaxPool2d;
use crate::ops::reduce::{Reduce, Reduction};
use crate::ops::view::View;
use crate::tensor::Window2d;

/// Mean of each channel over the image. Input `[n, h, w, c]`, output `[n, c]`.
#[derive(Clone, Copy, Debug)]
pub struct GlobalAvgPool2d;

/// Largest value of each channel over the image. Input `[n, h, w, c]`, output `[n, c]`.
#[derive(Clone, Copy, Debug)]
pub struct GlobalMaxPool2d;

impl Layer for GlobalAvgPool2d {
    fn type_name(&self) -> &'static str {
        "global_avg_pool2d"
    }

    fn build(&self, ctx: &mut LayerContext<'_>, x: &[Value]) -> Result<Value> {
        let x = ctx.only(x)?;
        image(ctx.shape(x))?;
        ctx.node(Reduce { reduction: Reduction::Mean, axes: 1..3 }, &[x])
    }
}

impl Layer for GlobalMaxPool2d {
    fn type_name(&self) -> &'static str {
        "global_max_pool2d"
    }

    fn build(&self, ctx: &mut LayerContext<'_>, x: &[Value]) -> Result<Value> {
        let x = ctx.only(x)?;
        let [n, h, w, c] = image(ctx.shape(x))?;
        let y = ctx.node(MaxPool2d { window: Window2d::new([h, w]) }, &[x])?;
        ctx.node(View::reshape([n, c]), &[y])
    }
}
