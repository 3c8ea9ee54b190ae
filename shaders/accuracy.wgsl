// hit[row] = 1 if fewer than k elements of x[row] come before the label's, which larger ones do, and equal ones of a lower class; 0 for
// a row with a NaN. x[n_rows, c], as bits. Labels are class indices, or a distribution over the classes for each row, as bits, whose
// first maximum is the label.
// LANES invocations a row; grid of `linear_grid(n_rows * LANES / WORKGROUP)`. Op: Accuracy.

const SOFT_LABELS: bool = false;
const NAN_KEY: u32 = 0xffffffffu;

struct Params {
    n_rows: u32,
    c: u32,
    k: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<u32>;
@group(0) @binding(2) var<storage, read> labels: array<u32>;
@group(0) @binding(3) var<storage, read_write> hit: array<f32>;

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
    var label = vec2<u32>(0u);
    if (SOFT_LABELS) {
        for (var j = lane; j < params.c; j += LANES) {
            let key = order_key(labels[at + j]);
            label = select(label, vec2<u32>(key, j), key > label.x);
        }
        label = row_argmax(local_ix, label);
    } else {
        label.y = labels[row];
    }
    let good = label.y < params.c && label.x != NAN_KEY;
    let own = order_key(x[at + min(label.y, params.c - 1u)]);
    // A NaN counts as more than there are.
    var before = 0u;
    for (var j = lane; j < params.c; j += LANES) {
        let key = order_key(x[at + j]);
        before += select(0u, 1u, key > own || (key == own && j < label.y));
        before += select(0u, params.c, key == NAN_KEY);
    }
    // Counts below 2^24 are exact as floats.
    let all_before = row_sum(local_ix, f32(min(before, params.c)));
    if (lane == 0u && row_ix < params.n_rows) {
        hit[row] = select(0.0, 1.0, good && all_before < f32(min(params.k, params.c)));
    }
}
