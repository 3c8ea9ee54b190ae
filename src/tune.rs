//! Measures other ways to cut matmuls and convolutions up than the built-in table's, when a program asks for it: [`Device::tune`].
//!
//! Nothing is ever tuned by itself, and nothing changes what runs already. A device keeps the choices that it was made with;
//! [`Tuning::device`] is another handle of the same GPU, with what was learned. Whoever wants that for the next process saves it
//! ([`Device::save_tuning`]) and names the file at the start ([`GpuOptions::tuning`](crate::device::GpuOptions::tuning), `STRIATE_TUNING`).
//! Another choice is another order of summation, so results may differ in their last bits between choices, never between runs with the
//! same.

use crate::device::{Device, ProgramId, Runtime};
use crate::error::{Error, Result};
use crate::graph::{Graph, Plan};
use crate::op::{Case, Choice, Choices, DeviceProfile, Dispatch, NodeBuilder, Op, ProductKey, Recorder, sample};
use crate::ops::conv2d::{Conv2d, Conv2dGradInput, Conv2dGradWeight};
use crate::ops::gemm;
use crate::ops::matmul::Matmul;
use crate::selftest::run_case;
use crate::tensor::{DType, Padding, TensorType, Window2d};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use web_time::Instant;

/// What is timed at once takes at least so long.
const SPAN_SECONDS: f64 = 200e-6;
/// Runs in a span, however short they are.
const MOST_RUNS: usize = 100;
/// Candidates are timed in turn, in so many rounds at least to be judged, and at most.
const ROUNDS: [usize; 2] = [3, 9];
/// A candidate that takes so many times as long as the best is timed no more.
const HOPELESS: f64 = 1.5;
/// Least share of the time that a choice must save to be adopted.
const LEAST_GAIN: f64 = 0.03;

/// What [`Device::tune`] found.
#[derive(Clone, Debug)]
pub struct Tuning {
    /// The GPU with the choices that it had and those that were adopted. Models made on it use them; others stay as they are.
    pub device: Device,
    /// The kinds of product that were tried, in that order.
    pub tried: Vec<Tried>,
    /// Problems that the budget had no time for.
    pub n_left: usize,
}

/// How a kind of product was tried.
#[derive(Clone, Debug)]
pub struct Tried {
    /// The problem that it was tried on.
    pub problem: String,
    /// The kind of product.
    pub key: ProductKey,
    /// Ways to cut it up that differ, the present one among them, where the device could hold them.
    pub n_candidates: usize,
    /// Median time in seconds of a run as things were; infinite if the budget was used up before.
    pub before: f64,
    /// Median time in seconds of a run with `choice`.
    pub after: f64,
    /// The best choice that gave a right result, or the present one.
    pub choice: Choice,
    /// What became of it.
    pub outcome: Outcome,
    /// Faster choices whose results were outside the op's error bound, or that failed: none of them is adopted.
    pub wrong: Vec<Choice>,
}

impl Tried {
    /// Share of the time that the choice saves.
    pub fn gain(&self) -> f64 {
        1.0 - self.after / self.before
    }
}

/// What became of a choice.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It saves 3% or more, and its result was checked against the f64 CPU.
    Adopted,
    /// Nothing saves so much: all stays as it was.
    Kept,
    /// The budget was used up before there were three rounds of timings.
    Unfinished,
}

/// An op on tensors of these types, to tune for.
#[derive(Clone, Debug)]
pub struct Problem {
    /// What reports call it.
    pub name: String,
    /// The op.
    pub op: Arc<dyn Op>,
    /// Types of its inputs.
    pub types: Vec<TensorType>,
}

impl Problem {
    /// The product of two square matrices of `n` rows.
    pub fn square_matmul(n: usize) -> Problem {
        let types = vec![TensorType::f32([n, n]); 2];
        Problem { name: format!("matmul {n}"), op: Arc::new(Matmul::default()), types }
    }

