//! What an op records its GPU work with: kernels and dispatches as plain data, and what they may know of the device.

use super::Activation;
use super::choices::{Choices, ProductKey};
use crate::tensor::TensorType;
use std::sync::Arc;

/// A file of `shaders/`: a whole kernel, or a part that kernels are composed of.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Source {
    /// Path below `shaders/` without the ending (`gemm/tiled`).
    pub name: &'static str,
    /// The WGSL.
    pub text: &'static str,
}

/// The [`Source`] of a file of `shaders/`, named by its path without the ending.
#[macro_export]
#[doc(hidden)]
macro_rules! shader {
    ($name:literal) => {
        $crate::op::Source { name: $name, text: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/shaders/", $name, ".wgsl")) }
    };
}
pub use crate::shader;

/// Random numbers in WGSL.
pub static RANDOM: Source = shader!("shared/random");
/// Activation functions and their derivatives in WGSL.
pub static ACTIVATION: Source = shader!("shared/activation");
/// Number of a workgroup in a grid of [`Recorder::linear_grid`].
pub static GRID: Source = shader!("shared/grid");
/// `Element` of elementwise kernels: four f32.
pub static ELEMENTS_VEC4: Source = shader!("shared/elements_vec4");
/// `Element` of elementwise kernels: one f32.
pub static ELEMENTS_SCALAR: Source = shader!("shared/elements_scalar");
/// Bit tests for NaN and infinity in WGSL, and functions that keep a NaN.
pub static FINITE: Source = shader!("shared/finite");

/// Which main loop matmul and convolutions run on.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum MainLoop {
    /// Workgroup memory and register tiles: GPUs.
    Tiled,
    /// No barrier, rows shared by subgroup broadcast: adapters whose workgroups run on CPU cores.
    Subgroup,
    /// No barrier and no subgroup operation.
    Plain,
}

/// What kernels may know of the device: limits, and which main loop suits it.
#[derive(Clone, PartialEq, Debug)]
pub struct DeviceProfile {
    /// Main loop for matmul and convolutions.
    pub main_loop: MainLoop,
    /// Forces a tile of the main loop by its index, for tests.
    pub tile: Option<usize>,
    /// What measurements on this device found to be faster than the table.
    pub choices: Arc<Choices>,
    /// Invocations of a subgroup, where all subgroups have the same number.
    pub subgroup_len: Option<u32>,
    /// Largest storage binding in bytes.
    pub max_binding_bytes: u64,
    /// Largest buffer in bytes.
    pub max_buffer_bytes: u64,
    /// Most workgroups of a grid dimension.
    pub max_workgroups: u32,
    /// Alignment in bytes of a storage binding's offset.
    pub storage_alignment: u32,
    /// Alignment in bytes of a uniform binding's dynamic offset.
    pub uniform_alignment: u32,
    /// Bytes of device memory that a plan may take, if the user set a budget.
    pub memory_budget: Option<u64>,
}

impl DeviceProfile {
    /// What every WebGPU device has: the default limits, no subgroups.
    pub fn baseline() -> DeviceProfile {
        DeviceProfile {
            main_loop: MainLoop::Tiled,
            tile: None,
            choices: Arc::default(),
            subgroup_len: None,
            max_binding_bytes: 128 << 20,
            max_buffer_bytes: 256 << 20,
            max_workgroups: 65_535,
            storage_alignment: 256,
            uniform_alignment: 256,
            memory_budget: None,
        }
    }

    /// Whether a plan made for `other` runs here: nothing but the choices is different.
    pub fn runs_plans_for(&self, other: &DeviceProfile) -> bool {
        *self == DeviceProfile { choices: self.choices.clone(), ..other.clone() }
    }
}

/// A tensor that a dispatch binds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Buffer {
    /// Input of the op.
    Input(usize),
    /// Output of the op.
    Output(usize),
    /// Scratch memory made by [`Recorder::temp`].
    Temp(usize),
}

/// A bound tensor and whether the kernel writes it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Binding {
    /// Which tensor.
    pub buffer: Buffer,
    /// `var<storage, read_write>` rather than `read`.
    pub write: bool,
}

