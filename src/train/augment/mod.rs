//! Training pictures changed at random, so that a network sees none twice. What is drawn is a function of seed, epoch and place in the epoch
//! alone; the pixels are made on the device.

mod draw;

use super::step::add_shares;
use crate::data::Dataset;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::nn::feed::{Batch, DataPorts, Source, add_batch, add_changed_batch};
use crate::nn::feeder::Samples;
use crate::op::{NodeBuilder, Value};
use crate::ops::augment::{self, Border, PLACES};
use crate::ops::mix::{Mix, PARTNERS};
use crate::random::Seed;
use crate::tensor::{DType, Data, Shape, Tensor, TensorType};
pub(super) use draw::Moment;
use draw::{Drawn, mean_greys};

/// The farthest place that whole numbers of a 65,536th of a pixel can say.
const FARTHEST: f64 = 32_000.0;

/// Which part of a picture becomes the training picture.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Window {
    /// All of it.
    Whole,
    /// A part of this size, unscaled, of the picture with so many pixels around it.
    Cut { size: [usize; 2], padding: usize },
    /// A part of a random area and shape, brought to this size.
    Resized { size: [usize; 2], area: [f64; 2], ratio: [f64; 2] },
}

/// What a batch is changed by, if anything, and when.
pub(super) type Change<'a> = Option<(&'a Augmentation, Moment)>;

/// How training pictures are changed at random; [`Fit::augment`](super::Fit::augment) takes it. Nothing is changed until a method asks for it.
///
/// Everything that moves pixels is one pass with bilinear interpolation, however much of it there is; colours and noise are in the same pass. Validation and
/// prediction see pictures as they are.
///
/// ```
/// use striate::train::{Augmentation, Fit};
///
/// let augmentation = Augmentation::new().flip_horizontal(0.5).rotate(10.0).zoom(0.9, 1.1).brightness(0.2).contrast(0.2);
/// let fit = Fit::epochs(20).augment(augmentation);
/// # drop(fit);
/// ```
#[derive(Clone, PartialEq, Debug)]
pub struct Augmentation {
    window: Window,
    /// Probability of a flip: upside down, left to right.
    flips: [f64; 2],
    shift: [f64; 2],
    rotation: f64,
    shear: f64,
    zoom: [f64; 2],
    brightness: f64,
    contrast: f64,
    saturation: f64,
    hue: f64,
    noise: f64,
    cutout: [f64; 2],
    mixup: f64,
    cutmix: f64,
    border: Border,
    fill: f32,
    range: Option<[f32; 2]>,
}

impl Default for Augmentation {
    fn default() -> Self {
        Augmentation {
            window: Window::Whole,
            flips: [0.0; 2],
            shift: [0.0; 2],
            rotation: 0.0,
            shear: 0.0,
            zoom: [1.0; 2],
            brightness: 0.0,
            contrast: 0.0,
            saturation: 0.0,
            hue: 0.0,
            noise: 0.0,
            cutout: [0.0; 2],
            mixup: 0.0,
            cutmix: 0.0,
            border: Border::default(),
            fill: 0.0,
            range: None,
        }
    }
}

impl Augmentation {
    /// Pictures as they are.
    pub fn new() -> Augmentation {
        Augmentation::default()
    }

    /// Left and right change places with this probability (torchvision's `RandomHorizontalFlip`, 0.5 there).
    pub fn flip_horizontal(mut self, probability: f64) -> Self {
        self.flips[1] = probability;
        self
    }

    /// Top and bottom change places with this probability.
    pub fn flip_vertical(mut self, probability: f64) -> Self {
        self.flips[0] = probability;
        self
    }

    /// Moves by up to these shares of height and width, either way (Keras's `RandomTranslation`).
    pub fn shift(mut self, height: f64, width: f64) -> Self {
        self.shift = [height, width];
        self
    }

    /// Turns about the middle by up to so many degrees, either way.
    pub fn rotate(mut self, degrees: f64) -> Self {
        self.rotation = degrees;
        self
    }

    /// Shears along the width by up to so many degrees, either way, below 90.
    pub fn shear(mut self, degrees: f64) -> Self {
        self.shear = degrees;
        self
    }

    /// Magnifies about the middle by a factor between these; below 1 shows what lies around.
    pub fn zoom(mut self, least: f64, most: f64) -> Self {
        self.zoom = [least, most];
        self
    }

