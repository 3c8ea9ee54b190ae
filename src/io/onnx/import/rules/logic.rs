//! Comparisons, truth values, choices, and other types.

use super::super::super::element::Element;
use super::super::integers::{integer, to_floats};
use super::super::lower::Lower;
use super::arithmetic::meet;
use super::{Rule, rule};
use crate::error::{Error, Result};
use crate::ops::cast::Cast;
use crate::ops::constant::Constant;
use crate::ops::select::select;
use crate::ops::words::{Compare, Comparison, Integer, IntegerBinary, IntegerFunction};
use crate::tensor::Tensor;

pub(super) const RULES: &[Rule] = &[
    rule("And", "and", |l| both(l, IntegerFunction::And)),
    rule("Cast", "cast", |l| {
        let to = l.attributes().int("to")?.and_then(|to| i32::try_from(to).ok()).unwrap_or_default();
        let to = Element::of(to).map_err(|e| e.at("attribute 'to'"))?;
        cast(l, to)
    }),
    rule("CastLike", "cast", |l| {
        let to = l.element(1)?;
        cast(l, to)
    }),
    rule("Equal", "equal", |l| compare(l, Comparison::Equal)),
    rule("Greater", "greater", |l| compare(l, Comparison::Greater)),
    rule("GreaterOrEqual", "greater_or_equal", |l| compare(l, Comparison::GreaterOrEqual)),
    rule("Less", "less", |l| compare(l, Comparison::Less)),
    rule("LessOrEqual", "less_or_equal", |l| compare(l, Comparison::LessOrEqual)),
    rule("Not", "not", not),
    rule("Or", "or", |l| both(l, IntegerFunction::Or)),
    rule("Where", "where", choose),
    rule("Xor", "xor", |l| both(l, IntegerFunction::Xor)),
];

fn compare(l: &mut Lower<'_, '_>, comparison: Comparison) -> Result<()> {
    let signed = l.element(0)?.is_signed();
    let (values, dims, layout) = meet(l, &[0, 1])?;
    let y = l.add(Compare { comparison, signed }, &values)?;
    l.put(0, y, Element::Bool, dims, layout);
    Ok(())
}

fn both(l: &mut Lower<'_, '_>, function: IntegerFunction) -> Result<()> {
    let (values, dims, layout) = meet(l, &[0, 1])?;
    let y = l.add(IntegerBinary { function, integer: Integer::BOOL }, &values)?;
    l.put(0, y, Element::Bool, dims, layout);
    Ok(())
}

fn not(l: &mut Lower<'_, '_>) -> Result<()> {
    let x = l.on_device(0)?;
    let one = l.add(Constant::new(Tensor::u32([1], vec![1])?), &[])?;
    let y = l.add(IntegerBinary { function: IntegerFunction::Xor, integer: Integer::BOOL }, &[x.value, one])?;
    l.put(0, y, Element::Bool, x.dims, x.layout);
    Ok(())
}

/// `Where`.
fn choose(l: &mut Lower<'_, '_>) -> Result<()> {
    let element = l.element(1)?;
    let (values, dims, layout) = meet(l, &[0, 1, 2])?;
    let y = select(l.ctx.graph(), values[0], values[1], values[2])?;
    l.put(0, y, element, dims, layout);
    Ok(())
}

fn cast(l: &mut Lower<'_, '_>, to: Element) -> Result<()> {
    let from = l.element(0)?;
    if from == to {
        return l.pass(0, 0);
    }
    let x = l.on_device(0)?;
    let y = if from.is_float() && to.is_float() {
        match to {
            Element::Float16 => l.add(Cast::ToFloat16, &[x.value])?,
            Element::BFloat16 => l.add(Cast::ToBfloat16, &[x.value])?,
            _ => x.value,
        }
    } else if to == Element::Bool {
        l.add(Cast::ToBool, &[x.value])?
    } else if from.is_float() {
        l.add(Cast::ToInteger(integer(to)), &[x.value])?
    } else if to.is_float() {
        let y = to_floats(l, x.value, from)?;
        match to {
            Element::Float16 => l.add(Cast::ToFloat16, &[y])?,
            Element::BFloat16 => l.add(Cast::ToBfloat16, &[y])?,
            _ => y,
        }
    } else {
        l.add(Cast::Wrap(integer(to)), &[x.value])?
    };
    if from.bits() == 64 && to.bits() == 64 && !from.is_float() && !to.is_float() {
        return Err(Error::invalid("cast", format!("{from} to {to}"), "types of 32 bits: wider ones aren't on a device"));
    }
    l.put(0, y, to, x.dims, x.layout);
    Ok(())
}
