//! Networks of ONNX files that are shown photos: what the examples `classify`, `predict` and `explain` share.

// Each example is a crate of its own and uses a part of this one.
#![allow(dead_code)]

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, ValueEnum};
use image::imageops::{self, FilterType};
use std::path::{Path, PathBuf};
use striate::data::{self, PhotoFormat};
use striate::io::onnx::{Dimension, Onnx};
use striate::nn::Model;
use striate::{Device, Tensor};

/// What a network's input is, where its file doesn't say it.
#[derive(Args, Clone, Copy, Default)]
pub struct InputOptions {
    /// Mean of the channels, of 0 to 1 [default: the file's, else that of ImageNet: 0.485,0.456,0.406]
    #[arg(long, value_parser = colours, value_name = "R,G,B")]
    mean: Option<[f32; 3]>,
    /// Standard deviation of the channels [default: the file's, else that of ImageNet: 0.229,0.224,0.225]
    #[arg(long, value_parser = colours, value_name = "R,G,B")]
    std: Option<[f32; 3]>,
    /// Where the file has the channels of its images [default: where it has 1 or 3]
    #[arg(long, value_enum)]
    layout: Option<Layout>,
}

/// How photos come to a network whose file doesn't say it.
#[derive(Args, Default)]
pub struct PhotoOptions {
    /// Names of the classes, one a line
    #[arg(long, value_name = "FILE")]
    pub labels: Option<PathBuf>,
    #[command(flatten)]
    pub input: InputOptions,
    /// Share of a photo's shorter side that is kept by a crop in its middle [default: as the file says, else 0.875]
    #[arg(long, value_parser = share)]
    pub crop: Option<f32>,
}

/// `0.485,0.456,0.406`, or one number for all three.
fn colours(text: &str) -> Result<[f32; 3], String> {
    let number = |v: &str| v.trim().parse::<f32>().ok().filter(|v| v.is_finite()).ok_or(format!("'{v}' is no number"));
    match text.split(',').map(number).collect::<Result<Vec<f32>, _>>()?[..] {
        [v] => Ok([v; 3]),
        [r, g, b] => Ok([r, g, b]),
        ref numbers => Err(format!("{} numbers, want 3 with commas between, or one for all", numbers.len())),
    }
}

fn share(text: &str) -> Result<f32, String> {
    text.parse().ok().filter(|v| *v > 0.0 && *v <= 1.0).ok_or("want a share, from above 0 to 1".to_string())
}

/// Order of the dimensions of a batch of images.
#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Layout {
    /// Channels first, as PyTorch's
    Nchw,
    /// Channels last, as TensorFlow's and this crate's
    Nhwc,
}

/// A network that is shown photos.
pub struct Subject {
    onnx: Onnx,
    format: PhotoFormat,
    /// A crop of a photo's middle, where the file doesn't say how photos are resized.
    crop: Option<f32>,
    pub scale: Vec<f32>,
    pub offset: Vec<f32>,
    /// Names of the classes; empty if nobody says them.
    pub classes: Vec<String>,
}

impl Subject {
    /// Reads a file. What the options say goes before what the file says.
    pub fn open(path: &Path, options: &PhotoOptions) -> Result<Subject> {
        let InputOptions { mean, std, .. } = options.input;
        let onnx = Onnx::read(path)?;
        let card = onnx.card().with_context(|| format!("{}", path.display()))?;
        let layout = layout(&onnx, options.input.layout)?;
        let (channels, [height, width]) = sizes(&onnx, layout)?;
        let mut subject = match card {
            Some(card) => {
                Subject { onnx, format: card.photo, crop: None, scale: card.scale, offset: card.offset, classes: card.classes }
            }
            None => {
                let (scale, offset) = of_mean(mean.unwrap_or(MEAN), std.unwrap_or(STD), channels);
                let format = PhotoFormat { channels, ..PhotoFormat::new(height, width) };
                Subject { onnx, format, crop: Some(0.875), scale, offset, classes: Vec::new() }
            }
        };
        if mean.is_some() || std.is_some() {
            ensure!(mean.is_some() && std.is_some(), "--mean and --std are given together");
            (subject.scale, subject.offset) = of_mean(mean.unwrap_or(MEAN), std.unwrap_or(STD), channels);
        }
        subject.crop = options.crop.or(subject.crop);
        if let Some(path) = &options.labels {
            let text = std::fs::read_to_string(path).with_context(|| format!("can't read {}", path.display()))?;
            subject.classes = text.lines().map(str::to_string).collect();
        }
        // With channels first in the file, the network is asked for them last: nothing has to be transposed then.
        subject.onnx = subject.onnx.channels_last(layout == Layout::Nchw);
        for input in subject.onnx.inputs() {
            let first = if layout == Layout::Nchw { 2 } else { 1 };
            for (dim, side) in input.dims.unwrap_or_default().into_iter().skip(first).zip([height, width]) {
                if let Dimension::Named(name) = dim {
                    subject.onnx = subject.onnx.dimension(&name, side);
                }
            }
        }
        Ok(subject)
    }

    /// The network on a device.
    pub fn build(&self, device: &Device) -> Result<Model> {
        let model = self.onnx.build(device)?;
        let outputs = model.output_shape().elements();
        let named = self.classes.len();
        ensure!(named == 0 || named == outputs, "{named} names of classes for a network of {outputs} outputs");
        Ok(model)
    }

