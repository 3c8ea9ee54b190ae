//! Winograd's minimal filtering F(2x2, 3x3) in single precision: convolutions of 3x3 and stride 1 with 16 multiplications for 4 outputs
//! instead of 36 (Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016). A tile's 4 x 4 inputs, and weights, are
//! transformed; then there are 16 products of tiles by channels, and a tile's 16 results become 2 x 2 outputs.
//!
//! A block of tiles goes through all three steps while what it has on the way stays in a core's second-level cache. A chain of roundings has
//! those of `c_in` products and ten of transforms, where the direct way has `9 c_in`.

use super::panel::{PanelRows, Panels, RowPanel, Run, lanes_of};
use super::{Geometry, Part, SERIAL, SERIAL_PACK};
use crate::linalg::with_scratch;
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

/// Products of a tile.
pub const PRODUCTS: usize = 16;

/// Fewest channels for which it is considered.
const FEWEST_CHANNELS: usize = 16;

/// Fitted to measurements with AVX-512: 16 to 19 for tiles with 16 to 128 channels. Many weights, for few tiles, come from far (BENCHMARKS.md).
pub(super) const MOVE_COST: MoveCost = MoveCost { tile: 18, weight: 36 };

/// Elements of a block's transformed inputs and products, about.
const BLOCK: usize = 64 * 1024;

/// Fewest tiles of a block, where there are as many: all of the weights are read for each.
const BLOCK_TILES: usize = 24;

/// Elements between what belongs to a product and to the next: a tile is written to all 16, which must not be multiples of 4 KiB apart,
/// as they would fall into the same lines of a cache.
const GAP: usize = 16;

/// Whether a convolution of this geometry could be done in this way.
pub fn is_possible(g: &Geometry) -> bool {
    let window = [g.kernel, g.stride, g.dilation] == [[3, 3], [1, 1], [1, 1]];
    let channels = |c: usize| c >= FEWEST_CHANNELS && c.is_multiple_of(4);
    // Beyond that, its gradient would not be one.
    window && g.groups == 1 && channels(g.c_in) && channels(g.c_out) && g.pad[0] <= 2 && g.pad[1] <= 2
}

/// The convolution that is the gradient by the input: of `dy`, with weights turned by half a turn.
pub fn gradient(g: &Geometry) -> Geometry {
    Geometry {
        input: g.output,
        c_in: g.c_out,
        output: g.input,
        c_out: g.c_in,
        pad: g.pad.map(|pad| 2usize.saturating_sub(pad)),
        ..*g
    }
}

/// Tiles of an image, down and across.
pub fn tiles(g: &Geometry) -> [usize; 2] {
    g.output.map(|len| len.div_ceil(2))
}

/// What loading or storing an element on the way costs, in floating-point operations of a product.
#[derive(Clone, Copy, Debug)]
pub struct MoveCost {
    /// Of inputs and results.
    pub tile: u64,
    /// Of weights.
    pub weight: u64,
}

/// Whether it is possible, and takes less than nine tenths of the direct way's time where moves cost as much.
pub fn is_faster(g: &Geometry, cost: MoveCost) -> bool {
    let [tiles_h, tiles_w] = tiles(g);
    let [n_tiles, pixels] = [tiles_h * tiles_w, g.output[0] * g.output[1]].map(|len| g.n as u64 * len as u64);
    let [c_in, c_out] = [g.c_in as u64, g.c_out as u64];
    let direct = 2 * 9 * pixels * c_in * c_out;
    let products = 2 * PRODUCTS as u64 * n_tiles * c_in * c_out;
    // Loads and stores: 8 and 16 for the inputs of a tile, 16 and 4 for its results, 9 and 16 for a weight.
    let moves = n_tiles * (24 * c_in + 20 * c_out) * cost.tile + 25 * c_in * c_out * cost.weight;
    is_possible(g) && products + moves < direct / 10 * 9
}