    /// A convolution of images [n, side, side, channels\[0\]] to channels\[1\], and its gradients by input and weights: with a window of
    /// `kernel` squared, `stride`, and `kernel / 2` of padding all around.
    ///
    /// # Errors
    /// [`Error::Invalid`] if there is no such convolution.
    pub fn convolution(n: usize, side: usize, channels: [usize; 2], kernel: usize, stride: usize) -> Result<[Problem; 3]> {
        let [c_in, c_out] = channels;
        let window = Window2d { stride: [stride, stride], padding: Padding::all(kernel / 2), ..Window2d::new([kernel, kernel]) };
        let forward = Conv2d::new(window, 1);
        let x = TensorType::f32([n, side, side, c_in]);
        let w = TensorType::f32([kernel, kernel, c_in, c_out]);
        let y = forward.infer(&[x.clone(), w.clone()])?.swap_remove(0);
        let grad_input = Conv2dGradInput::new(window, 1, x.shape.clone());
        let grad_weight = Conv2dGradWeight { window, groups: 1 };
        let name = |part: &str| {
            let stride = if stride > 1 { format!("/{stride}") } else { String::new() };
            format!("{kernel}x{kernel}{stride} {c_in}-{c_out} {side} batch {n}{part}")
        };
        Ok([
            Problem { name: name(""), op: Arc::new(forward), types: vec![x.clone(), w.clone()] },
            Problem { name: name(" dx"), op: Arc::new(grad_input), types: vec![y.clone(), w] },
            Problem { name: name(" dw"), op: Arc::new(grad_weight), types: vec![x, y] },
        ])
    }

    /// Those that networks usually have: square matmuls, and the convolutions of ResNets and VGGs, with gradients at batch 16.
    ///
    /// # Errors
    /// None: these convolutions exist.
    pub fn usual() -> Result<Vec<Problem>> {
        let mut all: Vec<Problem> = [512, 1024, 2048].map(Problem::square_matmul).into();
        for (side, channels, kernel, stride) in
            [(56, [64, 64], 3, 1), (28, [128, 128], 3, 1), (56, [256, 64], 1, 1), (224, [3, 64], 7, 2)]
        {
            all.extend(Problem::convolution(16, side, channels, kernel, stride)?);
        }
        for (side, channels, kernel, stride) in [
            (56, [64, 64], 3, 1),
            (56, [64, 128], 3, 2),
            (14, [256, 256], 3, 1),
            (7, [512, 512], 3, 1),
            (28, [512, 512], 3, 1),
            (56, [24, 144], 1, 1),
            (14, [384, 64], 1, 1),
        ] {
            let [forward, _, _] = Problem::convolution(1, side, channels, kernel, stride)?;
            all.push(forward);
        }
        Ok(all)
    }

    fn flops(&self) -> u64 {
        self.op.infer(&self.types).map_or(0, |outputs| self.op.cost(&self.types, &outputs).flops)
    }

    /// The products and dispatches that it takes on a device.
    fn recorded(&self, profile: &DeviceProfile) -> Result<(Vec<ProductKey>, Vec<Dispatch>)> {
        let outputs = self.op.infer(&self.types)?;
        let mut r = Recorder::new(profile, &self.types, &outputs, &[]);
        self.op.gpu(&mut r)?;
        Ok((r.products, r.dispatches))
    }

    fn case(&self) -> Case {
        let shape = |(i, ty): (usize, &TensorType)| sample::normal(i as u64, ty.shape.clone());
        let inputs = self.types.iter().enumerate().map(shape).collect();
        Case { name: self.name.clone(), op: self.op.clone(), inputs, differentiable: Vec::new() }
    }
}

/// A choice with its timings.
struct Candidate {
    choice: Choice,
    program: ProgramId,
    /// Runs in a span.
    n_runs: usize,
    /// Seconds of a run, a span each.
    seconds: Vec<f64>,
}

impl Candidate {
    fn median(&self) -> f64 {
        let mut sorted = self.seconds.clone();
        sorted.sort_by(f64::total_cmp);
        match (sorted.get(sorted.len() / 2), sorted.get(sorted.len().saturating_sub(1) / 2)) {
            (Some(upper), Some(lower)) => (upper + lower) / 2.0,
            _ => f64::INFINITY,
        }
    }

    /// Times a span.
    async fn time(&self, runtime: &mut Runtime) -> Result<f64> {
        let mut seconds = 0.0;
        for _ in 0..self.n_runs {
            seconds += runtime.time_steps(self.program).await?.iter().flatten().sum::<f64>();
        }
        Ok(seconds / self.n_runs as f64)
    }
}