    /// A photo in the network's size, u8 `[h, w, c]`.
    pub fn photo(&self, path: &Path) -> Result<Tensor> {
        let Some(crop) = self.crop else { return Ok(data::read_photo(path, &self.format)?) };
        let photo = data::open_photo(path)?.into_rgb8();
        let (h, w) = (self.format.height, self.format.width);
        let (width, height) = (photo.width() as f32, photo.height() as f32);
        // The largest part with the shape of the network's images, less what the crop leaves out.
        let scale = (width / w as f32).min(height / h as f32) * crop;
        let (part_w, part_h) = ((w as f32 * scale).max(1.0), (h as f32 * scale).max(1.0));
        let (x, y) = (((width - part_w) / 2.0) as u32, ((height - part_h) / 2.0) as u32);
        let part = imageops::crop_imm(&photo, x, y, part_w.round() as u32, part_h.round() as u32).to_image();
        let scaled = imageops::resize(&part, w as u32, h as u32, FilterType::CatmullRom);
        let bytes = match self.format.channels {
            1 => imageops::grayscale(&scaled).into_raw(),
            _ => scaled.into_raw(),
        };
        Ok(Tensor::u8(self.format.shape(), bytes)?)
    }

    /// What the network is shown of such photos, f32 `[n, h, w, c]`.
    pub fn input(&self, photos: &[Tensor]) -> Result<Tensor> {
        let of = |numbers: &[f32], i: usize| numbers[if numbers.len() == 1 { 0 } else { i % self.format.channels }];
        let mut values = Vec::with_capacity(photos.len() * self.format.shape().elements());
        for photo in photos {
            let shown = |(i, &v): (usize, &u8)| f32::from(v) * of(&self.scale, i) + of(&self.offset, i);
            values.extend(photo.as_u8()?.iter().enumerate().map(shown));
        }
        Ok(Tensor::f32(self.format.shape().with_batch(photos.len()), values)?)
    }

    /// A class's name.
    pub fn name(&self, class: usize) -> String {
        self.classes.get(class).map_or_else(|| format!("class {class}"), Clone::clone)
    }
}

const MEAN: [f32; 3] = [0.485, 0.456, 0.406];
const STD: [f32; 3] = [0.229, 0.224, 0.225];

/// `(v / 255 - mean) / std` as `v * scale + offset`.
fn of_mean(mean: [f32; 3], std: [f32; 3], channels: usize) -> (Vec<f32>, Vec<f32>) {
    let each = || mean.into_iter().zip(std).take(channels);
    (each().map(|(_, std)| 1.0 / (255.0 * std)).collect(), each().map(|(mean, std)| -mean / std).collect())
}

fn dimensions(onnx: &Onnx) -> Result<[Dimension; 4]> {
    let inputs = onnx.inputs();
    let [input] = &inputs[..] else { bail!("the network has {} inputs, want one: images", inputs.len()) };
    let dims = input.dims.clone().unwrap_or_default();
    let n = dims.len();
    <[Dimension; 4]>::try_from(dims)
        .map_err(|_| anyhow::anyhow!("input '{}' has {n} dimensions, want 4: images", input.name.escape_debug()))
}

fn is_channels(dim: &Dimension) -> bool {
    matches!(dim, Dimension::Known(1 | 3))
}

/// What was said, or what the dimensions say.
fn layout(onnx: &Onnx, said: Option<Layout>) -> Result<Layout> {
    let dims = dimensions(onnx)?;
    Ok(match said {
        Some(layout) => layout,
        None if is_channels(&dims[3]) && !is_channels(&dims[1]) => Layout::Nhwc,
        None => Layout::Nchw,
    })
}

/// Channels, and height and width, of the file's images.
fn sizes(onnx: &Onnx, layout: Layout) -> Result<(usize, [usize; 2])> {
    let [_, a, b, c] = dimensions(onnx)?;
    let (channels, sides) = if layout == Layout::Nchw { (a, [b, c]) } else { (c, [a, b]) };
    let Dimension::Known(n @ (1 | 3)) = channels else {
        bail!("images have {channels:?} for channels, want 1 or 3; `--layout` says where they are");
    };
    // A network that takes any size is shown the usual one.
    Ok((n, sides.map(|side| if let Dimension::Known(d) = side { d } else { 224 })))
}

/// Probabilities of scores, unless they are some already.
pub fn probabilities(scores: &[f32]) -> Vec<f32> {
    let sum: f32 = scores.iter().sum();
    if scores.iter().all(|&p| (0.0..=1.0).contains(&p)) && (sum - 1.0).abs() < 1e-3 {
        return scores.to_vec();
    }
    let largest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let exp: Vec<f32> = scores.iter().map(|s| (s - largest).exp()).collect();
    let sum: f32 = exp.iter().sum();
    exp.iter().map(|e| e / sum).collect()
}

/// Classes in the order of their probabilities, the most probable first, with these.
pub fn ranked(scores: &[f32]) -> Vec<(usize, f32)> {
    let mut ranked: Vec<(usize, f32)> = probabilities(scores).into_iter().enumerate().collect();
    ranked.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    ranked
}

/// The device of this name, or the best there is.
pub fn device(name: Option<&str>) -> Result<Device> {
    Ok(match name {
        Some(name) => Device::named(name)?,
        None => Device::best()?,
    })
}
