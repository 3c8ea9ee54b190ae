//! What an op builds its gradient with.

use super::{Op, Value};
use crate::error::{Error, Result};
use crate::tensor::TensorType;
use std::sync::Arc;

/// Adds nodes to a graph; what autodiff lets [`Op::gradient`] do.
pub trait NodeBuilder {
    /// Adds a node and returns its outputs.
    fn add(&mut self, op: Arc<dyn Op>, inputs: &[Value]) -> Result<Vec<Value>>;
    /// Type of a value.
    fn type_of(&self, v: Value) -> &TensorType;
}

/// What [`Op::gradient`] is handed: the node's values, the gradients of its outputs, and a place for those of its inputs.
pub struct Gradient<'a> {
    builder: &'a mut dyn NodeBuilder,
    x: &'a [Value],
    y: &'a [Value],
    dy: &'a [Option<Value>],
    wanted: &'a [bool],
    dx: Vec<Option<Value>>,
}

impl<'a> Gradient<'a> {
    /// For a node with inputs `x` and outputs `y`, of which those with a `dy` reach the loss.
    pub fn new(
        builder: &'a mut dyn NodeBuilder,
        x: &'a [Value],
        y: &'a [Value],
        dy: &'a [Option<Value>],
        wanted: &'a [bool],
    ) -> Self {
        Gradient { builder, x, y, dy, wanted, dx: vec![None; x.len()] }
    }

    /// Input `i` of the node.
    pub fn x(&self, i: usize) -> Value {
        self.x[i]
    }

    /// Number of inputs of the node.
    pub fn n_inputs(&self) -> usize {
        self.x.len()
    }

    /// Output `i` of the node.
    pub fn y(&self, i: usize) -> Value {
        self.y[i]
    }

    /// Gradient of the loss by output `i`. Autodiff calls an op only if its output 0 has one.
    pub fn dy(&self, i: usize) -> Option<Value> {
        self.dy[i]
    }

    /// Gradient of the loss by output 0.
    pub fn dy0(&self) -> Result<Value> {
        self.dy[0].ok_or_else(|| Error::invalid("gradient", "a loss that doesn't depend on output 0", "one that does"))
    }

    /// Whether the gradient by input `i` is needed.
    pub fn wants(&self, i: usize) -> bool {
        self.wanted[i]
    }

    /// Type of a value.
    pub fn type_of(&self, v: Value) -> TensorType {
        self.builder.type_of(v).clone()
    }

    /// Adds a node with one output.
    pub fn node(&mut self, op: impl Op, inputs: &[Value]) -> Result<Value> {
        Ok(self.builder.add(Arc::new(op), inputs)?[0])
    }

    /// Adds a node and returns all its outputs.
    pub fn nodes(&mut self, op: impl Op, inputs: &[Value]) -> Result<Vec<Value>> {
        self.builder.add(Arc::new(op), inputs)
    }

    /// Says that `value` is the gradient by input `i`.
    pub fn set(&mut self, i: usize, value: Value) {
        self.dx[i] = Some(value);
    }

    /// The gradients by the inputs.
    pub fn finish(self) -> Vec<Option<Value>> {
        self.dx
    }
}
