//! Single ops at the sizes that networks have.
//!
//!     cargo bench --bench kernels -- --device cpu conv2d
//!     cargo bench --bench kernels -- --device gpu --json kernels.jsonl
//!
//! Tensors stay on the device; an iteration is one run of the op, and the clock stops when the device has finished the last.

mod common;

use common::{Case, Run, Unit};
use pollster::block_on;
use std::sync::Arc;
use std::time::Instant;
use striate::device::{Device, Runtime};
use striate::graph::Graph;
use striate::op::{NodeBuilder, Op, Value, sample};
use striate::ops::binary::{Binary, Mul};
use striate::ops::conv2d::{Conv2d, Conv2dGradInput, Conv2dGradWeight};
use striate::ops::dropout::Dropout;
use striate::ops::group_norm::{GroupNorm, Grouping};
use striate::ops::local_response_norm::LocalResponseNorm;
use striate::ops::matmul::Matmul;
use striate::ops::max_pool2d::{MaxPool2d, MaxPool2dGrad};
use striate::ops::reduce::{Reduce, Reduction};
use striate::ops::softmax_cross_entropy::SoftmaxCrossEntropy;
use striate::ops::unary::{Gelu, Relu, Unary};
use striate::ops::update::{Adam, HYPER, Update};
use striate::random::Seed;
use striate::tensor::{DType, Padding, Shape, Tensor, TensorType, Window2d};

/// Side of the image, channels in and out, side of the kernel, stride, padding, groups.
type Convolution = (usize, usize, usize, usize, usize, usize, usize);

/// A ResNet's, and its stem.
const BATCH_16: [Convolution; 4] =
    [(56, 64, 64, 3, 1, 1, 1), (28, 128, 128, 3, 1, 1, 1), (56, 256, 64, 1, 1, 0, 1), (224, 3, 64, 7, 2, 3, 1)];
/// Those of small networks for MNIST.
const BATCH_128: [Convolution; 4] =
    [(28, 1, 32, 3, 1, 0, 1), (26, 32, 64, 3, 1, 0, 1), (28, 1, 32, 5, 1, 2, 1), (14, 32, 64, 5, 1, 2, 1)];
/// MobileNetV2's depthwise and 1x1 convolutions, and the 3x3 of ResNet-18 and VGG-16.
const BATCH_1: [Convolution; 13] = [
    (112, 32, 32, 3, 1, 1, 32),
    (56, 144, 144, 3, 2, 1, 144),
    (14, 384, 384, 3, 1, 1, 384),
    (7, 960, 960, 3, 1, 1, 960),
    (56, 24, 144, 1, 1, 0, 1),
    (14, 384, 64, 1, 1, 0, 1),
    (7, 320, 1280, 1, 1, 0, 1),
    (56, 64, 64, 3, 1, 1, 1),
    (56, 64, 128, 3, 2, 1, 1),
    (14, 256, 256, 3, 1, 1, 1),
    (7, 512, 512, 3, 1, 1, 1),
    (224, 64, 64, 3, 1, 1, 1),
    (28, 512, 512, 3, 1, 1, 1),
];

fn main() -> anyhow::Result<()> {
    let mut cases = Vec::new();
    for n in [512, 1024, 2048] {
        cases.push(op(format!("matmul/{n}"), Matmul::default(), vec![f32s([n, n]), f32s([n, n])]));
    }
    for [m, k, n] in [[1, 9216, 128], [1, 25088, 4096], [128, 9216, 128], [100, 3136, 1024]] {
        cases.push(op(format!("matmul/{m}x{k}x{n}"), Matmul::default(), vec![f32s([m, k]), f32s([k, n])]));
    }
    for (n, convolutions) in [(16, &BATCH_16[..]), (128, &BATCH_128[..]), (1, &BATCH_1[..])] {
        convolutions.iter().for_each(|&c| cases.extend(convolution(n, c)));
    }
    let large = || f32s([128, 24, 24, 64]);
    let window = Window2d { stride: [2, 2], ..Window2d::new([2, 2]) };
    cases.push(op("max_pool2d/24x24x64", MaxPool2d { window }, vec![large()]));
    let pooled = [128, 12, 12, 64];
    let grad = MaxPool2dGrad { window, h_in: 24, w_in: 24 };
    cases.push(op("max_pool2d/24x24x64/gradient", grad, vec![TensorType::u32(pooled), f32s(pooled)]));
    cases.push(op("relu/24x24x64", Unary::<Relu>::new(), vec![large()]));
    cases.push(op("gelu/24x24x64", Unary(Gelu), vec![large()]));
    cases.push(op("mul/24x24x64", Binary::<Mul>::new(), vec![large(), large()]));
    cases.push(op("mul/24x24x64_by_channel", Binary::<Mul>::new(), vec![large(), f32s([128, 1, 1, 64])]));
    let c = f32s([64]);
    for (name, grouping) in
        [("layer", Grouping::layer(4, 1)), ("group_of_2", Grouping::channels(32)), ("instance", Grouping::channels(64))]
    {
        let norm = GroupNorm::new(grouping, 1e-5);
        cases.push(op(format!("{name}_norm/24x24x64"), norm, vec![large(), c.clone(), c.clone()]));
    }
    let lrn = LocalResponseNorm { size: 5, alpha: 1e-4, beta: 0.75, k: 1.0 };
    cases.push(op("local_response_norm/24x24x64", lrn, vec![large()]));
    cases.push(op("reduce/24x24x64_to_bias", Reduce { reduction: Reduction::Sum, axes: 0..3 }, vec![large()]));
    let dropout = Dropout { rate: 0.25, seed: Seed(1), stream: 0, spatial: false };
    cases.push(op("dropout/9216", dropout, vec![f32s([128, 9216]), TensorType::u32([1])]));
    let loss = SoftmaxCrossEntropy { label_smoothing: 0.0 };
    cases.push(op("softmax_cross_entropy/1000", loss, vec![f32s([128, 1000]), TensorType::u32([128])]));
    let page = || f32s([1_200_000]);
    let health = TensorType::u32([2]);
    cases.push(op("adam_update/1200000", Update::<Adam>::default(), vec![page(), page(), page(), page(), f32s([HYPER]), health]));
    common::run("kernels", Unit { name: "GFLOP/s", size: 1e9 }, cases)
}

