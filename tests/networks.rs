//! Networks that branch, as users write them, and the zoo's.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // Tests may stop at what they don't expect.

use striate::nn::{
    Add, BatchNorm, Clip, Conv2d, Dense, DepthwiseConv2d, Elu, GeluTanh, LayerNorm, MaxPool2d, Net, Outputs, Prelu, Reduce,
    Sequential, Sub,
};
use striate::op::sample;
use striate::ops::reduce::Reduction;
use striate::tensor::Padding;
use striate::{Device, Seed, Tensor, zoo};

fn refusal(net: &Net) -> String {
    let error = net.build(&Device::cpu(), Seed(1)).unwrap_err().to_string();
    assert_eq!(net.summary().unwrap_err().to_string(), error);
    error
}

#[test]
fn branches_join() {
    let x = Net::input([3]);
    let (a, b) = (x.dense(4).named("a"), x.dense(4).named("b"));
    // A layer that several read, a network that is read twice, and one of three.
    let sum = a.add(&b);
    let y = Net::join(&[&sum, &a, &sum], Add);
    let mut model = y.build(&Device::cpu(), Seed(1)).unwrap();
    let weights = model.weights().unwrap();
    let names: Vec<&str> = weights.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["a/weight", "a/bias", "b/weight", "b/bias"]);
    let input = Tensor::f32([1, 3], vec![1.0, -2.0, 0.5]).unwrap();
    let y = model.predict(&input).unwrap();
    let product = |name: &str, j: usize| {
        let w = weights.iter().find(|(n, _)| n == name).unwrap().1.as_f32().unwrap();
        input.as_f32().unwrap().iter().enumerate().map(|(i, x)| x * w[i * 4 + j]).sum::<f32>()
    };
    for (j, &y) in y.as_f32().unwrap().iter().enumerate() {
        let want = 3.0 * product("a/weight", j) + 2.0 * product("b/weight", j);
        assert!((y - want).abs() < 1e-5, "{y} {want}");
    }
}

#[test]
fn the_summary_shows_connections() {
    let x = Net::input([8, 8, 3]);
    let y = x.layer(Conv2d::new(3, 3).same()).batch_norm().relu();
    let net = y.add(&x).max_pool2d(2);
    let text = net.summary().unwrap().to_string();
    let want = "\
Layer (type)                 Output shape              Parameters           MACs
================================================================================
conv2d (conv2d)              (None, 8, 8, 3)                   84          5,184
batch_norm (batch_norm)      (None, 8, 8, 3)                   12
relu (relu)                  (None, 8, 8, 3)                    0
add (add)                    (None, 8, 8, 3)                    0
  of relu, input
max_pool2d (max_pool2d)      (None, 4, 4, 3)                    0
================================================================================
Parameters: 96 (384 bytes)
  trainable: 90
  non-trainable: 6
";
    assert!(text.starts_with(want), "{text}");
    assert_eq!(net.summary().unwrap(), net.build(&Device::cpu(), Seed(1)).unwrap().summary());
}

#[test]
fn layers_of_the_vocabulary() {
    let shape = |net: Net| net.build(&Device::cpu(), Seed(1)).unwrap().output_shape().dims().to_vec();
    let x = || Net::input([9, 7, 4]);
    assert_eq!(shape(x().layer(DepthwiseConv2d::new(3).multiplier(2).stride(2).same())), [5, 4, 8]);
    assert_eq!(shape(x().layer(DepthwiseConv2d::new([3, 1]).dilation([2, 1]).no_bias())), [5, 7, 4]);
    assert_eq!(shape(x().layer(MaxPool2d::new(3).stride(2).padding(Padding::all(1)))), [5, 4, 4]);
    assert_eq!((shape(x().global_avg_pool2d()), shape(x().global_max_pool2d())), (vec![4], vec![4]));
    assert_eq!(shape(x().relu6().batch_norm().layer(Clip::new(-1.0, 1.0))), [9, 7, 4]);
    let counts = |net: Net| net.summary().unwrap().parameters();
    assert_eq!(counts(x().layer(DepthwiseConv2d::new(3).multiplier(2))), 9 * 8 + 8);
    // Pooling over the image, by hand.
    let images = sample::normal(3, [2, 9, 7, 4]);
    for (net, max) in [(x().global_avg_pool2d(), false), (x().global_max_pool2d(), true)] {
        let y = net.build(&Device::cpu(), Seed(1)).unwrap().predict(&images).unwrap();
        for (i, &y) in y.as_f32().unwrap().iter().enumerate() {
            let values: Vec<f32> =
                images.as_f32().unwrap()[i / 4 * 252..][..252].iter().skip(i % 4).step_by(4).copied().collect();
            let want = if max { values.iter().copied().fold(f32::MIN, f32::max) } else { values.iter().sum::<f32>() / 63.0 };
            assert!((y - want).abs() < 1e-6, "{y} {want}");
        }
    }
}

