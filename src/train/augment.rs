//! Training pictures changed at random, so that a network sees none twice. What is drawn is a function of seed, epoch and place in the epoch
//! alone; the pixels are made on the device.

use super::step::add_shares;
use crate::data::Dataset;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::nn::feed::{Batch, DataPorts, Source, add_batch, add_changed_batch};
use crate::nn::feeder::Samples;
use crate::op::NodeBuilder;
use crate::ops::augment::{self, Border, PIXEL, PLACES};
use crate::ops::mix::{Mix, PARTNERS};
use crate::random::{Seed, Stream, pcg4d};
use crate::tensor::{DType, Data, Shape, Tensor, TensorType};
use std::f64::consts::TAU;

/// Keeps these draws apart from the other random numbers of the same seed.
const AUGMENT: u64 = u64::from_be_bytes(*b"augment\0");

/// The share of red, green and blue in grey (ITU-R BT.601), as in PIL and torchvision.
const GREY: [f64; 3] = [0.299, 0.587, 0.114];

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
    pub(super) fn draw_batch(&self, data: &Dataset, samples: &Samples, at: Moment) -> Result<Vec<Tensor>> {
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

    /// What is drawn for a batch of `n` pictures of this shape: samples `first`, `first + 1`, .. of the epoch's order. `means` are the pictures' mean greys, if
    /// [`Augmentation::needs_means`].
    pub(crate) fn draw(&self, image: &Shape, n: usize, bytes: bool, at: Moment, means: &[f32]) -> Result<Drawn> {
        let &[h, w, _] = image.dims() else {
            return Err(Error::invalid("pictures to augment", image, "3 dimensions [h, w, c]"));
        };
        let len = self.n_numbers(image);
        let (mut places, mut numbers) = (Vec::with_capacity(n * PLACES), Vec::with_capacity(n * len));
        for i in 0..n {
            let mut random = at.stream(i as u32);
            self.draw_place(&mut random, [h, w], &mut places);
            let mean = means.get(i).copied().map(f64::from).unwrap_or_default();
            self.draw_colours(&mut random, mean, bytes, len > 3, &mut numbers);
        }
        let mix = if self.mixes() { Some(self.draw_mix(&self.output_shape(image), n, at)?) } else { None };
        Ok(Drawn { places: Tensor::u32([n, PLACES], places)?, numbers: Tensor::f32([n, len], numbers)?, mix })
    }

    fn draw_place(&self, random: &mut Stream, [h, w]: [usize; 2], places: &mut Vec<u32>) {
        let mut between = |[a, b]: [f64; 2]| a + (b - a) * random.uniform();
        let (h, w) = (h as f64, w as f64);
        // The window on the picture: top, left, height, width; and its size then.
        let ([top, left, height, width], size) = match self.window {
            Window::Whole => ([0.0, 0.0, h, w], [h, w]),
            Window::Cut { size, padding } => {
                let [sh, sw] = size.map(|side| side as f64);
                let padding = padding as f64;
                let mut start = |side: f64, cut: f64| {
                    let places = side + 2.0 * padding - cut + 1.0;
                    (between([0.0, places])).floor().min(places - 1.0) - padding
                };
                ([start(h, sh), start(w, sw), sh, sw], [sh, sw])
            }
            Window::Resized { size, area, ratio } => {
                let logs = ratio.map(f64::ln);
                let mut window = None;
                // As torchvision does: ten tries, then as much of the middle as the ratios allow.
                for _ in 0..10 {
                    let (area, ratio) = (h * w * between(area), between(logs).exp());
                    let (sh, sw) = ((area / ratio).sqrt(), (area * ratio).sqrt());
                    if window.is_none() && sh <= h && sw <= w {
                        window = Some([between([0.0, h - sh]), between([0.0, w - sw]), sh, sw]);
                    }
                }
                let window = window.unwrap_or_else(|| {
                    let [least, most] = ratio;
                    let (sh, sw) = (h.min(w / least), w.min(h * most));
                    [(h - sh) / 2.0, (w - sw) / 2.0, sh, sw]
                });
                (window, size.map(|side| side as f64))
            }
        };
        let flips = self.flips.map(|p| if between([0.0, 1.0]) < p { -1.0 } else { 1.0 });
        let turn = between([-self.rotation, self.rotation]).to_radians();
        let shear = between([-self.shear, self.shear]).to_radians().tan();
        let zoom = between(self.zoom);
        let shift = [height * between([-self.shift[0], self.shift[0]]), width * between([-self.shift[1], self.shift[1]])];
        // From what is seen back to the picture: zoom, shear, turn, flip; each about the middle, in the picture's pixels.
        let (sin, cos) = turn.sin_cos();
        let turned = [[cos, -sin], [sin, cos]];
        let to_picture = [0, 1].map(|row: usize| {
            let [a, b] = turned[row];
            // Rows stay as they are; columns move by the shear of the rows.
            [flips[row] * (a + b * shear) / zoom, flips[row] * b / zoom]
        });
        let steps = [height / size[0], width / size[1]];
        let middle = [top + height / 2.0 - shift[0], left + width / 2.0 - shift[1]];
        for row in 0..2 {
            let a = [to_picture[row][0] * steps[0], to_picture[row][1] * steps[1]];
            let start = middle[row] - 0.5 + a[0] * (0.5 - size[0] / 2.0) + a[1] * (0.5 - size[1] / 2.0);
            places.extend([a[0], a[1], start].map(|v| (v * f64::from(PIXEL)).round() as i32 as u32));
        }
        let cut = between([0.0, 1.0]) < self.cutout[0];
        let half = self.cutout[1] * size[0].min(size[1]) / 2.0;
        for side in size {
            let middle = between([0.0, side]);
            let ends = [middle - half, middle + half].map(|v| v.round().clamp(0.0, side) as u32);
            places.extend(if cut { ends } else { [0; 2] });
        }
        places.extend([random.next_u32(), random.next_u32()]);
    }

    fn draw_colours(&self, random: &mut Stream, mean: f64, bytes: bool, colours: bool, numbers: &mut Vec<f32>) {
        let [low, high] = self.values(bytes).map(f64::from);
        let mut factor = |most: f64| {
            let least = (1.0 - most).max(0.0);
            least + (1.0 + most - least) * random.uniform()
        };
        let [bright, contrast, saturation] = [self.brightness, self.contrast, self.saturation].map(&mut factor);
        let hue = TAU * self.hue * (2.0 * random.uniform() - 1.0);
        numbers.push((self.noise * (high - low)) as f32);
        // Brightness about the least value, then contrast about what the mean grey has become.
        let mean = low + bright * (mean - low);
        let (scale, shift) = (bright * contrast, contrast * (low - bright * low) + mean - contrast * mean);
        if !colours {
            numbers.extend([scale as f32, shift as f32]);
            return;
        }
        let turn = chroma_turn(hue);
        for row in turn {
            let mixed = [0, 1, 2].map(|from| {
                // Saturation first: a colour is grey + s (colour - grey), and what is turned has no grey.
                let own = (0..3).map(|k| row[k] * (f64::from(u8::from(k == from)) - GREY[from])).sum::<f64>();
                GREY[from] + saturation * own
            });
            numbers.extend(mixed.map(|m| (m * scale) as f32));
            // The rows add up to 1, so a summand of all colours stays one.
            numbers.push(shift as f32);
        }
    }

    fn draw_mix(&self, image: &Shape, n: usize, at: Moment) -> Result<Mixing> {
        let mut random = at.stream(u32::MAX);
        let order = random.permutation(n as u32);
        let cut = self.cutmix > 0.0 && (self.mixup == 0.0 || random.uniform() < 0.5);
        let mut share = beta(&mut random, if cut { self.cutmix } else { self.mixup });
        let mut rectangle = [0u32; 4];
        let of_pictures = if cut {
            let (h, w) = (image.dims()[0] as f64, image.dims()[1] as f64);
            let side = (1.0 - share).sqrt();
            let mut area = 1.0;
            for (ends, len) in rectangle.chunks_exact_mut(2).zip([h, w]) {
                let middle = random.uniform() * len;
                let [from, to] = [middle - side * len / 2.0, middle + side * len / 2.0].map(|v| v.round().clamp(0.0, len));
                (ends[0], ends[1]) = (from as u32, to as u32);
                area *= (to - from) / len;
            }
            share = 1.0 - area;
            1.0
        } else {
            share as f32
        };
        let partners = order.iter().flat_map(|&p| [&[p][..], &rectangle].concat()).collect();
        Ok(Mixing {
            partners: Tensor::u32([n, PARTNERS], partners)?,
            shares: Tensor::f32([n], vec![of_pictures; n])?,
            target_shares: Tensor::f32([n], vec![share as f32; n])?,
        })
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

/// The mean grey of each of these samples, as the data set has them; the mean of all channels where they aren't three.
fn mean_greys(data: &Dataset, samples: &Samples) -> Result<Vec<f32>> {
    // Those that the device has lie in memory too.
    let (images, rows) = match &samples.images {
        Some(images) => (images, (0..samples.indices.len() as u32).collect()),
        None => (data.images()?, samples.indices.clone()),
    };
    let (len, c) = (data.image_shape().elements(), data.image_shape().last());
    let weights: Vec<f64> = if c == 3 { GREY.to_vec() } else { vec![1.0 / c as f64; c] };
    fn mean<T: Copy + Into<f64>>(x: &[T], weights: &[f64]) -> f32 {
        let pixel = |pixel: &[T]| pixel.iter().zip(weights).map(|(&v, w)| v.into() * w).sum::<f64>();
        (x.chunks_exact(weights.len()).map(pixel).sum::<f64>() / (x.len() / weights.len()) as f64) as f32
    }
    let of = |i: &u32| {
        let range = *i as usize * len..(*i as usize + 1) * len;
        Ok(match images.data() {
            Data::U8(v) => mean(&v[range], &weights),
            Data::F32(v) => mean(&v[range], &weights),
            Data::U32(_) => return Err(Error::invalid("images type", DType::U32, "u8 or f32")),
        })
    };
    rows.iter().map(of).collect()
}

/// The rotation of colours by an angle in the plane of chroma of YIQ (National Television System Committee, 1953), which keeps grey.
fn chroma_turn(angle: f64) -> [[f64; 3]; 3] {
    if angle == 0.0 {
        return [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
    }
    let i = [0.595_716, -0.274_453, -0.321_263];
    let q = [0.211_456, -0.522_591, 0.311_135];
    let (sin, cos) = angle.sin_cos();
    // What i and q are to red, green and blue, with i and q as they are then.
    let back = [[0.956_295_7, 0.621_024_4], [-0.272_122_1, -0.647_380_6], [-1.106_989, 1.704_615]];
    back.map(|[of_i, of_q]| [0, 1, 2].map(|from| of_i * (cos * i[from] - sin * q[from]) + of_q * (sin * i[from] + cos * q[from])))
}

/// A number from Beta(alpha, alpha), from two of Gamma(alpha, 1) (G. Marsaglia, W. W. Tsang, "A Simple Method for Generating Gamma Variables", ACM TOMS 26(3), 2000).
fn beta(random: &mut Stream, alpha: f64) -> f64 {
    // The logarithm: for a small alpha the number itself may be 0.
    let mut log_gamma = || {
        let boost = if alpha < 1.0 { (1.0 - random.uniform()).ln() / alpha } else { 0.0 };
        let d = if alpha < 1.0 { alpha + 1.0 } else { alpha } - 1.0 / 3.0;
        loop {
            let z = random.normal();
            let v = (1.0 + z / (9.0 * d).sqrt()).powi(3);
            let u = 1.0 - random.uniform();
            if v > 0.0 && u.ln() < 0.5 * z * z + d - d * v + d * v.ln() {
                return (d * v).ln() + boost;
            }
        }
    };
    let (a, b) = (log_gamma(), log_gamma());
    1.0 / (1.0 + (b - a).exp())
}

/// When a batch is drawn for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub seed: Seed,
    pub epoch: u32,
    /// Place in the epoch of the batch's first sample.
    pub first: u32,
}

impl Moment {
    /// The random numbers of a sample of the batch; [`u32::MAX`] is the batch itself.
    fn stream(self, sample: u32) -> Stream {
        let seed = self.seed.0 ^ AUGMENT;
        let (place, kind) = if sample == u32::MAX { (self.first, 1) } else { (self.first.wrapping_add(sample), 0) };
        let words = pcg4d([place, self.epoch, seed as u32, (seed >> 32) as u32 ^ kind]);
        Stream::new(Seed(u64::from(words[0]) << 32 | u64::from(words[1])), words[2])
    }
}

/// What was drawn for a batch: inputs of [`augment::Augment`], and of two [`Mix`](crate::ops::mix::Mix).
#[derive(Clone, Debug)]
pub(crate) struct Drawn {
    pub places: Tensor,
    pub numbers: Tensor,
    pub mix: Option<Mixing>,
}

/// How a batch is mixed.
#[derive(Clone, Debug)]
pub(crate) struct Mixing {
    pub partners: Tensor,
    pub shares: Tensor,
    pub target_shares: Tensor,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::{View, run_f64};

    const AT: Moment = Moment { seed: Seed(7), epoch: 3, first: 0 };

    /// Pictures as the op makes them; the means are those of `x`.
    fn changed(augmentation: &Augmentation, shape: [usize; 4], x: &[f64], at: Moment) -> Vec<f64> {
        let image = Shape::from(&shape[1..]);
        augmentation.check(&image).unwrap();
        let len = image.elements();
        let grey = |pixel: &[f64]| if let [r, g, b] = *pixel { GREY[0] * r + GREY[1] * g + GREY[2] * b } else { pixel[0] };
        let mean = |x: &[f64]| x.chunks_exact(shape[3]).map(grey).sum::<f64>() / (len / shape[3]) as f64;
        let means: Vec<f32> = x.chunks_exact(len).map(|x| mean(x) as f32).collect();
        let drawn = augmentation.draw(&image, shape[0], true, at, &means).unwrap();
        let numbers: Vec<f64> = drawn.numbers.as_f32().unwrap().iter().map(|&v| f64::from(v)).collect();
        let types = [TensorType::f32(shape), drawn.places.tensor_type(), drawn.numbers.tensor_type()];
        let inputs = [View::Real(x), View::U32(drawn.places.as_u32().unwrap()), View::Real(&numbers)];
        run_f64(&augmentation.op(&image, true), &types, &inputs).unwrap()[0].real().to_vec()
    }

    fn ramp(n: usize) -> Vec<f64> {
        (0..n).map(|i| i as f64).collect()
    }

    #[test]
    fn nothing_asked_for_changes_nothing() {
        let x = ramp(2 * 3 * 5 * 3);
        assert_eq!(changed(&Augmentation::new(), [2, 3, 5, 3], &x, AT), x);
    }

    #[test]
    fn flips_are_exact() {
        let x = ramp(12);
        let turned = changed(&Augmentation::new().flip_horizontal(1.0), [1, 3, 4, 1], &x, AT);
        assert_eq!(turned[..4], [3.0, 2.0, 1.0, 0.0]);
        let turned = changed(&Augmentation::new().flip_vertical(1.0), [1, 3, 4, 1], &x, AT);
        assert_eq!(turned[..4], [8.0, 9.0, 10.0, 11.0]);
        let half = Augmentation::new().flip_horizontal(0.5);
        let shape = [400, 1, 2, 1];
        let all = changed(&half, shape, &[0.0, 1.0].repeat(400), AT);
        let flipped = all.chunks(2).filter(|pair| pair[0] == 1.0).count();
        assert!((160..240).contains(&flipped), "{flipped}");
    }

    #[test]
    fn a_turn_by_180_degrees_and_a_zoom() {
        // Uniform in a range of one number.
        let mut still = Augmentation::new();
        still.zoom = [2.0, 2.0];
        let x = ramp(4);
        // The middle half of the row, twice as large.
        let zoomed = changed(&still, [1, 1, 4, 1], &x, AT);
        assert_eq!(zoomed, [0.75, 1.25, 1.75, 2.25]);
        let cropped = Augmentation::new().resized_crop(1, 8, [1.0, 1.0], [4.0, 4.0]);
        let larger = changed(&cropped.border(Border::Edge), [1, 1, 4, 1], &x, AT);
        for (got, want) in larger.iter().zip([0.0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3.0]) {
            assert!((got - want).abs() < 1e-3, "{larger:?}");
        }
    }

    #[test]
    fn cuts_lie_anywhere_on_whole_pixels() {
        let x = ramp(36);
        let cut = Augmentation::new().crop(4, 4, 1).border(Border::Fill).fill(-1.0);
        assert_eq!(cut.output_shape(&Shape::from([6, 6, 1])).dims(), [4, 4, 1]);
        let mut seen = std::collections::BTreeSet::new();
        for epoch in 0..300 {
            let y = changed(&cut, [1, 6, 6, 1], &x, Moment { epoch, ..AT });
            // The second row and column are always inside.
            let first = y[5] as i64;
            assert_eq!(first as f64, y[5]);
            seen.insert(first);
            assert!(y.iter().all(|v| v.fract() == 0.0));
        }
        // Offsets of -1 to 3 each way.
        assert_eq!(seen.len(), 25);
    }

    #[test]
    fn colours() {
        let grey = [40.0, 40.0, 40.0, 200.0, 200.0, 200.0];
        let jitter = Augmentation::new().saturation(0.9).hue(0.5);
        for (got, want) in changed(&jitter, [1, 1, 2, 3], &grey, AT).iter().zip(grey) {
            assert!((got - want).abs() < 1e-3, "{got} {want}");
        }
        // Half a turn of the hue leaves the grey of a colour where it is.
        let mut half = Augmentation::new();
        half.hue = 0.5;
        let y = changed(&half, [1, 1, 1, 3], &[120.0, 100.0, 90.0], AT);
        let of = |c: &[f64]| GREY[0] * c[0] + GREY[1] * c[1] + GREY[2] * c[2];
        assert!((of(&y) - of(&[120.0, 100.0, 90.0])).abs() < 0.1, "{y:?}");
        // Contrast keeps the mean, brightness scales it.
        let x = [100.0, 110.0, 120.0, 130.0];
        let y = changed(&Augmentation::new().contrast(0.5), [1, 2, 2, 1], &x, AT);
        assert!((y.iter().sum::<f64>() / 4.0 - 115.0).abs() < 1e-3 && y[0] != 100.0, "{y:?}");
        let y = changed(&Augmentation::new().brightness(0.5), [1, 2, 2, 1], &x, AT);
        assert!(y.iter().zip(x).all(|(v, x)| (v / x - y[0] / 100.0).abs() < 1e-6) && y[0] != 100.0, "{y:?}");
        let y = changed(&Augmentation::new().brightness(5.0), [50, 1, 1, 1], &[250.0; 50], AT);
        assert!(y.iter().all(|v| (0.0..=255.0).contains(v)) && y.contains(&255.0));
    }

    #[test]
    fn draws_depend_on_seed_epoch_and_place_alone() {
        let augmentation = Augmentation::new().rotate(20.0).brightness(0.3).noise(0.1).flip_horizontal(0.5);
        let image = Shape::from([8, 8, 1]);
        let all = augmentation.draw(&image, 6, true, AT, &[]).unwrap();
        let later = augmentation.draw(&image, 2, true, Moment { first: 4, ..AT }, &[]).unwrap();
        assert_eq!(all.places.as_u32().unwrap()[4 * PLACES..], *later.places.as_u32().unwrap());
        assert_eq!(all.numbers.as_f32().unwrap()[4 * 3..], *later.numbers.as_f32().unwrap());
        for other in [Moment { epoch: 4, ..AT }, Moment { seed: Seed(8), ..AT }, Moment { first: 1, ..AT }] {
            assert_ne!(augmentation.draw(&image, 6, true, other, &[]).unwrap().places, all.places);
        }
    }

    #[test]
    fn shares_of_mixtures() {
        for alpha in [0.1, 0.4, 1.0, 5.0] {
            let mut random = Stream::new(Seed(1), 1);
            let all: Vec<f64> = (0..20_000).map(|_| beta(&mut random, alpha)).collect();
            let mean = all.iter().sum::<f64>() / 20_000.0;
            let variance = all.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / 20_000.0;
            let want = 1.0 / (4.0 * (2.0 * alpha + 1.0));
            assert!((mean - 0.5).abs() < 0.01 && (variance / want - 1.0).abs() < 0.05, "{alpha}: {mean} {variance} {want}");
        }
    }

    /// A rectangle's area is the share of the partner's target.
    #[test]
    fn rectangles_and_targets_agree() {
        let image = Shape::from([9, 7, 1]);
        let augmentation = Augmentation::new().cutmix(1.0);
        for epoch in 0..40 {
            let mixing = augmentation.draw(&image, 4, true, Moment { epoch, ..AT }, &[]).unwrap().mix.unwrap();
            let x: Vec<f64> = (0..4).flat_map(|i| [f64::from(i); 63]).collect();
            let shares = |t: &Tensor| t.as_f32().unwrap().iter().map(|&v| f64::from(v)).collect::<Vec<f64>>();
            let partners = mixing.partners.as_u32().unwrap();
            let types = [TensorType::f32([4, 9, 7, 1]), mixing.partners.tensor_type(), mixing.shares.tensor_type()];
            let of_pictures = shares(&mixing.shares);
            let y = run_f64(&Mix { rectangles: true }, &types, &[View::Real(&x), View::U32(partners), View::Real(&of_pictures)])
                .unwrap();
            for (i, picture) in y[0].real().chunks(63).enumerate() {
                let partner = f64::from(partners[i * PARTNERS]);
                if partner != i as f64 {
                    let own = picture.iter().filter(|&&v| v == i as f64).count() as f64 / 63.0;
                    assert!((own - shares(&mixing.target_shares)[i]).abs() < 1e-6);
                }
            }
        }
    }

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
