//! How a GPU is opened, and the switches that help to find a fault.

use crate::op::MainLoop;
use std::path::PathBuf;

/// How to open a GPU. The default is what a program wants; the rest is for tests and for finding faults.
#[derive(Clone, Debug, Default)]
pub struct GpuOptions {
    /// Ask for WebGPU's default limits instead of all that the adapter has.
    pub default_limits: bool,
    /// Use this main loop for matmul and convolutions instead of the one that suits the device.
    pub main_loop: Option<MainLoop>,
    /// Use this tile of the main loop, by its index.
    pub tile: Option<usize>,
    /// Keep the shader compiler's bounds checks and loop bounds. Kernels don't need them, and run much faster without.
    pub checked: bool,
    /// Compare every node with the f64 CPU after it ran, and stop at the first that is outside its error bound. Slow.
    pub validate: bool,
    /// Log every dispatch at level `trace`.
    pub trace: bool,
    /// Write each composed kernel to this folder.
    pub dump_wgsl: Option<PathBuf>,
    /// Fill scratch memory with NaN before the first run, and put guard zones behind every buffer, which
    /// [`Runtime::check_guards`](super::Runtime::check_guards) looks at.
    pub guard: bool,
    /// Bind at most so many bytes, if the device allows more.
    pub max_binding_bytes: Option<u64>,
    /// Put at most so many workgroups in a row of a grid, if the device allows more: grids wrap to rows sooner.
    pub max_workgroups: Option<u32>,
    /// Refuse plans that take more than so many bytes.
    pub memory_budget: Option<u64>,
    /// Take choices from this file, which [`Device::save_tuning`](crate::Device::save_tuning) wrote.
    pub tuning: Option<PathBuf>,
}

impl GpuOptions {
    /// The default, changed by what the environment says: `STRIATE_DEFAULT_LIMITS`, `STRIATE_CHECKED`, `STRIATE_VALIDATE`,
    /// `STRIATE_TRACE` (each `1`), `STRIATE_MAIN_LOOP` (`tiled`, `subgroup`, `plain`), `STRIATE_DUMP_WGSL` (a folder),
    /// `STRIATE_MEMORY_BUDGET` (bytes), `STRIATE_TUNING` (a file).
    pub fn from_env() -> Self {
        let text = |name: &str| std::env::var(name).ok().filter(|v| !v.is_empty());
        let flag = |name: &str| text(name).is_some_and(|v| v != "0");
        let main_loop = text("STRIATE_MAIN_LOOP").and_then(|v| match v.as_str() {
            "tiled" => Some(MainLoop::Tiled),
            "subgroup" => Some(MainLoop::Subgroup),
            "plain" => Some(MainLoop::Plain),
            other => {
                log::warn!("STRIATE_MAIN_LOOP={other} is none of tiled, subgroup, plain: left as it is");
                None
            }
        });
        let memory_budget = text("STRIATE_MEMORY_BUDGET").and_then(|v| {
            let bytes = v.parse().ok();
            if bytes.is_none() {
                log::warn!("STRIATE_MEMORY_BUDGET={v} is no whole number of bytes: no budget is set");
            }
            bytes
        });
        GpuOptions {
            default_limits: flag("STRIATE_DEFAULT_LIMITS"),
            main_loop,
            tile: None,
            checked: flag("STRIATE_CHECKED"),
            validate: flag("STRIATE_VALIDATE"),
            trace: flag("STRIATE_TRACE"),
            dump_wgsl: text("STRIATE_DUMP_WGSL").map(PathBuf::from),
            guard: false,
            max_binding_bytes: None,
            max_workgroups: None,
            memory_budget,
            tuning: text("STRIATE_TUNING").map(PathBuf::from),
        }
    }
}
