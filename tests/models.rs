//! Models as users meet them: summaries of well-known teaching models, predictions, weights, and what a mistake is answered with.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // Tests may stop at what they don't expect.

use striate::data::Dataset;
use striate::nn::{AvgPool2d, Conv2d, Init, Layer, LayerContext, MaxPool2d, Model, Sequential};
use striate::tensor::Padding;
use striate::train::{Adam, Fit};
use striate::{Device, Error, Seed, Tensor, op, ops};

fn build(net: Sequential) -> Model {
    net.build(&Device::cpu(), Seed(42)).unwrap()
}

fn refusal(net: Sequential) -> String {
    match net.build(&Device::cpu(), Seed(42)) {
        Err(e @ Error::Invalid { .. }) => e.to_string(),
        other => panic!("{other:?}"),
    }
}

fn outputs(model: &Model, kind: &str) -> Vec<Vec<usize>> {
    model.summary().layers.iter().filter(|l| kind.contains(l.kind)).map(|l| l.output.dims().to_vec()).collect()
}

fn mnist() -> Sequential {
    Sequential::new([28, 28, 1])
}

#[test]
fn parameters_of_teaching_models() {
    let dense = |net: Sequential, units: &[usize]| units.iter().fold(net, |net, &u| net.dense(u).relu());
    let pooled = || mnist().conv2d(32, 3).relu().max_pool2d(2).conv2d(64, 3).relu().max_pool2d(2);
    let same = |filters| Conv2d::new(filters, 5).same();
    let wide = mnist().layer(same(32)).relu().max_pool2d(2).layer(same(64)).relu().max_pool2d(2).flatten();
    for (net, parameters) in [
        (mnist().flatten().dense(10), 7_850),
        (dense(mnist().flatten(), &[200, 100, 60, 30]).dense(10), 185_300),
        (dense(mnist().flatten(), &[512, 256]).dense(10), 535_818),
        (pooled().conv2d(64, 3), 55_744),
        (mnist().conv2d(32, 3).relu().conv2d(64, 3).relu().conv2d(64, 3), 55_744),
        (pooled().conv2d(64, 3).relu().flatten().dense(64).relu().dense(10), 93_322),
        (pooled().conv2d(128, 3).relu().flatten().dense(10), 104_202),
        (pooled().flatten().dense(1024).relu().dense(10), 1_668_490),
        (wide.dense(1024).relu().dropout(0.4).dense(10), 3_274_634),
    ] {
        assert_eq!(build(net).parameters(), parameters);
    }
    // 150x150 photos of cats and dogs.
    let photos = [32, 64, 128, 128].iter().fold(Sequential::new([150, 150, 3]), |net, &f| net.conv2d(f, 3).relu().max_pool2d(2));
    assert_eq!(build(photos.flatten().dense(512).relu().dense(1)).parameters(), 3_453_121);
}

#[test]
fn outputs_and_costs_layer_by_layer() {
    let model = build(mnist().conv2d(32, 3).relu().max_pool2d(2).conv2d(64, 3).relu().max_pool2d(2).conv2d(64, 3));
    let want = [vec![26, 26, 32], vec![13, 13, 32], vec![11, 11, 64], vec![5, 5, 64], vec![3, 3, 64]];
    assert_eq!(outputs(&model, "conv2d max_pool2d"), want);
    let counts: Vec<usize> = model.summary().layers.iter().map(|l| l.parameters).filter(|&n| n > 0).collect();
    assert_eq!(counts, [320, 18_496, 36_928]);

    let unpooled = build(mnist().conv2d(32, 3).relu().conv2d(64, 3).relu().conv2d(64, 3).relu().flatten());
    assert_eq!(outputs(&unpooled, "conv2d flatten"), [vec![26, 26, 32], vec![24, 24, 64], vec![22, 22, 64], vec![30_976]]);

    let lenet = Sequential::new([32, 32, 1])
        .conv2d(6, 5)
        .tanh()
        .avg_pool2d(2)
        .conv2d(16, 5)
        .tanh()
        .avg_pool2d(2)
        .conv2d(120, 5)
        .tanh()
        .flatten()
        .dense(84)
        .tanh()
        .dense(10);
    let lenet = build(lenet).summary();
    let counts: Vec<usize> = lenet.layers.iter().map(|l| l.parameters).filter(|&n| n > 0).collect();
    assert_eq!((counts, lenet.parameters(), lenet.macs()), (vec![156, 2_416, 48_120, 10_164, 850], 61_706, 416_520));
}

