//! Layers that join branches.

use super::axis_of;
use crate::error::{Error, Result};
use crate::nn::layer::batched;
use crate::nn::{Layer, LayerContext};
use crate::op::Value;
use crate::ops::view::View;
use crate::ops::{binary, concat};

/// The sum of two or more inputs, elementwise: what closes a residual block.
///
/// As all layers that join inputs elementwise: where their shapes differ, dimensions of 1 are repeated, and an input of fewer dimensions gets
/// ones behind the batch, as in Keras. So `[n, h, w, c]` goes with `[n, 1, 1, c]` and with `[n, c]`.
#[derive(Clone, Copy, Debug)]
pub struct Add;

/// The first of two inputs less the second, elementwise; shapes as for [`Add`].
#[derive(Clone, Copy, Debug)]
pub struct Sub;

/// The product of two or more inputs, elementwise; shapes as for [`Add`]. It is what a squeeze-and-excitation block ends with.
#[derive(Clone, Copy, Debug)]
pub struct Mul;

/// The largest of two or more inputs, elementwise; shapes as for [`Add`].
#[derive(Clone, Copy, Debug)]
pub struct Max;

/// The smallest of two or more inputs, elementwise; shapes as for [`Add`].
#[derive(Clone, Copy, Debug)]
pub struct Min;

/// Joins inputs one after the other.
fn join<R: binary::BinaryRow>(ctx: &mut LayerContext<'_>, x: &[Value], most: usize) -> Result<Value> {
    let want = if most == 2 { "2" } else { "2 or more" };
    let (first, rest) = match x {
        [first, rest @ ..] if (1..most).contains(&rest.len()) => (*first, rest),
        _ => {
            let names: Vec<&str> = (0..x.len()).map(|i| ctx.input_name(i)).collect();
            return Err(Error::invalid("inputs", format!("{} ({})", x.len(), names.join(", ")), want));
        }
    };
    let rank = x.iter().map(|&v| ctx.shape(v).rank()).max().unwrap_or(0);
    let mut joined = ranked(ctx, first, rank)?;
    for (i, &other) in rest.iter().enumerate() {
        let other = ranked(ctx, other, rank)?;
        let meets = |(d, e): (&usize, &usize)| d == e || *d == 1 || *e == 1;
        if !ctx.shape(joined).dims().iter().zip(ctx.shape(other).dims()).all(meets) {
            let of = |v: Value, i: usize| format!("{} of '{}'", batched(ctx.shape(v)), ctx.input_name(i));
            let got = format!("{} and {}", of(x[0], 0), of(x[i + 1], i + 1));
            return Err(Error::invalid("input shapes", got, "equal ones, but for dimensions of 1"));
        }
        joined = ctx.node(binary::Binary::<R>::new(), &[joined, other])?;
    }
    Ok(joined)
}

/// A value with ones behind the batch, so that it has `rank` dimensions.
fn ranked(ctx: &mut LayerContext<'_>, v: Value, rank: usize) -> Result<Value> {
    let missing = rank - ctx.shape(v).rank();
    let [n, rest @ ..] = ctx.shape(v).dims() else { return Ok(v) };
    if missing == 0 {
        return Ok(v);
    }
    let dims = [&[*n], &vec![1; missing][..], rest].concat();
    ctx.node(View::reshape(dims), &[v])
}

macro_rules! layers {
    ($($layer:ident $name:literal $row:ident $most:expr;)*) => {$(
        impl Layer for $layer {
            fn type_name(&self) -> &'static str {
                $name
            }

            fn build(&self, ctx: &mut LayerContext<'_>, x: &[Value]) -> Result<Value> {
                join::<binary::$row>(ctx, x, $most)
            }
        }
    )*};
}

layers! {
    Add "add" Add usize::MAX;
    Sub "sub" Sub 2;
    Mul "mul" Mul usize::MAX;
    Max "max" Max usize::MAX;
    Min "min" Min usize::MAX;
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
