//! What an op is, and what its methods are handed: views on the CPU, the recorder of GPU dispatches, the gradient builder, the
//! arguments of an error bound. Nothing here knows any particular op, the graph, or wgpu.

mod bound;
mod case;
mod choices;
mod cpu;
mod gradient;
mod interchange;
mod recorder;

pub use bound::{Bound, TINY, UNIT, Worst, compare, gamma};
pub use case::{Case, Declaration, sample};
pub use choices::{Choice, Choices, ProductKey};
pub use cpu::{Buf, CpuArgs, Oracle, View, ViewMut, run_f64};
pub use gradient::{Gradient, NodeBuilder};
pub use interchange::{
    Attribute, AxisOrder, BFLOAT16, BOOL, FLOAT, FLOAT16, INT32, INT64, Interchange, StandardNode, Step, Term, UINT32,
};
pub use recorder::{
    ACTIVATION, Binding, Buffer, ConstValue, DeviceProfile, Dispatch, ELEMENTS_SCALAR, ELEMENTS_VEC4, FINITE, GRID, Kernel,
    MAX_ITERATIONS, MainLoop, RANDOM, Recorder, Source, Word, shader,
};

use crate::error::{Error, Result};
use crate::linalg::{Elementwise, Real};
use crate::tensor::TensorType;
use std::any::Any;
use std::fmt::Debug;
use std::sync::Arc;

/// A tensor of a graph: the output of a node, an input fed at each run, or persistent state.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Value(pub(crate) u32);

/// An operation on tensors, declared once: shapes, gradient, CPU, GPU, cost, error bound.
///
/// [`Op::infer`] makes all argument checks: the other methods are only called with inputs that it accepted.
pub trait Op: CpuErased + Debug + Send + Sync + Any {
    /// Name in the field's terms (`conv2d`), also in [`Declaration::name`].
    fn name(&self) -> &'static str;

    /// Types of the outputs for these inputs, or what is wrong with the inputs or attributes.
    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>>;

    /// Adds the nodes of the gradient. Ops without one keep this default, and their [`Declaration`] says why.
    fn gradient(&self, g: &mut Gradient<'_>) -> Result<()> {
        let _ = g;
        Err(Error::invalid("gradient", format!("a loss that depends on {}", self.name()), "differentiable ops only"))
    }

