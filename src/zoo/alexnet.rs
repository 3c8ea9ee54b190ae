//! The network that won ImageNet in 2012.

use crate::nn::{Conv2d, Init, MaxPool2d, Net};
use crate::tensor::{Padding, Shape};

/// AlexNet as `torchvision` has it, after A. Krizhevsky, "One weird trick for parallelizing convolutional neural networks", 2014: 61.1
/// million parameters at 224 x 224, without normalisation and groups.
pub fn alexnet(input: impl Into<Shape>, classes: usize) -> Net {
    let pool = |x: Net| x.layer(MaxPool2d::new(3).stride(2));
    let conv = |x: Net, at: &str, conv: Conv2d| x.layer(conv).named(at).relu();
    let x = Net::input(input).init(Init::HeNormal).within("features");
    let x = pool(conv(x, "0", Conv2d::new(64, 11).stride(4).padding(Padding::all(2))));
    let x = pool(conv(x, "3", Conv2d::new(192, 5).same()));
    let x = conv(x, "6", Conv2d::new(384, 3).same());
    let x = conv(x, "8", Conv2d::new(256, 3).same());
    let x = pool(conv(x, "10", Conv2d::new(256, 3).same()));
    let x = x.within("classifier").adaptive_avg_pool2d(6).flatten();
    let x = x.dropout(0.5).dense(4096).named("1").relu();
    x.dropout(0.5).dense(4096).named("4").relu().dense(classes).named("6")
}
