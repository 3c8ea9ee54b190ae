//! Samples that threads read ahead: the same bits with any number of them, and an end to every mistake.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // Tests may stop at what they don't expect.

mod common;

use common::devices;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use striate::data::{Dataset, LazyImages};
use striate::error::{Error, Result};
use striate::nn::{Model, Sequential};
use striate::random::Stream;
use striate::train::{Fit, MeanSquaredError, Metric, Progress, Sgd, SoftmaxCrossEntropy};
use striate::{Device, Seed, Tensor};

const SHAPE: [usize; 3] = [6, 5, 3];
const LEN: usize = 6 * 5 * 3;

/// What a made-up image does when it is read.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Broken {
    Error,
    Panic,
    Short,
}

/// Images made of their number, slowly and in no steady time, some of them broken.
#[derive(Debug)]
struct Made {
    broken: Vec<(usize, Broken)>,
    reads: Arc<AtomicUsize>,
    micros: u64,
}

impl Made {
    fn new(broken: &[(usize, Broken)]) -> Made {
        Made { broken: broken.to_vec(), reads: Arc::default(), micros: 0 }
    }
}

fn pixels(i: usize) -> Vec<u8> {
    let mut random = Stream::new(Seed(11), i as u32);
    (0..LEN).map(|_| random.next_u32() as u8).collect()
}

impl LazyImages for Made {
    fn read(&self, i: usize) -> Result<Vec<u8>> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        std::thread::sleep(Duration::from_micros(self.micros * (i as u64 * 7 % 5)));
        match self.broken.iter().find(|(broken, _)| *broken == i) {
            None => Ok(pixels(i)),
            Some((_, Broken::Error)) => Err(Error::invalid("pixels", "none", "some")),
            Some((_, Broken::Panic)) => panic!("a decoder's own panic"),
            Some((_, Broken::Short)) => Ok(vec![0; 3]),
        }
    }

    fn name(&self, i: usize) -> String {
        format!("image {i}")
    }
}

const N: usize = 45;
const CLASSES: usize = 3;

fn labels() -> Vec<u32> {
    (0..N as u32).map(|i| i % CLASSES as u32).collect()
}

fn lazy(made: Made) -> Dataset {
    Dataset::lazy(made, SHAPE, labels(), CLASSES).unwrap()
}

fn model(device: &Device) -> Model {
    Sequential::new(SHAPE).conv2d(4, 3).relu().flatten().dropout(0.2).dense(CLASSES).build(device, Seed(3)).unwrap()
}

fn fit() -> Fit {
    Fit::epochs(2).batch(8).optimizer(Sgd::new(0.05)).step_losses().progress(Progress::Silent)
}

/// Losses of two epochs and the weights after them.
fn trained(device: &Device, data: &Dataset, fit: Fit) -> (Vec<f32>, Vec<(String, Tensor)>) {
    let mut model = model(device);
    let losses = model.fit(data, fit).unwrap().step_losses;
    (losses, model.weights().unwrap())
}

#[test]
fn same_bits_with_any_number_of_threads() {
    let broken = [(4, Broken::Error), (13, Broken::Panic), (16, Broken::Short), (44, Broken::Error)];
    for device in devices("same_bits_with_any_number_of_threads") {
        let data = lazy(Made { micros: 300, ..Made::new(&broken) });
        let want = trained(&device, &data.load().unwrap(), fit());
        assert_eq!(want.0.len(), 12);
        for threads in [0, 1, 2, 8] {
            let data = lazy(Made { micros: 300, ..Made::new(&broken) });
            let train = |data: &Dataset| trained(&device, data, fit().loader_threads(threads));
            assert_eq!(train(&data), want, "{threads} threads on {device}");
            assert_eq!(train(&data.clone().cached(usize::MAX)), want);
            assert_eq!(train(&data.cached(20 * LEN)), want);
        }
    }
}

#[test]
fn the_next_image_of_the_class_takes_a_broken_ones_place() {
    // 43 is followed by 44, 0 and 1, of which 1 is the next of its class.
    let data = lazy(Made::new(&[(43, Broken::Error), (4, Broken::Panic), (7, Broken::Short)]));
    let images = data.load().unwrap();
    let row = |i: usize| images.images().unwrap().as_u8().unwrap()[i * LEN..][..LEN].to_vec();
    assert_eq!([row(43), row(4), row(7), row(0)], [pixels(1), pixels(10), pixels(10), pixels(0)]);
    let names: Vec<String> = data.unreadable().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["image 4", "image 7", "image 43"]);
    // A part knows its own samples only: of another part, none may come in.
    let part = data.select(&[43, 2, 40]).unwrap();
    assert_eq!(part.raw_images(&[0]).unwrap().as_u8().unwrap(), pixels(40));
    assert!(data.select(&[43, 2]).unwrap().raw_images(&[0]).is_err());
}

