//! Arithmetic on shapes: nodes whose inputs are all known, and small, are worked out while a file is read.

use super::super::array::{Array, dimensions, elements};
use super::super::element::Element;
use super::lower::{MOST_MADE, axes_of, axis_of, parts_of, permutation_of, permuted};
use super::rules::broadcast;
use super::source::Node;
use crate::error::{Error, Result};
use std::cell::Cell;

/// Most elements of all tensors of a network that are worked out so.
pub(super) const MOST_FOLDED: usize = 1 << 22;

/// Whether a tensor is worked out so, also by its dimensions beside a 0. What is larger is weights, for which a device is there.
fn is_small(dims: &[usize]) -> bool {
    dims.iter().try_fold(1usize, |n, &d| n.checked_mul(d.max(1)).filter(|&n| n <= MOST_MADE)).is_some()
}

/// A small tensor.
#[derive(Clone, Debug)]
struct Small {
    element: Element,
    dims: Vec<usize>,
    values: Vec<Number>,
}

/// A number, in the widest type of its kind.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Number {
    Int(i64),
    Real(f64),
}

impl Number {
    fn real(self, element: Element) -> f64 {
        match self {
            Number::Int(v) if element == Element::UInt64 => v as u64 as f64,
            Number::Int(v) => v as f64,
            Number::Real(v) => v,
        }
    }
}

impl Small {
    fn of(array: &Array) -> Result<Small> {
        let values = if array.element().is_float() {
            array.to_floats()?.into_iter().map(|v| Number::Real(f64::from(v))).collect()
        } else {
            array.to_integers()?.into_iter().map(Number::Int).collect()
        };
        Ok(Small { element: array.element(), dims: array.dims().to_vec(), values })
    }

    fn array(self) -> Result<Array> {
        let element = self.element;
        if element.is_float() {
            Array::reals(element, self.dims, self.values.iter().map(|v| v.real(element) as f32).collect())
        } else {
            let values = self.values.iter().map(|v| match *v {
                Number::Int(v) => wrapped(v, element),
                Number::Real(v) => wrapped(truncated(v, element), element),
            });
            Array::integers(element, self.dims, values.collect())
        }
    }

    fn ints(&self) -> Result<Vec<i64>> {
        self.values
            .iter()
            .map(|v| match *v {
                Number::Int(v) => Ok(v),
                Number::Real(v) => Err(Error::invalid("input", v, "integers")),
            })
            .collect()
    }

    /// The elements at these places, as a tensor of these dimensions.
    fn picked(&self, dims: Vec<usize>, places: impl IntoIterator<Item = usize>) -> Small {
        Small { element: self.element, dims, values: places.into_iter().map(|i| self.values[i]).collect() }
    }
}

/// A float as an integer, towards 0.
fn truncated(v: f64, element: Element) -> i64 {
    if element == Element::UInt64 { v as u64 as i64 } else { v as i64 }
}

/// An integer in the width of a type.
fn wrapped(v: i64, element: Element) -> i64 {
    match element {
        Element::Int8 => i64::from(v as i8),
        Element::Int16 => i64::from(v as i16),
        Element::Int32 => i64::from(v as i32),
        Element::UInt8 => i64::from(v as u8),
        Element::UInt16 => i64::from(v as u16),
        Element::UInt32 => i64::from(v as u32),
        Element::Bool => i64::from(v != 0),
        Element::Int4 | Element::Int2 => v << (64 - element.bits()) >> (64 - element.bits()),
        Element::UInt4 | Element::UInt2 => v & ((1 << element.bits()) - 1),
        _ => v,
    }
}

