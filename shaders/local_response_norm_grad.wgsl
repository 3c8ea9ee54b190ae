// The gradient of a local response normalisation, in two passes. First ratio = dy x s^-beta / s; then
// dx = dy s^-beta - along x * sum of ratio over the channels whose s has x, i - after ..= i + before. x, dy, ratio, dx: [n / c, c]. An
// invocation an element, workgroups in a linear grid. In the first pass dy is bound as ratio.
// Op: LocalResponseNormGrad, src/ops/local_response_norm.rs.

const LAST: bool = false;

struct Params {
    n: u32,
    c: u32,
    before: u32,
    after: u32,
    factor: f32, // alpha / size
    k: f32,
    beta: f32,
    along: f32, // 2 alpha beta / size
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> dy: array<f32>;
@group(0) @binding(3) var<storage, read> ratio: array<f32>;
@group(0) @binding(4) var<storage, read_write> result: array<f32>;

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
    let behind = params.c - 1u - i;
    var sum = 0.0;
    for (var j = at - min(i, params.before); j < at + min(behind, params.after) + 1u; j++) {
        sum += x[j] * x[j];
    }
    let s = params.k + params.factor * sum;
    let power = inverse_power(s, params.beta);
    if (!LAST) {
        result[at] = dy[at] * x[at] * power / s;
        return;
    }
    var of_readers = 0.0;
    for (var j = at - min(i, params.after); j < at + min(behind, params.before) + 1u; j++) {
        of_readers += ratio[j];
    }
    result[at] = dy[at] * power - params.along * x[at] * of_readers;
}
