// For each of n_parts pieces of part_len elements of a row, the sum of loss_of(prediction, target) times scale: the loss itself if a
// row is one piece, else sums[n, n_parts] for losses_total. prediction, target: [n, row_len]; n_rows = n * n_parts.
// LANES invocations a piece; grid of `linear_grid(n_rows * LANES / WORKGROUP)`. Op: ElementLoss, src/ops/losses.rs.

struct Params {
    n_rows: u32,
    row_len: u32,
    n_parts: u32,
    part_len: u32,
    scale: f32,
    parameter: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> prediction: array<f32>;
// `target` is a reserved word.
@group(0) @binding(2) var<storage, read> wanted: array<f32>;
@group(0) @binding(3) var<storage, read_write> sums: array<f32>;

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) n_workgroups: vec3<u32>,
    @builtin(local_invocation_index) local_ix: u32,
) {
    let lane = local_ix % LANES;
    let row_ix = row_of(workgroup_ix(workgroup_id, n_workgroups), local_ix);
    let row = min(row_ix, params.n_rows - 1u);
    let part_ix = row % params.n_parts;
    let at = (row / params.n_parts) * params.row_len + part_ix * params.part_len;
    let len = min(params.part_len, params.row_len - part_ix * params.part_len);
    var sum = 0.0;
    for (var j = lane; j < len; j += LANES) {
        sum += loss_of(vec4<f32>(prediction[at + j]), vec4<f32>(wanted[at + j]), params.parameter).x;
    }
    sum = row_sum(local_ix, sum);
    if (lane == 0u && row_ix < params.n_rows) {
        sums[row] = sum * params.scale;
    }
}
