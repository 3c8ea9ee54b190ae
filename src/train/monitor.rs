//! What tells whether training still gets better, and when it ends because it doesn't.

use super::exact;
use super::fit::{Epoch, History, Validation};
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// A number by which training is judged. Losses are better the smaller, accuracies the larger they are; NaN is never better.
///
/// That of the validation set is looked at whenever it is evaluated, the others after each epoch.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum Monitor {
    /// [`Epoch::loss`].
    Loss,
    /// [`Epoch::accuracy`].
    Accuracy,
    /// Loss on the validation set.
    #[default]
    ValLoss,
    /// Accuracy on the validation set.
    ValAccuracy,
}

impl Monitor {
    pub(super) fn needs_validation(self) -> bool {
        matches!(self, Monitor::ValLoss | Monitor::ValAccuracy)
    }

    /// Its value after an epoch, unless it is one of validation.
    pub(super) fn of_epoch(self, epoch: &Epoch) -> Option<f64> {
        match self {
            Monitor::Loss => Some(epoch.loss),
            Monitor::Accuracy => Some(epoch.accuracy),
            Monitor::ValLoss | Monitor::ValAccuracy => None,
        }
    }

    /// Its value after a validation, if it is one of validation.
    pub(super) fn of_validation(self, validation: &Validation) -> Option<f64> {
        match self {
            Monitor::ValLoss => Some(validation.loss),
            Monitor::ValAccuracy => Some(validation.accuracy),
            Monitor::Loss | Monitor::Accuracy => None,
        }
    }

    /// Whether a value is better than another by more than `least`, or the first that is a number.
    fn is_better(self, value: f64, than: Option<f64>, least: f64) -> bool {
        match (self, than) {
            (_, None) => !value.is_nan(),
            (Monitor::Loss | Monitor::ValLoss, Some(than)) => value + least < than,
            (Monitor::Accuracy | Monitor::ValAccuracy, Some(than)) => value - least > than,
        }
    }
}

/// The best value of a [`Monitor`], and where it was: see [`History::best`].
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Best {
    /// The value.
    pub value: f64,
    /// The epoch, from 0.
    pub epoch: usize,
    /// Steps made until then.
    pub step: u64,
}

impl History {
    /// The first of the best values that training came to; none if there is none that is a number.
    pub fn best(&self, monitor: Monitor) -> Option<Best> {
        let of_validation = |v: &Validation| Some(Best { value: monitor.of_validation(v)?, epoch: v.epoch, step: v.step });
        let of_epoch = |(epoch, e): (usize, &Epoch)| Some(Best { value: monitor.of_epoch(e)?, epoch, step: e.step });
        let all = self.epochs.iter().enumerate().filter_map(of_epoch).chain(self.validations.iter().filter_map(of_validation));
        all.fold(None, |best, next| match monitor.is_better(next.value, best.map(|b: Best| b.value), 0.0) {
            true => Some(next),
            false => best,
        })
    }
}

/// The best value that a monitor had so far.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Record {
    monitor: Monitor,
    #[serde(with = "exact::option")]
    value: Option<f64>,
}

impl Record {
    /// Takes in a value; says whether it is better than all before by more than `least`. Another monitor than before starts anew.
    pub fn observe(&mut self, monitor: Monitor, value: f64, least: f64) -> bool {
        let so_far = self.value.filter(|_| self.monitor == monitor);
        let better = monitor.is_better(value, so_far, least);
        *self = Record { monitor, value: if better { Some(value) } else { so_far } };
        better
    }
}

/// Ends training when a [`Monitor`] hasn't become better for some time: Keras's callback of that name.
///
/// ```
/// use striate::train::{EarlyStopping, Fit, Monitor};
///
/// let early = EarlyStopping::on(Monitor::ValAccuracy).patience(3).min_delta(0.001).restore_best();
/// let fit = Fit::epochs(100).early_stopping(early);
/// # drop(fit);
/// ```
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct EarlyStopping {
    pub(super) monitor: Monitor,
    patience: usize,
    min_delta: f64,
    pub(super) restore_best: bool,
    start_from: usize,
}

impl EarlyStopping {
    /// Ends training the first time that `monitor` isn't better than before. The default, as in Keras, is [`Monitor::ValLoss`].
    pub fn on(monitor: Monitor) -> EarlyStopping {
        EarlyStopping { monitor, ..EarlyStopping::default() }
    }

