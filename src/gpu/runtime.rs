//! Runs plans: everything is made when a plan is loaded; a run is one command encoder, one compute pass, one submit. WebGPU's command
//! buffers are good for one submit, so the next run's commands are recorded while the GPU is at work on this one's: it doesn't wait for them.

use super::context::{Gpu, Pipeline};
use super::readback::{Staging, Submission, device_bytes, tensor};
use crate::error::{Error, Result};
use crate::graph::{Location, Memory, Plan, Prepared, StorageKind, Versions, state_mismatch, unknown_state};
use crate::op::{Buffer, Dispatch, Oracle, Value, compare};
use crate::tensor::{DType, Tensor, TensorType};
use std::collections::{HashMap, HashSet, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Runs submitted and not waited for. More would only let the host run ahead of what it shows and of Ctrl-C.
const IN_FLIGHT: usize = 3;

/// Bytes behind each buffer in guard mode, and what they and unused scratch hold: a NaN.
const GUARD_BYTES: u64 = 256;
const GUARD_WORD: u32 = 0x7fc0_dead;

/// Runs plans on a GPU, with states that the plans share.
#[derive(Debug)]
pub struct Runtime {
    pub(super) gpu: Arc<Gpu>,
    states: HashMap<String, State>,
    versions: Versions,
    programs: Vec<Program>,
    pub(super) staging: Staging,
    in_flight: VecDeque<Submission>,
}

#[derive(Debug)]
struct State {
    buffer: wgpu::Buffer,
    dtype: DType,
    elements: usize,
    bytes: u64,
}

/// A plan with its buffers, pipelines and bind groups.
#[derive(Debug)]
pub(super) struct Program {
    plan: Arc<Plan>,
    storages: Vec<wgpu::Buffer>,
    pub ready: Vec<Ready>,
    /// The dispatches of each step.
    pub steps: Vec<Range<usize>>,
    staging: Staging,
    prepared: Prepared,
    /// The commands of a later run, and the dispatches that they are.
    recorded: Option<(Range<usize>, wgpu::CommandBuffer)>,
}

/// A dispatch that only needs recording.
#[derive(Debug)]
pub(super) struct Ready {
    pipeline: Arc<Pipeline>,
    bind_group: wgpu::BindGroup,
    params_offset: u32,
    grid: [u32; 3],
    pub name: &'static str,
    /// Index of its node.
    node: usize,
}

impl Program {
    /// The dispatches of a range of steps.
    fn dispatches(&self, steps: Range<usize>) -> Range<usize> {
        let of = &self.steps[steps];
        of.first().map_or(0, |first| first.start)..of.last().map_or(0, |last| last.end)
    }

    /// A range of dispatches as one pass.
    pub fn record(&self, gpu: &Gpu, dispatches: Range<usize>) -> wgpu::CommandBuffer {
        let mut encoder = gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("run") });
        {
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            self.ready[dispatches].iter().for_each(|ready| ready.record(&mut pass));
        }
        encoder.finish()
    }
}

impl Ready {
    pub fn record(&self, pass: &mut wgpu::ComputePass<'_>) {
        pass.set_pipeline(&self.pipeline.pipeline);
        pass.set_bind_group(0, &self.bind_group, &[self.params_offset]);
        let [x, y, z] = self.grid;
        pass.dispatch_workgroups(x, y, z);
    }
}

impl Runtime {
    /// A runtime without states or programs.
    pub fn new(gpu: Arc<Gpu>) -> Self {
        Runtime {
            gpu,
            states: HashMap::new(),
            versions: Versions::default(),
            programs: Vec::new(),
            staging: Staging::default(),
            in_flight: VecDeque::new(),
        }
    }

