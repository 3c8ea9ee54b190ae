//! ResNet-20 on CIFAR-10: 50 losses against PyTorch's (tests/goldens/resnet20.py).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // Tests may stop at what they don't expect.

#[path = "../examples/common/resnet20_weights.rs"]
mod resnet20_weights;

use serde_json::Value as Json;
use striate::data::{CIFAR10_DEVIATION, CIFAR10_MEAN, cifar10};
use striate::train::{Fit, Progress, Sgd};
use striate::{Device, Seed, zoo};

#[test]
fn fifty_losses() {
    let json: Json = serde_json::from_str(include_str!("goldens/resnet20.json")).unwrap();
    let numbers = |key: &str| json[key].as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect::<Vec<_>>();
    let (want, apart) = (numbers("losses"), numbers("float32_apart"));
    let (train, _) = cifar10(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data/cifar10")).unwrap();
    let train = train.normalized(1.0 / CIFAR10_DEVIATION, -CIFAR10_MEAN / CIFAR10_DEVIATION).unwrap();
    let mut model = zoo::resnet20([32, 32, 3], 10).build(&Device::cpu(), Seed(0)).unwrap();
    resnet20_weights::set_weights(&mut model).unwrap();
    let sgd = Sgd::new(0.001).momentum(0.9).weight_decay(1e-4);
    let fit = Fit::epochs(7).batch(16).shuffle(false).optimizer(sgd).step_losses().progress(Progress::Silent);
    let got = model.fit(&train, fit).unwrap().step_losses;
    assert_eq!((want.len(), got.len()), (50, 56));
    // What roundings leave grows from step to step. PyTorch's own losses in single precision say how far they come; another order of sums
    // gives other roundings, of the same size.
    let (mut reach, mut worst): (f64, f64) = (0.0, 0.0);
    for (step, (got, want)) in got.iter().zip(&want).enumerate() {
        reach = reach.max(apart[step]);
        let error = (f64::from(*got) - want).abs() / want;
        worst = worst.max(error / (10.0 * reach + 1e-6));
        assert!(error <= 10.0 * reach + 1e-6, "step {step}: {got}, want {want}, {error:.1e} apart");
    }
    println!("at most {worst:.2} of the tolerance");
}
