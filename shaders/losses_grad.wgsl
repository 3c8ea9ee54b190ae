// d = scale * dloss[row] * slope_of(prediction, target). prediction, target, d: [n, ..], row_len Elements a row. An invocation an Element
// (shared/elements_*), workgroups in a linear grid. Op: ElementLossGrad, src/ops/losses.rs.

struct Params {
    n: u32, // Elements
    row_len: u32,
    scale: f32,
    parameter: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> prediction: array<Element>;
// `target` is a reserved word.
@group(0) @binding(2) var<storage, read> wanted: array<Element>;
@group(0) @binding(3) var<storage, read> dloss: array<f32>;
@group(0) @binding(4) var<storage, read_write> d: array<Element>;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) n_workgroups: vec3<u32>,
    @builtin(local_invocation_index) local_ix: u32,
) {
    let i = workgroup_ix(workgroup_id, n_workgroups) * 256u + local_ix;
    if (i >= params.n) {
        return;
    }
    let factor = params.scale * dloss[i / params.row_len];
    d[i] = narrow(factor * slope_of(widen(prediction[i]), widen(wanted[i]), params.parameter));
}