    /// Makes buffers, pipelines and bind groups for a plan. Returns the program's number.
    ///
    /// # Errors
    /// [`Error::Gpu`] if the driver refuses a kernel or has no memory left.
    pub async fn load(&mut self, plan: Arc<Plan>) -> Result<usize> {
        let gpu = self.gpu.clone();
        let known: HashSet<String> = self.states.keys().cloned().collect();
        let kernels = plan.clone();
        let made = match gpu.make_pipelines(kernels.steps.iter().flat_map(|s| &s.dispatches)).await {
            Ok(()) => gpu.scoped(|| self.make(plan)).await.and_then(|made| made),
            Err(e) => Err(e),
        };
        match made {
            Ok(program) => {
                self.programs.push(program);
                Ok(self.programs.len() - 1)
            }
            Err(e) => {
                // What the driver refused must not be taken for good by the next plan that needs it.
                self.states.retain(|name, _| known.contains(name));
                gpu.forget(kernels.steps.iter().flat_map(|s| &s.dispatches).map(|d| &d.kernel));
                Err(e)
            }
        }
    }

    fn make(&mut self, plan: Arc<Plan>) -> Result<Program> {
        let mut storages = Vec::with_capacity(plan.storages.len());
        for (i, s) in plan.storages.iter().enumerate() {
            storages.push(match &s.kind {
                StorageKind::State(name) => match self.states.get(name) {
                    Some(state) if state.dtype == s.dtype && state.elements == s.elements => state.buffer.clone(),
                    Some(state) => return Err(state_mismatch(name, (s.dtype, s.elements), (state.dtype, state.elements))),
                    None => self.make_state(name, s.dtype, s.elements, s.bytes()),
                },
                StorageKind::Input(_) => self.storage_buffer("input", s.bytes(), false),
                StorageKind::Prepared(_) => self.storage_buffer("prepared", s.bytes(), true),
                StorageKind::Scratch => self.storage_buffer(&format!("scratch {i}"), s.bytes(), true),
            });
        }
        let gpu = &self.gpu;
        let mut ready = Vec::with_capacity(plan.n_dispatches());
        let mut steps = Vec::with_capacity(plan.steps.len());
        let mut params: Vec<u8> = Vec::new();
        let usage = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
        let uniforms = gpu.buffer("params", plan.memory().uniforms, usage);
        for step in &plan.steps {
            let first = ready.len();
            for d in &step.dispatches {
                let params_offset = params.len() as u32;
                for (_, word) in &d.params {
                    params.extend(word.bits().to_le_bytes());
                }
                params.resize(params.len().next_multiple_of(gpu.profile().uniform_alignment as usize), 0);
                let pipeline = gpu.pipeline(&d.kernel, &d.bindings)?;
                let bind_group = self.bind(&plan, step, d, &pipeline, &storages, &uniforms);
                ready.push(Ready { pipeline, bind_group, params_offset, grid: d.grid, name: d.kernel.name, node: step.node });
            }
            steps.push(first..ready.len());
        }
        if !params.is_empty() {
            gpu.queue.write_buffer(&uniforms, 0, &params);
        }
        let mut staging = Staging::default();
        let largest = plan.outputs.iter().map(|&v| plan.value_bytes(v)).max().unwrap_or(0);
        staging.reserve(gpu, largest);
        Ok(Program { plan, storages, ready, steps, staging, prepared: Prepared::default(), recorded: None })
    }

    fn storage_buffer(&self, label: &str, bytes: u64, poison: bool) -> wgpu::Buffer {
        let guard = if self.gpu.options.guard { GUARD_BYTES } else { 0 };
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
        let buffer = self.gpu.buffer(label, bytes + guard, usage);
        if guard > 0 {
            let from = if poison { 0 } else { bytes };
            let words = vec![GUARD_WORD; ((bytes + guard - from) / 4) as usize];
            self.gpu.queue.write_buffer(&buffer, from, bytemuck::cast_slice(&words));
        }
        buffer
    }

    fn make_state(&mut self, name: &str, dtype: DType, elements: usize, bytes: u64) -> wgpu::Buffer {
        let buffer = self.storage_buffer(name, bytes, false);
        self.states.insert(name.to_string(), State { buffer: buffer.clone(), dtype, elements, bytes });
        buffer
    }

