//! What a model makes of images.

use super::feed::{Source, add_batch, advice, find};
use super::feeder::Feeder;
use super::model::{Ports, Program};
use super::network::Port;
use super::parameters::Pages;
use super::{Mode, Model};
use crate::data::Dataset;
use crate::error::{Error, Result};
use crate::graph::{Graph, Plan};
use crate::op::Value;
use crate::ops::softmax::Softmax;
use crate::tensor::{DType, Data, Tensor};

impl Model {
    /// The network's outputs for images, f32 `[n, ..]` in, f32 `[n, ..]` out: what its last layer gives, for a classifier a number
    /// a class that softmax has not been applied to.
    ///
    /// Images are taken as they are: those of a network that was trained on a [`Dataset`] must be normalised as that was;
    /// [`Model::predict_dataset`] does so itself. A run takes at most 256 images (on the CPU 32); for fewer the next power of two, so that a model keeps
    /// few programs. The last bits of an output may depend on how many images it is predicted with.
    ///
    /// # Errors
    /// [`Error::Invalid`] for images of another shape or type than the model takes, for none, and for a NaN or an infinity among
    /// them, which it names. [`Error::DoesNotFit`], [`Error::Gpu`], [`Error::DeviceLost`].
    pub fn predict(&mut self, images: &Tensor) -> Result<Tensor> {
        pollster::block_on(self.predict_async(images))
    }

    /// [`Model::predict`] for programs that mustn't block.
    pub async fn predict_async(&mut self, images: &Tensor) -> Result<Tensor> {
        self.only_output()?;
        self.network.input()?;
        Ok(self.outputs_for(&[images], false).await?.swap_remove(0))
    }

    /// All outputs of a network that may have several, for all its inputs: tensors with the inputs' names, in any order, each `[n, ..]` of its
    /// input's type; outputs f32 `[n, ..]` with their names ([`Model::outputs`]).
    ///
    /// # Errors
    /// [`Error::Invalid`] for an input that is missing, comes twice or is unknown, for inputs of different numbers of samples, and as for
    /// [`Model::predict`].
    pub fn predict_all(&mut self, inputs: &[(&str, &Tensor)]) -> Result<Vec<(String, Tensor)>> {
        pollster::block_on(self.predict_all_async(inputs))
    }

    /// [`Model::predict_all`] for programs that mustn't block.
    pub async fn predict_all_async(&mut self, inputs: &[(&str, &Tensor)]) -> Result<Vec<(String, Tensor)>> {
        let names: Vec<&str> = self.network.inputs.iter().map(|port| port.name.as_str()).collect();
        let mut given: Vec<&str> = inputs.iter().map(|(name, _)| *name).collect();
        let mut want = names.clone();
        given.sort_unstable();
        want.sort_unstable();
        if given != want {
            return Err(Error::invalid("inputs", given.join(", "), format!("each of {} once", names.join(", "))));
        }
        let tensor = |name: &&str| inputs.iter().find(|(n, _)| n == name).map(|(_, tensor)| *tensor);
        let tensors: Vec<&Tensor> = names.iter().filter_map(tensor).collect();
        let outputs = self.outputs_for(&tensors, false).await?;
        Ok(self.network.output_names().into_iter().zip(outputs).collect())
    }

    /// The probability of each class, `[n, classes]`: softmax of [`Model::predict`].
    ///
    /// # Errors
    /// As for [`Model::predict`]; [`Error::Invalid`] also if the network has other than one dimension of outputs.
    pub fn predict_probabilities(&mut self, images: &Tensor) -> Result<Tensor> {
        pollster::block_on(self.predict_probabilities_async(images))
    }

    /// [`Model::predict_probabilities`] for programs that mustn't block.
    pub async fn predict_probabilities_async(&mut self, images: &Tensor) -> Result<Tensor> {
        self.classes()?;
        self.network.input()?;
        Ok(self.outputs_for(&[images], !self.network.ends_in_softmax()).await?.swap_remove(0))
    }

    /// The most probable class of each image: where [`Model::predict`] is largest, the first one of equals.
    ///
    /// # Errors
    /// As for [`Model::predict`]; [`Error::Invalid`] also if an output is NaN or the network has other than one dimension of outputs.
    pub fn predict_classes(&mut self, images: &Tensor) -> Result<Vec<u32>> {
        pollster::block_on(self.predict_classes_async(images))
    }

    /// [`Model::predict_classes`] for programs that mustn't block.
    pub async fn predict_classes_async(&mut self, images: &Tensor) -> Result<Vec<u32>> {
        let classes = self.classes()?;
        let y = self.predict_async(images).await?;
        y.as_f32()?.chunks_exact(classes).enumerate().map(|(i, row)| largest(i, row)).collect()
    }

