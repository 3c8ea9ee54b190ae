//! What happens between two steps: evaluation, callbacks, checkpoints, and the end.

use super::callback::{Callback, Context};
use super::checkpoint::Every;
use super::clock::Clock;
use super::run::Training;
use super::saved::{Saved, encode_weights};
use super::state;
use super::step::TRAINING;
use super::{Monitor, Validation};
use crate::error::{Error, Result};
use std::path::Path;
use std::sync::atomic::Ordering;

impl Training<'_> {
    /// What follows a step, unless it is the epoch's last: then the epoch's end does.
    pub async fn after_step(&mut self) -> Result<()> {
        self.interrupted |= self.fit.stop_flag.as_ref().is_some_and(|flag| flag.load(Ordering::Relaxed));
        let within = self.at.batch < self.order.n_batches();
        if within && self.fit.validate_every.is_some_and(|n| self.at.history.steps.is_multiple_of(n)) {
            self.read().await?;
            self.pause();
            self.validate().await?;
            self.go_on();
        }
        self.call(|callback, at| callback.on_step(at))?;
        if within && !self.is_ending() && self.is_due() {
            // What the device still has to do is training.
            self.read().await?;
            self.pause();
            self.save().await?;
            self.go_on();
        }
        Ok(())
    }

    /// Evaluates on the validation set, if there is one, with the average in the parameters' place if there is one.
    pub async fn validate(&mut self) -> Result<Option<Validation>> {
        let fit = self.fit;
        let Some(data) = &fit.validation else { return Ok(None) };
        self.swap_average().await?;
        let score = self.model.evaluate_with_async(data, &*fit.loss).await;
        self.swap_average().await?;
        let score = score?;
        let (step, epoch) = (self.at.history.steps, self.at.epoch);
        let validation = Validation { step, epoch, loss: score.loss, accuracy: score.accuracy };
        self.at.history.validations.push(validation);
        self.look(|monitor| monitor.of_validation(&validation)).await?;
        self.call(|callback, at| callback.on_validation(at, &validation))?;
        Ok(Some(validation))
    }

    async fn swap_average(&mut self) -> Result<()> {
        if self.fit.average.is_some() { self.model.swap_average_async().await } else { Ok(()) }
    }

    /// Looks at the values that monitors have now: for early stopping, and for the best model.
    pub async fn look(&mut self, value_of: impl Fn(Monitor) -> Option<f64>) -> Result<()> {
        let fit = self.fit;
        if let Some(early) = &fit.early_stopping
            && let Some(value) = value_of(early.monitor)
        {
            let is_best = early.observe(&mut self.watch, self.at.epoch, value);
            if is_best && early.restore_best {
                self.best_tensors = self.model.tensors(&state::average(fit)).await?;
            }
            self.stop |= early.is_over(&self.watch);
        }
        if let Some(monitor) = fit.checkpoints.as_ref().and_then(|c| c.best)
            && let Some(value) = value_of(monitor)
        {
            let mut best = self.best;
            if best.observe(monitor, value, 0.0) && self.save_best().await? {
                self.best = best;
            }
        }
        Ok(())
    }

    /// Calls a method of all callbacks.
    pub fn call(&mut self, mut method: impl FnMut(&mut dyn Callback, &mut Context<'_>) -> Result<()>) -> Result<()> {
        let fit = self.fit;
        for callback in &fit.callbacks {
            let before = self.model.trained;
            let mut at = Context {
                model: &mut *self.model,
                history: &self.at.history,
                epoch: self.at.epoch,
                epochs: fit.epochs,
                step: self.at.history.steps,
                learning_rate: self.at.rate,
                resumed: self.resumed,
                stop: &mut self.stop,
            };
            let mut callback = callback.lock();
            method(&mut *callback, &mut at)?;
            if self.model.trained != before || !self.programs.iter().all(|(_, key, _)| self.model.has_program(key)) {
                let want = "one that neither trains it nor changes what is trained";
                return Err(Error::invalid("model after a callback", "another one", want).at(callback.name()));
            }
        }
        Ok(())
    }

    /// Whether it is time for a checkpoint.
    pub fn is_due(&self) -> bool {
        let Some(checkpoints) = &self.fit.checkpoints else { return false };
        match checkpoints.every {
            Every::Epochs(n) => self.at.batch == 0 && self.at.epoch.is_multiple_of(n),
            Every::Steps(n) => self.at.history.steps.is_multiple_of(n),
            Every::Seconds(seconds) => self.since_written.seconds() >= seconds,
        }
    }

    /// The error that names the first layer whose parameters aren't finite, if there is one.
    pub async fn expect_finite(&mut self) -> Result<()> {
        match self.model.non_finite_parameters().await? {
            Some(layer) => {
                let step = u64::from(self.model.trained.steps);
                Err(Error::NonFinite { layer, what: "parameters".to_string(), step })
            }
            None => Ok(()),
        }
    }

    /// Writes a checkpoint, if there is a folder for it and the last one isn't of this place.
    pub async fn save(&mut self) -> Result<()> {
        let place = (self.at.epoch, self.at.batch);
        if self.folder.is_none() || self.written == Some(place) {
            return Ok(());
        }
        // A model that is no use is no checkpoint.
        self.read().await?;
        self.expect_finite().await?;
        let counters = self.model.runtime.state(TRAINING.metrics).await?;
        let mut saved = Saved::new(self.model, self.train, self.fit, self.at.clone(), counters);
        saved.tensors = self.model.tensors(&state::all(self.fit)).await?;
        saved.best_tensors = self.best_tensors.clone();
        (saved.watch, saved.best) = (self.watch, self.best);
        for callback in &self.fit.callbacks {
            let callback = callback.lock();
            saved.callbacks.push((callback.name().to_string(), callback.state()));
        }
        let bytes = saved.encode()?;
        let result = self.folder.as_ref().map_or(Ok(()), |folder| folder.write(self.at.history.steps, &bytes));
        if self.has_written(result)? {
            self.written = Some(place);
        }
        self.since_written = Clock::start();
        Ok(())
    }

    /// Writes the model as the best one; whether that was possible.
    async fn save_best(&mut self) -> Result<bool> {
        self.swap_average().await?;
        let weights = self.model.weights_async().await;
        self.swap_average().await?;
        let bytes = encode_weights(&weights?)?;
        let result = self.folder.as_ref().map_or(Ok(()), |folder| folder.write_best(&bytes));
        self.has_written(result)
    }

    /// Whether a file was written. Only if it is the call's first, it is an error that it wasn't.
    fn has_written(&mut self, result: Result<()>) -> Result<bool> {
        match result {
            Ok(()) => self.has_written = true,
            Err(e) if self.has_written => {
                self.at.history.failed_checkpoints += 1;
                self.reporter.warn(&format!("a checkpoint couldn't be written: {e}"));
                return Ok(false);
            }
            Err(e) => return Err(e),
        }
        Ok(true)
    }

    /// Goes on from a checkpoint that was found to be of this run.
    pub async fn resume(&mut self, path: &Path, saved: Saved) -> Result<()> {
        let fit = self.fit;
        let place = |e: Error| e.at(&path.display().to_string());
        self.model.set_tensors(&state::all(fit), &saved.tensors).await.map_err(place)?;
        TRAINING.reset(self.model).await?;
        self.model.runtime.set_state(TRAINING.metrics, &saved.counters).await.map_err(place)?;
        let Saved { position, watch, best, best_tensors, callbacks, .. } = saved;
        self.model.trained.steps = position.start_step.wrapping_add(position.history.steps as u32);
        self.model.trained.epochs = position.start_epoch.wrapping_add(position.epoch as u32);
        self.order.first_epoch = position.start_epoch;
        self.written = Some((position.epoch, position.batch));
        self.at = position;
        self.at.history.first_step_seconds = 0.0;
        self.best = best;
        if let Some(early) = &fit.early_stopping
            && let Some(watch) = early.taken_over(watch)
        {
            self.watch = watch;
            self.stop = early.is_over(&watch);
            if early.restore_best {
                self.best_tensors = best_tensors;
            }
        }
        let mut states = callbacks;
        for callback in &fit.callbacks {
            let mut callback = callback.lock();
            if let Some(i) = states.iter().position(|(name, _)| name == callback.name()) {
                callback.restore(states.remove(i).1)?;
            }
        }
        self.resumed = true;
        let (epoch, n, step) = (self.at.epoch, fit.epochs, self.at.history.steps);
        self.reporter.note(&format!("going on from {}: {epoch} of {n} epochs are through, {step} steps", path.display()));
        Ok(())
    }
}
