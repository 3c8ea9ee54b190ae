//! Layers that change where values lie, and of which size images are: shapes by the rules of Keras and PyTorch, values by hand, and mistakes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // Tests may stop at what they don't expect.

use striate::nn::{
    AdaptiveAvgPool2d, AvgPool2d, ChannelShuffle, Concat, Conv1d, ConvTranspose2d, Corners, Crop2d, Embedding, Init, LpPool2d,
    MaxPool2d, Net, Pad, Permute, Reshape, Resize2d, SeparableConv2d, Slice, SpatialDropout, Upsample2d,
};
use striate::op::sample;
use striate::tensor::{Padding, Shape};
use striate::train::{Fit, Sgd};
use striate::{Device, Seed, Tensor};

fn shape(net: &Net) -> Vec<usize> {
    net.build(&Device::cpu(), Seed(1)).unwrap().output_shape().dims().to_vec()
}

fn refusal(net: &Net) -> String {
    net.build(&Device::cpu(), Seed(1)).unwrap_err().to_string()
}

/// What a network makes of samples.
fn run(net: &Net, x: &Tensor) -> Tensor {
    net.build(&Device::cpu(), Seed(1)).unwrap().predict(x).unwrap()
}

/// 0, 1, 2, ..
fn count(shape: impl Into<Shape>) -> Tensor {
    let shape = shape.into();
    let data = (0..shape.elements()).map(|i| i as f32).collect();
    Tensor::f32(shape, data).unwrap()
}

fn image(h: usize, w: usize, c: usize) -> Net {
    Net::input([h, w, c])
}

#[test]
fn branches_side_by_side() {
    let x = image(2, 2, 2);
    let both = Net::concat(&[&x, &x.relu6(), &x]);
    let y = run(&both, &count([1, 2, 2, 2]));
    assert_eq!(y.shape().dims(), [1, 2, 2, 6]);
    assert_eq!(y.as_f32().unwrap()[18..], [6.0, 7.0, 6.0, 6.0, 6.0, 7.0]);
    let rows = Net::join(&[&x, &x.crop2d([0, 0])], Concat::new().axis(1));
    assert_eq!(shape(&rows), [4, 2, 2]);
    assert_eq!(shape(&Net::concat(&[&x])), [2, 2, 2]);
    // An inception block trains: gradients come back through the parts.
    let block = Net::concat(&[&x.conv2d(3, 1), &x.zero_pad2d(1).conv2d(5, 3), &x.conv2d(2, 1).relu()]);
    assert_eq!(shape(&block), [2, 2, 10]);
    let parts = block.split(-1, &[3, 5, 2]);
    assert_eq!(shape(&parts[1]), [2, 2, 5]);

    let wrong = refusal(&Net::concat(&[&x, &x.conv2d(4, 2)]));
    assert_eq!(
        wrong,
        "concat: input shapes: got [n, 2, 2, 2] of 'input' and [n, 1, 1, 4] of 'conv2d', want equal ones but for axis 3"
    );
    for axis in [0, 4, -4] {
        let wrong = refusal(&Net::join(&[&x, &x], Concat::new().axis(axis)));
        assert!(wrong.starts_with(&format!("concat: axis: got {axis}, want 1 to 3 or -3 to -1")), "{wrong}");
    }
    assert!(refusal(&Net::concat(&[&x, &x.flatten()])).starts_with("concat: input shapes"));
    assert!(refusal(&block.split(-1, &[3, 5])[0]).starts_with("slice: sizes of the parts: got 8 in all, along axis 3"));
}

