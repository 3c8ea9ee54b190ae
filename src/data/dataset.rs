//! Images with labels, in host memory.

use crate::error::{Error, Result};
use crate::tensor::{DType, Data, Shape, Tensor, TensorType, UNLABELLED};
use std::sync::{Arc, Weak};

/// What the outputs of a network are to be.
#[derive(Clone, PartialEq, Debug)]
pub enum Targets {
    /// A class an image.
    Classes {
        /// Their indices.
        labels: Arc<[u32]>,
        /// How many there are.
        classes: usize,
    },
    /// A class a pixel.
    Maps {
        /// Their indices, u32 `[n, h, w]`; [`UNLABELLED`] where there is none.
        maps: Arc<Tensor>,
        /// How many there are.
        classes: usize,
    },
    /// Numbers, f32 `[n, ..]`.
    Values(Arc<Tensor>),
}

/// Images of one size, each with the index of its class. What a network sees of a pixel is `value * scale + offset`: from 0 to 1 for
/// u8 images, and the value itself for f32 images, unless [`Dataset::normalized`] says otherwise.
///
/// Instead of a class an image can have a class a pixel ([`Dataset::with_maps`]) or numbers ([`Dataset::with_values`]).
///
/// A clone shares the images and labels.
#[derive(Clone, PartialEq, Debug)]
pub struct Dataset {
    name: String,
    images: Arc<Tensor>,
    targets: Targets,
    scale: f32,
    offset: f32,
}

impl Dataset {
    /// A data set of `images` (u8 or f32, `[n, h, w, c]`), with a label for each and `classes` classes.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if the images have another type or rank, there are none, labels are more or fewer than images, a label
    /// isn't below `classes`, `classes` is 0, or an f32 image holds a NaN or an infinity; the first wrong sample is named.
    pub fn new(images: Tensor, labels: Vec<u32>, classes: usize) -> Result<Dataset> {
        let (n, scale) = check_images(&images)?;
        if labels.len() != n {
            return Err(Error::invalid("number of labels", labels.len(), format!("{n}, the number of images")));
        }
        check_classes(classes)?;
        if let Some((i, &label)) = labels.iter().enumerate().find(|&(_, &label)| label as usize >= classes) {
            return Err(Error::invalid(format!("label of sample {i}"), label, format!("below {classes}, the number of classes")));
        }
        Ok(Dataset::of(images, Targets::Classes { labels: labels.into(), classes }, scale))
    }

    /// A data set of images with a class a pixel, for segmentation: `maps` (u8 or u32, `[n, h, w]`, of the size of the network's output) hold
    /// the index of each pixel's class. Pixels that hold `unlabelled`, often 255, have none: they have no loss, and no metric counts them.
    ///
    /// # Errors
    ///
    /// As for [`Dataset::new`]; [`Error::Invalid`] also for maps of another type, rank or number.
    pub fn with_maps(images: Tensor, maps: Tensor, classes: usize, unlabelled: Option<u32>) -> Result<Dataset> {
        let (n, scale) = check_images(&images)?;
        check_classes(classes)?;
        let &[n_maps, h, w] = maps.shape().dims() else {
            return Err(Error::invalid("maps", maps.tensor_type(), "3 dimensions [n, h, w]"));
        };
        maps.shape().clone().checked("maps")?;
        if n_maps != n {
            return Err(Error::invalid("number of maps", n_maps, format!("{n}, the number of images")));
        }
        let mut indices: Vec<u32> = match maps.data() {
            Data::U8(v) => v.iter().map(|&x| u32::from(x)).collect(),
            Data::U32(v) => v.clone(),
            Data::F32(_) => return Err(Error::invalid("maps type", DType::F32, "u8 or u32")),
        };
        for (at, class) in indices.iter_mut().enumerate() {
            if Some(*class) == unlabelled {
                *class = UNLABELLED;
            } else if *class as usize >= classes {
                let (sample, pixel) = (at / (h * w), at % (h * w));
                let what = format!("class of sample {sample}, row {}, column {}", pixel / w, pixel % w);
                return Err(Error::invalid(what, *class, format!("below {classes}, the number of classes")));
            }
        }
        let maps = Arc::new(Tensor::u32([n, h, w], indices)?);
        Ok(Dataset::of(images, Targets::Maps { maps, classes }, scale))
    }

