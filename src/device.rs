//! Where a model runs: the choice of a device, and a runtime that runs plans on it, whichever it is.

use crate::cpu;
use crate::error::{Error, Result};
use crate::gpu;
use crate::graph::{Graph, Memory, Origin, Plan, StorageKind, state_mismatch, unknown_state};
use crate::op::{Buf, Choices, DeviceProfile, Value};
use crate::ops::gemm;
use crate::tensor::Tensor;
use std::collections::HashSet;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

pub use crate::gpu::{DeviceInfo, GpuOptions, GpuStats};

/// A GPU, or the CPU backend. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Device {
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    Cpu,
    Gpu(Arc<gpu::Gpu>, Arc<DeviceProfile>),
}

impl Device {
    /// The CPU backend.
    pub fn cpu() -> Device {
        Device { kind: Kind::Cpu }
    }

    /// The device that `STRIATE_DEVICE` names, if it is set; else a discrete GPU, else an integrated one, else the CPU backend. A
    /// software GPU is only taken when it is asked for.
    ///
    /// # Errors
    /// [`Error::NoDevice`] if `STRIATE_DEVICE` matches nothing; [`Error::Gpu`] if the device can't be opened.
    pub fn best() -> Result<Device> {
        pollster::block_on(Device::best_async())
    }

    /// [`Device::best`] for programs that mustn't block, as in a browser.
    pub async fn best_async() -> Result<Device> {
        match std::env::var("STRIATE_DEVICE") {
            Ok(name) if !name.is_empty() => Device::named_async(&name).await,
            _ => Device::open(gpu::best().await).await,
        }
    }

    /// `cpu`, `gpu` (the best GPU, a software one if there is no other), or the first device with `name` as a part of its name,
    /// without regard to case.
    ///
    /// # Errors
    /// [`Error::NoDevice`] if nothing matches; [`Error::Gpu`] if the device can't be opened.
    pub fn named(name: &str) -> Result<Device> {
        pollster::block_on(Device::named_async(name))
    }

    /// [`Device::named`] for programs that mustn't block.
    pub async fn named_async(name: &str) -> Result<Device> {
        if name.eq_ignore_ascii_case("cpu") {
            return Ok(Device::cpu());
        }
        let adapter = Device::adapter(name).await?;
        Device::open(Some(adapter)).await
    }

    async fn adapter(name: &str) -> Result<gpu::Adapter> {
        // An empty name is a part of every name: it would take any GPU.
        let found = if name.is_empty() { None } else { gpu::named(name).await };
        match found {
            Some(adapter) => Ok(adapter),
            None => {
                let available = Device::list_async().await.into_iter().map(|d| d.name).collect();
                Err(Error::NoDevice { wanted: name.to_string(), available })
            }
        }
    }

    /// Opens the GPU `name` (as in [`Device::named`]) in a particular way: default limits, a forced main loop, checked shaders.
    ///
    /// # Errors
    /// As for [`Device::named`].
    pub fn gpu_with(name: &str, options: GpuOptions) -> Result<Device> {
        pollster::block_on(Device::gpu_with_async(name, options))
    }

    /// [`Device::gpu_with`] for programs that mustn't block.
    pub async fn gpu_with_async(name: &str, options: GpuOptions) -> Result<Device> {
        Device::open_gpu(Device::adapter(name).await?, options).await
    }

    async fn open(adapter: Option<gpu::Adapter>) -> Result<Device> {
        match adapter {
            Some(adapter) => Device::open_gpu(adapter, GpuOptions::from_env()).await,
            None => Ok(Device::cpu()),
        }
    }

    async fn open_gpu(adapter: gpu::Adapter, options: GpuOptions) -> Result<Device> {
        let tuning = options.tuning.clone();
        let gpu = gpu::Gpu::open(adapter, options).await?;
        let choices = tuning.map(|path| gpu::load_tuning(&path, &tuning_key(&gpu))).unwrap_or_default();
        let profile = DeviceProfile { choices: Arc::new(choices), ..gpu.profile().clone() };
        Ok(Device { kind: Kind::Gpu(Arc::new(gpu), Arc::new(profile)) })
    }

