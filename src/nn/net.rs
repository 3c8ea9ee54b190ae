//! Networks as graphs of layers: what a residual block needs, and what [`Sequential`](super::Sequential) is made of.

use super::layers::{
    AdaptiveAvgPool2d, Add, AvgPool2d, BatchNorm, ChannelShuffle, Concat, Conv1d, Conv2d, ConvTranspose2d, Crop2d, Dense,
    DepthwiseConv2d, Dropout, Embedding, Flatten, GlobalAvgPool2d, GlobalMaxPool2d, LpPool2d, MaxPool2d, Pad, Permute, Relu,
    Relu6, Reshape, Resize2d, SeparableConv2d, Sigmoid, Slice, Softmax, Softplus, SpatialDropout, Tanh, Upsample2d,
};
use super::network::Network;
use super::{Init, Layer, Model, Size2, Summary};
use crate::device::Device;
use crate::error::Result;
use crate::random::Seed;
use crate::tensor::Shape;
use std::fmt;
use std::sync::Arc;

/// A network up to one of its layers. Each method puts a layer on it and returns the network up to there; the one before can be used
/// again, so networks branch and join as they do on a whiteboard. Any of them can be built into a [`Model`]; mistakes are reported
/// then, with the layer's name.
///
/// Layers are in the order in which the output needs them: first what the first input of a layer comes from, then the second's.
///
/// ```
/// use striate::{Device, Seed, nn::{Conv2d, Net}};
///
/// fn block(x: &Net, filters: usize) -> Net {
///     let y = x.layer(Conv2d::new(filters, 3).same()).relu();
///     let y = y.layer(Conv2d::new(filters, 3).same());
///     y.add(x).relu()
/// }
///
/// let x = Net::input([32, 32, 3]);
/// let x = x.layer(Conv2d::new(16, 3).same()).named("stem").relu();
/// let x = block(&block(&x, 16), 16);
/// let mut model = x.max_pool2d(4).flatten().dense(10).build(&Device::cpu(), Seed(42))?;
/// # Ok::<(), striate::Error>(())
/// ```
#[derive(Clone)]
pub struct Net {
    pub(super) node: Arc<Node>,
    /// Initial values of weights of layers that don't say otherwise.
    pub(super) init: Init,
}

/// What a [`Net`] ends with.
pub(super) struct Node {
    pub kind: Kind,
    /// What a layer reads, in order.
    pub inputs: Vec<Arc<Node>>,
    pub name: Option<String>,
    /// A name that was given to a layer that others read under another one.
    pub misnamed: Option<String>,
}

#[derive(Clone)]
pub(super) enum Kind {
    /// Shape of a sample.
    Input(Shape),
    Layer(Arc<dyn Layer>),
}

impl Node {
    fn new(kind: Kind, inputs: Vec<Arc<Node>>) -> Arc<Node> {
        Arc::new(Node { kind, inputs, name: None, misnamed: None })
    }
}

impl Drop for Node {
    /// One after the other: the drop of a network of very many layers mustn't recurse as deep.
    fn drop(&mut self) {
        let mut rest = std::mem::take(&mut self.inputs);
        while let Some(node) = rest.pop() {
            if let Some(mut node) = Arc::into_inner(node) {
                rest.append(&mut node.inputs);
            }
        }
    }
}

impl fmt::Debug for Net {
    /// The last layer alone: the layers below it may be reached on very many ways.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let last: &dyn fmt::Debug = match &self.node.kind {
            Kind::Input(shape) => shape,
            Kind::Layer(layer) => layer,
        };
        f.debug_struct("Net").field("last", last).field("name", &self.node.name).finish_non_exhaustive()
    }
}

