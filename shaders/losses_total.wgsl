// loss[n_rows] = scale * the sum of each row of sums[n_rows, c]: the second pass of losses for long rows.
// LANES invocations a row; grid of `linear_grid(n_rows * LANES / WORKGROUP)`. Op: ElementLoss, src/ops/losses.rs.

struct Params {
    n_rows: u32,
    c: u32,
    scale: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> sums: array<f32>;
@group(0) @binding(2) var<storage, read_write> loss: array<f32>;

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) n_workgroups: vec3<u32>,
    @builtin(local_invocation_index) local_ix: u32,
) {
    let lane = local_ix % LANES;
    let row_ix = row_of(workgroup_ix(workgroup_id, n_workgroups), local_ix);
    let row = min(row_ix, params.n_rows - 1u);
    var sum = 0.0;
    for (var j = lane; j < params.c; j += LANES) {
        sum += sums[row * params.c + j];
    }
    sum = row_sum(local_ix, sum);
    if (lane == 0u && row_ix < params.n_rows) {
        loss[row] = sum * params.scale;
    }
}
