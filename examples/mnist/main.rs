//! Trains a network on MNIST, the handwritten digits, and shows what it makes of the test set.
//!
//! `cargo run --release --example mnist` trains the default model for three epochs; `-- --help` lists what can be changed.

#[macro_use]
#[path = "../common/mod.rs"]
mod common;
mod digits;
#[path = "../common/networks.rs"]
mod networks;
mod photo;
mod recipe;
#[path = "../common/stop.rs"]
mod stop;

use anyhow::Result;
use clap::{Parser, ValueEnum};
use networks::Network;
use recipe::Recipe;
use sha2::{Digest, Sha256};
use std::path::PathBuf;
use std::time::Instant;
use striate::data::{self, Dataset};
use striate::nn::Model;
use striate::train::{Adadelta, Adam, Checkpoints, Fit, History, Resume, Schedule, Score, Sgd};
use striate::{Device, Seed};
#[cfg(feature = "onnx")]
use striate::{
    data::Resize,
    io::{ModelCard, OnnxExport},
};

/// Trains a network on MNIST and shows what it makes of the test set.
#[derive(Parser)]
struct Args {
    /// Which network.
    #[arg(long, value_enum, default_value_t = Network::Convnet)]
    model: Network,
    /// How the weights are updated [default: what suits the network].
    #[arg(long, value_enum)]
    optimizer: Option<Optimizer>,
    /// Learning rate [default: the optimizer's].
    #[arg(long, allow_negative_numbers = true)]
    lr: Option<f64>,
    /// How the learning rate changes: not at all, or by a cosine down to 0 [default: what suits the network].
    #[arg(long, value_enum)]
    schedule: Option<Decay>,
    /// Images a step [default: what suits the network].
    #[arg(long, value_parser = positive)]
    batch: Option<usize>,
    /// Passes over the training set.
    #[arg(long, value_parser = positive, default_value = "3")]
    epochs: usize,
    /// Seed of everything random: initial weights, dropout, order of the images.
    #[arg(long, default_value_t = 42)]
    seed: u64,
    /// `cpu`, `gpu`, or a part of a GPU's name [default: the best there is; STRIATE_DEVICE changes that].
    #[arg(long)]
    device: Option<String>,
    /// Folder with the four MNIST files.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data/mnist"))]
    data: PathBuf,
    /// Train on the first N images only.
    #[arg(long, value_name = "N", value_parser = positive)]
    limit: Option<usize>,
    /// Pictures of digits of your own (PNG or JPEG), one in each, to try after training.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    photo: Vec<PathBuf>,
    /// Write the trained network to an ONNX file, for other engines: images [n, 28, 28, 1] of numbers from 0 to 1 in, logits out.
    #[cfg(feature = "onnx")]
    #[arg(long, value_name = "FILE")]
    onnx: Option<PathBuf>,
    /// Write a checkpoint to this folder after each epoch, and at Ctrl-C.
    #[arg(long, value_name = "DIR")]
    checkpoints: Option<PathBuf>,
    /// Go on from the latest checkpoint in the folder of --checkpoints, if it has one.
    #[arg(long, requires = "checkpoints")]
    resume: bool,
    /// Print a line of JSON at the end.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Optimizer {
    Sgd,
    Momentum,
    Nesterov,
    Adam,
    Adadelta,
}

#[derive(Clone, Copy, ValueEnum)]
enum Decay {
    Constant,
    Cosine,
}

fn positive(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("at least 1 is needed".to_string()),
        Ok(n) => Ok(n),
        Err(e) => Err(format!("{e}")),
    }
}

impl Optimizer {
    fn apply(self, fit: Fit, lr: Option<f64>) -> Fit {
        match self {
            Optimizer::Sgd => fit.optimizer(Sgd::new(lr.unwrap_or(0.1))),
            Optimizer::Momentum => fit.optimizer(Sgd::new(lr.unwrap_or(0.05)).momentum(0.9)),
            Optimizer::Nesterov => fit.optimizer(Sgd::new(lr.unwrap_or(0.05)).momentum(0.9).nesterov()),
            Optimizer::Adam => fit.optimizer(Adam::new(lr.unwrap_or(0.001))),
            Optimizer::Adadelta => fit.optimizer(Adadelta::new(lr.unwrap_or(1.0))),
        }
    }
}

