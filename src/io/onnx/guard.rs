//! How much memory a file of ONNX takes while it is read, found out before: a few bytes of a message can stand for structures of some hundred.

use super::import::{READ, Read};
use super::proto;
use crate::error::{Error, Result};
use prost::encoding::{WireType, decode_key, decode_varint};

/// What a file may take beside twice its length.
const SLACK: u64 = 16 << 20;

/// Messages in messages, as many as `prost` allows.
const DEEPEST: usize = 100;

/// A kind of message: which fields are messages in turn, names of tensors, packed numbers, and slices of the file.
struct Kind {
    /// Of the message once it is decoded.
    bytes: usize,
    /// Of what is made of it and kept.
    kept: usize,
    messages: &'static [(u32, &'static Kind)],
    names: &'static [u32],
    packed: &'static [u32],
    slices: &'static [u32],
    /// Whether each message in it is decoded alone, and other fields aren't.
    whole: bool,
}

const fn kind<T>(messages: &'static [(u32, &'static Kind)]) -> Kind {
    Kind { bytes: size_of::<T>(), kept: 0, messages, names: &[], packed: &[], slices: &[], whole: false }
}

static ENTRY: Kind = kind::<proto::StringStringEntryProto>(&[]);
static OPSET: Kind = Kind { kept: READ.opset, ..kind::<proto::OperatorSetIdProto>(&[]) };
static SEGMENT: Kind = kind::<proto::tensor_proto::Segment>(&[]);
static TENSOR: Kind = Kind {
    kept: READ.tensor,
    names: &[8],
    packed: &[1],
    slices: &[4, 5, 6, 7, 9, 10, 11],
    ..kind::<proto::TensorProto>(&[(3, &SEGMENT), (13, &ENTRY), (16, &ENTRY)])
};
static SPARSE: Kind = Kind { packed: &[3], ..kind::<proto::SparseTensorProto>(&[(1, &TENSOR), (2, &TENSOR)]) };
static DIMENSION: Kind = Kind { kept: READ.dimension, ..kind::<proto::tensor_shape_proto::Dimension>(&[]) };
static SHAPE: Kind = kind::<proto::TensorShapeProto>(&[(1, &DIMENSION)]);
static TENSOR_TYPE: Kind = kind::<proto::type_proto::Tensor>(&[(2, &SHAPE)]);
static SEQUENCE: Kind = kind::<proto::type_proto::Sequence>(&[(1, &TYPE)]);
static MAP: Kind = kind::<proto::type_proto::Map>(&[(2, &TYPE)]);
static OPTIONAL: Kind = kind::<proto::type_proto::Optional>(&[(1, &TYPE)]);
static SPARSE_TYPE: Kind = kind::<proto::type_proto::SparseTensor>(&[(2, &SHAPE)]);
static TYPE: Kind = kind::<proto::TypeProto>(&[(1, &TENSOR_TYPE), (4, &SEQUENCE), (5, &MAP), (9, &OPTIONAL), (8, &SPARSE_TYPE)]);
static VALUE_INFO: Kind = Kind { kept: READ.input, names: &[1], ..kind::<proto::ValueInfoProto>(&[(2, &TYPE), (4, &ENTRY)]) };
static ATTRIBUTE: Kind = Kind {
    kept: READ.attribute,
    packed: &[7, 8],
    slices: &[4, 9],
    ..kind::<proto::AttributeProto>(&[
        (5, &TENSOR),
        (6, &GRAPH),
        (10, &TENSOR),
        (11, &GRAPH),
        (14, &TYPE),
        (15, &TYPE),
        (22, &SPARSE),
        (23, &SPARSE),
    ])
};
static NODE: Kind =
    Kind { kept: READ.node, names: &[1, 2], ..kind::<proto::NodeProto>(&[(5, &ATTRIBUTE), (9, &ENTRY), (10, &DEVICES)]) };
