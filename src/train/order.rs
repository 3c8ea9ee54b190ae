//! The samples of all batches of a run.

use crate::data::Batches;
use crate::error::Result;
use crate::random::Seed;
use std::ops::Range;

/// How the samples of a run are cut into batches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Order {
    /// Samples of an epoch.
    pub n: usize,
    /// Samples of a batch.
    pub batch: usize,
    /// Of the orders of epochs; none for the order of the data set.
    pub seed: Option<Seed>,
    /// The number that the first epoch's order is drawn by.
    pub first_epoch: u32,
}

impl Order {
    /// Batches of an epoch.
    pub fn n_batches(self) -> usize {
        self.n.div_ceil(self.batch)
    }

    /// Samples of a batch of an epoch.
    pub fn len(self, batch: usize) -> usize {
        self.batch.min(self.n - batch * self.batch)
    }

    /// The batches of an epoch.
    pub fn epoch(self, epoch: usize) -> Result<Batches> {
        Batches::new(self.n, self.batch, self.seed, self.first_epoch.wrapping_add(epoch as u32))
    }

    /// All batches of these epochs, one epoch after the other, without the first `skipped` ones.
    pub fn batches(self, epochs: Range<usize>, skipped: usize) -> Result<impl Iterator<Item = Vec<u32>> + Send + 'static> {
        // What is wrong in one epoch is wrong in all.
        self.epoch(0)?;
        Ok(epochs.flat_map(move |epoch| self.epoch(epoch).into_iter().flatten()).skip(skipped))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn from_any_batch_on() {
        for seed in [None, Some(Seed(3))] {
            let order = Order { n: 10, batch: 4, seed, first_epoch: u32::MAX };
            assert_eq!((order.n_batches(), order.len(0), order.len(2)), (3, 4, 2));
            let all: Vec<_> = order.batches(0..3, 0).unwrap().collect();
            assert_eq!(all.len(), 9);
            assert_eq!(all[3..6], order.epoch(1).unwrap().collect::<Vec<_>>());
            for skipped in 0..=9 {
                let (epoch, batch) = (skipped / 3, skipped % 3);
                assert!(order.batches(epoch..3, batch).unwrap().eq(all[skipped..].iter().cloned()));
            }
            // Behind the last batch of an epoch comes the next one.
            assert!(order.batches(0..3, 3).unwrap().eq(order.batches(1..3, 0).unwrap()));
        }
        assert!(Order { n: 10, batch: 0, seed: None, first_epoch: 0 }.batches(0..1, 0).is_err());
    }
}
