//! Does batch norm train as PyTorch's does, and is what it has seen used, kept and protected?
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // Tests may stop at what they don't expect.

mod common;

use common::devices;
use serde_json::Value as Json;
use striate::data::Dataset;
use striate::nn::{BatchNorm, Conv2d, Init, Layer, LayerContext, Mode, Model, Net};
use striate::op::{Value, sample};
use striate::ops::matmul::Matmul;
use striate::ops::scale::Scale;
use striate::tensor::{Padding, Shape};
use striate::train::{Adam, Fit, Progress, Sgd};
use striate::{Device, Error, Seed, Tensor};

fn conv_bn(x: &Net, filters: usize, kernel: usize, stride: usize) -> Net {
    let conv = Conv2d::new(filters, kernel).stride(stride).padding(Padding::all(kernel / 2)).no_bias();
    x.layer(conv).layer(BatchNorm::pytorch())
}

/// The network of `tests/goldens/residual.py`.
fn residual(input: [usize; 3], classes: usize) -> Net {
    let x = conv_bn(&Net::input(input).init(Init::HeNormal), 8, 3, 1).relu();
    let y = conv_bn(&conv_bn(&x, 12, 3, 2).relu(), 12, 3, 1);
    y.add(&conv_bn(&x, 12, 1, 2)).relu().global_avg_pool2d().dense(classes)
}

fn tensor(json: &Json) -> Tensor {
    let numbers = |key: &str| json[key].as_array().unwrap().iter().map(|v| v.as_f64().unwrap());
    let shape: Vec<usize> = numbers("shape").map(|d| d as usize).collect();
    Tensor::f32(Shape::from(shape), numbers("data").map(|v| v as f32).collect()).unwrap()
}

fn tensors(json: &Json) -> Vec<(String, Tensor)> {
    json.as_object().unwrap().iter().map(|(name, t)| (name.clone(), tensor(t))).collect()
}

fn assert_close(what: &str, got: &Tensor, want: &Tensor) {
    assert_eq!(got.shape(), want.shape(), "{what}");
    let largest = want.as_f32().unwrap().iter().fold(0.0f32, |m, x| m.max(x.abs()));
    for (g, w) in got.as_f32().unwrap().iter().zip(want.as_f32().unwrap()) {
        assert!((g - w).abs() <= 1e-4 * largest, "{what}: {g}, PyTorch {w}");
    }
}

/// One step of SGD and inference after it: with the same weights before, all weights and running statistics after it, and all outputs,
/// within 1e-4 of each tensor's largest value.
#[test]
fn a_step_agrees_with_pytorch() {
    let json: Json = serde_json::from_str(include_str!("goldens/residual.json")).unwrap();
    let x = tensor(&json["x"]);
    let labels: Vec<u32> = json["labels"].as_array().unwrap().iter().map(|l| l.as_u64().unwrap() as u32).collect();
    for device in devices("a_step_agrees_with_pytorch") {
        let mut model = residual([8, 7, 3], 5).build(&device, Seed(1)).unwrap();
        model.set_weights(&tensors(&json["parameters"])).unwrap();
        let data = Dataset::new(x.clone(), labels.clone(), 5).unwrap();
        let rate = json["rate"].as_f64().unwrap();
        let fit = Fit::epochs(1).batch(6).optimizer(Sgd::new(rate)).shuffle(false).step_losses().progress(Progress::Silent);
        let history = model.fit(&data, fit).unwrap();
        assert!((f64::from(history.step_losses[0]) - json["loss"].as_f64().unwrap()).abs() < 1e-5);
        let after = tensors(&json["after"]);
        let got = model.weights().unwrap();
        assert_eq!(got.len(), after.len());
        for ((name, got), (wanted, want)) in got.iter().zip(&after) {
            assert_eq!(name, wanted);
            assert_close(&format!("{name} on {device}"), got, want);
        }
        assert_close("inference", &model.predict(&x).unwrap(), &tensor(&json["inference"]));
    }
}

fn images(n: usize, classes: u32) -> Dataset {
    let x = sample::normal(5, [n, 8, 8, 3]);
    Dataset::new(x, sample::indices(6, n, classes).as_u32().unwrap().to_vec(), classes as usize).unwrap()
}

/// A batch-normed residual net learns images by heart, and predicts them so with its running statistics.
#[test]
fn a_residual_net_learns() {
    for device in devices("a_residual_net_learns") {
        let mut model = residual([8, 8, 3], 4).build(&device, Seed(3)).unwrap();
        let data = images(24, 4);
        let fit = Fit::epochs(60).batch(24).optimizer(Adam::new(0.01)).progress(Progress::Silent);
        let history = model.fit(&data, fit).unwrap();
        let [first, last] = [history.epochs[0], history.epochs[59]];
        assert!(first.loss > 1.0 && last.loss < 0.02, "{device}: {} to {}", first.loss, last.loss);
        let score = model.evaluate(&data).unwrap();
        assert!(score.accuracy == 1.0 && score.loss < 0.1, "{device}: {score:?}");
    }
}

fn running(model: &mut Model) -> Vec<(String, Tensor)> {
    model.weights().unwrap().into_iter().filter(|(name, _)| name.contains("running")).collect()
}

