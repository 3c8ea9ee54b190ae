//! Products of matrices.

use super::super::super::array::elements;
use super::super::lower::{Lower, Operand, given, permuted};
use super::{Rule, rule};
use crate::error::{Error, Result};
use crate::nn::product_by_rows;
use crate::op::Value;
use crate::ops::binary::{Add, Binary};
use crate::ops::concat::Concat;
use crate::ops::matmul::Matmul;
use crate::ops::scale::Scale;
use crate::ops::slice::Slice;

pub(super) const RULES: &[Rule] = &[rule("Gemm", "dense", gemm), rule("MatMul", "matmul", matmul)];

fn matrix(l: &Lower<'_, '_>, i: usize) -> Result<[usize; 2]> {
    let dims = l.dims(i)?;
    <[usize; 2]>::try_from(dims).map_err(|dims| Error::invalid(format!("input {i}"), format!("{dims:?}"), "a matrix"))
}

/// Most products of matrices that a product of stacks of them is.
const MOST_PRODUCTS: usize = 4096;

/// Rows of the left matrix, of `k` elements, as they lie in memory, and where each element is in ONNX's order, if elsewhere.
fn rows(l: &mut Lower<'_, '_>, i: usize, k: usize) -> Result<(Value, Option<Vec<usize>>)> {
    let dims = matrix(l, i)?;
    if dims[1] != k {
        return Err(Error::invalid(format!("input {i}"), format!("{dims:?}"), format!("{k} columns, as the other has rows")));
    }
    if let Operand::Device(tensor) = l.operand(i)?.clone()
        && let Some(dims) = &tensor.layout.unflattened
        && tensor.layout.order.first() == Some(&0)
    {
        // An image that was flattened: rather the weights are put in its order.
        let features: usize = dims[1..].iter().product();
        let order: Vec<usize> = tensor.layout.order[1..].iter().map(|axis| axis - 1).collect();
        let places: Vec<usize> = (0..features).collect();
        let value = l.reshaped(tensor.value, [dims[0], features])?;
        return Ok((value, Some(permuted(&places, &dims[1..], &order))));
    }
    Ok((l.plain(i)?, None))
}

/// `x w` for constant weights `[k, n]`, or `[n, k]` if `transposed`.
fn dense(l: &mut Lower<'_, '_>, transposed: bool, bias: Option<Value>) -> Result<Option<Value>> {
    let Some(array) = l.constant(1).cloned() else { return Ok(None) };
    let order = if transposed { [1, 0] } else { [0, 1] };
    let [k, n] = order.map(|axis| array.dims()[axis]);
    let (x, places) = rows(l, 0, k)?;
    let weights = given(&array, &order, places);
    let pieces = l.ctx.parameter_by_rows(&format!("{}weight", l.prefix), [k, n], weights)?;
    product_by_rows(l.ctx, x, &pieces, bias).map(Some)
}

fn gemm(l: &mut Lower<'_, '_>) -> Result<()> {
    let (a, b) = (matrix(l, 0)?, matrix(l, 1)?);
    let [transpose_a, transpose_b] = [l.attributes().flag("transA", false)?, l.attributes().flag("transB", false)?];
    let alpha = l.attributes().float("alpha")?.unwrap_or(1.0);
    let beta = l.attributes().float("beta")?.unwrap_or(1.0);
    let element = l.element(0)?;
    let (m, n) = (a[usize::from(transpose_a)], b[usize::from(!transpose_b)]);
    // A bias that the product takes along.
    let c = if l.has(2) && beta != 0.0 { Some(l.dims(2)?) } else { None };
    let is_bias = alpha == 1.0 && beta == 1.0 && c.as_ref().is_some_and(|c| *c == [n] || *c == [1, n]);
    let bias = match &c {
        Some(c) if is_bias => {
            let order: Vec<usize> = (0..c.len()).collect();
            Some(l.parameter(2, "bias", &order, Some(vec![n]))?)
        }
        _ => None,
    };
    let weights = if transpose_a { None } else { dense(l, transpose_b, bias)? };
    let mut y = match weights {
        Some(y) => y,
        None => {
            let (x, w) = (l.plain(0)?, l.plain(1)?);
            let inputs: Vec<Value> = [x, w].into_iter().chain(bias).collect();
            l.add(Matmul::new(transpose_a, transpose_b), &inputs)?
        }
    };
    if alpha != 1.0 {
        y = l.add(Scale { factor: alpha }, &[y])?;
    }
    if let Some(c) = c.filter(|_| !is_bias) {
        let order: Vec<usize> = (0..c.len()).collect();
        let mut value = l.parameter(2, "bias", &order, None)?;
        if beta != 1.0 {
            value = l.add(Scale { factor: beta }, &[value])?;
        }
        y = l.add(Binary::<Add>::new(), &[y, value])?;
    }
    l.put_plain(0, y, element, vec![m, n])
}