#[test]
fn the_summary_is_a_table() {
    let net = mnist().conv2d(32, 3).relu().conv2d(64, 3).relu().max_pool2d(2).dropout(0.25).flatten();
    let model = build(net.dense(128).relu().dropout(0.5).dense(10).named("classes"));
    let summary = model.summary();
    assert_eq!((summary.parameters(), summary.macs(), summary.bytes()), (1_199_882, 11_992_448, 4 * 1_199_882));
    let want = "\
Layer (type)                 Output shape              Parameters           MACs
================================================================================
conv2d (conv2d)              (None, 26, 26, 32)               320        194,688
relu (relu)                  (None, 26, 26, 32)                 0
conv2d_1 (conv2d)            (None, 24, 24, 64)            18,496     10,616,832
relu_1 (relu)                (None, 24, 24, 64)                 0
max_pool2d (max_pool2d)      (None, 12, 12, 64)                 0
dropout (dropout)            (None, 12, 12, 64)                 0
flatten (flatten)            (None, 9216)                       0
dense (dense)                (None, 128)                1,179,776      1,179,648
relu_2 (relu)                (None, 128)                        0
dropout_1 (dropout)          (None, 128)                        0
classes (dense)              (None, 10)                     1,290          1,280
================================================================================
Parameters: 1,199,882 (4.58 MiB)
  trainable: 1,199,882
  non-trainable: 0
Forward pass of one sample: 11,992,448 MACs, ";
    let text = summary.to_string();
    assert!(text.starts_with(want), "{text}");

    let training = model.summary_for(&Fit::epochs(1).batch(128).optimizer(Adam::default())).unwrap();
    let (batch, memory) = training.training.unwrap();
    // Parameters, and two moments each.
    assert_eq!(batch, 128);
    let states = 3 * 4 * 1_199_882;
    assert!((states..states + 4096).contains(&memory.states), "{}", memory.states);
    // At least the first two layers' activations, in f32.
    assert!(memory.scratch > 4 * 128 * (26 * 26 * 32 + 24 * 24 * 64), "{}", memory.scratch);
    assert!(training.to_string().contains("Training on batches of 128"));
}

#[test]
fn options_of_convolutions_and_pools() {
    let shape = |net: Sequential| build(net).output_shape().dims().to_vec();
    let input = || Sequential::new([15, 17, 4]);
    assert_eq!(shape(input().layer(Conv2d::new(8, [3, 5]).stride([2, 1]))), [7, 13, 8]);
    assert_eq!(shape(input().layer(Conv2d::new(8, 3).same().stride(2))), [8, 9, 8]);
    assert_eq!(shape(input().layer(Conv2d::new(8, 3).dilation(2))), [11, 13, 8]);
    assert_eq!(shape(input().layer(Conv2d::new(8, 3).padding(Padding::all(2)))), [17, 19, 8]);
    assert_eq!(shape(input().layer(MaxPool2d::new((3, 2)).stride(2))), [7, 8, 4]);
    assert_eq!(shape(input().layer(AvgPool2d::new(2).ceil())), [8, 9, 4]);
    assert_eq!(shape(input().layer(MaxPool2d::new(2).same())), [8, 9, 4]);
    // Depthwise: 3 * 3 weights a channel.
    let depthwise = build(input().layer(Conv2d::new(4, 3).groups(4).no_bias()));
    assert_eq!(depthwise.parameters(), 36);
}

