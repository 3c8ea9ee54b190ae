// The last pass of the gradients of a group norm by its parameters: adds up partial[rows, 2, c] to dbeta and dgamma, each [c].
// Lanes and grid: shared/channel_sums; rows are the blocks of the first pass. Op: GroupNormGradParameters, src/ops/group_norm/grad.rs.

@group(0) @binding(1) var<storage, read> partial: array<Element>;
@group(0) @binding(2) var<storage, read_write> dgamma: array<Element>;
@group(0) @binding(3) var<storage, read_write> dbeta: array<Element>;

fn center_of(i: u32) -> vec4<f32> {
    return vec4<f32>(0.0);
}

fn term(row: u32, i: u32, center: vec4<f32>) -> Pair {
    let at = 2u * row * params.c + i;
    return Pair(widen(partial[at]), widen(partial[at + params.c]));
}

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) n_workgroups: vec3<u32>,
    @builtin(local_invocation_index) local_ix: u32,
) {
    let lane = lane_at(workgroup_ix(workgroup_id, n_workgroups), local_ix);
    let sums = block_sums(lane, local_ix);
    if (lane.writes) {
        dbeta[lane.i] = narrow(sums.a);
        dgamma[lane.i] = narrow(sums.b);
    }
}
