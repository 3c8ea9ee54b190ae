//! Networks from ONNX files. Each node is lowered by a rule of `rules/` to ops of this crate, at shapes that are known: `source` reads and
//! checks the file, `fold` works out what is arithmetic on shapes, `lower` is what a rule is handed, `trace` goes through the nodes, `net`
//! makes layers of them.

mod attributes;
mod fold;
mod integers;
mod lower;
mod net;
mod rules;
mod source;
mod trace;

use super::ModelCard;
use super::array::Array;
use super::element::Element;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::nn::{Model, Net, Outputs};
use crate::op::Value;
use crate::random::Seed;
use crate::tensor::{Tensor, TensorType};
use lower::{Layout, OnDevice, Operand, channels_last, in_memory};
pub use source::Dimension;
pub(super) use source::{READ, Read};
use source::{Source, TensorId};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use trace::Trace;
pub use trace::Unsupported;

/// Most memory that [`Onnx::run`] takes on the device beside inputs and weights: a few bytes of a file can ask for any amount.
const MOST_BYTES: u64 = 1 << 30;

/// How often [`Onnx::run`] goes through a graph to find out which inputs' values it must know.
const MOST_ROUNDS: usize = 32;

/// A network in an ONNX file: opsets from 7 on, of the ops of convolutional networks.
///
/// ```no_run
/// use striate::{Device, io::onnx::Onnx};
///
/// let mut model = Onnx::read("squeezenet.onnx")?.build(&Device::best()?)?;
/// println!("{}", model.summary());
/// # Ok::<(), striate::Error>(())
/// ```
///
/// What it builds is an ordinary [`Model`], with the file's weights; [`Onnx::net`] gives the network for another head or another part of it.
/// Its inputs are those of the file, images `[n, c, h, w]`; with [`Onnx::channels_last`] they are `[n, h, w, c]` as everywhere in this crate, so that
/// data sets and photos fit, and nothing is transposed at the start. The first dimension is the batch, of any size, also where the file says a number.
#[derive(Clone)]
pub struct Onnx {
    source: Arc<Source>,
    channels_last: bool,
    dimensions: BTreeMap<String, usize>,
}

impl fmt::Debug for Onnx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Onnx").field("nodes", &self.source.nodes.len()).finish_non_exhaustive()
    }
}

/// What a file says of an input.
#[derive(Clone, Debug)]
pub struct Input {
    /// Its name.
    pub name: String,
    /// What its elements are.
    pub element: Element,
    /// Its dimensions, if anything is said of them.
    pub dims: Option<Vec<Dimension>>,
}

/// A node as a file has it.
#[derive(Clone, Debug)]
pub struct NodeInfo {
    /// Its name, or that of its first output.
    pub name: String,
    /// Its op, with the domain if that isn't ONNX's own.
    pub op: String,
    /// Type and dimensions of its first output, at a batch of 1 unless the file says another; none where they couldn't be worked out.
    pub output: Option<(Element, Vec<usize>)>,
}

impl Onnx {
    /// Reads a file. External data may lie beside it or in folders below.
    ///
    /// # Errors
    /// [`Error::File`] for a file that can't be read, that isn't an ONNX model or is broken, with the node or tensor at fault.
    pub fn read(path: impl AsRef<Path>) -> Result<Onnx> {
        let path = path.as_ref();
        let bytes = std::fs::read(path).map_err(|e| Error::file(path, e))?;
        let folder = path.parent().map(|p| if p.as_os_str().is_empty() { Path::new(".") } else { p });
        let source = Source::read(bytes.into(), folder).map_err(|e| match e {
            Error::Invalid { .. } => Error::file(path, e),
            other => other,
        })?;
        Ok(Onnx::of(source))
    }

