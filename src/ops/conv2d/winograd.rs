//! Winograd's minimal filtering F(2x2, 3x3): convolutions of 3x3 and stride 1 with 16 multiplications for 4 outputs instead of 36, as 16
//! products of matrices between transforms of inputs, weights and results (Lavin and Gray, "Fast Algorithms for Convolutional Neural
//! Networks", CVPR 2016).

use super::Geometry;
use crate::linalg::winograd::{self, MoveCost, PRODUCTS, along_both, tiles};
pub(super) use crate::linalg::winograd::{gradient, is_possible};
use crate::op::Buffer::{Input, Output};
use crate::op::{ACTIVATION, Bound, Buffer, GRID, Kernel, MainLoop, Oracle, Recorder, Source, TINY, gamma, shader};
use crate::ops::elements::QUOTIENT;
use crate::ops::gemm::Epilogue;
use crate::ops::matmul::products;
use crate::tensor::TensorType;

pub(super) static INPUT: Source = shader!("winograd/input");
pub(super) static WEIGHT: Source = shader!("winograd/weight");
pub(super) static OUTPUT: Source = shader!("winograd/output");

/// Most bytes of transformed inputs and products at a time, unless a column of tiles takes more.
const MOST_BYTES: usize = 4 << 20;
/// What loading or storing an element costs, in floating-point operations of a product: fitted to measurements on Mesa's lavapipe, which
/// moves data lane by lane (BENCHMARKS.md).
const MOVE_COST: MoveCost = MoveCost { tile: 40, weight: 40 };
/// Roundings of the transforms of inputs (2), weights (4) and results (4).
const TRANSFORM_DEPTH: usize = 10;

/// Whether it is the faster way on this device. Counted for adapters that the CPU runs; on GPUs, where what it moves to and from memory
/// costs more, nobody has measured it yet.
pub(super) fn is_faster(r: &Recorder<'_>, g: &Geometry) -> bool {
    r.profile().main_loop != MainLoop::Tiled && winograd::is_faster(g, MOVE_COST)
}

/// Records the convolution `g`, `flipped` if its weights, input 1, are those of the convolution that it is the gradient of.
pub(super) fn record(r: &mut Recorder<'_>, g: &Geometry, flipped: bool, epilogue: Epilogue) {
    let [tiles_h, tiles_w] = tiles(g);
    let n_columns = g.n * tiles_w;
    let bytes_a_column = 4 * PRODUCTS * tiles_h * (g.c_in + g.c_out);
    let most_columns = (MOST_BYTES / bytes_a_column).clamp(1, n_columns);
    // Chunks of equal size.
    let chunk = n_columns.div_ceil(n_columns.div_ceil(most_columns));
    let weights = r.temp(TensorType::f32([PRODUCTS, g.c_in, g.c_out]));
    let inputs = r.temp(TensorType::f32([PRODUCTS * product_len(chunk * tiles_h, g.c_in)]));
    let results = r.temp(TensorType::f32([PRODUCTS, chunk * tiles_h, g.c_out]));

    let [c_in, c_out] = if flipped { [g.c_out, g.c_in] } else { [g.c_in, g.c_out] };
    let n_blocks = c_in / 4 * (c_out / 4);
    let kernel = Kernel::new(&WEIGHT, &[&GRID, &QUOTIENT]).set("FLIPPED", flipped);
    let params = [("c_in", c_in.into()), ("out_vecs", (c_out / 4).into()), ("n_blocks", n_blocks.into())];
    let grid = r.linear_grid(n_blocks.div_ceil(64));
    r.dispatch(kernel, &[Input(1)], &[weights], &params, grid);

    for first_column in (0..n_columns).step_by(chunk) {
        let columns = chunk.min(n_columns - first_column);
        let n_tiles = columns * tiles_h;
        transform_inputs(r, g, inputs, first_column, columns);

        let batch = (PRODUCTS, [product_len(n_tiles, g.c_in), g.c_in * g.c_out]);
        let gemm = products(r, batch, [n_tiles, g.c_out, g.c_in], false, false);
        gemm.record(r, inputs, weights, Epilogue::default(), results);
        let kernel = epilogue.set(Kernel::new(&OUTPUT, &[&GRID, &QUOTIENT, &ACTIVATION]));
        let [bias, residual] = epilogue.bindings(results);
        let params = [
            ("c_vecs", (g.c_out / 4).into()),
            ("first_column", first_column.into()),
            ("n_tiles", n_tiles.into()),
            ("tiles_h", tiles_h.into()),
            ("tiles_w", tiles_w.into()),
            ("h_out", g.output[0].into()),
            ("w_out", g.output[1].into()),
        ];
        let grid = r.linear_grid((n_tiles * g.c_out / 4).div_ceil(64));
        r.dispatch(kernel, &[results, bias, residual], &[Output(0)], &params, grid);
    }
    // The products declared theirs, of which a shorter last chunk may have had the shorter.
    r.declare_depth(r.depth().max(g.c_in + 2) + TRANSFORM_DEPTH + epilogue.depth());
}

