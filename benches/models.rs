//! Whole networks: training steps and predictions.
//!
//!     cargo bench --bench models -- --device cpu train/das
//!     cargo bench --bench models -- --device gpu --json models.jsonl
//!
//! `train` is an epoch of `fit` on random images, over its steps: the batch is gathered, forward, backward, update, metrics. `predict` is
//! a call of `Model::predict`: images go to the device and outputs come back.

mod common;
#[path = "../examples/common/networks.rs"]
mod networks;

use common::{Case, Unit};
use networks::{AnyNetwork, Network, Zoo};
use std::time::{Duration, Instant};
use striate::data::Dataset;
use striate::nn::Model;
use striate::op::sample;
use striate::random::{Seed, Stream};
use striate::tensor::Tensor;
use striate::train::{Fit, Progress};

fn main() -> anyhow::Result<()> {
    let mut cases = Vec::new();
    for batch in [1, 8, 32, 128, 512] {
        cases.push(train(AnyNetwork::Mnist(Network::Das), batch));
    }
    cases.push(train(AnyNetwork::Mnist(Network::Kth), 100));
    for batch in [1, 8, 32, 128, 512] {
        cases.push(predict(AnyNetwork::Mnist(Network::Das), batch));
    }
    for network in [Zoo::Resnet18, Zoo::MobilenetV2, Zoo::Vgg16] {
        cases.push(predict(AnyNetwork::Zoo(network), 1));
    }
    for batch in [8, 32, 128, 512] {
        cases.push(predict(AnyNetwork::Zoo(Zoo::Resnet18), batch));
    }
    for (network, batch) in [(Zoo::Resnet18, 8), (Zoo::Resnet18, 64), (Zoo::Resnet50, 64)] {
        cases.push(train(AnyNetwork::Zoo(network), batch));
    }
    common::run("models", Unit { name: "images/s", size: 1.0 }, cases)
}

fn train(network: AnyNetwork, batch: usize) -> Case {
    Case::new(format!("train/{}/batch_{batch}", network.name()), batch as u64, move |device| {
        let mut model = network.build(device)?;
        // An epoch has some steps more than a device has in flight.
        let n_batches = (4096 / batch).clamp(4, 16);
        let data = random_data(&model, n_batches * batch)?;
        let fit = move |epochs| Fit::epochs(epochs).batch(batch).progress(Progress::Silent);
        Ok(Box::new(move |iterations: u64| {
            let epochs = (iterations as usize).div_ceil(n_batches);
            let history = model.fit(&data, fit(epochs))?;
            let seconds: f64 = history.epochs.iter().map(|e| e.seconds).sum();
            Ok(Duration::from_secs_f64(seconds / history.steps as f64 * iterations as f64))
        }))
    })
}

fn predict(network: AnyNetwork, batch: usize) -> Case {
    Case::new(format!("predict/{}/batch_{batch}", network.name()), batch as u64, move |device| {
        let mut model = network.build(device)?;
        let images = sample::normal(1, model.input_shape().with_batch(batch));
        Ok(Box::new(move |iterations: u64| {
            let start = Instant::now();
            for _ in 0..iterations {
                model.predict(&images)?;
            }
            Ok(start.elapsed())
        }))
    })
}

/// Random pixels and classes.
fn random_data(model: &Model, n: usize) -> anyhow::Result<Dataset> {
    let mut random = Stream::new(Seed(2), 0);
    let shape = model.input_shape().with_batch(n);
    let classes = model.output_shape().elements() as u32;
    let pixels = (0..shape.elements()).map(|_| random.below(256) as u8).collect();
    let labels = (0..n).map(|_| random.below(classes)).collect();
    Ok(Dataset::new(Tensor::u8(shape, pixels)?, labels, classes as usize)?)
}
