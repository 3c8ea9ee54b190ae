//! Images with labels, in host memory or read when they are asked for.

use super::lazy::{Lazy, LazyImages, on_threads};
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

/// Where the images are.
#[derive(Clone, PartialEq, Debug)]
enum Images {
    Memory(Arc<Tensor>),
    Lazy(Lazy),
}

/// Images of one size, each with the index of its class. What a network sees of a pixel is `value * scale + offset`: from 0 to 1 for
/// u8 images, and the value itself for f32 images, unless [`Dataset::normalized`] or [`Dataset::normalized_channels`] says otherwise.
///
/// Instead of a class an image can have a class a pixel ([`Dataset::with_maps`]) or numbers ([`Dataset::with_values`]). Images lie in memory,
/// or are read when a batch asks for them ([`Dataset::lazy`], [`ImageFolder::open`](super::ImageFolder::open)).
///
/// A clone shares the images and labels.
#[derive(Clone, PartialEq, Debug)]
pub struct Dataset {
    name: String,
    images: Images,
    targets: Targets,
    class_names: Arc<[String]>,
    weights: Option<Arc<[f32]>>,
    /// One a channel.
    scale: Vec<f32>,
    offset: Vec<f32>,
}

impl Dataset {
    /// A data set of `images` (u8 or f32, `[n, h, w, c]`), with a label for each and `classes` classes.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if the images have another type or rank, there are none, labels are more or fewer than images, a label
    /// isn't below `classes`, `classes` is 0, or an f32 image holds a NaN or an infinity; the first wrong sample is named.
    pub fn new(images: Tensor, labels: Vec<u32>, classes: usize) -> Result<Dataset> {
        let n = check_images(&images)?;
        if labels.len() != n {
            return Err(Error::invalid("number of labels", labels.len(), format!("{n}, the number of images")));
        }
        let targets = classes_of(labels, classes)?;
        Ok(Dataset::of(Images::Memory(images.into()), targets))
    }

    /// A data set of u8 images of shape `[h, w, c]`, one for each label, that are read each time they are asked for; of `classes` classes.
    ///
    /// An image that can't be read is counted and named in a warning once ([`Dataset::unreadable`]), and the next one in this data set of the
    /// same class takes its place. So a run goes on, and what it does depends on nothing but the images.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for no labels or more than a u32 counts, a label that isn't below `classes`, 0 classes, and a shape with a side of
    /// 0 or too many elements.
    pub fn lazy(images: impl LazyImages + 'static, shape: [usize; 3], labels: Vec<u32>, classes: usize) -> Result<Dataset> {
        let shape = Shape::from(shape).checked("image shape")?;
        let n = match u32::try_from(labels.len()) {
            Ok(n) if n > 0 => n,
            _ => return Err(Error::invalid("number of labels", labels.len(), format!("1 to {}", u32::MAX))),
        };
        let targets = classes_of(labels, classes)?;
        Ok(Dataset::of(Images::Lazy(Lazy::new(Arc::new(images), shape, n)), targets))
    }

    /// A data set of images with a class a pixel, for segmentation: `maps` (u8 or u32, `[n, h, w]`, of the size of the network's output) hold
    /// the index of each pixel's class. Pixels that hold `unlabelled`, often 255, have none: they have no loss, and no metric counts them.
    ///
    /// # Errors
    ///
    /// As for [`Dataset::new`]; [`Error::Invalid`] also for maps of another type, rank or number.
    pub fn with_maps(images: Tensor, maps: Tensor, classes: usize, unlabelled: Option<u32>) -> Result<Dataset> {
        let n = check_images(&images)?;
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
        Ok(Dataset::of(Images::Memory(images.into()), Targets::Maps { maps, classes }))
    }

    /// A data set of images with numbers, f32 `[n, ..]` of the shape of the network's output: for regression, or distributions over
    /// classes.
    ///
    /// # Errors
    ///
    /// As for [`Dataset::new`]; [`Error::Invalid`] also for values of another type or number, and for one that isn't finite.
    pub fn with_values(images: Tensor, values: Tensor) -> Result<Dataset> {
        let n = check_images(&images)?;
        let all = values.as_f32().map_err(|_| Error::invalid("values type", values.dtype(), "f32"))?;
        values.shape().clone().checked("values")?;
        if values.shape().rank() < 2 || values.shape().dims()[0] != n {
            return Err(Error::invalid("values", values.tensor_type(), format!("[{n}, ..], {n} being the number of images")));
        }
        if let Some(at) = all.iter().position(|x| !x.is_finite()) {
            return Err(Error::invalid(format!("value of sample {}", at / (all.len() / n)), all[at], "a finite number"));
        }
        Ok(Dataset::of(Images::Memory(images.into()), Targets::Values(values.into())))
    }

    fn of(images: Images, targets: Targets) -> Dataset {
        let name = "data set".to_string();
        let mut data =
            Dataset { name, images, targets, class_names: [].into(), weights: None, scale: Vec::new(), offset: Vec::new() };
        let c = data.image_shape().last();
        (data.scale, data.offset) = (vec![data.unit(); c], vec![0.0; c]);
        data
    }

