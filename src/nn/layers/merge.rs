//! Layers that join branches.

use super::axis_of;
use crate::error::{Error, Result};
use crate::nn::layer::batched;
use crate::nn::{Layer, LayerContext};
use crate::op::Value;
use crate::ops::{binary, concat};

/// The sum of two or more inputs of one shape, elementwise: what closes a residual block.
#[derive(Clone, Copy, Debug)]
pub struct Add;

impl Layer for Add {
    fn type_name(&self) -> &'static str {
        "add"
    }

    fn build(&self, ctx: &mut LayerContext<'_>, x: &[Value]) -> Result<Value> {
        let [first, rest @ ..] = x else { return Err(Error::invalid("inputs", 0, "2 or more")) };
        if rest.is_empty() {
            return Err(Error::invalid("inputs", format!("1 ({})", ctx.input_name(0)), "2 or more"));
        }
        let mut sum = *first;
        for (i, &other) in rest.iter().enumerate() {
            if ctx.shape(*first) != ctx.shape(other) {
                let of = |v: Value, i: usize| format!("{} of '{}'", batched(ctx.shape(v)), ctx.input_name(i));
                let got = format!("{} and {}", of(*first, 0), of(other, i + 1));
                return Err(Error::invalid("input shapes", got, "equal ones"));
            }
            sum = ctx.node(binary::Binary::<binary::Add>::new(), &[sum, other])?;
        }
        Ok(sum)
    }
}

/// Inputs side by side along an axis, in their order: what an inception block ends with. The inputs are equal but for that axis.
#[derive(Clone, Copy, Debug)]
pub struct Concat {
    axis: isize,
}

impl Concat {
    /// Along the last axis, the channels, as Keras's default.
    pub fn new() -> Self {
        Concat { axis: -1 }
    }

    /// Along this axis, counted as in Keras and NumPy: 0 is the batch, -1 the last.
    pub fn axis(mut self, axis: isize) -> Self {
        self.axis = axis;
        self
    }
}

impl Default for Concat {
    fn default() -> Self {
        Concat::new()
    }
}

impl Layer for Concat {
    fn type_name(&self) -> &'static str {
        "concat"
    }

    fn build(&self, ctx: &mut LayerContext<'_>, x: &[Value]) -> Result<Value> {
        let [first, ..] = x else { return Err(Error::invalid("inputs", 0, "1 or more")) };
        let shape = ctx.shape(*first);
        let axis = axis_of(self.axis, shape)?;
        for (i, &other) in x.iter().enumerate() {
            let [dims, other_dims] = [shape.dims(), ctx.shape(other).dims()];
            let fits = |(a, (d, e)): (usize, (&usize, &usize))| a == axis || d == e;
            if dims.len() != other_dims.len() || !dims.iter().zip(other_dims).enumerate().all(fits) {
                let of = |v: Value, i: usize| format!("{} of '{}'", batched(ctx.shape(v)), ctx.input_name(i));
                let got = format!("{} and {}", of(*first, 0), of(other, i));
                return Err(Error::invalid("input shapes", got, format!("equal ones but for axis {axis}")));
            }
        }
        if let [only] = x {
            return Ok(*only);
        }
        ctx.node(concat::Concat { axis }, x)
    }
}