/// The first element of a slice `start..end` by steps, and how many there are, of an axis of `len`.
pub(super) fn slice_range(start: i64, end: i64, step: i64, len: usize) -> Result<(usize, usize)> {
    let n = len as i64;
    if step == 0 || step == i64::MIN {
        return Err(Error::invalid("steps", step, "numbers other than 0"));
    }
    let place = |v: i64| if v < 0 { v.saturating_add(n) } else { v };
    let (start, end) = if step > 0 {
        (place(start).clamp(0, n), place(end).clamp(0, n))
    } else {
        (place(start).clamp(-1, n - 1), place(end).clamp(-1, n - 1))
    };
    let count = if step > 0 { (end - start).max(0) } else { (start - end).max(0) };
    let count = (count as u64).div_ceil(step.unsigned_abs());
    Ok((start.max(0) as usize, count as usize))
}

/// The outputs of a node whose inputs, where there are any, are these; none if it isn't among those that are worked out, or too large. `left` is
/// how many elements may still be worked out for the network.
pub(super) fn fold(node: &Node, inputs: &[Option<&Array>], left: &Cell<usize>) -> Result<Option<Vec<Array>>> {
    if !OPS.contains(&node.op.as_str()) || inputs.iter().flatten().any(|array| !is_small(array.dims())) {
        return Ok(None);
    }
    let largest = inputs.iter().flatten().map(|array| array.len()).max().unwrap_or(0);
    let work = largest.saturating_mul(inputs.len()).saturating_add(1);
    let Some(less) = left.get().checked_sub(work) else { return Ok(None) };
    left.set(less);
    let small = inputs.iter().map(|array| array.map(Small::of).transpose()).collect::<Result<Vec<_>>>()?;
    let made = Fold { node, inputs: small }.run()?;
    let work = made.iter().flatten().map(|small| small.values.len()).sum();
    left.set(left.get().saturating_sub(work));
    made.map(|all| all.into_iter().map(Small::array).collect()).transpose()
}

/// The ops that are worked out.
pub(super) const OPS: &[&str] = &[
    "Abs",
    "Add",
    "And",
    "Cast",
    "Ceil",
    "Concat",
    "ConstantOfShape",
    "Div",
    "Equal",
    "Exp",
    "Expand",
    "Floor",
    "Gather",
    "Greater",
    "GreaterOrEqual",
    "Less",
    "LessOrEqual",
    "Log",
    "Max",
    "Min",
    "Mod",
    "Mul",
    "Neg",
    "Not",
    "Or",
    "Range",
    "ReduceMax",
    "ReduceMin",
    "ReduceProd",
    "ReduceSum",
    "Slice",
    "Split",
    "Sqrt",
    "Sub",
    "Transpose",
    "Where",
    "Xor",
];

struct Fold<'a> {
    node: &'a Node,
    inputs: Vec<Option<Small>>,
}

