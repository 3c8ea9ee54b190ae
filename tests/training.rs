//! Training: against ten losses of PyTorch (tests/goldens/README.md), to zero loss on a few images, and what a NaN or a mistake is
//! answered with.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // Tests may stop at what they don't expect.

mod common;

use common::shapes::shapes;
use common::{devices, gpu};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;
use striate::data::{self, Dataset};
use striate::device::{GpuOptions, GpuStats};
use striate::graph::{Memory, StorageKind};
use striate::nn::{Conv2d, Init, Model, Net, Sequential};
use striate::train::{Adadelta, Adam, Fit, MeanSquaredError, Optimizer, Progress, Recompute, Schedule, Sgd, SoftmaxCrossEntropy};
use striate::{Device, Seed, Tensor};

const STEPS: usize = 10;
const BATCH: usize = 32;

fn read_goldens() -> Value {
    serde_json::from_str(include_str!("goldens/training_losses.json")).unwrap()
}

fn weights(model: &mut Model) -> Vec<(String, Tensor)> {
    let bytes = include_bytes!("goldens/training_weights.f32");
    let mut values = bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap()));
    let shapes: Vec<_> = model.weights().unwrap().into_iter().map(|(name, t)| (name, t.shape().clone())).collect();
    let take = |(name, shape): (String, striate::tensor::Shape)| {
        let data: Vec<f32> = values.by_ref().take(shape.elements()).collect();
        (name, Tensor::f32(shape, data).unwrap())
    };
    let weights: Vec<_> = shapes.into_iter().map(take).collect();
    assert_eq!(bytes.len(), 4 * weights.iter().map(|(_, t)| t.shape().elements()).sum::<usize>());
    weights
}

fn losses(device: &Device, train: &Dataset, optimizer: impl Optimizer + 'static) -> Vec<f32> {
    let mut model = Sequential::new([28, 28, 1])
        .conv2d(4, 3)
        .relu()
        .max_pool2d(2)
        .conv2d(8, 3)
        .relu()
        .max_pool2d(2)
        .flatten()
        .dense(16)
        .relu()
        .dense(10)
        .build(device, Seed(0))
        .unwrap();
    let weights = weights(&mut model);
    model.set_weights(&weights).unwrap();
    let fit = Fit::epochs(1).batch(BATCH).optimizer(optimizer).shuffle(false).step_losses().progress(Progress::Silent);
    model.fit(train, fit).unwrap().step_losses
}

/// The loss itself is rounded to f32 (6e-8), and so are the logits and the sums below it, most of whose errors cancel. Each step starts
/// from parameters that are off by what the steps before left; at these rates that stays below the first. WGSL's exp and log, a few
/// units of 1.2e-7 each, leave less than ten units together.
const TOLERANCE: f64 = 1e-6;

