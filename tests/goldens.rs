//! Single ops against PyTorch: outputs and gradients of `tests/goldens/ops.json`, in double precision, and on the devices.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // Tests may stop at what they don't expect.

mod common;

use serde_json::Value as Json;
use std::sync::Arc;
use striate::Tensor;
use striate::cpu;
use striate::device::Device;
use striate::graph::{Graph, Plan};
use striate::op::{Buf, NodeBuilder, Op, UNIT, Value, gamma};
use striate::ops::avg_pool2d::AvgPool2d;
use striate::ops::binary::{Binary, Mul};
use striate::ops::conv2d::Conv2d;
use striate::ops::max_pool2d::MaxPool2d;
use striate::ops::reduce::{Reduce, Reduction};
use striate::ops::softmax_cross_entropy::SoftmaxCrossEntropy;
use striate::tensor::{Padding, Shape, TensorType, Window2d};

/// An array of the file.
struct Array {
    shape: Shape,
    data: Vec<f64>,
}

impl Array {
    fn read(json: &Json) -> Array {
        let shape: Vec<usize> = json["shape"].as_array().unwrap().iter().map(|d| d.as_u64().unwrap() as usize).collect();
        let data: Vec<f64> = json["data"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect();
        assert_eq!(Shape::from(shape.clone()).elements(), data.len());
        Array { shape: shape.into(), data }
    }

    /// As a device takes it: numbers of the file are exact in f32.
    fn tensor(&self) -> Tensor {
        let data: Vec<f32> = self.data.iter().map(|&v| v as f32).collect();
        assert!(data.iter().zip(&self.data).all(|(&f, &d)| f64::from(f) == d));
        Tensor::f32(self.shape.clone(), data).unwrap()
    }

    fn indices(&self) -> Tensor {
        Tensor::u32(self.shape.clone(), self.data.iter().map(|&v| v as u32).collect()).unwrap()
    }

    fn largest(&self) -> f64 {
        self.data.iter().fold(0.0, |m: f64, v| m.max(v.abs()))
    }
}

/// A case as a graph, with the values to look at and what PyTorch has for each.
struct Case {
    name: String,
    op: String,
    graph: Graph,
    feeds: Vec<(Value, Tensor)>,
    results: Vec<(String, Value, Array)>,
    /// Largest `|x|` and `|dy|`.
    scale: [f64; 2],
}

fn pair(json: &Json) -> [usize; 2] {
    [json[0].as_u64().unwrap() as usize, json[1].as_u64().unwrap() as usize]
}

fn window(params: &Json) -> Window2d {
    let side = |name: &str| params["padding"][name].as_u64().unwrap() as usize;
    let padding = Padding::Explicit { top: side("top"), bottom: side("bottom"), left: side("left"), right: side("right") };
    let dilation = if params["dilation"].is_array() { pair(&params["dilation"]) } else { [1, 1] };
    let ceil = params["ceil"].as_bool().unwrap_or(false);
    Window2d { kernel: pair(&params["kernel"]), stride: pair(&params["stride"]), dilation, padding, ceil }
}

impl Case {
    fn new(json: &Json) -> Case {
        let op = json["op"].as_str().unwrap().to_string();
        let name = format!("{op}/{}", json["name"].as_str().unwrap());
        let params = &json["params"];
        let mut graph = Graph::new();
        let mut feeds = Vec::new();
        let mut input = |graph: &mut Graph, key: &str, tensor: Tensor| {
            let v = graph.input(key, tensor.tensor_type()).unwrap();
            feeds.push((v, tensor));
            v
        };
        let array = |key: &str| Array::read(&json["inputs"][key]);
        let dy = Array::read(&json["dy"]);
        let scale = [array("x").largest(), dy.largest()];
        let x = input(&mut graph, "x", array("x").tensor());
        let mut outputs = Vec::new();
        let (wrt, loss) = if op == "softmax_cross_entropy" {
            let soft = params["labels"].as_str() == Some("probabilities");
            let labels = if soft { array("labels").tensor() } else { array("labels").indices() };
            let labels = input(&mut graph, "labels", labels);
            let label_smoothing = params["label_smoothing"].as_f64().unwrap() as f32;
            let losses = graph.node(SoftmaxCrossEntropy { label_smoothing }, &[x, labels]).unwrap();
            let loss = graph.node(Reduce::all(Reduction::Mean, 1), &[losses]).unwrap();
            assert_eq!(dy.data, [1.0]);
            outputs.extend([("loss", loss), ("losses", losses)]);
            (vec![("x", x)], loss)
        } else {
            let mut wrt = vec![("x", x)];
            let node: Arc<dyn Op> = match op.as_str() {
                "conv2d" => {
                    for key in ["w", "b"] {
                        wrt.push((key, input(&mut graph, key, array(key).tensor())));
                    }
                    Arc::new(Conv2d::new(window(params), params["groups"].as_u64().unwrap() as usize))
                }
                "max_pool2d" => Arc::new(MaxPool2d { window: window(params) }),
                "avg_pool2d" => Arc::new(AvgPool2d { window: window(params), count_include_pad: false }),
                other => panic!("{other} has no test"),
            };
            let values: Vec<Value> = wrt.iter().map(|(_, v)| *v).collect();
            let y = graph.add(node, &values).unwrap()[0];
            // The gradient of sum(y * dy) by y is dy.
            let dy = input(&mut graph, "dy", dy.tensor());
            let product = graph.node(Binary::<Mul>::new(), &[y, dy]).unwrap();
            outputs.push(("y", y));
            (wrt, graph.node(Reduce::all(Reduction::Sum, 4), &[product]).unwrap())
        };
        let sources: Vec<Value> = wrt.iter().map(|(_, v)| *v).collect();
        let gradients = graph.gradients(loss, &sources).unwrap();
        let mut results = Vec::new();
        for (key, v) in outputs {
            results.push((key.to_string(), v, Array::read(&json["outputs"][key])));
        }
        for ((key, _), v) in wrt.iter().zip(gradients) {
            results.push((format!("gradient by {key}"), v, Array::read(&json["gradients"][key])));
        }
        assert_eq!(
            json["outputs"].as_object().unwrap().len() + json["gradients"].as_object().unwrap().len(),
            results.len(),
            "{name}"
        );
        for (key, v, want) in &results {
            let ty = TensorType::f32(want.shape.clone());
            assert_eq!(graph.info(*v).ty, ty, "{name}, {key}");
        }
        Case { name, op, graph, feeds, results, scale }
    }

