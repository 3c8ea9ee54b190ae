// y[o, l, i] = factor * x[o, i] for every l. x: [outer, inner], y: [outer, len, inner]. An invocation an Element of y
// (shared/elements_*; vec4 if inner is a multiple of 4), workgroups in a linear grid. Op: Broadcast, src/ops/reduce.rs.

struct Params {
    n: u32, // Elements of y
    slab: u32, // len * inner, in Elements
    inner: u32, // in Elements
    factor: f32,
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
    let o = i / params.slab;
    y[i] = narrow(params.factor * widen(x[o * params.inner + i % params.inner]));
}
