//! Named layers in an order of execution, and how they become nodes of a graph.

use super::layer::{LayerContext, Parameters, batched};
use super::net::{Kind, Net, Node, Settings, full_name};
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

/// Values of parameters by name.
type ByName = Vec<(String, Value)>;

/// A layer under its name, read at one place.
#[derive(Clone, Debug)]
pub(super) struct Named {
    pub name: String,
    pub layer: Arc<dyn Layer>,
    /// What it reads.
    inputs: Vec<Source>,
    /// Initial values of weights, if other than the network's.
    init: Option<Init>,
    pub trainable: bool,
    /// Whether it is among the layers before, at another place.
    again: bool,
}

/// What a layer reads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Source {
    /// An input of the network.
    Input(usize),
    /// The output of a layer before it, by its index.
    Layer(usize),
}

/// An input or output of a network.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Port {
    pub name: String,
    /// Type of a sample, without the batch.
    pub ty: TensorType,
    /// Samples are whole numbers below this.
    pub rows: Option<usize>,
}

/// What a model is made of, without the parameters' values.
#[derive(Clone, Debug)]
pub(crate) struct Network {
    pub inputs: Vec<Port>,
    /// In an order of execution.
    pub(super) layers: Vec<Named>,
    /// At least one.
    outputs: Vec<Source>,
    /// What described networks want where they were put on others.
    entries: Vec<(Source, TensorType)>,
    pub seed: Seed,
    pub init: Init,
}

impl Network {
    /// The network that ends in `outputs`. Layers without a name get one that nobody has, as Keras gives it: `conv2d`, `conv2d_1`, ...
    pub fn new(outputs: &[&Net], seed: Seed) -> Result<Network> {
        let ends: Vec<&Arc<Node>> = outputs.iter().map(|net| &net.node).collect();
        let nodes = in_order(&ends);
        let mut names = Names::default();
        let mut given: HashMap<*const (), String> = HashMap::new();
        for node in &nodes {
            if let Some(fault) = &node.settings.fault {
                return Err(fault.clone());
            }
            let Some(name) = &node.settings.name else { continue };
            let name = full_name(&node.settings.scope, name);
            if name.is_empty() || name.contains('/') || name.chars().any(char::is_control) {
                let got = format!("'{}'", name.escape_debug());
                return Err(Error::invalid("layer name", got, "a name without '/' in one line"));
            }
            let first = match &node.kind {
                Kind::Layer(layer) => given.insert(identity(layer), name.clone()).is_none(),
                _ => true,
            };
            if first && !names.taken.insert(name.clone()) {
                return Err(Error::invalid("layer name", format!("'{name}' twice"), "different names"));
            }
        }
        given.clear();
        let mut sources: HashMap<*const Node, Source> = HashMap::new();
        let (mut inputs, mut layers, mut entries) = (Vec::new(), Vec::with_capacity(nodes.len()), Vec::new());
        for node in &nodes {
            let Settings { name, scope, init, trainable, .. } = &node.settings;
            let name = |names: &mut Names, kind| match name {
                Some(name) => full_name(scope, name),
                None => names.free(&full_name(scope, kind)),
            };
            let source = match &node.kind {
                Kind::Input(ty) => {
                    let ty = TensorType::new(ty.dtype, ty.shape.clone().checked("input shape")?);
                    inputs.push(Port { name: name(&mut names, INPUT), ty, rows: None });
                    Source::Input(inputs.len() - 1)
                }
                Kind::Entry(ty) => {
                    let source = sources[&Arc::as_ptr(&node.inputs[0])];
                    entries.push((source, ty.clone()));
                    source
                }
                Kind::Layer(layer) => {
                    let known = given.get(&identity(layer)).cloned();
                    let again = known.is_some();
                    let name = known.unwrap_or_else(|| name(&mut names, layer.type_name()));
                    given.insert(identity(layer), name.clone());
                    let read: Vec<Source> = node.inputs.iter().map(|input| sources[&Arc::as_ptr(input)]).collect();
                    if let ([Source::Input(i)], Some(rows)) = (&read[..], layer.rows()) {
                        inputs[*i].rows = Some(inputs[*i].rows.map_or(rows, |least: usize| least.min(rows)));
                    }
                    let (layer, init, trainable) = (Arc::clone(layer), *init, *trainable);
                    layers.push(Named { name, layer, inputs: read, init, trainable, again });
                    Source::Layer(layers.len() - 1)
                }
            };
            sources.insert(Arc::as_ptr(node), source);
        }
        if layers.is_empty() {
            return Err(Error::invalid("layers", "none", "at least one"));
        }
        if inputs.is_empty() {
            return Err(Error::invalid("inputs of the network", "none", "layers that begin at a `Net::input`"));
        }
        let init = outputs.first().map_or(Init::GlorotUniform, |net| net.init);
        let outputs = ends.iter().map(|&node| sources[&Arc::as_ptr(node)]).collect();
        Ok(Network { inputs, layers, outputs, entries, seed, init })
    }

