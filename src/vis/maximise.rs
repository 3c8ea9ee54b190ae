//! Images that make a filter answer most.

use super::photo::picture;
use super::sheet::Sheet;
use crate::error::{Error, Result};
use crate::nn::Model;
use crate::random::{Seed, Stream};
use crate::tensor::Tensor;
use image::RgbImage;

/// What [`maximise_filter`] looks for, and how.
///
/// Gradient ascent on the bytes of an image (D. Erhan and others, 2009), from grey with a little noise, with what keeps it an image: a pull
/// towards grey and a blur now and then (J. Yosinski and others, 2015), and bytes that stay from 0 to 255.
#[derive(Clone, PartialEq, Debug)]
pub struct Maximise {
    layer: String,
    channels: Vec<usize>,
    scale: Vec<f32>,
    offset: Vec<f32>,
    steps: usize,
    rate: f32,
    decay: f32,
    blur_every: usize,
    seed: Seed,
}

impl Maximise {
    /// The mean of each of these channels of a layer, or the score of each of these classes where the layer is one of a number a class. 60 steps
    /// of 5 levels, a decay of 0.02 and a blur every 4 steps, and bytes that the network sees divided by 255, unless it is told otherwise.
    pub fn new(layer: impl Into<String>, channels: impl IntoIterator<Item = usize>) -> Maximise {
        Maximise {
            layer: layer.into(),
            channels: channels.into_iter().collect(),
            scale: vec![1.0 / 255.0],
            offset: vec![0.0],
            steps: 60,
            rate: 5.0,
            decay: 0.02,
            blur_every: 4,
            seed: Seed(0),
        }
    }

    /// What the network is shown of a byte: `value * scale + offset`, one of each for all channels or one for each channel.
    pub fn normalized(mut self, scale: &[f32], offset: &[f32]) -> Maximise {
        (self.scale, self.offset) = (scale.to_vec(), offset.to_vec());
        self
    }

    /// Steps of gradient ascent.
    pub fn steps(mut self, steps: usize) -> Maximise {
        self.steps = steps;
        self
    }

    /// By how many levels, of 0 to 255, a step changes a pixel, as the root of the mean square.
    pub fn rate(mut self, levels: f32) -> Maximise {
        self.rate = levels;
        self
    }

    /// The share by which each step brings every pixel nearer to grey, and after how many steps each the image is blurred; 0 for never.
    pub fn regularised(mut self, decay: f32, blur_every: usize) -> Maximise {
        (self.decay, self.blur_every) = (decay, blur_every);
        self
    }

    /// Seed of the noise that it begins with.
    pub fn seed(mut self, seed: Seed) -> Maximise {
        self.seed = seed;
        self
    }

    fn check(&self, channels: usize) -> Result<()> {
        for (what, numbers) in [("scale", &self.scale), ("offset", &self.offset)] {
            if (numbers.len() != 1 && numbers.len() != channels) || numbers.iter().any(|v| !v.is_finite()) {
                return Err(Error::invalid(what, format!("{numbers:?}"), format!("1 or {channels} finite numbers")));
            }
        }
        if !(self.rate.is_finite() && self.rate > 0.0) {
            return Err(Error::invalid("rate", self.rate, "a positive number of levels"));
        }
        if !(0.0..1.0).contains(&self.decay) {
            return Err(Error::invalid("decay", self.decay, "0 to less than 1"));
        }
        if self.channels.is_empty() {
            return Err(Error::invalid("channels", "none", "at least one").at(&self.layer));
        }
        Ok(())
    }
}

