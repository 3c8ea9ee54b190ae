//! Reductions and softmax: what works along axes.

use super::super::super::array::{Array, elements};
use super::super::super::element::Element;
use super::super::integers::{integer, to_floats};
use super::super::lower::{Layout, Lower, MOST_MADE, Operand, axes_of, axis_of, inverse};
use super::{Rule, rule};
use crate::error::{Error, Result};
use crate::op::{Op, Value};
use crate::ops::argmax::ArgMax;
use crate::ops::binary::{Add, Binary, Mul, Sub};
use crate::ops::integer_reduce::{IntegerReduce, IntegerReduction};
use crate::ops::reduce::{Reduce, Reduction, reduce};
use crate::ops::softmax::{LogSoftmax, Softmax};
use crate::ops::unary::{Abs, Exp, Log, Unary};

pub(super) const RULES: &[Rule] = &[
    rule("ArgMax", "argmax", |l| extreme_place(l, false)),
    rule("ArgMin", "argmin", |l| extreme_place(l, true)),
    rule("LogSoftmax", "log_softmax", |l| softmax(l, LogSoftmax)),
    rule("ReduceL1", "reduce_l1", |l| {
        reduction(l, |l, x, axes| {
            let x = l.add(Unary(Abs), &[x])?;
            kept(l, x, Reduction::Sum, axes)
        })
    }),
    rule("ReduceL2", "reduce_l2", |l| reduction(l, |l, x, axes| kept(l, x, Reduction::L2, axes))),
    rule("ReduceLogSum", "reduce_log_sum", |l| {
        reduction(l, |l, x, axes| {
            let sum = kept(l, x, Reduction::Sum, axes)?;
            l.add(Unary(Log), &[sum])
        })
    }),
    rule("ReduceLogSumExp", "reduce_log_sum_exp", |l| {
        reduction(l, |l, x, axes| {
            // From the largest on, so that nothing overflows.
            let largest = kept(l, x, Reduction::Max, axes)?;
            let less = l.add(Binary::<Sub>::new(), &[x, largest])?;
            let exp = l.add(Unary(Exp), &[less])?;
            let sum = kept(l, exp, Reduction::Sum, axes)?;
            let log = l.add(Unary(Log), &[sum])?;
            l.add(Binary::<Add>::new(), &[log, largest])
        })
    }),
    rule("ReduceMax", "reduce_max", |l| either(l, Reduction::Max, IntegerReduction::Max)),
    rule("ReduceMean", "reduce_mean", |l| reduction(l, |l, x, axes| kept(l, x, Reduction::Mean, axes))),
    rule("ReduceMin", "reduce_min", |l| either(l, Reduction::Min, IntegerReduction::Min)),
    rule("ReduceProd", "reduce_prod", |l| either(l, Reduction::Product, IntegerReduction::Product)),
    rule("ReduceSum", "reduce_sum", |l| either(l, Reduction::Sum, IntegerReduction::Sum)),
    rule("ReduceSumSquare", "reduce_sum_square", |l| {
        reduction(l, |l, x, axes| {
            let square = l.add(Binary::<Mul>::new(), &[x, x])?;
            kept(l, square, Reduction::Sum, axes)
        })
    }),
    rule("Softmax", "softmax", |l| softmax(l, Softmax)),
];

/// With the axes kept, as dimensions of 1.
fn kept(l: &mut Lower<'_, '_>, x: Value, reduction: Reduction, axes: &[usize]) -> Result<Value> {
    reduce(l.ctx.graph(), x, reduction, axes, true)
}

/// A reduction of floats, or of integers.
fn either(l: &mut Lower<'_, '_>, floats: Reduction, integers: IntegerReduction) -> Result<()> {
    let element = l.element(0)?;
    reduction(l, |l, x, axes| {
        if element.is_float() {
            return kept(l, x, floats, axes);
        }
        let (mut y, mut dims) = (x, l.shape(x));
        for run in Reduce::each(floats, axes) {
            let axes = run.axes.clone();
            y = l.add(IntegerReduce { reduction: integers, integer: integer(element), axes: axes.clone() }, &[y])?;
            dims[axes].fill(1);
        }
        l.reshaped(y, dims)
    })
}

/// Where the largest or smallest element of an axis is.
fn extreme_place(l: &mut Lower<'_, '_>, smallest: bool) -> Result<()> {
    let (rank, mut dims, element) = (l.rank(0)?, l.dims(0)?, l.element(0)?);
    let axis = axis_of(l.attributes().int("axis")?.unwrap_or(0), rank)?;
    let (keep, last) = (l.attributes().flag("keepdims", true)?, l.attributes().flag("select_last_index", false)?);
    let x = l.plain(0)?;
    let x = to_floats(l, x, element)?;
    let y = l.add(ArgMax { axis, smallest, last }, &[x])?;
    if keep {
        dims[axis] = 1;
    } else {
        dims.remove(axis);
    }
    l.put_plain(0, y, Element::Int64, dims)
}

