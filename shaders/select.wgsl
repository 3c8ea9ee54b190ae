// y = a where the condition isn't 0, else b, elementwise, all of one shape. Bound as words, so that NaN and denormals keep their bits. An
// invocation a Bits, workgroups in a linear grid. Op: Select, src/ops/select.rs.

alias Bits = u32; // or vec4<u32>

struct Params {
    n: u32, // Bits
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> condition: array<Bits>;
@group(0) @binding(2) var<storage, read> a: array<Bits>;
@group(0) @binding(3) var<storage, read> b: array<Bits>;
@group(0) @binding(4) var<storage, read_write> y: array<Bits>;

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
    y[i] = select(b[i], a[i], condition[i] != Bits(0u));
}
