//! Where a NaN or an infinity came from.

use super::Loss;
use super::augment::{self, Change, add_training_batch};
use super::step::add_loss;
use crate::data::Dataset;
use crate::error::{Error, Result};
use crate::graph::{Graph, Plan};
use crate::nn::feed::Source;
use crate::nn::feeder::Samples;
use crate::nn::model::Ports;
use crate::nn::{Mode, Model};
use crate::tensor::{Data, Tensor, TensorType};

/// A batch whose loss isn't finite.
#[derive(Clone, Copy, Debug)]
pub(super) struct BadBatch<'a> {
    pub data: &'a Dataset,
    pub source: Source,
    pub indices: &'a [u32],
    pub mode: Mode,
    pub step: u32,
    pub loss: &'a dyn Loss,
    /// What its pictures were changed by.
    pub change: Change<'a>,
}

impl Model {
    /// The first layer whose parameters aren't finite.
    pub(super) async fn non_finite_parameters(&mut self) -> Result<Option<String>> {
        let weights = self.weights_async().await?;
        let bad = self.layout.parameters.iter().zip(&weights).find(|(_, (_, tensor))| !is_finite(tensor));
        Ok(bad.map(|(parameter, _)| parameter.layer().to_string()))
    }

    /// The error for a batch whose loss isn't finite: the first layer whose parameters aren't, else the first whose output isn't. The
    /// batch is run again layer by layer; with the same step, dropout drops the same, and pictures are changed alike.
    pub(super) async fn diagnose(&mut self, batch: BadBatch<'_>) -> Result<Error> {
        let BadBatch { data, source, indices, mode, step, loss, change } = batch;
        let found = |layer: String, what: &str| Error::NonFinite { layer, what: what.to_string(), step: u64::from(step) };
        if let Some(layer) = self.non_finite_parameters().await? {
            return Ok(found(layer, "parameters"));
        }
        let n = indices.len();
        let augmentation = change.map(|(augmentation, _)| augmentation);
        let key = format!("diagnose {n}, {mode:?}, {loss:?}, {}, {augmentation:?}", source.key(data));
        let program = self.program(key, |model| model.plan_diagnosis(&batch)).await?;
        let (Some(ports), Some(step_port)) = (program.ports.data, program.ports.step) else {
            unreachable!("plan_diagnosis sets both")
        };
        let samples = Samples::of(data, source, indices.to_vec())?;
        let mut feeds = augment::feeds(change, &program.ports.changes, data, &samples)?;
        feeds.extend(ports.feeds(data, samples)?);
        feeds.push((step_port, Tensor::u32([1], vec![step])?));
        let used = self.used(&program, &feeds);
        let mut first: Option<String> = None;
        let mut look = |name: &str, outputs: &[Tensor]| {
            if first.is_none() && !outputs.iter().all(is_finite) {
                first = Some(name.to_string());
            }
        };
        self.runtime.run_observed(program.id, &used, &mut look).await?;
        Ok(match first {
            Some(layer) if layer != "loss" => found(layer, "output"),
            // All outputs are finite, yet too large or too small for the loss.
            _ => found(self.network.last_name().to_string(), "loss"),
        })
    }

    /// Forward and loss with every layer's output to be seen: nothing is fused.
    fn plan_diagnosis(&self, bad: &BadBatch<'_>) -> Result<(Plan, Ports)> {
        let mut graph = Graph::new();
        let step = graph.input("step", TensorType::u32([1]))?;
        let augmentation = bad.change.map(|(augmentation, _)| augmentation);
        let batch = add_training_batch(&mut graph, bad.data, bad.source, bad.indices.len(), augmentation, self.output_shape())?;
        let (y, pages) = self.forward(&mut graph, bad.mode, batch.images, (bad.mode == Mode::Training).then_some(step))?;
        let each = add_loss(&mut graph, y, &batch, bad.loss, pages.penalties())?.loss;
        let plan = self.device().plan(graph, &[each])?;
        Ok((plan, Ports { data: Some(batch.ports), changes: batch.changes, step: Some(step), ..Ports::default() }))
    }
}

fn is_finite(tensor: &Tensor) -> bool {
    match tensor.data() {
        Data::F32(values) => values.iter().all(|x| x.is_finite()),
        _ => true,
    }
}
