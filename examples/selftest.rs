//! Compares every op on a device with the crate's double-precision CPU run: the first thing to run on a card that nobody has seen.
//!
//!     cargo run --release --example selftest
//!     cargo run --release --example selftest -- --device gpu --filter conv2d
//!
//! Each op has cases (small inputs, odd sizes), and each case an error bound, worked out from the roundings of the op's kernel. The
//! table shows, for the worst case of an op, which part of that budget its result has used up. A GPU is tested twice: with all that
//! it offers, and held to the limits that every WebGPU device has. The exit code is 0 if all passed, 1 if not, and 2 for arguments
//! that make no sense and devices that don't open.

#[macro_use]
mod common;

use clap::Parser;
use serde_json::json;
use std::process::ExitCode;
use std::time::Instant;
use striate::device::{Device, DeviceInfo, GpuOptions};
use striate::op::Declaration;
use striate::selftest::{OpReport, run_op};

/// Compare every op on a device with the double-precision CPU run.
#[derive(Parser)]
struct Arguments {
    /// `cpu`, `gpu`, or a part of a GPU's name [default: the best device]
    #[arg(long)]
    device: Option<String>,
    /// Only ops with this in their name
    #[arg(long, value_name = "OP", default_value = "")]
    filter: String,
    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
    /// Test a GPU at WebGPU's default limits only
    #[arg(long)]
    default_limits: bool,
}

/// A device, opened in one way.
struct Setup {
    label: &'static str,
    device: Device,
}

fn main() -> ExitCode {
    common::start_logging();
    let arguments = Arguments::parse();
    let ops: Vec<_> = striate::ops::all().filter(|d| d.name.contains(&arguments.filter)).collect();
    if ops.is_empty() {
        let names: Vec<_> = striate::ops::all().map(|d| d.name.to_string()).collect();
        eprintln!("selftest: no op has '{}' in its name; there are:\n{}", arguments.filter, listed(&names, 2));
        return ExitCode::from(2);
    }
    let setups = match open(&arguments) {
        Ok(setups) => setups,
        Err(e) => {
            eprintln!("selftest: {e}");
            return ExitCode::from(2);
        }
    };
    let device = &setups[0].device;
    let info = Device::list().into_iter().find(|d| d.name == device.name() && d.backend == device.backend());
    let started = Instant::now();
    if !arguments.json {
        show_device(device, info.as_ref());
        show_header(&setups);
    }
    let mut results = Vec::new();
    for op in ops {
        let reports: Vec<_> = setups.iter().map(|s| run_op(&s.device, op)).collect();
        if !arguments.json {
            show_row(&reports);
        }
        results.push((op, reports));
    }
    let passed = results.iter().all(|(_, reports)| reports.iter().all(OpReport::passed));
    let seconds = started.elapsed().as_secs_f64();
    if arguments.json {
        println!("{:#}", as_json(&setups, info.as_ref(), &results, passed, seconds));
    } else {
        show_failures(&setups, &results);
        show_verdict(&setups, &results, seconds);
    }
    ExitCode::from(u8::from(!passed))
}

/// Opens the device: a GPU twice, at its own limits and at WebGPU's default ones.
fn open(arguments: &Arguments) -> striate::Result<Vec<Setup>> {
    let wanted = arguments.device.clone().or_else(|| std::env::var("STRIATE_DEVICE").ok().filter(|name| !name.is_empty()));
    let name = match wanted {
        Some(name) => name,
        None => default_device(),
    };
    if name.eq_ignore_ascii_case("cpu") {
        return Ok(vec![Setup { label: "cpu", device: Device::cpu() }]);
    }
    let gpu = |default_limits| {
        let from_env = GpuOptions::from_env();
        let default_limits = default_limits || from_env.default_limits;
        Device::gpu_with(&name, GpuOptions { guard: true, default_limits, ..from_env })
    };
    let mut setups = Vec::new();
    if !arguments.default_limits {
        setups.push(Setup { label: "own", device: gpu(false)? });
    }
    setups.push(Setup { label: "default", device: gpu(true)? });
    Ok(setups)
}

/// The best GPU, or the CPU backend with a word on why. The word goes to stderr, where it can't get into JSON.
fn default_device() -> String {
    let devices = Device::list();
    if devices.iter().any(|d| d.is_best && d.backend != "cpu") {
        return "gpu".to_string();
    }
    match devices.iter().find(|d| d.backend != "cpu") {
        Some(software) => eprintln!(
            "There is no hardware GPU, so this tests the CPU backend. To test the software GPU\n'{}': --device gpu\n",
            software.name
        ),
        None => eprintln!(
            "There is no GPU, so this tests the CPU backend. With a software GPU installed\n\
             (Mesa's lavapipe: mesa-vulkan-drivers), --device gpu tests that.\n"
        ),
    }
    "cpu".to_string()
}

fn show_device(device: &Device, info: Option<&DeviceInfo>) {
    let list = |name: &str, values: &[String]| println!("{name:<12}{}", listed(values, 12).trim_start());
    let line = |name: &str, value: &str| list(name, &[value.to_string()]);
    line("device", device.name());
    if let Some(info) = info {
        line("kind", info.kind);
        line("backend", &info.backend);
        line("driver", &info.driver);
        if !info.limits.is_empty() {
            list("limits", &info.limits.iter().map(|(name, value)| format!("{name} {value}")).collect::<Vec<_>>());
            list("features", &info.features);
        }
    }
    if let Some(profile) = device.profile() {
        line("main loop", &format!("{:?}", profile.main_loop).to_lowercase());
        line("subgroup", &profile.subgroup_len.map_or("none, or of no fixed size".to_string(), |n| format!("{n} invocations")));
    }
    println!();
}

