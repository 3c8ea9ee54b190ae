//! What both benches share: arguments, the clock, and a line of JSON a case.
//!
//! Criterion takes the samples and says what changed since the last run; the figures of `--json` are the medians of those samples.

use clap::Parser;
use criterion::{Criterion, Throughput};
use serde_json::json;
use std::cell::RefCell;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use striate::device::Device;

/// Time cases on a device.
#[derive(Parser)]
pub struct Arguments {
    /// Only cases with one of these in their name; `batch_1$` at its end
    filter: Vec<String>,
    /// `cpu`, `gpu`, or a part of a GPU's name [default: the best device]
    #[arg(long)]
    device: Option<String>,
    /// Append a line of JSON a case to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Seconds of measurement a case
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Names of the cases, without running any
    #[arg(long)]
    list: bool,
    /// What `cargo bench` passes
    #[arg(long, hide = true)]
    bench: bool,
}

/// What a bench counts.
pub struct Unit {
    /// Of a rate.
    pub name: &'static str,
    /// How many of the cases' units that is.
    pub size: f64,
}

/// Runs a number of iterations and says how long they took.
pub type Run = Box<dyn FnMut(u64) -> anyhow::Result<Duration>>;

/// Makes a case ready on a device.
pub type Start = Box<dyn FnOnce(&Device) -> anyhow::Result<Run>>;

/// Something to time. `start` makes what it needs; an error of it, such as too little memory, leaves the case out with a line.
pub struct Case {
    /// `conv2d/3x3_64_64_56/forward`.
    pub name: String,
    /// Units of work of an iteration: floating-point operations, images.
    pub work: u64,
    /// Makes the case ready.
    pub start: Start,
}

impl Case {
    /// A case.
    pub fn new(name: impl Into<String>, work: u64, start: impl FnOnce(&Device) -> anyhow::Result<Run> + 'static) -> Case {
        Case { name: name.into(), work, start: Box::new(start) }
    }
}

/// Times all cases that the command line selects.
pub fn run(bench: &str, unit: Unit, cases: Vec<Case>) -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let matches = |name: &str, filter: &String| match filter.strip_suffix('$') {
        Some(end) => name.ends_with(end),
        None => name.contains(filter),
    };
    let selects = |c: &Case| arguments.filter.is_empty() || arguments.filter.iter().any(|f| matches(&c.name, f));
    let cases: Vec<Case> = cases.into_iter().filter(selects).collect();
    anyhow::ensure!(!cases.is_empty(), "no case has {} in its name; --list prints all names", arguments.filter.join(" or "));
    if arguments.list {
        cases.iter().for_each(|c| println!("{}", c.name));
        return Ok(());
    }
    let device = match &arguments.device {
        Some(name) => Device::named(name)?,
        None => Device::best()?,
    };
    println!("on {device}");
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_secs_f64(arguments.seconds / 3.0))
        .measurement_time(Duration::from_secs_f64(arguments.seconds))
        .without_plots();
    for case in cases {
        let started = Instant::now();
        let ready = (case.start)(&device).and_then(|mut run| Ok((run(1)?, run)));
        let mut run = match ready {
            Ok((_, run)) => run,
            Err(e) => {
                println!("{}: left out: {e}", case.name);
                continue;
            }
        };
        // Kernels are made and memory is taken before the first sample.
        let first = started.elapsed();
        let samples: RefCell<Vec<f64>> = RefCell::default();
        let mut failed = Ok(());
        let mut group = criterion.benchmark_group(device.backend());
        group.throughput(Throughput::Elements(case.work));
        group.bench_function(&case.name, |b| {
            b.iter_custom(|iterations| match run(iterations) {
                Ok(time) => {
                    samples.borrow_mut().push(time.as_secs_f64() / iterations as f64);
                    time
                }
                Err(e) => {
                    failed = Err(e);
                    Duration::from_secs(1)
                }
            });
        });
        group.finish();
        failed?;
        let mut samples = samples.into_inner();
        // The first ones are Criterion's warm-up.
        samples.drain(..samples.len().saturating_sub(10));
        samples.sort_by(f64::total_cmp);
        let at = |share: f64| samples[((samples.len() - 1) as f64 * share).round() as usize];
        let rate = case.work as f64 / at(0.5) / unit.size;
        let ms = |s: f64| format!("{:.4} ms", s * 1e3);
        println!("{:40} {:>14} ({} to {})  {rate:.1} {}\n", case.name, ms(at(0.5)), ms(at(0.1)), ms(at(0.9)), unit.name);
        if let Some(path) = &arguments.json {
            let line = json!({
                "bench": bench, "case": case.name, "device": device.name(), "backend": device.backend(),
                "median_ms": at(0.5) * 1e3, "low_ms": at(0.1) * 1e3, "high_ms": at(0.9) * 1e3, "first_ms": first.as_secs_f64() * 1e3,
                "rate": rate, "unit": unit.name,
            });
            writeln!(OpenOptions::new().create(true).append(true).open(path)?, "{line}")?;
        }
    }
    Ok(())
}
