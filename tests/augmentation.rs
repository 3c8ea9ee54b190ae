//! Training on pictures that are changed at random: the same bits each time, the same numbers on both devices, and what mistakes are answered with.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // Tests may stop at what they don't expect.

mod common;

use common::devices;
use striate::data::Dataset;
use striate::nn::{Model, Sequential};
use striate::random::Stream;
use striate::train::{Augmentation, BinaryCrossEntropy, Border, Fit, History, MeanSquaredError, Progress, Sgd};
use striate::{Device, Seed, Tensor};

/// Pictures of bytes, of which the brighter half is class 1.
fn pictures(n: usize, [h, w, c]: [usize; 3]) -> Dataset {
    let mut random = Stream::new(Seed(5), 0);
    let mut bytes = Vec::new();
    let labels: Vec<u32> = (0..n as u32).map(|i| i % 2).collect();
    for &label in &labels {
        bytes.extend((0..h * w * c).map(|_| (100 * label + random.below(120)) as u8));
    }
    Dataset::new(Tensor::u8([n, h, w, c], bytes).unwrap(), labels, 2).unwrap()
}

fn net([h, w, c]: [usize; 3], outputs: usize, device: &Device) -> Model {
    Sequential::new([h, w, c]).conv2d(4, 3).relu().max_pool2d(2).flatten().dense(outputs).build(device, Seed(3)).unwrap()
}

fn everything() -> Augmentation {
    Augmentation::new()
        .flip_horizontal(0.5)
        .shift(0.1, 0.1)
        .rotate(20.0)
        .shear(5.0)
        .zoom(0.8, 1.2)
        .brightness(0.2)
        .contrast(0.2)
        .saturation(0.2)
        .hue(0.1)
        .noise(0.02)
        .cutout(0.5, 0.3)
}

fn fit(epochs: usize, augmentation: Augmentation) -> Fit {
    Fit::epochs(epochs).batch(8).optimizer(Sgd::new(0.05)).augment(augmentation).step_losses().progress(Progress::Silent)
}

fn trained(device: &Device, data: &Dataset, fit: Fit) -> (History, Vec<(String, Tensor)>) {
    let mut model = net(data.image_shape().dims().try_into().unwrap(), 2, device);
    let history = model.fit(data, fit).unwrap();
    (history, model.weights().unwrap())
}

#[test]
fn the_same_seed_gives_the_same_bits_and_devices_agree() {
    let data = pictures(20, [12, 12, 3]);
    let mut losses = Vec::new();
    for augmentation in [everything(), everything().mixup(0.4), everything().cutmix(1.0), everything().mixup(0.4).cutmix(1.0)] {
        for device in devices("augmentation") {
            let first = trained(&device, &data, fit(3, augmentation.clone()));
            let again = trained(&device, &data, fit(3, augmentation.clone()));
            assert_eq!((&first.0.step_losses, &first.1), (&again.0.step_losses, &again.1), "{device}");
            assert!(first.0.step_losses.iter().all(|loss| loss.is_finite()));
            losses.push(first.0.step_losses);
        }
    }
    let plain = trained(&Device::cpu(), &data, fit(3, Augmentation::new())).0.step_losses;
    assert_ne!(plain, losses[0]);
    // Each step of training multiplies the roundings of the last.
    for pair in losses.chunks_exact(2) {
        for (step, (cpu, gpu)) in pair[0].iter().zip(&pair[1]).enumerate() {
            assert!((cpu - gpu).abs() <= 1e-4 * cpu.abs().max(1.0), "step {step}: {cpu} {gpu}");
        }
    }
}

#[test]
fn nothing_asked_for_is_training_as_ever() {
    let data = pictures(20, [8, 8, 1]);
    let with = trained(&Device::cpu(), &data, fit(2, Augmentation::new())).0.step_losses;
    let silent = Fit::epochs(2).batch(8).optimizer(Sgd::new(0.05)).step_losses().progress(Progress::Silent);
    let without = trained(&Device::cpu(), &data, silent).0.step_losses;
    for (with, without) in with.iter().zip(&without) {
        assert!((with - without).abs() < 1e-5, "{with} {without}");
    }
}