    /// The same GPU, on which products are cut up by these choices instead of those that this device has. Models, plans and runtimes
    /// keep those of the device that they were made on. The CPU backend has no choices.
    pub fn with_choices(&self, choices: Choices) -> Device {
        let kind = match &self.kind {
            Kind::Cpu => Kind::Cpu,
            Kind::Gpu(gpu, profile) => {
                let profile = DeviceProfile { choices: Arc::new(choices), ..DeviceProfile::clone(profile) };
                Kind::Gpu(gpu.clone(), Arc::new(profile))
            }
        };
        Device { kind }
    }

    /// Writes this device's choices to a JSON file, which [`GpuOptions::tuning`] and `STRIATE_TUNING` read. A file that is there keeps
    /// what it has for other adapters.
    ///
    /// # Errors
    /// [`Error::Invalid`] for the CPU backend; [`Error::File`] if there is a file that isn't of this kind, or it can't be written.
    pub fn save_tuning(&self, path: impl AsRef<Path>) -> Result<()> {
        match &self.kind {
            Kind::Cpu => Err(Error::invalid("device", self, "a GPU; there is nothing to tune on the CPU backend")),
            Kind::Gpu(gpu, profile) => gpu::save_tuning(path.as_ref(), &tuning_key(gpu), &profile.choices),
        }
    }

    /// All devices: the adapters, then the CPU backend.
    pub fn list() -> Vec<DeviceInfo> {
        pollster::block_on(Device::list_async())
    }

    /// [`Device::list`] for programs that mustn't block.
    pub async fn list_async() -> Vec<DeviceInfo> {
        let mut list = gpu::list().await;
        let is_best = list.iter().all(|d| !d.is_best);
        list.push(DeviceInfo {
            name: "cpu".to_string(),
            backend: "cpu".to_string(),
            kind: "CPU backend",
            driver: "striate".to_string(),
            limits: Vec::new(),
            features: Vec::new(),
            is_best,
            reason: if is_best { "there is no hardware GPU" } else { "there is a hardware GPU" }.to_string(),
        });
        list
    }

    /// Name, as the driver gives it; `cpu` for the CPU backend.
    pub fn name(&self) -> &str {
        match &self.kind {
            Kind::Cpu => "cpu",
            Kind::Gpu(gpu, _) => gpu.name(),
        }
    }

    /// `cpu` for the CPU backend, else the API: `vulkan`, `metal`, `dx12`, `webgpu`.
    pub fn backend(&self) -> &str {
        match &self.kind {
            Kind::Cpu => "cpu",
            Kind::Gpu(gpu, _) => gpu.backend(),
        }
    }

    /// What kernels may use of the GPU; nothing for the CPU backend.
    pub fn profile(&self) -> Option<&DeviceProfile> {
        match &self.kind {
            Kind::Cpu => None,
            Kind::Gpu(_, profile) => Some(profile),
        }
    }

    /// Counters of a GPU's work since it was opened; nothing for the CPU backend.
    pub fn stats(&self) -> Option<GpuStats> {
        match &self.kind {
            Kind::Cpu => None,
            Kind::Gpu(gpu, _) => Some(gpu.stats()),
        }
    }

    /// A plan for this device.
    ///
    /// # Errors
    /// [`Error::DoesNotFit`] if the device can't hold it.
    pub fn plan(&self, graph: Graph, outputs: &[Value]) -> Result<Plan> {
        Plan::new(graph, outputs, self.profile()).map_err(|e| match e {
            Error::DoesNotFit { reason, table, .. } => Error::DoesNotFit { device: self.name().to_string(), reason, table },
            other => other,
        })
    }

    /// Runs `graph` once on `feeds` and returns `outputs`, in that order. States start as zeros and are gone afterwards. For single
    /// computations, as in tests and demonstrations: what runs more than once keeps its plan and memory in a [`Runtime`].
    ///
    /// # Errors
    /// As for [`Device::plan`], [`Runtime::load`], [`Runtime::run`] and [`Runtime::fetch`].
    pub fn evaluate(&self, graph: Graph, outputs: &[Value], feeds: &[(Value, &Tensor)]) -> Result<Vec<Tensor>> {
        pollster::block_on(self.evaluate_async(graph, outputs, feeds))
    }

    /// [`Device::evaluate`] for programs that mustn't block.
    pub async fn evaluate_async(&self, graph: Graph, outputs: &[Value], feeds: &[(Value, &Tensor)]) -> Result<Vec<Tensor>> {
        self.run_plan_async(self.plan(graph, outputs)?, outputs, feeds).await
    }

