//! A file's graph as a graph of ops, at one size of the batch: what every tensor is, and which nodes can't be run.

use super::super::array::Array;
use super::fold::{MOST_FOLDED, fold};
use super::lower::{Lower, Operand};
use super::rules;
use super::source::{Node, Source, TensorId};
use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::nn::LayerContext;
use crate::nn::parameters::Declared;
use crate::op::Value;
use std::cell::Cell;
use std::fmt;

/// A node that can't be run, and why.
#[derive(Clone, Debug)]
pub struct Unsupported {
    /// Its name, or that of its first output.
    pub node: String,
    /// Its op, with the domain if that isn't ONNX's own.
    pub op: String,
    /// Version of the op's set for which the file was written.
    pub opset: i64,
    /// What is missing.
    pub why: String,
    /// What would help.
    pub help: &'static str,
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} '{}' (opset {}): {}; {}", self.op, self.node.escape_debug(), self.opset, self.why, self.help)
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Trace {
    pub graph: Graph,
    /// Constants on the device, each an input of the graph.
    pub declared: Vec<(Declared, Value)>,
    /// By tensor; none where it couldn't be worked out.
    pub operands: Vec<Option<Operand>>,
    pub unsupported: Vec<Unsupported>,
    /// Tensors of which a node had to know the values.
    pub wanted: Vec<TensorId>,
}

/// What is noted while nodes are lowered.
#[derive(Debug)]
pub(super) struct Notes {
    /// The tensor whose values had to be known, if that's why a node failed.
    pub wanted: Cell<Option<TensorId>>,
    /// How many elements may still be worked out before anything runs.
    pub left: Cell<usize>,
}

impl Default for Notes {
    fn default() -> Notes {
        Notes { wanted: Cell::new(None), left: Cell::new(MOST_FOLDED) }
    }
}

/// What would help with an op that there is no rule for.
fn help(op: &str) -> &'static str {
    match op {
        "If" | "Loop" | "Scan" => {
            "export the network for one path, without control flow, or simplify the file by constant folding"
        }
        "NonMaxSuppression" | "TopK" | "RoiAlign" | "NonZero" => {
            "cut the graph before this node, and do what follows in the program"
        }
        "QuantizeLinear"
        | "DequantizeLinear"
        | "QLinearConv"
        | "QLinearMatMul"
        | "ConvInteger"
        | "MatMulInteger"
        | "DynamicQuantizeLinear" => "export the network in floats, before quantisation",
        "LSTM" | "GRU" | "RNN" => "recurrent layers are outside what this crate is for",
        _ => "export with other ops, or cut the graph before this node",
    }
}

/// What would help with a node whose rule refused it.
const REFUSED: &str = "change the node, or export the network with other options";

impl Trace {
    /// Goes through all nodes. `inputs` says what the graph's inputs are, `batch` the size of the batch for which the file was written, if it says
    /// one, and what it is now.
    pub fn of(
        source: &Source,
        batch: Option<(usize, usize)>,
        mut inputs: impl FnMut(usize, &mut Graph) -> Result<Operand>,
    ) -> Result<Trace> {
        let mut trace = Trace { operands: vec![None; source.names.len()], ..Trace::default() };
        for (&id, array) in &source.constants {
            trace.operands[id] = Some(Operand::Constant(array.clone()));
        }
        for (i, declared) in source.inputs.iter().enumerate() {
            trace.operands[declared.tensor] = Some(inputs(i, &mut trace.graph)?);
        }
        let notes = Notes::default();
        for (i, node) in source.nodes.iter().enumerate() {
            let known = node.inputs.iter().flatten().all(|&id| trace.operands[id].is_some());
            let name = format!("{i} {}", node.name.replace('/', "."));
            let Trace { graph, declared, operands, .. } = &mut trace;
            let made = match node.fault.clone() {
                Some(fault) => Err(*fault),
                None if !known && rules::find(&node.domain, &node.op).is_some() => continue,
                None => {
                    let mut ctx = LayerContext::declaring(graph, declared, &name);
                    let inputs = node.inputs.iter().map(|id| id.and_then(|id| operands[id].clone())).collect();
                    lower(&mut ctx, source, node, batch, "", inputs, &notes)
                }
            };
            trace.wanted.extend(notes.wanted.take());
            match made {
                Ok(made) => {
                    for (&id, operand) in node.outputs.iter().zip(made) {
                        if let Some(id) = id {
                            trace.operands[id] = operand;
                        }
                    }
                }
                Err(e) => {
                    let is_known = rules::find(&node.domain, &node.op).is_some();
                    let op = if node.domain.is_empty() { node.op.clone() } else { format!("{}.{}", node.domain, node.op) };
                    trace.unsupported.push(Unsupported {
                        node: node.name.clone(),
                        op,
                        opset: source.opset(&node.domain),
                        why: without_place(e, &name),
                        help: if is_known { REFUSED } else { help(&node.op) },
                    });
                }
            }
        }
        Ok(trace)
    }

    /// Fails with a list of the nodes that can't be run, if there are any.
    pub fn complete(&self) -> Result<()> {
        if self.unsupported.is_empty() {
            return Ok(());
        }
        let nodes: Vec<String> = self.unsupported.iter().map(Unsupported::to_string).collect();
        Err(Error::Unsupported { count: nodes.len(), nodes: nodes.join("\n") })
    }
}

/// The message without the layer's name: the node's stands before it already.
fn without_place(e: Error, layer: &str) -> String {
    match e {
        Error::Invalid { place, what, got, want } if place.starts_with(layer) => format!("{what}: got {got}, want {want}"),
        other => other.to_string(),
    }
}

/// What a node's outputs are. `prefix` goes before names of parameters.
pub(super) fn lower(
    ctx: &mut LayerContext<'_>,
    source: &Source,
    node: &Node,
    batch: Option<(usize, usize)>,
    prefix: &str,
    inputs: Vec<Option<Operand>>,
    notes: &Notes,
) -> Result<Vec<Option<Operand>>> {
    let constants: Option<Vec<Option<&Array>>> = inputs
        .iter()
        .map(|input| match input {
            None => Some(None),
            Some(Operand::Constant(array)) => Some(Some(array)),
            Some(Operand::Device(_)) => None,
        })
        .collect();
    if let Some(constants) = constants.filter(|_| node.domain.is_empty())
        && let Some(made) = fold(node, &constants, &notes.left)?
    {
        return Ok(made.into_iter().map(|array| Some(Operand::Constant(array))).collect());
    }
    let rule = rules::find(&node.domain, &node.op)
        .ok_or_else(|| Error::invalid("op", "one that there is no rule for", "one of the ops that `Onnx::ops` lists"))?;
    let mut l = Lower {
        ctx,
        node,
        names: &source.names,
        opset: source.opset(&node.domain),
        batch,
        prefix: prefix.to_string(),
        weights: &source.constants,
        wanted: &notes.wanted,
        inputs,
        outputs: Vec::new(),
    };
    (rule.lower)(&mut l)?;
    let outputs = l.outputs;
    let missing = node.outputs.iter().enumerate().find(|(i, id)| id.is_some() && !matches!(outputs.get(*i), Some(Some(_))));
    if let Some((i, _)) = missing {
        return Err(Error::invalid(format!("output {i}"), "asked for", "the outputs before it alone"));
    }
    Ok(outputs)
}
