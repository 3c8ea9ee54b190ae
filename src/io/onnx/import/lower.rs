//! What a rule is handed to turn a node into ops: its inputs in whatever order of axes it wants them, its attributes, and the layer that it
//! becomes.

use super::super::array::Array;
use super::super::element::Element;
use super::attributes::Attributes;
use super::source::{Node, TensorId};
use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::nn::{Given, LayerContext};
use crate::op::{Op, Value};
use crate::ops::constant::Constant;
use crate::ops::expand::Expand;
use crate::ops::transpose::Transpose;
use crate::ops::view::View;
use crate::tensor::{DType, Tensor};
use std::cell::Cell;
use std::collections::HashMap;
use std::sync::Arc;

/// A tensor of an ONNX graph, as far as it is known.
#[derive(Clone, Debug)]
pub(super) enum Operand {
    /// Its values are known before anything runs.
    Constant(Array),
    /// It is made on the device.
    Device(OnDevice),
}

impl Operand {
    pub fn dims(&self) -> &[usize] {
        match self {
            Operand::Constant(array) => array.dims(),
            Operand::Device(tensor) => &tensor.dims,
        }
    }

    pub fn element(&self) -> Element {
        match self {
            Operand::Constant(array) => array.element(),
            Operand::Device(tensor) => tensor.element,
        }
    }
}

/// A tensor on the device. Transposing it moves nothing: the axes only get other names until somebody needs them in an order.
#[derive(Clone, Debug)]
pub(super) struct OnDevice {
    pub value: Value,
    pub element: Element,
    /// ONNX's dimensions.
    pub dims: Vec<usize>,
    pub layout: Layout,
    /// Whether it depends on what the network is fed.
    pub varies: bool,
}

/// How a tensor lies in memory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Layout {
    /// The axis that each dimension in memory is.
    pub order: Vec<usize>,
    /// Dimensions before a flattening that is still to be done: `order` is that of their axes.
    pub unflattened: Option<Vec<usize>>,
}

impl Layout {
    /// As ONNX has it.
    pub fn plain(rank: usize) -> Layout {
        Layout { order: (0..rank).collect(), unflattened: None }
    }

    /// With the channels, axis 1, last.
    pub fn channels_last(rank: usize) -> Layout {
        Layout { order: channels_last(rank), unflattened: None }
    }
}

/// Axes so that channels come last.
pub(super) fn channels_last(rank: usize) -> Vec<usize> {
    if rank < 3 { (0..rank).collect() } else { std::iter::once(0).chain(2..rank).chain([1]).collect() }
}

/// Dimensions in memory of a tensor whose axes lie in this order. A scalar is a tensor of one element there.
pub(super) fn in_memory(dims: &[usize], order: &[usize]) -> Vec<usize> {
    if dims.is_empty() { vec![1] } else { order.iter().map(|&axis| dims[axis]).collect() }
}

/// Row-major values with the axes in another order.
pub(super) fn permuted<T: Copy>(values: &[T], dims: &[usize], order: &[usize]) -> Vec<T> {
    let strides: Vec<usize> = (0..dims.len()).map(|axis| dims[axis + 1..].iter().product()).collect();
    let mut at = vec![0usize; order.len()];
    let mut out = Vec::with_capacity(values.len());
    let mut offset = 0;
    while out.len() < values.len() {
        out.push(values[offset]);
        for (i, &axis) in order.iter().enumerate().rev() {
            at[i] += 1;
            offset += strides[axis];
            if at[i] < dims[axis] {
                break;
            }
            offset -= strides[axis] * dims[axis];
            at[i] = 0;
        }
    }
    out
}

/// A place among `rank` axes, counted from the end if negative.
pub(super) fn axis_of(axis: i64, rank: usize) -> Result<usize> {
    let from_start = if axis < 0 { axis + rank as i64 } else { axis };
    usize::try_from(from_start)
        .ok()
        .filter(|&a| a < rank)
        .ok_or_else(|| Error::invalid("axis", axis, format!("one of {rank} axes, -{rank} to {}", rank as i64 - 1)))
}

/// Places among `rank` axes, each at most once.
pub(super) fn axes_of(axes: &[i64], rank: usize) -> Result<Vec<usize>> {
    let mut seen = vec![false; rank];
    let place = |&axis: &i64| match axis_of(axis, rank)? {
        axis if std::mem::replace(&mut seen[axis], true) => Err(Error::invalid("axes", axis, "each once")),
        axis => Ok(axis),
    };
    axes.iter().map(place).collect()
}