    /// The network up to a layer, as a description with the same names.
    pub fn net(&self, layer: &str) -> Result<Net> {
        let Some(last) = self.layers.iter().position(|l| l.name == layer) else {
            let names: Vec<&str> = self.layers.iter().map(|l| l.name.as_str()).collect();
            return Err(Error::invalid("layer", format!("'{layer}'"), format!("one of {}", names.join(", "))));
        };
        let scope = Arc::from("");
        let settings = |name: &str| Settings { name: Some(name.to_string()), ..Settings::within(&scope) };
        let input = |port: &Port| {
            let (kind, settings) = (Kind::Input(port.ty.clone()), settings(&port.name));
            Arc::new(Node { kind, inputs: Vec::new(), settings })
        };
        let inputs: Vec<Arc<Node>> = self.inputs.iter().map(input).collect();
        let mut nodes: Vec<Arc<Node>> = Vec::with_capacity(last + 1);
        for l in &self.layers[..=last] {
            let read = |source: &Source| match *source {
                Source::Input(i) => Arc::clone(&inputs[i]),
                Source::Layer(i) => Arc::clone(&nodes[i]),
            };
            let inputs = l.inputs.iter().map(read).collect();
            let settings = Settings { init: l.init, trainable: l.trainable, ..settings(&l.name) };
            nodes.push(Arc::new(Node { kind: Kind::Layer(Arc::clone(&l.layer)), inputs, settings }));
        }
        Ok(Net::of(Arc::clone(&nodes[last]), self.init))
    }

    /// The only input's sample.
    ///
    /// # Errors
    /// For several inputs.
    pub fn input(&self) -> Result<&TensorType> {
        match &self.inputs[..] {
            [port] => Ok(&port.ty),
            several => {
                let names: Vec<&str> = several.iter().map(|port| port.name.as_str()).collect();
                Err(Error::invalid("inputs of the network", names.join(", "), "one; `predict_all` takes several"))
            }
        }
    }

    /// Names of the outputs: those of their layers.
    pub fn output_names(&self) -> Vec<String> {
        let mut names = Names::default();
        self.outputs.iter().map(|&source| names.free(self.name_of(source))).collect()
    }

    /// Names of the layers, and whether each is trained, in an order of execution.
    pub fn layer_names(&self) -> impl Iterator<Item = (&str, bool)> {
        self.layers.iter().map(|layer| (layer.name.as_str(), layer.trainable))
    }

    /// Name of the layer that the first output comes from.
    pub fn last_name(&self) -> &str {
        self.name_of(self.outputs[0])
    }

    /// The input that an output is, if it comes from no layer.
    pub fn input_of_output(&self, output: usize) -> Option<&Port> {
        match self.outputs[output] {
            Source::Input(i) => Some(&self.inputs[i]),
            Source::Layer(_) => None,
        }
    }

    /// Index of the layer that an output comes from; none if that is an input.
    pub fn output_layer(&self, output: usize) -> Option<usize> {
        match self.outputs[output] {
            Source::Input(_) => None,
            Source::Layer(i) => Some(i),
        }
    }

    /// Whether the first output is probabilities already.
    pub fn ends_in_softmax(&self) -> bool {
        self.output_layer(0).is_some_and(|i| self.layers[i].layer.type_name() == "softmax")
    }

    /// Adds a graph's inputs, for batches of `n`.
    pub fn add_inputs(&self, graph: &mut Graph, n: usize) -> Result<Vec<Value>> {
        self.inputs.iter().map(|port| graph.input(&port.name, port.batch(n))).collect()
    }

    /// Adds the layers to a graph, on parameters that lie in pages; returns the outputs. `step` is the number of the training step, in
    /// training.
    pub fn forward(
        &self,
        graph: &mut Graph,
        pages: &mut Pages,
        mode: Mode,
        x: &[Value],
        step: Option<Value>,
    ) -> Result<Vec<Value>> {
        let made = self.forward_all(graph, pages, mode, x, step)?;
        Ok(self.outputs.iter().map(|&source| value(source, (x, &made))).collect())
    }

