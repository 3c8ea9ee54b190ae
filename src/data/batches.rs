//! The order in which an epoch visits the samples.

use crate::error::{Error, Result};
use crate::random::{Seed, Stream};

/// Keeps the orders apart from the other random numbers of the same seed: initial parameters, dropout.
const SHUFFLE: u64 = u64::from_be_bytes(*b"shuffle\0");

/// An epoch's batches of sample indices: each of `0..n` once, in groups of `batch`; the last group is smaller where `batch` doesn't
/// divide `n`.
#[derive(Clone, Debug)]
pub struct Batches {
    order: Vec<u32>,
    batch: usize,
    /// How many of `order` have been handed out.
    used: usize,
}

impl Batches {
    /// The batches of epoch number `epoch` over `n` samples: in file order without a `seed`, shuffled with one. The order is a
    /// function of `n`, `seed` and `epoch` alone, so a run that resumes at an epoch sees what an unbroken run would have seen.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for 0 samples, more samples than a u32 counts, or a batch size of 0.
    pub fn new(n: usize, batch: usize, seed: Option<Seed>, epoch: u32) -> Result<Batches> {
        let count = match u32::try_from(n) {
            Ok(count) if count > 0 => count,
            _ => return Err(Error::invalid("number of samples", n, format!("1 to {}", u32::MAX))),
        };
        if batch == 0 {
            return Err(Error::invalid("batch size", batch, "at least 1"));
        }
        let order = match seed {
            Some(Seed(seed)) => Stream::new(Seed(seed ^ SHUFFLE), epoch).permutation(count),
            None => (0..count).collect(),
        };
        Ok(Batches { order, batch, used: 0 })
    }
}

impl Iterator for Batches {
    type Item = Vec<u32>;

    fn next(&mut self) -> Option<Vec<u32>> {
        let rest = &self.order[self.used..];
        let batch = &rest[..self.batch.min(rest.len())];
        self.used += batch.len();
        (!batch.is_empty()).then(|| batch.to_vec())
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let n = (self.order.len() - self.used).div_ceil(self.batch);
        (n, Some(n))
    }
}

impl ExactSizeIterator for Batches {}

impl std::iter::FusedIterator for Batches {}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(n: usize, batch: usize, seed: Option<Seed>, epoch: u32) -> Vec<u32> {
        Batches::new(n, batch, seed, epoch).unwrap().flatten().collect()
    }

    #[test]
    fn each_sample_once_and_the_last_batch_smaller() {
        for (n, batch) in [(1, 1), (10, 3), (12, 4), (7, 100), (5, usize::MAX)] {
            for seed in [None, Some(Seed(7))] {
                let batches = Batches::new(n, batch, seed, 0).unwrap();
                assert_eq!(batches.len(), n.div_ceil(batch));
                let lengths: Vec<usize> = batches.map(|b| b.len()).collect();
                assert!(lengths[..lengths.len() - 1].iter().all(|&len| len == batch));
                assert_eq!(lengths.iter().sum::<usize>(), n);
                let mut all = order(n, batch, seed, 0);
                all.sort_unstable();
                assert_eq!(all, (0..n as u32).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn len_counts_down() {
        let mut batches = Batches::new(10, 4, None, 0).unwrap();
        assert_eq!(batches.next(), Some(vec![0, 1, 2, 3]));
        assert_eq!(batches.len(), 2);
        assert_eq!(batches.by_ref().last(), Some(vec![8, 9]));
        assert_eq!((batches.len(), batches.next()), (0, None));
    }

    #[test]
    fn orders_depend_on_seed_and_epoch_only() {
        let first = order(100, 8, Some(Seed(1)), 3);
        assert_eq!(first, order(100, 32, Some(Seed(1)), 3));
        assert_ne!(first, order(100, 8, Some(Seed(1)), 4));
        assert_ne!(first, order(100, 8, Some(Seed(2)), 3));
        assert_eq!(order(100, 8, None, 0), order(100, 8, None, 1));
        // Not the numbers that parameters with the same seed are drawn from.
        assert_ne!(first, Stream::new(Seed(1), 3).permutation(100));
    }

    #[test]
    fn bad_arguments_are_named() {
        assert!(Batches::new(10, 0, None, 0).unwrap_err().to_string().contains("batch size: got 0"));
        assert!(Batches::new(0, 1, None, 0).unwrap_err().to_string().contains("number of samples: got 0"));
        #[cfg(target_pointer_width = "64")]
        assert!(Batches::new(1 << 32, 1, None, 0).unwrap_err().to_string().contains("number of samples"));
    }
}
