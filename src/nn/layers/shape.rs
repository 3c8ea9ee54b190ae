//! Layers that move values without changing them.

use super::{axis_of, image};
use crate::error::{Error, Result};
use crate::nn::layer::batched;
use crate::nn::{Layer, LayerContext, Size2};
use crate::op::Value;
use crate::ops::slice::{self, SliceRange};
use crate::ops::transpose::Transpose;
use crate::ops::view::View;
use std::ops::Range;

/// The values of a sample under another shape, in the same order: `[n, ..]` to `[n, shape..]`. It moves nothing.
#[derive(Clone, Debug)]
pub struct Reshape {
    shape: Vec<isize>,
}

impl Reshape {
    /// Samples of this shape, without the batch; one dimension may be -1, whatever is left: `Reshape::new([7, 7, -1])`.
    pub fn new(shape: impl Into<Vec<isize>>) -> Self {
        Reshape { shape: shape.into() }
    }
}

impl Layer for Reshape {
    fn type_name(&self) -> &'static str {
        "reshape"
    }

    fn build(&self, ctx: &mut LayerContext<'_>, x: &[Value]) -> Result<Value> {
        let x = ctx.only(x)?;
        let n = ctx.batch(x);
        let len = ctx.shape(x).elements() / n;
        let refused = || {
            let want = format!("one of the {len} elements of {}, with at most one -1", batched(ctx.shape(x)));
            Error::invalid("shape", format!("{:?}", self.shape), want)
        };
        let known = self.shape.iter().filter(|&&d| d != -1);
        let product = known.clone().try_fold(1usize, |product, &d| product.checked_mul(usize::try_from(d).ok()?));
        let product = product.filter(|&product| product > 0 && len.is_multiple_of(product)).ok_or_else(refused)?;
        let free = self.shape.len() - known.count();
        if free > 1 || (free == 0 && product != len) {
            return Err(refused());
        }
        let dims = self.shape.iter().map(|&d| if d == -1 { len / product } else { d as usize });
        let shape: Vec<usize> = [n].into_iter().chain(dims).collect();
        ctx.node(View::reshape(shape), &[x])
    }
}

/// The axes behind the batch in another order: axis `i + 1` of the output is the input's axis `order[i]`. `Permute::new([3, 1, 2])` makes
/// images `[n, h, w, c]` to `[n, c, h, w]`; numbers are Keras's, from 1.
#[derive(Clone, Debug)]
pub struct Permute {
    order: Vec<usize>,
}

impl Permute {
    /// Each axis behind the batch once.
    pub fn new(order: impl Into<Vec<usize>>) -> Self {
        Permute { order: order.into() }
    }
}

impl Layer for Permute {
    fn type_name(&self) -> &'static str {
        "permute"
    }

    fn build(&self, ctx: &mut LayerContext<'_>, x: &[Value]) -> Result<Value> {
        let x = ctx.only(x)?;
        if self.order.contains(&0) {
            return Err(Error::invalid("order", format!("{:?}", self.order), "axes from 1, behind the batch"));
        }
        let permutation: Vec<usize> = [0].into_iter().chain(self.order.iter().copied()).collect();
        ctx.node(Transpose { permutation }, &[x])
    }
}

/// Ranges of axes, as NumPy's `x[:, a:b:step]`.
#[derive(Clone, Debug)]
pub struct Slice {
    ranges: Vec<(isize, Range<usize>, usize)>,
    /// How long the first range's axis must be.
    of: Option<usize>,
}

impl Slice {
    /// A range of an axis, counted as in Keras and NumPy: 0 is the batch, -1 the last.
    pub fn new(axis: isize, range: Range<usize>) -> Self {
        Slice { ranges: vec![(axis, range, 1)], of: None }
    }

    /// Also a range of another axis.
    pub fn and(mut self, axis: isize, range: Range<usize>) -> Self {
        self.ranges.push((axis, range, 1));
        self
    }

    /// Every `step`-th element of the last range only, the first among them.
    pub fn step(mut self, step: usize) -> Self {
        if let Some(last) = self.ranges.last_mut() {
            last.2 = step;
        }
        self
    }

    /// The range of an axis that must be of this length.
    pub(in crate::nn) fn part(axis: isize, range: Range<usize>, len: usize) -> Self {
        Slice { ranges: vec![(axis, range, 1)], of: Some(len) }
    }
}

