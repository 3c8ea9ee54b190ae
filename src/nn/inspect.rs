//! A look inside a model: what its layers give, and how a number that it computes changes with them.

use super::model::Ports;
use super::parameters::Pages;
use super::predict::check_batch;
use super::{Mode, Model};
use crate::error::{Error, Result};
use crate::graph::{Graph, Plan};
use crate::op::Value;
use crate::ops::binary::{Binary, Mul};
use crate::tensor::{Tensor, TensorType};
use std::collections::HashMap;
use std::collections::hash_map::Entry;

/// What [`Model::gradients`] gives.
#[derive(Clone, PartialEq, Debug)]
pub struct Gradients {
    /// Output of the layer that was differentiated, f32 `[n, ..]`.
    pub output: Tensor,
    /// By what it was differentiated, in the order in which it was asked for.
    pub by: Vec<GradientBy>,
}

/// A gradient by the output of a layer.
#[derive(Clone, PartialEq, Debug)]
pub struct GradientBy {
    /// The layer, or the network's input.
    pub name: String,
    /// Its output, f32 `[n, ..]`.
    pub output: Tensor,
    /// The gradient, of the same shape.
    pub gradient: Tensor,
}

impl Model {
    /// The outputs of all layers for images `[n, ..]`, in inference, with the layers' names, in the order of [`Model::summary`]: each
    /// `[n, ..]`. A shared layer comes once for each place where it is read.
    ///
    /// All images are one run, and every output stays in the device's memory until the end of it.
    ///
    /// # Errors
    /// As for [`Model::predict`], which takes the same images.
    pub fn layer_outputs(&mut self, images: &Tensor) -> Result<Vec<(String, Tensor)>> {
        pollster::block_on(self.layer_outputs_async(images))
    }

    /// [`Model::layer_outputs`] for programs that mustn't block.
    pub async fn layer_outputs_async(&mut self, images: &Tensor) -> Result<Vec<(String, Tensor)>> {
        let n = self.check_images_of_one_input(images)?;
        let program = self.program(format!("layer outputs {n}"), |model| model.plan_layer_outputs(n)).await?;
        let (input, outputs) = (program.ports.inputs[0], program.ports.outputs.clone());
        self.run(&program, &[(input, images.clone())]).await?;
        let names: Vec<String> = self.network.layers.iter().map(|layer| layer.name.clone()).collect();
        let mut all = Vec::with_capacity(names.len());
        for (name, v) in names.into_iter().zip(outputs) {
            // In inference dropout gives what it reads, which may be the input.
            all.push((name, if v == input { images.clone() } else { self.runtime.fetch(program.id, v).await? }));
        }
        Ok(all)
    }

    fn plan_layer_outputs(&self, n: usize) -> Result<(Plan, Ports)> {
        let mut graph = Graph::new();
        let inputs = self.network.add_inputs(&mut graph, n)?;
        let mut pages = Pages::new(self.layout.clone());
        let outputs = self.network.forward_all(&mut graph, &mut pages, Mode::Inference, &inputs, None)?;
        let plan = self.device().plan(graph, &fetched(&outputs, &inputs))?;
        Ok((plan, Ports { inputs, outputs, ..Ports::default() }))
    }

    /// How a weighted sum of a layer's output changes with the outputs of other layers, or with the images: the gradients of the sum of
    /// `weights * output`, in inference, so without dropout and with batch norm's running statistics. The same for [`Model::logits_layer`]
    /// with a 1 for a class and 0 elsewhere is the gradient of the class's score.
    ///
    /// `weights` are f32 of the shape of the layer's output for these images, `[n, ..]`: each image has its own sum, and its gradients
    /// are those of its own. `by` are names of layers or that of the input ([`Model::inputs`]); the gradient by what the layer doesn't
    /// depend on is zero. A layer that is shared is meant where it is read last.
    ///
    /// All images are one run. The model keeps a program for each number of images and each choice of layers that it was asked for.
    ///
    /// ```
    /// use striate::{Device, Seed, Tensor, nn::Sequential};
    ///
    /// let mut model = Sequential::new([8, 8, 1]).conv2d(4, 3).relu().flatten().dense(3).build(&Device::cpu(), Seed(1))?;
    /// let image = Tensor::f32([1, 8, 8, 1], vec![0.5; 64])?;
    /// let scores = model.logits_layer().to_string();
    /// let class_2 = Tensor::f32([1, 3], vec![0.0, 0.0, 1.0])?;
    /// let found = model.gradients(&image, &scores, &class_2, &["input", "relu"])?;
    /// assert_eq!(found.by[0].gradient.shape().dims(), [1, 8, 8, 1]);
    /// assert_eq!(found.by[1].gradient.shape().dims(), [1, 6, 6, 4]);
    /// # Ok::<(), striate::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Invalid`] for a name that the model doesn't have, for weights of another shape, and for an input that isn't f32; else as
    /// for [`Model::predict`].
    pub fn gradients(&mut self, images: &Tensor, layer: &str, weights: &Tensor, by: &[&str]) -> Result<Gradients> {
        pollster::block_on(self.gradients_async(images, layer, weights, by))
    }

