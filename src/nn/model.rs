//! A model: layers with parameters on a device, and the programs made of them.

use super::Mode;
use super::feed::{DataPorts, Resident, max_binding_bytes};
use super::network::Network;
use super::parameters::{Layout, Pages, Parameter};
use super::summary::Summary;
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
    /// Images that prediction is fed.
    pub x: Option<Value>,
    /// Samples of a data set.
    pub data: Option<DataPorts>,
    /// Number of the training step, u32 `[1]`.
    pub step: Option<Value>,
    /// Learning rate and what else an optimizer changes from step to step, f32 `[6]`.
    pub hyper: Option<Value>,
    /// The same of the sum of gradients, where several batches make one.
    pub accumulation: Option<Value>,
    /// What prediction fetches.
    pub y: Option<Value>,
}

impl Model {
    pub(super) async fn new(network: Network, device: &Device) -> Result<Model> {
        let (declared, layers) = network.declare()?;
        let summary = Summary::new(&declared, layers);
        let layout = Layout::new(declared, max_binding_bytes(device));
        let mut model = Model {
            network,
            layout,
            runtime: Runtime::new(device),
            summary,
            programs: HashMap::new(),
            resident: Vec::new(),
            largest_batch: 256,
            trained: Trained::default(),
        };
        // Refuses what the device can't hold before memory is taken.
        model.plan_prediction(1, false)?;
        model.initialise().await?;
        Ok(model)
    }

    async fn initialise(&mut self) -> Result<()> {
        let mut pages: Vec<Vec<f32>> = self.layout.pages.iter().map(|page| vec![0.0; page.len]).collect();
        for (i, p) in self.layout.parameters.iter().enumerate() {
            let values = p.init.tensor(&p.shape, self.network.seed, i as u32)?;
            fill(&mut pages, p, values.as_f32()?);
        }
        self.set_pages(pages).await
    }

    async fn set_pages(&mut self, pages: Vec<Vec<f32>>) -> Result<()> {
        for (i, page) in pages.into_iter().enumerate() {
            self.runtime.set_state(&self.layout.page_name(i), &Tensor::f32([page.len()], page)?).await?;
        }
        Ok(())
    }

    /// The device that the model is on.
    pub fn device(&self) -> &Device {
        self.runtime.device()
    }

    /// Shape of a sample, without the batch.
    pub fn input_shape(&self) -> &Shape {
        &self.network.input
    }

    /// Shape of the output for a sample, without the batch.
    pub fn output_shape(&self) -> &Shape {
        self.summary.layers.last().map_or(&self.network.input, |l| &l.output)
    }

    /// Number of classes of a classifier, which has an output for each.
    pub(crate) fn classes(&self) -> Result<usize> {
        match *self.output_shape().dims() {
            [classes] => Ok(classes),
            _ => {
                let want = "[classes]; end the network with `.flatten()` and a dense layer";
                Err(Error::invalid("output shape", self.output_shape(), want).at(self.network.last_name()))
            }
        }
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

    /// The parameters by name, `layer/weight` and `layer/bias`, in the order of the layers: convolutions `[k_h, k_w, c_in / groups, c_out]`,
    /// dense layers `[in, out]`. The running means of batch norm are among them.
    ///
    /// # Errors
    /// [`Error::Gpu`], [`Error::DeviceLost`].
    pub fn weights(&mut self) -> Result<Vec<(String, Tensor)>> {
        pollster::block_on(self.weights_async())
    }

    /// [`Model::weights`] for programs that mustn't block.
    pub async fn weights_async(&mut self) -> Result<Vec<(String, Tensor)>> {
        let mut pages = Vec::with_capacity(self.layout.pages.len());
        for i in 0..self.layout.pages.len() {
            pages.push(self.runtime.state(&self.layout.page_name(i)).await?);
        }
        let read = |p: &Parameter| {
            let mut values = Vec::with_capacity(p.shape.elements());
            for piece in &p.pieces {
                values.extend_from_slice(&pages[piece.page].as_f32()?[piece.offset..][..piece.shape.elements()]);
            }
            Ok((p.name.clone(), Tensor::f32(p.shape.clone(), values)?))
        };
        self.layout.parameters.iter().map(read).collect()
    }

    /// Sets all parameters and running means, in any order.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a name that the model doesn't have or that comes twice, for one that is missing, and for a tensor of
    /// another shape or type; then nothing is changed. [`Error::Gpu`], [`Error::DeviceLost`].
    pub fn set_weights(&mut self, weights: &[(String, Tensor)]) -> Result<()> {
        pollster::block_on(self.set_weights_async(weights))
    }

    /// [`Model::set_weights`] for programs that mustn't block.
    pub async fn set_weights_async(&mut self, weights: &[(String, Tensor)]) -> Result<()> {
        let names = || self.layout.parameters.iter().map(|p| p.name.as_str()).collect::<Vec<_>>().join(", ");
        let mut pages: Vec<Vec<f32>> = self.layout.pages.iter().map(|page| vec![0.0; page.len]).collect();
        let mut seen = vec![false; self.layout.parameters.len()];
        for (name, tensor) in weights {
            let Some(i) = self.layout.parameters.iter().position(|p| p.name == *name) else {
                return Err(Error::invalid("weights", format!("'{name}'"), format!("names of this model: {}", names())));
            };
            if std::mem::replace(&mut seen[i], true) {
                return Err(Error::invalid("weights", format!("'{name}' twice"), "each name once"));
            }
            let p = &self.layout.parameters[i];
            tensor.tensor_type().expect("weights", &TensorType::f32(p.shape.clone())).map_err(|e| e.at(name))?;
            fill(&mut pages, p, tensor.as_f32()?);
        }
        if let Some(i) = seen.iter().position(|seen| !seen) {
            let missing = &self.layout.parameters[i].name;
            return Err(Error::invalid("weights", format!("none for '{missing}'"), format!("all of {}", names())));
        }
        self.set_pages(pages).await
    }

    /// Adds the network to a graph.
    pub(crate) fn forward(&self, graph: &mut Graph, mode: Mode, x: Value, step: Option<Value>) -> Result<(Value, Pages)> {
        let mut pages = Pages::new(self.layout.clone());
        let y = self.network.forward(graph, &mut pages, mode, x, step)?;
        Ok((y, pages))
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

/// Puts a parameter's values in their places.
fn fill(pages: &mut [Vec<f32>], parameter: &Parameter, values: &[f32]) {
    for (piece, range) in parameter.ranges() {
        pages[piece.page][piece.offset..][..range.len()].copy_from_slice(&values[range]);
    }
}