/// Methods that add a layer, for a type with `layer`. `$self` is how they take it: `self` or `&self`.
macro_rules! layer_methods {
    ($this:ident: $($receiver:tt)+) => {
        /// Adds a [`Conv2d`]: stride 1, no padding.
        pub fn conv2d($($receiver)+, filters: usize, kernel: impl Into<Size2>) -> Self {
            $this.layer(Conv2d::new(filters, kernel))
        }

        /// Adds a [`Conv1d`]: stride 1, no padding.
        pub fn conv1d($($receiver)+, filters: usize, kernel: usize) -> Self {
            $this.layer(Conv1d::new(filters, kernel))
        }

        /// Adds a [`ConvTranspose2d`]: no padding.
        pub fn conv_transpose2d($($receiver)+, filters: usize, kernel: impl Into<Size2>, stride: impl Into<Size2>) -> Self {
            $this.layer(ConvTranspose2d::new(filters, kernel).stride(stride))
        }

        /// Adds a [`DepthwiseConv2d`]: stride 1, no padding.
        pub fn depthwise_conv2d($($receiver)+, kernel: impl Into<Size2>) -> Self {
            $this.layer(DepthwiseConv2d::new(kernel))
        }

        /// Adds a [`SeparableConv2d`]: stride 1, no padding.
        pub fn separable_conv2d($($receiver)+, filters: usize, kernel: impl Into<Size2>) -> Self {
            $this.layer(SeparableConv2d::new(filters, kernel))
        }

        /// Adds a [`Dense`].
        pub fn dense($($receiver)+, units: usize) -> Self {
            $this.layer(Dense::new(units))
        }

        /// Adds a [`MaxPool2d`] whose stride is its size.
        pub fn max_pool2d($($receiver)+, size: impl Into<Size2>) -> Self {
            $this.layer(MaxPool2d::new(size))
        }

        /// Adds an [`AvgPool2d`] whose stride is its size.
        pub fn avg_pool2d($($receiver)+, size: impl Into<Size2>) -> Self {
            $this.layer(AvgPool2d::new(size))
        }

        /// Adds an [`LpPool2d`] whose stride is its size.
        pub fn lp_pool2d($($receiver)+, p: f32, size: impl Into<Size2>) -> Self {
            $this.layer(LpPool2d::new(p, size))
        }

        /// Adds an [`AdaptiveAvgPool2d`].
        pub fn adaptive_avg_pool2d($($receiver)+, size: impl Into<Size2>) -> Self {
            $this.layer(AdaptiveAvgPool2d::new(size))
        }

        /// Adds an [`Upsample2d`]: each pixel repeated.
        pub fn upsample2d($($receiver)+, factor: impl Into<Size2>) -> Self {
            $this.layer(Upsample2d::new(factor))
        }

        /// Adds a [`Resize2d`]: bilinear.
        pub fn resize2d($($receiver)+, size: impl Into<Size2>) -> Self {
            $this.layer(Resize2d::new(size))
        }

        /// Adds a [`GlobalAvgPool2d`].
        pub fn global_avg_pool2d($($receiver)+) -> Self {
            $this.layer(GlobalAvgPool2d)
        }

        /// Adds a [`GlobalMaxPool2d`].
        pub fn global_max_pool2d($($receiver)+) -> Self {
            $this.layer(GlobalMaxPool2d)
        }

        /// Adds a [`BatchNorm`] with Keras's defaults.
        pub fn batch_norm($($receiver)+) -> Self {
            $this.layer(BatchNorm::new())
        }

        /// Adds a [`Relu`].
        pub fn relu($($receiver)+) -> Self {
            $this.layer(Relu)
        }

        /// Adds a [`Relu6`].
        pub fn relu6($($receiver)+) -> Self {
            $this.layer(Relu6)
        }

        /// Adds a [`Sigmoid`].
        pub fn sigmoid($($receiver)+) -> Self {
            $this.layer(Sigmoid)
        }

        /// Adds a [`Tanh`].
        pub fn tanh($($receiver)+) -> Self {
            $this.layer(Tanh)
        }

        /// Adds a [`Softplus`].
        pub fn softplus($($receiver)+) -> Self {
            $this.layer(Softplus)
        }

        /// Adds a [`Softmax`]. A classifier doesn't end with one.
        pub fn softmax($($receiver)+) -> Self {
            $this.layer(Softmax)
        }

        /// Adds a [`Flatten`].
        pub fn flatten($($receiver)+) -> Self {
            $this.layer(Flatten)
        }

        /// Adds a [`SpatialDropout`].
        pub fn spatial_dropout($($receiver)+, rate: f32) -> Self {
            $this.layer(SpatialDropout::new(rate))
        }

        /// Adds a [`Reshape`]: a sample's shape, without the batch.
        pub fn reshape($($receiver)+, shape: impl Into<Vec<isize>>) -> Self {
            $this.layer(Reshape::new(shape))
        }

        /// Adds a [`Permute`]: axes are counted from 1, behind the batch.
        pub fn permute($($receiver)+, order: impl Into<Vec<usize>>) -> Self {
            $this.layer(Permute::new(order))
        }

        /// Adds a [`Slice`]: a range of an axis, counted from 0, the batch, or back from -1, the last.
        pub fn slice($($receiver)+, axis: isize, range: std::ops::Range<usize>) -> Self {
            $this.layer(Slice::new(axis, range))
        }

        /// Adds a [`Crop2d`]: so many rows and columns less on each side.
        pub fn crop2d($($receiver)+, size: impl Into<Size2>) -> Self {
            $this.layer(Crop2d::new(size))
        }

        /// Adds a [`Pad`]: so many rows and columns of zeros on each side.
        pub fn zero_pad2d($($receiver)+, size: impl Into<Size2>) -> Self {
            $this.layer(Pad::images(size))
        }

        /// Adds a [`ChannelShuffle`].
        pub fn channel_shuffle($($receiver)+, groups: usize) -> Self {
            $this.layer(ChannelShuffle::new(groups))
        }

        /// Adds an [`Embedding`].
        pub fn embedding($($receiver)+, vocabulary: usize, width: usize) -> Self {
            $this.layer(Embedding::new(vocabulary, width))
        }

        /// Adds a [`Dropout`].
        pub fn dropout($($receiver)+, rate: f32) -> Self {
            $this.layer(Dropout::new(rate))
        }
    };
}
pub(super) use layer_methods;

