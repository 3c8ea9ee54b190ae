//! What happens in the midst of training: callbacks, early stopping, evaluation every so many steps, logs, the search for a learning rate.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // Tests may stop at what they don't expect.

mod common;

use common::devices;
use common::shapes::{Scratch, shapes};
use std::sync::{Arc, Mutex};
use striate::nn::{Model, Sequential};
use striate::train::{
    Adam, Callback, Checkpoints, Context, CsvLog, EarlyStopping, Epoch, Fit, JsonLog, Monitor, Progress, Resume, Schedule, Sgd,
    Validation, repeat,
};
use striate::{Device, Error, Result, Seed};

fn net() -> Sequential {
    Sequential::new([6, 6, 1]).conv2d(4, 3).batch_norm().relu().max_pool2d(2).dropout(0.1).flatten().dense(3)
}

fn cpu() -> Model {
    net().build(&Device::cpu(), Seed(7)).unwrap()
}

fn silent(epochs: usize) -> Fit {
    Fit::epochs(epochs).batch(8).progress(Progress::Silent)
}

/// Writes down what it is called with.
struct Notes(Arc<Mutex<Vec<String>>>);

impl Notes {
    fn add(&self, note: String) -> Result<()> {
        self.0.lock().unwrap().push(note);
        Ok(())
    }
}

impl Callback for Notes {
    fn on_begin(&mut self, at: &mut Context<'_>) -> Result<()> {
        self.add(format!("begin {}/{}", at.epoch, at.epochs))
    }

    fn on_step(&mut self, at: &mut Context<'_>) -> Result<()> {
        self.add(format!("step {} rate {}", at.step, at.learning_rate))
    }

    fn on_validation(&mut self, at: &mut Context<'_>, v: &Validation) -> Result<()> {
        assert_eq!(at.history.validations.last(), Some(v));
        self.add(format!("validation {}", v.step))
    }

    fn on_epoch(&mut self, at: &mut Context<'_>, e: &Epoch) -> Result<()> {
        assert_eq!(at.history.epochs.last(), Some(e));
        self.add(format!("epoch {} step {} rate {}", at.epoch, e.step, e.learning_rate))
    }

    fn on_end(&mut self, at: &mut Context<'_>) -> Result<()> {
        self.add(format!("end {} stopped {}", at.step, at.history.stopped))
    }
}

#[test]
fn the_order_of_calls() {
    let (train, test) = shapes(37).split_at(22).unwrap();
    let notes = Arc::new(Mutex::new(Vec::new()));
    let schedule = Schedule::Step { epochs: 1, factor: 0.5 };
    let fit = silent(2).optimizer(Sgd::new(0.5)).schedule(schedule).validate(&test).validate_every(2);
    let history = cpu().fit(&train, fit.callback(Notes(notes.clone()))).unwrap();
    let want = [
        "begin 0/2",
        "step 1 rate 0.5",
        "validation 2",
        "step 2 rate 0.5",
        "step 3 rate 0.5",
        "validation 3",
        "epoch 0 step 3 rate 0.5",
        "validation 4",
        "step 4 rate 0.25",
        "step 5 rate 0.25",
        // The sixth step's is the epoch's.
        "step 6 rate 0.25",
        "validation 6",
        "epoch 1 step 6 rate 0.25",
        "end 6 stopped false",
    ];
    assert_eq!(*notes.lock().unwrap(), want);
    let steps: Vec<_> = history.validations.iter().map(|v| (v.step, v.epoch)).collect();
    assert_eq!(steps, [(2, 0), (3, 0), (4, 1), (6, 1)]);
    assert_eq!(history.epochs[1].val_loss, Some(history.validations[3].loss));
}

#[test]
fn looking_changes_no_bit() {
    let (train, test) = shapes(37).split_at(22).unwrap();
    for device in devices("callbacks") {
        let run = |fit: Fit| {
            let mut model = net().build(&device, Seed(7)).unwrap();
            let history = model.fit(&train, fit).unwrap();
            (model.weights().unwrap(), history.epochs.iter().map(|e| (e.loss, e.accuracy)).collect::<Vec<_>>())
        };
        let plain = run(silent(2));
        let (a, b) = (test.clone(), test.clone());
        let looked =
            run(silent(2).validate(&test).validate_every(1).on_step(move |at| at.model.evaluate(&a).map(drop)).on_epoch(
                move |at, epoch| {
                    assert!(epoch.loss > 0.0);
                    at.model.predict_classes(b.images()?).map(drop)
                },
            ));
        assert_eq!(plain, looked, "{device}");
    }
}

