//! Networks of the zoo against PyTorch's with the same weights (`tests/goldens/zoo.json`): outputs and gradients by all parameters. In
//! double precision, in training and with running statistics, to 1e-9 of each tensor's largest value; on the devices, to 1e-4.
//!
//! The gradients of training aren't compared on the devices: where a ReLU's input is within a rounding of 0, its gradient is there or not, and
//! statistics of a few pixels make roundings so large that PyTorch's own in f32 and f64 differ by 0.1 of a tensor's largest. Images and
//! weights for running statistics are chosen so that nothing is within a rounding of a corner.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // Tests may stop at what they don't expect.

mod common;

use common::golden::{Case, as_f64, check, gradients, numbers, parameter, read};
use serde_json::Value as Json;
use striate::data::Dataset;
use striate::device::Device;
use striate::graph::Graph;
use striate::nn::{Mode, Net};
use striate::op::Value;
use striate::ops::binary::{Binary, Mul};
use striate::ops::reduce::{Reduce, Reduction};
use striate::tensor::Tensor;
use striate::train::{Fit, Loss, LossInputs, Progress, Sgd, Target};
use striate::{Result, Seed, zoo};

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

/// A golden network: its stream, and for one of the modes the images and what PyTorch has.
struct Golden<'a> {
    name: &'a str,
    stream: u32,
    mode: Mode,
    net: Net,
    images: Tensor,
    want: &'a Json,
}

impl<'a> Golden<'a> {
    fn new(json: &'a Json, mode: Mode) -> Golden<'a> {
        let name = json["name"].as_str().unwrap();
        let stream = json["stream"].as_u64().unwrap() as u32;
        let want = &json[if mode == Mode::Training { "training" } else { "inference" }];
        let [batch, size] = ["batch", "size"].map(|key| want[key].as_u64().unwrap() as usize);
        let shape = [batch, size, size, 3];
        let images = numbers(stream, "images", &shape.into()).into_iter().map(|v| 2.0 * v).collect();
        Golden { name, stream, mode, net: network(name, size), images: Tensor::f32(shape, images).unwrap(), want }
    }

    fn case(&self, wrt: &[String]) -> Case {
        Case::new(&self.net, self.mode, self.stream, &[("images".to_string(), self.images.clone())], wrt)
    }

    fn check(&self, on: &str, wrt: &[String], got: &[Vec<f64>], tolerance: f64) {
        let what = format!("{} on {on}, {:?}", self.name, self.mode);
        let share = check(&what, self.want, wrt, got, tolerance);
        println!("{what}: {share:.3} of {tolerance:e}");
    }
}

fn goldens() -> Vec<Json> {
    let all = read("zoo.json");
    assert_eq!(all.len(), 5);
    all
}

#[test]
fn double_precision() {
    for json in goldens() {
        for mode in [Mode::Inference, Mode::Training] {
            let golden = Golden::new(&json, mode);
            let wrt = gradients(golden.want);
            golden.check("the f64 CPU", &wrt, &golden.case(&wrt).run_f64(), 1e-9);
        }
    }
}

/// The sum of outputs times a sample's numbers.
#[derive(Debug)]
struct Product;

impl Loss for Product {
    fn target(&self) -> Target {
        Target::Values
    }

    fn takes_logits(&self) -> bool {
        false
    }

    fn add(&self, graph: &mut Graph, inputs: &LossInputs) -> Result<Value> {
        let product = graph.node(Binary::<Mul>::new(), &[inputs.outputs, inputs.target])?;
        graph.node(Reduce { reduction: Reduction::Sum, axes: 1..2 }, &[product])
    }
}

/// Outputs and gradients by way of a model, whose parameters may be larger than a binding: the gradients are what a step of SGD takes off.
fn by_model(golden: &Golden<'_>, wrt: &[String], device: &Device) -> Vec<Vec<f64>> {
    // So large that next to it the parameters themselves are less than a rounding.
    let rate = 2f64.powi(30);
    let mut model = golden.net.build(device, Seed(1)).unwrap();
    let value = |(name, shape): (String, _)| (name.clone(), parameter(golden.stream, &name, &shape));
    let before: Vec<(String, Tensor)> = model.weight_shapes().into_iter().map(value).collect();
    model.set_weights(&before).unwrap();
    let mut results = vec![as_f64(&model.predict(&golden.images).unwrap())];
    let [n, classes] = [golden.images.shape().dims()[0], model.output_shape().last()];
    assert_eq!(n, 1, "a loss is the mean over the batch");
    let dy = Tensor::f32([n, classes], numbers(golden.stream, "dy", &[n, classes].into())).unwrap();
    let data = Dataset::with_values(golden.images.clone(), dy).unwrap();
    let fit = Fit::epochs(1).batch(n).optimizer(Sgd::new(rate)).loss(Product).progress(Progress::Silent);
    model.fit(&data, fit).unwrap();
    let after = model.weights().unwrap();
    for name in wrt {
        let of = |weights: &[(String, Tensor)]| as_f64(&weights.iter().find(|(n, _)| n == name).unwrap().1);
        results.push(of(&before).iter().zip(of(&after)).map(|(b, a)| (b - a) / rate).collect());
    }
    results
}

#[test]
fn single_precision() {
    for device in common::devices("the zoo in single precision") {
        for json in goldens() {
            let golden = Golden::new(&json, Mode::Inference);
            let wrt = gradients(golden.want);
            // WebGPU's default limits don't let its first dense layer be one tensor. It has no batch norm, so training is inference.
            if golden.name == "alexnet" {
                golden.check(&device.to_string(), &wrt, &by_model(&golden, &wrt, &device), 1e-4);
                continue;
            }
            golden.check(&device.to_string(), &wrt, &golden.case(&wrt).run_on(&device), 1e-4);
            let golden = Golden::new(&json, Mode::Training);
            golden.check(&device.to_string(), &[], &golden.case(&[]).run_on(&device), 1e-4);
        }
    }
}