    /// Cuts a part of this size out at a random place, after `padding` pixels of border were put on every side (torchvision's `RandomCrop`). The
    /// network is trained on this size.
    pub fn crop(mut self, height: usize, width: usize, padding: usize) -> Self {
        self.window = Window::Cut { size: [height, width], padding };
        self
    }

    /// Cuts a part at a random place that has a share of the picture's area within `area` and a width over height within `ratio`, and brings it to this size
    /// (torchvision's `RandomResizedCrop`; there 0.08 to 1 and 3/4 to 4/3; C. Szegedy et al., "Going Deeper with Convolutions", CVPR 2015). The network
    /// is trained on this size.
    pub fn resized_crop(mut self, height: usize, width: usize, area: [f64; 2], ratio: [f64; 2]) -> Self {
        self.window = Window::Resized { size: [height, width], area, ratio };
        self
    }

    /// Multiplies all colours by a factor within 1 - `most` and 1 + `most` (torchvision's `ColorJitter`; so do the three that follow, in this order).
    pub fn brightness(mut self, most: f64) -> Self {
        self.brightness = most;
        self
    }

    /// Multiplies what differs from the picture's mean grey by a factor within 1 - `most` and 1 + `most`.
    pub fn contrast(mut self, most: f64) -> Self {
        self.contrast = most;
        self
    }

    /// Multiplies what differs from the pixel's grey by a factor within 1 - `most` and 1 + `most`. For pictures in colour.
    pub fn saturation(mut self, most: f64) -> Self {
        self.saturation = most;
        self
    }

    /// Turns colours by up to this share of the circle of hues, either way, at most 0.5: a rotation in the plane of YIQ's chroma, so that grey stays as it is. For
    /// pictures in colour.
    pub fn hue(mut self, most: f64) -> Self {
        self.hue = most;
        self
    }

    /// Adds noise of this standard deviation, as a share of the range of values.
    pub fn noise(mut self, deviation: f64) -> Self {
        self.noise = deviation;
        self
    }

    /// With this probability a square becomes [`Augmentation::fill`]: its side is `side` times the shorter one, its middle anywhere on the picture (T. DeVries, G. Taylor,
    /// "Improved Regularization of Convolutional Neural Networks with Cutout", 2017).
    pub fn cutout(mut self, probability: f64, side: f64) -> Self {
        self.cutout = [probability, side];
        self
    }

    /// Mixes each batch with itself in another order: pictures and targets alike, by a share that is drawn from Beta(alpha, alpha) for the batch (H. Zhang et
    /// al., "mixup", ICLR 2018; 0.2 there for ImageNet). Classes become distributions over classes.
    pub fn mixup(mut self, alpha: f64) -> Self {
        self.mixup = alpha;
        self
    }

    /// Like [`Augmentation::mixup`], but a rectangle of each picture comes from another, and targets are mixed by area (S. Yun et al., "CutMix", ICCV 2019; alpha 1 there). Where both
    /// are asked for each batch takes one of them, with equal probability.
    pub fn cutmix(mut self, alpha: f64) -> Self {
        self.cutmix = alpha;
        self
    }

    /// What lies beyond the edges of a picture: by default the picture mirrored.
    pub fn border(mut self, border: Border) -> Self {
        self.border = border;
        self
    }

    /// The value of squares that are cut out, and of [`Border::Fill`], in the pictures' own numbers: 0 by default.
    pub fn fill(mut self, value: f32) -> Self {
        self.fill = value;
        self
    }

    /// Least and largest value of a picture, to which colours and noise are clipped: 0 to 255 for pictures of bytes, and 0 to 1 for others, unless this says
    /// otherwise.
    pub fn range(mut self, least: f32, largest: f32) -> Self {
        self.range = Some([least, largest]);
        self
    }

    /// Shape of a training picture made from one of shape `[h, w, c]`.
    pub fn output_shape(&self, image: &Shape) -> Shape {
        match (self.window, image.dims()) {
            (Window::Whole, _) | (_, []) => image.clone(),
            (Window::Cut { size, .. } | Window::Resized { size, .. }, dims) => {
                Shape::from([size[0], size[1], dims[dims.len() - 1]])
            }
        }
    }

