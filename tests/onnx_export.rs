//! Are models that are written as ONNX files the same networks there? Every layer, every network of the zoo and every op that is described is
//! written and read again: as a model, which must predict the same, and as Protocol Buffers, with a look at names and at what is moved about. With
//! `STRIATE_ONNX_PYTHON=python`, a Python that has the packages of `tests/onnx/requirements.txt`, ONNX's own checker looks at each file and ONNX
//! Runtime runs it, to the same outputs: `tests/onnx/run.sh` installs them and does that.
#![cfg(feature = "onnx")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // Tests may stop at what they don't expect.

mod common;
#[allow(clippy::all, dead_code, missing_docs)]
#[rustfmt::skip]
#[path = "../src/io/onnx/proto.rs"]
mod proto;

use prost::Message;
use proto::{GraphProto, ModelProto, tensor_shape_proto::dimension, type_proto};
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use striate::gpu::GpuOptions;
use striate::io::onnx::Onnx;
use striate::io::{OnnxExport, write_tensors};
use striate::nn::{
    AdaptiveAvgPool2d, Add, AvgPool2d, BatchNorm, ChannelShuffle, Clip, Concat, Conv1d, Conv2d, ConvTranspose2d, Crop2d, Dense,
    DepthwiseConv2d, Dropout, Elu, Embedding, Flatten, Gelu, GeluTanh, GlobalAvgPool2d, GlobalMaxPool2d, GroupNorm, HardSigmoid,
    HardSwish, Init, InstanceNorm, Layer, LayerContext, LayerNorm, LeakyRelu, LpPool2d, Lrn, Max, MaxPool2d, Min, Mish, Model,
    Mul, Net, Outputs, Pad, Permute, Prelu, Reduce, Relu, Relu6, Reshape, Resize2d, Selu, SeparableConv2d, Sequential, Shared,
    Sigmoid, Silu, Slice, Softmax, Softplus, Softsign, SpatialDropout, Sub, Tanh, Upsample2d,
};
use striate::op::{Cpu, CpuArgs, Interchange, Op, Recorder, Value, sample};
use striate::ops::reduce::Reduction;
use striate::ops::resample2d::Corners;
use striate::ops::slice::{self, PadAxis};
use striate::tensor::{DType, Padding, TensorType};
use striate::train::{Adam, Fit};
use striate::{Device, Error, Result, Seed, Tensor, ops, zoo};

/// A network to export.
struct Network {
    name: String,
    net: Outputs,
    /// Whether the file is hundreds of megabytes.
    is_large: bool,
}

fn network(name: impl Into<String>, outputs: &[&Net]) -> Network {
    Network { name: name.into(), net: Outputs::of(outputs), is_large: false }
}

