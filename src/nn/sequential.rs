//! The builder of a model whose layers follow each other.

use super::layers::{AvgPool2d, Conv2d, Dense, Dropout, Flatten, MaxPool2d, Relu, Sigmoid, Softmax, Softplus, Tanh};
use super::network::Network;
use super::{Init, Layer, Model, Size2};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::random::Seed;
use crate::tensor::Shape;
use std::sync::Arc;

/// Layers that follow each other, to be built into a [`Model`].
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
    input: Shape,
    layers: Vec<(Option<String>, Arc<dyn Layer>)>,
    init: Init,
    /// A name that came before any layer.
    stray_name: Option<String>,
}

impl Sequential {
    /// No layers yet. `input` is the shape of one sample, without the batch: `[28, 28, 1]` for a grey image, height first.
    pub fn new(input: impl Into<Shape>) -> Self {
        Sequential { input: input.into(), layers: Vec::new(), init: Init::GlorotUniform, stray_name: None }
    }

    /// Initial values of the weights of all layers that don't say otherwise (Glorot-uniform by default, as in Keras).
    pub fn init(mut self, init: Init) -> Self {
        self.init = init;
        self
    }

    /// Adds a layer.
    pub fn layer(mut self, layer: impl Layer + 'static) -> Self {
        self.layers.push((None, Arc::new(layer)));
        self
    }

    /// Names the last layer; without it, layers are called `conv2d`, `conv2d_1`, ... as in Keras. Names are in the summary, in
    /// messages and in the names of the weights.
    pub fn named(mut self, name: &str) -> Self {
        match self.layers.last_mut() {
            Some((slot, _)) => *slot = Some(name.to_string()),
            None => self.stray_name = Some(name.to_string()),
        }
        self
    }

    /// Adds a [`Conv2d`]: stride 1, no padding.
    pub fn conv2d(self, filters: usize, kernel: impl Into<Size2>) -> Self {
        self.layer(Conv2d::new(filters, kernel))
    }

    /// Adds a [`Dense`].
    pub fn dense(self, units: usize) -> Self {
        self.layer(Dense::new(units))
    }

    /// Adds a [`MaxPool2d`] whose stride is its size.
    pub fn max_pool2d(self, size: impl Into<Size2>) -> Self {
        self.layer(MaxPool2d::new(size))
    }

    /// Adds an [`AvgPool2d`] whose stride is its size.
    pub fn avg_pool2d(self, size: impl Into<Size2>) -> Self {
        self.layer(AvgPool2d::new(size))
    }

    /// Adds a [`Relu`].
    pub fn relu(self) -> Self {
        self.layer(Relu)
    }

    /// Adds a [`Sigmoid`].
    pub fn sigmoid(self) -> Self {
        self.layer(Sigmoid)
    }

    /// Adds a [`Tanh`].
    pub fn tanh(self) -> Self {
        self.layer(Tanh)
    }

    /// Adds a [`Softplus`].
    pub fn softplus(self) -> Self {
        self.layer(Softplus)
    }

    /// Adds a [`Softmax`]. A classifier doesn't end with one.
    pub fn softmax(self) -> Self {
        self.layer(Softmax)
    }

    /// Adds a [`Flatten`].
    pub fn flatten(self) -> Self {
        self.layer(Flatten)
    }

    /// Adds a [`Dropout`].
    pub fn dropout(self, rate: f32) -> Self {
        self.layer(Dropout::new(rate))
    }

    /// Checks the layers and makes the parameters on a device. The same seed gives the same parameters on every device.
    ///
    /// # Errors
    /// [`Error::Invalid`], with the layer's name, for a layer that can't work on what the one before it gives; for a name that two
    /// layers have; for no layers at all. [`Error::DoesNotFit`], [`Error::Gpu`], [`Error::DeviceLost`].
    pub fn build(self, device: &Device, seed: Seed) -> Result<Model> {
        pollster::block_on(self.build_async(device, seed))
    }

    /// [`Sequential::build`] for programs that mustn't block.
    pub async fn build_async(self, device: &Device, seed: Seed) -> Result<Model> {
        if let Some(name) = self.stray_name {
            return Err(Error::invalid("layer name", format!("'{name}' before the first layer"), "`.named()` after a layer"));
        }
        if self.layers.is_empty() {
            return Err(Error::invalid("layers", "none", "at least one"));
        }
        let input = self.input.checked("input shape")?;
        Model::new(Network::new(input, self.layers, seed, self.init)?, device).await
    }
}