#[test]
fn activations_norms_and_joins() {
    let shape = |net: Net| net.build(&Device::cpu(), Seed(1)).unwrap().output_shape().dims().to_vec();
    let x = || Net::input([5, 3, 4]);
    let activated = x().leaky_relu(0.3).prelu().elu().selu().gelu().silu().mish().hard_swish().hard_sigmoid().softsign();
    assert_eq!(shape(activated.layer(GeluTanh).layer(Prelu::new().shared().slope(0.1))), [5, 3, 4]);
    assert_eq!(shape(x().layer_norm().group_norm(2).instance_norm().layer(LayerNorm::new().axes(3)).lrn(5)), [5, 3, 4]);
    let counts = |net: Net| net.summary().unwrap().parameters();
    assert_eq!(counts(x().layer_norm()), 8);
    assert_eq!(counts(x().layer(LayerNorm::new().axes(3))), 120);
    assert_eq!(counts(x().group_norm(2).instance_norm().lrn(3)), 16);
    assert_eq!((counts(x().prelu()), counts(x().layer(Prelu::new().shared()))), (4, 1));
    assert_eq!(shape(x().layer(Reduce::new(Reduction::Max, [1, -1]))), [3]);
    assert_eq!(shape(x().layer(Reduce::new(Reduction::L2, [-1]).keep_dims())), [5, 3, 1]);
    let [a, b] = [x().relu(), x().relu()];
    assert_eq!(shape(a.sub(&b.mul(&a)).max(&a).min(&b)), [5, 3, 4]);

    // Squeeze and excitation: a factor a channel, from the means of the channels.
    let x = x();
    let net = x.mul(&x.global_avg_pool2d().sigmoid());
    let images = sample::normal(3, [2, 5, 3, 4]);
    for y in [net, x.mul(&x.layer(Reduce::new(Reduction::Mean, [1, 2]).keep_dims()).sigmoid())] {
        let y = y.build(&Device::cpu(), Seed(1)).unwrap().predict(&images).unwrap();
        let (x, y) = (images.as_f32().unwrap(), y.as_f32().unwrap());
        for i in 0..120 {
            let (sample, channel) = (i / 60, i % 4);
            let mean = x[sample * 60..][..60].iter().skip(channel).step_by(4).sum::<f32>() / 15.0;
            assert!((y[i] - x[i] / (1.0 + (-mean).exp())).abs() < 1e-6, "{i}: {}", y[i]);
        }
    }
}

#[test]
fn options_out_of_range_are_named() {
    let x = || Net::input([5, 3, 4]);
    assert!(refusal(&x().leaky_relu(-1.0)).starts_with("leaky_relu: slope: got -1, want 0 or more"));
    assert!(refusal(&x().layer(Elu::new(f64::NAN))).starts_with("elu: alpha: got NaN"));
    assert!(refusal(&x().group_norm(3)).starts_with("group_norm: groups: got 3, want a divisor of the 4 channels"));
    assert!(refusal(&x().layer(LayerNorm::new().axes(4))).starts_with("layer_norm: axes: got 4, want 1 to 3"));
    assert!(refusal(&x().layer(LayerNorm::new().epsilon(0.0))).contains("epsilon: got 0"));
    assert!(refusal(&Net::input([4]).instance_norm()).contains("2 or more values in a group"));
    assert!(refusal(&x().lrn(0)).contains("size: got 0"));
    assert!(refusal(&x().layer(Reduce::new(Reduction::Sum, [3, 4]))).starts_with("reduce: axis: got 4"));
    let x = x();
    assert!(refusal(&Net::join(&[&x, &x, &x], Sub)).starts_with("sub: inputs: got 3"));
}