/// Elements from the inputs of a product to those of the next: an invocation writes to all 16, which must not be multiples of 4 KiB apart, as
/// they would fall into the same lines of a cache.
fn product_len(n_tiles: usize, c_in: usize) -> usize {
    const PAGE: usize = 1024;
    (n_tiles * c_in).next_multiple_of(PAGE) + PAGE / PRODUCTS
}

fn transform_inputs(r: &mut Recorder<'_>, g: &Geometry, to: Buffer, first_column: usize, n_columns: usize) {
    let [tiles_h, tiles_w] = tiles(g);
    let params = [
        ("c_vecs", (g.c_in / 4).into()),
        ("first_column", first_column.into()),
        ("n_columns", n_columns.into()),
        ("product", (product_len(n_columns * tiles_h, g.c_in) / 4).into()),
        ("tiles_h", tiles_h.into()),
        ("tiles_w", tiles_w.into()),
        ("h_in", g.input[0].into()),
        ("w_in", g.input[1].into()),
        ("pad_top", g.pad[0].into()),
        ("pad_left", g.pad[1].into()),
    ];
    let grid = r.linear_grid((n_columns * g.c_in / 4).div_ceil(8));
    r.dispatch(Kernel::new(&INPUT, &[&GRID, &QUOTIENT]), &[Input(0)], &[to], &params, grid);
}

/// Bound of the sums of the convolution `g`, to which numbers of magnitude `added` are added: `gamma(depth)` times the sum of the absolute
/// values of all that is added up on the way. That is at least the sum of absolute products, so it bounds the other way of computing them,
/// too.
pub(super) fn error_bound(b: &Bound<'_>, g: &Geometry, flipped: bool, added: impl Fn(usize) -> f64) -> Vec<f64> {
    let absolute = |i: usize| match &b.inputs[i] {
        Oracle::Real(v) => v.iter().map(|x| x.abs()).collect(),
        _ => Vec::new(),
    };
    let (x, w): (Vec<f64>, Vec<f64>) = (absolute(0), absolute(1));
    let [h_in, w_in] = g.input;
    let [h_out, w_out] = g.output;
    // |G| g |G^T| for each pair of channels, [16, c_in, c_out].
    let weight = |k: usize, i: usize, o: usize| {
        if flipped { w[((8 - k) * g.c_out + o) * g.c_in + i] } else { w[(k * g.c_in + i) * g.c_out + o] }
    };
    let spread = |[a, b, c]: [f64; 3]| [a, (a + b + c) / 2.0, (a + b + c) / 2.0, c];
    let mut u = vec![[0.0; PRODUCTS]; g.c_in * g.c_out];
    for (at, u) in u.iter_mut().enumerate() {
        let (i, o) = (at / g.c_out, at % g.c_out);
        let taps = [0, 1, 2].map(|k_h| [0, 1, 2].map(|k_w| weight(3 * k_h + k_w, i, o)));
        *u = flat(along_both(spread, taps));
    }
    // |B^T| and |A^T| of four numbers.
    let transform = |[a, b, c, d]: [f64; 4]| [a + c, b + c, b + c, b + d];
    let gather = |[a, b, c, d]: [f64; 4]| [a + b + c, b + c + d];
    let [tiles_h, tiles_w] = tiles(g);
    let mut sums = vec![0.0; g.n * h_out * w_out * g.c_out];
    for tile in 0..g.n * tiles_h * tiles_w {
        let (image, h, w) = (tile / (tiles_h * tiles_w), tile / tiles_w % tiles_h * 2, tile % tiles_w * 2);
        let mut m = vec![[0.0; PRODUCTS]; g.c_out];
        for i in 0..g.c_in {
            let at = |row: usize, column: usize| {
                let (row, column) = ((h + row).wrapping_sub(g.pad[0]), (w + column).wrapping_sub(g.pad[1]));
                if row < h_in && column < w_in { x[((image * h_in + row) * w_in + column) * g.c_in + i] } else { 0.0 }
            };
            let inputs = [0, 1, 2, 3].map(|row| [0, 1, 2, 3].map(|column| at(row, column)));
            let v: [f64; PRODUCTS] = flat(along_both(transform, inputs));
            for (m, u) in m.iter_mut().zip(&u[i * g.c_out..]) {
                m.iter_mut().zip(v.iter().zip(u)).for_each(|(m, (v, u))| *m += v * u);
            }
        }
        for (o, m) in m.iter().enumerate() {
            let columns = along_both(gather, [0, 1, 2, 3].map(|a| [0, 1, 2, 3].map(|b| m[4 * b + a])));
            for (column, rows) in columns.into_iter().enumerate() {
                for (row, sum) in rows.into_iter().enumerate() {
                    if h + row < h_out && w + column < w_out {
                        sums[((image * h_out + h + row) * w_out + w + column) * g.c_out + o] = sum;
                    }
                }
            }
        }
    }
    let gamma = gamma(b.depth);
    sums.into_iter().enumerate().map(|(i, sum)| gamma * (sum + added(i)) + TINY).collect()
}

/// The elements of a 4 x 4 matrix.
fn flat(matrix: [[f64; 4]; 4]) -> [f64; PRODUCTS] {
    std::array::from_fn(|i| matrix[i / 4][i % 4])
}
