//! Convolutions whose every channel is a group of its own: vectors run over the channels, and no input is copied. Outputs whose windows
//! reach into the padding have shorter lists of taps.

use super::panel::{for_blocks, lanes_of};
use super::{Epilogue, Geometry, Line};
use crate::linalg::with_scratch;
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

/// Up to this many multiplications the calling thread does them.
const SERIAL: usize = 1 << 16;

/// Elements of the output that are a piece of work, about.
const PIECE: usize = 1 << 14;

/// Parts that have their own sums of the gradient by the weights.
const PARTS: usize = 32;

impl Geometry {
    /// Whether each channel is a group of its own.
    pub(super) fn is_depthwise(&self) -> bool {
        self.groups == self.c_in && self.c_in == self.c_out
    }
}

/// Elements of `x` and of `w` that an output, or the first of some, multiplies.
#[derive(Clone, Copy, Debug)]
struct Tap {
    x: usize,
    w: usize,
}

/// Outputs of a row that have the same taps along the width: which, and the taps as indices of [`Line::taps`].
#[derive(Clone, Debug)]
struct Stretch {
    outputs: [usize; 2],
    taps: [usize; 2],
}

impl Line {
    /// Cuts the outputs into stretches of the same taps, for an input of `len`.
    fn stretches(&self, len: usize) -> Vec<Stretch> {
        let mut stretches: Vec<Stretch> = Vec::new();
        for o in 0..self.count {
            let taps = self.taps_inside(o, len);
            match stretches.last_mut() {
                Some(last) if last.taps == taps => last.outputs[1] = o + 1,
                _ => stretches.push(Stretch { outputs: [o, o + 1], taps }),
            }
        }
        stretches
    }

    /// Taps of an output whose inputs are there: from which to which. They are in the order of their inputs.
    fn taps_inside(&self, output: usize, len: usize) -> [usize; 2] {
        let at = (output * self.stride) as isize;
        [-at, len as isize - at].map(|end| self.taps.partition_point(|tap| tap.0 < end))
    }
}

/// Where elements of the input and of the weights lie.
#[derive(Clone, Copy, Debug)]
struct Layout {
    /// Elements of a row of the input.
    row_len: usize,
    c: usize,
    k_w: usize,
}

impl Layout {
    /// Replaces `taps` by those of output row `row`, of which `inside` are in the image, and a stretch of columns.
    fn taps(&self, h: &Line, inside: [usize; 2], row: usize, w: &Line, s: &Stretch, taps: &mut Vec<Tap>) {
        taps.clear();
        for &(dh, k_h) in &h.taps[inside[0]..inside[1]] {
            for &(dw, k_w) in &w.taps[s.taps[0]..s.taps[1]] {
                let at = [(row * h.stride) as isize + dh, (s.outputs[0] * w.stride) as isize + dw].map(|at| at as usize);
                taps.push(Tap { x: at[0] * self.row_len + at[1] * self.c, w: (k_h * self.k_w + k_w) * self.c });
            }
        }
    }
}

/// The convolution, as [`super::conv2d`].
pub(super) fn forward(g: &Geometry, x: &[f32], w: &[f32], epilogue: Epilogue<'_>, y: &mut [f32]) {
    run(g, x, w, epilogue, y, |axis| vec![Line::forward(g, axis)]);
}

/// The gradient by the input, as [`super::conv2d_grad_input`].
pub(super) fn grad_input(g: &Geometry, dy: &[f32], w: &[f32], epilogue: Epilogue<'_>, dx: &mut [f32]) {
    let turned = Geometry { input: g.output, output: g.input, ..*g };
    run(&turned, dy, w, epilogue, dx, |axis| Line::backward(g, axis));
}

