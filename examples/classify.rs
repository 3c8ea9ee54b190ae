//! What is on a photo, by a network of an ONNX file: `classify MODEL PHOTO... --labels FILE`.

#[macro_use]
mod common;

use anyhow::{Context, bail, ensure};
use clap::{Parser, ValueEnum};
use image::imageops::FilterType;
use std::path::{Path, PathBuf};
use std::time::Instant;
use striate::io::onnx::{Dimension, Onnx};
use striate::{Device, Tensor, data};

/// Classifies photos by a network of an ONNX file. Photos are scaled and cropped, then each channel is `(pixel / 255 - mean) / std`; the defaults
/// are those of networks trained on ImageNet by PyTorch.
#[derive(Parser)]
struct Arguments {
    /// The ONNX file
    model: PathBuf,
    /// The photos
    #[arg(required = true)]
    photos: Vec<PathBuf>,
    /// Names of the classes, one a line
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
    /// `cpu`, `gpu`, or a part of a GPU's name [default: the best device]
    #[arg(long)]
    device: Option<String>,
    /// Runs the CPU and a GPU, and prints the largest difference
    #[arg(long, conflicts_with = "device")]
    compare: bool,
    /// Mean of red, green and blue, of 0 to 1
    #[arg(long, default_value = "0.485,0.456,0.406", value_parser = colours, value_name = "R,G,B")]
    mean: [f32; 3],
    /// Standard deviation of red, green and blue
    #[arg(long, default_value = "0.229,0.224,0.225", value_parser = colours, value_name = "R,G,B")]
    std: [f32; 3],
    /// Share of a photo's shorter side that is kept by the crop in its middle
    #[arg(long, default_value_t = 0.875)]
    crop: f32,
    /// How the file wants its images
    #[arg(long, value_enum, default_value_t = Layout::Nchw)]
    layout: Layout,
    /// How many classes are shown
    #[arg(long, default_value_t = 5)]
    top: usize,
}

/// `0.485,0.456,0.406`, or one number for all three.
fn colours(text: &str) -> Result<[f32; 3], String> {
    let numbers =
        text.split(',').map(|v| v.trim().parse().map_err(|_| format!("'{v}' is no number"))).collect::<Result<Vec<f32>, _>>()?;
    match numbers[..] {
        [v] => Ok([v; 3]),
        [r, g, b] => Ok([r, g, b]),
        _ => Err(format!("{} numbers, want 3 with commas between, or one for all", numbers.len())),
    }
}

/// Order of the dimensions of a batch of images.
#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Layout {
    /// Channels first, as PyTorch's
    Nchw,
    /// Channels last, as TensorFlow's
    Nhwc,
}

/// Height and width of the file's images.
fn size(onnx: &Onnx, layout: Layout) -> anyhow::Result<[usize; 2]> {
    let inputs = onnx.inputs();
    let [input] = &inputs[..] else { bail!("the network has {} inputs, want one: images", inputs.len()) };
    let dims = input.dims.clone().unwrap_or_default();
    let [_, a, b, c] = &dims[..] else {
        bail!("input '{}' has {} dimensions, want 4: images", input.name.escape_debug(), dims.len())
    };
    let (channels, sides) = if layout == Layout::Nchw { (a, [b, c]) } else { (c, [a, b]) };
    if *channels != Dimension::Known(3) {
        bail!("input '{}' has dimensions {dims:?}, want 3 channels; `--layout` says where they are", input.name.escape_debug());
    }
    // A network that takes any size is shown the usual one.
    Ok(sides.map(|side| if let Dimension::Known(d) = side { *d } else { 224 }))
}

/// A photo's middle, scaled, as `[h, w, 3]`.
fn read(path: &Path, [h, w]: [usize; 2], arguments: &Arguments) -> anyhow::Result<Vec<f32>> {
    let photo = data::open_photo(path)?.into_rgb8();
    let (width, height) = (photo.width() as f32, photo.height() as f32);
    // The largest part with the shape of the network's images, less what the crop leaves out.
    let scale = (width / w as f32).min(height / h as f32) * arguments.crop;
    let (part_w, part_h) = ((w as f32 * scale).max(1.0), (h as f32 * scale).max(1.0));
    let (x, y) = (((width - part_w) / 2.0) as u32, ((height - part_h) / 2.0) as u32);
    let part = image::imageops::crop_imm(&photo, x, y, part_w.round() as u32, part_h.round() as u32).to_image();
    let scaled = image::imageops::resize(&part, w as u32, h as u32, FilterType::CatmullRom);
    let channels = scaled.pixels().flat_map(|pixel| pixel.0.into_iter().enumerate());
    Ok(channels.map(|(c, v)| (f32::from(v) / 255.0 - arguments.mean[c]) / arguments.std[c]).collect())
}

