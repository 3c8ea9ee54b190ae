//! Checkpoints: a run that goes on from one comes to the same bits as a run that was never interrupted, a changed bit is found, and what
//! can't be gone on from is said. Runs that are killed: `tests/kill.rs`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // Tests may stop at what they don't expect.

mod common;

use common::devices;
use common::shapes::{Scratch, shapes};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use striate::data::Dataset;
use striate::nn::{Model, Sequential};
use striate::train::{
    Adam, Augmentation, Callback, CallbackState, Checkpoints, Context, EarlyStopping, Epoch, Fit, History, Monitor, Progress,
    Resume, Schedule, Sgd, read_checkpoint,
};
use striate::{Device, Error, Result, Seed, Tensor};

/// A network of all that has a state in training.
fn net() -> Sequential {
    Sequential::new([6, 6, 1]).conv2d(4, 3).batch_norm().relu().max_pool2d(2).dropout(0.2).flatten().dense(8).relu().dense(3)
}

fn silent(epochs: usize) -> Fit {
    Fit::epochs(epochs).progress(Progress::Silent)
}

/// Settings with all that has a state: 6 batches an epoch, the last one smaller, and 3 updates.
fn everything(validation: &Dataset) -> Fit {
    silent(4)
        .batch(4)
        .optimizer(Adam::new(0.01))
        .accumulate(2)
        .average(0.9)
        .clip_norm(0.5)
        .clip_value(0.2)
        .decay_weights_only()
        .schedule(Schedule::Plateau { factor: 0.5, patience: 0 }.warm_up(2))
        .validate(validation)
        .validate_every(4)
        .early_stopping(EarlyStopping::on(Monitor::ValAccuracy).patience(4).restore_best())
        .step_losses()
}

/// What training came to, without what the clock says.
fn timeless(mut history: History) -> History {
    history.first_step_seconds = 0.0;
    for epoch in &mut history.epochs {
        (epoch.seconds, epoch.images_per_second) = (0.0, 0.0);
    }
    history
}

/// All that is left of a run: weights, their average, history.
type Outcome = (Vec<(String, Tensor)>, Option<Vec<(String, Tensor)>>, History);

fn outcome(mut model: Model, history: History) -> Outcome {
    let weights = model.weights().unwrap();
    let average = model.swap_average().ok().map(|()| model.weights().unwrap());
    (weights, average, timeless(history))
}

/// A fault after so many steps of the run: nothing is written any more, as if the program had been killed.
fn dies_at(fit: Fit, step: u64) -> Fit {
    fit.on_step(move |at| if at.step == step { Err(Error::invalid("step", step, "to live on")) } else { Ok(()) })
}

fn every_step(folder: &Scratch) -> Checkpoints {
    Checkpoints::in_folder(&folder.0).every_steps(1)
}

#[test]
fn every_step_can_be_gone_on_from() {
    let (train, test) = shapes(37).split_at(22).unwrap();
    for device in devices("going on from checkpoints") {
        let build = || net().build(&device, Seed(3)).unwrap();
        let mut model = build();
        let history = model.fit(&train, everything(&test)).unwrap();
        let steps = history.steps;
        let whole = outcome(model, history);
        assert!(steps > 12, "{steps}");
        for step in 1..=steps {
            let folder = Scratch::new();
            let fit = || everything(&test).checkpoints(every_step(&folder));
            let died = build().fit(&train, dies_at(fit(), step)).unwrap_err();
            assert!(died.to_string().contains("to live on"), "{died}");
            let mut model = build();
            let history = model.fit(&train, fit().resume(Resume::Latest)).unwrap();
            assert!(outcome(model, history) == whole, "{device}: another outcome after step {step}");
        }
    }
}

