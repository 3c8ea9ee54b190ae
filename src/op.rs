//! What an op is, and what its methods are handed: CPU views, the recorder of GPU dispatches, the gradient builder, the arguments
//! of an error bound. Nothing here knows any particular op, the graph, or wgpu.

use crate::error::{Error, Result};
use crate::linalg::Real;
use crate::tensor::{DType, Data, Shape, Tensor, TensorType};
use std::any::{Any, TypeId};
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

    /// For an op that is an activation function: which one, so that a producer can take it into its epilogue.
    fn activation(&self) -> Option<Activation> {
        None
    }

    /// This op with `activation` applied to its output 0, if it can do that in its epilogue.
    fn with_activation(&self, activation: Activation) -> Option<Arc<dyn Op>> {
        let _ = activation;
        None
    }
}

/// Bytes of all inputs and outputs.
pub fn moved_bytes(inputs: &[TensorType], outputs: &[TensorType]) -> u64 {
    inputs.iter().chain(outputs).map(|t| t.bytes() as u64).sum()
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
        self.cpu(args);
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
    /// The function in single precision.
    pub f32: fn(f32) -> f32,
    /// The function in double precision.
    pub f64: fn(f64) -> f64,
    /// Largest slope, which is by how much it can magnify an error of its argument.
    pub lipschitz: f64,
    /// Rounding error of the shader's value, for an argument and its exact result.
    pub error: fn(f64, f64) -> f64,
}

impl Activation {
    /// Replaces each element by its function value, in the precision that `T` is.
    pub fn apply<T: Real>(&self, v: &mut [T]) {
        if TypeId::of::<T>() == TypeId::of::<f32>() {
            v.iter_mut().for_each(|x| *x = T::from_f32((self.f32)(x.to_f32())));
        } else {
            v.iter_mut().for_each(|x| *x = T::from_f64((self.f64)(x.to_f64())));
        }
    }
}

impl PartialEq for Activation {
    fn eq(&self, other: &Self) -> bool {
        self.code == other.code
    }
}

// ---------------------------------------------------------------------------------------------------------------- CPU views

/// An input on the CPU.
#[derive(Clone, Copy, Debug)]
pub enum View<'a, T> {
    /// An f32 tensor, in the precision of the run.
    Real(&'a [T]),
    /// A u32 tensor.
    U32(&'a [u32]),
    /// A u8 tensor.
    U8(&'a [u8]),
}

/// An output on the CPU.
#[derive(Debug)]
pub enum ViewMut<'a, T> {
    /// An f32 tensor, in the precision of the run.
    Real(&'a mut [T]),
    /// A u32 tensor.
    U32(&'a mut [u32]),
    /// A u8 tensor.
    U8(&'a mut [u8]),
}

/// Inputs and outputs of an op on the CPU.
#[derive(Debug)]
pub struct CpuArgs<'a, T> {
    input_types: &'a [TensorType],
    output_types: &'a [TensorType],
    inputs: Vec<View<'a, T>>,
    outputs: Vec<Option<ViewMut<'a, T>>>,
    placed: Vec<bool>,
}

impl<'a, T: Real> CpuArgs<'a, T> {
    /// Arguments for an op whose inputs and outputs have these types. `placed` says which inputs already lie in output 0
    /// ([`Op::placement`]), an empty one that none does.
    pub fn new(
        input_types: &'a [TensorType],
        output_types: &'a [TensorType],
        inputs: Vec<View<'a, T>>,
        outputs: Vec<ViewMut<'a, T>>,
        placed: Vec<bool>,
    ) -> Self {
        CpuArgs { input_types, output_types, inputs, outputs: outputs.into_iter().map(Some).collect(), placed }
    }

    /// Number of inputs.
    pub fn n_inputs(&self) -> usize {
        self.inputs.len()
    }

    /// Shape of input `i`.
    pub fn x_shape(&self, i: usize) -> &'a Shape {
        &self.input_types[i].shape
    }

    /// Types of all inputs.
    pub fn input_types(&self) -> &'a [TensorType] {
        self.input_types
    }

    /// Shape of output `i`.
    pub fn y_shape(&self, i: usize) -> &'a Shape {
        &self.output_types[i].shape
    }

    /// Input `i`, of any type.
    pub fn view(&self, i: usize) -> View<'a, T> {
        self.inputs[i]
    }

    /// Input `i`, which [`Op::infer`] has found to be f32.
    pub fn x(&self, i: usize) -> &'a [T] {
        match self.inputs[i] {
            View::Real(v) => v,
            _ => unreachable!("infer accepts only f32 for input {i}"),
        }
    }

    /// Input `i`, which [`Op::infer`] has found to be u32.
    pub fn x_u32(&self, i: usize) -> &'a [u32] {
        match self.inputs[i] {
            View::U32(v) => v,
            _ => unreachable!("infer accepts only u32 for input {i}"),
        }
    }

    /// Whether input `i` already lies at its place in output 0.
    pub fn placed(&self, i: usize) -> bool {
        self.placed.get(i).copied().unwrap_or(false)
    }

    /// Takes output `i`, of any type; once.
    pub fn take(&mut self, i: usize) -> ViewMut<'a, T> {
        self.outputs[i].take().unwrap_or_else(|| unreachable!("output {i} is taken once"))
    }

    /// Takes f32 output `i`; once.
    pub fn y(&mut self, i: usize) -> &'a mut [T] {
        match self.take(i) {
            ViewMut::Real(v) => v,
            _ => unreachable!("infer makes output {i} f32"),
        }
    }

    /// Takes u32 output `i`; once.
    pub fn y_u32(&mut self, i: usize) -> &'a mut [u32] {
        match self.take(i) {
            ViewMut::U32(v) => v,
            _ => unreachable!("infer makes output {i} u32"),
        }
    }
}

