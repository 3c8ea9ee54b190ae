//! Pooling layers.

use super::{image, window_options};
use crate::error::{Error, Result};
use crate::nn::{Layer, LayerContext, Size2};
use crate::op::Value;
use crate::ops::reduce::{Reduce, Reduction};
use crate::ops::resample2d::{Resample2d, Sampling};
use crate::ops::view::View;
use crate::ops::{avg_pool2d, lp_pool2d, max_pool2d};
use crate::tensor::{Padding, Window2d};

fn window(size: Size2) -> Window2d {
    Window2d { stride: size.0, ..Window2d::new(size.0) }
}

/// Largest value of each window, channel by channel. Input `[n, h, w, c]`, output `[n, h_out, w_out, c]`. The stride is the window's
/// size unless set; no padding; a last window that would be cut short by the edge is left out.
#[derive(Clone, Debug)]
pub struct MaxPool2d {
    window: Window2d,
}

/// Mean of each window, channel by channel; else as [`MaxPool2d`]. Padding doesn't count in the mean, as in Keras and ONNX; PyTorch's
/// default is [`AvgPool2d::count_include_pad`].
#[derive(Clone, Debug)]
pub struct AvgPool2d {
    window: Window2d,
    count_include_pad: bool,
}

/// The p-norm of each window, `(sum of |x|^p)^(1 / p)`, channel by channel; else as [`MaxPool2d`]. Padding counts as zeros. Of numbers that
/// aren't negative, whole windows give what PyTorch's `LPPool2d` does.
#[derive(Clone, Debug)]
pub struct LpPool2d {
    window: Window2d,
    p: f32,
}

/// The options that all have.
macro_rules! pool_options {
    ($layer:ident) => {
        window_options!(
            $layer,
            same: "Pads so that the output is `ceil(input / stride)` large ([`Padding::Same`]).",
            padding: "Pads in this way.",
            stride: "Moves the window by this much."
        );

        impl $layer {
            /// Keeps a last window that the edge cuts short.
            pub fn ceil(mut self) -> Self {
                self.window.ceil = true;
                self
            }
        }
    };
}

pool_options!(MaxPool2d);
pool_options!(AvgPool2d);
pool_options!(LpPool2d);

impl MaxPool2d {
    /// Windows of a size: `MaxPool2d::new(2)`, `MaxPool2d::new([2, 1])`.
    pub fn new(size: impl Into<Size2>) -> Self {
        MaxPool2d { window: window(size.into()) }
    }
}

impl AvgPool2d {
    /// Windows of a size: `AvgPool2d::new(2)`, `AvgPool2d::new([2, 1])`.
    pub fn new(size: impl Into<Size2>) -> Self {
        AvgPool2d { window: window(size.into()), count_include_pad: false }
    }

    /// Counts padding as zeros in the mean.
    pub fn count_include_pad(mut self) -> Self {
        self.count_include_pad = true;
        self
    }
}

impl LpPool2d {
    /// The norm `p`, 1 or more, of windows of a size: `LpPool2d::new(2.0, 2)`.
    pub fn new(p: f32, size: impl Into<Size2>) -> Self {
        LpPool2d { window: window(size.into()), p }
    }
}

impl Layer for MaxPool2d {
    fn type_name(&self) -> &'static str {
        "max_pool2d"
    }

    fn build(&self, ctx: &mut LayerContext<'_>, x: &[Value]) -> Result<Value> {
        let x = ctx.only(x)?;
        image(ctx.shape(x))?;
        ctx.node(max_pool2d::MaxPool2d { window: self.window }, &[x])
    }
}

impl Layer for AvgPool2d {
    fn type_name(&self) -> &'static str {
        "avg_pool2d"
    }

    fn build(&self, ctx: &mut LayerContext<'_>, x: &[Value]) -> Result<Value> {
        let x = ctx.only(x)?;
        image(ctx.shape(x))?;
        let op = avg_pool2d::AvgPool2d { window: self.window, count_include_pad: self.count_include_pad };
        ctx.node(op, &[x])
    }
}

impl Layer for LpPool2d {
    fn type_name(&self) -> &'static str {
        "lp_pool2d"
    }

    fn build(&self, ctx: &mut LayerContext<'_>, x: &[Value]) -> Result<Value> {
        let x = ctx.only(x)?;
        image(ctx.shape(x))?;
        ctx.node(lp_pool2d::LpPool2d { window: self.window, p: self.p }, &[x])
    }
}

/// Means of windows that are chosen so that the output has this size, whatever the input's, channel by channel, by PyTorch's rule:
/// row `o` of the output is the mean of the input's rows `floor(o h / h_out) ..` to before `ceil((o + 1) h / h_out)`, and so for columns.
/// Input `[n, h, w, c]`, output `[n, h_out, w_out, c]`. Where the sizes divide, it is an [`AvgPool2d`].
#[derive(Clone, Copy, Debug)]
pub struct AdaptiveAvgPool2d {
    size: [usize; 2],
}

impl AdaptiveAvgPool2d {
    /// An output of this height and width: `AdaptiveAvgPool2d::new(7)`, `AdaptiveAvgPool2d::new([6, 6])`.
    pub fn new(size: impl Into<Size2>) -> Self {
        AdaptiveAvgPool2d { size: size.into().0 }
    }
}

impl Layer for AdaptiveAvgPool2d {
    fn type_name(&self) -> &'static str {
        "adaptive_avg_pool2d"
    }

    fn build(&self, ctx: &mut LayerContext<'_>, x: &[Value]) -> Result<Value> {
        let x = ctx.only(x)?;
        let [n, h_in, w_in, c] = image(ctx.shape(x))?;
        let size = self.size;
        if size.contains(&0) {
            return Err(Error::invalid("size", format!("{size:?}"), "at least 1 by 1"));
        }
        if size == [h_in, w_in] {
            return Ok(x);
        }
        if size == [1, 1] {
            let mean = ctx.node(Reduce { reduction: Reduction::Mean, axes: 1..3 }, &[x])?;
            return ctx.node(View::reshape([n, 1, 1, c]), &[mean]);
        }
        if h_in.is_multiple_of(size[0]) && w_in.is_multiple_of(size[1]) {
            let window = window(Size2([h_in / size[0], w_in / size[1]]));
            return ctx.node(avg_pool2d::AvgPool2d { window, count_include_pad: false }, &[x]);
        }
        ctx.node(Resample2d { size, sampling: Sampling::Mean }, &[x])
    }
}
