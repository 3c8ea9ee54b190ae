//! What to train with, and what comes of it.

use super::callback::{Callback, Context, OnEpoch, OnStep, Shared};
use super::optimizer::{Adam, Optimizer};
use super::{Augmentation, Checkpoints, EarlyStopping, Loss, Progress, Resume, Schedule, SoftmaxCrossEntropy};
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
    pub(super) augmentation: Option<Augmentation>,
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
    pub(super) validate_every: Option<u64>,
    pub(super) early_stopping: Option<EarlyStopping>,
    pub(super) checkpoints: Option<Checkpoints>,
    pub(super) resume: Resume,
    pub(super) callbacks: Vec<Shared>,
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
            augmentation: None,
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
            validate_every: None,
            early_stopping: None,
            checkpoints: None,
            resume: Resume::Never,
            callbacks: Vec::new(),
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

    /// Evaluates on [`Fit::validate`]'s data set also in the midst of epochs, after every so many steps of the whole training:
    /// [`History::validations`].
    pub fn validate_every(mut self, steps: u64) -> Fit {
        self.validate_every = Some(steps);
        self
    }

    /// Ends training when it doesn't get better any more.
    pub fn early_stopping(mut self, early_stopping: EarlyStopping) -> Fit {
        self.early_stopping = Some(early_stopping);
        self
    }

    /// Writes checkpoints, from which [`Fit::resume`] can go on.
    pub fn checkpoints(mut self, checkpoints: Checkpoints) -> Fit {
        self.checkpoints = Some(checkpoints);
        self
    }

    /// Whether training goes on from a checkpoint in the folder of [`Fit::checkpoints`]; [`Resume::Never`] by default. Then `fit` sets the
    /// model to what it was, whatever it is now, and training comes to the same bits as if it had never been interrupted, on the same
    /// device and with the same data.
    ///
    /// The network, its seed, the training samples (of which number, labels, weights and normalisation are compared) and all settings that
    /// the bits depend on must be those of the run that wrote the checkpoint. Other settings may change: validation, callbacks, early stopping, progress, recomputation; and the
    /// number of epochs, unless the schedule's factor depends on it.
    pub fn resume(mut self, resume: Resume) -> Fit {
        self.resume = resume;
        self
    }

    /// Calls this in the midst of training, after those that were given before. The clones of this `Fit` share it.
    pub fn callback(mut self, callback: impl Callback + 'static) -> Fit {
        self.callbacks.push(Shared::new(callback));
        self
    }

    /// Calls a function after each step: [`Callback::on_step`].
    pub fn on_step(self, f: impl FnMut(&mut Context<'_>) -> Result<()> + Send + 'static) -> Fit {
        self.callback(OnStep(f))
    }

    /// Calls a function after each epoch that is through: [`Callback::on_epoch`].
    pub fn on_epoch(self, f: impl FnMut(&mut Context<'_>, &Epoch) -> Result<()> + Send + 'static) -> Fit {
        self.callback(OnEpoch(f))
    }

    /// Whether each epoch has an order of its own, drawn from the model's seed and the number of the epoch.
    pub fn shuffle(mut self, shuffle: bool) -> Fit {
        self.shuffle = shuffle;
        self
    }

    /// Changes training pictures at random, each epoch anew.
    pub fn augment(mut self, augmentation: Augmentation) -> Fit {
        self.augmentation = Some(augmentation);
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
        let Fit { loss, recompute, step_losses, clip_norm, clip_value, average, decay_weights_only, augmentation, .. } = self;
        let clip = (clip_norm, clip_value);
        let accumulates = self.accumulate > 1;
        let optimizer = self.optimizer.key();
        format!(
            "{optimizer}, {loss:?}, {recompute:?}, loss kept {step_losses}, clip {clip:?}, accumulate {accumulates}, \
             average {average:?}, decay weights only {decay_weights_only}, {augmentation:?}"
        )
    }

    /// The settings that the bits of training depend on, by name.
    pub(super) fn settings(&self) -> Vec<(&'static str, String)> {
        let schedule = match self.schedule.depends_on_length() {
            true => format!("{:?} over {} epochs", self.schedule, self.epochs),
            false => format!("{:?}", self.schedule),
        };
        vec![
            ("optimizer", format!("{}, {}", self.optimizer.name(), self.optimizer.key())),
            ("learning rate", format!("{:?}", self.optimizer.learning_rate())),
            ("schedule", schedule),
            ("batch size", self.batch.to_string()),
            ("loss", format!("{:?}", self.loss)),
            ("shuffle", self.shuffle.to_string()),
            ("augmentation", format!("{:?}", self.augmentation)),
            ("norm to clip to", format!("{:?}", self.clip_norm)),
            ("value to clip to", format!("{:?}", self.clip_value)),
            ("batches to accumulate", self.accumulate.to_string()),
            ("decay of the average", format!("{:?}", self.average)),
            ("decay of weights only", self.decay_weights_only.to_string()),
        ]
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
        if self.validate_every == Some(0) {
            return Err(Error::invalid("steps between validations", 0, "at least 1"));
        }
        if let Some(early_stopping) = &self.early_stopping {
            early_stopping.check()?;
        }
        if let Some(checkpoints) = &self.checkpoints {
            checkpoints.check()?;
        }
        let monitors = [self.early_stopping.map(|e| e.monitor), self.checkpoints.as_ref().and_then(|c| c.best)];
        let monitor = monitors.into_iter().flatten().find(|monitor| monitor.needs_validation());
        let validating = [monitor.map(|m| format!("{m:?}")), self.validate_every.map(|n| format!("every {n} steps"))];
        if let (None, Some(what)) = (&self.validation, validating.into_iter().flatten().next()) {
            return Err(Error::invalid("validation", what, "a data set for it: `Fit::validate`"));
        }
        if self.resume != Resume::Never && self.checkpoints.is_none() {
            return Err(Error::invalid("resume", format!("{:?}", self.resume), "a folder of checkpoints: `Fit::checkpoints`"));
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
    /// The evaluations of the validation set, in order: after each epoch, and those that [`Fit::validate_every`] asked for.
    pub validations: Vec<Validation>,
    /// Steps made, also those before a checkpoint that training went on from.
    pub steps: u64,
    /// Seconds from the call of `fit` to the end of its first step: planning, kernels, memory, data, and the step itself.
    pub first_step_seconds: f64,
    /// Whether the stop flag, early stopping or a callback ended it.
    pub stopped: bool,
    /// Mean loss of each step's batch, before its update, if [`Fit::step_losses`] asked for it.
    pub step_losses: Vec<f32>,
    /// Checkpoints, and best models, that couldn't be written.
    pub failed_checkpoints: usize,
}

/// An evaluation of the validation set during training.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Validation {
    /// Steps made until then.
    pub step: u64,
    /// The epoch, from 0.
    pub epoch: usize,
    /// Mean loss.
    pub loss: f64,
    /// Share that is right, as in [`Score::accuracy`](super::Score::accuracy).
    pub accuracy: f64,
}

/// An epoch. Loss and accuracy are means over its samples, each taken as it was trained on: with dropout, before the step's update.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Epoch {
    /// Steps made until its end.
    pub step: u64,
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
