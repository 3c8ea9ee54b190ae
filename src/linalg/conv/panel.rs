//! The innermost loops of convolutions: a panel of two vectors of output channels, for up to twelve pixels at a time.

use pulp::{Arch, Simd, WithSimd};
use std::array;

/// Vectors of a panel: with twelve pixels, 24 sums stay in registers, for 12 numbers and 2 vectors that each step loads.
pub(super) const VECTORS: usize = 2;

/// Cuts `len` rows of sums into blocks of nearly equal size, none larger than registers hold, and calls `f(first row, rows)` for each;
/// the number of rows is a constant there.
macro_rules! for_blocks {
    ($S:ident, $len:expr, |$first:ident, $rows:ident| $f:expr) => {
        let len = $len;
        let blocks = len.div_ceil(if $S::REGISTER_COUNT >= 32 { 12 } else { 6 });
        let mut $first = 0;
        for block in 0..blocks {
            let rows = (len - $first).div_ceil(blocks - block);
            for_blocks!(@match rows, $rows, $f, 1 2 3 4 5 6 7 8 9 10 11 12);
            $first += rows;
        }
    };
    (@match $rows:ident, $name:ident, $f:expr, $($n:literal)*) => {
        match $rows {
            $($n => {
                const $name: usize = $n;
                $f;
            })*
            _ => unreachable!("blocks of 1 to 12"),
        }
    };
}
pub(super) use for_blocks;

/// Elements of a vector, as the machine has them.
pub(super) fn lanes(arch: Arch) -> usize {
    struct Lanes;
    impl WithSimd for Lanes {
        type Output = usize;
        #[inline(always)]
        fn with_simd<S: Simd>(self, _: S) -> usize {
            lanes_of::<S>()
        }
    }
    arch.dispatch(Lanes)
}

#[inline(always)]
pub(super) const fn lanes_of<S: Simd>() -> usize {
    size_of::<S::f32s>() / size_of::<f32>()
}

/// Output channels cut into panels: of two vectors, the last one perhaps of one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Panels {
    lanes: usize,
    channels: usize,
}

impl Panels {
    pub fn new(arch: Arch, channels: usize) -> Panels {
        Panels { lanes: lanes(arch), channels }
    }

    /// Columns of a panel, but perhaps the last.
    pub fn width(arch: Arch) -> usize {
        VECTORS * lanes(arch)
    }

    /// Columns of all panels together: whole vectors.
    pub fn columns(&self) -> usize {
        self.channels.next_multiple_of(self.lanes)
    }

    /// The first column, the columns and the channels of each panel. Only the last one has fewer channels than columns.
    pub fn iter(&self) -> impl Iterator<Item = (usize, usize, usize)> + use<> {
        let Panels { lanes, channels } = *self;
        let columns = self.columns();
        (0..columns).step_by(VECTORS * lanes).map(move |first| {
            let width = (columns - first).min(VECTORS * lanes);
            (first, width, width.min(channels - first))
        })
    }
}

/// Rows of a panel, to be filled with weights.
#[derive(Debug)]
pub(super) struct PanelRows<'a> {
    pub rows: &'a mut [f32],
    pub width: usize,
    pub channels: usize,
}

impl PanelRows<'_> {
    /// Each row from the start of one of `from`.
    pub fn copy_rows<'b>(self, from: impl Iterator<Item = &'b [f32]>) {
        for (to, from) in self.rows.chunks_exact_mut(self.width).zip(from) {
            let (to, padding) = to.split_at_mut(self.channels);
            to.copy_from_slice(&from[..to.len()]);
            padding.fill(0.0);
        }
    }

    /// Each column from one of the rows of `from`, which lie `distance` apart. A piece of each is taken at a time: going through all of
    /// them at every step would find none in the cache again.
    pub fn copy_columns(self, from: &[f32], distance: usize) {
        const PIECE: usize = 16;
        for (piece, to) in self.rows.chunks_mut(PIECE * self.width).enumerate() {
            for row in to.chunks_exact_mut(self.width) {
                row[self.channels..].fill(0.0);
            }
            let n = to.len() / self.width;
            for column in 0..self.channels {
                let from = &from[column * distance + piece * PIECE..][..n];
                for (row, &x) in to.chunks_exact_mut(self.width).zip(from) {
                    row[column] = x;
                }
            }
        }
    }
}

/// Inputs that lie side by side and are multiplied with consecutive rows of a panel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    /// The first one's element in `x`, for pixel 0.
    pub x: usize,
    /// The first row of the panel.
    pub row: usize,
    /// How many.
    pub len: usize,
}

/// Outputs of a row of pixels in the channels of a panel: `y[p, c] = bias[c] + sum over runs of x[p, i] w[i, c]`.
#[derive(Debug)]
pub(super) struct RowPanel<'a> {
    pub x: &'a [f32],
    /// Distance of two pixels' inputs.
    pub x_step: usize,
    pub runs: &'a [Run],
    /// The panel, whose rows are `width` columns.
    pub w: &'a [f32],
    pub width: usize,
    /// The panel's channels of the bias.
    pub bias: Option<&'a [f32]>,
    /// From the first channel of the first pixel on.
    pub y: &'a mut [f32],
    pub y_step: usize,
    /// Channels to write of each pixel.
    pub channels: usize,
    pub pixels: usize,
}

impl WithSimd for RowPanel<'_> {
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

impl RowPanel<'_> {
    #[inline(always)]
    fn run<S: Simd, const N: usize>(mut self, simd: S) {
        for_blocks!(S, self.pixels, |first, M| self.block::<S, M, N>(simd, first));
    }

    #[inline(always)]
    fn block<S: Simd, const M: usize, const N: usize>(&mut self, simd: S, first: usize) {
        let lanes = lanes_of::<S>();
        let (w, _) = S::as_simd_f32s(self.w);
        let (w, _) = w.as_chunks::<N>();
        let mut sums = [[simd.splat_f32s(0.0); N]; M];
        if let Some(bias) = self.bias {
            let bias: [S::f32s; N] = array::from_fn(|j| simd.partial_load_f32s(bias.get(j * lanes..).unwrap_or_default()));
            sums = [bias; M];
        }
        for run in self.runs {
            let w = &w[run.row..][..run.len];
            let x = &self.x[run.x + first * self.x_step..];
            // Slices of one length: a single check of the index serves all.
            let x: [&[f32]; M] = array::from_fn(|i| &x[i * self.x_step..][..run.len]);
            for (k, w) in w.iter().enumerate() {
                for i in 0..M {
                    let x = simd.splat_f32s(x[i][k]);
                    for j in 0..N {
                        sums[i][j] = simd.mul_add_e_f32s(x, w[j], sums[i][j]);
                    }
                }
            }
        }
        for (i, sums) in sums.iter().enumerate() {
            let y = &mut self.y[(first + i) * self.y_step..][..self.channels];
            // Loops of constant length leave the sums in registers.
            if self.channels == N * lanes {
                let (y, _) = S::as_mut_simd_f32s(&mut y[..N * lanes]);
                y.copy_from_slice(sums);
            } else {
                for (j, sum) in sums.iter().enumerate() {
                    simd.partial_store_f32s(y.get_mut(j * lanes..).unwrap_or_default(), *sum);
                }
            }
        }
    }
}