fn main() -> Result<()> {
    common::start_logging();
    let args = Args::parse();
    // What is wrong with them shows before training and not after it.
    let photos = args.photo.iter().map(|path| Ok((path, photo::read(path)?))).collect::<Result<Vec<_>>>()?;
    let device = match &args.device {
        Some(name) => Device::named(name)?,
        None => Device::best()?,
    };
    let (train, test) = data::mnist(&args.data)?;
    let train = match args.limit {
        Some(n) => train.take(n.min(train.len()))?,
        None => train,
    };
    let mut model = args.model.layers().build(&device, Seed(args.seed))?;
    let settings = settings(&args, &test)?;
    println!("{}\n", model.summary_for(&settings)?);
    println!("Training on {device}, {} images; testing on {}.\n", train.len(), test.len());

    let start = Instant::now();
    let history = model.fit(&train, settings)?;
    let seconds = start.elapsed().as_secs_f64();
    let score = model.evaluate(&test)?;
    if history.stopped {
        println!("\nStopped by Ctrl-C; this is what was learned so far.");
        if let Some(folder) = &args.checkpoints {
            println!("--checkpoints {} --resume goes on from here.", folder.display());
        }
    }
    println!("\nTest accuracy {:.2}%, loss {:.4}.\n", 100.0 * score.accuracy, score.loss);
    digits::show(&mut model, &test)?;
    for (path, pixels) in &photos {
        digits::show_photo(&mut model, path, pixels)?;
    }
    #[cfg(feature = "onnx")]
    if let Some(path) = &args.onnx {
        let card = ModelCard::of(&train.named_classes((0..10).map(|d| d.to_string()))?, Resize::Pad)?;
        model.export_onnx(path, OnnxExport::new().card(card))?;
        println!("\nWritten to {}.", path.display());
    }
    if args.json {
        println!("{}", report(&mut model, &args, &history, seconds, &score)?);
    }
    Ok(())
}

/// How to train.
fn settings(args: &Args, test: &Dataset) -> Result<Fit> {
    let recipe = Recipe::of(args.model);
    let fit = Fit::epochs(args.epochs).batch(args.batch.unwrap_or(recipe.batch)).validate(test).stop_flag(stop::on_ctrl_c()?);
    let fit = match &args.checkpoints {
        Some(folder) => fit.checkpoints(Checkpoints::in_folder(folder)),
        None => fit,
    };
    let fit = fit.resume(if args.resume { Resume::Latest } else { Resume::Never });
    let fit = match args.schedule.unwrap_or(recipe.schedule) {
        Decay::Constant => fit,
        Decay::Cosine => fit.schedule(Schedule::Cosine { last: 0.0 }),
    };
    let (optimizer, lr) = match args.optimizer {
        Some(optimizer) => (optimizer, args.lr),
        None => (recipe.optimizer, args.lr.or(recipe.lr)),
    };
    Ok(optimizer.apply(fit, lr))
}

/// The run in a line of JSON.
fn report(model: &mut Model, args: &Args, history: &History, seconds: f64, score: &Score) -> Result<serde_json::Value> {
    let mut hash = Sha256::new();
    for (name, weights) in model.weights()? {
        hash.update(name.as_bytes());
        hash.update(weights.to_le_bytes());
    }
    let digest: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    let images: f64 = history.epochs.iter().map(|e| e.images_per_second * e.seconds).sum();
    let training: f64 = history.epochs.iter().map(|e| e.seconds).sum();
    Ok(serde_json::json!({
        "model": args.model.name(),
        "device": model.device().name(),
        "backend": model.device().backend(),
        "epochs": history.epochs.len(),
        "parameters": model.parameters(),
        "train_seconds": seconds,
        "images_per_second": images / training,
        "train_loss": history.epochs.last().map(|e| e.loss),
        "test_loss": score.loss,
        "test_accuracy": score.accuracy,
        "weights_sha256": digest,
    }))
}
