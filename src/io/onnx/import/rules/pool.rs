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
use crate::tensor::{Padding, Window2d};

pub(super) const RULES: &[Rule] = &[
    rule("AveragePool", "avg_pool", average_pool),
    rule("GlobalAveragePool", "global_avg_pool", |l| global(l, Reduction::Mean)),
    rule("GlobalLpPool", "global_lp_pool", global_lp_pool),
    rule("GlobalMaxPool", "global_max_pool", |l| global(l, Reduction::Max)),
    rule("LpPool", "lp_pool", lp_pool),
    rule("MaxPool", "max_pool", max_pool),
];

fn pool<O: Op>(l: &mut Lower<'_, '_>, op: impl Fn(Window2d) -> O) -> Result<()> {
    let kernel = l.attributes().ints("kernel_shape")?.ok_or_else(|| Error::invalid("kernel_shape", "none", "sizes"))?;
    let kernel = sizes("kernel_shape", &kernel)?;
    if kernel.len() + 2 != l.rank(0)? {
        return Err(Error::invalid(
            "kernel_shape",
            format!("{kernel:?}"),
            format!("a size for each spatial axis of {:?}", l.dims(0)?),
        ));
    }
    if let [n, c, d, h, w] = l.dims(0)?[..] {
        return pool_volume(l, &kernel, [n, c, d, h, w], op);
    }
    let s = Spatial::of("input", &l.dims(0)?)?;
    let window = s.window(l, &kernel)?;
    let element = l.element(0)?;
    let x = l.channels_last(0)?;
    let x = l.reshaped(x, s.nhwc())?;
    let x = to_floats(l, x, element)?;
    let y = l.add(op(window), &[x])?;
    let y = of_floats(l, y, element)?;
    let out = s.onnx(&l.shape(y));
    l.put_channels_last(0, y, element, out)
}

/// Over planes, then over depth: the largest of the largest, and likewise sums of powers, and means, as all windows of a plane have as many elements.
fn pool_volume<O: Op>(
    l: &mut Lower<'_, '_>,
    kernel: &[usize],
    [n, c, d, h, w]: [usize; 5],
    op: impl Fn(Window2d) -> O,
) -> Result<()> {
    let planes = Spatial { n: 2, dims: [n * d, c, h, w] };
    let window = planes.window_of(l, kernel, &[1, 2])?;
    let element = l.element(0)?;
    let x = l.channels_last(0)?;
    let x = l.reshaped(x, planes.nhwc())?;
    let x = to_floats(l, x, element)?;
    let y = l.add(op(window), &[x])?;
    let [h, w] = [l.shape(y)[1], l.shape(y)[2]];
    let columns = Spatial { n: 1, dims: [n, c, h * w, d] };
    let window = columns.window_of(l, kernel, &[0])?;
    // Depth is the height here.
    let [kernel, stride] = [window.kernel, window.stride].map(|[_, depth]| [depth, 1]);
    let padding = match window.padding {
        Padding::Explicit { left, right, .. } => Padding::Explicit { top: left, bottom: right, left: 0, right: 0 },
        other => other,
    };
    let dilation = [window.dilation[1], 1];
    let window = Window2d { kernel, stride, dilation, padding, ceil: window.ceil };
    let y = l.reshaped(y, [n, d, h * w, c])?;
    let y = l.add(op(window), &[y])?;
    let y = of_floats(l, y, element)?;
    let d = l.shape(y)[1];
    l.put_channels_last(0, y, element, vec![n, c, d, h, w])
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
