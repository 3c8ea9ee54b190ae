//! Losses and their gradients against PyTorch's (tests/goldens/losses.py), metrics, and what `Fit` does with gradients, on data sets of
//! classes, of a class a pixel and of numbers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // Tests may stop at what they don't expect.

mod common;

use common::devices;
use serde_json::Value as Json;
use std::sync::Arc;
use striate::cpu::Runtime;
use striate::data::Dataset;
use striate::graph::{Graph, Plan};
use striate::nn::{Conv2d, Dense, Model, Sequential};
use striate::op::{Buf, sample};
use striate::ops::reduce::{Reduce, Reduction};
use striate::tensor::{TensorType, UNLABELLED};
use striate::train::{
    Adam, AdamW, BinaryCrossEntropy, Fit, Hinge, Huber, KlDivergence, Loss, LossInputs, MeanAbsoluteError, MeanSquaredError,
    Metric, Progress, Sgd, SoftmaxCrossEntropy, SquaredHinge,
};
use striate::{Device, Seed, Tensor};

fn numbers(json: &Json) -> Vec<f64> {
    json.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

fn shape(json: &Json) -> Vec<usize> {
    json.as_array().unwrap().iter().map(|x| x.as_u64().unwrap() as usize).collect()
}

#[test]
fn losses_and_gradients() {
    let json: Json = serde_json::from_str(include_str!("goldens/losses.json")).unwrap();
    let weights = [0.5, 1.0, 2.0, 0.25, 1.5];
    let weighted = |n: usize| SoftmaxCrossEntropy::default().class_weights(&weights[..n]);
    let all: Vec<(&str, Box<dyn Loss>)> = vec![
        ("cross_entropy", Box::new(SoftmaxCrossEntropy::default())),
        ("cross_entropy_weights", Box::new(weighted(5))),
        ("cross_entropy_weights_smoothed", Box::new(SoftmaxCrossEntropy::smoothed(0.25).class_weights(weights))),
        ("cross_entropy_distributions", Box::new(SoftmaxCrossEntropy::default())),
        ("cross_entropy_maps", Box::new(SoftmaxCrossEntropy::default())),
        ("cross_entropy_maps_weights", Box::new(weighted(4))),
        ("binary_cross_entropy", Box::new(BinaryCrossEntropy::default())),
        ("binary_cross_entropy_weight", Box::new(BinaryCrossEntropy::default().positive_weight(2.5))),
        ("mean_squared_error", Box::new(MeanSquaredError)),
        ("mean_absolute_error", Box::new(MeanAbsoluteError)),
        ("huber", Box::new(Huber::new(0.75))),
        ("hinge", Box::new(Hinge)),
        ("squared_hinge", Box::new(SquaredHinge)),
        ("kl_divergence", Box::new(KlDivergence)),
    ];
    assert_eq!(all.len() + 1, json.as_object().unwrap().len());
    for (name, loss) in all {
        loss.check().unwrap();
        let case = &json[name];
        let mut graph = Graph::new();
        let outputs = graph.input("outputs", TensorType::f32(shape(&case["shape"]))).unwrap();
        let by_class = case["classes"].as_bool().unwrap();
        let target_shape = shape(&case["target_shape"]);
        let ty = if by_class { TensorType::u32(target_shape) } else { TensorType::f32(target_shape) };
        let target = graph.input("target", ty).unwrap();
        let class_weights: Vec<f64> = loss.class_weights().iter().map(|&w| f64::from(w)).collect();
        let weights =
            (!class_weights.is_empty()).then(|| graph.input("weights", TensorType::f32([class_weights.len()])).unwrap());
        let each = loss.add(&mut graph, &LossInputs { outputs, target, weights }).unwrap();
        let mean = graph.node(Reduce::all(Reduction::Mean, 1), &[each]).unwrap();
        let gradient = graph.gradients(mean, &[outputs]).unwrap()[0];
        let plan = Plan::new(graph, &[mean, gradient], None).unwrap();
        let mut runtime = Runtime::<f64>::new();
        let mut program = runtime.load(Arc::new(plan));
        let of_class = |x: f64| if x == 255.0 { UNLABELLED } else { x as u32 };
        let values = numbers(&case["target"]);
        let fed = if by_class { Buf::U32(values.into_iter().map(of_class).collect()) } else { Buf::Real(values) };
        let mut feeds = vec![(outputs, Buf::Real(numbers(&case["outputs"]))), (target, fed)];
        feeds.extend(weights.map(|w| (w, Buf::Real(class_weights))));
        runtime.run(&mut program, feeds, None).unwrap();
        let close = |got: f64, want: f64| (got - want).abs() <= 1e-11 * want.abs() + 1e-12;
        let got = runtime.fetch(&program, mean).real()[0];
        assert!(close(got, case["loss"].as_f64().unwrap()), "{name}: {got}, want {}", case["loss"]);
        let got = runtime.fetch(&program, gradient);
        for (i, (got, want)) in got.real().iter().zip(numbers(&case["gradient"])).enumerate() {
            assert!(close(*got, want), "{name}, gradient {i}: {got}, want {want}");
        }
    }
}

fn silent(epochs: usize) -> Fit {
    Fit::epochs(epochs).progress(Progress::Silent)
}

fn build(net: Sequential, device: &Device) -> Model {
    net.build(device, Seed(7)).unwrap()
}

/// Images of 6 by 6 with 3 classes: class 0 bright on the left, 1 on the right, 2 below, with noise.
fn pixels(n: usize) -> Tensor {
    let noise = sample::normal(5, [n * 36]);
    let noise = noise.as_f32().unwrap();
    let pixel = |i: usize| {
        let (class, row, column) = (i / 36 % 3, i % 36 / 6, i % 6);
        let bright = [column < 3, column >= 3, row >= 3][class];
        0.3 * noise[i] + if bright { 1.0 } else { 0.0 }
    };
    Tensor::f32([n, 6, 6, 1], (0..n * 36).map(pixel).collect()).unwrap()
}

fn shapes(n: usize) -> Dataset {
    Dataset::new(pixels(n), (0..n as u32).map(|i| i % 3).collect(), 3).unwrap().named("shapes")
}

fn dense() -> Sequential {
    Sequential::new([6, 6, 1]).flatten().dense(8).tanh().dense(3)
}

fn flat(model: &mut Model) -> Vec<f64> {
    model.weights().unwrap().iter().flat_map(|(_, t)| t.as_f32().unwrap().to_vec()).map(f64::from).collect()
}

fn difference(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a - b).collect()
}

