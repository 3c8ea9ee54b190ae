//! What moves elements or says of what shape they are.

use super::super::super::array::{Array, MOST_AXES, dimensions, elements};
use super::super::super::element::Element;
use super::super::lower::{
    Layout, Lower, MOST_MADE, OnDevice, Operand, axes_of, axis_of, in_memory, inverse, parts_of, permutation_of,
};
use super::{Rule, rule};
use crate::error::{Error, Result};
use crate::nn::{Dropout, Layer, Mode};
use crate::op::Value;
use crate::ops::concat::Concat;
use crate::ops::constant::Constant;
use crate::ops::expand::Expand;
use crate::ops::fill::Fill;
use crate::ops::gather::Gather;
use crate::ops::slice::{Pad, PadAxis, Slice, SliceRange};
use crate::tensor::{MAX_ELEMENTS, Tensor};

pub(super) const RULES: &[Rule] = &[
    rule("Concat", "concat", concat),
    rule("Constant", "constant", constant),
    rule("ConstantOfShape", "fill", constant_of_shape),
    rule("DepthToSpace", "depth_to_space", depth_to_space),
    Rule { trains: true, ..rule("Dropout", "dropout", dropout) },
    rule("Expand", "expand", expand),
    rule("Flatten", "flatten", flatten),
    rule("Gather", "gather", gather),
    rule("Identity", "identity", |l| l.pass(0, 0)),
    rule("Pad", "pad", pad),
    rule("Reshape", "reshape", reshape),
    rule("Shape", "shape", shape),
    rule("Size", "size", size),
    rule("Slice", "slice", slice),
    rule("SpaceToDepth", "space_to_depth", space_to_depth),
    rule("Split", "split", split),
    rule("Squeeze", "squeeze", squeeze),
    rule("Tile", "tile", tile),
    rule("Transpose", "transpose", transpose),
    rule("Unsqueeze", "unsqueeze", unsqueeze),
];

fn constant(l: &mut Lower<'_, '_>) -> Result<()> {
    let a = l.attributes();
    let array = if let Some(tensor) = a.tensor("value")? {
        tensor.clone()
    } else if let Some(v) = a.float("value_float")? {
        Array::floats([], vec![v])?
    } else if let Some(v) = a.int("value_int")? {
        Array::int64s([], vec![v])?
    } else if let Some(v) = a.floats("value_floats")? {
        Array::floats([v.len()], v)?
    } else if let Some(v) = a.ints("value_ints")? {
        Array::int64s([v.len()], v)?
    } else {
        return Err(Error::invalid("value", "none, or strings, or a sparse tensor", "a tensor or numbers"));
    };
    l.set(0, Operand::Constant(array));
    Ok(())
}

/// One too large for arithmetic on shapes.
fn constant_of_shape(l: &mut Lower<'_, '_>) -> Result<()> {
    let dims = dimensions(&l.ints(0)?)?;
    let n = elements(&dims)?;
    let value = match l.attributes().tensor("value")? {
        Some(array) => array.clone(),
        None => Array::floats([1], vec![0.0])?,
    };
    if value.len() != 1 || n > MAX_ELEMENTS {
        return Err(Error::invalid("value", format!("{value:?} for {n} elements"), "one element for a tensor of at most 2^31"));
    }
    let element = value.element();
    if n == 0 {
        l.set(0, Operand::Constant(Array::zeros(element, dims)?));
        return Ok(());
    }
    if !element.is_float() {
        return l.filled(0, element, dims, value.to_integers()?[0]);
    }
    let shape = if dims.is_empty() { vec![1] } else { dims.clone() };
    let y = l.add(Fill { value: value.to_floats()?[0], shape: shape.into() }, &[])?;
    l.put_plain(0, y, element, dims)
}

/// The dimensions, or some of them.
fn shape(l: &mut Lower<'_, '_>) -> Result<()> {
    let dims = l.dims(0)?;
    let rank = dims.len() as i64;
    let end = |v: i64| (if v < 0 { v.saturating_add(rank) } else { v }).clamp(0, rank) as usize;
    let (start, stop) = (end(l.attributes().int("start")?.unwrap_or(0)), end(l.attributes().int("end")?.unwrap_or(rank)));
    let part: Vec<i64> = dims.get(start..stop.max(start)).unwrap_or_default().iter().map(|&d| d as i64).collect();
    l.set(0, Operand::Constant(Array::int64s([part.len()], part)?));
    Ok(())
}

