// y[r, y_start + j] = x[r, x_start + j] for j < len, 0 where x has no such column. x: [rows, x_len], y: [rows, y_len]; bound as
// words, so that NaN and denormals keep their bits. An invocation a Bits (vec4 if all sizes and starts are multiples of 4),
// workgroups in a linear grid. Ops: Slice and PadAxis, src/ops/slice.rs; Concat, src/ops/concat.rs.

alias Bits = u32; // or vec4<u32>

struct Params {
    n: u32, // rows * len; this and the rest in Bits
    len: u32,
    x_len: u32,
    y_len: u32,
    x_start: i32, // negative: zeros come first
    y_start: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<Bits>;
@group(0) @binding(2) var<storage, read_write> y: array<Bits>;

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
    let row_ix = i / params.len;
    let j = i - row_ix * params.len;
    // A column before the first wraps to above the last.
    let column_ix = u32(i32(j) + params.x_start);
    var bits = Bits(0u);
    if (column_ix < params.x_len) {
        bits = x[row_ix * params.x_len + column_ix];
    }
    y[row_ix * params.y_len + params.y_start + j] = bits;
}
