//! Where the time of a training step or a prediction goes.

use crate::device::{Device, Runtime};
use crate::error::Result;
use crate::graph::{Graph, Plan};
use crate::nn::Model;
use crate::nn::feed::{DataPorts, add_host_batch};
use crate::nn::model::Ports;
use crate::nn::summary::{cut, grouped};
use crate::op::{Cost, Value};
use crate::ops::matmul::Matmul;
use crate::ops::scale::Scale;
use crate::ops::update::HYPER;
use crate::random::{Seed, Stream};
use crate::tensor::{DType, Tensor, TensorType};
use crate::train::Fit;
use crate::train::clock::Clock;
use serde::Serialize;
use std::collections::HashSet;
use std::fmt;

/// Runs that each figure is the median of.
const ROUNDS: usize = 10;

/// What a step is part of.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Pass {
    /// Made once and kept until parameters change; not a part of a run.
    Once,
    /// From the input to the loss.
    Forward,
    /// Gradients.
    Backward,
    /// What overwrites states: the optimizer, running statistics, metrics.
    Update,
}

/// A step of a run: an op.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct ProfileStep {
    /// The layer that it belongs to.
    pub layer: String,
    /// What it is part of.
    pub pass: Pass,
    /// The op (`conv2d_grad_input`).
    pub op: String,
    /// Its kernels in order and the seconds of each; on the CPU one, the op itself.
    pub kernels: Vec<(String, f64)>,
    /// Floating-point operations.
    pub flops: u64,
    /// Bytes of its inputs and outputs.
    pub bytes: u64,
}

impl ProfileStep {
    /// Seconds of all its kernels.
    pub fn seconds(&self) -> f64 {
        self.kernels.iter().map(|(_, seconds)| seconds).sum()
    }
}

/// What a device reached on a product of two 1024 x 1024 matrices and on a copy of 64 MiB, measured beside a profile.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Peak {
    /// Floating-point operations a second.
    pub flops: f64,
    /// Bytes read and written a second.
    pub bytes: f64,
}

/// Where the time of a run goes. Its `Display` is two tables of 80 columns, by layer and by kernel.
///
/// Time is that of the GPU's own clock where it has one, each kernel run by itself; else, and on the CPU, by the clock on the wall.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Profile {
    /// The device.
    pub device: String,
    /// What was run (`training`, `prediction`).
    pub what: &'static str,
    /// Samples a run.
    pub batch: usize,
    /// Seconds of a whole run, as programs run it: the median.
    pub run_seconds: f64,
    /// Seconds of the host for a run, medians: to feed and submit it, for which an idle GPU waits, and to record the next one, while the GPU is at
    /// work. None on the CPU.
    pub host_seconds: Option<[f64; 2]>,
    /// The steps in order; their times are medians too.
    pub steps: Vec<ProfileStep>,
    /// What the device reached on the simplest work.
    pub peak: Peak,
}

impl Model {
    /// Measures a training step on a batch of random samples: each op, and the whole. The parameters stay as they are; what the step
    /// changes is a copy.
    ///
    /// # Errors
    /// As for [`Model::summary_for`], and [`Error::Gpu`](crate::Error::Gpu), [`Error::DeviceLost`](crate::Error::DeviceLost).
    pub fn profile(&mut self, fit: &Fit) -> Result<Profile> {
        pollster::block_on(self.profile_async(fit))
    }

    /// [`Model::profile`] for programs that mustn't block.
    pub async fn profile_async(&mut self, fit: &Fit) -> Result<Profile> {
        fit.check()?;
        self.check_outputs(&*fit.loss)?;
        let target_type = self.likely_targets(&*fit.loss, fit.batch);
        let of_targets = target_type.clone();
        let samples = |graph: &mut Graph| add_host_batch(graph, self.input_shape(), of_targets);
        let (plan, ports) = self.plan_step(fit.batch, samples, fit)?;
        let mut random = Stream::new(Seed(0), 0);
        let mut feeds = Vec::new();
        if let Some(DataPorts { images: Some(images), targets: Some(targets), .. }) = ports.data {
            feeds.push((images, self.random_images(&mut random, fit.batch)?));
            let (n, classes) = (target_type.elements(), self.output_shape().last() as u32);
            let values = match target_type.dtype {
                DType::U32 => Tensor::u32(target_type.shape, (0..n).map(|_| random.below(classes)).collect())?,
                _ => Tensor::f32(target_type.shape, (0..n).map(|_| random.normal() as f32).collect())?,
            };
            feeds.push((targets, values));
        }
        if let (Some(step), Some(hyper)) = (ports.step, ports.hyper) {
            let rate = fit.optimizer.learning_rate();
            feeds.push((step, Tensor::u32([1], vec![1])?));
            feeds.push((hyper, fit.hyper(1, rate, true)?));
        }
        if let Some(accumulation) = ports.accumulation {
            feeds.push((accumulation, Tensor::f32([HYPER], vec![1.0; HYPER])?));
        }
        self.measure("training", fit.batch, plan, feeds).await
    }

