//! A chain of named layers, and how it becomes nodes of a graph.

use super::layer::{LayerContext, Parameters, batched};
use super::parameters::{Declared, Pages};
use super::summary::LayerSummary;
use super::{Init, Layer, Mode};
use crate::error::{Error, Result};
use crate::graph::{Graph, Origin};
use crate::op::Value;
use crate::random::Seed;
use crate::tensor::{Shape, TensorType};
use std::collections::HashSet;
use std::sync::Arc;

/// A layer under its name.
#[derive(Clone, Debug)]
pub(super) struct Named {
    pub name: String,
    pub layer: Arc<dyn Layer>,
}

/// What a model is made of, without the parameters' values.
#[derive(Clone, Debug)]
pub(crate) struct Network {
    /// Shape of a sample.
    pub input: Shape,
    pub(super) layers: Vec<Named>,
    pub seed: Seed,
    pub init: Init,
}

impl Network {
    /// A network of these layers; those without a name get one that nobody has, as Keras gives it: `conv2d`, `conv2d_1`, ...
    pub fn new(input: Shape, layers: Vec<(Option<String>, Arc<dyn Layer>)>, seed: Seed, init: Init) -> Result<Network> {
        let mut taken: HashSet<String> = HashSet::new();
        for name in layers.iter().filter_map(|(name, _)| name.as_ref()) {
            if name.is_empty() || name.contains('/') || name.chars().any(char::is_control) {
                return Err(Error::invalid("layer name", format!("'{}'", name.escape_debug()), "a name without '/' in one line"));
            }
            if !taken.insert(name.clone()) {
                return Err(Error::invalid("layer name", format!("'{name}' twice"), "different names"));
            }
        }
        let mut named = Vec::with_capacity(layers.len());
        for (name, layer) in layers {
            let name = name.unwrap_or_else(|| free_name(layer.type_name(), &mut taken));
            named.push(Named { name, layer });
        }
        Ok(Network { input, layers: named, seed, init })
    }

    /// Name of the last layer.
    pub fn last_name(&self) -> &str {
        self.layers.last().map_or("input", |l| &l.name)
    }

    /// Whether the outputs are probabilities already.
    pub fn ends_in_softmax(&self) -> bool {
        self.layers.last().is_some_and(|l| l.layer.type_name() == "softmax")
    }

    /// Type of a batch of inputs.
    pub fn input_type(&self, n: usize) -> TensorType {
        TensorType::f32(self.input.with_batch(n))
    }

    /// Adds the layers to a graph, on parameters that lie in pages. `step` is the number of the training step, in training.
    pub fn forward(&self, graph: &mut Graph, pages: &mut Pages, mode: Mode, x: Value, step: Option<Value>) -> Result<Value> {
        let mut y = x;
        for i in 0..self.layers.len() {
            y = self.layer(i, graph, Parameters::Use(pages), mode, y, step)?;
        }
        Ok(y)
    }

    /// Checks all layers on a batch of one, and finds out their parameters and costs.
    pub fn declare(&self) -> Result<(Vec<Declared>, Vec<LayerSummary>)> {
        let mut graph = Graph::new();
        let mut declared = Vec::new();
        let mut summaries = Vec::with_capacity(self.layers.len());
        let mut x = graph.input("input", self.input_type(1))?;
        for (i, Named { name, layer }) in self.layers.iter().enumerate() {
            let (first_node, first_parameter) = (graph.nodes().len(), declared.len());
            let y = self.layer(i, &mut graph, Parameters::Declare(&mut declared), Mode::Inference, x, None)?;
            let shape = &graph.info(y).ty.shape;
            let nodes = &graph.nodes()[first_node..];
            let flops = |n: &[_]| n.iter().map(|node| graph.cost(node).flops).sum::<u64>();
            let weighs = |v: &Value| graph.info(*v).origin == Origin::Input && graph.info(*v).name != "input";
            let weighted: Vec<_> = nodes.iter().filter(|node| node.inputs.iter().any(weighs)).cloned().collect();
            summaries.push(LayerSummary {
                name: name.clone(),
                kind: layer.type_name(),
                output: Shape::from(shape.dims().get(1..).unwrap_or_default()),
                parameters: declared[first_parameter..].iter().map(|d: &Declared| d.shape.elements()).sum(),
                flops: flops(nodes),
                macs: flops(&weighted) / 2,
            });
            x = y;
        }
        Ok((declared, summaries))
    }

    fn layer(
        &self,
        i: usize,
        graph: &mut Graph,
        parameters: Parameters<'_>,
        mode: Mode,
        x: Value,
        step: Option<Value>,
    ) -> Result<Value> {
        let Named { name, layer } = &self.layers[i];
        let n = graph.info(x).ty.shape.dims()[0];
        graph.set_scope(name);
        let (seed, default_init) = (self.seed, self.init);
        let mut ctx = LayerContext { graph, parameters, mode, step, seed, default_init, name, index: i as u32 };
        let y = layer.build(&mut ctx, x).map_err(|e| place(e, name))?;
        let shape = &graph.info(y).ty.shape;
        if shape.dims().first() != Some(&n) {
            let want = format!("the batch, {n}, as its first dimension (input {})", batched(&graph.info(x).ty.shape));
            return Err(Error::invalid("output shape", shape, want).at(name));
        }
        Ok(y)
    }
}

/// Puts the layer's name before an error, unless the graph already has.
fn place(error: Error, name: &str) -> Error {
    match &error {
        Error::Invalid { place, .. } if place == name || place.starts_with(&format!("{name}: ")) => error,
        _ => error.at(name),
    }
}

fn free_name(kind: &str, taken: &mut HashSet<String>) -> String {
    let mut name = kind.to_string();
    let mut n = 0;
    while !taken.insert(name.clone()) {
        n += 1;
        name = format!("{kind}_{n}");
    }
    name
}
