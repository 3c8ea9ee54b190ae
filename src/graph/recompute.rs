//! Which activations are kept for the backward pass, and which are made a second time there.
//!
//! Checkpoints: T. Chen, B. Xu, C. Zhang, C. Guestrin, "Training deep nets with sublinear memory cost", arXiv:1604.06174.

use super::{Graph, Node, Origin};
use crate::op::{Buffer, Value};
use std::collections::{HashMap, HashSet};

/// What the backward pass makes again instead of keeping it from the forward pass. The numbers of a training step are the same.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Recompute {
    /// Nothing: every activation that a gradient reads is kept.
    Nothing,
    /// What takes one pass over memory to make from something that is kept anyway, such as a batch norm and ReLU behind a convolution.
    #[default]
    Cheap,
    /// All but the values between blocks: one in so many of the places where a single activation leads from one part of the network to
    /// the next is kept. The forward pass is run twice.
    Checkpoints(usize),
}

impl Graph {
    /// Lets the backward pass make activations again instead of reading those that the forward pass made. `keep` are values that the
    /// caller will fetch. Run it after [`Graph::gradients`], the updates and [`Graph::fuse`].
    pub fn recompute(&mut self, what: Recompute, keep: &[Value]) {
        let Some(first_late) = self.nodes.iter().position(|n| n.is_gradient) else { return };
        let mut dropped = match what {
            Recompute::Nothing => return,
            Recompute::Cheap => self.cheap(first_late),
            Recompute::Checkpoints(every) => self.between_checkpoints(first_late, every),
        };
        dropped.retain(|v| !keep.contains(v));
        if dropped.is_empty() {
            return;
        }
        let late = self.nodes.split_off(first_late);
        let mut again: HashMap<Value, Value> = HashMap::new();
        for mut node in late {
            for i in (0..node.inputs.len()).filter(|_| node.is_gradient) {
                node.inputs[i] = self.made_again(node.inputs[i], what, &dropped, &mut again);
            }
            self.nodes.push(node);
        }
        self.number_nodes();
    }

    /// The value that stands for `v` in the backward pass: itself, or an output of a new node that makes it again.
    fn made_again(&mut self, v: Value, what: Recompute, dropped: &HashSet<Value>, again: &mut HashMap<Value, Value>) -> Value {
        if !dropped.contains(&v) {
            return v;
        }
        if let Some(&copy) = again.get(&v) {
            return copy;
        }
        let Some((producer, _)) = self.producer(v) else { return v };
        let node = match what {
            Recompute::Cheap => self.remake(&self.nodes[producer]),
            _ => None,
        };
        let Node { name, op, inputs, outputs, .. } = node.unwrap_or_else(|| self.nodes[producer].clone());
        // Deep enough for any network: a call a layer between two checkpoints.
        let inputs: Vec<Value> = inputs.iter().map(|&x| self.made_again(x, what, dropped, again)).collect();
        let name = format!("{name}/gradient");
        let copies: Vec<Value> = outputs
            .iter()
            .map(|&y| {
                let ty = self.info(y).ty.clone();
                let copy = self.value(ty, self.info(y).origin, &name);
                again.insert(y, copy);
                copy
            })
            .collect();
        self.nodes.push(Node { name, op, inputs, outputs: copies, is_gradient: true });
        again[&v]
    }

    /// A node that makes output 0 of another again, cheaply.
    fn remake(&self, node: &Node) -> Option<Node> {
        let (op, reads) = node.op.remake()?;
        let value = |b: &Buffer| match *b {
            Buffer::Input(i) => Some(node.inputs[i]),
            Buffer::Output(o) => Some(node.outputs[o]),
            Buffer::Temp(_) => None,
        };
        let inputs = reads.iter().map(value).collect::<Option<Vec<Value>>>()?;
        Some(Node { op, inputs, outputs: node.outputs[..1].to_vec(), ..node.clone() })
    }

    /// Outputs of cheap ops on values that the backward pass holds anyway at the time when it needs them.
    fn cheap(&self, first_late: usize) -> HashSet<Value> {
        let (mut first_read, mut last_read) = (HashMap::new(), HashMap::new());
        for (n, node) in self.nodes.iter().enumerate().skip(first_late) {
            for &v in &node.inputs {
                first_read.entry(v).or_insert(n);
                last_read.insert(v, n);
            }
        }
        let mut dropped = HashSet::new();
        for node in &self.nodes[..first_late] {
            let Some(remade) = self.remake(node) else { continue };
            let y = remade.outputs[0];
            let Some(&needed_at) = first_read.get(&y) else { continue };
            let elements = |v: Value| self.info(v).ty.elements();
            let is_held = |&x: &Value| {
                let is_small = elements(x) * 16 <= elements(y);
                let is_parameter = !matches!(self.info(x).origin, Origin::Node { .. });
                is_small || is_parameter || (!dropped.contains(&x) && last_read.get(&x).is_some_and(|&n| n >= needed_at))
            };
            if remade.inputs.iter().all(is_held) {
                dropped.insert(y);
            }
        }
        dropped
    }

    /// All activations but those of every `every`th place where only one leads on.
    fn between_checkpoints(&self, first_late: usize, every: usize) -> HashSet<Value> {
        let forward = &self.nodes[..first_late];
        let overwritten: HashSet<Value> =
            self.nodes.iter().flat_map(|n| n.op.in_place().iter().map(|&(i, _)| n.inputs[i])).collect();
        // An activation depends on what is fed and on parameters; parameters alone and samples alone are kept as they are.
        let mut on_inputs: HashSet<Value> = HashSet::new();
        let mut on_parameters = overwritten;
        on_inputs.extend((0..self.values.len() as u32).map(Value).filter(|v| self.info(*v).origin == Origin::Input));
        let mut activations: Vec<(Value, usize)> = Vec::new();
        let mut last_read: HashMap<Value, usize> = HashMap::new();
        for (n, node) in forward.iter().enumerate() {
            last_read.extend(node.inputs.iter().map(|&v| (v, n)));
            if !node.op.in_place().is_empty() {
                continue;
            }
            let fed = node.inputs.iter().any(|v| on_inputs.contains(v));
            let weighted = node.inputs.iter().any(|v| on_parameters.contains(v));
            on_inputs.extend(node.outputs.iter().filter(|_| fed));
            on_parameters.extend(node.outputs.iter().filter(|_| weighted));
            activations.extend(node.outputs.iter().filter(|_| fed && weighted).map(|&y| (y, n)));
        }
        let mut dropped: HashSet<Value> = activations.iter().map(|&(v, _)| v).collect();
        let (mut n_places, mut last_place) = (0, 0);
        let mut alive: Vec<Value> = Vec::new();
        let mut made = activations.iter().peekable();
        for (n, node) in forward.iter().enumerate() {
            while let Some((v, _)) = made.next_if(|(_, at)| *at == n) {
                alive.push(*v);
            }
            alive.retain(|v| last_read.get(v).is_some_and(|&last| last > n));
            if let [only] = alive[..]
                && node.outputs.contains(&only)
                && node.op.view().is_none()
            {
                n_places += 1;
                if n_places % every.max(1) == 0 {
                    dropped.remove(&only);
                    last_place = n;
                }
            }
        }
        // What comes after the last of them is needed at once.
        for &(v, _) in activations.iter().filter(|&&(_, n)| n > last_place) {
            dropped.remove(&v);
        }
        dropped
    }
}
