//! Normalisation.

use super::super::lower::{Lower, MOST_MADE, Operand, channels_last, given};
use super::{Rule, rule};
use crate::error::{Error, Result};
use crate::nn::{BatchNorm, Init, Initial};
use crate::op::Value;
use crate::ops::batch_norm::{self, BatchNormInference};
use crate::ops::binary::{Add, Binary, Mul};
use crate::ops::group_norm::{self, Grouping};
use crate::ops::local_response_norm::LocalResponseNorm;
use crate::ops::scale::Scale;

pub(super) const RULES: &[Rule] = &[
    rule("BatchNormalization", "batch_norm", batch_norm),
    rule("GroupNormalization", "group_norm", group_norm),
    rule("InstanceNormalization", "instance_norm", instance_norm),
    rule("LRN", "lrn", lrn),
    rule("LayerNormalization", "layer_norm", layer_norm),
];

fn epsilon(l: &Lower<'_, '_>) -> Result<f64> {
    Ok(f64::from(l.attributes().float("epsilon")?.unwrap_or(1e-5)))
}

/// A vector with a number a channel.
fn vector(l: &mut Lower<'_, '_>, i: usize, name: &str, c: usize) -> Result<Value> {
    let dims = l.dims(i)?;
    if dims != [c] {
        return Err(Error::invalid(name, format!("{dims:?}"), format!("[{c}], a number a channel")));
    }
    l.parameter(i, name, &[0], None)
}

fn batch_norm(l: &mut Lower<'_, '_>) -> Result<()> {
    let dims = l.dims(0)?;
    let &[_, c, ..] = &dims[..] else {
        return Err(Error::invalid("input", format!("{dims:?}"), "2 or more dimensions, [n, c, ..]"));
    };
    if l.opset < 9 && !l.attributes().flag("spatial", true)? {
        return Err(Error::invalid("spatial", 0, "1, statistics a channel"));
    }
    let (epsilon, element) = (epsilon(l)?, l.element(0)?);
    let x = l.channels_last(0)?;
    // Files of before opset 7 say so by `is_test`.
    let trains = l.attributes().flag("training_mode", false)? || (l.opset < 7 && !l.attributes().flag("is_test", false)?);
    if trains && l.opset >= 14 {
        return batch_norm_training(l, x, dims, epsilon);
    }
    let constants: Option<Vec<_>> = (1..5).map(|i| l.constant(i).cloned()).collect();
    let y = match constants {
        Some(constants) if l.prefix.is_empty() => {
            for array in &constants {
                if array.dims() != [c] {
                    return Err(Error::invalid(
                        "statistics",
                        format!("{:?}", array.dims()),
                        format!("[{c}], a number a channel"),
                    ));
                }
            }
            let initial = |i: usize| Initial::from(given(&constants[i], &[0], None));
            // ONNX's momentum is the share that is kept, as ours.
            let momentum = f64::from(l.attributes().float("momentum")?.unwrap_or(0.9));
            let layer = BatchNorm::new().epsilon(epsilon).momentum(momentum).unbiased(true);
            layer.build_from(l.ctx, x, [initial(0), initial(1), initial(2), initial(3)])?
        }
        _ => {
            let [gamma, beta, mean, variance] =
                [vector(l, 1, "gamma", c)?, vector(l, 2, "beta", c)?, vector(l, 3, "mean", c)?, vector(l, 4, "variance", c)?];
            l.add(BatchNormInference::new(epsilon), &[x, mean, variance, gamma, beta])?
        }
    };
    l.put_channels_last(0, y, element, dims)
}

/// With the batch's statistics, and the running ones after it.
fn batch_norm_training(l: &mut Lower<'_, '_>, x: Value, dims: Vec<usize>, epsilon: f64) -> Result<()> {
    let (c, element) = (dims[1], l.element(0)?);
    let momentum = l.attributes().float("momentum")?.unwrap_or(0.9);
    let (gamma, beta) = (vector(l, 1, "gamma", c)?, vector(l, 2, "beta", c)?);
    let made = l.ctx.nodes(batch_norm::BatchNorm::new(epsilon, false), &[x, gamma, beta])?;
    let &[y, mean, _, variance] = made.as_slice() else { unreachable!("four outputs") };
    l.put_channels_last(0, y, element, dims)?;
    for (i, (name, batch)) in [("running_mean", mean), ("running_variance", variance)].into_iter().enumerate() {
        if l.gives(i + 1) {
            let running = vector(l, i + 3, name, c)?;
            let kept = l.add(Scale { factor: momentum }, &[running])?;
            let taken = l.add(Scale { factor: 1.0 - momentum }, &[batch])?;
            let y = l.add(Binary::<Add>::new(), &[kept, taken])?;
            l.put_plain(i + 1, y, element, vec![c])?;
        }
    }
    Ok(())
}

fn instance_norm(l: &mut Lower<'_, '_>) -> Result<()> {
    let dims = l.dims(0)?;
    let &[_, c, _, ..] = &dims[..] else {
        return Err(Error::invalid("input", format!("{dims:?}"), "3 or more dimensions, [n, c, ..]"));
    };
    let (epsilon, element) = (epsilon(l)?, l.element(0)?);
    let x = l.channels_last(0)?;
    let (gamma, beta) = (vector(l, 1, "gamma", c)?, vector(l, 2, "beta", c)?);
    let y = l.add(group_norm::GroupNorm::new(Grouping::channels(c), epsilon), &[x, gamma, beta])?;
    l.put_channels_last(0, y, element, dims)
}