    /// Pictures as training would see them, to look at: `[n, h, w, c]` of u8 or f32, of which the results have the type. What is drawn is that of an epoch with these as its
    /// first samples.
    ///
    /// # Errors
    /// [`Error::Invalid`] for settings that make no sense or not for these pictures, and for pictures of another type or shape;
    /// [`Error::DoesNotFit`], [`Error::Gpu`], [`Error::DeviceLost`].
    pub fn apply(&self, device: &Device, images: &Tensor, seed: Seed, epoch: u32) -> Result<Tensor> {
        pollster::block_on(self.apply_async(device, images, seed, epoch))
    }

    /// [`Augmentation::apply`] for programs that mustn't block.
    ///
    /// # Errors
    /// As for [`Augmentation::apply`].
    pub async fn apply_async(&self, device: &Device, images: &Tensor, seed: Seed, epoch: u32) -> Result<Tensor> {
        let n = images.shape().nhwc("pictures")?[0];
        // Targets that aren't looked at.
        let data = Dataset::new(images.clone(), vec![0; n], 1)?;
        self.check(&data.image_shape())?;
        let mut graph = Graph::new();
        let x = graph.input("images", TensorType::f32(images.shape().clone()))?;
        let targets = graph.input("targets", TensorType::u32([n]))?;
        let mut batch =
            Batch { images: x, targets, weights: None, ports: DataPorts::default(), changes: Vec::new(), mixed: false };
        self.change(&mut graph, &data, &mut batch)?;
        let numbers = match images.data() {
            Data::U8(bytes) => bytes.iter().map(|&v| f32::from(v)).collect(),
            _ => images.as_f32()?.to_vec(),
        };
        let x_values = Tensor::f32(images.shape().clone(), numbers)?;
        let samples = Samples { indices: (0..n as u32).collect(), images: None };
        let drawn = self.draw_batch(&data, &samples, Moment { seed, epoch, first: 0 })?;
        let mut feeds = vec![(x, &x_values)];
        feeds.extend(batch.changes.iter().copied().zip(&drawn));
        let y = device.evaluate_async(graph, &[batch.images], &feeds).await?.swap_remove(0);
        match images.dtype() {
            DType::U8 => {
                let bytes = y.as_f32()?.iter().map(|v| v.round().clamp(0.0, 255.0) as u8).collect();
                Tensor::u8(y.shape().clone(), bytes)
            }
            _ => Ok(y),
        }
    }

    /// Whether targets are mixed.
    pub(crate) fn mixes(&self) -> bool {
        self.mixup > 0.0 || self.cutmix > 0.0
    }

    /// Whether a class a pixel would have to be moved or mixed with the pixels.
    pub(crate) fn changes_maps(&self) -> bool {
        let still = Augmentation {
            brightness: self.brightness,
            contrast: self.contrast,
            saturation: self.saturation,
            hue: self.hue,
            noise: self.noise,
            cutout: self.cutout,
            border: self.border,
            fill: self.fill,
            range: self.range,
            ..Augmentation::default()
        };
        *self != still
    }

    /// Whether [`Augmentation::draw`] needs the pictures' mean greys.
    pub(crate) fn needs_means(&self) -> bool {
        self.contrast > 0.0
    }

    fn in_colour(&self) -> bool {
        self.saturation > 0.0 || self.hue > 0.0
    }

    fn changes_values(&self) -> bool {
        self.in_colour() || self.brightness > 0.0 || self.contrast > 0.0 || self.noise > 0.0
    }

    fn values(&self, bytes: bool) -> [f32; 2] {
        self.range.unwrap_or(if bytes { [0.0, 255.0] } else { [0.0, 1.0] })
    }

    /// The op for pictures of this shape; of bytes, or of numbers.
    pub(crate) fn op(&self, image: &Shape, bytes: bool) -> augment::Augment {
        let shape = self.output_shape(image);
        let size = [shape.dims()[0], shape.dims()[1]];
        let range = if self.changes_values() { self.values(bytes) } else { [f32::MIN, f32::MAX] };
        augment::Augment { size, border: self.border, fill: self.fill, range }
    }

