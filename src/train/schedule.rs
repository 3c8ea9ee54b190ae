//! How the learning rate changes during training.

use crate::error::{Error, Result};

/// Factor of the optimizer's learning rate, step by step.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub enum Schedule {
    /// The same from the first step to the last.
    #[default]
    Constant,
    /// Half a cosine from 1 at the first step to `last` at the last one of [`Fit`](super::Fit) (I. Loshchilov, F. Hutter, "SGDR:
    /// Stochastic Gradient Descent with Warm Restarts", ICLR 2017, without restarts).
    Cosine {
        /// Factor at the last step, 0 to 1.
        last: f32,
    },
}

impl Schedule {
    pub(super) fn check(self) -> Result<()> {
        match self {
            Schedule::Cosine { last } if !(0.0..=1.0).contains(&last) => {
                Err(Error::invalid("last factor of the cosine schedule", last, "0 to 1"))
            }
            _ => Ok(()),
        }
    }

    /// The factor at step `step` (from 0) of `n_steps`.
    pub fn factor(self, step: u64, n_steps: u64) -> f64 {
        match self {
            Schedule::Constant => 1.0,
            Schedule::Cosine { last } => {
                let done = step as f64 / n_steps.saturating_sub(1).max(1) as f64;
                let last = f64::from(last);
                last + (1.0 - last) * 0.5 * (1.0 + (std::f64::consts::PI * done.min(1.0)).cos())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cosine_goes_from_one_to_last() {
        let s = Schedule::Cosine { last: 0.1 };
        let last = f64::from(0.1f32);
        assert_eq!(s.factor(0, 11), 1.0);
        assert!((s.factor(5, 11) - (1.0 + last) / 2.0).abs() < 1e-12);
        assert!((s.factor(10, 11) - last).abs() < 1e-12);
        assert_eq!((s.factor(0, 1), Schedule::Constant.factor(7, 9)), (1.0, 1.0));
        assert!(Schedule::Cosine { last: f32::NAN }.check().is_err());
    }
}
