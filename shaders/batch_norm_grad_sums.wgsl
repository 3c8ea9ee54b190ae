// The first pass of the gradients of a batch norm by its parameters: for each block of rows, partial[block, 0, c] = sum of dy and
// partial[block, 1, c] = sum of dy (x - mean). x, dy: [rows, c]; mean: [c].
// Lanes and grid: shared/channel_sums. Op: BatchNormGradParameters, src/ops/batch_norm/grad.rs.

@group(0) @binding(1) var<storage, read> dy: array<Element>;
@group(0) @binding(2) var<storage, read> x: array<Element>;
@group(0) @binding(3) var<storage, read> mean: array<Element>;
@group(0) @binding(4) var<storage, read_write> partial: array<Element>;

fn center_of(i: u32) -> vec4<f32> {
    return widen(mean[i]);
}

fn term(row: u32, i: u32, center: vec4<f32>) -> Pair {
    let at = row * params.c + i;
    let g = widen(dy[at]);
    return Pair(g, g * (widen(x[at]) - center));
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
