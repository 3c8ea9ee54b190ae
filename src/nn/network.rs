//! Named layers in an order of execution, and how they become nodes of a graph.

use super::layer::{LayerContext, Parameters, batched};
use super::net::{Kind, Net, Node};
use super::parameters::{Declared, Pages};
use super::summary::LayerSummary;
use super::{Init, Layer, Mode};
use crate::error::{Error, Result};
use crate::graph::{Graph, Origin};
use crate::op::Value;
use crate::random::Seed;
use crate::tensor::{Shape, TensorType};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// What the network's input is called in messages and in the summary.
const INPUT: &str = "input";

/// A layer under its name.
#[derive(Clone, Debug)]
pub(super) struct Named {
    pub name: String,
    pub layer: Arc<dyn Layer>,
    /// What it reads.
    inputs: Vec<Source>,
}

/// What a layer reads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Source {
    /// The samples.
    Input,
    /// The output of a layer before it, by its index.
    Layer(usize),
}

/// What a model is made of, without the parameters' values.
#[derive(Clone, Debug)]
pub(crate) struct Network {
    /// Shape of a sample.
    pub input: Shape,
    /// In an order of execution; the last one's output is the network's.
    pub(super) layers: Vec<Named>,
    pub seed: Seed,
    pub init: Init,
}

impl Network {
    /// The network that ends in `net`. Layers without a name get one that nobody has, as Keras gives it: `conv2d`, `conv2d_1`, ...
    pub fn new(net: &Net, seed: Seed) -> Result<Network> {
        let nodes = in_order(&net.node);
        let (mut names, mut shape) = (Names::default(), None);
        for node in &nodes {
            if let Some(name) = &node.misnamed {
                let got = format!("'{name}' for a layer that is read already");
                return Err(Error::invalid("layer name", got, "`.named()` right after the layer"));
            }
            match (&node.kind, &node.name) {
                (Kind::Input(_), Some(name)) => {
                    let got = format!("'{name}' before the first layer");
                    return Err(Error::invalid("layer name", got, "`.named()` after a layer"));
                }
                (Kind::Input(_), None) if shape.is_some() => {
                    return Err(Error::invalid(
                        "inputs of the network",
                        "several",
                        "one `Net::input` that all branches begin at",
                    ));
                }
                (Kind::Input(input), None) => shape = Some(input.clone().checked("input shape")?),
                (Kind::Layer(_), Some(name)) => {
                    if name.is_empty() || name.contains('/') || name.chars().any(char::is_control) {
                        let got = format!("'{}'", name.escape_debug());
                        return Err(Error::invalid("layer name", got, "a name without '/' in one line"));
                    }
                    if !names.taken.insert(name.clone()) {
                        return Err(Error::invalid("layer name", format!("'{name}' twice"), "different names"));
                    }
                }
                (Kind::Layer(_), None) => {}
            }
        }
        let mut sources: HashMap<*const Node, Source> = HashMap::new();
        let mut layers = Vec::with_capacity(nodes.len());
        for node in &nodes {
            let source = match &node.kind {
                Kind::Input(_) => Source::Input,
                Kind::Layer(layer) => {
                    let name = node.name.clone().unwrap_or_else(|| names.free(layer.type_name()));
                    let inputs = node.inputs.iter().map(|input| sources[&Arc::as_ptr(input)]).collect();
                    layers.push(Named { name, layer: Arc::clone(layer), inputs });
                    Source::Layer(layers.len() - 1)
                }
            };
            sources.insert(Arc::as_ptr(node), source);
        }
        let Some(input) = shape else {
            return Err(Error::invalid("inputs of the network", "none", "layers that begin at a `Net::input`"));
        };
        if layers.is_empty() {
            return Err(Error::invalid("layers", "none", "at least one"));
        }
        Ok(Network { input, layers, seed, init: net.init })
    }

    /// Name of the last layer.
    pub fn last_name(&self) -> &str {
        self.layers.last().map_or(INPUT, |l| &l.name)
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
        let mut outputs = Vec::with_capacity(self.layers.len());
        for i in 0..self.layers.len() {
            let y = self.layer(i, graph, Parameters::Use(pages), mode, (x, &outputs), step)?;
            outputs.push(y);
        }
        Ok(outputs.pop().unwrap_or(x))
    }