fn size(l: &mut Lower<'_, '_>) -> Result<()> {
    let n = elements(&l.dims(0)?)?;
    l.set(0, Operand::Constant(Array::int64s([], vec![n as i64])?));
    Ok(())
}

/// The target of a reshape: 0 takes a dimension over, -1 is what is left.
fn target(l: &Lower<'_, '_>, dims: &[usize], wanted: &[i64]) -> Result<Vec<usize>> {
    let zero_is_zero = l.attributes().flag("allowzero", false)?;
    let n: usize = dims.iter().product();
    let wrong = || Error::invalid("shape", format!("{wanted:?}"), format!("{n} elements, of {dims:?}"));
    let resolve = |wanted: &[i64]| {
        let mut target = Vec::with_capacity(wanted.len());
        for (i, &d) in wanted.iter().enumerate() {
            target.push(match d {
                0 if !zero_is_zero => dims.get(i).copied().ok_or_else(wrong)?,
                -1 => 1,
                d => usize::try_from(d).map_err(|_| wrong())?,
            });
        }
        let known = elements(&target)?;
        if let Some(open) = wanted.iter().position(|&d| d == -1) {
            if wanted.iter().filter(|&&d| d == -1).count() > 1 || known == 0 || !n.is_multiple_of(known) {
                return Err(wrong());
            }
            target[open] = n / known;
        }
        if elements(&target)? == n { Ok(target) } else { Err(wrong()) }
    };
    let made = resolve(wanted);
    // A batch that the file says as a number.
    match (&made, l.batch, wanted.first()) {
        (made, Some((declared, now)), Some(&first))
            if declared != now && first == declared as i64 && dims.first() == Some(&now) =>
        {
            let other = [&[now as i64], &wanted[1..]].concat();
            let other = resolve(&other);
            if made.is_err() || other.is_ok() { other } else { resolve(wanted) }
        }
        _ => made,
    }
}

fn reshape(l: &mut Lower<'_, '_>) -> Result<()> {
    let dims = l.dims(0)?;
    let wanted = l.ints_of("shape", 1)?.ok_or_else(|| Error::invalid("shape", "none", "dimensions"))?;
    let to = target(l, &dims, &wanted)?;
    reshaped(l, to)
}

fn flatten(l: &mut Lower<'_, '_>) -> Result<()> {
    let dims = l.dims(0)?;
    let rank = dims.len();
    let axis = l.attributes().int("axis")?.unwrap_or(1);
    let axis = if axis == rank as i64 { rank } else { axis_of(axis, rank.max(1))? };
    let to = vec![dims[..axis].iter().product(), dims[axis..].iter().product()];
    reshaped(l, to)
}

fn squeeze(l: &mut Lower<'_, '_>) -> Result<()> {
    let dims = l.dims(0)?;
    let axes = match l.ints_of("axes", 1)? {
        Some(axes) => axes_of(&axes, dims.len())?,
        None => (0..dims.len()).filter(|&axis| dims[axis] == 1).collect(),
    };
    if let Some(&axis) = axes.iter().find(|&&axis| dims[axis] != 1) {
        return Err(Error::invalid("axes", axis, format!("axes of {dims:?} with one element")));
    }
    let to = (0..dims.len()).filter(|axis| !axes.contains(axis)).map(|axis| dims[axis]).collect();
    reshaped(l, to)
}

fn unsqueeze(l: &mut Lower<'_, '_>) -> Result<()> {
    let dims = l.dims(0)?;
    let axes = l.ints_of("axes", 1)?.ok_or_else(|| Error::invalid("axes", "none", "axes"))?;
    let rank = dims.len() + axes.len();
    if rank > MOST_AXES {
        return Err(Error::invalid("axes", axes.len(), format!("at most {MOST_AXES} dimensions in all")));
    }
    let axes = axes_of(&axes, rank)?;
    let mut rest = dims.into_iter();
    let to = (0..rank).map(|axis| if axes.contains(&axis) { 1 } else { rest.next().unwrap_or(1) }).collect();
    reshaped(l, to)
}