fn f32s(shape: impl Into<Shape>) -> TensorType {
    TensorType::f32(shape)
}

/// Forward, both gradients, and all three in one run, as a training step has them.
fn convolution(n: usize, (side, c_in, c_out, kernel, stride, padding, groups): Convolution) -> Vec<Case> {
    let window = Window2d { stride: [stride, stride], padding: Padding::all(padding), ..Window2d::new([kernel, kernel]) };
    let forward = Arc::new(Conv2d::new(window, groups));
    let x = f32s([n, side, side, c_in]);
    let w = f32s([kernel, kernel, c_in / groups, c_out]);
    let y = forward.infer(&[x.clone(), w.clone()]).map(|y| y[0].clone()).unwrap_or_else(|e| unreachable!("a convolution: {e}"));
    let grad_input = Arc::new(Conv2dGradInput::new(window, groups, x.shape.clone()));
    let grad_weight = Arc::new(Conv2dGradWeight { window, groups });
    let depthwise = if groups > 1 { "_depthwise" } else { "" };
    let name = format!("conv2d/{kernel}x{kernel}s{stride}_{c_in}_{c_out}_{side}_batch_{n}{depthwise}");
    let parts: [(&str, &[usize]); 4] =
        [("forward", &[0]), ("grad_input", &[1]), ("grad_weight", &[2]), ("forward_and_gradients", &[0, 1, 2])];
    let types = [x, w, y];
    parts
        .into_iter()
        .map(|(part, which)| {
            let all: [(Arc<dyn Op>, [usize; 2]); 3] =
                [(forward.clone(), [0, 1]), (grad_input.clone(), [2, 1]), (grad_weight.clone(), [0, 2])];
            let nodes: Vec<_> = which.iter().map(|&i| all[i].clone()).collect();
            graph(format!("{name}/{part}"), nodes, types.to_vec())
        })
        .collect()
}

fn op(name: impl Into<String>, op: impl Op, types: Vec<TensorType>) -> Case {
    let inputs = (0..types.len()).collect::<Vec<_>>();
    graph(name, vec![(Arc::new(op) as Arc<dyn Op>, inputs)], types)
}

/// Ops on tensors of these types: each with the indices of its inputs.
fn graph<I: AsRef<[usize]> + 'static>(name: impl Into<String>, nodes: Vec<(Arc<dyn Op>, I)>, types: Vec<TensorType>) -> Case {
    let cost = |(op, inputs): &(Arc<dyn Op>, I)| {
        let inputs: Vec<TensorType> = inputs.as_ref().iter().map(|&i| types[i].clone()).collect();
        op.infer(&inputs).map_or(0, |outputs| op.cost(&inputs, &outputs).flops)
    };
    let flops = nodes.iter().map(cost).sum();
    Case::new(name, flops, move |device| start(device, &nodes, &types))
}

fn start<I: AsRef<[usize]>>(device: &Device, nodes: &[(Arc<dyn Op>, I)], types: &[TensorType]) -> anyhow::Result<Run> {
    let mut g = Graph::new();
    let mut runtime = Runtime::new(device);
    let overwritten: Vec<usize> =
        nodes.iter().flat_map(|(op, inputs)| op.in_place().iter().map(|&(i, _)| inputs.as_ref()[i])).collect();
    let (mut values, mut feeds): (Vec<Value>, Vec<(Value, Tensor)>) = (Vec::new(), Vec::new());
    for (i, ty) in types.iter().enumerate() {
        let (name, seed, shape) = (format!("x{i}"), i as u64, ty.shape.clone());
        let data = match ty.dtype {
            // Moments of optimizers aren't negative.
            DType::F32 if !overwritten.is_empty() => sample::positive(seed, shape),
            DType::F32 => sample::normal(seed, shape),
            _ => Tensor::zeros(ty),
        };
        if overwritten.contains(&i) {
            values.push(g.state(&name, ty.clone())?);
            block_on(runtime.set_state(&name, &data))?;
        } else {
            values.push(g.input(&name, ty.clone())?);
            feeds.push((values[i], data));
        }
    }
    let mut outputs = Vec::new();
    for (op, inputs) in nodes {
        let inputs: Vec<Value> = inputs.as_ref().iter().map(|&i| values[i]).collect();
        outputs.extend(g.add(op.clone(), &inputs)?);
    }
    outputs.retain(|_| overwritten.is_empty());
    let program = block_on(runtime.load(device.plan(g, &outputs)?))?;
    let feeds: Vec<(Value, &Tensor)> = feeds.iter().map(|(v, t)| (*v, t)).collect();
    block_on(runtime.run(program, &feeds))?;
    Ok(Box::new(move |iterations| {
        block_on(runtime.finish())?;
        let start = Instant::now();
        for _ in 0..iterations {
            block_on(runtime.run_again(program))?;
        }
        block_on(runtime.finish())?;
        Ok(start.elapsed())
    }))
}
