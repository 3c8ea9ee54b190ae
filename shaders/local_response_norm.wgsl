// y = x s^-beta, s = k + factor * sum of x^2 over channels i - before ..= i + after, as far as there are any. x, y: [n / c, c]. An
// invocation an element, workgroups in a linear grid. Op: LocalResponseNorm, src/ops/local_response_norm.rs.

struct Params {
    n: u32,
    c: u32,
    before: u32,
    after: u32,
    factor: f32, // alpha / size
    k: f32,
    beta: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) n_workgroups: vec3<u32>,
    @builtin(local_invocation_index) local_ix: u32,
) {
    let at = workgroup_ix(workgroup_id, n_workgroups) * 256u + local_ix;
    if (at >= params.n) {
        return;
    }
    let i = at % params.c;
    let first = at - min(i, params.before);
    let end = at + min(params.c - 1u - i, params.after) + 1u;
    var sum = 0.0;
    for (var j = first; j < end; j++) {
        sum += x[j] * x[j];
    }
    // NaN times a power of NaN: whatever that is, it stays one.
    y[at] = x[at] * inverse_power(params.k + params.factor * sum, params.beta);
}
