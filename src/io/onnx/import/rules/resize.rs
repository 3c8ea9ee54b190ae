//! Resizing: along each axis a product with a matrix whose rows weigh the neighbours of an element's place.

use super::super::lower::{Lower, axes_of, inverse};
use super::window::sizes;
use super::{Rule, rule};
use crate::error::{Error, Result};
use crate::ops::binary::{Add, Binary};
use crate::ops::constant::{Constant, MAX_CONSTANT};
use crate::ops::resample_axis::{Band, resample_axis};
use crate::tensor::Tensor;
use std::sync::Arc;

pub(super) const RULES: &[Rule] = &[rule("Resize", "resize", resize), rule("Upsample", "upsample", upsample)];

/// How places of a new axis lie on the old one, and what is made of the elements there.
#[derive(Clone, Debug)]
struct Sampling {
    mode: String,
    coordinates: String,
    nearest: String,
    cubic: f64,
    exclude_outside: bool,
    antialias: bool,
}

/// An axis to be resized.
struct Axis {
    axis: usize,
    len: usize,
    out: usize,
    scale: f64,
    /// The part of the axis that is taken, of 0 to 1.
    region: [f64; 2],
}

fn word(name: &str, got: &str, known: &[&str]) -> Result<String> {
    if known.contains(&got) {
        return Ok(got.to_string());
    }
    Err(Error::invalid(name, format!("'{}'", got.escape_debug()), format!("one of {}", known.join(", "))))
}

impl Sampling {
    /// Where an element lies on the old axis.
    fn place(&self, a: &Axis, o: usize) -> f64 {
        let (o, len, out) = (o as f64, a.len as f64, a.out as f64);
        // Before it was rounded to whole elements.
        let resized = a.scale * len;
        match self.coordinates.as_str() {
            "half_pixel_symmetric" => {
                let adjustment = out / resized;
                len / 2.0 * (1.0 - adjustment) + (o + 0.5) / a.scale - 0.5
            }
            "pytorch_half_pixel" if resized <= 1.0 => 0.0,
            "align_corners" if resized == 1.0 => 0.0,
            "align_corners" => o * (len - 1.0) / (resized - 1.0),
            "asymmetric" => o / a.scale,
            "tf_half_pixel_for_nn" => (o + 0.5) / a.scale,
            "tf_crop_and_resize" => {
                let [start, end] = a.region;
                match a.out {
                    1 => 0.5 * (start + end) * (len - 1.0),
                    _ => start * (len - 1.0) + o * (end - start) * (len - 1.0) / (out - 1.0),
                }
            }
            _ => (o + 0.5) / a.scale - 0.5,
        }
    }

    /// Weights of the elements from `start` on, of those around a place that is `ratio` behind one of them, in (0, 1].
    fn weights(&self, ratio: f64, scale: f64) -> (i64, Vec<f64>) {
        let scale = if self.antialias { scale.min(1.0) } else { 1.0 };
        let reach = |radius: f64| (-radius / scale).floor() as i64 + 1;
        let at = |start: i64, weight: &dyn Fn(f64) -> f64| {
            (start, (start..2 - start).map(|i| weight((i as f64 - ratio) * scale)).collect::<Vec<f64>>())
        };
        let (start, mut weights) = match self.mode.as_str() {
            "nearest" => {
                let upper = match self.nearest.as_str() {
                    _ if ratio == 1.0 => true,
                    "round_prefer_floor" => ratio > 0.5,
                    "round_prefer_ceil" => ratio >= 0.5,
                    "floor" => false,
                    _ => true,
                };
                return (i64::from(upper), vec![1.0]);
            }
            "linear" => at(reach(1.0), &|x| (1.0 - x.abs()).max(0.0)),
            _ => {
                // Keys's kernel (R. Keys, "Cubic convolution interpolation for digital image processing", 1981).
                let a = self.cubic;
                at(reach(2.0), &|x| match x.abs() {
                    x if x <= 1.0 => ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0,
                    x if x < 2.0 => ((a * x - 5.0 * a) * x + 8.0 * a) * x - 4.0 * a,
                    _ => 0.0,
                })
            }
        };
        let sum: f64 = weights.iter().sum();
        weights.iter_mut().for_each(|w| *w /= sum);
        (start, weights)
    }

    /// Most weights of a row.
    fn taps(&self, scale: f64) -> f64 {
        let radius = match self.mode.as_str() {
            "nearest" => return 1.0,
            "linear" => 1.0,
            _ => 2.0,
        };
        2.0 * radius / if self.antialias { scale.min(1.0) } else { 1.0 }
    }

