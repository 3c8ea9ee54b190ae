//! Are gradients right? Central differences in f64 of whole graphs: each op in the middle of one, with smooth functions before and
//! after it; inputs used twice; a small network by all its parameters; before and after fusion. Everything goes through
//! `Graph::gradients`, the planner and the CPU runtime.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // Tests may stop at what they don't expect.

mod common;

use common::{PARAMETERS, batch, net, parameters, types};
use std::sync::Arc;
use striate::cpu::{Program, Runtime};
use striate::graph::{Graph, Plan};
use striate::op::{Buf, Case, NodeBuilder, Value, sample};
use striate::ops;
use striate::ops::binary::{Add, Binary, Mul};
use striate::ops::conv2d::Conv2d;
use striate::ops::scale::Scale;
use striate::ops::unary::{Gelu, Unary};
use striate::tensor::{TensorType, Window2d};

/// Relative to the slope, or to the largest slope by the same tensor where that is small.
const RTOL: f64 = 1e-6;

/// What the elementwise op before the one under test multiplies by; feeds are divided by it.
const BEFORE: f64 = 1.25;

/// A graph with a loss and its gradients, planned and loaded in double precision.
struct Checked {
    runtime: Runtime<f64>,
    program: Program<f64>,
    feeds: Vec<(Value, Buf<f64>)>,
    loss: Value,
}

impl Checked {
    fn new(graph: Graph, feeds: Vec<(Value, Buf<f64>)>, loss: Value, gradients: &[Value]) -> Checked {
        let mut outputs = vec![loss];
        outputs.extend(gradients);
        let plan = Plan::new(graph, &outputs, None).unwrap();
        // What the loss doesn't depend on is no input of the plan, and needs no feed.
        let needed = plan.inputs();
        let feeds = feeds.into_iter().filter(|(v, _)| needed.contains(v)).collect();
        let mut runtime = Runtime::new();
        let program = runtime.load(Arc::new(plan));
        Checked { runtime, program, feeds, loss }
    }

    /// Runs, and returns the sum of the loss's elements.
    fn run(&mut self) -> f64 {
        self.runtime.run(&mut self.program, self.feeds.clone(), None).unwrap();
        self.fetch(self.loss).iter().sum()
    }

    fn fetch(&self, v: Value) -> Vec<f64> {
        self.runtime.fetch(&self.program, v).real().to_vec()
    }

    /// The loss with element `at` of a fed input moved by `by`.
    fn moved(&mut self, input: Value, at: usize, by: f64) -> f64 {
        let shift = |c: &mut Checked, by: f64| {
            for (v, data) in &mut c.feeds {
                if let (true, Buf::Real(data)) = (*v == input, data) {
                    data[at] += by;
                }
            }
        };
        let before = self.feeds.clone();
        shift(self, by);
        let loss = self.run();
        self.feeds = before;
        loss
    }

    /// Compares the gradient by `input` with central differences at up to `n` of its elements.
    fn check(&mut self, id: &str, input: Value, gradient: &[f64], n: usize) {
        let largest = gradient.iter().fold(0.0f64, |m, x| m.max(x.abs()));
        for at in (0..gradient.len()).step_by(gradient.len().div_ceil(n)) {
            // Of fourth order: a sharp function's third derivative mustn't count.
            let h = 5e-5;
            let mut apart = |h: f64| self.moved(input, at, h) - self.moved(input, at, -h);
            let slope = (8.0 * apart(h) - apart(2.0 * h)) / (12.0 * h);
            let scale = slope.abs().max(0.1 * largest).max(1e-3);
            // False for a NaN too.
            let close = (slope - gradient[at]).abs() <= RTOL * scale;
            assert!(close, "{id}, element {at}: {}, central difference {slope}, largest {largest}", gradient[at]);
        }
    }
}

/// `y * (0.5 y + c)` with a fixed random `c`: its slope differs from element to element and depends on `y`.
fn smooth(g: &mut Graph, y: Value, seed: u64, feeds: &mut Vec<(Value, Buf<f64>)>) -> Value {
    let ty = g.type_of(y).clone();
    let c = g.input("c", ty.clone()).unwrap();
    feeds.push((c, Buf::from_tensor(&sample::normal(seed, ty.shape))));
    let half = g.node(Scale { factor: 0.5 }, &[y]).unwrap();
    let factor = g.node(Binary::<Add>::new(), &[half, c]).unwrap();
    g.node(Binary::<Mul>::new(), &[y, factor]).unwrap()
}

