//! Networks for phones.

use crate::nn::{BatchNorm, Conv2d, DepthwiseConv2d, Init, Net};
use crate::tensor::{Padding, Shape};

/// Blocks that follow each other.
struct Stage {
    /// By how much a block widens its input.
    expansion: usize,
    kernel: usize,
    /// Of the first block.
    stride: usize,
    /// That a block ends with.
    filters: usize,
    blocks: usize,
}

const fn stage(expansion: usize, kernel: usize, stride: usize, filters: usize, blocks: usize) -> Stage {
    Stage { expansion, kernel, stride, filters, blocks }
}

const MOBILENET_V2: [Stage; 7] = [
    stage(1, 3, 1, 16, 1),
    stage(6, 3, 2, 24, 2),
    stage(6, 3, 2, 32, 3),
    stage(6, 3, 2, 64, 4),
    stage(6, 3, 1, 96, 3),
    stage(6, 3, 2, 160, 3),
    stage(6, 3, 1, 320, 1),
];

const EFFICIENTNET_LITE0: [Stage; 7] = [
    stage(1, 3, 1, 16, 1),
    stage(6, 3, 2, 24, 2),
    stage(6, 5, 2, 40, 2),
    stage(6, 3, 2, 80, 3),
    stage(6, 5, 1, 112, 3),
    stage(6, 5, 2, 192, 4),
    stage(6, 3, 1, 320, 1),
];

/// MobileNetV2 (M. Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", CVPR 2018): 3.5 million parameters.
pub fn mobilenet_v2(input: impl Into<Shape>, classes: usize) -> Net {
    let form = Form { padding: |kernel| Padding::all(kernel / 2), norm: BatchNorm::pytorch() };
    form.build(&MOBILENET_V2, input, classes)
}

/// EfficientNet-Lite0 (R. Liu, 2020): 4.7 million parameters. EfficientNet-B0 (M. Tan, Q. Le, ICML 2019) without what small devices are slow
/// at: squeeze-and-excitation and swish. Padding and batch norm are TensorFlow's.
pub fn efficientnet_lite0(input: impl Into<Shape>, classes: usize) -> Net {
    let form = Form { padding: |_| Padding::Same, norm: BatchNorm::new() };
    form.build(&EFFICIENTNET_LITE0, input, classes)
}

/// What networks of inverted residuals do differently.
struct Form {
    /// By the kernel.
    padding: fn(usize) -> Padding,
    norm: BatchNorm,
}

impl Form {
    fn build(&self, stages: &[Stage], input: impl Into<Shape>, classes: usize) -> Net {
        let x = Net::input(input).init(Init::HeNormal);
        let conv = Conv2d::new(32, 3).stride(2).padding((self.padding)(3));
        let mut x = self.conv_bn(&x.within("features.0"), conv, ["0", "1"]).relu6();
        let (mut channels, mut at) = (32, 0);
        for stage in stages {
            for block in 0..stage.blocks {
                at += 1;
                let stride = if block == 0 { stage.stride } else { 1 };
                x = self.inverted_residual(&x.within(&format!("features.{at}.conv")), channels, stride, stage);
                channels = stage.filters;
            }
        }
        let x = self.conv_bn(&x.within(&format!("features.{}", at + 1)), Conv2d::new(1280, 1), ["0", "1"]).relu6();
        x.within("classifier").global_avg_pool2d().dropout(0.2).dense(classes).named("1")
    }

    /// Widens, convolves each channel on its own, and narrows again, without an activation at the end.
    fn inverted_residual(&self, x: &Net, channels: usize, stride: usize, stage: &Stage) -> Net {
        let &Stage { expansion, kernel, filters, .. } = stage;
        let widen = |x: &Net| self.conv_bn(x, Conv2d::new(expansion * channels, 1), ["0.0", "0.1"]).relu6();
        let (wide, [conv, norm], last) = match expansion {
            1 => (x.clone(), ["0.0", "0.1"], ["1", "2"]),
            _ => (widen(x), ["1.0", "1.1"], ["2", "3"]),
        };
        let depthwise = DepthwiseConv2d::new(kernel).stride(stride).padding((self.padding)(kernel)).no_bias();
        let y = wide.layer(depthwise).named(conv).layer(self.norm).named(norm).relu6();
        let y = self.conv_bn(&y, Conv2d::new(filters, 1), last);
        if stride == 1 && channels == filters { y.add(x) } else { y }
    }

    fn conv_bn(&self, x: &Net, conv: Conv2d, names: [&str; 2]) -> Net {
        x.layer(conv.no_bias()).named(names[0]).layer(self.norm).named(names[1])
    }
}