    /// As [`Network::forward`], but returns the output of each layer, in their order.
    pub fn forward_all(
        &self,
        graph: &mut Graph,
        pages: &mut Pages,
        mode: Mode,
        x: &[Value],
        step: Option<Value>,
    ) -> Result<Vec<Value>> {
        let mut made = Vec::with_capacity(self.layers.len());
        for i in 0..self.layers.len() {
            let y = self.layer(i, graph, Parameters::Use(pages), mode, (x, &made), step)?;
            made.push(y);
        }
        Ok(made)
    }

    /// Of a graph's inputs and the layers' outputs, that of this name: the last one where a layer is shared.
    pub fn find(&self, name: &str, (inputs, made): (&[Value], &[Value])) -> Result<Value> {
        let layer = self.layers.iter().rposition(|layer| layer.name == name).map(|i| made[i]);
        let input = || self.inputs.iter().position(|port| port.name == name).map(|i| inputs[i]);
        layer.or_else(input).ok_or_else(|| {
            let names = self.inputs.iter().map(|port| &port.name).chain(self.layers.iter().map(|layer| &layer.name));
            let names: Vec<&str> = names.map(String::as_str).collect();
            Error::invalid("layer", format!("'{name}'"), format!("one of {}", names.join(", ")))
        })
    }

    /// Name of what gives the classes' scores: the first output, or what its softmax reads.
    pub fn logits_name(&self) -> &str {
        match self.output_layer(0).map(|i| &self.layers[i]) {
            Some(last) if self.ends_in_softmax() => self.name_of(last.inputs[0]),
            _ => self.last_name(),
        }
    }

    /// Checks all layers on a batch of one, and finds out their parameters and costs.
    pub fn declare(&self) -> Result<(Vec<Declared>, Vec<LayerSummary>)> {
        let mut graph = Graph::new();
        let mut declared: Vec<(Declared, Value)> = Vec::new();
        let mut summaries = Vec::with_capacity(self.layers.len());
        let mut made = Vec::with_capacity(self.layers.len());
        let x = self.add_inputs(&mut graph, 1)?;
        for (i, Named { name, layer, inputs, again, .. }) in self.layers.iter().enumerate() {
            for (source, want) in self.entries.iter().filter(|(source, _)| inputs.contains(source)) {
                let got = &graph.info(value(*source, (&x, &made))).ty;
                let want = TensorType::new(want.dtype, want.shape.with_batch(1));
                if *got != want {
                    let text = |ty: &TensorType| format!("{} {}", ty.dtype, batched(&ty.shape));
                    let got = format!("{} of '{}'", text(got), self.name_of(*source));
                    return Err(Error::invalid("input of a described network", got, text(&want)).at(name));
                }
            }
            let (first_node, first_parameter) = (graph.nodes().len(), declared.len());
            let parameters = Parameters::Declare { declared: &mut declared, again: *again };
            let y = self.layer(i, &mut graph, parameters, Mode::Inference, (&x, &made), None)?;
            made.push(y);
            let shape = &graph.info(y).ty.shape;
            let nodes = &graph.nodes()[first_node..];
            let flops = |n: &[_]| n.iter().map(|node| graph.cost(node).flops).sum::<u64>();
            // Matrices and kernels: a vector of parameters, as of a normalisation, scales or shifts.
            let is_weight = |v: &Value| {
                let info = graph.info(*v);
                !x.contains(v) && info.origin == Origin::Input && info.ty.shape.rank() > 1
            };
            let weighted: Vec<_> = nodes.iter().filter(|node| node.inputs.iter().any(is_weight)).cloned().collect();
            let in_line = match inputs[..] {
                [Source::Input(_)] => i == 0 && x.len() == 1,
                [Source::Layer(before)] => before + 1 == i,
                _ => false,
            };
            summaries.push(LayerSummary {
                name: name.clone(),
                kind: layer.type_name(),
                inputs: if in_line { Vec::new() } else { inputs.iter().map(|&s| self.name_of(s).to_string()).collect() },
                output: Shape::from(shape.dims().get(1..).unwrap_or_default()),
                parameters: declared[first_parameter..].iter().map(|(d, _)| d.shape.elements()).sum(),
                flops: flops(nodes),
                macs: flops(&weighted) / 2,
            });
        }
        Ok((declared.into_iter().map(|(d, _)| d).collect(), summaries))
    }

