// Gradient of a depthwise convolution by its weights, in parts: parts[p, k_h, k_w, o] = sum over the pixels (n, h, w) of part p's strips
// of dy[n, h, w, o] x[n, h * s + k_h * d - pad, ..., o / multiplier]. gemm/combine adds up the parts. A step loads a row of dy and
// STRIDE_H rows of x, which meet the rows of dy before.
// Dispatch: a linear grid, WORKGROUP invocations a workgroup. Op: Conv2dGradWeight, src/ops/conv2d/depthwise.rs.

@group(0) @binding(1) var<storage, read> x: array<Element>;
@group(0) @binding(2) var<storage, read> dy: array<Element>;
@group(0) @binding(3) var<storage, read_write> parts: array<Element>;

const COLUMNS: u32 = (TILE_W - 1u) * STRIDE_W + K_W;
// Rows of dy kept: row a of ROWS meets tap q + STRIDE_H * (ROWS - 1 - a) in row q of a step.
const ROWS: u32 = (K_H + STRIDE_H - 1u) / STRIDE_H;

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) n_workgroups: vec3<u32>,
    @builtin(local_invocation_index) local_ix: u32,
) {
    let ix = workgroup_ix(workgroup_id, n_workgroups) * WORKGROUP + local_ix;
    let part = quotient(ix, params.y_vecs);
    if (part >= params.n_parts) {
        return;
    }
    let o = ix - part * params.y_vecs;
    let ch = quotient(o, params.multiplier);
    var sums: array<Element, TAPS>;
    let end = min((part + 1u) * params.tiles_a_part, params.n_tiles);
    for (var tile_ix = part * params.tiles_a_part; tile_ix < end; tile_ix++) {
        let tile = tile_of(tile_ix, 1u);
        // Negative numbers are large ones.
        let h0 = tile.h * STRIDE_H - params.pad_top;
        let w0 = tile.w * STRIDE_W - params.pad_left;
        let rows_left = (params.h_out - min(tile.h, params.h_out) + params.dilation_h - 1u) / params.dilation_h;
        let rows = min(params.tile_h, rows_left);
        var kept: array<Element, ROWS * TILE_W>;
        for (var i = 0u; i < ROWS * TILE_W; i++) {
            kept[i] = Element(0.0);
        }
        for (var t = 0u; t < rows + ROWS - 1u; t++) {
            for (var i = 0u; i < (ROWS - 1u) * TILE_W; i++) {
                kept[i] = kept[i + TILE_W];
            }
            let dy_row = (tile.image * params.h_out + tile.h + t * params.dilation_h) * params.w_out;
            for (var j = 0u; j < TILE_W; j++) {
                let w = tile.w + j * params.dilation_w;
                let inside = (t < rows) & (w < params.w_out);
                let v = dy[select(0u, (dy_row + w) * params.y_vecs + o, inside)];
                kept[(ROWS - 1u) * TILE_W + j] = select(Element(0.0), v, inside);
            }
            for (var q = 0u; q < STRIDE_H; q++) {
                let h = h0 + (t * STRIDE_H + q) * params.dilation_h;
                let x_row = (tile.image * params.h_in + h) * params.w_in;
                var row: array<Element, COLUMNS>;
                for (var c = 0u; c < COLUMNS; c++) {
                    let w = w0 + c * params.dilation_w;
                    let inside = (h < params.h_in) & (w < params.w_in);
                    row[c] = select(Element(0.0), x[select(0u, (x_row + w) * params.x_vecs + ch, inside)], inside);
                }
                for (var a = 0u; a < ROWS; a++) {
                    let k_h = q + STRIDE_H * (ROWS - 1u - a);
                    if (k_h < K_H) {
                        for (var k_w = 0u; k_w < K_W; k_w++) {
                            let k = k_h * K_W + k_w;
                            for (var j = 0u; j < TILE_W; j++) {
                                sums[k] = fma(kept[a * TILE_W + j], row[j * STRIDE_W + k_w], sums[k]);
                            }
                        }
                    }
                }
            }
        }
    }
    for (var k = 0u; k < TAPS; k++) {
        parts[(part * TAPS + k) * params.y_vecs + o] = sums[k];
    }
}