    /// The factor that brings images as they are stored to the range that networks see.
    fn unit(&self) -> f32 {
        if self.image_type().dtype == DType::U8 { 1.0 / 255.0 } else { 1.0 }
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
        self.scale.fill(scale);
        self.offset.fill(offset);
        Ok(self)
    }

    /// The same data set, of which a network sees `(value - mean) / deviation`, each channel with its own (torchvision's `Normalize`). Both are in
    /// parts of 255 for u8 images and in the images' units for f32 images, as [`Dataset::channel_statistics`] and
    /// [`CIFAR10_MEANS`](super::CIFAR10_MEANS) are.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for other than one mean and one deviation a channel, a mean that isn't finite, and a deviation that isn't a positive
    /// number.
    pub fn normalized_channels(mut self, means: &[f32], deviations: &[f32]) -> Result<Dataset> {
        let c = self.image_shape().last();
        for (what, numbers) in [("means", means), ("deviations", deviations)] {
            if numbers.len() != c {
                return Err(Error::invalid(format!("number of {what}"), numbers.len(), format!("{c}, one a channel")));
            }
        }
        let unit = self.unit();
        for (channel, (&mean, &deviation)) in means.iter().zip(deviations).enumerate() {
            let (scale, offset) = (unit / deviation, -mean / deviation);
            if !(deviation > 0.0 && scale.is_finite() && scale > 0.0) {
                return Err(Error::invalid(format!("deviation of channel {channel}"), deviation, "a positive number"));
            }
            if !offset.is_finite() {
                return Err(Error::invalid(format!("mean of channel {channel}"), mean, "a finite number"));
            }
            (self.scale[channel], self.offset[channel]) = (scale, offset);
        }
        Ok(self)
    }

    /// The same data set, whose classes have these names.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for another number of names than of classes.
    pub fn named_classes<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Result<Dataset> {
        let names: Vec<String> = names.into_iter().map(Into::into).collect();
        if names.len() != self.classes() {
            return Err(Error::invalid("names of classes", names.len(), format!("{}, one a class", self.classes())));
        }
        self.class_names = names.into();
        Ok(self)
    }

    /// The same data set, of which each sample's loss is multiplied by its number in `weights`. As in Keras (`sample_weight`), a batch's loss is
    /// their sum divided by the number of samples, in training and in evaluation; accuracies count all samples alike.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for other than one weight a sample, and for one below 0 or not finite.
    pub fn weighted(mut self, weights: Vec<f32>) -> Result<Dataset> {
        if weights.len() != self.len() {
            return Err(Error::invalid("sample weights", weights.len(), format!("{}, one a sample", self.len())));
        }
        if let Some((i, weight)) = weights.iter().enumerate().find(|(_, w)| !(**w >= 0.0 && w.is_finite())) {
            return Err(Error::invalid(format!("weight of sample {i}"), weight, "0 or a positive number"));
        }
        self.weights = Some(weights.into());
        Ok(self)
    }

    /// The same data set, which keeps images that it has read in memory, of up to so many bytes together, and needn't read them again. It is for
    /// data sets that read their images when asked for them; parts that are taken from it share what is kept.
    pub fn cached(mut self, bytes: usize) -> Dataset {
        if let Images::Lazy(lazy) = &self.images {
            self.images = Images::Lazy(lazy.cached(bytes));
        }
        self
    }

