//! Networks with as few parameters as AlexNet's accuracy takes.

use crate::nn::{Concat, Conv2d, Init, MaxPool2d, Net};
use crate::tensor::Shape;

/// SqueezeNet 1.0 (F. Iandola et al., "SqueezeNet: AlexNet-level accuracy with 50x fewer parameters and <0.5MB model size", 2016): 1.25
/// million parameters.
pub fn squeezenet1_0(input: impl Into<Shape>, classes: usize) -> Net {
    squeezenet(Conv2d::new(96, 7).stride(2), &[&[16, 16, 32], &[32, 48, 48, 64], &[64]], input, classes)
}

/// SqueezeNet 1.1: 1.24 million parameters, and less than half of 1.0's work.
pub fn squeezenet1_1(input: impl Into<Shape>, classes: usize) -> Net {
    squeezenet(Conv2d::new(64, 3).stride(2), &[&[16, 16], &[32, 32], &[48, 48, 64, 64]], input, classes)
}

/// `stages` are the squeezed channels of the fire modules that follow each pooling. Pooling keeps windows that the edge cuts short.
fn squeezenet(stem: Conv2d, stages: &[&[usize]], input: impl Into<Shape>, classes: usize) -> Net {
    let mut x = Net::input(input).init(Init::HeNormal).within("features").layer(stem).named("0").relu();
    let mut at = 2;
    for stage in stages {
        x = x.layer(MaxPool2d::new(3).stride(2).ceil());
        for &squeezed in *stage {
            at += 1;
            x = fire(&x.within(&format!("features.{at}")), squeezed);
        }
        at += 1;
    }
    x.within("classifier").dropout(0.5).conv2d(classes, 1).named("1").relu().global_avg_pool2d()
}

/// Squeezes to a few channels, and expands to eight times as many, half of them by 1x1 and half by 3x3 convolutions.
fn fire(x: &Net, squeezed: usize) -> Net {
    let x = x.conv2d(squeezed, 1).named("squeeze").relu();
    let ones = x.conv2d(4 * squeezed, 1).named("expand1x1").relu();
    let threes = x.layer(Conv2d::new(4 * squeezed, 3).same()).named("expand3x3").relu();
    Net::join(&[&ones, &threes], Concat::new())
}
