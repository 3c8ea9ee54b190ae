//! The transposed convolution layer.

use super::{check_groups, filter_options, image};
use crate::error::{Error, Result};
use crate::nn::{Init, Layer, LayerContext, Size2};
use crate::op::Value;
use crate::ops::conv2d::Conv2dGradInput;
use crate::tensor::{Padding, Window2d};

/// Two-dimensional transposed convolution ("deconvolution"): what a convolution from the output's shape to the input's does to
/// gradients, which makes images larger. Input `[n, h, w, c_in]`, output `[n, h_out, w_out, filters]`; parameters `weight`
/// `[k_h, k_w, filters / groups, c_in]`, as in Keras, and `bias` `[filters]`. PyTorch's weights are `[c_in, filters / groups, k_h, k_w]`.
///
/// With `span = dilation * (kernel - 1) + 1`, a side of the output is
///
/// - without padding, the default: `(in - 1) * stride + max(span, stride)`, as in Keras;
/// - [`Padding::Same`]: `in * stride`, as in Keras;
/// - [`Padding::Explicit`]: `(in - 1) * stride + span - before - after + output_padding`, as in PyTorch, whose `padding=p` is
///   [`Padding::all`]`(p)`.
///
/// Defaults are Keras's: stride 1, no padding, one group, a bias of zeros, Glorot-uniform weights. PyTorch's default is
/// `.padding(Padding::all(0))`, which differs where the stride is larger than the window.
#[derive(Clone, Debug)]
pub struct ConvTranspose2d {
    filters: usize,
    /// Of the convolution from the output to the input.
    window: Window2d,
    output_padding: [usize; 2],
    groups: usize,
    bias: bool,
    init: Option<Init>,
}

filter_options!(
    ConvTranspose2d,
    same: "Makes the output `stride` times as large as the input ([`Padding::Same`]).",
    padding: "Takes these rows and columns off the output's sides; see the type for each kind's output size.",
    stride: "Puts the inputs this far apart in the output."
);

impl ConvTranspose2d {
    /// `filters` filters of a size: `ConvTranspose2d::new(32, 2).stride(2)` doubles height and width.
    pub fn new(filters: usize, kernel: impl Into<Size2>) -> Self {
        let window = Window2d::new(kernel.into().0);
        ConvTranspose2d { filters, window, output_padding: [0, 0], groups: 1, bias: true, init: None }
    }

    /// Adds rows at the bottom and columns on the right of the output, fewer than the stride, to choose among the sizes from which the
    /// convolution comes to the input's. With explicit padding only.
    pub fn output_padding(mut self, output_padding: impl Into<Size2>) -> Self {
        self.output_padding = output_padding.into().0;
        self
    }

    /// Splits the channels into groups that don't see each other.
    pub fn groups(mut self, groups: usize) -> Self {
        self.groups = groups;
        self
    }

    /// Output length along an axis for an input of `len`.
    fn len_out(&self, axis: usize, len: usize) -> Result<usize> {
        let side = ["height", "width"][axis];
        let [kernel, stride, dilation] = [self.window.kernel[axis], self.window.stride[axis], self.window.dilation[axis]];
        let extra = self.output_padding[axis];
        let explicit = matches!(self.window.padding, Padding::Explicit { .. });
        if extra > 0 && !(explicit && extra < stride) {
            let want = format!("0, or less than the stride, {stride}, with explicit padding");
            return Err(Error::invalid(format!("output_padding ({side})"), extra, want));
        }
        // What overflows is refused as too large an output; a zero and a negative length by placing the window.
        let span = dilation.saturating_mul(kernel.saturating_sub(1)).saturating_add(1);
        let steps = (len - 1).saturating_mul(stride);
        Ok(match self.window.padding {
            Padding::Valid => steps.saturating_add(span.max(stride)),
            Padding::Same => len.saturating_mul(stride),
            Padding::Explicit { top, bottom, left, right } => {
                let cut = [top.saturating_add(bottom), left.saturating_add(right)][axis];
                let whole = steps.saturating_add(span).saturating_add(extra);
                whole.checked_sub(cut).filter(|&len| len > 0).ok_or_else(|| {
                    Error::invalid(format!("padding ({side})"), cut, format!("less than the unpadded output's {whole}"))
                })?
            }
        })
    }
}

impl Layer for ConvTranspose2d {
    fn type_name(&self) -> &'static str {
        "conv_transpose2d"
    }

    fn build(&self, ctx: &mut LayerContext<'_>, x: &[Value]) -> Result<Value> {
        let x = ctx.only(x)?;
        let [n, h_in, w_in, c_in] = image(ctx.shape(x))?;
        check_groups(self.groups, c_in, self.filters)?;
        let (h_out, w_out) = (self.len_out(0, h_in)?, self.len_out(1, w_in)?);
        self.window.place(h_out, w_out)?;
        let [k_h, k_w] = self.window.kernel;
        let init = self.init.unwrap_or(ctx.default_init());
        let w = ctx.parameter("weight", [k_h, k_w, self.filters / self.groups, c_in], init)?;
        let mut inputs = vec![x, w];
        if self.bias {
            inputs.push(ctx.parameter("bias", [self.filters], Init::Zeros)?);
        }
        ctx.node(Conv2dGradInput::new(self.window, self.groups, [n, h_out, w_out, self.filters]), &inputs)
    }
}