impl Fold<'_> {
    fn x(&self, i: usize) -> Result<&Small> {
        let missing = || Error::invalid(format!("input {i}"), "none", "a tensor");
        self.inputs.get(i).and_then(Option::as_ref).ok_or_else(missing)
    }

    fn ints_of(&self, attribute: &str, input: usize) -> Result<Option<Vec<i64>>> {
        match self.node.attributes.ints(attribute)? {
            None => self.inputs.get(input).and_then(Option::as_ref).map(Small::ints).transpose(),
            given => Ok(given),
        }
    }

    fn run(&self) -> Result<Option<Vec<Small>>> {
        let op = self.node.op.as_str();
        if self.inputs.iter().flatten().any(|x| x.dims.len() > 16) {
            return Ok(None);
        }
        let one = match op {
            "Abs" | "Neg" | "Not" | "Floor" | "Ceil" | "Sqrt" | "Exp" | "Log" => self.unary(op)?,
            "Add" | "Sub" | "Mul" | "Div" | "Mod" | "Min" | "Max" | "Equal" | "Less" | "LessOrEqual" | "Greater"
            | "GreaterOrEqual" | "And" | "Or" | "Xor" => match self.binary(op)? {
                Some(y) => y,
                None => return Ok(None),
            },
            "Cast" => self.cast()?,
            "Concat" => match self.concat()? {
                Some(y) => y,
                None => return Ok(None),
            },
            "ConstantOfShape" => match self.constant_of_shape()? {
                Some(y) => y,
                None => return Ok(None),
            },
            "Expand" => {
                let (x, wanted) = (self.x(0)?, dimensions(&self.x(1)?.ints()?)?);
                let dims = broadcast(&[x.dims.clone(), wanted])?;
                match broadcast_places(&x.dims, &dims) {
                    Some(places) => x.picked(dims, places),
                    None => return Ok(None),
                }
            }
            "Gather" => match self.gather()? {
                Some(y) => y,
                None => return Ok(None),
            },
            "Range" => self.range()?,
            "ReduceMax" | "ReduceMin" | "ReduceProd" | "ReduceSum" => match self.reduce(op)? {
                Some(y) => y,
                None => return Ok(None),
            },
            "Slice" => self.slice()?,
            "Split" => return self.split().map(Some),
            "Transpose" => self.transpose()?,
            "Where" => {
                let (c, a, b) = (self.x(0)?, self.x(1)?, self.x(2)?);
                let dims = broadcast(&[c.dims.clone(), a.dims.clone(), b.dims.clone()])?;
                let places = [c, a, b].map(|x| broadcast_places(&x.dims, &dims));
                let [Some(pc), Some(pa), Some(pb)] = places else { return Ok(None) };
                let pick = |i: usize| if c.values[pc[i]] != Number::Int(0) { a.values[pa[i]] } else { b.values[pb[i]] };
                let n = elements(&dims)?;
                Small { element: a.element, dims, values: (0..n).map(pick).collect() }
            }
            _ => return Ok(None),
        };
        Ok(Some(vec![one]))
    }

    fn unary(&self, op: &str) -> Result<Small> {
        let x = self.x(0)?;
        let f = |v: &Number| match (*v, op) {
            (Number::Int(v), "Abs") => Number::Int(v.wrapping_abs()),
            (Number::Int(v), "Neg") => Number::Int(v.wrapping_neg()),
            (Number::Int(v), "Not") => Number::Int(i64::from(v == 0)),
            (Number::Real(v), "Abs") => Number::Real(v.abs()),
            (Number::Real(v), "Neg") => Number::Real(-v),
            (Number::Real(v), "Floor") => Number::Real(v.floor()),
            (Number::Real(v), "Ceil") => Number::Real(v.ceil()),
            (Number::Real(v), "Sqrt") => Number::Real(v.sqrt()),
            (Number::Real(v), "Exp") => Number::Real(v.exp()),
            (Number::Real(v), "Log") => Number::Real(v.ln()),
            (v, _) => v,
        };
        Ok(Small { values: x.values.iter().map(f).collect(), ..x.clone() })
    }

    fn binary(&self, op: &str) -> Result<Option<Small>> {
        let mut y = self.x(0)?.clone();
        let compares = matches!(op, "Equal" | "Less" | "LessOrEqual" | "Greater" | "GreaterOrEqual");
        for i in 1..self.inputs.len() {
            let b = self.x(i)?;
            let dims = broadcast(&[y.dims.clone(), b.dims.clone()])?;
            let (Some(pa), Some(pb)) = (broadcast_places(&y.dims, &dims), broadcast_places(&b.dims, &dims)) else {
                return Ok(None);
            };
            let unsigned = !y.element.is_signed();
            let mut values = Vec::with_capacity(pa.len());
            for (&i, &j) in pa.iter().zip(&pb) {
                values.push(match (y.values[i], b.values[j]) {
                    (Number::Int(a), Number::Int(b)) => Number::Int(integer(op, a, b, unsigned)?),
                    (a, b) => {
                        let (a, b) = (a.real(y.element), b.real(y.element));
                        if compares { Number::Int(i64::from(real(op, a, b) != 0.0)) } else { Number::Real(real(op, a, b)) }
                    }
                });
            }
            let element = if compares { Element::Bool } else { y.element };
            y = Small { element, dims, values };
        }
        Ok(Some(y))
    }

    fn cast(&self) -> Result<Small> {
        let x = self.x(0)?;
        let to = self.node.attributes.int("to")?.unwrap_or_default();
        let element = Element::of(i32::try_from(to).unwrap_or_default()).map_err(|e| e.at("attribute 'to'"))?;
        let values = x.values.iter().map(|&v| match v {
            Number::Real(v) if element == Element::Bool => Number::Int(i64::from(v != 0.0)),
            Number::Int(v) if element.is_float() => Number::Real(Number::Int(v).real(x.element)),
            v => v,
        });
        Ok(Small { element, dims: x.dims.clone(), values: values.collect() })
    }

    fn concat(&self) -> Result<Option<Small>> {
        let first = self.x(0)?;
        let axis = axis_of(self.node.attributes.int("axis")?.unwrap_or(1), first.dims.len())?;
        let mut dims = first.dims.clone();
        dims[axis] = 0;
        let all: Vec<&Small> = self.inputs.iter().flatten().collect();
        for x in &all {
            let fits = x.dims.len() == dims.len() && (0..dims.len()).all(|a| a == axis || x.dims[a] == dims[a]);
            if !fits {
                return Err(Error::invalid("inputs", format!("{:?}", x.dims), format!("{dims:?} but for axis {axis}")));
            }
            dims[axis] = dims[axis].saturating_add(x.dims[axis]);
        }
        if !is_small(&dims) {
            return Ok(None);
        }
        let outer: usize = dims[..axis].iter().product();
        let inner: usize = dims[axis + 1..].iter().product();
        let row = |x: &Small, i: usize| {
            let len = x.dims[axis] * inner;
            x.values[i * len..][..len].to_vec()
        };
        let values = (0..outer).flat_map(|i| all.iter().flat_map(move |x| row(x, i))).collect();
        Ok(Some(Small { element: first.element, dims, values }))
    }

    fn constant_of_shape(&self) -> Result<Option<Small>> {
        let dims = dimensions(&self.x(0)?.ints()?)?;
        let n = elements(&dims)?;
        if !is_small(&dims) {
            return Ok(None);
        }
        let value = match self.node.attributes.tensor("value")? {
            Some(array) if array.len() != 1 => {
                return Err(Error::invalid("value", format!("{} elements", array.len()), "one"));
            }
            Some(array) => Small::of(array)?,
            None => Small { element: Element::Float, dims: vec![1], values: vec![Number::Real(0.0)] },
        };
        let [v] = value.values[..] else {
            return Err(Error::invalid("value", format!("{} elements", value.values.len()), "one"));
        };
        Ok(Some(Small { element: value.element, dims, values: vec![v; n] }))
    }

    fn gather(&self) -> Result<Option<Small>> {
        let (x, indices) = (self.x(0)?, self.x(1)?);
        let axis = axis_of(self.node.attributes.int("axis")?.unwrap_or(0), x.dims.len())?;
        let rows = indices.ints()?.iter().map(|&i| axis_of(i, x.dims[axis])).collect::<Result<Vec<_>>>()?;
        let dims = [&x.dims[..axis], &indices.dims, &x.dims[axis + 1..]].concat();
        if !is_small(&dims) {
            return Ok(None);
        }
        let (outer, inner) = (x.dims[..axis].iter().product::<usize>(), x.dims[axis + 1..].iter().product::<usize>());
        let len = x.dims[axis];
        let places = (0..outer).flat_map(|o| rows.iter().flat_map(move |&r| (0..inner).map(move |i| (o * len + r) * inner + i)));
        Ok(Some(x.picked(dims, places)))
    }

    fn range(&self) -> Result<Small> {
        let number = |i: usize| {
            let x = self.x(i)?;
            x.values.first().copied().ok_or_else(|| Error::invalid(format!("input {i}"), "no number", "one"))
        };
        let (start, limit, step) = (number(0)?, number(1)?, number(2)?);
        let element = self.x(0)?.element;
        let [a, b, d] = [start, limit, step].map(|v| v.real(element));
        let n = ((b - a) / d).ceil().max(0.0);
        if !(n <= MOST_MADE as f64) {
            return Err(Error::invalid("range", format!("{a} to {b} by {d}"), format!("at most {MOST_MADE} numbers")));
        }
        let n = n as usize;
        let values = (0..n).map(|i| match (start, step) {
            (Number::Int(a), Number::Int(d)) => Number::Int(a.wrapping_add(d.wrapping_mul(i as i64))),
            _ => Number::Real(a + d * i as f64),
        });
        Ok(Small { element, dims: vec![n], values: values.collect() })
    }

    /// Over all axes, or those of a vector.
    fn reduce(&self, op: &str) -> Result<Option<Small>> {
        let x = self.x(0)?;
        let axes = self.ints_of("axes", 1)?.unwrap_or_default();
        if x.dims.len() > 1 && axes.len() < x.dims.len() {
            return Ok(None);
        }
        if axes.is_empty() && self.node.attributes.flag("noop_with_empty_axes", false)? {
            return Ok(Some(x.clone()));
        }
        let function = match op {
            "ReduceMax" => "Max",
            "ReduceMin" => "Min",
            "ReduceProd" => "Mul",
            _ => "Add",
        };
        let mut values = x.values.iter().copied();
        let Some(mut sum) = values.next() else { return Ok(None) };
        for v in values {
            sum = match (sum, v) {
                (Number::Int(a), Number::Int(b)) => Number::Int(integer(function, a, b, !x.element.is_signed())?),
                (a, b) => Number::Real(real(function, a.real(x.element), b.real(x.element))),
            };
        }
        let keep = self.node.attributes.flag("keepdims", true)?;
        let dims = if keep { vec![1; x.dims.len()] } else { Vec::new() };
        Ok(Some(Small { element: x.element, dims, values: vec![sum] }))
    }

    fn slice(&self) -> Result<Small> {
        let mut x = self.x(0)?.clone();
        let none = |what: &str| Error::invalid(what, "none", "numbers");
        let starts = self.ints_of("starts", 1)?.ok_or_else(|| none("starts"))?;
        let ends = self.ints_of("ends", 2)?.ok_or_else(|| none("ends"))?;
        let axes = self.ints_of("axes", 3)?.unwrap_or_else(|| (0..starts.len() as i64).collect());
        let steps = self.ints_of("steps", 4)?.unwrap_or_else(|| vec![1; starts.len()]);
        let axes = axes_of(&axes, x.dims.len())?;
        for (i, &start) in starts.iter().enumerate() {
            let (Some(&end), Some(&axis), Some(&step)) = (ends.get(i), axes.get(i), steps.get(i)) else {
                return Err(Error::invalid("ends, axes, steps", "fewer numbers than starts", "as many"));
            };
            let (first, len) = slice_range(start, end, step, x.dims[axis])?;
            let (outer, inner) = (x.dims[..axis].iter().product::<usize>(), x.dims[axis + 1..].iter().product::<usize>());
            let old = x.dims[axis];
            let at = |k: usize| (first as i64 + k as i64 * step) as usize;
            let places =
                (0..outer).flat_map(|o| (0..len).flat_map(move |k| (0..inner).map(move |i| (o * old + at(k)) * inner + i)));
            let mut dims = x.dims.clone();
            dims[axis] = len;
            x = x.picked(dims, places);
        }
        Ok(x)
    }

    fn split(&self) -> Result<Vec<Small>> {
        let x = self.x(0)?;
        let axis = axis_of(self.node.attributes.int("axis")?.unwrap_or(0), x.dims.len())?;
        let (given, number) = (self.ints_of("split", 1)?, self.node.attributes.int("num_outputs")?);
        let sizes = parts_of(given.as_deref(), number, self.node.outputs.len(), x.dims[axis])?;
        let (outer, inner) = (x.dims[..axis].iter().product::<usize>(), x.dims[axis + 1..].iter().product::<usize>());
        let old = x.dims[axis];
        let starts = sizes.iter().scan(0, |at, len| Some(std::mem::replace(at, *at + len)));
        let part = |(start, &len): (usize, &usize)| {
            let places = (0..outer).flat_map(|o| (0..len * inner).map(move |i| (o * old + start) * inner + i));
            let mut dims = x.dims.clone();
            dims[axis] = len;
            x.picked(dims, places)
        };
        Ok(starts.zip(&sizes).map(part).collect())
    }

    fn transpose(&self) -> Result<Small> {
        let x = self.x(0)?;
        let rank = x.dims.len();
        let order = permutation_of(self.node.attributes.ints("perm")?.as_deref(), rank)?;
        let dims = order.iter().map(|&axis| x.dims[axis]).collect();
        Ok(Small { element: x.element, dims, values: permuted(&x.values, &x.dims, &order) })
    }
}