fn compare_with_pytorch(device: &Device) {
    let goldens = read_goldens();
    let (train, _) = data::mnist(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data/mnist")).unwrap();
    let train = train.take(STEPS * BATCH).unwrap();
    let check = |name: &str, losses: Vec<f32>| {
        let want: Vec<f64> = goldens[name].as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect();
        assert_eq!((losses.len(), want.len()), (STEPS, STEPS));
        let errors = losses.iter().zip(&want).map(|(got, want)| (f64::from(*got) - want).abs() / want);
        let worst = errors.fold(0.0, |a: f64, e| if e > a || e.is_nan() { e } else { a });
        println!("{device}, {name}: worst relative error {worst:.1e}, {:.2} of the tolerance", worst / TOLERANCE);
        assert!(worst <= TOLERANCE, "{name}: got {losses:?}, want {want:?}");
    };
    check("sgd", losses(device, &train, Sgd::new(0.1)));
    check("sgd_momentum", losses(device, &train, Sgd::new(0.05).momentum(0.9)));
    let nesterov = Sgd::new(0.05).momentum(0.9).nesterov().weight_decay(0.01);
    check("sgd_nesterov_weight_decay", losses(device, &train, nesterov));
    check("adam", losses(device, &train, Adam::new(0.001)));
    check("adadelta", losses(device, &train, Adadelta::new(1.0).rho(0.9).epsilon(1e-6)));
}

#[test]
fn ten_losses_on_the_cpu() {
    compare_with_pytorch(&Device::cpu());
}

#[test]
fn ten_losses_on_the_gpu() {
    let Some(device) = gpu("ten losses", GpuOptions::from_env()) else { return };
    compare_with_pytorch(&device);
}

fn small() -> Sequential {
    Sequential::new([6, 6, 1]).conv2d(4, 3).relu().max_pool2d(2).dropout(0.1).flatten().dense(8).relu().dense(3)
}

fn silent(epochs: usize) -> Fit {
    Fit::epochs(epochs).progress(Progress::Silent)
}

fn cpu(net: Sequential) -> Model {
    net.build(&Device::cpu(), Seed(7)).unwrap()
}

#[test]
fn overfits_a_batch() {
    let data = shapes(12);
    let mut model = cpu(Sequential::new([6, 6, 1]).conv2d(8, 3).relu().flatten().dense(3));
    let history = model.fit(&data, silent(100).batch(12).optimizer(Sgd::new(0.1).momentum(0.9))).unwrap();
    let last = history.epochs[99];
    assert!(last.loss < 1e-3 && last.accuracy == 1.0, "{last:?}");
    let score = model.evaluate(&data).unwrap();
    assert!(score.loss < 1e-3 && score.accuracy == 1.0 && score.n == 12, "{score:?}");
    assert_eq!(model.predict_classes(data.images().unwrap()).unwrap(), data.labels());
    let mut model = cpu(Sequential::new([6, 6, 1]).flatten().dense(12).tanh().dense(3).sigmoid());
    let history = model.fit(&data, silent(200).batch(12).optimizer(Adam::new(0.05)).loss(MeanSquaredError)).unwrap();
    assert!(history.epochs[199].loss < 1e-3, "{:?}", history.epochs[199]);
    assert!(model.evaluate_with(&data, &MeanSquaredError).unwrap().loss < 1e-3);
}

#[test]
fn history_counts_and_validation_match_evaluate() {
    let (train, test) = shapes(50).split_at(40).unwrap();
    let mut model = cpu(small());
    let fit = silent(3).batch(16).validate(&test).step_losses();
    let history = model.fit(&train, fit).unwrap();
    assert_eq!((history.epochs.len(), history.steps, history.stopped), (3, 9, false));
    let score = model.evaluate(&test).unwrap();
    let last = history.epochs[2];
    assert_eq!((last.val_loss, last.val_accuracy), (Some(score.loss), Some(score.accuracy)));
    // Batches of 16, 16 and 8.
    let s: Vec<f64> = history.step_losses[6..].iter().map(|&x| f64::from(x)).collect();
    assert!((last.loss - (16.0 * (s[0] + s[1]) + 8.0 * s[2]) / 40.0).abs() < 1e-6);
    assert!(last.images_per_second > 0.0);
}

#[test]
fn same_seed_same_bits() {
    let (train, test) = shapes(50).split_at(40).unwrap();
    let run = |device: &Device, seed, progress| {
        let mut model = small().build(device, Seed(seed)).unwrap();
        let fit = Fit::epochs(2).batch(16).progress(progress).validate(&test).schedule(Schedule::Cosine { last: 0.1 });
        let history = model.fit(&train, fit).unwrap();
        let losses: Vec<_> = history.epochs.iter().map(|e| (e.loss.to_bits(), e.val_loss.map(f64::to_bits))).collect();
        (losses, model.weights().unwrap())
    };
    for device in devices("training twice") {
        let first = run(&device, 1, Progress::Silent);
        assert_eq!(first, run(&device, 1, Progress::Bar), "{device}");
        assert_ne!(first, run(&device, 2, Progress::Silent), "{device}");
    }
}

#[test]
fn recomputing_saves_memory_and_changes_no_bit() {
    let train = shapes(24);
    let deep = || {
        let start = Net::input([6, 6, 1]);
        let same = || Conv2d::new(8, 3).same();
        let blocks = (0..12).fold(start, |net, i| match i % 4 {
            0 => net.layer(same()).relu(),
            1 => net.layer(same()).tanh().dropout(0.2),
            2 => net.layer(same().no_bias()).batch_norm().relu(),
            _ => net.layer(same().no_bias()).batch_norm().add(&net.layer(same())).relu(),
        });
        blocks.max_pool2d(2).flatten().dense(3)
    };
    for device in devices("recomputing") {
        let run = |what| {
            let mut model = deep().build(&device, Seed(5)).unwrap();
            let fit = || silent(2).batch(8).recompute(what).step_losses();
            let history = model.fit(&train, fit()).unwrap();
            let memory = model.summary_for(&fit()).unwrap().training.unwrap().1;
            (history.step_losses, model.weights().unwrap(), memory.scratch)
        };
        let kept = run(Recompute::Nothing);
        for (what, saves) in [(Recompute::Cheap, 0.1), (Recompute::Checkpoints(1), 0.0), (Recompute::Checkpoints(4), 0.3)] {
            let again = run(what);
            assert_eq!((&again.0, &again.1), (&kept.0, &kept.1), "{device}, {what:?}");
            let saved = 1.0 - again.2 as f64 / kept.2 as f64;
            println!("{device}, {what:?}: {} bytes instead of {}, {saved:.2} saved", again.2, kept.2);
            assert!(saved >= saves, "{device}, {what:?}: {saved}");
        }
    }
}

#[test]
fn a_step_is_one_submit_and_only_the_first_epoch_allocates() {
    let Some(device) = gpu("counting submits", GpuOptions::from_env()) else { return };
    // Batches of 16, 16, 16, 16 and 8, and one for validation.
    let (train, test) = shapes(90).split_at(72).unwrap();
    let run = |epochs| {
        let mut model = small().build(&device, Seed(3)).unwrap();
        let (before, clock) = (device.stats().unwrap(), Instant::now());
        let history = model.fit(&train, silent(epochs).batch(16).validate(&test)).unwrap();
        assert_eq!(history.steps, 5 * epochs as u64);
        // Metrics are looked at once a second, a read of the health and one of the sums.
        let looks = 2 * clock.elapsed().as_secs() as i64;
        let after = device.stats().unwrap();
        (before, after, looks, model)
    };
    // Makes the pipelines.
    run(1);
    let (one, three) = (run(1), run(3));
    let made = |r: &(GpuStats, GpuStats, i64, Model)| (r.1.buffers - r.0.buffers, r.1.pipelines - r.0.pipelines);
    assert_eq!((made(&three), made(&one).1), (made(&one), 0), "buffers and pipelines made");
    // For each of the two epochs more: five steps, a run of evaluation, and the reads after both.
    let submits = |r: &(GpuStats, GpuStats, i64, Model)| (r.1.submits - r.0.submits) as i64;
    let late = submits(&three) - submits(&one) - 2 * (5 + 1 + 2 + 2);
    assert!((-one.2..=three.2).contains(&late), "{late} submits too many");
    let dispatches = |r: &(GpuStats, GpuStats, i64, Model)| r.1.dispatches - r.0.dispatches;
    let plans = three.3.plans();
    let of = |what: &str| plans.iter().find(|(key, _)| key.starts_with(what)).unwrap().1.n_dispatches() as u64;
    assert_eq!(dispatches(&three) - dispatches(&one), 2 * (4 * of("train 16,") + of("train 8,") + of("evaluate 18,")));
}

#[test]
fn a_model_takes_the_memory_of_its_plans() {
    let (train, test) = shapes(90).split_at(72).unwrap();
    for device in [Some(Device::cpu()), gpu("counting memory", GpuOptions::from_env())].into_iter().flatten() {
        let mut model = small().build(&device, Seed(3)).unwrap();
        model.fit(&train, silent(1).batch(16).validate(&test)).unwrap();
        model.predict(test.images().unwrap()).unwrap();
        let plans = model.plans();
        // Two of training, one of evaluation, one of prediction; states are shared.
        assert_eq!(plans.len(), 4);
        let mut states = BTreeMap::new();
        for s in plans.values().flat_map(|p| &p.storages) {
            if let StorageKind::State(name) = &s.kind {
                states.insert(name.as_str(), s.bytes());
            }
        }
        let sum = |part: fn(Memory) -> u64| plans.values().map(|p| part(p.memory())).sum::<u64>();
        let memory = model.memory();
        assert_eq!(memory.states, states.values().sum::<u64>(), "{device}");
        assert_eq!((memory.inputs, memory.scratch), (sum(|m| m.inputs), sum(|m| m.scratch)), "{device}");
        assert_eq!(memory.uniforms, sum(|m| m.uniforms), "{device}");
        // One buffer more, for states on their way to the host: the page of parameters, when training has ended.
        let own = if device.stats().is_some() { states["parameters/0"] } else { 0 };
        assert_eq!(memory.staging, sum(|m| m.staging) + own, "{device}");
    }
}

#[test]
fn parameters_in_several_pages_train_alike() {
    // The first dense layer's weight of 32 KiB lies in pieces, and the training set of 14 KiB stays on the host.
    let small = GpuOptions { max_binding_bytes: Some(16 << 10), guard: true, ..GpuOptions::from_env() };
    let Some(paged) = gpu("parameters in pages", small) else { return };
    let Some(whole) = gpu("parameters in pages", GpuOptions::from_env()) else { return };
    let (train, test) = shapes(120).split_at(100).unwrap();
    let net = || Sequential::new([6, 6, 1]).conv2d(8, 3).relu().flatten().dense(64).relu().dropout(0.1).dense(3);
    let fit = || silent(3).batch(16).optimizer(Sgd::new(0.05).momentum(0.9)).validate(&test);
    let mut models = [&paged, &whole].map(|device| net().build(device, Seed(11)).unwrap());
    let start = models.each_mut().map(|m| m.weights().unwrap());
    assert_eq!(start[0], start[1]);
    let histories = models.each_mut().map(|m| m.fit(&train, fit()).unwrap());
    let states = |m: &Model, prefix: &str| {
        let kinds = m.plans().into_iter().filter(|(key, _)| key.starts_with("train")).flat_map(|(_, p)| p.storages.clone());
        let names = kinds.filter_map(|s| match s.kind {
            StorageKind::State(name) if name.starts_with(prefix) => Some(name),
            _ => None,
        });
        names.collect::<std::collections::BTreeSet<_>>().len()
    };
    assert_eq!(models.each_ref().map(|m| states(m, "parameters/")), [4, 1]);
    assert_eq!(models.each_ref().map(|m| states(m, "data/")), [0, 2]);
    let close = |a: &Tensor, b: &Tensor| {
        let pairs = a.as_f32().unwrap().iter().zip(b.as_f32().unwrap());
        let worst = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, |worst: f32, e| if e > worst || e.is_nan() { e } else { worst });
        // Sums are cut in other places; a few roundings of the largest number remain.
        let largest = b.as_f32().unwrap().iter().fold(1.0, |m: f32, x| m.max(x.abs()));
        assert!(worst <= 1e-6 * largest, "{worst} of {largest}");
        worst
    };
    let trained = models.each_mut().map(|m| m.weights().unwrap());
    assert_ne!(trained[0], start[0]);
    let worst = trained[0].iter().zip(&trained[1]).map(|(a, b)| close(&a.1, &b.1)).fold(0.0, f32::max);
    println!("largest difference of a weight: {worst:.1e}");
    let last = histories.each_ref().map(|h| *h.epochs.last().unwrap());
    assert!((last[0].loss - last[1].loss).abs() < 1e-6 && (last[0].val_loss.unwrap() - last[1].val_loss.unwrap()).abs() < 1e-6);
    // Weights go from one to the other as they are, and make the same predictions.
    let [paged, whole] = &mut models;
    paged.set_weights(&trained[1]).unwrap();
    assert_eq!(paged.weights().unwrap(), trained[1]);
    close(&paged.predict(test.images().unwrap()).unwrap(), &whole.predict(test.images().unwrap()).unwrap());
}

