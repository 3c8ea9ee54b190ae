//! Shows where the time of a training step, or of a prediction, goes: by layer and by op, with rates and the share of what the device
//! reaches at best.
//!
//!     cargo run --release --example profile -- --model das --batch 128
//!     cargo run --release --example profile -- --model das --predict --batch 1 --device gpu --json

#[macro_use]
mod common;
#[path = "common/networks.rs"]
mod networks;

use clap::Parser;
use networks::AnyNetwork;
use striate::Device;
use striate::train::Fit;

/// Shows where the time of a training step goes.
#[derive(Parser)]
struct Arguments {
    /// Which network: `das`, `resnet18`, ...
    #[arg(long, default_value = "das")]
    model: AnyNetwork,
    /// Samples a step
    #[arg(long, default_value_t = 128)]
    batch: usize,
    /// A prediction instead of a training step
    #[arg(long)]
    predict: bool,
    /// `cpu`, `gpu`, or a part of a GPU's name [default: the best device]
    #[arg(long)]
    device: Option<String>,
    /// Print one JSON object instead of tables
    #[arg(long)]
    json: bool,
}

fn main() -> anyhow::Result<()> {
    common::start_logging();
    let arguments = Arguments::parse();
    let device = match &arguments.device {
        Some(name) => Device::named(name)?,
        None => Device::best()?,
    };
    let mut model = arguments.model.build(&device)?;
    let profile = if arguments.predict {
        model.profile_prediction(arguments.batch)?
    } else {
        model.profile(&Fit::epochs(1).batch(arguments.batch))?
    };
    if arguments.json {
        println!("{}", profile.to_json());
    } else {
        println!("{}: {profile}", arguments.model.name());
    }
    Ok(())
}
