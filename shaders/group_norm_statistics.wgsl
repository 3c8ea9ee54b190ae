// The second pass of the statistics of groups: of the sums of d = x - pivot and of d^2, mean = pivot + mean of d and
// variance = mean of d^2 - (mean of d)^2, each [n, groups]. Lanes and grid: shared/group_total. Op: GroupNorm, src/ops/group_norm/mod.rs.

@group(0) @binding(2) var<storage, read> x: array<f32>;
@group(0) @binding(3) var<storage, read_write> mean: array<f32>;
@group(0) @binding(4) var<storage, read_write> variance: array<f32>;

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) n_workgroups: vec3<u32>,
    @builtin(local_invocation_index) local_ix: u32,
) {
    let row_ix = row_of(workgroup_ix(workgroup_id, n_workgroups), local_ix);
    let row = min(row_ix, params.n_rows - 1u);
    let sums = totals(row, local_ix);
    if (row_ix >= params.n_rows || local_ix % LANES != 0u) {
        return;
    }
    let o = row / params.n_groups;
    let pivot = x[(o * params.len + params.pivot) * params.inner + (row % params.n_groups) * params.per_group];
    let d = params.inverse_len * sums.x;
    let v = params.inverse_len * sums.y - d * d;
    mean[row] = pivot + d;
    // Roundings can leave a little less than 0.
    variance[row] = select(v, 0.0, v < 0.0 && !is_nan(v));
}
