//! Models as ONNX files, for other engines.

mod arrangement;
mod writer;

use super::proto::tensor_proto::DataType;
use super::proto::tensor_shape_proto::{Dimension, dimension};
use super::proto::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, StringStringEntryProto, TensorProto, TensorShapeProto,
    TypeProto, ValueInfoProto, attribute_proto::AttributeType, type_proto,
};
use super::{ModelCard, card};
use crate::error::{Error, Result};
use crate::file;
use crate::graph::{Graph, Origin};
use crate::nn::{Mode, Model};
use crate::op::{Attribute, Value};
use crate::tensor::{DType, Tensor};
use arrangement::{BATCHES, Len};
use prost::Message;
use std::collections::{HashMap, HashSet};
use std::path::Path;
use writer::{Constant, FileNode, Writer, lens};

/// Version of the file format: that of ONNX 1.13, which all readers of operator set 18 know.
const IR_VERSION: i64 = 8;

/// The least version of the operator set: its reductions, paddings and resizings are those that ops are described by.
const LEAST_OPSET: i64 = 18;

/// The largest message of Protocol Buffers.
const LARGEST_FILE: usize = i32::MAX as usize;

/// How a model is written as an ONNX file.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct OnnxExport {
    channels_first: bool,
    card: Option<ModelCard>,
}

impl OnnxExport {
    /// A file that takes and gives what the model does: images `[n, h, w, c]`.
    pub fn new() -> OnnxExport {
        OnnxExport::default()
    }

    /// Images channels first, as most other programs have them: inputs and outputs of 3 or more dimensions `[n, .., c]` are `[n, c, ..]` in
    /// the file, which saves it the transpose.
    pub fn channels_first(mut self) -> Self {
        self.channels_first = true;
        self
    }

    /// What the file says of the photos that the network takes and of its classes, in its metadata (`metadata_props`), so that a program that reads it needs
    /// nothing else.
    pub fn card(mut self, card: ModelCard) -> Self {
        self.card = Some(card);
        self
    }

    /// Which axis of ours the axes of an input or output are.
    fn order(&self, rank: usize) -> Vec<usize> {
        match self.channels_first && rank > 2 {
            true => [0, rank - 1].into_iter().chain(1..rank - 1).collect(),
            false => (0..rank).collect(),
        }
    }
}

impl Model {
    /// Writes the model, as it is in inference, to an ONNX file (<https://onnx.ai>), which ONNX Runtime and other engines run. The file is
    /// replaced once all is written.
    ///
    /// ```no_run
    /// # use striate::{Device, Result, Seed, io::OnnxExport, nn::Sequential};
    /// # fn main() -> Result<()> {
    /// let mut model = Sequential::new([28, 28, 1]).conv2d(8, 3).relu().flatten().dense(10).build(&Device::best()?, Seed(1))?;
    /// model.export_onnx("digits.onnx", OnnxExport::new())?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Inputs and outputs have the model's names, batches any length; the outputs are those of [`Model::predict`], for a classifier without
    /// softmax. Nodes have the names of their layers, weights those of [`Model::weights`], in the order that ONNX wants: convolutions'
    /// `[c_out, c_in / groups, k_h, k_w]`, and the rows of a dense layer that reads a flattened image channels first. It is operator set 18,
    /// or 20 if a layer needs it.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a layer whose op isn't described in ONNX's words ([`Op::interchange`](crate::op::Op::interchange)), which it
    /// names, for a card that isn't this model's, and for a file of 2 GiB or more, which ONNX can't have. [`Error::File`], [`Error::Gpu`], [`Error::DeviceLost`].
    pub fn export_onnx(&mut self, path: impl AsRef<Path>, options: OnnxExport) -> Result<()> {
        file::replace(path.as_ref(), &self.to_onnx(options)?)
    }

    /// The bytes of [`Model::export_onnx`]'s file.
    ///
    /// # Errors
    /// As there.
    pub fn to_onnx(&mut self, options: OnnxExport) -> Result<Vec<u8>> {
        pollster::block_on(self.to_onnx_async(options))
    }

    /// [`Model::to_onnx`] for programs that mustn't block.
    pub async fn to_onnx_async(&mut self, options: OnnxExport) -> Result<Vec<u8>> {
        if let Some(card) = &options.card {
            card.check_for(self).map_err(|e| e.at("model card"))?;
        }
        // Before anything is read or copied.
        let bytes: usize = self.weight_shapes().iter().map(|(_, shape)| shape.elements().saturating_mul(4)).sum();
        check_size(bytes)?;
        let weights = self.weights_async().await?.into_iter().collect();
        let file = self.onnx(weights, options)?;
        check_size(file.encoded_len())?;
        Ok(file.encode_to_vec())
    }

