//! Convolutions in single precision, straight from NHWC images: no matrix of windows is made. `im2col.rs` is the plain way, which
//! these kernels are checked against.
//!
//! A convolution, and each phase of its gradient by the input, is a [`Pass`]: along each axis an output reads inputs at fixed offsets.
//! Inputs side by side in memory, a row of a window, are a [`Run`] that meets consecutive rows of the packed weights.

mod depthwise;
mod grad_weight;
mod panel;
pub mod winograd;

pub use grad_weight::conv2d_grad_weight;

use super::with_scratch;
use panel::{PanelRows, Panels, RowPanel, Run};
use pulp::Arch;
use rayon::prelude::*;

/// Sizes of a convolution on NHWC images.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Geometry {
    /// Images.
    pub n: usize,
    /// Input `[height, width]`.
    pub input: [usize; 2],
    /// Channels of the input.
    pub c_in: usize,
    /// Output `[height, width]`.
    pub output: [usize; 2],
    /// Channels of the output.
    pub c_out: usize,
    /// Window `[height, width]`.
    pub kernel: [usize; 2],
    /// Step `[down, right]`.
    pub stride: [usize; 2],
    /// Distance of the taps.
    pub dilation: [usize; 2],
    /// Padding above and on the left.
    pub pad: [usize; 2],
    /// Groups of channels that don't see each other.
    pub groups: usize,
}

/// Up to this many multiplications a convolution runs on the calling thread.
const SERIAL: usize = 1 << 19;

/// Up to this many elements weights are packed by the calling thread.
const SERIAL_PACK: usize = 1 << 16;

/// Elements of the input that a piece of work goes over again for each panel: they stay in a core's second-level cache.
const CACHED: usize = 64 * 1024;

/// Up to so many pixels of output, with so many weights or more, threads share the channels instead of the pixels.
const FEW_PIXELS: usize = 256;
const MANY_WEIGHTS: usize = 1 << 18;

/// Elements of an input that a third-level cache may hold, and channels from which on copying a larger one pays.
const NEAR: usize = 4 << 20;
const FAR_CHANNELS: usize = 128;

/// Longest sums of products whose packed weights, a panel of them, stay in a core's second-level cache.
pub const LONGEST_PANEL: usize = 4096;

/// Pixels that the innermost loop computes at once, where registers are many.
const PIXELS: usize = 12;

/// Outputs `first, first + step, ..` along an axis. The `i`-th reads the inputs `i * stride + offset`.
#[derive(Clone, Debug)]
struct Line {
    first: usize,
    step: usize,
    count: usize,
    stride: usize,
    /// Offset and number of each tap, by offset.
    taps: Vec<(isize, usize)>,
}

impl Line {
    fn forward(g: &Geometry, axis: usize) -> Line {
        let taps = (0..g.kernel[axis]).map(|k| ((k * g.dilation[axis]) as isize - g.pad[axis] as isize, k)).collect();
        Line { first: 0, step: 1, count: g.output[axis], stride: g.stride[axis], taps }
    }

    /// The gradient: input `h` gets from output `o` through tap `k` if `h + pad = o * stride + k * dilation`. Inputs whose `h` have the
    /// same remainder use the same taps, so no zeros are multiplied.
    fn backward(g: &Geometry, axis: usize) -> Vec<Line> {
        let stride = g.stride[axis] as isize;
        let phase = |first: usize| {
            let distance = |k: usize| (first + g.pad[axis]) as isize - (k * g.dilation[axis]) as isize;
            let mut taps: Vec<_> = (0..g.kernel[axis])
                .filter(|&k| distance(k).rem_euclid(stride) == 0)
                .map(|k| (distance(k).div_euclid(stride), k))
                .collect();
            taps.sort_unstable();
            Line { first, step: g.stride[axis], count: (g.input[axis] - first).div_ceil(g.stride[axis]), stride: 1, taps }
        };
        (0..g.stride[axis].min(g.input[axis])).map(phase).collect()
    }