/// The image that makes a layer's channel answer most, for each of the channels that were asked for: what its filter looks for. The same model,
/// seed and device give the same bytes. Where the answer doesn't change with the image, as that of a ReLU that gives 0, the image stays grey: the layer
/// before it shows more. Images of little contrast are shown with up to four times as much.
///
/// ```no_run
/// # use striate::{Device, Result, io::onnx::Onnx, vis};
/// # fn main() -> Result<()> {
/// let mut model = Onnx::read("model.onnx")?.channels_last(true).build(&Device::best()?)?;
/// vis::save(&vis::maximise_filter(&mut model, &vis::Maximise::new("conv2d_3", 0..16))?, "filters.png")?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`Error::Invalid`] for a layer or a channel that the model doesn't have, for settings that make no sense, and for a network whose input isn't an image
/// of 1 or 3 channels. [`Error::DoesNotFit`], [`Error::Gpu`], [`Error::DeviceLost`].
pub fn maximise_filter(model: &mut Model, what: &Maximise) -> Result<RgbImage> {
    let shape @ [h, w, c] = match *model.input_shape().dims() {
        [h, w, c @ (1 | 3)] => [h, w, c],
        _ => return Err(Error::invalid("input", model.input_shape(), "images, [h, w, 1] or [h, w, 3]")),
    };
    what.check(c)?;
    let n = what.channels.len();
    let input = model.inputs()[0].0.to_string();
    let layers = model.summary().layers;
    let Some(layer) = layers.iter().rfind(|l| l.name == what.layer) else {
        let names: Vec<&str> = layers.iter().map(|l| l.name.as_str()).collect();
        return Err(Error::invalid("layer", format!("'{}'", what.layer), format!("one of {}", names.join(", "))));
    };
    let (places, last) = (layer.output.elements() / layer.output.last(), layer.output.last());
    if let Some(channel) = what.channels.iter().find(|&&channel| channel >= last) {
        return Err(Error::invalid("channel", channel, format!("below {last}")).at(&what.layer));
    }
    // The mean over a channel's places: its weights are the same for all steps.
    let mut weights = vec![0.0; n * places * last];
    for (sample, &channel) in weights.chunks_mut(places * last).zip(&what.channels) {
        sample.iter_mut().skip(channel).step_by(last).for_each(|v| *v = 1.0 / places as f32);
    }
    let weights = Tensor::f32(layer.output.with_batch(n), weights)?;

    let of = |numbers: &[f32], i: usize| numbers[if numbers.len() == 1 { 0 } else { i % c }];
    let len = h * w * c;
    let mut levels = Vec::with_capacity(n * len);
    for &channel in &what.channels {
        // Each channel has its own noise, whichever others are asked for with it.
        let mut random = Stream::new(what.seed, channel as u32);
        levels.extend((0..len).map(|_| 128.0 + 24.0 * (random.uniform() as f32 - 0.5)));
    }
    for step in 0..what.steps {
        let shown = levels.iter().enumerate().map(|(i, v)| v * of(&what.scale, i) + of(&what.offset, i)).collect();
        let shown = Tensor::f32([n, h, w, c], shown)?;
        let found = model.gradients(&shown, &what.layer, &weights, &[&input])?;
        let slopes = found.by[0].gradient.as_f32()?;
        for (image, slope) in levels.chunks_mut(len).zip(slopes.chunks(len)) {
            // By a byte instead of by what the network sees.
            let slope: Vec<f32> = slope.iter().enumerate().map(|(i, g)| g * of(&what.scale, i)).collect();
            let mean_square = slope.iter().map(|g| f64::from(*g) * f64::from(*g)).sum::<f64>() / len as f64;
            if mean_square > 0.0 && mean_square.is_finite() {
                let factor = what.rate / mean_square.sqrt() as f32;
                image.iter_mut().zip(&slope).for_each(|(v, g)| *v += factor * g);
            }
            image.iter_mut().for_each(|v| *v = (128.0 + (*v - 128.0) * (1.0 - what.decay)).clamp(0.0, 255.0));
            // The last steps sharpen what the blurs left.
            if what.blur_every > 0 && step % what.blur_every == 0 && step + what.blur_every < what.steps {
                blur(image, shape);
            }
        }
    }

    let title = format!("{}: what its channels answer most to", what.layer);
    let note = format!("Gradient ascent from noise, {} steps, seed {}.", what.steps, what.seed.0);
    let mut sheet = Sheet::new(if n == 1 { format!("{}: channel {}", what.layer, what.channels[0]) } else { title }).note(note);
    for (&channel, image) in what.channels.iter().zip(levels.chunks(len)) {
        let bytes = contrasted(image);
        sheet = sheet.tile(channel.to_string(), picture(&bytes, shape)?);
    }
    sheet.draw()
}

/// The image's bytes, with up to four times the contrast where it has little.
fn contrasted(levels: &[f32]) -> Vec<u8> {
    let mut away: Vec<f32> = levels.iter().map(|v| (v - 128.0).abs()).collect();
    away.sort_by(f32::total_cmp);
    let most = away[(away.len() - 1) * 99 / 100];
    let factor = if most > 0.0 { (120.0 / most).clamp(1.0, 4.0) } else { 1.0 };
    levels.iter().map(|v| (128.0 + (v - 128.0) * factor).round().clamp(0.0, 255.0) as u8).collect()
}

/// A mean over 3 x 3 pixels of weights 1, 2, 1 along each axis; at the border the nearest pixels once more.
fn blur(image: &mut [f32], [h, w, c]: [usize; 3]) {
    for (n, stride) in [(w, c), (h, w * c)] {
        let before = image.to_vec();
        for (i, v) in image.iter_mut().enumerate() {
            let at = i / stride % n;
            let left = if at > 0 { before[i - stride] } else { before[i] };
            let right = if at + 1 < n { before[i + stride] } else { before[i] };
            *v = (left + 2.0 * before[i] + right) / 4.0;
        }
    }
}
