//! The computation as a graph of ops on tensors; its gradient, its rewriting, and the plan of a run. Knows no op.

mod autodiff;
mod fuse;
mod memory;
mod plan;
mod recompute;
mod versions;

pub use plan::{Location, Memory, Plan, Step, Storage, StorageKind};
pub(crate) use plan::{state_mismatch, unknown_state};
pub use recompute::Recompute;
pub(crate) use versions::{Prepared, Versions};

use crate::error::{Error, Result};
use crate::op::{Cost, NodeBuilder, Op, Value};
use crate::tensor::TensorType;
use std::sync::Arc;

/// Where a value comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// Fed at each run.
    Input,
    /// Persistent memory, known by its name to all plans of a model.
    State,
    /// An output of a node.
    Node {
        /// Index of the node.
        node: usize,
        /// Which of its outputs.
        output: usize,
    },
}

/// A tensor of the graph.
#[derive(Clone, Debug)]
pub struct ValueInfo {
    /// Its type.
    pub ty: TensorType,
    /// Where it comes from.
    pub origin: Origin,
    /// Its name: a state's or input's own, or its node's.
    pub name: String,
}

/// An op applied to values.
#[derive(Clone, Debug)]
pub struct Node {
    /// The layer that it belongs to, for messages (`conv2d_1`, `conv2d_1/gradient`).
    pub name: String,
    /// The op.
    pub op: Arc<dyn Op>,
    /// Its inputs.
    pub inputs: Vec<Value>,
    /// Its outputs.
    pub outputs: Vec<Value>,
    /// Whether it belongs to the backward pass.
    pub is_gradient: bool,
}

/// An acyclic graph. A node is added after the nodes that make its inputs, so the order of the nodes is an order of execution.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    nodes: Vec<Node>,
    values: Vec<ValueInfo>,
    scope: String,
    in_gradients: bool,
}

impl Graph {
    /// An empty graph.
    pub fn new() -> Self {
        Graph::default()
    }

    /// Names the nodes added from here on, and the errors that they give.
    pub fn set_scope(&mut self, name: &str) {
        self.scope = name.to_string();
    }

    fn value(&mut self, ty: TensorType, origin: Origin, name: &str) -> Value {
        self.values.push(ValueInfo { ty, origin, name: name.to_string() });
        Value(self.values.len() as u32 - 1)
    }

    /// A tensor that is fed at each run.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a shape with a dimension of 0 or with too many elements.
    pub fn input(&mut self, name: &str, ty: TensorType) -> Result<Value> {
        let shape = ty.shape.checked("shape").map_err(|e| e.at(name))?;
        Ok(self.value(TensorType { dtype: ty.dtype, shape }, Origin::Input, name))
    }

    /// Persistent memory. All plans that name it share it.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a name that is taken, and as for [`Graph::input`].
    pub fn state(&mut self, name: &str, ty: TensorType) -> Result<Value> {
        if self.values.iter().any(|v| v.origin == Origin::State && v.name == name) {
            return Err(Error::invalid("state name", name, "one that isn't taken"));
        }
        let shape = ty.shape.checked("shape").map_err(|e| e.at(name))?;
        Ok(self.value(TensorType { dtype: ty.dtype, shape }, Origin::State, name))
    }

    /// Adds a node with one output of interest, its first.
    pub fn node(&mut self, op: impl Op, inputs: &[Value]) -> Result<Value> {
        Ok(self.add(Arc::new(op), inputs)?[0])
    }

    /// The nodes, in order of execution.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// What is known of a value.
    pub fn info(&self, v: Value) -> &ValueInfo {
        &self.values[v.0 as usize]
    }

    /// Whether there is such a value here; one of another graph may be missing.
    pub fn contains(&self, v: Value) -> bool {
        (v.0 as usize) < self.values.len()
    }

    /// Fails for a value that this graph doesn't have.
    pub(crate) fn expect(&self, v: Value, what: &str) -> Result<()> {
        if self.contains(v) { Ok(()) } else { Err(Error::invalid(what, "a value of another graph", "a value of this graph")) }
    }

    /// Types of several values.
    pub fn types(&self, values: &[Value]) -> Vec<TensorType> {
        values.iter().map(|&v| self.info(v).ty.clone()).collect()
    }

    /// Cost of a node.
    pub fn cost(&self, node: &Node) -> Cost {
        node.op.cost(&self.types(&node.inputs), &self.types(&node.outputs))
    }

    /// Tells values where their nodes stand, after those have moved.
    fn number_nodes(&mut self) {
        for (n, node) in self.nodes.iter().enumerate() {
            for (output, y) in node.outputs.iter().enumerate() {
                self.values[y.0 as usize].origin = Origin::Node { node: n, output };
            }
        }
    }

    fn producer(&self, v: Value) -> Option<(usize, usize)> {
        match self.info(v).origin {
            Origin::Node { node, output } => Some((node, output)),
            _ => None,
        }
    }
}

impl NodeBuilder for Graph {
    fn add(&mut self, op: Arc<dyn Op>, inputs: &[Value]) -> Result<Vec<Value>> {
        for &v in inputs {
            self.expect(v, "input").map_err(|e| e.at(op.name()))?;
        }
        let types = self.types(inputs);
        let outputs = op.infer(&types).map_err(|e| {
            let e = if self.scope.is_empty() || self.scope.starts_with(op.name()) { e } else { e.at(op.name()) };
            e.at(if self.scope.is_empty() { op.name() } else { &self.scope })
        })?;
        for &(i, _) in op.in_place() {
            if self.info(inputs[i]).origin != Origin::State {
                return Err(Error::invalid("in-place input", &self.info(inputs[i]).name, "persistent state").at(op.name()));
            }
        }
        let node = self.nodes.len();
        let name = self.scope.clone();
        let outputs: Vec<Value> =
            outputs.into_iter().enumerate().map(|(output, ty)| self.value(ty, Origin::Node { node, output }, &name)).collect();
        self.nodes.push(Node { name, op, inputs: inputs.to_vec(), outputs: outputs.clone(), is_gradient: self.in_gradients });
        Ok(outputs)
    }

    fn type_of(&self, v: Value) -> &TensorType {
        &self.info(v).ty
    }
}
