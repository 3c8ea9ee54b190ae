//! Does tuning change how products are cut up only when it is asked to, only to what is right, and does its file tell no device what was
//! measured on another?
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // Tests may stop at what they don't expect.

mod common;

use common::{gpu, is_gemm, types};
use pollster::block_on;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Once};
use std::time::Duration;
use striate::device::{Device, GpuOptions, Runtime};
use striate::error::{Error, Result};
use striate::graph::Graph;
use striate::linalg::Real;
use striate::op::{
    Buffer, Choice, Choices, Cpu, CpuArgs, DeviceProfile, Kernel, MainLoop, Op, ProductKey, Recorder, Source, sample,
};
use striate::ops::matmul::Matmul;
use striate::ops::{self, gemm};
use striate::selftest::run_case;
use striate::tensor::{Tensor, TensorType};
use striate::tune::Outcome;

/// What the crate has logged.
struct Log;

static LOGGED: Mutex<Vec<String>> = Mutex::new(Vec::new());

impl log::Log for Log {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() <= log::Level::Warn
    }
    fn log(&self, record: &log::Record<'_>) {
        LOGGED.lock().unwrap().push(record.args().to_string());
    }
    fn flush(&self) {}
}

/// A new folder for the files of a test.
fn folder(test: &str) -> PathBuf {
    static LOG: Once = Once::new();
    LOG.call_once(|| {
        log::set_logger(&Log).unwrap();
        log::set_max_level(log::LevelFilter::Warn);
    });
    let folder = std::env::temp_dir().join(format!("striate-{test}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

fn open(file: &Path) -> Option<Device> {
    gpu("tuning", GpuOptions { tuning: Some(file.to_path_buf()), ..GpuOptions::default() })
}

fn choices(device: &Device) -> Choices {
    Choices::clone(&device.profile().unwrap().choices)
}

fn matmul_types([m, n, k]: [usize; 3]) -> [TensorType; 2] {
    [TensorType::f32([m, k]), TensorType::f32([k, n])]
}

/// What a matmul records: its kernels' constants and sums, and the key of its product.
fn record(profile: &DeviceProfile, size: [usize; 3]) -> (Vec<striate::op::Dispatch>, ProductKey) {
    let inputs = matmul_types(size);
    let outputs = Matmul::default().infer(&inputs).unwrap();
    let mut r = Recorder::new(profile, &inputs, &outputs, &[]);
    Matmul::default().gpu(&mut r).unwrap();
    (r.dispatches, r.products.swap_remove(0))
}

fn some_choices(main_loop: MainLoop) -> Choices {
    let profile = DeviceProfile { main_loop, ..DeviceProfile::baseline() };
    let key = |size| record(&profile, size).1;
    let choice = |tile, splits| Choice { tile, splits };
    [(key([64, 64, 64]), choice(Some(1), 0)), (key([512, 256, 2000]), choice(None, -1))].into()
}

#[test]
fn a_choice_is_for_products_of_its_kind() {
    let base = DeviceProfile::baseline();
    let (table, key) = record(&base, [128, 128, 128]);
    for (tile, tile_m) in [(0, "32u"), (1, "64u"), (4, "128u")] {
        let choices = Choices::from([(key.clone(), Choice { tile: Some(tile), splits: 0 })]);
        let profile = DeviceProfile { choices: Arc::new(choices), ..base.clone() };
        let constant = |size: [usize; 3]| {
            let consts = record(&profile, size).0[0].kernel.consts.clone();
            consts.iter().find(|(name, _)| *name == "TILE_M").unwrap().1.to_string()
        };
        assert_eq!((constant([128, 128, 128]), constant([200, 252, 132])), (tile_m.to_string(), tile_m.to_string()));
        // Other sizes, and a tile that a test forces.
        for size in [[256, 128, 128], [128, 64, 128], [128, 128, 64]] {
            assert_eq!(record(&profile, size).0, record(&base, size).0);
        }
        let forced = DeviceProfile { tile: Some(2), ..profile.clone() };
        assert_eq!(
            record(&forced, [128, 128, 128]).0,
            record(&DeviceProfile { tile: Some(2), ..base.clone() }, [128, 128, 128]).0
        );
        assert!(base.runs_plans_for(&profile) && !base.runs_plans_for(&forced));
    }
    // A tile that there is none of leaves what the table says.
    let choices = Choices::from([(key, Choice { tile: Some(99), splits: 0 })]);
    assert_eq!(record(&DeviceProfile { choices: Arc::new(choices), ..base }, [128, 128, 128]).0, table);
}

/// Whatever a file says, loops stay short and bindings within the limits.
#[test]
fn choices_keep_to_the_limits() {
    for main_loop in [MainLoop::Tiled, MainLoop::Subgroup, MainLoop::Plain] {
        let base = DeviceProfile { main_loop, subgroup_len: Some(8), max_binding_bytes: 1 << 20, ..DeviceProfile::baseline() };
        let extreme = [i8::MIN, i8::MAX].map(|splits| Choice { tile: None, splits });
        for choice in gemm::alternatives(main_loop).into_iter().chain(extreme) {
            for size in [[64, 64, 20_000], [1, 512, 30_000], [300, 3, 5_000], [16, 16, 300]] {
                let choices = Choices::from([(record(&base, size).1, choice)]);
                let profile = DeviceProfile { choices: Arc::new(choices), ..base.clone() };
                let inputs = matmul_types(size);
                let outputs = Matmul::default().infer(&inputs).unwrap();
                let mut r = Recorder::new(&profile, &inputs, &outputs, &[]);
                Matmul::default().gpu(&mut r).unwrap();
                let chunk = r.dispatches[0].params.iter().find(|(name, _)| *name == "k_chunk").unwrap().1.bits();
                assert!((16..=4096).contains(&chunk), "{size:?}, {choice:?}: {chunk}");
                assert!(r.temps.iter().all(|t| t.bytes() <= 1 << 20), "{size:?}, {choice:?}: {:?}", r.temps);
            }
        }
    }
}

/// Cases of sums that are split, with all choices, on all main loops.
#[test]
fn results_are_right_with_every_choice() {
    let declarations: Vec<_> = ops::all().filter(|d| is_gemm(d)).collect();
    for main_loop in [MainLoop::Tiled, MainLoop::Subgroup, MainLoop::Plain] {
        let Some(device) = gpu("choices", GpuOptions { guard: true, main_loop: Some(main_loop), ..GpuOptions::default() }) else {
            return;
        };
        if main_loop == MainLoop::Subgroup && !matches!(device.profile().unwrap().subgroup_len, Some(4 | 8)) {
            continue;
        }
        for case in declarations.iter().flat_map(|d| (d.cases)()).filter(|c| c.name.contains("split")) {
            let inputs = types(&case);
            let outputs = case.op.infer(&inputs).unwrap();
            let profile = device.profile().unwrap();
            let mut r = Recorder::new(profile, &inputs, &outputs, &[]);
            case.op.gpu(&mut r).unwrap();
            let Some(key) = r.products.first() else { continue };
            for choice in gemm::alternatives(main_loop) {
                let device = device.with_choices([(key.clone(), choice)].into());
                let worst = block_on(run_case(&device, &case)).unwrap();
                assert!(worst.share <= 1.0, "{main_loop:?}, {choice:?}, {}: {worst:?}", case.name);
            }
        }
    }
}

#[test]
fn the_file_brings_back_what_was_saved() {
    let folder = folder("round-trip");
    let file = folder.join("tuning.json");
    let Some(plain) = gpu("tuning", GpuOptions::default()) else { return };
    assert!(choices(&plain).is_empty());
    let tuned = plain.with_choices(some_choices(plain.profile().unwrap().main_loop));
    tuned.save_tuning(&file).unwrap();
    assert_eq!(choices(&open(&file).unwrap()), choices(&tuned));

    // A section of another adapter stays, one of this adapter with another driver goes.
    let mut json: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    let own = json["devices"][0].clone();
    let (mut other, mut old) = (own.clone(), own);
    other["adapter"] = "another".into();
    old["driver"] = "of last year".into();
    json["devices"] = vec![other, old].into();
    std::fs::write(&file, json.to_string()).unwrap();
    plain.save_tuning(&file).unwrap();
    let json: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    let adapters: Vec<_> = json["devices"].as_array().unwrap().iter().map(|s| s["adapter"].as_str().unwrap()).collect();
    assert_eq!(adapters, ["another", plain.name()]);
    assert!(choices(&open(&file).unwrap()).is_empty());
    // Nothing is left beside it.
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_file_of_no_use_is_left_out_with_a_warning() {
    let folder = folder("foreign");
    let Some(plain) = gpu("tuning", GpuOptions::default()) else { return };
    let good = folder.join("good.json");
    plain.with_choices(some_choices(plain.profile().unwrap().main_loop)).save_tuning(&good).unwrap();
    let good = std::fs::read_to_string(good).unwrap();
    let mut foreign = vec![
        ("missing", None),
        ("empty", Some(String::new())),
        ("cut_off", Some(good[..good.len() / 2].to_string())),
        ("other_json", Some("{}".to_string())),
        ("other_format", Some(good.replace("\"striate_tuning\": 1", "\"striate_tuning\": 2"))),
        ("negative_tile", Some(good.replace("\"tile\": 1", "\"tile\": -1"))),
    ];
    for key in ["adapter", "backend", "driver", "kernels"] {
        let mut json: serde_json::Value = serde_json::from_str(&good).unwrap();
        json["devices"][0][key] = "another".into();
        foreign.push((key, Some(json.to_string())));
    }
    for (name, text) in foreign {
        let file = folder.join(format!("{name}.json"));
        if let Some(text) = &text {
            assert_ne!(*text, good, "{name}");
            std::fs::write(&file, text).unwrap();
        }
        assert!(choices(&open(&file).unwrap()).is_empty(), "{name}");
        let path = file.display().to_string();
        assert!(LOGGED.lock().unwrap().iter().any(|line| line.contains(&path)), "{name}: no warning names the file");
    }
    // What isn't ours is not written over.
    let other = folder.join("other_json.json");
    assert!(matches!(plain.save_tuning(&other), Err(Error::File { .. })));
    assert_eq!(std::fs::read_to_string(other).unwrap(), "{}");
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn the_cpu_backend_has_nothing_to_tune() {
    let cpu = Device::cpu();
    assert!(matches!(cpu.tune(Duration::from_secs(1)), Err(Error::Invalid { .. })));
    assert!(matches!(cpu.save_tuning("tuning.json"), Err(Error::Invalid { .. })));
    assert!(cpu.with_choices(some_choices(MainLoop::Tiled)).profile().is_none());
}

fn matmul_graph(size: [usize; 3]) -> (Graph, [striate::op::Value; 3]) {
    let mut g = Graph::new();
    let [a, b] = matmul_types(size);
    let (a, b) = (g.input("a", a).unwrap(), g.input("b", b).unwrap());
    let c = g.node(Matmul::default(), &[a, b]).unwrap();
    (g, [a, b, c])
}

#[test]
fn what_runs_is_not_changed_by_tuning() {
    let Some(device) = gpu("tuning", GpuOptions::default()) else { return };
    let size = [100, 60, 700];
    let (graph, [a, b, c]) = matmul_graph(size);
    let mut runtime = Runtime::new(&device);
    let plan = device.plan(graph, &[c]).unwrap();
    let program = block_on(runtime.load(plan.clone())).unwrap();
    let feeds = [sample::normal(1, [size[0], size[2]]), sample::normal(2, [size[2], size[1]])];
    let run = |runtime: &mut Runtime, program| {
        block_on(runtime.run(program, &[(a, &feeds[0]), (b, &feeds[1])])).unwrap();
        block_on(runtime.fetch(program, c)).unwrap()
    };
    let before = run(&mut runtime, program);
    let tuning = device.tune_for(&[&plan], Duration::from_secs(5)).unwrap();
    assert_eq!((tuning.tried.len(), tuning.n_left), (1, 0));
    let tried = &tuning.tried[0];
    assert!(tried.n_candidates > 1 && tried.wrong.is_empty(), "{tried:?}");
    let adopted = tried.outcome == Outcome::Adopted;
    assert_eq!(choices(&tuning.device), adopted.then(|| (tried.key.clone(), tried.choice)).into_iter().collect());
    assert!(!adopted || tried.gain() >= 0.03);
    assert!(choices(&device).is_empty());
    // Neither what is loaded, nor what is planned on the device now, nor two runs with the same choices differ.
    assert_eq!(run(&mut runtime, program), before);
    let (graph, _) = matmul_graph(size);
    let again = block_on(runtime.load(device.plan(graph, &[c]).unwrap())).unwrap();
    assert_eq!(run(&mut runtime, again), before);
    let with_choices = || {
        let (graph, _) = matmul_graph(size);
        let mut runtime = Runtime::new(&tuning.device);
        let program = block_on(runtime.load(tuning.device.plan(graph, &[c]).unwrap())).unwrap();
        run(&mut runtime, program)
    };
    assert_eq!(with_choices(), with_choices());
}

#[test]
fn a_budget_of_nothing_tries_nothing() {
    let Some(device) = gpu("tuning", GpuOptions::default()) else { return };
    let tuning = device.tune(Duration::ZERO).unwrap();
    assert!(tuning.tried.is_empty() && tuning.n_left > 5);
}

static COPY: Source = Source {
    name: "copy",
    text: "const FACTOR: u32 = 1u;
struct Params { n: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if (id.x < params.n) {
        y[id.x] = f32(FACTOR) * x[id.x];
    }
}
",
};

/// A copy that takes long, unless a tile is chosen; then what it gives is `factor` times as large.
#[derive(Debug)]
struct Copy {
    factor: u32,
}

impl Op for Copy {
    fn name(&self) -> &'static str {
        "copy"
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>> {
        Ok(inputs.to_vec())
    }

    fn gpu(&self, r: &mut Recorder<'_>) -> Result<()> {
        let operand = format!("copy {}", self.factor);
        let key = ProductKey { main_loop: String::new(), operand, form: String::new(), log2: [0; 4] };
        let chosen = r.profile().choices.get(&key).and_then(|c| c.tile).is_some();
        r.products.push(key);
        let n = r.x(0).elements();
        let (factor, times) = if chosen { (self.factor, 1) } else { (1, 40) };
        for _ in 0..times {
            let kernel = Kernel::new(&COPY, &[]).set("FACTOR", factor);
            let grid = r.linear_grid(n.div_ceil(64));
            r.dispatch(kernel, &[Buffer::Input(0)], &[Buffer::Output(0)], &[("n", n.into())], grid);
        }
        Ok(())
    }
}

impl Cpu for Copy {
    fn cpu<T: Real>(&self, args: &mut CpuArgs<'_, T>) {
        args.y(0).copy_from_slice(args.x(0));
    }
}

#[test]
fn a_choice_is_only_adopted_if_its_result_is_right() {
    let Some(device) = gpu("tuning", GpuOptions { main_loop: Some(MainLoop::Tiled), ..GpuOptions::default() }) else { return };
    for (factor, outcome, n_wrong) in [(1, Outcome::Adopted, 0), (2, Outcome::Kept, 1)] {
        let mut g = Graph::new();
        let x = g.input("x", TensorType::f32([200_000])).unwrap();
        let y = g.node(Copy { factor }, &[x]).unwrap();
        let plan = device.plan(g, &[y]).unwrap();
        let tuning = device.tune_for(&[&plan], Duration::from_secs(20)).unwrap();
        let tried = &tuning.tried[0];
        assert_eq!((tried.outcome, tried.wrong.len(), tried.n_candidates), (outcome, n_wrong, 2), "{tried:?}");
        assert_eq!(choices(&tuning.device).len(), usize::from(outcome == Outcome::Adopted));
        assert_eq!(tried.choice.tile.is_some(), outcome == Outcome::Adopted);
        assert!(tried.before > tried.after * 2.0 || outcome == Outcome::Kept, "{tried:?}");
        // The chosen way is taken, and gives the same.
        let mut g = Graph::new();
        let x = g.input("x", TensorType::f32([4])).unwrap();
        let y = g.node(Copy { factor }, &[x]).unwrap();
        let data = Tensor::f32([4], vec![1.0, 2.0, 3.0, 4.0]).unwrap();
        assert_eq!(tuning.device.evaluate(g, &[y], &[(x, &data)]).unwrap(), [data]);
    }
}