    /// A data set of images with numbers, f32 `[n, ..]` of the shape of the network's output: for regression, or distributions over
    /// classes.
    ///
    /// # Errors
    ///
    /// As for [`Dataset::new`]; [`Error::Invalid`] also for values of another type or number, and for one that isn't finite.
    pub fn with_values(images: Tensor, values: Tensor) -> Result<Dataset> {
        let (n, scale) = check_images(&images)?;
        let all = values.as_f32().map_err(|_| Error::invalid("values type", values.dtype(), "f32"))?;
        values.shape().clone().checked("values")?;
        if values.shape().rank() < 2 || values.shape().dims()[0] != n {
            return Err(Error::invalid("values", values.tensor_type(), format!("[{n}, ..], {n} being the number of images")));
        }
        if let Some(at) = all.iter().position(|x| !x.is_finite()) {
            return Err(Error::invalid(format!("value of sample {}", at / (all.len() / n)), all[at], "a finite number"));
        }
        Ok(Dataset::of(images, Targets::Values(values.into()), scale))
    }

    fn of(images: Tensor, targets: Targets, scale: f32) -> Dataset {
        Dataset { name: "data set".to_string(), images: images.into(), targets, scale, offset: 0.0 }
    }

    /// The same data set, called `name` in messages and reports.
    pub fn named(mut self, name: impl Into<String>) -> Dataset {
        self.name = name.into();
        self
    }

    /// The same data set, of which a network sees `value * scale + offset`. To bring pixels of mean `m` and standard deviation `s`
    /// (both in the images' units) to mean 0 and deviation 1: `scale = 1 / s`, `offset = -m / s`.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if `scale` is 0 or either isn't finite.
    pub fn normalized(mut self, scale: f32, offset: f32) -> Result<Dataset> {
        if !scale.is_finite() || scale == 0.0 {
            return Err(Error::invalid("scale", scale, "finite and not 0"));
        }
        if !offset.is_finite() {
            return Err(Error::invalid("offset", offset, "a finite value"));
        }
        (self.scale, self.offset) = (scale, offset);
        Ok(self)
    }

    /// What the data set is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Number of samples, at least 1.
    pub fn len(&self) -> usize {
        self.images.shape().dims()[0]
    }

    /// Always false: an empty data set can't be made.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What the outputs of a network are to be.
    pub fn targets(&self) -> &Targets {
        &self.targets
    }

    /// Whether samples, or their pixels, have classes.
    pub(crate) fn has_labels(&self) -> bool {
        self.classes() > 0
    }

    /// Whether the images are bytes.
    pub(crate) fn has_bytes(&self) -> bool {
        self.images.dtype() == DType::U8
    }

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

    /// The images as they are stored, not normalised: u8 or f32, `[n, h, w, c]`.
    pub fn images(&self) -> &Tensor {
        &self.images
    }

    /// Tells the samples of this data set and its clones from those of every other, as long as the mark is kept; the samples themselves
    /// aren't kept by it.
    pub(crate) fn mark(&self) -> Weak<Tensor> {
        Arc::downgrade(&self.images)
    }

    /// Shape of an image, `[h, w, c]`.
    pub fn image_shape(&self) -> Shape {
        Shape::from(&self.images.shape().dims()[1..])
    }

    /// The class of each sample; empty if samples have no class of their own.
    pub fn labels(&self) -> &[u32] {
        match &self.targets {
            Targets::Classes { labels, .. } => labels,
            _ => &[],
        }
    }

    /// Number of classes; labels are below it. 0 for a data set of numbers.
    pub fn classes(&self) -> usize {
        match &self.targets {
            Targets::Classes { classes, .. } | Targets::Maps { classes, .. } => *classes,
            Targets::Values(_) => 0,
        }
    }