    /// Which of the outputs lie between two positions.
    fn within(&self, ends: [usize; 2]) -> [usize; 2] {
        ends.map(|end| end.saturating_sub(self.first).div_ceil(self.step).min(self.count))
    }

    /// From where to where outputs `from..to` read inputs, taps in the padding included.
    fn span(&self, [from, to]: [usize; 2]) -> [isize; 2] {
        match (self.taps.first(), self.taps.last()) {
            (Some(least), Some(most)) if from < to => {
                [(from * self.stride) as isize + least.0, ((to - 1) * self.stride) as isize + most.0 + 1]
            }
            _ => [0, 0],
        }
    }

    /// Taps whose inputs are neighbours: the first one's index in `taps`, and how many.
    fn runs(&self) -> Vec<(usize, usize)> {
        let mut runs: Vec<(usize, usize)> = Vec::new();
        for t in 0..self.taps.len() {
            match runs.last_mut() {
                Some(run) if self.taps[t].0 == self.taps[t - 1].0 + 1 => run.1 += 1,
                _ => runs.push((t, 1)),
            }
        }
        runs
    }
}

/// Outputs that read their inputs through the same taps.
#[derive(Debug)]
struct Phase {
    h: Line,
    w: Line,
    /// Of the taps along the width.
    runs: Vec<(usize, usize)>,
}

impl Phase {
    /// Inputs that an output sums, of a group with `c` channels.
    fn inputs(&self, c: usize) -> usize {
        self.h.taps.len() * self.w.taps.len() * c
    }
}

/// A convolution from `x` to `y`, either of which may be an image or a gradient.
#[derive(Debug)]
struct Pass<'a> {
    g: Geometry,
    arch: Arch,
    x: &'a [f32],
    phases: Vec<Phase>,
    /// Of a group's output channels.
    panels: Panels,
    epilogue: Epilogue<'a>,
    /// Pieces of work that are wanted at least, so that all threads have some; 1 if it is the work of one thread.
    pieces: usize,
}

/// Rows of an image, or of a padded copy of a part of it.
#[derive(Clone, Copy, Debug)]
struct Rows<'a> {
    x: &'a [f32],
    /// The image's row that `x` starts with.
    first: usize,
    /// Where in a row the leftmost input of the first output lies.
    start: usize,
    len: usize,
}

/// A function that replaces numbers by others, one by one, and its attributes.
#[derive(Clone, Copy, Debug)]
pub struct Elementwise {
    /// The function.
    pub function: fn([f64; 2], &mut [f32]),
    /// What it is handed besides.
    pub attributes: [f64; 2],
}

impl Elementwise {
    /// Replaces the numbers.
    pub fn apply(&self, v: &mut [f32]) {
        (self.function)(self.attributes, v);
    }
}

/// What is done with a result after its sums.
#[derive(Clone, Copy, Debug, Default)]
pub struct Epilogue<'a> {
    /// Added to the sums, by channel.
    pub bias: Option<&'a [f32]>,
    /// Added, by element.
    pub residual: Option<&'a [f32]>,
    /// Applied to all of the result, in pieces.
    pub finish: Option<Elementwise>,
}

impl Epilogue<'_> {
    /// Does what comes after the bias, for elements from `first` on.
    fn apply(&self, first: usize, y: &mut [f32]) {
        if let Some(residual) = self.residual {
            y.iter_mut().zip(&residual[first..]).for_each(|(y, r)| *y += r);
        }
        if let Some(finish) = self.finish {
            finish.apply(y);
        }
    }
}

