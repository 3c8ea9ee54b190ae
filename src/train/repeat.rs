//! The same training several times, to see what is chance.

use crate::error::Result;
use crate::random::Seed;
use std::fmt;

/// Runs that differ by their seeds.
#[derive(Clone, PartialEq, Debug)]
pub struct Runs<T> {
    /// Each run's seed, and what it came to.
    pub runs: Vec<(Seed, T)>,
}

/// A number of several runs. Its `Display` is `0.9812 ± 0.0011 (5 runs)`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Statistic {
    /// Mean of the runs.
    pub mean: f64,
    /// Standard deviation of the runs, estimated from these (divided by their number less 1); NaN for one run.
    pub deviation: f64,
    /// Least value.
    pub min: f64,
    /// Largest value.
    pub max: f64,
    /// Number of runs.
    pub n: usize,
}

/// Runs something once for each seed, one after the other: builds a model with the seed, trains it, and returns what is to be kept, such as
/// its [`History`](super::History).
///
/// ```
/// use striate::train::{Fit, Progress, repeat};
/// use striate::{Device, Seed, Tensor, data::Dataset, nn::Sequential};
///
/// # fn main() -> striate::Result<()> {
/// let data = Dataset::new(Tensor::f32([4, 1, 1, 1], vec![-1.0, 1.0, -2.0, 2.0])?, vec![0, 1, 0, 1], 2)?;
/// let runs = repeat((1..=3).map(Seed), |seed| {
///     let mut model = Sequential::new([1, 1, 1]).flatten().dense(2).build(&Device::cpu(), seed)?;
///     model.fit(&data, Fit::epochs(5).progress(Progress::Silent))
/// })?;
/// println!("loss {}", runs.statistic(|history| history.epochs[4].loss));
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// The first of `run`.
pub fn repeat<T>(seeds: impl IntoIterator<Item = Seed>, mut run: impl FnMut(Seed) -> Result<T>) -> Result<Runs<T>> {
    let runs = seeds.into_iter().map(|seed| Ok((seed, run(seed)?))).collect::<Result<_>>()?;
    Ok(Runs { runs })
}

impl<T> Runs<T> {
    /// Mean and deviation of a number of each run; NaN for no runs.
    pub fn statistic(&self, value: impl Fn(&T) -> f64) -> Statistic {
        let values: Vec<f64> = self.runs.iter().map(|(_, result)| value(result)).collect();
        let n = values.len();
        let mean = values.iter().sum::<f64>() / n as f64;
        let squares: f64 = values.iter().map(|x| (x - mean).powi(2)).sum();
        // `min` and `max` of numbers would lose a NaN.
        let end = |better: fn(f64, f64) -> bool| {
            values.iter().copied().reduce(|a, b| if a.is_nan() || better(a, b) { a } else { b }).unwrap_or(f64::NAN)
        };
        let deviation = if n > 1 { (squares / (n - 1) as f64).sqrt() } else { f64::NAN };
        Statistic { mean, deviation, min: end(|a, b| a < b), max: end(|a, b| a > b), n }
    }
}

impl fmt::Display for Statistic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or(4);
        let runs = if self.n == 1 { "run" } else { "runs" };
        match self.deviation.is_nan() {
            true => write!(f, "{:.digits$} ({} {runs})", self.mean, self.n),
            false => write!(f, "{:.digits$} ± {:.digits$} ({} {runs})", self.mean, self.deviation, self.n),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    #[test]
    fn mean_and_deviation() {
        let runs = repeat([1, 2, 4].map(Seed), |Seed(seed)| Ok(seed as f64)).unwrap();
        let all = runs.statistic(|x| *x);
        assert!((all.mean - 7.0 / 3.0).abs() < 1e-15 && (all.deviation - (7.0f64 / 3.0).sqrt()).abs() < 1e-15);
        assert_eq!((all.min, all.max, all.n), (1.0, 4.0, 3));
        assert_eq!(format!("{all:.2}"), "2.33 ± 1.53 (3 runs)");
        let one = repeat([Seed(5)], |_| Ok(0.5)).unwrap().statistic(|x| *x);
        assert!(one.deviation.is_nan() && one.to_string() == "0.5000 (1 run)");
        let bad = runs.statistic(|x| if *x == 2.0 { f64::NAN } else { *x });
        assert!(bad.mean.is_nan() && bad.min.is_nan() && bad.max.is_nan());
        let failed = repeat([Seed(1)], |_| Err::<(), _>(Error::invalid("run", 1, "none")));
        assert!(failed.is_err());
    }
}