/// Runs an op in double precision on host data: the oracle. In-place outputs start with their input's contents.
pub fn run_f64(op: &dyn Op, types: &[TensorType], inputs: &[View<'_, f64>]) -> Result<Vec<Oracle>> {
    let output_types = op.infer(types)?;
    let mut outputs: Vec<Oracle> = output_types.iter().map(Oracle::zeros).collect();
    for &(i, o) in op.in_place() {
        outputs[o] = Oracle::copy(inputs[i]);
    }
    if let Some(offset) = op.view() {
        let viewed = Buf::copy(inputs[0]);
        outputs[0] = Buf::copy(viewed.slice(offset, output_types[0].elements()));
        return Ok(outputs);
    }
    let views = outputs.iter_mut().map(Oracle::view_mut).collect();
    let mut inputs = inputs.to_vec();
    for &(i, _) in op.in_place() {
        inputs[i] = View::EMPTY;
    }
    op.cpu_f64(&mut CpuArgs::new(types, &output_types, inputs, views, Vec::new()));
    Ok(outputs)
}

/// The elements of a tensor on the CPU, in the precision of the run.
#[derive(Clone, PartialEq, Debug)]
pub enum Buf<T> {
    /// An f32 tensor.
    Real(Vec<T>),
    /// A u32 tensor.
    U32(Vec<u32>),
    /// A u8 tensor.
    U8(Vec<u8>),
}

/// A tensor of an f64 run.
pub type Oracle = Buf<f64>;

impl<T: Real> Buf<T> {
    /// Zeros of a type.
    pub fn zeros(ty: &TensorType) -> Self {
        Buf::zeros_of(ty.dtype, ty.elements())
    }

    /// `n` zeros.
    pub fn zeros_of(dtype: DType, n: usize) -> Self {
        match dtype {
            DType::F32 => Buf::Real(vec![T::ZERO; n]),
            DType::U32 => Buf::U32(vec![0; n]),
            DType::U8 => Buf::U8(vec![0; n]),
        }
    }

    /// A copy of a view.
    pub fn copy(view: View<'_, T>) -> Self {
        match view {
            View::Real(v) => Buf::Real(v.to_vec()),
            View::U32(v) => Buf::U32(v.to_vec()),
            View::U8(v) => Buf::U8(v.to_vec()),
        }
    }

    /// A host tensor in the precision of the run.
    pub fn from_tensor(t: &Tensor) -> Self {
        match t.data() {
            Data::F32(v) => Buf::Real(v.iter().map(|&x| T::from_f32(x)).collect()),
            Data::U32(v) => Buf::U32(v.clone()),
            Data::U8(v) => Buf::U8(v.clone()),
        }
    }

    /// A host tensor with these elements and this shape.
    pub fn to_tensor(&self, shape: &Shape) -> Result<Tensor> {
        match self {
            Buf::Real(v) => Tensor::f32(shape.clone(), v.iter().map(|x| x.to_f32()).collect()),
            Buf::U32(v) => Tensor::u32(shape.clone(), v.clone()),
            Buf::U8(v) => Tensor::u8(shape.clone(), v.clone()),
        }
    }

    /// The elements.
    pub fn view(&self) -> View<'_, T> {
        self.slice(0, self.len())
    }

    /// `len` elements from `offset`.
    pub fn slice(&self, offset: usize, len: usize) -> View<'_, T> {
        match self {
            Buf::Real(v) => View::Real(&v[offset..offset + len]),
            Buf::U32(v) => View::U32(&v[offset..offset + len]),
            Buf::U8(v) => View::U8(&v[offset..offset + len]),
        }
    }

    /// The elements, to write.
    pub fn view_mut(&mut self) -> ViewMut<'_, T> {
        match self {
            Buf::Real(v) => ViewMut::Real(v),
            Buf::U32(v) => ViewMut::U32(v),
            Buf::U8(v) => ViewMut::U8(v),
        }
    }

    /// Type of the elements.
    pub fn dtype(&self) -> DType {
        match self {
            Buf::Real(_) => DType::F32,
            Buf::U32(_) => DType::U32,
            Buf::U8(_) => DType::U8,
        }
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        match self {
            Buf::Real(v) => v.len(),
            Buf::U32(v) => v.len(),
            Buf::U8(v) => v.len(),
        }
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether `other` has the same element type and as many elements.
    pub fn same_kind(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other) && self.len() == other.len()
    }

    /// The elements of an f32 tensor, none for another type.
    pub fn real(&self) -> &[T] {
        match self {
            Buf::Real(v) => v,
            _ => &[],
        }
    }
}