#[test]
fn batches_that_are_accumulated_are_one_batch() {
    // 44 samples: batches of 16, 16 and 12, or of 8, two at a time: 8 + 8, 8 + 8, 8 + 4.
    let data = shapes(44);
    for device in devices("accumulation") {
        let run = |batch, accumulate| {
            let mut model = build(dense(), &device);
            let fit = silent(3).batch(batch).accumulate(accumulate).shuffle(false).optimizer(Adam::new(0.01).weight_decay(0.1));
            let history = model.fit(&data, fit).unwrap();
            (flat(&mut model), history.steps)
        };
        let ((whole, steps), (parts, part_steps)) = (run(16, 1), run(8, 2));
        assert_eq!((steps, part_steps), (9, 18));
        let worst = difference(&whole, &parts).iter().fold(0.0, |m: f64, d| m.max(d.abs()));
        assert!(worst < 1e-5, "{device}: {worst}");
        assert_ne!(whole, flat(&mut build(dense(), &device)));
    }
}

#[test]
fn clipping_keeps_steps_short() {
    let data = shapes(30);
    for device in devices("clipping") {
        let step = |fit: Fit| {
            let mut model = build(dense(), &device);
            let before = flat(&mut model);
            model.fit(&data, fit.batch(30).optimizer(Sgd::new(0.5))).unwrap();
            difference(&flat(&mut model), &before)
        };
        let norm = |d: &[f64]| d.iter().map(|d| d * d).sum::<f64>().sqrt();
        let free = step(silent(1));
        let short = step(silent(1).clip_norm(0.01));
        assert!(norm(&free) > 0.05 && (norm(&short) / 0.005 - 1.0).abs() < 1e-3, "{device}: {} {}", norm(&free), norm(&short));
        // The same direction.
        let along: f64 = free.iter().zip(&short).map(|(a, b)| a * b).sum::<f64>() / (norm(&free) * norm(&short));
        assert!(along > 0.9999, "{along}");
        let within = step(silent(1).clip_norm(1e3));
        assert!(norm(&difference(&within, &free)) < 1e-6);
        let cut = step(silent(1).clip_value(1e-3));
        let largest = cut.iter().fold(0.0, |m: f64, d| m.max(d.abs()));
        assert!((largest / 5e-4 - 1.0).abs() < 1e-3, "{device}: {largest}");
    }
}

