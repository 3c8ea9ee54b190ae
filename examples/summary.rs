//! The layers of a well-known network with their shapes, parameters and costs: `summary -- --model resnet18`.

#[macro_use]
mod common;

use clap::{Parser, ValueEnum};
use striate::nn::Net;
use striate::zoo;

/// Shows a network of the zoo layer by layer.
#[derive(Parser)]
struct Arguments {
    /// Which network
    #[arg(long, value_enum, default_value_t = Name::Resnet18)]
    model: Name,
    /// Height and width of an image
    #[arg(long, default_value_t = 224)]
    size: usize,
    /// Number of classes
    #[arg(long, default_value_t = 1000)]
    classes: usize,
}

#[derive(Clone, Copy, ValueEnum)]
enum Name {
    MobilenetV2,
    Resnet18,
    Resnet34,
    Resnet50,
    Resnet101,
    Resnet152,
    Vgg11,
    Vgg13,
    Vgg16,
    Vgg19,
}

impl Name {
    fn net(self) -> fn([usize; 3], usize) -> Net {
        match self {
            Name::MobilenetV2 => zoo::mobilenet_v2,
            Name::Resnet18 => zoo::resnet18,
            Name::Resnet34 => zoo::resnet34,
            Name::Resnet50 => zoo::resnet50,
            Name::Resnet101 => zoo::resnet101,
            Name::Resnet152 => zoo::resnet152,
            Name::Vgg11 => zoo::vgg11,
            Name::Vgg13 => zoo::vgg13,
            Name::Vgg16 => zoo::vgg16,
            Name::Vgg19 => zoo::vgg19,
        }
    }
}

fn main() -> anyhow::Result<()> {
    let Arguments { model, size, classes } = Arguments::parse();
    common::start_logging();
    println!("{}", model.net()([size, size, 3], classes).summary()?);
    Ok(())
}
