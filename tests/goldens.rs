//! Against PyTorch: outputs and gradients of single ops (`tests/goldens/ops.json`), in double precision and on the devices, and of a
//! small residual network (`residual.json`), in double precision.
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
use striate::ops::batch_norm::{BatchNorm, BatchNormInference};
use striate::ops::binary::{self, Add, Binary, Mul};
use striate::ops::conv2d::{Conv2d, Conv2dGradInput};
use striate::ops::gather_rows::GatherRows;
use striate::ops::group_norm::{GroupNorm, Grouping};
use striate::ops::local_response_norm::LocalResponseNorm;
use striate::ops::lp_pool2d::LpPool2d;
use striate::ops::matmul::Matmul;
use striate::ops::max_pool2d::MaxPool2d;
use striate::ops::reduce::{Reduce, Reduction, reduce};
use striate::ops::resample2d::{Corners, Resample2d, Sampling};
use striate::ops::running_update::RunningUpdate;
use striate::ops::slice::{Pad, PadAxis, Slice, SliceRange};
use striate::ops::softmax_cross_entropy::SoftmaxCrossEntropy;
use striate::ops::transpose::Transpose;
use striate::ops::unary::{self, Relu, Unary};
use striate::ops::view::View;
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
    /// Whether a resampling copies elements.
    copies: bool,
}

fn pair(json: &Json) -> [usize; 2] {
    [json[0].as_u64().unwrap() as usize, json[1].as_u64().unwrap() as usize]
}

fn numbers(json: &Json) -> Vec<usize> {
    json.as_array().unwrap().iter().map(|v| v.as_u64().unwrap() as usize).collect()
}

