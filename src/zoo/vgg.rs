//! Networks of 3x3 convolutions.

use crate::nn::{Conv2d, Init, Net};
use crate::tensor::Shape;

/// VGG-11 (configuration A): 132.9 million parameters at 224 x 224.
pub fn vgg11(input: impl Into<Shape>, classes: usize) -> Net {
    vgg([1, 1, 2, 2, 2], input, classes)
}

/// VGG-13 (B): 133.0 million parameters at 224 x 224.
pub fn vgg13(input: impl Into<Shape>, classes: usize) -> Net {
    vgg([2, 2, 2, 2, 2], input, classes)
}

/// VGG-16 (D): 138.4 million parameters at 224 x 224.
pub fn vgg16(input: impl Into<Shape>, classes: usize) -> Net {
    vgg([2, 2, 3, 3, 3], input, classes)
}

/// VGG-19 (E): 143.7 million parameters at 224 x 224.
pub fn vgg19(input: impl Into<Shape>, classes: usize) -> Net {
    vgg([2, 2, 4, 4, 4], input, classes)
}

/// A network with so many convolutions before each of its five poolings (K. Simonyan, A. Zisserman, "Very Deep Convolutional Networks
/// for Large-Scale Image Recognition", ICLR 2015), without batch norm.
///
/// The first dense layer reads the last feature maps as they are, 7 x 7 at 224 x 224; `torchvision` averages those of other sizes to
/// 7 x 7 first.
pub fn vgg(convolutions: [usize; 5], input: impl Into<Shape>, classes: usize) -> Net {
    let mut x = Net::input(input).init(Init::HeNormal);
    for (n_convolutions, filters) in convolutions.into_iter().zip([64, 128, 256, 512, 512]) {
        for _ in 0..n_convolutions {
            x = x.layer(Conv2d::new(filters, 3).same()).relu();
        }
        x = x.max_pool2d(2);
    }
    let x = x.flatten().dense(4096).relu().dropout(0.5);
    x.dense(4096).relu().dropout(0.5).dense(classes)
}