/// Where each element of a broadcast tensor comes from; none if there are too many.
fn broadcast_places(from: &[usize], to: &[usize]) -> Option<Vec<usize>> {
    let n = elements(to).ok().filter(|_| is_small(to))?;
    let missing = to.len() - from.len();
    let place = |i: usize| {
        let (mut rest, mut at, mut stride) = (i, 0, 1);
        for (axis, &len) in to.iter().enumerate().rev() {
            let here = rest % len;
            rest /= len;
            if axis >= missing {
                let own = from[axis - missing];
                at += if own == 1 { 0 } else { here * stride };
                stride *= own;
            }
        }
        at
    };
    Some((0..n).map(place).collect())
}

fn integer(op: &str, a: i64, b: i64, unsigned: bool) -> Result<i64> {
    let zero = || Error::invalid("divisor", 0, "another number");
    let less = if unsigned { (a as u64) < b as u64 } else { a < b };
    Ok(match op {
        "Add" => a.wrapping_add(b),
        "Sub" => a.wrapping_sub(b),
        "Mul" => a.wrapping_mul(b),
        "Div" if b == 0 => return Err(zero()),
        "Div" if unsigned => (a as u64 / b as u64) as i64,
        "Div" => a.wrapping_div(b),
        "Mod" if b == 0 => return Err(zero()),
        "Mod" => a.wrapping_rem_euclid(b) + if b < 0 && a.wrapping_rem_euclid(b) != 0 { b } else { 0 },
        "Min" => {
            if less {
                a
            } else {
                b
            }
        }
        "Max" => {
            if less {
                b
            } else {
                a
            }
        }
        "Equal" => i64::from(a == b),
        "Less" => i64::from(less),
        "LessOrEqual" => i64::from(less || a == b),
        "Greater" => i64::from(!less && a != b),
        "GreaterOrEqual" => i64::from(!less),
        "And" => i64::from(a != 0 && b != 0),
        "Or" => i64::from(a != 0 || b != 0),
        _ => i64::from((a != 0) != (b != 0)),
    })
}

fn real(op: &str, a: f64, b: f64) -> f64 {
    let is = |yes: bool| if yes { 1.0 } else { 0.0 };
    match op {
        "Add" => a + b,
        "Sub" => a - b,
        "Mul" => a * b,
        "Div" => a / b,
        "Mod" => a % b,
        "Min" => {
            if a.is_nan() || a < b {
                a
            } else {
                b
            }
        }
        "Max" => {
            if a.is_nan() || a > b {
                a
            } else {
                b
            }
        }
        "Equal" => is(a == b),
        "Less" => is(a < b),
        "LessOrEqual" => is(a <= b),
        "Greater" => is(a > b),
        _ => is(a >= b),
    }
}
