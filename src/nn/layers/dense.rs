//! The fully connected layer.

use crate::error::{Error, Result};
use crate::nn::layer::batched;
use crate::nn::{Init, Layer, LayerContext, Penalty};
use crate::op::Value;
use crate::ops::binary::{Add, Binary};
use crate::ops::matmul::Matmul;
use crate::ops::slice::Slice;

/// Fully connected layer: `y = x weight + bias`. Input `[n, in]`, output `[n, units]`; parameters `weight` `[in, units]` and `bias`
/// `[units]`.
///
/// Defaults are Keras's: a bias of zeros, Glorot-uniform weights. No activation: `.relu()` is a layer of its own.
#[derive(Clone, Debug)]
pub struct Dense {
    units: usize,
    bias: bool,
    init: Option<Init>,
    penalty: Penalty,
}

impl Dense {
    /// A layer of `units` outputs.
    pub fn new(units: usize) -> Self {
        Dense { units, bias: true, init: None, penalty: Penalty::default() }
    }

    /// Leaves out the bias.
    pub fn no_bias(mut self) -> Self {
        self.bias = false;
        self
    }

    /// Initial values of the weights.
    pub fn init(mut self, init: Init) -> Self {
        self.init = Some(init);
        self
    }

    /// Adds this times the sum of the weights' magnitudes to the loss (Keras's `kernel_regularizer`).
    pub fn l1(mut self, factor: f64) -> Self {
        self.penalty.l1 = factor;
        self
    }

    /// Adds this times the sum of the weights' squares to the loss (Keras's `kernel_regularizer`).
    pub fn l2(mut self, factor: f64) -> Self {
        self.penalty.l2 = factor;
        self
    }
}

impl Layer for Dense {
    fn type_name(&self) -> &'static str {
        "dense"
    }

    fn build(&self, ctx: &mut LayerContext<'_>, x: &[Value]) -> Result<Value> {
        let x = ctx.only(x)?;
        let &[_, len] = ctx.shape(x).dims() else {
            let want = "2 dimensions [n, features]; add `.flatten()` before this layer";
            return Err(Error::invalid("input shape", batched(ctx.shape(x)), want));
        };
        if self.units == 0 {
            return Err(Error::invalid("units", 0, "at least 1"));
        }
        let init = self.init.unwrap_or(ctx.default_init());
        let pieces = ctx.parameter_by_rows("weight", [len, self.units], init)?;
        ctx.penalise(&pieces, self.penalty)?;
        let bias = match self.bias {
            true => Some(ctx.parameter("bias", [self.units], Init::Zeros)?),
            false => None,
        };
        product_by_rows(ctx, x, &pieces, bias)
    }
}

/// `x` times a matrix that lies in pieces of whole rows, plus a bias: the sum over the pieces of the columns of `x` that meet a piece's rows,
/// times the piece.
pub(crate) fn product_by_rows(ctx: &mut LayerContext<'_>, x: Value, pieces: &[Value], bias: Option<Value>) -> Result<Value> {
    let mut bias: Vec<Value> = bias.into_iter().collect();
    if let &[w] = pieces {
        return ctx.node(Matmul::new(false, false), &[&[x, w], &bias[..]].concat());
    }
    let mut start = 0;
    let mut sum = None;
    for &w in pieces {
        let rows = ctx.shape(w).dims()[0];
        let columns = ctx.node(Slice::along(1, start, rows), &[x])?;
        let part = ctx.node(Matmul::new(false, false), &[&[columns, w], &bias[..]].concat())?;
        sum = Some(match sum {
            None => part,
            Some(sum) => ctx.node(Binary::<Add>::new(), &[sum, part])?,
        });
        start += rows;
        bias.clear();
    }
    sum.ok_or_else(|| Error::invalid("weight", "no rows", "at least 1"))
}