/// Runs of axes of one shape and runs of another's with as many elements, in turn; both are shapes of as many elements.
fn matched(from: &[usize], to: &[usize]) -> Vec<(std::ops::Range<usize>, std::ops::Range<usize>)> {
    let (mut i, mut j, mut runs) = (0, 0, Vec::new());
    while i < from.len() || j < to.len() {
        let (start_i, start_j) = (i, j);
        let (mut a, mut b) = (1, 1);
        if i < from.len() {
            a = from[i];
            i += 1;
        }
        if j < to.len() {
            b = to[j];
            j += 1;
        }
        while a != b {
            if a < b && i < from.len() {
                a *= from[i];
                i += 1;
            } else if j < to.len() {
                b *= to[j];
                j += 1;
            } else if i < from.len() {
                a *= from[i];
                i += 1;
            } else {
                break;
            }
        }
        runs.push((start_i..i, start_j..j));
    }
    runs
}

/// Input 0 with these dimensions, of as many elements. An axis that becomes several is cut where it lies; several that become one are brought
/// together first.
fn reshaped(l: &mut Lower<'_, '_>, to: Vec<usize>) -> Result<()> {
    let operand = l.operand(0)?.clone();
    let tensor = match operand {
        Operand::Constant(array) => {
            l.set(0, Operand::Constant(array.reshaped(to)?));
            return Ok(());
        }
        Operand::Device(tensor) => tensor,
    };
    if tensor.dims == to {
        return l.pass(0, 0);
    }
    let OnDevice { element, ref dims, ref layout, .. } = tensor;
    if layout.unflattened.is_some() {
        let x = l.plain(0)?;
        return l.put_plain(0, x, element, to);
    }
    let moves = |order: &[usize]| {
        let axes: Vec<usize> = order.iter().copied().filter(|&axis| dims[axis] != 1).collect();
        !axes.is_sorted()
    };
    if to.len() == 2 && dims.len() > 2 && to[0] == dims[0] && layout.order[0] == 0 && moves(&layout.order) {
        let layout = Layout { unflattened: Some(dims.clone()), ..layout.clone() };
        l.put(0, tensor.value, element, to, layout);
        return Ok(());
    }
    let runs = matched(dims, &to);
    // Axes in the order in which they then lie, and what they become.
    let (mut order, mut made) = (Vec::new(), Vec::new());
    for &axis in &layout.order {
        let Some((from, into)) = runs.iter().find(|(from, _)| from.contains(&axis)) else { continue };
        let last =
            from.clone().filter(|&a| dims[a] != 1 || from.len() == 1).max_by_key(|a| layout.order.iter().position(|o| o == a));
        if last.unwrap_or(from.start) == axis {
            order.extend(from.clone());
            made.extend(into.clone());
        }
    }
    // New axes of 1 that come of none.
    let missing: Vec<usize> = (0..to.len()).filter(|axis| !made.contains(axis)).collect();
    made.extend(missing);
    let x = l.arranged(0, &order)?;
    let y = l.reshaped(x, in_memory(&to, &made))?;
    l.put(0, y, element, to, Layout { order: made, unflattened: None });
    Ok(())
}

fn transpose(l: &mut Lower<'_, '_>) -> Result<()> {
    let rank = l.rank(0)?;
    let permutation = permutation_of(l.attributes().ints("perm")?.as_deref(), rank)?;
    let mut x = l.on_device(0)?;
    if x.layout.unflattened.is_some() {
        x.value = l.plain(0)?;
        x.layout = Layout::plain(rank);
    }
    let dims = permutation.iter().map(|&axis| x.dims[axis]).collect();
    // Nothing moves: the axes are called otherwise.
    let place = inverse(&permutation);
    let order = x.layout.order.iter().map(|&axis| place[axis]).collect();
    l.put(0, x.value, x.element, dims, Layout { order, unflattened: None });
    Ok(())
}

