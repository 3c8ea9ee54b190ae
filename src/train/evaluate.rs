//! How good a model is on a data set.

use super::step::EVALUATION;
use super::{Loss, Score, SoftmaxCrossEntropy};
use crate::data::Dataset;
use crate::error::Result;
use crate::nn::{Mode, Model};
use crate::tensor::Tensor;

impl Model {
    /// Mean softmax cross-entropy and accuracy over a data set, without dropout.
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
        loss.check()?;
        self.prepare(data, loss).await?;
        let source = self.source(data).await?;
        EVALUATION.reset(self).await?;
        // Where each run began, to find the one that went wrong.
        let mut runs: Vec<std::ops::Range<usize>> = Vec::new();
        let mut at = 0;
        while at < data.len() {
            let n = (data.len() - at).min(self.largest_batch);
            let key = format!("evaluate {n}, {loss:?}, {}", source.key(data));
            let program = match self.program(key, |model| model.plan_evaluation(n, data, source, loss)).await {
                Err(e) => {
                    self.halve_batch(e, n)?;
                    continue;
                }
                Ok(program) => program,
            };
            let (Some(ports), Some(step)) = (program.ports.data, program.ports.step) else {
                unreachable!("plan_evaluation sets both")
            };
            let indices: Vec<u32> = (at as u32..(at + n) as u32).collect();
            let mut feeds = ports.tensors(data, &indices)?;
            feeds.push((step, Tensor::u32([1], vec![runs.len() as u32])?));
            self.run(&program, &feeds).await?;
            runs.push(at..at + n);
            at += n;
        }
        match EVALUATION.read(self).await? {
            Ok([loss, correct]) => {
                let n = data.len();
                Ok(Score { loss: f64::from(loss) / n as f64, accuracy: f64::from(correct) / n as f64, n })
            }
            Err(run) => {
                let indices: Vec<u32> = runs[run as usize].clone().map(|i| i as u32).collect();
                let step = self.trained.steps;
                Err(self.diagnose(data, source, &indices, Mode::Inference, step, loss).await?)
            }
        }
    }
}
