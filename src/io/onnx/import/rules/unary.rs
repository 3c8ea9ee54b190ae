//! Functions of each element.

use super::super::super::array::Array;
use super::super::integers::negative;
use super::super::lower::{Lower, Operand};
use super::arithmetic::extreme;
use super::{Rule, rule};
use crate::error::{Error, Result};
use crate::op::Op;
use crate::ops::binary::{Max, Min};
use crate::ops::scale::Scale;
use crate::ops::unary::{
    Abs, Clip, Elu, Exp, Gelu, GeluTanh, HardSigmoid, HardSwish, LeakyRelu, Log, Mish, Reciprocal, Relu, Sigmoid, Softplus,
    Softsign, Sqrt, Tanh, Unary,
};

pub(super) const RULES: &[Rule] = &[
    rule("Abs", "abs", |l| if l.element(0)?.is_float() { unary(l, Unary(Abs)) } else { negative(l, true) }),
    rule("Clip", "clip", clip),
    rule("Elu", "elu", |l| {
        let alpha = number(l, "alpha", 1.0)?;
        unary(l, Unary(Elu { alpha, scale: 1.0 }))
    }),
    rule("Exp", "exp", |l| unary(l, Unary(Exp))),
    rule("Gelu", "gelu", |l| match l.attributes().string("approximate")?.unwrap_or("none") {
        "none" => unary(l, Unary(Gelu)),
        "tanh" => unary(l, Unary(GeluTanh)),
        other => Err(Error::invalid("approximate", format!("'{}'", other.escape_debug()), "none or tanh")),
    }),
    rule("HardSigmoid", "hard_sigmoid", |l| {
        let (alpha, beta) = (number(l, "alpha", 0.2)?, number(l, "beta", 0.5)?);
        unary(l, Unary(HardSigmoid { alpha, beta }))
    }),
    rule("HardSwish", "hard_swish", |l| unary(l, Unary(HardSwish))),
    rule("LeakyRelu", "leaky_relu", |l| {
        let slope = number(l, "alpha", 0.01)?;
        unary(l, Unary(LeakyRelu { slope }))
    }),
    rule("Log", "log", |l| unary(l, Unary(Log))),
    rule("Mish", "mish", |l| unary(l, Unary(Mish))),
    rule("Neg", "neg", |l| if l.element(0)?.is_float() { unary(l, Scale { factor: -1.0 }) } else { negative(l, false) }),
    rule("Reciprocal", "reciprocal", |l| unary(l, Unary(Reciprocal))),
    rule("Relu", "relu", |l| unary(l, Unary(Relu))),
    rule("Selu", "selu", |l| {
        let (alpha, scale) = (number(l, "alpha", 1.673_263_2)?, number(l, "gamma", 1.050_701)?);
        unary(l, Unary(Elu { alpha: alpha * scale, scale }))
    }),
    rule("Sigmoid", "sigmoid", |l| unary(l, Unary(Sigmoid))),
    rule("Softplus", "softplus", |l| unary(l, Unary(Softplus))),
    rule("Softsign", "softsign", |l| unary(l, Unary(Softsign))),
    rule("Sqrt", "sqrt", |l| unary(l, Unary(Sqrt))),
    rule("Tanh", "tanh", |l| unary(l, Unary(Tanh))),
];

fn number(l: &Lower<'_, '_>, name: &str, default: f64) -> Result<f64> {
    Ok(l.attributes().float(name)?.map_or(default, f64::from))
}

/// An op that doesn't care where an element lies.
pub(super) fn unary(l: &mut Lower<'_, '_>, op: impl Op) -> Result<()> {
    let x = l.on_device(0)?;
    let y = l.add(op, &[x.value])?;
    l.put(0, y, x.element, x.dims, x.layout);
    Ok(())
}

fn clip(l: &mut Lower<'_, '_>) -> Result<()> {
    let bound = |l: &Lower<'_, '_>, name: &str, i: usize| match l.attributes().float(name)? {
        None if l.constant(i).is_some() => l.number(i).map(Some),
        given => Ok(given),
    };
    let [low, high] = [bound(l, "min", 1)?, bound(l, "max", 2)?];
    if let (Some(low), Some(high)) = (low, high)
        && l.element(0)?.is_float()
        && low.is_finite()
        && high.is_finite()
        && low <= high
    {
        return unary(l, Unary(Clip { low: low.into(), high: high.into() }));
    }
    for (i, bound) in [(1, low), (2, high)] {
        if let (Some(bound), false) = (bound, l.has(i)) {
            l.inputs.resize(l.n_inputs().max(i + 1), None);
            l.inputs[i] = Some(Operand::Constant(Array::floats([], vec![bound])?));
        }
    }
    // One bound alone, bounds that are worked out, and such that cross each other: the upper one counts.
    if l.has(1) {
        extreme::<Max>(l, &[0, 1])?;
    } else {
        l.pass(0, 0)?;
    }
    if l.has(2) {
        let lower = l.outputs[0].clone();
        let x = std::mem::replace(&mut l.inputs[0], lower);
        let upper = extreme::<Min>(l, &[0, 2]);
        l.inputs[0] = x;
        upper?;
    }
    Ok(())
}
