//! The convolution layer.

use super::{check_groups, filter_options, image};
use crate::error::Result;
use crate::nn::{Init, Layer, LayerContext, Penalty, Size2};
use crate::op::Value;
use crate::ops::conv2d;
use crate::tensor::{Padding, Window2d};

/// Two-dimensional convolution. Input `[n, h, w, c_in]`, output `[n, h_out, w_out, filters]`; parameters `weight`
/// `[k_h, k_w, c_in / groups, filters]` and `bias` `[filters]`.
///
/// Defaults are Keras's: stride 1, no padding, one group, a bias of zeros, Glorot-uniform weights.
#[derive(Clone, Debug)]
pub struct Conv2d {
    filters: usize,
    window: Window2d,
    groups: usize,
    bias: bool,
    init: Option<Init>,
    penalty: Penalty,
}

filter_options!(Conv2d);

impl Conv2d {
    /// `filters` filters of a size: `Conv2d::new(32, 3)`, `Conv2d::new(32, [1, 7])`.
    pub fn new(filters: usize, kernel: impl Into<Size2>) -> Self {
        Conv2d { filters, window: Window2d::new(kernel.into().0), groups: 1, bias: true, init: None, penalty: Penalty::default() }
    }

    /// The same with another number of filters.
    pub(super) fn filters(mut self, filters: usize) -> Self {
        self.filters = filters;
        self
    }

    /// Splits the channels into groups that don't see each other; a group a channel is a depthwise convolution.
    pub fn groups(mut self, groups: usize) -> Self {
        self.groups = groups;
        self
    }

    /// Adds this times the sum of the weights' magnitudes to the loss (Keras's `kernel_regularizer`).
    pub fn l1(mut self, factor: f64) -> Self {
        self.penalty.l1 = factor;
        self
    }

    /// Adds this times the sum of the weights' squares to the loss (Keras's `kernel_regularizer`).
    pub fn l2(mut self, factor: f64) -> Self {
        self.penalty.l2 = factor;
        self
    }
}

impl Layer for Conv2d {
    fn type_name(&self) -> &'static str {
        "conv2d"
    }

    fn build(&self, ctx: &mut LayerContext<'_>, x: &[Value]) -> Result<Value> {
        let x = ctx.only(x)?;
        let [_, h_in, w_in, c_in] = image(ctx.shape(x))?;
        check_groups(self.groups, c_in, self.filters)?;
        // Before the weights are made, so that a kernel is compared with its input rather than called too large a tensor.
        self.window.place(h_in, w_in)?;
        let [k_h, k_w] = self.window.kernel;
        let init = self.init.unwrap_or(ctx.default_init());
        let w = ctx.parameter("weight", [k_h, k_w, c_in / self.groups, self.filters], init)?;
        ctx.penalise(&[w], self.penalty)?;
        let mut inputs = vec![x, w];
        if self.bias {
            inputs.push(ctx.parameter("bias", [self.filters], Init::Zeros)?);
        }
        ctx.node(conv2d::Conv2d::new(self.window, self.groups), &inputs)
    }
}
