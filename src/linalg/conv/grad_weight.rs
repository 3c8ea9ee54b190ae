//! The gradient of a convolution by its weights: for each tap and input channel a row of sums over all pixels.

use super::panel::{Panels, VECTORS, for_blocks, lanes_of};
use super::{Geometry, Line, copy_padded, depthwise};
use crate::linalg::with_scratch;
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;
use std::array;

/// Pixels that are added up in one chain, about: their `dy` stays in the first-level cache, and chains stay short.
const CHAIN: usize = 128;

/// Pieces of work that are wanted, and most elements of their sums.
const PIECES: usize = 32;
const PIECES_ELEMENTS: usize = 4 << 20;

/// `dw` [k_h, k_w, c_in / groups, c_out] from `x` [n, h_in, w_in, c_in] and `dy` [n, h_out, w_out, c_out]. The pixels are cut into
/// parts in a way that depends on the sizes alone; each part has its own sums, which are added in order: the same bits for any
/// number of threads.
pub fn conv2d_grad_weight(g: &Geometry, x: &[f32], dy: &[f32], dw: &mut [f32]) {
    if g.is_depthwise() {
        return depthwise::grad_weight(g, x, dy, dw);
    }
    let g = &g.flat(CHAIN);
    let pass = Pass::new(g, x, dy);
    let (inputs, panels) = (pass.inputs(), pass.panels);
    let len = g.groups * inputs * panels.columns();
    let n_panels = g.groups * panels.iter().count();
    let n_parts = PIECES.div_ceil(n_panels).min(PIECES_ELEMENTS / len).clamp(1, pass.n_blocks());
    with_scratch(n_parts * len, |sums| {
        let mut pieces = Vec::with_capacity(n_parts * n_panels);
        for (part, mut rest) in sums.chunks_exact_mut(len).enumerate() {
            let blocks = [part, part + 1].map(|p| p * pass.n_blocks() / n_parts);
            for group in 0..g.groups {
                for (first, width, channels) in panels.iter() {
                    let (sums, tail) = rest.split_at_mut(inputs * width);
                    pieces.push((blocks, group, [first, width, channels], sums));
                    rest = tail;
                }
            }
        }
        pieces.into_par_iter().for_each(|(blocks, group, panel, sums)| pass.piece(blocks, group, panel, sums));
        let sums = &*sums;
        // A row of `dw` belongs to a tap and a channel; in the sums, its panels lie apart.
        let add = |(row, dw): (usize, &mut [f32])| {
            for (group, dw) in dw.chunks_exact_mut(g.c_out / g.groups).enumerate() {
                for (first, width, channels) in panels.iter() {
                    let at = group * inputs * panels.columns() + inputs * first + row * width;
                    let dw = &mut dw[first..first + channels];
                    dw.copy_from_slice(&sums[at..][..channels]);
                    for part in 1..n_parts {
                        dw.iter_mut().zip(&sums[part * len + at..]).for_each(|(dw, sum)| *dw += sum);
                    }
                }
            }
        };
        dw.par_chunks_exact_mut(g.c_out).enumerate().with_min_len(64).for_each(add);
    });
}

#[derive(Debug)]
struct Pass<'a> {
    g: &'a Geometry,
    arch: Arch,
    x: &'a [f32],
    dy: &'a [f32],
    panels: Panels,
    lines: [Line; 2],
    /// Rows of output pixels of a block.
    rows: usize,
}

impl<'a> Pass<'a> {
    fn new(g: &'a Geometry, x: &'a [f32], dy: &'a [f32]) -> Self {
        let arch = Arch::new();
        let panels = Panels::new(arch, g.c_out / g.groups);
        let rows = (CHAIN / g.output[1]).clamp(1, g.output[0]);
        Pass { g, arch, x, dy, panels, lines: [0, 1].map(|axis| Line::forward(g, axis)), rows }
    }

    /// Channels of a group of the input.
    fn c(&self) -> usize {
        self.g.c_in / self.g.groups
    }

    /// Rows of `dw`.
    fn inputs(&self) -> usize {
        self.g.kernel[0] * self.g.kernel[1] * self.c()
    }

    fn n_blocks(&self) -> usize {
        self.g.n * self.g.output[0].div_ceil(self.rows)
    }