    /// Measures a prediction of `n` random samples, as [`Model::profile`] does a training step.
    ///
    /// # Errors
    /// [`Error::DoesNotFit`](crate::Error::DoesNotFit), [`Error::Gpu`](crate::Error::Gpu),
    /// [`Error::DeviceLost`](crate::Error::DeviceLost).
    pub fn profile_prediction(&mut self, n: usize) -> Result<Profile> {
        pollster::block_on(self.profile_prediction_async(n))
    }

    /// [`Model::profile_prediction`] for programs that mustn't block.
    pub async fn profile_prediction_async(&mut self, n: usize) -> Result<Profile> {
        self.network.input()?;
        let (plan, Ports { inputs, .. }) = self.plan_prediction(n, false)?;
        let images = self.random_images(&mut Stream::new(Seed(0), 0), n)?;
        let feeds = inputs.into_iter().map(|x| (x, images.clone())).collect();
        self.measure("prediction", n, plan, feeds).await
    }

    fn random_images(&self, random: &mut Stream, n: usize) -> Result<Tensor> {
        let shape = self.input_shape().with_batch(n).checked("images")?;
        let data = (0..shape.elements()).map(|_| random.normal() as f32).collect();
        Tensor::f32(shape, data)
    }

    async fn measure(&mut self, what: &'static str, batch: usize, plan: Plan, feeds: Vec<(Value, Tensor)>) -> Result<Profile> {
        let device = self.device().clone();
        // States of its own.
        let mut runtime = Runtime::new(&device);
        for page in 0..self.layout.pages.len() {
            let name = self.layout.page_name(page);
            runtime.set_state(&name, &self.runtime.state(&name).await?).await?;
        }
        let mut steps = describe(&plan);
        let feeds: Vec<(Value, &Tensor)> =
            feeds.iter().filter(|(v, _)| plan.location(*v).is_some()).map(|(v, t)| (*v, t)).collect();
        let program = runtime.load(plan).await?;
        runtime.run(program, &feeds).await?;
        let (mut runs, mut rounds, mut hosts) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            hosts.extend(runtime.time_host(program, &feeds).await?);
            let clock = Clock::start();
            // Several, as programs have several in flight.
            for _ in 0..4 {
                runtime.run_again(program).await?;
            }
            runtime.finish().await?;
            runs.push(clock.seconds() / 4.0);
            rounds.push(runtime.time_steps(program).await?);
        }
        for (s, step) in steps.iter_mut().enumerate() {
            for (k, (_, seconds)) in step.kernels.iter_mut().enumerate() {
                *seconds = median(rounds.iter().filter_map(|round| round[s].get(k).copied()).collect());
            }
        }
        steps.retain(|step| !step.kernels.is_empty());
        Ok(Profile {
            device: device.to_string(),
            what,
            batch,
            run_seconds: median(runs),
            host_seconds: (!hosts.is_empty()).then(|| [0, 1].map(|part| median(hosts.iter().map(|host| host[part]).collect()))),
            steps,
            peak: peak(&device).await?,
        })
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// The steps of a plan, without times.
fn describe(plan: &Plan) -> Vec<ProfileStep> {
    let nodes = || plan.steps.iter().map(|step| &plan.graph.nodes()[step.node]);
    let updaters: HashSet<&str> = nodes().filter(|n| !n.op.in_place().is_empty()).map(|n| n.name.as_str()).collect();
    let mut steps = Vec::with_capacity(plan.steps.len());
    for (s, step) in plan.steps.iter().enumerate() {
        let node = &plan.graph.nodes()[step.node];
        let gradient_of = node.name.strip_suffix("/gradient");
        let pass = match gradient_of {
            _ if s < plan.n_prepared() => Pass::Once,
            Some(_) => Pass::Backward,
            None if updaters.contains(node.name.as_str()) => Pass::Update,
            None => Pass::Forward,
        };
        let kernels = match plan.profile() {
            Some(_) => step.dispatches.iter().map(|d| (d.kernel.name.to_string(), 0.0)).collect(),
            None if node.op.view().is_some() => Vec::new(),
            None => vec![(node.op.name().to_string(), 0.0)],
        };
        // An op whose inputs already lie in its output has nothing to do.
        let is_done = !step.placed.is_empty() && step.placed.iter().all(|&placed| placed);
        let cost = if is_done { Cost::default() } else { plan.graph.cost(node) };
        steps.push(ProfileStep {
            layer: gradient_of.unwrap_or(&node.name).to_string(),
            pass,
            op: node.op.name().to_string(),
            kernels,
            flops: cost.flops,
            bytes: cost.bytes,
        });
    }
    steps
}

/// What the device reaches on the simplest work of each kind.
async fn peak(device: &Device) -> Result<Peak> {
    const SIDE: usize = 1024;
    const ELEMENTS: usize = 8 << 20;
    let mut rates = [0.0; 2];
    for (rate, work) in rates.iter_mut().zip([2.0 * (SIDE * SIDE * SIDE) as f64, 8.0 * ELEMENTS as f64]) {
        let mut graph = Graph::new();
        let is_product = work > 1e9;
        let shape = if is_product { [SIDE, SIDE] } else { [1, ELEMENTS] };
        let x = graph.input("x", TensorType::f32(shape))?;
        let y = if is_product { graph.node(Matmul::default(), &[x, x])? } else { graph.node(Scale { factor: 0.5 }, &[x])? };
        let mut runtime = Runtime::new(device);
        let program = runtime.load(device.plan(graph, &[y])?).await?;
        let mut random = Stream::new(Seed(0), 0);
        let data = (0..shape[0] * shape[1]).map(|_| random.uniform() as f32).collect();
        runtime.run(program, &[(x, &Tensor::f32(shape, data)?)]).await?;
        let mut best = f64::INFINITY;
        for _ in 0..ROUNDS {
            let seconds: f64 = runtime.time_steps(program).await?.iter().flatten().sum();
            best = best.min(seconds);
        }
        *rate = work / best;
    }
    Ok(Peak { flops: rates[0], bytes: rates[1] })
}

/// Times and work of several steps.
#[derive(Clone, Copy, Default)]
struct Sum {
    seconds: f64,
    by_pass: [f64; 3],
    flops: u64,
    bytes: u64,
    n: usize,
    /// Seconds that the device's peak would need.
    least: f64,
}

impl Sum {
    fn add(&mut self, step: &ProfileStep, seconds: f64, peak: Peak) {
        let column = match step.pass {
            Pass::Once | Pass::Forward => 0,
            Pass::Backward => 1,
            Pass::Update => 2,
        };
        self.seconds += seconds;
        self.by_pass[column] += seconds;
        self.flops += step.flops;
        self.bytes += step.bytes;
        self.n += 1;
        self.least += (step.flops as f64 / peak.flops).max(step.bytes as f64 / peak.bytes);
    }

