//! Residual networks.

use crate::nn::{AvgPool2d, BatchNorm, Conv2d, Init, MaxPool2d, Net, Pad};
use crate::tensor::{Padding, Shape};

/// What a residual network is made of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Block {
    /// Two 3x3 convolutions.
    Basic,
    /// A 1x1 convolution to fewer channels, a 3x3, and a 1x1 to four times as many.
    Bottleneck,
}

/// ResNet-18: 11.7 million parameters.
pub fn resnet18(input: impl Into<Shape>, classes: usize) -> Net {
    resnet(Block::Basic, [2, 2, 2, 2], input, classes)
}

/// ResNet-34: 21.8 million parameters.
pub fn resnet34(input: impl Into<Shape>, classes: usize) -> Net {
    resnet(Block::Basic, [3, 4, 6, 3], input, classes)
}

/// ResNet-50: 25.6 million parameters.
pub fn resnet50(input: impl Into<Shape>, classes: usize) -> Net {
    resnet(Block::Bottleneck, [3, 4, 6, 3], input, classes)
}

/// ResNet-101: 44.5 million parameters.
pub fn resnet101(input: impl Into<Shape>, classes: usize) -> Net {
    resnet(Block::Bottleneck, [3, 4, 23, 3], input, classes)
}

/// ResNet-152: 60.2 million parameters.
pub fn resnet152(input: impl Into<Shape>, classes: usize) -> Net {
    resnet(Block::Bottleneck, [3, 8, 36, 3], input, classes)
}

/// A residual network with so many blocks in each of its four stages (K. He et al., "Deep Residual Learning for Image Recognition", CVPR
/// 2016). As in `torchvision`, a bottleneck strides in its 3x3 convolution, not in its first.
pub fn resnet(block: Block, blocks: [usize; 4], input: impl Into<Shape>, classes: usize) -> Net {
    let x = Net::input(input).init(Init::HeNormal);
    let x = conv_bn(&x, ["conv1", "bn1"], 64, 7, 2).relu();
    let mut x = x.layer(MaxPool2d::new(3).stride(2).padding(Padding::all(1)));
    for (stage, n_blocks) in blocks.into_iter().enumerate() {
        let filters = 64 << stage;
        for b in 0..n_blocks {
            // A stage but the first begins by halving the image.
            let stride = if stage > 0 && b == 0 { 2 } else { 1 };
            x = x.within(&format!("layer{}.{b}", stage + 1));
            x = match block {
                Block::Basic => basic(&x, filters, stride, stage > 0 && b == 0),
                Block::Bottleneck => bottleneck(&x, filters, stride, b == 0),
            };
        }
    }
    x.within("").global_avg_pool2d().dense(classes).named("fc")
}

fn basic(x: &Net, filters: usize, stride: usize, project: bool) -> Net {
    let y = conv_bn(x, ["conv1", "bn1"], filters, 3, stride).relu();
    let y = conv_bn(&y, ["conv2", "bn2"], filters, 3, 1);
    y.add(&shortcut(x, filters, stride, project)).relu()
}

fn bottleneck(x: &Net, filters: usize, stride: usize, project: bool) -> Net {
    let y = conv_bn(x, ["conv1", "bn1"], filters, 1, 1).relu();
    let y = conv_bn(&y, ["conv2", "bn2"], filters, 3, stride).relu();
    let y = conv_bn(&y, ["conv3", "bn3"], 4 * filters, 1, 1);
    y.add(&shortcut(x, 4 * filters, stride, project)).relu()
}

/// ResNet-20 for CIFAR-10: 269,722 parameters with ten classes.
pub fn resnet20(input: impl Into<Shape>, classes: usize) -> Net {
    resnet_cifar(3, input, classes)
}

/// ResNet-56 for CIFAR-10: 853,018 parameters with ten classes.
pub fn resnet56(input: impl Into<Shape>, classes: usize) -> Net {
    resnet_cifar(9, input, classes)
}

/// The paper's networks of `6 n + 2` layers for CIFAR-10's images of 32 x 32: three stages of so many basic blocks, of 16, 32 and 64
/// filters. Where a stage halves the image, the shortcut takes every second pixel and has channels of zeros (option A), half of them
/// before and half after its own, as in PyTorch's best-known version (Y. Idelbayev).
pub fn resnet_cifar(blocks: usize, input: impl Into<Shape>, classes: usize) -> Net {
    let x = Net::input(input).init(Init::HeNormal);
    let mut x = conv_bn(&x, ["conv1", "bn1"], 16, 3, 1).relu();
    for (stage, filters) in [16, 32, 64].into_iter().enumerate() {
        for b in 0..blocks {
            let halves = stage > 0 && b == 0;
            x = x.within(&format!("layer{}.{b}", stage + 1));
            let y = conv_bn(&x, ["conv1", "bn1"], filters, 3, if halves { 2 } else { 1 }).relu();
            let y = conv_bn(&y, ["conv2", "bn2"], filters, 3, 1);
            x = y.add(&if halves { subsampled(&x, filters / 4) } else { x.clone() }).relu();
        }
    }
    x.within("").global_avg_pool2d().dense(classes).named("linear")
}

/// Every second pixel in each direction, between so many channels of zeros on either side.
fn subsampled(x: &Net, zeros: usize) -> Net {
    x.layer(AvgPool2d::new(1).stride(2)).layer(Pad::new([(-1, zeros, zeros)]))
}

/// The input itself, or, where the block changes its shape, a 1x1 convolution of it.
fn shortcut(x: &Net, filters: usize, stride: usize, project: bool) -> Net {
    if project { conv_bn(x, ["downsample.0", "downsample.1"], filters, 1, stride) } else { x.clone() }
}

fn conv_bn(x: &Net, names: [&str; 2], filters: usize, kernel: usize, stride: usize) -> Net {
    let conv = Conv2d::new(filters, kernel).stride(stride).padding(Padding::all(kernel / 2)).no_bias();
    x.layer(conv).named(names[0]).layer(BatchNorm::pytorch()).named(names[1])
}
