// Gradient of a depthwise convolution by its input: dx[n, i_h, i_w, c] = sum over the taps k and the channel's multiplier outputs o of
// dy[n, h, w, o] w[k_h, k_w, 0, o], where i = h * s + k * d - pad. A step loads a row of dy, for all the rows of dx that it reaches, and
// finishes STRIDE_H rows of dx: no tap that misses the stride is multiplied. Here p = i + pad, the place in the padded input.
// Dispatch: a linear grid, WORKGROUP invocations a workgroup. Op: Conv2dGradInput, src/ops/conv2d/depthwise.rs.

@group(0) @binding(1) var<storage, read> dy: array<Element>;
@group(0) @binding(2) var<storage, read> weight: array<Element>;
@group(0) @binding(3) var<storage, read_write> dx: array<Element>;

// Rows and columns of dy before that of a tile's first pixel which reach it.
const BACK_H: u32 = (K_H - 1u) / STRIDE_H;
const BACK_W: u32 = (K_W - 1u) / STRIDE_W;
const COLUMNS: u32 = BACK_W + (TILE_W - 1u) / STRIDE_W + 1u; // STRIDE_W divides TILE_W
// Rows of dx on their way: row a of ROWS gets tap a.
const ROWS: u32 = max(K_H, STRIDE_H);

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) n_workgroups: vec3<u32>,
    @builtin(local_invocation_index) local_ix: u32,
) {
    let ix = workgroup_ix(workgroup_id, n_workgroups) * WORKGROUP + local_ix;
    let tile_ix = quotient(ix, params.x_vecs);
    if (tile_ix >= params.n_tiles) {
        return;
    }
    let ch = ix - tile_ix * params.x_vecs;
    let tile = tile_of(tile_ix, STRIDE_H);
    // Tiles start at a multiple of the stride, at most a stride before the first pixel.
    let p_h = tile.h + params.pad_top / STRIDE_H * STRIDE_H;
    let p_w = tile.w + params.pad_left / STRIDE_W * STRIDE_W;
    // Negative numbers are large ones.
    let h0 = p_h / STRIDE_H - BACK_H * params.dilation_h;
    let w0 = p_w / STRIDE_W - BACK_W * params.dilation_w;
    let image = tile.image * params.h_out;

    var weights: array<Element, TAPS>;
    var sums: array<Element, ROWS * TILE_W>;
    let steps = params.tile_h + BACK_H;
    for (var t = 0u; t < steps; t++) {
        let h = h0 + t * params.dilation_h;
        let row_ix = (image + h) * params.w_out;
        for (var m = 0u; m < params.multiplier; m++) {
            let o = ch * params.multiplier + m;
            if (t == 0u || params.multiplier > 1u) {
                for (var k = 0u; k < TAPS; k++) {
                    weights[k] = weight[k * params.y_vecs + o];
                }
            }
            var row: array<Element, COLUMNS>;
            for (var c = 0u; c < COLUMNS; c++) {
                let w = w0 + c * params.dilation_w;
                let inside = (h < params.h_out) & (w < params.w_out);
                row[c] = select(Element(0.0), dy[select(0u, (row_ix + w) * params.y_vecs + o, inside)], inside);
            }
            for (var k_h = 0u; k_h < K_H; k_h++) {
                for (var c = 0u; c < COLUMNS; c++) {
                    for (var j = 0u; j < TILE_W; j++) {
                        let k_w = j + STRIDE_W * BACK_W - STRIDE_W * c;
                        if (k_w < K_W) {
                            let i = k_h * TILE_W + j;
                            sums[i] = fma(row[c], weights[k_h * K_W + k_w], sums[i]);
                        }
                    }
                }
            }
        }
        if (t >= BACK_H) {
            for (var a = 0u; a < STRIDE_H; a++) {
                let i_h = p_h + ((t - BACK_H) * STRIDE_H + a) * params.dilation_h - params.pad_top;
                for (var j = 0u; j < TILE_W; j++) {
                    let i_w = p_w + j * params.dilation_w - params.pad_left;
                    if (i_h < params.h_in && i_w < params.w_in) {
                        dx[((tile.image * params.h_in + i_h) * params.w_in + i_w) * params.x_vecs + ch] = sums[a * TILE_W + j];
                    }
                }
            }
        }
        for (var i = 0u; i < (ROWS - STRIDE_H) * TILE_W; i++) {
            sums[i] = sums[i + STRIDE_H * TILE_W];
        }
        for (var i = (ROWS - STRIDE_H) * TILE_W; i < ROWS * TILE_W; i++) {
            sums[i] = Element(0.0);
        }
    }
}
