// y[o, j, ..] = data[o, indices[j], ..]. data: [outer, len, inner]; indices: [n_indices] (shared/row_number); y: [outer, n_indices, inner]. An
// index that is none gives `missing`. Inner counts Bits. Bound as words, so that NaN and denormals keep their bits. An invocation a Bits of y
// (vec4 if inner is a multiple of 4), workgroups in a linear grid. Op: Gather, src/ops/gather.rs.

alias Bits = u32; // or vec4<u32>

struct Params {
    n: u32, // Bits of y
    len: u32,
    inner: u32,
    n_indices: u32,
    missing: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> data: array<Bits>;
@group(0) @binding(2) var<storage, read> indices: array<u32>;
@group(0) @binding(3) var<storage, read_write> y: array<Bits>;

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
    let row = quotient(i, params.inner);
    let o = quotient(row, params.n_indices);
    let at = row_number(indices[row - o * params.n_indices], params.len);
    if (at >= params.len) {
        y[i] = Bits(params.missing);
        return;
    }
    y[i] = data[(o * params.len + at) * params.inner + i - row * params.inner];
}