/// Networks that have every layer between them, each in several ways.
fn layers() -> Vec<Network> {
    let image = || Net::input([9, 8, 4]);
    let row = || Net::input([12]);
    let mut all = Vec::new();
    let mut add = |name: &str, net: Net| all.push(network(name, &[&net]));
    let explicit = Padding::Explicit { top: 0, bottom: 2, left: 1, right: 0 };

    add("conv2d", image().layer(Conv2d::new(6, 3)).layer(Conv2d::new(5, [1, 2]).no_bias()));
    add("conv2d_same_stride", image().layer(Conv2d::new(6, 3).same().stride(2)).layer(Conv2d::new(4, 4).same().stride([1, 3])));
    add("conv2d_groups_dilation", image().layer(Conv2d::new(6, [3, 2]).groups(2).dilation([2, 1]).padding(explicit)));
    add("conv1d", Net::input([11, 5]).layer(Conv1d::new(6, 3).padding(2, 0)).layer(Relu).layer(Conv1d::new(4, 2).stride(2)));
    add("depthwise", image().layer(DepthwiseConv2d::new(3).same()).layer(DepthwiseConv2d::new([2, 3]).multiplier(3)));
    add("separable", image().layer(SeparableConv2d::new(7, 3).same().stride(2)));
    let transposed = || ConvTranspose2d::new(6, 3);
    add("transposed", image().layer(transposed()).layer(ConvTranspose2d::new(4, 2).stride(2).same()));
    add(
        "transposed_wide_stride",
        image().layer(transposed().stride([4, 5])).layer(ConvTranspose2d::new(3, 2).stride(3).same().no_bias()),
    );
    let asked = transposed().stride([2, 3]).padding(Padding::all(1)).output_padding([1, 2]).groups(2).dilation([1, 2]);
    add("transposed_groups", image().layer(asked));
    add("max_pool", image().layer(MaxPool2d::new(2)).layer(MaxPool2d::new([3, 2]).stride(1).same()));
    add(
        "max_pool_ceil",
        image().layer(MaxPool2d::new(2).ceil()).layer(MaxPool2d::new(3).stride(2).padding(Padding::all(1)).ceil()),
    );
    add("avg_pool", image().layer(AvgPool2d::new([2, 3])).layer(AvgPool2d::new(3).stride(1).same()));
    add("avg_pool_counted", image().layer(AvgPool2d::new(3).stride(2).padding(Padding::all(1)).count_include_pad()));
    add("avg_pool_counted_ceil", image().layer(AvgPool2d::new(3).stride(2).padding(Padding::all(1)).ceil().count_include_pad()));
    add("avg_pool_ceil", image().layer(AvgPool2d::new(3).stride(2).ceil()));
    add("lp_pool", image().layer(LpPool2d::new(2.0, 2)).layer(LpPool2d::new(3.0, 3).stride(1).same()));
    add("lp_pool_fraction", image().layer(LpPool2d::new(1.5, [2, 3]).padding(Padding::all(1)).ceil()));
    add("adaptive_pool", image().layer(AdaptiveAvgPool2d::new([4, 3])));
    add("adaptive_pool_divides", image().layer(AdaptiveAvgPool2d::new([3, 2])).layer(AdaptiveAvgPool2d::new(1)));
    add("global_pools", Net::join(&[&image().layer(GlobalAvgPool2d), &image().layer(GlobalMaxPool2d)], Add));
    add("batch_norm", image().conv2d(6, 3).layer(BatchNorm::pytorch()).relu().flatten().dense(7).layer(BatchNorm::new()));
    add("batch_norm_flat", image().conv2d(6, 3).flatten().layer(BatchNorm::new()).layer(Relu).dense(3));
    add("layer_norm", image().conv2d(6, 3).layer(LayerNorm::new()).layer(LayerNorm::new().axes(3).epsilon(1e-5)));
    add("group_norm", image().conv2d(6, 3).layer(GroupNorm::new(3)).relu().layer(GroupNorm::new(1)));
    add("group_norm_pixels", image().layer(GroupNorm::new(2)).conv2d(3, 3));
    add("group_norm_row", row().layer(GroupNorm::new(3)));
    add("instance_norm", image().layer(InstanceNorm::new()).layer(GroupNorm::new(4)));
    add("lrn", image().layer(Lrn::new(3).alpha(0.5).k(2.0)).layer(Lrn::new(4).alpha(0.3).beta(0.6)));
    add("lrn_series", Net::input([9, 6]).layer(Lrn::new(4).alpha(0.5)).layer(Lrn::new(3).k(0.5)));
    add("dense", row().layer(Dense::new(9)).relu().layer(Dense::new(3).no_bias()));
    add("flatten", image().conv2d(5, 3).layer(Flatten).layer(Dropout::new(0.5)).dense(7).relu().dense(3));
    add("flatten_output", image().conv2d(5, 3).layer(SpatialDropout::new(0.3)).layer(Flatten));
    add("embedding", Net::input([7]).layer(Embedding::new(20, 5)).layer(Conv1d::new(4, 3)));
    add("pad", image().layer(Pad::images([1, 2]).value(-0.5)).layer(Pad::new([(3, 1, 2)])));
    add("pad_edge", image().layer(Pad::images(2).edge()).layer(Pad::new([(3, 1, 2)]).edge()));
    add("pad_reflect", image().layer(Pad::new([(1, 2, 0), (2, 1, 3)]).reflect()).conv2d(3, 3));
    add("resize", image().layer(Resize2d::new([13, 5])).layer(Resize2d::new([4, 11]).corners(Corners::Align)));
    add("resize_asymmetric", image().layer(Resize2d::new([5, 12]).corners(Corners::Asymmetric)));
    add(
        "resize_nearest",
        image().layer(Resize2d::new([13, 5]).nearest()).layer(Resize2d::new([7, 9]).nearest().corners(Corners::Align)),
    );
    add("upsample", image().conv2d(5, 3).layer(Upsample2d::new([2, 3])).conv2d(3, 1).layer(Upsample2d::new(2).bilinear()));
    add("slices", image().layer(Slice::new(1, 1..8).step(3).and(-1, 1..3)).layer(Crop2d::sides(1, 0, 0, 2)));
    add("shapes", image().layer(Permute::new([3, 1, 2])).layer(Reshape::new([6, -1])).layer(Permute::new([2, 1])));
    add("channel_shuffle", image().conv2d(6, 1).layer(ChannelShuffle::new(3)).conv2d(4, 1).layer(ChannelShuffle::new(2)));
    for (reduction, axes) in [(Reduction::Sum, vec![-1]), (Reduction::Mean, vec![1, 3]), (Reduction::Max, vec![2])] {
        add(&format!("reduce_{reduction:?}"), image().conv2d(5, 2).layer(Reduce::new(reduction, axes)));
    }
    add("reduce_Min", image().layer(Reduce::new(Reduction::Min, [1, 2]).keep_dims()));
    add("reduce_L2", image().layer(Reduce::new(Reduction::L2, [2, 3])));
    add(
        "prelu",
        image().conv2d(6, 3).layer(Prelu::new()).conv2d(5, 1).layer(Prelu::new().shared()).flatten().layer(Prelu::new()),
    );
    let gated = image().conv2d(6, 3);
    let gate = gated.global_avg_pool2d().layer(Dense::new(6)).layer(HardSigmoid::new());
    add("gate", Net::join(&[&gated, &gate], Mul).layer(HardSwish));
    let x = image().layer(Conv2d::new(4, 3).same());
    let differ = Net::join(&[&x, &image().layer(Reduce::new(Reduction::Max, [1]).keep_dims())], Sub);
    add("join", Net::join(&[&Net::join(&[&differ, &x], Max), &x.layer(Tanh)], Min));
    let input = image();
    let y = input.layer(Conv2d::new(4, 3).same());
    add("residual", Net::join(&[&input, &y, &y.layer(Sigmoid)], Add).relu());
    let (a, b) = (input.layer(Conv2d::new(1, 3).same()), input.layer(Conv2d::new(2, 1)));
    add("concat", Net::join(&[&a, &b, &a], Concat::new()).conv2d(3, 3));
    add("concat_rows", Net::join(&[&a, &a.layer(Relu)], Concat::new().axis(1)));
    let shared = Shared::new(Conv2d::new(4, 3).same());
    add("shared", image().layer(&shared).layer(Relu).layer(&shared));

    fn activation(name: &str, layer: impl Layer + Clone + 'static) -> Network {
        network(name, &[&Net::input([9, 8, 4]).layer(Conv2d::new(5, 2)).layer(layer.clone()).flatten().dense(6).layer(layer)])
    }
    all.extend([
        activation("relu", Relu),
        activation("relu6", Relu6),
        activation("sigmoid", Sigmoid),
        activation("tanh", Tanh),
        activation("softplus", Softplus),
        activation("gelu", Gelu),
        activation("gelu_tanh", GeluTanh),
        activation("silu", Silu),
        activation("mish", Mish),
        activation("softsign", Softsign),
        activation("hard_sigmoid", HardSigmoid::with(0.2, 0.4)),
        activation("hard_swish", HardSwish),
        activation("leaky_relu", LeakyRelu::new(0.2)),
        activation("elu", Elu::new(0.7)),
        activation("selu", Selu),
        activation("softmax", Softmax),
        activation("clip", Clip::new(-0.5, 0.25)),
        activation("clip_below", Clip::new(-0.25, f32::MAX)),
    ]);
    // Several inputs and outputs; one output is an input of another's layer.
    let (image, vector) = (image().named("image"), row().named("vector"));
    let features = image.conv2d(6, 3).relu().named("features");
    let joined = Net::join(&[&features.global_avg_pool2d(), &vector.dense(5)], Concat::new());
    all.push(network(
        "two_inputs",
        &[&joined.dense(3).named("scores"), &features, &vector.layer(Dropout::new(0.5)).named("same")],
    ));
    all
}