    /// [`Model::gradients`] for programs that mustn't block.
    pub async fn gradients_async(&mut self, images: &Tensor, layer: &str, weights: &Tensor, by: &[&str]) -> Result<Gradients> {
        let n = self.check_images_of_one_input(images)?;
        let key = format!("gradients {n}, {layer:?} by {by:?}");
        let program = self.program(key, |model| model.plan_gradients(n, layer, by)).await?;
        let (input, weights_input) = (program.ports.inputs[0], program.ports.inputs[1]);
        let want = self.runtime.plan(program.id).graph.info(weights_input).ty.clone();
        weights.tensor_type().expect("weights", &want).map_err(|e| e.at(layer))?;
        self.run(&program, &[(input, images.clone()), (weights_input, weights.clone())]).await?;
        let mut tensors: HashMap<Value, Tensor> = HashMap::from([(input, images.clone())]);
        for &v in &program.ports.outputs {
            if let Entry::Vacant(place) = tensors.entry(v) {
                place.insert(self.runtime.fetch(program.id, v).await?);
            }
        }
        let [output, rest @ ..] = &program.ports.outputs[..] else {
            unreachable!("plan_gradients begins with the layer's output")
        };
        let (outputs, gradients) = rest.split_at(by.len());
        let by = by.iter().zip(outputs).zip(gradients).map(|((name, output), gradient)| GradientBy {
            name: name.to_string(),
            output: tensors[output].clone(),
            gradient: tensors[gradient].clone(),
        });
        Ok(Gradients { output: tensors[output].clone(), by: by.collect() })
    }

    fn plan_gradients(&self, n: usize, layer: &str, by: &[&str]) -> Result<(Plan, Ports)> {
        let mut graph = Graph::new();
        let inputs = self.network.add_inputs(&mut graph, n)?;
        let mut pages = Pages::new(self.layout.clone());
        let made = self.network.forward_all(&mut graph, &mut pages, Mode::Inference, &inputs, None)?;
        let named = |name: &str| self.network.find(name, (&inputs, &made));
        let output = named(layer)?;
        let wrt = by.iter().map(|name| named(name)).collect::<Result<Vec<Value>>>()?;
        graph.set_scope(layer);
        let weights = graph.input("weights", TensorType::f32(graph.info(output).ty.shape.clone()))?;
        let sum = graph.node(Binary::<Mul>::new(), &[output, weights])?;
        let gradients = graph.gradients(sum, &wrt)?;
        let outputs = [vec![output], wrt, gradients].concat();
        let fetched = fetched(&outputs, &inputs);
        graph.fuse(&fetched);
        Ok((self.device().plan(graph, &fetched)?, Ports { inputs: vec![inputs[0], weights], outputs, ..Ports::default() }))
    }

    /// Name of the layer whose outputs are the classes' scores before softmax: the last, or, where that is softmax, the one before it.
    pub fn logits_layer(&self) -> &str {
        self.network.logits_name()
    }

    /// How many these images are; fails unless they are what a network of one input takes.
    fn check_images_of_one_input(&self, images: &Tensor) -> Result<usize> {
        self.network.input()?;
        check_batch(images, &self.network.inputs[0], true)?;
        images.shape().dims().first().copied().ok_or_else(|| Error::invalid("images", "none", "[n, ..]"))
    }
}

/// The values among these that a plan makes, each once.
fn fetched(values: &[Value], inputs: &[Value]) -> Vec<Value> {
    let mut all: Vec<Value> = Vec::with_capacity(values.len());
    for &v in values {
        if !inputs.contains(&v) && !all.contains(&v) {
            all.push(v);
        }
    }
    all
}
