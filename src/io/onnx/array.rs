//! Tensors of ONNX files: their values stay in the file's bytes, or on the disk, until they are asked for.

use super::element::Element;
use super::proto::TensorProto;
use super::proto::tensor_proto::DataLocation;
use crate::error::{Error, Result};
use half::{bf16, f16};
use prost::Message;
use prost::bytes::Bytes;
use prost::encoding::decode_varint;
use std::fmt;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

/// A tensor as ONNX has them: a type of elements, dimensions (none for a scalar, and 0 is allowed), row-major values.
#[derive(Clone)]
pub struct Array {
    element: Element,
    dims: Vec<usize>,
    values: Values,
}

#[derive(Clone)]
enum Values {
    Reals(Arc<Vec<f32>>),
    /// Unsigned ones of 64 bits by their bits.
    Integers(Arc<Vec<i64>>),
    /// Little-endian.
    Bytes(Bytes),
    /// Little-endian, in another file from `start` on.
    External {
        path: Arc<PathBuf>,
        start: u64,
    },
    /// Numbers of Protocol Buffers, of whatever length each.
    Varints(Bytes),
}

impl fmt::Debug for Array {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{:?}", self.element, self.dims)
    }
}

/// Most elements of a tensor, more than any file or memory has: sums of a few such numbers can't overflow.
const MOST: usize = if usize::BITS > 32 { 1 << 46 } else { 1 << 28 };

/// Most dimensions of a tensor.
pub(super) const MOST_AXES: usize = 64;

fn few(n: usize) -> Result<()> {
    if n <= MOST_AXES { Ok(()) } else { Err(Error::invalid("dimensions", n, format!("at most {MOST_AXES}"))) }
}

/// Number of elements of a tensor, unless that is too large for one.
pub(super) fn elements(dims: &[usize]) -> Result<usize> {
    few(dims.len())?;
    // Dimensions beside a 0 count, too: so each product of some of them is as small.
    let product = dims.iter().filter(|&&d| d > 0).try_fold(1usize, |n, &d| n.checked_mul(d).filter(|&n| n <= MOST));
    let product = product.ok_or_else(|| Error::invalid("dimensions", format!("{dims:?}"), format!("at most {MOST} elements")))?;
    Ok(if dims.contains(&0) { 0 } else { product })
}

/// Bytes that a tensor takes in a file.
fn bytes_of(element: Element, dims: &[usize]) -> Result<usize> {
    let bits = elements(dims)?.checked_mul(element.bits());
    let bits = bits.ok_or_else(|| Error::invalid("dimensions", format!("{dims:?}"), "fewer elements than memory has"))?;
    Ok(bits.div_ceil(8))
}

/// Dimensions as a file has them.
pub(super) fn dimensions(dims: &[i64]) -> Result<Vec<usize>> {
    few(dims.len())?;
    dims.iter()
        .map(|&d| usize::try_from(d).map_err(|_| Error::invalid("dimensions", format!("{dims:?}"), "numbers from 0 on")))
        .collect()
}

impl Array {
    /// A tensor of floats.
    ///
    /// # Errors
    /// [`Error::Invalid`] unless there are as many values as the dimensions say.
    pub fn floats(dims: impl Into<Vec<usize>>, values: Vec<f32>) -> Result<Array> {
        Array::reals(Element::Float, dims, values)
    }

    /// A tensor of 64-bit integers.
    ///
    /// # Errors
    /// [`Error::Invalid`] unless there are as many values as the dimensions say.
    pub fn int64s(dims: impl Into<Vec<usize>>, values: Vec<i64>) -> Result<Array> {
        Array::integers(Element::Int64, dims, values)
    }

    /// A tensor of zeros.
    ///
    /// # Errors
    /// [`Error::Invalid`] for more elements than memory has.
    pub fn zeros(element: Element, dims: impl Into<Vec<usize>>) -> Result<Array> {
        let dims = dims.into();
        let bytes = bytes_of(element, &dims)?;
        Ok(Array { element, dims, values: Values::Bytes(vec![0; bytes].into()) })
    }

    /// Floats of any type.
    pub(super) fn reals(element: Element, dims: impl Into<Vec<usize>>, values: Vec<f32>) -> Result<Array> {
        Array::new(element, dims.into(), values.len(), Values::Reals(Arc::new(values)))
    }