/// Settings by settings, so that none has a state that is forgotten and happens not to matter above.
#[test]
fn each_setting_can_be_gone_on_from() {
    let (train, test) = shapes(37).split_at(22).unwrap();
    let settings: Vec<(&str, Fit)> = vec![
        ("sgd", silent(2).batch(4).optimizer(Sgd::new(0.1))),
        (
            "momentum",
            silent(2).batch(5).optimizer(Sgd::new(0.1).momentum(0.9).nesterov()).schedule(Schedule::Cosine { last: 0.0 }),
        ),
        ("adagrad", silent(2).batch(5).optimizer(striate::train::Adagrad::default())),
        ("nadam", silent(2).batch(5).optimizer(striate::train::Nadam::default())),
        ("lamb", silent(2).batch(5).optimizer(striate::train::Lamb::default())),
        ("accumulation", silent(2).batch(4).accumulate(3)),
        ("no shuffling", silent(2).batch(4).shuffle(false)),
        ("augmentation", silent(2).batch(4).augment(Augmentation::new().flip_horizontal(0.5).rotate(20.0).noise(0.1).mixup(0.2))),
        ("plateau", silent(4).batch(11).schedule(Schedule::Plateau { factor: 0.1, patience: 0 }).validate(&test)),
    ];
    let device = Device::cpu();
    let build = || net().build(&device, Seed(3)).unwrap();
    for (what, fit) in settings {
        let mut model = build();
        let history = model.fit(&train, fit.clone()).unwrap();
        let steps = history.steps;
        let whole = outcome(model, history);
        for step in [2, steps / 2, steps / 2 + 1, steps / 2 + 2, steps] {
            let folder = Scratch::new();
            let fit = fit.clone().checkpoints(every_step(&folder));
            build().fit(&train, dies_at(fit.clone(), step)).unwrap_err();
            let mut model = build();
            let history = model.fit(&train, fit.resume(Resume::Latest)).unwrap();
            assert!(outcome(model, history) == whole, "{what}: another outcome after step {step}");
        }
    }
}

#[test]
fn a_stopped_run_goes_on_and_so_does_a_second_fit() {
    let (train, test) = shapes(37).split_at(22).unwrap();
    let device = Device::cpu();
    let build = || {
        let mut model = net().build(&device, Seed(3)).unwrap();
        // Steps and orders of epochs are counted from the model's first one.
        model.fit(&train, silent(1).batch(7)).unwrap();
        model
    };
    let mut model = build();
    let history = model.fit(&train, everything(&test)).unwrap();
    let whole = outcome(model, history);
    for step in 1..9 {
        let folder = Scratch::new();
        let fit = || everything(&test).checkpoints(Checkpoints::in_folder(&folder.0));
        let flag = Arc::new(AtomicBool::new(false));
        let set = flag.clone();
        let stops = fit().stop_flag(flag).on_step(move |at| {
            set.store(at.step + 1 >= step, Ordering::Relaxed);
            Ok(())
        });
        let history = build().fit(&train, stops).unwrap();
        assert!(history.stopped && history.steps >= step, "{history:?}");
        let mut model = net().build(&device, Seed(3)).unwrap();
        let history = model.fit(&train, fit().resume(Resume::Latest)).unwrap();
        assert!(outcome(model, history) == whole, "another outcome after step {step}");
    }
}

#[test]
fn a_run_that_is_through_stays_as_it_is_and_more_epochs_go_on() {
    let train = shapes(22);
    let device = Device::cpu();
    let build = || net().build(&device, Seed(3)).unwrap();
    let folder = Scratch::new();
    let fit = |epochs| silent(epochs).batch(8).checkpoints(Checkpoints::in_folder(&folder.0).every_epochs(2).keep(1));
    let mut model = build();
    let history = model.fit(&train, fit(3)).unwrap();
    // The last one is written though the third epoch is no second one.
    assert_eq!(folder.names(), ["step-000000009.safetensors"]);
    let first = outcome(model, history);
    let mut model = build();
    let history = model.fit(&train, fit(3).resume(Resume::Latest)).unwrap();
    assert!(outcome(model, history) == first);
    let mut model = build();
    let history = model.fit(&train, fit(5).resume(Resume::Latest)).unwrap();
    let mut unbroken = build();
    let whole = unbroken.fit(&train, silent(5).batch(8)).unwrap();
    assert!(outcome(model, history) == outcome(unbroken, whole));
}

/// The smallest of models: 2 weights and 2 biases.
fn tiny() -> (Model, Dataset) {
    let data = Dataset::new(Tensor::f32([4, 1, 1, 1], vec![-1.0, 1.0, -2.0, 2.0]).unwrap(), vec![0, 1, 0, 1], 2).unwrap();
    (Sequential::new([1, 1, 1]).flatten().dense(2).build(&Device::cpu(), Seed(1)).unwrap(), data)
}

