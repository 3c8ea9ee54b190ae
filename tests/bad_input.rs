//! What is wrong with an argument, a shape or a device is said by a typed error that names it: never a panic, and never a result.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // Tests may stop at what they don't expect.

mod common;

use std::sync::Arc;
use striate::device::{Device, GpuOptions};
use striate::graph::Graph;
use striate::op::{Case, DeviceProfile, NodeBuilder, Op, Recorder};
use striate::ops::avg_pool2d::AvgPool2d;
use striate::ops::binary::{Add, Binary};
use striate::ops::concat::Concat;
use striate::ops::conv2d::{Conv2d, Conv2dGradInput, Conv2dGradWeight};
use striate::ops::dropout::Dropout;
use striate::ops::fill::Fill;
use striate::ops::gather_rows::GatherRows;
use striate::ops::matmul::Matmul;
use striate::ops::max_pool2d::{MaxPool2d, MaxPool2dGrad};
use striate::ops::pack::Pack;
use striate::ops::reduce::{Broadcast, Reduce, Reduction};
use striate::ops::scale::Scale;
use striate::ops::slice::{Pad, Slice};
use striate::ops::softmax_cross_entropy::SoftmaxCrossEntropy;
use striate::ops::unary::{Relu, Unary};
use striate::ops::update::{Adadelta, Adam, Coefficients, HYPER, Momentum, Sgd, Update};
use striate::ops::view::View;
use striate::random::Stream;
use striate::tensor::{DType, Padding, Shape, Tensor, TensorType, Window2d};
use striate::{Error, Runtime, Seed};

fn f32s<const N: usize>(shape: [usize; N]) -> TensorType {
    TensorType::f32(shape)
}

fn u32s<const N: usize>(shape: [usize; N]) -> TensorType {
    TensorType::u32(shape)
}

