//! Depthwise separable convolution.

use super::{filter_options, image};
use crate::error::{Error, Result};
use crate::nn::{Init, Layer, LayerContext, Size2};
use crate::op::Value;
use crate::ops::conv2d::Conv2d;
use crate::tensor::{Padding, Window2d};

/// A convolution of each channel on its own, then one of a pixel that mixes the channels (L. Sifre, "Rigid-motion scattering for image
/// classification", 2014; F. Chollet, "Xception", CVPR 2017). Input `[n, h, w, c]`, output `[n, h_out, w_out, filters]`; parameters
/// `depthwise_weight` `[k_h, k_w, 1, c * multiplier]`, `pointwise_weight` `[1, 1, c * multiplier, filters]` and `bias` `[filters]`.
///
/// Defaults are Keras's: multiplier 1, stride 1, no padding, one bias, of zeros, at the end, nothing between the two convolutions,
/// Glorot-uniform weights.
#[derive(Clone, Debug)]
pub struct SeparableConv2d {
    filters: usize,
    window: Window2d,
    multiplier: usize,
    bias: bool,
    init: Option<Init>,
}

filter_options!(SeparableConv2d);

impl SeparableConv2d {
    /// `filters` filters, after one of this size a channel: `SeparableConv2d::new(64, 3)`.
    pub fn new(filters: usize, kernel: impl Into<Size2>) -> Self {
        SeparableConv2d { filters, window: Window2d::new(kernel.into().0), multiplier: 1, bias: true, init: None }
    }

    /// Filters a channel in the first convolution.
    pub fn multiplier(mut self, multiplier: usize) -> Self {
        self.multiplier = multiplier;
        self
    }
}

impl Layer for SeparableConv2d {
    fn type_name(&self) -> &'static str {
        "separable_conv2d"
    }

    fn build(&self, ctx: &mut LayerContext<'_>, x: &[Value]) -> Result<Value> {
        let x = ctx.only(x)?;
        let [_, h_in, w_in, c] = image(ctx.shape(x))?;
        let filtered = multiplied(c, self.multiplier)?;
        if self.filters == 0 {
            return Err(Error::invalid("filters", 0, "at least 1"));
        }
        self.window.place(h_in, w_in)?;
        let [k_h, k_w] = self.window.kernel;
        let init = self.init.unwrap_or(ctx.default_init());
        let w = ctx.parameter("depthwise_weight", [k_h, k_w, 1, filtered], init)?;
        let x = ctx.node(Conv2d::new(self.window, c), &[x, w])?;
        let w = ctx.parameter("pointwise_weight", [1, 1, filtered, self.filters], init)?;
        let mut inputs = vec![x, w];
        if self.bias {
            inputs.push(ctx.parameter("bias", [self.filters], Init::Zeros)?);
        }
        ctx.node(Conv2d::new(Window2d::new([1, 1]), 1), &inputs)
    }
}

/// Output channels of a convolution with so many filters for each of `c` channels.
pub(super) fn multiplied(c: usize, multiplier: usize) -> Result<usize> {
    c.checked_mul(multiplier)
        .filter(|&filters| filters > 0)
        .ok_or_else(|| Error::invalid("multiplier", multiplier, "at least 1, and a product with the channels that is a number"))
}
