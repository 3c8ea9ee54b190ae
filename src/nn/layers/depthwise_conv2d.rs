//! Convolution of each channel on its own.

use super::separable_conv2d::multiplied;
use super::{Conv2d, image};
use crate::error::Result;
use crate::nn::{Init, Layer, LayerContext, Size2};
use crate::op::Value;
use crate::tensor::Padding;

/// Two-dimensional convolution that doesn't mix channels: a [`Conv2d`] with a group a channel. Input `[n, h, w, c]`, output
/// `[n, h_out, w_out, c * multiplier]`, where output channels `i * multiplier ..` are made of input channel `i`; parameters `weight`
/// `[k_h, k_w, 1, c * multiplier]` and `bias` `[c * multiplier]`.
///
/// Defaults are Keras's: multiplier 1, stride 1, no padding, a bias of zeros, Glorot-uniform weights.
#[derive(Clone, Debug)]
pub struct DepthwiseConv2d {
    /// Without filters and groups, which the input decides.
    conv: Conv2d,
    multiplier: usize,
}

impl DepthwiseConv2d {
    /// A filter of this size a channel: `DepthwiseConv2d::new(3)`.
    pub fn new(kernel: impl Into<Size2>) -> Self {
        DepthwiseConv2d { conv: Conv2d::new(0, kernel), multiplier: 1 }
    }

    /// Filters a channel.
    pub fn multiplier(mut self, multiplier: usize) -> Self {
        self.multiplier = multiplier;
        self
    }

    /// Pads with zeros so that at stride 1 the output is as large as the input ([`Padding::Same`]).
    pub fn same(self) -> Self {
        self.padding(Padding::Same)
    }

    /// Pads in this way.
    pub fn padding(mut self, padding: Padding) -> Self {
        self.conv = self.conv.padding(padding);
        self
    }

    /// Moves the filters by this much.
    pub fn stride(mut self, stride: impl Into<Size2>) -> Self {
        self.conv = self.conv.stride(stride);
        self
    }

    /// Puts the filters' taps this far apart.
    pub fn dilation(mut self, dilation: impl Into<Size2>) -> Self {
        self.conv = self.conv.dilation(dilation);
        self
    }

    /// Leaves out the bias.
    pub fn no_bias(mut self) -> Self {
        self.conv = self.conv.no_bias();
        self
    }

    /// Initial values of the weights.
    pub fn init(mut self, init: Init) -> Self {
        self.conv = self.conv.init(init);
        self
    }
}

impl Layer for DepthwiseConv2d {
    fn type_name(&self) -> &'static str {
        "depthwise_conv2d"
    }

    fn build(&self, ctx: &mut LayerContext<'_>, x: &[Value]) -> Result<Value> {
        let [.., c] = image(ctx.shape(ctx.only(x)?))?;
        let filters = multiplied(c, self.multiplier)?;
        self.conv.clone().filters(filters).groups(c).build(ctx, x)
    }
}