    fn values(&self) -> Vec<Value> {
        self.results.iter().map(|(_, v, _)| *v).collect()
    }

    /// By how much an element of a device's result may differ.
    ///
    /// Inputs of convolutions and max-pools are multiples of 1/4 or 1/16: all sums are exact. An average of up to 9 elements has 8
    /// additions and a division (2.5 ULP), of the largest |x|; its gradient adds up at most 4 of the largest |dy|, each divided. For
    /// cross-entropy: exp is off by (3 + 2 |d|) ULP, of a value that is at most exp(-|d|), so 4 ULP of the sum of up to 7; the
    /// sum's, the logarithm's and the division's roundings come to 16 at most, and products with the targets add 8. Losses are sums
    /// of numbers up to twice the largest |x|.
    fn tolerance(&self, what: &str) -> f64 {
        let [x, dy] = self.scale;
        match (self.op.as_str(), what) {
            ("avg_pool2d", "y") => gamma(16) * x,
            ("avg_pool2d", _) => gamma(16) * 4.0 * dy,
            ("softmax_cross_entropy", "gradient by x") => 32.0 * UNIT,
            ("softmax_cross_entropy", _) => 32.0 * UNIT * (1.0 + 2.0 * x),
            _ => 0.0,
        }
    }

    fn check(&self, on: &str, got: &[Vec<f64>], tolerance: impl Fn(&str, f64) -> f64) {
        assert_eq!(got.len(), self.results.len());
        for (got, (what, _, want)) in got.iter().zip(&self.results) {
            assert_eq!(got.len(), want.data.len(), "{}, {what}, {on}", self.name);
            for (i, (&g, &w)) in got.iter().zip(&want.data).enumerate() {
                let close = (g - w).abs() <= tolerance(what, w);
                assert!(close, "{}, {what}, element {i}: {on} has {g:e}, PyTorch {w:e}", self.name);
            }
        }
    }
}

fn cases() -> Vec<Case> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/goldens/ops.json");
    let json: Json = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let cases: Vec<Case> = json.as_array().unwrap().iter().map(Case::new).collect();
    assert!(cases.len() >= 19);
    cases
}

#[test]
fn double_precision() {
    for case in cases() {
        let plan = Plan::new(case.graph.clone(), &case.values(), None).unwrap();
        let mut runtime = cpu::Runtime::<f64>::new();
        let mut program = runtime.load(Arc::new(plan));
        let feeds = case.feeds.iter().map(|(v, t)| (*v, Buf::from_tensor(t))).collect();
        runtime.run(&mut program, feeds, None).unwrap();
        let got: Vec<Vec<f64>> = case.values().iter().map(|&v| runtime.fetch(&program, v).real().to_vec()).collect();
        // The file has 13 digits. A label smoothing of 0.1 is an f32 here and a double there, 1.5e-9 apart.
        let smoothing = if case.name.contains("smoothing") { 2e-8 } else { 0.0 };
        case.check("the f64 CPU", &got, |_, want| 1e-11 * want.abs() + 1e-13 + smoothing);
    }
}

fn on(device: &Device) {
    for case in cases() {
        let feeds: Vec<(Value, &Tensor)> = case.feeds.iter().map(|(v, t)| (*v, t)).collect();
        let got = device.evaluate(case.graph.clone(), &case.values(), &feeds).unwrap();
        let got: Vec<Vec<f64>> = got.iter().map(|t| t.as_f32().unwrap().iter().map(|&v| f64::from(v)).collect()).collect();
        case.check(&device.to_string(), &got, |what, _| case.tolerance(what));
    }
}

#[test]
fn single_precision() {
    for device in common::devices("single_precision") {
        on(&device);
    }
}
