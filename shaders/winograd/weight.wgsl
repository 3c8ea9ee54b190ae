// Winograd's F(2x2, 3x3) for the weights: u = G g G^T. w: [3, 3, c_in, c_out]. u: [4, 4, c_in, c_out]; FLIPPED: [4, 4, c_out, c_in] of the
// weights turned by half a turn, with which a convolution is the gradient by the input. An invocation takes 4 x 4 channels.
// Dispatch: a linear grid of workgroups of 64. Owner: src/ops/conv2d/winograd.rs.

const FLIPPED: bool = false;

struct Params {
    c_in: u32,
    out_vecs: u32, // vec4 of c_out
    n_blocks: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> w: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> u: array<vec4<f32>>;

// Weights of a tap: a column of the result is an input channel of w, or an output channel if FLIPPED.
fn tap(k: u32, i: u32, o: u32) -> mat4x4<f32> {
    let at = (select(k, 8u - k, FLIPPED) * params.c_in + i * 4u) * params.out_vecs + o;
    let step = params.out_vecs;
    let g = mat4x4<f32>(w[at], w[at + step], w[at + 2u * step], w[at + 3u * step]);
    if (FLIPPED) {
        return transpose(g);
    }
    return g;
}

// Four rows of u[p].
fn store(p: u32, i: u32, o: u32, v: mat4x4<f32>) {
    let at = select((p * params.c_in + i * 4u) * params.out_vecs + o, (p * params.out_vecs + o) * params.c_in + i, FLIPPED);
    let step = select(params.out_vecs, params.c_in / 4u, FLIPPED);
    u[at] = v[0];
    u[at + step] = v[1];
    u[at + 2u * step] = v[2];
    u[at + 3u * step] = v[3];
}

// A row of G g times G^T.
fn store_row(row: u32, i: u32, o: u32, g0: mat4x4<f32>, g1: mat4x4<f32>, g2: mat4x4<f32>) {
    store(row * 4u, i, o, g0);
    store(row * 4u + 1u, i, o, (g0 + g2 + g1) * 0.5);
    store(row * 4u + 2u, i, o, (g0 + g2 - g1) * 0.5);
    store(row * 4u + 3u, i, o, g2);
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) n_workgroups: vec3<u32>,
    @builtin(local_invocation_index) local_ix: u32,
) {
    let ix = workgroup_ix(workgroup_id, n_workgroups) * 64u + local_ix;
    if (ix >= params.n_blocks) {
        return;
    }
    let i = quotient(ix, params.out_vecs);
    let o = ix - i * params.out_vecs;
    let g00 = tap(0u, i, o);
    let g01 = tap(1u, i, o);
    let g02 = tap(2u, i, o);
    let g10 = tap(3u, i, o);
    let g11 = tap(4u, i, o);
    let g12 = tap(5u, i, o);
    let g20 = tap(6u, i, o);
    let g21 = tap(7u, i, o);
    let g22 = tap(8u, i, o);
    store_row(0u, i, o, g00, g01, g02);
    let s0 = g00 + g20;
    let s1 = g01 + g21;
    let s2 = g02 + g22;
    store_row(1u, i, o, (s0 + g10) * 0.5, (s1 + g11) * 0.5, (s2 + g12) * 0.5);
    store_row(2u, i, o, (s0 - g10) * 0.5, (s1 - g11) * 0.5, (s2 - g12) * 0.5);
    store_row(3u, i, o, g20, g21, g22);
}
