//! Networks of several inputs and outputs, shared layers, described networks as layers; freezing, other heads, features; weights that match
//! in part.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // Tests may stop at what they don't expect.

use striate::data::Dataset;
use striate::nn::{Add, BatchNorm, Conv2d, Dense, Model, Net, Outputs, Sequential, Shared};
use striate::op::sample;
use striate::tensor::TensorType;
use striate::train::{Fit, Progress, Sgd};
use striate::{Device, Seed, Tensor};

fn build(net: &Net) -> Model {
    net.build(&Device::cpu(), Seed(1)).unwrap()
}

fn names(model: &mut Model) -> Vec<String> {
    model.weights().unwrap().into_iter().map(|(name, _)| name).collect()
}

fn weight(model: &mut Model, name: &str) -> Vec<f32> {
    model.weights().unwrap().into_iter().find(|(n, _)| n == name).unwrap().1.as_f32().unwrap().to_vec()
}

fn train(model: &mut Model, data: &Dataset, steps: usize) -> f64 {
    let fit = Fit::epochs(steps).batch(data.len()).optimizer(Sgd::new(0.1)).progress(Progress::Silent);
    model.fit(data, fit).unwrap().epochs.last().unwrap().loss
}

fn refusal(net: &Net) -> String {
    net.build(&Device::cpu(), Seed(1)).unwrap_err().to_string()
}

#[test]
fn a_shared_layer_has_one_set_of_parameters() {
    let (left, right) = (Net::input([3]).named("left"), Net::input([3]).named("right"));
    let tower = Shared::new(Dense::new(2)).named("tower");
    let net = left.layer(&tower).add(&right.layer(&tower));
    let mut model = build(&net);
    assert_eq!(names(&mut model), ["tower/weight", "tower/bias"]);
    assert_eq!(model.summary().trainable, 8);
    assert_eq!(model.inputs(), [("left", &TensorType::f32([3])), ("right", &TensorType::f32([3]))]);
    let [a, b] = [1, 2].map(|seed| sample::normal(seed, [5, 3]));
    let y = model.predict_all(&[("right", &b), ("left", &a)]).unwrap();
    assert_eq!(y[0].0, "add");
    // The sum goes through the same weights.
    let (w, bias) = (weight(&mut model, "tower/weight"), weight(&mut model, "tower/bias"));
    for (i, &y) in y[0].1.as_f32().unwrap().iter().enumerate() {
        let (row, j) = (i / 2, i % 2);
        let x = |k: usize| a.as_f32().unwrap()[row * 3 + k] + b.as_f32().unwrap()[row * 3 + k];
        let want = (0..3).map(|k| x(k) * w[k * 2 + j]).sum::<f32>() + 2.0 * bias[j];
        assert!((y - want).abs() < 1e-5, "{y} {want}");
    }
}