/// A field of a kernel's `Params`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Word {
    /// `u32`
    U32(u32),
    /// `i32`
    I32(i32),
    /// `f32`
    F32(f32),
}

impl Word {
    /// The bits as they lie in the uniform buffer.
    pub fn bits(self) -> u32 {
        match self {
            Word::U32(v) => v,
            Word::I32(v) => v as u32,
            Word::F32(v) => v.to_bits(),
        }
    }

    /// The WGSL type.
    pub fn type_name(self) -> &'static str {
        match self {
            Word::U32(_) => "u32",
            Word::I32(_) => "i32",
            Word::F32(_) => "f32",
        }
    }
}

impl From<u32> for Word {
    fn from(v: u32) -> Self {
        Word::U32(v)
    }
}
impl From<usize> for Word {
    /// Shapes are checked to have fewer than 2^31 elements, so nothing is cut off.
    fn from(v: usize) -> Self {
        Word::U32(v as u32)
    }
}
impl From<i32> for Word {
    fn from(v: i32) -> Self {
        Word::I32(v)
    }
}
impl From<f32> for Word {
    fn from(v: f32) -> Self {
        Word::F32(v)
    }
}

/// A kernel: files put together in order, with values for some of their `const` lines. Equal kernels are one pipeline.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Kernel {
    /// The file whose name the kernel bears.
    pub name: &'static str,
    /// The files, imports first.
    pub parts: Vec<&'static Source>,
    /// New values for `const NAME: T = ...;` and `alias NAME = ...;` lines, as WGSL.
    pub consts: Vec<(&'static str, ConstValue)>,
    /// Whether it uses subgroup operations.
    pub subgroups: bool,
}

impl Kernel {
    /// The kernel `source` with its imports.
    pub fn new(source: &'static Source, imports: &[&'static Source]) -> Self {
        let mut parts = imports.to_vec();
        parts.push(source);
        Kernel { name: source.name, parts, consts: Vec::new(), subgroups: false }
    }

    /// Sets a `const` line: `u32` values get their suffix.
    pub fn set(mut self, name: &'static str, value: impl Into<ConstValue>) -> Self {
        self.consts.push((name, value.into()));
        self
    }

    /// Sets the constants of [`ACTIVATION`], which the kernel imports.
    pub fn activation(self, activation: Option<Activation>) -> Self {
        match activation {
            None => self.set("ACTIVATION", 0u32),
            Some(f) => self.function(f.code, f.f32.attributes),
        }
    }

    /// The same for a function that need not be an activation.
    pub fn function(self, code: u32, attributes: [f64; 2]) -> Self {
        let mut kernel = self.set("ACTIVATION", code);
        for (name, value) in ["ACTIVATION_A", "ACTIVATION_B"].into_iter().zip(attributes) {
            if value != 0.0 {
                kernel = kernel.set(name, value as f32);
            }
        }
        kernel
    }

    /// Says that the kernel uses subgroup operations.
    pub fn with_subgroups(mut self) -> Self {
        self.subgroups = true;
        self
    }
}

/// A value of a WGSL `const` or `alias` line.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct ConstValue(String);

impl std::fmt::Display for ConstValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<u32> for ConstValue {
    fn from(v: u32) -> Self {
        ConstValue(format!("{v}u"))
    }
}
impl From<usize> for ConstValue {
    fn from(v: usize) -> Self {
        ConstValue(format!("{v}u"))
    }
}
impl From<f32> for ConstValue {
    /// A finite number.
    fn from(v: f32) -> Self {
        ConstValue(format!("{v:?}f"))
    }
}
impl From<bool> for ConstValue {
    fn from(v: bool) -> Self {
        ConstValue(v.to_string())
    }
}
impl From<&'static str> for ConstValue {
    /// A type, for an `alias` line.
    fn from(v: &'static str) -> Self {
        ConstValue(v.to_string())
    }
}

