// sums[start + row] = sum of x^2 over row's run_len elements of x, the last row's fewer. x[len]; n_rows rows.
// LANES invocations a row; grid of `linear_grid(n_rows * LANES / WORKGROUP)`. Op: ClipNorm, src/ops/clip_norm.rs.

struct Params {
    n_rows: u32,
    len: u32,
    run_len: u32,
    start: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> sums: array<f32>;

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) n_workgroups: vec3<u32>,
    @builtin(local_invocation_index) local_ix: u32,
) {
    let lane = local_ix % LANES;
    let row_ix = row_of(workgroup_ix(workgroup_id, n_workgroups), local_ix);
    let row = min(row_ix, params.n_rows - 1u);
    let at = row * params.run_len;
    let end = min(at + params.run_len, params.len);
    var sum = 0.0;
    for (var i = at + lane; i < end; i += LANES) {
        sum += x[i] * x[i];
    }
    sum = row_sum(local_ix, sum);
    if (lane == 0u && row_ix < params.n_rows) {
        sums[params.start + row] = sum;
    }
}