/// A step by a shared layer is one by the sum of both places' gradients; running statistics follow first one, then the other.
#[test]
fn a_shared_layer_learns_at_both_places() {
    let x = sample::normal(1, [4, 1, 1, 6]);
    let data = Dataset::new(x.clone(), vec![0, 1, 2, 0], 3).unwrap();
    let dense = Shared::new(Dense::new(6).no_bias());
    let norm = Shared::new(BatchNorm::new().momentum(0.5));
    let y = Net::input([1, 1, 6]).flatten().layer(&dense).layer(&norm);
    let mut model = build(&y.layer(&dense).layer(&norm).dense(3));
    let start = weight(&mut model, "dense/weight");
    let h = train(&mut model, &data, 1);
    let moved: Vec<f32> = weight(&mut model, "dense/weight").iter().zip(&start).map(|(a, b)| a - b).collect();
    assert!(h.is_finite() && moved.iter().all(|d| d.abs() > 0.0));
    // The same network in two halves with a copy of the weights each: the shared one moves by the sum of both.
    let twin = |i: usize, y: Net| y.layer(Dense::new(6).no_bias()).named(&format!("d{i}")).layer(BatchNorm::new().momentum(0.5));
    let mut apart = build(&twin(1, twin(0, Net::input([1, 1, 6]).flatten())).dense(3));
    let mut weights = apart.weights().unwrap();
    let mut shared = build(&y.layer(&dense).layer(&norm).dense(3)).weights().unwrap();
    let take = |shared: &mut Vec<(String, Tensor)>, name: &str| shared.iter().find(|(n, _)| n == name).unwrap().1.clone();
    for (name, tensor) in &mut weights {
        match name.as_str() {
            "d0/weight" | "d1/weight" => *tensor = take(&mut shared, "dense/weight"),
            "dense/weight" => *tensor = take(&mut shared, "dense_1/weight"),
            _ => {}
        }
    }
    apart.set_weights(&weights).unwrap();
    train(&mut apart, &data, 1);
    let [a, b] = ["d0/weight", "d1/weight"].map(|name| weight(&mut apart, name));
    for (i, moved) in moved.iter().enumerate() {
        let want = a[i] - start[i] + (b[i] - start[i]);
        assert!((moved - want).abs() < 1e-5, "{moved} {want}");
    }
    // running = (running / 2 + mean of the first / 2) / 2 + mean of the second / 2, from 0.
    let [first, second] = ["batch_norm/running_mean", "batch_norm_1/running_mean"].map(|name| weight(&mut apart, name));
    for (i, got) in weight(&mut model, "batch_norm/running_mean").iter().enumerate() {
        let want = first[i] / 2.0 + second[i];
        assert!((got - want).abs() < 1e-5, "{got} {want}");
    }
}

#[test]
fn several_outputs() {
    let x = Net::input([8, 8, 1]).conv2d(4, 3).relu().flatten();
    let (digit, slant) = (x.dense(10).named("digit"), x.dense(1).named("slant"));
    let both = Outputs::of(&[&digit, &slant]);
    let mut model = both.build(&Device::cpu(), Seed(1)).unwrap();
    let outputs = model.outputs();
    assert_eq!(
        outputs.iter().map(|(name, shape)| (name.as_str(), shape.dims())).collect::<Vec<_>>(),
        [("digit", &[10][..]), ("slant", &[1])]
    );
    // More than one run of 256, so that rows are cut and joined.
    let images = sample::normal(3, [300, 8, 8, 1]);
    let y = model.predict_all(&[("input", &images)]).unwrap();
    for (i, net) in [&digit, &slant].into_iter().enumerate() {
        let mut single = build(net);
        single.set_matching_weights(&model.weights().unwrap()).unwrap();
        assert_eq!(single.predict(&images).unwrap(), y[i].1);
    }
    let refused = model.predict(&images).unwrap_err().to_string();
    assert_eq!(refused, "outputs of the network: got digit, slant, want one");
    let twice = model.predict_all(&[("input", &images), ("input", &images)]).unwrap_err().to_string();
    assert_eq!(twice, "inputs: got input, input, want each of input once");
}

#[test]
fn inputs_of_several_kinds() {
    let (a, b) = (Net::input([4, 4, 2]), Net::input([3]));
    let net = a.flatten().dense(5).add(&b.dense(5));
    let mut model = build(&net);
    assert_eq!(model.inputs().iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["input", "input_1"]);
    let (x, z) = (sample::normal(1, [3, 4, 4, 2]), sample::normal(2, [3, 3]));
    let all = model.predict_all(&[("input_1", &z), ("input", &x)]).unwrap();
    assert_eq!(all[0].1.shape().dims(), [3, 5]);
    let mut error = |inputs: &[(&str, &Tensor)]| model.predict_all(inputs).unwrap_err().to_string();
    assert_eq!(error(&[("input", &x)]), "inputs: got input, want each of input, input_1 once");
    assert_eq!(error(&[("input", &z), ("input_1", &z)]), "input: got f32 [3, 3], want f32 [n, 4, 4, 2]");
    let fewer = sample::normal(2, [2, 3]);
    assert_eq!(error(&[("input", &x), ("input_1", &fewer)]), "samples of the inputs: got 3 and 2, want equally many");
    assert!(model.predict(&x).unwrap_err().to_string().starts_with("inputs of the network: got input, input_1, want one"));
    let data = Dataset::new(x, vec![0, 1, 2], 5).unwrap();
    let refused = model.fit(&data, Fit::epochs(1).progress(Progress::Silent)).unwrap_err().to_string();
    assert!(refused.contains("inputs of the network: got input, input_1"), "{refused}");
}

