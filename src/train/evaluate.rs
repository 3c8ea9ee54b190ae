//! How good a model is on a data set.

use super::diagnose::BadBatch;
use super::metrics::{ConfusionMatrix, Metric, Score};
use super::step::{Counters, EVALUATION, averages_labels, confusion_name, extra};
use super::{Loss, SoftmaxCrossEntropy};
use crate::data::{Dataset, Targets};
use crate::error::{Error, Result};
use crate::nn::{Mode, Model};
use crate::tensor::{Tensor, TensorType, UNLABELLED};
use std::ops::Range;

impl Model {
    /// Mean softmax cross-entropy and accuracy over a data set, without dropout. Penalties of layers count.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) for images of another shape than the model takes, another number of classes than it
    /// has outputs, and a model that ends in softmax; [`Error::NonFinite`](crate::Error::NonFinite), with the layer, if a loss
    /// isn't finite; [`Error::DoesNotFit`](crate::Error::DoesNotFit), [`Error::Gpu`](crate::Error::Gpu),
    /// [`Error::DeviceLost`](crate::Error::DeviceLost).
    pub fn evaluate(&mut self, data: &Dataset) -> Result<Score> {
        pollster::block_on(self.evaluate_async(data))
    }

    /// [`Model::evaluate`] for programs that mustn't block.
    pub async fn evaluate_async(&mut self, data: &Dataset) -> Result<Score> {
        self.evaluate_with_async(data, &SoftmaxCrossEntropy::default()).await
    }

    /// [`Model::evaluate`] with another loss.
    ///
    /// # Errors
    /// As for [`Model::evaluate`].
    pub fn evaluate_with(&mut self, data: &Dataset, loss: &dyn Loss) -> Result<Score> {
        pollster::block_on(self.evaluate_with_async(data, loss))
    }

    /// [`Model::evaluate_with`] for programs that mustn't block.
    pub async fn evaluate_with_async(&mut self, data: &Dataset, loss: &dyn Loss) -> Result<Score> {
        self.evaluate_metrics_async(data, loss, &[]).await
    }

    /// [`Model::evaluate_with`], with more measures. They are worked out on the device and read back once.
    ///
    /// # Errors
    /// As for [`Model::evaluate`]; [`Error::Invalid`](crate::Error::Invalid) also for [`Metric::TopK`] of 0, and for measures of classes
    /// on a data set that has none.
    pub fn evaluate_metrics(&mut self, data: &Dataset, loss: &dyn Loss, metrics: &[Metric]) -> Result<Score> {
        pollster::block_on(self.evaluate_metrics_async(data, loss, metrics))
    }