static DEVICES: Kind = kind::<proto::NodeDeviceConfigurationProto>(&[(2, &SHARDING)]);
static SHARDING: Kind = Kind { packed: &[2], ..kind::<proto::ShardingSpecProto>(&[(3, &INT_MAP), (4, &SHARDED)]) };
static INT_MAP: Kind = Kind { packed: &[2], ..kind::<proto::IntIntListEntryProto>(&[]) };
static SHARDED: Kind = kind::<proto::ShardedDimProto>(&[(2, &SIMPLE_SHARDED)]);
static SIMPLE_SHARDED: Kind = kind::<proto::SimpleShardedDimProto>(&[]);
static ANNOTATION: Kind = kind::<proto::TensorAnnotation>(&[(2, &ENTRY)]);
static GRAPH: Kind = kind::<proto::GraphProto>(&[
    (1, &NODE),
    (5, &TENSOR),
    (11, &VALUE_INFO),
    (12, &VALUE_INFO),
    (13, &VALUE_INFO),
    (14, &ANNOTATION),
    (15, &SPARSE),
    (16, &ENTRY),
]);
/// The graph of a model, whose parts stay slices until each is looked at.
static WHOLE: Kind = Kind { whole: true, ..kind::<Read>(&[(1, &NODE), (5, &TENSOR), (11, &VALUE_INFO), (12, &VALUE_INFO)]) };
static METADATA: Kind = Kind { kept: READ.metadata, ..kind::<proto::StringStringEntryProto>(&[]) };
static MODEL: Kind = Kind { whole: true, names: &[2, 3], ..kind::<Read>(&[(7, &WHOLE), (8, &OPSET), (14, &METADATA)]) };

/// Fails for a file that isn't one of protobuf's, and for one that would take more than its length and 16 MiB beside its own bytes.
pub(super) fn check(file: &[u8]) -> Result<()> {
    Budget { allowed: file.len() as u64 + SLACK, kept: 0, passing: 0 }.message(file, &MODEL, 0)
}

fn broken(what: impl ToString) -> Error {
    Error::invalid("ONNX file", what, "whole messages of protobuf")
}

struct Budget {
    allowed: u64,
    /// Bytes for as long as the network is.
    kept: u64,
    /// Bytes of the part of the graph that is being decoded.
    passing: u64,
}

impl Budget {
    fn take(&mut self, bytes: u64, kept: u64) -> Result<()> {
        self.passing = self.passing.saturating_add(bytes);
        self.kept = self.kept.saturating_add(kept);
        if self.passing.saturating_add(self.kept) <= self.allowed {
            return Ok(());
        }
        let want =
            format!("parts that take at most {} bytes beside the file's own; tensors take least in raw_data", self.allowed);
        Err(Error::invalid("ONNX file", "more small parts than that", want))
    }

    fn message(&mut self, mut bytes: &[u8], kind: &Kind, depth: usize) -> Result<()> {
        if depth > DEEPEST {
            return Err(Error::invalid("ONNX file", format!("messages in messages, over {DEEPEST} deep"), "a flatter one"));
        }
        // Fields of which there is one by now: a vector begins with room for four, then doubles as it grows.
        let mut seen = 0u32;
        while !bytes.is_empty() {
            let (field, wire) = decode_key(&mut bytes).map_err(broken)?;
            let is_first = field >= 32 || seen & (1 << field) == 0;
            seen |= 1u32.checked_shl(field).unwrap_or(0);
            let room = if is_first { 4 } else { 2 };
            match wire {
                WireType::Varint => {
                    decode_varint(&mut bytes).map_err(broken)?;
                    self.take(room * 8, 16)?;
                }
                WireType::ThirtyTwoBit | WireType::SixtyFourBit => {
                    let n = if wire == WireType::ThirtyTwoBit { 4 } else { 8 };
                    bytes = bytes.get(n..).ok_or_else(|| broken("a number that is cut off"))?;
                    self.take(room * n as u64, 16)?;
                }
                WireType::LengthDelimited => {
                    let len = decode_varint(&mut bytes).map_err(broken)?;
                    let len = usize::try_from(len).ok().filter(|&n| n <= bytes.len());
                    let Some(len) = len else {
                        return Err(broken(format!("a part that goes on after the end of what it is in ({})", bytes.len())));
                    };
                    let (part, rest) = bytes.split_at(len);
                    bytes = rest;
                    let (is, len) = (|fields: &[u32]| fields.contains(&field), len as u64);
                    if let Some((_, inner)) = kind.messages.iter().find(|(f, _)| *f == field) {
                        if kind.whole {
                            self.passing = 0;
                        }
                        self.take(room * inner.bytes as u64, inner.kept as u64)?;
                        self.message(part, inner, depth + 1)?;
                    } else if is(kind.packed) {
                        self.take(16 * len + 64, 8 * len)?;
                    } else if is(kind.names) {
                        self.take(room * 24 + len, READ.name as u64 + len)?;
                    } else if is(kind.slices) {
                        self.take(room * 32 + 32, 0)?;
                    } else if !kind.whole {
                        self.take(room * 24 + len, len)?;
                    }
                }
                WireType::StartGroup | WireType::EndGroup => return Err(broken("a group, which ONNX doesn't have")),
            }
        }
        Ok(())
    }
}