    /// [`Device::evaluate`] of a plan.
    pub(crate) fn run_plan(&self, plan: Plan, outputs: &[Value], feeds: &[(Value, &Tensor)]) -> Result<Vec<Tensor>> {
        pollster::block_on(self.run_plan_async(plan, outputs, feeds))
    }

    async fn run_plan_async(&self, plan: Plan, outputs: &[Value], feeds: &[(Value, &Tensor)]) -> Result<Vec<Tensor>> {
        let mut runtime = Runtime::new(self);
        let program = runtime.load(plan).await?;
        runtime.run(program, feeds).await?;
        let mut tensors = Vec::with_capacity(outputs.len());
        for &v in outputs {
            tensors.push(runtime.fetch(program, v).await?);
        }
        Ok(tensors)
    }
}

/// What measured choices of a GPU are kept by.
fn tuning_key(gpu: &gpu::Gpu) -> gpu::TuningKey {
    gpu::TuningKey {
        adapter: gpu.name().to_string(),
        backend: gpu.backend().to_string(),
        driver: gpu.driver().to_string(),
        kernels: format!("{:016x}", gemm::hash()),
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Cpu => write!(f, "CPU"),
            Kind::Gpu(gpu, _) => write!(f, "{} ({})", gpu.name(), gpu.backend()),
        }
    }
}

/// A plan that a [`Runtime`] has loaded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProgramId(usize);

/// Runs plans on a device, with states that the plans share.
#[derive(Debug)]
pub struct Runtime {
    device: Device,
    inner: Inner,
    /// Programs that have been run, and so have inputs.
    fed: HashSet<usize>,
}

#[derive(Debug)]
enum Inner {
    Cpu { runtime: cpu::Runtime<f32>, programs: Vec<cpu::Program<f32>> },
    Gpu(gpu::Runtime),
}

impl Runtime {
    /// A runtime without states or programs.
    pub fn new(device: &Device) -> Runtime {
        let inner = match &device.kind {
            Kind::Cpu => Inner::Cpu { runtime: cpu::Runtime::new(), programs: Vec::new() },
            Kind::Gpu(gpu, _) => Inner::Gpu(gpu::Runtime::new(gpu.clone())),
        };
        Runtime { device: device.clone(), inner, fed: HashSet::new() }
    }

    /// The device.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Allocates memory and makes kernels for a plan that [`Device::plan`] made. States that no plan named before start as zeros.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a plan made for another device, and if an earlier plan gave a state another type or size;
    /// [`Error::Gpu`] if the driver refuses a kernel or has no memory left.
    pub async fn load(&mut self, plan: Plan) -> Result<ProgramId> {
        // A GPU has nothing to dispatch in a plan for the CPU: its outputs would be zeros.
        let fits = match (plan.profile(), self.device.profile()) {
            (None, None) => true,
            (Some(plan), Some(device)) => device.runs_plans_for(plan),
            _ => false,
        };
        if !fits {
            return Err(Error::invalid(
                "plan",
                "one for another device",
                format!("a plan that this device made, {}", self.device),
            ));
        }
        Ok(ProgramId(match &mut self.inner {
            Inner::Cpu { runtime, programs } => {
                check_states(runtime, &plan)?;
                programs.push(runtime.load(Arc::new(plan)));
                programs.len() - 1
            }
            Inner::Gpu(runtime) => runtime.load(Arc::new(plan)).await?,
        }))
    }

    /// The plan of a program.
    pub fn plan(&self, program: ProgramId) -> &Plan {
        match &self.inner {
            Inner::Cpu { programs, .. } => programs[program.0].plan(),
            Inner::Gpu(runtime) => runtime.plan(program.0),
        }
    }

    /// Bytes of device memory allocated now, for states and all programs.
    pub fn allocated(&self) -> Memory {
        match &self.inner {
            Inner::Cpu { runtime, programs } => Memory {
                states: runtime.state_bytes(),
                inputs: programs.iter().map(|p| p.plan().memory().inputs).sum(),
                prepared: programs.iter().map(|p| p.plan().memory().prepared).sum(),
                scratch: programs.iter().map(|p| p.plan().memory().scratch).sum(),
                ..Memory::default()
            },
            Inner::Gpu(runtime) => runtime.allocated(),
        }
    }