impl<'a, T> View<'a, T> {
    /// No elements: what an op sees in place of an input that it overwrites.
    pub const EMPTY: View<'a, T> = View::Real(&[]);
}

impl<'a, T> ViewMut<'a, T> {
    /// The parts before and from element `at`.
    pub fn split_at(self, at: usize) -> (ViewMut<'a, T>, ViewMut<'a, T>) {
        match self {
            ViewMut::Real(v) => {
                let (a, b) = v.split_at_mut(at);
                (ViewMut::Real(a), ViewMut::Real(b))
            }
            ViewMut::U32(v) => {
                let (a, b) = v.split_at_mut(at);
                (ViewMut::U32(a), ViewMut::U32(b))
            }
            ViewMut::U8(v) => {
                let (a, b) = v.split_at_mut(at);
                (ViewMut::U8(a), ViewMut::U8(b))
            }
        }
    }
}

/// Elements to which a tensor inside a page is aligned: 256 bytes, WebGPU's default alignment of a storage binding.
pub const PAGE_ALIGNMENT: usize = 64;

// -------------------------------------------------------------------------------------------------------------- Error bounds

/// The unit roundoff that bounds are written in. WGSL lets an implementation round to either neighbour, hence 2^-23, not 2^-24.
pub const UNIT: f64 = 1.0 / (1u64 << 23) as f64;

/// What denormals flushed to zero may cost a result.
pub const TINY: f64 = 1.0e-37;

/// `d u / (1 - d u)`: bound on the relative error of `d` roundings in a chain (Higham, "Accuracy and Stability of Numerical
/// Algorithms", lemma 3.1).
pub fn gamma(depth: usize) -> f64 {
    let du = depth as f64 * UNIT;
    du / (1.0 - du)
}

