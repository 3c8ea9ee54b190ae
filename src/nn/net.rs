//! Networks as graphs of layers: what a residual block needs, and what [`Sequential`](super::Sequential) is made of.

use super::layers::*;
use super::network::{Network, in_order};
use super::{Init, Layer, Mode, Model, Size2, Summary};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::op::Value;
use crate::random::Seed;
use crate::tensor::{Shape, TensorType};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// A network up to one of its layers. Each method puts a layer on it and returns the network up to there; the one before can be used
/// again, so networks branch and join as they do on a whiteboard. Any of them can be built into a [`Model`]; mistakes are reported
/// then, with the layer's name.
///
/// Layers are in the order in which the output needs them: first what the first input of a layer comes from, then the second's. So are
/// inputs, of which there may be several. Several outputs: [`Outputs`].
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
///
/// A layer that is read at several places with one set of parameters is a [`Shared`] one, and a network that was described before is put on
/// another as a layer is:
///
/// ```
/// use striate::nn::{Add, Dense, Net, Shared};
///
/// let (left, right) = (Net::input([8]).named("left"), Net::input([8]).named("right"));
/// let tower = Shared::new(Dense::new(4)).named("tower");
/// let sum = left.layer(&tower).add(&right.layer(&tower));
/// let head = Net::input([4]).relu().dense(1);
/// let summary = sum.within("head").layer(&head).summary()?;
/// assert_eq!(summary.trainable, 8 * 4 + 4 + 4 + 1);
/// assert_eq!(summary.layers.last().unwrap().name, "head.dense");
/// # Ok::<(), striate::Error>(())
/// ```
#[derive(Clone)]
pub struct Net {
    pub(super) node: Arc<Node>,
    /// Initial values of weights of layers that don't say otherwise.
    pub(super) init: Init,
    /// What the names of layers that are put on it begin with.
    scope: Arc<str>,
}

/// What a [`Net`] ends with.
pub(super) struct Node {
    pub kind: Kind,
    /// What a layer reads, in order.
    pub inputs: Vec<Arc<Node>>,
    pub settings: Settings,
}

/// What may be said of a node.
#[derive(Clone)]
pub(super) struct Settings {
    /// Without the scope.
    pub name: Option<String>,
    pub scope: Arc<str>,
    /// Initial values of weights, where the layer comes from a network with a wish of its own.
    pub init: Option<Init>,
    pub trainable: bool,
    /// A mistake that is reported when the network is built.
    pub fault: Option<Error>,
}

#[derive(Clone)]
pub(super) enum Kind {
    /// Type of a sample, without the batch.
    Input(TensorType),
    /// Nodes with the same layer, not only an equal one, share its parameters.
    Layer(Arc<dyn Layer>),
    /// The input of a network that was put on another: what it reads must be of this type.
    Entry(TensorType),
}

impl Settings {
    pub fn within(scope: &Arc<str>) -> Settings {
        Settings { name: None, scope: Arc::clone(scope), init: None, trainable: true, fault: None }
    }
}

/// What [`Net::layer`] and [`Net::join`] take: a [`Layer`], a [`Shared`] one, or a [`Net`] that was described before.
pub trait Piece {
    /// The network that ends in this piece, which reads `inputs`.
    fn put_on(self, inputs: &[&Net]) -> Net;
}

/// Initial values and scope of what reads these.
fn inherited(inputs: &[&Net]) -> (Init, Arc<str>) {
    inputs.first().map_or((Init::GlorotUniform, Arc::from("")), |net| (net.init, Arc::clone(&net.scope)))
}

fn put(layer: Arc<dyn Layer>, inputs: &[&Net], set: impl FnOnce(Settings) -> Settings) -> Net {
    let (init, scope) = inherited(inputs);
    let settings = set(Settings::within(&scope));
    let inputs = inputs.iter().map(|net| Arc::clone(&net.node)).collect();
    Net { node: Arc::new(Node { kind: Kind::Layer(layer), inputs, settings }), init, scope }
}

impl<L: Layer + 'static> Piece for L {
    fn put_on(self, inputs: &[&Net]) -> Net {
        put(Arc::new(self), inputs, |settings| settings)
    }
}

/// A layer that is read at several places, each time with the same parameters: `a.layer(&shared)`, `b.layer(&shared)`. It has the name that it
/// gets at the first.
#[derive(Clone, Debug)]
pub struct Shared {
    layer: Arc<dyn Layer>,
    name: Option<String>,
    trainable: bool,
}

