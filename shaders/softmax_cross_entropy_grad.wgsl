// dx = dloss[row] * (softmax(x) * sum of t - t), t being the row's target. x[n_rows, c]. NaN in the whole row for a class index
// that is out of range, 0 for what is unlabelled.
// LANES invocations a row; grid of `linear_grid(n_rows * LANES / WORKGROUP)`. Op: SoftmaxCrossEntropyGrad.

@group(0) @binding(4) var<storage, read> dloss: array<f32>;
// As bits: a compiler may take a float that it knows to be NaN for one that can't occur.
@group(0) @binding(5) var<storage, read_write> dx: array<u32>;

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) n_workgroups: vec3<u32>,
    @builtin(local_invocation_index) local_ix: u32,
) {
    let lane = local_ix % LANES;
    let row_ix = row_of(workgroup_ix(workgroup_id, n_workgroups), local_ix);
    let row = min(row_ix, params.n_rows - 1u);
    let at = row * params.c;
    var largest = x[at];
    for (var j = lane; j < params.c; j += LANES) {
        largest = max(largest, x[at + j]);
    }
    largest = row_max(local_ix, largest);
    var sum = 0.0;
    var sum_t = 0.0;
    for (var j = lane; j < params.c; j += LANES) {
        sum += exp_or_nan(x[at + j] - largest);
        sum_t += target_of(row, j);
    }
    sum = row_sum(local_ix, sum);
    if (SOFT_LABELS || WEIGHTS) {
        sum_t = row_sum(local_ix, sum_t);
    } else {
        sum_t = 1.0;
    }
    if (row_ix >= params.n_rows) {
        return;
    }
    let bad = label_is_bad(row);
    let unlabelled = is_unlabelled(row);
    let scale = sum_t / sum;
    let d_row = dloss[row];
    for (var j = lane; j < params.c; j += LANES) {
        let g = d_row * (exp_or_nan(x[at + j] - largest) * scale - target_of(row, j));
        dx[at + j] = select(select(bitcast<u32>(g), NAN_BITS, bad), 0u, unlabelled);
    }
}