    /// [`Model::predict`] for all images of a data set, normalised as it says.
    ///
    /// # Errors
    /// As for [`Model::predict`].
    pub fn predict_dataset(&mut self, data: &Dataset) -> Result<Tensor> {
        pollster::block_on(self.predict_dataset_async(data))
    }

    /// [`Model::predict_dataset`] for programs that mustn't block.
    pub async fn predict_dataset_async(&mut self, data: &Dataset) -> Result<Tensor> {
        self.only_output()?;
        self.check_images(data)?;
        let source = self.source(data).await?;
        let mut out = Vec::new();
        let mut feeder = None;
        let mut at = 0;
        while at < data.len() {
            let n = (data.len() - at).min(self.largest_batch);
            let padded = n.next_power_of_two();
            let key = format!("predict {padded}, {}", source.key(data));
            let program = match self.program(key, |model| model.plan_on_dataset(data, source, padded)).await {
                Err(e) => {
                    self.halve_batch(e, padded)?;
                    feeder = None;
                    continue;
                }
                Ok(program) => program,
            };
            let (Some(ports), &[y]) = (program.ports.data, program.ports.outputs.as_slice()) else {
                unreachable!("plan_on_dataset sets both")
            };
            let feeder = feeder.get_or_insert_with(|| self.feeder_from(data, source, at));
            let Some(samples) = feeder.next()? else { unreachable!("batches of all samples") };
            // Rows beyond the end are a sample again; they are cut off.
            self.run(&program, &ports.feeds(data, samples.padded(padded)?)?).await?;
            self.take_rows(&program, y, n, padded, &mut out).await?;
            at += n;
        }
        Tensor::f32(self.output_shape().with_batch(data.len()), out)
    }

    /// The outputs for all inputs in order; after a softmax if it is asked for, which is for networks of one output.
    async fn outputs_for(&mut self, inputs: &[&Tensor], softmax: bool) -> Result<Vec<Tensor>> {
        for (tensor, port) in inputs.iter().zip(&self.network.inputs) {
            check_batch(tensor, port, inputs.len() == 1)?;
        }
        let n_samples = inputs[0].shape().dims()[0];
        if let Some(other) = inputs.iter().find(|tensor| tensor.shape().dims()[0] != n_samples) {
            let got = format!("{n_samples} and {}", other.shape().dims()[0]);
            return Err(Error::invalid("samples of the inputs", got, "equally many"));
        }
        let mut out = vec![Vec::new(); self.network.output_names().len()];
        let mut at = 0;
        while at < n_samples {
            let n = (n_samples - at).min(self.largest_batch);
            let padded = n.next_power_of_two();
            let key = format!("predict {padded}, softmax {softmax}");
            let program = match self.program(key, |model| model.plan_prediction(padded, softmax)).await {
                Err(e) => {
                    self.halve_batch(e, padded)?;
                    continue;
                }
                Ok(program) => program,
            };
            let mut feeds = Vec::with_capacity(inputs.len());
            for (&port, tensor) in program.ports.inputs.iter().zip(inputs) {
                feeds.push((port, rows(tensor, at, n, padded)?));
            }
            self.run(&program, &feeds).await?;
            for (&y, out) in program.ports.outputs.iter().zip(&mut out) {
                self.take_rows(&program, y, n, padded, out).await?;
            }
            at += n;
        }
        let shapes = (0..out.len()).map(|i| self.shape_of_output(i).with_batch(n_samples));
        shapes.zip(out).map(|(shape, values)| Tensor::f32(shape, values)).collect()
    }

    pub(crate) fn plan_prediction(&self, n: usize, softmax: bool) -> Result<(Plan, Ports)> {
        let mut graph = Graph::new();
        let inputs = self.network.add_inputs(&mut graph, n)?;
        let mut pages = Pages::new(self.layout.clone());
        let mut outputs = self.network.forward(&mut graph, &mut pages, Mode::Inference, &inputs, None)?;
        if softmax {
            graph.set_scope("softmax");
            outputs = vec![graph.node(Softmax, &outputs)?];
        }
        graph.fuse(&outputs);
        Ok((self.device().plan(graph, &outputs)?, Ports { inputs, outputs, ..Ports::default() }))
    }

    fn plan_on_dataset(&self, data: &Dataset, source: Source, n: usize) -> Result<(Plan, Ports)> {
        let mut graph = Graph::new();
        let batch = add_batch(&mut graph, data, source, n)?;
        let (y, _) = self.forward(&mut graph, Mode::Inference, batch.images, None)?;
        graph.fuse(&[y]);
        Ok((self.device().plan(graph, &[y])?, Ports { data: Some(batch.ports), outputs: vec![y], ..Ports::default() }))
    }

