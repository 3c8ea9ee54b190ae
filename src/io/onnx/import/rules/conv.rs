//! Convolutions.

use super::super::lower::Lower;
use super::window::{Spatial, per_axis, sizes};
use super::{Rule, rule};
use crate::error::{Error, Result};
use crate::op::Value;
use crate::ops::conv2d::{Conv2d, Conv2dGradInput};
use crate::tensor::Padding;

pub(super) const RULES: &[Rule] = &[rule("Conv", "conv", conv), rule("ConvTranspose", "conv_transpose", conv_transpose)];

/// Weights `[o, i, ..]` as `[k_h, k_w, i, o]`, and a bias.
fn weights(l: &mut Lower<'_, '_>, s: &Spatial, dims: &[usize]) -> Result<Vec<Value>> {
    let kernel = s.pair(&dims[2..], 1);
    let order: Vec<usize> = (2..dims.len()).chain([1, 0]).collect();
    let w = l.parameter(1, "weight", &order, Some(vec![kernel[0], kernel[1], dims[1], dims[0]]))?;
    Ok(vec![w])
}

fn bias(l: &mut Lower<'_, '_>, c_out: usize) -> Result<Option<Value>> {
    if !l.has(2) {
        return Ok(None);
    }
    let dims = l.dims(2)?;
    if dims != [c_out] {
        return Err(Error::invalid("bias", format!("{dims:?}"), format!("[{c_out}]")));
    }
    l.parameter(2, "bias", &[0], None).map(Some)
}

/// The input as `[n, h, w, c]`, and the kernel's dimensions, which `kernel_shape` may repeat.
fn images(l: &mut Lower<'_, '_>) -> Result<(Spatial, Value, Vec<usize>, Vec<usize>)> {
    let s = Spatial::of("input", &l.dims(0)?)?;
    let dims = l.dims(1)?;
    if dims.len() != s.n + 2 {
        return Err(Error::invalid("weight", format!("{dims:?}"), format!("{} dimensions", s.n + 2)));
    }
    let kernel = dims[2..].to_vec();
    if let Some(said) = l.attributes().ints("kernel_shape")?
        && sizes("kernel_shape", &said)? != kernel
    {
        return Err(Error::invalid("kernel_shape", format!("{said:?}"), format!("{kernel:?}, that of the weights")));
    }
    let x = l.channels_last(0)?;
    let x = l.reshaped(x, s.nhwc())?;
    Ok((s, x, dims, kernel))
}

fn groups(l: &Lower<'_, '_>) -> Result<usize> {
    Ok(sizes("group", &[l.attributes().int("group")?.unwrap_or(1)])?[0])
}

fn conv(l: &mut Lower<'_, '_>) -> Result<()> {
    let (s, x, dims, kernel) = images(l)?;
    let window = s.window(l, &kernel)?;
    let groups = groups(l)?;
    let mut inputs = vec![x];
    inputs.extend(weights(l, &s, &dims)?);
    inputs.extend(bias(l, dims[0])?);
    let y = l.add(Conv2d::new(window, groups), &inputs)?;
    let out = s.onnx(&l.shape(y));
    let element = l.element(0)?;
    l.put_channels_last(0, y, element, out)
}

/// The gradient of a convolution by its input, of weights `[c_in, c_out / groups, ..]`.
fn conv_transpose(l: &mut Lower<'_, '_>) -> Result<()> {
    let (s, x, dims, kernel) = images(l)?;
    let groups = groups(l)?;
    let c_out = dims[1].saturating_mul(groups);
    let mut window = s.window(l, &kernel)?;
    let extra = s.pair(&per_axis(l, "output_padding", s.n, 0)?, 0);
    // Sizes of the output without padding.
    let input = [s.dims[2], s.dims[3]];
    let whole = |axis: usize| {
        let span = window.dilation[axis].saturating_mul(window.kernel[axis].saturating_sub(1)).saturating_add(1);
        let steps = window.stride[axis].saturating_mul(input[axis].saturating_sub(1));
        steps.saturating_add(span).saturating_add(extra[axis])
    };
    let whole = [whole(0), whole(1)];
    let wanted = match l.attributes().ints("output_shape")? {
        Some(shape) => {
            // Some files give all dimensions, others only the spatial ones.
            let shape = sizes("output_shape", &shape)?;
            let spatial = shape.get(shape.len().saturating_sub(s.n)..).filter(|spatial| spatial.len() == s.n);
            Some(s.pair(spatial.ok_or_else(|| Error::invalid("output_shape", format!("{shape:?}"), "sizes"))?, 1))
        }
        None => None,
    };
    let upper = l.attributes().string("auto_pad")?.unwrap_or("NOTSET");
    let same = upper.starts_with("SAME").then(|| [0, 1].map(|axis| input[axis].saturating_mul(window.stride[axis])));
    let size = match wanted.or(same) {
        Some(size) => {
            // What is cut off lies at both ends, an odd one at the end for SAME_UPPER only.
            let cut = |axis: usize| {
                // A size with more than that gets zeros at the end.
                let total = whole[axis].saturating_sub(size[axis]);
                let (less, more) = (total / 2, total - total / 2);
                if upper == "SAME_UPPER" { (less, more) } else { (more, less) }
            };
            let ((top, bottom), (left, right)) = (cut(0), cut(1));
            window.padding = Padding::Explicit { top, bottom, left, right };
            size
        }
        None => {
            let (tall, wide) = match window.padding {
                Padding::Explicit { top, bottom, left, right } => (top.saturating_add(bottom), left.saturating_add(right)),
                _ => (0, 0),
            };
            let less = |whole: usize, cut: usize| {
                let want = format!("less than the unpadded output's {whole}");
                whole.checked_sub(cut).filter(|&len| len > 0).ok_or_else(|| Error::invalid("pads", cut, want))
            };
            [less(whole[0], tall)?, less(whole[1], wide)?]
        }
    };
    let mut inputs = vec![x];
    // `[k_h, k_w, c_out / groups, c_in]`: ONNX's first axis is the input's channels.
    inputs.extend(weights(l, &s, &dims)?);
    inputs.extend(bias(l, c_out)?);
    let n = s.dims[0];
    let y = l.add(Conv2dGradInput::new(window, groups, [n, size[0], size[1], c_out]), &inputs)?;
    let out = s.onnx(&l.shape(y));
    let element = l.element(0)?;
    l.put_channels_last(0, y, element, out)
}
