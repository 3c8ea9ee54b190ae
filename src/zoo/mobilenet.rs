//! Networks for phones.

use crate::nn::{BatchNorm, Conv2d, DepthwiseConv2d, Init, Net};
use crate::tensor::{Padding, Shape};

/// MobileNetV2 (M. Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", CVPR 2018): 3.5 million parameters.
pub fn mobilenet_v2(input: impl Into<Shape>, classes: usize) -> Net {
    // By how much a block widens its input, the channels that it ends with, how many such blocks, and the stride of the first.
    const STAGES: [(usize, usize, usize, usize); 7] =
        [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)];
    let x = Net::input(input).init(Init::HeNormal);
    let conv = Conv2d::new(32, 3).stride(2).padding(Padding::all(1)).no_bias();
    let mut x = x.layer(conv).layer(BatchNorm::pytorch()).relu6();
    let mut channels = 32;
    for (expansion, filters, n_blocks, stride) in STAGES {
        for block in 0..n_blocks {
            x = inverted_residual(&x, channels, expansion, filters, if block == 0 { stride } else { 1 });
            channels = filters;
        }
    }
    pointwise(&x, 1280).relu6().global_avg_pool2d().dropout(0.2).dense(classes)
}

/// Widens, convolves each channel on its own, and narrows again, without an activation at the end.
fn inverted_residual(x: &Net, channels: usize, expansion: usize, filters: usize, stride: usize) -> Net {
    let wide = if expansion == 1 { x.clone() } else { pointwise(x, expansion * channels).relu6() };
    let depthwise = DepthwiseConv2d::new(3).stride(stride).padding(Padding::all(1)).no_bias();
    let y = pointwise(&wide.layer(depthwise).layer(BatchNorm::pytorch()).relu6(), filters);
    if stride == 1 && channels == filters { y.add(x) } else { y }
}

fn pointwise(x: &Net, filters: usize) -> Net {
    x.layer(Conv2d::new(filters, 1).no_bias()).layer(BatchNorm::pytorch())
}