    /// All samples from one on, in their order, in batches that prediction and evaluation take.
    pub(crate) fn feeder_from<'a>(&self, data: &'a Dataset, source: Source, from: usize) -> Feeder<'a> {
        let (n, batch) = (data.len(), self.largest_batch);
        let batches = (from..n).step_by(batch).map(move |at| (at as u32..n.min(at + batch) as u32).collect());
        Feeder::new(data, source, self.loader_threads, batches)
    }

    /// Goes on with half of `n` samples a run if the device can't hold the program for `n`.
    pub(crate) fn halve_batch(&mut self, error: Error, n: usize) -> Result<()> {
        match error {
            Error::DoesNotFit { .. } if n > 1 => {
                self.largest_batch = n / 2;
                Ok(())
            }
            other => Err(other),
        }
    }

    async fn take_rows(&mut self, program: &Program, y: Value, n: usize, padded: usize, out: &mut Vec<f32>) -> Result<()> {
        let y = self.runtime.fetch(program.id, y).await?;
        let values = y.as_f32()?;
        out.extend_from_slice(&values[..values.len() / padded * n]);
        Ok(())
    }
}

/// Fails unless these are samples that the input takes.
pub(super) fn check_batch(samples: &Tensor, port: &Port, only: bool) -> Result<()> {
    let (got, want) = (samples.tensor_type(), &port.ty.shape);
    let what = if only { "images" } else { &port.name };
    if got.dtype != port.ty.dtype {
        let advice = if got.dtype == DType::U8 { "; bytes become f32 in a Dataset" } else { "" };
        return Err(Error::invalid(what, &got, format!("{}, [n{}]{advice}", port.ty.dtype, dims(want.dims()))));
    }
    if got.shape.dims().split_first().map(|(_, rest)| rest) != Some(want.dims()) {
        let sample = got.shape.dims().get(1..).unwrap_or_default();
        let advice = if got.shape == *want { "; a single image is a batch of 1" } else { advice(sample, want) };
        return Err(Error::invalid(what, &got, format!("{} [n{}]{advice}", got.dtype, dims(want.dims()))));
    }
    got.shape.clone().checked(what)?;
    let is_row = |v: f64| port.rows.is_none_or(|rows| v >= 0.0 && v < rows as f64 && v.fract() == 0.0);
    if let Some((i, value)) = find(samples, |_, v| !v.is_finite() || !is_row(v)) {
        let (sample, rest) = (i / want.elements(), i % want.elements());
        let mut index: Vec<String> = Vec::new();
        let mut len = want.elements();
        for d in want.dims() {
            let stride = len / d;
            index.push((rest % len / stride).to_string());
            len = stride;
        }
        let what = if only { "image" } else { what };
        let want = port.rows.map_or("a finite number".to_string(), |rows| format!("a whole number from 0 to {}", rows - 1));
        return Err(Error::invalid(format!("{what} {sample} at [{}]", index.join(", ")), value, want));
    }
    Ok(())
}

/// `n` samples from `at` on, followed by zeros to `padded`.
fn rows(samples: &Tensor, at: usize, n: usize, padded: usize) -> Result<Tensor> {
    fn cut<T: Copy + Default>(values: &[T], len: usize, at: usize, n: usize, padded: usize) -> Vec<T> {
        let mut rows = values[at * len..(at + n) * len].to_vec();
        rows.resize(padded * len, T::default());
        rows
    }
    let mut dims = samples.shape().dims().to_vec();
    let len = samples.shape().elements() / dims[0];
    dims[0] = padded;
    match samples.data() {
        Data::F32(values) => Tensor::f32(dims, cut(values, len, at, n, padded)),
        Data::U32(values) => Tensor::u32(dims, cut(values, len, at, n, padded)),
        Data::U8(values) => Tensor::u8(dims, cut(values, len, at, n, padded)),
    }
}

fn dims(dims: &[usize]) -> String {
    dims.iter().map(|d| format!(", {d}")).collect()
}

fn largest(image: usize, row: &[f32]) -> Result<u32> {
    let mut best = 0;
    for (class, x) in row.iter().enumerate() {
        if x.is_nan() {
            return Err(Error::invalid(
                format!("output for image {image}"),
                x,
                "numbers; the model's weights hold a NaN or too large values",
            ));
        }
        if *x > row[best] {
            best = class;
        }
    }
    Ok(best as u32)
}
