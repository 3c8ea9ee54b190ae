//! MobileNetV3.

use crate::nn::{BatchNorm, Conv2d, DepthwiseConv2d, Init, Net};
use crate::tensor::{Padding, Shape};

/// A block: kernel, channels when wide, channels at its end, whether it weighs its channels, whether its activation is hard swish (else
/// ReLU), stride.
type Block = (usize, usize, usize, bool, bool, usize);

const LARGE: [Block; 15] = [
    (3, 16, 16, false, false, 1),
    (3, 64, 24, false, false, 2),
    (3, 72, 24, false, false, 1),
    (5, 72, 40, true, false, 2),
    (5, 120, 40, true, false, 1),
    (5, 120, 40, true, false, 1),
    (3, 240, 80, false, true, 2),
    (3, 200, 80, false, true, 1),
    (3, 184, 80, false, true, 1),
    (3, 184, 80, false, true, 1),
    (3, 480, 112, true, true, 1),
    (3, 672, 112, true, true, 1),
    (5, 672, 160, true, true, 2),
    (5, 960, 160, true, true, 1),
    (5, 960, 160, true, true, 1),
];

const SMALL: [Block; 11] = [
    (3, 16, 16, true, false, 2),
    (3, 72, 24, false, false, 2),
    (3, 88, 24, false, false, 1),
    (5, 96, 40, true, true, 2),
    (5, 240, 40, true, true, 1),
    (5, 240, 40, true, true, 1),
    (5, 120, 48, true, true, 1),
    (5, 144, 48, true, true, 1),
    (5, 288, 96, true, true, 2),
    (5, 576, 96, true, true, 1),
    (5, 576, 96, true, true, 1),
];

/// MobileNetV3-Large (A. Howard et al., "Searching for MobileNetV3", ICCV 2019): 5.5 million parameters.
pub fn mobilenet_v3_large(input: impl Into<Shape>, classes: usize) -> Net {
    mobilenet_v3(&LARGE, 1280, input, classes)
}

/// MobileNetV3-Small: 2.5 million parameters.
pub fn mobilenet_v3_small(input: impl Into<Shape>, classes: usize) -> Net {
    mobilenet_v3(&SMALL, 1024, input, classes)
}

fn mobilenet_v3(blocks: &[Block], units: usize, input: impl Into<Shape>, classes: usize) -> Net {
    let x = Net::input(input).init(Init::HeNormal);
    let stem = Conv2d::new(16, 3).stride(2).padding(Padding::all(1));
    let mut x = conv_bn(&x.within("features.0"), stem, "").hard_swish();
    let (mut channels, mut wide) = (16, 16);
    for (i, block) in blocks.iter().enumerate() {
        x = inverted_residual(&x.within(&format!("features.{}.block", i + 1)), channels, *block);
        (_, wide, channels, ..) = *block;
    }
    let last = x.within(&format!("features.{}", blocks.len() + 1));
    let x = conv_bn(&last, Conv2d::new(wide, 1), "").hard_swish().global_avg_pool2d();
    x.within("classifier").dense(units).named("0").hard_swish().dropout(0.2).dense(classes).named("3")
}

/// Widens, convolves each channel on its own, weighs the channels, and narrows again.
fn inverted_residual(x: &Net, channels: usize, (kernel, wide, filters, weighs, swish, stride): Block) -> Net {
    let activate = |x: Net| if swish { x.hard_swish() } else { x.relu() };
    let mut at = 0..;
    let mut next = || format!("{}.", at.next().unwrap_or_default());
    let mut y = x.clone();
    if wide != channels {
        y = activate(conv_bn(&y, Conv2d::new(wide, 1), &next()));
    }
    let (depthwise, name) = (DepthwiseConv2d::new(kernel).stride(stride).padding(Padding::all(kernel / 2)), next());
    y = y.layer(depthwise.no_bias()).named(&format!("{name}0"));
    y = activate(norm(&y, &name));
    if weighs {
        y = squeeze_excite(&y, wide, &next());
    }
    y = conv_bn(&y, Conv2d::new(filters, 1), &next());
    if stride == 1 && channels == filters { y.add(x) } else { y }
}

/// Multiplies each channel by a number between 0 and 1 that follows from the means of all channels (J. Hu et al., "Squeeze-and-Excitation
/// Networks", CVPR 2018).
fn squeeze_excite(x: &Net, channels: usize, name: &str) -> Net {
    // A quarter of the channels, rounded to a multiple of 8 that is at most a tenth less.
    let quarter = channels / 4;
    let near = ((quarter + 4) / 8 * 8).max(8);
    let squeezed = if 10 * near < 9 * quarter { near + 8 } else { near };
    let y = x.adaptive_avg_pool2d(1).conv2d(squeezed, 1).named(&format!("{name}fc1")).relu();
    y.conv2d(channels, 1).named(&format!("{name}fc2")).hard_sigmoid().mul(x)
}

fn conv_bn(x: &Net, conv: Conv2d, name: &str) -> Net {
    norm(&x.layer(conv.no_bias()).named(&format!("{name}0")), name)
}

fn norm(x: &Net, name: &str) -> Net {
    x.layer(BatchNorm::pytorch().epsilon(1e-3).momentum(0.99)).named(&format!("{name}1"))
}
