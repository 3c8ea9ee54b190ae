//! What an ONNX file says, checked: nodes in an order of execution, with names resolved.

use super::super::array::{Array, dimensions};
use super::super::card;
use super::super::element::Element;
use super::super::guard;
use super::super::proto::{
    NodeProto, OperatorSetIdProto, StringStringEntryProto, TensorProto, ValueInfoProto, tensor_shape_proto::dimension, type_proto,
};
use super::attributes::{Attribute, Attributes};
use crate::error::{Error, Result};
use prost::Message;
use prost::bytes::Bytes;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

/// A model of ONNX, as far as it is read.
#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct Read {
    #[prost(int64, optional, tag = "1")]
    ir_version: Option<i64>,
    #[prost(string, optional, tag = "2")]
    producer_name: Option<String>,
    #[prost(string, optional, tag = "3")]
    producer_version: Option<String>,
    #[prost(message, optional, tag = "7")]
    graph: Option<ReadGraph>,
    #[prost(message, repeated, tag = "8")]
    opset_import: Vec<OperatorSetIdProto>,
    /// Each a [`StringStringEntryProto`].
    #[prost(bytes = "bytes", repeated, tag = "14")]
    metadata_props: Vec<Bytes>,
}

/// Its graph, of which each part is decoded when its turn has come, and dropped: decoded ones are many times larger.
#[derive(Clone, PartialEq, Message)]
struct ReadGraph {
    /// Each a [`NodeProto`].
    #[prost(bytes = "bytes", repeated, tag = "1")]
    node: Vec<Bytes>,
    /// Each a [`TensorProto`].
    #[prost(bytes = "bytes", repeated, tag = "5")]
    initializer: Vec<Bytes>,
    /// Each a [`ValueInfoProto`], as the outputs.
    #[prost(bytes = "bytes", repeated, tag = "11")]
    input: Vec<Bytes>,
    #[prost(bytes = "bytes", repeated, tag = "12")]
    output: Vec<Bytes>,
    #[prost(bytes = "bytes", repeated, tag = "15")]
    sparse_initializer: Vec<Bytes>,
}

/// A part of a file.
fn decoded<M: Message + Default>(what: &str, i: usize, part: Bytes) -> Result<M> {
    M::decode(part).map_err(|e| Error::invalid(format!("{what} {i}"), e, "a message of ONNX"))
}

/// Most bytes that reading keeps for each of a file's parts, beside those of strings and numbers.
pub(in super::super) struct Kept {
    pub node: usize,
    pub attribute: usize,
    pub tensor: usize,
    pub input: usize,
    pub dimension: usize,
    pub name: usize,
    pub opset: usize,
    pub metadata: usize,
}

/// A slice of the file in a vector that grows, and where it is counted from.
const PART: usize = 2 * size_of::<Bytes>() + 32;
/// Buckets of a hash table that grows: at most 2.3 for an entry, and half as many before.
const BUCKETS: usize = 4;

/// See [`Kept`].
pub(in super::super) const READ: Kept = Kept {
    // With its place in the order and who waits for it.
    node: PART + size_of::<Node>() + 96,
    attribute: size_of::<(String, Attribute)>() + size_of::<Array>() + 64,
    tensor: PART + BUCKETS * (size_of::<(TensorId, Array)>() + 1) + 64,
    input: PART + 2 * size_of::<Declared>() + 64,
    dimension: 4 * size_of::<Dimension>(),
    // As a name and in the table of names, as what a node reads, by whom it is made, and who reads it.
    name: 16
        + BUCKETS * (size_of::<(Arc<str>, TensorId)>() + 1)
        + 2 * size_of::<Arc<str>>()
        + 4 * size_of::<(TensorId, TensorId)>(),
    opset: 2 * size_of::<OperatorSetIdProto>() + 2 * size_of::<(String, i64)>(),
    metadata: PART,
};

/// A tensor of a file, by its place among all names.
pub(super) type TensorId = usize;

/// A dimension of an input.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Dimension {
    /// It is known.
    Known(usize),
    /// It has a name; dimensions of one name are the same.
    Named(String),
    /// Nothing is said.
    Any,
}

/// What a file says of an input.
#[derive(Clone, Debug)]
pub(super) struct Declared {
    pub tensor: TensorId,
    pub element: Element,
    /// None if nothing is said.
    pub dims: Option<Vec<Dimension>>,
}

/// An operation.
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// Its name, or that of its first output.
    pub name: String,
    pub op: String,
    /// Empty for ONNX's own ops.
    pub domain: String,
    /// None where an optional one is left out.
    pub inputs: Vec<Option<TensorId>>,
    pub outputs: Vec<Option<TensorId>>,
    pub attributes: Attributes,
    /// Why its attributes couldn't be read.
    pub fault: Option<Box<Error>>,
}

/// Where a tensor comes from.
#[derive(Clone, Copy)]
enum Maker {
    Initializer,
    Input,
    /// In the order of the file.
    Node(usize),
}