fn zoo_networks() -> Vec<Network> {
    let mut all = Vec::new();
    let mut add = |name: &str, is_large: bool, net: Outputs| all.push(Network { name: name.to_string(), net, is_large });
    let one = |net: Net| Outputs::of(&[&net]);
    let (small, classes) = ([64, 64, 3], 10);
    add("lenet5", false, one(zoo::lenet5([32, 32, 1], classes)));
    add("alexnet", true, one(zoo::alexnet(small, classes)));
    add("alexnet_2012", true, one(zoo::alexnet_2012([227, 227, 3], classes)));
    add("zfnet", true, one(zoo::zfnet([224, 224, 3], classes)));
    add("vgg11", true, one(zoo::vgg11(small, classes)));
    add("vgg13_bn", true, one(zoo::vgg13_bn(small, classes)));
    add("vgg16", true, one(zoo::vgg16(small, classes)));
    add("vgg19_bn", true, one(zoo::vgg19_bn(small, classes)));
    add("googlenet", false, one(zoo::googlenet(small, classes)));
    add("googlenet_2014", false, one(zoo::googlenet_2014(small, classes)));
    add("googlenet_with_auxiliary", false, zoo::googlenet_with_auxiliary([224, 224, 3], classes));
    add("inception_v3", false, one(zoo::inception_v3([80, 80, 3], classes)));
    add("resnet18", false, one(zoo::resnet18(small, classes)));
    add("resnet50", false, one(zoo::resnet50(small, classes)));
    add("resnet152", true, one(zoo::resnet152(small, classes)));
    add("resnet20", false, one(zoo::resnet20([32, 32, 3], classes)));
    add("resnet56", false, one(zoo::resnet56([32, 32, 3], classes)));
    add("densenet121", false, one(zoo::densenet121(small, classes)));
    add("squeezenet1_0", false, one(zoo::squeezenet1_0(small, classes)));
    add("squeezenet1_1", false, one(zoo::squeezenet1_1(small, classes)));
    add("mobilenet_v2", false, one(zoo::mobilenet_v2(small, classes)));
    add("mobilenet_v3_large", false, one(zoo::mobilenet_v3_large(small, classes)));
    add("mobilenet_v3_small", false, one(zoo::mobilenet_v3_small(small, classes)));
    add("efficientnet_lite0", false, one(zoo::efficientnet_lite0(small, classes)));
    add("unet", false, one(zoo::unet([32, 48, 3], 3)));
    all
}

