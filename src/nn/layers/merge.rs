//! Layers that join branches.

use crate::error::{Error, Result};
use crate::nn::layer::batched;
use crate::nn::{Layer, LayerContext};
use crate::op::Value;
use crate::ops::binary;

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
