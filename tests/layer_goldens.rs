//! Every type of layer against PyTorch (`tests/goldens/layers.json`): outputs, and gradients by inputs and parameters. In double precision to
//! 1e-9 of each tensor's largest value; on the devices, to 1e-4.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // Tests may stop at what they don't expect.

mod common;

use common::golden::{Case, check, gradients, numbers, read};
use serde_json::Value as Json;
use std::collections::BTreeSet;
use striate::nn::{
    AdaptiveAvgPool2d, AvgPool2d, BatchNorm, ChannelShuffle, Clip, Concat, Conv1d, Conv2d, ConvTranspose2d, Crop2d,
    DepthwiseConv2d, Elu, GeluTanh, LayerNorm, Lrn, MaxPool2d, Mode, Net, Pad, Permute, Prelu, Reduce, Resize2d, SeparableConv2d,
    Slice, Upsample2d,
};
use striate::ops::reduce::Reduction;
use striate::ops::resample2d::Corners;
use striate::tensor::{Padding, Tensor};

/// The layer of this name in `layers.py`.
fn layer(name: &str, inputs: &[Net]) -> Net {
    let x = &inputs[0];
    let padded = |top, bottom, left, right| Padding::Explicit { top, bottom, left, right };
    let sides = || Pad::new([(1, 0, 3), (2, 2, 1)]);
    match name {
        "conv2d" => x.layer(Conv2d::new(6, [3, 2]).stride([2, 1]).padding(padded(1, 0, 2, 1)).dilation([1, 3]).groups(2)),
        "conv2d_same" => x.layer(Conv2d::new(5, [4, 3]).stride([2, 3]).same().no_bias()),
        "conv1d" => x.layer(Conv1d::new(6, 3).padding(3, 1).stride(2).dilation(2).groups(2)),
        "conv1d_same" => x.layer(Conv1d::new(5, 4).same()),
        "depthwise_conv2d" => x.layer(DepthwiseConv2d::new(3).multiplier(2).stride(2).same()),
        "separable_conv2d" => x.layer(SeparableConv2d::new(5, 3).multiplier(2).dilation(2).same()),
        "conv_transpose2d" => {
            let layer = ConvTranspose2d::new(6, [3, 2]).stride([2, 3]).padding(padded(1, 1, 0, 0)).dilation([1, 2]);
            x.layer(layer.output_padding([1, 2]).groups(2))
        }
        "conv_transpose2d_valid" => x.conv_transpose2d(3, 2, 3),
        "dense" => x.dense(5),
        "embedding" => x.embedding(7, 6),
        "batch_norm" => x.batch_norm(),
        "batch_norm_pytorch" => x.layer(BatchNorm::pytorch()),
        "layer_norm" => x.layer_norm(),
        "layer_norm_axes" => x.layer(LayerNorm::new().axes(3).epsilon(1e-5)),
        "group_norm" => x.group_norm(2),
        "instance_norm" => x.instance_norm(),
        "lrn" => x.layer(Lrn::new(5).alpha(0.5).k(2.0)),
        "max_pool2d" => x.layer(MaxPool2d::new(3).stride(2).padding(Padding::all(1)).ceil()),
        "avg_pool2d" => x.layer(AvgPool2d::new([3, 2]).stride([2, 1]).padding(Padding::all(1))),
        "avg_pool2d_count_include_pad" => {
            x.layer(AvgPool2d::new(3).stride(2).padding(Padding::all(1)).ceil().count_include_pad())
        }
        "lp_pool2d" => x.lp_pool2d(4.0, 2),
        "adaptive_avg_pool2d" => x.adaptive_avg_pool2d([4, 5]),
        "adaptive_avg_pool2d_divides" => x.layer(AdaptiveAvgPool2d::new([3, 1])),
        "global_avg_pool2d" => x.global_avg_pool2d(),
        "global_max_pool2d" => x.global_max_pool2d(),
        "relu" => x.relu(),
        "relu6" => x.relu6(),
        "leaky_relu" => x.leaky_relu(0.25),
        "elu" => x.layer(Elu::new(0.75)),
        "selu" => x.selu(),
        "gelu" => x.gelu(),
        "gelu_tanh" => x.layer(GeluTanh),
        "silu" => x.silu(),
        "mish" => x.mish(),
        "hard_swish" => x.hard_swish(),
        "hard_sigmoid" => x.hard_sigmoid(),
        "sigmoid" => x.sigmoid(),
        "tanh" => x.tanh(),
        "softplus" => x.softplus(),
        "softsign" => x.softsign(),
        "softmax" => x.softmax(),
        "clip" => x.layer(Clip::new(-1.5, 2.25)),
        "prelu" => x.prelu(),
        "prelu_shared" => x.layer(Prelu::new().shared()),
        "resize2d" => x.resize2d([9, 5]),
        "resize2d_align" => x.layer(Resize2d::new([9, 5]).corners(Corners::Align)),
        "resize2d_nearest" => x.layer(Resize2d::new([9, 5]).nearest()),
        "resize2d_nearest_asymmetric" => x.layer(Resize2d::new([9, 5]).nearest().corners(Corners::Asymmetric)),
        "upsample2d" => x.upsample2d([2, 3]),
        "upsample2d_bilinear" => x.layer(Upsample2d::new([2, 3]).bilinear()),
        "upsample2d_align" => x.layer(Upsample2d::new([2, 3]).bilinear().corners(Corners::Align)),
        "pad" => x.layer(sides().value(-0.75)),
        "pad_edge" => x.layer(sides().edge()),
        "pad_reflect" => x.layer(sides().reflect()),
        "crop2d" => x.layer(Crop2d::sides(1, 2, 3, 0)),
        "channel_shuffle" => x.layer(ChannelShuffle::new(2)),
        "dropout" => x.dropout(0.5),
        "spatial_dropout" => x.spatial_dropout(0.5),
        "reshape" => x.reshape([3, -1]),
        "permute" => x.layer(Permute::new([3, 1, 2])),
        "slice" => x.layer(Slice::new(1, 1..6).step(2).and(-1, 1..3)),
        "flatten" => x.flatten(),
        "reduce" => x.layer(Reduce::new(Reduction::L2, [1, -1]).keep_dims()),
        "reduce_mean" => x.layer(Reduce::new(Reduction::Mean, [2, 3])),
        "add" => x.add(&inputs[1]),
        "sub" => x.sub(&inputs[1]),
        "mul" | "mul_broadcast" => x.mul(&inputs[1]),
        "max" => x.max(&inputs[1]),
        "min" => x.min(&inputs[1]),
        "concat" => Net::concat(&inputs.iter().collect::<Vec<_>>()),
        "concat_axis" => Net::join(&inputs.iter().collect::<Vec<_>>(), Concat::new().axis(1)),
        other => panic!("{other} has no test"),
    }
}