fn show_header(setups: &[Setup]) {
    println!("Each op's worst case, as a share of its error budget (0: exact; limit: 100%).");
    if setups.len() == 2 {
        println!("Limits: the adapter's own, and those that every WebGPU device has (default).");
    }
    println!();
    let labels: String = setups.iter().map(|s| format!(" {:>7}", s.label)).collect();
    println!("{:<26} {:>5}{labels}  {:<22} verdict", "op", "cases", "worst case");
}

/// The report of the worst result: one without a number, or the largest.
fn worst(reports: &[OpReport]) -> &OpReport {
    let rank = |r: &OpReport| if r.worst_share.is_nan() { f64::INFINITY } else { r.worst_share };
    reports.iter().max_by(|a, b| rank(a).total_cmp(&rank(b))).unwrap_or(&reports[0])
}

fn show_row(reports: &[OpReport]) {
    let share = |r: &OpReport| match r.worst_share {
        s if s.is_nan() => "none".to_string(),
        0.0 => "0".to_string(),
        s if s < 0.0001 => "<0.01%".to_string(),
        s if s > 99.99 => ">9999%".to_string(),
        s => format!("{:.2}%", s * 100.0),
    };
    let shares: String = reports.iter().map(|r| format!(" {:>7}", share(r))).collect();
    let worst = worst(reports);
    let case = if worst.worst_share == 0.0 { "" } else { worst.worst_case.as_str() };
    let case = if case.len() > 22 { case.chars().take(19).chain("...".chars()).collect() } else { case.to_string() };
    let verdict = if reports.iter().all(OpReport::passed) { "ok" } else { "FAILED" };
    println!("{:<26} {:>5}{shares}  {case:<22} {verdict}", worst.op, worst.n_cases);
}

type Results<'a> = [(&'a Declaration, Vec<OpReport>)];

fn show_failures(setups: &[Setup], results: &Results<'_>) {
    for (i, setup) in setups.iter().enumerate() {
        let failures: Vec<_> = results.iter().flat_map(|(_, reports)| &reports[i].failures).collect();
        if !failures.is_empty() {
            let limits = if setup.device.profile().is_some() { format!(" at {} limits", setup.label) } else { String::new() };
            println!("\nFailures{limits}:");
            failures.iter().for_each(|f| println!("{}", wrapped(f, 2)));
        }
    }
}

fn show_verdict(setups: &[Setup], results: &Results<'_>, seconds: f64) {
    let n_cases: usize = results.iter().map(|(_, reports)| reports[0].n_cases).sum();
    let failed: Vec<_> =
        results.iter().filter(|(_, r)| !r.iter().all(OpReport::passed)).map(|(op, _)| op.name.to_string()).collect();
    let twice = if setups.len() == 2 { ", each twice" } else { "" };
    let of = format!("{} ops, {n_cases} cases{twice}, {seconds:.1} s", results.len());
    match failed.is_empty() {
        true => println!("\nPASSED: {of}"),
        false => println!("\nFAILED: {} of {of}\n{}", failed.len(), listed(&failed, 2)),
    }
}

fn as_json(setups: &[Setup], info: Option<&DeviceInfo>, results: &Results<'_>, passed: bool, seconds: f64) -> serde_json::Value {
    let device = &setups[0].device;
    let limits: serde_json::Map<_, _> =
        info.iter().flat_map(|d| &d.limits).map(|(name, value)| (name.clone(), json!(value))).collect();
    let run = |(setup, r): (&Setup, &OpReport)| {
        // JSON has no NaN and no infinity: null says that the worst case has no finite share.
        json!({
            "limits": setup.label, "passed": r.passed(), "worst_share": r.worst_share, "worst_case": r.worst_case,
            "failures": r.failures,
        })
    };
    let op = |(op, reports): &(&Declaration, Vec<OpReport>)| {
        json!({
            "op": op.name, "cases": reports[0].n_cases, "passed": reports.iter().all(OpReport::passed),
            "runs": setups.iter().zip(reports).map(run).collect::<Vec<_>>(),
        })
    };
    json!({
        "device": device.name(),
        "kind": info.map(|d| d.kind),
        "backend": device.backend(),
        "driver": info.map(|d| &d.driver),
        "limits": limits,
        "features": info.map(|d| &d.features),
        "main_loop": device.profile().map(|p| format!("{:?}", p.main_loop).to_lowercase()),
        "subgroup_len": device.profile().and_then(|p| p.subgroup_len),
        "ops": results.iter().map(op).collect::<Vec<_>>(),
        "passed": passed,
        "seconds": seconds,
    })
}

/// Each line of `text` in indented lines of at most 80 columns.
fn wrapped(text: &str, indent: usize) -> String {
    text.lines().map(|line| lines(line.split_whitespace().map(str::to_string), indent)).collect::<Vec<_>>().join("\n")
}

/// A list in indented lines of at most 80 columns, broken between its items only.
fn listed(items: &[String], indent: usize) -> String {
    let last = items.len().saturating_sub(1);
    lines(items.iter().enumerate().map(|(i, item)| format!("{item}{}", if i < last { "," } else { "" })), indent)
}

fn lines(pieces: impl Iterator<Item = String>, indent: usize) -> String {
    let mut lines: Vec<String> = Vec::new();
    for piece in pieces {
        match lines.last_mut().filter(|line| indent + line.len() + 1 + piece.len() <= 80) {
            Some(line) => *line += &format!(" {piece}"),
            None => lines.push(piece),
        }
    }
    lines.iter().map(|line| format!("{:indent$}{line}", "")).collect::<Vec<_>>().join("\n")
}