/// A folder with checkpoints of 2 and 3 epochs, one step each.
fn two_checkpoints() -> (Scratch, impl Fn() -> Fit) {
    let folder = Scratch::new();
    let path = folder.0.clone();
    let fit = move || silent(3).batch(4).optimizer(Sgd::new(0.1)).checkpoints(Checkpoints::in_folder(&path));
    let (mut model, data) = tiny();
    model.fit(&data, fit()).unwrap();
    assert_eq!(folder.names(), ["step-000000002.safetensors", "step-000000003.safetensors"]);
    (folder, fit)
}

#[test]
fn every_flipped_bit_is_found() {
    let (folder, _fit) = two_checkpoints();
    let path = folder.join("step-000000003.safetensors");
    let bytes = std::fs::read(&path).unwrap();
    assert!(read_checkpoint(&path).is_ok());
    let mut damaged = bytes.clone();
    for bit in 0..8 * bytes.len() {
        damaged[bit / 8] ^= 1 << (bit % 8);
        std::fs::write(&path, &damaged).unwrap();
        assert!(matches!(read_checkpoint(&path), Err(Error::File { .. })), "bit {bit} of {}", 8 * bytes.len());
        damaged[bit / 8] ^= 1 << (bit % 8);
    }
    for len in 0..bytes.len() {
        std::fs::write(&path, &bytes[..len]).unwrap();
        assert!(matches!(read_checkpoint(&path), Err(Error::File { .. })), "{len} bytes of {}", bytes.len());
    }
    std::fs::write(&path, [&bytes[..], &[0]].concat()).unwrap();
    assert!(read_checkpoint(&path).is_err());
    println!("{} bits of {} bytes, each flipped, and found", 8 * bytes.len(), bytes.len());
}

