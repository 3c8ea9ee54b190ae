// d = scale * dloss[row] * (prediction - target), with scale = 2 / row_len, or its negative for the gradient by the target.
// prediction, target, d: [n, row_len], row_vecs Reals a row. An invocation computes a Real; grid of
// `linear_grid(n_vecs / WORKGROUP)`. Op: MeanSquaredErrorGrad.

const WORKGROUP: u32 = 256u;

alias Real = f32; // or vec4<f32>

struct Params {
    n_vecs: u32,
    row_vecs: u32,
    scale: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> prediction: array<Real>;
// `target` is a reserved word.
@group(0) @binding(2) var<storage, read> wanted: array<Real>;
@group(0) @binding(3) var<storage, read> dloss: array<f32>;
@group(0) @binding(4) var<storage, read_write> d: array<Real>;

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) n_workgroups: vec3<u32>,
    @builtin(local_invocation_index) local_ix: u32,
) {
    let ix = workgroup_ix(workgroup_id, n_workgroups) * WORKGROUP + local_ix;
    if (ix >= params.n_vecs) {
        return;
    }
    let factor = params.scale * dloss[ix / params.row_vecs];
    d[ix] = Real(factor) * (prediction[ix] - wanted[ix]);
}