impl Net {
    /// Where a network begins. `shape` is that of one sample, without the batch: `[224, 224, 3]` for a colour image, height first.
    pub fn input(shape: impl Into<Shape>) -> Net {
        Net { node: Node::new(Kind::Input(shape.into()), Vec::new()), init: Init::GlorotUniform }
    }

    /// Initial values of the weights of all layers that don't say otherwise (Glorot-uniform by default, as in Keras). What the
    /// network is built with counts: set it at the input, or before building.
    pub fn init(mut self, init: Init) -> Net {
        self.init = init;
        self
    }

    /// Adds a layer of one input.
    pub fn layer(&self, layer: impl Layer + 'static) -> Net {
        Net::join(&[self], layer)
    }

    /// Adds a layer that reads several networks, which begin at the same input.
    pub fn join(inputs: &[&Net], layer: impl Layer + 'static) -> Net {
        let init = inputs.first().map_or(Init::GlorotUniform, |net| net.init);
        let nodes = inputs.iter().map(|net| Arc::clone(&net.node)).collect();
        Net { node: Node::new(Kind::Layer(Arc::new(layer)), nodes), init }
    }

    /// Adds an [`Add`]: the sum of two networks' outputs, of one shape.
    pub fn add(&self, other: &Net) -> Net {
        Net::join(&[self, other], Add)
    }

    /// Adds a [`Concat`]: networks' outputs side by side along the channels. Another axis:
    /// `Net::join(&[&a, &b], Concat::new().axis(1))`.
    pub fn concat(inputs: &[&Net]) -> Net {
        Net::join(inputs, Concat::new())
    }

    /// Cuts the output along an axis (0 is the batch, -1 the last) into parts of these sizes, which together are all of it, as PyTorch's
    /// `split`. Each part begins with a [`Slice`].
    pub fn split(&self, axis: isize, sizes: &[usize]) -> Vec<Net> {
        let total = sizes.iter().fold(0, |sum: usize, &size| sum.saturating_add(size));
        let mut start: usize = 0;
        let part = |&size: &usize| {
            let first = start;
            start = start.saturating_add(size);
            self.layer(Slice::part(axis, first..start, total))
        };
        sizes.iter().map(part).collect()
    }

    /// Names the last layer, before anything else reads it; without it, layers are called `conv2d`, `conv2d_1`, ... as in Keras. Names
    /// are in the summary, in messages and in the names of the weights.
    pub fn named(mut self, name: &str) -> Net {
        let name = name.to_string();
        match Arc::get_mut(&mut self.node) {
            Some(node) => node.name = Some(name),
            None => {
                let Node { kind, inputs, .. } = &*self.node;
                let (kind, inputs) = (kind.clone(), inputs.clone());
                self.node = Arc::new(Node { kind, inputs, name: None, misnamed: Some(name) });
            }
        }
        self
    }

    layer_methods!(self: &self);

    /// The layers with their output shapes, parameters and costs, without a device. Print it for a table.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) as for [`Net::build`].
    pub fn summary(&self) -> Result<Summary> {
        let (declared, layers) = Network::new(self, Seed(0))?.declare()?;
        Ok(Summary::new(&declared, layers))
    }

    /// Checks the layers and makes the parameters on a device. The same seed gives the same parameters on every device.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid), with the layer's name, for a layer that can't work on what those before it give; for
    /// a name that two layers have; for no layers at all; for branches that begin at different inputs.
    /// [`Error::DoesNotFit`](crate::Error::DoesNotFit), [`Error::Gpu`](crate::Error::Gpu),
    /// [`Error::DeviceLost`](crate::Error::DeviceLost).
    pub fn build(&self, device: &Device, seed: Seed) -> Result<Model> {
        pollster::block_on(self.build_async(device, seed))
    }

    /// [`Net::build`] for programs that mustn't block.
    pub async fn build_async(&self, device: &Device, seed: Seed) -> Result<Model> {
        Model::new(Network::new(self, seed)?, device).await
    }
}
