//! How the learning rate changes during training.

use super::exact;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::f64::consts::PI;

/// Factor of the optimizer's learning rate. What is said in epochs changes between them, the rest from step to step.
#[derive(Clone, PartialEq, Debug, Default)]
pub enum Schedule {
    /// The same from the first step to the last.
    #[default]
    Constant,
    /// `factor` times after every so many epochs (PyTorch's `StepLR`).
    Step {
        /// Epochs between changes, at least 1.
        epochs: usize,
        /// What the rate is multiplied by, above 0; 0.1 is usual.
        factor: f64,
    },
    /// `factor` times after each of these numbers of epochs (PyTorch's `MultiStepLR`).
    MultiStep {
        /// Epochs after which the rate changes, in rising order.
        epochs: Vec<usize>,
        /// What the rate is multiplied by, above 0; 0.1 is usual.
        factor: f64,
    },
    /// `factor` times after every epoch (PyTorch's `ExponentialLR`).
    Exponential {
        /// What the rate is multiplied by, above 0.
        factor: f64,
    },
    /// `last + (1 - last) (1 - t)^power`, with t from 0 at the first step to 1 at the last one of [`Fit`](super::Fit) (PyTorch's
    /// `PolynomialLR`, whose `last` is 0).
    Polynomial {
        /// Factor at the last step, 0 to 1.
        last: f64,
        /// The power, above 0; 1 is a straight line.
        power: f64,
    },
    /// Half a cosine from 1 at the first step to `last` at the last one of [`Fit`](super::Fit) (I. Loshchilov, F. Hutter, "SGDR:
    /// Stochastic Gradient Descent with Warm Restarts", ICLR 2017, without restarts; PyTorch's `CosineAnnealingLR`).
    Cosine {
        /// Factor at the last step, 0 to 1.
        last: f64,
    },
    /// Half cosines from 1 down towards `last`, one after the other, each `growth` times as long as the one before (SGDR; PyTorch's
    /// `CosineAnnealingWarmRestarts`).
    CosineRestarts {
        /// Epochs of the first cosine, at least 1.
        epochs: usize,
        /// How many times longer each is than the one before, at least 1.
        growth: usize,
        /// Factor that each comes down to, 0 to 1.
        last: f64,
    },
    /// Up from `first` to 1 in the first `rise` of all steps and down to `last` in the rest, by half cosines (L. Smith, N. Topin,
    /// "Super-Convergence", arXiv:1708.07120; PyTorch's `OneCycleLR`, whose defaults are [`Schedule::one_cycle`]). The momentum stays as it
    /// is.
    OneCycle {
        /// Factor at the first step, above 0.
        first: f64,
        /// Share of the steps that go up, 0 to 1.
        rise: f64,
        /// Factor at the last step, 0 to 1.
        last: f64,
    },
    /// `factor` times when the loss of the validation set, or of training where there is none, hasn't become smaller by a
    /// ten-thousandth of itself for more than `patience` epochs (PyTorch's `ReduceLROnPlateau`).
    Plateau {
        /// What the rate is multiplied by, between 0 and 1; 0.1 is usual.
        factor: f64,
        /// Epochs without improvement that are let pass; 10 in PyTorch and Keras.
        patience: usize,
    },
    /// A straight line from `first` to 1 over so many steps, then another schedule over the others (PyTorch's `LinearLR` before it in a
    /// `SequentialLR`; epochs are counted from the beginning of training). [`Schedule::warm_up`] makes it.
    WarmUp {
        /// Steps before the rate is full.
        steps: u64,
        /// Factor at the first step, 0 to 1.
        first: f64,
        /// What follows.
        then: Box<Schedule>,
    },
}

/// Where training is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Place {
    /// Step, from 0: an update of the parameters.
    pub step: u64,
    /// Steps of the whole training.
    pub n_steps: u64,
    /// Steps of an epoch.
    pub epoch_steps: u64,
    /// How often [`Schedule::Plateau`] has reduced the rate.
    pub reductions: u32,
}

impl Place {
    fn epoch(&self) -> u64 {
        self.step / self.epoch_steps.max(1)
    }
}

/// From `from` at `t = 0` to `to` at 1 by half a cosine.
fn half_cosine(from: f64, to: f64, t: f64) -> f64 {
    to + (from - to) * 0.5 * (1.0 + (PI * t.clamp(0.0, 1.0)).cos())
}

fn power(factor: f64, n: u64) -> f64 {
    factor.powf(n as f64)
}

impl Schedule {
    /// PyTorch's one cycle: up from 1/25 in 0.3 of the steps, then down to 1/250,000.
    pub fn one_cycle() -> Schedule {
        Schedule::OneCycle { first: 1.0 / 25.0, rise: 0.3, last: 1.0 / 25e4 }
    }

    /// This schedule after a straight line from nearly 0 to 1 over `steps` steps, whose step t has the factor `(t + 1) / (steps + 1)`.
    pub fn warm_up(self, steps: u64) -> Schedule {
        Schedule::WarmUp { steps, first: 1.0 / (steps as f64 + 1.0), then: Box::new(self) }
    }