/// Input 0 without a flattening that is still to be done.
fn unflattened(l: &mut Lower<'_, '_>) -> Result<OnDevice> {
    let mut x = l.on_device(0)?;
    if x.layout.unflattened.is_some() {
        x.value = l.plain(0)?;
        x.layout = Layout::plain(x.dims.len());
    }
    Ok(x)
}

fn concat(l: &mut Lower<'_, '_>) -> Result<()> {
    let rank = l.rank(0)?;
    let axis = axis_of(l.attributes().int("axis")?.unwrap_or(1), rank)?;
    let mut inputs: Vec<usize> = (0..l.n_inputs()).filter(|&i| l.has(i)).collect();
    let mut dims = l.dims(0)?;
    dims[axis] = 0;
    for &i in &inputs {
        let own = l.dims(i)?;
        let fits = own.len() == rank && (0..rank).all(|a| a == axis || own[a] == dims[a]);
        if !fits {
            return Err(Error::invalid(format!("input {i}"), format!("{own:?}"), format!("{dims:?} but for axis {axis}")));
        }
        dims[axis] = dims[axis].saturating_add(own[axis]);
    }
    let layouts = inputs.iter().filter_map(|&i| match l.operand(i) {
        Ok(Operand::Device(tensor)) if tensor.layout.unflattened.is_none() => Some(tensor.layout.order.clone()),
        _ => None,
    });
    let order = layouts.max_by_key(|order| !order.is_sorted()).unwrap_or_else(|| (0..rank).collect());
    inputs.retain(|&i| l.dims(i).is_ok_and(|dims| !dims.contains(&0)));
    let mut values = Vec::new();
    for i in inputs {
        values.push(l.arranged(i, &order)?);
    }
    let element = l.element(0)?;
    let y = match values[..] {
        [] => return Err(Error::invalid("inputs", "none with elements", "at least one")),
        [x] => x,
        _ => l.add(Concat { axis: inverse(&order)[axis] }, &values)?,
    };
    l.put(0, y, element, dims, Layout { order, unflattened: None });
    Ok(())
}

/// Puts `ranges` of input 0, of ONNX's axes, as an output.
fn put_slice(l: &mut Lower<'_, '_>, output: usize, x: &OnDevice, ranges: Vec<SliceRange>) -> Result<()> {
    let (place, mut dims) = (inverse(&x.layout.order), x.dims.clone());
    let ranges: Vec<SliceRange> = ranges
        .into_iter()
        .filter(|r| r.start != 0 || r.len != x.dims[r.axis] || r.step != 1)
        .map(|r| {
            dims[r.axis] = r.len;
            SliceRange { axis: place[r.axis], ..r }
        })
        .collect();
    let y = if ranges.is_empty() { x.value } else { l.add(Slice { ranges }, &[x.value])? };
    l.put(output, y, x.element, dims, x.layout.clone());
    Ok(())
}

fn slice(l: &mut Lower<'_, '_>) -> Result<()> {
    let dims = l.dims(0)?;
    let list = |what: &str, i: usize| l.ints_of(what, i);
    let none = |what: &str| Error::invalid(what, "none", "numbers");
    let starts = list("starts", 1)?.ok_or_else(|| none("starts"))?;
    let ends = list("ends", 2)?.ok_or_else(|| none("ends"))?;
    let axes = list("axes", 3)?.unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps = if l.has(4) { l.ints(4)? } else { vec![1; starts.len()] };
    let axes = axes_of(&axes, dims.len())?;
    let (mut ranges, mut empty) = (Vec::new(), dims.clone());
    for (i, &start) in starts.iter().enumerate() {
        let (Some(&end), Some(&axis), Some(&step)) = (ends.get(i), axes.get(i), steps.get(i)) else {
            return Err(Error::invalid("ends, axes, steps", "fewer numbers than starts", "as many"));
        };
        let (start, len) = super::super::fold::slice_range(start, end, step, dims[axis])?;
        if len == 0 {
            empty[axis] = 0;
        }
        ranges.push(SliceRange { axis, start, len, step: step as isize });
    }
    if empty.contains(&0) {
        for range in &ranges {
            empty[range.axis] = range.len;
        }
        let element = l.element(0)?;
        l.set(0, Operand::Constant(none_of(element, empty)?));
        return Ok(());
    }
    let x = unflattened(l)?;
    put_slice(l, 0, &x, ranges)
}

