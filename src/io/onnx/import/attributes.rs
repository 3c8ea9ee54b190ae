//! Attributes of a node, by name and type.

use super::super::array::Array;
use super::super::proto::{AttributeProto, attribute_proto::AttributeType};
use crate::error::{Error, Result};
use std::path::Path;

/// A value that a node's op is given.
#[derive(Clone, Debug)]
pub(super) enum Attribute {
    Float(f32),
    Int(i64),
    String(String),
    Tensor(Box<Array>),
    Floats(Vec<f32>),
    Ints(Vec<i64>),
    /// Of another type.
    Other(&'static str),
}

/// All attributes of a node, in order of their names.
#[derive(Clone, Debug, Default)]
pub(super) struct Attributes(Vec<(String, Attribute)>);

fn text(bytes: &[u8]) -> Result<String> {
    String::from_utf8(bytes.to_vec()).map_err(|_| Error::invalid("string", "bytes that aren't UTF-8", "UTF-8"))
}

impl Attributes {
    /// As a file has them.
    pub fn read(protos: Vec<AttributeProto>, folder: Option<&Path>) -> Result<Attributes> {
        let mut all = Vec::with_capacity(protos.len());
        for mut proto in protos {
            let name = proto.name.take().unwrap_or_default();
            match read(proto, folder) {
                Ok(value) => all.push((name, value)),
                Err(e) => return Err(e.at(&format!("attribute '{}'", name.escape_debug()))),
            }
        }
        all.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        if let Some(pair) = all.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            let place = format!("attribute '{}'", pair[0].0.escape_debug());
            return Err(Error::invalid("name", "twice", "once").at(&place));
        }
        Ok(Attributes(all))
    }

    fn get(&self, name: &str) -> Option<&Attribute> {
        self.0.binary_search_by(|(own, _)| own.as_str().cmp(name)).ok().map(|i| &self.0[i].1)
    }

    fn wrong<T>(&self, name: &str, want: &str) -> Result<Option<T>> {
        match self.get(name) {
            None => Ok(None),
            Some(Attribute::Other(kind)) => Err(Error::invalid(format!("attribute '{name}'"), kind, want)),
            Some(other) => Err(Error::invalid(format!("attribute '{name}'"), format!("{other:?}"), want)),
        }
    }

    /// An integer.
    pub fn int(&self, name: &str) -> Result<Option<i64>> {
        match self.get(name) {
            Some(Attribute::Int(v)) => Ok(Some(*v)),
            _ => self.wrong(name, "an integer"),
        }
    }

    /// Whether an integer isn't 0.
    pub fn flag(&self, name: &str, default: bool) -> Result<bool> {
        Ok(self.int(name)?.map_or(default, |v| v != 0))
    }

    /// A number.
    pub fn float(&self, name: &str) -> Result<Option<f32>> {
        match self.get(name) {
            Some(Attribute::Float(v)) => Ok(Some(*v)),
            _ => self.wrong(name, "a number"),
        }
    }

    /// Several integers.
    pub fn ints(&self, name: &str) -> Result<Option<Vec<i64>>> {
        match self.get(name) {
            Some(Attribute::Ints(v)) => Ok(Some(v.clone())),
            _ => self.wrong(name, "a list of integers"),
        }
    }

    /// Several numbers.
    pub fn floats(&self, name: &str) -> Result<Option<Vec<f32>>> {
        match self.get(name) {
            Some(Attribute::Floats(v)) => Ok(Some(v.clone())),
            _ => self.wrong(name, "a list of numbers"),
        }
    }

    /// A word.
    pub fn string(&self, name: &str) -> Result<Option<&str>> {
        match self.get(name) {
            Some(Attribute::String(v)) => Ok(Some(v)),
            _ => self.wrong(name, "a string"),
        }
    }

    /// A tensor.
    pub fn tensor(&self, name: &str) -> Result<Option<&Array>> {
        match self.get(name) {
            Some(Attribute::Tensor(v)) => Ok(Some(v)),
            _ => self.wrong(name, "a tensor"),
        }
    }
}

fn read(proto: AttributeProto, folder: Option<&Path>) -> Result<Attribute> {
    // Files of the first version say by the field alone what it is.
    let ty = proto.r#type.filter(|&ty| ty != AttributeType::Undefined as i32).unwrap_or_else(|| {
        let by_field = [
            (proto.f.is_some(), AttributeType::Float),
            (proto.i.is_some(), AttributeType::Int),
            (proto.s.is_some(), AttributeType::String),
            (proto.t.is_some(), AttributeType::Tensor),
            (!proto.floats.is_empty(), AttributeType::Floats),
            (!proto.ints.is_empty(), AttributeType::Ints),
        ];
        by_field.iter().find(|(is, _)| *is).map_or(AttributeType::Undefined, |(_, ty)| *ty) as i32
    });
    let ty = AttributeType::try_from(ty).map_err(|_| Error::invalid("type", format!("number {ty}"), "one of ONNX's"))?;
    let missing = || Error::invalid("value", "none", format!("one of type {}", ty.as_str_name()));
    Ok(match ty {
        // A 0 may be left out.
        AttributeType::Float => Attribute::Float(proto.f.unwrap_or_default()),
        AttributeType::Int => Attribute::Int(proto.i.unwrap_or_default()),
        AttributeType::String => Attribute::String(text(&proto.s.unwrap_or_default())?),
        AttributeType::Tensor => Attribute::Tensor(Box::new(Array::read(*proto.t.ok_or_else(missing)?, folder)?)),
        AttributeType::Floats => Attribute::Floats(proto.floats),
        AttributeType::Ints => Attribute::Ints(proto.ints),
        other => Attribute::Other(other.as_str_name()),
    })
}