#[test]
fn a_callback_can_stop_and_can_fail() {
    let train = shapes(22);
    let history = cpu().fit(
        &train,
        silent(3).on_step(|at| {
            if at.step == 4 {
                at.stop();
            }
            Ok(())
        }),
    );
    let history = history.unwrap();
    assert_eq!((history.steps, history.epochs.len(), history.stopped), (4, 2, true));
    let history = cpu().fit(
        &train,
        silent(3).on_epoch(|at, _| {
            at.stop();
            Ok(())
        }),
    );
    assert_eq!((history.as_ref().unwrap().steps, history.unwrap().stopped), (3, true));
    let error = cpu().fit(&train, silent(3).on_step(|_| Err(Error::invalid("mine", 1, 2)))).unwrap_err();
    assert!(error.to_string().contains("mine"), "{error}");
    // What would leave training without its tensors is refused.
    let error = cpu().fit(&train, silent(3).on_step(|at| at.model.set_trainable("conv2d", false).map(drop))).unwrap_err();
    assert!(error.to_string().contains("model after a callback"), "{error}");
    let inner = train.clone();
    let error = cpu().fit(&train, silent(3).on_step(move |at| at.model.fit(&inner, silent(1)).map(drop))).unwrap_err();
    assert!(error.to_string().contains("model after a callback"), "{error}");
}

#[test]
fn early_stopping_ends_and_puts_the_best_back() {
    let (train, test) = shapes(37).split_at(22).unwrap();
    for device in devices("early stopping") {
        let build = || net().build(&device, Seed(7)).unwrap();
        // A rate at which the loss on the validation set soon rises.
        let fit = silent(30).optimizer(Adam::new(0.3)).validate(&test).average(0.5);
        let early = EarlyStopping::on(Monitor::ValLoss).patience(3);
        let mut model = build();
        let history = model.fit(&train, fit.clone().early_stopping(early)).unwrap();
        let best = history.best(Monitor::ValLoss).unwrap();
        assert!(history.stopped && history.epochs.len() < 30 && best.epoch + 4 == history.epochs.len(), "{history:?}");
        model.swap_average().unwrap();
        assert_eq!(model.evaluate(&test).unwrap().loss, history.epochs.last().unwrap().val_loss.unwrap());

        let mut model = build();
        let again = model.fit(&train, fit.early_stopping(early.restore_best())).unwrap();
        assert_eq!(again.epochs.len(), history.epochs.len());
        model.swap_average().unwrap();
        assert_eq!(model.evaluate(&test).unwrap().loss, best.value, "{device}");
    }
}

