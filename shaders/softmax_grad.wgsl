// Gradient of softmax over rows, from its result y[n_rows, c] and dy: dx = y * (dy - sum of y * dy). Of log softmax:
// dx = dy - exp(y) * sum of dy.
// LANES invocations a row; grid of `linear_grid(n_rows * LANES / WORKGROUP)`. Ops: SoftmaxGrad, LogSoftmaxGrad.

const LOG: bool = false;

struct Params {
    n_rows: u32,
    c: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> y: array<f32>;
@group(0) @binding(2) var<storage, read> dy: array<f32>;
@group(0) @binding(3) var<storage, read_write> dx: array<f32>;

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
    var sum = 0.0;
    for (var j = lane; j < params.c; j += LANES) {
        if (LOG) {
            sum += dy[at + j];
        } else {
            sum += y[at + j] * dy[at + j];
        }
    }
    sum = row_sum(local_ix, sum);
    if (row_ix >= params.n_rows) {
        return;
    }
    for (var j = lane; j < params.c; j += LANES) {
        if (LOG) {
            dx[at + j] = dy[at + j] - exp_or_nan(y[at + j]) * sum;
        } else {
            dx[at + j] = y[at + j] * (dy[at + j] - sum);
        }
    }
}
