//! What an evaluation can tell besides the loss.

use crate::error::{Error, Result};
use std::fmt;

/// A measure that [`Model::evaluate_metrics`](crate::nn::Model::evaluate_metrics) works out on the device.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Metric {
    /// Share of samples whose class is among the most probable ones, so many of them.
    TopK(usize),
    /// What each class was taken for: [`Score::confusion`], from which precision, recall and F1 follow.
    Confusion,
    /// Mean of the absolute differences between outputs and numbers, or one-hot classes.
    MeanAbsoluteError,
}

/// How good a model is on a data set.
#[derive(Clone, PartialEq, Debug)]
pub struct Score {
    /// Mean loss.
    pub loss: f64,
    /// Share of samples, or of labelled pixels, whose class was the most probable one; NaN where a data set has numbers instead of classes.
    pub accuracy: f64,
    /// Number of samples.
    pub n: usize,
    /// [`Metric::TopK`], in the order in which they were asked for.
    pub top_k: Vec<f64>,
    /// [`Metric::MeanAbsoluteError`], if it was asked for.
    pub mean_absolute_error: Option<f64>,
    /// [`Metric::Confusion`], if it was asked for.
    pub confusion: Option<ConfusionMatrix>,
}

/// How often each class was taken for each: rows are the true classes, columns the predicted ones.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfusionMatrix {
    classes: usize,
    counts: Vec<u32>,
}

/// 0 if there is nothing to divide by.
fn share(part: u64, all: u64) -> f64 {
    if all == 0 { 0.0 } else { part as f64 / all as f64 }
}

impl ConfusionMatrix {
    pub(super) fn new(classes: usize, counts: Vec<u32>) -> Self {
        ConfusionMatrix { classes, counts }
    }

    /// Counts pairs of a true class and a predicted one.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a class that isn't below `classes`.
    pub fn of(classes: usize, pairs: impl IntoIterator<Item = (u32, u32)>) -> Result<ConfusionMatrix> {
        let mut counts = vec![0u32; classes * classes];
        for (class, predicted) in pairs {
            if let Some(wrong) = [class, predicted].into_iter().find(|&c| c as usize >= classes) {
                return Err(Error::invalid("class", wrong, format!("below {classes}")));
            }
            counts[class as usize * classes + predicted as usize] += 1;
        }
        Ok(ConfusionMatrix::new(classes, counts))
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// How often class `class` was taken for `predicted`; 0 for classes that there aren't.
    pub fn count(&self, class: usize, predicted: usize) -> u32 {
        if class < self.classes && predicted < self.classes { self.counts[class * self.classes + predicted] } else { 0 }
    }

    fn sum(&self, cells: impl Iterator<Item = (usize, usize)>) -> u64 {
        cells.map(|(class, predicted)| u64::from(self.count(class, predicted))).sum()
    }

    /// Share of all samples that were taken for what they are.
    pub fn accuracy(&self) -> f64 {
        let all = 0..self.classes;
        share(self.sum(all.clone().map(|c| (c, c))), self.counts.iter().map(|&n| u64::from(n)).sum())
    }

    /// Of the samples that were taken for this class, the share that is of it; 0 if none was.
    pub fn precision(&self, class: usize) -> f64 {
        share(u64::from(self.count(class, class)), self.sum((0..self.classes).map(|c| (c, class))))
    }

    /// Of the samples of this class, the share that was taken for it; 0 if there is none.
    pub fn recall(&self, class: usize) -> f64 {
        share(u64::from(self.count(class, class)), self.sum((0..self.classes).map(|c| (class, c))))
    }

    /// Harmonic mean of precision and recall; 0 if both are.
    pub fn f1(&self, class: usize) -> f64 {
        let both = self.sum((0..self.classes).flat_map(|c| [(c, class), (class, c)]));
        share(2 * u64::from(self.count(class, class)), both)
    }

    fn mean(&self, of: impl Fn(usize) -> f64) -> f64 {
        (0..self.classes).map(of).sum::<f64>() / self.classes as f64
    }

    /// Mean of the classes' precisions.
    pub fn macro_precision(&self) -> f64 {
        self.mean(|c| self.precision(c))
    }

    /// Mean of the classes' recalls.
    pub fn macro_recall(&self) -> f64 {
        self.mean(|c| self.recall(c))
    }

    /// Mean of the classes' F1.
    pub fn macro_f1(&self) -> f64 {
        self.mean(|c| self.f1(c))
    }
}

/// A row a class: how often it was taken for each.
impl fmt::Display for ConfusionMatrix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.counts.iter().max().map_or(1, |n| n.to_string().len());
        for row in self.counts.chunks(self.classes) {
            let cells: Vec<String> = row.iter().map(|n| format!("{n:width$}")).collect();
            writeln!(f, "{}", cells.join(" "))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Class 0: 3 right, 1 taken for 1; class 1: 2 right, 2 taken for 0; class 2 never occurs and is never predicted.
    #[test]
    fn by_hand() {
        let m = ConfusionMatrix::new(3, vec![3, 1, 0, 2, 2, 0, 0, 0, 0]);
        assert_eq!((m.count(1, 0), m.count(3, 0), m.accuracy()), (2, 0, 5.0 / 8.0));
        assert_eq!([m.precision(0), m.recall(0), m.f1(0)], [0.6, 0.75, 6.0 / 9.0]);
        assert_eq!([m.precision(2), m.recall(2), m.f1(2)], [0.0; 3]);
        assert!((m.macro_precision() - (0.6 + 2.0 / 3.0) / 3.0).abs() < 1e-15);
        assert!((m.macro_recall() - 1.25 / 3.0).abs() < 1e-15);
        assert!((m.macro_f1() - (6.0 / 9.0 + 4.0 / 7.0) / 3.0).abs() < 1e-15);
        assert_eq!(m.to_string(), "3 1 0\n2 2 0\n0 0 0\n");
    }
}
