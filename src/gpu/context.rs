//! An open GPU: device and queue, its profile, its pipelines, and what went wrong with it.

use super::adapter::{Adapter, backend_name, driver_of, name_of};
use super::compose::compose;
use super::options::GpuOptions;
use crate::error::{Error, Result};
#[cfg(not(target_arch = "wasm32"))]
use crate::linalg::map_indices;
use crate::op::{Binding, DeviceProfile, Dispatch, Kernel, MainLoop};
use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Counters since a GPU was opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct GpuStats {
    /// Submits to the queue.
    pub submits: u64,
    /// Dispatches recorded.
    pub dispatches: u64,
    /// Buffers made.
    pub buffers: u64,
    /// Pipelines made.
    pub pipelines: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub submits: AtomicU64,
    pub dispatches: AtomicU64,
    pub buffers: AtomicU64,
    pub pipelines: AtomicU64,
}

/// A kernel ready to run.
#[derive(Debug)]
pub(super) struct Pipeline {
    pub pipeline: wgpu::ComputePipeline,
    pub layout: wgpu::BindGroupLayout,
}

/// An open GPU.
#[derive(Debug)]
pub struct Gpu {
    name: String,
    backend: &'static str,
    driver: String,
    profile: DeviceProfile,
    pub(super) options: GpuOptions,
    pub(super) device: wgpu::Device,
    pub(super) queue: wgpu::Queue,
    pub(super) counters: Counters,
    pipelines: Mutex<HashMap<Kernel, Arc<Pipeline>>>,
    /// The first error that nobody was waiting for.
    fault: Arc<Mutex<Option<Error>>>,
}

