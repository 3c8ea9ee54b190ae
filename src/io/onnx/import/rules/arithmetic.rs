//! Arithmetic with broadcasting.

use super::super::integers;
use super::super::lower::{Layout, Lower, Operand, in_memory};
use super::unary::unary;
use super::{Rule, rule};
use crate::error::{Error, Result};
use crate::op::Value;
use crate::ops::binary::{Add, Binary, BinaryRow, Div, Max, Min, Mul, Pow, Prelu, Sub};
use crate::ops::scale::Scale;
use crate::ops::unary::{self as functions, Unary};

pub(super) const RULES: &[Rule] = &[
    rule("Add", "add", binary::<Add>),
    rule("Div", "div", binary::<Div>),
    rule("Max", "max", over_all::<Max>),
    rule("Mean", "mean", mean),
    rule("Min", "min", over_all::<Min>),
    rule("Mul", "mul", binary::<Mul>),
    rule("PRelu", "prelu", prelu),
    rule("Pow", "pow", pow),
    rule("Sub", "sub", binary::<Sub>),
    rule("Sum", "sum", over_all::<Add>),
];

/// The common shape of several, by NumPy's rules.
pub(in super::super) fn broadcast(shapes: &[Vec<usize>]) -> Result<Vec<usize>> {
    let rank = shapes.iter().map(Vec::len).max().unwrap_or(0);
    let mut dims = vec![1; rank];
    for shape in shapes {
        for (dim, &d) in dims[rank - shape.len()..].iter_mut().zip(shape) {
            if *dim != d && *dim != 1 && d != 1 {
                let want = "equal ones, or such as differ where one has a dimension of 1, counted from the last";
                return Err(Error::invalid("shapes", format!("{shapes:?}"), want));
            }
            *dim = if d == 1 { *dim } else { d };
        }
    }
    Ok(dims)
}

/// Tensors so that an elementwise op can read them together, the dimensions of its result and how that lies in memory. The layout is that
/// of the first with all dimensions that doesn't lie as ONNX has it, so that an addition between convolutions moves nothing.
pub(in super::super) fn meet(l: &mut Lower<'_, '_>, inputs: &[usize]) -> Result<(Vec<Value>, Vec<usize>, Layout)> {
    let shapes = inputs.iter().map(|&i| l.dims(i)).collect::<Result<Vec<_>>>()?;
    let dims = broadcast(&shapes)?;
    let rank = dims.len();
    let mut layouts = inputs.iter().filter_map(|&i| match l.operand(i) {
        Ok(Operand::Device(tensor)) if tensor.dims == dims => Some(tensor.layout.clone()),
        _ => None,
    });
    let layout = layouts.clone().find(|layout| *layout != Layout::plain(rank));
    // Flattened ones stay as they are among their like and numbers.
    let alike = |i: usize| match l.operand(i) {
        Ok(Operand::Device(tensor)) => Some(&tensor.layout) == layout.as_ref() && tensor.dims == dims,
        Ok(Operand::Constant(array)) => array.len() == 1,
        Err(_) => false,
    };
    if let Some(layout) = &layout
        && layout.unflattened.is_some()
        && inputs.iter().all(|&i| alike(i))
    {
        let mut values = Vec::new();
        for &i in inputs {
            let value = l.on_device(i)?.value;
            values.push(if l.constant(i).is_some() { l.reshaped(value, [1])? } else { value });
        }
        return Ok((values, dims, layout.clone()));
    }
    let layout = layouts.find(|layout| *layout != Layout::plain(rank) && layout.unflattened.is_none());
    let layout = layout.unwrap_or_else(|| Layout::plain(rank));
    // One parameter: of two weights the other one stays as it is.
    let is_weight = |i: usize| l.is_weight(i) && l.constant(i).is_some_and(|c| c.len() > 1);
    let (trained, name) = match l.node.op.as_str() {
        "Add" => (inputs.iter().copied().find(|&i| is_weight(i)), "bias"),
        "Mul" => (inputs.iter().copied().find(|&i| is_weight(i)), "scale"),
        _ => (None, ""),
    };
    let mut values = Vec::new();
    for (&i, shape) in inputs.iter().zip(&shapes) {
        let missing = rank - shape.len();
        let own: Vec<usize> = layout.order.iter().filter(|&&axis| axis >= missing).map(|axis| axis - missing).collect();
        let value = if trained == Some(i) { l.parameter(i, name, &own, None)? } else { l.arranged(i, &own)? };
        let padded = [&vec![1; missing][..], shape].concat();
        values.push(l.reshaped(value, in_memory(&padded, &layout.order))?);
    }
    Ok((values, dims, layout))
}