fn flip(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn a_damaged_checkpoint_is_named_with_the_whole_one_before_it() {
    let (folder, fit) = two_checkpoints();
    let [first, last] = ["step-000000002.safetensors", "step-000000003.safetensors"].map(|name| folder.join(name));
    flip(&last);
    let resume = |how| {
        let (mut model, data) = tiny();
        let before = model.weights().unwrap();
        let history = model.fit(&data, fit().resume(how));
        if history.is_err() {
            assert_eq!(model.weights().unwrap(), before);
        }
        history
    };
    let error = resume(Resume::Latest).unwrap_err().to_string();
    let names = |path: &PathBuf| error.contains(&path.display().to_string());
    assert!(error.contains("SHA-256") && names(&first) && names(&last), "{error}");
    // Nothing was done to the folder.
    assert!(first.exists() && last.exists());
    let history = resume(Resume::LatestWhole).unwrap();
    assert_eq!((history.steps, history.epochs.len()), (3, 3));
    assert!(folder.names().contains(&"step-000000003.safetensors.damaged".to_string()), "{:?}", folder.names());
    assert!(read_checkpoint(&last).is_ok());

    flip(&first);
    flip(&last);
    let error = resume(Resume::Latest).unwrap_err().to_string();
    assert!(error.contains("no whole checkpoint"), "{error}");
    let error = resume(Resume::LatestWhole).unwrap_err().to_string();
    assert!(error.contains("none of the 2"), "{error}");
}

#[test]
fn a_folder_in_use_is_refused_and_leftovers_are_removed() {
    let (folder, fit) = two_checkpoints();
    let (mut model, data) = tiny();
    let error = model.fit(&data, fit()).unwrap_err().to_string();
    assert!(error.contains("step-000000003.safetensors") && error.contains("Fit::resume"), "{error}");
    let leftovers = ["step-000000004.safetensors.4711.new", "best.safetensors.12.new"];
    let others = ["notes.txt", "notes.12.new", "weights.safetensors"];
    for name in leftovers.iter().chain(&others) {
        std::fs::write(folder.join(name), "").unwrap();
    }
    model.fit(&data, fit().resume(Resume::Latest)).unwrap();
    for name in leftovers {
        assert!(!folder.join(name).exists(), "{name}");
    }
    for name in others {
        assert!(folder.join(name).exists(), "{name}");
    }
}

#[test]
fn a_checkpoint_of_another_run_is_refused() {
    let train = shapes(22);
    let device = Device::cpu();
    let folder = Scratch::new();
    let checkpoints = || Checkpoints::in_folder(&folder.0);
    let fit = || silent(2).batch(8).schedule(Schedule::Cosine { last: 0.0 }).checkpoints(checkpoints());
    net().build(&device, Seed(3)).unwrap().fit(&train, fit()).unwrap();
    let refused = |what: &str, net: Sequential, seed: u64, train: &Dataset, fit: Fit| {
        let mut model = net.build(&device, Seed(seed)).unwrap();
        let before = model.weights().unwrap();
        match model.fit(train, fit.resume(Resume::Latest)).unwrap_err() {
            Error::Invalid { place, what: named, got, want } => {
                println!("{place}: {named}: got {got}, want {want}");
                assert!(place.contains("step-000000006.safetensors") && named.contains(what) && got != want, "{what}");
            }
            other => panic!("{what}: {other}"),
        }
        assert_eq!(model.weights().unwrap(), before);
    };
    let wider =
        Sequential::new([6, 6, 1]).conv2d(5, 3).batch_norm().relu().max_pool2d(2).dropout(0.2).flatten().dense(8).relu().dense(3);
    refused("weights", wider, 3, &train, fit());
    refused("weights", Sequential::new([6, 6, 1]).flatten().dense(3), 3, &train, fit());
    let tanh =
        Sequential::new([6, 6, 1]).conv2d(4, 3).batch_norm().tanh().max_pool2d(2).dropout(0.2).flatten().dense(8).relu().dense(3);
    refused("layers", tanh, 3, &train, fit());
    refused("frozen layers", net().trainable(false), 3, &train, fit());
    refused("seed", net(), 4, &train, fit());
    refused("number of training samples", net(), 3, &train.take(21).unwrap(), fit());
    let labels = train.labels().iter().map(|label| (label + 1) % 3).collect();
    refused("labels", net(), 3, &Dataset::new(train.images().unwrap().clone(), labels, 3).unwrap(), fit());
    refused("labels and weights", net(), 3, &train.clone().weighted(vec![0.5; 22]).unwrap(), fit());
    refused("normalisation", net(), 3, &train.clone().normalized(2.0, 0.0).unwrap(), fit());
    refused("augmentation", net(), 3, &train, fit().augment(Augmentation::new().flip_vertical(0.5)));
    refused("optimizer", net(), 3, &train, fit().optimizer(Sgd::new(0.001)));
    refused("learning rate", net(), 3, &train, fit().optimizer(Adam::new(0.002)));
    refused("batch size", net(), 3, &train, fit().batch(4));
    refused("schedule", net(), 3, &train, fit().schedule(Schedule::Constant));
    // A cosine over more epochs is another one.
    let longer = silent(3).batch(8).schedule(Schedule::Cosine { last: 0.0 }).checkpoints(checkpoints());
    refused("schedule", net(), 3, &train, longer);
    refused("average", net(), 3, &train, fit().average(0.9));
    // A file of weights alone is no checkpoint.
    let mut model = net().build(&device, Seed(3)).unwrap();
    model.save(folder.join("step-000000007.safetensors")).unwrap();
    let error = model.fit(&train, fit().resume(Resume::Latest)).unwrap_err().to_string();
    assert!(error.contains("not a checkpoint") && error.contains("step-000000006"), "{error}");
}

#[test]
fn the_best_model_is_kept() {
    let (train, test) = shapes(37).split_at(22).unwrap();
    let device = Device::cpu();
    for average in [None, Some(0.5)] {
        let folder = Scratch::new();
        let fit = silent(6).batch(8).validate(&test).checkpoints(Checkpoints::in_folder(&folder.0).best(Monitor::ValLoss));
        let fit = average.map_or(fit.clone(), |decay| fit.average(decay)).optimizer(Adam::new(0.2));
        let history = net().build(&device, Seed(3)).unwrap().fit(&train, fit).unwrap();
        let best = history.best(Monitor::ValLoss).unwrap();
        assert!(best.step < history.steps, "{history:?}");
        let mut model = net().build(&device, Seed(9)).unwrap();
        model.load(folder.join("best.safetensors")).unwrap();
        assert_eq!(model.evaluate(&test).unwrap().loss, best.value);
        flip(&folder.join("best.safetensors"));
        assert!(model.load(folder.join("best.safetensors")).unwrap_err().to_string().contains("SHA-256"));
    }
}

#[test]
fn what_is_in_a_checkpoint_can_be_read() {
    let train = shapes(22);
    let folder = Scratch::new();
    let mut model = net().build(&Device::cpu(), Seed(3)).unwrap();
    let fit = silent(2).batch(8).average(0.9).step_losses().checkpoints(Checkpoints::in_folder(&folder.0));
    let history = model.fit(&train, fit).unwrap();
    let read = read_checkpoint(folder.join("step-000000006.safetensors")).unwrap();
    assert_eq!((read.epoch, read.batch), (2, 0));
    assert_eq!(timeless(read.history), timeless(history));
    assert_eq!(read.weights, model.weights().unwrap());
    model.swap_average().unwrap();
    assert_eq!(read.averaged.unwrap(), model.weights().unwrap());
    // A checkpoint is a safetensors file with the weights under the names of `Model::save`.
    let mut other = net().build(&Device::cpu(), Seed(4)).unwrap();
    let matching = other.load_matching(folder.join("step-000000006.safetensors")).unwrap();
    assert!(matching.missing.is_empty(), "{matching}");
    assert_eq!(other.weights().unwrap(), read.weights);
}

/// Counts epochs, and keeps a tensor.
struct Counts(Arc<AtomicUsize>);

impl Callback for Counts {
    fn on_epoch(&mut self, _: &mut Context<'_>, _: &Epoch) -> Result<()> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn state(&self) -> CallbackState {
        let n = self.0.load(Ordering::Relaxed);
        CallbackState { text: n.to_string(), tensors: vec![("n".to_string(), Tensor::u32([1], vec![n as u32]).unwrap())] }
    }

    fn restore(&mut self, state: CallbackState) -> Result<()> {
        let n: usize = state.text.parse().unwrap();
        assert_eq!(state.tensors, [("n".to_string(), Tensor::u32([1], vec![n as u32]).unwrap())]);
        self.0.store(n, Ordering::Relaxed);
        Ok(())
    }
}

#[test]
fn callbacks_go_on_where_they_were() {
    let train = shapes(22);
    let folder = Scratch::new();
    let run = |fit: Fit| {
        let counts = [Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(100))];
        let fit = counts.iter().fold(fit.batch(8), |fit, count| fit.callback(Counts(count.clone())));
        let history =
            net().build(&Device::cpu(), Seed(3)).unwrap().fit(&train, fit.checkpoints(Checkpoints::in_folder(&folder.0)));
        (history, counts.map(|count| count.load(Ordering::Relaxed)))
    };
    let (died, _) = run(dies_at(silent(4), 7));
    assert!(died.is_err());
    let (history, counts) = run(silent(4).resume(Resume::Latest));
    assert_eq!((history.unwrap().epochs.len(), counts), (4, [4, 104]));
}

