//! What an op sees of memory on the CPU, and the oracle: a run in double precision.

use super::Op;
use crate::error::Result;
use crate::linalg::Real;
use crate::tensor::{DType, Data, Shape, Tensor, TensorType};

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
