//! Pooling.

use super::super::integers::{of_floats, to_floats};
use super::super::lower::Lower;
use super::window::{Spatial, sizes};
use super::{Rule, rule};
use crate::error::{Error, Result};
use crate::op::Op;
use crate::ops::avg_pool2d::AvgPool2d;
use crate::ops::lp_pool2d::LpPool2d;
use crate::ops::max_pool2d::MaxPool2d;
use crate::ops::reduce::{Reduction, reduce};
use crate::tensor::Window2d;

pub(super) const RULES: &[Rule] = &[
    rule("AveragePool", "avg_pool", average_pool),
    rule("GlobalAveragePool", "global_avg_pool", |l| global(l, Reduction::Mean)),
    rule("GlobalLpPool", "global_lp_pool", global_lp_pool),
    rule("GlobalMaxPool", "global_max_pool", |l| global(l, Reduction::Max)),
    rule("LpPool", "lp_pool", lp_pool),
    rule("MaxPool", "max_pool", max_pool),
];

fn pool<O: Op>(l: &mut Lower<'_, '_>, op: impl FnOnce(Window2d) -> O) -> Result<()> {
    let s = Spatial::of("input", &l.dims(0)?)?;
    let kernel = l.attributes().ints("kernel_shape")?.ok_or_else(|| Error::invalid("kernel_shape", "none", "sizes"))?;
    let window = s.window(l, &sizes("kernel_shape", &kernel)?)?;
    let element = l.element(0)?;
    let x = l.channels_last(0)?;
    let x = l.reshaped(x, s.nhwc())?;
    let x = to_floats(l, x, element)?;
    let y = l.add(op(window), &[x])?;
    let y = of_floats(l, y, element)?;
    let out = s.onnx(&l.shape(y));
    l.put_channels_last(0, y, element, out)
}

fn max_pool(l: &mut Lower<'_, '_>) -> Result<()> {
    if l.gives(1) {
        return Err(Error::invalid("output 'Indices'", "asked for", "the largest values alone"));
    }
    pool(l, |window| MaxPool2d { window })
}

fn average_pool(l: &mut Lower<'_, '_>) -> Result<()> {
    let count_include_pad = l.attributes().flag("count_include_pad", false)?;
    pool(l, |window| AvgPool2d { window, count_include_pad })
}

/// The exponent, an integer but for the first version.
fn exponent(l: &Lower<'_, '_>) -> Result<f32> {
    if l.opset < 2 { Ok(l.attributes().float("p")?.unwrap_or(2.0)) } else { Ok(l.attributes().int("p")?.unwrap_or(2) as f32) }
}

fn lp_pool(l: &mut Lower<'_, '_>) -> Result<()> {
    let p = exponent(l)?;
    pool(l, |window| LpPool2d { window, p })
}

fn global(l: &mut Lower<'_, '_>, reduction: Reduction) -> Result<()> {
    let dims = l.dims(0)?;
    if dims.len() < 3 {
        return Err(Error::invalid("input", format!("{dims:?}"), "3 or more dimensions, [n, c, ..]"));
    }
    let x = l.channels_last(0)?;
    let spatial: Vec<usize> = (1..dims.len() - 1).collect();
    let y = reduce(l.ctx.graph(), x, reduction, &spatial, true)?;
    let mut out = dims;
    out[2..].fill(1);
    let element = l.element(0)?;
    l.put_channels_last(0, y, element, out)
}

fn global_lp_pool(l: &mut Lower<'_, '_>) -> Result<()> {
    let p = exponent(l)?;
    let s = Spatial::of("input", &l.dims(0)?)?;
    let x = l.channels_last(0)?;
    let x = l.reshaped(x, s.nhwc())?;
    let y = l.add(LpPool2d { window: Window2d::new([s.dims[2], s.dims[3]]), p }, &[x])?;
    let out = s.onnx(&l.shape(y));
    let element = l.element(0)?;
    l.put_channels_last(0, y, element, out)
}
