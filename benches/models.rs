//! Whole networks: training steps and predictions.
//!
//!     cargo bench --bench models -- --device cpu train/das
//!     cargo bench --bench models -- --device gpu --json models.jsonl
//!
//! `train` is an epoch of `fit` on random images, over its steps: the batch is gathered, forward, backward, update, metrics. `predict` is
//! a call of `Model::predict`: images go to the device and outputs come back.

mod common;

use common::{Case, Unit};
use std::time::{Duration, Instant};
use striate::Result;
use striate::data::Dataset;
use striate::device::Device;
use striate::nn::{Conv2d, Model, Sequential};
use striate::op::sample;
use striate::random::{Seed, Stream};
use striate::tensor::Tensor;
use striate::train::{Fit, Progress};

type Build = fn(&Device) -> Result<Model>;

fn main() -> anyhow::Result<()> {
    let mut cases = Vec::new();
    for batch in [1, 8, 32, 128, 512] {
        cases.push(train("das", das, batch));
    }
    cases.push(train("kth", kth, 100));
    for batch in [1, 8, 32, 128] {
        cases.push(predict("das", das, batch));
    }
    common::run("models", Unit { name: "images/s", size: 1.0 }, cases)
}

/// Two convolutions, one pooling, two dropouts: 1,199,882 parameters.
fn das(device: &Device) -> Result<Model> {
    Sequential::new([28, 28, 1])
        .conv2d(32, 3)
        .relu()
        .conv2d(64, 3)
        .relu()
        .max_pool2d(2)
        .dropout(0.25)
        .flatten()
        .dense(128)
        .relu()
        .dropout(0.5)
        .dense(10)
        .build(device, Seed(1))
}

/// Two 5 x 5 convolutions and a wide dense layer: 3,274,634 parameters.
fn kth(device: &Device) -> Result<Model> {
    Sequential::new([28, 28, 1])
        .layer(Conv2d::new(32, 5).same())
        .relu()
        .max_pool2d(2)
        .layer(Conv2d::new(64, 5).same())
        .relu()
        .max_pool2d(2)
        .flatten()
        .dense(1024)
        .relu()
        .dropout(0.4)
        .dense(10)
        .build(device, Seed(1))
}

fn train(name: &str, build: Build, batch: usize) -> Case {
    Case::new(format!("train/{name}/batch_{batch}"), batch as u64, move |device| {
        let mut model = build(device)?;
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

fn predict(name: &str, build: Build, batch: usize) -> Case {
    Case::new(format!("predict/{name}/batch_{batch}"), batch as u64, move |device| {
        let mut model = build(device)?;
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