/// A tensor without elements.
fn none_of(element: Element, dims: Vec<usize>) -> Result<Array> {
    if element.is_float() { Array::reals(element, dims, Vec::new()) } else { Array::integers(element, dims, Vec::new()) }
}

fn split(l: &mut Lower<'_, '_>) -> Result<()> {
    let dims = l.dims(0)?;
    let axis = axis_of(l.attributes().int("axis")?.unwrap_or(0), dims.len())?;
    let outputs = l.node.outputs.len();
    let (given, number) = (l.ints_of("split", 1)?, l.attributes().int("num_outputs")?);
    let sizes = parts_of(given.as_deref(), number, outputs, dims[axis])?;
    let x = unflattened(l)?;
    let mut start = 0;
    for (i, &len) in sizes.iter().take(outputs).enumerate() {
        if l.gives(i) {
            if len == 0 {
                let mut empty = dims.clone();
                empty[axis] = 0;
                l.set(i, Operand::Constant(none_of(x.element, empty)?));
            } else {
                put_slice(l, i, &x, vec![SliceRange { axis, start, len, step: 1 }])?;
            }
        }
        start += len;
    }
    Ok(())
}

/// Most slices that a copy is put together of.
const MOST_RUNS: usize = 16;

/// A copy of input 0 on the device with the elements of each axis at these places: one slice for each run of places, if they are few.
pub(super) fn gathered(l: &mut Lower<'_, '_>, mut x: Value, axis: usize, places: &[usize]) -> Result<Value> {
    let runs: Vec<&[usize]> = places.chunk_by(|a, b| a + 1 == *b).collect();
    let whole = runs.len() == 1 && runs[0].len() == l.shape(x)[axis];
    if !whole {
        if runs.len() > MOST_RUNS {
            let indices = places.iter().map(|&p| p as u32).collect();
            let indices = l.add(Constant::new(Tensor::u32([places.len()], indices)?), &[])?;
            return l.add(Gather { axis }, &[x, indices]);
        }
        let mut parts = Vec::new();
        for run in &runs {
            parts.push(l.add(Slice::along(axis, run[0], run.len()), &[x])?);
        }
        x = if parts.len() == 1 { parts[0] } else { l.add(Concat { axis }, &parts)? };
    }
    Ok(x)
}

fn gather(l: &mut Lower<'_, '_>) -> Result<()> {
    let (dims, picked, element) = (l.dims(0)?, l.dims(1)?, l.element(0)?);
    let axis = axis_of(l.attributes().int("axis")?.unwrap_or(0), dims.len())?;
    let out = [&dims[..axis], &picked, &dims[axis + 1..]].concat();
    let order: Vec<usize> = (0..dims.len()).collect();
    let x = if l.is_weight(0) && element.is_float() { l.parameter(0, "weight", &order, None)? } else { l.plain(0)? };
    let known = match l.constant(1) {
        Some(indices) => {
            let places = indices.to_integers()?;
            Some(places.iter().map(|&i| axis_of(i, dims[axis])).collect::<Result<Vec<usize>>>()?)
        }
        None => None,
    };
    let y = match known.filter(|places| places.chunk_by(|a, b| a + 1 == *b).count() == 1) {
        // Neighbours are a slice.
        Some(places) => gathered(l, x, axis, &places)?,
        None => {
            let indices = l.plain(1)?;
            l.add(Gather { axis }, &[x, indices])?
        }
    };
    l.put_plain(0, y, element, out)
}

