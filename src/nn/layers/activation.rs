//! Activations.

use crate::error::Result;
use crate::nn::{Layer, LayerContext};
use crate::op::Value;
use crate::ops::{clip, softmax, unary};

/// `max(x, 0)`, elementwise. After a convolution or a dense layer it costs no pass over memory.
#[derive(Clone, Copy, Debug)]
pub struct Relu;

/// `min(max(x, 0), 6)`, elementwise, as MobileNets have it.
#[derive(Clone, Copy, Debug)]
pub struct Relu6;

/// `1 / (1 + e^-x)`, elementwise.
#[derive(Clone, Copy, Debug)]
pub struct Sigmoid;

/// Hyperbolic tangent, elementwise.
#[derive(Clone, Copy, Debug)]
pub struct Tanh;

/// `ln(1 + e^x)`, elementwise: a smooth ReLU.
#[derive(Clone, Copy, Debug)]
pub struct Softplus;

/// `e^x / sum of e^x` along the last dimension. A classifier doesn't end with it: the loss takes the values before it, and
/// [`Model::predict_probabilities`](crate::nn::Model::predict_probabilities) applies it.
#[derive(Clone, Copy, Debug)]
pub struct Softmax;

/// `min(max(x, low), high)`, elementwise.
#[derive(Clone, Copy, Debug)]
pub struct Clip {
    low: f32,
    high: f32,
}

impl Clip {
    /// Keeps values from `low` to `high`, both finite.
    pub fn new(low: f32, high: f32) -> Self {
        Clip { low, high }
    }
}

impl Layer for Clip {
    fn type_name(&self) -> &'static str {
        "clip"
    }

    fn build(&self, ctx: &mut LayerContext<'_>, x: &[Value]) -> Result<Value> {
        let x = ctx.only(x)?;
        ctx.node(clip::Clip { low: self.low, high: self.high }, &[x])
    }
}

macro_rules! layers {
    ($($layer:ident $name:literal $op:expr;)*) => {$(
        impl Layer for $layer {
            fn type_name(&self) -> &'static str {
                $name
            }

            fn build(&self, ctx: &mut LayerContext<'_>, x: &[Value]) -> Result<Value> {
                let x = ctx.only(x)?;
                ctx.node($op, &[x])
            }
        }
    )*};
}

layers! {
    Relu "relu" unary::Unary::<unary::Relu>::new();
    Relu6 "relu6" unary::Unary::<unary::Relu6>::new();
    Sigmoid "sigmoid" unary::Unary::<unary::Sigmoid>::new();
    Tanh "tanh" unary::Unary::<unary::Tanh>::new();
    Softplus "softplus" unary::Unary::<unary::Softplus>::new();
    Softmax "softmax" softmax::Softmax;
}