#[test]
fn pooling_to_a_size_and_in_ceil_mode() {
    assert_eq!(shape(&image(14, 14, 3).adaptive_avg_pool2d(7)), [7, 7, 3]);
    assert_eq!(shape(&image(13, 11, 3).adaptive_avg_pool2d([6, 7])), [6, 7, 3]);
    assert_eq!(shape(&image(5, 6, 3).adaptive_avg_pool2d(7)), [7, 7, 3]);
    // The same rule whichever op it becomes.
    let x = sample::normal(1, [2, 12, 8, 3]);
    let values = |net: Net, x: &Tensor| run(&net, x).as_f32().unwrap().to_vec();
    let mean = |h: std::ops::Range<usize>, w: std::ops::Range<usize>, c: usize| {
        let (n, x) = ((h.len() * w.len()) as f32, x.as_f32().unwrap());
        h.map(|h| w.clone().map(|w| x[(h * 8 + w) * 3 + c]).sum::<f32>()).sum::<f32>() / n
    };
    for (size, h, w) in [([4, 2], 3..6, 4..8), ([1, 1], 0..12, 0..8), ([5, 3], 2..5, 2..6), ([12, 8], 1..2, 1..2)] {
        let y = values(image(12, 8, 3).adaptive_avg_pool2d(size), &x);
        assert_eq!(y.len(), 2 * size[0] * size[1] * 3);
        let at = if size == [1, 1] { 0 } else { (size[1] + 1) * 3 };
        for c in 0..3 {
            assert!((y[at + c] - mean(h.clone(), w.clone(), c)).abs() < 1e-6, "{size:?}");
        }
    }
    assert_eq!(shape(&image(112, 112, 4).layer(MaxPool2d::new(3).stride(2).ceil())), [56, 56, 4]);
    assert_eq!(shape(&image(112, 112, 4).layer(MaxPool2d::new(3).stride(2))), [55, 55, 4]);
    let padded = || AvgPool2d::new(2).stride(1).padding(Padding::all(1));
    assert_eq!(values(image(1, 1, 1).layer(padded()), &count([1, 1, 1, 1])), [0.0; 4]);
    let four = Tensor::f32([1, 1, 1, 1], vec![4.0]).unwrap();
    assert_eq!(values(image(1, 1, 1).layer(padded()), &four), [4.0; 4]);
    assert_eq!(values(image(1, 1, 1).layer(padded().count_include_pad()), &four), [1.0; 4]);
    let window = Tensor::f32([1, 2, 2, 1], vec![1.0, 2.0, 3.0, 4.0]).unwrap();
    assert_eq!(values(image(2, 2, 1).lp_pool2d(1.0, 2), &window), [10.0]);
    assert_eq!(values(image(2, 2, 1).layer(LpPool2d::new(2.0, 2)), &window), [30f32.sqrt()]);
    assert!(refusal(&image(4, 4, 1).lp_pool2d(0.5, 2)).contains("p: got 0.5"));
    assert!(refusal(&image(4, 4, 1).layer(AdaptiveAvgPool2d::new([0, 1]))).starts_with("adaptive_avg_pool2d: size: got [0, 1]"));
}

