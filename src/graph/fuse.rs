//! Rewrites that save a pass over memory or a computation: what follows a convolution, a product or a normalisation goes into its
//! epilogue (an activation, the sum with another tensor), and a normalisation by given statistics into the weights before it.

use super::{Graph, Node, Origin};
use crate::op::{Op, Value};
use std::sync::Arc;

impl Graph {
    /// Moves each sum and each activation into the producer of its input, and folds each normalisation into the weights of the
    /// producer, where that can take it and nobody else reads the value in between. `keep` are values that the caller will fetch. Run
    /// it after [`Graph::gradients`]: the gradients of most activations read their output, so they don't stand in the way; that of
    /// another reads its input, so in training it stays a node of its own.
    pub fn fuse(&mut self, keep: &[Value]) {
        let mut readers = vec![0usize; self.values.len()];
        for v in self.nodes.iter().flat_map(|n| &n.inputs).chain(keep) {
            readers[v.0 as usize] += 1;
        }
        let read_once = |v: Value| readers[v.0 as usize] == 1;
        // Nodes that went into another, and nodes to put before another.
        let mut gone = vec![false; self.nodes.len()];
        let mut before: Vec<Option<Node>> = vec![None; self.nodes.len()];
        for n in 0..gone.len() {
            gone[n] = self.take_activation(n, &read_once) || self.take_sum(n, &read_once);
            if !gone[n]
                && let Some((producer, fold)) = self.fold(n, &read_once)
            {
                before[n] = Some(fold);
                gone[producer] = true;
            }
        }
        let nodes = std::mem::take(&mut self.nodes);
        for ((node, gone), before) in nodes.into_iter().zip(gone).zip(before) {
            self.nodes.extend(before);
            if !gone {
                self.nodes.push(node);
            }
        }
        self.number_nodes();
    }

    /// The node of which a value is output 0.
    fn first_output_of(&self, v: Value) -> Option<usize> {
        self.producer(v).filter(|&(_, output)| output == 0).map(|(node, _)| node)
    }

    /// Lets node `producer`, with `op` for its own, make what `node` made.
    fn replace(&mut self, producer: usize, op: Arc<dyn Op>, node: usize) {
        let Node { name, outputs, .. } = self.nodes[node].clone();
        let y = outputs[0];
        let p = &mut self.nodes[producer];
        // A layer made of both is named once.
        if !p.name.split(" + ").any(|part| part == name) {
            p.name = format!("{} + {name}", p.name);
        }
        p.op = op;
        p.outputs[0] = y;
        self.values[y.0 as usize].origin = Origin::Node { node: producer, output: 0 };
    }

    /// Moves node `n`, if it is an activation, into its producer.
    fn take_activation(&mut self, n: usize, read_once: &impl Fn(Value) -> bool) -> bool {
        let Some(activation) = self.nodes[n].op.activation() else { return false };
        let x = self.nodes[n].inputs[0];
        let Some(producer) = self.first_output_of(x).filter(|_| read_once(x)) else { return false };
        let Some(op) = self.nodes[producer].op.with_activation(activation) else { return false };
        self.replace(producer, op, n);
        true
    }

    /// Moves node `n`, if it is a sum, into the later one of its producers: where that stands, the other has been made.
    fn take_sum(&mut self, n: usize, read_once: &impl Fn(Value) -> bool) -> bool {
        if !self.nodes[n].op.is_sum() {
            return false;
        }
        let &[a, b] = self.nodes[n].inputs.as_slice() else { return false };
        // A producer adds a tensor like its own, none that is repeated.
        if self.info(a).ty != self.info(b).ty {
            return false;
        }
        let made_by = |v: Value| self.producer(v).map(|(node, _)| node);
        let (x, residual) = if made_by(a) >= made_by(b) { (a, b) } else { (b, a) };
        let Some(producer) = self.first_output_of(x).filter(|_| read_once(x)) else { return false };
        if made_by(residual) == Some(producer) {
            return false;
        }
        let Some(op) = self.nodes[producer].op.with_residual() else { return false };
        self.replace(producer, op, n);
        self.nodes[producer].inputs.push(residual);
        true
    }

    /// Folds node `n`, if it is a normalisation by given numbers, into the weights of its producer, which takes its place. Returns
    /// the producer and the node that makes its weights, to be put before `n`.
    fn fold(&mut self, n: usize, read_once: &impl Fn(Value) -> bool) -> Option<(usize, Node)> {
        let node = self.nodes[n].clone();
        let x = *node.inputs.first().filter(|&&x| read_once(x))?;
        let producer = self.first_output_of(x)?;
        let made_by = self.nodes[producer].clone();
        if !made_by.op.has_channel_weights() {
            return None;
        }
        let (data, weights) = made_by.inputs.split_at(1);
        let fold = node.op.fold(weights.len() > 1)?;
        let of_fold = [weights, &node.inputs[1..]].concat();
        let types = fold.infer(&self.types(&of_fold)).ok()?;
        // The producer moves down to where the normalisation's numbers have been made.
        let place = Origin::Node { node: n, output: 0 };
        let outputs: Vec<Value> = types.into_iter().map(|ty| self.value(ty, place, &made_by.name)).collect();
        let inputs = [data, &outputs].concat();
        let name = format!("{} + {}", made_by.name, node.name);
        self.nodes[n] = Node { name, op: made_by.op, inputs, outputs: node.outputs, is_gradient: made_by.is_gradient };
        Some((producer, Node { name: node.name, op: fold, inputs: of_fold, outputs, is_gradient: made_by.is_gradient }))
    }
}
