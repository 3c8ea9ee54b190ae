// The gradient of a batch norm by its input: with s = 1 / sqrt(variance + epsilon) and N the elements of a channel,
// dx = gamma s (dy - dbeta / N - (x - mean) s dgamma / N). dy, x, dx: [rows, c]; the others: [c]. c counts Elements
// (shared/elements_*); an invocation an Element of ROWS rows; workgroups in a linear grid.
// Op: BatchNormGradInput, src/ops/batch_norm/grad.rs.

const ROWS: u32 = 4u;

struct Params {
    n: u32, // Elements of a tensor with a row in place of ROWS
    rows: u32,
    c: u32,
    epsilon: f32,
    inverse_len: f32, // 1 / N
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> dy: array<Element>;
@group(0) @binding(2) var<storage, read> x: array<Element>;
@group(0) @binding(3) var<storage, read> mean: array<Element>;
@group(0) @binding(4) var<storage, read> variance: array<Element>;
@group(0) @binding(5) var<storage, read> gamma: array<Element>;
@group(0) @binding(6) var<storage, read> dgamma: array<Element>;
@group(0) @binding(7) var<storage, read> dbeta: array<Element>;
@group(0) @binding(8) var<storage, read_write> dx: array<Element>;

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
    let s = inverseSqrt(widen(variance[i]) + vec4<f32>(params.epsilon));
    let scale = widen(gamma[i]) * s;
    let along = s * (params.inverse_len * widen(dgamma[i]));
    let offset = params.inverse_len * widen(dbeta[i]);
    let end = min(first + ROWS, params.rows);
    for (var row = first; row < end; row++) {
        let at = row * params.c + i;
        dx[at] = narrow(scale * (widen(dy[at]) - offset - (widen(x[at]) - center) * along));
    }
}
