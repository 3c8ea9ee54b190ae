//! The training loop.

use super::clock::Clock;
use super::progress::{Reporter, Sums};
use super::step::TRAINING;
use super::{Epoch, Fit, History};
use crate::data::{Batches, Dataset};
use crate::error::{Error, Result};
use crate::nn::feed::{Source, add_batch};
use crate::nn::model::Program;
use crate::nn::{Mode, Model};
use crate::random::Seed;
use crate::tensor::Tensor;
use std::sync::atomic::Ordering;

impl Model {
    /// Trains on a data set.
    ///
    /// The same model, seed, data, settings and device give the same bits. A second call goes on with the parameters, the orders of
    /// epochs and the dropout where the first ended, with an optimizer that starts anew. A data set that takes up to half of the
    /// device's largest binding is moved to the device, and stays there for the next call.
    ///
    /// # Errors
    /// [`Error::Invalid`] for settings that make no sense (no epochs, batches of 0, a rate below 0), and for a data set with images of
    /// another shape than the model takes or another number of classes than it has outputs. [`Error::NonFinite`] if training makes a NaN
    /// or an infinity, with the first layer where it is seen: once a loss isn't finite no parameter is changed any more, so the
    /// model keeps those from before. [`Error::DoesNotFit`], [`Error::Gpu`], [`Error::DeviceLost`].
    pub fn fit(&mut self, train: &Dataset, fit: Fit) -> Result<History> {
        pollster::block_on(self.fit_async(train, fit))
    }

    /// [`Model::fit`] for programs that mustn't block.
    pub async fn fit_async(&mut self, train: &Dataset, fit: Fit) -> Result<History> {
        let clock = Clock::start();
        fit.check()?;
        let mut reporter = Reporter::new(fit.progress, fit.epochs);
        reporter.start_preparing();
        self.prepare(train, &*fit.loss).await?;
        if let Some(validation) = &fit.validation {
            self.prepare(validation, &*fit.loss).await?;
        }
        let source = self.source(train).await?;
        let n_batches = train.len().div_ceil(fit.batch);
        let start = self.trained;
        let mut training = Training {
            model: self,
            train,
            fit: &fit,
            source,
            n_batches,
            programs: Vec::new(),
            start_step: start.steps,
            start_epoch: start.epochs,
            reporter,
            clock,
        };
        // Both programs before the first step: a batch that doesn't fit is refused here.
        for n in [fit.batch.min(train.len()), train.len() - (n_batches - 1) * fit.batch] {
            let program = training.load(n).await?;
            training.programs.push((n, program));
        }
        training.model.reset_moments(&*fit.optimizer).await?;
        training.run().await
    }
}

/// A call of `fit`.
struct Training<'a> {
    model: &'a mut Model,
    train: &'a Dataset,
    fit: &'a Fit,
    source: Source,
    n_batches: usize,
    /// By batch size: that of a full batch and that of the last.
    programs: Vec<(usize, Program)>,
    start_step: u32,
    start_epoch: u32,
    reporter: Reporter,
    /// Since the call.
    clock: Clock,
}