#[test]
fn described_networks_are_layers() {
    let x = Net::input([6, 6, 2]);
    let block = Net::input([6, 6, 2]).layer(Conv2d::new(2, 3).same()).named("conv").relu();
    // Twice the same one: shared. Its names begin with the scope of the first place.
    let net = x.within("a").layer(&block).within("b").layer(&block).within("").flatten().dense(3);
    let mut model = build(&net);
    assert_eq!(names(&mut model), ["a.conv/weight", "a.conv/bias", "dense/weight", "dense/bias"]);
    let layers: Vec<String> = model.summary().layers.into_iter().map(|l| l.name).collect();
    assert_eq!(layers, ["a.conv", "a.relu", "a.conv", "a.relu", "flatten", "dense"]);
    // A network of two inputs.
    let joined = Net::join(&[&Net::input([4]).dense(3).named("l"), &Net::input([4]).dense(3).named("r")], Add);
    let y = Net::input([4]).relu();
    let mut model = build(&Net::join(&[&y, &y], &joined));
    assert_eq!(names(&mut model), ["l/weight", "l/bias", "r/weight", "r/bias"]);
    let wrong = refusal(&Net::join(&[&y], &joined));
    assert_eq!(wrong, "inputs of a described network: got 1, want 2");
    let shape = refusal(&Net::input([5, 6, 2]).layer(&block));
    assert_eq!(shape, "conv: input of a described network: got f32 [n, 5, 6, 2] of 'input', want f32 [n, 6, 6, 2]");
    let shared = Shared::new(Dense::new(3)).named("tower");
    let shapes = refusal(&Net::input([4]).layer(&shared).layer(&shared));
    assert_eq!(shapes, "tower: shape of weight: got [3, 3], want [4, 3], as where the shared layer was read first");
    let late = y.dense(2);
    assert!(refusal(&late.add(&late.clone().trainable(false))).starts_with("trainable: got a layer that is read already"));
    // A network's own initial values go with it.
    let ones = Net::input([4]).init(striate::nn::Init::Ones).dense(2);
    assert_eq!(weight(&mut build(&y.layer(&ones)), "dense/weight"), [1.0; 8]);
}