    /// Integers or booleans of any type, which the values must fit.
    pub(super) fn integers(element: Element, dims: impl Into<Vec<usize>>, values: Vec<i64>) -> Result<Array> {
        Array::new(element, dims.into(), values.len(), Values::Integers(Arc::new(values)))
    }

    fn new(element: Element, dims: Vec<usize>, len: usize, values: Values) -> Result<Array> {
        let want = elements(&dims)?;
        if len != want {
            return Err(Error::invalid("tensor data", format!("{len} elements"), format!("{want}, for dimensions {dims:?}")));
        }
        Ok(Array { element, dims, values })
    }

    /// A tensor in a file of its own, as those with ONNX's tests.
    ///
    /// # Errors
    /// [`Error::Invalid`] for what isn't such a file, for values that are missing or of a type that isn't numbers.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Array> {
        let proto = TensorProto::decode(Bytes::from(bytes)).map_err(|e| Error::invalid("tensor", e, "one of ONNX's"))?;
        Array::read(proto, None)
    }

    /// What a file has. `folder` is where external data may lie. Values are checked to be there, but not looked at.
    pub(super) fn read(proto: TensorProto, folder: Option<&Path>) -> Result<Array> {
        let element = Element::of(proto.data_type.unwrap_or_default())?;
        let dims = dimensions(&proto.dims)?;
        let len = elements(&dims)?;
        if proto.segment.is_some() {
            return Err(Error::invalid("tensor data", "a segment of a tensor", "a whole tensor"));
        }
        let bytes = bytes_of(element, &dims)?;
        let strings = (!proto.string_data.is_empty()).then(Bytes::new);
        let fields = [
            ("float_data", proto.float_data.as_ref()),
            ("int32_data", proto.int32_data.as_ref()),
            ("int64_data", proto.int64_data.as_ref()),
            ("double_data", proto.double_data.as_ref()),
            ("uint64_data", proto.uint64_data.as_ref()),
            ("string_data", strings.as_ref()),
            ("raw_data", proto.raw_data.as_ref()),
        ];
        // An empty field of numbers is none.
        let is_used = |name: &str, data: &Bytes| name == "string_data" || !data.is_empty();
        let used: Vec<(&str, &Bytes)> =
            fields.iter().filter_map(|(name, data)| data.filter(|data| is_used(name, data)).map(|data| (*name, data))).collect();
        if used.len() > 1 {
            let names: Vec<&str> = used.iter().map(|(name, _)| *name).collect();
            return Err(Error::invalid("tensor data", format!("values in {}", names.join(" and ")), "values in one field"));
        }
        if proto.data_location == Some(DataLocation::External as i32) {
            if let Some((name, _)) = used.first() {
                return Err(Error::invalid(
                    "tensor data",
                    format!("values in {name} and in another file"),
                    "values in one place",
                ));
            }
            return Array::external(&proto, element, dims, bytes, folder);
        }
        let field = match element {
            Element::Float => "float_data",
            Element::Double => "double_data",
            Element::Int64 => "int64_data",
            Element::UInt32 | Element::UInt64 => "uint64_data",
            _ => "int32_data",
        };
        let Some(&(name, data)) = used.first() else {
            if len == 0 {
                return Array::new(element, dims, 0, Values::Bytes(Bytes::new()));
            }
            return Err(Error::invalid("tensor data", "none", format!("{len} elements, for dimensions {dims:?}")));
        };
        if name == "raw_data" {
            if data.len() != bytes {
                let want = format!("{bytes}, for {element} {dims:?}");
                return Err(Error::invalid("tensor data", format!("{} bytes of raw_data", data.len()), want));
            }
            return Ok(Array { element, dims, values: Values::Bytes(data.clone()) });
        }
        if name != field {
            return Err(Error::invalid("tensor data", format!("{element} values in {name}"), format!("{field} or raw_data")));
        }
        // Numbers of fixed length lie there as in raw_data.
        let fixed = matches!(element, Element::Float | Element::Double);
        let n = if fixed { data.len() / (element.bits() / 8) } else { count_varints(data)? };
        // Narrow integers share the elements of int32_data, as they share bytes.
        if n != if element.bits() < 8 { bytes } else { len } || (fixed && data.len() != bytes) {
            let want = format!("those of {len} elements, for dimensions {dims:?}");
            return Err(Error::invalid("tensor data", format!("{n} numbers in {name}, of {} bytes", data.len()), want));
        }
        let values = if fixed { Values::Bytes(data.clone()) } else { Values::Varints(data.clone()) };
        Ok(Array { element, dims, values })
    }

    fn external(proto: &TensorProto, element: Element, dims: Vec<usize>, bytes: usize, folder: Option<&Path>) -> Result<Array> {
        let entry =
            |key: &str| proto.external_data.iter().find(|e| e.key.as_deref() == Some(key)).and_then(|e| e.value.as_deref());
        let number = |key: &str| match entry(key) {
            None => Ok(None),
            Some(text) => text.parse::<u64>().map(Some).map_err(|_| {
                Error::invalid(format!("external data's {key}"), format!("'{}'", text.escape_debug()), "a whole number from 0 on")
            }),
        };
        let location = entry("location").ok_or_else(|| Error::invalid("external data", "no location", "the name of a file"))?;
        let (start, length) = (number("offset")?.unwrap_or(0), number("length")?);
        if let Some(length) = length.filter(|&length| length != bytes as u64) {
            let want = format!("{bytes}, for {element} {dims:?}");
            return Err(Error::invalid("external data's length", length, want));
        }
        let Some(folder) = folder else {
            let want = "a model read from a file, beside which the data lies";
            return Err(Error::invalid("external data", format!("'{}'", location.escape_debug()), want));
        };
        let name = Path::new(location);
        let is_below = name.components().all(|c| matches!(c, Component::Normal(_) | Component::CurDir));
        let outside = || {
            let got = format!("'{}'", location.escape_debug());
            Error::invalid("external data's location", got, "a file in the model's folder")
        };
        if !is_below || location.is_empty() || location.contains('\\') {
            return Err(outside());
        }
        let unreadable = |path: &Path, e: &dyn fmt::Display| {
            Error::invalid("external data", format!("{}: {e}", path.display()), "a file that can be read")
        };
        let path = folder.join(name);
        // A link may lead anywhere: where it leads to counts.
        let real = path.canonicalize().map_err(|e| unreadable(&path, &e))?;
        if !real.starts_with(folder.canonicalize().map_err(|e| unreadable(folder, &e))?) {
            return Err(outside());
        }
        let meta = real.metadata().map_err(|e| unreadable(&path, &e))?;
        if !meta.is_file() {
            return Err(unreadable(&path, &"not a file"));
        }
        if start.checked_add(bytes as u64).is_none_or(|end| end > meta.len()) {
            let got = format!("{bytes} bytes from {start} on");
            return Err(Error::invalid("external data", got, format!("a part of the {} bytes of {location}", meta.len())));
        }
        Ok(Array { element, dims, values: Values::External { path: Arc::new(real), start } })
    }

    /// What the elements are.
    pub fn element(&self) -> Element {
        self.element
    }

    /// The dimensions.
    pub fn dims(&self) -> &[usize] {
        &self.dims
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.dims.iter().product()
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The same values with other dimensions.
    pub(super) fn reshaped(&self, dims: Vec<usize>) -> Result<Array> {
        if elements(&dims)? != self.len() {
            return Err(Error::invalid("dimensions", format!("{dims:?}"), format!("{} elements", self.len())));
        }
        Ok(Array { dims, ..self.clone() })
    }

    /// The values as floats: wider ones rounded, integers as the nearest float, booleans as 0 and 1.
    ///
    /// # Errors
    /// [`Error::File`] if external data can't be read any more.
    pub fn to_floats(&self) -> Result<Vec<f32>> {
        if let Values::Reals(values) = &self.values {
            return Ok(values.to_vec());
        }
        if !self.element.is_float() {
            let unsigned = self.element == Element::UInt64;
            return Ok(self.to_integers()?.into_iter().map(|v| if unsigned { v as u64 as f32 } else { v as f32 }).collect());
        }
        if let Values::Varints(data) = &self.values {
            let bits = varints(data).map(|v| v as u16);
            return Ok(match self.element {
                Element::BFloat16 => bits.map(|bits| bf16::from_bits(bits).to_f32()).collect(),
                _ => bits.map(|bits| f16::from_bits(bits).to_f32()).collect(),
            });
        }
        let bytes = self.bytes()?;
        Ok(match self.element {
            Element::Float => of_bytes(&bytes, f32::from_le_bytes),
            Element::Double => of_bytes(&bytes, |b| f64::from_le_bytes(b) as f32),
            Element::BFloat16 => of_bytes(&bytes, |b| bf16::from_le_bytes(b).to_f32()),
            _ => of_bytes(&bytes, |b| f16::from_le_bytes(b).to_f32()),
        })
    }

    /// The values of integers and booleans; unsigned ones of 64 bits by their bits.
    ///
    /// # Errors
    /// [`Error::Invalid`] for floats, [`Error::File`] if external data can't be read any more.
    pub fn to_integers(&self) -> Result<Vec<i64>> {
        match &self.values {
            Values::Integers(values) => return Ok(values.to_vec()),
            _ if self.element.is_float() => return Err(Error::invalid("element type", self.element, "an integer or bool")),
            Values::Varints(data) => {
                return Ok(match self.element {
                    Element::Int64 | Element::UInt64 => varints(data).map(|v| v as i64).collect(),
                    Element::UInt32 => varints(data).map(|v| i64::from(v as u32)).collect(),
                    narrow if narrow.bits() < 8 => {
                        let bytes: Vec<u8> = varints(data).map(|v| v as u8).collect();
                        narrow_integers(&bytes, narrow, self.len())
                    }
                    _ => varints(data).map(|v| i64::from(v as i32)).collect(),
                });
            }
            _ => {}
        }
        let bytes = self.bytes()?;
        Ok(match self.element {
            narrow if narrow.bits() < 8 => narrow_integers(&bytes, narrow, self.len()),
            Element::Int8 => of_bytes(&bytes, |b| i64::from(i8::from_le_bytes(b))),
            Element::Int16 => of_bytes(&bytes, |b| i64::from(i16::from_le_bytes(b))),
            Element::Int32 => of_bytes(&bytes, |b| i64::from(i32::from_le_bytes(b))),
            Element::UInt16 => of_bytes(&bytes, |b| i64::from(u16::from_le_bytes(b))),
            Element::UInt32 => of_bytes(&bytes, |b| i64::from(u32::from_le_bytes(b))),
            Element::Int64 | Element::UInt64 => of_bytes(&bytes, i64::from_le_bytes),
            Element::Bool => of_bytes(&bytes, |[b]: [u8; 1]| i64::from(b != 0)),
            _ => of_bytes(&bytes, |[b]: [u8; 1]| i64::from(b)),
        })
    }

    fn bytes(&self) -> Result<Bytes> {
        match &self.values {
            Values::External { path, start } => {
                let mut bytes = vec![0; bytes_of(self.element, &self.dims)?];
                let mut read = || {
                    let mut file = File::open(&**path)?;
                    file.seek(SeekFrom::Start(*start))?;
                    file.read_exact(&mut bytes)
                };
                read().map_err(|e| Error::file(&**path, e))?;
                Ok(bytes.into())
            }
            Values::Bytes(bytes) => Ok(bytes.clone()),
            _ => Ok(Bytes::new()),
        }
    }
}

/// How many varints there are one behind the other.
fn count_varints(mut data: &[u8]) -> Result<usize> {
    let mut n = 0;
    while !data.is_empty() {
        decode_varint(&mut data).map_err(|e| Error::invalid("tensor data", e, "whole varints"))?;
        n += 1;
    }
    Ok(n)
}

/// Varints that were counted before.
fn varints(mut data: &[u8]) -> impl Iterator<Item = u64> {
    std::iter::from_fn(move || decode_varint(&mut data).ok())
}

/// The numbers of `N` bytes each that follow each other in `bytes`.
fn of_bytes<T, const N: usize>(bytes: &[u8], number: impl Fn([u8; N]) -> T) -> Vec<T> {
    bytes.as_chunks::<N>().0.iter().map(|&b| number(b)).collect()
}

/// Integers of which several share a byte, the first in its lowest bits.
fn narrow_integers(bytes: &[u8], element: Element, len: usize) -> Vec<i64> {
    let bits = element.bits();
    let number = |i: usize| {
        let at = i * bits;
        let above = 8 - bits;
        let top = bytes[at / 8] >> (at % 8) << above;
        if element.is_signed() { i64::from(top as i8 >> above) } else { i64::from(top >> above) }
    };
    (0..len).map(number).collect()
}