#[test]
fn the_average_follows_and_is_swapped_in() {
    let (data, test) = shapes(45).split_at(30).unwrap();
    for device in devices("averages") {
        let mut model = build(dense(), &device);
        assert!(model.swap_average().unwrap_err().to_string().contains("average"));
        let start = flat(&mut model);
        let fit = silent(2).batch(30).shuffle(false).optimizer(Sgd::new(0.5)).average(0.75).validate(&test);
        // The parameters after the first step, by another model.
        let mut first = build(dense(), &device);
        first.fit(&data, silent(1).batch(30).shuffle(false).optimizer(Sgd::new(0.5))).unwrap();
        let (one, history) = (flat(&mut first), model.fit(&data, fit).unwrap());
        let trained = flat(&mut model);
        model.swap_average().unwrap();
        let average = flat(&mut model);
        let score = model.evaluate(&test).unwrap();
        assert_eq!(history.epochs[1].val_loss, Some(score.loss));
        for (i, got) in average.iter().enumerate() {
            let want = 0.75 * (0.75 * start[i] + 0.25 * one[i]) + 0.25 * trained[i];
            assert!((got - want).abs() < 1e-6, "{device}, {i}: {got} {want}");
        }
        model.swap_average().unwrap();
        assert_eq!(flat(&mut model), trained);
    }
}

#[test]
fn weight_decay_can_pass_by_biases() {
    let data = shapes(30);
    for device in devices("weight decay") {
        let run = |fit: Fit, decay: f64| {
            let mut model = build(dense(), &device);
            model.fit(&data, fit.batch(30).optimizer(AdamW::new(0.01).weight_decay(decay))).unwrap();
            model.weights().unwrap()
        };
        let (without, all, weights) = (run(silent(1), 0.0), run(silent(1), 0.5), run(silent(1).decay_weights_only(), 0.5));
        for ((name, t), ((_, all), (_, some))) in without.iter().zip(all.iter().zip(&weights)) {
            // Biases begin at 0, so a first step's decay leaves them; weights do not.
            let is_weight = name.ends_with("weight");
            assert_eq!(t != some, is_weight, "{device}, {name}");
            assert_eq!(all, some, "{device}, {name}");
        }
        // From biases that aren't 0.
        let decayed = |only: bool| {
            let mut model = build(dense(), &device);
            let ones =
                |(name, t): (String, Tensor)| (name, Tensor::f32(t.shape().clone(), vec![1.0; t.shape().elements()]).unwrap());
            let weights: Vec<_> = model.weights().unwrap().into_iter().map(ones).collect();
            model.set_weights(&weights).unwrap();
            let fit = if only { silent(1).decay_weights_only() } else { silent(1) };
            model.fit(&data, fit.batch(30).optimizer(Sgd::new(1e-6).weight_decay(1e5))).unwrap();
            model.weights().unwrap().into_iter().map(|(_, t)| f64::from(t.as_f32().unwrap()[0])).collect::<Vec<_>>()
        };
        let close = |got: Vec<f64>, want: [f64; 4]| {
            assert!(got.iter().zip(want).all(|(g, w)| (g - w).abs() < 1e-4), "{device}: {got:?}, want {want:?}");
        };
        close(decayed(false), [0.9; 4]);
        close(decayed(true), [0.9, 1.0, 0.9, 1.0]);
    }
}