impl Shared {
    /// A layer to be shared.
    pub fn new(layer: impl Layer + 'static) -> Shared {
        Shared { layer: Arc::new(layer), name: None, trainable: true }
    }

    /// Names it, as [`Net::named`] does.
    pub fn named(mut self, name: &str) -> Shared {
        self.name = Some(name.to_string());
        self
    }

    /// Whether training changes its parameters, as [`Net::trainable`] says.
    pub fn trainable(mut self, trainable: bool) -> Shared {
        self.trainable = trainable;
        self
    }
}

impl Piece for &Shared {
    fn put_on(self, inputs: &[&Net]) -> Net {
        let (name, trainable) = (self.name.clone(), self.trainable);
        put(Arc::clone(&self.layer), inputs, |settings| Settings { name, trainable, ..settings })
    }
}

impl Piece for &Net {
    fn put_on(self, inputs: &[&Net]) -> Net {
        let (init, scope) = inherited(inputs);
        let mut given = inputs.iter();
        let mut copies: HashMap<*const Node, Arc<Node>> = HashMap::new();
        let mut missing = 0;
        for node in in_order(&[&self.node]) {
            let (kind, inputs) = match &node.kind {
                Kind::Input(ty) => {
                    let input = given.next().map(|net| Arc::clone(&net.node));
                    missing += usize::from(input.is_none());
                    (Kind::Entry(ty.clone()), input.into_iter().collect())
                }
                other => (other.clone(), node.inputs.iter().map(|input| Arc::clone(&copies[&Arc::as_ptr(input)])).collect()),
            };
            let mut settings = node.settings.clone();
            settings.scope = full_name(&scope, &settings.scope).into();
            settings.init = settings.init.or(Some(self.init));
            if matches!(kind, Kind::Entry(_)) {
                settings.name = None;
            }
            copies.insert(Arc::as_ptr(&node), Arc::new(Node { kind, inputs, settings }));
        }
        let net = Net { node: Arc::clone(&copies[&Arc::as_ptr(&self.node)]), init, scope };
        if missing == 0 && given.next().is_none() {
            return net;
        }
        let (got, want) = (inputs.len(), copies.values().filter(|node| matches!(node.kind, Kind::Entry(_))).count());
        net.faulty(Error::invalid("inputs of a described network", got, want))
    }
}

