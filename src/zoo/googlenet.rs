//! GoogLeNet, the first network of Inception modules.

use crate::nn::{AdaptiveAvgPool2d, BatchNorm, Concat, Conv2d, Init, Lrn, MaxPool2d, Net, Outputs};
use crate::tensor::{Padding, Shape};

/// What the paper's network and `torchvision`'s do differently.
struct Form {
    /// A convolution with activation: the network, name, filters, kernel, stride.
    conv: fn(&Net, &str, usize, usize, usize) -> Net,
    /// Normalisation after the first poolings.
    norm: fn(Net) -> Net,
    /// Kernel of the third branch.
    kernel: usize,
    /// Window of the last pooling.
    pool: usize,
    dropout: f32,
}

const TORCHVISION: Form = Form { conv: conv_bn, norm: |x| x, kernel: 3, pool: 2, dropout: 0.2 };
const PAPER: Form = Form { conv: conv_bias, norm: |x| x.layer(Lrn::new(5).alpha(5e-4)), kernel: 5, pool: 3, dropout: 0.4 };

/// GoogLeNet as `torchvision` has it: 6.6 million parameters, with batch norm, and with 3x3 convolutions where the paper has 5x5.
pub fn googlenet(input: impl Into<Shape>, classes: usize) -> Net {
    TORCHVISION.build(input, classes).0
}

/// [`googlenet`] with the two classifiers halfway that help to train it: 13.0 million parameters. The paper counts their losses 0.3 times.
pub fn googlenet_with_auxiliary(input: impl Into<Shape>, classes: usize) -> Outputs {
    let (x, halfway) = TORCHVISION.build(input, classes);
    let [aux1, aux2] = [("aux1", 0), ("aux2", 1)].map(|(name, i)| {
        let x = conv_bn(&halfway[i].within(name).layer(AdaptiveAvgPool2d::new(4)), "conv", 128, 1, 1).flatten();
        x.dense(1024).named("fc1").relu().dropout(0.7).dense(classes).named("fc2")
    });
    Outputs::of(&[&x, &aux1, &aux2])
}

/// GoogLeNet as in the paper (C. Szegedy et al., "Going Deeper with Convolutions", CVPR 2015), without the auxiliary classifiers: 7.0 million
/// parameters.
pub fn googlenet_2014(input: impl Into<Shape>, classes: usize) -> Net {
    PAPER.build(input, classes).0
}

impl Form {
    /// The classifier, and what the auxiliary ones read.
    fn build(&self, input: impl Into<Shape>, classes: usize) -> (Net, [Net; 2]) {
        let pool = |x: &Net, size: usize| x.layer(MaxPool2d::new(size).stride(2).ceil());
        let x = Net::input(input).init(Init::HeNormal);
        let x = (self.norm)(pool(&(self.conv)(&x, "conv1", 64, 7, 2), 3));
        let x = (self.conv)(&(self.conv)(&x, "conv2", 64, 1, 1), "conv3", 192, 3, 1);
        let x = pool(&(self.norm)(x), 3);
        let x = self.inception(&x, "3a", [64, 96, 128, 16, 32, 32]);
        let x = self.inception(&x, "3b", [128, 128, 192, 32, 96, 64]);
        let aux1 = self.inception(&pool(&x, 3), "4a", [192, 96, 208, 16, 48, 64]);
        let x = self.inception(&aux1, "4b", [160, 112, 224, 24, 64, 64]);
        let x = self.inception(&x, "4c", [128, 128, 256, 24, 64, 64]);
        let aux2 = self.inception(&x, "4d", [112, 144, 288, 32, 64, 64]);
        let x = self.inception(&aux2, "4e", [256, 160, 320, 32, 128, 128]);
        let x = self.inception(&pool(&x, self.pool), "5a", [256, 160, 320, 32, 128, 128]);
        let x = self.inception(&x, "5b", [384, 192, 384, 48, 128, 128]);
        let x = x.within("").global_avg_pool2d().dropout(self.dropout).dense(classes).named("fc");
        (x, [aux1, aux2])
    }

    /// Convolutions of several sizes side by side. Filters: 1x1; 3x3, after those of the 1x1 before it; 5x5, likewise; 1x1 after pooling.
    fn inception(&self, x: &Net, name: &str, filters: [usize; 6]) -> Net {
        let [ones, reduce3, threes, reduce5, fives, pooled] = filters;
        let x = x.within(&format!("inception{name}"));
        let branch1 = (self.conv)(&x, "branch1", ones, 1, 1);
        let branch2 = (self.conv)(&(self.conv)(&x, "branch2.0", reduce3, 1, 1), "branch2.1", threes, 3, 1);
        let branch3 = (self.conv)(&(self.conv)(&x, "branch3.0", reduce5, 1, 1), "branch3.1", fives, self.kernel, 1);
        let branch4 = (self.conv)(&x.layer(MaxPool2d::new(3).stride(1).same()), "branch4.1", pooled, 1, 1);
        Net::join(&[&branch1, &branch2, &branch3, &branch4], Concat::new()).within("")
    }
}

fn conv_bn(x: &Net, name: &str, filters: usize, kernel: usize, stride: usize) -> Net {
    let conv = Conv2d::new(filters, kernel).stride(stride).padding(Padding::all(kernel / 2)).no_bias();
    let x = x.layer(conv).named(&format!("{name}.conv"));
    x.layer(BatchNorm::pytorch().epsilon(1e-3)).named(&format!("{name}.bn")).relu()
}

fn conv_bias(x: &Net, name: &str, filters: usize, kernel: usize, stride: usize) -> Net {
    x.layer(Conv2d::new(filters, kernel).stride(stride).padding(Padding::all(kernel / 2))).named(name).relu()
}