/// Other values than those that normalisations and biases begin at, so that none of them could be left out.
fn shake(model: &mut Model) {
    let mut weights = model.weights().unwrap();
    for (i, (name, tensor)) in weights.iter_mut().enumerate() {
        let (factor, offset) = match name.rsplit_once('/').unwrap().1 {
            "gamma" | "running_variance" => (0.2, 0.9),
            "beta" | "bias" | "running_mean" | "slope" => (0.4, -0.2),
            _ => continue,
        };
        let values = sample::positive(i as u64, tensor.shape().clone());
        let values = values.as_f32().unwrap().iter().map(|v| factor * v + offset).collect();
        *tensor = Tensor::f32(tensor.shape().clone(), values).unwrap();
    }
    model.set_weights(&weights).unwrap();
}

/// Samples for a model's inputs, by name: numbers of rows if that is what it reads.
fn samples(model: &Model, n: usize, rows: Option<u32>) -> Vec<(String, Tensor)> {
    let sample = |(i, (name, ty)): (usize, (&str, &TensorType))| {
        let shape = ty.shape.with_batch(n);
        let values = match rows {
            Some(rows) => {
                let rows = sample::indices(i as u64, shape.elements(), rows);
                Tensor::f32(shape, rows.as_u32().unwrap().iter().map(|&r| r as f32).collect()).unwrap()
            }
            None => sample::normal(7 + i as u64, shape),
        };
        (name.to_string(), values)
    };
    model.inputs().into_iter().enumerate().map(sample).collect()
}

/// `[n, .., c]` as `[n, c, ..]`.
fn channels_first(x: &Tensor) -> Tensor {
    let dims = x.shape().dims();
    let [n, .., c] = *dims else { return x.clone() };
    let (values, pixels) = (x.as_f32().unwrap(), x.shape().elements() / n / c);
    let at = |i: usize| values[(i / (c * pixels) * pixels + i % pixels) * c + i / pixels % c];
    let shape = [&[n, c], &dims[1..dims.len() - 1]].concat();
    Tensor::f32(shape, (0..values.len()).map(at).collect()).unwrap()
}

/// Where files go that ONNX Runtime is to run, if it is.
struct Runs {
    folder: PathBuf,
    python: Option<String>,
    /// What differs when it is read again.
    differences: Vec<String>,
}