    /// The matrix of an axis, and which rows lie on it.
    fn band(&self, a: &Axis) -> Result<(Band, Vec<bool>)> {
        let weights = self.taps(a.scale) * a.out as f64;
        if !(weights <= MAX_CONSTANT as f64) {
            let want = format!("at most {MAX_CONSTANT} weights of elements of an axis, new ones times neighbours");
            return Err(Error::invalid(
                "scales or sizes",
                format!("{} to {} elements, {weights:.0} weights", a.len, a.out),
                want,
            ));
        }
        let last = a.len as i64 - 1;
        let (mut rows, mut inside) = (Vec::with_capacity(a.out), Vec::with_capacity(a.out));
        for o in 0..a.out {
            let x = self.place(a, o);
            let is_inside = self.coordinates != "tf_crop_and_resize" || (0.0..=last as f64).contains(&x);
            inside.push(is_inside);
            if !is_inside || !x.is_finite() {
                rows.push((0, vec![0.0]));
                continue;
            }
            let base = (x.ceil() - 1.0).clamp(-1e15, 1e15);
            let (start, mut weights) = self.weights(x - base, a.scale);
            let first = base as i64 + start;
            if self.exclude_outside {
                let mut sum = 0.0;
                for (i, w) in weights.iter_mut().enumerate() {
                    *w = if (0..=last).contains(&(first + i as i64)) { *w } else { 0.0 };
                    sum += *w;
                }
                if sum != 0.0 {
                    weights.iter_mut().for_each(|w| *w /= sum);
                }
            }
            // Beyond the ends the outermost elements are repeated.
            let place = |i: usize| (first + i as i64).clamp(0, last) as usize;
            let (from, to) = (place(0), place(weights.len() - 1));
            let mut row = vec![0.0; to - from + 1];
            weights.iter().enumerate().for_each(|(i, w)| row[place(i) - from] += w);
            rows.push((from, row));
        }
        Ok((Band::new(a.len, &rows)?, inside))
    }
}

fn resize(l: &mut Lower<'_, '_>) -> Result<()> {
    let dims = l.dims(0)?;
    let old = l.opset < 11;
    let text = |name: &str, default: &str| Ok::<_, Error>(l.attributes().string(name)?.unwrap_or(default).to_string());
    let sampling = Sampling {
        mode: word("mode", &text("mode", "nearest")?, &["nearest", "linear", "cubic"])?,
        coordinates: word(
            "coordinate_transformation_mode",
            &text("coordinate_transformation_mode", if old { "asymmetric" } else { "half_pixel" })?,
            &[
                "half_pixel",
                "half_pixel_symmetric",
                "pytorch_half_pixel",
                "align_corners",
                "asymmetric",
                "tf_half_pixel_for_nn",
                "tf_crop_and_resize",
            ],
        )?,
        nearest: word(
            "nearest_mode",
            &text("nearest_mode", if old { "floor" } else { "round_prefer_floor" })?,
            &["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"],
        )?,
        cubic: f64::from(l.attributes().float("cubic_coeff_a")?.unwrap_or(-0.75)),
        exclude_outside: l.attributes().flag("exclude_outside", false)?,
        antialias: l.attributes().flag("antialias", false)?,
    };
    let axes = match l.attributes().ints("axes")? {
        Some(axes) => axes_of(&axes, dims.len())?,
        None => (0..dims.len()).collect(),
    };
    let (roi_at, scales_at) = if old { (3, 1) } else { (1, 2) };
    let given = |i: usize| l.has(i) && !l.dims(i).is_ok_and(|dims| dims.contains(&0));
    let region = if sampling.coordinates == "tf_crop_and_resize" && given(roi_at) { l.floats(roi_at)? } else { Vec::new() };
    let lens: Vec<usize> = axes.iter().map(|&axis| dims[axis]).collect();
    let (scales, outs) = if given(scales_at) {
        let scales: Vec<f64> = l.floats(scales_at)?.into_iter().map(f64::from).collect();
        let outs = lens.iter().zip(&scales).map(|(&len, scale)| (len as f64 * scale).floor() as usize).collect::<Vec<_>>();
        (scales, outs)
    } else {
        let wanted = sizes("sizes", &l.ints(3)?)?;
        let mut scales: Vec<f64> = lens.iter().zip(&wanted).map(|(&len, &out)| out as f64 / len as f64).collect();
        let mut outs = wanted;
        let policy = l.attributes().string("keep_aspect_ratio_policy")?.unwrap_or("stretch");
        if word("keep_aspect_ratio_policy", policy, &["stretch", "not_larger", "not_smaller"])? != "stretch" {
            let one = |a: f64, b: f64| if policy == "not_larger" { a.min(b) } else { a.max(b) };
            let scale = scales.iter().copied().reduce(one).unwrap_or(1.0);
            scales.fill(scale);
            outs = lens.iter().map(|&len| (scale * len as f64 + 0.5).floor() as usize).collect();
        }
        (scales, outs)
    };
    if scales.len() != axes.len() || outs.len() != axes.len() || !(region.is_empty() || region.len() == 2 * axes.len()) {
        let got = format!("{} scales or sizes, {} numbers of a region", scales.len(), region.len());
        return Err(Error::invalid("scales, sizes or roi", got, format!("one and two for each of {} axes", axes.len())));
    }
    if let Some(bad) = scales.iter().find(|s| !(**s > 0.0 && s.is_finite())) {
        return Err(Error::invalid("scales", bad, "positive numbers"));
    }
    let n = axes.len();
    let part = |i: usize| if region.is_empty() { [0.0, 1.0] } else { [f64::from(region[i]), f64::from(region[n + i])] };
    let axes: Vec<Axis> = (0..n)
        .map(|i| Axis { axis: axes[i], len: lens[i], out: outs[i], scale: scales[i], region: part(i) })
        .filter(|a| a.out != a.len || a.scale != 1.0 || (sampling.coordinates == "tf_crop_and_resize" && a.region != [0.0, 1.0]))
        .collect();
    let value = l.attributes().float("extrapolation_value")?.unwrap_or(0.0);
    resampled(l, dims, &sampling, &axes, value)
}

