//! The history of convolutional networks as a table: `history`, `history -- --device gpu --batch 4`.
//!
//! Parameters, multiply-accumulates and depth are compared with what was published; the program fails if one differs.

#[macro_use]
mod common;

use anyhow::ensure;
use clap::Parser;
use std::collections::HashMap;
use std::time::Instant;
use striate::nn::{Net, Summary, grouped};
use striate::train::Fit;
use striate::{Device, Error, Seed, Tensor, zoo};

/// Prints networks from LeNet to ResNet: depth, parameters, work, memory of a training step, time of a prediction on this device.
#[derive(Parser)]
struct Arguments {
    /// `cpu`, `gpu`, or a part of a GPU's name [default: the best device]
    #[arg(long)]
    device: Option<String>,
    /// Images at once, for memory and time
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=256))]
    batch: u16,
    /// Leaves out the times, and with them all that takes long
    #[arg(long)]
    no_times: bool,
}

/// A network with what is known of it: layers with weights, one after the other; parameters that are trained; millions of multiply-accumulates
/// for an image.
struct Row {
    year: u16,
    name: &'static str,
    input: [usize; 3],
    net: Net,
    depth: usize,
    parameters: usize,
    millions: u64,
}

fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    let mut row = |year, name, input, net: fn([usize; 3], usize) -> Net, classes, depth, parameters, millions| {
        rows.push(Row { year, name, input, net: net(input, classes), depth, parameters, millions });
    };
    let (photo, n) = ([224, 224, 3], 1000);
    row(1998, "LeNet-5", [32, 32, 1], zoo::lenet5, 10, 5, 61_706, 0);
    row(2012, "AlexNet", photo, zoo::alexnet_2012, n, 8, 60_965_224, 724);
    row(2013, "ZFNet", photo, zoo::zfnet, n, 8, 62_357_608, 1168);
    row(2014, "VGG-16", photo, zoo::vgg16, n, 16, 138_357_544, 15_470);
    row(2014, "VGG-19", photo, zoo::vgg19, n, 19, 143_667_240, 19_632);
    row(2014, "GoogLeNet", photo, zoo::googlenet_2014, n, 22, 6_998_552, 1583);
    row(2015, "Inception v3", [299, 299, 3], zoo::inception_v3, n, 48, 23_834_568, 5713);
    row(2015, "ResNet-18", photo, zoo::resnet18, n, 18, 11_689_512, 1814);
    row(2015, "ResNet-50", photo, zoo::resnet50, n, 50, 25_557_032, 4089);
    row(2015, "ResNet-152", photo, zoo::resnet152, n, 152, 60_192_808, 11_514);
    rows
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    common::start_logging();
    let device = match &arguments.device {
        Some(name) => Device::named(name)?,
        None => Device::best()?,
    };
    let n = usize::from(arguments.batch);
    println!("Training memory and prediction time are for {n} images, on {device}.");
    println!();
    println!("{:<6}{:<14}{:>6}{:>14}{:>11}{:>13}{:>13}", "year", "network", "depth", "parameters", "MMACs", "memory", "time");
    println!("{}", "=".repeat(77));
    for row in rows() {
        let summary = row.net.summary()?;
        let (depth, millions) = (depth(&summary), (summary.macs() + 500_000) / 1_000_000);
        let (got, want) = ((depth, summary.trainable, millions), (row.depth, row.parameters, row.millions));
        ensure!(got == want, "{}: depth, parameters and millions of MACs are {got:?}, published are {want:?}", row.name);
        let memory = match row.net.summary_for(&device, &Fit::epochs(1).batch(n)) {
            Ok(Summary { training: Some((_, memory)), .. }) => format!("{:.0} MiB", memory.total() as f64 / f64::from(1 << 20)),
            Ok(_) | Err(Error::DoesNotFit { .. }) => "too much".to_string(),
            Err(e) => return Err(e.into()),
        };
        let time = match arguments.no_times {
            true => String::new(),
            false => format!("{:.1} ms", 1e3 * seconds(&row.net, &device, row.input, n)?),
        };
        let (parameters, mmacs) = (grouped(row.parameters as u64), summary.macs() as f64 / 1e6);
        println!("{:<6}{:<14}{depth:>6}{parameters:>14}{mmacs:>11.1}{memory:>13}{time:>13}", row.year, row.name);
    }
    Ok(())
}

/// Layers with a matrix or a kernel on the longest way through the network.
fn depth(summary: &Summary) -> usize {
    let mut depths: HashMap<&str, usize> = HashMap::new();
    let mut before = 0;
    for layer in &summary.layers {
        let of = |name: &String| depths.get(name.as_str()).copied().unwrap_or(0);
        let below = if layer.inputs.is_empty() { before } else { layer.inputs.iter().map(of).max().unwrap_or(0) };
        before = below + usize::from(layer.macs > 0 && layer.kind != "batch_norm");
        depths.insert(&layer.name, before);
    }
    before
}

/// The time of a prediction: the best of three, after one that makes the program.
fn seconds(net: &Net, device: &Device, [height, width, channels]: [usize; 3], n: usize) -> anyhow::Result<f64> {
    let mut model = net.build(device, Seed(1))?;
    let images = Tensor::f32([n, height, width, channels], vec![0.5; n * height * width * channels])?;
    model.predict(&images)?;
    let mut best = f64::INFINITY;
    for _ in 0..3 {
        let start = Instant::now();
        model.predict(&images)?;
        best = best.min(start.elapsed().as_secs_f64());
    }
    Ok(best)
}
