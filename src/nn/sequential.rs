//! The builder of a model whose layers follow each other.

use super::layers::*;
use super::net::layer_methods;
use super::{Init, Model, Net, Piece, Size2};
use crate::device::Device;
use crate::error::Result;
use crate::random::Seed;
use crate::tensor::Shape;

/// Layers that follow each other, to be built into a [`Model`]: a [`Net`] without branches.
///
/// Methods such as [`Sequential::conv2d`] add a layer with the usual options; [`Sequential::layer`] adds one with all of them. Mistakes
/// are reported by [`Sequential::build`].
///
/// ```
/// use striate::{device::Device, nn::{Conv2d, Init, Sequential}, random::Seed};
///
/// let model = Sequential::new([28, 28, 1])
///     .layer(Conv2d::new(32, 5).same().init(Init::HeNormal)).named("stem").relu()
///     .max_pool2d(2)
///     .flatten()
///     .dense(10)
///     .build(&Device::cpu(), Seed(42))?;
/// assert_eq!(model.parameters(), 832 + 62_730);
/// # Ok::<(), striate::error::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Sequential {
    net: Net,
}

impl Sequential {
    /// No layers yet. `input` is the shape of one sample, without the batch: `[28, 28, 1]` for a grey image, height first.
    pub fn new(input: impl Into<Shape>) -> Self {
        Sequential { net: Net::input(input) }
    }

    /// Initial values of the weights of all layers that don't say otherwise (Glorot-uniform by default, as in Keras).
    pub fn init(self, init: Init) -> Self {
        Sequential { net: self.net.init(init) }
    }

    /// Adds a layer, or a network of one input.
    pub fn layer(self, layer: impl Piece) -> Self {
        Sequential { net: self.net.layer(layer) }
    }

    /// Names the last layer; without it, layers are called `conv2d`, `conv2d_1`, ... as in Keras. Names are in the summary, in
    /// messages and in the names of the weights.
    pub fn named(self, name: &str) -> Self {
        Sequential { net: self.net.named(name) }
    }

    /// Whether training changes the last layer's parameters: see [`Net::trainable`].
    pub fn trainable(self, trainable: bool) -> Self {
        Sequential { net: self.net.trainable(trainable) }
    }

    layer_methods!(self: self);

    /// Checks the layers and makes the parameters on a device. The same seed gives the same parameters on every device.
    ///
    /// # Errors
    /// As for [`Net::build`].
    pub fn build(self, device: &Device, seed: Seed) -> Result<Model> {
        self.net.build(device, seed)
    }

    /// [`Sequential::build`] for programs that mustn't block.
    pub async fn build_async(self, device: &Device, seed: Seed) -> Result<Model> {
        self.net.build_async(device, seed).await
    }
}

impl From<Sequential> for Net {
    fn from(sequential: Sequential) -> Net {
        sequential.net
    }
}
