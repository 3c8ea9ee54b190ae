// The last pass of the statistics of x: adds up partial[rows, 2, c], the sums of d = x - pivot and of d^2 by blocks, to
// mean = pivot + mean of d, variance = mean of d^2 - (mean of d)^2, running_variance = correction * variance; each [c].
// Lanes and grid: shared/channel_sums; rows are the blocks of the first pass. Op: BatchNorm, src/ops/batch_norm/mod.rs.

@group(0) @binding(1) var<storage, read> partial: array<Element>;
@group(0) @binding(2) var<storage, read> x: array<Element>;
@group(0) @binding(3) var<storage, read_write> mean: array<Element>;
@group(0) @binding(4) var<storage, read_write> variance: array<Element>;
@group(0) @binding(5) var<storage, read_write> running_variance: array<Element>;

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
        let d = params.inverse_len * sums.a;
        // Roundings can leave a little less than 0; relu keeps a NaN.
        let v = relu(params.inverse_len * sums.b - d * d);
        mean[lane.i] = narrow(widen(x[params.pivot_row * params.c + lane.i]) + d);
        variance[lane.i] = narrow(v);
        running_variance[lane.i] = narrow(params.correction * v);
    }
}