/// What [`Op::error_bound`] is handed: the inputs, the oracle's outputs and the depth that the recorded kernel declared.
#[derive(Debug)]
pub struct Bound<'a> {
    /// Types of the inputs.
    pub types: &'a [TensorType],
    /// The inputs, in double precision.
    pub inputs: &'a [Oracle],
    /// The oracle's outputs.
    pub outputs: &'a [Oracle],
    /// Longest chain of roundings ([`Recorder::depth`]).
    pub depth: usize,
}

impl Bound<'_> {
    /// No difference allowed.
    pub fn exact(&self) -> Vec<Vec<f64>> {
        self.outputs.iter().map(|o| vec![0.0; o.real().len()]).collect()
    }

    /// `gamma(depth) * op(|inputs|) + tiny`, the bound of any sum of products whose value is `op`: on absolute inputs it
    /// computes the sum of absolute products. `op` is the op itself, less an activation.
    pub fn sum_of_products(&self, op: &dyn Op) -> Result<Vec<Vec<f64>>> {
        let absolute: Vec<Oracle> = self
            .inputs
            .iter()
            .map(|x| match x {
                Oracle::Real(v) => Oracle::Real(v.iter().map(|x| x.abs()).collect()),
                other => other.clone(),
            })
            .collect();
        let views: Vec<_> = absolute.iter().map(Oracle::view).collect();
        let sums = run_f64(op, self.types, &views)?;
        let g = gamma(self.depth);
        Ok(sums.iter().map(|s| s.real().iter().map(|s| g * s + TINY).collect()).collect())
    }

    /// A bound for output 0, element by element: `f(element index, oracle's value)`.
    pub fn each(&self, f: impl Fn(usize, f64) -> f64) -> Vec<Vec<f64>> {
        vec![self.outputs[0].real().iter().enumerate().map(|(i, &y)| f(i, y)).collect()]
    }
}

/// How far a device's outputs are from the oracle's, where they are furthest as a share of the bound.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Worst {
    /// Difference over bound: at most 1 is a pass, NaN or more is not.
    pub share: f64,
    /// Which output.
    pub output: usize,
    /// Which element.
    pub element: usize,
    /// The device's value.
    pub got: f64,
    /// The oracle's.
    pub want: f64,
    /// The largest difference allowed.
    pub bound: f64,
}

/// Compares a device's outputs `got` with those of the f64 oracle on the same inputs, in units of the op's error bound at `depth`.
///
/// # Errors
/// [`Error::Invalid`] if an output has another type or size than the oracle's.
pub fn compare(op: &dyn Op, types: &[TensorType], inputs: &[Oracle], got: &[Tensor], depth: usize) -> Result<Worst> {
    let views: Vec<_> = inputs.iter().map(Buf::view).collect();
    let outputs = run_f64(op, types, &views)?;
    let bounds = op.error_bound(&Bound { types, inputs, outputs: &outputs, depth })?;
    if got.len() != outputs.len() {
        return Err(Error::invalid("outputs", got.len(), outputs.len()));
    }
    let mut worst = Worst::default();
    for (output, (want, got)) in outputs.iter().zip(got).enumerate() {
        let got = Buf::<f64>::from_tensor(got);
        if !want.same_kind(&got) {
            return Err(Error::invalid(format!("output {output}"), format!("{} elements", got.len()), want.len()));
        }
        let bound = bounds.get(output).map_or(&[][..], Vec::as_slice);
        for element in 0..want.len() {
            let (w, g, b) = match (want, &got) {
                (Buf::Real(w), Buf::Real(g)) => (w[element], g[element], bound[element]),
                (Buf::U32(w), Buf::U32(g)) => (f64::from(w[element]), f64::from(g[element]), 0.0),
                (Buf::U8(w), Buf::U8(g)) => (f64::from(w[element]), f64::from(g[element]), 0.0),
                _ => unreachable!("of the same kind"),
            };
            let share = share_of_bound(g, w, b);
            if share.is_nan() || share > worst.share {
                worst = Worst { share, output, element, got: g, want: w, bound: b };
            }
            if share.is_nan() {
                return Ok(worst);
            }
        }
    }
    Ok(worst)
}