fn pad(l: &mut Lower<'_, '_>) -> Result<()> {
    let dims = l.dims(0)?;
    let rank = dims.len();
    let pads = match l.attributes().ints("paddings")? {
        Some(pads) => pads,
        None => l.ints_of("pads", 1)?.ok_or_else(|| Error::invalid("pads", "none", "numbers"))?,
    };
    let value = match l.attributes().float("value")? {
        Some(value) => value,
        None if l.has(2) => l.number(2)?,
        None => 0.0,
    };
    let axes = if l.has(3) { l.ints(3)? } else { (0..rank as i64).collect() };
    if pads.len() != 2 * axes.len() {
        return Err(Error::invalid("pads", format!("{} numbers", pads.len()), format!("{}, two an axis", 2 * axes.len())));
    }
    let axes = axes_of(&axes, rank)?;
    let mode = l.attributes().string("mode")?.unwrap_or("constant").to_string();
    let x = unflattened(l)?;
    let place = inverse(&x.layout.order);
    let (mut y, mut out) = (x.value, dims.clone());
    let mut zeros = Vec::new();
    for (i, &axis) in axes.iter().enumerate() {
        let (before, after) = (pads[i], pads[i + axes.len()]);
        let len = dims[axis] as i64;
        let total = len.saturating_add(before).saturating_add(after);
        if total <= 0 || before.saturating_abs().max(after.saturating_abs()) > MAX_ELEMENTS as i64 {
            return Err(Error::invalid("pads", format!("{before} and {after} around {len}"), "something left"));
        }
        out[axis] = total as usize;
        elements(&out)?;
        let at = place[axis];
        if mode == "constant" {
            // What is negative is cut off.
            let (from, to) = ((-before).max(0), len + after.min(0));
            if from > 0 || to < len {
                if from >= to {
                    return Err(Error::invalid("pads", format!("{before} and {after} around {len}"), "an element left"));
                }
                y = l.add(Slice::along(at, from as usize, (to - from) as usize), &[y])?;
            }
            if before > 0 || after > 0 {
                zeros.push(PadAxis::around(at, before.max(0) as usize, after.max(0) as usize));
            }
            continue;
        }
        if total > MOST_MADE as i64 {
            return Err(Error::invalid(
                "pads",
                format!("{before} and {after} around {len}"),
                format!("at most {MOST_MADE} elements"),
            ));
        }
        let source = |i: i64| match mode.as_str() {
            "edge" => Ok(i.clamp(0, len - 1)),
            "wrap" => Ok(i.rem_euclid(len)),
            "reflect" => {
                let period = (2 * (len - 1)).max(1);
                let i = i.rem_euclid(period);
                Ok(if i < len { i } else { period - i })
            }
            other => {
                let got = format!("'{}'", other.escape_debug());
                Err(Error::invalid("mode", got, "constant, reflect, edge or wrap"))
            }
        };
        let places = (-before..len + after).map(|i| source(i).map(|p| p as usize)).collect::<Result<Vec<_>>>()?;
        y = gathered(l, y, at, &places)?;
    }
    if !zeros.is_empty() {
        y = l.add(Pad { axes: zeros, value }, &[y])?;
    }
    l.put(0, y, x.element, out, x.layout);
    Ok(())
}

/// Input 0, broadcast.
fn expand(l: &mut Lower<'_, '_>) -> Result<()> {
    let wanted = dimensions(&l.ints(1)?)?;
    let dims = l.dims(0)?;
    let out = super::arithmetic::broadcast(&[dims.clone(), wanted])?;
    if out == dims {
        return l.pass(0, 0);
    }
    let (element, x) = (l.element(0)?, l.plain(0)?);
    let x = l.reshaped(x, dims)?;
    let y = l.add(Expand { shape: out.clone().into() }, &[x])?;
    l.put_plain(0, y, element, out)
}

