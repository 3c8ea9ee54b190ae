// The last pass of the gradients of a batch norm by its parameters: adds up partial[rows, 2, c], the sums of dy and of dy (x - mean)
// by blocks, to dbeta = sum of dy and dgamma = sum of dy (x - mean) / sqrt(variance + epsilon); each [c].
// Lanes and grid: shared/channel_sums; rows are the blocks of the first pass. Op: BatchNormGradParameters, src/ops/batch_norm/grad.rs.

@group(0) @binding(1) var<storage, read> partial: array<Element>;
@group(0) @binding(2) var<storage, read> variance: array<Element>;
@group(0) @binding(3) var<storage, read_write> dgamma: array<Element>;
@group(0) @binding(4) var<storage, read_write> dbeta: array<Element>;

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
        dgamma[lane.i] = narrow(sums.b * inverseSqrt(widen(variance[lane.i]) + vec4<f32>(params.epsilon)));
    }
}
