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
    /// Height and width of an image
    #[arg(long, default_value_t = 224)]
    size: usize,
    /// Number of classes
    #[arg(long, default_value_t = 1000)]
    classes: usize,
}

fn main() -> anyhow::Result<()> {
    let Arguments { model, size, classes } = Arguments::parse();
    common::start_logging();
    println!("{}", model.net()([size, size, 3], classes).summary()?);
    Ok(())
}
