//! The training loop.

use super::clock::Clock;
use super::order::Order;
use super::progress::{Reporter, Sums};
use super::schedule::{Place, Plateau};
use super::step::TRAINING;
use super::{Epoch, Fit, History, Score};
use crate::data::Dataset;
use crate::error::{Error, Result};
use crate::nn::feed::{Source, add_batch};
use crate::nn::feeder::{Feeder, Samples};
use crate::nn::model::Program;
use crate::nn::{Mode, Model};
use crate::ops::update::HYPER;
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
        if let Some(threads) = fit.loader_threads {
            self.loader_threads = threads;
        }
        let start = self.trained;
        let seed = fit.shuffle.then_some(self.network.seed);
        let mut training = Training {
            order: Order { n: train.len(), batch: fit.batch, seed, first_epoch: start.epochs },
            model: self,
            train,
            fit: &fit,
            source,
            programs: Vec::new(),
            start_step: start.steps,
            at: Position::default(),
            reporter,
            clock,
        };
        // Both programs before the first step: a batch that doesn't fit is refused here.
        let order = training.order;
        for n in [order.len(0), order.len(order.n_batches() - 1)] {
            let program = training.load(n).await?;
            training.programs.push((n, program));
        }
        training.model.reset_updates(&fit).await?;
        training.run().await
    }
}

/// Where a run is. With what lies on the device, it says all that a run depends on that goes on from here.
#[derive(Clone, Debug, Default)]
struct Position {
    /// Epochs that are through.
    epoch: usize,
    /// Batches of this epoch that are through.
    batch: usize,
    /// Updates of the parameters so far.
    updates: u64,
    plateau: Plateau,
    /// What the last step's learning rate was.
    rate: f64,
    /// Seconds of this epoch, before this call of `fit`.
    seconds: f64,
    history: History,
}

/// A call of `fit`.
struct Training<'a> {
    model: &'a mut Model,
    train: &'a Dataset,
    fit: &'a Fit,
    order: Order,
    source: Source,
    /// By batch size: that of a full batch and that of the last.
    programs: Vec<(usize, Program)>,
    /// Steps that the model had made before the run.
    start_step: u32,
    at: Position,
    reporter: Reporter,
    /// Since the call.
    clock: Clock,
}

