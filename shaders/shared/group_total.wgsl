// The second pass of two sums a group: adds up what shared/group_sums made, over blocks and over the channels of a group. LANES
// invocations a group (shared/row); grid of `linear_grid(n_rows * LANES / WORKGROUP)`.
// Imported by: group_norm_statistics, group_norm_grad_means.

struct Params {
    n_rows: u32, // groups of all samples
    n_groups: u32, // of a sample
    per_group: u32, // channels
    n_blocks: u32,
    len: u32, // the first pass's
    inner: u32, // the first pass's, in elements
    pivot: u32,
    inverse_len: f32, // 1 / values of a group
    epsilon: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> partial: array<f32>;

// The two sums of a group, in all of its lanes.
fn totals(row: u32, local_ix: u32) -> vec2<f32> {
    let lane = local_ix % LANES;
    let o = row / params.n_groups;
    let first = o * params.n_blocks * 2u * params.inner + (row % params.n_groups) * params.per_group;
    var a = 0.0;
    var b = 0.0;
    for (var j = lane; j < params.n_blocks * params.per_group; j += LANES) {
        let block = quotient(j, params.per_group);
        let at = first + block * 2u * params.inner + j - block * params.per_group;
        a += partial[at];
        b += partial[at + params.inner];
    }
    a = row_sum(local_ix, a);
    b = row_sum(local_ix, b);
    return vec2<f32>(a, b);
}