/// Probabilities of scores, unless they are some already.
fn probabilities(scores: &[f32]) -> Vec<f32> {
    let sum: f32 = scores.iter().sum();
    if scores.iter().all(|&p| (0.0..=1.0).contains(&p)) && (sum - 1.0).abs() < 1e-3 {
        return scores.to_vec();
    }
    let largest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let exp: Vec<f32> = scores.iter().map(|s| (s - largest).exp()).collect();
    let sum: f32 = exp.iter().sum();
    exp.iter().map(|e| e / sum).collect()
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    common::start_logging();
    ensure!(arguments.crop > 0.0 && arguments.crop <= 1.0, "--crop is {}, want a share from above 0 to 1", arguments.crop);
    let labels: Vec<String> = match &arguments.labels {
        Some(path) => std::fs::read_to_string(path)
            .with_context(|| format!("can't read {}", path.display()))?
            .lines()
            .map(str::to_string)
            .collect(),
        None => Vec::new(),
    };
    let onnx = Onnx::read(&arguments.model)?;
    let size = size(&onnx, arguments.layout)?;
    // With channels first in the file, the network is asked for them last: nothing has to be transposed then.
    let mut onnx = onnx.channels_last(arguments.layout == Layout::Nchw);
    for input in onnx.inputs() {
        for (dim, side) in
            input.dims.unwrap_or_default().into_iter().skip(if arguments.layout == Layout::Nchw { 2 } else { 1 }).zip(size)
        {
            if let Dimension::Named(name) = dim {
                onnx = onnx.dimension(&name, side);
            }
        }
    }
    let devices = match (&arguments.device, arguments.compare) {
        (_, true) => vec![Device::cpu(), Device::named("gpu")?],
        (Some(name), _) => vec![Device::named(name)?],
        (None, _) => vec![Device::best()?],
    };
    let mut models = devices.iter().map(|device| onnx.build(device)).collect::<Result<Vec<_>, _>>()?;
    let mut failed = 0;
    for path in &arguments.photos {
        let pixels = match read(path, size, &arguments) {
            Ok(pixels) => pixels,
            Err(e) => {
                eprintln!("{e:#}");
                failed += 1;
                continue;
            }
        };
        let photo = Tensor::f32([1, size[0], size[1], 3], pixels)?;
        let mut all = Vec::new();
        let mut seconds = 0.0;
        for model in &mut models {
            // The first run makes what the second only uses.
            if path == &arguments.photos[0] {
                model.predict(&photo)?;
            }
            let start = Instant::now();
            all.push(model.predict(&photo)?);
            seconds = start.elapsed().as_secs_f64();
        }
        let scores = all[0].as_f32()?;
        if !labels.is_empty() && labels.len() != scores.len() {
            bail!("{} names of classes for a network of {} outputs", labels.len(), scores.len());
        }
        let p = probabilities(scores);
        let mut order: Vec<usize> = (0..p.len()).collect();
        order.sort_by(|&a, &b| p[b].total_cmp(&p[a]));
        println!("{} ({:.1} ms)", path.display(), 1e3 * seconds);
        for &i in order.iter().take(arguments.top) {
            let name = labels.get(i).map_or(format!("class {i}"), Clone::clone);
            let bar = "#".repeat((p[i] * 30.0).round() as usize);
            println!("  {:>5.1}%  {bar:<30}  {name:.36}", 100.0 * p[i]);
        }
        if let [a, b] = &all[..] {
            let largest = a.as_f32()?.iter().zip(b.as_f32()?).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            let of = a.as_f32()?.iter().fold(0.0, |m: f32, v| m.max(v.abs()));
            println!("  largest difference of {} and {}: {largest:.2e}, of outputs up to {of:.2}", devices[0], devices[1]);
        }
    }
    ensure!(failed == 0, "{failed} of {} photos couldn't be read", arguments.photos.len());
    Ok(())
}