#[test]
fn transposed_convolutions_have_the_sizes_of_keras_and_pytorch() {
    let layer = |kernel: [usize; 2]| ConvTranspose2d::new(2, kernel);
    let size = |layer: ConvTranspose2d| shape(&image(5, 7, 3).layer(layer))[..2].to_vec();
    // Keras: `valid` and `same`.
    assert_eq!(size(layer([3, 3])), [7, 9]);
    assert_eq!(size(layer([3, 2]).stride(2)), [11, 14]);
    assert_eq!(size(layer([2, 2]).stride([3, 4])), [15, 28]);
    assert_eq!(size(layer([3, 4]).stride(2).same()), [10, 14]);
    assert_eq!(size(layer([1, 5]).stride([3, 1]).same()), [15, 7]);
    // PyTorch: (in - 1) stride - 2 padding + dilation (kernel - 1) + output_padding + 1.
    assert_eq!(size(layer([2, 2]).stride([3, 4]).padding(Padding::all(0))), [14, 26]);
    assert_eq!(size(layer([4, 4]).stride(2).padding(Padding::all(1))), [10, 14]);
    assert_eq!(size(layer([3, 3]).stride(2).padding(Padding::all(1)).output_padding(1)), [10, 14]);
    assert_eq!(size(layer([3, 3]).dilation([2, 3]).padding(Padding::all(2))), [5, 9]);
    let summary = image(5, 7, 4).layer(layer([3, 3]).groups(2)).summary().unwrap();
    assert_eq!(summary.parameters(), 9 * 4 + 2);
    assert_eq!(image(5, 7, 4).layer(layer([3, 3]).no_bias()).summary().unwrap().parameters(), 9 * 2 * 4);
    // Each pixel becomes the filter, and where filters meet they add up.
    let ones = ConvTranspose2d::new(1, 2).init(Init::Ones);
    let y = run(&image(2, 2, 1).layer(ones.clone()), &count([1, 2, 2, 1]));
    assert_eq!(y.as_f32().unwrap(), [0.0, 1.0, 1.0, 2.0, 6.0, 4.0, 2.0, 5.0, 3.0]);
    let y = run(&image(1, 2, 1).layer(ones.stride(3)), &count([1, 1, 2, 1]));
    assert_eq!(y.as_f32().unwrap(), [&[0.0, 0.0, 0.0, 1.0, 1.0, 0.0].repeat(2)[..], &[0.0; 6]].concat());

    let refused = |layer: ConvTranspose2d| refusal(&image(5, 7, 3).layer(layer));
    assert!(refused(layer([3, 3]).output_padding(1)).contains("output_padding (height): got 1, want 0"));
    let wide = layer([3, 3]).stride(2).padding(Padding::all(0)).output_padding([0, 2]);
    assert!(refused(wide).contains("output_padding (width): got 2, want 0, or less than the stride, 2"));
    assert!(
        refused(layer([3, 3]).padding(Padding::all(5)))
            .contains("padding (height): got 10, want less than the unpadded output's 7")
    );
    assert!(refused(layer([3, 3]).groups(2)).contains("groups: got 2"));
    assert!(refused(layer([0, 3])).contains("kernel (height)"));
    assert!(refused(layer([3, 3]).stride(0)).contains("stride (height)"));
    assert!(refused(layer([3, 3]).stride(usize::MAX)).starts_with("conv_transpose2d: "));
    assert!(refused(ConvTranspose2d::new(0, 3)).contains("filters"));
}