impl Device {
    /// Measures for about as long as `budget` which ways to cut up matmuls and convolutions of usual sizes are the fastest on this
    /// GPU. It adopts a choice only if it saves at least 3% and its result was within the op's error bound of a double-precision run on
    /// the CPU. This device and what was made on it stay as they are: see [`Tuning::device`]. The last check may exceed the budget.
    ///
    /// # Errors
    /// [`Error::Invalid`] for the CPU backend; [`Error::Gpu`], [`Error::DeviceLost`].
    pub fn tune(&self, budget: Duration) -> Result<Tuning> {
        pollster::block_on(self.tune_async(budget))
    }

    /// [`Device::tune`] for programs that mustn't block.
    pub async fn tune_async(&self, budget: Duration) -> Result<Tuning> {
        let mut problems = Problem::usual()?;
        // Small ones first: a short budget then is enough for many.
        problems.sort_by_key(Problem::flops);
        self.tune_problems(problems, budget).await
    }

    /// [`Device::tune`] for the products in these plans (of a model: [`Model::plans`](crate::nn::Model::plans)), those that take most work
    /// first. A model has to be built again on [`Tuning::device`] to make use of it.
    ///
    /// # Errors
    /// As for [`Device::tune`].
    pub fn tune_for(&self, plans: &[&Plan], budget: Duration) -> Result<Tuning> {
        pollster::block_on(self.tune_for_async(plans, budget))
    }

    /// [`Device::tune_for`] for programs that mustn't block.
    pub async fn tune_for_async(&self, plans: &[&Plan], budget: Duration) -> Result<Tuning> {
        let mut problems = Vec::new();
        for plan in plans {
            for step in &plan.steps {
                let node = &plan.graph.nodes()[step.node];
                let types = plan.graph.types(&node.inputs);
                problems.push(Problem { name: node.name.clone(), op: node.op.clone(), types });
            }
        }
        problems.sort_by_key(|p| std::cmp::Reverse(p.flops()));
        self.tune_problems(problems, budget).await
    }

    async fn tune_problems(&self, problems: Vec<Problem>, budget: Duration) -> Result<Tuning> {
        let Some(profile) = self.profile() else {
            return Err(Error::invalid("device", self, "a GPU; there is nothing to tune on the CPU backend"));
        };
        let deadline = Instant::now() + budget;
        let mut seen = BTreeSet::new();
        let mut work: Vec<(Problem, ProductKey)> = Vec::new();
        for problem in problems {
            for key in problem.recorded(profile)?.0 {
                if seen.insert(key.clone()) {
                    work.push((problem.clone(), key));
                }
            }
        }
        let mut choices = Choices::clone(&profile.choices);
        let (mut tried, mut n_left) = (Vec::new(), work.len());
        for (problem, key) in work {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let share = Instant::now() + left / n_left.max(1) as u32;
            n_left -= 1;
            let Some(result) = self.try_product(&problem, key, &choices, [share, deadline]).await? else { continue };
            log::info!("tuned for {}: {result:?}", problem.name);
            if result.outcome == Outcome::Adopted {
                choices.insert(result.key.clone(), result.choice);
            }
            tried.push(result);
        }
        Ok(Tuning { device: self.with_choices(choices), tried, n_left })
    }

