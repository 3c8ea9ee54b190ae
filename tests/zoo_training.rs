//! Networks of the zoo in training, at small sizes: finite losses that fall on a batch seen again and again, and no parameter left out. Dropout
//! is, which makes losses of few samples jump.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // Tests may stop at what they don't expect.

mod common;

use striate::data::Dataset;
use striate::nn::Net;
use striate::op::sample;
use striate::random::pcg4d;
use striate::train::{Adam, Fit, Progress};
use striate::{Device, Seed, Tensor, zoo};

/// Four images and a class for each, of a size whose last maps have four pixels: of two numbers a batch norm makes 1 and -1, whatever they are,
/// so that losses jump.
fn images(size: usize) -> Dataset {
    Dataset::new(sample::normal(1, [4, size, size, 3]), vec![0, 3, 1, 2], 4).unwrap()
}

/// The network up to this layer, the one before its dropout, and the classifier.
fn without_dropout(net: &Net, last: &str) -> Net {
    net.up_to(last).unwrap().dense(4)
}

/// Trains four steps on all samples of `data`.
fn learns(net: &Net, data: &Dataset, device: &Device) {
    let steps = 4;
    let mut model = net.build(device, Seed(1)).unwrap();
    let before = model.weights().unwrap();
    let fit = Fit::epochs(steps).batch(data.len()).optimizer(Adam::new(1e-4)).step_losses().progress(Progress::Silent);
    let losses = model.fit(data, fit).unwrap().step_losses;
    println!("{device}: {losses:?}");
    assert_eq!(losses.len(), steps);
    assert!(losses.iter().all(|loss| loss.is_finite()), "{losses:?}");
    assert!(losses[steps - 1] < 0.9 * losses[0], "{losses:?}");
    for ((name, before), (_, after)) in before.iter().zip(model.weights().unwrap()) {
        assert!(before.as_f32().unwrap() != after.as_f32().unwrap(), "{name} is as it was");
    }
}

#[test]
fn mobilenet_v3() {
    let net = without_dropout(&zoo::mobilenet_v3_small([64, 64, 3], 4), "classifier.hard_swish");
    learns(&net, &images(64), &Device::cpu());
}

#[test]
fn efficientnet_lite0() {
    let net = without_dropout(&zoo::efficientnet_lite0([64, 64, 3], 4), "classifier.global_avg_pool2d");
    learns(&net, &images(64), &Device::cpu());
}

#[test]
fn inception_v3() {
    let net = without_dropout(&zoo::inception_v3([107, 107, 3], 4), "global_avg_pool2d");
    learns(&net, &images(107), &Device::cpu());
}

#[test]
fn unet() {
    let maps = (0..2 * 32 * 32).map(|i| pcg4d([i, 0, 0, 0])[0] % 3).collect();
    let maps = Tensor::u32([2, 32, 32], maps).unwrap();
    let data = Dataset::with_maps(sample::normal(1, [2, 32, 32, 3]), maps, 3, None).unwrap();
    for device in common::devices("U-Net in training") {
        learns(&zoo::unet([32, 32, 3], 3), &data, &device);
    }
}
