// The second pass of the gradient of a group norm by its input: of the sums of g = dy gamma and of g (x - mean), the mean of g and what
// x - mean is multiplied by, the mean of g (x - mean) over variance + epsilon; each [n, groups]. Lanes and grid: shared/group_total.
// Op: GroupNormGradInput, src/ops/group_norm/grad.rs.

@group(0) @binding(2) var<storage, read> variance: array<f32>;
@group(0) @binding(3) var<storage, read_write> of_g: array<f32>;
@group(0) @binding(4) var<storage, read_write> along: array<f32>;

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
    let s = inverseSqrt(variance[row] + params.epsilon);
    of_g[row] = params.inverse_len * sums.x;
    along[row] = (params.inverse_len * sums.y) * (s * s);
}
