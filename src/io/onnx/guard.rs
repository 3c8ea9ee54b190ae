//! How much memory a file of ONNX takes once it is decoded, found out before: a few bytes of a message can stand for a structure of some
//! hundred, and one byte of a packed number for eight.

use super::proto;
use crate::error::{Error, Result};
use prost::encoding::{WireType, decode_key, decode_varint};

/// What a file may take beside twice its length.
const SLACK: u64 = 16 << 20;

/// Messages in messages, as many as `prost` allows.
const DEEPEST: usize = 100;

/// What a string or a slice takes beside its bytes, in a vector that doubles as it grows.
const PART: u64 = 64;

/// A kind of message: which fields are messages in turn, and which are packed numbers of so many bytes.
struct Kind {
    bytes: usize,
    messages: &'static [(u32, &'static Kind)],
    packed: &'static [(u32, u64)],
    /// Which stay slices of the file.
    slices: &'static [u32],
}

const fn kind<T>(messages: &'static [(u32, &'static Kind)], packed: &'static [(u32, u64)]) -> Kind {
    Kind { bytes: size_of::<T>(), messages, packed, slices: &[] }
}

static ENTRY: Kind = kind::<proto::StringStringEntryProto>(&[], &[]);
static OPSET: Kind = kind::<proto::OperatorSetIdProto>(&[], &[]);
static SEGMENT: Kind = kind::<proto::tensor_proto::Segment>(&[], &[]);
static TENSOR: Kind = Kind {
    slices: &[6, 9],
    ..kind::<proto::TensorProto>(&[(3, &SEGMENT), (13, &ENTRY), (16, &ENTRY)], &[(1, 8), (5, 4), (7, 8), (11, 8)])
};
static SPARSE: Kind = kind::<proto::SparseTensorProto>(&[(1, &TENSOR), (2, &TENSOR)], &[(3, 8)]);
static DIMENSION: Kind = kind::<proto::tensor_shape_proto::Dimension>(&[], &[]);
static SHAPE: Kind = kind::<proto::TensorShapeProto>(&[(1, &DIMENSION)], &[]);
static TENSOR_TYPE: Kind = kind::<proto::type_proto::Tensor>(&[(2, &SHAPE)], &[]);
static SEQUENCE: Kind = kind::<proto::type_proto::Sequence>(&[(1, &TYPE)], &[]);
static MAP: Kind = kind::<proto::type_proto::Map>(&[(2, &TYPE)], &[]);
static OPTIONAL: Kind = kind::<proto::type_proto::Optional>(&[(1, &TYPE)], &[]);
static SPARSE_TYPE: Kind = kind::<proto::type_proto::SparseTensor>(&[(2, &SHAPE)], &[]);
static TYPE: Kind =
    kind::<proto::TypeProto>(&[(1, &TENSOR_TYPE), (4, &SEQUENCE), (5, &MAP), (9, &OPTIONAL), (8, &SPARSE_TYPE)], &[]);
