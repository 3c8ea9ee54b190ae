// The first pass of the gradients of a group norm by its parameters: for each block of rows, partial[block, 0, c] = sum of dy and
// partial[block, 1, c] = sum of dy (x - mean) / sqrt(variance + epsilon). x, dy: [rows, c], rows of `pixels` to a sample; mean, variance:
// [n, groups]. Lanes and grid: shared/channel_sums. Op: GroupNormGradParameters, src/ops/group_norm/grad.rs.

@group(0) @binding(1) var<storage, read> dy: array<Element>;
@group(0) @binding(2) var<storage, read> x: array<Element>;
@group(0) @binding(3) var<storage, read> mean: array<f32>;
@group(0) @binding(4) var<storage, read> variance: array<f32>;
@group(0) @binding(5) var<storage, read_write> partial: array<Element>;

fn center_of(i: u32) -> vec4<f32> {
    return vec4<f32>(0.0);
}

fn term(row: u32, i: u32, center: vec4<f32>) -> Pair {
    let at = row * params.c + i;
    let g = groups_of(quotient(row, params.pixels), i, params.n_groups, params.per_group);
    let m = vec4<f32>(mean[g.x], mean[g.y], mean[g.z], mean[g.w]);
    let v = vec4<f32>(variance[g.x], variance[g.y], variance[g.z], variance[g.w]);
    let d = widen(dy[at]);
    return Pair(d, d * ((widen(x[at]) - m) * inverseSqrt(v + vec4<f32>(params.epsilon))));
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
        let at = 2u * lane.block * params.c + lane.i;
        partial[at] = narrow(sums.a);
        partial[at + params.c] = narrow(sums.b);
    }
}
