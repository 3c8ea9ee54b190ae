// y = activate(gamma (x - mean) / sqrt(variance + epsilon) + beta + residual), channel by channel. x, residual, y: [rows, c]; the
// others: [c]. c counts Elements (shared/elements_*); an invocation an Element of ROWS rows, so that a channel's numbers are loaded
// once for all of them; workgroups in a linear grid. Without residual, x is bound in its place.
// Ops: BatchNorm and BatchNormInference, src/ops/batch_norm/.

const HAS_RESIDUAL: bool = false;
const ROWS: u32 = 4u;

struct Params {
    n: u32, // Elements of a tensor with a row in place of ROWS
    rows: u32,
    c: u32,
    epsilon: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<Element>;
@group(0) @binding(2) var<storage, read> mean: array<Element>;
@group(0) @binding(3) var<storage, read> variance: array<Element>;
@group(0) @binding(4) var<storage, read> gamma: array<Element>;
@group(0) @binding(5) var<storage, read> beta: array<Element>;
@group(0) @binding(6) var<storage, read> residual: array<Element>;
@group(0) @binding(7) var<storage, read_write> y: array<Element>;

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
    let first = ix / params.c * ROWS;
    let i = ix % params.c;
    let center = widen(mean[i]);
    let scale = widen(gamma[i]) * inverseSqrt(widen(variance[i]) + vec4<f32>(params.epsilon));
    let shift = widen(beta[i]);
    let end = min(first + ROWS, params.rows);
    for (var row = first; row < end; row++) {
        let at = row * params.c + i;
        var v = (widen(x[at]) - center) * scale + shift;
        if (HAS_RESIDUAL) {
            v += widen(residual[at]);
        }
        y[at] = narrow(activate(v));
    }
}