#[test]
fn a_nan_leaves_the_checkpoints_as_they_were() {
    let train = shapes(22);
    let folder = Scratch::new();
    let mut model = net().build(&Device::cpu(), Seed(3)).unwrap();
    let fit = silent(4).batch(8).checkpoints(every_step(&folder)).on_step(|at| {
        if at.step == 5 {
            let mut weights = at.model.weights()?;
            weights[0].1 = Tensor::f32(weights[0].1.shape().clone(), vec![f32::NAN; weights[0].1.shape().elements()])?;
            at.model.set_weights(&weights)?;
        }
        Ok(())
    });
    assert!(matches!(model.fit(&train, fit).unwrap_err(), Error::NonFinite { layer, .. } if layer == "conv2d"));
    assert_eq!(folder.names(), ["step-000000003.safetensors", "step-000000004.safetensors"]);
    assert!(folder.names().iter().all(|name| read_checkpoint(folder.join(name)).is_ok()));
}

#[test]
fn a_folder_that_cannot_be_written_is_an_error_at_once() {
    let folder = Scratch::new();
    let file = folder.join("file");
    std::fs::write(&file, "").unwrap();
    let (mut model, data) = tiny();
    let error = model.fit(&data, silent(1).checkpoints(Checkpoints::in_folder(&file))).unwrap_err();
    assert!(matches!(&error, Error::File { path, .. } if *path == file), "{error}");
    // The first checkpoint can't be written: something else has its name.
    std::fs::create_dir_all(folder.join("step-000000001.safetensors/x")).unwrap();
    let error = model.fit(&data, silent(3).batch(4).checkpoints(every_step(&folder)).resume(Resume::Never)).unwrap_err();
    assert!(error.to_string().contains("step-000000001"), "{error}");
}

