//! Windows of convolutions and poolings, whose attributes they share.

use super::super::lower::Lower;
use crate::error::{Error, Result};
use crate::tensor::{Padding, Window2d};

/// Sizes that aren't negative.
pub(in super::super) fn sizes(what: &str, values: &[i64]) -> Result<Vec<usize>> {
    let wrong = |_| Error::invalid(what, format!("{values:?}"), "numbers from 0 on");
    values.iter().map(|&v| usize::try_from(v).map_err(wrong)).collect()
}

/// An attribute with a number for each spatial dimension.
pub(super) fn per_axis(l: &Lower<'_, '_>, name: &str, n: usize, default: usize) -> Result<Vec<usize>> {
    let Some(values) = l.attributes().ints(name)? else { return Ok(vec![default; n]) };
    let values = sizes(name, &values)?;
    if values.len() != n {
        return Err(Error::invalid(name, format!("{values:?}"), format!("{n} numbers, one for each spatial dimension")));
    }
    Ok(values)
}

/// What images of one and two dimensions have in common.
pub(super) struct Spatial {
    /// Number of ONNX's spatial dimensions.
    pub n: usize,
    /// `[n, c, h, w]`, the height of a sequence being 1.
    pub dims: [usize; 4],
}

impl Spatial {
    /// Of an input of ONNX's dimensions `[n, c, ..]`.
    pub fn of(what: &str, dims: &[usize]) -> Result<Spatial> {
        match *dims {
            [n, c, w] => Ok(Spatial { n: 1, dims: [n, c, 1, w] }),
            [n, c, h, w] => Ok(Spatial { n: 2, dims: [n, c, h, w] }),
            _ => Err(Error::invalid(what, format!("{dims:?}"), "3 or 4 dimensions, [n, c, w] or [n, c, h, w]")),
        }
    }

    /// `[n, h, w, c]`.
    pub fn nhwc(&self) -> [usize; 4] {
        let [n, c, h, w] = self.dims;
        [n, h, w, c]
    }

    /// ONNX's dimensions of a result of this size in memory.
    pub fn onnx(&self, nhwc: &[usize]) -> Vec<usize> {
        let (n, h, w, c) = (nhwc[0], nhwc[1], nhwc[2], nhwc[3]);
        if self.n == 1 { vec![n, c, w] } else { vec![n, c, h, w] }
    }

    /// Height and width, of a number for each spatial dimension.
    pub fn pair(&self, values: &[usize], height: usize) -> [usize; 2] {
        if self.n == 1 { [height, values[0]] } else { [values[0], values[1]] }
    }

    /// A window of this size, by the node's attributes.
    pub fn window(&self, l: &Lower<'_, '_>, kernel: &[usize]) -> Result<Window2d> {
        let axes: Vec<usize> = (0..self.n).collect();
        self.window_of(l, kernel, &axes)
    }

    /// A window along the spatial axes `axes` of those for which the attributes have numbers.
    pub fn window_of(&self, l: &Lower<'_, '_>, kernel: &[usize], axes: &[usize]) -> Result<Window2d> {
        let all = kernel.len();
        if axes.last().is_none_or(|&last| last >= all) || axes.len() != self.n {
            return Err(Error::invalid("kernel_shape", format!("{kernel:?}"), format!("{} numbers", self.n)));
        }
        let of = |values: Vec<usize>| axes.iter().map(|&axis| values[axis]).collect::<Vec<_>>();
        let stride = self.pair(&of(per_axis(l, "strides", all, 1)?), 1);
        let dilation = self.pair(&of(per_axis(l, "dilations", all, 1)?), 1);
        let kernel = self.pair(&of(kernel.to_vec()), 1);
        let ceil = l.attributes().flag("ceil_mode", false)?;
        let padding = match l.attributes().string("auto_pad")?.unwrap_or("NOTSET") {
            "NOTSET" => {
                let pads = l.attributes().ints("pads")?.unwrap_or_else(|| vec![0; 2 * all]);
                let pads = sizes("pads", &pads)?;
                if pads.len() != 2 * all {
                    return Err(Error::invalid("pads", format!("{pads:?}"), format!("{} numbers", 2 * all)));
                }
                let (before, after) = (of(pads[..all].to_vec()), of(pads[all..].to_vec()));
                let ([top, left], [bottom, right]) = (self.pair(&before, 0), self.pair(&after, 0));
                Padding::Explicit { top, bottom, left, right }
            }
            "VALID" => Padding::Valid,
            "SAME_UPPER" => Padding::Same,
            "SAME_LOWER" => {
                // As much as for the other, but what is odd comes first.
                let same = Window2d { kernel, stride, dilation, padding: Padding::Same, ceil: false };
                let placed = same.place(self.dims[2], self.dims[3])?;
                Padding::Explicit {
                    top: placed.pad_bottom,
                    bottom: placed.pad_top,
                    left: placed.pad_right,
                    right: placed.pad_left,
                }
            }
            other => {
                let got = format!("'{}'", other.escape_debug());
                return Err(Error::invalid("auto_pad", got, "NOTSET, VALID, SAME_UPPER or SAME_LOWER"));
            }
        };
        Ok(Window2d { kernel, stride, dilation, padding, ceil })
    }
}