/// A transform of the rows, then of the columns of a matrix, which comes out transposed.
#[inline(always)]
pub fn along_both<T: Copy, const N: usize, const M: usize>(
    transform: impl Fn([T; N]) -> [T; M],
    rows: [[T; N]; N],
) -> [[T; M]; M] {
    // Loops, as what the standard library has for arrays isn't always inlined, and vectors then go through memory.
    let mut half = [transform(rows[0]); N];
    for row in 1..N {
        half[row] = transform(rows[row]);
    }
    let mut both = [[half[0][0]; M]; M];
    for (column, both) in both.iter_mut().enumerate() {
        let mut line = [half[0][column]; N];
        for row in 1..N {
            line[row] = half[row][column];
        }
        *both = transform(line);
    }
    both
}

/// `B^T` times a column of inputs.
#[inline(always)]
fn transform_input<S: Simd>(simd: S, [a, b, c, d]: [S::f32s; 4]) -> [S::f32s; 4] {
    [simd.sub_f32s(a, c), simd.add_f32s(b, c), simd.sub_f32s(c, b), simd.sub_f32s(b, d)]
}

/// `G` times a column of weights.
#[inline(always)]
fn transform_weight<S: Simd>(simd: S, [a, b, c]: [S::f32s; 3]) -> [S::f32s; 4] {
    let half = simd.splat_f32s(0.5);
    let ends = simd.add_f32s(a, c);
    [a, simd.mul_f32s(half, simd.add_f32s(ends, b)), simd.mul_f32s(half, simd.sub_f32s(ends, b)), c]
}

/// `A^T` times a column of products.
#[inline(always)]
fn transform_product<S: Simd>(simd: S, [a, b, c, d]: [S::f32s; 4]) -> [S::f32s; 2] {
    [simd.add_f32s(simd.add_f32s(a, b), c), simd.sub_f32s(simd.sub_f32s(b, c), d)]
}

/// A panel's first column, columns and channels.
type Panel = (usize, usize, usize);

/// Consecutive tiles, counted through all images.
#[derive(Clone, Copy, Debug)]
struct Tiles {
    first: usize,
    len: usize,
}

/// A convolution from `x` to outputs, or to some of their channels.
#[derive(Debug)]
pub(super) struct Pass<'a> {
    arch: Arch,
    x: &'a [f32],
    part: Part<'a>,
    panels: Panels,
    /// Of an image, down and across.
    tiles: [usize; 2],
}

impl<'a> Pass<'a> {
    pub fn new(arch: Arch, x: &'a [f32], part: Part<'a>) -> Self {
        Pass { arch, x, panels: Panels::new(arch, part.g.c_out), tiles: tiles(&part.g), part }
    }

