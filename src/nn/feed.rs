//! How the batches of a data set reach a program: by their indices where the data set lies on the device, else from the host.

use super::Model;
use super::feeder::Samples;
use crate::data::Dataset;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::op::Value;
use crate::ops::binary::{Add, Binary, Mul};
use crate::ops::constant::Constant;
use crate::ops::gather_rows::GatherRows;
use crate::tensor::{DType, Data, Shape, Tensor, TensorType};
use std::sync::Weak;

/// Largest binding; on the CPU backend, which has no such limit, WebGPU's default.
pub(super) fn max_binding_bytes(device: &Device) -> u64 {
    device.profile().map_or(128 << 20, |p| p.max_binding_bytes)
}

/// Where a program finds the samples.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Source {
    /// In the states of this slot; a run is fed indices.
    Resident(usize),
    /// A run is fed images and labels.
    Host,
}

impl Source {
    /// Tells programs apart that read their samples in different ways.
    pub fn key(self, data: &Dataset) -> String {
        let numbers = (data.image_type().dtype, data.scale(), data.offset());
        format!("{self:?} of {numbers:?}, {}, weighted {}", data.target_type(1), data.weights().is_some())
    }
}

/// A data set on the device.
#[derive(Debug)]
pub(super) struct Resident {
    mark: Weak<Tensor>,
    images: TensorType,
    targets: TensorType,
}

/// A batch of samples in a graph.
#[derive(Clone, Debug)]
pub(crate) struct Batch {
    /// f32, `[n, ..]`, normalised.
    pub images: Value,
    /// u32 `[n]` or `[n, h, w]`, or f32 `[n, ..]`: what the outputs are to be.
    pub targets: Value,
    /// What each sample's loss is multiplied by, f32 `[n]`, if the data set says.
    pub weights: Option<Value>,
    /// What a run is fed.
    pub ports: DataPorts,
    /// Inputs of what changes the samples on their way.
    pub changes: Vec<Value>,
    /// Whether the targets are shares of classes, f32 `[n, classes]`, that samples were mixed by.
    pub mixed: bool,
}

/// Inputs of a program through which samples come.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct DataPorts {
    /// u32 `[n]`: numbers of samples in the data set, or in the images that are fed.
    pub indices: Option<Value>,
    /// Images as the data set stores them, u8 or f32 `[n, h, w, c]`.
    pub images: Option<Value>,
    /// Targets of the samples.
    pub targets: Option<Value>,
    /// Weights of the samples.
    pub weights: Option<Value>,
}

/// Adds the inputs, and the nodes that gather a batch of `n` and normalise it.
pub(crate) fn add_batch(graph: &mut Graph, data: &Dataset, source: Source, n: usize) -> Result<Batch> {
    graph.set_scope("input");
    // The same numbers for all channels cost nothing where bytes become numbers anyway.
    let gather = match (one_of(data.scale()), one_of(data.offset())) {
        (Some(scale), Some(offset)) => GatherRows { scale, offset },
        _ => return add_changed_batch(graph, data, source, n, |_, _| Ok(())),
    };
    add_samples(graph, data, source, n, gather)
}

/// [`add_batch`] with a change of the batch before it is normalised, when images are numbers as the data set stores them.
pub(crate) fn add_changed_batch(
    graph: &mut Graph,
    data: &Dataset,
    source: Source,
    n: usize,
    change: impl FnOnce(&mut Graph, &mut Batch) -> Result<()>,
) -> Result<Batch> {
    graph.set_scope("input");
    let mut batch = add_samples(graph, data, source, n, GatherRows::default())?;
    change(graph, &mut batch)?;
    batch.images = add_normalisation(graph, batch.images, data)?;
    Ok(batch)
}

/// The number that all of these are.
fn one_of(numbers: &[f32]) -> Option<f32> {
    numbers.iter().all(|v| v == &numbers[0]).then(|| numbers[0])
}