#[test]
fn mistakes_are_named() {
    let x = || Net::input([8, 8, 3]);
    let stem = x().conv2d(4, 3).named("stem");
    let shapes = refusal(&stem.add(&stem.max_pool2d(2)));
    assert_eq!(
        shapes,
        "add: input shapes: got [n, 6, 6, 4] of 'stem' and [n, 3, 3, 4] of 'max_pool2d', want equal ones, but for dimensions of 1"
    );
    let image = x();
    let channels = refusal(&image.add(&image.conv2d(4, 3).named("stem")).named("sum"));
    assert!(channels.starts_with("sum: input shapes: got [n, 8, 8, 3] of 'input' and [n, 6, 6, 4] of 'stem'"), "{channels}");
    let too_many = refusal(&Net::join(&[&stem, &stem], Dense::new(3)));
    assert_eq!(too_many, "dense: inputs: got 2 (stem, stem), want 1");
    assert!(refusal(&Net::join(&[&stem], Add)).starts_with("add: inputs: got 1 (stem), want 2 or more"));
    assert!(refusal(&Net::join(&[], Add)).starts_with("inputs of the network: got none"));
    assert!(refusal(&x()).starts_with("layers: got none"));
    let y = stem.relu();
    assert!(refusal(&y.clone().named("late").add(&y)).starts_with("layer name: got 'late' for a layer that is read already"));
    assert!(refusal(&y.named("stem")).starts_with("layer name: got 'stem' twice"));
    let norm = |layer: BatchNorm| refusal(&x().layer(layer).named("norm"));
    assert!(norm(BatchNorm::new().epsilon(0.0)).starts_with("norm: batch_norm_inference: epsilon: got 0"));
    assert!(norm(BatchNorm::new().momentum(1.5)).starts_with("norm: momentum: got 1.5"));
    assert!(refusal(&Net::input([]).batch_norm()).starts_with("batch_norm: input shape: got [n], want 2 or more"));
    let flat = refusal(&x().flatten().global_avg_pool2d());
    assert!(flat.starts_with("global_avg_pool2d: input shape: got [n, 192]"), "{flat}");
    assert!(refusal(&x().flatten().global_max_pool2d()).starts_with("global_max_pool2d: input shape"));
    assert!(refusal(&x().layer(Clip::new(1.0, 0.0))).starts_with("clip: bounds: got 1 to 0"));
    assert!(refusal(&x().layer(DepthwiseConv2d::new(3).multiplier(0))).starts_with("depthwise_conv2d: multiplier: got 0"));
    assert!(refusal(&x().layer(DepthwiseConv2d::new(9))).starts_with("depthwise_conv2d: kernel (height): got 9"));
}

#[test]
fn a_sequential_is_a_net() {
    let layers = Sequential::new([4]).dense(5).relu();
    let net = Net::from(layers.clone());
    let branch = net.dense(5).add(&net);
    let (a, b) = (layers.build(&Device::cpu(), Seed(1)).unwrap(), net.build(&Device::cpu(), Seed(1)).unwrap());
    assert_eq!(a.summary(), b.summary());
    assert_eq!(branch.summary().unwrap().layers.len(), 4);
}

/// Neither building, nor printing, nor dropping goes as deep as the network.
#[test]
fn very_many_layers() {
    let mut x = Net::input([2]);
    for _ in 0..30_000 {
        x = x.add(&x).relu();
    }
    assert_eq!(x.summary().unwrap().layers.len(), 60_000);
    assert!(format!("{x:?}").len() < 100);
}

