//! The training loop.

use super::clock::Clock;
use super::progress::{Reporter, Sums};
use super::schedule::{Place, Plateau};
use super::step::TRAINING;
use super::{Epoch, Fit, History, Score};
use crate::data::{Batches, Dataset};
use crate::error::{Error, Result};
use crate::nn::feed::{Source, add_batch};
use crate::nn::model::Program;
use crate::nn::{Mode, Model};
use crate::ops::update::HYPER;
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
            updates: 0,
            plateau: Plateau::new(),
            reporter,
            clock,
        };
        // Both programs before the first step: a batch that doesn't fit is refused here.
        for n in [fit.batch.min(train.len()), train.len() - (n_batches - 1) * fit.batch] {
            let program = training.load(n).await?;
            training.programs.push((n, program));
        }
        training.model.reset_updates(&fit).await?;
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
    /// Updates of the parameters so far.
    updates: u64,
    plateau: Plateau,
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
            for (batch, indices) in self.batches(epoch)?.enumerate() {
                self.step(batch, &indices, &mut history).await?;
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
                Some(data) if !history.stopped => Some(self.validate(data).await?),
                _ => None,
            };
            let result = Epoch {
                loss: sums.loss(),
                accuracy: if self.train.has_labels() { sums.accuracy() } else { f64::NAN },
                val_loss: score.as_ref().map(|s| s.loss),
                val_accuracy: score.as_ref().map(|s| s.accuracy),
                seconds,
                images_per_second: sums.samples as f64 / seconds.max(1e-9),
            };
            self.plateau.observe(&self.fit.schedule, result.val_loss.unwrap_or(result.loss));
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

    /// Evaluates, with the average in the parameters' place if there is one.
    async fn validate(&mut self, data: &Dataset) -> Result<Score> {
        let averaged = self.fit.average.is_some();
        if averaged {
            self.model.swap_average_async().await?;
        }
        let score = self.model.evaluate_with_async(data, &*self.fit.loss).await;
        if averaged {
            self.model.swap_average_async().await?;
        }
        score
    }

    async fn load(&mut self, n: usize) -> Result<Program> {
        let (train, source, fit) = (self.train, self.source, self.fit);
        let key = format!("train {n}, {}, {}", fit.key(), source.key(train));
        let batch = move |graph: &mut _| add_batch(graph, train, source, n);
        self.model.program(key, |model| model.plan_step(n, batch, fit)).await
    }

    async fn step(&mut self, batch: usize, indices: &[u32], history: &mut History) -> Result<()> {
        let Some((_, program)) = self.programs.iter().find(|(n, _)| *n == indices.len()).cloned() else {
            unreachable!("an epoch has full batches and a last one")
        };
        let (Some(data), Some(step), Some(hyper)) = (program.ports.data, program.ports.step, program.ports.hyper) else {
            unreachable!("plan_step sets all three")
        };
        // The batches that are updated by together, and the share of this one's samples.
        let k = self.fit.accumulate;
        let first = batch / k * k;
        let end = self.n_batches.min(first.saturating_add(k));
        let samples = (self.train.len() - first * self.fit.batch).min((end - first) * self.fit.batch);
        let share = indices.len() as f64 / samples as f64;
        let applied = batch + 1 == end;

        let epoch_steps = self.n_batches.div_ceil(k) as u64;
        let n_steps = (self.fit.epochs as u64).saturating_mul(epoch_steps);
        let at = Place { step: self.updates, n_steps, epoch_steps, reductions: self.plateau.reductions };
        let rate = self.fit.optimizer.learning_rate() * self.fit.schedule.factor(at);
        history.steps += 1;
        self.model.trained.steps = self.model.trained.steps.wrapping_add(1);
        let mut feeds = data.tensors(self.train, indices)?;
        feeds.push((step, Tensor::u32([1], vec![self.model.trained.steps])?));
        feeds.push((hyper, self.fit.hyper(self.updates + 1, rate, applied)?));
        if let Some(accumulation) = program.ports.accumulation {
            let keep = if batch == first { 0.0 } else { 1.0 };
            feeds.push((accumulation, Tensor::f32([HYPER], vec![share as f32, keep, 0.0, 0.0, 1.0, 1.0])?));
        }
        self.updates += u64::from(applied);
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