fn tile(l: &mut Lower<'_, '_>) -> Result<()> {
    let dims = l.dims(0)?;
    let repeats = dimensions(&l.ints(1)?)?;
    if repeats.len() != dims.len() || repeats.contains(&0) {
        return Err(Error::invalid("repeats", format!("{repeats:?}"), format!("{} numbers from 1 on", dims.len())));
    }
    let out: Vec<usize> = dims.iter().zip(&repeats).map(|(d, r)| d.saturating_mul(*r)).collect();
    elements(&out)?;
    let (element, mut y) = (l.element(0)?, l.plain(0)?);
    let mut now = dims;
    for (axis, &r) in repeats.iter().enumerate().filter(|(_, r)| **r > 1) {
        // The axis is two, of which the outer one is repeated.
        let (outer, inner) = (now[..axis].iter().product::<usize>(), now[axis..].iter().product::<usize>());
        y = l.reshaped(y, [outer, 1, inner])?;
        y = l.add(Expand { shape: [outer, r, inner].into() }, &[y])?;
        now[axis] *= r;
    }
    l.put_plain(0, y, element, out)
}

/// In inference nothing; a network in training drops, by its own random numbers.
fn dropout(l: &mut Lower<'_, '_>) -> Result<()> {
    let trains = l.has(2) && l.ints(2)?.contains(&1);
    let ratio = match l.attributes().float("ratio")? {
        Some(ratio) => ratio,
        None if l.has(1) => l.number(1)?,
        None => 0.5,
    };
    if trains && ratio != 0.0 {
        let want = "false: random numbers of another program can't be had; a network drops when it is trained";
        return Err(Error::invalid("training_mode", true, want));
    }
    if l.ctx.mode() == Mode::Training && ratio > 0.0 {
        let x = l.on_device(0)?;
        let y = Dropout::new(ratio).build(l.ctx, &[x.value])?;
        l.put(0, y, x.element, x.dims, x.layout);
    } else {
        l.pass(0, 0)?;
    }
    if l.gives(1) {
        let dims = l.dims(0)?;
        l.filled(1, Element::Bool, dims, 1)?;
    }
    Ok(())
}

/// The block size, and channels, height and width.
fn blocks(l: &Lower<'_, '_>) -> Result<(usize, [usize; 4])> {
    let dims = l.dims(0)?;
    let block = l.attributes().int("blocksize")?.and_then(|b| usize::try_from(b).ok()).filter(|&b| b > 0);
    let block = block.ok_or_else(|| Error::invalid("blocksize", "none", "a number from 1 on"))?;
    let dims = <[usize; 4]>::try_from(dims).map_err(|dims| Error::invalid("input", format!("{dims:?}"), "[n, c, h, w]"))?;
    Ok((block, dims))
}

fn depth_to_space(l: &mut Lower<'_, '_>) -> Result<()> {
    let (b, [n, c, h, w]) = blocks(l)?;
    let mode = l.attributes().string("mode")?.unwrap_or("DCR");
    let column_first = match mode {
        "DCR" => false,
        "CRD" => true,
        other => return Err(Error::invalid("mode", format!("'{}'", other.escape_debug()), "DCR or CRD")),
    };
    if !c.is_multiple_of(b.saturating_mul(b)) || c == 0 {
        return Err(Error::invalid("blocksize", b, format!("one whose square divides the {c} channels")));
    }
    let (element, depth) = (l.element(0)?, c / (b * b));
    let x = l.channels_last(0)?;
    // [n, h, w, channels as b, b, depth or depth, b, b] to [n, h, b, w, b, depth].
    let (split, order) = if column_first { ([depth, b, b], [0, 1, 4, 2, 5, 3]) } else { ([b, b, depth], [0, 1, 3, 2, 4, 5]) };
    let x = l.reshaped(x, [&[n, h, w][..], &split].concat())?;
    let y = l.transposed(x, &order)?;
    l.put_channels_last(0, y, element, vec![n, depth, h * b, w * b])
}

fn space_to_depth(l: &mut Lower<'_, '_>) -> Result<()> {
    let (b, [n, c, h, w]) = blocks(l)?;
    if !h.is_multiple_of(b) || !w.is_multiple_of(b) {
        return Err(Error::invalid("blocksize", b, format!("a divisor of {h} and {w}")));
    }
    let element = l.element(0)?;
    let x = l.channels_last(0)?;
    let x = l.reshaped(x, [n, h / b, b, w / b, b, c])?;
    let y = l.transposed(x, &[0, 1, 3, 2, 4, 5])?;
    l.put_channels_last(0, y, element, vec![n, c * b * b, h / b, w / b])
}