/// A checked file.
#[derive(Clone, Debug, Default)]
pub(super) struct Source {
    pub names: Vec<Arc<str>>,
    /// In an order of execution.
    pub nodes: Vec<Node>,
    pub inputs: Vec<Declared>,
    pub outputs: Vec<TensorId>,
    pub constants: HashMap<TensorId, Array>,
    /// Versions of sets of ops, by domain.
    pub opsets: BTreeMap<String, i64>,
    pub ir_version: i64,
    pub producer: String,
    /// The text of its model card.
    pub card: Option<String>,
}

impl Source {
    /// Reads a file's bytes; `folder` is where external data may lie.
    pub fn read(bytes: Bytes, folder: Option<&Path>) -> Result<Source> {
        guard::check(&bytes)?;
        let model = Read::decode(bytes).map_err(|e| Error::invalid("ONNX file", e, "a model"))?;
        let Some(graph) = model.graph else {
            return Err(Error::invalid("ONNX file", "no graph", "a model with one"));
        };
        let mut source = Source {
            ir_version: model.ir_version.unwrap_or_default(),
            producer: [model.producer_name, model.producer_version]
                .into_iter()
                .flatten()
                .collect::<Vec<_>>()
                .join(" ")
                .trim()
                .to_string(),
            ..Source::default()
        };
        for set in model.opset_import {
            source.opsets.insert(domain(set.domain.unwrap_or_default()), set.version.unwrap_or_default());
        }
        if source.opsets.is_empty() {
            // Files of before IR version 3 have none.
            source.opsets.insert(String::new(), 1);
        }
        for (i, entry) in model.metadata_props.into_iter().enumerate() {
            let entry: StringStringEntryProto = decoded("metadata entry", i, entry)?;
            if entry.key.as_deref() == Some(card::KEY) && source.card.is_none() {
                source.card = entry.value;
            }
        }
        source.graph(graph, folder)?;
        Ok(source)
    }

    fn graph(&mut self, graph: ReadGraph, folder: Option<&Path>) -> Result<()> {
        let mut ids: HashMap<Arc<str>, TensorId> = HashMap::new();
        let mut id = |names: &mut Vec<Arc<str>>, name: &str| match ids.get(name) {
            Some(&id) => id,
            None => {
                let name: Arc<str> = Arc::from(name);
                names.push(Arc::clone(&name));
                ids.insert(name, names.len() - 1);
                names.len() - 1
            }
        };
        if !graph.sparse_initializer.is_empty() {
            return Err(Error::invalid("ONNX graph", "sparse initializers", "dense ones"));
        }
        for (i, tensor) in graph.initializer.into_iter().enumerate() {
            let tensor: TensorProto = decoded("initializer", i, tensor)?;
            let name = tensor.name.clone().unwrap_or_default();
            let named = |e: Error| e.at(&format!("tensor '{}'", name.escape_debug()));
            let array = Array::read(tensor, folder).map_err(named)?;
            let key = id(&mut self.names, &name);
            if name.is_empty() || self.constants.insert(key, array).is_some() {
                let got = if name.is_empty() { "none" } else { "one that another initializer has" };
                return Err(named(Error::invalid("name", got, "a name of its own")));
            }
        }
        // Which tensors there are already, and by what.
        let mut made = vec![Some(Maker::Initializer); self.names.len()];
        for (i, input) in graph.input.into_iter().enumerate() {
            let input: ValueInfoProto = decoded("input", i, input)?;
            let name = input.name.clone().unwrap_or_default();
            let key = id(&mut self.names, &name);
            made.resize(self.names.len(), None);
            // An input with an initializer is that one's default: a weight, in files of before IR version 4.
            if self.constants.contains_key(&key) {
                continue;
            }
            let named = |e: Error| e.at(&format!("input '{}'", name.escape_debug()));
            let declared = declared(key, &input).map_err(named)?;
            if name.is_empty() || made[key].replace(Maker::Input).is_some() {
                return Err(named(Error::invalid("name", "none, or one twice", "a name of its own")));
            }
            self.inputs.push(declared);
        }
        let mut nodes: Vec<Node> = Vec::with_capacity(graph.node.len());
        for (i, node) in graph.node.into_iter().enumerate() {
            let node: NodeProto = decoded("node", i, node)?;
            let op = node.op_type.unwrap_or_default();
            let given = node.name.filter(|name| !name.is_empty());
            let first = || node.output.iter().find(|name| !name.is_empty()).cloned();
            let name = given.or_else(first).unwrap_or_else(|| format!("{op} {i}"));
            let mut ids = |all: &[String]| -> Vec<Option<TensorId>> {
                all.iter().map(|name| (!name.is_empty()).then(|| id(&mut self.names, name))).collect()
            };
            let (inputs, outputs) = (ids(&node.input), ids(&node.output));
            made.resize(self.names.len(), None);
            for &output in outputs.iter().flatten() {
                if let Some(other) = made[output].replace(Maker::Node(i)) {
                    let other = match other {
                        Maker::Input => "an input".to_string(),
                        Maker::Initializer => "an initializer".to_string(),
                        Maker::Node(j) if j == i => "it".to_string(),
                        Maker::Node(j) => format!("node '{}'", nodes[j].name.escape_debug()),
                    };
                    let got = format!("'{}', which {other} gives too", self.names[output].escape_debug());
                    return Err(Error::invalid("output", got, "a name of its own").at(&format!("node '{}'", name.escape_debug())));
                }
            }
            let (attributes, fault) = match Attributes::read(node.attribute, folder) {
                Ok(attributes) => (attributes, None),
                Err(e) => (Attributes::default(), Some(Box::new(e))),
            };
            let domain = domain(node.domain.unwrap_or_default());
            nodes.push(Node { name, op, domain, inputs, outputs, attributes, fault });
        }
        for (i, output) in graph.output.into_iter().enumerate() {
            let output: ValueInfoProto = decoded("output", i, output)?;
            let name = output.name.unwrap_or_default();
            let key = id(&mut self.names, &name);
            if made.get(key).is_none_or(Option::is_none) {
                let got = format!("'{}'", name.escape_debug());
                return Err(Error::invalid("graph's output", got, "a tensor that a node or an input gives"));
            }
            self.outputs.push(key);
        }
        if self.outputs.is_empty() {
            return Err(Error::invalid("graph's outputs", "none", "at least one"));
        }
        for node in &nodes {
            if let Some(&id) = node.inputs.iter().flatten().find(|id| made[**id].is_none()) {
                let got = format!("'{}', which nothing gives", self.names[id].escape_debug());
                let place = format!("node '{}'", node.name.escape_debug());
                return Err(Error::invalid("input", got, "a tensor of the graph").at(&place));
            }
        }
        self.nodes = in_order(nodes, &made)?;
        Ok(())
    }