#[test]
fn frozen_layers_stay_as_they_are() {
    let x = sample::normal(1, [8, 6, 6, 2]);
    let data = Dataset::new(x, (0..8).map(|i| i % 3).collect(), 3).unwrap();
    let net = |first: bool| {
        let y = Net::input([6, 6, 2]).conv2d(4, 3).named("conv").trainable(first);
        y.batch_norm().named("norm").trainable(first).relu().flatten().dense(3)
    };
    for device in [Some(Device::cpu()), Device::named("gpu").ok()].into_iter().flatten() {
        let mut model = net(false).build(&device, Seed(1)).unwrap();
        let summary = model.summary();
        assert_eq!((summary.trainable, summary.non_trainable), (64 * 3 + 3, 76 + 16));
        let before = model.weights().unwrap();
        let first = train(&mut model, &data, 1);
        assert!(train(&mut model, &data, 5) < first);
        for ((name, now), (_, before)) in model.weights().unwrap().into_iter().zip(&before) {
            assert_eq!(now == *before, !name.starts_with("dense"), "{name}");
        }
        // No gradient goes there.
        let summary = model.summary_for(&Fit::epochs(1).batch(8)).unwrap();
        let whole = net(true).build(&device, Seed(1)).unwrap().summary_for(&Fit::epochs(1).batch(8)).unwrap();
        assert!(summary.training.unwrap().1.states < whole.training.unwrap().1.states);

        // By name, and back; weights stay.
        let mut model = net(true).build(&device, Seed(1)).unwrap();
        let start = model.weights().unwrap();
        assert_eq!((model.set_trainable("*onv", false).unwrap(), model.set_trainable("norm", false).unwrap()), (1, 1));
        assert_eq!(model.weights().unwrap(), start);
        assert_eq!(train(&mut model, &data, 1), first);
        assert_eq!(model.set_trainable("*", true).unwrap(), 5);
        let loss = train(&mut model, &data, 1);
        assert!(loss.is_finite());
        for ((name, now), (_, before)) in model.weights().unwrap().into_iter().zip(&start) {
            assert_ne!(now, *before, "{name}");
        }
        let refused = model.set_trainable("x*", false).unwrap_err().to_string();
        assert!(refused.starts_with("pattern: got 'x*', want one that matches of conv, norm, relu"), "{refused}");
    }
}

/// Below a frozen batch norm the gradient goes on.
#[test]
fn a_frozen_norm_passes_gradients_on() {
    let data = Dataset::new(sample::normal(1, [6, 1, 1, 5]), vec![0, 1, 2, 0, 1, 2], 3).unwrap();
    let net = Sequential::new([1, 1, 5]).flatten().dense(4).batch_norm().trainable(false).tanh().dense(3);
    let mut model = net.build(&Device::cpu(), Seed(3)).unwrap();
    let start = weight(&mut model, "dense/weight");
    let first = train(&mut model, &data, 1);
    assert_ne!(weight(&mut model, "dense/weight"), start);
    assert!(train(&mut model, &data, 30) < 0.7 * first);
}

#[test]
fn another_head_and_features() {
    let images = sample::normal(5, [3, 8, 8, 1]);
    let net = Net::input([8, 8, 1]).conv2d(4, 3).relu().conv2d(4, 3).relu().flatten().dense(10);
    let mut digits = build(&net);
    let mut features = digits.features("relu_1").unwrap();
    assert_eq!(features.output_shape().dims(), [4, 4, 4]);
    let maps = features.predict(&images).unwrap();
    let mut letters = digits.net_up_to("flatten").unwrap().dense(26).build(&Device::cpu(), Seed(7)).unwrap();
    let report = letters.set_matching_weights(&digits.weights().unwrap()).unwrap();
    assert_eq!(report.matched, ["conv2d/weight", "conv2d/bias", "conv2d_1/weight", "conv2d_1/bias"]);
    assert!(report.missing.is_empty() && report.unexpected.is_empty());
    assert_eq!(report.wrong_shape[0], ("dense/weight".to_string(), [64, 10].into(), [64, 26].into()));
    let text = report.complete().unwrap_err().to_string();
    let want =
        "weights: got 4 set; 2 of another shape: dense/weight (got [64, 10], want [64, 26]), dense/bias (got [10], want [26])";
    assert!(text.starts_with(want), "{text}");
    assert_eq!(letters.features("relu_1").unwrap().predict(&images).unwrap(), maps);
    let same = net.up_to("relu_1").unwrap().summary().unwrap();
    assert_eq!(same.layers.len(), 4);
    let unknown = digits.features("relu_7").unwrap_err().to_string();
    assert!(unknown.starts_with("layer: got 'relu_7', want one of conv2d, relu, conv2d_1"), "{unknown}");
    let twice = letters.weights().unwrap();
    let twice = [&twice[..1], &twice[..1]].concat();
    assert!(letters.set_matching_weights(&twice).unwrap_err().to_string().contains("'conv2d/weight' twice"));
}
