// parts[row] = the sum of the weights of part_len labels, the last row's fewer: 1 or, with WEIGHTS, that of the class; 0 for what is
// unlabelled and for a class that there isn't. labels[len], weights[c]. LANES invocations a row; grid of
// `linear_grid(n_rows * LANES / WORKGROUP)`. Op: LabelMean.

const WEIGHTS: bool = false; // else something else is bound in their place
const UNLABELLED: u32 = 0xfffffffeu;

struct Params {
    n_rows: u32,
    len: u32,
    part_len: u32,
    c: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> labels: array<u32>;
@group(0) @binding(2) var<storage, read> weights: array<f32>;
@group(0) @binding(3) var<storage, read_write> parts: array<f32>;

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) n_workgroups: vec3<u32>,
    @builtin(local_invocation_index) local_ix: u32,
) {
    let lane = local_ix % LANES;
    let row_ix = row_of(workgroup_ix(workgroup_id, n_workgroups), local_ix);
    let row = min(row_ix, params.n_rows - 1u);
    let end = min((row + 1u) * params.part_len, params.len);
    var sum = 0.0;
    for (var i = row * params.part_len + lane; i < end; i += LANES) {
        let label = labels[i];
        if (WEIGHTS) {
            if (label < params.c) {
                sum += weights[label];
            }
        } else {
            sum += select(1.0, 0.0, label == UNLABELLED);
        }
    }
    sum = row_sum(local_ix, sum);
    if (lane == 0u && row_ix < params.n_rows) {
        parts[row] = sum;
    }
}