/// Broadcasting of files before opset 7: the second operand's dimensions begin at an axis of the first.
fn aligned(l: &mut Lower<'_, '_>) -> Result<()> {
    if l.opset >= 7 || !l.attributes().flag("broadcast", false)? {
        return Ok(());
    }
    let (rank, dims) = (l.rank(0)?, l.dims(1)?);
    let axis = l.attributes().int("axis")?.unwrap_or(rank as i64 - dims.len() as i64);
    let axis = super::super::lower::axis_of(axis, rank.max(1))?;
    let Some(after) = rank.checked_sub(axis + dims.len()) else {
        return Err(Error::invalid("axis", axis, format!("one from which {dims:?} fits into {rank} dimensions")));
    };
    let padded = [&dims[..], &vec![1; after][..]].concat();
    let operand = match l.operand(1)?.clone() {
        Operand::Constant(array) => Operand::Constant(array.reshaped(padded)?),
        Operand::Device(_) => {
            let mut tensor = l.on_device(1)?;
            let value = l.plain(1)?;
            tensor.value = l.reshaped(value, padded.clone())?;
            (tensor.layout, tensor.dims) = (Layout::plain(padded.len()), padded);
            Operand::Device(tensor)
        }
    };
    l.inputs[1] = Some(operand);
    Ok(())
}

fn binary<R: BinaryRow>(l: &mut Lower<'_, '_>) -> Result<()> {
    aligned(l)?;
    extreme::<R>(l, &[0, 1])
}

/// Two of the inputs by a function of two numbers.
pub(super) fn extreme<R: BinaryRow>(l: &mut Lower<'_, '_>, inputs: &[usize; 2]) -> Result<()> {
    let element = l.element(inputs[0])?;
    if !element.is_float() {
        return integers::over_all(l, R::NAME, inputs);
    }
    let (values, dims, layout) = meet(l, inputs)?;
    let y = l.add(Binary::<R>::new(), &values)?;
    l.put(0, y, element, dims, layout);
    Ok(())
}

/// All inputs, one after the other.
fn over_all<R: BinaryRow>(l: &mut Lower<'_, '_>) -> Result<()> {
    let inputs: Vec<usize> = (0..l.n_inputs()).collect();
    let element = l.element(0)?;
    if !element.is_float() {
        return integers::over_all(l, R::NAME, &inputs);
    }
    let (values, dims, layout) = meet(l, &inputs)?;
    let mut y = values[0];
    for &value in &values[1..] {
        y = l.add(Binary::<R>::new(), &[y, value])?;
    }
    // Of one alone, which may be shorter in memory than the result.
    l.put(0, y, element, dims, layout);
    Ok(())
}

fn mean(l: &mut Lower<'_, '_>) -> Result<()> {
    over_all::<Add>(l)?;
    let n = l.n_inputs();
    if n > 1 {
        l.inputs[0] = l.outputs[0].clone();
        unary(l, Scale { factor: 1.0 / n as f32 })?;
    }
    Ok(())
}

fn pow(l: &mut Lower<'_, '_>) -> Result<()> {
    let (x, y) = (l.element(0)?, l.element(1)?);
    if x.is_float() && l.constant(1).is_some_and(|c| c.len() == 1) {
        let exponent = f64::from(l.number(1)?);
        return unary(l, Unary(functions::Pow { exponent }));
    }
    if x.is_float() && y.is_float() {
        return binary::<Pow>(l);
    }
    integers::pow(l)
}

/// The slope is broadcast to the input; one of a channel each may come without the axes behind them.
fn prelu(l: &mut Lower<'_, '_>) -> Result<()> {
    let (values, dims, layout) = match l.constant(1).cloned() {
        Some(slope) => {
            let (rank, x) = (l.rank(0)?, l.dims(0)?);
            let dims = match *slope.dims() {
                [c] if rank > 2 && c == x[1] && c != x[rank - 1] => [&[c][..], &vec![1; rank - 2]].concat(),
                ref dims => dims.to_vec(),
            };
            l.inputs[1] = Some(Operand::Constant(slope.reshaped(dims.clone())?));
            let x = l.on_device(0)?;
            let missing = rank.saturating_sub(dims.len());
            let order = &x.layout.order;
            if x.layout.unflattened.is_none() && rank >= dims.len() {
                let own: Vec<usize> = order.iter().filter(|&&a| a >= missing).map(|a| a - missing).collect();
                let slope = l.parameter(1, "slope", &own, None)?;
                let padded = [&vec![1; missing][..], &dims].concat();
                let slope = l.reshaped(slope, in_memory(&padded, order))?;
                (vec![x.value, slope], x.dims, x.layout)
            } else {
                meet(l, &[0, 1])?
            }
        }
        None => meet(l, &[0, 1])?,
    };
    let (element, x) = (l.element(0)?, l.dims(0)?);
    if broadcast(&[x.clone(), l.dims(1)?])? != x {
        return Err(Error::invalid("slope", format!("{:?}", l.dims(1)?), format!("one that is repeated to {x:?}")));
    }
    let y = l.add(Binary::<Prelu>::new(), &values)?;
    l.put(0, y, element, dims, layout);
    Ok(())
}