#[test]
fn numbers_are_learned() {
    // The mean of the left half and of the right half.
    let images = pixels(240);
    let half = |image: &[f32], right: bool| {
        let columns = if right { 3..6 } else { 0..3 };
        image.chunks(6).map(|row| row[columns.clone()].iter().sum::<f32>()).sum::<f32>() / 18.0
    };
    let values = images.as_f32().unwrap().chunks(36).flat_map(|image| [half(image, false), half(image, true)]).collect();
    let data = Dataset::with_values(images, Tensor::f32([240, 2], values).unwrap()).unwrap().named("halves");
    let (train, test) = data.split_at(180).unwrap();
    let net = || Sequential::new([6, 6, 1]).flatten().dense(2);
    for device in devices("regression") {
        let losses: Vec<Arc<dyn Fn(Fit) -> Fit>> = vec![
            Arc::new(|f| f.loss(MeanSquaredError)),
            Arc::new(|f| f.loss(MeanAbsoluteError)),
            Arc::new(|f| f.loss(Huber::default())),
        ];
        for with_loss in losses {
            let mut model = build(net(), &device);
            let fit = with_loss(silent(60).batch(15).optimizer(Adam::new(0.02)).validate(&test));
            let history = model.fit(&train, fit).unwrap();
            let last = history.epochs.last().unwrap();
            assert!(last.val_loss.unwrap() < 0.05 && last.accuracy.is_nan(), "{device}: {last:?}");
            assert!(last.loss < 0.3 * history.epochs[0].loss);
            let score = model.evaluate_metrics(&test, &MeanSquaredError, &[Metric::MeanAbsoluteError]).unwrap();
            assert!(score.accuracy.is_nan() && score.n == 60);
            let predicted = model.predict_dataset(&test).unwrap();
            let (p, t) = (predicted.as_f32().unwrap(), test.batch_targets(&(0..60).collect::<Vec<_>>()).unwrap());
            let want = p.iter().zip(t.as_f32().unwrap()).map(|(p, t)| f64::from((p - t).abs())).sum::<f64>() / 120.0;
            assert!((score.mean_absolute_error.unwrap() - want).abs() < 1e-5);
        }
    }
    let mut model = build(Sequential::new([6, 6, 1]).flatten().dense(3), &Device::cpu());
    let error = model.fit(&train, silent(1).loss(MeanSquaredError)).unwrap_err().to_string();
    assert!(error.starts_with("halves: shape of the values: got [2], want [3]"), "{error}");
    let error = model.evaluate_metrics(&shapes(6), &SoftmaxCrossEntropy::default(), &[Metric::MeanAbsoluteError]).unwrap_err();
    assert!(error.to_string().contains("MeanAbsoluteError"), "{error}");
}

#[test]
fn a_class_a_pixel_is_learned() {
    // Bright or dark; the pixels of the last row are not labelled.
    let images = pixels(40);
    let class = |(i, &x): (usize, &f32)| if i % 36 >= 30 { 255 } else { u8::from(x > 0.5) };
    let maps = Tensor::u8([40, 6, 6], images.as_f32().unwrap().iter().enumerate().map(class).collect()).unwrap();
    assert!(Dataset::with_maps(images.clone(), maps.clone(), 2, None).unwrap_err().to_string().contains("row 5, column 0"));
    let data = Dataset::with_maps(images, maps, 2, Some(255)).unwrap().named("bright");
    let (train, test) = data.split_at(30).unwrap();
    for device in devices("segmentation") {
        let mut model = build(Sequential::new([6, 6, 1]).layer(Conv2d::new(4, 1)).relu().layer(Conv2d::new(2, 1)), &device);
        let loss = SoftmaxCrossEntropy::default().class_weights([1.0, 2.0]);
        let fit = silent(60).batch(10).optimizer(Adam::new(0.05)).loss(loss.clone()).validate(&test);
        let last = *model.fit(&train, fit).unwrap().epochs.last().unwrap();
        assert!(last.accuracy > 0.93 && last.val_accuracy.unwrap() > 0.93, "{device}: {last:?}");
        let score = model.evaluate_metrics(&test, &loss, &[Metric::Confusion, Metric::TopK(2)]).unwrap();
        let matrix = score.confusion.unwrap();
        // 30 of 36 pixels of 10 images.
        let counted: u32 = (0..4).map(|i| matrix.count(i / 2, i % 2)).sum();
        assert_eq!((counted, score.top_k), (300, vec![1.0]));
        assert!((matrix.accuracy() - score.accuracy).abs() < 1e-6);
    }
    let mut model = build(Sequential::new([6, 6, 1]).conv2d(2, 3), &Device::cpu());
    let error = model.fit(&train, silent(1)).unwrap_err().to_string();
    assert!(error.contains("height, width and classes: got [6, 6, 2], want [4, 4, 2]"), "{error}");
}