impl Layer for Slice {
    fn type_name(&self) -> &'static str {
        "slice"
    }

    fn build(&self, ctx: &mut LayerContext<'_>, x: &[Value]) -> Result<Value> {
        let x = ctx.only(x)?;
        let shape = ctx.shape(x);
        let mut ranges = Vec::with_capacity(self.ranges.len());
        for (axis, range, step) in &self.ranges {
            let axis = axis_of(*axis, shape)?;
            let d = shape.dims()[axis];
            if let Some(len) = self.of.filter(|&len| len != d) {
                let got = format!("{len} in all, along axis {axis} of {}", batched(shape));
                return Err(Error::invalid("sizes of the parts", got, format!("{d}")));
            }
            if range.is_empty() || range.end > d || *step == 0 {
                let got = format!("{range:?} by steps of {step}");
                let want = format!("1 or more of the {d} elements along axis {axis} of {}", batched(shape));
                return Err(Error::invalid("range", got, want));
            }
            let len = range.len().div_ceil(*step);
            ranges.push(SliceRange { axis, start: range.start, len, step: *step as isize });
        }
        ctx.node(slice::Slice { ranges }, &[x])
    }
}

/// Images without some of their outer rows and columns. Input `[n, h, w, c]`, output `[n, h - top - bottom, w - left - right, c]`.
#[derive(Clone, Copy, Debug)]
pub struct Crop2d {
    rows: [usize; 2],
    columns: [usize; 2],
}

impl Crop2d {
    /// So many rows less above and below, and columns on the left and right: `Crop2d::new(1)`, `Crop2d::new([0, 2])`.
    pub fn new(size: impl Into<Size2>) -> Self {
        let [h, w] = size.into().0;
        Crop2d { rows: [h, h], columns: [w, w] }
    }

    /// Each side's own number of rows or columns less.
    pub fn sides(top: usize, bottom: usize, left: usize, right: usize) -> Self {
        Crop2d { rows: [top, bottom], columns: [left, right] }
    }
}

impl Layer for Crop2d {
    fn type_name(&self) -> &'static str {
        "crop2d"
    }

    fn build(&self, ctx: &mut LayerContext<'_>, x: &[Value]) -> Result<Value> {
        let x = ctx.only(x)?;
        let [_, h, w, _] = image(ctx.shape(x))?;
        let range = |axis: usize, side: &str, len: usize, [before, after]: [usize; 2]| {
            let rest = len.checked_sub(before.saturating_add(after)).filter(|&rest| rest > 0).ok_or_else(|| {
                Error::invalid(format!("cropping ({side})"), format!("{before} and {after}"), format!("less than all {len}"))
            })?;
            Ok(SliceRange { axis, start: before, len: rest, step: 1 })
        };
        let ranges = vec![range(1, "height", h, self.rows)?, range(2, "width", w, self.columns)?];
        ctx.node(slice::Slice { ranges }, &[x])
    }
}

/// The channels of each group spread over all groups, so that grouped convolutions see each other's results (X. Zhang et al.,
/// "ShuffleNet", CVPR 2018): output channel `i groups + g` is channel `g c / groups + i`. Input and output `[n, .., c]`.
#[derive(Clone, Copy, Debug)]
pub struct ChannelShuffle {
    groups: usize,
}

impl ChannelShuffle {
    /// Of so many groups, which divide the channels.
    pub fn new(groups: usize) -> Self {
        ChannelShuffle { groups }
    }
}

impl Layer for ChannelShuffle {
    fn type_name(&self) -> &'static str {
        "channel_shuffle"
    }

    fn build(&self, ctx: &mut LayerContext<'_>, x: &[Value]) -> Result<Value> {
        let x = ctx.only(x)?;
        let shape = ctx.shape(x).clone();
        let c = shape.last();
        if self.groups == 0 || !c.is_multiple_of(self.groups) || shape.rank() < 2 {
            return Err(Error::invalid("groups", self.groups, format!("a divisor of the {c} channels of {}", batched(&shape))));
        }
        let grouped = ctx.node(View::reshape([shape.elements() / c, self.groups, c / self.groups]), &[x])?;
        let shuffled = ctx.node(Transpose::new([0, 2, 1]), &[grouped])?;
        ctx.node(View::reshape(shape), &[shuffled])
    }
}
