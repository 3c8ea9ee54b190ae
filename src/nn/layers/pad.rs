//! Padding as a layer of its own.

use super::axis_of;
use crate::error::{Error, Result};
use crate::nn::{Layer, LayerContext, Size2};
use crate::op::Value;
use crate::ops::resample2d::{Resample2d, Sampling};
use crate::ops::slice::{self, PadAxis};
use crate::ops::view::View;

/// Elements around those along some axes: zeros, or what [`Pad::value`], [`Pad::edge`] and [`Pad::reflect`] say. Keras's `ZeroPadding2D`,
/// PyTorch's `ConstantPad`, `ReplicationPad` and `ReflectionPad`. Convolutions and poolings have a padding of their own.
#[derive(Clone, Debug)]
pub struct Pad {
    /// Axis, elements before, elements after.
    axes: Vec<(isize, usize, usize)>,
    mode: Mode,
}

#[derive(Clone, Copy, Debug)]
enum Mode {
    Constant(f32),
    Edge,
    Reflect,
}

impl Pad {
    /// So many rows above and below images `[n, h, w, c]`, and columns on their left and right: `Pad::images(1)`, `Pad::images([0, 2])`.
    pub fn images(size: impl Into<Size2>) -> Self {
        let [h, w] = size.into().0;
        Pad::new([(1, h, h), (2, w, w)])
    }

    /// Along each of these axes, counted as in Keras and NumPy (0 is the batch, -1 the last), so many elements before and after.
    pub fn new(axes: impl Into<Vec<(isize, usize, usize)>>) -> Self {
        Pad { axes: axes.into(), mode: Mode::Constant(0.0) }
    }

    /// Puts this number there.
    pub fn value(mut self, value: f32) -> Self {
        self.mode = Mode::Constant(value);
        self
    }

    /// Repeats the outermost elements.
    pub fn edge(mut self) -> Self {
        self.mode = Mode::Edge;
        self
    }

    /// Mirrors at the outermost elements, which aren't repeated: fewer elements on a side than the axis has.
    pub fn reflect(mut self) -> Self {
        self.mode = Mode::Reflect;
        self
    }
}

impl Layer for Pad {
    fn type_name(&self) -> &'static str {
        "pad"
    }

    fn build(&self, ctx: &mut LayerContext<'_>, x: &[Value]) -> Result<Value> {
        let mut x = ctx.only(x)?;
        let mut axes = Vec::with_capacity(self.axes.len());
        for &(axis, before, after) in &self.axes {
            axes.push(PadAxis::around(axis_of(axis, ctx.shape(x))?, before, after));
        }
        axes.sort_unstable_by_key(|pad| pad.axis);
        if let Some(twice) = axes.windows(2).find(|pair| pair[0].axis == pair[1].axis) {
            return Err(Error::invalid("axis", format!("{} twice", twice[0].axis), "each at most once"));
        }
        if let Mode::Constant(value) = self.mode {
            return ctx.node(slice::Pad { axes, value }, &[x]);
        }
        // Two axes side by side are height and width of an image, one alone is the height.
        let mut rest = &axes[..];
        while let [first, others @ ..] = rest {
            let second = others.first().filter(|second| second.axis == first.axis + 1);
            rest = if second.is_some() { &others[1..] } else { others };
            let mut dims = ctx.shape(x).dims().to_vec();
            let (outer, inner) = (&dims[..first.axis], &dims[first.axis + 1 + usize::from(second.is_some())..]);
            let [n, c] = [outer, inner].map(|dims| dims.iter().product());
            let [h, w] = [dims[first.axis], second.map_or(1, |second| dims[second.axis])];
            let padded = |len: usize, pad: &PadAxis| pad.before.saturating_add(len).saturating_add(pad.after);
            let size = [padded(h, first), second.map_or(1, |second| padded(w, second))];
            let before = [first.before, second.map_or(0, |second| second.before)];
            let sampling = if matches!(self.mode, Mode::Edge) { Sampling::Edge { before } } else { Sampling::Reflect { before } };
            dims[first.axis] = size[0];
            if let Some(second) = second {
                dims[second.axis] = size[1];
            }
            let image = ctx.node(View::reshape([n, h, w, c]), &[x])?;
            let image = ctx.node(Resample2d { size, sampling }, &[image])?;
            x = ctx.node(View::reshape(dims), &[image])?;
        }
        Ok(x)
    }
}