#[test]
fn one_dimensional_and_separable_convolutions() {
    let series = || Net::input([10, 4]);
    assert_eq!(shape(&series().conv1d(6, 3)), [8, 6]);
    assert_eq!(shape(&series().layer(Conv1d::new(6, 3).same().stride(2).groups(2))), [5, 6]);
    assert_eq!(shape(&series().layer(Conv1d::new(6, 3).dilation(2).padding(4, 0).no_bias())), [10, 6]);
    assert_eq!(series().conv1d(6, 3).summary().unwrap().parameters(), 3 * 4 * 6 + 6);
    let sums = Net::input([4, 1]).layer(Conv1d::new(1, 2).padding(1, 0).init(Init::Ones));
    assert_eq!(run(&sums, &count([1, 4, 1])).as_f32().unwrap(), [0.0, 1.0, 3.0, 5.0]);
    assert!(refusal(&image(4, 4, 1).conv1d(2, 3)).starts_with("conv1d: input shape: got [n, 4, 4, 1], want 3 dimensions"));
    assert!(refusal(&series().conv1d(2, 11)).contains("kernel (width): got 11"));

    let net = image(9, 7, 4).layer(SeparableConv2d::new(6, 3).multiplier(2).stride(2).same());
    assert_eq!(shape(&net), [5, 4, 6]);
    assert_eq!(net.summary().unwrap().parameters(), 9 * 8 + 8 * 6 + 6);
    assert_eq!(net.summary().unwrap().macs(), 5 * 4 * (9 * 8 + 8 * 6));
    let mut model = net.build(&Device::cpu(), Seed(3)).unwrap();
    let x = sample::normal(2, [1, 9, 7, 4]);
    let y = model.predict(&x).unwrap();
    // By hand, the pixel in the middle of an output row.
    let weights = model.weights().unwrap();
    let weight = |name: &str| weights.iter().find(|(n, _)| n == name).unwrap().1.as_f32().unwrap().to_vec();
    let (depthwise, pointwise) = (weight("separable_conv2d/depthwise_weight"), weight("separable_conv2d/pointwise_weight"));
    let (h, w) = (2, 1);
    let at = |h: usize, w: usize, c: usize| {
        // The stride's windows start a row above the image and a column left of it.
        let inside = (1..=9).contains(&h) && (1..=7).contains(&w);
        if inside { x.as_f32().unwrap()[((h - 1) * 7 + w - 1) * 4 + c] } else { 0.0 }
    };
    for o in 0..6 {
        let mut want = 0.0;
        for i in 0..8 {
            let taps = (0..9).map(|k| at(2 * h + k / 3, 2 * w + k % 3, i / 2) * depthwise[k * 8 + i]);
            want += taps.sum::<f32>() * pointwise[i * 6 + o];
        }
        let got = y.as_f32().unwrap()[(h * 4 + w) * 6 + o];
        assert!((got - want).abs() < 1e-5, "{got} {want}");
    }
    assert!(refusal(&image(9, 7, 4).layer(SeparableConv2d::new(0, 3))).contains("filters"));
    assert!(refusal(&image(9, 7, 4).layer(SeparableConv2d::new(2, 3).multiplier(0))).contains("multiplier"));
    assert_eq!(shape(&image(9, 7, 4).depthwise_conv2d(3)), [7, 5, 4]);
    assert_eq!(shape(&image(9, 7, 4).separable_conv2d(3, 3).conv_transpose2d(5, 2, 2)), [14, 10, 5]);
}

#[test]
fn other_sizes() {
    assert_eq!(shape(&image(5, 6, 3).upsample2d(2)), [10, 12, 3]);
    assert_eq!(shape(&image(5, 6, 3).layer(Upsample2d::new([1, 3]).bilinear())), [5, 18, 3]);
    assert_eq!(shape(&image(5, 6, 3).resize2d([224, 224])), [224, 224, 3]);
    let row = |net: Net| run(&net, &Tensor::f32([1, 1, 2, 1], vec![0.0, 8.0]).unwrap()).as_f32().unwrap().to_vec();
    let x = || image(1, 2, 1);
    assert_eq!(row(x().upsample2d([1, 2])), [0.0, 0.0, 8.0, 8.0]);
    assert_eq!(row(x().layer(Upsample2d::new([1, 2]).bilinear())), [0.0, 2.0, 6.0, 8.0]);
    assert_eq!(row(x().layer(Resize2d::new([1, 5]).corners(Corners::Align))), [0.0, 2.0, 4.0, 6.0, 8.0]);
    assert_eq!(row(x().layer(Resize2d::new([1, 4]).corners(Corners::Asymmetric))), [0.0, 4.0, 8.0, 8.0]);
    assert_eq!(row(x().layer(Resize2d::new([1, 3]).nearest())), [0.0, 8.0, 8.0]);
    assert_eq!(row(x().layer(Resize2d::new([1, 3]).corners(Corners::Asymmetric).nearest())), [0.0, 0.0, 8.0]);
    assert!(refusal(&image(5, 6, 3).upsample2d([0, 2])).starts_with("upsample2d: factor: got [0, 2]"));
    assert!(refusal(&image(5, 6, 3).upsample2d(usize::MAX)).contains("size (height)"));
    assert!(refusal(&image(5, 6, 3).resize2d([0, 2])).contains("size (height): got 0"));
    assert!(refusal(&Net::input([5]).resize2d(2)).starts_with("resize2d: input shape"));
}