    /// Factor of the normalisation `value * scale + offset`.
    pub fn scale(&self) -> f32 {
        self.scale
    }

    /// Summand of the normalisation `value * scale + offset`.
    pub fn offset(&self) -> f32 {
        self.offset
    }

    /// The first `n` samples.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if `n` is 0 or more than there are.
    pub fn take(&self, n: usize) -> Result<Dataset> {
        if n == 0 || n > self.len() {
            return Err(Error::invalid("number of samples to take", n, format!("1 to {}", self.len())));
        }
        self.range(0, n)
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
        Ok((self.range(0, at)?, self.range(at, self.len())?))
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
        let shape = self.image_shape().with_batch(indices.len()).checked("selected images")?;
        let targets = self.targets.with(self.batch_targets(indices)?)?;
        let len = self.image_shape().elements();
        let images = match self.images.data() {
            Data::U8(v) => Tensor::u8(shape, gather(v, len, indices))?,
            Data::F32(v) => Tensor::f32(shape, gather(v, len, indices))?,
            Data::U32(_) => return Err(Error::invalid("images type", DType::U32, "u8 or f32")),
        };
        Ok(self.with(images, targets))
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

    /// The images of these indices, normalised: `[indices, h, w, c]`, row-major.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if an index isn't below the number of samples.
    pub fn batch_images(&self, indices: &[u32]) -> Result<Vec<f32>> {
        self.check(indices)?;
        let len = self.image_shape().elements();
        let normalise = |x: f32| x * self.scale + self.offset;
        Ok(match self.images.data() {
            Data::U8(v) => rows(v, len, indices).map(|&x| normalise(f32::from(x))).collect(),
            Data::F32(v) => rows(v, len, indices).map(|&x| normalise(x)).collect(),
            Data::U32(_) => return Err(Error::invalid("images type", DType::U32, "u8 or f32")),
        })
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

    fn range(&self, from: usize, to: usize) -> Result<Dataset> {
        let shape = self.image_shape().with_batch(to - from);
        let len = self.image_shape().elements();
        let elements = from * len..to * len;
        let images = match self.images.data() {
            Data::U8(v) => Tensor::u8(shape, v[elements].to_vec())?,
            Data::F32(v) => Tensor::f32(shape, v[elements].to_vec())?,
            Data::U32(_) => return Err(Error::invalid("images type", DType::U32, "u8 or f32")),
        };
        let indices: Vec<u32> = (from as u32..to as u32).collect();
        let targets = self.targets.with(self.batch_targets(&indices)?)?;
        Ok(self.with(images, targets))
    }

    /// Samples of this data set under its name, classes and normalisation.
    fn with(&self, images: Tensor, targets: Targets) -> Dataset {
        Dataset { images: images.into(), targets, ..self.clone() }
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

fn check_classes(classes: usize) -> Result<()> {
    if classes == 0 { Err(Error::invalid("number of classes", 0, "at least 1")) } else { Ok(()) }
}

/// Fails unless these can be the images of a data set; else their number, and the factor that brings them to the range that networks see.
fn check_images(images: &Tensor) -> Result<(usize, f32)> {
    let scale = match images.dtype() {
        DType::U8 => 1.0 / 255.0,
        DType::F32 => 1.0,
        other => return Err(Error::invalid("images type", other, "u8 or f32")),
    };
    let [n, h, w, c] = images.shape().nhwc("images")?;
    images.shape().clone().checked("images")?;
    if let Data::F32(values) = images.data()
        && let Some(at) = values.iter().position(|x| !x.is_finite())
    {
        let (sample, pixel) = (at / (h * w * c), at % (h * w * c));
        let what = format!("image of sample {sample}, row {}, column {}, channel {}", pixel / (w * c), pixel / c % w, pixel % c);
        return Err(Error::invalid(what, values[at], "a finite value"));
    }
    Ok((n, scale))
}

/// The elements of rows `indices` of a matrix with rows of `len`.
fn rows<'a, T>(values: &'a [T], len: usize, indices: &'a [u32]) -> impl Iterator<Item = &'a T> {
    indices.iter().flat_map(move |&i| &values[i as usize * len..][..len])
}

fn gather<T: Copy>(values: &[T], len: usize, indices: &[u32]) -> Vec<T> {
    let mut out = Vec::with_capacity(len * indices.len());
    indices.iter().for_each(|&i| out.extend_from_slice(&values[i as usize * len..][..len]));
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Seed, Stream};

    /// Five 1x2 images of one channel, pixels 0 to 9.
    fn bytes() -> Dataset {
        Dataset::new(Tensor::u8([5, 1, 2, 1], (0..10).collect()).unwrap(), vec![0, 1, 2, 1, 0], 3).unwrap()
    }

    fn floats() -> Dataset {
        let data = (0..20).map(|x| x as f32 / 4.0 - 2.0).collect();
        Dataset::new(Tensor::f32([5, 1, 2, 2], data).unwrap(), vec![0, 1, 2, 1, 0], 3).unwrap()
    }

    #[test]
    fn accessors() {
        let set = bytes().named("five");
        assert_eq!((set.len(), set.is_empty(), set.classes(), set.name()), (5, false, 3, "five"));
        assert_eq!(set.image_shape().dims(), [1, 2, 1]);
        assert_eq!(set.images().shape().dims(), [5, 1, 2, 1]);
        assert_eq!((set.scale(), set.offset()), (1.0 / 255.0, 0.0));
        assert_eq!((floats().scale(), floats().offset()), (1.0, 0.0));
    }

    #[test]
    fn bad_data_is_named() {
        let images = |n: usize| Tensor::u8([n, 1, 1, 1], vec![0; n]).unwrap();
        let error = |images, labels, classes| Dataset::new(images, labels, classes).unwrap_err().to_string();
        assert!(error(images(0), vec![], 2).contains("no dimension of 0"));
        assert!(error(images(3), vec![0; 2], 2).contains("got 2, want 3"));
        let label = error(images(3), vec![0, 7, 9], 5);
        assert!(label.contains("label of sample 1: got 7, want below 5"), "{label}");
        assert!(error(images(1), vec![0], 0).contains("number of classes: got 0"));
        assert!(error(Tensor::u8([3, 2], vec![0; 6]).unwrap(), vec![0; 3], 1).contains("4 dimensions"));
        assert!(error(Tensor::u32([1, 1, 1, 1], vec![0]).unwrap(), vec![0], 1).contains("u8 or f32"));
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut data = vec![0.0; 24];
            data[12 + 4 + 3] = bad;
            let text = error(Tensor::f32([2, 3, 2, 2], data).unwrap(), vec![0; 2], 1);
            assert!(text.contains("sample 1, row 1, column 1, channel 1"), "{text}");
        }
    }

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
    fn parts_keep_images_with_their_labels() {
        for set in [bytes().normalized(2.0, 1.0).unwrap().named("set"), floats()] {
            let check = |part: &Dataset, indices: &[u32]| {
                assert_eq!(part.len(), indices.len());
                assert_eq!(part.images().shape(), &set.image_shape().with_batch(indices.len()));
                assert_eq!(part.labels(), set.batch_labels(indices).unwrap());
                let all: Vec<u32> = (0..part.len() as u32).collect();
                assert_eq!(part.batch_images(&all).unwrap(), set.batch_images(indices).unwrap());
                let kept = |s: &Dataset| (s.name().to_string(), s.classes(), s.scale(), s.offset(), s.images().dtype());
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

    #[test]
    fn one_hot_rows() {
        let tensor = bytes().take(3).unwrap().one_hot().unwrap();
        assert_eq!(tensor.shape().dims(), [3, 3]);
        assert_eq!(tensor.as_f32().unwrap(), [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]);
        let vast = Dataset::new(Tensor::u8([1, 1, 1, 1], vec![0]).unwrap(), vec![0], usize::MAX).unwrap();
        assert!(vast.one_hot().is_err());
    }
}