fn group_norm(l: &mut Lower<'_, '_>) -> Result<()> {
    let dims = l.dims(0)?;
    let &[_, c, _, ..] = &dims[..] else {
        return Err(Error::invalid("input", format!("{dims:?}"), "3 or more dimensions, [n, c, ..]"));
    };
    let groups = l.attributes().int("num_groups")?.unwrap_or_default();
    let groups = usize::try_from(groups).ok().filter(|&g| g > 0 && c.is_multiple_of(g));
    let groups = groups.ok_or_else(|| Error::invalid("num_groups", "no divisor", format!("a divisor of the {c} channels")))?;
    let (epsilon, element) = (epsilon(l)?, l.element(0)?);
    let x = l.channels_last(0)?;
    let mut parameters = Vec::new();
    for (i, name) in [(1, "gamma"), (2, "beta")] {
        // Up to opset 20 there is a number a group.
        if l.dims(i)? == [groups] && groups != c {
            if let Some(array) = l.constant(i).filter(|_| c <= MOST_MADE).cloned() {
                let values = array.to_floats()?;
                let each = values.iter().flat_map(|&v| std::iter::repeat_n(v, c / groups)).collect();
                l.inputs[i] = Some(Operand::Constant(super::super::super::array::Array::floats([c], each)?));
                parameters.push(vector(l, i, name, c)?);
                continue;
            }
            let value = l.plain(i)?;
            let column = l.reshaped(value, [groups, 1])?;
            let ones = l.ctx.fixed(&format!("{}ones", name), [1, c / groups], Init::Ones)?;
            let each = l.add(Binary::<Mul>::new(), &[column, ones])?;
            parameters.push(l.reshaped(each, [c])?);
        } else {
            parameters.push(vector(l, i, name, c)?);
        }
    }
    let y = l.add(group_norm::GroupNorm::new(Grouping::channels(groups), epsilon), &[x, parameters[0], parameters[1]])?;
    l.put_channels_last(0, y, element, dims)
}

fn layer_norm(l: &mut Lower<'_, '_>) -> Result<()> {
    let dims = l.dims(0)?;
    let axis = super::super::lower::axis_of(l.attributes().int("axis")?.unwrap_or(-1), dims.len())?;
    let (epsilon, element) = (epsilon(l)?, l.element(0)?);
    let x = l.plain(0)?;
    let normed = dims[axis..].to_vec();
    let len = normed.iter().product::<usize>();
    let outer: usize = dims[..axis].iter().product();
    let rows = l.reshaped(x, [outer, len])?;
    let mut vectors = Vec::new();
    for (i, name) in [(1, "gamma"), (2, "beta")] {
        vectors.push(match l.has(i) {
            true => {
                let given = l.dims(i)?;
                let padded = [&vec![1; normed.len().saturating_sub(given.len())][..], &given].concat();
                if padded != normed {
                    return Err(Error::invalid(name, format!("{given:?}"), format!("{normed:?}")));
                }
                let order: Vec<usize> = (0..given.len()).collect();
                l.parameter(i, name, &order, Some(vec![len]))?
            }
            false => l.ctx.fixed(&format!("{}{name}", l.prefix), [len], if i == 1 { Init::Ones } else { Init::Zeros })?,
        });
    }
    let op = group_norm::GroupNorm::new(Grouping::layer(2, 1), epsilon);
    let made = l.ctx.nodes(op, &[rows, vectors[0], vectors[1]])?;
    l.put_plain(0, made[0], element, dims.clone())?;
    let mut kept = dims;
    kept[axis..].fill(1);
    if l.gives(1) {
        l.put_plain(1, made[1], element, kept.clone())?;
    }
    if l.gives(2) {
        let inverse = inverse_deviation(l, made[2], epsilon)?;
        l.put_plain(2, inverse, element, kept)?;
    }
    Ok(())
}

/// `1 / sqrt(variance + epsilon)`.
fn inverse_deviation(l: &mut Lower<'_, '_>, variance: Value, epsilon: f64) -> Result<Value> {
    use crate::ops::unary::{Pow, Unary};
    let epsilon = l.ctx.fixed(&format!("{}epsilon", l.prefix), [1], Init::Constant(epsilon as f32))?;
    let sum = l.add(Binary::<Add>::new(), &[variance, epsilon])?;
    l.add(Unary(Pow { exponent: -0.5 }), &[sum])
}

fn lrn(l: &mut Lower<'_, '_>) -> Result<()> {
    let dims = l.dims(0)?;
    let size = l.attributes().int("size")?.and_then(|s| usize::try_from(s).ok());
    let size = size.ok_or_else(|| Error::invalid("size", "none", "a number of channels"))?;
    let number = |name: &str, default: f64| Ok(l.attributes().float(name)?.map_or(default, f64::from));
    let (alpha, beta, k) = (number("alpha", 1e-4)?, number("beta", 0.75)?, number("bias", 1.0)?);
    let element = l.element(0)?;
    let order = channels_last(dims.len());
    let x = l.arranged(0, &order)?;
    let y = l.add(LocalResponseNorm { size, alpha, beta, k }, &[x])?;
    l.put_channels_last(0, y, element, dims)
}