    pub(super) fn check(&self) -> Result<()> {
        let share = |what: &str, x: f64| {
            if (0.0..=1.0).contains(&x) { Ok(()) } else { Err(Error::invalid(what, x, "0 to 1")) }
        };
        let positive = |what: &str, x: f64| {
            if x > 0.0 && x.is_finite() { Ok(()) } else { Err(Error::invalid(what, x, "a positive number")) }
        };
        let at_least_1 = |what: &str, n: usize| if n > 0 { Ok(()) } else { Err(Error::invalid(what, n, "at least 1")) };
        match self {
            Schedule::Constant => Ok(()),
            Schedule::Step { epochs, factor } => {
                at_least_1("epochs of the step schedule", *epochs)?;
                positive("factor of the step schedule", *factor)
            }
            Schedule::MultiStep { epochs, factor } => {
                if !epochs.is_sorted() {
                    return Err(Error::invalid("epochs of the multi-step schedule", format!("{epochs:?}"), "a rising order"));
                }
                positive("factor of the multi-step schedule", *factor)
            }
            Schedule::Exponential { factor } => positive("factor of the exponential schedule", *factor),
            Schedule::Polynomial { last, power } => {
                share("last factor of the polynomial schedule", *last)?;
                positive("power of the polynomial schedule", *power)
            }
            Schedule::Cosine { last } => share("last factor of the cosine schedule", *last),
            Schedule::CosineRestarts { epochs, growth, last } => {
                at_least_1("epochs of the cosine schedule", *epochs)?;
                at_least_1("growth of the cosine schedule", *growth)?;
                share("last factor of the cosine schedule", *last)
            }
            Schedule::OneCycle { first, rise, last } => {
                positive("first factor of one cycle", *first)?;
                share("rise of one cycle", *rise)?;
                share("last factor of one cycle", *last)
            }
            Schedule::Plateau { factor, .. } => {
                positive("factor of the plateau schedule", *factor)?;
                share("factor of the plateau schedule", *factor)
            }
            Schedule::WarmUp { first, then, .. } => {
                share("first factor of the warm-up", *first)?;
                then.check()
            }
        }
    }

    /// The factor at a step.
    pub fn factor(&self, at: Place) -> f64 {
        // From 0 at the first step to 1 at the last.
        let done = at.step as f64 / at.n_steps.saturating_sub(1).max(1) as f64;
        match self {
            Schedule::Constant => 1.0,
            Schedule::Step { epochs, factor } => power(*factor, at.epoch() / *epochs as u64),
            Schedule::MultiStep { epochs, factor } => {
                power(*factor, epochs.iter().filter(|&&e| e as u64 <= at.epoch()).count() as u64)
            }
            Schedule::Exponential { factor } => power(*factor, at.epoch()),
            Schedule::Polynomial { last, power } => last + (1.0 - last) * (1.0 - done.min(1.0)).powf(*power),
            Schedule::Cosine { last } => half_cosine(1.0, *last, done),
            Schedule::CosineRestarts { epochs, growth, last } => {
                let (mut t, mut len) = (at.step as f64 / at.epoch_steps.max(1) as f64, *epochs as f64);
                if *growth == 1 {
                    t %= len;
                }
                while t >= len {
                    t -= len;
                    len *= *growth as f64;
                }
                half_cosine(1.0, *last, t / len)
            }
            Schedule::OneCycle { first, rise, last } => {
                let peak = rise * at.n_steps as f64 - 1.0;
                let (step, end) = (at.step as f64, at.n_steps as f64 - 1.0);
                if step <= peak {
                    half_cosine(*first, 1.0, if peak > 0.0 { step / peak } else { 1.0 })
                } else {
                    half_cosine(1.0, *last, if end > peak { (step - peak) / (end - peak) } else { 1.0 })
                }
            }
            Schedule::Plateau { factor, .. } => power(*factor, u64::from(at.reductions)),
            Schedule::WarmUp { steps, first, then } => {
                if at.step < *steps {
                    return first + (1.0 - first) * at.step as f64 / *steps as f64;
                }
                then.after(*steps, at)
            }
        }
    }

    /// The factor at a step of a schedule that `steps` steps went before. What counts epochs counts them from the beginning.
    fn after(&self, steps: u64, at: Place) -> f64 {
        match self {
            Schedule::Step { .. }
            | Schedule::MultiStep { .. }
            | Schedule::Exponential { .. }
            | Schedule::CosineRestarts { .. } => self.factor(at),
            _ => self.factor(Place { step: at.step - steps, n_steps: at.n_steps.saturating_sub(steps), ..at }),
        }
    }

    /// Whether the factor at a step depends on the number of all steps.
    pub(super) fn depends_on_length(&self) -> bool {
        match self {
            Schedule::Polynomial { .. } | Schedule::Cosine { .. } | Schedule::OneCycle { .. } => true,
            Schedule::WarmUp { then, .. } => then.depends_on_length(),
            Schedule::Constant
            | Schedule::Step { .. }
            | Schedule::MultiStep { .. }
            | Schedule::Exponential { .. }
            | Schedule::CosineRestarts { .. }
            | Schedule::Plateau { .. } => false,
        }
    }

