//! Inception v3.

use crate::nn::{AvgPool2d, BatchNorm, Concat, Conv2d, Init, MaxPool2d, Net, Outputs, Size2};
use crate::tensor::Shape;

/// Inception v3 as `torchvision` has it (C. Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", CVPR 2016), without
/// its auxiliary classifier: 23.8 million parameters. Made for 299 x 299.
pub fn inception_v3(input: impl Into<Shape>, classes: usize) -> Net {
    build(input, classes).0
}

/// [`inception_v3`] with the classifier halfway that helps to train it: 27.2 million parameters. `torchvision` counts its loss 0.4 times.
pub fn inception_v3_with_auxiliary(input: impl Into<Shape>, classes: usize) -> Outputs {
    let (x, halfway) = build(input, classes);
    let aux = halfway.within("AuxLogits").layer(AvgPool2d::new(5).stride(3));
    let aux = conv(&conv(&aux, "conv0", 128, 1), "conv1", 768, 5);
    Outputs::of(&[&x, &aux.global_avg_pool2d().dense(classes).named("fc")])
}

/// The classifier, and what the auxiliary one reads.
fn build(input: impl Into<Shape>, classes: usize) -> (Net, Net) {
    let x = Net::input(input).init(Init::HeNormal);
    let x = halving(&x, "Conv2d_1a_3x3", 32);
    let x = same(&conv(&x, "Conv2d_2a_3x3", 32, 3), "Conv2d_2b_3x3", 64, 3);
    let x = conv(&x.layer(MaxPool2d::new(3).stride(2)), "Conv2d_3b_1x1", 80, 1);
    let mut x = conv(&x, "Conv2d_4a_3x3", 192, 3).layer(MaxPool2d::new(3).stride(2));
    for (name, pooled) in [("Mixed_5b", 32), ("Mixed_5c", 64), ("Mixed_5d", 64)] {
        x = of_squares(&x.within(name), pooled);
    }
    x = halved_35(&x.within("Mixed_6a"));
    for (name, filters) in [("Mixed_6b", 128), ("Mixed_6c", 160), ("Mixed_6d", 160), ("Mixed_6e", 192)] {
        x = of_sevens(&x.within(name), filters);
    }
    let halfway = x.clone();
    x = halved_17(&x.within("Mixed_7a"));
    x = widened(&x.within("Mixed_7b"));
    x = widened(&x.within("Mixed_7c"));
    (x.within("").global_avg_pool2d().dropout(0.5).dense(classes).named("fc"), halfway)
}

/// At 35 x 35: 1x1, 5x5, and 5x5 as two 3x3.
fn of_squares(x: &Net, pooled: usize) -> Net {
    let ones = conv(x, "branch1x1", 64, 1);
    let fives = same(&conv(x, "branch5x5_1", 48, 1), "branch5x5_2", 64, 5);
    let threes = same(&conv(x, "branch3x3dbl_1", 64, 1), "branch3x3dbl_2", 96, 3);
    let threes = same(&threes, "branch3x3dbl_3", 96, 3);
    Net::join(&[&ones, &fives, &threes, &pool_branch(x, pooled)], Concat::new())
}

/// From 35 x 35 to 17 x 17.
fn halved_35(x: &Net) -> Net {
    let threes = halving(x, "branch3x3", 384);
    let doubles = same(&conv(x, "branch3x3dbl_1", 64, 1), "branch3x3dbl_2", 96, 3);
    let doubles = halving(&doubles, "branch3x3dbl_3", 96);
    Net::join(&[&threes, &doubles, &x.layer(MaxPool2d::new(3).stride(2))], Concat::new())
}

/// At 17 x 17: 7x7 as 1x7 and 7x1.
fn of_sevens(x: &Net, filters: usize) -> Net {
    let ones = conv(x, "branch1x1", 192, 1);
    let sevens = same(&conv(x, "branch7x7_1", filters, 1), "branch7x7_2", filters, [1, 7]);
    let sevens = same(&sevens, "branch7x7_3", 192, [7, 1]);
    let mut doubles = conv(x, "branch7x7dbl_1", filters, 1);
    for (i, kernel) in [[7, 1], [1, 7], [7, 1]].into_iter().enumerate() {
        doubles = same(&doubles, &format!("branch7x7dbl_{}", i + 2), filters, kernel);
    }
    let doubles = same(&doubles, "branch7x7dbl_5", 192, [1, 7]);
    Net::join(&[&ones, &sevens, &doubles, &pool_branch(x, 192)], Concat::new())
}

/// From 17 x 17 to 8 x 8.
fn halved_17(x: &Net) -> Net {
    let threes = halving(&conv(x, "branch3x3_1", 192, 1), "branch3x3_2", 320);
    let sevens = same(&conv(x, "branch7x7x3_1", 192, 1), "branch7x7x3_2", 192, [1, 7]);
    let sevens = halving(&same(&sevens, "branch7x7x3_3", 192, [7, 1]), "branch7x7x3_4", 192);
    Net::join(&[&threes, &sevens, &x.layer(MaxPool2d::new(3).stride(2))], Concat::new())
}

/// At 8 x 8: 3x3 as 1x3 and 3x1 side by side.
fn widened(x: &Net) -> Net {
    let ones = conv(x, "branch1x1", 320, 1);
    let threes = split(&conv(x, "branch3x3_1", 384, 1), "branch3x3_2");
    let doubles = same(&conv(x, "branch3x3dbl_1", 448, 1), "branch3x3dbl_2", 384, 3);
    let doubles = split(&doubles, "branch3x3dbl_3");
    Net::join(&[&ones, &threes, &doubles, &pool_branch(x, 192)], Concat::new())
}

fn split(x: &Net, name: &str) -> Net {
    let [a, b] = [("a", [1, 3]), ("b", [3, 1])].map(|(end, kernel)| same(x, &format!("{name}{end}"), 384, kernel));
    Net::join(&[&a, &b], Concat::new())
}

fn pool_branch(x: &Net, filters: usize) -> Net {
    conv(&x.layer(AvgPool2d::new(3).stride(1).same().count_include_pad()), "branch_pool", filters, 1)
}

fn conv(x: &Net, name: &str, filters: usize, kernel: usize) -> Net {
    normalised(x, name, Conv2d::new(filters, kernel))
}

fn same(x: &Net, name: &str, filters: usize, kernel: impl Into<Size2>) -> Net {
    normalised(x, name, Conv2d::new(filters, kernel).same())
}

fn halving(x: &Net, name: &str, filters: usize) -> Net {
    normalised(x, name, Conv2d::new(filters, 3).stride(2))
}

fn normalised(x: &Net, name: &str, conv: Conv2d) -> Net {
    let x = x.layer(conv.no_bias()).named(&format!("{name}.conv"));
    x.layer(BatchNorm::pytorch().epsilon(1e-3)).named(&format!("{name}.bn")).relu()
}
