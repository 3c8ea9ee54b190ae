//! Networks of the zoo against PyTorch's with the same weights (`tests/goldens/zoo.json`): outputs and gradients by all parameters. In
//! double precision, in training and with running statistics, to 1e-9 of each tensor's largest value; on the devices, to 1e-4.
//!
//! The gradients of training aren't compared on the devices: where a ReLU's input is within a rounding of 0, its gradient is there or not, and
//! statistics of a few pixels make roundings so large that PyTorch's own in f32 and f64 differ by 0.1 of a tensor's largest. Nor are
//! MobileNetV2's with running statistics: in PyTorch two inputs of its ReLU6 are on the other side of a corner in f32, which changes the
//! first layer's gradient by 1e-3.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // Tests may stop at what they don't expect.

mod common;

use serde_json::Value as Json;
use std::sync::Arc;
use striate::cpu;
use striate::device::Device;
use striate::graph::{Graph, Plan};
use striate::nn::{Mode, Net};
use striate::op::{Buf, Value};
use striate::ops::binary::{Binary, Mul};
use striate::ops::reduce::{Reduce, Reduction};
use striate::random::pcg4d;
use striate::tensor::{Shape, Tensor, TensorType};
use striate::zoo;

/// `numbers` of `zoo.py`.
fn numbers(name: &str, shape: &Shape) -> Vec<f32> {
    let stream = name.bytes().fold(2_166_136_261u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(16_777_619));
    let number = |i: usize| (pcg4d([i as u32, stream, 0, 0])[0] >> 20) as f32 / 2048.0 - 1.0;
    (0..shape.elements()).map(number).collect()
}

/// `parameter` of `zoo.py`.
fn parameter(name: &str, shape: &Shape) -> Tensor {
    let mut values = numbers(name, shape);
    let dims = shape.dims();
    let (factor, offset) = match name.rsplit_once('/').unwrap().1 {
        "weight" => {
            let fan_in: usize = dims[..dims.len() - 1].iter().product();
            (((6.0 / fan_in as f64).log2() / 2.0 + 0.5).floor().exp2() as f32, 0.0)
        }
        "gamma" | "running_variance" => (0.5, 1.0),
        _ => (0.25, 0.0),
    };
    values.iter_mut().for_each(|v| *v = *v * factor + offset);
    Tensor::f32(shape.clone(), values).unwrap()
}

/// The network without dropout.
fn network(name: &str, size: usize) -> Net {
    let (input, classes) = ([size, size, 3], 10);
    match name {
        "alexnet" => {
            let x = zoo::alexnet(input, classes).up_to("classifier.flatten").unwrap();
            let x = x.dense(4096).named("classifier.1").relu().dense(4096).named("classifier.4").relu();
            x.dense(classes).named("classifier.6")
        }
        "densenet121" => zoo::densenet121(input, classes),
        "googlenet" => zoo::googlenet(input, classes).up_to("global_avg_pool2d").unwrap().dense(classes).named("fc"),
        "mobilenet_v2" => {
            let x = zoo::mobilenet_v2(input, classes).up_to("classifier.global_avg_pool2d").unwrap();
            x.dense(classes).named("classifier.1")
        }
        "resnet18" => zoo::resnet18(input, classes),
        other => panic!("{other}"),
    }
}

/// A graph with what to feed it and what to look at.
struct Case {
    graph: Graph,
    feeds: Vec<(Value, Tensor)>,
    outputs: Vec<(String, Value)>,
}

impl Case {
    fn new(golden: &Json, mode: Mode, gradients: bool) -> Case {
        let number = |key: &str| golden[key].as_u64().unwrap() as usize;
        let (batch, size) = (number("batch"), number("size"));
        let mut graph = Graph::new();
        let mut feeds = Vec::new();
        let mut input = |graph: &mut Graph, name: &str, shape: Shape, factor: f32| {
            let values = numbers(name, &shape).into_iter().map(|v| factor * v).collect();
            let v = graph.input(name, TensorType::f32(shape.clone())).unwrap();
            feeds.push((v, Tensor::f32(shape, values).unwrap()));
            v
        };
        let x = input(&mut graph, "images", [batch, size, size, 3].into(), 2.0);
        let dy = input(&mut graph, "dy", [batch, 10].into(), 1.0);
        let net = network(golden["name"].as_str().unwrap(), size);
        let (y, parameters) = net.add_to(&mut graph, mode, &[x], None).unwrap();
        for (name, v) in &parameters {
            feeds.push((*v, parameter(name, &graph.info(*v).ty.shape)));
        }
        let mut outputs = vec![("outputs".to_string(), y)];
        if gradients {
            let product = graph.node(Binary::<Mul>::new(), &[y, dy]).unwrap();
            let loss = graph.node(Reduce::all(Reduction::Sum, 2), &[product]).unwrap();
            let trained: Vec<(String, Value)> = parameters.into_iter().filter(|(name, _)| !name.contains("running")).collect();
            let wrt: Vec<Value> = trained.iter().map(|(_, v)| *v).collect();
            let gradients = graph.gradients(loss, &wrt).unwrap();
            outputs.extend(trained.into_iter().map(|(name, _)| name).zip(gradients));
        } else {
            feeds.retain(|(v, _)| *v != dy);
        }
        let kept: Vec<Value> = outputs.iter().map(|(_, v)| *v).collect();
        graph.fuse(&kept);
        Case { graph, feeds, outputs }
    }

