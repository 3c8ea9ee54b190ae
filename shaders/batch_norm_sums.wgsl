// The first pass of the statistics of x[rows, c]: for each block of rows, partial[block, 0, c] = sum of d and partial[block, 1, c] =
// sum of d^2, with d = x - pivot and pivot = x[pivot_row]. Sums of x^2 would cancel where a channel's mean is larger than its deviation.
// Lanes and grid: shared/channel_sums. Op: BatchNorm, src/ops/batch_norm/mod.rs.

@group(0) @binding(1) var<storage, read> x: array<Element>;
@group(0) @binding(2) var<storage, read_write> partial: array<Element>;

fn center_of(i: u32) -> vec4<f32> {
    return widen(x[params.pivot_row * params.c + i]);
}

fn term(row: u32, i: u32, center: vec4<f32>) -> Pair {
    let d = widen(x[row * params.c + i]) - center;
    return Pair(d, d * d);
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
