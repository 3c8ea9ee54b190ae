//! Parts of a data set: its first samples, splits, and any choice of them.

use super::{Dataset, Images, Targets};
use crate::error::{Error, Result};
use crate::tensor::Tensor;
use std::sync::Arc;

impl Dataset {
    /// The first `n` samples.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if `n` is 0 or more than there are.
    pub fn take(&self, n: usize) -> Result<Dataset> {
        if n == 0 || n > self.len() {
            return Err(Error::invalid("number of samples to take", n, format!("1 to {}", self.len())));
        }
        self.select(&(0..n as u32).collect::<Vec<_>>())
    }

    /// The first `at` samples, and the rest.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if either part would be empty.
    pub fn split_at(&self, at: usize) -> Result<(Dataset, Dataset)> {
        if at == 0 || at >= self.len() {
            let want = format!("a part of the {} samples on either side", self.len());
            return Err(Error::invalid("sample to split at", at, want));
        }
        let all: Vec<u32> = (0..self.len() as u32).collect();
        Ok((self.select(&all[..at])?, self.select(&all[at..])?))
    }

    /// The first `fraction` of the samples (rounded to the nearest number), and the rest: `split(0.9)` leaves a tenth for validation.
    /// Samples stay in order; where the order means something (sorted by class), shuffle first, with [`Dataset::select`] of a
    /// [`Stream::permutation`](crate::random::Stream::permutation).
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if `fraction` isn't between 0 and 1 or either part would be empty.
    pub fn split(&self, fraction: f64) -> Result<(Dataset, Dataset)> {
        if !(fraction > 0.0 && fraction < 1.0) {
            return Err(Error::invalid("fraction to split off", fraction, "above 0 and below 1"));
        }
        self.split_at((self.len() as f64 * fraction).round() as usize)
    }

    /// The samples of these indices, in this order; an index may come more than once.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if there is no index or one isn't below the number of samples.
    pub fn select(&self, indices: &[u32]) -> Result<Dataset> {
        if indices.is_empty() {
            return Err(Error::invalid("number of indices", 0, "at least 1"));
        }
        let targets = self.targets.with(self.batch_targets(indices)?)?;
        let images = match &self.images {
            Images::Memory(_) => {
                self.image_shape().with_batch(indices.len()).checked("selected images")?;
                Images::Memory(self.raw_images(indices)?.into())
            }
            Images::Lazy(lazy) => Images::Lazy(lazy.select(indices)),
        };
        let weights = self.batch_weights(indices)?.map(Arc::from);
        Ok(Dataset { images, targets, weights, ..self.clone() })
    }
}

impl Targets {
    /// The same kind of targets, these.
    fn with(&self, tensor: Tensor) -> Result<Targets> {
        Ok(match *self {
            Targets::Classes { classes, .. } => Targets::Classes { labels: tensor.as_u32()?.into(), classes },
            Targets::Maps { classes, .. } => Targets::Maps { maps: tensor.into(), classes },
            Targets::Values(_) => Targets::Values(tensor.into()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{bytes, floats};
    use crate::data::Dataset;
    use crate::random::{Seed, Stream};

    #[test]
    fn parts_keep_images_with_their_labels() {
        for set in [bytes().normalized(2.0, 1.0).unwrap().named("set"), floats()] {
            let check = |part: &Dataset, indices: &[u32]| {
                assert_eq!(part.len(), indices.len());
                assert_eq!(part.images().unwrap().shape(), &set.image_shape().with_batch(indices.len()));
                assert_eq!(part.labels(), set.batch_labels(indices).unwrap());
                let all: Vec<u32> = (0..part.len() as u32).collect();
                assert_eq!(part.batch_images(&all).unwrap(), set.batch_images(indices).unwrap());
                let kept =
                    |s: &Dataset| (s.name().to_string(), s.classes(), s.scale().to_vec(), s.offset().to_vec(), s.image_type());
                assert_eq!(kept(part), kept(&set));
            };
            check(&set.take(2).unwrap(), &[0, 1]);
            check(&set.take(5).unwrap(), &[0, 1, 2, 3, 4]);
            let (first, rest) = set.split_at(3).unwrap();
            check(&first, &[0, 1, 2]);
            check(&rest, &[3, 4]);
            let (first, rest) = set.split(0.8).unwrap();
            check(&first, &[0, 1, 2, 3]);
            check(&rest, &[4]);
            check(&set.select(&[4, 0, 4]).unwrap(), &[4, 0, 4]);
            let order = Stream::new(Seed(3), 0).permutation(5);
            check(&set.select(&order).unwrap(), &order);
        }
    }

    #[test]
    fn parts_that_are_empty_or_outside_are_refused() {
        let set = bytes();
        assert!(set.take(0).is_err());
        assert!(set.take(6).unwrap_err().to_string().contains("got 6, want 1 to 5"));
        assert!(set.split_at(0).is_err() && set.split_at(5).is_err() && set.split_at(usize::MAX).is_err());
        for fraction in [0.0, 1.0, -0.5, 1.5, f64::NAN, 0.05, 0.95] {
            assert!(set.split(fraction).is_err(), "{fraction}");
        }
        assert!(set.select(&[]).is_err());
        let index = set.select(&[0, 5]).unwrap_err().to_string();
        assert!(index.contains("index 1 of the batch: got 5, want below 5"), "{index}");
        assert!(set.batch_images(&[u32::MAX]).is_err() && set.batch_labels(&[5]).is_err());
        assert!(set.batch_images(&[]).unwrap().is_empty());
    }
}