/// `y = finish(residual + bias + convolution of x and w)` with `x` [n, h_in, w_in, c_in], `w` [k_h, k_w, c_in / groups, c_out] and `y`
/// [n, h_out, w_out, c_out].
pub fn conv2d(g: &Geometry, x: &[f32], w: &[f32], epilogue: Epilogue<'_>, y: &mut [f32]) {
    if g.is_depthwise() {
        return depthwise::forward(g, x, w, epilogue, y);
    }
    let g = &g.flat_pieces();
    let (c_in, c_out) = (g.c_in / g.groups, g.c_out / g.groups);
    let pack = |[k_h, k_w]: [usize; 2], group, first, panel: PanelRows<'_>| {
        let from = &w[(k_h * g.kernel[1] + k_w) * c_in * g.c_out..];
        panel.copy_rows(from.chunks_exact(g.c_out).map(|row| &row[group * c_out + first..]));
    };
    if winograd::is_faster(g, winograd::MOVE_COST) {
        return run_winograd(g, x, epilogue, y, |tap, first, panel| pack(tap, 0, first, panel));
    }
    run(g, x, epilogue, y, |axis| vec![Line::forward(g, axis)], pack);
}

/// `dx` [n, h_in, w_in, c_in] from `dy` [n, h_out, w_out, c_out] and the convolution's `w`, with an epilogue by elements of `dx`.
pub fn conv2d_grad_input(g: &Geometry, dy: &[f32], w: &[f32], epilogue: Epilogue<'_>, dx: &mut [f32]) {
    if g.is_depthwise() {
        return depthwise::grad_input(g, dy, w, epilogue, dx);
    }
    let g = &g.flat_pieces();
    let (c_in, c_out) = (g.c_in / g.groups, g.c_out / g.groups);
    let pack = |[k_h, k_w]: [usize; 2], group, first, panel: PanelRows<'_>| {
        let from = &w[((k_h * g.kernel[1] + k_w) * c_in + first) * g.c_out + group * c_out..];
        panel.copy_columns(from, g.c_out);
    };
    let gradient = winograd::gradient(g);
    if winograd::is_possible(g) && winograd::is_faster(&gradient, winograd::MOVE_COST) {
        return run_winograd(&gradient, dy, epilogue, dx, |tap, first, panel| pack(tap.map(|k| 2 - k), 0, first, panel));
    }
    let turned = Geometry { input: g.output, output: g.input, c_in: g.c_out, c_out: g.c_in, ..*g };
    run(&turned, dy, epilogue, dx, |axis| Line::backward(g, axis), pack);
}