/// Parameters and GMACs as published.
#[test]
fn the_zoo_counts_as_published() {
    let (input, n) = ([224, 224, 3], 1000);
    let one = |net: Net| Outputs::of(&[&net]);
    for (name, net, parameters, gmacs) in [
        ("alexnet", one(zoo::alexnet(input, n)), 61_100_840, 0.714),
        ("alexnet_2012", one(zoo::alexnet_2012(input, n)), 60_965_224, 0.724),
        ("zfnet", one(zoo::zfnet(input, n)), 62_357_608, 1.168),
        ("vgg11", one(zoo::vgg11(input, n)), 132_863_336, 7.609),
        ("vgg13", one(zoo::vgg13(input, n)), 133_047_848, 11.308),
        ("vgg16", one(zoo::vgg16(input, n)), 138_357_544, 15.470),
        ("vgg19", one(zoo::vgg19(input, n)), 143_667_240, 19.632),
        ("vgg11_bn", one(zoo::vgg11_bn(input, n)), 132_868_840, 7.609),
        ("vgg13_bn", one(zoo::vgg13_bn(input, n)), 133_053_736, 11.308),
        ("vgg16_bn", one(zoo::vgg16_bn(input, n)), 138_365_992, 15.470),
        ("vgg19_bn", one(zoo::vgg19_bn(input, n)), 143_678_248, 19.632),
        ("googlenet", one(zoo::googlenet(input, n)), 6_624_904, 1.498),
        ("googlenet_2014", one(zoo::googlenet_2014(input, n)), 6_998_552, 1.583),
        ("inception_v3", one(zoo::inception_v3([299, 299, 3], n)), 23_834_568, 5.713),
        ("resnet18", one(zoo::resnet18(input, n)), 11_689_512, 1.814),
        ("resnet34", one(zoo::resnet34(input, n)), 21_797_672, 3.664),
        ("resnet50", one(zoo::resnet50(input, n)), 25_557_032, 4.089),
        ("resnet101", one(zoo::resnet101(input, n)), 44_549_160, 7.801),
        ("resnet152", one(zoo::resnet152(input, n)), 60_192_808, 11.514),
        ("resnet20", one(zoo::resnet20([32, 32, 3], 10)), 269_722, 0.041),
        ("resnet56", one(zoo::resnet56([32, 32, 3], 10)), 853_018, 0.125),
        ("squeezenet1_0", one(zoo::squeezenet1_0(input, n)), 1_248_424, 0.819),
        ("squeezenet1_1", one(zoo::squeezenet1_1(input, n)), 1_235_496, 0.349),
        ("mobilenet_v2", one(zoo::mobilenet_v2(input, n)), 3_504_872, 0.301),
        ("mobilenet_v3_large", one(zoo::mobilenet_v3_large(input, n)), 5_483_032, 0.217),
        ("mobilenet_v3_small", one(zoo::mobilenet_v3_small(input, n)), 2_542_856, 0.057),
        ("efficientnet_lite0", one(zoo::efficientnet_lite0(input, n)), 4_652_008, 0.385),
        ("densenet121", one(zoo::densenet121(input, n)), 7_978_856, 2.834),
        ("unet", one(zoo::unet([256, 256, 3], 2)), 1_942_594, 3.034),
    ] {
        let summary = net.summary().unwrap();
        assert_eq!((summary.trainable, (summary.macs() as f64 / 1e6).round() / 1e3), (parameters, gmacs), "{name}");
    }
    let lenet = zoo::lenet5([32, 32, 1], 10).summary().unwrap();
    assert_eq!((lenet.trainable, lenet.macs()), (61_706, 416_520));
    // With the classifiers that only training has.
    let trainable = |net: Outputs| net.summary().unwrap().trainable;
    assert_eq!(trainable(zoo::googlenet_with_auxiliary(input, n)), 13_004_888);
    assert_eq!(trainable(zoo::inception_v3_with_auxiliary([299, 299, 3], n)), 27_161_264);
    // PyTorch has 122 buffers in ResNet-18, of which 20 count batches.
    assert_eq!(zoo::resnet18(input, n).summary().unwrap().non_trainable, 9_600);
    assert_eq!(zoo::mobilenet_v2(input, n).summary().unwrap().non_trainable, 34_112);
}

/// Smaller ones run, forward and in a step of training.
#[test]
fn the_zoo_runs() {
    use striate::data::Dataset;
    use striate::train::{Fit, Progress, Sgd};
    let x = sample::normal(1, [4, 32, 32, 3]);
    let data = Dataset::new(x.clone(), vec![0, 1, 2, 3], 10).unwrap();
    for net in [zoo::resnet18([32, 32, 3], 10), zoo::resnet20([32, 32, 3], 10), zoo::mobilenet_v2([32, 32, 3], 10)] {
        let mut model = net.build(&Device::cpu(), Seed(1)).unwrap();
        let fit = Fit::epochs(1).batch(4).optimizer(Sgd::new(0.01)).progress(Progress::Silent);
        let history = model.fit(&data, fit).unwrap();
        assert!(history.epochs[0].loss.is_finite());
        let y = model.predict(&x).unwrap();
        assert!(y.as_f32().unwrap().iter().all(|v| v.is_finite()));
    }
}

#[test]
fn a_prediction_has_no_batch_norms() {
    let mut model = zoo::resnet18([32, 32, 3], 10).build(&Device::cpu(), Seed(1)).unwrap();
    let images = sample::normal(1, [1, 32, 32, 3]);
    let first = model.predict(&images).unwrap();
    {
        let plans = model.plans();
        let plan = plans.iter().find(|(key, _)| key.starts_with("predict")).unwrap().1;
        let ops: Vec<&str> = plan.steps.iter().map(|s| plan.graph.nodes()[s.node].op.name()).collect();
        let (prepared, run) = ops.split_at(plan.n_prepared());
        assert_eq!(prepared.iter().filter(|op| **op == "batch_norm_fold").count(), 20);
        assert!(run.iter().all(|op| !op.starts_with("batch_norm")), "{run:?}");
    }
    // The folded weights are made anew when the parameters change.
    let weights = model.weights().unwrap();
    let halved = |(name, t): &(String, Tensor)| {
        let factor = if name.ends_with("gamma") { 0.5 } else { 1.0 };
        (name.clone(), Tensor::f32(t.shape().clone(), t.as_f32().unwrap().iter().map(|x| factor * x).collect()).unwrap())
    };
    model.set_weights(&weights.iter().map(halved).collect::<Vec<_>>()).unwrap();
    assert_ne!(model.predict(&images).unwrap(), first);
    model.set_weights(&weights).unwrap();
    assert_eq!(model.predict(&images).unwrap(), first);
}
