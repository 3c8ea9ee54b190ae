// counts[label, first maximum of x[row]] += 1 for each row whose label is a class and that has no NaN, if health[0] is 0.
// x[n_rows, c], as bits; labels[n_rows]; health: [2]; counts[c, c]. LANES invocations a row; grid of
// `linear_grid(n_rows * LANES / WORKGROUP)`. Integers add up to the same in any order. Op: Confusion.

const NAN_KEY: u32 = 0xffffffffu;

struct Params {
    n_rows: u32,
    c: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<u32>;
@group(0) @binding(2) var<storage, read> labels: array<u32>;
@group(0) @binding(3) var<storage, read> health: array<u32>;
@group(0) @binding(4) var<storage, read_write> counts: array<atomic<u32>>;

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
    let label = labels[row];
    if (lane == 0u && row_ix < params.n_rows && label < params.c && best.x != NAN_KEY && health[0] == 0u) {
        atomicAdd(&counts[label * params.c + best.y], 1u);
    }
}
