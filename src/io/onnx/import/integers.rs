//! Integers and booleans, which are 32-bit words on a device: signed ones in two's complement, narrower ones widened.

use super::super::array::Array;
use super::super::element::Element;
use super::lower::{Lower, OnDevice, permuted};
use super::rules::meet;
use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::op::Value;
use crate::ops::binary::{Binary, Pow};
use crate::ops::cast::Cast;
use crate::ops::constant::{Constant, MAX_CONSTANT};
use crate::ops::words::{Integer, IntegerBinary, IntegerFunction};
use crate::tensor::Tensor;

/// What a word of an element type is.
pub(super) fn integer(element: Element) -> Integer {
    let bits = if element == Element::Bool { 1 } else { element.bits().min(32) as u32 };
    Integer { signed: element.is_signed(), bits }
}

/// As words.
///
/// # Errors
/// [`Error::Invalid`] for a number of 64 bits that doesn't fit into 32.
pub(super) fn words(element: Element, values: &[i64]) -> Result<Vec<u32>> {
    let word = |&v: &i64| {
        let word = if element.is_signed() { i32::try_from(v).map(|v| v as u32).ok() } else { u32::try_from(v).ok() };
        word.ok_or_else(|| Error::invalid("integer", v, "one of 32 bits: wider ones aren't on a device"))
    };
    values.iter().map(word).collect()
}

/// The number that a word is.
pub(super) fn of_word(element: Element, word: u32) -> i64 {
    if element.is_signed() { i64::from(word as i32) } else { i64::from(word) }
}

/// A constant on the device, with its axes in another order.
pub(super) fn constant(graph: &mut Graph, array: &Array, order: &[usize], shape: Vec<usize>) -> Result<Value> {
    if array.len() > MAX_CONSTANT {
        let want = format!("at most {MAX_CONSTANT} on a device");
        return Err(Error::invalid("constant integers", array.len(), want));
    }
    let words = words(array.element(), &permuted(&array.to_integers()?, array.dims(), order))?;
    graph.node(Constant::new(Tensor::u32(shape, words)?), &[])
}

/// Of the name of the op on floats.
fn function(name: &str) -> Result<IntegerFunction> {
    Ok(match name {
        "add" => IntegerFunction::Add,
        "sub" => IntegerFunction::Sub,
        "mul" => IntegerFunction::Mul,
        "div" => IntegerFunction::Div,
        "min" => IntegerFunction::Min,
        "max" => IntegerFunction::Max,
        "pow" => IntegerFunction::Power,
        other => return Err(Error::invalid("element type", "integers", format!("floats for {other}"))),
    })
}

/// Inputs, one after the other, by a function of two.
pub(super) fn over_all(l: &mut Lower<'_, '_>, name: &str, inputs: &[usize]) -> Result<()> {
    let (function, element) = (function(name)?, l.element(inputs[0])?);
    let (values, dims, layout) = meet(l, inputs)?;
    let mut y = values[0];
    for &value in &values[1..] {
        y = l.add(IntegerBinary { function, integer: integer(element) }, &[y, value])?;
    }
    l.put(0, y, element, dims, layout);
    Ok(())
}

/// `-x`, or `|x|`.
pub(super) fn negative(l: &mut Lower<'_, '_>, absolute: bool) -> Result<()> {
    let OnDevice { value, element, dims, layout, .. } = l.on_device(0)?;
    let integer = integer(element);
    let zero = l.add(Constant::new(Tensor::u32([1], vec![0])?), &[])?;
    let mut y = l.add(IntegerBinary { function: IntegerFunction::Sub, integer }, &[zero, value])?;
    if absolute {
        y = l.add(IntegerBinary { function: IntegerFunction::Max, integer }, &[value, y])?;
    }
    l.put(0, y, element, dims, layout);
    Ok(())
}

/// Words as floats.
pub(super) fn to_floats(l: &mut Lower<'_, '_>, x: Value, element: Element) -> Result<Value> {
    if element.is_float() { Ok(x) } else { l.add(Cast::FromInteger { signed: element.is_signed() }, &[x]) }
}

/// Floats as words, towards 0.
pub(super) fn of_floats(l: &mut Lower<'_, '_>, x: Value, element: Element) -> Result<Value> {
    if element.is_float() { Ok(x) } else { l.add(Cast::ToInteger(integer(element)), &[x]) }
}

/// Powers of which base or exponent is an integer.
pub(super) fn pow(l: &mut Lower<'_, '_>) -> Result<()> {
    let (base, exponent) = (l.element(0)?, l.element(1)?);
    if !base.is_float() && !exponent.is_float() {
        return over_all(l, "pow", &[0, 1]);
    }
    let (values, dims, layout) = meet(l, &[0, 1])?;
    let (a, b) = (to_floats(l, values[0], base)?, to_floats(l, values[1], exponent)?);
    let y = l.add(Binary::<Pow>::new(), &[a, b])?;
    let y = of_floats(l, y, base)?;
    l.put(0, y, base, dims, layout);
    Ok(())
}
