//! What a model makes of images.

use super::feed::{Source, add_batch, advice};
use super::model::{Ports, Program};
use super::{Mode, Model};
use crate::data::Dataset;
use crate::error::{Error, Result};
use crate::graph::{Graph, Plan};
use crate::op::Value;
use crate::ops::softmax::Softmax;
use crate::tensor::{Tensor, TensorType};

impl Model {
    /// The network's outputs for images, f32 `[n, ..]` in, f32 `[n, ..]` out: what its last layer gives, for a classifier a number
    /// a class that softmax has not been applied to.
    ///
    /// Images are taken as they are: those of a network that was trained on a [`Dataset`] must be normalised as that was;
    /// [`Model::predict_dataset`] does so itself. A run takes at most 256 images; for fewer the next power of two, so that a model keeps
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
        self.outputs(images, false).await
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
        self.outputs(images, !self.network.ends_in_softmax()).await
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
        let y = self.outputs(images, false).await?;
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
        self.check_images(data)?;
        let source = self.source(data).await?;
        let mut out = Vec::new();
        let mut at = 0;
        while at < data.len() {
            let n = (data.len() - at).min(self.largest_batch);
            let padded = n.next_power_of_two();
            let key = format!("predict {padded}, {}", source.key(data));
            let program = match self.program(key, |model| model.plan_on_dataset(data, source, padded)).await {
                Err(e) => {
                    self.halve_batch(e, padded)?;
                    continue;
                }
                Ok(program) => program,
            };
            let (Some(ports), Some(y)) = (program.ports.data, program.ports.y) else { unreachable!("plan_on_dataset sets both") };
            // Rows beyond the end are the first sample again; they are cut off.
            let index = |i: usize| if i < data.len() { i as u32 } else { 0 };
            let indices: Vec<u32> = (at..at + padded).map(index).collect();
            self.run(&program, &ports.tensors(data, &indices)?).await?;
            self.take_rows(&program, y, n, padded, &mut out).await?;
            at += n;
        }
        Tensor::f32(self.output_shape().with_batch(data.len()), out)
    }

    async fn outputs(&mut self, images: &Tensor, softmax: bool) -> Result<Tensor> {
        let values = self.check_batch(images)?;
        let n_images = images.shape().dims()[0];
        let len = self.network.input.elements();
        let mut out = Vec::new();
        let mut at = 0;
        while at < n_images {
            let n = (n_images - at).min(self.largest_batch);
            let padded = n.next_power_of_two();
            let key = format!("predict {padded}, softmax {softmax}");
            let program = match self.program(key, |model| model.plan_prediction(padded, softmax)).await {
                Err(e) => {
                    self.halve_batch(e, padded)?;
                    continue;
                }
                Ok(program) => program,
            };
            let (Some(x), Some(y)) = (program.ports.x, program.ports.y) else { unreachable!("plan_prediction sets both") };
            let mut batch = values[at * len..(at + n) * len].to_vec();
            batch.resize(padded * len, 0.0);
            let batch = Tensor::f32(self.network.input.with_batch(padded), batch)?;
            self.run(&program, &[(x, batch)]).await?;
            self.take_rows(&program, y, n, padded, &mut out).await?;
            at += n;
        }
        Tensor::f32(self.output_shape().with_batch(n_images), out)
    }

    /// The elements of images that the model can take.
    fn check_batch<'a>(&self, images: &'a Tensor) -> Result<&'a [f32]> {
        let (got, want) = (images.tensor_type(), &self.network.input);
        let values = images.as_f32().map_err(|_| {
            Error::invalid("images", &got, format!("f32, [n{}]; bytes become f32 in a Dataset", dims(want.dims())))
        })?;
        if got.shape.dims().split_first().map(|(_, rest)| rest) != Some(want.dims()) {
            let sample = got.shape.dims().get(1..).unwrap_or_default();
            let advice = if got.shape == *want { "; a single image is a batch of 1" } else { advice(sample, want) };
            return Err(Error::invalid("images", &got, format!("f32 [n{}]{advice}", dims(want.dims()))));
        }
        got.shape.clone().checked("images")?;
        if let Some(i) = values.iter().position(|x| !x.is_finite()) {
            let (image, rest) = (i / want.elements(), i % want.elements());
            let mut index: Vec<String> = Vec::new();
            let mut len = want.elements();
            for d in want.dims() {
                let stride = len / d;
                index.push((rest % len / stride).to_string());
                len = stride;
            }
            return Err(Error::invalid(format!("image {image} at [{}]", index.join(", ")), values[i], "a finite number"));
        }
        Ok(values)
    }

    pub(crate) fn plan_prediction(&self, n: usize, softmax: bool) -> Result<(Plan, Ports)> {
        let mut graph = Graph::new();
        let x = graph.input("images", TensorType::f32(self.network.input.with_batch(n)))?;
        let (mut y, _) = self.forward(&mut graph, Mode::Inference, x, None)?;
        if softmax {
            graph.set_scope("softmax");
            y = graph.node(Softmax, &[y])?;
        }
        graph.fuse(&[y]);
        Ok((self.device().plan(graph, &[y])?, Ports { x: Some(x), y: Some(y), ..Ports::default() }))
    }

    fn plan_on_dataset(&self, data: &Dataset, source: Source, n: usize) -> Result<(Plan, Ports)> {
        let mut graph = Graph::new();
        let batch = add_batch(&mut graph, data, source, n)?;
        let (y, _) = self.forward(&mut graph, Mode::Inference, batch.images, None)?;
        graph.fuse(&[y]);
        Ok((self.device().plan(graph, &[y])?, Ports { data: Some(batch.ports), y: Some(y), ..Ports::default() }))
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