/// One run of a kernel: everything an executor needs, as plain data.
#[derive(Clone, PartialEq, Debug)]
pub struct Dispatch {
    /// The kernel.
    pub kernel: Kernel,
    /// Bound tensors: binding 1, 2, ... of group 0; binding 0 is `params`.
    pub bindings: Vec<Binding>,
    /// Fields of `Params`, in the shader's order.
    pub params: Vec<(&'static str, Word)>,
    /// Workgroups.
    pub grid: [u32; 3],
}

/// Most iterations of all loops of an invocation together: some drivers silently stop at 65,535.
pub const MAX_ITERATIONS: usize = 32_768;

/// Collects the dispatches of an op for a device. What [`Op::gpu`](super::Op::gpu) is handed.
#[derive(Debug)]
pub struct Recorder<'a> {
    profile: &'a DeviceProfile,
    inputs: &'a [TensorType],
    outputs: &'a [TensorType],
    placed: &'a [bool],
    /// The dispatches so far.
    pub dispatches: Vec<Dispatch>,
    /// Scratch tensors.
    pub temps: Vec<TensorType>,
    /// The products so far that a choice could cut up in another way.
    pub products: Vec<ProductKey>,
    depth: usize,
}

impl<'a> Recorder<'a> {
    /// A recorder for a node with these types. `placed`: see [`CpuArgs::new`](super::CpuArgs::new).
    pub fn new(profile: &'a DeviceProfile, inputs: &'a [TensorType], outputs: &'a [TensorType], placed: &'a [bool]) -> Self {
        Recorder { profile, inputs, outputs, placed, dispatches: Vec::new(), temps: Vec::new(), products: Vec::new(), depth: 1 }
    }

    /// The device.
    pub fn profile(&self) -> &'a DeviceProfile {
        self.profile
    }

    /// Type of input `i`.
    pub fn x(&self, i: usize) -> &'a TensorType {
        &self.inputs[i]
    }

    /// Types of the inputs.
    pub fn inputs(&self) -> &'a [TensorType] {
        self.inputs
    }

    /// Type of output `i`.
    pub fn y(&self, i: usize) -> &'a TensorType {
        &self.outputs[i]
    }

    /// Whether input `i` already lies at its place in output 0.
    pub fn placed(&self, i: usize) -> bool {
        self.placed.get(i).copied().unwrap_or(false)
    }

    /// Scratch memory that lives while the op runs.
    pub fn temp(&mut self, ty: TensorType) -> Buffer {
        self.temps.push(ty);
        Buffer::Temp(self.temps.len() - 1)
    }

    /// Declares the longest chain of roundings of the dispatches, which [`Op::error_bound`](super::Op::error_bound) gets to see.
    pub fn declare_depth(&mut self, depth: usize) {
        self.depth = depth;
    }

    /// The declared depth, 1 if none was.
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// Appends a dispatch. `reads` then `writes` are bindings 1, 2, ...
    pub fn dispatch(
        &mut self,
        kernel: Kernel,
        reads: &[Buffer],
        writes: &[Buffer],
        params: &[(&'static str, Word)],
        grid: [u32; 3],
    ) {
        // Tests make rows shorter than a device's; no device takes fewer than 65,535 of them.
        debug_assert!(
            grid[0] <= self.profile.max_workgroups && grid[1..].iter().all(|&g| g <= 65_535),
            "{}: {grid:?}",
            kernel.name
        );
        let bind = |write: bool| move |&buffer: &Buffer| Binding { buffer, write };
        let bindings = reads.iter().map(bind(false)).chain(writes.iter().map(bind(true))).collect();
        self.dispatches.push(Dispatch { kernel, bindings, params: params.to_vec(), grid });
    }

    /// A grid of `n` workgroups, in rows where a dimension can't hold them (see `shaders/shared/grid.wgsl`).
    pub fn linear_grid(&self, n: usize) -> [u32; 3] {
        let n = n.max(1);
        let rows = n.div_ceil(self.profile.max_workgroups as usize);
        [n.div_ceil(rows) as u32, rows as u32, 1]
    }
}
