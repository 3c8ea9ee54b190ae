//! Depthwise convolutions on a GPU: as many groups as input channels, so each output is a sum over a window of one channel, which is no
//! matrix product. The kernels go down strips of pixels (`shaders/depthwise/tile.wgsl`).

use super::Geometry;
use crate::op::Buffer::{Input, Output};
use crate::op::{ACTIVATION, Buffer, ELEMENTS_SCALAR, ELEMENTS_VEC4, GRID, Kernel, MAX_ITERATIONS, MainLoop, Recorder, Source, shader};
use crate::ops::elements::QUOTIENT;
use crate::ops::gemm::{self, Epilogue};
use crate::tensor::TensorType;

pub(super) static TILE: Source = shader!("depthwise/tile");
pub(super) static FORWARD: Source = shader!("depthwise/forward");
pub(super) static GRAD_INPUT: Source = shader!("depthwise/grad_input");
pub(super) static GRAD_WEIGHT: Source = shader!("depthwise/grad_weight");

/// Invocations of a workgroup.
const WORKGROUP: usize = 64;
/// Longest side of a window, whose taps are unrolled and kept in registers.
const LONGEST_SIDE: usize = 8;
/// Most taps of an input channel, over all its output channels.
const MOST_TAPS: usize = 64;
/// Largest window of which a vec4 of channels fits in registers.
const MOST_VECTOR_TAPS: usize = 9;

/// A depthwise convolution cut into strips.
struct Strips<'a> {
    g: &'a Geometry,
    /// Channels of an `Element`.
    width: usize,
    /// Columns of a strip.
    tile_w: usize,
    /// Steps down a strip.
    tile_h: usize,
    /// Strips of an image, down and across.
    tiles: [usize; 2],
}

/// Whether the kernels of this file can do it.
pub(super) fn applies(g: &Geometry) -> bool {
    let is_depthwise = g.groups == g.c_in && g.groups > 1;
    let small = [0, 1].iter().all(|&axis| g.stride[axis] <= g.kernel[axis] && g.kernel[axis] <= LONGEST_SIDE);
    is_depthwise && small && g.n_taps() * (g.c_out / g.c_in) <= MOST_TAPS && (g.stride == [1, 1] || g.dilation == [1, 1])
}

impl<'a> Strips<'a> {
    /// Strips for a grid of `len` pixels, of which a step takes `step` rows and columns come in multiples of `step`.
    fn new(r: &Recorder<'_>, g: &'a Geometry, channels: usize, len: [usize; 2], step: [usize; 2]) -> Self {
        let vector = g.c_out == g.c_in && g.c_in.is_multiple_of(4) && g.n_taps() <= MOST_VECTOR_TAPS;
        let width = if vector { 4 } else { 1 };
        let tile_w = 4usize.next_multiple_of(step[1]);
        let tiles = |len: usize, dilation: usize, tile: usize| dilation * len.div_ceil(dilation).div_ceil(tile);
        let tiles_w = tiles(len[1], g.dilation[1], tile_w);
        // A row that two strips need is loaded twice, so they are as long as leaves work for all: 2^15 invocations for a GPU, few for a
        // CPU's cores.
        let (longest, wanted) = match r.profile().main_loop {
            MainLoop::Tiled => (16, 1usize << 15),
            MainLoop::Subgroup | MainLoop::Plain => (64, 1 << 9),
        };
        let rows = len[0].div_ceil(g.dilation[0] * step[0]);
        let columns = g.n * g.dilation[0] * tiles_w * (channels / width);
        let tile_h = rows.div_ceil(wanted.div_ceil(columns)).clamp(1, longest);
        // No compiler is relied on to unroll the loops of a step. Strips of equal length.
        let most = (MAX_ITERATIONS / Self::step_iterations(g, tile_w)).saturating_sub(g.kernel[0]);
        let tile_h = tile_h.min(most).max(1);
        let tile_h = rows.div_ceil(rows.div_ceil(tile_h));
        Strips { g, width, tile_w, tile_h, tiles: [tiles(len[0], g.dilation[0], tile_h * step[0]), tiles_w] }
    }

    /// At least the iterations of all loops of a step.
    fn step_iterations(g: &Geometry, tile_w: usize) -> usize {
        6 * g.n_taps() * (g.c_out / g.c_in) * tile_w
    }

    fn n_tiles(&self) -> usize {
        self.g.n * self.tiles[0] * self.tiles[1]
    }

