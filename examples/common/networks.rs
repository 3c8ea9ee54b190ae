//! The networks that examples and benches have in common: for MNIST, as one would meet them in a course, and those of the zoo.

// Each program uses a part of this file.
#![allow(dead_code)]

use clap::ValueEnum;
use std::str::FromStr;
use striate::nn::{Conv2d, Model, Net, Sequential};
use striate::{Device, Result, Seed, zoo};

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

impl Network {
    /// Its name on the command line.
    pub fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |v| v.get_name().to_string())
    }

    /// Its layers.
    pub fn layers(self) -> Sequential {
        let net = Sequential::new([28, 28, 1]);
        match self {
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
        }
    }
}

fn three_convolutions(net: Sequential, last: usize) -> Sequential {
    net.conv2d(32, 3).relu().max_pool2d(2).conv2d(64, 3).relu().max_pool2d(2).conv2d(last, 3).relu().flatten()
}

/// A network of the zoo.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Zoo {
    /// MobileNetV2
    MobilenetV2,
    /// ResNet-20 for CIFAR-10
    Resnet20,
    /// ResNet-56 for CIFAR-10
    Resnet56,
    /// ResNet-18
    Resnet18,
    /// ResNet-34
    Resnet34,
    /// ResNet-50
    Resnet50,
    /// ResNet-101
    Resnet101,
    /// ResNet-152
    Resnet152,
    /// VGG-11
    Vgg11,
    /// VGG-13
    Vgg13,
    /// VGG-16
    Vgg16,
    /// VGG-19
    Vgg19,
}

impl Zoo {
    /// What makes it, of the shape of an image and the number of classes.
    pub fn net(self) -> fn([usize; 3], usize) -> Net {
        match self {
            Zoo::MobilenetV2 => zoo::mobilenet_v2,
            Zoo::Resnet20 => zoo::resnet20,
            Zoo::Resnet56 => zoo::resnet56,
            Zoo::Resnet18 => zoo::resnet18,
            Zoo::Resnet34 => zoo::resnet34,
            Zoo::Resnet50 => zoo::resnet50,
            Zoo::Resnet101 => zoo::resnet101,
            Zoo::Resnet152 => zoo::resnet152,
            Zoo::Vgg11 => zoo::vgg11,
            Zoo::Vgg13 => zoo::vgg13,
            Zoo::Vgg16 => zoo::vgg16,
            Zoo::Vgg19 => zoo::vgg19,
        }
    }
}

/// A network of either kind.
#[derive(Clone, Copy)]
pub enum AnyNetwork {
    /// For 28 x 28 grey images of ten classes.
    Mnist(Network),
    /// For 224 x 224 colour images of 1,000 classes.
    Zoo(Zoo),
}

impl AnyNetwork {
    /// Its name on the command line.
    pub fn name(self) -> String {
        match self {
            AnyNetwork::Mnist(network) => network.name(),
            AnyNetwork::Zoo(network) => network.to_possible_value().map_or_else(String::new, |v| v.get_name().to_string()),
        }
    }

    /// The network on a device, untrained.
    pub fn build(self, device: &Device) -> Result<Model> {
        match self {
            AnyNetwork::Mnist(network) => network.layers().build(device, Seed(1)),
            AnyNetwork::Zoo(network) => network.net()([224, 224, 3], 1000).build(device, Seed(1)),
        }
    }
}

impl FromStr for AnyNetwork {
    type Err = String;

    fn from_str(name: &str) -> std::result::Result<AnyNetwork, String> {
        let mnist = Network::value_variants().iter().map(|&n| AnyNetwork::Mnist(n));
        let mut all = mnist.chain(Zoo::value_variants().iter().map(|&n| AnyNetwork::Zoo(n)));
        let names: Vec<String> = all.clone().map(AnyNetwork::name).collect();
        all.find(|n| n.name() == name).ok_or_else(|| format!("there are {}", names.join(", ")))
    }
}