    fn bind(
        &self,
        plan: &Plan,
        step: &crate::graph::Step,
        d: &Dispatch,
        pipeline: &Pipeline,
        storages: &[wgpu::Buffer],
        uniforms: &wgpu::Buffer,
    ) -> wgpu::BindGroup {
        let node = &plan.graph.nodes()[step.node];
        let of_value = |v: Value| {
            let at = plan.location(v).unwrap_or_else(|| unreachable!("every value of a step has a place"));
            (at, &plan.graph.info(v).ty)
        };
        let binding = |at: Location, ty: &TensorType| {
            wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                buffer: &storages[at.storage],
                offset: (at.offset * ty.dtype.bytes()) as u64,
                size: std::num::NonZero::new((ty.bytes() as u64).next_multiple_of(4)),
            })
        };
        let params_bytes = (d.params.len() as u64 * 4).next_multiple_of(16);
        let mut entries = vec![wgpu::BindGroupEntry {
            binding: 0,
            resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                buffer: uniforms,
                offset: 0,
                size: std::num::NonZero::new(params_bytes),
            }),
        }];
        for (i, b) in d.bindings.iter().enumerate() {
            let (at, ty) = match b.buffer {
                Buffer::Input(i) => of_value(node.inputs[i]),
                Buffer::Output(o) => of_value(node.outputs[o]),
                Buffer::Temp(t) => (step.temps[t].0, &step.temps[t].1),
            };
            entries.push(wgpu::BindGroupEntry { binding: i as u32 + 1, resource: binding(at, ty) });
        }
        self.gpu.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some(d.kernel.name),
            layout: &pipeline.layout,
            entries: &entries,
        })
    }

    /// The plan of a program.
    pub fn plan(&self, program: usize) -> &Plan {
        &self.programs[program].plan
    }

    /// Bytes of device memory allocated now.
    pub fn allocated(&self) -> Memory {
        let mut m = Memory { staging: self.staging.bytes(), ..Memory::default() };
        m.states = self.states.values().map(|s| s.buffer.size()).sum();
        for p in &self.programs {
            for (s, buffer) in p.plan.storages.iter().zip(&p.storages) {
                match s.kind {
                    StorageKind::State(_) => {}
                    StorageKind::Input(_) => m.inputs += buffer.size(),
                    StorageKind::Prepared(_) => m.prepared += buffer.size(),
                    StorageKind::Scratch => m.scratch += buffer.size(),
                }
            }
            m.uniforms += p.plan.memory().uniforms;
            m.staging += p.staging.bytes();
        }
        m
    }

    /// Runs a program once.
    ///
    /// # Errors
    /// [`Error::Gpu`], [`Error::DeviceLost`]; [`Error::Validation`] if the GPU was opened to validate.
    pub async fn run(&mut self, program: usize, feeds: &[(Value, &Tensor)]) -> Result<()> {
        if self.gpu.options.validate {
            return self.run_validated(program, feeds).await;
        }
        self.start(program, feeds)?;
        self.record_ahead(program);
        if self.in_flight.len() > IN_FLIGHT
            && let Some(oldest) = self.in_flight.pop_front()
        {
            self.gpu.wait(oldest).await?;
        }
        Ok(())
    }

    /// Gives the GPU a run to do.
    pub(super) fn start(&mut self, program: usize, feeds: &[(Value, &Tensor)]) -> Result<()> {
        self.feed(program, feeds);
        let steps = self.due(program);
        self.submit(program, steps)
    }

    pub(super) fn program(&self, program: usize) -> &Program {
        &self.programs[program]
    }

    /// The steps that a run has to make.
    pub(super) fn due(&mut self, program: usize) -> Range<usize> {
        let p = &mut self.programs[program];
        self.versions.run(&p.plan, &mut p.prepared)
    }

    fn feed(&self, program: usize, feeds: &[(Value, &Tensor)]) {
        let p = &self.programs[program];
        for (v, t) in feeds {
            if let Some(at) = p.plan.location(*v) {
                self.gpu.queue.write_buffer(&p.storages[at.storage], 0, &device_bytes(t));
            }
        }
    }

    /// Submits a range of steps as one pass.
    fn submit(&mut self, program: usize, steps: Range<usize>) -> Result<()> {
        let gpu = self.gpu.clone();
        let p = &mut self.programs[program];
        let dispatches = p.dispatches(steps);
        if dispatches.is_empty() {
            return Ok(());
        }
        if gpu.options.trace {
            for r in &p.ready[dispatches.clone()] {
                log::trace!("dispatch {} {:?} for {}", r.name, r.grid, p.plan.graph.nodes()[r.node].name);
            }
        }
        gpu.counters.dispatches.fetch_add(dispatches.len() as u64, Ordering::Relaxed);
        let commands = match p.recorded.take() {
            Some((of, commands)) if of == dispatches => commands,
            _ => p.record(&gpu, dispatches),
        };
        self.in_flight.push_back(gpu.submit(commands));
        gpu.check()
    }

    /// Records what a run makes once all that is prepared from states has been, as long as nobody changes these.
    pub(super) fn record_ahead(&mut self, program: usize) {
        let p = &mut self.programs[program];
        let dispatches = p.dispatches(p.plan.n_prepared()..p.steps.len());
        p.recorded = Some((dispatches.clone(), p.record(&self.gpu, dispatches)));
    }

    /// Runs a program step by step and shows each node's outputs.
    ///
    /// # Errors
    /// As for [`Runtime::run`].
    pub async fn run_observed(
        &mut self,
        program: usize,
        feeds: &[(Value, &Tensor)],
        observe: &mut dyn FnMut(&str, &[Tensor]),
    ) -> Result<()> {
        self.feed(program, feeds);
        self.due(program);
        let plan = self.programs[program].plan.clone();
        for (s, step) in plan.steps.iter().enumerate() {
            let node = &plan.graph.nodes()[step.node];
            self.submit(program, s..s + 1)?;
            let outputs = self.read_all(program, &node.outputs).await?;
            observe(&node.name, &outputs);
        }
        Ok(())
    }

    /// Runs a program step by step and compares each with the f64 CPU on the same inputs.
    async fn run_validated(&mut self, program: usize, feeds: &[(Value, &Tensor)]) -> Result<()> {
        self.feed(program, feeds);
        self.due(program);
        let plan = self.programs[program].plan.clone();
        for (s, step) in plan.steps.iter().enumerate() {
            let node = &plan.graph.nodes()[step.node];
            // Read before the step: it may overwrite an input.
            let inputs = self.read_all(program, &node.inputs).await?;
            self.submit(program, s..s + 1)?;
            let outputs = self.read_all(program, &node.outputs).await?;
            let types = plan.graph.types(&node.inputs);
            let inputs: Vec<Oracle> = inputs.iter().map(Oracle::from_tensor).collect();
            let worst = compare(&*node.op, &types, &inputs, &outputs, step.depth).map_err(|e| e.at(&node.name))?;
            // A share that is NaN is no pass.
            if worst.share.is_nan() || worst.share > 1.0 {
                return Err(Error::Validation {
                    node: node.name.clone(),
                    op: node.op.name().to_string(),
                    output: worst.output,
                    element: worst.element,
                    device: self.gpu.name().to_string(),
                    got: worst.got,
                    want: worst.want,
                    bound: worst.bound,
                });
            }
            log::debug!("validated {} ({}): {:.3} of the bound", node.name, node.op.name(), worst.share);
        }
        Ok(())
    }

    async fn read_all(&mut self, program: usize, values: &[Value]) -> Result<Vec<Tensor>> {
        let mut tensors = Vec::with_capacity(values.len());
        for &v in values {
            tensors.push(self.read_value(program, v, false).await?);
        }
        Ok(tensors)
    }

    /// An output of the program's last run.
    ///
    /// # Errors
    /// [`Error::Gpu`], [`Error::DeviceLost`].
    pub async fn fetch(&mut self, program: usize, v: Value) -> Result<Tensor> {
        self.read_value(program, v, true).await
    }

    async fn read_value(&mut self, program: usize, v: Value, own_staging: bool) -> Result<Tensor> {
        let p = &mut self.programs[program];
        let ty = p.plan.graph.info(v).ty.clone();
        let Some(at) = p.plan.location(v) else {
            return Err(Error::invalid("value", &p.plan.graph.info(v).name, "one that the plan makes"));
        };
        let (offset, bytes) = ((at.offset * ty.dtype.bytes()) as u64, p.plan.value_bytes(v));
        let staging = if own_staging { &mut p.staging } else { &mut self.staging };
        let data = staging.read(&self.gpu, &p.storages[at.storage], offset, bytes).await?;
        self.in_flight.clear();
        tensor(&ty, &data)
    }

    /// A state as a tensor of one dimension.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a name that no plan has; [`Error::Gpu`], [`Error::DeviceLost`].
    pub async fn state(&mut self, name: &str) -> Result<Tensor> {
        let state = self.states.get(name).ok_or_else(|| unknown_state(name))?;
        let ty = TensorType::new(state.dtype, [state.elements]);
        let data = self.staging.read(&self.gpu, &state.buffer, 0, state.bytes).await?;
        self.in_flight.clear();
        tensor(&ty, &data)
    }

    /// Sets a state, making it if need be.
    ///
    /// # Errors
    /// [`Error::Invalid`] if it has another type or size; [`Error::Gpu`].
    pub async fn set_state(&mut self, name: &str, data: &Tensor) -> Result<()> {
        let ty = data.tensor_type();
        let buffer = match self.states.get(name) {
            Some(s) if s.dtype == ty.dtype && s.elements == ty.elements() => s.buffer.clone(),
            Some(s) => return Err(state_mismatch(name, (ty.dtype, ty.elements()), (s.dtype, s.elements))),
            None => {
                let gpu = self.gpu.clone();
                let bytes = (ty.bytes() as u64).next_multiple_of(4);
                match gpu.scoped(|| self.make_state(name, ty.dtype, ty.elements(), bytes)).await {
                    Ok(buffer) => buffer,
                    Err(e) => {
                        self.states.remove(name);
                        return Err(e);
                    }
                }
            }
        };
        self.gpu.queue.write_buffer(&buffer, 0, &device_bytes(data));
        self.versions.set(name);
        self.gpu.check()
    }

    /// Waits until the GPU has done all that it was given.
    ///
    /// # Errors
    /// [`Error::Gpu`], [`Error::DeviceLost`].
    pub async fn finish(&mut self) -> Result<()> {
        self.in_flight.clear();
        self.gpu.wait_all().await
    }

    /// Whether the guard zones behind the program's buffers are as they were made ([`super::GpuOptions::guard`]).
    ///
    /// # Errors
    /// [`Error::Gpu`] if one was written to, naming the buffer.
    pub async fn check_guards(&mut self, program: usize) -> Result<()> {
        if !self.gpu.options.guard {
            return Ok(());
        }
        let plan = self.programs[program].plan.clone();
        for (i, s) in plan.storages.iter().enumerate() {
            let buffer = self.programs[program].storages[i].clone();
            let words = self.staging.read(&self.gpu, &buffer, s.bytes(), GUARD_BYTES).await?;
            if words.chunks(4).any(|w| w != GUARD_WORD.to_le_bytes()) {
                return Err(self.gpu.error(format!("a kernel wrote behind the end of buffer {i} ({:?})", s.kind)));
            }
        }
        Ok(())
    }
}