    fn onnx(&self, mut weights: HashMap<String, Tensor>, options: OnnxExport) -> Result<ModelProto> {
        let mut graphs = [Graph::new(), Graph::new()];
        let mut networks = Vec::with_capacity(2);
        for (graph, n) in graphs.iter_mut().zip(BATCHES) {
            let inputs = self.network.add_inputs(graph, n)?;
            let (outputs, parameters) = self.network.add_to(graph, Mode::Inference, &inputs, None)?;
            networks.push((inputs, outputs, parameters));
        }
        let graphs = graphs.each_ref();
        let (inputs, outputs, parameters) = &networks[0];
        if graphs[0].nodes().len() != graphs[1].nodes().len() || networks[0] != networks[1] {
            return Err(Error::invalid("export", "other nodes for another length of the batch", "the same for all"));
        }
        let shape_of = |v: Value| lens(graphs.map(|graph| graph.info(v).ty.shape.dims()));
        let mut writer = Writer::new(LEAST_OPSET);
        let mut input_tensors = Vec::with_capacity(inputs.len());
        for &input in inputs {
            let (shape, name) = (shape_of(input), &graphs[0].info(input).name);
            let order = options.order(shape.len());
            input_tensors.push(writer.input(input, name, shape, &order));
        }
        for (name, value) in parameters {
            let Some(values) = weights.remove(name) else {
                return Err(Error::invalid("export", format!("no values of {name}"), "those of all parameters"));
            };
            writer.parameter(*value, name, values);
        }
        let needed = needed(graphs[0], outputs);
        for (n, (node, other)) in graphs[0].nodes().iter().zip(graphs[1].nodes()).enumerate() {
            if needed[n] {
                writer.write(graphs, [node, other])?;
            }
        }
        let mut output_tensors: Vec<usize> = Vec::with_capacity(outputs.len());
        let output_names = self.network.output_names();
        for (&output, name) in outputs.iter().zip(&output_names) {
            writer.set_scope(name);
            let rank = graphs[0].info(output).ty.shape.rank();
            let tensor = writer.tensor_of(output, &options.order(rank)).map_err(|e| e.at(name))?;
            // A tensor has one name.
            let is_taken =
                input_tensors.contains(&tensor) || output_tensors.contains(&tensor) || writer.tensors[tensor].constant.is_some();
            output_tensors.push(if is_taken { writer.copy(tensor) } else { tensor });
        }
        let used: HashSet<usize> = writer.nodes.iter().flat_map(|node| &node.inputs).copied().flatten().collect();
        let dtype_of = |v: Value| graphs[0].info(v).ty.dtype;
        let names = names(&writer, &used, &input_tensors, output_tensors.iter().copied().zip(output_names));
        let port = |tensor: usize, value: Value| ValueInfoProto {
            name: Some(names[tensor].clone()),
            r#type: Some(type_of(dtype_of(value), &writer.tensors[tensor].shape)),
            ..Default::default()
        };
        let constants = writer.tensors.iter().enumerate().filter(|(i, _)| used.contains(i));
        let graph = GraphProto {
            name: Some("model".to_string()),
            node: node_protos(&writer.nodes, &names),
            input: input_tensors.iter().zip(inputs).map(|(&tensor, &value)| port(tensor, value)).collect(),
            output: output_tensors.iter().zip(outputs).map(|(&tensor, &value)| port(tensor, value)).collect(),
            initializer: constants.filter_map(|(i, t)| Some(initializer(&names[i], &t.shape, t.constant.as_ref()?))).collect(),
            ..Default::default()
        };
        let metadata_props = match &options.card {
            Some(card) => {
                vec![StringStringEntryProto { key: Some(card::KEY.to_string()), value: Some(card.to_json()?) }]
            }
            None => Vec::new(),
        };
        Ok(ModelProto {
            metadata_props,
            ir_version: Some(IR_VERSION),
            opset_import: vec![OperatorSetIdProto { domain: Some(String::new()), version: Some(writer.opset) }],
            producer_name: Some(env!("CARGO_PKG_NAME").to_string()),
            producer_version: Some(env!("CARGO_PKG_VERSION").to_string()),
            graph: Some(graph),
            ..Default::default()
        })
    }
}

fn check_size(bytes: usize) -> Result<()> {
    if bytes <= LARGEST_FILE {
        return Ok(());
    }
    Err(Error::invalid("size of the ONNX file", format!("{bytes} bytes"), format!("at most {LARGEST_FILE}")))
}

/// Which nodes the outputs depend on.
fn needed(graph: &Graph, outputs: &[Value]) -> Vec<bool> {
    let mut needed = vec![false; graph.nodes().len()];
    let made_by = |v: Value| match graph.info(v).origin {
        Origin::Node { node, .. } => Some(node),
        _ => None,
    };
    outputs.iter().filter_map(|&v| made_by(v)).for_each(|node| needed[node] = true);
    for n in (0..needed.len()).rev().filter(|&n| graph.nodes()[n].op.in_place().is_empty()) {
        if needed[n] {
            graph.nodes()[n].inputs.iter().filter_map(|&v| made_by(v)).for_each(|node| needed[node] = true);
        }
    }
    needed
}