/// The axes that a reduction names, all if none.
pub(super) fn reduced_axes(l: &Lower<'_, '_>, rank: usize) -> Result<Vec<usize>> {
    let axes = l.ints_of("axes", 1)?.unwrap_or_default();
    if axes.is_empty() {
        let none = l.attributes().flag("noop_with_empty_axes", false)?;
        return Ok(if none { Vec::new() } else { (0..rank).collect() });
    }
    axes_of(&axes, rank)
}

/// A reduction over the axes that the node names. `op` keeps them.
fn reduction(l: &mut Lower<'_, '_>, op: impl FnOnce(&mut Lower<'_, '_>, Value, &[usize]) -> Result<Value>) -> Result<()> {
    let rank = l.rank(0)?;
    let axes = reduced_axes(l, rank)?;
    let keep = l.attributes().flag("keepdims", true)?;
    if let Some(array) = l.constant(0).filter(|array| array.is_empty()).cloned() {
        return of_none(l, &array, &axes, keep);
    }
    let mut x = l.on_device(0)?;
    if x.layout.unflattened.is_some() {
        x.value = l.plain(0)?;
        x.layout = Layout::plain(rank);
    }
    let place = inverse(&x.layout.order);
    let places: Vec<usize> = axes.iter().map(|&axis| place[axis]).collect();
    let y = op(l, x.value, &places)?;
    let (mut dims, mut order) = (x.dims, x.layout.order);
    if keep {
        axes.iter().for_each(|&axis| dims[axis] = 1);
    } else {
        // The axes that are left, by their new numbers.
        let left: Vec<usize> = (0..rank).filter(|axis| !axes.contains(axis)).collect();
        order = order.iter().filter_map(|axis| left.iter().position(|l| l == axis)).collect();
        dims = left.iter().map(|&axis| dims[axis]).collect();
    }
    let y = l.reshaped(y, super::super::lower::in_memory(&dims, &order))?;
    l.put(0, y, x.element, dims, Layout { order, unflattened: None });
    Ok(())
}

/// A reduction of no elements.
fn of_none(l: &mut Lower<'_, '_>, array: &Array, axes: &[usize], keep: bool) -> Result<()> {
    let element = array.element();
    let (value, integer) = match l.node.op.as_str() {
        "ReduceMax" => (f32::NEG_INFINITY, integer(element).range()[0]),
        "ReduceMin" => (f32::INFINITY, integer(element).range()[1]),
        "ReduceProd" => (1.0, 1),
        "ReduceLogSum" | "ReduceLogSumExp" => (f32::NEG_INFINITY, 0),
        "ReduceMean" => (f32::NAN, 0),
        _ => (0.0, 0),
    };
    let dims = array.dims().iter().enumerate().filter_map(|(axis, &d)| match (axes.contains(&axis), keep) {
        (false, _) => Some(d),
        (true, keep) => keep.then_some(1),
    });
    let dims: Vec<usize> = dims.collect();
    let n = elements(&dims)?;
    if n > MOST_MADE {
        return Err(Error::invalid("output", format!("{n} reductions of no elements"), format!("at most {MOST_MADE}")));
    }
    let made = match element.is_float() {
        true => Array::reals(element, dims, vec![value; n])?,
        false => Array::integers(element, dims, vec![integer; n])?,
    };
    l.set(0, Operand::Constant(made));
    Ok(())
}

/// Over one axis, up to opset 12 over all from one on.
fn softmax(l: &mut Lower<'_, '_>, op: impl Op) -> Result<()> {
    let (rank, dims, element) = (l.rank(0)?, l.dims(0)?, l.element(0)?);
    let over_all = l.opset < 13;
    let axis = l.attributes().int("axis")?.unwrap_or(if over_all { 1 } else { -1 });
    if rank == 0 || (over_all && axis == rank as i64) {
        let x = l.plain(0)?;
        let x = l.reshaped(x, dims.iter().copied().chain([1]).collect::<Vec<_>>())?;
        let y = l.add(op, &[x])?;
        return l.put_plain(0, y, element, dims);
    }
    let axis = axis_of(axis, rank)?;
    let inner: usize = dims[axis + 1..].iter().product();
    if over_all && inner > 1 {
        let x = l.plain(0)?;
        let x = l.reshaped(x, [dims[..axis].iter().product(), inner * dims[axis]])?;
        let y = l.add(op, &[x])?;
        return l.put_plain(0, y, element, dims);
    }
    let x = l.on_device(0)?;
    let is_last = x.layout.unflattened.is_none() && x.layout.order.last() == Some(&axis);
    let order = if is_last { x.layout.order } else { (0..rank).filter(|&a| a != axis).chain([axis]).collect() };
    let x = l.arranged(0, &order)?;
    let y = l.add(op, &[x])?;
    l.put(0, y, element, dims, Layout { order, unflattened: None });
    Ok(())
}
