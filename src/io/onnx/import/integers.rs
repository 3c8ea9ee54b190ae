//! Integers and booleans, which are 32-bit words on a device: signed ones in two's complement, narrower ones widened.

use super::super::array::Array;
use super::super::element::Element;
use super::lower::Lower;
use crate::error::{Error, Result};
use crate::nn::LayerContext;
use crate::op::Value;

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

fn refused<T>(what: &str) -> Result<T> {
    Err(Error::invalid(what, "integers that are worked out at run time", "floats"))
}

/// A constant on the device.
pub(super) fn constant(_: &mut LayerContext<'_>, _: &str, _: &Array, _: &[usize], _: Vec<usize>) -> Result<Value> {
    refused("constant")
}

pub(super) fn binary(_: &mut Lower<'_, '_>, name: &str, _: &[usize; 2]) -> Result<()> {
    refused(name)
}

pub(super) fn over_all(_: &mut Lower<'_, '_>, name: &str) -> Result<()> {
    refused(name)
}

pub(super) fn pow(_: &mut Lower<'_, '_>) -> Result<()> {
    refused("pow")
}

pub(super) fn repeated(_: &mut Lower<'_, '_>, _: Value, _: &[usize]) -> Result<Value> {
    refused("repeats")
}
