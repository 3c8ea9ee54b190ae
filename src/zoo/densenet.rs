//! Networks whose layers read all layers before them.

use crate::nn::{BatchNorm, Concat, Conv2d, Init, MaxPool2d, Net};
use crate::tensor::{Padding, Shape};

/// Channels that a layer adds.
const GROWTH: usize = 32;

/// DenseNet-121 (G. Huang et al., "Densely Connected Convolutional Networks", CVPR 2017): 8.0 million parameters.
pub fn densenet121(input: impl Into<Shape>, classes: usize) -> Net {
    densenet([6, 12, 24, 16], input, classes)
}

/// A network with so many layers in each of its four dense blocks.
pub fn densenet(layers: [usize; 4], input: impl Into<Shape>, classes: usize) -> Net {
    let x = Net::input(input).init(Init::HeNormal).within("features");
    let x = x.layer(Conv2d::new(2 * GROWTH, 7).stride(2).padding(Padding::all(3)).no_bias()).named("conv0");
    let x = x.layer(BatchNorm::pytorch()).named("norm0").relu();
    let mut x = x.layer(MaxPool2d::new(3).stride(2).padding(Padding::all(1)));
    let mut channels = 2 * GROWTH;
    for (i, n_layers) in layers.into_iter().enumerate() {
        if i > 0 {
            // Half the channels, and half the image.
            channels /= 2;
            x = bn_relu_conv(&x.within(&format!("features.transition{i}")), "", channels, 1).avg_pool2d(2);
        }
        for layer in 1..=n_layers {
            let within = x.within(&format!("features.denseblock{}.denselayer{layer}", i + 1));
            let y = bn_relu_conv(&within, "1", 4 * GROWTH, 1);
            let y = bn_relu_conv(&y, "2", GROWTH, 3);
            x = Net::join(&[&x, &y], Concat::new());
        }
        channels += n_layers * GROWTH;
    }
    let x = x.within("features").layer(BatchNorm::pytorch()).named("norm5").relu();
    x.within("").global_avg_pool2d().dense(classes).named("classifier")
}

fn bn_relu_conv(x: &Net, number: &str, filters: usize, kernel: usize) -> Net {
    let x = x.layer(BatchNorm::pytorch()).named(&format!("norm{number}")).relu();
    x.layer(Conv2d::new(filters, kernel).same().no_bias()).named(&format!("conv{number}"))
}