/// `Upsample`, which was there before opset 10.
fn upsample(l: &mut Lower<'_, '_>) -> Result<()> {
    let dims = l.dims(0)?;
    let mode = l.attributes().string("mode")?.unwrap_or("nearest");
    let mode = word("mode", if mode == "bilinear" { "linear" } else { mode }, &["nearest", "linear"])?;
    let scales = match l.attributes().floats("scales")? {
        Some(scales) => scales,
        None => l.floats(1)?,
    };
    if scales.len() != dims.len() || scales.iter().any(|s| !(*s >= 1.0 && s.is_finite())) {
        return Err(Error::invalid("scales", format!("{scales:?}"), format!("{} numbers from 1 on", dims.len())));
    }
    let sampling = Sampling {
        mode,
        coordinates: "asymmetric".to_string(),
        nearest: "floor".to_string(),
        cubic: -0.75,
        exclude_outside: false,
        antialias: false,
    };
    let axis = |(axis, (&len, &scale)): (usize, (&usize, &f32))| {
        let scale = f64::from(scale);
        Axis { axis, len, out: (len as f64 * scale).floor() as usize, scale, region: [0.0, 1.0] }
    };
    let axes: Vec<Axis> = dims.iter().zip(&scales).enumerate().map(axis).filter(|a| a.scale != 1.0).collect();
    resampled(l, dims, &sampling, &axes, 0.0)
}

fn resampled(l: &mut Lower<'_, '_>, mut dims: Vec<usize>, sampling: &Sampling, axes: &[Axis], value: f32) -> Result<()> {
    let mut x = l.on_device(0)?;
    if x.layout.unflattened.is_some() || (x.layout.order.is_sorted() && dims.len() > 2 && axes.iter().all(|a| a.axis > 1)) {
        // Channels last, as neighbours of it will want it.
        x.value = l.channels_last(0)?;
        x.layout = super::super::lower::Layout::channels_last(dims.len());
    }
    let place = inverse(&x.layout.order);
    let mut y = x.value;
    let mut outside = Vec::new();
    for a in axes {
        if a.out == 0 {
            return Err(Error::invalid("sizes", 0, "at least 1"));
        }
        let (band, inside) = sampling.band(a)?;
        y = resample_axis(l.ctx.graph(), y, place[a.axis], &Arc::new(band))?;
        dims[a.axis] = a.out;
        if inside.contains(&false) && value != 0.0 {
            outside.push((a.axis, inside));
        }
    }
    if !outside.is_empty() {
        // What lies outside is 0 by now.
        let shape: Vec<usize> = x.layout.order.iter().map(|&axis| dims[axis]).collect();
        let own: Vec<usize> =
            x.layout.order.iter().map(|a| if outside.iter().any(|(o, _)| o == a) { dims[*a] } else { 1 }).collect();
        let n = own.iter().product::<usize>();
        if n > MAX_CONSTANT {
            let want = format!("at most {MAX_CONSTANT} elements of the axes that reach beyond the image");
            return Err(Error::invalid("extrapolation_value", format!("{n} elements"), want));
        }
        let is_outside = |mut i: usize| {
            let mut any = false;
            for (p, &len) in own.iter().enumerate().rev() {
                let here = i % len;
                i /= len;
                any |= outside.iter().any(|(axis, inside)| *axis == x.layout.order[p] && !inside[here]);
            }
            any
        };
        let values = (0..n).map(|i| if is_outside(i) { value } else { 0.0 }).collect();
        debug_assert_eq!(l.shape(y), shape);
        let constant = l.add(Constant::new(Tensor::f32(own.clone(), values)?), &[])?;
        y = l.add(Binary::<Add>::new(), &[y, constant])?;
    }
    l.put(0, y, x.element, dims, x.layout);
    Ok(())
}
