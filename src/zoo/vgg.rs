//! Networks of 3x3 convolutions.

use crate::nn::{BatchNorm, Conv2d, Init, Net};
use crate::tensor::Shape;

/// The numbers of convolutions before each of the five poolings, configurations A, B, D and E of the paper.
const A: [usize; 5] = [1, 1, 2, 2, 2];
const B: [usize; 5] = [2, 2, 2, 2, 2];
const D: [usize; 5] = [2, 2, 3, 3, 3];
const E: [usize; 5] = [2, 2, 4, 4, 4];

/// VGG-11 (configuration A): 132.9 million parameters.
pub fn vgg11(input: impl Into<Shape>, classes: usize) -> Net {
    vgg(A, false, input, classes)
}

/// VGG-13 (B): 133.0 million parameters.
pub fn vgg13(input: impl Into<Shape>, classes: usize) -> Net {
    vgg(B, false, input, classes)
}

/// VGG-16 (D): 138.4 million parameters.
pub fn vgg16(input: impl Into<Shape>, classes: usize) -> Net {
    vgg(D, false, input, classes)
}

/// VGG-19 (E): 143.7 million parameters.
pub fn vgg19(input: impl Into<Shape>, classes: usize) -> Net {
    vgg(E, false, input, classes)
}

/// [`vgg11`] with batch norm.
pub fn vgg11_bn(input: impl Into<Shape>, classes: usize) -> Net {
    vgg(A, true, input, classes)
}

/// [`vgg13`] with batch norm.
pub fn vgg13_bn(input: impl Into<Shape>, classes: usize) -> Net {
    vgg(B, true, input, classes)
}

/// [`vgg16`] with batch norm.
pub fn vgg16_bn(input: impl Into<Shape>, classes: usize) -> Net {
    vgg(D, true, input, classes)
}

/// [`vgg19`] with batch norm.
pub fn vgg19_bn(input: impl Into<Shape>, classes: usize) -> Net {
    vgg(E, true, input, classes)
}

/// A network with so many convolutions before each of its five poolings (K. Simonyan, A. Zisserman, "Very Deep Convolutional Networks
/// for Large-Scale Image Recognition", ICLR 2015); the paper's are without batch norm.
///
/// The first dense layer reads feature maps of 7 x 7, which they are at 224 x 224; those of other sizes are averaged first, as in
/// `torchvision`.
pub fn vgg(convolutions: [usize; 5], batch_norm: bool, input: impl Into<Shape>, classes: usize) -> Net {
    let mut x = Net::input(input).init(Init::HeNormal).within("features");
    // Names count all layers, as in `torchvision`.
    let mut at = 0..;
    let mut next = || at.next().unwrap_or_default().to_string();
    for (n_convolutions, filters) in convolutions.into_iter().zip([64, 128, 256, 512, 512]) {
        for _ in 0..n_convolutions {
            x = x.layer(Conv2d::new(filters, 3).same()).named(&next());
            if batch_norm {
                x = x.layer(BatchNorm::pytorch()).named(&next());
            }
            x = x.relu().named(&next());
        }
        x = x.max_pool2d(2).named(&next());
    }
    let x = x.within("classifier").adaptive_avg_pool2d(7).flatten();
    let x = x.dense(4096).named("0").relu().dropout(0.5);
    x.dense(4096).named("3").relu().dropout(0.5).dense(classes).named("6")
}
