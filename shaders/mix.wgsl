// y[i] = share[i] x[i] + (1 - share[i]) x[p], p = partners[i, 0]; with RECTANGLES in that of sample i x[p] alone. x, y: [n, h, w, c]; partners: [n, 5], the partner
// and top, bottom, left and right of the rectangle; shares: [n]. An invocation an element, workgroups in a linear grid. Op: Mix, src/ops/mix.rs.

const RECTANGLES: bool = true;

struct Params {
    n: u32, // elements
    samples: u32,
    h: u32,
    w: u32,
    c: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> partners: array<u32>;
@group(0) @binding(3) var<storage, read> shares: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) n_workgroups: vec3<u32>,
    @builtin(local_invocation_index) local_ix: u32,
) {
    let ix = workgroup_ix(workgroup_id, n_workgroups) * 256u + local_ix;
    if (ix >= params.n) {
        return;
    }
    let pixel = quotient(ix, params.c);
    let row = quotient(pixel, params.w);
    let i = quotient(row, params.h);
    let w = pixel - row * params.w;
    let h = row - i * params.h;
    let first = i * 5u;
    // What isn't a sample is the last one: all devices read the same.
    let partner = min(partners[first], params.samples - 1u);
    let other = x[ix - i * params.h * params.w * params.c + partner * params.h * params.w * params.c];
    let inside = h >= partners[first + 1u] && h < partners[first + 2u] && w >= partners[first + 3u] && w < partners[first + 4u];
    let share = shares[i];
    if (RECTANGLES && inside) {
        y[ix] = other;
    } else if (share == 1.0) {
        y[ix] = x[ix];
    } else {
        y[ix] = share * x[ix] + (1.0 - share) * other;
    }
}