/// A permutation of `rank` axes; reversed ones if it isn't given.
pub(super) fn permutation_of(perm: Option<&[i64]>, rank: usize) -> Result<Vec<usize>> {
    let Some(perm) = perm else { return Ok((0..rank).rev().collect()) };
    if perm.len() != rank {
        return Err(Error::invalid("perm", format!("{perm:?}"), format!("each of {rank} axes once")));
    }
    axes_of(perm, rank).map_err(|e| e.at("perm"))
}

/// Lengths of the parts that an axis of `len` is cut into: those that are given, or as many as there are outputs, of one length but for the last.
pub(super) fn parts_of(given: Option<&[i64]>, number: Option<i64>, outputs: usize, len: usize) -> Result<Vec<usize>> {
    let sizes: Vec<usize> = match given {
        Some(sizes) => super::rules::sizes("split", sizes)?,
        None if number.is_some_and(|n| n != outputs as i64) => {
            return Err(Error::invalid("num_outputs", number.unwrap_or_default(), format!("{outputs}, as there are")));
        }
        None => {
            let each = len.div_ceil(outputs.max(1));
            (0..outputs.max(1)).map(|i| len.saturating_sub(i.saturating_mul(each)).min(each)).collect()
        }
    };
    let sum = sizes.iter().try_fold(0usize, |sum, &size| sum.checked_add(size));
    if sum != Some(len) || sizes.len() < outputs {
        return Err(Error::invalid("split", format!("{} sizes", sizes.len()), format!("{outputs}, together {len}")));
    }
    Ok(sizes)
}

/// Most elements of a constant that isn't in the file.
pub(super) const MOST_MADE: usize = 1 << 16;

/// A node on its way to the device.
pub(super) struct Lower<'a, 'c> {
    pub ctx: &'a mut LayerContext<'c>,
    pub node: &'a Node,
    pub names: &'a [Arc<str>],
    /// Version of the node's op set.
    pub opset: i64,
    /// The size of the batch for which the file was written, if it says one, and what it is now.
    pub batch: Option<(usize, usize)>,
    /// Before the names of parameters.
    pub prefix: String,
    /// What the file gives values for, of which weights are.
    pub weights: &'a HashMap<TensorId, Array>,
    /// The tensor whose values had to be known and aren't.
    pub wanted: &'a Cell<Option<TensorId>>,
    pub inputs: Vec<Option<Operand>>,
    pub outputs: Vec<Option<Operand>>,
}

impl Lower<'_, '_> {
    pub fn attributes(&self) -> &Attributes {
        &self.node.attributes
    }

    /// Name of an input in the file.
    pub fn input_name(&self, i: usize) -> String {
        let id = self.node.inputs.get(i).copied().flatten();
        id.map_or(format!("input {i}"), |id| format!("'{}'", self.names[id].escape_debug()))
    }

    /// Whether an input is among the weights of the file.
    pub fn is_weight(&self, i: usize) -> bool {
        self.node.inputs.get(i).copied().flatten().is_some_and(|id| self.weights.contains_key(&id))
    }

    pub fn n_inputs(&self) -> usize {
        self.inputs.len()
    }

    pub fn has(&self, i: usize) -> bool {
        matches!(self.inputs.get(i), Some(Some(_)))
    }

    /// Whether somebody may read an output.
    pub fn gives(&self, i: usize) -> bool {
        matches!(self.node.outputs.get(i), Some(Some(_)))
    }

    pub fn operand(&self, i: usize) -> Result<&Operand> {
        match self.inputs.get(i) {
            Some(Some(operand)) => Ok(operand),
            _ => Err(Error::invalid(format!("input {i}"), "none", "a tensor")),
        }
    }

    pub fn dims(&self, i: usize) -> Result<Vec<usize>> {
        Ok(self.operand(i)?.dims().to_vec())
    }

    pub fn rank(&self, i: usize) -> Result<usize> {
        Ok(self.operand(i)?.dims().len())
    }

    pub fn element(&self, i: usize) -> Result<Element> {
        Ok(self.operand(i)?.element())
    }

    /// An input whose values are known.
    pub fn constant(&self, i: usize) -> Option<&Array> {
        match self.inputs.get(i) {
            Some(Some(Operand::Constant(array))) => Some(array),
            _ => None,
        }
    }

    fn known(&self, i: usize) -> Result<&Array> {
        self.operand(i)?;
        if self.constant(i).is_none() {
            self.wanted.set(self.node.inputs.get(i).copied().flatten());
        }
        let unknown =
            || Error::invalid(format!("input {}", self.input_name(i)), "values that are worked out at run time", "constants");
        self.constant(i).ok_or_else(unknown)
    }

