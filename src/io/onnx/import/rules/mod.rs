//! How each of ONNX's ops becomes ops of ours: a table of rules, by family.

mod arithmetic;
mod axes;
mod conv;
mod einsum;
mod logic;
mod losses;
mod matmul;
mod norm;
mod pool;
mod resize;
mod shape;
mod unary;
mod window;

use super::lower::Lower;
use crate::error::Result;

pub(super) use arithmetic::{broadcast, meet};
pub(super) use window::sizes;

/// How a node of an op is lowered, at whatever version of the op set.
pub(super) struct Rule {
    /// ONNX's name.
    pub op: &'static str,
    /// What its layer is called.
    pub kind: &'static str,
    /// Whether it does in training what it doesn't in inference.
    pub trains: bool,
    pub lower: fn(&mut Lower<'_, '_>) -> Result<()>,
}

/// A row of a table.
const fn rule(op: &'static str, kind: &'static str, lower: fn(&mut Lower<'_, '_>) -> Result<()>) -> Rule {
    Rule { op, kind, trains: false, lower }
}

/// All rules.
pub(super) fn all() -> impl Iterator<Item = &'static Rule> {
    let tables = [
        arithmetic::RULES,
        axes::RULES,
        conv::RULES,
        einsum::RULES,
        logic::RULES,
        losses::RULES,
        matmul::RULES,
        norm::RULES,
        pool::RULES,
        resize::RULES,
        shape::RULES,
        unary::RULES,
    ];
    tables.into_iter().flatten()
}

/// The rule of an op of ONNX's own domain.
pub(super) fn find(domain: &str, op: &str) -> Option<&'static Rule> {
    all().find(|rule| domain.is_empty() && rule.op == op)
}