fn run(g: &Geometry, x: &[f32], w: &[f32], epilogue: Epilogue<'_>, y: &mut [f32], lines: impl Fn(usize) -> Vec<Line>) {
    let Geometry { input, output, c_in: c, kernel, .. } = *g;
    let arch = Arch::new();
    let columns: Vec<(Line, Vec<Stretch>)> = lines(1).into_iter().map(|w| (w.clone(), w.stretches(input[1]))).collect();
    let rows = lines(0);
    let layout = Layout { row_len: input[1] * c, c, k_w: kernel[1] };
    let work = y.len() * kernel[0] * kernel[1];
    let (row_len, image_len) = (output[1] * c, output[0] * output[1] * c);
    let piece_rows = (PIECE / row_len).clamp(1, output[0]);
    let piece = |image: usize, first: usize, y: &mut [f32]| {
        let x = &x[image * input[0] * input[1] * c..][..input[0] * input[1] * c];
        let mut taps = Vec::with_capacity(kernel[0] * kernel[1]);
        for (i, y) in y.chunks_exact_mut(row_len).enumerate() {
            let Some(h) = rows.iter().find(|h| (first + i) % h.step == h.first % h.step) else { continue };
            let row = (first + i - h.first) / h.step;
            let inside = h.taps_inside(row, input[0]);
            for (w_line, stretches) in &columns {
                for s in stretches {
                    layout.taps(h, inside, row, w_line, s, &mut taps);
                    let first = (w_line.first + s.outputs[0] * w_line.step) * c;
                    arch.dispatch(Outputs {
                        x,
                        x_step: w_line.stride * c,
                        taps: &taps,
                        w,
                        bias: epilogue.bias,
                        y: &mut y[first..],
                        y_step: w_line.step * c,
                        c,
                        pixels: s.outputs[1] - s.outputs[0],
                    });
                }
            }
            epilogue.apply(image * image_len + (first + i) * row_len, y);
        }
    };
    if work <= SERIAL {
        y.chunks_exact_mut(image_len).enumerate().for_each(|(image, y)| piece(image, 0, y));
    } else {
        y.par_chunks_exact_mut(image_len).enumerate().for_each(|(image, y)| {
            let pieces = y.par_chunks_mut(piece_rows * row_len).enumerate();
            pieces.for_each(|(i, y)| piece(image, i * piece_rows, y));
        });
    }
}

/// `y[p, c] = bias[c] + sum over taps of x[tap.x + p, c] w[tap.w + c]`.
struct Outputs<'a> {
    x: &'a [f32],
    /// Distance of two pixels' inputs.
    x_step: usize,
    taps: &'a [Tap],
    w: &'a [f32],
    bias: Option<&'a [f32]>,
    y: &'a mut [f32],
    y_step: usize,
    c: usize,
    pixels: usize,
}

impl WithSimd for Outputs<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        for_blocks!(S, self.pixels, |first, M| self.block::<S, M>(simd, first));
    }
}

/// Elements `from..` of a slice, at most a vector of them, with zeros behind.
#[inline(always)]
fn load<S: Simd>(simd: S, x: &[f32], from: usize, n: usize) -> S::f32s {
    match (n == lanes_of::<S>()).then(|| S::as_simd_f32s(&x[from..][..lanes_of::<S>()]).0.first()).flatten() {
        Some(&v) => v,
        None => simd.partial_load_f32s(&x[from..from + n]),
    }
}

/// Stores the first `n` elements of a vector.
#[inline(always)]
fn store<S: Simd>(simd: S, y: &mut [f32], from: usize, n: usize, v: S::f32s) {
    let y = &mut y[from..from + n];
    match S::as_mut_simd_f32s(y).0.first_mut() {
        Some(y) => *y = v,
        None => simd.partial_store_f32s(y, v),
    }
}

impl Outputs<'_> {
    #[inline(always)]
    fn block<S: Simd, const M: usize>(&mut self, simd: S, first: usize) {
        let lanes = lanes_of::<S>();
        for c in (0..self.c / lanes * lanes).step_by(lanes) {
            self.vector::<S, M>(simd, first, c, lanes);
        }
        if !self.c.is_multiple_of(lanes) {
            self.vector::<S, M>(simd, first, self.c / lanes * lanes, self.c % lanes);
        }
    }

    #[inline(always)]
    fn vector<S: Simd, const M: usize>(&mut self, simd: S, first: usize, c: usize, n: usize) {
        let start = self.bias.map_or(simd.splat_f32s(0.0), |bias| load(simd, bias, c, n));
        let mut sums = [start; M];
        for tap in self.taps {
            let w = load(simd, self.w, tap.w + c, n);
            let x = &self.x[tap.x + first * self.x_step + c..];
            for (i, sum) in sums.iter_mut().enumerate() {
                *sum = simd.mul_add_e_f32s(load(simd, x, i * self.x_step, n), w, *sum);
            }
        }
        for (i, sum) in sums.into_iter().enumerate() {
            store(simd, self.y, (first + i) * self.y_step + c, n, sum);
        }
    }
}