    /// What the data set is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Number of samples, at least 1.
    pub fn len(&self) -> usize {
        match &self.images {
            Images::Memory(images) => images.shape().dims()[0],
            Images::Lazy(lazy) => lazy.len(),
        }
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
        self.image_type().dtype == DType::U8
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

    /// The weights of these samples' losses, if there are some.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if an index isn't below the number of samples.
    pub fn batch_weights(&self, indices: &[u32]) -> Result<Option<Vec<f32>>> {
        self.check(indices)?;
        Ok(self.weights.as_ref().map(|weights| gather(weights, 1, indices)))
    }

    /// The weight of each sample's loss, if they have some.
    pub fn weights(&self) -> Option<&[f32]> {
        self.weights.as_deref()
    }

    /// All images as they are stored, not normalised: u8 or f32, `[n, h, w, c]`.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if they aren't in memory, but read when they are asked for: [`Dataset::load`] reads all, [`Dataset::raw_images`] some.
    pub fn images(&self) -> Result<&Tensor> {
        match &self.images {
            Images::Memory(images) => Ok(images),
            Images::Lazy(_) => {
                let want = "images in memory; `Dataset::load` reads them all, `Dataset::raw_images` some";
                Err(Error::invalid("images", "some that are read when they are asked for", want).at(&self.name))
            }
        }
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

    /// Whether images are read when they are asked for.
    pub fn is_lazy(&self) -> bool {
        matches!(self.images, Images::Lazy(_))
    }

    /// The bytes of a lazy image, or of what stands in for it.
    pub(crate) fn read_one(&self, index: u32) -> Result<Arc<[u8]>> {
        match &self.images {
            Images::Lazy(lazy) => lazy.read(index as usize, self.labels()),
            Images::Memory(_) => Err(Error::invalid("images", "some in memory", "lazy ones")),
        }
    }

    /// Names of the images that couldn't be read so far and why; those of all data sets that this one is a part of. See [`Dataset::lazy`].
    pub fn unreadable(&self) -> Vec<(String, String)> {
        match &self.images {
            Images::Memory(_) => Vec::new(),
            Images::Lazy(lazy) => lazy.broken(),
        }
    }

    /// This data set with all its images in memory.
    ///
    /// # Errors
    ///
    /// As for [`Dataset::raw_images`]; [`Error::Invalid`] also if they have more elements than a tensor may have.
    pub fn load(&self) -> Result<Dataset> {
        if !self.is_lazy() {
            return Ok(self.clone());
        }
        self.image_shape().with_batch(self.len()).checked("images").map_err(|e| e.at(&self.name))?;
        let all: Vec<u32> = (0..self.len() as u32).collect();
        Ok(Dataset { images: Images::Memory(self.raw_images(&all)?.into()), ..self.clone() })
    }

    /// Tells the samples of this data set and its clones from those of every other, as long as the mark is kept; the samples themselves
    /// aren't kept by it. None for samples that aren't in memory.
    pub(crate) fn mark(&self) -> Option<Weak<Tensor>> {
        match &self.images {
            Images::Memory(images) => Some(Arc::downgrade(images)),
            Images::Lazy(_) => None,
        }
    }

    /// Element type and shape of an image, `[h, w, c]`.
    pub fn image_type(&self) -> TensorType {
        match &self.images {
            Images::Memory(images) => TensorType::new(images.dtype(), &images.shape().dims()[1..]),
            Images::Lazy(lazy) => TensorType::new(DType::U8, lazy.shape().clone()),
        }
    }

    /// Shape of an image, `[h, w, c]`.
    pub fn image_shape(&self) -> Shape {
        self.image_type().shape
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

    /// Names of the classes in their order; empty where nobody said.
    pub fn class_names(&self) -> &[String] {
        &self.class_names
    }

    /// Factor of each channel's normalisation `value * scale + offset`.
    pub fn scale(&self) -> &[f32] {
        &self.scale
    }

    /// Summand of each channel's normalisation `value * scale + offset`.
    pub fn offset(&self) -> &[f32] {
        &self.offset
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

/// Labels that are all below `classes`.
fn classes_of(labels: Vec<u32>, classes: usize) -> Result<Targets> {
    check_classes(classes)?;
    match labels.iter().enumerate().find(|&(_, &label)| label as usize >= classes) {
        Some((i, &label)) => {
            Err(Error::invalid(format!("label of sample {i}"), label, format!("below {classes}, the number of classes")))
        }
        None => Ok(Targets::Classes { labels: labels.into(), classes }),
    }
}

/// Threads that read images where nobody said how many: one a core, but 8 at most.
pub(crate) fn default_threads() -> usize {
    std::thread::available_parallelism().map_or(1, |n| n.get().min(8))
}

/// Fails unless these can be the images of a data set; else their number.
fn check_images(images: &Tensor) -> Result<usize> {
    if images.dtype() == DType::U32 {
        return Err(Error::invalid("images type", DType::U32, "u8 or f32"));
    }
    let [n, h, w, c] = images.shape().nhwc("images")?;
    images.shape().clone().checked("images")?;
    if let Data::F32(values) = images.data()
        && let Some(at) = values.iter().position(|x| !x.is_finite())
    {
        let (sample, pixel) = (at / (h * w * c), at % (h * w * c));
        let what = format!("image of sample {sample}, row {}, column {}, channel {}", pixel / (w * c), pixel / c % w, pixel % c);
        return Err(Error::invalid(what, values[at], "a finite value"));
    }
    Ok(n)
}

/// Rows `indices` of a matrix with rows of `len`.
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
        assert_eq!(set.images().unwrap().shape().dims(), [5, 1, 2, 1]);
        assert_eq!((set.scale(), set.offset()), (&[1.0 / 255.0][..], &[0.0][..]));
        assert_eq!((floats().scale(), floats().offset()), (&[1.0; 2][..], &[0.0; 2][..]));
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

    #[test]
    fn one_hot_rows() {
        let tensor = bytes().take(3).unwrap().one_hot().unwrap();
        assert_eq!(tensor.shape().dims(), [3, 3]);
        assert_eq!(tensor.as_f32().unwrap(), [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]);
        let vast = Dataset::new(Tensor::u8([1, 1, 1, 1], vec![0]).unwrap(), vec![0], usize::MAX).unwrap();
        assert!(vast.one_hot().is_err());
    }
}
