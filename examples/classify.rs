//! What is on a photo, by a network of an ONNX file: `classify MODEL PHOTO... --labels FILE`.

#[macro_use]
mod common;
#[path = "common/subject.rs"]
mod subject;

use anyhow::ensure;
use clap::Parser;
use std::path::PathBuf;
use std::time::Instant;
use striate::Device;
use subject::{PhotoOptions, Subject, ranked};

/// Classifies photos by a network of an ONNX file. Photos are scaled and cropped, then each channel is `(pixel / 255 - mean) / std`; the defaults
/// are those of networks trained on ImageNet by PyTorch, unless the file says others, as those of this crate's examples do.
#[derive(Parser)]
struct Arguments {
    /// The ONNX file
    model: PathBuf,
    /// The photos
    #[arg(required = true)]
    photos: Vec<PathBuf>,
    /// `cpu`, `gpu`, or a part of a GPU's name [default: the best device]
    #[arg(long)]
    device: Option<String>,
    /// Runs the CPU and a GPU, and prints the largest difference
    #[arg(long, conflicts_with = "device")]
    compare: bool,
    #[command(flatten)]
    options: PhotoOptions,
    /// How many classes are shown
    #[arg(long, default_value_t = 5)]
    top: usize,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    common::start_logging();
    let subject = Subject::open(&arguments.model, &arguments.options)?;
    let devices = match arguments.compare {
        true => vec![Device::cpu(), Device::named("gpu")?],
        false => vec![subject::device(arguments.device.as_deref())?],
    };
    let mut models = devices.iter().map(|device| subject.build(device)).collect::<Result<Vec<_>, _>>()?;
    let mut failed = 0;
    for (i, path) in arguments.photos.iter().enumerate() {
        let photo = match subject.photo(path) {
            Ok(photo) => subject.input(&[photo])?,
            Err(e) => {
                eprintln!("{e:#}");
                failed += 1;
                continue;
            }
        };
        let mut all = Vec::new();
        let mut seconds = 0.0;
        for model in &mut models {
            // The first run makes what the second only uses.
            if i == failed {
                model.predict(&photo)?;
            }
            let start = Instant::now();
            all.push(model.predict(&photo)?);
            seconds = start.elapsed().as_secs_f64();
        }
        println!("{} ({:.1} ms)", path.display(), 1e3 * seconds);
        for (class, p) in ranked(all[0].as_f32()?).into_iter().take(arguments.top) {
            let bar = "#".repeat((p * 30.0).round() as usize);
            println!("  {:>5.1}%  {bar:<30}  {:.36}", 100.0 * p, subject.name(class));
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
