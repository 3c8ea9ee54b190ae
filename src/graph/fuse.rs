//! Rewrites that save a pass over memory: an activation that is the only reader of a convolution or product goes into its epilogue.

use super::{Graph, Origin};
use crate::op::Value;

impl Graph {
    /// Moves each activation into its producer, where the producer can take it and nobody else reads the value in between.
    /// `keep` are values that the caller will fetch. Run it after [`Graph::gradients`]: the gradients of activations read their
    /// output, so they don't stand in the way.
    pub fn fuse(&mut self, keep: &[Value]) {
        let mut readers = vec![0usize; self.values.len()];
        for v in self.nodes.iter().flat_map(|n| &n.inputs).chain(keep) {
            readers[v.0 as usize] += 1;
        }
        let mut fused = vec![false; self.nodes.len()];
        for (n, fused) in fused.iter_mut().enumerate() {
            let Some(activation) = self.nodes[n].op.activation() else { continue };
            let (x, y) = (self.nodes[n].inputs[0], self.nodes[n].outputs[0]);
            let Some((producer, 0)) = self.producer(x) else { continue };
            if readers[x.0 as usize] != 1 {
                continue;
            }
            let Some(op) = self.nodes[producer].op.with_activation(activation) else { continue };
            let name = self.nodes[n].name.clone();
            let p = &mut self.nodes[producer];
            if p.name != name {
                p.name = format!("{} + {name}", p.name);
            }
            p.op = op;
            p.outputs[0] = y;
            self.values[y.0 as usize].origin = Origin::Node { node: producer, output: 0 };
            *fused = true;
        }
        let mut at = 0;
        let mut moved = Vec::with_capacity(fused.len());
        for &f in &fused {
            moved.push(at);
            at += usize::from(!f);
        }
        let mut n = 0;
        self.nodes.retain(|_| {
            n += 1;
            !fused[n - 1]
        });
        for v in &mut self.values {
            if let Origin::Node { node, .. } = &mut v.origin {
                *node = moved[*node];
            }
        }
    }
}
