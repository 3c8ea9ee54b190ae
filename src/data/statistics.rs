//! What a data set is like: how bright its images are, how many samples each class has, and what makes up for it.

use super::{Dataset, Targets};
use crate::error::{Error, Result};
use crate::random::{Seed, Stream};
use crate::tensor::{DType, Data, UNLABELLED};

/// Keeps the choice of samples apart from the other random numbers of the same seed.
const STRATIFY: u64 = u64::from_be_bytes(*b"stratify");

impl Dataset {
    /// Mean and standard deviation of each channel over all pixels of all images, in the units that [`Dataset::normalized_channels`] takes: in parts
    /// of 255 for u8 images, in the images' own for f32 images. Images that are read when asked for are all read once.
    ///
    /// # Errors
    ///
    /// As for [`Dataset::raw_images`].
    pub fn channel_statistics(&self) -> Result<(Vec<f32>, Vec<f32>)> {
        /// Images that are read at once.
        const BLOCK: usize = 256;
        let c = self.image_shape().last();
        // Around a value of each channel, so that a large mean cancels nothing.
        let (mut pivots, mut sums) = (vec![0.0; c], vec![[0.0; 2]; c]);
        let mut add = |at: usize, v: f64| {
            if at < c {
                pivots[at] = v;
            }
            let (d, [sum, squares]) = (v - pivots[at % c], &mut sums[at % c]);
            (*sum, *squares) = (*sum + d, *squares + d * d);
        };
        let mut at = 0;
        for from in (0..self.len()).step_by(BLOCK) {
            let block: Vec<u32> = (from as u32..self.len().min(from + BLOCK) as u32).collect();
            let images = self.raw_images(&block)?;
            match images.data() {
                Data::U8(values) => values.iter().enumerate().for_each(|(i, &v)| add(at + i, f64::from(v))),
                Data::F32(values) => values.iter().enumerate().for_each(|(i, &v)| add(at + i, f64::from(v))),
                Data::U32(_) => {}
            }
            at += images.shape().elements();
        }
        let n = (at / c) as f64;
        let unit = if self.image_type().dtype == DType::U8 { 255.0 } else { 1.0 };
        let moments = sums.iter().zip(&pivots).map(|([sum, squares], pivot)| {
            let mean = sum / n;
            (((pivot + mean) / unit) as f32, ((squares / n - mean * mean).max(0.0).sqrt() / unit) as f32)
        });
        Ok(moments.unzip())
    }

    /// The indices of the classes of all samples, or of all labelled pixels.
    fn all_labels(&self) -> Result<&[u32]> {
        match self.targets() {
            Targets::Classes { labels, .. } => Ok(labels),
            Targets::Maps { maps, .. } => maps.as_u32(),
            Targets::Values(_) => Err(Error::invalid("targets", self.target_type(self.len()), "classes").at(self.name())),
        }
    }

    /// How many samples each class has; of a class a pixel, how many pixels.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for a data set of numbers.
    pub fn class_counts(&self) -> Result<Vec<usize>> {
        let mut counts = vec![0; self.classes()];
        self.all_labels()?.iter().filter(|&&label| label != UNLABELLED).for_each(|&label| counts[label as usize] += 1);
        Ok(counts)
    }

    /// A weight for each class that makes up for its number of samples: all samples, divided by the number of classes that have some and by
    /// the class's own (scikit-learn's `class_weight="balanced"`), so that the mean weight of all samples is 1. 0 for a class without samples. It is for
    /// [`SoftmaxCrossEntropy::class_weights`](crate::train::SoftmaxCrossEntropy::class_weights).
    ///
    /// # Errors
    ///
    /// As for [`Dataset::class_counts`].
    pub fn balanced_class_weights(&self) -> Result<Vec<f32>> {
        let counts = self.class_counts()?;
        let (all, classes) = (counts.iter().sum::<usize>() as f64, counts.iter().filter(|&&n| n > 0).count() as f64);
        Ok(counts.iter().map(|&n| if n == 0 { 0.0 } else { (all / (classes * n as f64)) as f32 }).collect())
    }