#[test]
fn data_from_the_host_train_as_data_on_the_device() {
    // Half of 128 MiB is where a data set stays on the host.
    let n = (64 << 20) / (4 * 36) + 100;
    let few = shapes(64);
    let mut pixels = few.images().unwrap().as_f32().unwrap().to_vec();
    pixels.resize(n * 36, 0.0);
    let mut labels = few.labels().to_vec();
    labels.resize(n, 0);
    let many = Dataset::new(Tensor::f32([n, 6, 6, 1], pixels).unwrap(), labels, 3).unwrap().normalized(0.5, 0.25).unwrap();
    let train = |data: &Dataset| {
        let mut model = cpu(small());
        let fit = silent(1).batch(64).shuffle(false).stop_flag(Arc::new(AtomicBool::new(true)));
        let history = model.fit(data, fit).unwrap();
        assert!(history.stopped && history.steps == 1 && history.epochs.len() == 1);
        (history.epochs[0].loss, model.weights().unwrap())
    };
    assert_eq!(train(&few.normalized(0.5, 0.25).unwrap()), train(&many));
}

#[test]
fn a_nan_stops_training_with_the_layer_and_the_step() {
    devices("a NaN in training").iter().for_each(a_nan_stops_training_on);
}

fn a_nan_stops_training_on(device: &Device) {
    let model_of = |net: Sequential| net.build(device, Seed(7)).unwrap();
    let layer_of = |error: striate::Error| match error {
        striate::Error::NonFinite { layer, what, step } => (layer, what, step),
        other => panic!("{other}"),
    };
    // Sample 20 makes the convolution overflow. In file order with batches of 8 that is step 3; shuffled, wherever it is.
    let data = shapes(48);
    let mut pixels = data.images().unwrap().as_f32().unwrap().to_vec();
    pixels[20 * 36..21 * 36].fill(3e38);
    let data = Dataset::new(Tensor::f32([48, 6, 6, 1], pixels).unwrap(), data.labels().to_vec(), 3).unwrap();
    let net =
        || Sequential::new([6, 6, 1]).dropout(0.1).layer(Conv2d::new(4, 3).init(Init::Ones)).named("stem").flatten().dense(3);
    let mut model = model_of(net());
    let error = layer_of(model.fit(&data, silent(1).batch(8).shuffle(false)).unwrap_err());
    assert_eq!(error, ("stem".to_string(), "output".to_string(), 3));
    // What the two steps before it left is kept.
    let kept = model.weights().unwrap();
    assert!(kept.iter().all(|(_, t)| t.as_f32().unwrap().iter().all(|x| x.is_finite())));
    let mut two_steps = model_of(net());
    two_steps.fit(&data.take(16).unwrap(), silent(1).batch(8).shuffle(false)).unwrap();
    assert_eq!(kept, two_steps.weights().unwrap());
    let (layer, what, step) = layer_of(model_of(net()).fit(&data, silent(1).batch(5)).unwrap_err());
    assert!(layer == "stem" && what == "output" && (1..=10).contains(&step), "{layer} {what} {step}");
    // So in evaluation.
    assert_eq!(layer_of(model_of(net()).evaluate(&data).unwrap_err()), ("stem".to_string(), "output".to_string(), 0));

    // A parameter that is NaN from the start, and parameters that a step makes infinite.
    let mut model = model_of(net());
    let mut weights = model.weights().unwrap();
    weights[3].1 = Tensor::f32([3], vec![0.0, f32::NAN, 0.0]).unwrap();
    model.set_weights(&weights).unwrap();
    let error = layer_of(model.fit(&shapes(8), silent(1)).unwrap_err());
    assert_eq!(error, ("dense".to_string(), "parameters".to_string(), 1));
    let error = layer_of(model_of(net()).fit(&shapes(48), silent(1).optimizer(Sgd::new(3e38)).batch(48)).unwrap_err());
    assert_eq!((&*error.1, error.2), ("parameters", 1));
}