    /// Computes `y`. `pack(tap, first column, rows)` writes the rows of a panel of the weights that belong to a tap.
    pub fn run(&self, y: &mut [f32], pack: impl Fn([usize; 2], usize, PanelRows<'_>) + Sync) {
        let Geometry { n, c_in, c_out, output: [h, w], .. } = self.part.g;
        let panel_len = PRODUCTS * self.weights_len();
        if self.part.pieces == 1 {
            // Each panel of the weights is made where it is used, once.
            with_scratch(panel_len, |u| {
                self.block(Tiles { first: 0, len: n * self.image_tiles() }, 0, y, |panel, multiply| {
                    self.transform_weights(panel, u, &pack);
                    multiply(u);
                });
            });
            return self.part.epilogue.apply(0, y);
        }
        with_scratch(self.panels.iter().count() * panel_len, |u| {
            let fill = |(panel, u): (Panel, &mut [f32])| self.transform_weights(panel, u, &pack);
            let panels = self.panels.iter().zip(u.chunks_exact_mut(panel_len));
            if 9 * c_in * c_out <= SERIAL_PACK {
                panels.for_each(fill);
            } else {
                panels.collect::<Vec<_>>().into_par_iter().for_each(fill);
            }
            let u = &*u;
            let row = w * c_out;
            if 9 * n * h * w * c_in * c_out <= SERIAL {
                return self.piece(u, 0, y);
            }
            let [images, rows] = self.piece_size();
            y.par_chunks_mut(images * h * row).enumerate().for_each(|(i, y)| {
                let len = if images > 1 { y.len() } else { 2 * rows * row };
                let pieces = y.par_chunks_mut(len).enumerate();
                pieces.for_each(|(r, y)| self.piece(u, (i * images * self.tiles[0] + r * rows) * self.tiles[1], y));
            });
        });
    }

    /// Tiles of an image.
    fn image_tiles(&self) -> usize {
        self.tiles[0] * self.tiles[1]
    }

    /// Where tiles from number `first` on begin: the image and the place in it of the first output.
    #[inline(always)]
    fn places(&self, tiles: Tiles) -> impl Iterator<Item = (usize, [usize; 2])> {
        let [tiles_h, tiles_w] = self.tiles;
        let place = |tile: usize| [tile / (tiles_h * tiles_w), tile / tiles_w % tiles_h, tile % tiles_w];
        // Going on by one, as divisions take long.
        let next = move |&[image, h, w]: &[usize; 3]| {
            Some(match (h + 1 < tiles_h, w + 1 < tiles_w) {
                (_, true) => [image, h, w + 1],
                (true, false) => [image, h + 1, 0],
                (false, false) => [image + 1, 0, 0],
            })
        };
        std::iter::successors(Some(place(tiles.first)), next).take(tiles.len).map(|[image, h, w]| (image, [2 * h, 2 * w]))
    }

    /// The element of the outputs at a place.
    #[inline(always)]
    fn output(&self, image: usize, [h, w]: [usize; 2]) -> usize {
        let Geometry { output, c_out, .. } = self.part.g;
        ((image * output[0] + h) * output[1] + w) * c_out
    }

    /// Tiles of a block.
    fn block_tiles(&self) -> usize {
        (BLOCK / (PRODUCTS * (self.part.g.c_in + self.part.g.c_out))).max(BLOCK_TILES)
    }

    /// Images of a piece of work, or if it is one, rows of tiles.
    fn piece_size(&self) -> [usize; 2] {
        let shared = (self.part.g.n * self.image_tiles()).div_ceil(self.part.pieces);
        let wanted = self.block_tiles().min(shared);
        [(wanted / self.image_tiles()).max(1), (wanted / self.tiles[1]).max(1)]
    }

    /// Elements from the weights of a product to those of the next, in a panel.
    fn weights_len(&self) -> usize {
        self.part.g.c_in * Panels::width(self.arch) + GAP
    }

    /// Computes whole images or rows of tiles, `y`, of which tile `first` is the first one.
    fn piece(&self, u: &[f32], first: usize, y: &mut [f32]) {
        let Geometry { output, c_out, .. } = self.part.g;
        let n_rows = y.len() / (output[1] * c_out);
        let n_tiles =
            if n_rows > output[0] { n_rows / output[0] * self.image_tiles() } else { n_rows.div_ceil(2) * self.tiles[1] };
        let start = self.places(Tiles { first, len: 1 }).next().map_or(0, |(image, at)| self.output(image, at));
        let blocks = n_tiles.div_ceil(self.block_tiles());
        for block in 0..blocks {
            // Of nearly equal size.
            let [from, to] = [block, block + 1].map(|b| b * n_tiles / blocks);
            let mut u = u.chunks_exact(PRODUCTS * self.weights_len());
            self.block(Tiles { first: first + from, len: to - from }, start, y, |_, multiply| {
                multiply(u.next().unwrap_or_default());
            });
        }
        self.part.epilogue.apply(start, y);
    }

    /// Computes the outputs of some tiles in `y`, which starts with element `start` of all outputs. `weights(panel, multiply)` calls
    /// `multiply` with the panel's weights.
    fn block(&self, tiles: Tiles, start: usize, y: &mut [f32], mut weights: impl FnMut(Panel, &mut dyn FnMut(&[f32]))) {
        let Geometry { c_in, c_out, .. } = self.part.g;
        let [v_len, m_len] = [c_in, c_out].map(|c| tiles.len * c + GAP);
        with_scratch(PRODUCTS * (v_len + m_len) + c_in, |scratch| {
            let (v, rest) = scratch.split_at_mut(PRODUCTS * v_len);
            let (m, zeros) = rest.split_at_mut(PRODUCTS * m_len);
            zeros.fill(0.0);
            self.arch.dispatch(Inputs { pass: self, tiles, zeros, v });
            let run = [Run { x: 0, row: 0, len: c_in }];
            for (first, width, channels) in self.panels.iter() {
                weights((first, width, channels), &mut |u| {
                    let operands = v.chunks_exact(v_len).zip(u.chunks_exact(self.weights_len()));
                    for ((x, w), m) in operands.zip(m.chunks_exact_mut(m_len)) {
                        self.arch.dispatch(RowPanel {
                            x,
                            x_step: c_in,
                            runs: &run,
                            w: &w[..c_in * width],
                            width,
                            bias: None,
                            y: &mut m[first..],
                            y_step: c_out,
                            channels,
                            pixels: tiles.len,
                        });
                    }
                });
            }
            self.arch.dispatch(Outputs { pass: self, tiles, start, m, y });
        });
    }

    /// Writes the transformed weights of a panel.
    fn transform_weights(&self, (first, width, channels): Panel, u: &mut [f32], pack: impl Fn([usize; 2], usize, PanelRows<'_>)) {
        let len = self.part.g.c_in * width;
        with_scratch(9 * len, |taps| {
            for (tap, rows) in taps.chunks_exact_mut(len).enumerate() {
                pack([tap / 3, tap % 3], first, PanelRows { rows, width, channels });
            }
            self.arch.dispatch(Weights { taps, len, distance: self.weights_len(), u });
        });
    }
}

/// The vectors of pieces of a slice that lie `distance` apart: of each, `n` from element `first` on.
#[inline(always)]
fn vectors<S: Simd, const N: usize>(of: &[f32], distance: usize, first: usize, n: usize) -> [&[S::f32s]; N] {
    let mut vectors: [&[S::f32s]; N] = [&[]; N];
    for (to, piece) in vectors.iter_mut().zip(of.chunks(distance)) {
        *to = &S::as_simd_f32s(&piece[first..]).0[..n];
    }
    vectors
}

/// The same, to be written.
#[inline(always)]
fn vectors_mut<S: Simd>(of: &mut [f32], distance: usize, first: usize, n: usize) -> [&mut [S::f32s]; PRODUCTS] {
    let mut vectors: [&mut [S::f32s]; PRODUCTS] = Default::default();
    for (to, piece) in vectors.iter_mut().zip(of.chunks_mut(distance)) {
        *to = &mut S::as_mut_simd_f32s(&mut piece[first..]).0[..n];
    }
    vectors
}

/// A matrix of what `element(row, column)` loads.
#[inline(always)]
fn load<S: Simd, const N: usize>(simd: S, element: impl Fn(usize, usize) -> S::f32s) -> [[S::f32s; N]; N] {
    let mut matrix = [[simd.splat_f32s(0.0); N]; N];
    for (row, line) in matrix.iter_mut().enumerate() {
        for (column, to) in line.iter_mut().enumerate() {
            *to = element(row, column);
        }
    }
    matrix
}

/// Transforms the inputs of tiles: to [16, tiles, c_in].
#[derive(Debug)]
struct Inputs<'a> {
    pass: &'a Pass<'a>,
    tiles: Tiles,
    /// What lies in the padding, of all channels.
    zeros: &'a [f32],
    v: &'a mut [f32],
}

impl WithSimd for Inputs<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Inputs { pass, tiles, zeros, v } = self;
        let Geometry { input, pad, c_in: c, .. } = pass.part.g;
        let n = c / lanes_of::<S>();
        let (whole, distance) = (n * lanes_of::<S>(), tiles.len * c + GAP);
        for (tile, (image, [h, w])) in pass.places(tiles).enumerate() {
            let mut x = [[zeros; 4]; 4];
            for (row, x) in x.iter_mut().enumerate() {
                for (column, x) in x.iter_mut().enumerate() {
                    // Padding makes positions before the input negative; the wrapped value then is larger than any size.
                    let (h, w) = ((h + row).wrapping_sub(pad[0]), (w + column).wrapping_sub(pad[1]));
                    if h < input[0] && w < input[1] {
                        *x = &pass.x[((image * input[0] + h) * input[1] + w) * c..][..c];
                    }
                }
            }
            // Slices of one length: a single check of the index serves all.
            let mut from: [[&[S::f32s]; 4]; 4] = [[&[]; 4]; 4];
            for row in 0..4 {
                for column in 0..4 {
                    from[row][column] = &S::as_simd_f32s(x[row][column]).0[..n];
                }
            }
            let to = vectors_mut::<S>(v, distance, tile * c, n);
            for i in 0..n {
                let t = along_both(|x| transform_input(simd, x), load(simd, |row, column| from[row][column][i]));
                for p in 0..PRODUCTS {
                    to[p][i] = t[p % 4][p / 4];
                }
            }
            if whole < c {
                let x = load(simd, |row, column| simd.partial_load_f32s(&x[row][column][whole..]));
                let t = along_both(|x| transform_input(simd, x), x);
                for (p, v) in v.chunks_exact_mut(distance).enumerate() {
                    simd.partial_store_f32s(&mut v[tile * c..][whole..c], t[p % 4][p / 4]);
                }
            }
        }
    }
}

