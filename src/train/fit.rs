//! What to train with, and what comes of it.

use super::optimizer::{Adam, Optimizer};
use super::{Loss, Progress, Schedule, SoftmaxCrossEntropy};
use crate::data::Dataset;
use crate::error::{Error, Result};
use crate::graph::Recompute;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// How to train: what [`Model::fit`](crate::nn::Model::fit) takes.
///
/// ```
/// use striate::train::{Adadelta, Fit, Progress};
///
/// let fit = Fit::epochs(5).batch(128).optimizer(Adadelta::default()).progress(Progress::Silent);
/// # drop(fit);
/// ```
#[derive(Clone, Debug)]
pub struct Fit {
    pub(super) epochs: usize,
    pub(super) batch: usize,
    pub(super) optimizer: Arc<dyn Optimizer>,
    pub(super) schedule: Schedule,
    pub(super) loss: Arc<dyn Loss>,
    pub(super) validation: Option<Dataset>,
    pub(super) shuffle: bool,
    pub(super) progress: Progress,
    pub(super) stop_flag: Option<Arc<AtomicBool>>,
    pub(super) step_losses: bool,
    pub(super) recompute: Recompute,
}

impl Fit {
    /// Passes over the training set. The other settings: batches of 32 (as in Keras), [`Adam::default`], a constant learning rate,
    /// [`SoftmaxCrossEntropy`], no validation, shuffled, [`Progress::Auto`], [`Recompute::Cheap`].
    pub fn epochs(epochs: usize) -> Fit {
        Fit {
            epochs,
            batch: 32,
            optimizer: Arc::new(Adam::default()),
            schedule: Schedule::Constant,
            loss: Arc::new(SoftmaxCrossEntropy::default()),
            validation: None,
            shuffle: true,
            progress: Progress::Auto,
            stop_flag: None,
            step_losses: false,
            recompute: Recompute::Cheap,
        }
    }

    /// Samples a step. The last batch of an epoch is smaller where this doesn't divide the training set.
    pub fn batch(mut self, batch: usize) -> Fit {
        self.batch = batch;
        self
    }

    /// The optimizer. Its moments start at zero in each call of `fit`.
    pub fn optimizer(mut self, optimizer: impl Optimizer + 'static) -> Fit {
        self.optimizer = Arc::new(optimizer);
        self
    }

    /// How the learning rate changes over all epochs.
    pub fn schedule(mut self, schedule: Schedule) -> Fit {
        self.schedule = schedule;
        self
    }

    /// What to make small.
    pub fn loss(mut self, loss: impl Loss + 'static) -> Fit {
        self.loss = Arc::new(loss);
        self
    }

    /// Evaluates on this data set after each epoch.
    pub fn validate(mut self, data: &Dataset) -> Fit {
        self.validation = Some(data.clone());
        self
    }

    /// Whether each epoch has an order of its own, drawn from the model's seed and the number of the epoch.
    pub fn shuffle(mut self, shuffle: bool) -> Fit {
        self.shuffle = shuffle;
        self
    }

    /// What to print.
    pub fn progress(mut self, progress: Progress) -> Fit {
        self.progress = progress;
        self
    }

    /// Training ends, with [`History::stopped`] set, after the step in which somebody sets this flag: a Ctrl-C handler, another thread.
    pub fn stop_flag(mut self, flag: Arc<AtomicBool>) -> Fit {
        self.stop_flag = Some(flag);
        self
    }

    /// Keeps the loss of every step in [`History::step_losses`]. It is read back after each step, so a GPU waits for the host.
    pub fn step_losses(mut self) -> Fit {
        self.step_losses = true;
        self
    }

    /// What the backward pass makes again instead of keeping it: less memory for more work. The numbers are the same bits.
    pub fn recompute(mut self, recompute: Recompute) -> Fit {
        self.recompute = recompute;
        self
    }

    pub(super) fn check(&self) -> Result<()> {
        if self.epochs == 0 {
            return Err(Error::invalid("epochs", 0, "at least 1"));
        }
        if self.batch == 0 {
            return Err(Error::invalid("batch size", 0, "at least 1"));
        }
        self.optimizer.check().map_err(|e| e.at(self.optimizer.name()))?;
        if self.recompute == Recompute::Checkpoints(0) {
            return Err(Error::invalid("checkpoints", "every 0th place", "at least every 1st"));
        }
        self.schedule.check()?;
        self.loss.check()
    }
}

/// What training came to.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct History {
    /// The epochs in order. Where training was stopped within one, that is the last.
    pub epochs: Vec<Epoch>,
    /// Steps made.
    pub steps: u64,
    /// Seconds from the call of `fit` to the end of its first step: planning, kernels, memory, data, and the step itself.
    pub first_step_seconds: f64,
    /// Whether the stop flag ended it.
    pub stopped: bool,
    /// Mean loss of each step's batch, before its update, if [`Fit::step_losses`] asked for it.
    pub step_losses: Vec<f32>,
}

/// An epoch. Loss and accuracy are means over its samples, each taken as it was trained on: with dropout, before the step's update.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Epoch {
    /// Mean loss.
    pub loss: f64,
    /// Share of samples whose class was the most probable one.
    pub accuracy: f64,
    /// Loss on the validation set after the epoch.
    pub val_loss: Option<f64>,
    /// Accuracy on the validation set after the epoch.
    pub val_accuracy: Option<f64>,
    /// Seconds of training, without validation.
    pub seconds: f64,
    /// Training images a second.
    pub images_per_second: f64,
}

/// How good a model is on a data set.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Score {
    /// Mean loss.
    pub loss: f64,
    /// Share of samples whose class was the most probable one.
    pub accuracy: f64,
    /// Number of samples.
    pub n: usize,
}
