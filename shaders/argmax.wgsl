// y[o, i] = the first l, or the LAST, for which x[o, l, i] is the largest, or the smallest; a NaN is either. x: [outer, len, inner], y: [outer, inner].
// A workgroup takes several o and i: its invocations are lanes_outer x lanes_len x lanes_inner (powers of two, inner fastest, so that
// neighbours load neighbours). Lanes along len look at their share, then a tree in workgroup memory compares the lanes. Workgroups in a
// linear grid: o, i. Op: ArgMax, src/ops/argmax.rs.

const SMALLEST: bool = false;
const LAST: bool = false;

struct Params {
    outer: u32,
    len: u32,
    inner: u32,
    lanes_len_log2: u32,
    lanes_inner_log2: u32,
    n_groups_inner: u32, // workgroups along inner
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<u32>;
@group(0) @binding(2) var<storage, read_write> y: array<u32>;

var<workgroup> sh_key: array<u32, 256>;
var<workgroup> sh_at: array<u32, 256>;

fn key_of(bits: u32) -> u32 {
    if (SMALLEST) {
        return order_key(bits ^ 0x80000000u);
    }
    return order_key(bits);
}

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) n_workgroups: vec3<u32>,
    @builtin(local_invocation_index) local_ix: u32,
) {
    let group_ix = workgroup_ix(workgroup_id, n_workgroups);
    let lanes_len = 1u << params.lanes_len_log2;
    let lanes_inner = 1u << params.lanes_inner_log2;
    let lanes_outer = 256u >> (params.lanes_len_log2 + params.lanes_inner_log2);
    let lane_inner = local_ix & (lanes_inner - 1u);
    let lane_len = (local_ix >> params.lanes_inner_log2) & (lanes_len - 1u);
    let lane_outer = local_ix >> (params.lanes_inner_log2 + params.lanes_len_log2);
    let i = (group_ix % params.n_groups_inner) * lanes_inner + lane_inner;
    let o = (group_ix / params.n_groups_inner) * lanes_outer + lane_outer;
    let inside = o < params.outer && i < params.inner;

    // No key is 0.
    var key = 0u;
    var at = 0u;
    if (inside) {
        for (var l = lane_len; l < params.len; l += lanes_len) {
            let other = key_of(x[(o * params.len + l) * params.inner + i]);
            if (other > key || (LAST && other == key)) {
                key = other;
                at = l;
            }
        }
    }
    sh_key[local_ix] = key;
    sh_at[local_ix] = at;
    for (var step = lanes_len >> 1u; step > 0u; step = step >> 1u) {
        workgroupBarrier();
        if (lane_len < step) {
            let other = local_ix + (step << params.lanes_inner_log2);
            let equal = sh_key[other] == sh_key[local_ix];
            let before = (sh_at[other] < sh_at[local_ix]) != LAST;
            if (sh_key[other] > sh_key[local_ix] || (equal && before)) {
                sh_key[local_ix] = sh_key[other];
                sh_at[local_ix] = sh_at[other];
            }
        }
    }
    if (inside && lane_len == 0u) {
        y[o * params.inner + i] = sh_at[local_ix];
    }
}
