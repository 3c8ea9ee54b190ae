//! The layers.

mod activation;
mod batch_norm;
mod conv2d;
mod dense;
mod depthwise_conv2d;
mod dropout;
mod flatten;
mod global_pool2d;
mod merge;
mod pad_channels;
mod pool2d;

pub use activation::{Clip, Relu, Relu6, Sigmoid, Softmax, Softplus, Tanh};
pub use batch_norm::BatchNorm;
pub use conv2d::Conv2d;
pub use dense::Dense;
pub use depthwise_conv2d::DepthwiseConv2d;
pub use dropout::Dropout;
pub use flatten::Flatten;
pub use global_pool2d::{GlobalAvgPool2d, GlobalMaxPool2d};
pub use merge::Add;
pub use pad_channels::PadChannels;
pub use pool2d::{AvgPool2d, MaxPool2d};

use super::layer::batched;
use crate::error::{Error, Result};
use crate::tensor::Shape;

/// The dimensions of an image batch, or an error that says where the layer belongs.
fn image(shape: &Shape) -> Result<[usize; 4]> {
    <[usize; 4]>::try_from(shape.dims()).map_err(|_| {
        let want = "4 dimensions [n, h, w, c]; this layer goes before `.flatten()` and dense layers";
        Error::invalid("input shape", batched(shape), want)
    })
}