/// `|got - want| / bound`: 0 where both are the same value, NaN or infinity; NaN where only one is a NaN.
fn share_of_bound(got: f64, want: f64, bound: f64) -> f64 {
    // The oracle runs in double precision: what overflows single precision must overflow on the device.
    let overflows = want.is_finite() && (want as f32).is_infinite() && got.is_infinite() && (got > 0.0) == (want > 0.0);
    if got == want || (got.is_nan() && want.is_nan()) || overflows {
        0.0
    } else if got.is_nan() || want.is_nan() || bound.is_nan() {
        f64::NAN
    } else if bound == 0.0 {
        f64::INFINITY
    } else {
        (got - want).abs() / bound
    }
}

// ------------------------------------------------------------------------------------------------------------------ Gradient

/// Adds nodes to a graph; what autodiff lets [`Op::gradient`] do.
pub trait NodeBuilder {
    /// Adds a node and returns its outputs.
    fn add(&mut self, op: Arc<dyn Op>, inputs: &[Value]) -> Result<Vec<Value>>;
    /// Type of a value.
    fn type_of(&self, v: Value) -> &TensorType;
}

/// What [`Op::gradient`] is handed: the node's values, the gradients of its outputs, and a place for those of its inputs.
pub struct Gradient<'a> {
    builder: &'a mut dyn NodeBuilder,
    x: &'a [Value],
    y: &'a [Value],
    dy: &'a [Option<Value>],
    wanted: &'a [bool],
    dx: Vec<Option<Value>>,
}

impl<'a> Gradient<'a> {
    /// For a node with inputs `x` and outputs `y`, of which those with a `dy` reach the loss.
    pub fn new(
        builder: &'a mut dyn NodeBuilder,
        x: &'a [Value],
        y: &'a [Value],
        dy: &'a [Option<Value>],
        wanted: &'a [bool],
    ) -> Self {
        Gradient { builder, x, y, dy, wanted, dx: vec![None; x.len()] }
    }

    /// Input `i` of the node.
    pub fn x(&self, i: usize) -> Value {
        self.x[i]
    }

    /// Number of inputs of the node.
    pub fn n_inputs(&self) -> usize {
        self.x.len()
    }

    /// Output `i` of the node.
    pub fn y(&self, i: usize) -> Value {
        self.y[i]
    }

    /// Gradient of the loss by output `i`. Autodiff calls an op only if its output 0 has one.
    pub fn dy(&self, i: usize) -> Option<Value> {
        self.dy[i]
    }

    /// Gradient of the loss by output 0.
    pub fn dy0(&self) -> Result<Value> {
        self.dy[0].ok_or_else(|| Error::invalid("gradient", "a loss that doesn't depend on output 0", "one that does"))
    }

    /// Whether the gradient by input `i` is needed.
    pub fn wants(&self, i: usize) -> bool {
        self.wanted[i]
    }

    /// Type of a value.
    pub fn type_of(&self, v: Value) -> TensorType {
        self.builder.type_of(v).clone()
    }

    /// Adds a node with one output.
    pub fn node(&mut self, op: impl Op, inputs: &[Value]) -> Result<Value> {
        Ok(self.builder.add(Arc::new(op), inputs)?[0])
    }

    /// Says that `value` is the gradient by input `i`.
    pub fn set(&mut self, i: usize, value: Value) {
        self.dx[i] = Some(value);
    }

    /// The gradients by the inputs.
    pub fn finish(self) -> Vec<Option<Value>> {
        self.dx
    }
}

// ------------------------------------------------------------------------------------------------------------------ Recorder

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
/// Bit test for NaN and infinity in WGSL.
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
    /// Forces a tile of [`MainLoop::Tiled`] by its index in the table, for tests and tuning.
    pub tile: Option<usize>,
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
            subgroup_len: None,
            max_binding_bytes: 128 << 20,
            max_buffer_bytes: 256 << 20,
            max_workgroups: 65_535,
            storage_alignment: 256,
            uniform_alignment: 256,
            memory_budget: None,
        }
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

/// Collects the dispatches of an op for a device. What [`Op::gpu`] is handed.
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
    depth: usize,
}

