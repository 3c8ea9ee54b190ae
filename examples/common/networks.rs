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

/// A network of the zoo; where nothing else is said for 224 x 224 colour images of 1,000 classes.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Zoo {
    /// AlexNet
    Alexnet,
    /// AlexNet as it won, in two groups
    Alexnet2012,
    /// DenseNet-121
    Densenet121,
    /// EfficientNet-Lite0
    EfficientnetLite0,
    /// GoogLeNet
    Googlenet,
    /// GoogLeNet as in the paper
    Googlenet2014,
    /// Inception v3, for 299 x 299
    InceptionV3,
    /// MobileNetV2
    MobilenetV2,
    /// MobileNetV3-Large
    MobilenetV3Large,
    /// MobileNetV3-Small
    MobilenetV3Small,
    /// ResNet-18
    Resnet18,
    /// ResNet-20, for 32 x 32 and 10 classes
    Resnet20,
    /// ResNet-34
    Resnet34,
    /// ResNet-50
    Resnet50,
    /// ResNet-56, for 32 x 32 and 10 classes
    Resnet56,
    /// ResNet-101
    Resnet101,
    /// ResNet-152
    Resnet152,
    /// SqueezeNet 1.0
    Squeezenet10,
    /// SqueezeNet 1.1
    Squeezenet11,
    /// A small U-Net, for 256 x 256 and 2 classes
    Unet,
    /// VGG-11
    Vgg11,
    /// VGG-11 with batch norm
    Vgg11Bn,
    /// VGG-13
    Vgg13,
    /// VGG-13 with batch norm
    Vgg13Bn,
    /// VGG-16
    Vgg16,
    /// VGG-16 with batch norm
    Vgg16Bn,
    /// VGG-19
    Vgg19,
    /// VGG-19 with batch norm
    Vgg19Bn,
    /// ZFNet
    Zfnet,
}

impl Zoo {
    /// What makes it, of the shape of an image and the number of classes.
    pub fn net(self) -> fn([usize; 3], usize) -> Net {
        match self {
            Zoo::Alexnet => zoo::alexnet,
            Zoo::Alexnet2012 => zoo::alexnet_2012,
            Zoo::Densenet121 => zoo::densenet121,
            Zoo::EfficientnetLite0 => zoo::efficientnet_lite0,
            Zoo::Googlenet => zoo::googlenet,
            Zoo::Googlenet2014 => zoo::googlenet_2014,
            Zoo::InceptionV3 => zoo::inception_v3,
            Zoo::MobilenetV2 => zoo::mobilenet_v2,
            Zoo::MobilenetV3Large => zoo::mobilenet_v3_large,
            Zoo::MobilenetV3Small => zoo::mobilenet_v3_small,
            Zoo::Resnet18 => zoo::resnet18,
            Zoo::Resnet20 => zoo::resnet20,
            Zoo::Resnet34 => zoo::resnet34,
            Zoo::Resnet50 => zoo::resnet50,
            Zoo::Resnet56 => zoo::resnet56,
            Zoo::Resnet101 => zoo::resnet101,
            Zoo::Resnet152 => zoo::resnet152,
            Zoo::Squeezenet10 => zoo::squeezenet1_0,
            Zoo::Squeezenet11 => zoo::squeezenet1_1,
            Zoo::Unet => zoo::unet,
            Zoo::Vgg11 => zoo::vgg11,
            Zoo::Vgg11Bn => zoo::vgg11_bn,
            Zoo::Vgg13 => zoo::vgg13,
            Zoo::Vgg13Bn => zoo::vgg13_bn,
            Zoo::Vgg16 => zoo::vgg16,
            Zoo::Vgg16Bn => zoo::vgg16_bn,
            Zoo::Vgg19 => zoo::vgg19,
            Zoo::Vgg19Bn => zoo::vgg19_bn,
            Zoo::Zfnet => zoo::zfnet,
        }
    }

    /// Height and width of the images that it is made for, and the number of classes.
    pub fn made_for(self) -> (usize, usize) {
        match self {
            Zoo::Resnet20 | Zoo::Resnet56 => (32, 10),
            Zoo::InceptionV3 => (299, 1000),
            Zoo::Unet => (256, 2),
            _ => (224, 1000),
        }
    }
}

/// A network of either kind.
#[derive(Clone, Copy)]
pub enum AnyNetwork {
    /// For 28 x 28 grey images of ten classes.
    Mnist(Network),
    /// For colour images.
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
            AnyNetwork::Zoo(network) => {
                let (size, classes) = network.made_for();
                network.net()([size, size, 3], classes).build(device, Seed(1))
            }
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
