//! Training that is killed at random moments, by the signal that no program can see, goes on from a whole checkpoint every time, and ends
//! with the weights of a run that was never killed. `STRIATE_KILLS=200` kills it 200 times instead of 10.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // Tests may stop at what they don't expect.

mod common;

use common::shapes::{Scratch, shapes};
use sha2::{Digest, Sha256};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use striate::nn::Sequential;
use striate::random::Stream;
use striate::train::{Adam, Checkpoints, EarlyStopping, Fit, Monitor, Progress, Resume, Schedule, read_checkpoint};
use striate::{Device, Seed};

const FOLDER: &str = "STRIATE_KILL_FOLDER";

/// The program that is killed: trains in a folder, and prints what the weights are in the end.
#[test]
fn trains() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let (train, test) = shapes(700).split_at(600).unwrap();
    let mut model = Sequential::new([6, 6, 1])
        .conv2d(8, 3)
        .batch_norm()
        .relu()
        .max_pool2d(2)
        .dropout(0.2)
        .flatten()
        .dense(64)
        .relu()
        .dense(3)
        .build(&Device::cpu(), Seed(5))
        .unwrap();
    let fit = Fit::epochs(16)
        .batch(4)
        .optimizer(Adam::new(0.002))
        .accumulate(2)
        .average(0.99)
        .clip_norm(1.0)
        .schedule(Schedule::Cosine { last: 0.01 })
        .validate(&test)
        .validate_every(40)
        .early_stopping(EarlyStopping::on(Monitor::ValLoss).patience(1000).restore_best())
        .checkpoints(Checkpoints::in_folder(folder).every_steps(7).best(Monitor::ValAccuracy))
        .resume(Resume::Latest)
        .progress(Progress::Silent);
    let history = model.fit(&train, fit).unwrap();
    let mut hash = Sha256::new();
    for (name, weights) in model.weights().unwrap() {
        hash.update(name.as_bytes());
        hash.update(weights.to_le_bytes());
    }
    let digest: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    println!("weights_sha256 {digest} steps {} failed {}", history.steps, history.failed_checkpoints);
}

fn start(folder: &Path) -> Child {
    let program = std::env::current_exe().unwrap();
    let arguments = ["--exact", "trains", "--nocapture"];
    Command::new(program).args(arguments).env(FOLDER, folder).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// What a run that came to its end says.
fn outcome(child: Child) -> String {
    let output = child.wait_with_output().unwrap();
    let [said, errors] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    assert!(output.status.success(), "{said}{errors}");
    said.lines().find(|line| line.starts_with("weights_sha256")).unwrap_or_else(|| panic!("{said}{errors}")).to_string()
}

#[test]
fn killed_at_any_moment_it_goes_on() {
    if std::env::var_os(FOLDER).is_some() {
        return;
    }
    let n: usize = std::env::var("STRIATE_KILLS").map_or(10, |n| n.parse().unwrap());
    let whole = Scratch::new();
    let begun = Instant::now();
    let want = outcome(start(&whole.0));
    let seconds = begun.elapsed().as_secs_f64();
    assert!(want.contains("steps 2400 failed 0"), "{want}");
    println!("never killed: {want}, {seconds:.1} s");

    let mut moments = Stream::new(Seed(11), 0);
    let (mut kills, mut runs, mut unfinished, mut advanced) = (0, 0, 0, 0);
    while kills < n || runs == 0 {
        let folder = Scratch::new();
        let mut last = 0;
        loop {
            let mut child = start(&folder.0);
            // Some are killed while they start, most while they train.
            std::thread::sleep(Duration::from_secs_f64(moments.uniform() * 0.25 * seconds));
            if kills == n || child.try_wait().unwrap().is_some() {
                assert_eq!(outcome(child), want);
                runs += 1;
                break;
            }
            child.kill().unwrap();
            child.wait().unwrap();
            kills += 1;
            // What is in the folder is whole; of what was being written there is at most a file of another name.
            let mut step = last;
            for name in folder.names() {
                let path = folder.join(&name);
                if name.ends_with(".new") {
                    unfinished += 1;
                } else if name.starts_with("step-") {
                    step = step.max(read_checkpoint(path).unwrap().history.steps);
                }
            }
            assert!(step >= last, "a checkpoint was lost: {step} steps after {last}");
            advanced += usize::from(step > last);
            last = step;
        }
        let names = folder.names();
        assert_eq!(names, ["best.safetensors", "step-000002394.safetensors", "step-000002400.safetensors"]);
    }
    println!("killed {kills} times, {unfinished} times while a file was being written, {advanced} times after a new checkpoint;");
    println!("{runs} runs came to their end, each with the same weights");
}