#[test]
fn lazy_images_are_those_in_memory_for_everything() {
    for device in devices("lazy_images_are_those_in_memory_for_everything") {
        for normalised in [false, true] {
            let normalise = |data: Dataset| match normalised {
                true => data.normalized_channels(&[0.4, 0.5, 0.6], &[0.2, 0.3, 0.25]).unwrap(),
                false => data,
            };
            let (in_files, in_memory) = (normalise(lazy(Made::new(&[]))), normalise(lazy(Made::new(&[])).load().unwrap()));
            assert_eq!(trained(&device, &in_files, fit()), trained(&device, &in_memory, fit()), "{device}");
            let mut model = model(&device);
            let y = model.predict_dataset(&in_memory).unwrap();
            assert_eq!(model.predict_dataset(&in_files).unwrap(), y);
            let all: Vec<u32> = (0..N as u32).collect();
            let x = Tensor::f32([N, 6, 5, 3], in_memory.batch_images(&all).unwrap()).unwrap();
            for (a, b) in model.predict(&x).unwrap().as_f32().unwrap().iter().zip(y.as_f32().unwrap()) {
                assert!((a - b).abs() <= 1e-5 * b.abs().max(1.0), "{a} {b}");
            }
            let mut score = |data: &Dataset| {
                model.evaluate_metrics(data, &SoftmaxCrossEntropy::default(), &[Metric::TopK(2), Metric::Confusion]).unwrap()
            };
            assert_eq!(score(&in_files), score(&in_memory));
            let fit = || fit().validate(&in_files);
            assert_eq!(trained(&device, &in_memory, fit()), trained(&device, &in_files, fit()));
        }
    }
}

#[test]
fn what_is_kept_is_not_read_again() {
    let device = Device::cpu();
    let reads = |cached: usize| {
        let made = Made::new(&[(5, Broken::Error)]);
        let reads = made.reads.clone();
        let data = lazy(made).cached(cached);
        trained(&device, &data, fit().loader_threads(2));
        reads.load(Ordering::Relaxed)
    };
    // Each sample twice; the broken one is read once, then its stand-in is.
    assert_eq!(reads(0), 2 * N + 1);
    // Two threads may read the same image at once, one of them as a stand-in.
    assert!((N..=N + 1).contains(&reads(44 * LEN)));
    let some = reads(20 * LEN + 7);
    assert!((2 * N + 1 - 22..=2 * N + 1 - 20).contains(&some), "{some}");
}

#[test]
fn errors_end_training_and_threads() {
    // No image of class 1 can be read.
    let broken: Vec<_> =
        (0..N).filter(|i| i % CLASSES == 1).map(|i| (i, if i % 2 == 0 { Broken::Error } else { Broken::Panic })).collect();
    for threads in [0, 1, 8] {
        let data = lazy(Made::new(&broken));
        let mut model = model(&Device::cpu());
        let error = model.fit(&data, fit().loader_threads(threads)).unwrap_err().to_string();
        assert!(error.contains("image ") || error.contains("pixels"), "{error}");
        assert!(model.evaluate(&data).is_err() && model.predict_dataset(&data).is_err());
    }
    // A run that is stopped doesn't wait for what it had asked for.
    let data = lazy(Made { micros: 2_000, ..Made::new(&[]) });
    let stop = Arc::new(AtomicBool::new(true));
    let start = Instant::now();
    let history =
        model(&Device::cpu()).fit(&data, Fit::epochs(1000).batch(8).progress(Progress::Silent).stop_flag(stop)).unwrap();
    assert!(history.stopped && start.elapsed() < Duration::from_secs(20));
}