/// Transforms a panel's weights of nine taps, `len` each and whole vectors, to those of 16 products.
#[derive(Debug)]
struct Weights<'a> {
    taps: &'a [f32],
    len: usize,
    distance: usize,
    u: &'a mut [f32],
}

impl WithSimd for Weights<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let n = self.len / lanes_of::<S>();
        let taps = vectors::<S, 9>(self.taps, self.len, 0, n);
        let to = vectors_mut::<S>(self.u, self.distance, 0, n);
        for i in 0..n {
            let t = along_both(|w| transform_weight(simd, w), load(simd, |row, column| taps[3 * row + column][i]));
            for p in 0..PRODUCTS {
                to[p][i] = t[p % 4][p / 4];
            }
        }
    }
}

/// Makes outputs of the products of tiles, and adds the bias.
#[derive(Debug)]
struct Outputs<'a> {
    pass: &'a Pass<'a>,
    tiles: Tiles,
    /// The element of all outputs that `y` starts with.
    start: usize,
    m: &'a [f32],
    y: &'a mut [f32],
}

impl WithSimd for Outputs<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Outputs { pass, tiles, start, m, y } = self;
        let Geometry { output, c_out: c, .. } = pass.part.g;
        let n = c / lanes_of::<S>();
        let (whole, distance) = (n * lanes_of::<S>(), tiles.len * c + GAP);
        let bias = pass.part.epilogue.bias;
        for (tile, (image, [h, w])) in pass.places(tiles).enumerate() {
            let at = pass.output(image, [h, w]) - start;
            let [rows, columns] = [(output[0] - h).min(2), (output[1] - w).min(2)];
            let from = vectors::<S, PRODUCTS>(m, distance, tile * c, n);
            #[allow(clippy::needless_range_loop)] // It is a place in each of the products.
            for i in 0..n {
                let m = load(simd, |row, column| from[4 * row + column][i]);
                let t = along_both(|m| transform_product(simd, m), m);
                let bias = bias.map(|bias| S::as_simd_f32s(&bias[..c]).0[i]);
                for row in 0..rows {
                    for column in 0..columns {
                        let y = &mut y[at + (row * output[1] + column) * c..][..c];
                        let t = t[column][row];
                        S::as_mut_simd_f32s(y).0[i] = if let Some(bias) = bias { simd.add_f32s(t, bias) } else { t };
                    }
                }
            }
            if whole < c {
                let m =
                    load(simd, |row, column| simd.partial_load_f32s(&m[(4 * row + column) * distance + tile * c..][whole..c]));
                let t = along_both(|m| transform_product(simd, m), m);
                let bias = bias.map(|bias| simd.partial_load_f32s(&bias[whole..c]));
                for row in 0..rows {
                    for column in 0..columns {
                        let y = &mut y[at + (row * output[1] + column) * c..][whole..c];
                        let t = t[column][row];
                        simd.partial_store_f32s(y, if let Some(bias) = bias { simd.add_f32s(t, bias) } else { t });
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Elementwise, Epilogue, run_winograd};
    use super::*;
    use crate::random::{Seed, Stream};

    /// Small even numbers, on which all sums and halves on the way are exact: at each output by its definition.
    #[test]
    fn agrees_with_the_definition() {
        let mut s = Stream::new(Seed(1), 0);
        let mut numbers = |len: usize| (0..len).map(|_| s.below(5) as f32 * 2.0 - 4.0).collect::<Vec<f32>>();
        // Images, size, channels, padding: of odd sizes, in a panel that isn't full, in several pieces, of one thread, by channels.
        for (n, input, [c_in, c_out], pad) in [
            (1, [3, 3], [16, 16], [0, 0]),
            (3, [5, 8], [20, 44], [1, 2]),
            (2, [37, 40], [36, 64], [1, 1]),
            (40, [7, 9], [32, 20], [1, 0]),
            (1, [70, 9], [64, 48], [2, 1]),
            (2, [7, 5], [172, 180], [1, 1]),
        ] {
            let output = [0, 1].map(|axis| input[axis] + 2 * pad[axis] - 2);
            let ones = [1, 1];
            let g = Geometry { n, input, c_in, output, c_out, kernel: [3, 3], stride: ones, dilation: ones, pad, groups: 1 };
            assert!(is_possible(&g));
            let (x, w) = (numbers(n * input[0] * input[1] * c_in), numbers(9 * c_in * c_out));
            let (bias, residual) = (numbers(c_out), numbers(n * output[0] * output[1] * c_out));
            let mut y = vec![f32::NAN; residual.len()];
            let double =
                Elementwise { function: |[by, _], y| y.iter_mut().for_each(|y| *y *= by as f32), attributes: [2.0, 0.0] };
            let epilogue = Epilogue { bias: Some(&bias), residual: Some(&residual), finish: Some(double) };
            run_winograd(&g, &x, epilogue, &mut y, |[k_h, k_w], first, panel| {
                let from = &w[(3 * k_h + k_w) * c_in * c_out..];
                panel.copy_rows(from.chunks_exact(c_out).map(|row| &row[first..]));
            });
            for (at, &y) in y.iter().enumerate() {
                let (o, pixel) = (at % c_out, at / c_out);
                let (image, h, column) = (pixel / output[1] / output[0], pixel / output[1] % output[0], pixel % output[1]);
                let mut sum = bias[o] + residual[at];
                for tap in 0..9 {
                    let (h, column) = ((h + tap / 3).wrapping_sub(pad[0]), (column + tap % 3).wrapping_sub(pad[1]));
                    if h < input[0] && column < input[1] {
                        let x = &x[((image * input[0] + h) * input[1] + column) * c_in..][..c_in];
                        sum += x.iter().enumerate().map(|(i, x)| x * w[(tap * c_in + i) * c_out + o]).sum::<f32>();
                    }
                }
                assert_eq!(y, 2.0 * sum, "{g:?}, output {at}");
            }
        }
    }
}
