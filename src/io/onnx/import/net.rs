//! A file's graph as a network of layers, one for each node that does something.

use super::lower::{Layout, OnDevice, Operand};
use super::source::TensorId;
use super::trace::{Notes, Trace, lower};
use super::{Onnx, rules};
use crate::error::{Error, Result};
use crate::nn::{Layer, LayerContext, Net};
use crate::op::Value;
use crate::ops::transpose::Transpose;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// A file, and what its tensors are at each size of the batch that was asked for.
pub(super) struct Shared {
    onnx: Onnx,
    traces: Mutex<BTreeMap<usize, Arc<Trace>>>,
    /// The node that gives a tensor.
    makers: HashMap<TensorId, usize>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Onnx")
    }
}

impl Shared {
    fn trace(&self, batch: usize) -> Result<Arc<Trace>> {
        let mut traces = self.traces.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(trace) = traces.get(&batch) {
            return Ok(Arc::clone(trace));
        }
        let trace = Arc::new(self.onnx.trace_batch(batch)?);
        trace.complete()?;
        // Training asks for one or two sizes again and again, a service perhaps for many.
        if traces.len() >= 8 {
            traces.pop_first();
        }
        traces.insert(batch, Arc::clone(&trace));
        Ok(trace)
    }
}

/// A node as a layer.
#[derive(Debug)]
struct NodeLayer {
    shared: Arc<Shared>,
    node: usize,
    output: usize,
    kind: &'static str,
}

impl Layer for NodeLayer {
    fn type_name(&self) -> &'static str {
        self.kind
    }

    fn build(&self, ctx: &mut LayerContext<'_>, x: &[Value]) -> Result<Value> {
        let n = x.first().map_or(1, |&x| ctx.batch(x));
        let trace = self.shared.trace(n)?;
        let mut given = HashMap::new();
        let node = &self.shared.onnx.source.nodes[self.node];
        for (id, &value) in fed(&trace, &node.inputs).into_iter().zip(x) {
            given.insert(id, value);
        }
        let made = self.lower(ctx, &trace, n, &given)?;
        match made.into_iter().nth(self.output).flatten() {
            Some(Operand::Device(tensor)) => Ok(tensor.value),
            _ => Err(Error::invalid("output", "a constant", "what depends on the input")),
        }
    }
}

impl NodeLayer {
    /// The node on these values; nodes that don't depend on the network's input are a part of the layer that reads them.
    fn lower(
        &self,
        ctx: &mut LayerContext<'_>,
        trace: &Trace,
        n: usize,
        given: &HashMap<TensorId, Value>,
    ) -> Result<Vec<Option<Operand>>> {
        let source = &self.shared.onnx.source;
        let batch = self.shared.onnx.declared_batch().map(|declared| (declared, n));
        // The nodes that it takes, which are in an order of execution.
        let (mut open, mut taken) = (vec![self.node], BTreeSet::new());
        while let Some(node) = open.pop() {
            if taken.insert(node) {
                let on_device = |id: &&TensorId| matches!(trace.operands[**id], Some(Operand::Device(_)));
                let missing = source.nodes[node].inputs.iter().flatten().filter(|id| on_device(id) && !given.contains_key(*id));
                open.extend(missing.filter_map(|id| self.shared.makers.get(id)));
            }
        }
        let notes = Notes::default();
        let mut made: HashMap<TensorId, Operand> = HashMap::new();
        for node in taken {
            let (is_last, node) = (node == self.node, &source.nodes[node]);
            let operand = |id: TensorId| match (&trace.operands[id], given.get(&id)) {
                (Some(Operand::Device(tensor)), Some(&value)) => Some(Operand::Device(OnDevice { value, ..tensor.clone() })),
                (Some(Operand::Device(_)), None) => made.get(&id).cloned(),
                (operand, _) => operand.clone(),
            };
            let inputs = node.inputs.iter().map(|id| id.and_then(operand)).collect();
            // Names of parameters: those of other nodes begin with what they give.
            let first = node.outputs.iter().flatten().next().map_or("", |&id| &source.names[id]);
            let prefix = if is_last { String::new() } else { format!("{}.", first.replace('/', ".")) };
            let outputs = lower(ctx, source, node, batch, &prefix, inputs, &notes)?;
            if is_last {
                return Ok(outputs);
            }
            made.extend(node.outputs.iter().zip(outputs).filter_map(|(id, operand)| Some(((*id)?, operand?))));
        }
        Ok(Vec::new())
    }
}

/// The tensors that a layer reads from others.
fn fed(trace: &Trace, inputs: &[Option<TensorId>]) -> Vec<TensorId> {
    let varies = |id: &TensorId| matches!(&trace.operands[*id], Some(Operand::Device(tensor)) if tensor.varies);
    let mut seen = HashSet::new();
    inputs.iter().flatten().copied().filter(|id| varies(id) && seen.insert(*id)).collect()
}

