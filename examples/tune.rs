//! Measures which ways to cut up matmuls and convolutions are the fastest on a GPU, and keeps what it learned in a file.
//!
//!     cargo run --release --example tune -- --device gpu --seconds 20 --file tuning.json
//!     cargo run --release --example tune -- --model resnet18 --batch 16 --seconds 60 --file tuning.json
//!     STRIATE_TUNING=tuning.json cargo run --release --example mnist

#[macro_use]
mod common;
#[path = "common/networks.rs"]
mod networks;

use clap::Parser;
use networks::AnyNetwork;
use std::path::PathBuf;
use std::time::Duration;
use striate::Device;
use striate::train::Fit;
use striate::tune::{Outcome, Tried, Tuning};

/// Measures which ways to cut up matmuls and convolutions are the fastest on a GPU.
#[derive(Parser)]
struct Arguments {
    /// `gpu`, or a part of a GPU's name [default: the best device]
    #[arg(long)]
    device: Option<String>,
    /// For how long to measure
    #[arg(long, default_value_t = 20.0)]
    seconds: f64,
    /// Where to keep what was learned: name it in STRIATE_TUNING later
    #[arg(long)]
    file: Option<PathBuf>,
    /// Tune for a training step of this network instead of usual sizes
    #[arg(long)]
    model: Option<AnyNetwork>,
    /// Samples of that step
    #[arg(long, default_value_t = 16)]
    batch: usize,
}

fn main() -> anyhow::Result<()> {
    common::start_logging();
    let arguments = Arguments::parse();
    let device = match &arguments.device {
        Some(name) => Device::named(name)?,
        None => Device::best()?,
    };
    let budget = Duration::try_from_secs_f64(arguments.seconds)?;
    let tuning = match &arguments.model {
        None => device.tune(budget)?,
        Some(network) => {
            let mut model = network.build(&device)?;
            // Makes the plan of a training step.
            model.profile(&Fit::epochs(1).batch(arguments.batch))?;
            let plans: Vec<_> = model.plans().into_values().cloned().collect();
            drop(model);
            device.tune_for(&plans.iter().collect::<Vec<_>>(), budget)?
        }
    };
    print(&tuning);
    if let Some(file) = &arguments.file {
        tuning.device.save_tuning(file)?;
        println!("written to {0}; STRIATE_TUNING={0} makes use of it", file.display());
    }
    Ok(())
}

fn print(tuning: &Tuning) {
    println!("{}", tuning.device);
    println!("{:30} {:>5} {:>10} {:>10} {:>6}  {}", "problem", "tried", "before, ms", "after, ms", "gain", "choice");
    for t in &tuning.tried {
        let (ms, problem) = (|seconds: f64| format!("{:.3}", seconds * 1e3), last_characters(&t.problem, 30));
        let [before, after, gain] = match t.outcome {
            Outcome::Unfinished => Default::default(),
            _ => [ms(t.before), ms(t.after), format!("{:.1}%", t.gain() * 100.0)],
        };
        println!("{problem:30} {:>5} {before:>10} {after:>10} {gain:>6}  {}", t.n_candidates, choice(t));
    }
    if tuning.n_left > 0 {
        println!("{} more weren't tried: more seconds are needed", tuning.n_left);
    }
}

/// What was chosen, in 14 characters.
fn choice(t: &Tried) -> String {
    match t.outcome {
        Outcome::Unfinished => "out of time".to_string(),
        Outcome::Kept => "as it was".to_string(),
        Outcome::Adopted => {
            let tile = t.choice.tile.map_or("table".to_string(), |i| format!("tile {i}"));
            format!("{tile} k*{}", 2f32.powi(t.choice.splits.into()))
        }
    }
}

fn last_characters(text: &str, n: usize) -> String {
    text.chars().skip(text.chars().count().saturating_sub(n)).collect()
}