    /// Reads the bytes of a file, which has no external data.
    ///
    /// # Errors
    /// [`Error::Invalid`] for what isn't an ONNX model or is broken, with the node or tensor at fault.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Onnx> {
        Source::read(bytes.into(), None).map(Onnx::of)
    }

    fn of(source: Source) -> Onnx {
        Onnx { source: Arc::new(source), channels_last: false, dimensions: BTreeMap::new() }
    }

    /// Whether images are fed as `[n, h, w, c]`; else, as the file has it, `[n, c, h, w]`.
    pub fn channels_last(mut self, channels_last: bool) -> Onnx {
        self.channels_last = channels_last;
        self
    }

    /// Says how large a dimension is that has only a name in the file, other than the batch.
    pub fn dimension(mut self, name: &str, size: usize) -> Onnx {
        self.dimensions.insert(name.to_string(), size);
        self
    }

    /// ONNX's ops that are known, by name.
    pub fn ops() -> Vec<&'static str> {
        let all: BTreeSet<&str> = rules::all().map(|rule| rule.op).chain(fold::OPS.iter().copied()).collect();
        all.into_iter().collect()
    }

    /// The inputs, without those for which the file has values.
    pub fn inputs(&self) -> Vec<Input> {
        let input = |d: &source::Declared| Input {
            name: self.source.names[d.tensor].to_string(),
            element: d.element,
            dims: d.dims.clone(),
        };
        self.source.inputs.iter().map(input).collect()
    }

    /// Names of the outputs.
    pub fn outputs(&self) -> Vec<&str> {
        self.source.outputs.iter().map(|&id| &*self.source.names[id]).collect()
    }

    /// Versions of the sets of ops that the file was written for, by domain; ONNX's own has an empty name.
    pub fn opsets(&self) -> &BTreeMap<String, i64> {
        &self.source.opsets
    }

    /// Version of the format.
    pub fn ir_version(&self) -> i64 {
        self.source.ir_version
    }

    /// The program that wrote the file.
    pub fn producer(&self) -> &str {
        &self.source.producer
    }

    /// What the file says of the photos that the network takes and of its classes; none if it says nothing, as files of other programs.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a card that this version can't read or that makes no sense, with what is wrong.
    pub fn card(&self) -> Result<Option<ModelCard>> {
        self.source.card.as_deref().map(ModelCard::from_json).transpose()
    }

    /// Numbers that the file has as weights and other constants.
    pub fn weights(&self) -> usize {
        self.source.constants.values().map(Array::len).sum()
    }

    /// The nodes, in an order of execution.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an input whose dimensions aren't known.
    pub fn nodes(&self) -> Result<Vec<NodeInfo>> {
        let trace = self.trace_batch(self.declared_batch().unwrap_or(1))?;
        let info = |node: &source::Node| {
            let first = node.outputs.iter().flatten().next();
            let operand = first.and_then(|&id| trace.operands[id].as_ref());
            let op = if node.domain.is_empty() { node.op.clone() } else { format!("{}.{}", node.domain, node.op) };
            NodeInfo { name: node.name.clone(), op, output: operand.map(|o| (o.element(), o.dims().to_vec())) }
        };
        Ok(self.source.nodes.iter().map(info).collect())
    }

    /// The nodes that can't be run, each with what is missing; none if the network can be built.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an input whose dimensions aren't known.
    pub fn unsupported(&self) -> Result<Vec<Unsupported>> {
        Ok(self.trace_batch(self.declared_batch().unwrap_or(2))?.unsupported)
    }

    /// The size of the batch that the file says, if it says a number.
    fn declared_batch(&self) -> Option<usize> {
        let first = self.source.inputs.first()?.dims.as_ref()?.first()?;
        if let Dimension::Known(n) = first { Some(*n) } else { None }
    }

    /// All tensors for a batch of this size.
    fn trace_batch(&self, batch: usize) -> Result<Trace> {
        let declared = self.declared_batch().map(|declared| (declared, batch));
        // A dimension with the name of the batch is the batch.
        let named = self.source.inputs.iter().find_map(|d| match d.dims.as_ref()?.first()? {
            Dimension::Named(name) => Some(name.clone()),
            _ => None,
        });
        Trace::of(&self.source, declared, |i, graph| {
            let input = &self.source.inputs[i];
            let name = &self.source.names[input.tensor];
            let place = |e: Error| e.at(&format!("input '{}'", name.escape_debug()));
            let unknown = |what: String| {
                let want = "numbers; `Onnx::dimension` gives one to a dimension that has a name";
                place(Error::invalid("dimensions", what, want))
            };
            let Some(said) = &input.dims else { return Err(unknown("none".to_string())) };
            let mut dims = Vec::with_capacity(said.len());
            for (axis, dim) in said.iter().enumerate() {
                dims.push(match dim {
                    _ if axis == 0 => batch,
                    Dimension::Known(d) => *d,
                    Dimension::Named(name) if Some(name) == named.as_ref() => batch,
                    Dimension::Named(name) => match self.dimensions.get(name) {
                        Some(&d) => d,
                        None => return Err(unknown(format!("'{}' for axis {axis}", name.escape_debug()))),
                    },
                    Dimension::Any => return Err(unknown(format!("one without a name for axis {axis}"))),
                });
            }
            if dims.is_empty() {
                return Err(place(Error::invalid("dimensions", "none", "a batch, [n, ..]")));
            }
            let order = if self.channels_last { channels_last(dims.len()) } else { (0..dims.len()).collect() };
            fed(graph, name, input.element, dims, order).map(|(_, operand)| operand).map_err(place)
        })
    }

    /// The network of each output, by the output's name.
    ///
    /// # Errors
    /// [`Error::Unsupported`] with a list of all nodes that can't be run. [`Error::Invalid`] for an input whose dimensions aren't known, for
    /// an output that doesn't depend on the inputs.
    pub fn nets(&self) -> Result<Vec<(String, Net)>> {
        net::nets(self)
    }

    /// The network, for a file of one output.
    ///
    /// # Errors
    /// As for [`Onnx::nets`]; [`Error::Invalid`] for several outputs.
    pub fn net(&self) -> Result<Net> {
        let mut nets = self.nets()?;
        match (nets.pop(), nets.is_empty()) {
            (Some((_, net)), true) => Ok(net),
            _ => Err(Error::invalid("outputs", self.outputs().join(", "), "one; `nets` gives all")),
        }
    }

    /// The network with the file's weights on a device.
    ///
    /// # Errors
    /// As for [`Onnx::nets`] and [`Net::build`].
    pub fn build(&self, device: &Device) -> Result<Model> {
        let nets = self.nets()?;
        let outputs: Vec<&Net> = nets.iter().map(|(_, net)| net).collect();
        Outputs::of(&outputs).build(device, Seed(0))
    }

    /// Runs the graph once on inputs of any shape that the file allows, whose first dimension need not be a batch: for checks, and for
    /// graphs that aren't networks. What nodes must know before they run, as the dimensions of a reshape, is taken from the inputs.
    ///
    /// # Errors
    /// [`Error::Unsupported`] with a list of all nodes that can't be run. [`Error::Invalid`] for inputs that aren't those of the file.
    /// [`Error::DoesNotFit`] if it takes more than 1 GiB on the device beside inputs and weights. Else those of [`Device::evaluate`].
    pub fn run(&self, device: &Device, inputs: &[(&str, Array)]) -> Result<Vec<(String, Array)>> {
        let mut given = Vec::new();
        for declared in &self.source.inputs {
            let name = &self.source.names[declared.tensor];
            let place = |e: Error| e.at(&format!("input '{}'", name.escape_debug()));
            let Some((_, array)) = inputs.iter().find(|(n, _)| *n == &**name) else {
                return Err(place(Error::invalid("value", "none", "a tensor")));
            };
            if array.element() != declared.element {
                return Err(place(Error::invalid("element type", array.element(), declared.element)));
            }
            let fits = |said: &Vec<Dimension>| {
                said.len() == array.dims().len()
                    && said.iter().zip(array.dims()).all(|(said, d)| !matches!(said, Dimension::Known(k) if k != d))
            };
            if let Some(said) = declared.dims.as_ref().filter(|said| !fits(said)) {
                return Err(place(Error::invalid("dimensions", format!("{:?}", array.dims()), format!("{said:?}"))));
            }
            given.push(array.clone());
        }
        if let Some((name, _)) = inputs.iter().find(|(n, _)| !self.inputs().iter().any(|input| input.name == *n)) {
            let names: Vec<String> = self.inputs().into_iter().map(|input| input.name).collect();
            return Err(Error::invalid("input", format!("'{}'", name.escape_debug()), format!("one of {}", names.join(", "))));
        }
        let mut known: BTreeSet<usize> = (0..given.len()).filter(|&i| given[i].is_empty()).collect();
        let mut rounds = 0;
        loop {
            let mut feeds = Vec::new();
            let trace = Trace::of(&self.source, None, |i, graph| {
                if known.contains(&i) {
                    return Ok(Operand::Constant(given[i].clone()));
                }
                let (name, dims) = (&self.source.names[self.source.inputs[i].tensor], given[i].dims().to_vec());
                let order: Vec<usize> = (0..dims.len()).collect();
                let (value, operand) = fed(graph, name, given[i].element(), dims, order)?;
                feeds.push((value, on_host(&given[i])?));
                Ok(operand)
            })?;
            let more = self.inputs_of(&trace.wanted);
            rounds += 1;
            if rounds < MOST_ROUNDS && !more.is_subset(&known) {
                known.extend(more);
                continue;
            }
            trace.complete()?;
            return self.evaluate(device, trace, feeds);
        }
    }

    /// Indices of the graph's inputs that tensors are made of.
    fn inputs_of(&self, tensors: &[TensorId]) -> BTreeSet<usize> {
        let makers: HashMap<TensorId, &source::Node> =
            self.source.nodes.iter().flat_map(|node| node.outputs.iter().flatten().map(move |&id| (id, node))).collect();
        let places: HashMap<TensorId, usize> =
            self.source.inputs.iter().enumerate().map(|(i, input)| (input.tensor, i)).collect();
        let (mut open, mut seen, mut found) = (tensors.to_vec(), BTreeSet::new(), BTreeSet::new());
        while let Some(id) = open.pop() {
            if seen.insert(id) {
                found.extend(places.get(&id));
                open.extend(makers.get(&id).into_iter().flat_map(|node| node.inputs.iter().flatten()));
            }
        }
        found
    }

    fn evaluate(&self, device: &Device, trace: Trace, mut feeds: Vec<(Value, Tensor)>) -> Result<Vec<(String, Array)>> {
        let Trace { mut graph, declared, operands, .. } = trace;
        let (mut values, mut places) = (Vec::new(), Vec::new());
        for &id in &self.source.outputs {
            let name = self.source.names[id].to_string();
            let operand = operands[id].clone().ok_or_else(|| Error::invalid("output", &name, "a tensor"))?;
            places.push(match operand {
                Operand::Constant(array) => (name, Err(array)),
                Operand::Device(tensor) => {
                    values.push(lower::plain(&mut graph, &tensor)?);
                    (name, Ok((values.len() - 1, tensor.element, tensor.dims)))
                }
            });
        }
        let mut made = Vec::new();
        if !values.is_empty() {
            let plan = device.plan(graph, &values)?;
            let bytes = plan.memory().total() - plan.memory().inputs;
            if bytes > MOST_BYTES {
                let reason = format!(
                    "it takes {bytes} bytes beside inputs and weights, and a graph that isn't built as a model at most {MOST_BYTES}"
                );
                return Err(Error::DoesNotFit { device: device.name().to_string(), reason, table: plan.table(8) });
            }
            for (d, value) in declared {
                feeds.push((value, d.init.tensor(&d.shape, Seed(0), 0)?));
            }
            let feeds: Vec<(Value, &Tensor)> = feeds.iter().map(|(value, tensor)| (*value, tensor)).collect();
            made = device.run_plan(plan, &values, &feeds)?;
        }
        let array = |place| match place {
            Err(array) => Ok(array),
            Ok((i, element, dims)) => of_device(&made[i], element, dims),
        };
        places.into_iter().map(|(name, place)| Ok((name, array(place)?))).collect()
    }
}