/// A poisoned lock only means that another thread panicked between two of our own assignments; the data are whole.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Gpu {
    /// Opens an adapter.
    ///
    /// # Errors
    /// [`Error::Gpu`] if the driver refuses.
    pub async fn open(adapter: Adapter, options: GpuOptions) -> Result<Gpu> {
        let info = adapter.wgpu.get_info();
        let name = name_of(&info);
        let wanted = wgpu::Features::SUBGROUP | wgpu::Features::TIMESTAMP_QUERY;
        let features = adapter.wgpu.features() & wanted;
        let limits = if options.default_limits { wgpu::Limits::default() } else { adapter.wgpu.limits() };
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("striate"),
            required_features: features,
            required_limits: limits,
            // The plan's buffers are few and exact; a pool of large blocks would only waste memory.
            memory_hints: wgpu::MemoryHints::MemoryUsage,
            ..Default::default()
        };
        let failed = |e: &dyn std::fmt::Display| Error::Gpu { device: name.clone(), message: e.to_string() };
        let (device, queue) = adapter.wgpu.request_device(&descriptor).await.map_err(|e| failed(&e))?;
        let limits = device.limits();
        let same_subgroups = info.subgroup_min_size == info.subgroup_max_size && features.contains(wgpu::Features::SUBGROUP);
        let subgroup_len = same_subgroups.then_some(info.subgroup_min_size);
        let suited = match (info.device_type, subgroup_len) {
            (wgpu::DeviceType::Cpu, Some(4 | 8)) => MainLoop::Subgroup,
            (wgpu::DeviceType::Cpu, _) => MainLoop::Plain,
            _ => MainLoop::Tiled,
        };
        let profile = DeviceProfile {
            main_loop: options.main_loop.unwrap_or(suited),
            tile: options.tile,
            choices: Arc::default(),
            subgroup_len,
            max_binding_bytes: options.max_binding_bytes.unwrap_or(u64::MAX).min(limits.max_storage_buffer_binding_size),
            max_buffer_bytes: limits.max_buffer_size,
            max_workgroups: options.max_workgroups.unwrap_or(u32::MAX).min(limits.max_compute_workgroups_per_dimension),
            storage_alignment: limits.min_storage_buffer_offset_alignment,
            uniform_alignment: limits.min_uniform_buffer_offset_alignment,
            memory_budget: options.memory_budget,
        };
        let fault: Arc<Mutex<Option<Error>>> = Arc::default();
        let keep = |fault: &Mutex<Option<Error>>, e: Error| {
            log::error!("{e}");
            lock(fault).get_or_insert(e);
        };
        let (slot, device_name) = (fault.clone(), name.clone());
        device.on_uncaptured_error(Arc::new(move |e: wgpu::Error| {
            keep(&slot, Error::Gpu { device: device_name.clone(), message: e.to_string() });
        }));
        let (slot, device_name) = (fault.clone(), name.clone());
        device.set_device_lost_callback(move |reason, message| {
            // Dropping the device is how every program ends.
            if reason != wgpu::DeviceLostReason::Destroyed || !message.is_empty() {
                let message = format!("{reason:?} {message}");
                keep(&slot, Error::DeviceLost { device: device_name.clone(), message });
            }
        });
        log::info!("opened {name} through {}: {profile:?}", backend_name(info.backend));
        Ok(Gpu {
            name,
            backend: backend_name(info.backend),
            driver: driver_of(&info),
            profile,
            options,
            device,
            queue,
            counters: Counters::default(),
            pipelines: Mutex::default(),
            fault,
        })
    }

    /// Name, as the driver gives it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The API: `vulkan`, `metal`, `dx12`, `webgpu`.
    pub fn backend(&self) -> &str {
        self.backend
    }

    /// Driver and its version.
    pub fn driver(&self) -> &str {
        &self.driver
    }

    /// What kernels may use.
    pub fn profile(&self) -> &DeviceProfile {
        &self.profile
    }

    /// Counters since it was opened.
    pub fn stats(&self) -> GpuStats {
        let get = |c: &AtomicU64| c.load(Ordering::Relaxed);
        GpuStats {
            submits: get(&self.counters.submits),
            dispatches: get(&self.counters.dispatches),
            buffers: get(&self.counters.buffers),
            pipelines: get(&self.counters.pipelines),
        }
    }

    /// Fails if anything went wrong that no call has reported yet.
    pub(super) fn check(&self) -> Result<()> {
        match &*lock(&self.fault) {
            Some(e) => Err(e.clone()),
            None => Ok(()),
        }
    }

    pub(super) fn error(&self, message: impl ToString) -> Error {
        Error::Gpu { device: self.name.clone(), message: message.to_string() }
    }

    /// Runs `make` and turns what the driver says against it into an error.
    pub(super) async fn scoped<T>(&self, make: impl FnOnce() -> T) -> Result<T> {
        let memory = self.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let validation = self.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let internal = self.device.push_error_scope(wgpu::ErrorFilter::Internal);
        let made = make();
        // Scopes belong to this thread: all are popped before anything is awaited.
        let (internal, validation, memory) = (internal.pop(), validation.pop(), memory.pop());
        if let Some(error) = [internal.await, validation.await, memory.await].into_iter().flatten().next() {
            return Err(self.error(error));
        }
        self.check()?;
        Ok(made)
    }

    pub(super) fn buffer(&self, label: &str, bytes: u64, usage: wgpu::BufferUsages) -> wgpu::Buffer {
        self.counters.buffers.fetch_add(1, Ordering::Relaxed);
        self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some(label),
            // A binding has at least four bytes.
            size: bytes.max(4),
            usage,
            mapped_at_creation: false,
        })
    }

    /// Makes the pipelines that are missing, on all cores where there are threads.
    pub(super) async fn make_pipelines<'a>(&self, dispatches: impl Iterator<Item = &'a Dispatch>) -> Result<()> {
        let mut known: HashSet<&Kernel> = HashSet::new();
        let mut missing =
            dispatches.map(|d| (&d.kernel, &*d.bindings)).filter(|(kernel, _)| known.insert(kernel)).collect::<Vec<_>>();
        missing.retain(|(kernel, _)| !lock(&self.pipelines).contains_key(kernel));
        // In a browser there is one thread, and WebGPU's objects belong to it.
        #[cfg(target_arch = "wasm32")]
        let made = self.scoped(|| missing.iter().try_for_each(|(kernel, b)| self.pipeline(kernel, b).map(drop))).await?;
        #[cfg(not(target_arch = "wasm32"))]
        let made = {
            // An error scope sees its own thread's errors.
            let make = |i: usize| {
                let (kernel, bindings) = missing[i];
                pollster::block_on(self.scoped(|| self.pipeline(kernel, bindings))).and_then(|made| made).map(drop)
            };
            map_indices(missing.len(), make).into_iter().collect()
        };
        made
    }

    /// The pipeline of a kernel, made at its first use.
    pub(super) fn pipeline(&self, kernel: &Kernel, bindings: &[Binding]) -> Result<Arc<Pipeline>> {
        if let Some(p) = lock(&self.pipelines).get(kernel) {
            return Ok(p.clone());
        }
        let wgsl = compose(kernel)?;
        self.dump(kernel, &wgsl);
        let made = Arc::new(self.make_pipeline(kernel.name, wgsl, bindings));
        self.counters.pipelines.fetch_add(1, Ordering::Relaxed);
        lock(&self.pipelines).insert(kernel.clone(), made.clone());
        Ok(made)
    }

    /// Makes these kernels anew when they are next needed.
    pub(super) fn forget<'a>(&self, kernels: impl Iterator<Item = &'a Kernel>) {
        let mut pipelines = lock(&self.pipelines);
        for kernel in kernels {
            pipelines.remove(kernel);
        }
    }

    fn make_pipeline(&self, label: &str, wgsl: String, bindings: &[Binding]) -> Pipeline {
        let label = Some(label);
        let module = self.module(label, wgsl);
        let uniform = wgpu::BindGroupLayoutEntry {
            binding: 0,
            visibility: wgpu::ShaderStages::COMPUTE,
            ty: wgpu::BindingType::Buffer {
                ty: wgpu::BufferBindingType::Uniform,
                has_dynamic_offset: true,
                min_binding_size: None,
            },
            count: None,
        };
        let storage = |(i, b): (usize, &Binding)| wgpu::BindGroupLayoutEntry {
            binding: i as u32 + 1,
            ty: wgpu::BindingType::Buffer {
                ty: wgpu::BufferBindingType::Storage { read_only: !b.write },
                has_dynamic_offset: false,
                min_binding_size: None,
            },
            ..uniform
        };
        let entries: Vec<_> = std::iter::once(uniform).chain(bindings.iter().enumerate().map(storage)).collect();
        let layout = self.device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label, entries: &entries });
        let pipeline_layout = self.device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label,
            bind_group_layouts: &[Some(&layout)],
            immediate_size: 0,
        });
        let pipeline = self.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label,
            layout: Some(&pipeline_layout),
            module: &module,
            entry_point: Some("main"),
            compilation_options: wgpu::PipelineCompilationOptions {
                zero_initialize_workgroup_memory: false,
                ..Default::default()
            },
            cache: None,
        });
        Pipeline { pipeline, layout }
    }

    #[allow(unsafe_code)]
    fn module(&self, label: Option<&str>, wgsl: String) -> wgpu::ShaderModule {
        let descriptor = wgpu::ShaderModuleDescriptor { label, source: wgpu::ShaderSource::Wgsl(wgsl.into()) };
        if self.options.checked {
            return self.device.create_shader_module(descriptor);
        }
        // SAFETY: all kernels are the crate's own files. They guard every index by their `Params`, which follow from shapes that
        // `infer` accepted, and every loop ends; the parity tests run them with and without checks, with guard zones around
        // their buffers. What it gains: on RDNA2 the checked matmul spends 0.70 of its hot loop's vector instructions on FMAs, the
        // unchecked 0.92.
        unsafe { self.device.create_shader_module_trusted(descriptor, wgpu::ShaderRuntimeChecks::unchecked()) }
    }

    fn dump(&self, kernel: &Kernel, wgsl: &str) {
        let Some(folder) = &self.options.dump_wgsl else { return };
        let mut hash = DefaultHasher::new();
        kernel.hash(&mut hash);
        let file = folder.join(format!("{}-{:016x}.wgsl", kernel.name.replace('/', "_"), hash.finish()));
        if let Err(e) = std::fs::create_dir_all(folder).and_then(|()| std::fs::write(&file, wgsl)) {
            log::warn!("can't write {}: {e}", file.display());
        }
    }
}
