// y = softmax(x) or log(softmax(x)) over the rows of x[n_rows, c]: with d = x - max(x) and S = sum of exp(d), y = exp(d) / S, or
// d - log(S).
// LANES invocations a row; grid of `linear_grid(n_rows * LANES / WORKGROUP)`. Ops: Softmax, LogSoftmax.

const LOG: bool = false;

struct Params {
    n_rows: u32,
    c: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

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
    for (var j = lane; j < params.c; j += LANES) {
        sum += exp_or_nan(x[at + j] - largest);
    }
    sum = row_sum(local_ix, sum);
    if (row_ix >= params.n_rows) {
        return;
    }
    let log_sum = log_or_nan(sum);
    let inverse = 1.0 / sum;
    for (var j = lane; j < params.c; j += LANES) {
        let d = x[at + j] - largest;
        if (LOG) {
            y[at + j] = d - log_sum;
        } else {
            y[at + j] = exp_or_nan(d) * inverse;
        }
    }
}
