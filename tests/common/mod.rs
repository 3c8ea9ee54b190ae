//! What the integration tests share: devices, the variants of kernels, everything that ops record, and a small training step.

// Each test file is a crate of its own and uses a part of this one.
#![allow(dead_code)]

pub mod golden;
pub mod shapes;

use pollster::block_on;
use std::collections::HashSet;
use striate::device::{Device, GpuOptions};
use striate::error::{Error, Result};
use striate::graph::Graph;
use striate::op::{Case, Declaration, DeviceProfile, Dispatch, Kernel, MainLoop, NodeBuilder, Recorder, Value, sample};
use striate::ops::accuracy::Accuracy;
use striate::ops::avg_pool2d::AvgPool2d;
use striate::ops::conv2d::Conv2d;
use striate::ops::matmul::Matmul;
use striate::ops::max_pool2d::MaxPool2d;
use striate::ops::pack::Pack;
use striate::ops::scale::Scale;
use striate::ops::softmax_cross_entropy::SoftmaxCrossEntropy;
use striate::ops::track::Track;
use striate::ops::unary::{Relu, Tanh, Unary};
use striate::ops::update::{Coefficients, HYPER, Momentum, Update};
use striate::ops::view::View;
use striate::ops::{self, gemm};
use striate::selftest::run_case;
use striate::tensor::{Padding, Tensor, TensorType, Window2d};

/// The GPU of this machine, a software one if there is no other. Without any adapter the test fails, unless
/// `STRIATE_ALLOW_NO_GPU=1`: then it says that it leaves `what` out.
pub fn gpu(what: &str, options: GpuOptions) -> Option<Device> {
    match Device::gpu_with("gpu", options) {
        Ok(device) => {
            // A comparison of the CPU with itself would always pass.
            assert_ne!(device.backend(), Device::cpu().backend());
            Some(device)
        }
        Err(Error::NoDevice { .. }) if std::env::var("STRIATE_ALLOW_NO_GPU").is_ok_and(|v| v == "1") => {
            println!("no GPU: left out {what}");
            None
        }
        Err(e) => panic!("{what} needs a GPU, even a software one (STRIATE_ALLOW_NO_GPU=1 leaves it out): {e}"),
    }
}

/// The devices to test on: the CPU backend, and a GPU, with guard zones, at its own limits. See [`gpu`] for what happens without one.
pub fn devices(test: &str) -> Vec<Device> {
    let gpu = gpu(test, GpuOptions { guard: true, ..GpuOptions::from_env() });
    [Some(Device::cpu()), gpu].into_iter().flatten().collect()
}

/// Whether the op runs on the main loops of the GEMM family.
pub fn is_gemm(d: &Declaration) -> bool {
    d.name == "matmul" || d.name.starts_with("conv2d")
}

/// The types of a case's inputs.
pub fn types(case: &Case) -> Vec<TensorType> {
    case.inputs.iter().map(Tensor::tensor_type).collect()
}

/// Runs all cases of the ops that `which` selects on `device`, prints each op's largest share of its error budget, and fails with
/// the ids of all cases that went wrong. Returns the largest share of all.
pub fn parity(device: &Device, variant: &str, which: impl Fn(&Declaration) -> bool) -> f64 {
    parity_of_cases(device, variant, which, |_| true)
}

/// [`parity`] of the GEMM family in the tile that the device is asked to use. Of the cases it takes those that a tile concerns, and none whose
/// products are new only by what is done to finished results, which doesn't depend on the tile: a software GPU compiles each kernel for
/// more than a second.
pub fn parity_of_tile(device: &Device, variant: &str) -> f64 {
    let profile = device.profile().expect("a GPU").clone();
    let loop_name = match profile.main_loop {
        MainLoop::Tiled => "gemm/tiled",
        MainLoop::Subgroup => "gemm/subgroup",
        MainLoop::Plain => "gemm/plain",
    };
    let (mut compiled, mut products) = (HashSet::new(), HashSet::new());
    parity_of_cases(device, variant, is_gemm, move |case| {
        let (dispatches, _) = record(&profile, case).expect("a case");
        let kernels: Vec<Kernel> = dispatches.into_iter().map(|d| d.kernel).filter(|k| k.name == loop_name).collect();
        let product = |kernel: &Kernel| {
            let mut kernel = kernel.clone();
            kernel.consts.retain(|(name, _)| !["ACTIVATION", "HAS_BIAS", "HAS_RESIDUAL"].contains(name));
            kernel
        };
        let is_cheap = kernels.iter().all(|k| compiled.contains(k));
        let is_new = kernels.iter().any(|k| !products.contains(&product(k)));
        if kernels.is_empty() || !(is_cheap || is_new) {
            return false;
        }
        products.extend(kernels.iter().map(product));
        compiled.extend(kernels);
        true
    })
}