    /// Version of the ops of a domain.
    pub fn opset(&self, domain: &str) -> i64 {
        self.opsets.get(domain).copied().unwrap_or_default()
    }
}

/// ONNX's own domain has two names.
fn domain(name: String) -> String {
    if name == "ai.onnx" { String::new() } else { name }
}

fn declared(tensor: TensorId, info: &ValueInfoProto) -> Result<Declared> {
    let ty = info.r#type.as_ref().and_then(|ty| ty.value.as_ref());
    let Some(type_proto::Value::TensorType(ty)) = ty else {
        return Err(Error::invalid("type", if ty.is_some() { "not a tensor" } else { "none" }, "a tensor"));
    };
    let element = Element::of(ty.elem_type.unwrap_or_default())?;
    let dims = match &ty.shape {
        None => None,
        Some(shape) => Some(shape.dim.iter().map(|d| dimension(d.value.as_ref())).collect::<Result<Vec<_>>>()?),
    };
    Ok(Declared { tensor, element, dims })
}

fn dimension(value: Option<&dimension::Value>) -> Result<Dimension> {
    Ok(match value {
        Some(dimension::Value::DimValue(d)) if *d > 0 => Dimension::Known(dimensions(&[*d])?[0]),
        // Some programs write 0 or -1 for a dimension that isn't known.
        Some(dimension::Value::DimValue(d)) if *d >= -1 => Dimension::Any,
        Some(dimension::Value::DimValue(d)) => return Err(Error::invalid("dimension", d, "a number from 0 on")),
        Some(dimension::Value::DimParam(name)) if !name.is_empty() => Dimension::Named(name.clone()),
        _ => Dimension::Any,
    })
}

/// Nodes so that each comes after those that it reads; as they are if they are so already.
fn in_order(mut nodes: Vec<Node>, made: &[Option<Maker>]) -> Result<Vec<Node>> {
    let mut readers = vec![Vec::new(); nodes.len()];
    let mut waits_for = vec![0usize; nodes.len()];
    for (i, node) in nodes.iter().enumerate() {
        for &id in node.inputs.iter().flatten() {
            if let Some(Maker::Node(before)) = made[id] {
                readers[before].push(i);
                waits_for[i] += 1;
            }
        }
    }
    // The least first: an order that a file has stays.
    let mut ready: std::collections::BinaryHeap<_> =
        (0..nodes.len()).filter(|&i| waits_for[i] == 0).map(std::cmp::Reverse).collect();
    let (mut place, mut next) = (vec![0; nodes.len()], 0);
    while let Some(std::cmp::Reverse(i)) = ready.pop() {
        place[i] = next;
        next += 1;
        for &reader in &readers[i] {
            waits_for[reader] -= 1;
            if waits_for[reader] == 0 {
                ready.push(std::cmp::Reverse(reader));
            }
        }
    }
    if let Some(i) = waits_for.iter().position(|&n| n > 0) {
        let at = format!("node '{}'", nodes[i].name.escape_debug());
        return Err(Error::invalid("inputs", "its own output, over other nodes", "a graph without cycles").at(&at));
    }
    for i in 0..nodes.len() {
        while place[i] != i {
            let to = place[i];
            nodes.swap(i, to);
            place.swap(i, to);
        }
    }
    Ok(nodes)
}
