//! Losses of classes.

use super::super::lower::{Layout, Lower, channels_last};
use super::{Rule, rule};
use crate::error::{Error, Result};
use crate::op::Value;
use crate::ops::binary::{Binary, Div, Mul};
use crate::ops::constant::{Constant, MAX_CONSTANT};
use crate::ops::fill::Fill;
use crate::ops::reduce::{Reduction, reduce};
use crate::ops::scale::Scale;
use crate::ops::select::select;
use crate::ops::softmax::LogSoftmax;
use crate::ops::words::{Compare, Comparison};
use crate::tensor::Tensor;

pub(super) const RULES: &[Rule] = &[
    rule("NegativeLogLikelihoodLoss", "nll_loss", |l| loss(l, false)),
    rule("SoftmaxCrossEntropyLoss", "cross_entropy_loss", |l| loss(l, true)),
];

/// Minus the logarithm of the probability of each label, input 1 `[n, ..]`, by the logarithms `[n, c, ..]`, or by scores of which those are
/// still to be made; times the label's weight, input 2 `[c]`.
fn loss(l: &mut Lower<'_, '_>, scores: bool) -> Result<()> {
    let (dims, labels) = (l.dims(0)?, l.dims(1)?);
    let rank = dims.len();
    if rank < 2 || labels.len() + 1 != rank || labels[0] != dims[0] || labels[1..] != dims[2..] {
        return Err(Error::invalid("labels", format!("{labels:?}"), format!("those of {dims:?} without the classes, axis 1")));
    }
    let (c, element) = (dims[1], l.element(0)?);
    if c > MAX_CONSTANT {
        return Err(Error::invalid("classes", c, format!("at most {MAX_CONSTANT}")));
    }
    let order = channels_last(rank);
    let mut x = l.arranged(0, &order)?;
    if scores {
        x = l.add(LogSoftmax, &[x])?;
        if l.gives(1) {
            l.put(1, x, element, dims.clone(), Layout { order: order.clone(), unflattened: None });
        }
    }
    let label = l.plain(1)?;
    let column = l.reshaped(label, [&labels[..], &[1]].concat())?;
    let classes = l.add(Constant::new(Tensor::u32([c], (0..c as u32).collect())?), &[])?;
    let is_label = l.add(Compare { comparison: Comparison::Equal, signed: true }, &[column, classes])?;
    let zero = l.add(Fill { value: 0.0, shape: [1].into() }, &[])?;
    let mut is_counted = is_label;
    if let Some(ignored) = l.attributes().int("ignore_index")? {
        let word = i32::try_from(ignored).map_err(|_| Error::invalid("ignore_index", ignored, "a number of 32 bits"))?;
        let ignored = l.add(Constant::new(Tensor::u32([1], vec![word as u32])?), &[])?;
        let is_ignored = l.add(Compare { comparison: Comparison::Equal, signed: true }, &[column, ignored])?;
        let no = l.add(Constant::new(Tensor::u32([1], vec![0])?), &[])?;
        is_counted = select(l.ctx.graph(), is_ignored, no, is_label)?;
    }
    let weights = if l.has(2) { l.plain(2)? } else { l.add(Fill { value: 1.0, shape: [1].into() }, &[])? };
    let last = [rank - 1];
    let weighted = l.add(Binary::<Mul>::new(), &[x, weights])?;
    let picked = select(l.ctx.graph(), is_counted, weighted, zero)?;
    let picked = reduce(l.ctx.graph(), picked, Reduction::Sum, &last, false)?;
    let each = l.add(Scale { factor: -1.0 }, &[picked])?;
    let all = |l: &mut Lower<'_, '_>, v: Value| {
        let axes: Vec<usize> = (0..l.shape(v).len()).collect();
        let sum = reduce(l.ctx.graph(), v, Reduction::Sum, &axes, false)?;
        l.reshaped(sum, [1])
    };
    let (y, out) = match l.attributes().string("reduction")?.unwrap_or("mean") {
        "none" => (each, labels),
        "sum" => (all(l, each)?, Vec::new()),
        "mean" => {
            let sum = all(l, each)?;
            let counted = select(l.ctx.graph(), is_counted, weights, zero)?;
            let total = all(l, counted)?;
            (l.add(Binary::<Div>::new(), &[sum, total])?, Vec::new())
        }
        other => {
            let got = format!("'{}'", other.escape_debug());
            return Err(Error::invalid("reduction", got, "none, sum or mean"));
        }
    };
    l.put_plain(0, y, element, out)
}