#[test]
fn yes_or_no_is_learned_by_one_output() {
    let images = pixels(60);
    let data = Dataset::new(images, (0..60).map(|i| u32::from(i % 3 == 0)).collect(), 2).unwrap();
    for device in devices("one output") {
        type With = fn(Fit) -> Fit;
        let losses: [(&dyn Loss, With); 3] = [
            (&BinaryCrossEntropy::default(), |f| f.loss(BinaryCrossEntropy::default())),
            (&Hinge, |f| f.loss(Hinge)),
            (&SquaredHinge, |f| f.loss(SquaredHinge)),
        ];
        for (loss, with_loss) in losses {
            let mut model = build(Sequential::new([6, 6, 1]).flatten().dense(1), &device);
            let fit = with_loss(silent(40).batch(20).optimizer(Adam::new(0.05)));
            let last = *model.fit(&data, fit).unwrap().epochs.last().unwrap();
            assert!(last.accuracy > 0.95, "{device}, {loss:?}: {last:?}");
            let score = model.evaluate_metrics(&data, loss, &[Metric::Confusion]).unwrap();
            assert!((score.confusion.unwrap().accuracy() - score.accuracy).abs() < 1e-6);
        }
    }
}

#[test]
fn metrics_are_what_predictions_say() {
    let data = shapes(300);
    for device in devices("metrics") {
        let mut model = build(dense(), &device);
        model.fit(&data, silent(1).optimizer(Adam::new(0.003))).unwrap();
        let metrics = [Metric::TopK(1), Metric::TopK(2), Metric::Confusion, Metric::TopK(3)];
        let score = model.evaluate_metrics(&data, &SoftmaxCrossEntropy::default(), &metrics).unwrap();
        let predicted = model.predict_classes(data.images().unwrap()).unwrap();
        let matrix = score.confusion.as_ref().unwrap();
        for i in 0..9 {
            let pairs = data.labels().iter().zip(&predicted);
            let want = pairs.filter(|(l, p)| (**l as usize, **p as usize) == (i / 3, i % 3)).count();
            assert_eq!(matrix.count(i / 3, i % 3) as usize, want, "{device}, {i}");
        }
        assert_eq!((score.top_k[0], score.top_k[2]), (score.accuracy, 1.0));
        assert!(score.top_k[0] <= score.top_k[1] && score.top_k[1] <= 1.0);
        // Asked again, it doesn't go on counting.
        assert_eq!(model.evaluate_metrics(&data, &SoftmaxCrossEntropy::default(), &metrics).unwrap(), score);
        let zero = model.evaluate_metrics(&data, &SoftmaxCrossEntropy::default(), &[Metric::TopK(0)]).unwrap_err().to_string();
        assert!(zero.contains("k: got 0"), "{zero}");
    }
}

