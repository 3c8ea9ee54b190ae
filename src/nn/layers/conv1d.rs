//! Convolution along one axis.

use super::Conv2d;
use crate::error::{Error, Result};
use crate::nn::layer::batched;
use crate::nn::{Init, Layer, LayerContext};
use crate::op::Value;
use crate::ops::view::View;
use crate::tensor::Padding;

/// One-dimensional convolution, of series or text: a [`Conv2d`] on images of one row. Input `[n, len, c_in]`, output
/// `[n, len_out, filters]`; parameters `weight` `[1, k, c_in / groups, filters]` and `bias` `[filters]`.
///
/// Defaults are Keras's: stride 1, no padding, one group, a bias of zeros, Glorot-uniform weights.
#[derive(Clone, Debug)]
pub struct Conv1d {
    conv: Conv2d,
}

impl Conv1d {
    /// `filters` filters of a length: `Conv1d::new(32, 3)`.
    pub fn new(filters: usize, kernel: usize) -> Self {
        Conv1d { conv: Conv2d::new(filters, [1, kernel]) }
    }

    /// Pads with zeros so that at stride 1 the output is as long as the input ([`Padding::Same`]).
    pub fn same(mut self) -> Self {
        self.conv = self.conv.same();
        self
    }

    /// Pads with so many zeros before and after. Keras's `causal` is `dilation * (kernel - 1)` before and none after.
    pub fn padding(mut self, before: usize, after: usize) -> Self {
        self.conv = self.conv.padding(Padding::Explicit { top: 0, bottom: 0, left: before, right: after });
        self
    }

    /// Moves the filters by this much.
    pub fn stride(mut self, stride: usize) -> Self {
        self.conv = self.conv.stride([1, stride]);
        self
    }

    /// Puts the filters' taps this far apart.
    pub fn dilation(mut self, dilation: usize) -> Self {
        self.conv = self.conv.dilation([1, dilation]);
        self
    }

    /// Splits the channels into groups that don't see each other.
    pub fn groups(mut self, groups: usize) -> Self {
        self.conv = self.conv.groups(groups);
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

impl Layer for Conv1d {
    fn type_name(&self) -> &'static str {
        "conv1d"
    }

    fn build(&self, ctx: &mut LayerContext<'_>, x: &[Value]) -> Result<Value> {
        let x = ctx.only(x)?;
        let &[n, len, c] = ctx.shape(x).dims() else {
            return Err(Error::invalid("input shape", batched(ctx.shape(x)), "3 dimensions [n, len, c]"));
        };
        let row = ctx.node(View::reshape([n, 1, len, c]), &[x])?;
        let y = self.conv.build(ctx, &[row])?;
        let dims = ctx.shape(y).dims();
        let shape = [n, dims[2], dims[3]];
        ctx.node(View::reshape(shape), &[y])
    }
}
