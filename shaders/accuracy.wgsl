// hit[row] = 1 if the first maximum of x[row] is the label, else 0; 0 for a row with a NaN. x[n_rows, c], as bits. Labels are
// class indices, or a distribution over the classes for each row, as bits, whose first maximum is the label.
// LANES invocations a row; grid of `linear_grid(n_rows * LANES / WORKGROUP)`. Op: Accuracy.

const SOFT_LABELS: bool = false;
const NAN_KEY: u32 = 0xffffffffu;

struct Params {
    n_rows: u32,
    c: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<u32>;
@group(0) @binding(2) var<storage, read> labels: array<u32>;
@group(0) @binding(3) var<storage, read_write> hit: array<f32>;

var<workgroup> sh_key: array<u32, WORKGROUP>;
var<workgroup> sh_at: array<u32, WORKGROUP>;

// The largest key of a row and where it is first, from those of the row's lanes.
fn row_argmax(local_ix: u32, lane_value: vec2<u32>) -> vec2<u32> {
    if (LANES == 1u) {
        return lane_value;
    }
    let lane = local_ix % LANES;
    sh_key[local_ix] = lane_value.x;
    sh_at[local_ix] = lane_value.y;
    workgroupBarrier();
    for (var step = LANES / 2u; step > 0u; step = step / 2u) {
        if (lane < step) {
            let key = sh_key[local_ix + step];
            let at = sh_at[local_ix + step];
            if (key > sh_key[local_ix] || (key == sh_key[local_ix] && at < sh_at[local_ix])) {
                sh_key[local_ix] = key;
                sh_at[local_ix] = at;
            }
        }
        workgroupBarrier();
    }
    let best = vec2<u32>(sh_key[local_ix - lane], sh_at[local_ix - lane]);
    workgroupBarrier(); // before the next reduction writes
    return best;
}

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
    var best = vec2<u32>(0u);
    for (var j = lane; j < params.c; j += LANES) {
        let key = order_key(x[at + j]);
        best = select(best, vec2<u32>(key, j), key > best.x);
    }
    best = row_argmax(local_ix, best);
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
    if (lane == 0u && row_ix < params.n_rows) {
        hit[row] = select(0.0, 1.0, best.y == label.y && best.x != NAN_KEY && label.x != NAN_KEY);
    }
}