    fn rates(&self) -> [String; 3] {
        let rate =
            |amount: u64| if self.seconds > 0.0 { format!("{:.1}", amount as f64 / self.seconds * 1e-9) } else { String::new() };
        let share = if self.seconds > 0.0 { format!("{:.0}%", 100.0 * self.least / self.seconds) } else { String::new() };
        [rate(self.flops), rate(self.bytes), share]
    }
}

impl Profile {
    /// Seconds of all steps that are part of a run.
    pub fn seconds(&self) -> f64 {
        self.steps_of_a_run().map(ProfileStep::seconds).sum()
    }

    /// The steps that are part of a run: all but those made once.
    pub fn steps_of_a_run(&self) -> impl Iterator<Item = &ProfileStep> {
        self.steps.iter().filter(|s| s.pass != Pass::Once)
    }

    /// The same as JSON: device, what, batch, run_seconds, host_seconds (an array of the two), peak, and the steps with layer, pass, op,
    /// kernels, flops, bytes.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_else(|_| unreachable!("text and numbers"))
    }

    /// Sums by a key, in the order in which keys first appear.
    fn sums<'a>(&'a self, key: impl Fn(&'a ProfileStep) -> &'a str) -> Vec<(&'a str, Sum)> {
        let mut sums: Vec<(&str, Sum)> = Vec::new();
        for step in self.steps_of_a_run() {
            let key = key(step);
            let at = sums.iter().position(|(k, _)| *k == key).unwrap_or_else(|| {
                sums.push((key, Sum::default()));
                sums.len() - 1
            });
            sums[at].1.add(step, step.seconds(), self.peak);
        }
        sums
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total = self.seconds();
        let ms = |seconds: f64| if seconds > 0.0 { format!("{:.3}", seconds * 1e3) } else { String::new() };
        let percent = |seconds: f64| format!("{:.1}", 100.0 * seconds / total.max(f64::MIN_POSITIVE));
        writeln!(f, "{} on batches of {}, on {}", self.what, self.batch, self.device)?;
        let rate = self.batch as f64 / self.run_seconds.max(f64::MIN_POSITIVE);
        writeln!(f, "a run: {} ms, {} samples a second", ms(self.run_seconds), grouped(rate.round() as u64))?;
        writeln!(
            f,
            "its steps by themselves: {} ms, {:.0}% of it",
            ms(total),
            100.0 * total / self.run_seconds.max(f64::MIN_POSITIVE)
        )?;
        if let Some([submit, record]) = self.host_seconds.map(|host| host.map(|seconds| seconds * 1e6)) {
            let dispatches: usize = self.steps_of_a_run().map(|step| step.kernels.len()).sum();
            writeln!(
                f,
                "the host's part for {dispatches} dispatches: {submit:.0} us, and {record:.0} us while the GPU is at work"
            )?;
        }
        let peak = [self.peak.flops, self.peak.bytes].map(|p| format!("{:.1}", p * 1e-9));
        writeln!(f, "peak, as measured: {} GFLOP/s, {} GB/s\n", peak[0], peak[1])?;

        let row = |f: &mut fmt::Formatter<'_>, c: [&str; 8]| {
            let line =
                format!("{:<22}{:>10}{:>10}{:>9}{:>7}{:>9}{:>7}{:>6}", cut(c[0], 21), c[1], c[2], c[3], c[4], c[5], c[6], c[7]);
            writeln!(f, "{}", line.trim_end())
        };
        row(f, ["layer", "forward", "backward", "update", "%", "GFLOP/s", "GB/s", "peak"])?;
        writeln!(f, "{:<22}{:>10}{:>10}{:>9}", "", "ms", "ms", "ms")?;
        let mut all = Sum::default();
        self.steps_of_a_run().for_each(|step| all.add(step, step.seconds(), self.peak));
        // A layer that took others into its kernel is called after all of them (`conv2d + relu`), its gradient after itself.
        for (layer, sum) in self.sums(|s| s.layer.split(" + ").next().unwrap_or_default()).iter().chain([&("all", all)]) {
            let ([forward, backward, update], [flops, bytes, share]) = (sum.by_pass.map(ms), sum.rates());
            row(f, [layer, &forward, &backward, &update, &percent(sum.seconds), &flops, &bytes, &share])?;
        }

        let row = |f: &mut fmt::Formatter<'_>, c: [&str; 7]| {
            let line = format!("{:<32}{:>8}{:>10}{:>8}{:>9}{:>7}{:>6}", cut(c[0], 31), c[1], c[2], c[3], c[4], c[5], c[6]);
            writeln!(f, "{}", line.trim_end())
        };
        writeln!(f)?;
        row(f, ["op", "times", "ms", "%", "GFLOP/s", "GB/s", "peak"])?;
        let mut ops = self.sums(|s| &s.op);
        ops.sort_by(|a, b| b.1.seconds.total_cmp(&a.1.seconds));
        for (op, sum) in &ops {
            let [flops, bytes, share] = sum.rates();
            row(f, [op, &sum.n.to_string(), &ms(sum.seconds), &percent(sum.seconds), &flops, &bytes, &share])?;
        }
        Ok(())
    }
}
