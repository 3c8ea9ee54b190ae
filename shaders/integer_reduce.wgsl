// y[o, i] = the sum over l of the integers x[o, l, i], their product, the smallest or the largest, wrapped to their width (shared/integer). x: [outer,
// len, inner], y: [outer, inner]. A workgroup takes several o and i: its invocations are lanes_outer x lanes_len x lanes_inner (powers of
// two, inner fastest, so that neighbours load neighbours). Lanes along len look at their share, then a tree in workgroup memory joins the
// lanes. Workgroups in a linear grid: o, i. Op: IntegerReduce, src/ops/integer_reduce.rs.

alias Bits = u32;
const REDUCTION: u32 = 0u; // 0: sum, 1: product, 2: smallest, 3: largest

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

var<workgroup> sh_value: array<u32, 256>;

fn join(a: u32, b: u32) -> u32 {
    switch REDUCTION {
        case 1u: {
            return a * b;
        }
        case 2u: {
            return select(b, a, integer_key(a) < integer_key(b));
        }
        case 3u: {
            return select(b, a, integer_key(a) > integer_key(b));
        }
        default: {
            return a + b;
        }
    }
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

    var value = select(0u, 1u, REDUCTION == 1u);
    if (inside) {
        if (REDUCTION >= 2u) {
            // Of the first one there may be several.
            value = x[o * params.len * params.inner + i];
        }
        for (var l = lane_len; l < params.len; l += lanes_len) {
            value = join(value, x[(o * params.len + l) * params.inner + i]);
        }
    }
    sh_value[local_ix] = value;
    for (var step = lanes_len >> 1u; step > 0u; step = step >> 1u) {
        workgroupBarrier();
        if (lane_len < step) {
            sh_value[local_ix] = join(sh_value[local_ix], sh_value[local_ix + (step << params.lanes_inner_log2)]);
        }
    }
    if (inside && lane_len == 0u) {
        y[o * params.inner + i] = wrap(sh_value[local_ix]);
    }
}