    /// Sums over blocks of rows, for a panel of output channels of a group.
    fn piece(&self, blocks: [usize; 2], group: usize, [column, width, channels]: [usize; 3], sums: &mut [f32]) {
        let Geometry { input, output, c_in, c_out, groups, stride, kernel, dilation, .. } = *self.g;
        let (c, row_len) = (self.c(), input[1] * c_in);
        let spans = [0, 1].map(|axis| self.lines[axis].span([0, output[axis]]));
        let inside = groups == 1 && (0..2).all(|axis| spans[axis][0] >= 0 && spans[axis][1] <= input[axis] as isize);
        let [low, high] = spans[1];
        let len = if inside { row_len } else { (high - low) as usize * c };
        let mut offsets = Vec::with_capacity(self.inputs());
        for k_h in 0..kernel[0] {
            for k_w in 0..kernel[1] {
                offsets.extend((0..c).map(|c_in| k_h * dilation[0] * len + k_w * dilation[1] * c + c_in));
            }
        }
        let most_rows = (self.rows - 1) * stride[0] + (kernel[0] - 1) * dilation[0] + 1;
        let first_channel = group * (c_out / groups) + column;
        let per_image = output[0].div_ceil(self.rows);
        sums.fill(0.0);
        with_scratch(self.rows * output[1] * width + most_rows * len, |scratch| {
            let (dy_panel, padded) = scratch.split_at_mut(self.rows * output[1] * width);
            for block in blocks[0]..blocks[1] {
                let (image, first) = (block / per_image, block % per_image * self.rows);
                let outputs = [first, (first + self.rows).min(output[0])];
                let from = (image * output[0] + first) * output[1] * c_out;
                let dy = &self.dy[from..self.dy.len().min(from + (outputs[1] - first) * output[1] * c_out)];
                for (to, from) in dy_panel.chunks_exact_mut(width).zip(dy.chunks_exact(c_out)) {
                    let (to, padding) = to.split_at_mut(channels);
                    to.copy_from_slice(&from[first_channel..][..channels]);
                    padding.fill(0.0);
                }
                let n_pixels = dy.len() / c_out;
                let x = &self.x[image * input[0] * row_len..self.x.len().min((image + 1) * input[0] * row_len)];
                let rows = self.lines[0].span(outputs);
                let x = if inside {
                    &x[rows[0] as usize * row_len + low as usize * c..]
                } else {
                    for (h, to) in (rows[0]..rows[1]).zip(padded.chunks_exact_mut(len)) {
                        if h < 0 || h >= input[0] as isize {
                            to.fill(0.0);
                        } else {
                            copy_padded(&x[h as usize * row_len..][..row_len], c_in, group * c, to, c, low);
                        }
                    }
                    &*padded
                };
                self.arch.dispatch(Sums {
                    x,
                    offsets: &offsets,
                    row: stride[0] * len,
                    step: stride[1] * c,
                    // In a flat geometry, the last row may be shorter.
                    pixels: output[1].min(n_pixels),
                    dy: &dy_panel[..n_pixels * width],
                    width,
                    sums,
                });
            }
        });
    }
}

/// Adds to `sums[k, c]` the products of `x[p, offsets[k]]` and `dy[p, c]` over all pixels p.
#[derive(Debug)]
struct Sums<'a> {
    x: &'a [f32],
    offsets: &'a [usize],
    /// Distance of two rows in `x`.
    row: usize,
    /// Distance of two pixels in `x`.
    step: usize,
    /// Pixels of a row.
    pixels: usize,
    dy: &'a [f32],
    width: usize,
    sums: &'a mut [f32],
}

impl WithSimd for Sums<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        if self.width == lanes_of::<S>() {
            self.run::<S, 1>(simd);
        } else {
            self.run::<S, VECTORS>(simd);
        }
    }
}

impl Sums<'_> {
    #[inline(always)]
    fn run<S: Simd, const N: usize>(mut self, simd: S) {
        for_blocks!(S, self.offsets.len(), |first, M| self.block::<S, M, N>(simd, first));
    }

    #[inline(always)]
    fn block<S: Simd, const M: usize, const N: usize>(&mut self, simd: S, first: usize) {
        let (dy, _) = S::as_simd_f32s(self.dy);
        let (dy, _) = dy.as_chunks::<N>();
        let len = (self.pixels - 1) * self.step + 1;
        let mut sums = [[simd.splat_f32s(0.0); N]; M];
        for (h, dy) in dy.chunks_exact(self.pixels).enumerate() {
            // Slices of one length: a single check of the index serves all.
            let x: [&[f32]; M] = array::from_fn(|i| &self.x[h * self.row + self.offsets[first + i]..][..len]);
            for (p, dy) in dy.iter().enumerate() {
                for i in 0..M {
                    let x = simd.splat_f32s(x[i][p * self.step]);
                    for j in 0..N {
                        sums[i][j] = simd.mul_add_e_f32s(x, dy[j], sums[i][j]);
                    }
                }
            }
        }
        let (to, _) = S::as_mut_simd_f32s(&mut *self.sums);
        let (to, _) = to.as_chunks_mut::<N>();
        for (to, sums) in to[first..][..M].iter_mut().zip(sums) {
            for j in 0..N {
                to[j] = simd.add_f32s(to[j], sums[j]);
            }
        }
    }
}
