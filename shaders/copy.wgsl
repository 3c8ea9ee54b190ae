// y[start + i] = x[i] for i < copied, and 0 for copied <= i < n: x and the gap that follows it. x: any shape; y: [len]. An
// invocation an Element (shared/elements_*), workgroups in a linear grid. Op: Pack, src/ops/pack.rs.

struct Params {
    n: u32, // Elements, as the other two
    copied: u32,
    start: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<Element>;
@group(0) @binding(2) var<storage, read_write> y: array<Element>;

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
    if (i < params.copied) {
        y[params.start + i] = x[i];
    } else {
        y[params.start + i] = narrow(vec4<f32>(0.0));
    }
}