impl Training<'_> {
    async fn run(mut self) -> Result<History> {
        let epochs = self.fit.epochs;
        let batches = self.order.batches(self.at.epoch..epochs, self.at.batch)?;
        // Over all epochs, so that the device doesn't wait for the first batches of one.
        let mut batches = Feeder::new(self.train, self.source, self.model.loader_threads, batches);
        while self.at.epoch < epochs && !self.at.history.stopped {
            self.epoch(&mut batches).await?;
        }
        // The last update can leave a NaN that no loss has seen.
        if let Some(layer) = self.model.non_finite_parameters().await? {
            let step = u64::from(self.model.trained.steps);
            return Err(Error::NonFinite { layer, what: "parameters".to_string(), step });
        }
        Ok(self.at.history)
    }

    /// The rest of an epoch.
    async fn epoch(&mut self, batches: &mut Feeder<'_>) -> Result<()> {
        if self.at.batch == 0 {
            TRAINING.reset(self.model).await?;
        }
        let n = self.train.len();
        self.reporter.start_epoch(self.at.epoch, n);
        let clock = Clock::start();
        let mut is_first = self.at.history.steps == 0;
        while self.at.batch < self.order.n_batches() {
            let Some(samples) = batches.next()? else { unreachable!("it has all batches of the run") };
            self.step(samples).await?;
            if std::mem::take(&mut is_first) {
                self.model.runtime.finish().await?;
                self.at.history.first_step_seconds = self.clock.seconds();
                self.reporter.end_preparing(self.at.history.first_step_seconds, self.at.epoch, n);
            }
            if self.reporter.is_due() {
                let sums = self.read().await?;
                self.reporter.update(&sums, n, clock.seconds());
            }
            if self.fit.stop_flag.as_ref().is_some_and(|flag| flag.load(Ordering::Relaxed)) {
                self.at.history.stopped = true;
                break;
            }
        }
        let sums = self.read().await?;
        let seconds = self.at.seconds + clock.seconds();
        self.model.trained.epochs = self.model.trained.epochs.wrapping_add(1);
        let score = match &self.fit.validation {
            Some(data) if !self.at.history.stopped => Some(self.validate(data).await?),
            _ => None,
        };
        let result = Epoch {
            loss: sums.loss(),
            accuracy: if self.train.has_labels() { sums.accuracy() } else { f64::NAN },
            val_loss: score.as_ref().map(|s| s.loss),
            val_accuracy: score.as_ref().map(|s| s.accuracy),
            learning_rate: self.at.rate,
            seconds,
            images_per_second: sums.samples as f64 / seconds.max(1e-9),
        };
        self.at.plateau.observe(&self.fit.schedule, result.val_loss.unwrap_or(result.loss));
        self.reporter.end_epoch(self.at.epoch, &result);
        self.at.history.epochs.push(result);
        (self.at.epoch, self.at.batch, self.at.seconds) = (self.at.epoch + 1, 0, 0.0);
        Ok(())
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

    /// The learning rate of the step that comes next.
    fn rate(&self) -> f64 {
        let epoch_steps = self.order.n_batches().div_ceil(self.fit.accumulate) as u64;
        let n_steps = (self.fit.epochs as u64).saturating_mul(epoch_steps);
        let at = Place { step: self.at.updates, n_steps, epoch_steps, reductions: self.at.plateau.reductions };
        self.fit.optimizer.learning_rate() * self.fit.schedule.factor(at)
    }

    /// Trains on the next batch, of these samples.
    async fn step(&mut self, samples: Samples) -> Result<()> {
        let n = samples.indices.len();
        let Some((_, program)) = self.programs.iter().find(|(len, _)| *len == n).cloned() else {
            unreachable!("an epoch has full batches and a last one")
        };
        let (Some(data), Some(step), Some(hyper)) = (program.ports.data, program.ports.step, program.ports.hyper) else {
            unreachable!("plan_step sets all three")
        };
        // The batches that are updated by together, and the share of this one's samples.
        let (batch, k) = (self.at.batch, self.fit.accumulate);
        let first = batch / k * k;
        let end = self.order.n_batches().min(first.saturating_add(k));
        let n_together = (self.train.len() - first * self.fit.batch).min((end - first) * self.fit.batch);
        let share = n as f64 / n_together as f64;
        let applied = batch + 1 == end;

        self.at.rate = self.rate();
        self.at.history.steps += 1;
        self.model.trained.steps = self.model.trained.steps.wrapping_add(1);
        let mut feeds = data.feeds(self.train, samples)?;
        feeds.push((step, Tensor::u32([1], vec![self.model.trained.steps])?));
        feeds.push((hyper, self.fit.hyper(self.at.updates + 1, self.at.rate, applied)?));
        if let Some(accumulation) = program.ports.accumulation {
            let keep = if batch == first { 0.0 } else { 1.0 };
            feeds.push((accumulation, Tensor::f32([HYPER], vec![share as f32, keep, 0.0, 0.0, 1.0, 1.0])?));
        }
        self.at.updates += u64::from(applied);
        self.at.batch += 1;
        self.model.run(&program, &feeds).await?;
        if let Some(loss) = program.ports.y {
            let loss = self.model.runtime.fetch(program.id, loss).await?;
            self.at.history.step_losses.extend_from_slice(loss.as_f32()?);
        }
        Ok(())
    }

    /// The sums of the epoch so far; the error that names the layer if a loss wasn't finite.
    async fn read(&mut self) -> Result<Sums> {
        match TRAINING.read(self.model).await? {
            Ok([loss, correct]) => {
                let samples = self.train.len().min(self.at.batch * self.fit.batch);
                Ok(Sums { loss: f64::from(loss), correct: f64::from(correct), samples })
            }
            Err(step) => {
                let at = step.wrapping_sub(self.start_step).wrapping_sub(1) as usize;
                let n_batches = self.order.n_batches();
                let indices = self.order.epoch(at / n_batches)?.nth(at % n_batches).unwrap_or_default();
                let (train, source, fit) = (self.train, self.source, self.fit);
                Err(self.model.diagnose(train, source, &indices, Mode::Training, step, &*fit.loss).await?)
            }
        }
    }
}
