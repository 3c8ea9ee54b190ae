//! Reverse-mode differentiation: appends the nodes of the gradient to the graph. The only place that adds up gradients where a
//! value is used more than once.

use super::Graph;
use crate::error::Result;
use crate::op::{Gradient, Value};
use crate::ops::binary::{Add, Binary};
use crate::ops::fill::Fill;
use crate::tensor::DType;

impl Graph {
    /// Adds the gradients of the sum of `loss`'s elements by each of `wrt`, and returns them in that order. The gradient by a value on
    /// which the loss doesn't depend is zero.
    pub fn gradients(&mut self, loss: Value, wrt: &[Value]) -> Result<Vec<Value>> {
        let scope = self.scope.clone();
        self.in_gradients = true;
        let result = self.backward(loss, wrt);
        self.in_gradients = false;
        self.set_scope(&scope);
        result
    }

    fn backward(&mut self, loss: Value, wrt: &[Value]) -> Result<Vec<Value>> {
        for &v in wrt.iter().chain([&loss]) {
            self.expect(v, "gradient")?;
            self.info(v).ty.expect_dtype("gradient", DType::F32)?;
        }
        // Which values lie on a path from `wrt`: others need no gradient.
        let mut active = vec![false; self.values.len()];
        for &v in wrt {
            active[v.0 as usize] = true;
        }
        for node in &self.nodes {
            if node.inputs.iter().any(|v| active[v.0 as usize]) {
                for &y in &node.outputs {
                    active[y.0 as usize] |= self.info(y).ty.dtype == DType::F32;
                }
            }
        }
        let mut grads: Vec<Option<Value>> = vec![None; self.values.len()];
        let n_forward = self.nodes.len();
        self.set_scope("loss/gradient");
        if active[loss.0 as usize] {
            let shape = self.info(loss).ty.shape.clone();
            grads[loss.0 as usize] = Some(self.node(Fill { value: 1.0, shape }, &[])?);
        }
        for n in (0..n_forward).rev() {
            let node = self.nodes[n].clone();
            let wanted: Vec<bool> = node.inputs.iter().map(|v| active[v.0 as usize]).collect();
            let dy: Vec<Option<Value>> = node.outputs.iter().map(|v| grads[v.0 as usize]).collect();
            // A `wrt` in the middle of the graph is a leaf for what was asked, but other `wrt` may lie above it: go on through it.
            if !wanted.contains(&true) || dy.iter().all(Option::is_none) {
                continue;
            }
            self.set_scope(&format!("{}/gradient", node.name));
            let mut g = Gradient::new(self, &node.inputs, &node.outputs, &dy, &wanted);
            node.op.gradient(&mut g).map_err(|e| e.at(&node.name))?;
            let dx = g.finish();
            for ((&x, dx), wanted) in node.inputs.iter().zip(dx).zip(wanted) {
                let Some(dx) = dx.filter(|_| wanted) else { continue };
                self.info(dx).ty.expect("gradient", &self.info(x).ty.clone()).map_err(|e| e.at(&node.name))?;
                let slot = x.0 as usize;
                grads[slot] = Some(match grads[slot] {
                    None => dx,
                    Some(sum) => self.node(Binary::<Add>::new(), &[sum, dx])?,
                });
            }
        }
        wrt.iter()
            .map(|&v| match grads[v.0 as usize] {
                Some(g) => Ok(g),
                None => {
                    let shape = self.info(v).ty.shape.clone();
                    self.node(Fill { value: 0.0, shape }, &[])
                }
            })
            .collect()
    }
}