    fn kernel(&self, source: &'static Source, imports: &[&'static Source]) -> Kernel {
        let elements = if self.width == 4 { &ELEMENTS_VEC4 } else { &ELEMENTS_SCALAR };
        let imports: Vec<_> = [&GRID, &QUOTIENT, elements, &TILE].into_iter().chain(imports.iter().copied()).collect();
        let [[k_h, k_w], [stride_h, stride_w]] = [self.g.kernel, self.g.stride];
        Kernel::new(source, &imports)
            .set("K_H", k_h)
            .set("K_W", k_w)
            .set("STRIDE_H", stride_h)
            .set("STRIDE_W", stride_w)
            .set("TILE_W", self.tile_w)
    }

    /// Appends the dispatch, for `invocations` of each `Element` of channels.
    fn dispatch(&self, r: &mut Recorder<'_>, kernel: Kernel, reads: &[Buffer], write: Buffer, channels: usize, parts: Parts) {
        let g = self.g;
        let n_invocations = channels / self.width * if parts.n > 0 { parts.n } else { self.n_tiles() };
        let params = [
            ("n_tiles", self.n_tiles().into()),
            ("tiles_h", self.tiles[0].into()),
            ("tiles_w", self.tiles[1].into()),
            ("tile_h", self.tile_h.into()),
            ("x_vecs", (g.c_in / self.width).into()),
            ("y_vecs", (g.c_out / self.width).into()),
            ("multiplier", (g.c_out / g.c_in).into()),
            ("h_in", g.input[0].into()),
            ("w_in", g.input[1].into()),
            ("h_out", g.output[0].into()),
            ("w_out", g.output[1].into()),
            ("dilation_h", g.dilation[0].into()),
            ("dilation_w", g.dilation[1].into()),
            ("pad_top", g.pad[0].into()),
            ("pad_left", g.pad[1].into()),
            ("tiles_a_part", parts.tiles.into()),
            ("n_parts", parts.n.into()),
        ];
        let grid = r.linear_grid(n_invocations.div_ceil(WORKGROUP));
        r.dispatch(kernel, reads, &[write], &params, grid);
    }
}

/// How the gradient by the weights splits its sums: `n` parts of `tiles` strips each.
#[derive(Clone, Copy, Default)]
struct Parts {
    n: usize,
    tiles: usize,
}

/// Records the convolution.
pub(super) fn forward(r: &mut Recorder<'_>, g: &Geometry, epilogue: Epilogue) {
    let strips = Strips::new(r, g, g.c_out, g.output, [1, 1]);
    let kernel = epilogue.set(strips.kernel(&FORWARD, &[&ACTIVATION]));
    let [bias, residual] = epilogue.bindings(Input(1));
    strips.dispatch(r, kernel, &[Input(0), Input(1), bias, residual], Output(0), g.c_out, Parts::default());
    // A product and its sum may be rounded apart, which adds one.
    r.declare_depth(g.n_taps() + 1 + epilogue.depth());
}

/// Records the gradient by the input.
pub(super) fn grad_input(r: &mut Recorder<'_>, g: &Geometry) {
    // Strips start at a multiple of the stride in the padded input.
    let len = [0, 1].map(|axis| g.input[axis] + g.pad[axis] % g.stride[axis]);
    let strips = Strips::new(r, g, g.c_in, len, g.stride);
    let kernel = strips.kernel(&GRAD_INPUT, &[]);
    strips.dispatch(r, kernel, &[Input(0), Input(1)], Output(0), g.c_in, Parts::default());
    let taps = [0, 1].map(|axis| g.kernel[axis].div_ceil(g.stride[axis]));
    r.declare_depth(taps[0] * taps[1] * (g.c_out / g.c_in) + 1);
}

/// Records the gradient by the weights: parts, and their sum in order.
pub(super) fn grad_weight(r: &mut Recorder<'_>, g: &Geometry) {
    let strips = Strips::new(r, g, g.c_out, g.output, [1, 1]);
    let vecs = g.c_out / strips.width;
    let wanted = match r.profile().main_loop {
        MainLoop::Tiled => 1 << 14,
        MainLoop::Subgroup | MainLoop::Plain => 1 << 8,
    };
    let tile_iterations = Strips::step_iterations(g, strips.tile_w) * (strips.tile_h + g.kernel[0]);
    let most_tiles = (MAX_ITERATIONS / tile_iterations).max(1);
    let tiles = (strips.n_tiles() * vecs / wanted).clamp(1, most_tiles);
    let n = strips.n_tiles().div_ceil(tiles);
    let to = if n > 1 { r.temp(TensorType::f32([n, g.n_taps(), g.c_out])) } else { Output(0) };
    let kernel = strips.kernel(&GRAD_WEIGHT, &[]);
    strips.dispatch(r, kernel, &[Input(0), Input(1)], to, g.c_out, Parts { n, tiles });
    let additions = if n > 1 { gemm::combine(r, to, n, [g.n_taps(), g.c_out], Epilogue::default(), Output(0)) } else { 0 };
    r.declare_depth(tiles * strips.tile_h * strips.tile_w + 1 + additions);
}