    /// The values of an input of integers, which must be known.
    pub fn ints(&self, i: usize) -> Result<Vec<i64>> {
        self.known(i)?.to_integers().map_err(|e| e.at(&self.input_name(i)))
    }

    /// The values of an input of numbers, which must be known.
    pub fn floats(&self, i: usize) -> Result<Vec<f32>> {
        self.known(i)?.to_floats()
    }

    /// The number that an input is, which must be known.
    pub fn number(&self, i: usize) -> Result<f32> {
        match self.floats(i)?[..] {
            [v] => Ok(v),
            ref several => {
                Err(Error::invalid(format!("input {}", self.input_name(i)), format!("{} numbers", several.len()), "1"))
            }
        }
    }

    /// Integers that were an attribute up to some version and are an input since.
    pub fn ints_of(&self, attribute: &str, input: usize) -> Result<Option<Vec<i64>>> {
        match self.attributes().ints(attribute)? {
            None if self.has(input) => self.ints(input).map(Some),
            given => Ok(given),
        }
    }

    /// Adds a node and returns its first output.
    pub fn add(&mut self, op: impl Op, inputs: &[Value]) -> Result<Value> {
        self.ctx.node(op, inputs)
    }

    pub fn reshaped(&mut self, x: Value, dims: impl Into<Vec<usize>>) -> Result<Value> {
        let dims = dims.into();
        let dims = if dims.is_empty() { vec![1] } else { dims };
        if self.ctx.shape(x).dims() == dims { Ok(x) } else { self.add(View::reshape(dims), &[x]) }
    }

    /// Dimensions in memory of a value.
    pub fn shape(&self, x: Value) -> Vec<usize> {
        self.ctx.shape(x).dims().to_vec()
    }

    /// A value's dimensions in another order; no copy where only dimensions of 1 move.
    pub fn transposed(&mut self, x: Value, permutation: &[usize]) -> Result<Value> {
        let dims = self.shape(x);
        let moved: Vec<usize> = permutation.iter().copied().filter(|&axis| dims[axis] != 1).collect();
        if moved.is_sorted() {
            return self.reshaped(x, permutation.iter().map(|&axis| dims[axis]).collect::<Vec<_>>());
        }
        self.add(Transpose::new(permutation), &[x])
    }

    /// An input on the device, in whatever layout it is.
    pub fn on_device(&mut self, i: usize) -> Result<OnDevice> {
        let rank = self.rank(i)?;
        match self.operand(i)? {
            Operand::Device(tensor) => Ok(tensor.clone()),
            Operand::Constant(array) => {
                let (element, dims) = (array.element(), array.dims().to_vec());
                let value = self.arranged(i, &(0..rank).collect::<Vec<_>>())?;
                Ok(OnDevice { value, element, dims, layout: Layout::plain(rank), varies: false })
            }
        }
    }

    /// An input with its axes in this order in memory.
    pub fn arranged(&mut self, i: usize, order: &[usize]) -> Result<Value> {
        let tensor = match self.operand(i)? {
            Operand::Device(tensor) => tensor.clone(),
            Operand::Constant(array) => {
                let array = array.clone();
                return self.fixed(i, &array, order);
            }
        };
        self.rearranged(&tensor, order)
    }

    /// A tensor with its axes in this order in memory.
    pub fn rearranged(&mut self, tensor: &OnDevice, order: &[usize]) -> Result<Value> {
        let mut value = tensor.value;
        let mut from = tensor.layout.order.clone();
        if let Some(dims) = &tensor.layout.unflattened {
            value = self.transposed(value, &inverse(&from))?;
            debug_assert_eq!(self.shape(value), *dims);
            value = self.reshaped(value, tensor.dims.clone())?;
            from = (0..tensor.dims.len()).collect();
        }
        if from == order {
            return Ok(value);
        }
        let place = inverse(&from);
        let permutation: Vec<usize> = order.iter().map(|&axis| place[axis]).collect();
        self.transposed(value, &permutation)
    }

    /// An input as ONNX has it.
    pub fn plain(&mut self, i: usize) -> Result<Value> {
        let order: Vec<usize> = (0..self.rank(i)?).collect();
        self.arranged(i, &order)
    }

    /// An input with the channels last.
    pub fn channels_last(&mut self, i: usize) -> Result<Value> {
        let order = channels_last(self.rank(i)?);
        self.arranged(i, &order)
    }

    /// A constant that training doesn't change.
    fn fixed(&mut self, i: usize, array: &Array, order: &[usize]) -> Result<Value> {
        let name = format!("{}constant_{i}", self.prefix);
        let shape = in_memory(array.dims(), order);
        if !array.element().is_float() {
            return super::integers::constant(self.ctx.graph(), array, order, shape);
        }
        self.ctx.fixed(&name, shape, given(array, order, None))
    }