impl Training<'_> {
    async fn run(&mut self) -> Result<History> {
        let mut history = History::default();
        for epoch in 0..self.fit.epochs {
            TRAINING.reset(self.model).await?;
            self.reporter.start_epoch(epoch, self.train.len());
            let clock = Clock::start();
            let mut sums = Sums::default();
            for indices in self.batches(epoch)? {
                self.step(&indices, &mut history).await?;
                if history.steps == 1 {
                    self.model.runtime.finish().await?;
                    history.first_step_seconds = self.clock.seconds();
                    self.reporter.end_preparing(history.first_step_seconds, self.train.len());
                }
                sums.samples += indices.len();
                if self.reporter.is_due() {
                    self.read(&mut sums).await?;
                    self.reporter.update(&sums, self.train.len(), clock.seconds());
                }
                if self.fit.stop_flag.as_ref().is_some_and(|flag| flag.load(Ordering::Relaxed)) {
                    history.stopped = true;
                    break;
                }
            }
            self.read(&mut sums).await?;
            let seconds = clock.seconds();
            self.model.trained.epochs += 1;
            let score = match &self.fit.validation {
                Some(data) if !history.stopped => Some(self.model.evaluate_with_async(data, &*self.fit.loss).await?),
                _ => None,
            };
            let result = Epoch {
                loss: sums.loss(),
                accuracy: sums.accuracy(),
                val_loss: score.map(|s| s.loss),
                val_accuracy: score.map(|s| s.accuracy),
                seconds,
                images_per_second: sums.samples as f64 / seconds.max(1e-9),
            };
            self.reporter.end_epoch(epoch, &result);
            history.epochs.push(result);
            if history.stopped {
                break;
            }
        }
        // The last update can leave a NaN that no loss has seen.
        if let Some(layer) = self.model.non_finite_parameters().await? {
            let step = u64::from(self.model.trained.steps);
            return Err(Error::NonFinite { layer, what: "parameters".to_string(), step });
        }
        Ok(history)
    }

    fn batches(&self, epoch: usize) -> Result<Batches> {
        let seed: Option<Seed> = self.fit.shuffle.then_some(self.model.network.seed);
        Batches::new(self.train.len(), self.fit.batch, seed, self.start_epoch.wrapping_add(epoch as u32))
    }

    async fn load(&mut self, n: usize) -> Result<Program> {
        let (train, source, fit) = (self.train, self.source, self.fit);
        let kept = if fit.step_losses { ", loss kept" } else { "" };
        let what = format!("{}, {:?}, {:?}{kept}", fit.optimizer.key(), fit.loss, fit.recompute);
        let key = format!("train {n}, {what}, {}", source.key(train));
        let batch = move |graph: &mut _| add_batch(graph, train, source, n);
        self.model.program(key, |model| model.plan_step(n, batch, fit)).await
    }

    async fn step(&mut self, indices: &[u32], history: &mut History) -> Result<()> {
        let Some((_, program)) = self.programs.iter().find(|(n, _)| *n == indices.len()).cloned() else {
            unreachable!("an epoch has full batches and a last one")
        };
        let (Some(data), Some(step), Some(hyper)) = (program.ports.data, program.ports.step, program.ports.hyper) else {
            unreachable!("plan_step sets all three")
        };
        let n_steps = (self.fit.epochs as u64).saturating_mul(self.n_batches as u64);
        let rate = self.fit.optimizer.learning_rate() * self.fit.schedule.factor(history.steps, n_steps);
        history.steps += 1;
        self.model.trained.steps = self.model.trained.steps.wrapping_add(1);
        let mut feeds = data.tensors(self.train, indices)?;
        feeds.push((step, Tensor::u32([1], vec![self.model.trained.steps])?));
        feeds.push((hyper, Tensor::f32([4], self.fit.optimizer.hyper(history.steps, rate).to_vec())?));
        self.model.run(&program, &feeds).await?;
        if let Some(loss) = program.ports.y {
            let loss = self.model.runtime.fetch(program.id, loss).await?;
            history.step_losses.extend_from_slice(loss.as_f32()?);
        }
        Ok(())
    }

    /// Reads the sums of the epoch so far; the error that names the layer if a loss wasn't finite.
    async fn read(&mut self, sums: &mut Sums) -> Result<()> {
        match TRAINING.read(self.model).await? {
            Ok([loss, correct]) => {
                (sums.loss, sums.correct) = (f64::from(loss), f64::from(correct));
                Ok(())
            }
            Err(step) => {
                let at = step.wrapping_sub(self.start_step).wrapping_sub(1) as usize;
                let indices = self.batches(at / self.n_batches)?.nth(at % self.n_batches).unwrap_or_default();
                let (train, source, fit) = (self.train, self.source, self.fit);
                Err(self.model.diagnose(train, source, &indices, Mode::Training, step, &*fit.loss).await?)
            }
        }
    }
}