#[test]
fn crops_are_what_the_network_takes() {
    let (large, small) = (pictures(24, [16, 14, 3]), pictures(8, [8, 8, 3]));
    for augmentation in
        [Augmentation::new().crop(8, 8, 1), Augmentation::new().resized_crop(8, 8, [0.2, 1.0], [0.75, 1.33]).border(Border::Edge)]
    {
        let mut model = net([8, 8, 3], 2, &Device::cpu());
        let history = model.fit(&large, fit(20, augmentation).validate(&small)).unwrap();
        assert!(history.epochs[19].val_accuracy.unwrap() > 0.9, "{:?}", history.epochs[19]);
        let error = model.fit(&large, fit(1, Augmentation::new())).unwrap_err().to_string();
        assert!(error.contains("[16, 14, 3]") && error.contains("[8, 8, 3]"), "{error}");
        let error = model.fit(&large, fit(1, Augmentation::new().crop(9, 8, 0))).unwrap_err().to_string();
        assert!(error.contains("[9, 8, 3], made of [16, 14, 3]"), "{error}");
    }
}

/// Mixed classes are learnt, by losses of classes and of numbers, with one output for two classes too.
#[test]
fn mixtures_are_learnt() {
    let data = pictures(64, [8, 8, 1]);
    for augmentation in [Augmentation::new().mixup(0.2), Augmentation::new().cutmix(1.0)] {
        let mut model = net([8, 8, 1], 2, &Device::cpu());
        let history = model.fit(&data, fit(25, augmentation.clone())).unwrap();
        assert!(model.evaluate(&data).unwrap().accuracy > 0.95);
        assert!(history.epochs[24].accuracy > 0.7, "{:?}", history.epochs[24]);
        let mut model = net([8, 8, 1], 1, &Device::cpu());
        let history = model.fit(&data, fit(25, augmentation.clone()).loss(BinaryCrossEntropy::default())).unwrap();
        assert!(model.evaluate_with(&data, &BinaryCrossEntropy::default()).unwrap().accuracy > 0.95);
        assert!(history.epochs[24].accuracy > 0.7, "{:?}", history.epochs[24]);
    }
    // Numbers are mixed as they are.
    let values = Tensor::f32([64, 1], data.labels().iter().map(|&l| l as f32).collect()).unwrap();
    let numbers = Dataset::with_values(data.images().unwrap().clone(), values).unwrap();
    let mut model = net([8, 8, 1], 1, &Device::cpu());
    let history = model.fit(&numbers, fit(25, Augmentation::new().mixup(0.2)).loss(MeanSquaredError)).unwrap();
    assert!(history.epochs[24].loss < history.epochs[0].loss && history.epochs[24].accuracy.is_nan());
}

#[test]
fn a_nan_is_found_in_changed_pictures() {
    let data = pictures(16, [8, 8, 3]);
    let mut model = net([8, 8, 3], 2, &Device::cpu());
    let error = model.fit(&data, fit(20, everything()).optimizer(Sgd::new(1e30))).unwrap_err().to_string();
    assert!(error.contains("conv2d") || error.contains("dense"), "{error}");
}

#[test]
fn mistakes_are_named() {
    let data = pictures(8, [8, 8, 1]);
    let error =
        |data: &Dataset, augmentation| net([8, 8, 1], 2, &Device::cpu()).fit(data, fit(1, augmentation)).unwrap_err().to_string();
    let wrong = error(&data, Augmentation::new().saturation(0.5));
    assert!(wrong.contains("augmentation") && wrong.contains("pictures of 1 channels"), "{wrong}");
    let wrong = error(&data, Augmentation::new().rotate(-3.0));
    assert!(wrong.contains("rotation: got -3"), "{wrong}");
    let maps = Tensor::u32([8, 8, 8], vec![0; 512]).unwrap();
    let maps = Dataset::with_maps(data.images().unwrap().clone(), maps, 2, None).unwrap();
    let mut model = Sequential::new([8, 8, 1]).conv2d(2, 1).build(&Device::cpu(), Seed(1)).unwrap();
    let wrong = model.fit(&maps, fit(1, Augmentation::new().flip_vertical(0.5))).unwrap_err().to_string();
    assert!(wrong.contains("a class a pixel"), "{wrong}");
    assert!(model.fit(&maps, fit(1, Augmentation::new().brightness(0.3))).is_ok());
}
