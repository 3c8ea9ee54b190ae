//! Trains ResNet-20 on CIFAR-10.
//!
//! `cargo run --release --example cifar10 -- --data FOLDER`, with the folder of CIFAR-10's binary files (data_batch_1.bin, ...,
//! test_batch.bin). Without one it takes the 128 images of the repository, to see that it runs.

#[path = "common/resnet20_weights.rs"]
mod resnet20_weights;

use anyhow::Result;
use clap::Parser;
use std::path::PathBuf;
use striate::data::{CIFAR10_DEVIATION, CIFAR10_MEAN, Dataset, cifar10};
use striate::nn::Model;
use striate::train::{Fit, Progress, Schedule, Sgd};
use striate::{Device, Seed, zoo};

/// Trains ResNet-20 on CIFAR-10.
#[derive(Parser)]
struct Args {
    /// Folder with CIFAR-10's binary files, or with sheets of PNG.
    #[arg(long, default_value = "examples/data/cifar10")]
    data: PathBuf,
    /// cpu, gpu, or a part of a GPU's name.
    #[arg(long)]
    device: Option<String>,
    #[arg(long, default_value_t = 10)]
    epochs: usize,
    #[arg(long, default_value_t = 128)]
    batch: usize,
    /// The run of tests/goldens/resnet20.py, to compare with PyTorch: its initial weights, its order of images, 3 epochs on the first 10,000.
    #[arg(long)]
    as_pytorch: bool,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let device = match &args.device {
        Some(name) => Device::named(name)?,
        None => Device::best()?,
    };
    let (train, test) = cifar10(&args.data)?;
    let mut model = zoo::resnet20([32, 32, 3], 10).build(&device, Seed(1))?;
    let sgd = Sgd::new(0.05).momentum(0.9).weight_decay(1e-4);
    if args.as_pytorch {
        return as_pytorch(&mut model, &normalized(train.take(train.len().min(10_000))?)?, sgd);
    }
    println!("{}", model.summary());
    let fit = Fit::epochs(args.epochs).batch(args.batch).optimizer(sgd.weight_decay(5e-4)).decay_weights_only();
    let fit = fit.schedule(Schedule::Cosine { last: 0.0 }.warm_up(100)).validate(&normalized(test)?);
    model.fit(&normalized(train)?, fit)?;
    Ok(())
}

fn normalized(data: Dataset) -> striate::Result<Dataset> {
    data.normalized(1.0 / CIFAR10_DEVIATION, -CIFAR10_MEAN / CIFAR10_DEVIATION)
}

fn as_pytorch(model: &mut Model, train: &Dataset, sgd: Sgd) -> Result<()> {
    resnet20_weights::set_weights(model)?;
    let fit = Fit::epochs(3).batch(128).shuffle(false).optimizer(sgd).step_losses().progress(Progress::Lines);
    let history = model.fit(train, fit)?;
    println!("first 50 losses: {:?}", &history.step_losses[..history.step_losses.len().min(50)]);
    println!("mean loss of each epoch: {:?}", history.epochs.iter().map(|e| e.loss).collect::<Vec<_>>());
    Ok(())
}
