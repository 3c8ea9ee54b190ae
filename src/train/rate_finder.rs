//! Which learning rates suit a model: L. N. Smith, "Cyclical Learning Rates for Training Neural Networks" (WACV 2017), in the form that
//! fastai gave it.

use super::clock::Clock;
use super::run::Training;
use super::step::TRAINING;
use super::{Fit, Progress, Resume};
use crate::data::Dataset;
use crate::error::{Error, Result};
use crate::nn::Model;
use std::ops::RangeInclusive;

/// Share of the loss so far in the smoothed one, as in fastai.
const SMOOTHING: f64 = 0.98;
/// The search ends where the smoothed loss is so many times its least, as in fastai.
const DIVERGED: f64 = 4.0;
/// Last steps that no suggestion is taken from, as in fastai: there the loss goes up.
const LAST: usize = 5;

/// The loss at rising learning rates: what [`Model::find_learning_rate`] found.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct RateCurve {
    /// Learning rate of each step.
    pub rates: Vec<f64>,
    /// Mean loss of each step's batch, before its update.
    pub losses: Vec<f64>,
    /// The losses, each as a mean of itself and those before, which weigh less and less.
    pub smoothed: Vec<f64>,
    /// Whether the search ended before its last step because the loss became too large, infinite or no number.
    pub diverged: bool,
}

impl RateCurve {
    /// The steps that suggestions are taken from: not the first tenth, and not the last five.
    fn judged(&self) -> std::ops::Range<usize> {
        let n = self.rates.len();
        n / 10..n.saturating_sub(LAST).max(n / 10)
    }

    /// The rate at which the smoothed loss falls most steeply, by the rate's logarithm: fastai's `steep`. None if there are too few steps.
    pub fn steepest(&self) -> Option<f64> {
        let slope = |i: usize| (self.smoothed[i + 1] - self.smoothed[i]) / (self.rates[i + 1].ln() - self.rates[i].ln());
        let judged = self.judged();
        let steps = judged.start..judged.end.saturating_sub(1);
        steps.min_by(|&a, &b| slope(a).total_cmp(&slope(b))).map(|i| self.rates[i])
    }

    /// A tenth of the rate at which the smoothed loss is least: fastai's `minimum`. None if there are too few steps.
    pub fn tenth_of_minimum(&self) -> Option<f64> {
        let least = self.judged().min_by(|&a, &b| self.smoothed[a].total_cmp(&self.smoothed[b]));
        least.map(|i| self.rates[i] / 10.0)
    }
}

impl Model {
    /// Trains for at most `steps` steps (100 is usual) at a learning rate that rises from one end of `rates` to the other (1e-7 to 10 is
    /// usual), each time by the same factor, and puts everything back: the model is what it was before, bit for bit. Of `fit`, batch size,
    /// optimizer, loss, clipping and accumulation count. The search ends early where the loss becomes four times its least.
    ///
    /// # Errors
    /// [`Error::Invalid`] for fewer than 2 steps and rates that aren't positive and rising; else as for [`Model::fit`], but for
    /// [`Error::NonFinite`]: a loss that isn't finite ends the search.
    pub fn find_learning_rate(
        &mut self,
        data: &Dataset,
        fit: &Fit,
        rates: RangeInclusive<f64>,
        steps: usize,
    ) -> Result<RateCurve> {
        pollster::block_on(self.find_learning_rate_async(data, fit, rates, steps))
    }

    /// [`Model::find_learning_rate`] for programs that mustn't block.
    pub async fn find_learning_rate_async(
        &mut self,
        data: &Dataset,
        fit: &Fit,
        rates: RangeInclusive<f64>,
        steps: usize,
    ) -> Result<RateCurve> {
        let (first, last) = (*rates.start(), *rates.end());
        if steps < 2 {
            return Err(Error::invalid("steps of the search", steps, "at least 2"));
        }
        if !(first > 0.0 && first < last && last.is_finite()) {
            return Err(Error::invalid(
                "learning rates",
                format!("{first} to {last}"),
                "positive numbers, the smaller one first",
            ));
        }
        let fit = Fit {
            epochs: usize::MAX,
            validation: None,
            validate_every: None,
            early_stopping: None,
            checkpoints: None,
            resume: Resume::Never,
            callbacks: Vec::new(),
            average: None,
            step_losses: true,
            progress: Progress::Silent,
            ..fit.clone()
        };
        fit.check()?;
        let (weights, trained) = (self.weights_async().await?, self.trained);
        let rate = |i: usize| first * (last / first).powf(i as f64 / (steps - 1) as f64);
        let found = self.search(data, &fit, (0..steps).map(rate)).await;
        self.set_weights_async(&weights).await?;
        self.trained = trained;
        found
    }

    /// Trains a step at each of these rates.
    async fn search(&mut self, data: &Dataset, fit: &Fit, rates: impl Iterator<Item = f64>) -> Result<RateCurve> {
        let mut training = Training::new(self, data, fit, Clock::start()).await?;
        TRAINING.reset(training.model).await?;
        let mut found = RateCurve::default();
        let (mut mean, mut least) = (0.0, f64::INFINITY);
        let mut batches = training.feeder(training.order.batches(0..fit.epochs, 0)?);
        for (i, rate) in rates.enumerate() {
            let Some(samples) = batches.next()? else { break };
            if training.at.batch == training.order.n_batches() {
                (training.at.epoch, training.at.batch) = (training.at.epoch + 1, 0);
            }
            training.step(samples, rate).await?;
            let loss = training.at.history.step_losses.last().copied().map_or(f64::NAN, f64::from);
            if !loss.is_finite() {
                found.diverged = true;
                break;
            }
            mean = SMOOTHING * mean + (1.0 - SMOOTHING) * loss;
            let smoothed = mean / (1.0 - SMOOTHING.powf(i as f64 + 1.0));
            found.rates.push(rate);
            found.losses.push(loss);
            found.smoothed.push(smoothed);
            least = smoothed.min(least);
            if smoothed > DIVERGED * least {
                found.diverged = true;
                break;
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggestions() {
        let rates: Vec<f64> = (0..40).map(|i| 1e-5 * 10f64.powf(i as f64 / 8.0)).collect();
        // Falls between steps 16 and 24, most steeply at 20, and rises from 30 on.
        let loss = |i: usize| 2.0 - 1.0 / (1.0 + (-(i as f64 - 20.5)).exp()) + (i as f64 - 30.0).max(0.0);
        let smoothed: Vec<f64> = (0..40).map(loss).collect();
        let curve = RateCurve { rates: rates.clone(), losses: smoothed.clone(), smoothed, diverged: false };
        assert_eq!(curve.steepest(), Some(rates[20]));
        assert_eq!(curve.tenth_of_minimum(), Some(rates[30] / 10.0));
        let short = RateCurve { rates: vec![0.1; 5], losses: vec![1.0; 5], smoothed: vec![1.0; 5], diverged: true };
        assert_eq!((short.steepest(), short.tenth_of_minimum()), (None, None));
        assert_eq!(RateCurve::default().steepest(), None);
    }
}
