// loss[row] = log(S) * sum of t - sum of t * d, with d = x - max(x), S = sum of exp(d) and t the row's target: the cross-entropy
// of t and softmax(x). x[n_rows, c]. NaN for a class index that is out of range, 0 for what is
// unlabelled.
// LANES invocations a row; grid of `linear_grid(n_rows * LANES / WORKGROUP)`. Op: SoftmaxCrossEntropy.

// As bits: a compiler may take a float that it knows to be NaN for one that can't occur.
@group(0) @binding(4) var<storage, read_write> loss: array<u32>;

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
    var sum_td = 0.0;
    for (var j = lane; j < params.c; j += LANES) {
        let d = x[at + j] - largest;
        let t = target_of(row, j);
        sum += exp_or_nan(d);
        sum_t += t;
        // A class that isn't aimed at may be masked with a logit of -infinity.
        sum_td += select(t * d, 0.0, t == 0.0);
    }
    sum = row_sum(local_ix, sum);
    sum_td = row_sum(local_ix, sum_td);
    if (SOFT_LABELS || WEIGHTS) {
        sum_t = row_sum(local_ix, sum_t);
    } else {
        sum_t = 1.0;
    }
    if (lane == 0u && row_ix < params.n_rows) {
        let bits = select(bitcast<u32>(log_or_nan(sum) * sum_t - sum_td), NAN_BITS, label_is_bad(row));
        loss[row] = select(bits, 0u, is_unlabelled(row));
    }
}
