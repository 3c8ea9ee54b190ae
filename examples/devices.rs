//! Lists the devices that a model can run on, and says which one `Device::best()` takes.
//!
//!     cargo run --release --example devices

#[macro_use]
mod common;

use clap::Parser;
use serde_json::json;
use std::process::ExitCode;
use striate::device::{Device, DeviceInfo};

/// List the devices of this machine: GPUs through their drivers, and the CPU backend.
#[derive(Parser)]
struct Arguments {
    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
    /// Print only how many GPUs there are, and fail if there is none
    #[arg(long, conflicts_with = "json")]
    count_gpus: bool,
}

fn main() -> ExitCode {
    common::start_logging();
    let arguments = Arguments::parse();
    let devices = Device::list();
    if arguments.count_gpus {
        let n = devices.iter().filter(|d| d.backend != "cpu").count();
        println!("{n}");
        return ExitCode::from(u8::from(n == 0));
    }
    let wanted = std::env::var("STRIATE_DEVICE").ok().filter(|name| !name.is_empty());
    // What the program would run on, with the variable's say.
    let best = Device::best();
    if arguments.json {
        println!("{:#}", as_json(&devices, wanted.as_deref(), &best));
    } else {
        for (i, device) in devices.iter().enumerate() {
            show(i + 1, device);
        }
        println!();
        match (&wanted, &best) {
            (None, Ok(device)) => println!("Device::best() takes: {device}"),
            (Some(name), Ok(device)) => println!("Device::best() takes: {device}\n  because STRIATE_DEVICE is '{name}'"),
            (None, Err(e)) => println!("Device::best() fails: {e}"),
            (Some(name), Err(e)) => println!("Device::best() fails, with STRIATE_DEVICE='{name}':\n  {e}"),
        }
        if let (None, Some(best)) = (&wanted, devices.iter().find(|d| d.is_best)) {
            println!("  because {}", best.reason);
        }
        println!("To take another: STRIATE_DEVICE=cpu, =gpu, or =<part of a name>.");
    }
    if best.is_ok() { ExitCode::SUCCESS } else { ExitCode::from(1) }
}

fn show(number: usize, device: &DeviceInfo) {
    println!("{number}. {}", device.name);
    let line = |name: &str, value: &str| println!("   {name:<26}{value}");
    line("kind", device.kind);
    line("backend", &device.backend);
    line("driver", &device.driver);
    for (name, value) in &device.limits {
        line(name, value);
    }
    if !device.features.is_empty() {
        line("features", &device.features.join(", "));
    }
    line("taken by default", &format!("{}: {}", if device.is_best { "yes" } else { "no" }, device.reason));
}

fn as_json(devices: &[DeviceInfo], wanted: Option<&str>, best: &striate::Result<Device>) -> serde_json::Value {
    let one = |d: &DeviceInfo| {
        let limits: serde_json::Map<_, _> = d.limits.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
        json!({
            "name": d.name, "kind": d.kind, "backend": d.backend, "driver": d.driver, "limits": limits, "features": d.features,
            "is_best": d.is_best, "reason": d.reason,
        })
    };
    let (best, error) = match best {
        Ok(device) => (json!({ "name": device.name(), "backend": device.backend() }), None),
        Err(e) => (json!(null), Some(e.to_string())),
    };
    json!({
        "devices": devices.iter().map(one).collect::<Vec<_>>(),
        "STRIATE_DEVICE": wanted,
        "best": best,
        "error": error,
    })
}
