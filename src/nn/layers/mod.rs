//! The layers.

mod activation;
mod batch_norm;
mod conv1d;
mod conv2d;
mod conv_transpose2d;
mod dense;
mod depthwise_conv2d;
mod dropout;
mod embedding;
mod flatten;
mod global_pool2d;
mod group_norm;
mod lrn;
mod merge;
mod pad;
mod pool2d;
mod reduce;
mod resize2d;
mod separable_conv2d;
mod shape;

pub use activation::{
    Clip, Elu, Gelu, GeluTanh, HardSigmoid, HardSwish, LeakyRelu, Mish, Prelu, Relu, Relu6, Selu, Sigmoid, Silu, Softmax,
    Softplus, Softsign, Tanh,
};
pub use batch_norm::BatchNorm;
pub use conv_transpose2d::ConvTranspose2d;
pub use conv1d::Conv1d;
pub use conv2d::Conv2d;
pub use dense::Dense;
#[cfg(feature = "onnx")]
pub(crate) use dense::product_by_rows;
pub use depthwise_conv2d::DepthwiseConv2d;
pub use dropout::{Dropout, SpatialDropout};
pub use embedding::Embedding;
pub use flatten::Flatten;
pub use global_pool2d::{GlobalAvgPool2d, GlobalMaxPool2d};
pub use group_norm::{GroupNorm, InstanceNorm, LayerNorm};
pub use lrn::Lrn;
pub use merge::{Add, Concat, Max, Min, Mul, Sub};
pub use pad::Pad;
pub use pool2d::{AdaptiveAvgPool2d, AvgPool2d, LpPool2d, MaxPool2d};
pub use reduce::Reduce;
pub use resize2d::{Resize2d, Upsample2d};
pub use separable_conv2d::SeparableConv2d;
pub use shape::{ChannelShuffle, Crop2d, Permute, Reshape, Slice};

use super::layer::batched;
use crate::error::{Error, Result};
use crate::tensor::Shape;

/// The options of layers whose `window` moves over images, with what each one's do.
macro_rules! window_options {
    ($layer:ident, same: $same:literal, padding: $padding:literal, stride: $stride:literal) => {
        impl $layer {
            #[doc = $same]
            pub fn same(self) -> Self {
                self.padding(Padding::Same)
            }

            #[doc = $padding]
            pub fn padding(mut self, padding: Padding) -> Self {
                self.window.padding = padding;
                self
            }

            #[doc = $stride]
            pub fn stride(mut self, stride: impl Into<Size2>) -> Self {
                self.window.stride = stride.into().0;
                self
            }
        }
    };
}

/// The options of convolutions: those of a window, and of filters.
macro_rules! filter_options {
    ($layer:ident) => {
        filter_options!(
            $layer,
            same: "Pads with zeros so that at stride 1 the output is as large as the input ([`Padding::Same`]).",
            padding: "Pads in this way.",
            stride: "Moves the filters by this much."
        );
    };
    ($layer:ident, $($window:tt)+) => {
        super::window_options!($layer, $($window)+);

        impl $layer {
            /// Puts the filters' taps this far apart.
            pub fn dilation(mut self, dilation: impl Into<Size2>) -> Self {
                self.window.dilation = dilation.into().0;
                self
            }

            /// Leaves out the bias.
            pub fn no_bias(mut self) -> Self {
                self.bias = false;
                self
            }

            /// Initial values of the weights.
            pub fn init(mut self, init: Init) -> Self {
                self.init = Some(init);
                self
            }
        }
    };
}

use {filter_options, window_options};

/// The dimensions of an image batch, or an error that says where the layer belongs.
fn image(shape: &Shape) -> Result<[usize; 4]> {
    <[usize; 4]>::try_from(shape.dims()).map_err(|_| {
        let want = "4 dimensions [n, h, w, c]; this layer goes before `.flatten()` and dense layers";
        Error::invalid("input shape", batched(shape), want)
    })
}

/// Fails unless so many groups divide the input's channels and the filters, and there is a filter.
fn check_groups(groups: usize, c_in: usize, filters: usize) -> Result<()> {
    if filters == 0 {
        return Err(Error::invalid("filters", 0, "at least 1"));
    }
    let divides = |n: usize| groups > 0 && n.is_multiple_of(groups);
    if !divides(c_in) || !divides(filters) {
        let want = format!("a divisor of the {c_in} input channels and of the {filters} filters");
        return Err(Error::invalid("groups", groups, want));
    }
    Ok(())
}

/// An axis behind the batch, counted as in Keras and NumPy: the batch is 0, the last -1.
fn axis_of(axis: isize, shape: &Shape) -> Result<usize> {
    let rank = shape.rank() as isize;
    let from_start = if axis < 0 { axis + rank } else { axis };
    if (1..rank).contains(&from_start) {
        return Ok(from_start as usize);
    }
    let want = format!("1 to {} or {} to -1: an axis of {} behind the batch", rank - 1, 1 - rank, batched(shape));
    Err(Error::invalid("axis", axis, want))
}