#[test]
fn mistakes_are_named() {
    let flat = refusal(mnist().conv2d(8, 3).dense(10));
    assert!(flat.starts_with("dense: input shape: got [n, 26, 26, 8]") && flat.contains(".flatten()"), "{flat}");
    let order = refusal(mnist().flatten().conv2d(8, 3).named("stem"));
    assert!(order.starts_with("stem: input shape: got [n, 784]") && order.contains("before `.flatten()`"), "{order}");
    let pool = refusal(mnist().flatten().max_pool2d(2));
    assert!(pool.starts_with("max_pool2d: input shape: got [n, 784]"), "{pool}");
    let kernel = refusal(mnist().max_pool2d(8).conv2d(8, 7));
    assert!(kernel.starts_with("conv2d: ") && kernel.contains("kernel (height): got 7") && kernel.contains("same"), "{kernel}");
    let pooled_away = refusal(mnist().max_pool2d(16).max_pool2d(4));
    assert!(pooled_away.starts_with("max_pool2d_1: kernel (height): got 4"), "{pooled_away}");
    for (net, start) in [
        (mnist().conv2d(0, 3), "conv2d: filters: got 0"),
        (mnist().conv2d(8, 0), "conv2d: kernel (height): got 0"),
        (mnist().conv2d(usize::MAX, 3), "conv2d: weight: got"),
        (mnist().conv2d(1 << 40, 1), "conv2d: weight: got"),
        (mnist().layer(Conv2d::new(8, 3).stride([1, 0])), "conv2d: stride (width): got 0"),
        (mnist().layer(Conv2d::new(8, 3).groups(3)), "conv2d: groups: got 3"),
        (mnist().layer(Conv2d::new(8, 3).groups(0)), "conv2d: groups: got 0"),
        (mnist().layer(Conv2d::new(8, 3).padding(Padding::all(usize::MAX))), "conv2d: padding"),
        (mnist().layer(Conv2d::new(8, 3).init(Init::Constant(f32::NAN))), "conv2d: initial value: got NaN"),
        (mnist().max_pool2d(0), "max_pool2d: kernel (height): got 0"),
        (mnist().flatten().dense(0), "dense: units: got 0"),
        (mnist().flatten().dense(usize::MAX), "dense: weight: got"),
        (mnist().dropout(1.0), "dropout: rate: got 1"),
        (mnist().dropout(-0.1), "dropout: rate: got -0.1"),
        (mnist().dropout(f32::NAN), "dropout: rate: got NaN"),
        (mnist(), "layers: got none"),
        (mnist().relu().named("a").tanh().named("a"), "layer name: got 'a' twice"),
        (mnist().relu().named("a/b"), "layer name: got 'a/b'"),
        (mnist().relu().named(""), "layer name: got ''"),
        (Sequential::new([28, 0, 1]).relu(), "input shape: got [28, 0, 1]"),
        (Sequential::new([usize::MAX, usize::MAX, 4]).relu(), "input shape: got"),
    ] {
        let text = refusal(net);
        assert!(text.starts_with(start), "{text}");
    }
}

#[test]
fn names_that_users_gave_are_left_to_them() {
    let model = build(mnist().conv2d(2, 3).conv2d(2, 3).named("conv2d").conv2d(2, 3));
    let names: Vec<String> = model.summary().layers.into_iter().map(|l| l.name).collect();
    assert_eq!(names, ["conv2d_1", "conv2d", "conv2d_2"]);
}