    /// [`Model::evaluate_metrics`] for programs that mustn't block.
    pub async fn evaluate_metrics_async(&mut self, data: &Dataset, loss: &dyn Loss, metrics: &[Metric]) -> Result<Score> {
        loss.check()?;
        self.prepare(data, loss, None).await?;
        if data.classes() == 0
            && let Some(metric) = metrics.iter().find(|m| **m != Metric::MeanAbsoluteError)
        {
            return Err(Error::invalid("metric", format!("{metric:?}"), "a data set with classes").at(data.name()));
        }
        let source = self.source(data).await?;
        EVALUATION.reset(self).await?;
        for metric in metrics.iter().filter(|m| **m != Metric::Confusion) {
            extra(*metric).counters().reset(self).await?;
        }
        let confusion = (confusion_name(data.classes()), TensorType::u32([data.classes(); 2]));
        if metrics.contains(&Metric::Confusion) {
            self.runtime.set_state(&confusion.0, &Tensor::zeros(&confusion.1)).await?;
        }
        let labels = match averages_labels(data, loss) {
            true => Some([LabelWeights::of_loss(data, loss)?, LabelWeights::of(data, &[])?]),
            false => None,
        };
        // Where each run began, to find the one that went wrong.
        let mut runs: Vec<Range<usize>> = Vec::new();
        let mut feeder = None;
        let mut at = 0;
        while at < data.len() {
            let n = (data.len() - at).min(self.largest_batch);
            let key = format!("evaluate {n}, {loss:?}, {metrics:?}, {}", source.key(data));
            let program = match self.program(key, |model| model.plan_evaluation(n, data, source, loss, metrics)).await {
                Err(e) => {
                    self.halve_batch(e, n)?;
                    feeder = None;
                    continue;
                }
                Ok(program) => program,
            };
            let (Some(ports), Some(step)) = (program.ports.data, program.ports.step) else {
                unreachable!("plan_evaluation sets both")
            };
            let feeder = feeder.get_or_insert_with(|| self.feeder_from(data, source, at));
            let Some(samples) = feeder.next()? else { unreachable!("batches of all samples") };
            let mut feeds = ports.feeds(data, samples)?;
            feeds.push((step, Tensor::u32([1], vec![runs.len() as u32])?));
            if let (Some(shares), Some(labels)) = (program.ports.shares, &labels) {
                for (share, weights) in shares.into_iter().zip(labels) {
                    feeds.push((share, Tensor::f32([1], vec![weights.share(at..at + n) as f32])?));
                }
            }
            self.run(&program, &feeds).await?;
            runs.push(at..at + n);
            at += n;
        }
        let n = data.len();
        let [sum_of_losses, correct] = match EVALUATION.read(self).await? {
            Ok(sums) => sums,
            Err(run) => {
                let indices: Vec<u32> = runs[run as usize].clone().map(|i| i as u32).collect();
                let step = self.trained.steps;
                let (mode, indices) = (Mode::Inference, &indices[..]);
                let bad = BadBatch { data, source, indices, mode, step, loss, change: None };
                return Err(self.diagnose(bad).await?);
            }
        };
        let share = |sum: f32| f64::from(sum) / n as f64;
        let accuracy = if data.has_labels() { share(correct) } else { f64::NAN };
        let mut score =
            Score { loss: share(sum_of_losses), accuracy, n, top_k: Vec::new(), mean_absolute_error: None, confusion: None };
        for metric in metrics {
            if *metric == Metric::Confusion {
                let counts = self.runtime.state(&confusion.0).await?;
                score.confusion = Some(ConfusionMatrix::new(data.classes(), counts.as_u32()?.to_vec()));
                continue;
            }
            let name = extra(*metric);
            let counters: Counters<'_> = name.counters();
            let mean = match counters.read(self).await? {
                Ok([sum, _]) => share(sum),
                Err(_) => f64::NAN,
            };
            match metric {
                Metric::TopK(_) => score.top_k.push(mean),
                _ => score.mean_absolute_error = Some(mean),
            }
        }
        Ok(score)
    }
}

/// What the labels of a data set weigh, added up sample by sample: before the first, after the first, ..
struct LabelWeights(Vec<f64>);

impl LabelWeights {
    /// In the mean that a loss takes.
    fn of_loss(data: &Dataset, loss: &dyn Loss) -> Result<LabelWeights> {
        if loss.averages_labels() {
            return LabelWeights::of(data, loss.class_weights());
        }
        Ok(LabelWeights((0..=data.len()).map(|n| n as f64).collect()))
    }

    /// With a weight a class, or all alike.
    fn of(data: &Dataset, weights: &[f32]) -> Result<LabelWeights> {
        let weight = |&label: &u32| match weights {
            [] => f64::from(u8::from(label != UNLABELLED)),
            weights => weights.get(label as usize).copied().map_or(0.0, f64::from),
        };
        let labels = match data.targets() {
            Targets::Classes { labels, .. } => &labels[..],
            Targets::Maps { maps, .. } => maps.as_u32()?,
            Targets::Values(_) => &[],
        };
        let mut sums = vec![0.0];
        let mut sum = 0.0;
        for sample in labels.chunks((labels.len() / data.len()).max(1)) {
            sum += sample.iter().map(weight).sum::<f64>();
            sums.push(sum);
        }
        Ok(LabelWeights(sums))
    }

    /// What a mean over these samples' labels is multiplied by, so that the mean over all samples is that over all labels; 0 if no label
    /// weighs anything.
    fn share(&self, samples: Range<usize>) -> f64 {
        let (n, all) = (self.0.len() - 1, self.0.last().copied().unwrap_or_default());
        let weight = self.0[samples.end] - self.0[samples.start];
        if all == 0.0 { 0.0 } else { weight / samples.len() as f64 * (n as f64 / all) }
    }
}