fn sampling(params: &Json) -> Sampling {
    let before = pair(&params["before"]);
    match params["sampling"].as_str().unwrap() {
        "nearest" => Sampling::Nearest(Corners::Asymmetric),
        "nearest-exact" => Sampling::Nearest(Corners::HalfPixel),
        "bilinear" => Sampling::Linear(Corners::HalfPixel),
        "bilinear-align" => Sampling::Linear(Corners::Align),
        "adaptive" => Sampling::Mean,
        "replicate" => Sampling::Edge { before },
        "reflect" => Sampling::Reflect { before },
        other => panic!("{other} has no test"),
    }
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
        let function = json["name"].as_str().unwrap();
        let name = format!("{op}/{function}");
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
            // Inputs without a gradient.
            let mut others = Vec::new();
            let node: Arc<dyn Op> = match op.as_str() {
                "batch_norm" => {
                    for key in ["gamma", "beta"] {
                        wrt.push((key, input(&mut graph, key, array(key).tensor())));
                    }
                    Arc::new(BatchNorm::new(params["epsilon"].as_f64().unwrap(), true))
                }
                "conv2d" => {
                    for key in ["w", "b"] {
                        wrt.push((key, input(&mut graph, key, array(key).tensor())));
                    }
                    Arc::new(Conv2d::new(window(params), params["groups"].as_u64().unwrap() as usize))
                }
                "conv2d_grad_input" => {
                    for key in ["w", "b"] {
                        wrt.push((key, input(&mut graph, key, array(key).tensor())));
                    }
                    let size = Array::read(&json["outputs"]["y"]).shape;
                    Arc::new(Conv2dGradInput::new(window(params), params["groups"].as_u64().unwrap() as usize, size))
                }
                "gather_rows" => {
                    others.push(input(&mut graph, "indices", array("indices").indices()));
                    Arc::new(GatherRows::default())
                }
                "resample2d" => Arc::new(Resample2d { size: pair(&params["size"]), sampling: sampling(params) }),
                "lp_pool2d" => Arc::new(LpPool2d { window: window(params), p: params["p"].as_f64().unwrap() as f32 }),
                "transpose" => Arc::new(Transpose::new(numbers(&params["permutation"]))),
                "pad" => {
                    let sides = numbers(&params["before"]).into_iter().zip(numbers(&params["after"])).enumerate();
                    let axes = sides.map(|(axis, (before, after))| PadAxis::around(axis, before, after)).collect();
                    Arc::new(Pad { axes, value: params["value"].as_f64().unwrap() as f32 })
                }
                "slice" => {
                    let [start, len, step] = ["start", "len", "step"].map(|key| numbers(&params[key]));
                    let range = |axis| SliceRange { axis, start: start[axis], len: len[axis], step: step[axis] as isize };
                    Arc::new(Slice { ranges: (0..start.len()).map(range).collect() })
                }
                "max_pool2d" => Arc::new(MaxPool2d { window: window(params) }),
                "avg_pool2d" => {
                    let count_include_pad = params["count_include_pad"].as_bool().unwrap_or(false);
                    Arc::new(AvgPool2d { window: window(params), count_include_pad })
                }
                "group_norm" => {
                    for key in ["gamma", "beta"] {
                        wrt.push((key, input(&mut graph, key, array(key).tensor())));
                    }
                    let groups = params["groups"].as_u64().unwrap() as usize;
                    let grouping = if groups == 0 { Grouping::layer(4, 1) } else { Grouping::channels(groups) };
                    Arc::new(GroupNorm::new(grouping, params["epsilon"].as_f64().unwrap()))
                }
                "local_response_norm" => {
                    let [alpha, beta, k] = ["alpha", "beta", "k"].map(|key| params[key].as_f64().unwrap());
                    Arc::new(LocalResponseNorm { size: params["size"].as_u64().unwrap() as usize, alpha, beta, k })
                }
                "unary" => unary_op(function),
                "binary" => {
                    wrt.push(("b", input(&mut graph, "b", array("b").tensor())));
                    binary_op(function)
                }
                "reduce" => Arc::new(View::reshape(array("x").shape)),
                other => panic!("{other} has no test"),
            };
            let values: Vec<Value> = wrt.iter().map(|(_, v)| *v).chain(others).collect();
            let mut made = graph.add(node, &values).unwrap();
            if op == "reduce" {
                let axes: Vec<usize> = params["axes"].as_array().unwrap().iter().map(|a| a.as_u64().unwrap() as usize).collect();
                made = vec![reduce(&mut graph, made[0], reduction(function), &axes, false).unwrap()];
            }
            let y = made[0];
            // The gradient of sum(y * dy) by y is dy.
            let dy = input(&mut graph, "dy", dy.tensor());
            let product = graph.node(Binary::<Mul>::new(), &[y, dy]).unwrap();
            let rank = graph.info(y).ty.shape.rank();
            outputs.extend(
                ["y", "mean", "variance", "running_variance"]
                    .into_iter()
                    .zip(made)
                    .filter(|(key, _)| json["outputs"].get(key).is_some()),
            );
            (wrt, graph.node(Reduce::all(Reduction::Sum, rank), &[product]).unwrap())
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
        let copies = params["sampling"].as_str().is_some_and(|mode| !mode.starts_with("bilinear") && mode != "adaptive");
        Case { name, op, graph, feeds, results, scale, copies }
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
    /// of numbers up to twice the largest |x|. A batch norm's bounds are long formulas, to which parity holds it: 1e-4 of the largest.
    fn tolerance(&self, what: &str) -> f64 {
        let [x, dy] = self.scale;
        match (self.op.as_str(), what) {
            ("batch_norm", what) => {
                let (.., want) = self.results.iter().find(|(key, ..)| key == what).unwrap();
                1e-4 * want.largest()
            }
            // Weights of 5 roundings a side, sums of up to 4 by 4; the gradient adds up at most 4 by 4 elements, by shares of at most 1.
            ("resample2d", "y") if !self.copies => gamma(20) * x,
            ("resample2d", _) if !self.copies => gamma(20) * 16.0 * dy,
            // Powers and roots of up to 9 elements, as large as the largest: relative to their sum, a logarithm's 2^-21 and an
            // exponential's 3 units, several times. The gradient's shares are at most 1, of at most 9 windows.
            ("lp_pool2d", "y") => gamma(64) * 9.0 * x,
            ("lp_pool2d", _) => gamma(64) * 9.0 * dy,
            ("avg_pool2d", "y") => gamma(16) * x,
            ("avg_pool2d", _) => gamma(16) * 4.0 * dy,
            // Long formulas too, to whose bounds parity holds them.
            ("unary" | "binary" | "reduce" | "group_norm" | "local_response_norm", what) => {
                let (.., want) = self.results.iter().find(|(key, ..)| key == what).unwrap();
                1e-5 * want.largest()
            }
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

/// The function of a case of "unary".
fn unary_op(name: &str) -> Arc<dyn Op> {
    match name {
        "leaky_relu" => Arc::new(Unary(unary::LeakyRelu { slope: 0.25 })),
        "elu" => Arc::new(Unary(unary::Elu { alpha: 0.75, scale: 1.0 })),
        "selu" => Arc::new(Unary(unary::Elu::selu())),
        "gelu" => Arc::new(Unary(unary::Gelu)),
        "gelu_tanh" => Arc::new(Unary(unary::GeluTanh)),
        "silu" => Arc::new(Unary(unary::Silu)),
        "mish" => Arc::new(Unary(unary::Mish)),
        "softplus" => Arc::new(Unary(unary::Softplus)),
        "softsign" => Arc::new(Unary(unary::Softsign)),
        "hard_sigmoid" => Arc::new(Unary(unary::HardSigmoid::default())),
        "hard_swish" => Arc::new(Unary(unary::HardSwish)),
        "clip" => Arc::new(Unary(unary::Clip { low: -1.5, high: 2.25 })),
        "exp" => Arc::new(Unary(unary::Exp)),
        "abs" => Arc::new(Unary(unary::Abs)),
        "log" => Arc::new(Unary(unary::Log)),
        "sqrt" => Arc::new(Unary(unary::Sqrt)),
        "reciprocal" => Arc::new(Unary(unary::Reciprocal)),
        "pow" => Arc::new(Unary(unary::Pow { exponent: 1.75 })),
        other => panic!("{other} has no test"),
    }
}

/// The function of a case of "binary".
fn binary_op(name: &str) -> Arc<dyn Op> {
    match name {
        "sub" => Arc::new(Binary::<binary::Sub>::new()),
        "mul" => Arc::new(Binary::<binary::Mul>::new()),
        "div" => Arc::new(Binary::<binary::Div>::new()),
        "power" => Arc::new(Binary::<binary::Pow>::new()),
        "min" => Arc::new(Binary::<binary::Min>::new()),
        "max" => Arc::new(Binary::<binary::Max>::new()),
        "prelu" => Arc::new(Binary::<binary::Prelu>::new()),
        other => panic!("{other} has no test"),
    }
}

/// What a case of "reduce" makes.
fn reduction(name: &str) -> Reduction {
    match name {
        "sum" => Reduction::Sum,
        "mean" => Reduction::Mean,
        "max" => Reduction::Max,
        "min" => Reduction::Min,
        "l2" => Reduction::L2,
        other => panic!("{other} has no test"),
    }
}

fn cases() -> Vec<Case> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/goldens/ops.json");
    let json: Json = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let cases: Vec<Case> = json.as_array().unwrap().iter().map(Case::new).collect();
    assert!(cases.len() >= 56);
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

/// A map of the residual network's arrays.
fn arrays(json: &Json) -> Vec<(String, Array)> {
    json.as_object().unwrap().iter().map(|(name, array)| (name.clone(), Array::read(array))).collect()
}

fn assert_close(what: &str, got: &[f64], want: &Array) {
    assert_eq!(got.len(), want.data.len(), "{what}");
    for (i, (&g, &w)) in got.iter().zip(&want.data).enumerate() {
        assert!((g - w).abs() <= 1e-9 * want.largest(), "{what}, element {i}: {g:e}, PyTorch {w:e}");
    }
}

/// The network of `residual.py` on these values of its parameters; `norm` adds a batch norm of this number.
fn residual(
    graph: &mut Graph,
    parameters: &[(String, Value)],
    x: Value,
    mut norm: impl FnMut(&mut Graph, usize, Value) -> Value,
) -> Value {
    let named = |name: &str| parameters.iter().find(|(n, _)| n == name).unwrap().1;
    let mut conv_bn = |graph: &mut Graph, i: usize, stride: usize, kernel: usize, x: Value| {
        let name = if i == 0 { "conv2d/weight".to_string() } else { format!("conv2d_{i}/weight") };
        let window = Window2d { stride: [stride; 2], padding: Padding::all(kernel / 2), ..Window2d::new([kernel; 2]) };
        let y = graph.node(Conv2d::new(window, 1), &[x, named(&name)]).unwrap();
        norm(graph, i, y)
    };
    let relu = |graph: &mut Graph, x: Value| graph.node(Unary::<Relu>::new(), &[x]).unwrap();
    let x = conv_bn(graph, 0, 1, 3, x);
    let x = relu(graph, x);
    let y = conv_bn(graph, 1, 2, 3, x);
    let y = relu(graph, y);
    let y = conv_bn(graph, 2, 1, 3, y);
    let shortcut = conv_bn(graph, 3, 2, 1, x);
    let y = graph.node(Binary::<Add>::new(), &[y, shortcut]).unwrap();
    let y = relu(graph, y);
    let y = graph.node(Reduce { reduction: Reduction::Mean, axes: 1..3 }, &[y]).unwrap();
    graph.node(Matmul::default(), &[y, named("dense/weight"), named("dense/bias")]).unwrap()
}

fn norm_name(i: usize, part: &str) -> String {
    if i == 0 { format!("batch_norm/{part}") } else { format!("batch_norm_{i}/{part}") }
}

fn read_residual() -> Json {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/goldens/residual.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// Runs a plan of the graph in double precision on these inputs and states.
fn run_f64(graph: Graph, outputs: &[Value], feeds: &[(Value, Tensor)], states: &[(String, Tensor)]) -> Vec<Vec<f64>> {
    let plan = Plan::new(graph, outputs, None).unwrap();
    let mut runtime = cpu::Runtime::<f64>::new();
    for (name, tensor) in states {
        runtime.set_state(name, Buf::from_tensor(tensor));
    }
    let mut program = runtime.load(Arc::new(plan));
    let feeds = feeds.iter().map(|(v, t)| (*v, Buf::from_tensor(t))).collect();
    runtime.run(&mut program, feeds, None).unwrap();
    outputs.iter().map(|&v| runtime.fetch(&program, v).real().to_vec()).collect()
}

/// Outputs, loss, gradients by all parameters and running statistics of a step of training.
#[test]
fn a_residual_network_in_training() {
    let json = read_residual();
    let mut graph = Graph::new();
    let (mut feeds, mut parameters, mut states) = (Vec::new(), Vec::new(), Vec::new());
    let input = |graph: &mut Graph, feeds: &mut Vec<(Value, Tensor)>, name: &str, tensor: Tensor| {
        let v = graph.input(name, tensor.tensor_type()).unwrap();
        feeds.push((v, tensor));
        v
    };
    for (name, array) in arrays(&json["parameters"]) {
        let v = if name.contains("running") {
            states.push((name.clone(), array.tensor()));
            graph.state(&name, array.tensor().tensor_type()).unwrap()
        } else {
            input(&mut graph, &mut feeds, &name, array.tensor())
        };
        parameters.push((name, v));
    }
    let x = input(&mut graph, &mut feeds, "x", Array::read(&json["x"]).tensor());
    let labels: Vec<u32> = json["labels"].as_array().unwrap().iter().map(|l| l.as_u64().unwrap() as u32).collect();
    let labels = input(&mut graph, &mut feeds, "labels", Tensor::u32([labels.len()], labels).unwrap());
    let health = input(&mut graph, &mut feeds, "health", Tensor::u32([2], vec![0, 0]).unwrap());
    let named = |name: &str| parameters.iter().find(|(n, _)| n == name).unwrap().1;
    let mut running = Vec::new();
    let y = residual(&mut graph, &parameters, x, |graph, i, x| {
        let inputs = [x, named(&norm_name(i, "gamma")), named(&norm_name(i, "beta"))];
        let made = graph.add(Arc::new(BatchNorm::new(1e-5, true)), &inputs).unwrap();
        for (part, value) in [("running_mean", made[1]), ("running_variance", made[3])] {
            let name = norm_name(i, part);
            let new = graph.node(RunningUpdate { momentum: 0.9 }, &[named(&name), value, health]).unwrap();
            running.push((name, new));
        }
        made[0]
    });
    let losses = graph.node(SoftmaxCrossEntropy { label_smoothing: 0.0 }, &[y, labels]).unwrap();
    let loss = graph.node(Reduce::all(Reduction::Mean, 1), &[losses]).unwrap();
    let gradients = arrays(&json["gradients"]);
    let wrt: Vec<Value> = gradients.iter().map(|(name, _)| named(name)).collect();
    let dw = graph.gradients(loss, &wrt).unwrap();
    let outputs: Vec<Value> = [y, loss].into_iter().chain(dw).chain(running.iter().map(|r| r.1)).collect();
    for fuse in [false, true] {
        let mut graph = graph.clone();
        let n_nodes = graph.nodes().len();
        if fuse {
            graph.fuse(&outputs);
            // Three ReLUs and the sum go into batch norms.
            assert_eq!(graph.nodes().len(), n_nodes - 4);
        }
        let got = run_f64(graph, &outputs, &feeds, &states);
        assert_close("outputs", &got[0], &Array::read(&json["outputs"]));
        assert!((got[1][0] - json["loss"].as_f64().unwrap()).abs() < 1e-12);
        for ((name, want), got) in gradients.iter().zip(&got[2..]) {
            assert_close(name, got, want);
        }
        let after = arrays(&json["after"]);
        for ((name, _), got) in running.iter().zip(&got[2 + gradients.len()..]) {
            assert_close(name, got, &after.iter().find(|(n, _)| n == name).unwrap().1);
        }
    }
}

/// Outputs in inference, with batch norms as nodes of their own and taken into the weights.
#[test]
fn a_residual_network_in_inference() {
    let json = read_residual();
    let mut graph = Graph::new();
    let (mut parameters, mut values) = (Vec::new(), Vec::new());
    for (name, array) in arrays(&json["after"]) {
        parameters.push((name.clone(), graph.input(&name, TensorType::f32(array.shape.clone())).unwrap()));
        values.push(Buf::Real(array.data));
    }
    let images = Array::read(&json["x"]);
    let x = graph.input("x", TensorType::f32(images.shape)).unwrap();
    let named = |name: &str| parameters.iter().find(|(n, _)| n == name).unwrap().1;
    let y = residual(&mut graph, &parameters, x, |graph, i, x| {
        let of_channels = ["running_mean", "running_variance", "gamma", "beta"].map(|part| named(&norm_name(i, part)));
        graph.node(BatchNormInference::new(1e-5), &[&[x][..], &of_channels].concat()).unwrap()
    });
    for fuse in [false, true] {
        let mut graph = graph.clone();
        if fuse {
            graph.fuse(&[y]);
            let ops: Vec<&str> = graph.nodes().iter().map(|n| n.op.name()).collect();
            let want =
                "batch_norm_fold conv2d batch_norm_fold conv2d batch_norm_fold conv2d batch_norm_fold conv2d reduce matmul";
            assert_eq!(ops.join(" "), want);
        }
        let mut runtime = cpu::Runtime::<f64>::new();
        let mut program = runtime.load(Arc::new(Plan::new(graph, &[y], None).unwrap()));
        let of_parameters = parameters.iter().map(|p| p.1).zip(values.iter().cloned());
        let feeds = of_parameters.chain([(x, Buf::Real(images.data.clone()))]).collect();
        runtime.run(&mut program, feeds, None).unwrap();
        assert_close("outputs", runtime.fetch(&program, y).real(), &Array::read(&json["inference"]));
    }
}