/// Holds an error to be [`Error::Invalid`] about `what`, with what was given and what would be right.
#[track_caller]
fn assert_invalid<T>(result: Result<T, Error>, place: &str, what: &str, got: &str) {
    match result.map(|_| ()).unwrap_err() {
        Error::Invalid { place: p, what: w, got: g, want } => {
            assert!(p.contains(place), "place '{p}', not '{place}'");
            assert!(w.contains(what), "'{w}', not '{what}'");
            assert!(g.contains(got), "got '{g}', not '{got}'");
            assert!(!want.is_empty());
        }
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn refused(op: impl Op, inputs: &[TensorType], what: &str, got: &str) {
    assert_invalid(op.infer(inputs), "", what, got);
    // In a graph the error also has the layer's name.
    let mut graph = Graph::new();
    let state = |(i, ty): (usize, &TensorType)| graph.state(&format!("state {i}"), ty.clone()).unwrap();
    let values: Vec<_> = inputs.iter().enumerate().map(state).collect();
    graph.set_scope("the_layer");
    assert_invalid(graph.node(op, &values), "the_layer", what, got);
}

const HUGE: usize = usize::MAX;

#[test]
fn windows() {
    let base = Window2d::new([3, 3]);
    let same = |w: Window2d| Window2d { padding: Padding::Same, ..w };
    let bad = [
        (Window2d { stride: [0, 1], ..base }, "stride (height)", "0"),
        (Window2d { stride: [1, HUGE], ..base }, "stride (width)", &HUGE.to_string()),
        (Window2d { kernel: [3, 0], ..base }, "kernel (width)", "0"),
        (Window2d { kernel: [HUGE, 3], ..base }, "kernel (height)", &HUGE.to_string()),
        (Window2d { dilation: [0, 1], ..base }, "dilation (height)", "0"),
        (Window2d { dilation: [1, HUGE], ..base }, "dilation (width)", &HUGE.to_string()),
        (same(Window2d { stride: [1, 0], ..base }), "stride (width)", "0"),
        (same(Window2d { kernel: [0, 3], ..base }), "kernel (height)", "0"),
        (Window2d { padding: Padding::all(HUGE), ..base }, "padding", &HUGE.to_string()),
        (Window2d { kernel: [3, 9], ..base }, "kernel (width)", "9"),
        (Window2d { dilation: [4, 1], ..base }, "kernel (height)", "spans 9 with dilation 4"),
    ];
    let x = f32s([2, 8, 8, 4]);
    for (window, what, got) in bad {
        refused(MaxPool2d { window }, std::slice::from_ref(&x), what, got);
        refused(AvgPool2d { window, count_include_pad: true }, std::slice::from_ref(&x), what, got);
        // The window is looked at before the weights' shape, of which there is none for a kernel of 0.
        refused(Conv2d::new(window, 1), &[x.clone(), f32s([3, 3, 4, 6])], what, got);
        refused(Conv2dGradWeight { window, groups: 1 }, &[x.clone(), f32s([2, 6, 6, 6])], what, got);
        let grad = Conv2dGradInput::new(window, 1, x.shape.clone());
        refused(grad, &[f32s([2, 6, 6, 6]), f32s([3, 3, 4, 6])], what, got);
        refused(MaxPool2dGrad { window, h_in: 8, w_in: 8 }, &[u32s([2, 6, 6, 4]), f32s([2, 6, 6, 4])], what, got);
    }
    // A window of a pooling that has nothing but padding under it has no maximum and no average.
    let padded = Window2d { padding: Padding::all(2), ..Window2d::new([2, 2]) };
    refused(MaxPool2d { window: padded }, std::slice::from_ref(&x), "padding (height)", "2");
    refused(AvgPool2d { window: padded, count_include_pad: false }, std::slice::from_ref(&x), "padding (height)", "2");
}

#[test]
fn convolutions() {
    let (x, w) = (f32s([1, 8, 8, 4]), f32s([3, 3, 4, 6]));
    let window = Window2d::new([3, 3]);
    for groups in [0, 3, 4, 5, HUGE] {
        refused(Conv2d::new(window, groups), &[x.clone(), w.clone()], "groups", &groups.to_string());
    }
    refused(Conv2d::new(Window2d { ceil: true, ..window }, 1), &[x.clone(), w.clone()], "ceil", "true");
    refused(Conv2d::new(window, 2), &[x.clone(), w.clone()], "weight shape", "[3, 3, 4, 6]");
    refused(Conv2d::new(window, 1), &[x.clone(), f32s([3, 4, 6])], "weight shape", "[3, 4, 6]");
    refused(Conv2d::new(window, 1), &[f32s([8, 8, 4]), w.clone()], "input shape", "[8, 8, 4]");
    refused(Conv2d::new(window, 1), &[x.clone(), w.clone(), f32s([5])], "bias", "[5]");
    refused(Conv2d::new(window, 1), &[u32s([1, 8, 8, 4]), w.clone()], "x type", "u32");
    refused(Conv2d::new(window, 1), &[x.clone(), u32s([3, 3, 4, 6])], "w type", "u32");
    refused(Conv2d::new(window, 1), std::slice::from_ref(&x), "inputs", "1");
    // 2^30 input pixels and 2^4 channels: the input is fine, the output has 2^34 elements.
    let one = Conv2d::new(Window2d::new([1, 1]), 1);
    refused(one, &[f32s([1, 1 << 15, 1 << 15, 1]), f32s([1, 1, 1, 16])], "output shape", "32768");
    let grad = Conv2dGradInput::new(window, 1, [HUGE, 8, 8, 4]);
    refused(grad, &[f32s([1, 6, 6, 6]), w.clone()], "input shape", &HUGE.to_string());
    let grad = Conv2dGradInput::new(window, 1, x.shape.clone());
    refused(grad, &[f32s([1, 5, 6, 6]), w], "dy shape", "[1, 5, 6, 6]");
    refused(Conv2dGradWeight { window, groups: 1 }, &[x, f32s([1, 6, 7, 6])], "dy shape", "[1, 6, 7, 6]");
}

#[test]
fn other_ops() {
    refused(Matmul::new(false, false), &[f32s([2, 3]), f32s([4, 5])], "", "");
    refused(Matmul::new(true, false), &[f32s([2, 3]), f32s([3, 5])], "", "");
    refused(Matmul::new(false, false), &[f32s([2, 3, 4]), f32s([4, 5])], "", "[2, 3, 4]");
    refused(Matmul::new(false, false), &[f32s([2, 3]), f32s([3, 5]), f32s([4])], "bias", "[4]");
    refused(Matmul::new(false, false), &[f32s([1 << 16, 1]), f32s([1, 1 << 16])], "output shape", "65536");
    refused(Binary::<Add>::new(), &[f32s([2, 3]), f32s([3, 2])], "shapes", "[2, 3] and [3, 2]");
    for rate in [-0.1, 1.0, f32::NAN] {
        refused(Dropout { rate, seed: Seed(0), stream: 0, spatial: false }, &[f32s([4]), u32s([1])], "rate", &rate.to_string());
    }
    refused(Dropout { rate: 0.5, seed: Seed(0), stream: 0, spatial: false }, &[f32s([4]), u32s([2])], "step", "[2]");
    refused(Fill { value: 1.0, shape: [0, 3].into() }, &[], "shape", "[0, 3]");
    refused(Fill { value: 1.0, shape: [HUGE, HUGE].into() }, &[], "shape", &HUGE.to_string());
    for factor in [f32::NAN, f32::INFINITY] {
        refused(Scale { factor }, &[f32s([4])], "factor", &factor.to_string());
    }
    let rows = |scale, offset| GatherRows { scale, offset };
    refused(rows(f32::NAN, 0.0), &[f32s([4, 2]), u32s([3])], "scale", "NaN");
    refused(rows(2.0, 0.0), &[u32s([4, 2]), u32s([3])], "scale", "2");
    refused(rows(1.0, 0.0), &[f32s([4, 2]), TensorType::new(DType::U8, [3])], "indices", "u8");
    refused(rows(1.0, 0.0), &[f32s([4, 2]), u32s([3, 1])], "indices", "[3, 1]");
    refused(rows(1.0, 0.0), &[f32s([]), u32s([3])], "data", "[]");
    refused(rows(1.0, 0.0), &[f32s([1, 1 << 20]), u32s([1 << 20])], "rows to gather", "1048576");
    for axes in [0..0, 1..4, HUGE - 1..HUGE] {
        let reduce = Reduce { reduction: Reduction::Sum, axes: axes.clone() };
        refused(reduce, &[f32s([2, 3, 4])], "axes", &format!("{axes:?}"));
        let broadcast = Broadcast { reduction: Reduction::Mean, axes: axes.clone(), shape: [2, 3, 4].into() };
        refused(broadcast, &[f32s([4])], "axes", &format!("{axes:?}"));
    }
    let broadcast = |shape: Shape| Broadcast { reduction: Reduction::Sum, axes: 0..1, shape };
    refused(broadcast([3, 4].into()), &[f32s([5])], "x", "[5]");
    refused(broadcast([HUGE, 4].into()), &[f32s([4])], "shape", &HUGE.to_string());
    refused(View { offset: 1, shape: [4].into() }, &[f32s([128])], "offset", "1");
    refused(View { offset: 64, shape: [65].into() }, &[f32s([128])], "shape", "[65] at element 64");
    refused(View { offset: HUGE - 63, shape: [128].into() }, &[f32s([128])], "shape", "[128]");
    refused(View::reshape([HUGE, 2]), &[f32s([128])], "shape", &HUGE.to_string());
    refused(Pack { offsets: vec![0, 64], len: 128 }, &[f32s([4])], "inputs", "1");
    refused(Pack { offsets: vec![0, 1], len: 128 }, &[f32s([1]), f32s([4])], "offset 1", "1");
    refused(Pack { offsets: vec![0, 64], len: 128 }, &[f32s([65]), f32s([4])], "offset 0", "ends at 65");
    refused(Pack { offsets: vec![0, HUGE - 63], len: 128 }, &[f32s([4]), f32s([4])], "offset 1", &(HUGE - 63).to_string());
    refused(Pack { offsets: vec![0], len: HUGE }, &[f32s([4])], "len", &HUGE.to_string());
    let x = f32s([2, 3, 4]);
    refused(Slice::along(3, 0, 1), std::slice::from_ref(&x), "axis", "3");
    for (start, len) in [(0, 0), (2, 2), (1, HUGE)] {
        refused(Slice::along(1, start, len), std::slice::from_ref(&x), "range", &format!("{len} elements from {start}"));
    }
    refused(Pad::along(3, 0, 1), std::slice::from_ref(&x), "axis", "3");
    refused(Pad::along(0, HUGE, HUGE), std::slice::from_ref(&x), "padded shape", "3, 4]");
    refused(Concat { axis: 1 }, &[], "inputs", "0");
    refused(Concat { axis: 1 }, &[x.clone(), f32s([2, 3, 5])], "input 1", "[2, 3, 5]");
    refused(Concat { axis: HUGE }, &[x.clone(), x], "axis", &HUGE.to_string());
    for label_smoothing in [-0.1, 1.5, f32::NAN] {
        let op = SoftmaxCrossEntropy { label_smoothing };
        refused(op, &[f32s([4, 3]), u32s([4])], "label_smoothing", &label_smoothing.to_string());
    }
    let loss = || SoftmaxCrossEntropy { label_smoothing: 0.0 };
    refused(loss(), &[f32s([4, 3]), u32s([5])], "labels", "[5]");
    refused(loss(), &[f32s([4, 3]), f32s([4])], "labels", "f32 [4]");
    refused(loss(), &[f32s([4]), u32s([4])], "logits", "[4]");
}

#[test]
fn optimizer_updates() {
    let (p, hyper, health) = (f32s([8]), f32s([HYPER]), u32s([2]));
    let k = Coefficients::default();
    let sgd = [p.clone(), p.clone(), hyper.clone(), health.clone()];
    for momentum in [-0.5, 1.0, f64::NAN] {
        refused(Update::<Sgd>::new(Coefficients { momentum, ..k }), &sgd, "momentum", &momentum.to_string());
    }
    refused(Update::<Sgd>::new(Coefficients { weight_decay: -1.0, ..k }), &sgd, "weight_decay", "-1");
    refused(Update::<Momentum>::default(), &sgd, "inputs", "4");
    let adam = [p.clone(), p.clone(), p.clone(), p.clone(), hyper, health];
    refused(Update::<Adam>::new(Coefficients { beta1: 1.0, ..k }), &adam, "beta1", "1");
    refused(Update::<Adam>::new(Coefficients { beta2: -0.1, ..k }), &adam, "beta2", "-0.1");
    for epsilon in [0.0, -1.0, 1e-60, f64::NAN] {
        refused(Update::<Adam>::new(Coefficients { epsilon, ..k }), &adam, "epsilon", &epsilon.to_string());
    }
    refused(Update::<Adadelta>::new(Coefficients { weight_decay: f64::INFINITY, ..k }), &adam, "weight_decay", "inf");
    let mut other = adam.clone();
    other[1] = f32s([9]);
    refused(Update::<Adam>::default(), &other, "m", "[9]");
}

fn types(case: &Case) -> Vec<TensorType> {
    case.inputs.iter().map(Tensor::tensor_type).collect()
}

/// Every op refuses too few and too many inputs, and bytes where it wants floats.
#[test]
fn inputs_of_every_op() {
    for declaration in striate::ops::all() {
        let case = (declaration.cases)().remove(0);
        let types = types(&case);
        if !types.is_empty() {
            assert_invalid(case.op.infer(&[]), "", "inputs", "0");
        }
        let mut many = types.clone();
        many.extend(vec![f32s([4]); 5]);
        // These take any number.
        if !["concat", "clip_norm"].contains(&declaration.name) {
            assert_invalid(case.op.infer(&many), "", "inputs", &many.len().to_string());
        }
        for i in 0..types.len() {
            // These take elements of any type.
            if declaration.name == "view" || (declaration.name == "gather_rows" && i == 0) {
                continue;
            }
            let mut bytes = types.clone();
            bytes[i].dtype = DType::U8;
            assert_invalid(case.op.infer(&bytes), "", "", "u8");
        }
    }
}

/// Inputs of any types: an op refuses them, or can plan the work. Nothing panics.
#[test]
fn random_inputs_of_every_op() {
    let mut random = Stream::new(Seed(7), 0);
    let profile = DeviceProfile::baseline();
    let mut accepted = 0;
    for declaration in striate::ops::all() {
        for case in (declaration.cases)() {
            let good = types(&case);
            for _ in 0..200 {
                let mut types = good.clone();
                for ty in &mut types {
                    match random.below(4) {
                        0 => {
                            let sizes = [1, 2, 3, 4, 5, 7, 64, 1000, 1 << 15, 1 << 31];
                            let dims: Vec<usize> = (0..random.below(6)).map(|_| sizes[random.below(10) as usize]).collect();
                            // Larger ones don't get into a graph.
                            if let Ok(shape) = Shape::from(dims).checked("") {
                                ty.shape = shape;
                            }
                        }
                        1 => ty.dtype = [DType::F32, DType::U32, DType::U8][random.below(3) as usize],
                        _ => {}
                    }
                }
                if let Ok(outputs) = case.op.infer(&types) {
                    for y in &outputs {
                        y.shape.clone().checked("output").unwrap();
                    }
                    case.op.cost(&types, &outputs);
                    let mut recorder = Recorder::new(&profile, &types, &outputs, &[]);
                    case.op.gpu(&mut recorder).unwrap_or_else(|e| panic!("{}/{} on {types:?}: {e}", declaration.name, case.name));
                    accepted += 1;
                }
            }
        }
    }
    assert!(accepted > 1000, "{accepted}");
}

#[test]
fn graphs() {
    let mut graph = Graph::new();
    assert_invalid(graph.input("picture", f32s([3, 0])), "picture", "shape", "[3, 0]");
    assert_invalid(graph.input("picture", f32s([HUGE, 2])), "picture", "shape", &HUGE.to_string());
    assert_invalid(graph.state("weights", f32s([1 << 20, 1 << 20])), "weights", "shape", "1048576");
    let x = graph.input("x", f32s([8])).unwrap();
    let labels = graph.input("labels", u32s([8])).unwrap();
    let p = graph.state("p", f32s([8])).unwrap();
    assert_invalid(graph.state("p", f32s([8])), "", "state name", "p");
    let (hyper, health) = (graph.input("hyper", f32s([HYPER])).unwrap(), graph.input("health", u32s([2])).unwrap());

    let sgd = Update::<Sgd>::default;
    assert_invalid(graph.node(sgd(), &[x, p, hyper, health]), "sgd_update", "in-place input", "x");

    // A value of a larger graph.
    let mut other = Graph::new();
    let mut foreign = other.input("0", f32s([8])).unwrap();
    for i in 1..20 {
        foreign = other.input(&i.to_string(), f32s([8])).unwrap();
    }
    assert_invalid(graph.node(Unary::<Relu>::new(), &[foreign]), "relu", "input", "another graph");
    assert_invalid(graph.gradients(foreign, &[x]), "", "gradient", "another graph");
    assert_invalid(graph.gradients(x, &[foreign]), "", "gradient", "another graph");
    assert_invalid(graph.gradients(labels, &[x]), "", "gradient", "u32");
    assert_invalid(Device::cpu().plan(graph.clone(), &[foreign]), "", "output", "another graph");

    // There is no way back through an update.
    let updated = graph.node(sgd(), &[p, x, hyper, health]).unwrap();
    graph.set_scope("late_reader");
    let late = graph.node(Unary::<Relu>::new(), &[p]).unwrap();
    assert_invalid(graph.gradients(updated, &[x]), "", "gradient", "sgd_update");
    assert_invalid(Device::cpu().plan(graph, &[late]), "late_reader", "order of nodes", "'p'");
}

#[test]
fn device_names() {
    for name in ["", "no such card", "cpu gpu"] {
        for result in [Device::named(name), Device::gpu_with(name, GpuOptions::default())] {
            match result.unwrap_err() {
                Error::NoDevice { wanted, available } => {
                    assert_eq!(wanted, name);
                    assert!(available.contains(&"cpu".to_string()));
                }
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!(Device::named("CPU").unwrap().name(), "cpu");
}

#[test]
fn runs() {
    for device in common::devices("runs") {
        let mut graph = Graph::new();
        let x = graph.input("x", f32s([8])).unwrap();
        let p = graph.state("p", f32s([8])).unwrap();
        let sum = graph.node(Binary::<Add>::new(), &[x, p]).unwrap();
        graph.set_scope("last");
        let y = graph.node(Unary::<Relu>::new(), &[sum]).unwrap();
        let mut larger = graph.clone();
        for i in 0..9 {
            larger.input(&i.to_string(), f32s([8])).unwrap();
        }
        let foreign = larger.input("foreign", f32s([8])).unwrap();
        let good = Tensor::zeros(&f32s([8]));
        assert_invalid(device.evaluate(graph.clone(), &[y], &[]), "x", "input", "nothing");

        let mut runtime = Runtime::new(&device);
        pollster::block_on(async {
            let program = runtime.load(device.plan(graph.clone(), &[y]).unwrap()).await.unwrap();
            let short = Tensor::zeros(&f32s([7]));
            let integers = Tensor::zeros(&u32s([8]));
            assert_invalid(runtime.run(program, &[(x, &short)]).await, "x", "input", "f32 [7]");
            assert_invalid(runtime.run(program, &[(x, &integers)]).await, "x", "input", "u32 [8]");
            assert_invalid(runtime.run(program, &[]).await, "x", "input", "nothing");
            assert_invalid(runtime.run(program, &[(x, &good), (p, &good)]).await, "", "input", "'p'");
            assert_invalid(runtime.run(program, &[(x, &good), (foreign, &good)]).await, "", "input", "another graph");
            runtime.run(program, &[(x, &good)]).await.unwrap();
            assert_invalid(runtime.fetch(program, x).await, "", "value to fetch", "x");
            assert_invalid(runtime.fetch(program, foreign).await, "", "value to fetch", "another graph");
            assert_eq!(runtime.fetch(program, y).await.unwrap(), good);

            assert_invalid(runtime.state("q").await, "", "state", "'q'");
            assert_invalid(runtime.set_state("p", &short).await, "p", "state", "f32 [7]");
            assert_invalid(runtime.set_state("p", &integers).await, "p", "state", "u32 [8]");
            // Another plan with another idea of the state.
            for ty in [f32s([16]), u32s([8])] {
                let mut graph = Graph::new();
                let p = graph.state("p", ty.clone()).unwrap();
                let part = graph.node(View { offset: 0, shape: [4].into() }, &[p]).unwrap();
                let plan = device.plan(graph, &[part]).unwrap();
                assert_invalid(runtime.load(plan).await, "p", "state", &format!("{} [{}]", ty.dtype, ty.elements()));
            }
        });
    }
}

/// A plan for the CPU has nothing that a GPU could run.
#[test]
fn plans_for_another_device() {
    let devices = common::devices("plans_for_another_device");
    let plan = |device: &Device| {
        let mut graph = Graph::new();
        let y = graph.node(Fill { value: 1.0, shape: [4].into() }, &[]).unwrap();
        device.plan(graph, &[y]).unwrap()
    };
    for one in &devices {
        for other in devices.iter().filter(|d| d.name() != one.name()) {
            let load = pollster::block_on(Runtime::new(one).load(plan(other)));
            assert_invalid(load, "", "plan", "another device");
        }
    }
}

/// What doesn't fit is refused by the plan, before anything is allocated, with a table of who needs how much.
#[test]
fn memory() {
    if common::devices("memory").len() < 2 {
        return;
    }
    let refuse = |options: GpuOptions, elements: usize, reason_has: &str| {
        let device = Device::gpu_with("gpu", options).unwrap();
        let mut graph = Graph::new();
        let x = graph.input("large_input", f32s([elements])).unwrap();
        let y = graph.add(Arc::new(Unary::<Relu>::new()), &[x]).unwrap();
        match device.plan(graph, &y).unwrap_err() {
            Error::DoesNotFit { device: name, reason, table } => {
                assert_eq!(name, device.name());
                assert!(reason.contains(reason_has), "{reason}");
                assert!(table.contains("large_input") && table.contains(&(elements * 4).to_string()), "{table}");
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(device.stats().unwrap().buffers, 0);
    };
    let default_limits = || GpuOptions { default_limits: true, ..GpuOptions::default() };
    refuse(default_limits(), 40 << 20, "binding");
    refuse(default_limits(), 80 << 20, "buffer");
    refuse(GpuOptions { memory_budget: Some(1000), ..GpuOptions::default() }, 1024, "budget");
}
