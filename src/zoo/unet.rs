//! Segmentation.

use crate::nn::{BatchNorm, Concat, Conv2d, ConvTranspose2d, Init, Net};
use crate::tensor::Shape;

/// A small U-Net (O. Ronneberger et al., "U-Net: Convolutional Networks for Biomedical Image Segmentation", MICCAI 2015) that gives each pixel
/// a number a class: 1.9 million parameters. It begins with 16 filters instead of 64, pads its convolutions and normalises by batches, as
/// is usual now. Height and width are multiples of 16.
pub fn unet(input: impl Into<Shape>, classes: usize) -> Net {
    let mut x = Net::input(input).init(Init::HeNormal);
    let mut skips = Vec::new();
    for filters in [16, 32, 64, 128] {
        x = twice(&x, filters);
        skips.push((x.clone(), filters));
        x = x.max_pool2d(2);
    }
    x = twice(&x, 256);
    for (skip, filters) in skips.into_iter().rev() {
        let up = x.layer(ConvTranspose2d::new(filters, 2).stride(2));
        x = twice(&Net::join(&[&skip, &up], Concat::new()), filters);
    }
    x.conv2d(classes, 1)
}

fn twice(x: &Net, filters: usize) -> Net {
    let conv = |x: &Net| x.layer(Conv2d::new(filters, 3).same().no_bias()).layer(BatchNorm::pytorch()).relu();
    conv(&conv(x))
}