/// The gradient by the weights, as [`super::conv2d_grad_weight`]: rows are cut into parts whose number depends on the sizes alone.
pub(super) fn grad_weight(g: &Geometry, x: &[f32], dy: &[f32], dw: &mut [f32]) {
    let Geometry { n, input, output, c_in: c, kernel, .. } = *g;
    let arch = Arch::new();
    let [h, w] = [0, 1].map(|axis| Line::forward(g, axis));
    let stretches = w.stretches(input[1]);
    let n_rows = n * output[0];
    let n_parts = PARTS.min(n_rows);
    let layout = Layout { row_len: input[1] * c, c, k_w: kernel[1] };
    let image_len = input[0] * input[1] * c;
    with_scratch(n_parts * dw.len(), |sums| {
        let part = |(part, sums): (usize, &mut [f32])| {
            sums.fill(0.0);
            let mut taps = Vec::with_capacity(kernel[0] * kernel[1]);
            for row in part * n_rows / n_parts..(part + 1) * n_rows / n_parts {
                let (image, o) = (row / output[0], row % output[0]);
                let x = &x[image * image_len..][..image_len];
                let dy = &dy[row * output[1] * c..][..output[1] * c];
                let inside = h.taps_inside(o, input[0]);
                for s in &stretches {
                    layout.taps(&h, inside, o, &w, s, &mut taps);
                    let dy = &dy[s.outputs[0] * c..s.outputs[1] * c];
                    arch.dispatch(Sums { x, x_step: w.stride * c, taps: &taps, dy, c, sums });
                }
            }
        };
        sums.par_chunks_exact_mut(dw.len()).enumerate().for_each(part);
        dw.copy_from_slice(&sums[..dw.len()]);
        for part in sums.chunks_exact(dw.len()).skip(1) {
            dw.iter_mut().zip(part).for_each(|(dw, sum)| *dw += sum);
        }
    });
}

/// Adds to `sums[tap.w + c]` the products of `x[tap.x + p, c]` and `dy[p, c]` over some pixels p.
struct Sums<'a> {
    x: &'a [f32],
    x_step: usize,
    taps: &'a [Tap],
    dy: &'a [f32],
    c: usize,
    sums: &'a mut [f32],
}

impl WithSimd for Sums<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        for_blocks!(S, self.taps.len(), |first, M| self.block::<S, M>(simd, first));
    }
}

impl Sums<'_> {
    #[inline(always)]
    fn block<S: Simd, const M: usize>(&mut self, simd: S, first: usize) {
        let lanes = lanes_of::<S>();
        for c in (0..self.c / lanes * lanes).step_by(lanes) {
            self.vector::<S, M>(simd, first, c, lanes);
        }
        if !self.c.is_multiple_of(lanes) {
            self.vector::<S, M>(simd, first, self.c / lanes * lanes, self.c % lanes);
        }
    }

    #[inline(always)]
    fn vector<S: Simd, const M: usize>(&mut self, simd: S, first: usize, c: usize, n: usize) {
        let taps = &self.taps[first..first + M];
        let mut sums = [simd.splat_f32s(0.0); M];
        for (p, dy) in self.dy.chunks_exact(self.c).enumerate() {
            let dy = load(simd, dy, c, n);
            for (sum, tap) in sums.iter_mut().zip(taps) {
                *sum = simd.mul_add_e_f32s(load(simd, self.x, tap.x + p * self.x_step + c, n), dy, *sum);
            }
        }
        for (sum, tap) in sums.into_iter().zip(taps) {
            let old = load(simd, self.sums, tap.w + c, n);
            store(simd, self.sums, tap.w + c, n, simd.add_f32s(old, sum));
        }
    }
}