/// The inputs of a golden layer, by name.
fn inputs(golden: &Json) -> Vec<(String, Tensor)> {
    let input = |(i, json): (usize, &Json)| {
        let shape: Vec<usize> = json["shape"].as_array().unwrap().iter().map(|d| d.as_u64().unwrap() as usize).collect();
        let (name, factor, rows) = (format!("x{i}"), json["factor"].as_f64().unwrap() as f32, json["rows"].as_f64());
        let number = |u: f32| rows.map_or(factor * u, |rows| ((u + 1.0) / 2.0 * rows as f32).floor());
        let values = numbers(0, &name, &shape.clone().into()).into_iter().map(number).collect();
        (name, Tensor::f32(shape, values).unwrap())
    };
    golden["inputs"].as_array().unwrap().iter().enumerate().map(input).collect()
}

fn net(golden: &Json) -> Net {
    let input = |(name, x): &(String, Tensor)| Net::input(x.shape().dims()[1..].to_vec()).named(name);
    layer(golden["name"].as_str().unwrap(), &inputs(golden).iter().map(input).collect::<Vec<_>>())
}

/// Compares all layers' results, which `run` makes, to `tolerance`.
fn compare(on: &str, tolerance: f64, run: impl Fn(&Case) -> Vec<Vec<f64>>) {
    let (mut worst, mut worst_layer) = (0.0, String::new());
    for golden in read("layers.json") {
        let what = format!("{} on {on}, {}", golden["name"].as_str().unwrap(), golden["mode"].as_str().unwrap());
        let mode = if golden["mode"] == "training" { Mode::Training } else { Mode::Inference };
        let wrt = gradients(&golden);
        let case = Case::new(&net(&golden), mode, 0, &inputs(&golden), &wrt);
        let share = check(&what, &golden, &wrt, &run(&case), tolerance);
        if share >= worst {
            (worst, worst_layer) = (share, what);
        }
    }
    println!("{worst:.3} of {tolerance:e}, {worst_layer}");
}

#[test]
fn double_precision() {
    compare("the f64 CPU", 1e-9, Case::run_f64);
}

#[test]
fn single_precision() {
    for device in common::devices("layers in single precision") {
        compare(&device.to_string(), 1e-4, |case| case.run_on(&device));
    }
}

/// The layers that the crate has, by what `src/nn/layers/mod.rs` makes public.
#[test]
fn every_layer_is_there() {
    let golden: BTreeSet<&str> =
        read("layers.json").iter().flat_map(|g| net(g).summary().unwrap().layers).map(|l| l.kind).collect();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/nn/layers/mod.rs");
    let text = std::fs::read_to_string(path).unwrap();
    let exported = text.split("pub use ").skip(1).flat_map(|rest| {
        let names = rest.split(';').next().unwrap().rsplit("::").next().unwrap();
        names.split(|c: char| !c.is_alphanumeric()).filter(|name| !name.is_empty()).map(str::to_string).collect::<Vec<_>>()
    });
    let snake = |name: String| {
        let words = name.char_indices().map(|(i, c)| {
            let gap = if i > 0 && c.is_uppercase() { "_" } else { "" };
            format!("{gap}{}", c.to_lowercase())
        });
        words.collect::<String>()
    };
    let layers: BTreeSet<String> = exported.map(snake).collect();
    assert!(layers.len() > 50, "{layers:?}");
    let missing: Vec<&String> = layers.iter().filter(|layer| !golden.contains(layer.as_str())).collect();
    assert!(missing.is_empty(), "no golden numbers: {missing:?}");
}