fn add_samples(graph: &mut Graph, data: &Dataset, source: Source, n: usize, rows: GatherRows) -> Result<Batch> {
    let mut ports = DataPorts::default();
    let (images, targets) = match source {
        Source::Resident(slot) => {
            let [images, targets] = names(slot);
            let images = graph.state(&images, data.images()?.tensor_type())?;
            let targets = graph.state(&targets, data.target_type(data.len()))?;
            let indices = graph.input("indices", TensorType::u32([n]))?;
            ports.indices = Some(indices);
            (graph.node(rows, &[images, indices])?, graph.node(GatherRows::default(), &[targets, indices])?)
        }
        Source::Host => {
            let TensorType { dtype, shape } = data.image_type();
            let images = graph.input("images", TensorType { dtype, shape: shape.with_batch(n) })?;
            let targets = graph.input("targets", data.target_type(n))?;
            (ports.images, ports.targets) = (Some(images), Some(targets));
            if dtype == DType::F32 && rows == GatherRows::default() {
                (images, targets)
            } else {
                // All rows of the batch in their order: so the numbers are those of a data set on the device, to the bit.
                let indices = graph.input("indices", TensorType::u32([n]))?;
                ports.indices = Some(indices);
                (graph.node(rows, &[images, indices])?, targets)
            }
        }
    };
    if data.weights().is_some() {
        ports.weights = Some(graph.input("weights", TensorType::f32([n]))?);
    }
    Ok(Batch { images, targets, weights: ports.weights, ports, changes: Vec::new(), mixed: false })
}

/// Adds `x * scale + offset` with the data set's numbers for each channel.
fn add_normalisation(graph: &mut Graph, x: Value, data: &Dataset) -> Result<Value> {
    let numbers = |numbers: &[f32]| Ok::<_, Error>(Constant::new(Tensor::f32([numbers.len()], numbers.to_vec())?));
    let scale = graph.node(numbers(data.scale())?, &[])?;
    let offset = graph.node(numbers(data.offset())?, &[])?;
    let x = graph.node(Binary::<Mul>::new(), &[x, scale])?;
    graph.node(Binary::<Add>::new(), &[x, offset])
}

/// Adds inputs for a batch of samples of this shape, one for each target, to be fed from the host normalised.
pub(crate) fn add_host_batch(graph: &mut Graph, shape: &Shape, targets: TensorType) -> Result<Batch> {
    let n = targets.shape.dims().first().copied().unwrap_or(1);
    let images = graph.input("images", TensorType::f32(shape.with_batch(n)))?;
    let targets = graph.input("targets", targets)?;
    let ports = DataPorts { images: Some(images), targets: Some(targets), ..DataPorts::default() };
    Ok(Batch { images, targets, weights: None, ports, changes: Vec::new(), mixed: false })
}

impl DataPorts {
    /// What to feed for these samples.
    pub fn feeds(&self, data: &Dataset, samples: Samples) -> Result<Vec<(Value, Tensor)>> {
        let Samples { indices, images } = samples;
        let n = indices.len();
        let mut feeds = Vec::new();
        if let Some(port) = self.targets {
            feeds.push((port, data.batch_targets(&indices)?));
        }
        if let (Some(port), Some(weights)) = (self.weights, data.batch_weights(&indices)?) {
            feeds.push((port, Tensor::f32([n], weights)?));
        }
        let rows = match (self.images, images) {
            (Some(port), Some(images)) => {
                feeds.push((port, images));
                (0..n as u32).collect()
            }
            _ => indices,
        };
        if let Some(port) = self.indices {
            feeds.push((port, Tensor::u32([n], rows)?));
        }
        Ok(feeds)
    }
}