#[test]
fn values_move() {
    let x = count([2, 2, 3, 4]);
    let of = |net: Net| run(&net, &x);
    let y = of(image(2, 3, 4).reshape([4, -1]));
    assert_eq!((y.shape().dims(), y.as_f32().unwrap()), (&[2, 4, 6][..], x.as_f32().unwrap()));
    let y = of(image(2, 3, 4).permute([3, 1, 2]));
    assert_eq!(y.shape().dims(), [2, 4, 2, 3]);
    assert_eq!(y.as_f32().unwrap()[..7], [0.0, 4.0, 8.0, 12.0, 16.0, 20.0, 1.0]);
    let y = of(image(2, 3, 4).slice(-1, 1..3).slice(2, 2..3));
    assert_eq!((y.shape().dims(), &y.as_f32().unwrap()[..4]), (&[2, 2, 1, 2][..], &[9.0, 10.0, 21.0, 22.0][..]));
    let y = of(image(2, 3, 4).layer(Slice::new(-1, 1..4).step(2).and(1, 1..2)));
    assert_eq!((y.shape().dims(), &y.as_f32().unwrap()[..4]), (&[2, 1, 3, 2][..], &[13.0, 15.0, 17.0, 19.0][..]));
    let y = of(image(2, 3, 4).layer(Crop2d::sides(1, 0, 1, 1)));
    assert_eq!((y.shape().dims(), &y.as_f32().unwrap()[..4]), (&[2, 1, 1, 4][..], &[16.0, 17.0, 18.0, 19.0][..]));
    let y = of(image(2, 3, 4).channel_shuffle(2));
    assert_eq!(y.as_f32().unwrap()[4..8], [4.0, 6.0, 5.0, 7.0]);
    // Shuffled by as many groups as are left, all is as it was.
    assert_eq!(of(image(2, 3, 4).layer(ChannelShuffle::new(4)).channel_shuffle(1)), x);
    let parts = image(2, 3, 4).split(-1, &[1, 3]);
    assert_eq!(of(Net::concat(&[&parts[0], &parts[1]])), x);

    let one = Tensor::f32([1, 2, 2, 1], vec![1.0, 2.0, 3.0, 4.0]).unwrap();
    let padded = |layer: Pad| run(&image(2, 2, 1).layer(layer), &one);
    let y = padded(Pad::images([1, 0]).value(-1.0));
    assert_eq!((y.shape().dims(), y.as_f32().unwrap()), (&[1, 4, 2, 1][..], &[-1.0, -1.0, 1.0, 2.0, 3.0, 4.0, -1.0, -1.0][..]));
    let y = padded(Pad::new([(2, 0, 2), (1, 1, 0)]).edge());
    assert_eq!(y.as_f32().unwrap(), [1.0, 2.0, 2.0, 2.0, 1.0, 2.0, 2.0, 2.0, 3.0, 4.0, 4.0, 4.0]);
    let y = padded(Pad::new([(1, 1, 0), (2, 0, 1)]).reflect());
    assert_eq!(y.as_f32().unwrap(), [3.0, 4.0, 3.0, 1.0, 2.0, 1.0, 3.0, 4.0, 3.0]);
    let y = run(&Net::input([3]).layer(Pad::new([(-1, 2, 1)]).reflect()), &count([2, 3]));
    assert_eq!(y.as_f32().unwrap(), [2.0, 1.0, 0.0, 1.0, 2.0, 1.0, 5.0, 4.0, 3.0, 4.0, 5.0, 4.0]);
    assert_eq!(shape(&image(2, 3, 4).layer(Pad::new([(1, 1, 1), (3, 2, 0)]).edge())), [4, 3, 6]);
    assert_eq!(shape(&image(5, 6, 1).zero_pad2d(3).crop2d([1, 2])), [9, 8, 1]);

    let x = || image(2, 3, 4);
    assert!(
        refusal(&x().reshape([5, -1])).starts_with("reshape: shape: got [5, -1], want one of the 24 elements of [n, 2, 3, 4]")
    );
    for shape in [vec![-1, -1], vec![0, -1], vec![-2, 12], vec![2, 3], vec![isize::MAX, isize::MAX]] {
        assert!(refusal(&x().layer(Reshape::new(shape))).starts_with("reshape: shape"));
    }
    assert!(refusal(&x().permute([0, 1, 2])).starts_with("permute: order: got [0, 1, 2]"));
    assert!(refusal(&x().layer(Permute::new([1, 2, 2]))).contains("permutation: got [0, 1, 2, 2]"));
    assert!(
        refusal(&x().slice(1, 1..3))
            .starts_with("slice: range: got 1..3 by steps of 1, want 1 or more of the 2 elements along axis 1")
    );
    assert!(refusal(&x().slice(1, 1..1)).starts_with("slice: range"));
    assert!(refusal(&x().slice(0, 0..1)).starts_with("slice: axis: got 0"));
    assert!(refusal(&x().crop2d([1, 0])).starts_with("crop2d: cropping (height): got 1 and 1, want less than all 2"));
    assert!(refusal(&x().channel_shuffle(3)).starts_with("channel_shuffle: groups: got 3"));
    assert!(refusal(&x().layer(Pad::images(2).reflect())).contains("reflection (height)"));
    assert!(refusal(&x().layer(Pad::new([(1, 1, 1), (-3, 1, 1)]))).starts_with("pad: axis: got 1 twice"));
}