impl<'a> Recorder<'a> {
    /// A recorder for a node with these types. `placed`: see [`CpuArgs::new`].
    pub fn new(profile: &'a DeviceProfile, inputs: &'a [TensorType], outputs: &'a [TensorType], placed: &'a [bool]) -> Self {
        Recorder { profile, inputs, outputs, placed, dispatches: Vec::new(), temps: Vec::new(), depth: 1 }
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

    /// Declares the longest chain of roundings of the dispatches, which [`Op::error_bound`] gets to see.
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

// --------------------------------------------------------------------------------------------------------------- Declarations

/// What the list of ops says of one.
#[derive(Debug)]
pub struct Declaration {
    /// [`Op::name`].
    pub name: &'static str,
    /// Why it has no gradient, for an op that has none.
    pub no_gradient: Option<&'static str>,
    /// The shader files that it owns or composes.
    pub shaders: &'static [&'static Source],
    /// Cases that every test and bench of the op runs.
    pub cases: fn() -> Vec<Case>,
}

/// An op with inputs, for tests, the self-test and benches.
#[derive(Debug)]
pub struct Case {
    /// Readable id within the op (`odd_width_stride_2`).
    pub name: String,
    /// The op.
    pub op: Arc<dyn Op>,
    /// Its inputs.
    pub inputs: Vec<Tensor>,
    /// Inputs that the op is differentiable by at this case's data; finite differences are taken for these.
    pub differentiable: Vec<usize>,
}

impl Case {
    /// A case that is differentiable by all its f32 inputs.
    pub fn new(name: impl Into<String>, op: impl Op, inputs: Vec<Tensor>) -> Self {
        let differentiable = (0..inputs.len()).filter(|&i| inputs[i].dtype() == DType::F32).collect();
        Case { name: name.into(), op: Arc::new(op), inputs, differentiable }
    }

    /// The same, differentiable only by these inputs.
    pub fn differentiable_by(mut self, inputs: &[usize]) -> Self {
        self.differentiable = inputs.to_vec();
        self
    }
}

/// Test data for [`Case`]s, reproducible by `seed`.
pub mod sample {
    use crate::random::{Seed, Stream};
    use crate::tensor::{Shape, Tensor};

    fn make(shape: Shape, mut f: impl FnMut(usize) -> f32) -> Tensor {
        let data = (0..shape.elements()).map(&mut f).collect();
        Tensor::f32(shape, data).unwrap_or_else(|_| unreachable!("made to fit"))
    }

    /// Standard normal.
    pub fn normal(seed: u64, shape: impl Into<Shape>) -> Tensor {
        let mut s = Stream::new(Seed(seed), 0);
        make(shape.into(), |_| s.normal() as f32)
    }

    /// Uniform in (0, 1], where sums have no cancellation and long chains of roundings show.
    pub fn positive(seed: u64, shape: impl Into<Shape>) -> Tensor {
        let mut s = Stream::new(Seed(seed), 1);
        make(shape.into(), |_| (1.0 - s.uniform()) as f32)
    }

    /// Integers in `-range..=range`, on which sums of products must be exact.
    pub fn integers(seed: u64, shape: impl Into<Shape>, range: u32) -> Tensor {
        let mut s = Stream::new(Seed(seed), 2);
        make(shape.into(), |_| s.below(2 * range + 1) as f32 - range as f32)
    }

    /// All elements different and at least 0.01 apart, in random order around 0: no ties for maxima, no kink near an element.
    pub fn distinct(seed: u64, shape: impl Into<Shape>) -> Tensor {
        let shape = shape.into();
        let n = shape.elements() as u32;
        let order = Stream::new(Seed(seed), 3).permutation(n);
        make(shape, |i| (order[i] as f32 - n as f32 / 2.0 + 0.25) * 0.01)
    }

    /// Class or row indices below `n`.
    pub fn indices(seed: u64, len: usize, n: u32) -> Tensor {
        let mut s = Stream::new(Seed(seed), 4);
        let data = (0..len).map(|_| s.below(n)).collect();
        Tensor::u32([len], data).unwrap_or_else(|_| unreachable!("made to fit"))
    }
}