/// A pass from inputs to outputs as `g` has them. `pack(tap, group, first column, rows)` writes the rows of a panel of the weights that
/// belong to a tap.
fn run(
    g: &Geometry,
    x: &[f32],
    epilogue: Epilogue<'_>,
    y: &mut [f32],
    lines: impl Fn(usize) -> Vec<Line> + Sync,
    pack: impl Fn([usize; 2], usize, usize, PanelRows<'_>) + Sync,
) {
    let arch = Arch::new();
    let parts = 4 * rayon::current_num_threads();
    share_channels(arch, g, parts, epilogue, y, |part, y| {
        let pass = Pass::new(arch, &part.g, x, part.epilogue, &lines, part.pieces);
        pass.run(y, |tap, group, column, rows| pack(tap, group, part.first + column, rows));
    });
}

/// A pass by Winograd's way.
fn run_winograd(
    g: &Geometry,
    x: &[f32],
    epilogue: Epilogue<'_>,
    y: &mut [f32],
    pack: impl Fn([usize; 2], usize, PanelRows<'_>) + Sync,
) {
    let arch = Arch::new();
    // Each part transforms all inputs by itself.
    let parts = rayon::current_num_threads();
    share_channels(arch, g, parts, epilogue, y, |part, y| {
        winograd::Pass::new(arch, x, part).run(y, |tap, column, rows| pack(tap, part.first + column, rows));
    });
}

/// A convolution, or what makes some channels of its outputs.
#[derive(Clone, Copy, Debug)]
struct Part<'a> {
    g: Geometry,
    epilogue: Epilogue<'a>,
    /// The first of the channels.
    first: usize,
    /// Pieces of work that are wanted at least, so that all threads have some; 1 if it is the work of one thread.
    pieces: usize,
}

/// Calls `compute(part, its outputs)`, for all of the convolution at once, or where few outputs meet many weights, for about `parts`
/// parts of the outputs' channels, one a thread: then each weight is read by one thread, once.
fn share_channels(
    arch: Arch,
    g: &Geometry,
    parts: usize,
    epilogue: Epilogue<'_>,
    y: &mut [f32],
    compute: impl Fn(Part<'_>, &mut [f32]) + Sync,
) {
    let pixels = y.len() / g.c_out;
    let weights = g.kernel[0] * g.kernel[1] * g.c_in * g.c_out / g.groups;
    if g.groups > 1 || pixels > FEW_PIXELS || weights < MANY_WEIGHTS {
        return compute(Part { g: *g, epilogue, first: 0, pieces: 4 * rayon::current_num_threads() }, y);
    }
    let step = g.c_out.div_ceil(parts).next_multiple_of(Panels::width(arch));
    with_scratch(y.len(), |parts| {
        parts.par_chunks_mut(pixels * step).enumerate().for_each(|(part, y)| {
            let (first, c_out) = (part * step, y.len() / pixels);
            // The rest of the epilogue comes where the parts are put together.
            let bias = Epilogue { bias: epilogue.bias.map(|bias| &bias[first..]), ..Epilogue::default() };
            compute(Part { g: Geometry { c_out, ..*g }, epilogue: bias, first, pieces: 1 }, y);
        });
        let parts = &*parts;
        y.par_chunks_exact_mut(g.c_out).enumerate().with_min_len(8).for_each(|(pixel, y)| {
            for (y, part) in y.chunks_mut(step).zip(parts.chunks(pixels * step)) {
                y.copy_from_slice(&part[pixel * y.len()..][..y.len()]);
            }
            epilogue.apply(pixel * g.c_out, y);
        });
    });
}

impl Geometry {
    /// A product of `pixels` rows of `c_in` elements and weights [c_in, c_out].
    pub fn pointwise(pixels: usize, c_in: usize, c_out: usize) -> Geometry {
        let (size, ones) = ([1, pixels], [1, 1]);
        Geometry {
            n: 1,
            input: size,
            c_in,
            output: size,
            c_out,
            kernel: ones,
            stride: ones,
            dilation: ones,
            pad: [0, 0],
            groups: 1,
        }
    }

    /// Whether a window is a pixel, so that the convolution is a product of pixels by channels.
    pub fn is_pointwise(&self) -> bool {
        let ones = [self.kernel, self.stride] == [[1, 1]; 2];
        ones && self.input == self.output && self.pad == [0, 0] && self.groups == 1
    }

    /// All pixels in rows of `row`, where it doesn't matter which pixels lie side by side. The last row may be shorter.
    fn flat(&self, row: usize) -> Geometry {
        if !self.is_pointwise() {
            return *self;
        }
        let pixels = self.n * self.input[0] * self.input[1];
        let row = row.min(pixels);
        Geometry { n: pixels.div_ceil(row), input: [1, row], output: [1, row], ..*self }
    }

    /// The same in rows that are pieces of work.
    fn flat_pieces(&self) -> Geometry {
        let pixels = self.n * self.input[0] * self.input[1];
        let cached = CACHED / self.c_in.max(self.c_out);
        self.flat(cached.min(pixels.div_ceil(4 * rayon::current_num_threads())).next_multiple_of(PIXELS))
    }
}

impl<'a> Pass<'a> {
    fn new(
        arch: Arch,
        g: &Geometry,
        x: &'a [f32],
        epilogue: Epilogue<'a>,
        lines: &impl Fn(usize) -> Vec<Line>,
        pieces: usize,
    ) -> Self {
        let mut phases = Vec::new();
        for h in lines(0) {
            phases.extend(lines(1).into_iter().map(|w| Phase { runs: w.runs(), h: h.clone(), w }));
        }
        Pass { g: *g, arch, x, phases, panels: Panels::new(arch, g.c_out / g.groups), epilogue, pieces }
    }

    /// Inner channels of a group.
    fn c(&self) -> usize {
        self.g.c_in / self.g.groups
    }

    /// Elements of a group's packed weights, in one phase.
    fn packed(&self, phase: &Phase) -> usize {
        phase.inputs(self.c()) * self.panels.columns()
    }

    /// Computes `y`.
    fn run(&self, y: &mut [f32], pack: impl Fn([usize; 2], usize, usize, PanelRows<'_>) + Sync) {
        let Geometry { n, output: [h, w], c_out, groups, .. } = self.g;
        let products = |p: &Phase| p.h.count * p.w.count * p.inputs(self.c());
        let work = self.phases.iter().map(products).sum::<usize>() * n * c_out;
        let packed: usize = self.phases.iter().map(|p| groups * self.packed(p)).sum();
        with_scratch(packed, |packed| {
            self.pack(packed, &pack);
            let packed = &*packed;
            let (row, rows) = (w * c_out, self.rows_of_piece());
            if work > SERIAL && self.pieces > 1 {
                y.par_chunks_mut(h * row).enumerate().for_each(|(image, y)| {
                    let pieces = y.par_chunks_mut(rows * row).enumerate();
                    pieces.for_each(|(i, y)| self.piece(packed, image, i * rows, y));
                });
            } else {
                for (image, y) in y.chunks_mut(h * row).enumerate() {
                    y.chunks_mut(rows * row).enumerate().for_each(|(i, y)| self.piece(packed, image, i * rows, y));
                }
            }
        });
    }

    /// Packs the weights of phase after phase, in each of group after group, in each of panel after panel.
    fn pack(&self, packed: &mut [f32], pack: &(impl Fn([usize; 2], usize, usize, PanelRows<'_>) + Sync)) {
        let serial = packed.len() <= SERIAL_PACK || self.pieces == 1;
        let mut rest = packed;
        let mut panels = Vec::new();
        for phase in &self.phases {
            for group in 0..self.g.groups {
                for (first, width, channels) in self.panels.iter() {
                    let (panel, tail) = std::mem::take(&mut rest).split_at_mut(phase.inputs(self.c()) * width);
                    panels.push((phase, group, first, width, channels, panel));
                    rest = tail;
                }
            }
        }
        let fill = |(phase, group, first, width, channels, panel): (&Phase, usize, usize, usize, usize, &mut [f32])| {
            let mut rows = panel.chunks_exact_mut(self.c() * width);
            for &(_, k_h) in &phase.h.taps {
                for (&(_, k_w), rows) in phase.w.taps.iter().zip(&mut rows) {
                    pack([k_h, k_w], group, first, PanelRows { rows, width, channels });
                }
            }
        };
        if serial {
            panels.into_iter().for_each(fill);
        } else {
            panels.into_par_iter().for_each(fill);
        }
    }

    /// Rows of `y` that are a piece of work: their inputs stay in the cache, and there are pieces enough for all threads.
    fn rows_of_piece(&self) -> usize {
        let Geometry { n, input, output, .. } = self.g;
        if self.pieces == 1 {
            return output[0];
        }
        let cached = CACHED * output[0] / (input[0] * input[1] * self.g.c_in);
        let shared = (n * output[0]).div_ceil(self.pieces);
        let step = self.phases.first().map_or(1, |p| p.h.step);
        cached.min(shared).clamp(1, output[0]).next_multiple_of(step)
    }

    /// Computes rows of an image, `y`, from row `first` on.
    fn piece(&self, packed: &[f32], image: usize, first: usize, y: &mut [f32]) {
        let Geometry { input, output, c_in, c_out, groups, .. } = self.g;
        let n_rows = y.len().div_ceil(output[1] * c_out);
        let row_len = input[1] * c_in;
        let x = &self.x[image * input[0] * row_len..];
        let mut packed = packed;
        for phase in &self.phases {
            let outputs = phase.h.within([first, first + n_rows]);
            let [low, high] = phase.w.span([0, phase.w.count]);
            // Loops that take numbers from twelve pixels in turn find far memory slower than a copy does, which reads in order.
            let far = c_in >= FAR_CHANNELS && self.x.len() > NEAR;
            let inside = low >= 0 && high <= input[1] as isize;
            let rows = phase.h.span(outputs).map(|h| h.clamp(0, input[0] as isize) as usize);
            for group in 0..groups {
                let (w, rest) = packed.split_at(self.packed(phase));
                packed = rest;
                if outputs[0] >= outputs[1] {
                    continue;
                }
                if inside && groups == 1 && !far {
                    let rows = Rows { x: &x[rows[0] * row_len..], first: rows[0], start: low as usize * c_in, len: row_len };
                    self.rows(phase, group, w, rows, outputs, first, y);
                    continue;
                }
                let len = (high - low) as usize * self.c();
                with_scratch((rows[1] - rows[0]) * len, |padded| {
                    for (h, to) in (rows[0]..rows[1]).zip(padded.chunks_exact_mut(len.max(1))) {
                        copy_padded(&x[h * row_len..x.len().min((h + 1) * row_len)], c_in, group * self.c(), to, self.c(), low);
                    }
                    self.rows(phase, group, w, Rows { x: padded, first: rows[0], start: 0, len }, outputs, first, y);
                });
            }
        }
        self.epilogue.apply((image * output[0] + first) * output[1] * c_out, y);
    }

    /// Outputs `outputs` of a phase along the height, in `y`, which starts with row `first` of the image.
    #[allow(clippy::too_many_arguments)] // What to compute, from what, to where.
    fn rows(&self, phase: &Phase, group: usize, w: &[f32], rows: Rows<'_>, outputs: [usize; 2], first: usize, y: &mut [f32]) {
        let Geometry { input, output, c_out, groups, .. } = self.g;
        let (h, c) = (&phase.h, self.c());
        let c0 = group * (c_out / groups);
        let leftmost = phase.w.taps.first().map_or(0, |t| t.0);
        // In a flat geometry, the last row may be shorter.
        let pixels = phase.w.count.min(y.len() / c_out);
        let mut runs = Vec::with_capacity(h.taps.len() * phase.runs.len());
        let mut w = w;
        for (column, width, channels) in self.panels.iter() {
            let (panel, rest) = w.split_at(phase.inputs(c) * width);
            w = rest;
            for i in outputs[0]..outputs[1] {
                runs.clear();
                for (k_h, tap) in h.taps.iter().enumerate() {
                    let at = (i * h.stride) as isize + tap.0;
                    if at < 0 || at >= input[0] as isize {
                        continue;
                    }
                    let row = (at as usize - rows.first) * rows.len + rows.start;
                    runs.extend(phase.runs.iter().map(|&(tap, n)| Run {
                        x: row + (phase.w.taps[tap].0 - leftmost) as usize * c,
                        row: (k_h * phase.w.taps.len() + tap) * c,
                        len: n * c,
                    }));
                }
                let at = ((h.first + i * h.step - first) * output[1] + phase.w.first) * c_out + c0 + column;
                self.arch.dispatch(RowPanel {
                    x: rows.x,
                    x_step: phase.w.stride * c,
                    runs: &runs,
                    w: panel,
                    width,
                    bias: self.epilogue.bias.map(|bias| &bias[c0 + column..][..channels]),
                    y: &mut y[at..],
                    y_step: phase.w.step * c_out,
                    channels,
                    pixels,
                });
            }
        }
    }
}

/// Copies channels `c0..c0 + c` of a row's pixels from position `low` on, with zeros where there are none.
fn copy_padded(from: &[f32], c_in: usize, c0: usize, to: &mut [f32], c: usize, low: isize) {
    let wanted = [low, low + (to.len() / c) as isize];
    let there = wanted.map(|at| at.clamp(0, (from.len() / c_in) as isize));
    if there[0] >= there[1] {
        return to.fill(0.0);
    }
    let (left, rest) = to.split_at_mut((there[0] - low) as usize * c);
    let (middle, right) = rest.split_at_mut((there[1] - there[0]) as usize * c);
    left.fill(0.0);
    right.fill(0.0);
    let from = &from[there[0] as usize * c_in..there[1] as usize * c_in];
    if c == c_in {
        middle.copy_from_slice(from);
    } else {
        for (to, from) in middle.chunks_exact_mut(c).zip(from.chunks_exact(c_in)) {
            to.copy_from_slice(&from[c0..c0 + c]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Seed, Stream};

    /// Small integers, on which sums of products are exact.
    fn integers(seed: u64, len: usize) -> Vec<f32> {
        let mut s = Stream::new(Seed(seed), 0);
        (0..len).map(|_| s.below(5) as f32 - 2.0).collect()
    }

    /// Few pixels and many weights, so that threads share the channels: at each output by its definition.
    #[test]
    fn few_pixels_and_many_weights() {
        let (size, c_in, c_out) = (5, 180, 170);
        let g = Geometry {
            n: 2,
            input: [size; 2],
            c_in,
            output: [size; 2],
            c_out,
            kernel: [3, 3],
            stride: [1, 1],
            dilation: [1, 1],
            pad: [1, 1],
            groups: 1,
        };
        assert!(9 * c_in * c_out >= MANY_WEIGHTS && 2 * size * size <= FEW_PIXELS);
        let pixels = 2 * size * size;
        let (x, w) = (integers(1, pixels * c_in), integers(2, 9 * c_in * c_out));
        let (bias, residual) = (integers(3, c_out), integers(4, pixels * c_out));
        let (mut y, mut dx) = (vec![f32::NAN; pixels * c_out], vec![f32::NAN; pixels * c_in]);
        let double = Elementwise { function: |[by, _], y| y.iter_mut().for_each(|y| *y *= by as f32), attributes: [2.0, 0.0] };
        conv2d(&g, &x, &w, Epilogue { bias: Some(&bias), residual: Some(&residual), finish: Some(double) }, &mut y);
        conv2d_grad_input(&g, &y, &w, Epilogue::default(), &mut dx);
        let at = |h: usize, k: usize| (h + k).wrapping_sub(1);
        for p in 0..pixels {
            let (image, h, w_out) = (p / size / size, p / size % size, p % size);
            let taps = || (0..9).map(|t| (t, at(h, t / 3), at(w_out, t % 3))).filter(|&(_, h, w)| h < size && w < size);
            for o in 0..c_out {
                let from = |h, w, i| x[((image * size + h) * size + w) * c_in + i];
                let sum: f32 = taps()
                    .flat_map(|(t, h, col)| (0..c_in).map(move |i| (t, h, col, i)))
                    .map(|(t, h, col, i)| from(h, col, i) * w[(t * c_in + i) * c_out + o])
                    .sum();
                assert_eq!(y[p * c_out + o], 2.0 * (sum + bias[o] + residual[p * c_out + o]));
            }
            for i in 0..c_in {
                // Tap t of the input's pixel is tap 8 - t of the outputs around it.
                let from = |h, w, o| y[((image * size + h) * size + w) * c_out + o];
                let sum: f32 = taps()
                    .flat_map(|(t, h, col)| (0..c_out).map(move |o| (t, h, col, o)))
                    .map(|(t, h, col, o)| from(h, col, o) * w[((8 - t) * c_in + i) * c_out + o])
                    .sum();
                assert_eq!(dx[p * c_in + i], sum);
            }
        }
    }

    /// An input that is too large for caches is read through a copy; its last row of pixels is shorter.
    #[test]
    fn pixels_from_far() {
        let (pixels, c_in, c_out) = (NEAR / FAR_CHANNELS + 5, FAR_CHANNELS, 3);
        let (x, w) = (integers(5, pixels * c_in), integers(6, c_in * c_out));
        let mut y = vec![f32::NAN; pixels * c_out];
        conv2d(&Geometry::pointwise(pixels, c_in, c_out), &x, &w, Epilogue::default(), &mut y);
        for (x, y) in x.chunks_exact(c_in).zip(y.chunks_exact(c_out)) {
            for (o, &y) in y.iter().enumerate() {
                assert_eq!(y, x.iter().zip(w.chunks_exact(c_out)).map(|(x, w)| x * w[o]).sum::<f32>());
            }
        }
    }
}