fn parity_of_cases(
    device: &Device,
    variant: &str,
    which: impl Fn(&Declaration) -> bool,
    mut takes: impl FnMut(&Case) -> bool,
) -> f64 {
    let (mut failures, mut largest) = (Vec::new(), 0.0f64);
    for d in ops::all().filter(|d| which(d)) {
        let (mut worst, mut worst_case) = (0.0, String::new());
        for case in (d.cases)().into_iter().filter(&mut takes) {
            let id = format!("{}/{variant}/{}", d.name, case.name);
            match block_on(run_case(device, &case)) {
                // A share that is NaN is no pass.
                Ok(w) if w.share.is_nan() || w.share > 1.0 => failures.push(format!(
                    "{id}: output {}, element {}: got {:e}, want {:e}, bound {:e}",
                    w.output, w.element, w.got, w.want, w.bound
                )),
                Ok(w) if w.share >= worst => (worst, worst_case) = (w.share, case.name),
                Ok(_) => {}
                Err(e) => failures.push(format!("{id}: {e}")),
            }
        }
        println!("{:44} {worst:.4} of the error budget, {worst_case}", format!("{}/{variant}", d.name));
        largest = largest.max(worst);
    }
    assert!(failures.is_empty(), "on {device}:\n{}", failures.join("\n"));
    largest
}

/// A device for every variant of the kernels: main loops, tiles and subgroup lengths.
pub fn profiles() -> Vec<(String, DeviceProfile)> {
    let base = DeviceProfile::baseline;
    let mut all = vec![("tiled".to_string(), base())];
    for tile in 0..gemm::N_TILES {
        all.push((format!("tiled_{tile}"), DeviceProfile { tile: Some(tile), ..base() }));
    }
    for (name, main_loop) in [("subgroup", MainLoop::Subgroup), ("plain", MainLoop::Plain)] {
        for lanes in [4, 8] {
            all.push((format!("{name}_{lanes}"), DeviceProfile { main_loop, subgroup_len: Some(lanes), ..base() }));
        }
    }
    all
}

/// What a case records for a device.
pub struct Recorded {
    /// `conv2d/tiled_2/odd_width_stride_2_same`.
    pub id: String,
    /// The op's entry in the list.
    pub declaration: &'static Declaration,
    /// The dispatches.
    pub dispatches: Vec<Dispatch>,
    /// Types of inputs, outputs and scratch tensors.
    pub types: [Vec<TensorType>; 3],
}

/// The dispatches of a case, and the types of its inputs, outputs and scratch tensors.
fn record(profile: &DeviceProfile, case: &Case) -> Result<(Vec<Dispatch>, [Vec<TensorType>; 3])> {
    let inputs = types(case);
    let outputs = case.op.infer(&inputs)?;
    let mut r = Recorder::new(profile, &inputs, &outputs, &[]);
    case.op.gpu(&mut r)?;
    let (dispatches, temps) = (r.dispatches, r.temps);
    Ok((dispatches, [inputs, outputs, temps]))
}

/// What all cases of all ops record for all devices; an op outside the GEMM family records the same for all of them.
pub fn recorded() -> Vec<Recorded> {
    let mut all = Vec::new();
    for (variant, profile) in profiles() {
        for declaration in ops::all().filter(|d| is_gemm(d) || variant == "tiled") {
            for case in (declaration.cases)() {
                let id = format!("{}/{variant}/{}", declaration.name, case.name);
                let (dispatches, types) = record(&profile, &case).unwrap_or_else(|e| panic!("{id}: {e}"));
                all.push(Recorded { id, declaration, dispatches, types });
            }
        }
    }
    all
}

/// A small convolutional network up to its loss.
pub struct Net {
    /// Images `[n, 8, 8, 3]`.
    pub x: Value,
    /// Class indices `[n]`.
    pub labels: Value,
    /// The classes' scores.
    pub logits: Value,
    /// Loss of each sample.
    pub loss: Value,
}

/// Shapes of the parameters of [`net`].
pub const PARAMETERS: [&[usize]; 6] = [&[3, 3, 3, 8], &[8], &[3, 3, 8, 12], &[12], &[48, 10], &[10]];

