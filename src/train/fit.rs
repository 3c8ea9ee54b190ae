//! What to train with, and what comes of it.

use super::optimizer::{Adam, Optimizer};
use super::{Loss, Progress, Schedule, SoftmaxCrossEntropy};
use crate::data::Dataset;
use crate::error::{Error, Result};
use crate::graph::Recompute;
use crate::ops::update::HYPER;
use crate::tensor::Tensor;
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
    pub(super) clip_norm: Option<f64>,
    pub(super) clip_value: Option<f32>,
    pub(super) accumulate: usize,
    pub(super) average: Option<f64>,
    pub(super) decay_weights_only: bool,
    pub(super) loader_threads: Option<usize>,
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
            clip_norm: None,
            clip_value: None,
            accumulate: 1,
            average: None,
            decay_weights_only: false,
            loader_threads: None,
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

    /// Scales all gradients down by one factor where the norm of all of them together is larger than this (PyTorch's `clip_grad_norm_`,
    /// Keras's `global_clipnorm`).
    pub fn clip_norm(mut self, max_norm: f64) -> Fit {
        self.clip_norm = Some(max_norm);
        self
    }

    /// Cuts each element of the gradients off at plus and minus this (PyTorch's `clip_grad_value_`, Keras's `clipvalue`), before
    /// [`Fit::clip_norm`].
    pub fn clip_value(mut self, largest: f32) -> Fit {
        self.clip_value = Some(largest);
        self
    }

    /// Changes the parameters after every `batches` batches only, by the mean gradient of their samples: as with a batch of that size,
    /// but for batch norm, in the memory of one batch. An epoch's last update takes the batches that are left.
    pub fn accumulate(mut self, batches: usize) -> Fit {
        self.accumulate = batches;
        self
    }

    /// Keeps a moving average of the parameters: after each update `decay` of itself plus `1 - decay` of the parameters; 0.999 is usual.
    /// It starts with them, validation takes it, and [`Model::swap_average`](crate::nn::Model::swap_average) puts it in their place.
    pub fn average(mut self, decay: f64) -> Fit {
        self.average = Some(decay);
        self
    }

    /// The optimizer's weight decay passes by biases and the scales and shifts of normalisations: all parameters of one dimension.
    pub fn decay_weights_only(mut self) -> Fit {
        self.decay_weights_only = true;
        self
    }

    /// Threads that read images ahead which aren't in memory, here and in what the model does after it. As many as the machine has cores, but
    /// 8 at most, by default; with 0 training reads each batch when it needs it. The numbers are the same bits with any.
    pub fn loader_threads(mut self, threads: usize) -> Fit {
        self.loader_threads = Some(threads);
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

    /// All settings that a step's program depends on, as text.
    pub(super) fn key(&self) -> String {
        let Fit { loss, recompute, step_losses, clip_norm, clip_value, average, decay_weights_only, .. } = self;
        let clip = (clip_norm, clip_value);
        let accumulates = self.accumulate > 1;
        let optimizer = self.optimizer.key();
        format!(
            "{optimizer}, {loss:?}, {recompute:?}, loss kept {step_losses}, clip {clip:?}, accumulate {accumulates}, \
             average {average:?}, decay weights only {decay_weights_only}"
        )
    }

    /// The step's numbers for an update by the optimizer's rule; nothing is updated unless `applied`.
    pub(super) fn hyper(&self, step: u64, rate: f64, applied: bool) -> Result<Tensor> {
        let [rate, a, b, c] = self.optimizer.hyper(step, rate);
        Tensor::f32([HYPER], vec![rate, a, b, c, 1.0, if applied { 1.0 } else { 0.0 }])
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
        if let Some(norm) = self.clip_norm.filter(|n| !(*n > 0.0 && (*n as f32) > 0.0 && (*n as f32).is_finite())) {
            return Err(Error::invalid("norm to clip to", norm, "a positive number"));
        }
        if let Some(value) = self.clip_value.filter(|v| !(*v > 0.0 && v.is_finite())) {
            return Err(Error::invalid("value to clip to", value, "a positive number"));
        }
        if self.accumulate == 0 {
            return Err(Error::invalid("batches to accumulate", 0, "at least 1"));
        }
        if let Some(decay) = self.average.filter(|d| !(0.0..1.0).contains(d)) {
            return Err(Error::invalid("decay of the average", decay, "0 to less than 1"));
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
    /// Share of samples, or of labelled pixels, whose class was the most probable one; NaN where a data set has numbers instead of classes.
    pub accuracy: f64,
    /// Loss on the validation set after the epoch.
    pub val_loss: Option<f64>,
    /// Accuracy on the validation set after the epoch.
    pub val_accuracy: Option<f64>,
    /// Learning rate of its last step.
    pub learning_rate: f64,
    /// Seconds of training, without validation.
    pub seconds: f64,
    /// Training images a second.
    pub images_per_second: f64,
}
