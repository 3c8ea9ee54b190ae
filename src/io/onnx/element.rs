//! Types of elements of ONNX tensors.

use super::proto::tensor_proto::DataType;
use crate::error::{Error, Result};
use std::fmt;

/// What the elements of an ONNX tensor are: its numeric types. On a device floats of all widths are f32, integers and booleans
/// 32-bit words.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[allow(missing_docs)]
pub enum Element {
    Float,
    Float16,
    BFloat16,
    Double,
    Int8,
    Int16,
    Int32,
    Int64,
    UInt8,
    UInt16,
    UInt32,
    UInt64,
    Bool,
    Int4,
    Int2,
    UInt4,
    UInt2,
}

impl Element {
    /// All of them.
    const ALL: [(Element, DataType, &'static str); 17] = [
        (Element::Float, DataType::Float, "float"),
        (Element::Float16, DataType::Float16, "float16"),
        (Element::BFloat16, DataType::Bfloat16, "bfloat16"),
        (Element::Double, DataType::Double, "double"),
        (Element::Int8, DataType::Int8, "int8"),
        (Element::Int16, DataType::Int16, "int16"),
        (Element::Int32, DataType::Int32, "int32"),
        (Element::Int64, DataType::Int64, "int64"),
        (Element::UInt8, DataType::Uint8, "uint8"),
        (Element::UInt16, DataType::Uint16, "uint16"),
        (Element::UInt32, DataType::Uint32, "uint32"),
        (Element::UInt64, DataType::Uint64, "uint64"),
        (Element::Bool, DataType::Bool, "bool"),
        (Element::Int4, DataType::Int4, "int4"),
        (Element::Int2, DataType::Int2, "int2"),
        (Element::UInt4, DataType::Uint4, "uint4"),
        (Element::UInt2, DataType::Uint2, "uint2"),
    ];

    /// Of ONNX's number for it.
    pub(super) fn of(data_type: i32) -> Result<Element> {
        if let Some((element, ..)) = Element::ALL.iter().find(|(_, ty, _)| *ty as i32 == data_type) {
            return Ok(*element);
        }
        let got = DataType::try_from(data_type).map_or(format!("number {data_type}"), |ty| ty.as_str_name().to_lowercase());
        Err(Error::invalid("element type", got, "a float of 16, 32 or 64 bits, an integer of 2 to 64 bits, or bool"))
    }

    /// Bits of an element in a file; those of less than 8 share a byte.
    pub fn bits(self) -> usize {
        match self {
            Element::Int2 | Element::UInt2 => 2,
            Element::Int4 | Element::UInt4 => 4,
            Element::Int8 | Element::UInt8 | Element::Bool => 8,
            Element::Float16 | Element::BFloat16 | Element::Int16 | Element::UInt16 => 16,
            Element::Float | Element::Int32 | Element::UInt32 => 32,
            Element::Double | Element::Int64 | Element::UInt64 => 64,
        }
    }

    /// Whether it is a floating-point number.
    pub fn is_float(self) -> bool {
        matches!(self, Element::Float | Element::Float16 | Element::BFloat16 | Element::Double)
    }

    /// Whether it is an integer that can be negative.
    pub fn is_signed(self) -> bool {
        use Element::{Int2, Int4, Int8, Int16, Int32, Int64};
        matches!(self, Int2 | Int4 | Int8 | Int16 | Int32 | Int64)
    }
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Element::ALL[*self as usize].2)
    }
}
