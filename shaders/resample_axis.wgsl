// y[o, r, i] = sum over k of weights[r, k] x[o, starts[r] + k, i], in order, but for weights of 0, so that what is left out may be a NaN. x: [outer, len, inner]; starts: [rows]; weights: [rows, taps]; y: [outer,
// rows, inner]. An invocation an Element of y (shared/elements_*; vec4 if inner is a multiple of 4), workgroups in a linear grid. Op: ResampleAxis,
// src/ops/resample_axis.rs.

struct Params {
    n: u32, // Elements of y
    len: u32,
    inner: u32, // in Elements
    rows: u32,
    taps: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<Element>;
@group(0) @binding(2) var<storage, read> starts: array<u32>;
@group(0) @binding(3) var<storage, read> weights: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<Element>;

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
    let row = quotient(ix, params.inner);
    let o = quotient(row, params.rows);
    let r = row - o * params.rows;
    // What isn't a table for x reads elements of x all the same.
    let first = min(starts[r], params.len - params.taps);
    var at = (o * params.len + first) * params.inner + ix - row * params.inner;
    var sum = vec4<f32>(0.0);
    for (var k = 0u; k < params.taps; k++) {
        let weight = weights[r * params.taps + k];
        if (weight != 0.0) {
            sum += weight * widen(x[at]);
        }
        at += params.inner;
    }
    y[ix] = narrow(sum);
}
