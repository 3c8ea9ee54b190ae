//! The layers.

mod activation;
mod conv2d;
mod dense;
mod dropout;
mod flatten;
mod pool2d;

pub use activation::{Relu, Sigmoid, Softmax, Softplus, Tanh};
pub use conv2d::Conv2d;
pub use dense::Dense;
pub use dropout::Dropout;
pub use flatten::Flatten;
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