/// A name for each tensor that is in the file, which no other has: the network's inputs, outputs and parameters have theirs.
fn names(
    writer: &Writer,
    used: &HashSet<usize>,
    inputs: &[usize],
    outputs: impl Iterator<Item = (usize, String)>,
) -> Vec<String> {
    let mut names: Vec<Option<String>> = vec![None; writer.tensors.len()];
    let mut taken = HashSet::new();
    let mut next: HashMap<String, usize> = HashMap::new();
    let mut name = |names: &mut Vec<Option<String>>, tensor: usize, wanted: &str| {
        if names[tensor].is_some() {
            return;
        }
        let next = next.entry(wanted.to_string()).or_default();
        names[tensor] = loop {
            let name = if *next == 0 { wanted.to_string() } else { format!("{wanted}_{next}") };
            *next += 1;
            if taken.insert(name.clone()) {
                break Some(name);
            }
        };
    };
    inputs.iter().for_each(|&tensor| name(&mut names, tensor, &writer.tensors[tensor].name));
    outputs.for_each(|(tensor, wanted)| name(&mut names, tensor, &wanted));
    // A constant that isn't read is another's source.
    let in_file = (0..writer.tensors.len()).filter(|tensor| used.contains(tensor) || writer.tensors[*tensor].constant.is_none());
    in_file.for_each(|tensor| name(&mut names, tensor, &writer.tensors[tensor].name));
    names.into_iter().map(Option::unwrap_or_default).collect()
}

fn node_protos(nodes: &[FileNode], names: &[String]) -> Vec<NodeProto> {
    let mut taken: HashMap<String, usize> = HashMap::new();
    let proto = |node: &FileNode| {
        let n = taken.entry(node.name.clone()).or_default();
        let name = if *n == 0 { node.name.clone() } else { format!("{}_{n}", node.name) };
        *n += 1;
        // An optional input that is left out has no name; behind the last there is none.
        let mut input: Vec<String> =
            node.inputs.iter().map(|input| input.map_or_else(String::new, |t| names[t].clone())).collect();
        input.truncate(input.iter().rposition(|name| !name.is_empty()).map_or(0, |last| last + 1));
        NodeProto {
            name: Some(name),
            op_type: Some(node.op_type.to_string()),
            input,
            output: vec![names[node.output].clone()],
            attribute: node.attributes.iter().map(|(name, value)| attribute(name, value)).collect(),
            ..Default::default()
        }
    };
    nodes.iter().map(proto).collect()
}

fn attribute(name: &str, value: &Attribute) -> AttributeProto {
    let mut proto = AttributeProto { name: Some(name.to_string()), ..Default::default() };
    let kind = match value {
        Attribute::Int(v) => {
            proto.i = Some(*v);
            AttributeType::Int
        }
        Attribute::Axis(v) => {
            proto.i = Some(*v as i64);
            AttributeType::Int
        }
        Attribute::Float(v) => {
            proto.f = Some(*v);
            AttributeType::Float
        }
        Attribute::Ints(v) => {
            proto.ints.clone_from(v);
            AttributeType::Ints
        }
        Attribute::Text(v) => {
            proto.s = Some(v.as_bytes().into());
            AttributeType::String
        }
    };
    proto.set_type(kind);
    proto
}

fn initializer(name: &str, shape: &[Len], constant: &Constant) -> TensorProto {
    let (data_type, bytes) = match constant {
        Constant::Numbers(values) => (element_type(values.dtype()), values.to_le_bytes()),
        Constant::Integers(values) => (DataType::Int64, values.iter().flat_map(|v| v.to_le_bytes()).collect()),
    };
    TensorProto {
        name: Some(name.to_string()),
        dims: shape.iter().map(|len| len[0] as i64).collect(),
        data_type: Some(data_type as i32),
        raw_data: Some(bytes.into()),
        ..Default::default()
    }
}

fn element_type(dtype: DType) -> DataType {
    match dtype {
        DType::F32 => DataType::Float,
        DType::U32 => DataType::Uint32,
        DType::U8 => DataType::Uint8,
    }
}

fn type_of(dtype: DType, shape: &[Len]) -> TypeProto {
    let dim = |&[a, b]: &Len| {
        let value = match [a, b] == BATCHES {
            true => Some(dimension::Value::DimParam("batch".to_string())),
            false => (a == b).then_some(dimension::Value::DimValue(a as i64)),
        };
        Dimension { value, ..Default::default() }
    };
    let shape = TensorShapeProto { dim: shape.iter().map(dim).collect() };
    let tensor = type_proto::Tensor { elem_type: Some(element_type(dtype) as i32), shape: Some(shape) };
    TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..Default::default() }
}