#[test]
fn vectors_of_words() {
    let net = Net::input([3]).embedding(5, 2).named("words");
    let mut model = net.build(&Device::cpu(), Seed(1)).unwrap();
    let table = model.weights().unwrap()[0].1.as_f32().unwrap().to_vec();
    let y = model.predict(&Tensor::f32([2, 3], vec![4.0, 0.0, 4.0, 1.0, 5.0, 0.5]).unwrap()).unwrap();
    assert_eq!(y.shape().dims(), [2, 3, 2]);
    let y = y.as_f32().unwrap();
    assert_eq!(y[..8], [&table[8..], &table[..2], &table[8..], &table[2..4]].concat());
    assert!(y[8..].iter().all(|v| v.is_nan()), "numbers that are no words'");
    assert!(refusal(&Net::input([3]).embedding(0, 2)).starts_with("embedding: size: got 0 vectors of 2"));
    assert!(refusal(&Net::input([3]).layer(Embedding::new(1 << 25, 2))).starts_with("embedding: size"));
}

/// Every layer here takes a step of training, so all its gradients are there.
#[test]
fn all_of_them_train() {
    let x = image(8, 8, 4);
    let y = Net::concat(&[&x.conv2d(4, 1).layer(Pad::images(1).reflect()), &x.layer(Pad::images(1).edge()), &x.zero_pad2d(1)]);
    let y = y.channel_shuffle(3).layer(SpatialDropout::new(0.2)).separable_conv2d(8, 3).relu();
    let y = y.layer(ConvTranspose2d::new(6, 3).stride(2).same()).relu().layer(Upsample2d::new(2).bilinear());
    let parts = y.split(-1, &[2, 4]);
    let y = Net::concat(&[&parts[1].crop2d(2), &parts[0].resize2d(28)]);
    let y = y.lp_pool2d(2.0, 2).adaptive_avg_pool2d([5, 4]).permute([2, 1, 3]).reshape([20, 6]);
    let y = y.conv1d(3, 5).slice(1, 1..9).flatten().dense(3);
    let mut model = y.build(&Device::cpu(), Seed(5)).unwrap();
    let labels: Vec<u32> = (0..12).map(|i| i % 3).collect();
    let images = sample::normal(1, [12, 8, 8, 4]);
    let data = striate::data::Dataset::new(images, labels, 3).unwrap();
    let history = model.fit(&data, Fit::epochs(12).batch(6).optimizer(Sgd::new(0.05))).unwrap();
    let losses: Vec<f64> = history.epochs.iter().map(|e| e.loss).collect();
    assert!(losses.iter().all(|l| l.is_finite()) && losses[11] < losses[0], "{losses:?}");
}