    /// Tries all choices for a product of a problem: until the first of these times if that is enough for a judgement, else until the second.
    /// Nothing if there is no choice, or the problem doesn't fit on the device.
    async fn try_product(
        &self,
        problem: &Problem,
        key: ProductKey,
        choices: &Choices,
        [share, deadline]: [Instant; 2],
    ) -> Result<Option<Tried>> {
        let with = |choice: Choice| {
            let mut choices = choices.clone();
            choices.insert(key.clone(), choice);
            self.with_choices(choices)
        };
        let present = choices.get(&key).copied().unwrap_or_default();
        let distinct = distinct_choices(problem, present, &with)?;
        // What isn't f32 is no product's input, but an op that has one may come.
        if distinct.len() < 2 || problem.types.iter().any(|ty| ty.dtype != DType::F32) {
            return Ok(None);
        }
        let case = problem.case();
        let mut runtime = Runtime::new(self);
        for (i, input) in case.inputs.iter().enumerate() {
            // States are there once for all candidates.
            runtime.set_state(&format!("input {i}"), input).await?;
        }
        let mut candidates: Vec<Candidate> = Vec::new();
        let mut out_of_time = false;
        for &choice in &distinct {
            if Instant::now() > deadline {
                out_of_time = true;
                break;
            }
            match load(&mut runtime, &with(choice), problem).await {
                Ok(program) => candidates.push(Candidate { choice, program, n_runs: 1, seconds: Vec::new() }),
                Err(e @ (Error::DoesNotFit { .. } | Error::Gpu { .. })) => {
                    log::warn!("{} isn't tuned with {choice:?}: {e}", problem.name);
                    if choice == present {
                        return Ok(None);
                    }
                }
                Err(e) => return Err(e),
            }
        }
        for round in 0..=ROUNDS[1] {
            if out_of_time || candidates.len() < 2 || round > ROUNDS[0] && Instant::now() > share {
                break;
            }
            // Each begins a round in its turn, as what comes first after a pause may find the clocks low.
            let n = candidates.len();
            for i in (0..n).map(|i| (round + i) % n) {
                if Instant::now() > deadline {
                    out_of_time = true;
                    break;
                }
                let seconds = candidates[i].time(&mut runtime).await?;
                if round == 0 {
                    // To warm up, and to know how many runs a span takes.
                    candidates[i].n_runs = ((SPAN_SECONDS / seconds).ceil() as usize).clamp(1, MOST_RUNS);
                } else {
                    candidates[i].seconds.push(seconds);
                }
            }
            if round > 0 && !out_of_time {
                let best = candidates.iter().map(Candidate::median).fold(f64::INFINITY, f64::min);
                candidates.retain(|c| c.choice == present || c.median() <= HOPELESS * best);
            }
        }
        drop(runtime);
        let before = candidates.iter().find(|c| c.choice == present).map_or(f64::INFINITY, Candidate::median);
        let mut result = Tried {
            problem: problem.name.clone(),
            key: key.clone(),
            n_candidates: distinct.len(),
            before,
            after: before,
            choice: present,
            outcome: Outcome::Kept,
            wrong: Vec::new(),
        };
        if candidates.iter().any(|c| c.seconds.len() < ROUNDS[0]) && (out_of_time || candidates.len() > 1) {
            result.outcome = Outcome::Unfinished;
            return Ok(Some(result));
        }
        candidates.sort_by(|a, b| a.median().total_cmp(&b.median()));
        for c in candidates {
            let saved = 1.0 - c.median() / before;
            if c.choice == present || saved.is_nan() || saved < LEAST_GAIN {
                break;
            }
            match run_case(&with(c.choice), &case).await {
                Ok(worst) if worst.share <= 1.0 => {
                    (result.after, result.choice, result.outcome) = (c.median(), c.choice, Outcome::Adopted);
                    break;
                }
                Ok(worst) => log::warn!("{} with {:?} is off by {} of its bound", problem.name, c.choice, worst.share),
                Err(e @ Error::DeviceLost { .. }) => return Err(e),
                Err(e) => log::warn!("{} with {:?}: {e}", problem.name, c.choice),
            }
            result.wrong.push(c.choice);
        }
        Ok(Some(result))
    }
}

/// The present choice, then all others that make a difference.
fn distinct_choices(problem: &Problem, present: Choice, with: &impl Fn(Choice) -> Device) -> Result<Vec<Choice>> {
    let (mut distinct, mut known) = (Vec::new(), Vec::new());
    let Some(main_loop) = with(present).profile().map(|p| p.main_loop) else { return Ok(distinct) };
    for choice in [present, Choice::default()].into_iter().chain(gemm::alternatives(main_loop)) {
        let device = with(choice);
        let Some(profile) = device.profile() else { continue };
        let (_, dispatches) = problem.recorded(profile)?;
        if !known.contains(&dispatches) {
            known.push(dispatches);
            distinct.push(choice);
        }
    }
    Ok(distinct)
}

/// Loads a problem as it is on `device`, with its inputs as states, and runs it once.
async fn load(runtime: &mut Runtime, device: &Device, problem: &Problem) -> Result<ProgramId> {
    let mut graph = Graph::new();
    let mut values = Vec::with_capacity(problem.types.len());
    for (i, ty) in problem.types.iter().enumerate() {
        values.push(graph.state(&format!("input {i}"), ty.clone())?);
    }
    let outputs = graph.add(problem.op.clone(), &values)?;
    let program = runtime.load(device.plan(graph, &outputs)?).await?;
    runtime.run(program, &[]).await?;
    runtime.finish().await?;
    Ok(program)
}