/// The first element for which `wrong` says so, of its place and value.
pub(super) fn find(tensor: &Tensor, wrong: impl Fn(usize, f64) -> bool) -> Option<(usize, f64)> {
    fn first<T: Copy + Into<f64>>(values: &[T], wrong: impl Fn(usize, f64) -> bool) -> Option<(usize, f64)> {
        values.iter().map(|&v| v.into()).enumerate().find(|&(i, v)| wrong(i, v))
    }
    match tensor.data() {
        Data::F32(values) => first(values, wrong),
        Data::U32(values) => first(values, wrong),
        Data::U8(values) => first(values, wrong),
    }
}

/// A word for users whose samples have the channels where PyTorch has them.
pub(super) fn advice(got: &[usize], want: &Shape) -> &'static str {
    match *want.dims() {
        [h, w, c] if got == [c, h, w] => "; channels come last",
        _ => "",
    }
}

fn names(slot: usize) -> [String; 2] {
    [format!("data/{slot}/images"), format!("data/{slot}/targets")]
}

impl Model {
    /// Fails unless samples of this data set are what the model takes.
    pub(crate) fn check_images(&self, data: &Dataset) -> Result<()> {
        let (got, want) = (data.image_shape(), self.network.input()?);
        want.expect_dtype("input", DType::F32)?;
        let want = &want.shape;
        if got != *want {
            let advice = advice(got.dims(), want);
            return Err(Error::invalid("image shape", got, format!("{want}, the model's input{advice}")).at(data.name()));
        }
        let Some(rows) = self.network.inputs[0].rows else { return Ok(()) };
        let numbers = |i: usize| [data.scale(), data.offset()].map(|numbers| f64::from(numbers[i % numbers.len()]));
        let is_row = |i: usize, v: f64| {
            let [scale, offset] = numbers(i);
            let v = v * scale + offset;
            v >= 0.0 && v < rows as f64 && v.fract() == 0.0
        };
        let Some((i, value)) = find(data.images()?, |i, v| !is_row(i, v)) else { return Ok(()) };
        let what = format!("sample {}", i / want.elements());
        let [scale, offset] = numbers(i);
        let scaled = if [scale, offset] == [1.0, 0.0] { String::new() } else { format!(", times {scale} plus {offset}") };
        let want = format!("whole numbers from 0 to {}", rows - 1);
        Err(Error::invalid(what, format!("{value}{scaled}"), want).at(data.name()))
    }

    /// Moves the data set to the device if it is in memory, isn't there yet and is small enough: half the largest binding, and no more than
    /// one largest binding for all data sets together.
    pub(crate) async fn source(&mut self, data: &Dataset) -> Result<Source> {
        let Some(mark) = data.mark() else { return Ok(Source::Host) };
        if let Some(slot) = self.resident.iter().position(|r| r.mark.ptr_eq(&mark)) {
            return Ok(Source::Resident(slot));
        }
        let (images, targets) = (data.images()?.tensor_type(), data.target_type(data.len()));
        // The place of a data set of the same size that nobody has any more.
        let free = self.resident.iter().position(|r| r.images == images && r.targets == targets && r.mark.strong_count() == 0);
        let slot = match free {
            Some(slot) => slot,
            None => {
                let limit = max_binding_bytes(self.device());
                let bytes = |images: &TensorType, targets: &TensorType| (images.bytes() + targets.bytes()) as u64;
                let taken: u64 = self.resident.iter().map(|r| bytes(&r.images, &r.targets)).sum();
                let needed = bytes(&images, &targets);
                if needed > limit / 2 || taken + needed > limit {
                    return Ok(Source::Host);
                }
                self.resident.len()
            }
        };
        let [image_state, target_state] = names(slot);
        self.runtime.set_state(&image_state, data.images()?).await?;
        self.runtime.set_state(&target_state, &data.all_targets()?).await?;
        let resident = Resident { mark, images, targets };
        match free {
            Some(slot) => self.resident[slot] = resident,
            None => self.resident.push(resident),
        }
        Ok(Source::Resident(slot))
    }
}
