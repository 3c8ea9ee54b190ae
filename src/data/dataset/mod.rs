//! Images with labels, in host memory or read when they are asked for.

mod batch;
mod parts;

use super::lazy::{Lazy, LazyImages};
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Five 1x2 images of one channel, pixels 0 to 9.
    pub fn bytes() -> Dataset {
        Dataset::new(Tensor::u8([5, 1, 2, 1], (0..10).collect()).unwrap(), vec![0, 1, 2, 1, 0], 3).unwrap()
    }

    pub fn floats() -> Dataset {
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
}