#[test]
fn logs_have_a_row_for_each_epoch_also_after_a_fault() {
    let (train, test) = shapes(37).split_at(22).unwrap();
    let folder = Scratch::new();
    let fit = || {
        let logs = silent(4).callback(CsvLog::new(folder.join("log.csv"))).callback(JsonLog::new(folder.join("log.jsonl")));
        // Every fourth step of three an epoch: the rows of an epoch were written after the checkpoint that is gone on from.
        let checkpoints = Checkpoints::in_folder(folder.join("checkpoints")).every_steps(4);
        logs.validate(&test).validate_every(2).checkpoints(checkpoints)
    };
    let died = cpu().fit(&train, fit().on_step(|at| if at.step == 8 { Err(Error::invalid("step", 8, 7)) } else { Ok(()) }));
    assert!(died.is_err());
    let csv = || std::fs::read_to_string(folder.join("log.csv")).unwrap();
    assert_eq!(csv().lines().count(), 3);
    // A line that was being written.
    std::fs::write(folder.join("log.csv"), csv() + "2,9,0.1").unwrap();
    let history = cpu().fit(&train, fit().resume(Resume::Latest)).unwrap();
    let csv = csv();
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!(lines[0], "epoch,step,loss,accuracy,val_loss,val_accuracy,learning_rate,seconds");
    assert_eq!(lines.len(), 5, "{csv}");
    for (i, (line, epoch)) in lines[1..].iter().zip(&history.epochs).enumerate() {
        let fields: Vec<&str> = line.split(',').collect();
        assert_eq!(fields[..2], [i.to_string(), epoch.step.to_string()]);
        assert_eq!(fields[2].parse::<f64>().unwrap(), epoch.loss);
        assert_eq!(fields[4].parse::<f64>().unwrap(), epoch.val_loss.unwrap());
    }
    let json = std::fs::read_to_string(folder.join("log.jsonl")).unwrap();
    let json: Vec<serde_json::Value> = json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |kind: &str| {
        json.iter().filter(|line| line["kind"] == kind).map(|line| line["step"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(of("epoch"), [3, 6, 9, 12]);
    assert_eq!(of("validation"), history.validations.iter().map(|v| v.step).collect::<Vec<_>>());
    // A run that begins anew replaces them.
    cpu().fit(&train, silent(1).callback(CsvLog::new(folder.join("log.csv")))).unwrap();
    let anew = std::fs::read_to_string(folder.join("log.csv")).unwrap();
    assert_eq!(anew.lines().count(), 2);
    assert!(anew.lines().nth(1).unwrap().contains(",,"), "{anew}");
    let error = cpu().fit(&train, silent(1).callback(CsvLog::new(folder.join("none/log.csv")))).unwrap_err();
    assert!(matches!(error, Error::File { .. }), "{error}");
}

/// The records of an event file, without their checksums.
#[cfg(feature = "tensorboard")]
fn records(path: &std::path::Path) -> Vec<Vec<u8>> {
    let bytes = std::fs::read(path).unwrap();
    let (mut at, mut records) = (0, Vec::new());
    while at < bytes.len() {
        let len = u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()) as usize;
        records.push(bytes[at + 12..at + 12 + len].to_vec());
        at += 16 + len;
    }
    records
}

/// Python's `tensorboard` package reads them: checked by hand, since CI has none. Here: frames, tags and steps.
#[cfg(feature = "tensorboard")]
#[test]
fn event_files() {
    let (train, test) = shapes(37).split_at(22).unwrap();
    let folder = Scratch::new();
    let board = || striate::train::TensorBoard::in_folder(folder.join("board"));
    let fit =
        |epochs| silent(epochs).validate(&test).callback(board()).checkpoints(Checkpoints::in_folder(folder.join("checkpoints")));
    cpu().fit(&train, fit(2)).unwrap();
    cpu().fit(&train, fit(3).resume(Resume::Latest)).unwrap();
    for (name, tags) in [("train", &["loss", "accuracy", "learning_rate"][..]), ("validation", &["loss", "accuracy"])] {
        let mut files: Vec<_> = std::fs::read_dir(folder.join("board").join(name)).unwrap().map(|e| e.unwrap().path()).collect();
        files.sort();
        assert_eq!(files.len(), 2);
        let [first, second] = [records(&files[0]), records(&files[1])];
        // Version and two epochs; version, the mark of a new session, and the third epoch.
        assert_eq!((first.len(), second.len()), (3, 3));
        assert!(first[0].ends_with(b"brain.Event:2") && second[0].ends_with(b"brain.Event:2"));
        for (record, step) in [(&first[1], 3), (&first[2], 6), (&second[2], 9)] {
            // Field 1 is a double, field 2 the step.
            assert_eq!(record[9..11], [2 << 3, step], "{name}");
            for tag in tags {
                assert!(record.windows(tag.len()).any(|w| w == tag.as_bytes()), "{name}: {tag}");
            }
        }
        // Step 7 on doesn't count any more; field 7 says that a session starts.
        assert_eq!(second[1][9..], [2 << 3, 7, 7 << 3 | 2, 2, 1 << 3, 1]);
    }
}

#[test]
fn the_search_for_a_rate_leaves_no_trace() {
    let train = shapes(60);
    for device in devices("a search for learning rates") {
        let build = || {
            let mut model = net().build(&device, Seed(7)).unwrap();
            model.fit(&train, silent(1).average(0.9)).unwrap();
            model
        };
        let mut model = build();
        let before = model.weights().unwrap();
        let fit = silent(2).batch(60).optimizer(Sgd::new(0.1)).average(0.5);
        let curve = model.find_learning_rate(&train, &fit, 1e-5..=1e4, 100).unwrap();
        assert_eq!(model.weights().unwrap(), before, "{device}");
        let mut other = build();
        model.swap_average().unwrap();
        other.swap_average().unwrap();
        assert_eq!(model.weights().unwrap(), other.weights().unwrap(), "{device}");
        // Training after it is as without it.
        model.fit(&train, fit.clone()).unwrap();
        other.fit(&train, fit).unwrap();
        assert_eq!(model.weights().unwrap(), other.weights().unwrap(), "{device}");

        assert!(curve.diverged && curve.rates.len() < 100, "{} steps", curve.rates.len());
        assert_eq!(curve.rates[0], 1e-5);
        let [steepest, tenth] = [curve.steepest().unwrap(), curve.tenth_of_minimum().unwrap()];
        println!("{device}: steepest {steepest:e}, a tenth of the minimum {tenth:e}");
        assert!((1e-3..10.0).contains(&steepest) && (1e-3..10.0).contains(&tenth), "{steepest} {tenth}");
    }
    let mut model = cpu();
    assert!(model.find_learning_rate(&train, &silent(1), 0.0..=1.0, 10).is_err());
    assert!(model.find_learning_rate(&train, &silent(1), 1.0..=0.1, 10).is_err());
    assert!(model.find_learning_rate(&train, &silent(1), 0.1..=1.0, 1).is_err());
}

#[test]
fn several_runs() {
    let (train, test) = shapes(37).split_at(22).unwrap();
    let run = |seed| {
        let mut model = net().build(&Device::cpu(), seed)?;
        model.fit(&train, silent(3).validate(&test))
    };
    let runs = repeat([1, 2, 3].map(Seed), run).unwrap();
    let loss = runs.statistic(|history| history.epochs[2].val_loss.unwrap());
    assert!(loss.n == 3 && loss.deviation > 0.0 && loss.min <= loss.mean && loss.mean <= loss.max, "{loss:?}");
    // A seed is a run.
    assert_eq!(run(Seed(2)).unwrap().validations, runs.runs[1].1.validations);
}
