//! Messages of ONNX by hand, also such as no program writes: tags, numbers and parts of Protocol Buffers.

// Each test file is a crate of its own and uses a part of this one.
#![allow(dead_code)]

/// ONNX's numbers of types of elements.
pub const FLOAT: u64 = 1;
pub const INT64: u64 = 7;

/// A number of Protocol Buffers, seven bits a byte.
fn varint(mut v: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while v >= 0x80 {
        bytes.push(v as u8 | 0x80);
        v >>= 7;
    }
    bytes.push(v as u8);
    bytes
}

/// A field with a number.
pub fn number(field: u64, v: u64) -> Vec<u8> {
    [varint(field << 3), varint(v)].concat()
}

/// A field with bytes: a message, or packed numbers.
pub fn part(field: u64, bytes: &[u8]) -> Vec<u8> {
    [&varint(field << 3 | 2)[..], &varint(bytes.len() as u64), bytes].concat()
}

/// A field with a word.
pub fn text(field: u64, text: &str) -> Vec<u8> {
    part(field, text.as_bytes())
}

/// Fields, one behind the other.
pub fn join(fields: &[Vec<u8>]) -> Vec<u8> {
    fields.concat()
}

/// A file: IR version 8, a graph of these parts, opset 18.
pub fn model(graph: &[Vec<u8>]) -> Vec<u8> {
    [number(1, 8), part(7, &join(graph)), part(8, &number(2, 18))].concat()
}

/// An input of a graph (field 11) or an output (12).
pub fn value(field: u64, name: &str, element: u64, dims: &[i64]) -> Vec<u8> {
    let dims: Vec<u8> = dims.iter().flat_map(|&d| part(1, &number(1, d as u64))).collect();
    let ty = part(1, &join(&[number(1, element), part(2, &dims)]));
    part(field, &join(&[text(1, name), part(2, &ty)]))
}

/// An initializer of a graph.
pub fn tensor(name: &str, element: u64, dims: &[i64], data: &[Vec<u8>]) -> Vec<u8> {
    let dims: Vec<u8> = dims.iter().flat_map(|&d| number(1, d as u64)).collect();
    part(5, &join(&[dims, number(2, element), text(8, name), join(data)]))
}

/// A node of a graph.
pub fn node(name: &str, op: &str, inputs: &[&str], outputs: &[&str], attributes: &[Vec<u8>]) -> Vec<u8> {
    let names = |field: u64, names: &[&str]| names.iter().flat_map(|name| text(field, name)).collect::<Vec<u8>>();
    part(1, &join(&[names(1, inputs), names(2, outputs), text(3, name), text(4, op), join(attributes)]))
}

/// An attribute of a node.
pub fn attribute(name: &str, fields: &[Vec<u8>]) -> Vec<u8> {
    part(5, &join(&[text(1, name), join(fields)]))
}

/// An attribute that is an integer.
pub fn int(name: &str, v: i64) -> Vec<u8> {
    attribute(name, &[number(3, v as u64), number(20, 2)])
}

/// An attribute that is a word.
pub fn word(name: &str, v: &str) -> Vec<u8> {
    attribute(name, &[text(4, v), number(20, 3)])
}

/// An attribute that is a list of integers.
pub fn ints(name: &str, values: &[i64]) -> Vec<u8> {
    let values: Vec<u8> = values.iter().flat_map(|&v| number(8, v as u64)).collect();
    attribute(name, &[values, number(20, 7)])
}
