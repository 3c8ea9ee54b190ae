//! The networks, as one would meet them in a course.

use crate::{Decay, Optimizer};
use clap::ValueEnum;
use striate::nn::{Conv2d, Model, Sequential};
use striate::{Device, Result, Seed};

/// A network for 28 x 28 grey images of ten classes.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Network {
    /// One layer: 7,850 parameters
    Softmax,
    /// Four hidden layers with sigmoid, 784-200-100-60-30-10: 185,300 parameters
    Sigmoid,
    /// Two hidden layers, 784-512-256-10, before convolutions: 535,818 parameters
    Dense,
    /// Three convolutions and a dense layer: 93,322 parameters
    Convnet,
    /// Three convolutions, the last with 128 filters: 104,202 parameters
    Convnet128,
    /// Two 5 x 5 convolutions and a wide dense layer: 3,274,634 parameters
    Kth,
    /// Two convolutions, one pooling, two dropouts: 1,199,882 parameters
    Das,
    /// LeNet-5 (LeCun and others, 1998) in its common form: 61,706 parameters
    Lenet5,
}

/// What suits a network.
pub struct Recipe {
    pub optimizer: Optimizer,
    pub lr: Option<f64>,
    pub schedule: Decay,
    pub batch: usize,
}

impl Network {
    /// Its name on the command line.
    pub fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |v| v.get_name().to_string())
    }

    /// Optimizer, learning rate, its schedule and batch size where none are given.
    pub fn recipe(self) -> Recipe {
        let (optimizer, lr, schedule, batch) = match self {
            Network::Softmax => (Optimizer::Sgd, Some(0.5), Decay::Constant, 100),
            Network::Sigmoid => (Optimizer::Adam, Some(0.003), Decay::Cosine, 100),
            Network::Kth => (Optimizer::Adam, Some(0.001), Decay::Cosine, 100),
            // As in the course that it comes from.
            Network::Das => (Optimizer::Adadelta, None, Decay::Constant, 128),
            _ => (Optimizer::Adam, Some(0.002), Decay::Cosine, 64),
        };
        Recipe { optimizer, lr, schedule, batch }
    }

    /// The network on a device, with initial weights.
    pub fn build(self, device: &Device, seed: Seed) -> Result<Model> {
        let net = Sequential::new([28, 28, 1]);
        let net = match self {
            Network::Softmax => net.flatten().dense(10),
            Network::Sigmoid => [200, 100, 60, 30].iter().fold(net.flatten(), |net, &units| net.dense(units).sigmoid()).dense(10),
            Network::Dense => net.flatten().dense(512).relu().dense(256).relu().dense(10),
            Network::Convnet => three_convolutions(net, 64).dense(64).relu().dense(10),
            Network::Convnet128 => three_convolutions(net, 128).dense(10),
            Network::Kth => net
                .layer(Conv2d::new(32, 5).same())
                .relu()
                .max_pool2d(2)
                .layer(Conv2d::new(64, 5).same())
                .relu()
                .max_pool2d(2)
                .flatten()
                .dense(1024)
                .relu()
                .dropout(0.4)
                .dense(10),
            Network::Das => net
                .conv2d(32, 3)
                .relu()
                .conv2d(64, 3)
                .relu()
                .max_pool2d(2)
                .dropout(0.25)
                .flatten()
                .dense(128)
                .relu()
                .dropout(0.5)
                .dense(10),
            // `same` pads the 28 x 28 images to the 32 x 32 that LeNet-5 was made for.
            Network::Lenet5 => net
                .layer(Conv2d::new(6, 5).same())
                .tanh()
                .avg_pool2d(2)
                .conv2d(16, 5)
                .tanh()
                .avg_pool2d(2)
                .flatten()
                .dense(120)
                .tanh()
                .dense(84)
                .tanh()
                .dense(10),
        };
        net.build(device, seed)
    }
}

fn three_convolutions(net: Sequential, last: usize) -> Sequential {
    net.conv2d(32, 3).relu().max_pool2d(2).conv2d(64, 3).relu().max_pool2d(2).conv2d(last, 3).relu().flatten()
}