    /// Appends the dispatches that compute the outputs. No wgpu, no allocation of device memory, no submit.
    fn gpu(&self, r: &mut Recorder<'_>) -> Result<()>;

    /// Work and traffic. Default: a floating-point operation an output element, all tensors moved once.
    fn cost(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Cost {
        Cost { flops: outputs.iter().map(|t| t.elements() as u64).sum(), bytes: moved_bytes(inputs, outputs) }
    }

    /// By how much each element of each f32 output may differ from the f64 oracle. Default: not at all.
    fn error_bound(&self, b: &Bound<'_>) -> Result<Vec<Vec<f64>>> {
        Ok(b.exact())
    }

    /// Describes what the op computes in the words of the ONNX standard, so that a model that has it can be exported; returns the outputs,
    /// the first ones if no others are read in inference. The description mustn't depend on the length of the batch but by shapes.
    ///
    /// # Errors
    /// [`Error::Invalid`] for what the standard has no words for. By default that is the op itself.
    fn interchange(&self, d: &mut Interchange<'_>) -> Result<Vec<Term>> {
        let _ = d;
        Err(no_counterpart(self.name()))
    }

    /// Element offset at which output 0 lies inside the memory of input 0, for an op that only gives memory another shape.
    /// Such an op has no dispatch and no CPU work.
    fn view(&self) -> Option<usize> {
        None
    }

    /// Pairs of (input, output) that are the same memory: the op overwrites the input. Only persistent state may be such an
    /// input; kernels bind the output alone.
    fn in_place(&self) -> &[(usize, usize)] {
        &[]
    }

    /// Element offset in output 0 at which the producer of input `i` may write directly. The op then has nothing to do for that
    /// input ([`Recorder::placed`], [`CpuArgs::placed`]).
    fn placement(&self, i: usize) -> Option<usize> {
        let _ = i;
        None
    }

    /// An op that makes output 0 again in a pass over memory, and which inputs and outputs of this op it reads: so a backward pass may
    /// rather make output 0 again than keep it.
    fn remake(&self) -> Option<(Arc<dyn Op>, Vec<Buffer>)> {
        None
    }

    /// For an op that is an activation function: which one, so that a producer can take it into its epilogue.
    fn activation(&self) -> Option<Activation> {
        None
    }

    /// This op with `activation` applied to its output 0, if it can do that in its epilogue.
    fn with_activation(&self, activation: Activation) -> Option<Arc<dyn Op>> {
        let _ = activation;
        None
    }

    /// Whether this op is the sum of its two inputs, so that the producer of one can add the other in its epilogue.
    fn is_sum(&self) -> bool {
        false
    }

    /// This op with one more input, like output 0, that is added to output 0 before any activation, if it can do that in its epilogue
    /// and has no activation yet.
    fn with_residual(&self) -> Option<Arc<dyn Op>> {
        None
    }

    /// Whether output 0 is linear in input 1, weights whose last axis is that of output 0, plus input 2, a bias along that axis, if there
    /// is one: then a scale and a shift of output 0 along that axis can be taken into the weights and the bias.
    fn has_channel_weights(&self) -> bool {
        false
    }

    /// For an op that scales and shifts input 0 along its last axis by the inputs after that: the op that makes weights and bias
    /// that do so of the weights and, with `bias`, the bias of an op that [`Op::has_channel_weights`]. Its inputs are weights,
    /// bias, and this op's from input 1 on; its outputs weights and bias.
    fn fold(&self, bias: bool) -> Option<Arc<dyn Op>> {
        let _ = bias;
        None
    }
}

/// What an op says that the ONNX standard has no words for.
pub fn no_counterpart(what: impl Into<String>) -> Error {
    let got: String = what.into();
    Error::invalid("export", got, "what an `Op::interchange` describes in the words of ONNX")
}

/// Bytes of all inputs and outputs.
pub fn moved_bytes(inputs: &[TensorType], outputs: &[TensorType]) -> u64 {
    inputs.iter().chain(outputs).map(|t| t.elements() as u64 * t.dtype.bytes() as u64).sum()
}

/// Fails unless there is one input for each of these names: the first line of an [`Op::infer`].
pub fn expect_inputs(inputs: &[TensorType], names: &[&str]) -> Result<()> {
    if inputs.len() == names.len() {
        Ok(())
    } else {
        Err(Error::invalid("inputs", inputs.len(), format!("{} ({})", names.len(), names.join(", "))))
    }
}

/// The CPU implementation of an op, written once for `f32` (the CPU backend) and `f64` (the oracle).
pub trait Cpu {
    /// Computes the outputs.
    fn cpu<T: Real>(&self, args: &mut CpuArgs<'_, T>);

    /// Computes the outputs in single precision. An op with faster kernels for that has them here; [`Cpu::cpu`] is then the oracle
    /// alone, and stays plain.
    fn cpu_single(&self, args: &mut CpuArgs<'_, f32>) {
        self.cpu(args);
    }
}

/// [`Cpu`] with its two types as two methods, which a `dyn Op` needs. Implemented for every [`Cpu`].
pub trait CpuErased {
    /// In single precision.
    fn cpu_f32(&self, args: &mut CpuArgs<'_, f32>);
    /// In double precision.
    fn cpu_f64(&self, args: &mut CpuArgs<'_, f64>);
}

impl<O: Cpu> CpuErased for O {
    fn cpu_f32(&self, args: &mut CpuArgs<'_, f32>) {
        self.cpu_single(args);
    }
    fn cpu_f64(&self, args: &mut CpuArgs<'_, f64>) {
        self.cpu(args);
    }
}

/// A precision that the CPU runs ops in.
pub trait Precision: Real {
    /// Runs an op in this precision.
    fn run(op: &dyn Op, args: &mut CpuArgs<'_, Self>);
}

impl Precision for f32 {
    fn run(op: &dyn Op, args: &mut CpuArgs<'_, f32>) {
        op.cpu_f32(args);
    }
}

impl Precision for f64 {
    fn run(op: &dyn Op, args: &mut CpuArgs<'_, f64>) {
        op.cpu_f64(args);
    }
}

/// Floating-point operations (a multiply-add is two) and bytes moved.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Cost {
    /// Floating-point operations.
    pub flops: u64,
    /// Bytes read and written.
    pub bytes: u64,
}

/// An activation function that a kernel can apply to its result. `code` selects it in `shaders/shared/activation.wgsl`.
#[derive(Clone, Copy, Debug)]
pub struct Activation {
    /// Name (`relu`).
    pub name: &'static str,
    /// Value of the shader's `ACTIVATION`.
    pub code: u32,
    /// Replaces numbers by their function values, in single precision. Its attributes are the function's, which the shader has as
    /// `ACTIVATION_A` and `ACTIVATION_B`.
    pub f32: Elementwise,
    /// The function in double precision, of the attributes and a number.
    pub f64: fn([f64; 2], f64) -> f64,
    /// Largest slope, which is by how much it can magnify an error of its argument.
    pub lipschitz: f64,
    /// Rounding error of the shader's value, for the attributes, an argument and its exact result.
    pub error: fn([f64; 2], f64, f64) -> f64,
}

impl Activation {
    /// Replaces each element by its function value, in single precision if `T` is that, else in double.
    pub fn apply<T: Real>(&self, v: &mut [T]) {
        match T::singles(v) {
            Some(v) => self.f32.apply(v),
            None => v.iter_mut().for_each(|x| *x = T::from_f64((self.f64)(self.f32.attributes, x.to_f64()))),
        }
    }

    /// Error bound of `y = f(x)` where x is off by up to `error`. The function's own error is taken at an argument that is as far off;
    /// its slope covers that.
    pub fn bound(&self, error: f64, x: f64, y: f64) -> f64 {
        error * self.lipschitz * (1.0 + 16.0 * UNIT) + (self.error)(self.f32.attributes, x, y)
    }
}

impl PartialEq for Activation {
    fn eq(&self, other: &Self) -> bool {
        self.code == other.code && self.f32.attributes == other.f32.attributes
    }
}

/// Elements to which a tensor inside a page is aligned: 256 bytes, WebGPU's default alignment of a storage binding.
pub const PAGE_ALIGNMENT: usize = 64;