fn matmul(l: &mut Lower<'_, '_>) -> Result<()> {
    let (a, b) = (l.dims(0)?, l.dims(1)?);
    let element = l.element(0)?;
    if a.len() == 2 && b.len() == 2 && l.constant(1).is_some() {
        let y = dense(l, false, None)?.ok_or_else(|| Error::invalid("weight", "not constant", "a constant"))?;
        return l.put_plain(0, y, element, vec![a[0], b[1]]);
    }
    if a.is_empty() || b.is_empty() {
        return Err(Error::invalid("inputs", format!("{a:?} and {b:?}"), "1 or more dimensions each"));
    }
    let (x, w) = (l.plain(0)?, l.plain(1)?);
    // Vectors are matrices of one row or column, which the result doesn't have.
    let left = if a.len() == 1 { vec![1, a[0]] } else { a.clone() };
    let right = if b.len() == 1 { vec![b[0], 1] } else { b.clone() };
    let (y, mut dims) = stacked(l, x, &left, w, &right)?;
    if b.len() == 1 {
        dims.pop();
    }
    if a.len() == 1 {
        dims.remove(dims.len() - 1 - usize::from(b.len() > 1));
    }
    l.put_plain(0, y, element, dims)
}

/// Products of stacks of matrices, `[.., m, k]` and `[.., k, n]`, with broadcasting.
pub(super) fn stacked(l: &mut Lower<'_, '_>, x: Value, a: &[usize], w: Value, b: &[usize]) -> Result<(Value, Vec<usize>)> {
    let ((outer_a, a_dims), (outer_b, b_dims)) = (a.split_at(a.len() - 2), b.split_at(b.len() - 2));
    let ([m, k], [k_b, n]) = ([a_dims[0], a_dims[1]], [b_dims[0], b_dims[1]]);
    if k != k_b {
        return Err(Error::invalid("inputs", format!("{a:?} and {b:?}"), "as many columns as rows"));
    }
    let outer = super::arithmetic::broadcast(&[outer_a.to_vec(), outer_b.to_vec()])?;
    let dims = [&outer[..], &[m, n]].concat();
    elements(&dims)?;
    let count = |dims: &[usize]| dims.iter().product::<usize>();
    if count(outer_b) == 1 && count(outer_a) == count(&outer) {
        // One matrix for all: a taller one.
        let (x, w) = (l.reshaped(x, [count(outer_a) * m, k])?, l.reshaped(w, [k, n])?);
        let y = l.add(Matmul::new(false, false), &[x, w])?;
        return Ok((l.reshaped(y, dims.clone())?, dims));
    }
    let products = count(&outer);
    if products > MOST_PRODUCTS {
        return Err(Error::invalid("inputs", format!("{products} products of matrices"), format!("at most {MOST_PRODUCTS}")));
    }
    let x = l.reshaped(x, [count(outer_a) * m, k])?;
    let w = l.reshaped(w, [count(outer_b) * k, n])?;
    let place = |i: usize, own: &[usize]| {
        let (mut rest, mut at, mut stride) = (i, 0, 1);
        for (axis, &len) in outer.iter().enumerate().rev() {
            let (here, own_axis) = (rest % len, axis as isize - (outer.len() - own.len()) as isize);
            rest /= len;
            if let Ok(own_axis) = usize::try_from(own_axis) {
                at += if own[own_axis] == 1 { 0 } else { here * stride };
                stride *= own[own_axis];
            }
        }
        at
    };
    let mut parts = Vec::with_capacity(products);
    for i in 0..products {
        let left = l.add(Slice::along(0, place(i, outer_a) * m, m), &[x])?;
        let right = l.add(Slice::along(0, place(i, outer_b) * k, k), &[w])?;
        parts.push(l.add(Matmul::new(false, false), &[left, right])?);
    }
    let y = if parts.len() == 1 { parts[0] } else { l.add(Concat { axis: 0 }, &parts)? };
    Ok((l.reshaped(y, dims.clone())?, dims))
}