    /// Epochs without improvement that [`Schedule::Plateau`] lets pass.
    fn patience(&self) -> Option<usize> {
        match self {
            Schedule::Plateau { patience, .. } => Some(*patience),
            Schedule::WarmUp { then, .. } => then.patience(),
            _ => None,
        }
    }
}

/// Counts the epochs in which the loss didn't improve.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct Plateau {
    #[serde(with = "exact")]
    best: f64,
    waited: usize,
    /// How often the rate was reduced.
    pub reductions: u32,
}

impl Default for Plateau {
    fn default() -> Plateau {
        Plateau { best: f64::INFINITY, waited: 0, reductions: 0 }
    }
}

impl Plateau {
    /// Takes in the loss of an epoch.
    pub fn observe(&mut self, schedule: &Schedule, loss: f64) {
        let Some(patience) = schedule.patience() else { return };
        // As PyTorch: better by a ten-thousandth of the best so far.
        if loss < self.best * (1.0 - 1e-4) {
            (self.best, self.waited) = (loss, 0);
            return;
        }
        self.waited += 1;
        if self.waited > patience {
            self.reductions += 1;
            self.waited = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(step: u64, n_steps: u64) -> Place {
        Place { step, n_steps, epoch_steps: 1, reductions: 0 }
    }

    #[test]
    fn cosine_goes_from_one_to_last() {
        let s = Schedule::Cosine { last: 0.1 };
        assert_eq!(s.factor(at(0, 11)), 1.0);
        assert!((s.factor(at(5, 11)) - 0.55).abs() < 1e-12);
        assert!((s.factor(at(10, 11)) - 0.1).abs() < 1e-12);
        assert_eq!((s.factor(at(0, 1)), Schedule::Constant.factor(at(7, 9))), (1.0, 1.0));
        assert!(Schedule::Cosine { last: f64::NAN }.check().is_err());
    }

    #[test]
    fn epochs_of_several_steps() {
        let s = Schedule::Step { epochs: 2, factor: 0.5 };
        let factor = |step| s.factor(Place { step, n_steps: 100, epoch_steps: 10, reductions: 0 });
        assert_eq!([0, 19, 20, 39, 40].map(factor), [1.0, 1.0, 0.5, 0.5, 0.25]);
        let restarts = Schedule::CosineRestarts { epochs: 1, growth: 1, last: 0.0 };
        let half = restarts.factor(Place { step: 15, n_steps: 100, epoch_steps: 10, reductions: 0 });
        assert!((half - 0.5).abs() < 1e-12);
    }

    /// PyTorch's `ReduceLROnPlateau` (tests/goldens/optimizers.py).
    #[test]
    fn plateau() {
        let json: serde_json::Value = serde_json::from_str(include_str!("../../tests/goldens/optimizers.json")).unwrap();
        let numbers =
            |key: &str| json["schedules"][key].as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect::<Vec<_>>();
        let schedule = Schedule::Plateau { factor: 0.5, patience: 2 }.warm_up(0);
        let mut plateau = Plateau::default();
        for (loss, want) in numbers("plateau_losses").into_iter().zip(numbers("plateau")) {
            let factor = schedule.factor(Place { step: 1, reductions: plateau.reductions, ..Place::default() });
            assert!((factor - want).abs() < 1e-12, "{loss}: {factor}, want {want}");
            plateau.observe(&schedule, loss);
        }
        assert!(plateau.reductions >= 2);
    }

    #[test]
    fn warm_up_begins_above_zero() {
        let s = Schedule::Constant.warm_up(4);
        let factors: Vec<f64> = (0..6).map(|i| s.factor(at(i, 6))).collect();
        for (factor, want) in factors.iter().zip([0.2, 0.4, 0.6, 0.8, 1.0, 1.0]) {
            assert!((factor - want).abs() < 1e-12, "{factors:?}");
        }
    }

    #[test]
    fn bad_settings_are_refused() {
        for bad in [
            Schedule::Step { epochs: 0, factor: 0.1 },
            Schedule::Step { epochs: 1, factor: 0.0 },
            Schedule::MultiStep { epochs: vec![3, 2], factor: 0.1 },
            Schedule::Exponential { factor: f64::INFINITY },
            Schedule::Polynomial { last: 0.0, power: 0.0 },
            Schedule::CosineRestarts { epochs: 1, growth: 0, last: 0.0 },
            Schedule::OneCycle { first: 0.0, rise: 0.3, last: 0.0 },
            Schedule::Plateau { factor: 1.5, patience: 1 },
            Schedule::Cosine { last: 2.0 }.warm_up(3),
        ] {
            assert!(bad.check().is_err(), "{bad:?}");
        }
        assert!(Schedule::one_cycle().warm_up(0).check().is_ok());
    }
}
