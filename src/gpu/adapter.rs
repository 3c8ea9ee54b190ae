//! Which GPUs there are, and which of them to take.

use std::sync::Once;

/// What is known of a device before it is opened.
#[derive(Clone, Debug)]
pub struct DeviceInfo {
    /// Name, as the driver gives it; `cpu` for the CPU backend.
    pub name: String,
    /// `cpu` for the CPU backend, else the API: `vulkan`, `metal`, `dx12`, `webgpu`.
    pub backend: String,
    /// `discrete GPU`, `integrated GPU`, `virtual GPU`, `software GPU` (run by a CPU), or `CPU backend`.
    pub kind: &'static str,
    /// Driver and its version.
    pub driver: String,
    /// Limits that matter for compute, one `name value` a line.
    pub limits: Vec<(String, String)>,
    /// Features that kernels can make use of.
    pub features: Vec<String>,
    /// Whether [`Device::best`](crate::Device::best) takes it.
    pub is_best: bool,
    /// Why it does or doesn't.
    pub reason: String,
}

/// A GPU that can be opened.
#[derive(Clone, Debug)]
pub struct Adapter {
    pub(super) wgpu: wgpu::Adapter,
}

/// All adapters, the same physical device under one API only: the preferred API comes first.
async fn adapters() -> Vec<wgpu::Adapter> {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor {
        // Validation layers are for developers of wgpu and drivers; `WGPU_VALIDATION` and its kin turn them on.
        flags: wgpu::InstanceFlags::empty().with_env(),
        ..wgpu::InstanceDescriptor::new_without_display_handle()
    });
    let mut adapters = if cfg!(target_arch = "wasm32") {
        // A browser offers one, which may be the frugal one of two unless it is asked.
        let power_preference = wgpu::PowerPreference::HighPerformance;
        let options = wgpu::RequestAdapterOptions { power_preference, ..Default::default() };
        instance.request_adapter(&options).await.into_iter().collect()
    } else {
        instance.enumerate_adapters(wgpu::Backends::all()).await
    };
    adapters.retain(|a| a.get_downlevel_capabilities().flags.contains(wgpu::DownlevelFlags::COMPUTE_SHADERS));
    adapters.sort_by_key(|a| {
        let info = a.get_info();
        (rank(info.device_type), api_rank(info.backend))
    });
    let mut seen: Vec<(String, wgpu::DeviceType)> = Vec::new();
    adapters.retain(|a| {
        let info = a.get_info();
        let key = (info.name, info.device_type);
        let api = (info.backend, info.device_pci_bus_id);
        log::debug!("adapter {key:?} through {api:?}");
        // Two equal cards have different bus ids; one card under two APIs mustn't be listed twice.
        let key = (format!("{}{}", key.0, api.1), key.1);
        let new = !seen.contains(&key);
        seen.push(key);
        new
    });
    adapters
}

/// What the adapter is called. A browser may keep its name to itself.
pub(super) fn name_of(info: &wgpu::AdapterInfo) -> String {
    if info.name.is_empty() { "GPU".to_string() } else { info.name.clone() }
}

/// Driver and its version.
pub(super) fn driver_of(info: &wgpu::AdapterInfo) -> String {
    format!("{} {}", info.driver, info.driver_info).trim().to_string()
}

fn rank(kind: wgpu::DeviceType) -> u8 {
    match kind {
        wgpu::DeviceType::DiscreteGpu => 0,
        wgpu::DeviceType::IntegratedGpu => 1,
        wgpu::DeviceType::VirtualGpu => 2,
        // What a browser says of any GPU.
        wgpu::DeviceType::Other => 3,
        wgpu::DeviceType::Cpu => 4,
    }
}

fn api_rank(backend: wgpu::Backend) -> u8 {
    match backend {
        wgpu::Backend::Metal | wgpu::Backend::Vulkan | wgpu::Backend::BrowserWebGpu => 0,
        _ => 1,
    }
}