    /// Runs a program once on these inputs. On a GPU this is one submit, and returns before the GPU is done.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an input of the wrong type or a missing one; [`Error::Gpu`], [`Error::DeviceLost`].
    pub async fn run(&mut self, program: ProgramId, feeds: &[(Value, &Tensor)]) -> Result<()> {
        self.check(program, feeds)?;
        self.fed.insert(program.0);
        self.run_fed(program, feeds).await
    }

    /// Runs a program again on the inputs of its last run, which are still on the device: for measurements.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the program was never run; else as for [`Runtime::run`].
    pub async fn run_again(&mut self, program: ProgramId) -> Result<()> {
        self.expect_fed(program)?;
        self.run_fed(program, &[]).await
    }

    /// Runs a program once on a GPU, waits for it, and returns how many seconds the host took: before the GPU had its work, and meanwhile, to
    /// record the next run. On the CPU, where the host does all the work, it does nothing and returns none.
    ///
    /// # Errors
    /// As for [`Runtime::run`].
    pub async fn time_host(&mut self, program: ProgramId, feeds: &[(Value, &Tensor)]) -> Result<Option<[f64; 2]>> {
        self.check(program, feeds)?;
        match &mut self.inner {
            Inner::Cpu { .. } => Ok(None),
            Inner::Gpu(runtime) => Ok(Some(runtime.time_host(program.0, feeds).await?)),
        }
    }

    /// Runs all steps of a program on the inputs of its last run and returns how many seconds the parts of each step took: its
    /// dispatches on a GPU, the whole step on the CPU.
    ///
    /// # Errors
    /// As for [`Runtime::run_again`].
    pub async fn time_steps(&mut self, program: ProgramId) -> Result<Vec<Vec<f64>>> {
        self.expect_fed(program)?;
        match &mut self.inner {
            Inner::Cpu { runtime, programs } => {
                Ok(runtime.time_steps(&mut programs[program.0]).into_iter().map(|seconds| vec![seconds]).collect())
            }
            Inner::Gpu(runtime) => runtime.time_dispatches(program.0).await,
        }
    }

    fn expect_fed(&self, program: ProgramId) -> Result<()> {
        if self.fed.contains(&program.0) {
            Ok(())
        } else {
            Err(Error::invalid("program", "one that was never run", "a first run, with its inputs"))
        }
    }

    async fn run_fed(&mut self, program: ProgramId, feeds: &[(Value, &Tensor)]) -> Result<()> {
        match &mut self.inner {
            Inner::Cpu { runtime, programs } => {
                let feeds = feeds.iter().map(|(v, t)| (*v, Buf::from_tensor(t))).collect();
                runtime.run(&mut programs[program.0], feeds, None)
            }
            Inner::Gpu(runtime) => runtime.run(program.0, feeds).await,
        }
    }

    /// Runs a program step by step and shows each node's outputs to `observe`: for finding faults, not for speed.
    ///
    /// # Errors
    /// As for [`Runtime::run`].
    pub async fn run_observed(
        &mut self,
        program: ProgramId,
        feeds: &[(Value, &Tensor)],
        observe: &mut dyn FnMut(&str, &[Tensor]),
    ) -> Result<()> {
        self.check(program, feeds)?;
        self.fed.insert(program.0);
        match &mut self.inner {
            Inner::Cpu { runtime, programs } => {
                let feeds = feeds.iter().map(|(v, t)| (*v, Buf::from_tensor(t))).collect();
                let plan = programs[program.0].plan().clone();
                let mut failed = Ok(());
                let mut see = |s: usize, outputs: &[Buf<f32>]| {
                    let node = &plan.graph.nodes()[plan.steps[s].node];
                    let shapes = node.outputs.iter().map(|&v| &plan.graph.info(v).ty.shape);
                    match outputs.iter().zip(shapes).map(|(b, shape)| b.to_tensor(shape)).collect::<Result<Vec<_>>>() {
                        Ok(tensors) => observe(&node.name, &tensors),
                        Err(e) => failed = Err(e),
                    }
                };
                runtime.run(&mut programs[program.0], feeds, Some(&mut see))?;
                failed
            }
            Inner::Gpu(runtime) => runtime.run_observed(program.0, feeds, observe).await,
        }
    }