    /// An input that is a weight: if it is constant, a parameter of this name that training changes. `order` is that of its axes in memory,
    /// and `shape` what they are then seen as, if not themselves.
    pub fn parameter(&mut self, i: usize, name: &str, order: &[usize], shape: Option<Vec<usize>>) -> Result<Value> {
        let Some(array) = self.constant(i).cloned() else {
            let value = self.arranged(i, order)?;
            return match shape {
                Some(shape) => self.reshaped(value, shape),
                None => Ok(value),
            };
        };
        let shape = shape.unwrap_or_else(|| in_memory(array.dims(), order));
        self.ctx.parameter(&format!("{}{name}", self.prefix), shape, given(&array, order, None))
    }

    /// Integers or booleans that are all alike, without memory for them on the host.
    pub fn filled(&mut self, i: usize, element: Element, dims: Vec<usize>, value: i64) -> Result<()> {
        let word = super::integers::words(element, &[value])?;
        let rank = dims.len().max(1);
        let mut y = self.add(Constant::new(Tensor::u32(vec![1; rank], word)?), &[])?;
        if dims.iter().any(|&d| d != 1) {
            y = self.add(Expand { shape: dims.clone().into() }, &[y])?;
        }
        self.put_plain(i, y, element, dims)
    }

    /// Says what an output is.
    pub fn put(&mut self, i: usize, value: Value, element: Element, dims: Vec<usize>, layout: Layout) {
        debug_assert!(layout.unflattened.is_some() || in_memory(&dims, &layout.order) == self.shape(value));
        debug_assert_eq!(element.is_float(), self.ctx.type_of(value).dtype == DType::F32);
        let varies = self.inputs.iter().flatten().any(|input| matches!(input, Operand::Device(tensor) if tensor.varies));
        self.set(i, Operand::Device(OnDevice { value, element, dims, layout, varies }));
    }

    /// Says what an output is that lies as ONNX has it; `dims` may be fewer than in memory for a scalar.
    pub fn put_plain(&mut self, i: usize, value: Value, element: Element, dims: Vec<usize>) -> Result<()> {
        let value = self.reshaped(value, dims.clone())?;
        let layout = Layout::plain(dims.len());
        self.put(i, value, element, dims, layout);
        Ok(())
    }

    /// Says what an output is that has the channels last, `dims` in ONNX's order.
    pub fn put_channels_last(&mut self, i: usize, value: Value, element: Element, dims: Vec<usize>) -> Result<()> {
        let layout = Layout::channels_last(dims.len());
        let value = self.reshaped(value, in_memory(&dims, &layout.order))?;
        self.put(i, value, element, dims, layout);
        Ok(())
    }

    /// Says that an output is an input.
    pub fn pass(&mut self, input: usize, output: usize) -> Result<()> {
        let operand = self.operand(input)?.clone();
        self.set(output, operand);
        Ok(())
    }

    pub fn set(&mut self, i: usize, operand: Operand) {
        if self.outputs.len() <= i {
            self.outputs.resize(i + 1, None);
        }
        self.outputs[i] = Some(operand);
    }
}

/// The values of a constant with its axes in another order, by rows of which `rows` says the order.
pub(super) fn given(array: &Array, order: &[usize], rows: Option<Vec<usize>>) -> Given {
    let (array, order) = (array.clone(), order.to_vec());
    Given::new(move || {
        let values = array.to_floats()?;
        let values = if order.is_sorted() { values } else { permuted(&values, array.dims(), &order) };
        let Some(rows) = &rows else { return Ok(values) };
        let len = values.len() / rows.len().max(1);
        Ok(rows.iter().flat_map(|&row| &values[row * len..][..len]).copied().collect())
    })
}

/// Where each axis is.
pub(super) fn inverse(order: &[usize]) -> Vec<usize> {
    let mut place = vec![0; order.len()];
    order.iter().enumerate().for_each(|(i, &axis)| place[axis] = i);
    place
}

/// A tensor as ONNX has it.
pub(super) fn plain(graph: &mut Graph, tensor: &OnDevice) -> Result<Value> {
    let mut value = tensor.value;
    let order = &tensor.layout.order;
    if !order.is_sorted() {
        value = graph.node(Transpose::new(inverse(order)), &[value])?;
    }
    let dims = if tensor.dims.is_empty() { vec![1] } else { tensor.dims.clone() };
    graph.node(View::reshape(dims), &[value])
}