    /// This share of each class's samples, drawn by the seed, and the rest: `split_stratified(0.8, seed)` leaves a fifth of each class for
    /// validation (scikit-learn's `train_test_split` with `stratify`). Numbers are rounded to the nearest; a class of two samples or more is in both parts, and
    /// the one sample of a class is in the first. Samples stay in order.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if `fraction` isn't between 0 and 1, if either part would be empty, and if samples have no class of their own.
    pub fn split_stratified(&self, fraction: f64, seed: Seed) -> Result<(Dataset, Dataset)> {
        if !(fraction > 0.0 && fraction < 1.0) {
            return Err(Error::invalid("fraction to split off", fraction, "above 0 and below 1"));
        }
        let Targets::Classes { labels, classes } = self.targets() else {
            return Err(Error::invalid("targets", self.target_type(self.len()), "a class a sample").at(self.name()));
        };
        let mut by_class = vec![Vec::new(); *classes];
        (0u32..).zip(labels.iter()).for_each(|(i, &label)| by_class[label as usize].push(i));
        let (mut first, mut rest) = (Vec::new(), Vec::new());
        for (class, samples) in (0u32..).zip(&by_class) {
            let n = samples.len();
            let taken = match n {
                0 | 1 => n,
                _ => ((n as f64 * fraction).round() as usize).clamp(1, n - 1),
            };
            let order = Stream::new(Seed(seed.0 ^ STRATIFY), class).permutation(n as u32);
            let (a, b) = order.split_at(taken);
            first.extend(a.iter().map(|&i| samples[i as usize]));
            rest.extend(b.iter().map(|&i| samples[i as usize]));
        }
        if rest.is_empty() {
            return Err(Error::invalid("classes", "one sample each", "a class of two samples or more, to split").at(self.name()));
        }
        first.sort_unstable();
        rest.sort_unstable();
        Ok((self.select(&first)?, self.select(&rest)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Tensor;

    fn with_labels(labels: Vec<u32>, classes: usize) -> Dataset {
        let n = labels.len();
        Dataset::new(Tensor::u8([n, 1, 1, 1], (0..n).map(|i| i as u8).collect()).unwrap(), labels, classes).unwrap()
    }

    #[test]
    fn statistics_are_those_of_the_definition() {
        // Channel 0: 0, 2, 4; channel 1: 10, 10, 13.
        let bytes = vec![0, 10, 2, 10, 4, 13];
        let data = Dataset::new(Tensor::u8([3, 1, 1, 2], bytes.clone()).unwrap(), vec![0; 3], 1).unwrap();
        let (means, deviations) = data.channel_statistics().unwrap();
        let close = |got: &[f32], want: [f64; 2]| got.iter().zip(want).all(|(&g, w)| (f64::from(g) - w).abs() <= 1e-6 * w);
        assert!(close(&means, [2.0 / 255.0, 11.0 / 255.0]), "{means:?}");
        assert!(close(&deviations, [(8.0f64 / 3.0).sqrt() / 255.0, 2f64.sqrt() / 255.0]), "{deviations:?}");
        // What a network sees then has mean 0 and deviation 1.
        let seen = data.normalized_channels(&means, &deviations).unwrap().batch_images(&[0, 1, 2]).unwrap();
        for c in 0..2 {
            let of: Vec<f32> = seen.iter().skip(c).step_by(2).copied().collect();
            assert!(
                of.iter().sum::<f32>().abs() < 1e-5 && (of.iter().map(|v| v * v).sum::<f32>() / 3.0 - 1.0).abs() < 1e-5,
                "{of:?}"
            );
        }
        let values = bytes.iter().map(|&b| 1e4 + f32::from(b)).collect();
        let data = Dataset::new(Tensor::f32([3, 1, 1, 2], values).unwrap(), vec![0; 3], 1).unwrap();
        let (means, deviations) = data.channel_statistics().unwrap();
        assert!(close(&means, [10_002.0, 10_011.0]) && close(&deviations, [(8.0f64 / 3.0).sqrt(), 2f64.sqrt()]));
    }

    #[test]
    fn weights_balance_classes() {
        let data = with_labels(vec![0, 0, 0, 2, 0, 2], 3);
        assert_eq!(data.class_counts().unwrap(), [4, 0, 2]);
        // 6 / (2 * 4) and 6 / (2 * 2).
        assert_eq!(data.balanced_class_weights().unwrap(), [0.75, 0.0, 1.5]);
        let maps = Tensor::u8([1, 1, 4], vec![0, 255, 1, 1]).unwrap();
        let maps = Dataset::with_maps(Tensor::u8([1, 1, 4, 1], vec![0; 4]).unwrap(), maps, 2, Some(255)).unwrap();
        assert_eq!(maps.class_counts().unwrap(), [1, 2]);
        let values =
            Dataset::with_values(Tensor::u8([1, 1, 1, 1], vec![0]).unwrap(), Tensor::f32([1, 1], vec![0.0]).unwrap()).unwrap();
        assert!(values.class_counts().is_err() && values.split_stratified(0.5, Seed(1)).is_err());
    }

    #[test]
    fn stratified_parts_have_their_share_of_each_class() {
        let labels: Vec<u32> = (0..100)
            .map(|i| {
                if i < 60 {
                    0
                } else if i < 97 {
                    1
                } else if i < 99 {
                    2
                } else {
                    3
                }
            })
            .collect();
        let data = with_labels(labels, 5);
        let (train, rest) = data.split_stratified(0.9, Seed(7)).unwrap();
        assert_eq!(train.class_counts().unwrap(), [54, 33, 1, 1, 0]);
        assert_eq!(rest.class_counts().unwrap(), [6, 4, 1, 0, 0]);
        let pixels = |data: &Dataset| data.images().unwrap().as_u8().unwrap().to_vec();
        assert!(pixels(&train).is_sorted() && pixels(&rest).is_sorted());
        let mut all = [pixels(&train), pixels(&rest)].concat();
        all.sort_unstable();
        assert_eq!(all, (0..100).collect::<Vec<u8>>());
        assert_eq!(data.split_stratified(0.9, Seed(7)).unwrap(), (train.clone(), rest));
        assert_ne!(data.split_stratified(0.9, Seed(8)).unwrap().0, train);
        for fraction in [0.0, 1.0, f64::NAN] {
            assert!(data.split_stratified(fraction, Seed(7)).is_err());
        }
        assert!(with_labels(vec![0, 1], 2).split_stratified(0.5, Seed(7)).is_err());
    }
}