impl Runs {
    fn new(test: &str) -> Runs {
        let folder = std::env::temp_dir().join(format!("striate-onnx-{test}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Runs { folder, python: std::env::var("STRIATE_ONNX_PYTHON").ok(), differences: Vec::new() }
    }

    /// Exports a model, reads it again as a model that must predict the same, and, if ONNX Runtime is to run it, writes what it makes of
    /// samples.
    fn export(&mut self, name: &str, model: &mut Model, options: OnnxExport, inputs: &[(String, Tensor)]) -> ModelProto {
        let path = self.folder.join(format!("{name}.onnx"));
        model.export_onnx(&path, options.clone()).unwrap_or_else(|e| panic!("{name}: {e}"));
        let file = ModelProto::decode(&std::fs::read(&path).unwrap()[..]).unwrap();
        let predict = |model: &mut Model, inputs: &[(String, Tensor)]| {
            let borrowed: Vec<(&str, &Tensor)> = inputs.iter().map(|(name, x)| (name.as_str(), x)).collect();
            model.predict_all(&borrowed)
        };
        let in_file = |t: &Tensor| if options == OnnxExport::new() { t.clone() } else { channels_first(t) };
        let fed: Vec<(String, Tensor)> = inputs.iter().map(|(name, x)| (name.clone(), in_file(x))).collect();
        // Outputs by their place: an output that is an input has another name in the file.
        let outputs: Vec<Tensor> = predict(model, inputs).unwrap().iter().map(|(_, y)| in_file(y)).collect();
        let again = Onnx::read(&path).and_then(|onnx| onnx.build(model.device())).and_then(|mut model| predict(&mut model, &fed));
        match again {
            // A network that changes nothing has no layer, which a model must have.
            Err(Error::Invalid { what, .. }) if what == "layers" => {}
            // Edges of channels are those of images of one column, of which a sample has many: layers have the batch as their first axis.
            Err(e) if name.starts_with("pad_edge") => {
                assert!(e.to_string().contains("the batch, 1, as its first dimension"), "{e}")
            }
            Err(e) => self.differences.push(format!("{name}: {e}")),
            Ok(again) => {
                for (want, (output, got)) in outputs.iter().zip(&again) {
                    let share = difference(got, want);
                    // NaN is no number that is small enough.
                    if !(share <= 1e-5) {
                        self.differences.push(format!("{name}: {output} differs by {share:.1e} of its largest value"));
                    }
                }
            }
        }
        if self.python.is_some() {
            let inputs = fed.into_iter().map(|(name, x)| (format!("input {name}"), x));
            let outputs = outputs.into_iter().enumerate().map(|(i, y)| (format!("output {i}"), y));
            write_tensors(path.with_extension("safetensors"), &inputs.chain(outputs).collect::<Vec<_>>()).unwrap();
        }
        file
    }

    /// Has ONNX Runtime run what was written so far, and removes it.
    fn check(&self) {
        if let Some(python) = &self.python {
            let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/onnx/check.py");
            let status = Command::new(python).arg(script).arg(&self.folder).status().unwrap();
            assert!(status.success(), "ONNX Runtime disagrees; the files are in {}", self.folder.display());
        }
        std::fs::remove_dir_all(&self.folder).unwrap();
        assert!(self.differences.is_empty(), "read again:\n{}", self.differences.join("\n"));
    }
}

/// The largest difference, as a share of the largest value.
fn difference(got: &Tensor, want: &Tensor) -> f64 {
    if got.shape() != want.shape() {
        return f64::INFINITY;
    }
    let pairs = || got.as_f32().unwrap().iter().zip(want.as_f32().unwrap()).map(|(&a, &b)| (f64::from(a), f64::from(b)));
    let largest = pairs().fold(0.0, |m: f64, (_, b)| m.max(b.abs()));
    let worst = pairs().map(|(a, b)| (a - b).abs()).fold(0.0, |m: f64, d| if d > m || d.is_nan() { d } else { m });
    if largest > 0.0 { worst / largest } else { worst }
}

fn graph(file: &ModelProto) -> &GraphProto {
    file.graph.as_ref().unwrap()
}

fn count(file: &ModelProto, op_type: &str) -> usize {
    graph(file).node.iter().filter(|node| node.op_type() == op_type).count()
}

/// What holds of every file.
fn check_structure(name: &str, file: &ModelProto, model: &Model) {
    assert_eq!((file.producer_name(), file.producer_version()), ("striate", env!("CARGO_PKG_VERSION")), "{name}");
    let opset = file.opset_import[0].version();
    assert!((18..=20).contains(&opset), "{name}: operator set {opset}");
    let graph = graph(file);
    let mut known: HashSet<&str> = graph.input.iter().map(|port| port.name()).collect();
    for tensor in &graph.initializer {
        assert!(known.insert(tensor.name()), "{name}: two tensors {}", tensor.name());
        let size = if tensor.data_type() == 1 { 4 } else { 8 };
        assert_eq!(tensor.raw_data().len(), tensor.dims.iter().product::<i64>() as usize * size, "{name}: {}", tensor.name());
    }
    let mut names = HashSet::new();
    for node in &graph.node {
        assert!(names.insert(node.name()), "{name}: two nodes {}", node.name());
        for input in node.input.iter().filter(|input| !input.is_empty()) {
            assert!(known.contains(input.as_str()), "{name}: {} reads {input}, which nothing has made", node.name());
        }
        for output in &node.output {
            assert!(known.insert(output), "{name}: two tensors {output}");
        }
    }
    let inputs: Vec<&str> = graph.input.iter().map(|port| port.name()).collect();
    assert_eq!(inputs, model.inputs().iter().map(|(name, _)| *name).collect::<Vec<_>>(), "{name}");
    for (port, (output, shape)) in graph.output.iter().zip(model.outputs()) {
        assert!(port.name() == output || inputs.contains(&output.as_str()), "{name}: {} instead of {output}", port.name());
        let Some(type_proto::Value::TensorType(ty)) = &port.r#type.as_ref().unwrap().value else { panic!("{name}: no tensor") };
        let dims = &ty.shape.as_ref().unwrap().dim;
        assert_eq!(dims[0].value, Some(dimension::Value::DimParam("batch".to_string())), "{name}");
        assert_eq!(dims.len(), 1 + shape.rank(), "{name}");
    }
    // All parameters are there by their names.
    for (weight, shape) in model.weight_shapes() {
        let tensor = graph.initializer.iter().find(|tensor| tensor.name() == weight);
        let elements = tensor.map(|tensor| tensor.dims.iter().product::<i64>() as usize);
        assert_eq!(elements, Some(shape.elements()), "{name}: {weight}");
    }
}

fn export_all(test: &str, networks: Vec<Network>, device: &Device) {
    let mut runs = Runs::new(test);
    for Network { name, net, .. } in networks {
        let mut model = net.build(device, Seed(3)).unwrap_or_else(|e| panic!("{name}: {e}"));
        shake(&mut model);
        let inputs = samples(&model, 3, (name == "embedding").then_some(20));
        let file = runs.export(&name, &mut model, OnnxExport::new(), &inputs);
        check_structure(&name, &file, &model);
        let first = runs.export(&format!("{name}.channels_first"), &mut model, OnnxExport::new().channels_first(), &inputs);
        check_structure(&name, &first, &model);
        println!(
            "{name}: {} nodes, transposes {} ({} channels first), reshapes {}",
            graph(&file).node.len(),
            count(&file, "Transpose"),
            count(&first, "Transpose"),
            count(&first, "Reshape")
        );
    }
    runs.check();
}

#[test]
fn every_layer_is_exported() {
    export_all("layers", layers(), &Device::cpu());
}

#[test]
fn every_layer_is_exported_from_a_gpu() {
    if let Some(gpu) = common::gpu("the export of layers", GpuOptions::from_env()) {
        export_all("layers-gpu", layers(), &gpu);
    }
}

/// With `STRIATE_ONNX_LARGE=1` also those that have more than 40 million parameters.
#[test]
fn the_zoo_is_exported() {
    let large = std::env::var("STRIATE_ONNX_LARGE").is_ok_and(|v| v == "1");
    export_all("zoo", zoo_networks().into_iter().filter(|network| large || !network.is_large).collect(), &Device::cpu());
}

#[test]
fn these_tests_have_every_layer() {
    let list = include_str!("../src/nn/layers/mod.rs");
    let used: HashSet<&str> = include_str!("onnx_export.rs").split(|c: char| !c.is_alphanumeric()).collect();
    let mut n = 0;
    for line in list.split("pub use ").skip(1) {
        let names = line.split(';').next().unwrap().rsplit("::").next().unwrap();
        for name in names.split(|c: char| !c.is_alphanumeric()).filter(|name| !name.is_empty()) {
            assert!(used.contains(name), "no network here has a {name}");
            n += 1;
        }
    }
    assert!(n > 50, "only {n} layers found");
}

/// What is moved about in the files: as little as there can be.
#[test]
fn transposes_are_few() {
    let device = Device::cpu();
    let moves = |net: &Net, options: OnnxExport| {
        let file = net.build(&device, Seed(1)).unwrap().to_onnx(options).unwrap();
        let file = ModelProto::decode(&file[..]).unwrap();
        [count(&file, "Transpose"), count(&file, "Reshape")]
    };
    let both = |net: &Net| [moves(net, OnnxExport::new()), moves(net, OnnxExport::new().channels_first())];
    let x = Net::input([12, 12, 3]);
    let body = x.conv2d(4, 3).batch_norm().relu().max_pool2d(2);
    // One transpose at the input, none before the dense layer, whose weights are put in order instead.
    assert_eq!(both(&body.flatten().dense(5)), [[1, 1], [0, 1]]);
    assert_eq!(both(&body.global_avg_pool2d().dense(5)), [[1, 0], [0, 0]]);
    assert_eq!(both(&body), [[2, 0], [0, 0]]);
    // The input is read twice, channels first both times.
    let same = x.layer(Conv2d::new(3, 3).same());
    assert_eq!(both(&same.add(&x).layer(Conv2d::new(3, 3)).flatten().dense(2)), [[1, 1], [0, 1]]);
    // Elementwise functions and what has an axis go along.
    let pair = Net::join(&[&body.layer(Silu), &body.layer(Softmax)], Concat::new());
    assert_eq!(both(&pair.layer(Slice::new(-1, 1..7)).layer(Pad::images(1)).conv2d(2, 1).flatten().dense(2)), [[1, 1], [0, 1]]);
    assert_eq!(both(&body.layer(GroupNorm::new(2)).relu().conv2d(2, 1).flatten().dense(2))[1][0], 0);
    // Numbers of rows are looked up where they lie.
    assert_eq!(both(&Net::input([7]).layer(Embedding::new(20, 5)).flatten().dense(2)), [[0, 1], [0, 1]]);
    // A shuffle is a transpose of its own.
    assert_eq!(both(&body.layer(ChannelShuffle::new(2)).conv2d(2, 1).flatten().dense(2)), [[2, 3], [1, 3]]);
    // A gate of a channel.
    let gate = body.global_avg_pool2d().dense(4).layer(Sigmoid);
    assert_eq!(both(&Net::join(&[&body, &gate], Mul).flatten().dense(2)), [[1, 2], [0, 2]]);
    for (name, net) in [("resnet18", zoo::resnet18([64, 64, 3], 10)), ("mobilenet_v3", zoo::mobilenet_v3_small([64, 64, 3], 10))]
    {
        let [[last, _], [first, reshapes]] = both(&net);
        assert_eq!((last, first), (1, 0), "{name}");
        assert!(reshapes <= 12, "{name}: {reshapes}");
    }
}

#[test]
fn nodes_have_the_names_of_layers() {
    let net = Sequential::new([8, 8, 1]).conv2d(3, 3).layer(Silu).flatten().dense(2);
    let file = net.build(&Device::cpu(), Seed(1)).unwrap().to_onnx(OnnxExport::new()).unwrap();
    let file = ModelProto::decode(&file[..]).unwrap();
    let nodes: Vec<(&str, &str)> = graph(&file).node.iter().map(|node| (node.name(), node.op_type())).collect();
    // Of one channel, the first or the last axis is the same.
    let want = [
        ("conv2d/Reshape", "Reshape"),
        ("conv2d", "Conv"),
        ("silu", "Sigmoid"),
        ("silu/Mul", "Mul"),
        ("dense/Reshape", "Reshape"),
        ("dense", "Gemm"),
    ];
    assert_eq!(nodes, want);
    let shapes: HashMap<&str, &[i64]> = graph(&file).initializer.iter().map(|t| (t.name(), &t.dims[..])).collect();
    assert_eq!(shapes["conv2d/weight"], [3, 1, 3, 3]);
    assert_eq!(shapes["dense/weight"], [108, 2]);
    assert_eq!(graph(&file).output[0].name(), "dense");
}

/// An op as a layer: its inputs but the first are parameters.
#[derive(Clone, Debug)]
struct OpLayer(Arc<dyn Op>, Vec<TensorType>);

/// A layer adds an op by value.
#[derive(Debug)]
struct Given(Arc<dyn Op>);

impl Op for Given {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>> {
        self.0.infer(inputs)
    }

    fn gpu(&self, r: &mut Recorder<'_>) -> Result<()> {
        self.0.gpu(r)
    }

    fn view(&self) -> Option<usize> {
        self.0.view()
    }

    fn interchange(&self, d: &mut Interchange<'_>) -> Result<Vec<striate::op::Term>> {
        self.0.interchange(d)
    }
}

impl Cpu for Given {
    fn cpu<T: striate::linalg::Real>(&self, args: &mut CpuArgs<'_, T>) {
        match T::singles(&mut []) {
            Some(_) => unreachable!("single precision has a method of its own"),
            None => unreachable!("the CPU backend runs in single precision, {}", args.n_inputs()),
        }
    }

    fn cpu_single(&self, args: &mut CpuArgs<'_, f32>) {
        self.0.cpu_f32(args);
    }
}

impl Layer for OpLayer {
    fn type_name(&self) -> &'static str {
        "op"
    }

    fn build(&self, ctx: &mut LayerContext<'_>, x: &[Value]) -> Result<Value> {
        let mut inputs = vec![ctx.only(x)?];
        for (i, ty) in self.1.iter().enumerate() {
            inputs.push(ctx.parameter(&format!("input{}", i + 1), ty.shape.clone(), Init::Zeros)?);
        }
        ctx.node(Given(Arc::clone(&self.0)), &inputs)
    }
}

/// Whether all numbers are finite.
fn is_finite(x: &Tensor) -> bool {
    x.as_f32().is_ok_and(|x| x.iter().all(|v| v.is_finite()))
}

/// The cases of all ops that are described and whose first input can be samples.
#[test]
fn cases_of_ops_are_exported() {
    let mut runs = Runs::new("cases");
    let (mut n, mut exported) = (0, HashSet::new());
    for declaration in ops::all() {
        for case in (declaration.cases)() {
            let [x, others @ ..] = &case.inputs[..] else { continue };
            let types: Vec<TensorType> = case.inputs.iter().map(Tensor::tensor_type).collect();
            let outputs = case.op.infer(&types).unwrap();
            let batch = |ty: &TensorType| ty.shape.dims().first().copied();
            if !case.inputs.iter().all(is_finite)
                || outputs[0].dtype != DType::F32
                || batch(&types[0]).is_none()
                || batch(&outputs[0]) != batch(&types[0])
            {
                continue;
            }
            let net = Net::input(&types[0].shape.dims()[1..]).layer(OpLayer(Arc::clone(&case.op), types[1..].to_vec()));
            // Of ops that can't take any length of the batch, such as a reshape to a shape.
            let Ok(mut model) = net.build(&Device::cpu(), Seed(1)) else { continue };
            let weights = others.iter().enumerate().map(|(i, w)| (format!("op/input{}", i + 1), w.clone()));
            model.set_weights(&weights.collect::<Vec<_>>()).unwrap();
            let name = format!("{}.{}", declaration.name, case.name);
            // ONNX Runtime's variance is a difference there, whose digits are lost.
            if name == "group_norm.large_mean" {
                continue;
            }
            match model.to_onnx(OnnxExport::new()) {
                Err(Error::Invalid { .. }) => continue,
                other => drop(other.unwrap()),
            }
            let y = model.predict(x).unwrap();
            if !is_finite(&y) {
                continue;
            }
            let file = runs.export(&name, &mut model, OnnxExport::new(), &[("input".to_string(), x.clone())]);
            check_structure(&name, &file, &model);
            exported.insert(declaration.name);
            n += 1;
        }
    }
    println!("{n} cases of {} ops", exported.len());
    assert!(n > 250 && exported.len() >= 40, "only {n} cases of {} ops", exported.len());
    runs.check();
}

#[test]
fn what_cant_be_exported_is_named() {
    /// An op that says nothing of itself.
    #[derive(Clone, Copy, Debug)]
    struct Own;
    impl Op for Own {
        fn name(&self) -> &'static str {
            "own_op"
        }
        fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>> {
            Ok(inputs.to_vec())
        }
        fn gpu(&self, _: &mut Recorder<'_>) -> Result<()> {
            Ok(())
        }
    }
    impl Cpu for Own {
        fn cpu<T: striate::linalg::Real>(&self, _: &mut CpuArgs<'_, T>) {}
    }
    #[derive(Clone, Copy, Debug)]
    struct OwnLayer;
    impl Layer for OwnLayer {
        fn type_name(&self) -> &'static str {
            "own_layer"
        }
        fn build(&self, ctx: &mut LayerContext<'_>, x: &[Value]) -> Result<Value> {
            ctx.node(Own, x)
        }
    }
    let refused = |net: Net| net.build(&Device::cpu(), Seed(1)).unwrap().to_onnx(OnnxExport::new()).unwrap_err().to_string();
    let message = refused(Net::input([4]).dense(3).layer(OwnLayer));
    assert!(message.starts_with("own_layer: own_op: export"), "{message}");
    let pieces = slice::Pad { axes: vec![PadAxis { axis: 1, before: 0, after: 0, step: 2 }], value: 0.0 };
    let message = refused(Net::input([4]).layer(OpLayer(Arc::new(pieces), Vec::new())).named("spread"));
    assert!(message.contains("spread: pad") && message.contains("between"), "{message}");
    // Nothing was written.
    let path = std::env::temp_dir().join(format!("striate-onnx-refused-{}.onnx", std::process::id()));
    let mut model = Net::input([4]).layer(OwnLayer).build(&Device::cpu(), Seed(1)).unwrap();
    assert!(model.export_onnx(&path, OnnxExport::new()).is_err() && !path.exists());
    let mut model = Net::input([4]).dense(2).build(&Device::cpu(), Seed(1)).unwrap();
    assert!(matches!(model.export_onnx("no/such/folder/m.onnx", OnnxExport::new()), Err(Error::File { .. })));
}

