// Depthwise convolution: y[n, h, w, o] = activate(bias[o] + residual[n, h, w, o] + sum over k_h, k_w of
// x[n, h * s + k_h * d - pad, ..., o / multiplier] w[k_h, k_w, 0, o]). A step loads STRIDE_H rows of x, each for all the output rows that it is a tap of, and finishes one output row.
// Dispatch: a linear grid, WORKGROUP invocations a workgroup. Op: Conv2d, src/ops/conv2d/depthwise.rs.

@group(0) @binding(1) var<storage, read> x: array<Element>;
@group(0) @binding(2) var<storage, read> weight: array<Element>;
// The weights again where there is no bias or residual.
@group(0) @binding(3) var<storage, read> bias: array<Element>;
@group(0) @binding(4) var<storage, read> residual: array<Element>;
@group(0) @binding(5) var<storage, read_write> y: array<Element>;

const HAS_BIAS: bool = false;
const HAS_RESIDUAL: bool = false;
const COLUMNS: u32 = (TILE_W - 1u) * STRIDE_W + K_W;
// Output rows on their way: row a of ROWS gets tap q + STRIDE_H * (ROWS - 1 - a) from row q of a step.
const ROWS: u32 = (K_H + STRIDE_H - 1u) / STRIDE_H;

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) n_workgroups: vec3<u32>,
    @builtin(local_invocation_index) local_ix: u32,
) {
    let ix = workgroup_ix(workgroup_id, n_workgroups) * WORKGROUP + local_ix;
    let tile_ix = quotient(ix, params.y_vecs);
    if (tile_ix >= params.n_tiles) {
        return;
    }
    let o = ix - tile_ix * params.y_vecs;
    let ch = quotient(o, params.multiplier);
    let tile = tile_of(tile_ix, 1u);
    // Negative numbers are large ones.
    let h0 = tile.h * STRIDE_H - params.pad_top;
    let w0 = tile.w * STRIDE_W - params.pad_left;
    let image = tile.image * params.h_in;

    var weights: array<Element, TAPS>;
    for (var k = 0u; k < TAPS; k++) {
        weights[k] = weight[k * params.y_vecs + o];
    }
    var first = Element(0.0);
    if (HAS_BIAS) {
        first = bias[o];
    }
    var sums: array<Element, ROWS * TILE_W>;
    for (var i = 0u; i < ROWS * TILE_W; i++) {
        sums[i] = first;
    }
    let rows_left = (params.h_out - min(tile.h, params.h_out) + params.dilation_h - 1u) / params.dilation_h;
    let steps = min(params.tile_h, rows_left) + ROWS - 1u;
    for (var t = 0u; t < steps; t++) {
        for (var q = 0u; q < STRIDE_H; q++) {
            let h = h0 + (t * STRIDE_H + q) * params.dilation_h;
            let row_ix = (image + h) * params.w_in;
            var row: array<Element, COLUMNS>;
            for (var c = 0u; c < COLUMNS; c++) {
                let w = w0 + c * params.dilation_w;
                let inside = (h < params.h_in) & (w < params.w_in);
                row[c] = select(Element(0.0), x[select(0u, (row_ix + w) * params.x_vecs + ch, inside)], inside);
            }
            for (var a = 0u; a < ROWS; a++) {
                let k_h = q + STRIDE_H * (ROWS - 1u - a);
                if (k_h < K_H) {
                    for (var k_w = 0u; k_w < K_W; k_w++) {
                        for (var j = 0u; j < TILE_W; j++) {
                            let i = a * TILE_W + j;
                            sums[i] = fma(row[j * STRIDE_W + k_w], weights[k_h * K_W + k_w], sums[i]);
                        }
                    }
                }
            }
        }
        if (t + 1u >= ROWS) {
            let h = tile.h + (t + 1u - ROWS) * params.dilation_h;
            let row_ix = (tile.image * params.h_out + h) * params.w_out;
            for (var j = 0u; j < TILE_W; j++) {
                let w = tile.w + j * params.dilation_w;
                if (w < params.w_out) {
                    let i = (row_ix + w) * params.y_vecs + o;
                    var sum = sums[j];
                    if (HAS_RESIDUAL) {
                        sum += residual[i];
                    }
                    y[i] = narrow(activate(widen(sum)));
                }
            }
        }
        for (var i = 0u; i < (ROWS - 1u) * TILE_W; i++) {
            sums[i] = sums[i + TILE_W];
        }
        for (var j = 0u; j < TILE_W; j++) {
            sums[(ROWS - 1u) * TILE_W + j] = first;
        }
    }
}