/// The op between `Scale` and [`smooth`]. The loss keeps its shape; autodiff and [`Checked::run`] take the sum.
fn check_case(id: &str, case: &Case, twice: bool) {
    let mut g = Graph::new();
    let mut feeds = Vec::new();
    let mut inputs = Vec::new();
    let mut leaves = Vec::new();
    for (i, ty) in types(case).into_iter().enumerate() {
        let x = g.input(&format!("x{i}"), ty).unwrap();
        let mut data = Buf::from_tensor(&case.inputs[i]);
        if case.differentiable.contains(&i) {
            if let Buf::Real(v) = &mut data {
                v.iter_mut().for_each(|x| *x /= BEFORE);
            }
            inputs.push(g.node(Scale { factor: BEFORE as f32 }, &[x]).unwrap());
            leaves.push((i, x));
        } else {
            inputs.push(x);
        }
        feeds.push((x, data));
    }
    let apply = |g: &mut Graph, seed: u64, feeds: &mut Vec<(Value, Buf<f64>)>| {
        let y = g.add(case.op.clone(), &inputs).unwrap()[0];
        smooth(g, y, seed, feeds)
    };
    let mut loss = apply(&mut g, 100, &mut feeds);
    if twice {
        // Another node of the same op on the same inputs, so that each gets two gradients to add.
        let other = apply(&mut g, 200, &mut feeds);
        loss = g.node(Binary::<Add>::new(), &[loss, other]).unwrap();
    }
    let wrt: Vec<Value> = leaves.iter().map(|&(_, x)| x).collect();
    let gradients = g.gradients(loss, &wrt).unwrap_or_else(|e| panic!("{id}: {e}"));
    let mut checked = Checked::new(g, feeds, loss, &gradients);
    checked.run();
    let gradients: Vec<Vec<f64>> = gradients.iter().map(|&v| checked.fetch(v)).collect();
    for (&(i, x), gradient) in leaves.iter().zip(&gradients) {
        assert_eq!(gradient.len(), case.inputs[i].shape().elements());
        checked.check(&format!("{id}, input {i}"), x, gradient, if twice { 6 } else { 16 });
    }
}

fn each_case(twice: bool) {
    for d in ops::all().filter(|d| d.no_gradient.is_none()) {
        let mut n_checked = 0;
        for case in (d.cases)().iter().filter(|c| !c.differentiable.is_empty()) {
            check_case(&format!("{}/{}", d.name, case.name), case, twice);
            n_checked += case.differentiable.len();
        }
        let no_inputs = (d.cases)().iter().all(|c| c.inputs.is_empty());
        assert!(n_checked > 0 || no_inputs, "{}: no case is differentiable", d.name);
    }
}

#[test]
fn every_op_in_the_middle_of_a_graph() {
    each_case(false);
}

#[test]
fn every_input_used_twice() {
    each_case(true);
}

/// The network of `common`, with parameters fed so that they can be moved in double precision.
struct Network {
    graph: Graph,
    loss: Value,
    parameters: Vec<Value>,
    feeds: Vec<(Value, Buf<f64>)>,
}

fn network() -> Network {
    let mut g = Graph::new();
    let n = 3;
    let inputs: Vec<Value> =
        PARAMETERS.iter().enumerate().map(|(i, s)| g.input(&format!("p{i}"), TensorType::f32(*s)).unwrap()).collect();
    let net = net(&mut g, n, &inputs).unwrap();
    let (x, labels) = batch(n);
    let mut feeds: Vec<(Value, Buf<f64>)> = vec![(net.x, Buf::from_tensor(&x)), (net.labels, Buf::from_tensor(&labels))];
    feeds.extend(inputs.iter().zip(&parameters()).map(|(&v, t)| (v, Buf::from_tensor(t))));
    Network { graph: g, loss: net.loss, parameters: inputs, feeds }
}

#[test]
fn a_network_by_all_its_parameters() {
    let Network { mut graph, loss, parameters, feeds } = network();
    let gradients = graph.gradients(loss, &parameters).unwrap();
    let mut checked = Checked::new(graph, feeds, loss, &gradients);
    checked.run();
    let gradients: Vec<Vec<f64>> = gradients.iter().map(|&v| checked.fetch(v)).collect();
    for (i, (&p, gradient)) in parameters.iter().zip(&gradients).enumerate() {
        assert!(gradient.iter().any(|x| x.abs() > 1e-4), "parameter {i} has no gradient to speak of");
        checked.check(&format!("parameter {i}"), p, gradient, 40);
    }
}

