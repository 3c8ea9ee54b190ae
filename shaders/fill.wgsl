// y[start + i] = value for i < n. y: any shape. An invocation an Element (shared/elements_*), workgroups in a linear grid.
// Ops: Fill, src/ops/fill.rs; Pack, src/ops/pack.rs, for gaps.

struct Params {
    n: u32, // Elements
    start: u32, // Elements
    value: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> y: array<Element>;

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
    y[params.start + i] = narrow(vec4<f32>(params.value));
}