#[test]
fn settings_that_make_no_sense() {
    let (mut model, data) = tiny();
    let folder = Scratch::new();
    let checkpoints = || Checkpoints::in_folder(&folder.0);
    for (what, fit) in [
        ("keep", silent(1).checkpoints(checkpoints().keep(0))),
        ("steps between checkpoints", silent(1).checkpoints(checkpoints().every_steps(0))),
        ("epochs between checkpoints", silent(1).checkpoints(checkpoints().every_epochs(0))),
        ("seconds between checkpoints", silent(1).checkpoints(checkpoints().every_seconds(f64::NAN))),
        ("resume", silent(1).resume(Resume::Latest)),
        ("validation", silent(1).checkpoints(checkpoints().best(Monitor::ValAccuracy))),
        ("validation", silent(1).early_stopping(EarlyStopping::default())),
        ("validation", silent(1).validate_every(3)),
        ("steps between validations", silent(1).validate(&data).validate_every(0)),
        ("least change", silent(1).early_stopping(EarlyStopping::on(Monitor::Loss).min_delta(-1.0))),
    ] {
        let error = model.fit(&data, fit).unwrap_err();
        assert!(matches!(&error, Error::Invalid { what: named, .. } if named.contains(what)), "{what}: {error}");
    }
    assert!(folder.names().is_empty());
}

const CHILD: &str = "STRIATE_FULL_DISK";

/// A limit on the size of files stands for a full disk: the write ends in the middle, with an error.
#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_loses_no_checkpoint_and_training_goes_on() {
    let folder = Scratch::new();
    let program = std::env::current_exe().unwrap();
    // The signal that comes with the limit must be ignored for the write to fail.
    let script = "trap '' XFSZ; ulimit -f 8; exec \"$0\" --exact trains_on_a_full_disk --nocapture";
    let run = |steps: &str| {
        let output =
            Command::new("bash").args(["-c", script]).arg(&program).env(CHILD, &folder.0).env("STEPS", steps).output().unwrap();
        String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap()
    };
    let said = run("6");
    // Of four steps, and once more at the end.
    assert!(said.contains("failed 5, trained 6"), "{said}");
    let names = folder.names();
    assert_eq!(names, ["step-000000001.safetensors", "step-000000002.safetensors"], "{said}");
    assert!(names.iter().all(|name| read_checkpoint(folder.join(name)).is_ok()));
    // Now already the first write of a call fails.
    let said = run("8");
    assert!(said.contains("ended by") && said.contains("step-000000003"), "{said}");
    assert_eq!(folder.names(), names);
}

/// The program of the test above: its checkpoints grow, by what a callback keeps.
#[test]
fn trains_on_a_full_disk() {
    let Some(folder) = std::env::var_os(CHILD) else { return };
    struct Grows(usize);
    impl Callback for Grows {
        fn on_step(&mut self, at: &mut Context<'_>) -> Result<()> {
            self.0 = if at.step > 2 { 100_000 } else { 1 };
            Ok(())
        }
        fn state(&self) -> CallbackState {
            CallbackState {
                text: String::new(),
                tensors: vec![("x".to_string(), Tensor::u8([self.0], vec![7; self.0]).unwrap())],
            }
        }
    }
    let (mut model, data) = tiny();
    let epochs = std::env::var("STEPS").unwrap().parse().unwrap();
    let checkpoints = Checkpoints::in_folder(folder).every_steps(1);
    match model.fit(&data, silent(epochs).batch(4).callback(Grows(1)).checkpoints(checkpoints).resume(Resume::Latest)) {
        Ok(history) => println!("failed {}, trained {}", history.failed_checkpoints, history.steps),
        Err(e) => println!("ended by {e}"),
    }
}