    /// Adds the layers to a graph, with all parameters as inputs of it; returns the outputs, and the parameters by name.
    pub fn add_to(&self, graph: &mut Graph, mode: Mode, x: &[Value], step: Option<Value>) -> Result<(Vec<Value>, ByName)> {
        if x.len() != self.inputs.len() {
            return Err(Error::invalid("inputs of the network", x.len(), self.inputs.len()));
        }
        let (mut declared, mut made) = (Vec::new(), Vec::with_capacity(self.layers.len()));
        for (i, layer) in self.layers.iter().enumerate() {
            let parameters = Parameters::Declare { declared: &mut declared, again: layer.again };
            let y = self.layer(i, graph, parameters, mode, (x, &made), step)?;
            made.push(y);
        }
        let outputs = self.outputs.iter().map(|&source| value(source, (x, &made))).collect();
        Ok((outputs, declared.into_iter().map(|(d, v)| (d.name, v)).collect()))
    }

    fn name_of(&self, source: Source) -> &str {
        match source {
            Source::Input(i) => &self.inputs[i].name,
            Source::Layer(i) => &self.layers[i].name,
        }
    }

    /// Adds layer `i`. `made` are the inputs and the outputs of the layers before it.
    fn layer(
        &self,
        i: usize,
        graph: &mut Graph,
        parameters: Parameters<'_>,
        mode: Mode,
        made: (&[Value], &[Value]),
        step: Option<Value>,
    ) -> Result<Value> {
        let Named { name, layer, inputs, init, trainable, .. } = &self.layers[i];
        let x: Vec<Value> = inputs.iter().map(|&source| value(source, made)).collect();
        let input_names: Vec<&str> = inputs.iter().map(|&s| self.name_of(s)).collect();
        graph.set_scope(name);
        let (seed, default_init, trainable) = (self.seed, init.unwrap_or(self.init), *trainable);
        let (input_names, index) = (&input_names, i as u32);
        let mut ctx = LayerContext { graph, parameters, mode, step, seed, default_init, trainable, name, index, input_names };
        let y = layer.build(&mut ctx, &x).map_err(|e| place(e, name))?;
        let (shape, input_shape) = (&graph.info(y).ty.shape, &graph.info(made.0[0]).ty.shape);
        if shape.dims().first() != input_shape.dims().first() {
            let n = input_shape.dims().first().copied().unwrap_or(1);
            let want = format!("the batch, {n}, as its first dimension (network's input {})", batched(input_shape));
            return Err(Error::invalid("output shape", shape, want).at(name));
        }
        Ok(y)
    }
}

impl Port {
    /// Type of a batch of `n`.
    pub fn batch(&self, n: usize) -> TensorType {
        TensorType::new(self.ty.dtype, self.ty.shape.with_batch(n))
    }
}

/// What a layer reads, of the network's inputs and the outputs of the layers so far.
fn value(source: Source, (inputs, made): (&[Value], &[Value])) -> Value {
    match source {
        Source::Input(i) => inputs[i],
        Source::Layer(i) => made[i],
    }
}

/// Where a layer lies in memory: what two nodes of one shared layer have in common.
fn identity(layer: &Arc<dyn Layer>) -> *const () {
    Arc::as_ptr(layer).cast()
}

/// All nodes below `ends` and themselves, each after its inputs: those of the first input first.
pub(super) fn in_order(ends: &[&Arc<Node>]) -> Vec<Arc<Node>> {
    let mut order = Vec::new();
    let mut seen: HashSet<*const Node> = HashSet::new();
    for &end in ends {
        if !seen.insert(Arc::as_ptr(end)) {
            continue;
        }
        // A node and how many of its inputs have been looked at.
        let mut path: Vec<(&Arc<Node>, usize)> = vec![(end, 0)];
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
    /// The next number of each name.
    next: HashMap<String, usize>,
}

impl Names {
    /// `wanted`, or with a number after it.
    fn free(&mut self, wanted: &str) -> String {
        let next = self.next.entry(wanted.to_string()).or_default();
        loop {
            let name = if *next == 0 { wanted.to_string() } else { format!("{wanted}_{next}") };
            *next += 1;
            if self.taken.insert(name.clone()) {
                return name;
            }
        }
    }
}
