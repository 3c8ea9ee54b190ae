//! Networks with matrices larger than a binding: AlexNet's first dense layer has 144 MiB, VGG-16's 392 MiB, where WebGPU's default is 128.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // Tests may stop at what they don't expect.

mod common;

use striate::data::Dataset;
use striate::device::GpuOptions;
use striate::nn::Net;
use striate::op::sample;
use striate::train::{Fit, Progress, Sgd};
use striate::{Device, Seed, zoo};

fn default_limits() -> Option<Device> {
    let device = common::gpu("networks at 128 MiB a binding", GpuOptions { default_limits: true, ..GpuOptions::default() })?;
    assert_eq!(device.profile().unwrap().max_binding_bytes, 128 << 20);
    Some(device)
}

#[test]
fn they_can_be_planned() {
    let Some(device) = default_limits() else { return };
    for (net, parameters) in [(zoo::alexnet([224, 224, 3], 1000), 61_100_840), (zoo::vgg16([224, 224, 3], 1000), 138_357_544)] {
        for fit in [Fit::epochs(1).batch(8), Fit::epochs(1).batch(8).optimizer(Sgd::new(0.01))] {
            let summary = net.summary_for(&device, &fit).unwrap();
            let (batch, memory) = summary.training.unwrap();
            assert_eq!((batch, summary.trainable), (8, parameters));
            assert!(memory.states > 4 * parameters as u64, "{memory:?}");
        }
    }
}

#[test]
fn they_train_a_step() {
    let Some(device) = default_limits() else { return };
    let data = Dataset::new(sample::normal(1, [2, 64, 64, 3]), vec![0, 1], 4).unwrap();
    let step = |net: Net| {
        let mut model = net.build(&device, Seed(1)).unwrap();
        let fit = Fit::epochs(1).batch(2).optimizer(Sgd::new(1e-3)).progress(Progress::Silent);
        let history = model.fit(&data, fit).unwrap();
        assert!(history.epochs[0].loss.is_finite());
    };
    step(zoo::alexnet([64, 64, 3], 4));
    step(zoo::vgg16([64, 64, 3], 4));
}
