//! A model: layers with parameters on a device, and the programs made of them.

use super::Mode;
use super::feed::{DataPorts, Resident, max_binding_bytes};
use super::network::Network;
use super::parameters::{Layout, Pages};
use super::summary::Summary;
use crate::data::default_threads;
use crate::device::{Device, ProgramId, Runtime};
use crate::error::{Error, Result};
use crate::graph::{Graph, Memory, Plan};
use crate::op::Value;
use crate::tensor::{Shape, Tensor, TensorType};
use std::collections::{BTreeMap, HashMap};

/// A network with its parameters on a device: predicts, evaluates, trains. Made by [`Sequential::build`](super::Sequential::build) and
/// [`Net::build`](super::Net::build).
///
/// Methods that wait for the device block; each has an `_async` twin for programs that mustn't.
#[derive(Debug)]
pub struct Model {
    pub(crate) network: Network,
    pub(crate) layout: Layout,
    pub(crate) runtime: Runtime,
    summary: Summary,
    programs: HashMap<String, Program>,
    pub(super) resident: Vec<Resident>,
    /// Most samples that a run of prediction or evaluation takes at once.
    pub(crate) largest_batch: usize,
    /// Threads that read images which aren't in memory.
    pub(crate) loader_threads: usize,
    /// Steps and epochs of training so far, over all calls of `fit`.
    pub(crate) trained: Trained,
}

/// How far a model has been trained.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Trained {
    pub steps: u32,
    pub epochs: u32,
    /// Whether the last call of `fit` kept an average of the parameters.
    pub averaged: bool,
}

/// A loaded plan, and where its inputs and outputs are.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    pub id: ProgramId,
    pub ports: Ports,
}

/// Inputs and outputs of a program.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ports {
    /// The network's inputs, which prediction is fed.
    pub inputs: Vec<Value>,
    /// Samples of a data set.
    pub data: Option<DataPorts>,
    /// What samples are changed by on their way.
    pub changes: Vec<Value>,
    /// Number of the training step, u32 `[1]`.
    pub step: Option<Value>,
    /// Learning rate and what else an optimizer changes from step to step, f32 `[6]`.
    pub hyper: Option<Value>,
    /// The same of the sum of gradients, where several batches make one.
    pub accumulation: Option<Value>,
    /// What the means over an evaluated batch's labels count: that of the loss, and that of the hits, f32 `[1]` each.
    pub shares: Option<[Value; 2]>,
    /// The network's outputs, which prediction fetches.
    pub outputs: Vec<Value>,
    /// What training may fetch: the mean loss.
    pub y: Option<Value>,
}

impl Model {
    pub(super) async fn new(network: Network, device: &Device) -> Result<Model> {
        let mut model = Model::without_values(network, device)?;
        let mut pages = model.layout.empty();
        for (i, p) in model.layout.parameters.iter().enumerate() {
            let values = p.init.tensor(&p.shape, model.network.seed, i as u32).map_err(|e| e.at(&p.name))?;
            p.fill(&mut pages, values.as_f32()?);
        }
        model.set_pages(pages).await?;
        Ok(model)
    }

    /// A model whose parameters lie nowhere yet. Refuses what the device can't hold before memory is taken.
    pub(super) fn without_values(network: Network, device: &Device) -> Result<Model> {
        let (declared, layers) = network.declare()?;
        let summary = Summary::new(&declared, layers);
        let layout = Layout::new(declared, max_binding_bytes(device));
        let model = Model {
            network,
            layout,
            runtime: Runtime::new(device),
            summary,
            programs: HashMap::new(),
            resident: Vec::new(),
            // On the CPU more samples at once gain nothing from 32 on, and leave the caches.
            largest_batch: if device.profile().is_some() { 256 } else { 32 },
            loader_threads: default_threads(),
            trained: Trained::default(),
        };
        model.plan_prediction(1, false)?;
        Ok(model)
    }

    pub(super) async fn set_pages(&mut self, pages: Vec<Vec<f32>>) -> Result<()> {
        for (i, page) in pages.into_iter().enumerate() {
            self.runtime.set_state(&self.layout.page_name(i), &Tensor::f32([page.len()], page)?).await?;
        }
        Ok(())
    }

    /// The device that the model is on.
    pub fn device(&self) -> &Device {
        self.runtime.device()
    }

    /// Shape of a sample, without the batch; the first input's, if there are several.
    pub fn input_shape(&self) -> &Shape {
        &self.network.inputs[0].ty.shape
    }

