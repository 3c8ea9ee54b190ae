//! Does the GPU executor keep its promises? One submit a run, nothing allocated after loading, memory as the plan says, the same bits
//! every time, errors that are errors, and a validation mode that finds a wrong kernel.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // Tests may stop at what they don't expect.

mod common;

use common::{batch, gpu, training};
use pollster::block_on;
use std::sync::Arc;
use striate::device::{Device, GpuOptions, GpuStats, ProgramId, Runtime};
use striate::error::{Error, Result};
use striate::graph::Graph;
use striate::linalg::Real;
use striate::op::{Buffer, Cpu, CpuArgs, Kernel, NodeBuilder, Op, Recorder, Source, Value, sample};
use striate::ops::binary::{Add, Binary};
use striate::ops::scale::Scale;
use striate::ops::update::{HYPER, Sgd, Update};
use striate::tensor::{DType, Tensor, TensorType};

const N: usize = 5;

/// The training step of `common`, loaded.
struct Loaded {
    runtime: Runtime,
    program: ProgramId,
    loss: Value,
    feeds: Vec<(Value, Tensor)>,
}

impl Loaded {
    fn new(device: &Device) -> Loaded {
        let t = training(N, true);
        let plan = device.plan(t.graph.clone(), &[t.net.loss]).unwrap();
        let mut runtime = Runtime::new(device);
        for (name, data) in &t.states {
            block_on(runtime.set_state(name, data)).unwrap();
        }
        let program = block_on(runtime.load(plan)).unwrap();
        let (x, labels) = batch(N);
        let (hyper, step) = t.settings();
        let feeds = vec![(t.net.x, x), (t.net.labels, labels), (t.hyper, hyper), (t.step, step)];
        Loaded { runtime, program, loss: t.net.loss, feeds }
    }

    fn run(&mut self) -> Result<()> {
        let feeds: Vec<(Value, &Tensor)> = self.feeds.iter().map(|(v, t)| (*v, t)).collect();
        block_on(self.runtime.run(self.program, &feeds))
    }

    fn loss(&mut self) -> Tensor {
        block_on(self.runtime.fetch(self.program, self.loss)).unwrap()
    }

    fn state(&mut self, name: &str) -> Tensor {
        block_on(self.runtime.state(name)).unwrap()
    }
}

fn stats(device: &Device) -> GpuStats {
    device.stats().expect("a GPU counts")
}

#[test]
fn a_run_is_one_submit_and_allocates_nothing() {
    let Some(device) = gpu("the executor", GpuOptions::default()) else { return };
    let mut loaded = Loaded::new(&device);
    let n_dispatches = loaded.runtime.plan(loaded.program).n_dispatches() as u64;
    let memory = loaded.runtime.plan(loaded.program).memory();
    assert_eq!(loaded.runtime.allocated(), memory, "allocated, and planned");
    assert_eq!(loaded.runtime.allocated().total(), memory.total());
    let before = stats(&device);
    for _ in 0..5 {
        loaded.run().unwrap();
    }
    loaded.loss();
    let after = stats(&device);
    assert_eq!(after.submits - before.submits, 5 + 1, "runs, and one read");
    assert_eq!(after.dispatches - before.dispatches, 5 * n_dispatches);
    assert_eq!(after.buffers, before.buffers, "buffers made while running");
    assert_eq!(after.pipelines, before.pipelines, "pipelines made while running");
    assert_eq!(loaded.runtime.allocated(), memory, "allocated after runs, and planned");
    block_on(loaded.runtime.finish()).unwrap();
    // A second program of the same model shares states and pipelines.
    let t = training(2, true);
    let plan = device.plan(t.graph, &[t.net.loss]).unwrap();
    let own = plan.memory().total() - plan.memory().states;
    block_on(loaded.runtime.load(plan)).unwrap();
    assert_eq!(loaded.runtime.allocated().total(), memory.total() + own);
}