#[test]
fn fusion_changes_no_gradient() {
    let Network { mut graph, loss, parameters, feeds } = network();
    let gradients = graph.gradients(loss, &parameters).unwrap();
    let mut fused = graph.clone();
    let keep: Vec<Value> = gradients.iter().copied().chain([loss]).collect();
    fused.fuse(&keep);
    assert_eq!(graph.nodes().len() - fused.nodes().len(), 2, "ReLU and tanh go into their convolutions");
    let mut plain = Checked::new(graph, feeds.clone(), loss, &gradients);
    let mut fused = Checked::new(fused, feeds, loss, &gradients);
    assert_eq!(plain.run(), fused.run());
    for &v in &gradients {
        assert_eq!(plain.fetch(v), fused.fetch(v));
    }
}

/// A convolution takes an activation whose gradient reads its input in inference alone, and no sum with what is repeated.
#[test]
fn what_a_gradient_reads_is_not_fused_away() {
    let mut g = Graph::new();
    let x = g.input("x", TensorType::f32([2, 5, 5, 3])).unwrap();
    let w = g.input("w", TensorType::f32([3, 3, 3, 4])).unwrap();
    let shift = g.input("shift", TensorType::f32([4])).unwrap();
    let conv = |g: &mut Graph| g.node(Conv2d::new(Window2d::new([3, 3]), 1), &[x, w]).unwrap();
    for (training, fused) in [(false, 1), (true, 0)] {
        let mut g = g.clone();
        let y = conv(&mut g);
        let y = g.node(Unary(Gelu), &[y]).unwrap();
        let gradient = if training { g.gradients(y, &[w]).unwrap() } else { Vec::new() };
        let n_nodes = g.nodes().len();
        g.fuse(&[&[y][..], &gradient].concat());
        assert_eq!(n_nodes - g.nodes().len(), fused);
    }
    let y = conv(&mut g);
    let y = g.node(Binary::<Add>::new(), &[y, shift]).unwrap();
    g.fuse(&[y]);
    assert_eq!(g.nodes().len(), 2);
}

/// A value in the middle that is asked for together with one above it, and one on which the loss doesn't depend.
#[test]
fn gradients_by_values_in_the_middle() {
    let mut g = Graph::new();
    let ty = TensorType::f32([4]);
    let (x, other) = (g.input("x", ty.clone()).unwrap(), g.input("other", ty).unwrap());
    let y = g.node(Scale { factor: 3.0 }, &[x]).unwrap();
    let z = g.node(Binary::<Mul>::new(), &[y, y]).unwrap();
    let grads = g.gradients(z, &[x, y, other, z]).unwrap();
    let feeds = vec![(x, Buf::Real(vec![1.0, 2.0, -1.0, 0.5])), (other, Buf::Real(vec![1.0; 4]))];
    let mut c = Checked::new(g, feeds, z, &grads);
    c.run();
    assert_eq!(c.fetch(grads[0]), [18.0, 36.0, -18.0, 9.0]);
    assert_eq!(c.fetch(grads[1]), [6.0, 12.0, -6.0, 3.0]);
    assert_eq!(c.fetch(grads[2]), [0.0; 4]);
    assert_eq!(c.fetch(grads[3]), [1.0; 4]);
}

/// A fused op has lost the value that its gradient starts from, and an op without a gradient says so, with the layer's name.
#[test]
fn gradients_that_can_t_be_taken_are_refused() {
    let mut g = Graph::new();
    let page = g.input("page", TensorType::f32([128])).unwrap();
    g.set_scope("piece");
    let piece = g.node(striate::ops::view::View { offset: 64, shape: [8].into() }, &[page]).unwrap();
    let e = g.gradients(piece, &[page]).unwrap_err().to_string();
    assert!(e.contains("piece"), "{e}");

    let Network { mut graph, loss, parameters, .. } = network();
    graph.fuse(&[loss]);
    let e = graph.gradients(loss, &parameters).unwrap_err().to_string();
    assert!(e.contains("before fusion") && e.contains("conv2d"), "{e}");

    let mut g = Graph::new();
    let labels = g.input("labels", TensorType::u32([4])).unwrap();
    assert!(g.gradients(labels, &[labels]).is_err());
}