#[test]
fn weights_come_and_go() {
    let net = || Sequential::new([6, 6, 1]).conv2d(3, 3).relu().flatten().dense(5);
    let (mut a, mut b) = (build(net()), net().build(&Device::cpu(), Seed(43)).unwrap());
    let weights = a.weights().unwrap();
    let names: Vec<&str> = weights.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["conv2d/weight", "conv2d/bias", "dense/weight", "dense/bias"]);
    assert_eq!(weights[0].1.shape().dims(), [3, 3, 1, 3]);
    assert!(weights[1].1.as_f32().unwrap().iter().all(|&x| x == 0.0));
    assert_ne!(weights, b.weights().unwrap());
    assert_eq!(weights, build(net()).weights().unwrap());
    let x = op::sample::normal(1, [4, 6, 6, 1]);
    assert_ne!(a.predict(&x).unwrap(), b.predict(&x).unwrap());
    let mut reversed = weights.clone();
    reversed.reverse();
    b.set_weights(&reversed).unwrap();
    assert_eq!(weights, b.weights().unwrap());
    assert_eq!(a.predict(&x).unwrap(), b.predict(&x).unwrap());

    let error = |model: &mut Model, weights: &[(String, Tensor)]| model.set_weights(weights).unwrap_err().to_string();
    let missing = error(&mut b, &weights[1..]);
    assert!(missing.contains("none for 'conv2d/weight'"), "{missing}");
    let mut renamed = weights.clone();
    renamed[3].0 = "dense_9/bias".to_string();
    let unknown = error(&mut b, &renamed);
    assert!(unknown.contains("'dense_9/bias'") && unknown.contains("dense/bias"), "{unknown}");
    let twice = error(&mut b, &[&weights[..], &weights[..1]].concat());
    assert!(twice.contains("twice"), "{twice}");
    let mut reshaped = weights.clone();
    reshaped[0].1 = Tensor::f32([27], vec![0.0; 27]).unwrap();
    let wrong = error(&mut b, &reshaped);
    assert!(wrong.contains("conv2d/weight") && wrong.contains("[27]") && wrong.contains("[3, 3, 1, 3]"), "{wrong}");
    assert_eq!(weights, b.weights().unwrap());
}

#[test]
fn initial_values_follow_the_setting() {
    let net =
        |init| Sequential::new([6, 6, 1]).init(init).conv2d(3, 3).flatten().layer(striate::nn::Dense::new(5).init(Init::Zeros));
    let weights = build(net(Init::Constant(0.25))).weights().unwrap();
    assert!(weights[0].1.as_f32().unwrap().iter().all(|&x| x == 0.25));
    assert!(weights[2].1.as_f32().unwrap().iter().all(|&x| x == 0.0));
}

#[test]
fn predictions_agree_with_each_other() {
    let mut model = build(Sequential::new([6, 6, 1]).conv2d(3, 3).relu().dropout(0.5).flatten().dense(4));
    // More than a run takes, and the rest no power of two.
    let n = 300;
    let bytes = (0..n * 36).map(|i| (i * 37 % 251) as u8).collect();
    let data = Dataset::new(Tensor::u8([n, 6, 6, 1], bytes).unwrap(), vec![0; n], 4).unwrap();
    let all: Vec<u32> = (0..n as u32).collect();
    let x = Tensor::f32([n, 6, 6, 1], data.batch_images(&all).unwrap()).unwrap();
    let y = model.predict(&x).unwrap();
    assert_eq!(y.shape().dims(), [n, 4]);
    assert_eq!(y, model.predict_dataset(&data).unwrap());
    assert_ne!(y, model.predict_dataset(&data.clone().normalized(1.0, 0.0).unwrap()).unwrap());
    let one = Tensor::f32([1, 6, 6, 1], x.as_f32().unwrap()[36 * 299..].to_vec()).unwrap();
    let alone = model.predict(&one).unwrap();
    for (a, b) in alone.as_f32().unwrap().iter().zip(&y.as_f32().unwrap()[4 * 299..]) {
        assert!((a - b).abs() <= 1e-5 * b.abs().max(1.0), "{a} {b}");
    }
    let p = model.predict_probabilities(&x).unwrap();
    let classes = model.predict_classes(&x).unwrap();
    for ((p, y), &class) in p.as_f32().unwrap().chunks(4).zip(y.as_f32().unwrap().chunks(4)).zip(&classes) {
        assert!((p.iter().sum::<f32>() - 1.0).abs() < 1e-6);
        assert!(y.iter().all(|&v| v <= y[class as usize]));
        assert!(p.iter().all(|&v| v <= p[class as usize]));
    }
    // A softmax that is there already isn't applied twice.
    let mut ended = build(Sequential::new([6, 6, 1]).flatten().dense(4).softmax());
    assert_eq!(ended.predict_probabilities(&x).unwrap(), ended.predict(&x).unwrap());
}

