//! The networks that won ImageNet in 2012 and 2013.

use crate::nn::{Conv2d, Init, Lrn, MaxPool2d, Net};
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

/// AlexNet as it won (A. Krizhevsky, I. Sutskever, G. Hinton, "ImageNet Classification with Deep Convolutional Neural Networks", NIPS
/// 2012): 61.0 million parameters at 224 x 224. Three of its convolutions are in two groups, one for each of the two GPUs.
pub fn alexnet_2012(input: impl Into<Shape>, classes: usize) -> Net {
    let norm_pool = |x: Net| x.layer(Lrn::new(5).alpha(5e-4).k(2.0)).layer(MaxPool2d::new(3).stride(2));
    let conv = |x: Net, conv: Conv2d| x.layer(conv).relu();
    let x = Net::input(input).init(Init::HeNormal);
    let x = norm_pool(conv(x, Conv2d::new(96, 11).stride(4).padding(Padding::all(2))));
    let x = norm_pool(conv(x, Conv2d::new(256, 5).groups(2).same()));
    let x = conv(x, Conv2d::new(384, 3).same());
    let x = conv(x, Conv2d::new(384, 3).groups(2).same());
    let x = conv(x, Conv2d::new(256, 3).groups(2).same());
    let x = x.layer(MaxPool2d::new(3).stride(2)).flatten();
    x.dense(4096).relu().dropout(0.5).dense(4096).relu().dropout(0.5).dense(classes)
}

/// ZFNet (M. Zeiler, R. Fergus, "Visualizing and Understanding Convolutional Networks", ECCV 2014): 62.4 million parameters at 224 x 224.
/// AlexNet with a smaller first window and stride, found by looking at what its filters had learnt.
pub fn zfnet(input: impl Into<Shape>, classes: usize) -> Net {
    let pool_norm = |x: Net| x.layer(MaxPool2d::new(3).stride(2).ceil()).layer(Lrn::new(5).alpha(5e-4).k(2.0));
    let conv = |x: Net, conv: Conv2d| x.layer(conv).relu();
    let x = Net::input(input).init(Init::HeNormal);
    let x = pool_norm(conv(x, Conv2d::new(96, 7).stride(2).padding(Padding::all(1))));
    let x = pool_norm(conv(x, Conv2d::new(256, 5).stride(2)));
    let x = conv(x, Conv2d::new(384, 3).same());
    let x = conv(x, Conv2d::new(384, 3).same());
    let x = conv(x, Conv2d::new(256, 3).same());
    let x = x.layer(MaxPool2d::new(3).stride(2)).flatten();
    x.dense(4096).relu().dropout(0.5).dense(4096).relu().dropout(0.5).dense(classes)
}