/// What a device type is called.
fn kind_name(kind: wgpu::DeviceType) -> &'static str {
    match kind {
        wgpu::DeviceType::DiscreteGpu => "discrete GPU",
        wgpu::DeviceType::IntegratedGpu => "integrated GPU",
        wgpu::DeviceType::VirtualGpu => "virtual GPU",
        wgpu::DeviceType::Other => "GPU",
        wgpu::DeviceType::Cpu => "software GPU",
    }
}

/// The best hardware GPU, if there is one.
pub async fn best() -> Option<Adapter> {
    let first = adapters().await.into_iter().next()?;
    (first.get_info().device_type != wgpu::DeviceType::Cpu).then_some(Adapter { wgpu: first })
}

/// `gpu`: the best GPU, even a software one. Else the first whose name contains `name`, without regard to case.
pub async fn named(name: &str) -> Option<Adapter> {
    let wanted = name.to_lowercase();
    let mut all = adapters().await.into_iter();
    let found = if wanted == "gpu" { all.next() } else { all.find(|a| name_of(&a.get_info()).to_lowercase().contains(&wanted)) };
    if let Some(info) = found.as_ref().map(wgpu::Adapter::get_info)
        && info.device_type == wgpu::DeviceType::Cpu
    {
        // Once is enough for a program that opens it several times.
        static WARNED: Once = Once::new();
        WARNED.call_once(|| log::warn!("'{}' is a software GPU: slow, for tests", info.name));
    }
    found.map(|wgpu| Adapter { wgpu })
}

/// All GPUs, best first.
pub async fn list() -> Vec<DeviceInfo> {
    let describe = |(i, a): (usize, wgpu::Adapter)| {
        let (info, limits) = (a.get_info(), a.limits());
        let software = info.device_type == wgpu::DeviceType::Cpu;
        let is_best = i == 0 && !software;
        let reason = match (software, i) {
            (true, _) => "a software GPU is only taken when it is asked for",
            (false, 0) => "the first of: discrete GPU, integrated GPU, other GPU",
            (false, _) => "another GPU comes before it",
        };
        let mib = |bytes: u64| format!("{} MiB", bytes >> 20);
        let subgroup = match (info.subgroup_min_size, info.subgroup_max_size) {
            (min, max) if min == max => min.to_string(),
            (min, max) => format!("{min} to {max}"),
        };
        let limits = vec![
            ("buffer".to_string(), mib(limits.max_buffer_size)),
            ("storage binding".to_string(), mib(limits.max_storage_buffer_binding_size)),
            ("storage buffers a kernel".to_string(), limits.max_storage_buffers_per_shader_stage.to_string()),
            ("workgroup memory".to_string(), format!("{} KiB", limits.max_compute_workgroup_storage_size >> 10)),
            ("invocations a workgroup".to_string(), limits.max_compute_invocations_per_workgroup.to_string()),
            ("workgroups a dimension".to_string(), limits.max_compute_workgroups_per_dimension.to_string()),
            ("subgroup".to_string(), subgroup),
        ];
        let known = [
            (wgpu::Features::SUBGROUP, "subgroups"),
            (wgpu::Features::SHADER_F16, "shader-f16"),
            (wgpu::Features::TIMESTAMP_QUERY, "timestamps"),
            (wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX, "cooperative-matrix"),
        ];
        let has = a.features();
        DeviceInfo {
            name: name_of(&info),
            backend: backend_name(info.backend).to_string(),
            kind: kind_name(info.device_type),
            driver: driver_of(&info),
            limits,
            features: known.iter().filter(|(f, _)| has.contains(*f)).map(|(_, n)| n.to_string()).collect(),
            is_best,
            reason: reason.to_string(),
        }
    };
    adapters().await.into_iter().enumerate().map(describe).collect()
}

pub(super) fn backend_name(backend: wgpu::Backend) -> &'static str {
    match backend {
        wgpu::Backend::Vulkan => "vulkan",
        wgpu::Backend::Metal => "metal",
        wgpu::Backend::Dx12 => "dx12",
        wgpu::Backend::Gl => "gl",
        wgpu::Backend::BrowserWebGpu => "webgpu",
        wgpu::Backend::Noop => "noop",
    }
}
