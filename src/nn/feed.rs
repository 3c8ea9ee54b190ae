//! How the batches of a data set reach a program: by their indices where the data set lies on the device, else from the host.

use super::Model;
use crate::data::Dataset;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::op::{NodeBuilder, Value};
use crate::ops::binary::{Add, Binary};
use crate::ops::fill::Fill;
use crate::ops::gather_rows::GatherRows;
use crate::ops::scale::Scale;
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
        match self {
            Source::Resident(slot) => format!("data set {slot} * {:e} + {:e}", data.scale(), data.offset()),
            Source::Host => format!("fed samples, {}", data.target_type(1)),
        }
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
    /// What a run is fed.
    pub ports: DataPorts,
    /// Inputs of what changes the samples on their way.
    pub changes: Vec<Value>,
    /// Whether the targets are shares of classes, f32 `[n, classes]`, that samples were mixed by.
    pub mixed: bool,
}

/// Inputs of a program through which samples come.
#[derive(Clone, Copy, Debug)]
pub(crate) enum DataPorts {
    /// u32, `[n]`.
    Indices(Value),
    /// The samples themselves.
    Samples { images: Value, targets: Value },
}

/// Adds the inputs, and the nodes that gather a batch of `n`.
pub(crate) fn add_batch(graph: &mut Graph, data: &Dataset, source: Source, n: usize) -> Result<Batch> {
    graph.set_scope("input");
    add_samples(graph, data, source, n, GatherRows { scale: data.scale(), offset: data.offset() })
}

/// [`add_batch`] with images that go through `change` before they are normalised: f32, as the data set has them.
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
    batch.images = graph.node(Scale { factor: data.scale() }, &[batch.images])?;
    if data.offset() != 0.0 {
        let shape = graph.type_of(batch.images).shape.clone();
        let offset = graph.node(Fill { value: data.offset(), shape }, &[])?;
        batch.images = graph.node(Binary::<Add>::new(), &[batch.images, offset])?;
    }
    Ok(batch)
}

fn add_samples(graph: &mut Graph, data: &Dataset, source: Source, n: usize, normalise: GatherRows) -> Result<Batch> {
    match source {
        Source::Resident(slot) => {
            let [images, targets] = names(slot);
            let images = graph.state(&images, data.images().tensor_type())?;
            let targets = graph.state(&targets, data.target_type(data.len()))?;
            let indices = graph.input("indices", TensorType::u32([n]))?;
            let images = graph.node(normalise, &[images, indices])?;
            let targets = graph.node(GatherRows::default(), &[targets, indices])?;
            Ok(Batch { images, targets, ports: DataPorts::Indices(indices), changes: Vec::new(), mixed: false })
        }
        Source::Host => add_host_batch(graph, &data.image_shape(), data.target_type(n)),
    }
}

/// Adds inputs for a batch of samples of this shape, one for each target, to be fed from the host.
pub(crate) fn add_host_batch(graph: &mut Graph, shape: &Shape, targets: TensorType) -> Result<Batch> {
    let n = targets.shape.dims().first().copied().unwrap_or(1);
    let images = graph.input("images", TensorType::f32(shape.with_batch(n)))?;
    let targets = graph.input("targets", targets)?;
    Ok(Batch { images, targets, ports: DataPorts::Samples { images, targets }, changes: Vec::new(), mixed: false })
}

impl DataPorts {
    /// What to feed for a batch of these samples.
    pub fn tensors(&self, data: &Dataset, indices: &[u32]) -> Result<Vec<(Value, Tensor)>> {
        let n = indices.len();
        Ok(match *self {
            DataPorts::Indices(port) => vec![(port, Tensor::u32([n], indices.to_vec())?)],
            DataPorts::Samples { images, targets } => {
                let shape = data.image_shape().with_batch(n);
                vec![(images, Tensor::f32(shape, data.batch_images(indices)?)?), (targets, data.batch_targets(indices)?)]
            }
        })
    }
}

/// The first element for which `wrong` says so.
pub(super) fn find(tensor: &Tensor, wrong: impl Fn(f64) -> bool) -> Option<(usize, f64)> {
    fn first<T: Copy + Into<f64>>(values: &[T], wrong: impl Fn(f64) -> bool) -> Option<(usize, f64)> {
        values.iter().map(|&v| v.into()).enumerate().find(|&(_, v)| wrong(v))
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
        let [scale, offset] = [data.scale(), data.offset()].map(f64::from);
        let is_row = |v: f64| {
            let v = v * scale + offset;
            v >= 0.0 && v < rows as f64 && v.fract() == 0.0
        };
        let Some((i, value)) = find(data.images(), |v| !is_row(v)) else { return Ok(()) };
        let what = format!("sample {}", i / want.elements());
        let scaled = if (scale, offset) == (1.0, 0.0) { String::new() } else { format!(", times {scale} plus {offset}") };
        let want = format!("whole numbers from 0 to {}", rows - 1);
        Err(Error::invalid(what, format!("{value}{scaled}"), want).at(data.name()))
    }

    /// Moves the data set to the device if it isn't there yet and is small enough: half the largest binding, and no more than one
    /// largest binding for all data sets together.
    pub(crate) async fn source(&mut self, data: &Dataset) -> Result<Source> {
        let mark = data.mark();
        if let Some(slot) = self.resident.iter().position(|r| r.mark.ptr_eq(&mark)) {
            return Ok(Source::Resident(slot));
        }
        let (images, targets) = (data.images().tensor_type(), data.target_type(data.len()));
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
        self.runtime.set_state(&image_state, data.images()).await?;
        self.runtime.set_state(&target_state, &data.all_targets()?).await?;
        let resident = Resident { mark, images, targets };
        match free {
            Some(slot) => self.resident[slot] = resident,
            None => self.resident.push(resident),
        }
        Ok(Source::Resident(slot))
    }
}
