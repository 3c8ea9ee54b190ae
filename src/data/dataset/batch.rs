//! What a batch takes of a data set: images, targets and weights of some of its samples.

use super::{Dataset, Images, Targets};
use crate::data::lazy::on_threads;
use crate::error::{Error, Result};
use crate::tensor::{DType, Data, Shape, Tensor, TensorType};

impl Dataset {
    /// Type of the targets of `n` samples.
    pub(crate) fn target_type(&self, n: usize) -> TensorType {
        let of = |dtype, tensor: &Tensor| TensorType::new(dtype, Shape::from(&tensor.shape().dims()[1..]).with_batch(n));
        match &self.targets {
            Targets::Classes { .. } => TensorType::u32([n]),
            Targets::Maps { maps, .. } => of(DType::U32, maps),
            Targets::Values(values) => of(DType::F32, values),
        }
    }

    /// The targets of all samples.
    pub(crate) fn all_targets(&self) -> Result<Tensor> {
        match &self.targets {
            Targets::Classes { labels, .. } => Tensor::u32([labels.len()], labels.to_vec()),
            Targets::Maps { maps: tensor, .. } | Targets::Values(tensor) => Ok(Tensor::clone(tensor)),
        }
    }

    /// The targets of these indices, `[indices, ..]`.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if an index isn't below the number of samples.
    pub fn batch_targets(&self, indices: &[u32]) -> Result<Tensor> {
        self.check(indices)?;
        let TensorType { shape, .. } = self.target_type(indices.len());
        let len = shape.elements() / indices.len().max(1);
        match &self.targets {
            Targets::Classes { labels, .. } => Tensor::u32(shape, gather(labels, 1, indices)),
            Targets::Maps { maps, .. } => Tensor::u32(shape, gather(maps.as_u32()?, len, indices)),
            Targets::Values(values) => Tensor::f32(shape, gather(values.as_f32()?, len, indices)),
        }
    }

    /// The labels of these indices.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if an index isn't below the number of samples, and if samples have no class of their own.
    pub fn batch_labels(&self, indices: &[u32]) -> Result<Vec<u32>> {
        self.check(indices)?;
        match &self.targets {
            Targets::Classes { labels, .. } => Ok(gather(labels, 1, indices)),
            _ => Err(Error::invalid("targets", self.target_type(indices.len()), "a class a sample")),
        }
    }

    /// The weights of these samples' losses, if there are some.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if an index isn't below the number of samples.
    pub fn batch_weights(&self, indices: &[u32]) -> Result<Option<Vec<f32>>> {
        self.check(indices)?;
        Ok(self.weights.as_ref().map(|weights| gather(weights, 1, indices)))
    }

    /// The images of these indices, normalised: `[indices, h, w, c]`, row-major.
    ///
    /// # Errors
    ///
    /// As for [`Dataset::raw_images`].
    pub fn batch_images(&self, indices: &[u32]) -> Result<Vec<f32>> {
        let images = self.raw_images(indices)?;
        let numbers = || self.scale.iter().zip(&self.offset).cycle();
        Ok(match images.data() {
            Data::U8(v) => v.iter().zip(numbers()).map(|(&x, (scale, offset))| f32::from(x) * scale + offset).collect(),
            Data::F32(v) => v.iter().zip(numbers()).map(|(&x, (scale, offset))| x * scale + offset).collect(),
            Data::U32(_) => return Err(Error::invalid("images type", DType::U32, "u8 or f32")),
        })
    }

    /// The images of these indices as they are stored, not normalised: u8 or f32, `[indices, h, w, c]`.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if an index isn't below the number of samples; what kept an image from being read if there is no other of its class.
    pub fn raw_images(&self, indices: &[u32]) -> Result<Tensor> {
        self.check(indices)?;
        let TensorType { dtype, shape } = self.image_type();
        let len = shape.elements();
        let shape = shape.with_batch(indices.len());
        match &self.images {
            Images::Memory(images) => match images.data() {
                Data::U8(v) => Tensor::u8(shape, gather(v, len, indices)),
                Data::F32(v) => Tensor::f32(shape, gather(v, len, indices)),
                Data::U32(_) => Err(Error::invalid("images type", dtype, "u8 or f32")),
            },
            Images::Lazy(_) => {
                let images = on_threads(indices.len(), |i| self.read_one(indices[i]));
                Tensor::u8(shape, images.into_iter().collect::<Result<Vec<_>>>()?.concat())
            }
        }
    }

    /// The labels as f32 `[n, classes]`: 1 in the column of the sample's class, 0 elsewhere.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if `n * classes` is more than a tensor may have, and if samples have no class of their own.
    pub fn one_hot(&self) -> Result<Tensor> {
        let Targets::Classes { labels, classes } = &self.targets else {
            return Err(Error::invalid("targets", self.target_type(self.len()), "a class a sample"));
        };
        let shape = Shape::from([self.len(), *classes]).checked("one-hot labels")?;
        let mut data = vec![0.0; shape.elements()];
        for (row, &label) in data.chunks_exact_mut(*classes).zip(labels.iter()) {
            row[label as usize] = 1.0;
        }
        Tensor::f32(shape, data)
    }

    fn check(&self, indices: &[u32]) -> Result<()> {
        match indices.iter().position(|&i| i as usize >= self.len()) {
            Some(at) => Err(Error::invalid(
                format!("index {at} of the batch"),
                indices[at],
                format!("below {}, the number of samples", self.len()),
            )),
            None => Ok(()),
        }
    }
}

/// Rows `indices` of a matrix with rows of `len`.
fn gather<T: Copy>(values: &[T], len: usize, indices: &[u32]) -> Vec<T> {
    let mut out = Vec::with_capacity(len * indices.len());
    indices.iter().for_each(|&i| out.extend_from_slice(&values[i as usize * len..][..len]));
    out
}

#[cfg(test)]
mod tests {
    use super::super::tests::{bytes, floats};
    use crate::data::Dataset;
    use crate::tensor::Tensor;

    #[test]
    fn normalisation() {
        assert_eq!(bytes().batch_images(&[1]).unwrap(), [2.0 * (1.0 / 255.0), 3.0 * (1.0 / 255.0)]);
        let set = bytes().normalized(0.5, -1.0).unwrap();
        assert_eq!(set.batch_images(&[4, 0]).unwrap(), [3.0, 3.5, -1.0, -0.5]);
        let set = floats().normalized(4.0, 8.0).unwrap();
        assert_eq!(set.batch_images(&[2]).unwrap(), [8.0, 9.0, 10.0, 11.0]);
        for (scale, offset) in [(0.0, 0.0), (f32::NAN, 0.0), (f32::INFINITY, 0.0), (1.0, f32::NAN), (1.0, f32::INFINITY)] {
            assert!(bytes().normalized(scale, offset).is_err(), "{scale} {offset}");
        }
    }

    #[test]
    fn one_hot_rows() {
        let tensor = bytes().take(3).unwrap().one_hot().unwrap();
        assert_eq!(tensor.shape().dims(), [3, 3]);
        assert_eq!(tensor.as_f32().unwrap(), [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]);
        let vast = Dataset::new(Tensor::u8([1, 1, 1, 1], vec![0]).unwrap(), vec![0], usize::MAX).unwrap();
        assert!(vast.one_hot().is_err());
    }
}
