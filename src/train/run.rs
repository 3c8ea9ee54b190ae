//! The training loop.

use super::augment::{self, Change, Moment, add_training_batch};
use super::checkpoint::Folder;
use super::clock::Clock;
use super::diagnose::BadBatch;
use super::exact;
use super::monitor::{Record, Watch};
use super::order::Order;
use super::progress::{Reporter, Sums};
use super::saved::history;
use super::schedule::{Place, Plateau};
use super::state::{self, Tensors};
use super::step::TRAINING;
use super::{Epoch, Fit, History};
use crate::data::Dataset;
use crate::error::Result;
use crate::nn::feed::Source;
use crate::nn::feeder::{Feeder, Samples};
use crate::nn::model::{Program, Trained};
use crate::nn::{Mode, Model};
use crate::ops::update::HYPER;
use crate::tensor::Tensor;
use serde::{Deserialize, Serialize};

impl Model {
    /// Trains on a data set.
    ///
    /// The same model, seed, data, settings and device give the same bits. A second call goes on with the parameters, the orders of
    /// epochs and the dropout where the first ended, with an optimizer that starts anew. A data set that takes up to half of the
    /// device's largest binding is moved to the device, and stays there for the next call.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) for settings that make no sense (no epochs, batches of 0, a rate below 0), for a data set
    /// with images of another shape than the model takes or another number of classes than it has outputs, and for a checkpoint of another
    /// run. [`Error::NonFinite`](crate::Error::NonFinite) if training makes a NaN or an infinity, with the first layer where it is seen: once
    /// a loss isn't finite no parameter is changed any more, so the model keeps those from before. [`Error::File`](crate::Error::File) for a
    /// damaged checkpoint, and if the first checkpoint can't be written; the errors of callbacks.
    /// [`Error::DoesNotFit`](crate::Error::DoesNotFit), [`Error::Gpu`](crate::Error::Gpu), [`Error::DeviceLost`](crate::Error::DeviceLost).
    pub fn fit(&mut self, train: &Dataset, fit: Fit) -> Result<History> {
        pollster::block_on(self.fit_async(train, fit))
    }

    /// [`Model::fit`] for programs that mustn't block.
    pub async fn fit_async(&mut self, train: &Dataset, fit: Fit) -> Result<History> {
        let clock = Clock::start();
        fit.check()?;
        let folder = fit.checkpoints.as_ref().map(Folder::open).transpose()?;
        let saved = match &folder {
            Some(folder) => folder.latest(fit.resume)?,
            None => None,
        };
        if let Some((path, saved)) = &saved {
            saved.check(self, train, &fit).map_err(|e| e.at(&path.display().to_string()))?;
        }
        let mut training = Training::new(self, train, &fit, clock).await?;
        training.folder = folder;
        if let Some((path, saved)) = saved {
            training.resume(&path, saved).await?;
        }
        training.run().await
    }
}

/// Where a run is. With what lies on the device, it says all that a run depends on that goes on from here.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Position {
    /// Epochs that are through.
    pub epoch: usize,
    /// Batches of this epoch that are through. All of them, if training was stopped before the epoch's evaluation.
    pub batch: usize,
    /// Updates of the parameters so far.
    pub updates: u64,
    pub plateau: Plateau,
    /// What the last step's learning rate was.
    #[serde(with = "exact")]
    pub rate: f64,
    /// Seconds of training in this epoch, until [`Training::pause`].
    #[serde(with = "exact")]
    pub seconds: f64,
    /// Steps that the model had made before the run, in other calls of `fit`.
    pub start_step: u32,
    /// Epochs that it had been trained before.
    pub start_epoch: u32,
    #[serde(with = "history")]
    pub history: History,
}

/// A call of `fit`.
pub(super) struct Training<'a> {
    pub model: &'a mut Model,
    pub train: &'a Dataset,
    pub fit: &'a Fit,
    pub order: Order,
    source: Source,
    /// By batch size: that of a full batch and that of the last. With their keys.
    pub programs: Vec<(usize, String, Program)>,
    pub at: Position,
    pub reporter: Reporter,
    /// Since the call.
    clock: Clock,
    /// Since training went on after a pause.
    lap: Clock,
    /// Where checkpoints are written.
    pub folder: Option<Folder>,
    /// Whether one was written in this call, or the best model.
    pub has_written: bool,
    /// Epoch and batch of the last checkpoint.
    pub written: Option<(usize, usize)>,
    /// Since the last checkpoint.
    pub since_written: Clock,
    /// Of early stopping.
    pub watch: Watch,
    /// What early stopping restores.
    pub best_tensors: Tensors,
    /// Of the best model that was written.
    pub best: Record,
    /// Whether it goes on from a checkpoint.
    pub resumed: bool,
    /// Whether early stopping or a callback ends it.
    pub stop: bool,
    /// Whether the stop flag ends it.
    pub interrupted: bool,
}