#[test]
fn the_same_bits_every_time() {
    let Some(device) = gpu("the executor", GpuOptions::default()) else { return };
    let mut results = Vec::new();
    for _ in 0..2 {
        let mut loaded = Loaded::new(&device);
        let mut losses = Vec::new();
        for _ in 0..10 {
            loaded.run().unwrap();
            losses.extend(loaded.loss().to_le_bytes());
        }
        let parameters = loaded.state("parameters").to_le_bytes();
        let metrics = loaded.state("metrics");
        assert_eq!(loaded.state("health"), Tensor::u32([2], vec![0, 0]).unwrap());
        results.push((losses, parameters, metrics));
    }
    assert!(results[0] == results[1], "two trainings from the same start differ");
    // Ten steps on one batch: training trains.
    let floats: Vec<f32> = results[0].0.chunks(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
    let sum = |step: usize| floats[step * N..][..N].iter().sum::<f32>();
    assert!(sum(9) < 0.8 * sum(0), "{} to {}", sum(0), sum(9));
}

#[test]
fn the_cpu_backend_trains_alike() {
    let Some(device) = gpu("the executor", GpuOptions::default()) else { return };
    let mut of_device = Vec::new();
    for device in [device, Device::cpu()] {
        let mut loaded = Loaded::new(&device);
        for _ in 0..5 {
            loaded.run().unwrap();
        }
        of_device.push((loaded.loss(), loaded.state("parameters")));
    }
    let (a, b) = (&of_device[0], &of_device[1]);
    for (a, b) in [(&a.0, &b.0), (&a.1, &b.1)] {
        for (a, b) in a.as_f32().unwrap().iter().zip(b.as_f32().unwrap()) {
            // Five steps carry single precision's roundings along; what is wrong is off by far more.
            assert!((a - b).abs() <= 1e-4 * b.abs().max(1.0), "{a} and {b}");
        }
    }
}

#[test]
fn what_depends_on_states_alone_is_made_once() {
    let Some(gpu) = gpu("the executor", GpuOptions::default()) else { return };
    for device in [gpu, Device::cpu()] {
        let state = |g: &mut Graph| g.state("w", TensorType::f32([4])).unwrap();
        // y = x + 2 w.
        let mut g = Graph::new();
        let (w, x) = (state(&mut g), g.input("x", TensorType::f32([4])).unwrap());
        let twice = g.node(Scale { factor: 2.0 }, &[w]).unwrap();
        let y = g.node(Binary::<Add>::new(), &[x, twice]).unwrap();
        let plan = device.plan(g, &[y]).unwrap();
        assert_eq!((plan.n_prepared(), plan.prepared_from(), plan.overwrites().len()), (1, &["w".to_string()][..], 0));
        assert_eq!(plan.memory().prepared, 16);
        // w -= x.
        let mut g = Graph::new();
        let w = state(&mut g);
        let health = g.state("health", TensorType::u32([2])).unwrap();
        let [gradient, hyper] = [("gradient", 4), ("hyper", HYPER)].map(|(name, n)| g.input(name, TensorType::f32([n])).unwrap());
        let changed = g.node(Scale { factor: 2.0 }, &[w]).unwrap();
        g.node(Update::<Sgd>::default(), &[w, gradient, hyper, health]).unwrap();
        let training = device.plan(g, &[changed]).unwrap();
        assert_eq!((training.n_prepared(), training.overwrites()), (0, &["w".to_string()][..]));

        let mut runtime = Runtime::new(&device);
        let tensor = |v: [f32; 4]| Tensor::f32([4], v.to_vec()).unwrap();
        let (program, training) = (block_on(runtime.load(plan)).unwrap(), block_on(runtime.load(training)).unwrap());
        let ones = tensor([1.0; 4]);
        let dispatches = || device.stats().map_or(0, |s| s.dispatches);
        let expect = |runtime: &mut Runtime, value: f32, n_dispatches: u64| {
            let before = dispatches();
            block_on(runtime.run(program, &[(x, &ones)])).unwrap();
            if device.stats().is_some() {
                assert_eq!(dispatches() - before, n_dispatches);
            }
            assert_eq!(block_on(runtime.fetch(program, y)).unwrap(), tensor([value; 4]), "on {device}");
        };
        expect(&mut runtime, 1.0, 2);
        expect(&mut runtime, 1.0, 1);
        block_on(runtime.set_state("w", &tensor([3.0; 4]))).unwrap();
        expect(&mut runtime, 7.0, 2);
        expect(&mut runtime, 7.0, 1);
        block_on(
            runtime
                .run(training, &[(gradient, &ones), (hyper, &Tensor::f32([HYPER], vec![1.0, 0.0, 0.0, 0.0, 1.0, 1.0]).unwrap())]),
        )
        .unwrap();
        expect(&mut runtime, 5.0, 2);
        expect(&mut runtime, 5.0, 1);
        let mut names = Vec::new();
        block_on(runtime.run_observed(program, &[(x, &ones)], &mut |_, outputs| names.push(outputs.len()))).unwrap();
        assert_eq!(names.len(), 2, "an observer sees every node");
        expect(&mut runtime, 5.0, 1);
    }
}

fn is_invalid(result: Result<()>, part: &str) {
    match result {
        Err(e @ Error::Invalid { .. }) => assert!(e.to_string().contains(part), "{e}"),
        other => panic!("{part}: {other:?}"),
    }
}

#[test]
fn wrong_use_is_an_error() {
    let Some(gpu) = gpu("the executor", GpuOptions::default()) else { return };
    for device in [gpu, Device::cpu()] {
        let mut loaded = Loaded::new(&device);
        let good = loaded.feeds.clone();
        loaded.feeds.remove(0);
        is_invalid(loaded.run(), "x: input: got nothing");
        loaded.feeds = good.clone();
        loaded.feeds[0].1 = Tensor::zeros(&TensorType::f32([N, 8, 8, 4]));
        is_invalid(loaded.run(), "[5, 8, 8, 4]");
        loaded.feeds[0].1 = Tensor::zeros(&TensorType::new(DType::U8, [N, 8, 8, 3]));
        is_invalid(loaded.run(), "u8");
        loaded.feeds = good;
        is_invalid(block_on(loaded.runtime.state("nobody")).map(drop), "nobody");
        let short = Tensor::zeros(&TensorType::f32([64]));
        is_invalid(block_on(loaded.runtime.set_state("parameters", &short)), "parameters");
        let other_type = Tensor::zeros(&TensorType::u32([2]));
        is_invalid(block_on(loaded.runtime.set_state("metrics", &other_type)), "metrics");
        // A plan that gives a state another size than the runtime's.
        let mut g = Graph::new();
        let p = g.state("parameters", TensorType::f32([64])).unwrap();
        let y = g.node(Scale { factor: 2.0 }, &[p]).unwrap();
        let plan = device.plan(g, &[y]).unwrap();
        is_invalid(block_on(loaded.runtime.load(plan)).map(drop), "parameters");
        // And after all that, it still runs.
        loaded.run().unwrap();
        assert!(loaded.loss().as_f32().unwrap().iter().all(|x| x.is_finite()));
    }
}

/// `y = 2 x`, with the WGSL that a test gives.
#[derive(Debug)]
struct Double(&'static Source);

impl Op for Double {
    fn name(&self) -> &'static str {
        "double"
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>> {
        Ok(inputs.to_vec())
    }

    fn gpu(&self, r: &mut Recorder<'_>) -> Result<()> {
        let n = r.x(0).elements();
        let grid = [n.div_ceil(64) as u32, 1, 1];
        r.dispatch(Kernel::new(self.0, &[]), &[Buffer::Input(0)], &[Buffer::Output(0)], &[("n", n.into())], grid);
        Ok(())
    }
}

impl Cpu for Double {
    fn cpu<T: Real>(&self, args: &mut CpuArgs<'_, T>) {
        let x = args.x(0);
        for (y, &x) in args.y(0).iter_mut().zip(x) {
            *y = x + x;
        }
    }
}

macro_rules! double {
    ($guard:literal, $value:literal) => {
        concat!(
            "struct Params { n: u32 }\n",
            "@group(0) @binding(0) var<uniform> params: Params;\n",
            "@group(0) @binding(1) var<storage, read> x: array<f32>;\n",
            "@group(0) @binding(2) var<storage, read_write> y: array<f32>;\n",
            "@compute @workgroup_size(64)\n",
            "fn main(@builtin(global_invocation_id) id: vec3<u32>) {\n    let i = id.x;\n    if (",
            $guard,
            ") { y[i] = ",
            $value,
            "; }\n}\n"
        )
    };
}

static RIGHT: Source = Source { name: "right", text: double!("i < params.n", "2.0 * x[i]") };
static WRONG_AT_70: Source = Source { name: "wrong_at_70", text: double!("i < params.n", "select(2.0, 2.5, i == 70u) * x[i]") };
static NOT_WGSL: Source = Source { name: "not_wgsl", text: double!("i < params.n", "2.0 * no_such_name[i]") };
static OTHER_BINDINGS: Source = Source {
    name: "other_bindings",
    text: "@group(0) @binding(5) var<storage, read_write> y: array<f32>;\n@compute @workgroup_size(64)\nfn main() { y[0] = 1.0; }\n",
};

/// Scale, double, add: runs it on a device and returns the sum.
fn run_double(device: &Device, source: &'static Source) -> Result<Tensor> {
    let mut g = Graph::new();
    let x = g.input("x", TensorType::f32([100])).unwrap();
    g.set_scope("before");
    let a = g.node(Scale { factor: 0.5 }, &[x]).unwrap();
    g.set_scope("suspect");
    let b = g.add(Arc::new(Double(source)), &[a]).unwrap()[0];
    g.set_scope("after");
    let y = g.node(Binary::<Add>::new(), &[a, b]).unwrap();
    let mut runtime = Runtime::new(device);
    let program = block_on(runtime.load(device.plan(g, &[y])?))?;
    let data = sample::normal(1, [100]);
    block_on(runtime.run(program, &[(x, &data)]))?;
    block_on(runtime.check_guards(program))?;
    block_on(runtime.fetch(program, y))
}

#[test]
fn what_the_driver_refuses_is_an_error() {
    let Some(device) = gpu("the executor", GpuOptions::default()) else { return };
    for source in [&NOT_WGSL, &OTHER_BINDINGS] {
        let e = run_double(&device, source).unwrap_err();
        assert!(matches!(e, Error::Gpu { .. }), "{e}");
        let text = e.to_string();
        assert!(text.contains(source.name) && text.contains(device.name()), "{text}");
        // It stays an error, and the device stays of use.
        assert!(run_double(&device, source).is_err());
        run_double(&device, &RIGHT).unwrap();
    }
}

#[test]
fn validation_passes_what_is_right() {
    let Some(device) = gpu("validation", GpuOptions { validate: true, ..GpuOptions::default() }) else { return };
    run_double(&device, &RIGHT).unwrap();
    let mut loaded = Loaded::new(&device);
    for _ in 0..2 {
        loaded.run().unwrap();
    }
    assert!(loaded.loss().as_f32().unwrap().iter().all(|x| x.is_finite()));
}

#[test]
fn validation_names_the_wrong_node() {
    let Some(device) = gpu("validation", GpuOptions { validate: true, ..GpuOptions::default() }) else { return };
    match run_double(&device, &WRONG_AT_70) {
        Err(Error::Validation { node, op, output, element, got, want, .. }) => {
            assert_eq!((node.as_str(), op.as_str(), output, element), ("suspect", "double", 0, 70));
            assert!((got / want - 1.25).abs() < 1e-6, "{got} for {want}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn observing_shows_every_node() {
    let Some(gpu) = gpu("the executor", GpuOptions::default()) else { return };
    let mut seen = Vec::new();
    for device in [gpu, Device::cpu()] {
        let mut loaded = Loaded::new(&device);
        let feeds: Vec<(Value, &Tensor)> = loaded.feeds.iter().map(|(v, t)| (*v, t)).collect();
        let mut nodes = Vec::new();
        let mut see = |name: &str, outputs: &[Tensor]| nodes.push((name.to_string(), outputs.len()));
        block_on(loaded.runtime.run_observed(loaded.program, &feeds, &mut see)).unwrap();
        assert_eq!(nodes.len(), loaded.runtime.plan(loaded.program).steps.len());
        seen.push(nodes);
    }
    assert_eq!(seen[0], seen[1]);
    assert!(seen[0].iter().any(|(name, _)| name.contains("conv2d_1/gradient")), "{:?}", seen[0]);
}
