//! The layers of a well-known network with their shapes, parameters and costs: `summary -- --model resnet18`.

#[macro_use]
mod common;
#[path = "common/networks.rs"]
mod networks;

use clap::Parser;
use networks::Zoo;

/// Shows a network of the zoo layer by layer.
#[derive(Parser)]
struct Arguments {
    /// Which network
    #[arg(long, value_enum, default_value_t = Zoo::Resnet18)]
    model: Zoo,
    /// Height and width of an image [default: what it is made for, mostly 224]
    #[arg(long)]
    size: Option<usize>,
    /// Number of classes [default: what it is made for, mostly 1000]
    #[arg(long)]
    classes: Option<usize>,
}

fn main() -> anyhow::Result<()> {
    let Arguments { model, size, classes } = Arguments::parse();
    common::start_logging();
    let (usual_size, usual_classes) = model.made_for();
    let size = size.unwrap_or(usual_size);
    println!("{}", model.net()([size, size, 3], classes.unwrap_or(usual_classes)).summary()?);
    Ok(())
}