impl<'a> Training<'a> {
    /// Makes all ready for the first step.
    pub async fn new(model: &'a mut Model, train: &'a Dataset, fit: &'a Fit, clock: Clock) -> Result<Training<'a>> {
        let mut reporter = Reporter::new(fit.progress, fit.epochs);
        reporter.start_preparing();
        model.prepare(train, &*fit.loss, fit.augmentation.as_ref()).await?;
        if let Some(validation) = &fit.validation {
            model.prepare(validation, &*fit.loss, None).await?;
        }
        let source = model.source(train).await?;
        if let Some(threads) = fit.loader_threads {
            model.loader_threads = threads;
        }
        let Trained { steps: start_step, epochs: start_epoch, .. } = model.trained;
        let seed = fit.shuffle.then_some(model.network.seed);
        let order = Order { n: train.len(), batch: fit.batch, seed, first_epoch: start_epoch };
        let mut training = Training {
            model,
            train,
            fit,
            order,
            source,
            programs: Vec::new(),
            at: Position { start_step, start_epoch, ..Position::default() },
            reporter,
            clock,
            lap: clock,
            folder: None,
            has_written: false,
            written: None,
            since_written: clock,
            watch: Watch::default(),
            best_tensors: Tensors::new(),
            best: Record::default(),
            resumed: false,
            stop: false,
            interrupted: false,
        };
        // Both programs before the first step: a batch that doesn't fit is refused here.
        for n in [order.len(0), order.len(order.n_batches() - 1)] {
            let (key, program) = training.load(n).await?;
            training.programs.push((n, key, program));
        }
        training.model.reset_updates(fit).await?;
        Ok(training)
    }

    async fn run(mut self) -> Result<History> {
        let epochs = self.fit.epochs.max(self.at.epoch);
        // Over all epochs, so that the device doesn't wait for the first batches of one.
        let mut batches = self.feeder(self.order.batches(self.at.epoch..epochs, self.at.batch)?);
        self.call(|callback, at| callback.on_begin(at))?;
        let mut whole = true;
        while self.at.epoch < epochs && !(self.is_ending() && self.at.batch == 0) {
            whole = self.epoch(&mut batches).await?;
        }
        if whole {
            self.save().await?;
        }
        if !self.best_tensors.is_empty() {
            self.model.set_tensors(&state::average(self.fit), &self.best_tensors).await?;
        }
        // The last update can leave a NaN that no loss has seen.
        self.expect_finite().await?;
        self.at.history.stopped = self.is_ending();
        self.call(|callback, at| callback.on_end(at))?;
        Ok(self.at.history)
    }

    pub fn is_ending(&self) -> bool {
        self.stop || self.interrupted
    }

    /// The rest of an epoch; whether it came to its end.
    async fn epoch(&mut self, batches: &mut Feeder<'_>) -> Result<bool> {
        if self.at.batch == 0 {
            TRAINING.reset(self.model).await?;
        }
        let (n, n_batches) = (self.train.len(), self.order.n_batches());
        self.reporter.start_epoch(self.at.epoch, n);
        self.lap = Clock::start();
        while self.at.batch < n_batches && !self.is_ending() {
            let Some(samples) = batches.next()? else { unreachable!("it has all batches of the run") };
            self.step(samples, self.rate()).await?;
            if self.at.history.first_step_seconds == 0.0 {
                self.model.runtime.finish().await?;
                self.at.history.first_step_seconds = self.clock.seconds();
                self.reporter.end_preparing(self.at.history.first_step_seconds, self.at.epoch, n);
            }
            if self.reporter.is_due() {
                let sums = self.read().await?;
                self.reporter.update(&sums, n, self.at.seconds + self.lap.seconds());
            }
            self.after_step().await?;
        }
        let sums = self.read().await?;
        self.pause();
        let whole = self.at.batch == n_batches && !self.interrupted;
        if !whole {
            self.save().await?;
        }
        let validation = if whole { self.validate().await? } else { None };
        let result = Epoch {
            step: self.at.history.steps,
            loss: sums.loss(),
            accuracy: if self.train.has_labels() { sums.accuracy() } else { f64::NAN },
            val_loss: validation.map(|v| v.loss),
            val_accuracy: validation.map(|v| v.accuracy),
            learning_rate: self.at.rate,
            seconds: self.at.seconds,
            images_per_second: sums.samples as f64 / self.at.seconds.max(1e-9),
        };
        self.reporter.end_epoch(self.at.epoch, &result);
        self.at.history.epochs.push(result);
        self.model.trained.epochs = self.model.trained.epochs.wrapping_add(1);
        if whole {
            self.at.plateau.observe(&self.fit.schedule, result.val_loss.unwrap_or(result.loss));
            self.look(|monitor| monitor.of_epoch(&result)).await?;
            self.call(|callback, at| callback.on_epoch(at, &result))?;
        }
        (self.at.epoch, self.at.batch, self.at.seconds) = (self.at.epoch + 1, 0, 0.0);
        if whole && self.is_due() {
            self.save().await?;
        }
        Ok(whole)
    }

    /// Stops the epoch's clock, and adds what it shows.
    pub fn pause(&mut self) {
        self.at.seconds += self.lap.seconds();
        self.go_on();
    }

    /// The epoch's clock goes on, without the time since the pause.
    pub fn go_on(&mut self) {
        self.lap = Clock::start();
    }

    /// The program for batches of `n`, and its key.
    async fn load(&mut self, n: usize) -> Result<(String, Program)> {
        let (train, source, fit) = (self.train, self.source, self.fit);
        let key = format!("train {n}, {}, {}", fit.key(), source.key(train));
        let outputs = self.model.output_shape().clone();
        let batch = move |graph: &mut _| add_training_batch(graph, train, source, n, fit.augmentation.as_ref(), &outputs);
        let program = self.model.program(key.clone(), |model| model.plan_step(n, batch, fit)).await?;
        Ok((key, program))
    }

    /// The learning rate of the step that comes next.
    fn rate(&self) -> f64 {
        let epoch_steps = self.order.n_batches().div_ceil(self.fit.accumulate) as u64;
        let n_steps = (self.fit.epochs as u64).saturating_mul(epoch_steps);
        let at = Place { step: self.at.updates, n_steps, epoch_steps, reductions: self.at.plateau.reductions };
        self.fit.optimizer.learning_rate() * self.fit.schedule.factor(at)
    }

    /// Trains on the next batch, of these samples.
    pub async fn step(&mut self, samples: Samples, rate: f64) -> Result<()> {
        let n = samples.indices.len();
        let Some((.., program)) = self.programs.iter().find(|(len, ..)| *len == n).cloned() else {
            unreachable!("an epoch has full batches and a last one")
        };
        let (Some(data), Some(step), Some(hyper)) = (program.ports.data, program.ports.step, program.ports.hyper) else {
            unreachable!("plan_step sets all three")
        };
        // The batches that are updated by together, and the share of this one's samples.
        let (batch, k) = (self.at.batch, self.fit.accumulate);
        let first = batch / k * k;
        let end = self.order.n_batches().min(first.saturating_add(k));
        let n_samples = (self.train.len() - first * self.fit.batch).min((end - first) * self.fit.batch);
        let share = n as f64 / n_samples as f64;
        let applied = batch + 1 == end;

        self.at.rate = rate;
        self.at.history.steps += 1;
        self.model.trained.steps = self.model.trained.steps.wrapping_add(1);
        let mut feeds = augment::feeds(self.change(self.at.epoch, batch), &program.ports.changes, self.train, &samples)?;
        feeds.extend(data.feeds(self.train, samples)?);
        feeds.push((step, Tensor::u32([1], vec![self.model.trained.steps])?));
        feeds.push((hyper, self.fit.hyper(self.at.updates + 1, rate, applied)?));
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

    /// What reads the samples of these batches.
    pub fn feeder(&self, batches: impl Iterator<Item = Vec<u32>> + Send + 'static) -> Feeder<'a> {
        Feeder::new(self.train, self.source, self.model.loader_threads, batches)
    }

    /// What a batch is changed by.
    fn change(&self, epoch: usize, batch: usize) -> Change<'a> {
        let augmentation = self.fit.augmentation.as_ref()?;
        let epoch = self.order.first_epoch.wrapping_add(epoch as u32);
        Some((augmentation, Moment { seed: self.model.network.seed, epoch, first: (batch * self.fit.batch) as u32 }))
    }

    /// The sums of the epoch so far; the error that names the layer if a loss wasn't finite.
    pub async fn read(&mut self) -> Result<Sums> {
        match TRAINING.read(self.model).await? {
            Ok([loss, correct]) => {
                let samples = self.train.len().min(self.at.batch * self.fit.batch);
                Ok(Sums { loss: f64::from(loss), correct: f64::from(correct), samples })
            }
            Err(step) => {
                let at = step.wrapping_sub(self.at.start_step).wrapping_sub(1) as usize;
                let n_batches = self.order.n_batches();
                let (epoch, batch) = (at / n_batches, at % n_batches);
                let indices = self.order.epoch(epoch)?.nth(batch).unwrap_or_default();
                let bad = BadBatch {
                    data: self.train,
                    source: self.source,
                    indices: &indices,
                    mode: Mode::Training,
                    step,
                    loss: &*self.fit.loss,
                    change: self.change(epoch, batch),
                };
                Err(self.model.diagnose(bad).await?)
            }
        }
    }
}