    /// How often the monitor may be no better than its best, one time after the other, without an end: training ends the time that makes
    /// it so many, the first if this is 0, which is the default (as in Keras). Times are epochs, or evaluations of the validation set
    /// where [`Fit::validate_every`](super::Fit::validate_every) asks for more of them.
    pub fn patience(mut self, times: usize) -> EarlyStopping {
        self.patience = times;
        self
    }

    /// A change that isn't larger than this is none; 0 by default.
    pub fn min_delta(mut self, least: f64) -> EarlyStopping {
        self.min_delta = least;
        self
    }

    /// When training has ended, early or not, parameters, running means and the average of [`Fit::average`](super::Fit::average) are those
    /// of the best time again. They are kept in the host's memory.
    pub fn restore_best(mut self) -> EarlyStopping {
        self.restore_best = true;
        self
    }

    /// Epochs before which the monitor isn't looked at; 0 by default.
    pub fn start_from(mut self, epoch: usize) -> EarlyStopping {
        self.start_from = epoch;
        self
    }

    pub(super) fn check(&self) -> Result<()> {
        if self.min_delta >= 0.0 && self.min_delta.is_finite() {
            return Ok(());
        }
        Err(Error::invalid("least change of early stopping", self.min_delta, "0 or a positive number"))
    }

    /// Whether the monitor has been no better for long enough.
    pub(super) fn is_over(&self, watch: &Watch) -> bool {
        watch.times > 1 && watch.waited > 0 && watch.waited >= self.patience
    }

    /// Takes in a value of the monitor; says whether the model is the best so far.
    pub(super) fn observe(&self, watch: &mut Watch, epoch: usize, value: f64) -> bool {
        if epoch < self.start_from {
            return false;
        }
        watch.times += 1;
        if watch.record.observe(self.monitor, value, self.min_delta) {
            watch.waited = 0;
            return true;
        }
        watch.waited += 1;
        // Before any value is a number, the first model is the best that there is.
        watch.times == 1
    }
}

/// What early stopping has seen.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Watch {
    record: Record,
    times: usize,
    /// Times without a better value.
    waited: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// After which value training ends, and which was the best.
    fn run(early: EarlyStopping, values: &[f64]) -> (Option<usize>, usize) {
        let (mut watch, mut best) = (Watch::default(), 0);
        for (i, &value) in values.iter().enumerate() {
            if early.observe(&mut watch, i, value) {
                best = i;
            }
            if early.is_over(&watch) {
                return (Some(i), best);
            }
        }
        (None, best)
    }

    #[test]
    fn as_in_keras() {
        let loss = EarlyStopping::default();
        assert_eq!(run(loss, &[1.0, 0.9, 0.8]), (None, 2));
        assert_eq!(run(loss, &[1.0, 0.9, 0.9]), (Some(2), 1));
        assert_eq!(run(loss.patience(1), &[1.0, 0.9, 0.9]), (Some(2), 1));
        assert_eq!(run(loss.patience(2), &[1.0, 0.9, 0.95, 0.8, 0.9, 0.9, 0.7]), (Some(5), 3));
        assert_eq!(run(loss.patience(2).min_delta(0.06), &[1.0, 0.9, 0.85, 0.845]), (Some(3), 1));
        assert_eq!(run(loss.start_from(2), &[1.0, 2.0, 3.0, 2.5, 2.6]), (Some(4), 3));
        let accuracy = EarlyStopping::on(Monitor::ValAccuracy).patience(1);
        assert_eq!(run(accuracy, &[0.5, 0.6, 0.5]), (Some(2), 1));
        assert_eq!(run(accuracy, &[0.5, 0.6, 0.7]), (None, 2));
        assert_eq!(run(accuracy.min_delta(0.2), &[0.5, 0.6, 0.7]), (Some(1), 0));
    }

    #[test]
    fn nan_is_never_better() {
        let loss = EarlyStopping::default();
        assert_eq!(run(loss, &[f64::NAN, 1.0, f64::NAN]), (Some(2), 1));
        assert_eq!(run(loss, &[f64::NAN, f64::NAN, 1.0]), (Some(1), 0));
        assert_eq!(run(loss.patience(1), &[f64::INFINITY, 5.0, f64::NAN]), (Some(2), 1));
        assert!(EarlyStopping::default().min_delta(f64::NAN).check().is_err());
    }
}