    /// An output of the program's last run. Waits for the GPU.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a value that isn't among the plan's outputs; [`Error::Gpu`], [`Error::DeviceLost`].
    pub async fn fetch(&mut self, program: ProgramId, v: Value) -> Result<Tensor> {
        // The memory of any other value may hold something else by now.
        let plan = self.plan(program);
        if !plan.outputs.contains(&v) {
            let name =
                if plan.graph.contains(v) { plan.graph.info(v).name.clone() } else { "a value of another graph".to_string() };
            return Err(Error::invalid("value to fetch", name, "an output of the plan"));
        }
        match &mut self.inner {
            Inner::Cpu { runtime, programs } => {
                let program = &programs[program.0];
                runtime.fetch(program, v).to_tensor(&program.plan().graph.info(v).ty.shape)
            }
            Inner::Gpu(runtime) => runtime.fetch(program.0, v).await,
        }
    }

    /// A state's elements as a tensor of one dimension. Waits for the GPU.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a name that no plan has; [`Error::Gpu`], [`Error::DeviceLost`].
    pub async fn state(&mut self, name: &str) -> Result<Tensor> {
        match &mut self.inner {
            Inner::Cpu { runtime, .. } => match runtime.state(name) {
                Some(buf) => buf.to_tensor(&[buf.len()].into()),
                None => Err(unknown_state(name)),
            },
            Inner::Gpu(runtime) => runtime.state(name).await,
        }
    }

    /// Sets a state, making it if no plan has named it yet. Its type and number of elements must be those that plans give it.
    ///
    /// # Errors
    /// [`Error::Invalid`] if a plan already gave it another type or size; [`Error::Gpu`].
    pub async fn set_state(&mut self, name: &str, data: &Tensor) -> Result<()> {
        match &mut self.inner {
            Inner::Cpu { runtime, .. } => {
                let new = Buf::from_tensor(data);
                if let Some(old) = runtime.state(name).filter(|old| !old.same_kind(&new)) {
                    return Err(state_mismatch(name, (new.dtype(), new.len()), (old.dtype(), old.len())));
                }
                runtime.set_state(name, new);
                Ok(())
            }
            Inner::Gpu(runtime) => runtime.set_state(name, data).await,
        }
    }

    /// Waits until the device has done all that it was given.
    ///
    /// # Errors
    /// [`Error::Gpu`], [`Error::DeviceLost`].
    pub async fn finish(&mut self) -> Result<()> {
        match &mut self.inner {
            Inner::Cpu { .. } => Ok(()),
            Inner::Gpu(runtime) => runtime.finish().await,
        }
    }

    /// Whether kernels kept to their buffers ([`GpuOptions::guard`]); nothing to look at on the CPU backend.
    ///
    /// # Errors
    /// [`Error::Gpu`] naming the buffer behind whose end a kernel wrote.
    pub async fn check_guards(&mut self, program: ProgramId) -> Result<()> {
        match &mut self.inner {
            Inner::Cpu { .. } => Ok(()),
            Inner::Gpu(runtime) => runtime.check_guards(program.0).await,
        }
    }

    fn check(&self, program: ProgramId, feeds: &[(Value, &Tensor)]) -> Result<()> {
        let plan = self.plan(program);
        for (v, tensor) in feeds {
            plan.graph.expect(*v, "input")?;
            let info = plan.graph.info(*v);
            if info.origin != Origin::Input {
                return Err(Error::invalid(
                    "input",
                    format!("'{}', a value that the plan makes or keeps", info.name),
                    "an input",
                ));
            }
            tensor.tensor_type().expect("input", &info.ty).map_err(|e| e.at(&info.name))?;
        }
        for v in plan.inputs() {
            if feeds.iter().all(|(fed, _)| *fed != v) {
                let info = plan.graph.info(v);
                return Err(Error::invalid("input", "nothing", &info.ty).at(&info.name));
            }
        }
        Ok(())
    }
}

/// Fails if a plan has other types for states than the runtime.
fn check_states(runtime: &cpu::Runtime<f32>, plan: &Plan) -> Result<()> {
    for s in &plan.storages {
        let StorageKind::State(name) = &s.kind else { continue };
        let same = |state: &&Buf<f32>| state.dtype() == s.dtype && state.len() == s.elements;
        if let Some(state) = runtime.state(name).filter(|state| !same(state)) {
            return Err(state_mismatch(name, (s.dtype, s.elements), (state.dtype(), state.len())));
        }
    }
    Ok(())
}
