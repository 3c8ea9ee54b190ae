//! Reductions over axes.

use super::axis_of;
use crate::error::Result;
use crate::nn::{Layer, LayerContext};
use crate::op::Value;
use crate::ops::reduce::{Reduction, reduce};

/// A sum, mean, extreme or norm over axes behind the batch, counted as in Keras and NumPy: 1 is the first of a sample, -1 the last. The axes
/// go, or stay with a length of 1.
#[derive(Clone, Debug)]
pub struct Reduce {
    reduction: Reduction,
    axes: Vec<isize>,
    keep_dims: bool,
}

impl Reduce {
    /// A reduction over these axes: `Reduce::new(Reduction::Mean, [1, 2])` with an [`ops::reduce::Reduction`](crate::ops::reduce::Reduction).
    pub fn new(reduction: Reduction, axes: impl Into<Vec<isize>>) -> Self {
        Reduce { reduction, axes: axes.into(), keep_dims: false }
    }

    /// Keeps the axes, with a length of 1.
    pub fn keep_dims(mut self) -> Self {
        self.keep_dims = true;
        self
    }
}

impl Layer for Reduce {
    fn type_name(&self) -> &'static str {
        "reduce"
    }

    fn build(&self, ctx: &mut LayerContext<'_>, x: &[Value]) -> Result<Value> {
        let x = ctx.only(x)?;
        let axes = self.axes.iter().map(|&axis| axis_of(axis, ctx.shape(x))).collect::<Result<Vec<usize>>>()?;
        reduce(ctx.graph, x, self.reduction, &axes, self.keep_dims)
    }
}