/// An output in the order of axes that ONNX has.
#[derive(Debug)]
struct Arranged {
    order: Vec<usize>,
    /// Whether the axes behind the batch are then one.
    flattened: bool,
}

impl Layer for Arranged {
    fn type_name(&self) -> &'static str {
        "permute"
    }

    fn build(&self, ctx: &mut LayerContext<'_>, x: &[Value]) -> Result<Value> {
        let x = ctx.only(x)?;
        let place = super::lower::inverse(&self.order);
        let y = ctx.node(Transpose::new(place), &[x])?;
        if !self.flattened {
            return Ok(y);
        }
        let dims = ctx.shape(y).dims().to_vec();
        ctx.node(crate::ops::view::View::reshape([dims[0], dims[1..].iter().product()]), &[y])
    }
}

/// Names of layers: those of nodes, as far as layers can have them, and how often each was asked for.
#[derive(Default)]
struct Names(HashMap<String, usize>);

impl Names {
    fn free(&mut self, name: &str) -> String {
        let clean: String = name.chars().map(|c| if c == '/' { '.' } else { c }).filter(|c| !c.is_control()).collect();
        let clean = clean.trim_matches('.');
        let base = if clean.is_empty() { "node" } else { clean };
        let mut free = base.to_string();
        loop {
            let asked = self.0.entry(free.clone()).or_default();
            *asked += 1;
            if *asked == 1 {
                return free;
            }
            // A name with such an ending may be another node's.
            free = format!("{base}_{}", *asked - 1);
            if !self.0.contains_key(&free) {
                self.0.insert(free.clone(), 1);
                return free;
            }
            free = base.to_string();
        }
    }
}

/// The network of each output, by its name in the file.
pub(super) fn nets(onnx: &Onnx) -> Result<Vec<(String, Net)>> {
    let trace = onnx.trace_batch(onnx.declared_batch().unwrap_or(2))?;
    trace.complete()?;
    let source = &onnx.source;
    let mut makers = HashMap::new();
    for (i, node) in source.nodes.iter().enumerate() {
        makers.extend(node.outputs.iter().flatten().map(|&id| (id, i)));
    }
    let shared = Arc::new(Shared { onnx: onnx.clone(), traces: Mutex::default(), makers });
    let mut names = Names::default();
    let mut nets: HashMap<TensorId, Net> = HashMap::new();
    for declared in &source.inputs {
        if let Some(Operand::Device(tensor)) = &trace.operands[declared.tensor] {
            let ty = trace.graph.info(tensor.value).ty.clone();
            let sample = crate::tensor::TensorType::new(ty.dtype, ty.shape.dims().get(1..).unwrap_or_default());
            let name = names.free(&source.names[declared.tensor]);
            nets.insert(declared.tensor, Net::input_of(sample).named(&name));
        }
    }
    for (i, node) in source.nodes.iter().enumerate() {
        let fed = fed(&trace, &node.inputs);
        let rule = rules::find(&node.domain, &node.op);
        for (output, id) in node.outputs.iter().enumerate() {
            let Some(id) = *id else { continue };
            let Some(Operand::Device(tensor)) = &trace.operands[id] else { continue };
            if !tensor.varies {
                continue;
            }
            let is_same = |other: &&TensorId| matches!(&trace.operands[**other], Some(Operand::Device(before)) if before.value == tensor.value);
            let net = match fed.iter().find(is_same) {
                Some(same) if !rule.is_some_and(|rule| rule.trains) => nets[same].clone(),
                _ => {
                    let kind = rule.map_or("onnx", |rule| rule.kind);
                    let layer = NodeLayer { shared: Arc::clone(&shared), node: i, output, kind };
                    let inputs: Vec<&Net> = fed.iter().map(|id| &nets[id]).collect();
                    Net::join(&inputs, layer).named(&names.free(&node.name))
                }
            };
            nets.insert(id, net);
        }
    }
    let mut outputs = Vec::new();
    for &id in &source.outputs {
        let name = source.names[id].to_string();
        let Some(Operand::Device(tensor)) = &trace.operands[id] else {
            let want = "one that depends on the network's input";
            return Err(Error::invalid("output", format!("'{}', a constant", name.escape_debug()), want));
        };
        let Some(net) = nets.get(&id) else {
            return Err(Error::invalid(
                "output",
                format!("'{}', a constant", name.escape_debug()),
                "one that depends on the input",
            ));
        };
        let Layout { order, unflattened } = &tensor.layout;
        let net = if order.is_sorted() && unflattened.is_none() {
            net.clone()
        } else {
            let layer = Arranged { order: order.clone(), flattened: unflattened.is_some() };
            Net::join(&[net], layer).named(&names.free(&name))
        };
        outputs.push((name, net));
    }
    Ok(outputs)
}