/// Convolution, ReLU, max-pool, convolution, tanh, average-pool, dense, cross-entropy.
pub fn net(g: &mut Graph, n: usize, parameters: &[Value]) -> Result<Net> {
    let &[w1, b1, w2, b2, w3, b3] = parameters else { panic!("6 parameters") };
    let pool = Window2d { stride: [2, 2], ..Window2d::new([2, 2]) };
    let x = g.input("x", TensorType::f32([n, 8, 8, 3]))?;
    let labels = g.input("labels", TensorType::u32([n]))?;
    g.set_scope("conv2d_1");
    let h = g.node(Conv2d::new(Window2d { padding: Padding::Same, ..Window2d::new([3, 3]) }, 1), &[x, w1, b1])?;
    let h = g.node(Unary::<Relu>::new(), &[h])?;
    g.set_scope("max_pool2d_1");
    let h = g.node(MaxPool2d { window: pool }, &[h])?;
    g.set_scope("conv2d_2");
    let padding = Padding::Explicit { top: 1, bottom: 1, left: 1, right: 1 };
    let h = g.node(Conv2d::new(Window2d { padding, ..Window2d::new([3, 3]) }, 1), &[h, w2, b2])?;
    let h = g.node(Unary::<Tanh>::new(), &[h])?;
    g.set_scope("avg_pool2d_1");
    let h = g.node(AvgPool2d { window: pool, count_include_pad: false }, &[h])?;
    g.set_scope("dense_1");
    let h = g.node(View::reshape([n, 48]), &[h])?;
    let logits = g.node(Matmul::default(), &[h, w3, b3])?;
    g.set_scope("loss");
    let loss = g.node(SoftmaxCrossEntropy { label_smoothing: 0.1 }, &[logits, labels])?;
    Ok(Net { x, labels, logits, loss })
}

/// Starting values of the parameters of [`net`].
pub fn parameters() -> Vec<Tensor> {
    let scaled = |(i, shape): (usize, &&[usize])| {
        let t = sample::normal(i as u64 + 1, *shape);
        let fan_in = shape[..shape.len() - 1].iter().product::<usize>() as f32;
        let data = t.as_f32().unwrap().iter().map(|x| x / fan_in.sqrt()).collect();
        Tensor::f32(*shape, data).unwrap()
    };
    PARAMETERS.iter().enumerate().map(scaled).collect()
}

/// A batch for [`net`].
pub fn batch(n: usize) -> (Tensor, Tensor) {
    (sample::normal(20, [n, 8, 8, 3]), sample::indices(21, n, 10))
}

/// A whole training step of [`net`] as one graph: the page of parameters, forward, backward, pack, update, metrics.
pub struct Training {
    /// The graph.
    pub graph: Graph,
    /// The network in it.
    pub net: Net,
    /// Learning rate and unused numbers, `[4]`.
    pub hyper: Value,
    /// Number of the step, `[1]`.
    pub step: Value,
    /// The states' names and contents at the start.
    pub states: Vec<(&'static str, Tensor)>,
}

/// See [`Training`].
pub fn training(n: usize, fuse: bool) -> Training {
    let parameters = parameters();
    let mut offsets = Vec::new();
    let mut page = Vec::new();
    for p in &parameters {
        offsets.push(page.len());
        page.extend_from_slice(p.as_f32().unwrap());
        page.resize(page.len().next_multiple_of(64), 0.0);
    }
    let len = page.len();
    let mut g = Graph::new();
    let page_type = TensorType::f32([len]);
    let p = g.state("parameters", page_type.clone()).unwrap();
    let velocity = g.state("velocity", page_type.clone()).unwrap();
    let health = g.state("health", TensorType::u32([2])).unwrap();
    let metrics = g.state("metrics", TensorType::f32([2])).unwrap();
    let hyper = g.input("hyper", TensorType::f32([HYPER])).unwrap();
    let step = g.input("step", TensorType::u32([1])).unwrap();
    g.set_scope("parameters");
    let view = |(&offset, shape): (&usize, &&[usize])| View { offset, shape: (*shape).into() };
    let views: Vec<Value> = offsets.iter().zip(&PARAMETERS).map(view).map(|v| g.node(v, &[p]).unwrap()).collect();
    let net = net(&mut g, n, &views).unwrap();
    let mean = g.node(Scale { factor: 1.0 / n as f32 }, &[net.loss]).unwrap();
    let gradients = g.gradients(mean, &views).unwrap();
    g.set_scope("metrics");
    let correct = g.node(Accuracy { k: 1 }, &[net.logits, net.labels]).unwrap();
    let tracked = g.add(std::sync::Arc::new(Track), &[metrics, health, net.loss, correct, step]).unwrap();
    g.set_scope("optimizer");
    let gradient = g.node(Pack { offsets, len }, &gradients).unwrap();
    let update = Update::<Momentum>::new(Coefficients { momentum: 0.9, weight_decay: 1e-4, ..Coefficients::default() });
    g.node(update, &[p, velocity, gradient, hyper, tracked[1]]).unwrap();
    if fuse {
        g.fuse(&[net.loss]);
    }
    let states = vec![
        ("parameters", Tensor::f32([len], page).unwrap()),
        ("velocity", Tensor::zeros(&page_type)),
        ("health", Tensor::u32([2], vec![0, 0]).unwrap()),
        ("metrics", Tensor::f32([2], vec![0.0, 0.0]).unwrap()),
    ];
    Training { graph: g, net, hyper, step, states }
}

impl Training {
    /// Learning rate 0.1, step 1.
    pub fn settings(&self) -> (Tensor, Tensor) {
        (Tensor::f32([HYPER], vec![0.1, 0.0, 0.0, 0.0, 1.0, 1.0]).unwrap(), Tensor::u32([1], vec![1]).unwrap())
    }
}