#[test]
fn penalties_are_added_to_the_loss() {
    let data = shapes(12);
    for device in devices("penalties") {
        let net = |l1: f64, l2: f64| {
            let conv = Conv2d::new(4, 3).l2(l2);
            Sequential::new([6, 6, 1]).layer(conv).relu().flatten().layer(Dense::new(3).l1(l1).l2(l2))
        };
        let (mut plain, mut with) = (build(net(0.0, 0.0), &device), build(net(0.01, 0.1), &device));
        let weights = plain.weights().unwrap();
        assert_eq!(weights, with.weights().unwrap());
        let sum = |i: usize, f: fn(f64) -> f64| weights[i].1.as_f32().unwrap().iter().map(|&w| f(f64::from(w))).sum::<f64>();
        let penalty = 0.1 * (sum(0, |w| w * w) + sum(2, |w| w * w)) + 0.01 * sum(2, f64::abs);
        let (without, score) = (plain.evaluate(&data).unwrap(), with.evaluate(&data).unwrap());
        assert!((score.loss - without.loss - penalty).abs() < 1e-5 && score.accuracy == without.accuracy, "{device}");
        // A step of gradient descent moves by the penalty's slope too.
        for model in [&mut plain, &mut with] {
            model.fit(&data, silent(1).batch(12).optimizer(Sgd::new(0.1))).unwrap();
        }
        let (a, b) = (plain.weights().unwrap(), with.weights().unwrap());
        for (i, (w, (a, b))) in weights.iter().zip(a.iter().zip(&b)).enumerate() {
            for (w, (a, b)) in w.1.as_f32().unwrap().iter().zip(a.1.as_f32().unwrap().iter().zip(b.1.as_f32().unwrap())) {
                let slope = match i {
                    0 => 0.2 * w,
                    2 => 0.2 * w + 0.01 * w.signum(),
                    _ => 0.0,
                };
                assert!((a - b - 0.1 * slope).abs() < 1e-6, "{device}, {i}: {}", a - b);
            }
        }
    }
    let bad = Sequential::new([6, 6, 1]).flatten().layer(Dense::new(3).l2(-1.0)).build(&Device::cpu(), Seed(0)).unwrap_err();
    assert!(bad.to_string().contains("l2: got -1"), "{bad}");
}

/// Batches of 256 samples that have labels of very different weights: the mean is that of PyTorch's `cross_entropy` of all samples at once.
#[test]
fn evaluation_averages_over_all_labels() {
    let n = 300;
    let images = sample::normal(3, [n, 2, 2, 1]);
    let log_softmax = |x: &[f32], class: usize| {
        let most = f64::from(x.iter().copied().fold(f32::MIN, f32::max));
        let sum = x.iter().map(|&v| (f64::from(v) - most).exp()).sum::<f64>();
        f64::from(x[class]) - most - sum.ln()
    };
    let weights = [0.25, 1.0, 8.0];
    let rare = |i: usize| if i < 256 { i % 2 } else { 2 };
    // Of the last 44 samples three of four pixels aren't labelled.
    let pixel = |i: usize| if i >= 4 * 256 && !i.is_multiple_of(4) { 255 } else { rare(i / 4) as u8 };
    let classes = Dataset::new(images.clone(), (0..n).map(|i| rare(i) as u32).collect(), 3).unwrap();
    let maps = Tensor::u8([n, 2, 2], (0..4 * n).map(pixel).collect()).unwrap();
    let maps = Dataset::with_maps(images.clone(), maps, 3, Some(255)).unwrap();
    for device in devices("evaluation by labels") {
        let of_samples = Sequential::new([2, 2, 1]).flatten().dense(3);
        let of_pixels = Sequential::new([2, 2, 1]).conv2d(3, 1);
        for (net, data, label) in
            [(of_samples, &classes, &(|i| rare(i) as u8) as &dyn Fn(usize) -> u8), (of_pixels, &maps, &pixel)]
        {
            let mut model = build(net, &device);
            let outputs = model.predict(&images).unwrap();
            for weights in [vec![], weights.to_vec()] {
                let (mut loss, mut hits, mut total, mut count) = (0.0, 0.0, 0.0, 0.0);
                for (i, row) in outputs.as_f32().unwrap().chunks(3).enumerate().filter(|(i, _)| label(*i) != 255) {
                    let class = usize::from(label(i));
                    let weight = weights.get(class).copied().map_or(1.0, f64::from);
                    loss -= weight * log_softmax(row, class);
                    total += weight;
                    hits += f64::from(u8::from(row.iter().all(|&v| v <= row[class])));
                    count += 1.0;
                }
                let by = SoftmaxCrossEntropy::default().class_weights(weights);
                let score = model.evaluate_metrics(data, &by, &[Metric::TopK(1)]).unwrap();
                assert!((score.loss - loss / total).abs() < 1e-5 * score.loss, "{device}: {} {}", score.loss, loss / total);
                assert!((score.accuracy - hits / count).abs() < 1e-6, "{device}: {} {}", score.accuracy, hits / count);
                assert_eq!(score.top_k, [score.accuracy]);
            }
        }
    }
}