/// A layer's name with that of its scope before it.
pub(super) fn full_name(scope: &str, name: &str) -> String {
    match (scope, name) {
        ("", name) => name.to_string(),
        (scope, "") => scope.to_string(),
        (scope, name) => format!("{scope}.{name}"),
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
            Kind::Input(ty) | Kind::Entry(ty) => ty,
            Kind::Layer(layer) => layer,
        };
        f.debug_struct("Net").field("last", last).field("name", &self.node.settings.name).finish_non_exhaustive()
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

        /// Adds a [`LayerNorm`] over the last axis, with Keras's defaults.
        pub fn layer_norm($($receiver)+) -> Self {
            $this.layer(LayerNorm::new())
        }

        /// Adds a [`GroupNorm`] of so many groups, with Keras's defaults.
        pub fn group_norm($($receiver)+, groups: usize) -> Self {
            $this.layer(GroupNorm::new(groups))
        }

        /// Adds an [`InstanceNorm`], with PyTorch's defaults.
        pub fn instance_norm($($receiver)+) -> Self {
            $this.layer(InstanceNorm::new())
        }

        /// Adds an [`Lrn`] over `size` channels, with PyTorch's defaults.
        pub fn lrn($($receiver)+, size: usize) -> Self {
            $this.layer(Lrn::new(size))
        }

        /// Adds a [`Relu`].
        pub fn relu($($receiver)+) -> Self {
            $this.layer(Relu)
        }

        /// Adds a [`Relu6`].
        pub fn relu6($($receiver)+) -> Self {
            $this.layer(Relu6)
        }

        /// Adds a [`LeakyRelu`] of this slope: PyTorch's default is 0.01, Keras's 0.3.
        pub fn leaky_relu($($receiver)+, slope: f64) -> Self {
            $this.layer(LeakyRelu::new(slope))
        }

        /// Adds a [`Prelu`] with a slope a channel.
        pub fn prelu($($receiver)+) -> Self {
            $this.layer(Prelu::new())
        }

        /// Adds an [`Elu`] with an alpha of 1.
        pub fn elu($($receiver)+) -> Self {
            $this.layer(Elu::new(1.0))
        }

        /// Adds a [`Selu`].
        pub fn selu($($receiver)+) -> Self {
            $this.layer(Selu)
        }

        /// Adds a [`Gelu`], the exact one.
        pub fn gelu($($receiver)+) -> Self {
            $this.layer(Gelu)
        }

        /// Adds a [`Silu`].
        pub fn silu($($receiver)+) -> Self {
            $this.layer(Silu)
        }

        /// Adds a [`Mish`].
        pub fn mish($($receiver)+) -> Self {
            $this.layer(Mish)
        }

        /// Adds a [`HardSwish`].
        pub fn hard_swish($($receiver)+) -> Self {
            $this.layer(HardSwish)
        }

        /// Adds a [`HardSigmoid`].
        pub fn hard_sigmoid($($receiver)+) -> Self {
            $this.layer(HardSigmoid::new())
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

        /// Adds a [`Softsign`].
        pub fn softsign($($receiver)+) -> Self {
            $this.layer(Softsign)
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
    /// [`Net::named`] names it; else it is `input`, and further ones `input_1`, ..
    pub fn input(shape: impl Into<Shape>) -> Net {
        Net::input_of(TensorType::f32(shape))
    }

    /// [`Net::input`] for samples of another type than f32.
    pub fn input_of(sample: TensorType) -> Net {
        let scope = Arc::from("");
        let node = Node { kind: Kind::Input(sample), inputs: Vec::new(), settings: Settings::within(&scope) };
        Net { node: Arc::new(node), init: Init::GlorotUniform, scope }
    }

    /// Initial values of the weights of all layers that don't say otherwise (Glorot-uniform by default, as in Keras). What the
    /// network is built with counts: set it at the input, or before building.
    pub fn init(mut self, init: Init) -> Net {
        self.init = init;
        self
    }

    /// Adds a layer of one input, or a network of one.
    pub fn layer(&self, layer: impl Piece) -> Net {
        Net::join(&[self], layer)
    }

    /// Adds a layer that reads several networks, or a network of several inputs, which takes them in the order in which its output needs
    /// them.
    pub fn join(inputs: &[&Net], layer: impl Piece) -> Net {
        layer.put_on(inputs)
    }

    /// The same network; names of layers that are put on it, and on what comes of that, begin with `scope` and a dot, until another scope
    /// is set. None, from the start, is the empty one. A layer of several inputs takes the first one's.
    pub fn within(&self, scope: &str) -> Net {
        Net { scope: scope.into(), ..self.clone() }
    }

    /// Adds an [`Add`]: the sum of two networks' outputs. For more, and likewise for the others: `Net::join(&[&a, &b, &c], Add)`.
    pub fn add(&self, other: &Net) -> Net {
        Net::join(&[self, other], Add)
    }

    /// Adds a [`Sub`]: this network's output less the other's.
    pub fn sub(&self, other: &Net) -> Net {
        Net::join(&[self, other], Sub)
    }

    /// Adds a [`Mul`]: the product of two networks' outputs, such as `[n, h, w, c]` and `[n, c]`.
    pub fn mul(&self, other: &Net) -> Net {
        Net::join(&[self, other], Mul)
    }

    /// Adds a [`Max`]: the larger of two networks' outputs.
    pub fn max(&self, other: &Net) -> Net {
        Net::join(&[self, other], Max)
    }

    /// Adds a [`Min`]: the smaller of two networks' outputs.
    pub fn min(&self, other: &Net) -> Net {
        Net::join(&[self, other], Min)
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
        match Arc::get_mut(&mut self.node) {
            Some(node) => {
                node.settings.name = Some(name.to_string());
                self
            }
            None => {
                let got = format!("'{name}' for a layer that is read already");
                self.faulty(Error::invalid("layer name", got, "`.named()` right after the layer"))
            }
        }
    }

    /// Whether training changes the last layer's parameters, before anything else reads it; it does unless this says no. One that it
    /// doesn't change is frozen: no gradient is worked out for it, optimizers don't see it, and a batch norm normalises by its running
    /// statistics, which stay as they are (as in Keras; PyTorch needs `eval()` for that). [`Model::set_trainable`] does so later.
    pub fn trainable(mut self, trainable: bool) -> Net {
        match Arc::get_mut(&mut self.node) {
            Some(node) => {
                node.settings.trainable = trainable;
                self
            }
            None => {
                let want = "`.trainable()` right after the layer";
                self.faulty(Error::invalid("trainable", "a layer that is read already", want))
            }
        }
    }

    /// The same with a mistake to be reported.
    fn faulty(mut self, fault: Error) -> Net {
        let Node { kind, inputs, settings } = &*self.node;
        let settings = Settings { fault: Some(fault), ..settings.clone() };
        self.node = Arc::new(Node { kind: kind.clone(), inputs: inputs.clone(), settings });
        self
    }

    /// Adds the network to a graph, on these inputs; returns its output, and its parameters by name, each an input of the graph: for
    /// those who train by a graph of their own. `step` is the number of the training step, u32 `[1]`, which dropout needs in training.
    ///
    /// # Errors
    /// As for [`Net::build`]; [`Error::Invalid`] also for another number of inputs than the network has.
    pub fn add_to(
        &self,
        graph: &mut Graph,
        mode: Mode,
        inputs: &[Value],
        step: Option<Value>,
    ) -> Result<(Value, Vec<(String, Value)>)> {
        let (outputs, parameters) = Network::new(&[self], Seed(0))?.add_to(graph, mode, inputs, step)?;
        Ok((outputs[0], parameters))
    }

    /// The network up to one of its layers, whose layers have the names that they have in this one: what another head is put on.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a name that no layer has, and as for [`Net::build`].
    pub fn up_to(&self, layer: &str) -> Result<Net> {
        Network::new(&[self], Seed(0))?.net(layer)
    }

    /// A network that ends in a node.
    pub(super) fn of(node: Arc<Node>, init: Init) -> Net {
        Net { node, init, scope: Arc::from("") }
    }

    layer_methods!(self: &self);

    /// The layers with their output shapes, parameters and costs, without a device. Print it for a table.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) as for [`Net::build`].
    pub fn summary(&self) -> Result<Summary> {
        Outputs::of(&[self]).summary()
    }

    /// Checks the layers and makes the parameters on a device. The same seed gives the same parameters on every device.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid), with the layer's name, for a layer that can't work on what those before it give; for
    /// a name that two layers have; for no layers at all.
    /// [`Error::DoesNotFit`](crate::Error::DoesNotFit), [`Error::Gpu`](crate::Error::Gpu),
    /// [`Error::DeviceLost`](crate::Error::DeviceLost).
    pub fn build(&self, device: &Device, seed: Seed) -> Result<Model> {
        pollster::block_on(self.build_async(device, seed))
    }

    /// [`Net::build`] for programs that mustn't block.
    pub async fn build_async(&self, device: &Device, seed: Seed) -> Result<Model> {
        Outputs::of(&[self]).build_async(device, seed).await
    }
}

/// A network of several outputs: what is built is all that any of them needs. An output has the name of its layer.
///
/// ```
/// use striate::nn::{Net, Outputs};
///
/// let x = Net::input([28, 28, 1]).conv2d(8, 3).relu().flatten();
/// let digit = x.dense(10).named("digit");
/// let slant = x.dense(1).named("slant");
/// assert_eq!(Outputs::of(&[&digit, &slant]).summary()?.layers.len(), 5);
/// # Ok::<(), striate::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Outputs(Vec<Net>);

impl Outputs {
    /// These, in this order. Initial values of weights are those of the first one's [`Net::init`].
    pub fn of(outputs: &[&Net]) -> Outputs {
        Outputs(outputs.iter().map(|&net| net.clone()).collect())
    }

    fn network(&self, seed: Seed) -> Result<Network> {
        Network::new(&self.0.iter().collect::<Vec<_>>(), seed)
    }

    /// As [`Net::summary`].
    ///
    /// # Errors
    /// As for [`Net::build`].
    pub fn summary(&self) -> Result<Summary> {
        let (declared, layers) = self.network(Seed(0))?.declare()?;
        Ok(Summary::new(&declared, layers))
    }

    /// A model without values of its parameters, which take no memory: for plans.
    pub(crate) fn without_values(&self, device: &Device) -> Result<Model> {
        Model::without_values(self.network(Seed(0))?, device)
    }

    /// As [`Net::build`].
    ///
    /// # Errors
    /// As for [`Net::build`].
    pub fn build(&self, device: &Device, seed: Seed) -> Result<Model> {
        pollster::block_on(self.build_async(device, seed))
    }

    /// [`Outputs::build`] for programs that mustn't block.
    pub async fn build_async(&self, device: &Device, seed: Seed) -> Result<Model> {
        Model::new(self.network(seed)?, device).await
    }
}