    /// Fails, naming the setting, if one makes no sense, or not for pictures of this shape.
    pub(crate) fn check(&self, image: &Shape) -> Result<()> {
        let &[h, w, c] = image.dims() else {
            return Err(Error::invalid("pictures to augment", image, "3 dimensions [h, w, c]"));
        };
        let share = |what: &str, v: f64, most: f64| {
            if (0.0..=most).contains(&v) { Ok(()) } else { Err(Error::invalid(what, v, format!("0 to {most}"))) }
        };
        let at_least_0 = |what: &str, v: f64| {
            if v >= 0.0 && v.is_finite() { Ok(()) } else { Err(Error::invalid(what, v, "0 or a positive number")) }
        };
        let within = |what: &str, [a, b]: [f64; 2], least: f64, most: f64| {
            if least <= a && a <= b && b <= most {
                return Ok(());
            }
            Err(Error::invalid(what, format!("{a} to {b}"), format!("{least} to {most}, the smaller one first")))
        };
        share("probability of a vertical flip", self.flips[0], 1.0)?;
        share("probability of a horizontal flip", self.flips[1], 1.0)?;
        share("shift of the height", self.shift[0], 1.0)?;
        share("shift of the width", self.shift[1], 1.0)?;
        share("rotation", self.rotation, 180.0)?;
        share("shear", self.shear, 80.0)?;
        within("zoom", self.zoom, 0.05, 100.0)?;
        at_least_0("brightness", self.brightness)?;
        at_least_0("contrast", self.contrast)?;
        at_least_0("saturation", self.saturation)?;
        share("hue", self.hue, 0.5)?;
        at_least_0("noise", self.noise)?;
        share("probability of a cut-out", self.cutout[0], 1.0)?;
        share("side of a cut-out", self.cutout[1], 1.0)?;
        at_least_0("alpha of mixup", self.mixup)?;
        at_least_0("alpha of cutmix", self.cutmix)?;
        if self.in_colour() && c != 3 {
            let what = if self.hue > 0.0 { "hue" } else { "saturation" };
            return Err(Error::invalid(what, format!("pictures of {c} channels"), "3 channels: red, green, blue"));
        }
        if !self.fill.is_finite() {
            return Err(Error::invalid("fill", self.fill, "a finite number"));
        }
        if let Some([low, high]) = self.range.filter(|[low, high]| !(low < high && (high - low).is_finite())) {
            return Err(Error::invalid("range of values", format!("{low} to {high}"), "finite numbers, the smaller one first"));
        }
        match self.window {
            Window::Whole => {}
            Window::Cut { size, padding } => {
                let room = [h, w].map(|side| side.saturating_add(padding.saturating_mul(2)));
                if size.contains(&0) || size[0] > room[0] || size[1] > room[1] {
                    let want = format!("1 x 1 to {} x {}, the pictures with {padding} pixels around them", room[0], room[1]);
                    return Err(Error::invalid("size to cut out", format!("{} x {}", size[0], size[1]), want));
                }
            }
            Window::Resized { size, area, ratio } => {
                within("area of a crop", area, 1e-4, 1.0)?;
                within("ratio of a crop", ratio, 0.01, 100.0)?;
                if size.contains(&0) {
                    return Err(Error::invalid("size of a crop", format!("{} x {}", size[0], size[1]), "at least 1 x 1"));
                }
            }
        }
        let shape = self.output_shape(image);
        let side = shape.dims()[..2].iter().chain([&h, &w]).copied().max().unwrap_or(0) as f64;
        let reach = side * (1.0 + self.shift[0].max(self.shift[1]))
            + side * std::f64::consts::SQRT_2 * (1.0 + self.shear.to_radians().tan()) / self.zoom[0].min(1.0);
        if reach > FARTHEST {
            let want = format!("pictures and changes that reach {FARTHEST} pixels at most");
            return Err(Error::invalid("pictures to augment", format!("{image}, of which {reach:.0} pixels are reached"), want));
        }
        Ok(())
    }

    /// Adds the nodes that change the pictures of a batch, which are as the data set has them.
    fn change(&self, graph: &mut Graph, data: &Dataset, batch: &mut Batch) -> Result<()> {
        let (image, bytes) = (data.image_shape(), data.has_bytes());
        let n = graph.type_of(batch.images).shape.dims()[0];
        let places = graph.input("places", TensorType::u32([n, PLACES]))?;
        let numbers = graph.input("numbers", TensorType::f32([n, self.n_numbers(&image)]))?;
        batch.images = graph.node(self.op(&image, bytes), &[batch.images, places, numbers])?;
        batch.changes.extend([places, numbers]);
        if !self.mixes() {
            return Ok(());
        }
        let partners = graph.input("partners", TensorType::u32([n, PARTNERS]))?;
        let shares = graph.input("shares", TensorType::f32([n]))?;
        let target_shares = graph.input("target shares", TensorType::f32([n]))?;
        batch.images = graph.node(Mix { rectangles: true }, &[batch.images, partners, shares])?;
        batch.changes.extend([partners, shares, target_shares]);
        Ok(())
    }

