// Winograd's F(2x2, 3x3), last step: a tile's 4 x 4 products m become 2 x 2 outputs, y = activate(A^T m A + bias + residual). Tiles are
// those of winograd/input. products: [4, 4, n_tiles, c_out], as vec4 of channels. y, residual: [n, h_out, w_out, c_out]. bias: [c_out].
// The products again where there is no bias or residual. An invocation takes a vec4 of channels of a tile.
// Dispatch: a linear grid of workgroups of 64. Owner: src/ops/conv2d/winograd.rs.

const HAS_BIAS: bool = false;
const HAS_RESIDUAL: bool = false;

struct Params {
    c_vecs: u32,
    first_column: u32,
    n_tiles: u32,
    tiles_h: u32,
    tiles_w: u32,
    h_out: u32,
    w_out: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> products: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> residual: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> y: array<vec4<f32>>;

// Row i of m.
fn row_at(i: u32, tile: u32, ch: u32) -> mat4x4<f32> {
    let step = params.n_tiles * params.c_vecs;
    let at = i * 4u * step + tile * params.c_vecs + ch;
    return mat4x4<f32>(products[at], products[at + step], products[at + 2u * step], products[at + 3u * step]);
}

// The output at (h, w) of an image, and the one right of it, from a row of A^T m.
fn store(image: u32, h: u32, w: u32, ch: u32, row: mat4x4<f32>) {
    if (h < params.h_out) {
        let i = ((image * params.h_out + h) * params.w_out + w) * params.c_vecs + ch;
        store_one(i, ch, row[0] + row[1] + row[2]);
        if (w + 1u < params.w_out) {
            store_one(i + params.c_vecs, ch, row[1] - row[2] - row[3]);
        }
    }
}

fn store_one(i: u32, ch: u32, sum: vec4<f32>) {
    var v = sum;
    if (HAS_BIAS) {
        v += bias[ch];
    }
    if (HAS_RESIDUAL) {
        v += residual[i];
    }
    y[i] = activate(v);
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) n_workgroups: vec3<u32>,
    @builtin(local_invocation_index) local_ix: u32,
) {
    let ix = workgroup_ix(workgroup_id, n_workgroups) * 64u + local_ix;
    let tile = quotient(ix, params.c_vecs);
    if (tile >= params.n_tiles) {
        return;
    }
    let ch = ix - tile * params.c_vecs;
    let column = quotient(tile, params.tiles_h);
    let image = quotient(params.first_column + column, params.tiles_w);
    let h = (tile - column * params.tiles_h) * 2u;
    let w = (params.first_column + column - image * params.tiles_w) * 2u;
    let row_0 = row_at(0u, tile, ch);
    let row_1 = row_at(1u, tile, ch);
    let row_2 = row_at(2u, tile, ch);
    let row_3 = row_at(3u, tile, ch);
    store(image, h, w, ch, row_0 + row_1 + row_2);
    store(image, h + 1u, w, ch, row_1 - row_2 - row_3);
}