#[test]
fn each_samples_loss_is_multiplied_by_its_weight() {
    let weights: Vec<f32> = (0..N).map(|i| [0.0, 0.5, 1.0, 3.0][i % 4]).collect();
    for device in devices("each_samples_loss_is_multiplied_by_its_weight") {
        let data = lazy(Made::new(&[]));
        for data in [data.load().unwrap(), data] {
            let mut model = model(&device);
            let loss_of = |model: &mut Model, i: usize| model.evaluate(&data.select(&[i as u32]).unwrap()).unwrap().loss;
            let each: Vec<f64> = (0..N).map(|i| loss_of(&mut model, i)).collect();
            let mean = |range: std::ops::Range<usize>| {
                let sum: f64 = range.clone().map(|i| f64::from(weights[i]) * each[i]).sum();
                sum / range.len() as f64
            };
            let weighted = data.clone().weighted(weights.clone()).unwrap();
            let score = model.evaluate(&weighted).unwrap();
            assert!((score.loss - mean(0..N)).abs() < 1e-5, "{} {}", score.loss, mean(0..N));
            assert_eq!(score.accuracy, model.evaluate(&data).unwrap().accuracy);
            // The first step's loss, before any update; without dropout.
            let plain = || Sequential::new(SHAPE).conv2d(4, 3).relu().flatten().dense(CLASSES);
            let mut model = plain().build(&device, Seed(3)).unwrap();
            let fit = || fit().shuffle(false);
            let first = model.fit(&weighted, fit()).unwrap().step_losses[0];
            assert!((f64::from(first) - mean(0..8)).abs() < 1e-5, "{first} {}", mean(0..8));
            // Samples that weigh nothing change nothing.
            let mut model = plain().build(&device, Seed(3)).unwrap();
            let before = model.weights().unwrap();
            model.fit(&data.clone().weighted(vec![0.0; N]).unwrap(), fit()).unwrap();
            assert_eq!(model.weights().unwrap(), before);
            let ones = data.clone().weighted(vec![1.0; N]).unwrap();
            assert_eq!(trained(&device, &ones, fit()), trained(&device, &data, fit()));
        }
    }
    let data = lazy(Made::new(&[]));
    assert_eq!(data.clone().weighted(weights.clone()).unwrap().select(&[3, 1]).unwrap().weights(), Some(&[3.0, 0.5][..]));
    assert!(data.clone().weighted(vec![1.0; 3]).unwrap_err().to_string().contains("sample weights: got 3"));
    for bad in [-1.0, f32::NAN, f32::INFINITY] {
        let mut weights = weights.clone();
        weights[7] = bad;
        assert!(data.clone().weighted(weights).unwrap_err().to_string().contains("weight of sample 7"));
    }
    // Numbers have weights too.
    let values = Tensor::f32([N, 1], (0..N).map(|i| i as f32).collect()).unwrap();
    let data = Dataset::with_values(lazy(Made::new(&[])).load().unwrap().images().unwrap().clone(), values).unwrap();
    let mut model = Sequential::new(SHAPE).flatten().dense(1).build(&Device::cpu(), Seed(1)).unwrap();
    let double = model.evaluate_with(&data.clone().weighted(vec![2.0; N]).unwrap(), &MeanSquaredError).unwrap().loss;
    let single = model.evaluate_with(&data, &MeanSquaredError).unwrap().loss;
    assert!((double - 2.0 * single).abs() < 1e-6 * double);
}

#[test]
fn channels_have_normalisations_of_their_own() {
    let data = lazy(Made::new(&[]));
    let (means, deviations) = data.channel_statistics().unwrap();
    let normalised = data.clone().normalized_channels(&means, &deviations).unwrap();
    let all: Vec<u32> = (0..N as u32).collect();
    let (raw, seen) = (data.raw_images(&all).unwrap(), normalised.batch_images(&all).unwrap());
    for (i, (&raw, &seen)) in raw.as_u8().unwrap().iter().zip(&seen).enumerate() {
        let want = (f64::from(raw) / 255.0 - f64::from(means[i % 3])) / f64::from(deviations[i % 3]);
        assert!((f64::from(seen) - want).abs() < 1e-5);
    }
    // The same numbers for all channels are one scale and one offset.
    let same = data.clone().normalized_channels(&[0.5; 3], &[0.25; 3]).unwrap();
    let one = data.clone().normalized(4.0 / 255.0, -2.0).unwrap();
    assert_eq!((same.scale(), same.offset()), (one.scale(), one.offset()));
    assert!(data.clone().normalized_channels(&[0.5], &[0.25; 3]).unwrap_err().to_string().contains("number of means: got 1"));
    for (mean, deviation) in
        [(f32::NAN, 1.0), (0.0, 0.0), (0.0, -1.0), (0.0, f32::NAN), (0.0, f32::INFINITY), (f32::INFINITY, 1.0)]
    {
        assert!(data.clone().normalized_channels(&[mean; 3], &[deviation; 3]).is_err(), "{mean} {deviation}");
    }
    let named = data.clone().named_classes(["a", "b", "c"]).unwrap();
    assert_eq!(named.select(&[1]).unwrap().class_names(), ["a", "b", "c"]);
    assert!(data.named_classes(["a"]).is_err());
}

#[test]
fn bad_lazy_sets_are_refused() {
    let error = |shape, labels: Vec<u32>, classes| Dataset::lazy(Made::new(&[]), shape, labels, classes).unwrap_err().to_string();
    assert!(error(SHAPE, vec![], 2).contains("number of labels: got 0"));
    assert!(error(SHAPE, vec![0, 5], 2).contains("label of sample 1: got 5"));
    assert!(error(SHAPE, vec![0], 0).contains("number of classes"));
    assert!(error([0, 5, 3], vec![0], 1).contains("no dimension of 0"));
    let data = lazy(Made::new(&[]));
    assert!(data.raw_images(&[0, N as u32]).unwrap_err().to_string().contains("index 1 of the batch"));
}