#[test]
fn images_that_cannot_be_predicted() {
    let mut model = build(Sequential::new([6, 5, 2]).flatten().dense(4));
    let mut error = |x: Tensor| model.predict(&x).unwrap_err().to_string();
    let mut values = vec![0.0; 3 * 60];
    values[60 + 2 * 10 + 3 * 2 + 1] = f32::NAN;
    let nan = error(Tensor::f32([3, 6, 5, 2], values).unwrap());
    assert!(nan.starts_with("image 1 at [2, 3, 1]: got NaN"), "{nan}");
    let shape = error(Tensor::f32([1, 5, 6, 2], vec![0.0; 60]).unwrap());
    assert!(shape.contains("[1, 5, 6, 2]") && shape.contains("[n, 6, 5, 2]"), "{shape}");
    let single = error(Tensor::f32([6, 5, 2], vec![0.0; 60]).unwrap());
    assert!(single.ends_with("[n, 6, 5, 2]; a single image is a batch of 1"), "{single}");
    let channels_first = error(Tensor::f32([1, 2, 6, 5], vec![0.0; 60]).unwrap());
    assert!(channels_first.ends_with("[n, 6, 5, 2]; channels come last"), "{channels_first}");
    assert!(error(Tensor::f32([0, 6, 5, 2], vec![]).unwrap()).contains("no dimension of 0"));
    let bytes = error(Tensor::u8([1, 6, 5, 2], vec![0; 60]).unwrap());
    assert!(bytes.contains("f32") && bytes.contains("u8"), "{bytes}");
    let mut pictures = build(Sequential::new([6, 5, 2]).conv2d(4, 3));
    let x = Tensor::f32([1, 6, 5, 2], vec![0.0; 60]).unwrap();
    let classes = pictures.predict_classes(&x).unwrap_err().to_string();
    assert!(classes.starts_with("conv2d: output shape: got [4, 3, 4], want [classes]; end the network"), "{classes}");
    assert_eq!(pictures.predict_probabilities(&x).unwrap_err().to_string(), classes);
}

#[test]
fn models_can_be_moved_to_threads() {
    fn is_send<T: Send>() {}
    is_send::<Model>();
    is_send::<Sequential>();
}

/// `2 x w`: a layer of a user.
#[derive(Debug)]
struct Twice;

impl Layer for Twice {
    fn type_name(&self) -> &'static str {
        "twice"
    }

    fn build(&self, ctx: &mut LayerContext<'_>, x: &[op::Value]) -> striate::Result<op::Value> {
        let x = ctx.only(x)?;
        let len = ctx.shape(x).last();
        let w = ctx.parameter("w", [len, len], Init::Ones)?;
        let y = ctx.node(ops::matmul::Matmul::new(false, false), &[x, w])?;
        ctx.node(ops::binary::Binary::<ops::binary::Add>::new(), &[y, y])
    }
}

#[test]
fn layers_of_users() {
    let mut model = build(Sequential::new([3]).layer(Twice));
    let y = model.predict(&Tensor::f32([2, 3], vec![1.0, 2.0, 3.0, 0.0, 0.0, 1.0]).unwrap()).unwrap();
    assert_eq!(y.as_f32().unwrap(), [12.0, 12.0, 12.0, 2.0, 2.0, 2.0]);
    let wrong = refusal(mnist().layer(Twice));
    assert!(wrong.starts_with("twice: matmul: a: got [1, 28, 28, 1]"), "{wrong}");
}