#[test]
fn mistakes_in_settings_and_data_are_named() {
    let data = shapes(12);
    let mut model = cpu(small());
    let mut error = |fit: Fit| model.fit(&data, fit).unwrap_err().to_string();
    assert!(error(silent(0)).starts_with("epochs: got 0"));
    assert!(error(silent(1).batch(0)).starts_with("batch size: got 0"));
    assert!(error(silent(1).optimizer(Sgd::new(-1.0))).starts_with("sgd: learning rate: got -1"));
    assert!(error(silent(1).optimizer(Sgd::new(f64::NAN))).starts_with("sgd: learning rate: got NaN"));
    assert!(error(silent(1).optimizer(Sgd::new(0.1).nesterov())).starts_with("sgd: momentum: got 0"));
    assert!(error(silent(1).optimizer(Adam::default().betas(0.9, 1.0))).starts_with("adam: beta2: got 1"));
    assert!(error(silent(1).optimizer(Adadelta::default().rho(-0.5))).starts_with("adadelta: rho: got -0.5"));
    assert!(error(silent(1).loss(SoftmaxCrossEntropy::smoothed(1.5))).starts_with("label smoothing: got 1.5"));
    assert!(error(silent(1).schedule(Schedule::Cosine { last: 2.0 })).contains("got 2"));

    let many = Dataset::new(Tensor::u8([70_000, 1, 1, 1], vec![0; 70_000]).unwrap(), vec![0; 70_000], 3).unwrap();
    let mut tiny = cpu(Sequential::new([1, 1, 1]).flatten().dense(3));
    let large = tiny.fit(&many, silent(1).batch(70_000)).unwrap_err().to_string();
    assert!(large.starts_with("batch size: got 70000, want at most 65536"), "{large}");
    // A cosine over more steps than can be counted.
    let stopped = silent(usize::MAX).batch(1000).schedule(Schedule::Cosine { last: 0.0 });
    assert!(tiny.fit(&many, stopped.stop_flag(Arc::new(AtomicBool::new(true)))).unwrap().stopped);

    let fit_to = |net: Sequential| cpu(net).fit(&data, silent(1)).unwrap_err().to_string();
    let image = fit_to(Sequential::new([5, 6, 1]).flatten().dense(3));
    assert!(image.starts_with("shapes: image shape: got [6, 6, 1], want [5, 6, 1]"), "{image}");
    let channels_first = fit_to(Sequential::new([6, 1, 6]).flatten().dense(3));
    assert!(channels_first.ends_with("the model's input; channels come last"), "{channels_first}");
    let classes = fit_to(Sequential::new([6, 6, 1]).flatten().dense(10).named("digits"));
    assert!(classes.starts_with("shapes: number of classes: got 3, want 10") && classes.contains("'digits'"), "{classes}");
    let softmax = fit_to(Sequential::new([6, 6, 1]).flatten().dense(3).softmax());
    assert!(softmax.contains("softmax") && softmax.contains("predict_probabilities"), "{softmax}");
    let image_out = fit_to(Sequential::new([6, 6, 1]).conv2d(3, 3));
    assert!(image_out.starts_with("conv2d: output shape: got [4, 4, 3]"), "{image_out}");
    let nothing = fit_to(Sequential::new([6, 6, 1]).max_pool2d([6, 2]).flatten().relu());
    assert!(nothing.starts_with("parameters: got none"), "{nothing}");
    let other = Dataset::new(Tensor::u8([2, 3, 3, 1], vec![0; 18]).unwrap(), vec![0, 1], 3).unwrap().named("test");
    let error = cpu(small()).fit(&data, silent(1).validate(&other)).unwrap_err().to_string();
    assert!(error.starts_with("test: image shape"), "{error}");
}

#[test]
fn a_second_fit_goes_on_where_the_first_ended() {
    let data = shapes(48);
    let sgd = || Sgd::new(0.05);
    let mut once = cpu(small());
    once.fit(&data, silent(4).batch(16).optimizer(sgd())).unwrap();
    let mut twice = cpu(small());
    twice.fit(&data, silent(1).batch(16).optimizer(sgd())).unwrap();
    twice.fit(&data, silent(3).batch(16).optimizer(sgd())).unwrap();
    assert_eq!(once.weights().unwrap(), twice.weights().unwrap());
}