    fn values(&self) -> Vec<Value> {
        self.outputs.iter().map(|(_, v)| *v).collect()
    }
}

/// Compares with the golden numbers, each to `tolerance` of its tensor's largest; returns the largest share of it.
fn check(golden: &Json, mode: Mode, names: &[(String, Value)], got: &[Vec<f64>], on: &str, tolerance: f64) -> f64 {
    let network = golden["name"].as_str().unwrap();
    let numbers = |json: &Json| json.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect::<Vec<f64>>();
    let mut worst = 0.0f64;
    let mut compare = |what: &str, got: f64, want: f64, scale: f64| {
        let share = (got - want).abs() / (tolerance * scale);
        assert!(share <= 1.0, "{network} on {on}, {what}: got {got:e}, PyTorch {want:e}, largest {scale:e}");
        worst = worst.max(share);
    };
    let golden = &golden[if mode == Mode::Training { "training" } else { "inference" }];
    let outputs = numbers(&golden["outputs"]);
    assert_eq!(outputs.len(), got[0].len());
    let largest = outputs.iter().fold(0.0f64, |m, v| m.max(v.abs()));
    for (&got, want) in got[0].iter().zip(outputs) {
        compare("outputs", got, want, largest);
    }
    if names.len() > 1 {
        let gradients = golden["gradients"].as_object().unwrap();
        // What comes before a batch norm without an activation between has no gradient by what it adds to all pixels: roundings.
        let all = gradients.values().map(|g| numbers(g)[0]).fold(0.0, f64::max);
        assert_eq!(gradients.len(), names.len() - 1, "{network}");
        for ((name, _), got) in names.iter().zip(got).skip(1) {
            let want = numbers(&gradients[name]);
            let [largest, norm, ref kept @ ..] = want[..] else { panic!("{name}") };
            let got_largest = got.iter().fold(0.0f64, |m, v| m.max(v.abs()));
            if largest < 1e-12 * all {
                compare(name, got_largest, 0.0, all);
                continue;
            }
            compare(name, got_largest, largest, largest);
            compare(name, got.iter().map(|v| v * v).sum::<f64>().sqrt(), norm, norm);
            for (i, &want) in kept.iter().enumerate() {
                compare(name, got[i * got.len() / kept.len()], want, largest);
            }
        }
    }
    worst
}

fn goldens() -> Vec<Json> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/goldens/zoo.json");
    let json: Json = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let all = json.as_array().unwrap().clone();
    assert_eq!(all.len(), 5);
    all
}

#[test]
fn double_precision() {
    for golden in goldens() {
        for mode in [Mode::Inference, Mode::Training] {
            let case = Case::new(&golden, mode, true);
            let plan = Plan::new(case.graph.clone(), &case.values(), None).unwrap();
            let needed = plan.inputs();
            let mut runtime = cpu::Runtime::<f64>::new();
            let mut program = runtime.load(Arc::new(plan));
            let feeds = case.feeds.iter().filter(|(v, _)| needed.contains(v));
            runtime.run(&mut program, feeds.map(|(v, t)| (*v, Buf::from_tensor(t))).collect(), None).unwrap();
            let got: Vec<Vec<f64>> = case.values().iter().map(|&v| runtime.fetch(&program, v).real().to_vec()).collect();
            let share = check(&golden, mode, &case.outputs, &got, "the f64 CPU", 1e-9);
            println!("{}, {mode:?}: {share:.3} of 1e-9", golden["name"]);
        }
    }
}

fn on(device: &Device) {
    for golden in goldens() {
        // Its first dense layer is one tensor here; a model has it in pieces (`large_models.rs`).
        if golden["name"] == "alexnet" && device.profile().is_some_and(|p| p.max_binding_bytes < 4 * 9216 * 4096) {
            println!("{device}: a binding is smaller than a matrix of AlexNet");
            continue;
        }
        for mode in [Mode::Inference, Mode::Training] {
            let case = Case::new(&golden, mode, mode == Mode::Inference && golden["name"] != "mobilenet_v2");
            let feeds: Vec<(Value, &Tensor)> = case.feeds.iter().map(|(v, t)| (*v, t)).collect();
            let got = device.evaluate(case.graph.clone(), &case.values(), &feeds).unwrap();
            let got: Vec<Vec<f64>> = got.iter().map(|t| t.as_f32().unwrap().iter().map(|&v| f64::from(v)).collect()).collect();
            let share = check(&golden, mode, &case.outputs, &got, &device.to_string(), 1e-4);
            println!("{} on {device}, {mode:?}: {share:.3} of 1e-4", golden["name"]);
        }
    }
}

#[test]
fn single_precision() {
    for device in common::devices("the zoo in single precision") {
        on(&device);
    }
}
