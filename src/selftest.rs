//! The parity of a device with the f64 CPU: every case of every op. Tests hold the crate to it, and a user runs it first on a card
//! that nobody has seen (`examples/selftest.rs`).

use crate::device::{Device, Runtime};
use crate::error::Result;
use crate::graph::Graph;
use crate::op::{Case, Declaration, DeviceProfile, Oracle, Recorder, Value, Worst, compare};
use crate::ops;
use crate::tensor::{Tensor, TensorType};
use std::sync::Arc;

/// How an op's cases went.
#[derive(Clone, Debug)]
pub struct OpReport {
    /// The op.
    pub op: &'static str,
    /// How many cases were run.
    pub n_cases: usize,
    /// The case that is furthest from the oracle, or the first that failed.
    pub worst_case: String,
    /// Its difference, as a share of the error bound; NaN if it has no number.
    pub worst_share: f64,
    /// What went wrong, for each case that failed.
    pub failures: Vec<String>,
}

impl OpReport {
    /// Whether all cases are within their bounds.
    pub fn passed(&self) -> bool {
        self.failures.is_empty()
    }
}

/// Runs all cases of the ops whose name contains `filter` on `device`, and shows each op's report to `show` when it is done.
///
/// # Errors
/// None of a case: those are failures in the report.
pub fn run(device: &Device, filter: &str, show: impl FnMut(&OpReport)) -> Vec<OpReport> {
    pollster::block_on(run_async(device, filter, show))
}

/// [`run`] for programs that mustn't block.
pub async fn run_async(device: &Device, filter: &str, mut show: impl FnMut(&OpReport)) -> Vec<OpReport> {
    let mut reports = Vec::new();
    for declaration in ops::all().filter(|d| d.name.contains(filter)) {
        let report = run_op_async(device, declaration).await;
        show(&report);
        reports.push(report);
    }
    reports
}

/// Runs all cases of an op on `device`.
pub fn run_op(device: &Device, declaration: &Declaration) -> OpReport {
    pollster::block_on(run_op_async(device, declaration))
}

/// [`run_op`] for programs that mustn't block.
pub async fn run_op_async(device: &Device, declaration: &Declaration) -> OpReport {
    let cases = (declaration.cases)();
    let mut report = OpReport {
        op: declaration.name,
        n_cases: cases.len(),
        worst_case: String::new(),
        worst_share: 0.0,
        failures: Vec::new(),
    };
    for case in cases {
        let id = format!("{}/{}", declaration.name, case.name);
        match run_case(device, &case).await {
            Ok(worst) => {
                // A share that is NaN is no pass.
                let failed = worst.share.is_nan() || worst.share > 1.0;
                if failed {
                    report.failures.push(format!(
                        "{id}: output {}, element {}: got {:e}, want {:e}, bound {:e}",
                        worst.output, worst.element, worst.got, worst.want, worst.bound
                    ));
                }
                let is_worst = worst.share.is_nan() || worst.share > report.worst_share;
                if (is_worst && !report.worst_share.is_nan()) || report.worst_case.is_empty() {
                    report.worst_share = worst.share;
                    report.worst_case = case.name.clone();
                }
            }
            Err(e) => {
                report.failures.push(format!("{id}: {e}"));
                report.worst_share = f64::NAN;
                report.worst_case = case.name.clone();
            }
        }
    }
    report
}

/// Runs a case on a device and compares its outputs with the f64 CPU's.
///
/// # Errors
/// Whatever the device says; [`crate::Error::Gpu`] if a kernel wrote where it must not.
pub async fn run_case(device: &Device, case: &Case) -> Result<Worst> {
    let types: Vec<TensorType> = case.inputs.iter().map(Tensor::tensor_type).collect();
    let mut graph = Graph::new();
    let mut runtime = Runtime::new(device);
    let mut values = Vec::new();
    let mut feeds: Vec<(Value, &Tensor)> = Vec::new();
    for (i, input) in case.inputs.iter().enumerate() {
        let name = format!("input {i}");
        // What an op overwrites must be a state.
        if case.op.in_place().iter().any(|&(overwritten, _)| overwritten == i) {
            values.push(graph.state(&name, types[i].clone())?);
            runtime.set_state(&name, input).await?;
        } else {
            values.push(graph.input(&name, types[i].clone())?);
            feeds.push((values[i], input));
        }
    }
    let outputs = {
        use crate::op::NodeBuilder;
        graph.add(Arc::clone(&case.op), &values)?
    };
    let plan = device.plan(graph, &outputs)?;
    let depth = match device.profile() {
        Some(_) => plan.steps.iter().map(|s| s.depth).max().unwrap_or(1),
        None => baseline_depth(case, &types)?,
    };
    let program = runtime.load(plan).await?;
    runtime.run(program, &feeds).await?;
    let mut got = Vec::new();
    for &v in &outputs {
        got.push(runtime.fetch(program, v).await?);
    }
    runtime.check_guards(program).await?;
    let inputs: Vec<Oracle> = case.inputs.iter().map(Oracle::from_tensor).collect();
    compare(&*case.op, &types, &inputs, &got, depth)
}

/// The CPU backend has no declared depth. Its sums are no longer chains than those of a baseline GPU's kernels.
fn baseline_depth(case: &Case, types: &[TensorType]) -> Result<usize> {
    let profile = DeviceProfile::baseline();
    let outputs = case.op.infer(types)?;
    let mut recorder = Recorder::new(&profile, types, &outputs, &[]);
    case.op.gpu(&mut recorder)?;
    Ok(recorder.depth())
}