#[test]
fn running_statistics_are_weights_but_not_trained() {
    let device = Device::cpu();
    let mut model = residual([8, 8, 3], 4).build(&device, Seed(3)).unwrap();
    let summary = model.summary();
    let channels = 8 + 3 * 12;
    assert_eq!((summary.non_trainable, summary.trainable), (2 * channels, model.parameters()));
    assert_eq!(model.parameters(), 27 * 8 + 72 * 12 + 108 * 12 + 8 * 12 + 2 * channels + 12 * 4 + 4);
    let fresh = running(&mut model);
    assert!(
        fresh.iter().all(|(name, t)| t.as_f32().unwrap().iter().all(|&v| v == f32::from(u8::from(name.contains("variance")))))
    );
    model.fit(&images(20, 4), Fit::epochs(2).batch(8).progress(Progress::Silent)).unwrap();
    let trained = running(&mut model);
    assert!(fresh.iter().zip(&trained).all(|(a, b)| a.1 != b.1));
    // They come along with the weights, and inference depends on them.
    let mut copy = residual([8, 8, 3], 4).build(&device, Seed(4)).unwrap();
    let x = sample::normal(1, [3, 8, 8, 3]);
    let weights = model.weights().unwrap();
    copy.set_weights(&weights).unwrap();
    assert_eq!(copy.predict(&x).unwrap(), model.predict(&x).unwrap());
    let reset = weights.iter().map(|(name, t)| (name.clone(), fresh.iter().find(|f| f.0 == *name).map_or(t, |f| &f.1).clone()));
    copy.set_weights(&reset.collect::<Vec<_>>()).unwrap();
    assert_ne!(copy.predict(&x).unwrap(), model.predict(&x).unwrap());
}

/// Once a loss isn't finite, the running statistics stay as they were, as the parameters do.
#[test]
fn running_statistics_survive_a_nan() {
    for device in devices("running_statistics_survive_a_nan") {
        let mut model = Net::input([1, 1, 2]).batch_norm().flatten().dense(3).build(&device, Seed(3)).unwrap();
        let fit = || Fit::epochs(1).batch(4).progress(Progress::Silent);
        let data = |last: f32| {
            let mut x = sample::normal(7, [8, 2]).as_f32().unwrap().to_vec();
            x[15] = last;
            Dataset::new(Tensor::f32([8, 1, 1, 2], x).unwrap(), vec![0, 1, 2, 0, 1, 2, 0, 1], 3).unwrap()
        };
        model.fit(&data(0.5), fit().shuffle(false)).unwrap();
        let before = model.weights().unwrap();
        let error = model.fit(&data(f32::MAX), fit().shuffle(false).optimizer(Sgd::new(0.0001)));
        assert!(matches!(error, Err(Error::NonFinite { .. })), "{device}: {error:?}");
        let after = model.weights().unwrap();
        // The first batch was sound and changed them; the second didn't.
        assert_ne!(before, after);
        assert!(after.iter().all(|(_, t)| t.as_f32().unwrap().iter().all(|v| v.is_finite())), "{device}: {after:?}");
    }
}

/// A dense layer whose weights aren't trained: a running mean that follows nothing, or the weights of the step.
#[derive(Debug)]
struct Fixed {
    follows: bool,
}

impl Layer for Fixed {
    fn type_name(&self) -> &'static str {
        "fixed"
    }

    fn build(&self, ctx: &mut LayerContext<'_>, x: &[Value]) -> striate::Result<Value> {
        let x = ctx.only(x)?;
        let w = ctx.running("w", [2, 2], Init::Constant(0.3), 0.5)?;
        if self.follows && ctx.mode() == Mode::Training {
            let twice = ctx.node(Scale { factor: 2.0 }, &[w])?;
            ctx.follow("w", twice)?;
        }
        ctx.node(Matmul::new(false, false), &[x, w])
    }
}

#[test]
fn what_follows_nothing_stays() {
    let data = Dataset::new(sample::normal(7, [6, 1, 1, 2]), vec![0, 1, 2, 0, 1, 2], 3).unwrap();
    for device in devices("what_follows_nothing_stays") {
        // Two steps of `w = (w + 2 w) / 2`.
        for (follows, want) in [(false, 0.3f32), (true, 0.3 * 1.5 * 1.5)] {
            let net = Net::input([1, 1, 2]).flatten().layer(Fixed { follows }).dense(3);
            let mut model = net.build(&device, Seed(3)).unwrap();
            let fit = Fit::epochs(1).batch(3).optimizer(Sgd::new(0.1)).progress(Progress::Silent);
            model.fit(&data, fit).unwrap();
            let w = fixed(&mut model);
            assert!(w.as_f32().unwrap().iter().all(|v| (v - want).abs() <= if follows { 1e-6 } else { 0.0 }), "{device}: {w:?}");
        }
    }
}

fn fixed(model: &mut Model) -> Tensor {
    model.weights().unwrap().into_iter().find(|(name, _)| name == "fixed/w").unwrap().1
}

/// The last batch may be a single sample: too few for an unbiased variance of a single value.
#[test]
fn batches_that_are_too_small_are_refused() {
    let data = Dataset::new(sample::normal(7, [5, 1, 1, 2]), vec![0, 1, 2, 0, 1], 3).unwrap();
    let net = |norm: BatchNorm| Net::input([1, 1, 2]).layer(norm).flatten().dense(3).build(&Device::cpu(), Seed(3)).unwrap();
    let fit = || Fit::epochs(1).batch(4).progress(Progress::Silent);
    assert!(net(BatchNorm::new()).fit(&data, fit()).is_ok());
    let error = net(BatchNorm::pytorch()).fit(&data, fit()).unwrap_err().to_string();
    assert!(error.starts_with("batch_norm: x: got f32 [1, 1, 1, 2], want 2 values a channel"), "{error}");
}