    /// Checks all layers on a batch of one, and finds out their parameters and costs.
    pub fn declare(&self) -> Result<(Vec<Declared>, Vec<LayerSummary>)> {
        let mut graph = Graph::new();
        let mut declared = Vec::new();
        let mut summaries = Vec::with_capacity(self.layers.len());
        let mut outputs = Vec::with_capacity(self.layers.len());
        let x = graph.input(INPUT, self.input_type(1))?;
        for (i, Named { name, layer, inputs }) in self.layers.iter().enumerate() {
            let (first_node, first_parameter) = (graph.nodes().len(), declared.len());
            let y = self.layer(i, &mut graph, Parameters::Declare(&mut declared), Mode::Inference, (x, &outputs), None)?;
            outputs.push(y);
            let shape = &graph.info(y).ty.shape;
            let nodes = &graph.nodes()[first_node..];
            let flops = |n: &[_]| n.iter().map(|node| graph.cost(node).flops).sum::<u64>();
            // Matrices and kernels: a vector of parameters, as of a normalisation, scales or shifts.
            let is_weight = |v: &Value| {
                let info = graph.info(*v);
                *v != x && info.origin == Origin::Input && info.ty.shape.rank() > 1
            };
            let weighted: Vec<_> = nodes.iter().filter(|node| node.inputs.iter().any(is_weight)).cloned().collect();
            let before = if i == 0 { Source::Input } else { Source::Layer(i - 1) };
            let in_line = *inputs == [before];
            summaries.push(LayerSummary {
                name: name.clone(),
                kind: layer.type_name(),
                inputs: if in_line { Vec::new() } else { inputs.iter().map(|&s| self.name_of(s).to_string()).collect() },
                output: Shape::from(shape.dims().get(1..).unwrap_or_default()),
                parameters: declared[first_parameter..].iter().map(|d: &Declared| d.shape.elements()).sum(),
                flops: flops(nodes),
                macs: flops(&weighted) / 2,
            });
        }
        Ok((declared, summaries))
    }

    fn name_of(&self, source: Source) -> &str {
        match source {
            Source::Input => INPUT,
            Source::Layer(i) => &self.layers[i].name,
        }
    }

    /// Adds layer `i`. `made` are the samples and the outputs of the layers before it.
    fn layer(
        &self,
        i: usize,
        graph: &mut Graph,
        parameters: Parameters<'_>,
        mode: Mode,
        made: (Value, &[Value]),
        step: Option<Value>,
    ) -> Result<Value> {
        let Named { name, layer, inputs } = &self.layers[i];
        let (input, outputs) = made;
        let value = |source: &Source| match *source {
            Source::Input => input,
            Source::Layer(i) => outputs[i],
        };
        let x: Vec<Value> = inputs.iter().map(value).collect();
        let input_names: Vec<&str> = inputs.iter().map(|&s| self.name_of(s)).collect();
        graph.set_scope(name);
        let (seed, default_init) = (self.seed, self.init);
        let input_names = &input_names;
        let mut ctx = LayerContext { graph, parameters, mode, step, seed, default_init, name, index: i as u32, input_names };
        let y = layer.build(&mut ctx, &x).map_err(|e| place(e, name))?;
        let (shape, input_shape) = (&graph.info(y).ty.shape, &graph.info(input).ty.shape);
        if shape.dims().first() != input_shape.dims().first() {
            let n = input_shape.dims().first().copied().unwrap_or(1);
            let want = format!("the batch, {n}, as its first dimension (network's input {})", batched(input_shape));
            return Err(Error::invalid("output shape", shape, want).at(name));
        }
        Ok(y)
    }
}

/// All nodes below `last` and itself, each after its inputs: those of the first input first.
fn in_order(last: &Arc<Node>) -> Vec<Arc<Node>> {
    let mut order = Vec::new();
    let mut seen: HashSet<*const Node> = HashSet::from([Arc::as_ptr(last)]);
    // A node and how many of its inputs have been looked at.
    let mut path: Vec<(&Arc<Node>, usize)> = vec![(last, 0)];
    while let Some((node, next)) = path.last_mut() {
        let node = *node;
        match node.inputs.get(*next) {
            Some(input) => {
                *next += 1;
                if seen.insert(Arc::as_ptr(input)) {
                    path.push((input, 0));
                }
            }
            None => {
                order.push(Arc::clone(node));
                path.pop();
            }
        }
    }
    order
}

/// Puts the layer's name before an error, unless the graph already has.
fn place(error: Error, name: &str) -> Error {
    match &error {
        Error::Invalid { place, .. } if place == name || place.starts_with(&format!("{name}: ")) => error,
        _ => error.at(name),
    }
}

/// Gives out names of the form `conv2d`, `conv2d_1`, ... that users haven't taken.
#[derive(Default)]
struct Names {
    taken: HashSet<String>,
    /// The next number of each kind of layer.
    next: HashMap<&'static str, usize>,
}

impl Names {
    fn free(&mut self, kind: &'static str) -> String {
        let next = self.next.entry(kind).or_default();
        loop {
            let name = if *next == 0 { kind.to_string() } else { format!("{kind}_{next}") };
            *next += 1;
            if self.taken.insert(name.clone()) {
                return name;
            }
        }
    }
}
