//! Networks on numbers that PyTorch had too (`tests/goldens/recipe.py`), and the comparison with what it made of them.

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
use striate::tensor::{Shape, Tensor};

/// `numbers` of `recipe.py`.
pub fn numbers(stream: u32, name: &str, shape: &Shape) -> Vec<f32> {
    let key = name.bytes().fold(2_166_136_261u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(16_777_619));
    let number = |i: usize| (pcg4d([i as u32, key, stream, 0])[0] >> 20) as f32 / 2048.0 - 1.0;
    (0..shape.elements()).map(number).collect()
}

/// `parameter` of `recipe.py`.
pub fn parameter(stream: u32, name: &str, shape: &Shape) -> Tensor {
    let mut values = numbers(stream, name, shape);
    let dims = shape.dims();
    let (factor, offset) = match name.rsplit_once('/').unwrap().1 {
        "weight" => {
            let fan_in: usize = dims[..dims.len() - 1].iter().product();
            (((6.0 / fan_in as f64).log2() / 2.0 + 0.5).floor().exp2() as f32, 0.0)
        }
        "gamma" => (0.25, 0.75),
        "running_variance" => (0.5, 1.0),
        _ => (0.25, 0.0),
    };
    values.iter_mut().for_each(|v| *v = *v * factor + offset);
    Tensor::f32(shape.clone(), values).unwrap()
}

/// The file of this name in `tests/goldens`, an array.
pub fn read(file: &str) -> Vec<Json> {
    let path = format!("{}/tests/goldens/{file}", env!("CARGO_MANIFEST_DIR"));
    let json: Json = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    json.as_array().unwrap().clone()
}

/// What the gradients of a golden result are by.
pub fn gradients(golden: &Json) -> Vec<String> {
    golden["gradients"].as_object().unwrap().keys().cloned().collect()
}

/// A graph with what to feed it and what to look at: the outputs, and the gradients of the sum of outputs times numbers.
pub struct Case {
    graph: Graph,
    feeds: Vec<(Value, Tensor)>,
    outputs: Vec<Value>,
}

impl Case {
    /// A network on inputs, whose names are those in the golden result, and gradients by `wrt`, inputs and parameters.
    pub fn new(net: &Net, mode: Mode, stream: u32, inputs: &[(String, Tensor)], wrt: &[String]) -> Case {
        let mut graph = Graph::new();
        let mut feeds = Vec::new();
        let mut named = Vec::new();
        for (name, tensor) in inputs {
            let v = graph.input(name, tensor.tensor_type()).unwrap();
            feeds.push((v, tensor.clone()));
            named.push((name.clone(), v));
        }
        let x: Vec<Value> = named.iter().map(|(_, v)| *v).collect();
        let (y, parameters) = net.add_to(&mut graph, mode, &x, None).unwrap();
        for (name, v) in &parameters {
            feeds.push((*v, parameter(stream, name, &graph.info(*v).ty.shape)));
        }
        // PyTorch's layers have no parameter that isn't among ours, nor we one of which it has no gradient.
        let trained = parameters.iter().filter(|(name, _)| !name.contains("/running"));
        assert!(wrt.is_empty() || trained.clone().all(|(name, _)| wrt.contains(name)), "{parameters:?}, {wrt:?}");
        named.extend(parameters);
        let mut outputs = vec![y];
        if !wrt.is_empty() {
            let ty = graph.info(y).ty.clone();
            let dy = graph.input("dy", ty.clone()).unwrap();
            feeds.push((dy, Tensor::f32(ty.shape.clone(), numbers(stream, "dy", &ty.shape)).unwrap()));
            let product = graph.node(Binary::<Mul>::new(), &[y, dy]).unwrap();
            let loss = graph.node(Reduce::all(Reduction::Sum, ty.shape.rank()), &[product]).unwrap();
            let by = |name: &String| named.iter().find(|(n, _)| n == name).unwrap_or_else(|| panic!("no {name}")).1;
            outputs.extend(graph.gradients(loss, &wrt.iter().map(by).collect::<Vec<_>>()).unwrap());
        }
        graph.fuse(&outputs);
        Case { graph, feeds, outputs }
    }

    /// The outputs and gradients in double precision.
    pub fn run_f64(&self) -> Vec<Vec<f64>> {
        let plan = Plan::new(self.graph.clone(), &self.outputs, None).unwrap();
        let needed = plan.inputs();
        let mut runtime = cpu::Runtime::<f64>::new();
        let mut program = runtime.load(Arc::new(plan));
        let feeds = self.feeds.iter().filter(|(v, _)| needed.contains(v));
        runtime.run(&mut program, feeds.map(|(v, t)| (*v, Buf::from_tensor(t))).collect(), None).unwrap();
        self.outputs.iter().map(|&v| runtime.fetch(&program, v).real().to_vec()).collect()
    }

    /// The outputs and gradients on a device.
    pub fn run_on(&self, device: &Device) -> Vec<Vec<f64>> {
        let feeds: Vec<(Value, &Tensor)> = self.feeds.iter().map(|(v, t)| (*v, t)).collect();
        device.evaluate(self.graph.clone(), &self.outputs, &feeds).unwrap().iter().map(as_f64).collect()
    }
}

/// The numbers of a tensor.
pub fn as_f64(tensor: &Tensor) -> Vec<f64> {
    tensor.as_f32().unwrap().iter().map(|&v| f64::from(v)).collect()
}

/// Compares outputs, and gradients by `wrt`, with a golden result, each to `tolerance` of its tensor's largest; returns the largest share of
/// it.
pub fn check(what: &str, golden: &Json, wrt: &[String], got: &[Vec<f64>], tolerance: f64) -> f64 {
    let record = |json: &Json| json.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect::<Vec<f64>>();
    let mut worst = 0.0f64;
    let mut compare = |name: &str, got: f64, want: f64, scale: f64| {
        let share = (got - want).abs() / (tolerance * scale);
        assert!(share <= 1.0, "{what}, {name}: got {got:e}, PyTorch {want:e}, largest {scale:e}");
        worst = worst.max(share);
    };
    // What comes before a batch norm without an activation between has no gradient by what it adds to all pixels: roundings.
    let all = golden["gradients"].as_object().unwrap().values().map(|g| record(g)[0]).fold(0.0, f64::max);
    assert_eq!(got.len(), wrt.len() + 1, "{what}");
    let outputs = [("outputs".to_string(), &golden["outputs"])];
    let gradients = wrt.iter().map(|name| (format!("gradient by {name}"), &golden["gradients"][name]));
    for ((name, want), got) in outputs.into_iter().chain(gradients).zip(got) {
        let want = record(want);
        let [largest, norm, ref kept @ ..] = want[..] else { panic!("{name}") };
        let got_largest = got.iter().fold(0.0f64, |m, v| m.max(v.abs()));
        if largest < 1e-12 * all {
            compare(&name, got_largest, 0.0, all);
            continue;
        }
        compare(&name, got_largest, largest, largest);
        compare(&name, got.iter().map(|v| v * v).sum::<f64>().sqrt(), norm, norm);
        for (i, &want) in kept.iter().enumerate() {
            compare(&name, got[i * got.len() / kept.len()], want, largest);
        }
    }
    worst
}