static VALUE_INFO: Kind = kind::<proto::ValueInfoProto>(&[(2, &TYPE), (4, &ENTRY)], &[]);
static ATTRIBUTE: Kind = Kind {
    slices: &[4, 9],
    ..kind::<proto::AttributeProto>(
        &[(5, &TENSOR), (6, &GRAPH), (10, &TENSOR), (11, &GRAPH), (14, &TYPE), (15, &TYPE), (22, &SPARSE), (23, &SPARSE)],
        &[(8, 8)],
    )
};
static NODE: Kind = kind::<proto::NodeProto>(&[(5, &ATTRIBUTE), (9, &ENTRY), (10, &DEVICES)], &[]);
static DEVICES: Kind = kind::<proto::NodeDeviceConfigurationProto>(&[(2, &SHARDING)], &[]);
static SHARDING: Kind = kind::<proto::ShardingSpecProto>(&[(3, &INT_MAP), (4, &SHARDED)], &[(2, 8)]);
static INT_MAP: Kind = kind::<proto::IntIntListEntryProto>(&[], &[(2, 8)]);
static SHARDED: Kind = kind::<proto::ShardedDimProto>(&[(2, &SIMPLE_SHARDED)], &[]);
static SIMPLE_SHARDED: Kind = kind::<proto::SimpleShardedDimProto>(&[], &[]);
static ANNOTATION: Kind = kind::<proto::TensorAnnotation>(&[(2, &ENTRY)], &[]);
static GRAPH: Kind = kind::<proto::GraphProto>(
    &[
        (1, &NODE),
        (5, &TENSOR),
        (11, &VALUE_INFO),
        (12, &VALUE_INFO),
        (13, &VALUE_INFO),
        (14, &ANNOTATION),
        (15, &SPARSE),
        (16, &ENTRY),
    ],
    &[],
);
static TRAINING: Kind = kind::<proto::TrainingInfoProto>(&[(1, &GRAPH), (2, &GRAPH), (3, &ENTRY), (4, &ENTRY)], &[]);
static FUNCTION: Kind =
    kind::<proto::FunctionProto>(&[(7, &NODE), (9, &OPSET), (11, &ATTRIBUTE), (12, &VALUE_INFO), (14, &ENTRY)], &[]);
static CONFIGURATION: Kind = kind::<proto::DeviceConfigurationProto>(&[], &[]);
static MODEL: Kind = kind::<proto::ModelProto>(
    &[(7, &GRAPH), (8, &OPSET), (14, &ENTRY), (20, &TRAINING), (25, &FUNCTION), (26, &CONFIGURATION)],
    &[],
);

/// Fails for a file that isn't one of protobuf's, and for one that would take more than its length and 16 MiB beside its own bytes.
pub(super) fn check(file: &[u8]) -> Result<()> {
    Budget { allowed: file.len() as u64 + SLACK, taken: 0 }.message(file, &MODEL, 0)
}

fn broken(what: impl ToString) -> Error {
    Error::invalid("ONNX file", what, "whole messages of protobuf")
}

struct Budget {
    allowed: u64,
    taken: u64,
}

impl Budget {
    fn take(&mut self, bytes: u64) -> Result<()> {
        self.taken = self.taken.saturating_add(bytes);
        if self.taken <= self.allowed {
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
        // Vectors double as they grow.
        self.take(2 * kind.bytes as u64)?;
        while !bytes.is_empty() {
            let (field, wire) = decode_key(&mut bytes).map_err(broken)?;
            match wire {
                WireType::Varint => {
                    decode_varint(&mut bytes).map_err(broken)?;
                    self.take(16)?;
                }
                WireType::ThirtyTwoBit | WireType::SixtyFourBit => {
                    let n = if wire == WireType::ThirtyTwoBit { 4 } else { 8 };
                    bytes = bytes.get(n..).ok_or_else(|| broken("a number that is cut off"))?;
                    self.take(2 * n as u64)?;
                }
                WireType::LengthDelimited => {
                    let len = decode_varint(&mut bytes).map_err(broken)?;
                    let len = usize::try_from(len).ok().filter(|&n| n <= bytes.len());
                    let Some(len) = len else {
                        return Err(broken(format!("a part that goes on after the end of what it is in ({})", bytes.len())));
                    };
                    let (part, rest) = bytes.split_at(len);
                    bytes = rest;
                    if let Some((_, inner)) = kind.messages.iter().find(|(f, _)| *f == field) {
                        self.message(part, inner, depth + 1)?;
                    } else if let Some((_, size)) = kind.packed.iter().find(|(f, _)| *f == field) {
                        let numbers = part.iter().filter(|&&byte| byte < 0x80).count() as u64;
                        self.take(numbers.saturating_mul(*size))?;
                    } else {
                        let is_slice = kind.slices.contains(&field);
                        self.take(PART + if is_slice { 0 } else { len as u64 })?;
                    }
                }
                WireType::StartGroup | WireType::EndGroup => return Err(broken("a group, which ONNX doesn't have")),
            }
        }
        Ok(())
    }
}
