//! What users have done in the midst of training.

use super::fit::{Epoch, History, Validation};
use crate::error::Result;
use crate::nn::Model;
use crate::tensor::Tensor;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Where training is, for a [`Callback`].
#[derive(Debug)]
#[non_exhaustive]
pub struct Context<'a> {
    /// The model as it is now. It can predict, evaluate, and be given other weights; neither [`Model::fit`] nor [`Model::set_trainable`] may
    /// be called.
    pub model: &'a mut Model,
    /// What training came to so far.
    pub history: &'a History,
    /// The epoch, from 0; after the last, their number.
    pub epoch: usize,
    /// Epochs of the whole training.
    pub epochs: usize,
    /// Steps made so far.
    pub step: u64,
    /// Learning rate of the last step.
    pub learning_rate: f64,
    /// Whether this call of `fit` went on from a checkpoint.
    pub resumed: bool,
    pub(super) stop: &'a mut bool,
}

impl Context<'_> {
    /// Ends training after this step, with [`History::stopped`] set.
    pub fn stop(&mut self) {
        *self.stop = true;
    }
}

/// What a callback has in a checkpoint.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct CallbackState {
    /// Any text.
    pub text: String,
    /// Tensors with names that differ.
    pub tensors: Vec<(String, Tensor)>,
}

/// Is called in the midst of training: [`Fit::callback`](super::Fit::callback). An error that a method returns ends training. In a browser
/// none may wait for the device.
pub trait Callback: Send {
    /// What its state is found again by in a checkpoint; the name of its type, unless it says otherwise. Of several with the same name each
    /// gets its own state, as long as their order stays.
    fn name(&self) -> &str {
        std::any::type_name::<Self>()
    }

    /// Before the first step of a call of `fit`, after [`Callback::restore`] where it goes on from a checkpoint.
    ///
    /// # Errors
    /// Any; it ends training.
    fn on_begin(&mut self, at: &mut Context<'_>) -> Result<()> {
        let _ = at;
        Ok(())
    }

    /// After each step. On a GPU the step may still be running; what asks the model for something waits for it.
    ///
    /// # Errors
    /// Any; it ends training.
    fn on_step(&mut self, at: &mut Context<'_>) -> Result<()> {
        let _ = at;
        Ok(())
    }

    /// After each evaluation of the validation set.
    ///
    /// # Errors
    /// Any; it ends training.
    fn on_validation(&mut self, at: &mut Context<'_>, validation: &Validation) -> Result<()> {
        let _ = (at, validation);
        Ok(())
    }

    /// After each epoch that is through, and its validation.
    ///
    /// # Errors
    /// Any; it ends training.
    fn on_epoch(&mut self, at: &mut Context<'_>, epoch: &Epoch) -> Result<()> {
        let _ = (at, epoch);
        Ok(())
    }

    /// After training, unless an error ended it. Where [`EarlyStopping::restore_best`](super::EarlyStopping::restore_best) was asked for,
    /// the model is the best one.
    ///
    /// # Errors
    /// Any.
    fn on_end(&mut self, at: &mut Context<'_>) -> Result<()> {
        let _ = at;
        Ok(())
    }

    /// What a checkpoint keeps of it, so that it goes on from there in a resumed run.
    fn state(&self) -> CallbackState {
        CallbackState::default()
    }

    /// Takes over what [`Callback::state`] returned when the checkpoint was made.
    ///
    /// # Errors
    /// Any; it ends training.
    fn restore(&mut self, state: CallbackState) -> Result<()> {
        let _ = state;
        Ok(())
    }
}

/// A function that is called after each step.
pub(super) struct OnStep<F>(pub F);

impl<F: FnMut(&mut Context<'_>) -> Result<()> + Send> Callback for OnStep<F> {
    fn on_step(&mut self, at: &mut Context<'_>) -> Result<()> {
        self.0(at)
    }
}

/// A function that is called after each epoch.
pub(super) struct OnEpoch<F>(pub F);

impl<F: FnMut(&mut Context<'_>, &Epoch) -> Result<()> + Send> Callback for OnEpoch<F> {
    fn on_epoch(&mut self, at: &mut Context<'_>, epoch: &Epoch) -> Result<()> {
        self.0(at, epoch)
    }
}

/// A callback, which the clones of a [`Fit`](super::Fit) share.
#[derive(Clone)]
pub(super) struct Shared(Arc<Mutex<dyn Callback>>);

impl Shared {
    pub fn new(callback: impl Callback + 'static) -> Shared {
        Shared(Arc::new(Mutex::new(callback)))
    }

    pub fn lock(&self) -> MutexGuard<'_, dyn Callback + 'static> {
        // One that panicked has ended the training that it was in; another may begin.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Callback")
    }
}