    /// [`Augmentation::change`], and targets mixed as the pictures are, for a network of these outputs.
    fn add(&self, graph: &mut Graph, data: &Dataset, outputs: &Shape, batch: &mut Batch) -> Result<()> {
        self.change(graph, data, batch)?;
        let &[_, _, partners, _, target_shares] = &batch.changes[..] else { return Ok(()) };
        if data.has_labels() {
            batch.targets = add_shares(graph, batch.targets, outputs)?;
            batch.mixed = true;
        }
        batch.targets = graph.node(Mix { rectangles: false }, &[batch.targets, partners, target_shares])?;
        Ok(())
    }

    /// What is drawn for these samples, in the order of the inputs that [`Augmentation::change`] adds.
    fn draw_batch(&self, data: &Dataset, samples: &Samples, at: Moment) -> Result<Vec<Tensor>> {
        let means = if self.needs_means() { mean_greys(data, samples)? } else { Vec::new() };
        let n = samples.indices.len();
        let Drawn { places, numbers, mix } = self.draw(&data.image_shape(), n, data.has_bytes(), at, &means)?;
        let mixing = mix.into_iter().flat_map(|m| [m.partners, m.shares, m.target_shares]);
        Ok([places, numbers].into_iter().chain(mixing).collect())
    }

    /// Numbers of a picture for its colours and noise.
    fn n_numbers(&self, image: &Shape) -> usize {
        if image.last() == 3 && self.in_colour() { 13 } else { 3 }
    }
}

/// Adds a batch of `n` samples for a network of these outputs, changed if that is asked for.
pub(super) fn add_training_batch(
    graph: &mut Graph,
    data: &Dataset,
    source: Source,
    n: usize,
    augmentation: Option<&Augmentation>,
    outputs: &Shape,
) -> Result<Batch> {
    match augmentation {
        Some(augmentation) => {
            add_changed_batch(graph, data, source, n, |graph, batch| augmentation.add(graph, data, outputs, batch))
        }
        None => add_batch(graph, data, source, n),
    }
}

/// What to feed the inputs `changes` of a program whose samples are changed so, for these.
pub(super) fn feeds(change: Change<'_>, changes: &[Value], data: &Dataset, samples: &Samples) -> Result<Vec<(Value, Tensor)>> {
    let Some((augmentation, at)) = change else { return Ok(Vec::new()) };
    Ok(changes.iter().copied().zip(augmentation.draw_batch(data, samples, at)?).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_make_no_sense_are_named() {
        let error = |a: Augmentation, shape: [usize; 3]| a.check(&Shape::from(shape)).unwrap_err().to_string();
        let a = Augmentation::new;
        assert!(error(a().flip_horizontal(1.5), [8, 8, 3]).contains("horizontal flip: got 1.5"));
        assert!(error(a().rotate(f64::NAN), [8, 8, 3]).contains("rotation"));
        assert!(error(a().zoom(1.2, 0.8), [8, 8, 3]).contains("1.2 to 0.8"));
        assert!(error(a().zoom(0.0, 1.0), [8, 8, 3]).contains("zoom"));
        assert!(error(a().hue(0.1), [8, 8, 1]).contains("pictures of 1 channels"));
        assert!(error(a().crop(13, 4, 2), [8, 8, 3]).contains("12 x 12"));
        assert!(error(a().crop(0, 4, 2), [8, 8, 3]).contains("0 x 4"));
        assert!(error(a().resized_crop(4, 4, [0.0, 1.0], [1.0, 1.0]), [8, 8, 3]).contains("area"));
        assert!(error(a().mixup(-1.0), [8, 8, 3]).contains("mixup"));
        assert!(error(a().range(1.0, 0.0), [8, 8, 3]).contains("range of values"));
        assert!(error(a().zoom(0.05, 1.0), [2000, 2000, 3]).contains("are reached"));
        assert!(a().zoom(0.5, 2.0).rotate(180.0).shear(20.0).check(&Shape::from([2000, 2000, 3])).is_ok());
    }
}