    /// The inputs in order: name, and type of a sample, without the batch.
    pub fn inputs(&self) -> Vec<(&str, &TensorType)> {
        self.network.inputs.iter().map(|port| (port.name.as_str(), &port.ty)).collect()
    }

    /// Shape of the output for a sample, without the batch; the first output's, if there are several.
    pub fn output_shape(&self) -> &Shape {
        self.shape_of_output(0)
    }

    /// The outputs in order: name, which is that of the layer, and shape for a sample, without the batch.
    pub fn outputs(&self) -> Vec<(String, &Shape)> {
        self.network.output_names().into_iter().enumerate().map(|(i, name)| (name, self.shape_of_output(i))).collect()
    }

    pub(super) fn shape_of_output(&self, i: usize) -> &Shape {
        match (self.network.output_layer(i), self.network.input_of_output(i)) {
            (Some(layer), _) => &self.summary.layers[layer].output,
            (None, input) => input.map_or(self.input_shape(), |port| &port.ty.shape),
        }
    }

    /// Number of classes of a classifier, which has an output for each.
    pub(crate) fn classes(&self) -> Result<usize> {
        self.only_output()?;
        match *self.output_shape().dims() {
            [classes] => Ok(classes),
            _ => {
                let want = "[classes]; end the network with `.flatten()` and a dense layer";
                Err(Error::invalid("output shape", self.output_shape(), want).at(self.network.last_name()))
            }
        }
    }

    /// Whether the outputs are probabilities already.
    pub(crate) fn ends_in_softmax(&self) -> bool {
        self.network.ends_in_softmax()
    }

    /// Fails for a network of several outputs.
    pub(crate) fn only_output(&self) -> Result<()> {
        let names = self.network.output_names();
        if names.len() == 1 { Ok(()) } else { Err(Error::invalid("outputs of the network", names.join(", "), "one")) }
    }

    /// Number of parameters that training changes; the running means of batch norm are not among them.
    pub fn parameters(&self) -> usize {
        self.summary.trainable
    }

    /// The layers with their output shapes, parameters and costs. Print it for a table.
    pub fn summary(&self) -> Summary {
        self.summary.clone()
    }

    /// Bytes of memory that the model takes on its device now: parameters, the moments of optimizers, data sets, and what its programs
    /// need, which it makes one by one for each kind of work and size of batch.
    pub fn memory(&self) -> Memory {
        self.runtime.allocated()
    }

    /// The plans of the programs made so far, each with what it is for: to see what takes how much memory, and how many dispatches.
    pub fn plans(&self) -> BTreeMap<&str, &Plan> {
        self.programs.iter().map(|(key, program)| (key.as_str(), self.runtime.plan(program.id))).collect()
    }

    /// Adds a network of one input to a graph; of several outputs, the first is returned.
    pub(crate) fn forward(&self, graph: &mut Graph, mode: Mode, x: Value, step: Option<Value>) -> Result<(Value, Pages)> {
        let mut pages = Pages::new(self.layout.clone());
        let y = self.network.forward(graph, &mut pages, mode, &[x], step)?;
        Ok((y[0], pages))
    }

    /// The program called `key`, planned and loaded when it is asked for the first time.
    pub(crate) async fn program(&mut self, key: String, plan: impl FnOnce(&Model) -> Result<(Plan, Ports)>) -> Result<Program> {
        if let Some(program) = self.programs.get(&key) {
            return Ok(program.clone());
        }
        let (plan, ports) = plan(self)?;
        let program = Program { id: self.runtime.load(plan).await?, ports };
        self.programs.insert(key, program.clone());
        Ok(program)
    }

    /// Whether there is a program with this key.
    pub(crate) fn has_program(&self, key: &str) -> bool {
        self.programs.contains_key(key)
    }

    /// Runs a program, leaving out the feeds that it has no use for.
    pub(crate) async fn run(&mut self, program: &Program, feeds: &[(Value, Tensor)]) -> Result<()> {
        let used = self.used(program, feeds);
        self.runtime.run(program.id, &used).await
    }

    /// The feeds that a program has a use for.
    pub(crate) fn used<'a>(&self, program: &Program, feeds: &'a [(Value, Tensor)]) -> Vec<(Value, &'a Tensor)> {
        let plan = self.runtime.plan(program.id);
        feeds.iter().filter(|(v, _)| plan.location(*v).is_some()).map(|(v, t)| (*v, t)).collect()
    }
}