/// An input of a graph, with its axes in this order in memory.
fn fed(graph: &mut Graph, name: &str, element: Element, dims: Vec<usize>, order: Vec<usize>) -> Result<(Value, Operand)> {
    let shape = in_memory(&dims, &order);
    let ty = if element.is_float() { TensorType::f32(shape) } else { TensorType::u32(shape) };
    let ty = TensorType::new(ty.dtype, ty.shape.checked("dimensions")?);
    let value = graph.input(name, ty)?;
    let layout = Layout { order, unflattened: None };
    Ok((value, Operand::Device(OnDevice { value, element, dims, layout, varies: true })))
}

/// A tensor as a device has it: floats, or words of 32 bits.
fn on_host(array: &Array) -> Result<Tensor> {
    let dims = if array.dims().is_empty() { vec![1] } else { array.dims().to_vec() };
    if array.element().is_float() {
        return Tensor::f32(dims, array.to_floats()?);
    }
    Tensor::u32(dims, integers::words(array.element(), &array.to_integers()?)?)
}

/// A tensor of a device as ONNX has it.
fn of_device(tensor: &Tensor, element: Element, dims: Vec<usize>) -> Result<Array> {
    if element.is_float() {
        return Array::reals(element, dims, tensor.as_f32()?.to_vec());
    }
    Array::integers(element, dims, tensor.as_u32()?.iter().map(|&word| integers::of_word(element, word)).collect())
}