/// A network that was trained here, written, read, written again and read again; ONNX Runtime runs both files. What was read can be trained on.
#[test]
fn a_trained_network_there_and_back() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/data/mnist");
    let (train, _) = striate::data::mnist(data).unwrap();
    let train = train.take(640).unwrap();
    let net = Net::input([28, 28, 1]).conv2d(8, 3).batch_norm().relu().max_pool2d(2).conv2d(16, 3).relu().max_pool2d(2);
    let net = net.flatten().dropout(0.3).dense(32).relu().dense(10);
    let mut model = net.build(&Device::cpu(), Seed(1)).unwrap();
    let fit = || Fit::epochs(2).batch(64).optimizer(Adam::default());
    let history = model.fit(&train, fit()).unwrap();
    let mut runs = Runs::new("trained");
    let inputs = samples(&model, 5, None);
    runs.export("trained", &mut model, OnnxExport::new(), &inputs);
    let mut read = Onnx::read(runs.folder.join("trained.onnx")).unwrap().build(model.device()).unwrap();
    assert_eq!(read.weights().unwrap().len(), model.weights().unwrap().len());
    let fed: Vec<(String, Tensor)> = vec![(read.inputs()[0].0.to_string(), inputs[0].1.clone())];
    runs.export("again", &mut read, OnnxExport::new(), &fed);
    runs.check();
    let more = read.fit(&train, fit()).unwrap();
    let loss = |history: &striate::train::History| history.epochs.last().unwrap().loss;
    assert!(loss(&more) < loss(&history), "{} after {}", loss(&more), loss(&history));
}
