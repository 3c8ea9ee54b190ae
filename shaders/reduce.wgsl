// y[o, b, i] = factor * sum over l in block b of x[o, l, i]; or of their squares, or the root of that; or
// their product; or the largest or smallest. x: [outer, len, inner], y: [outer, n_blocks, inner]. Inner counts
// Elements (shared/elements_*; vec4 if inner is a multiple of 4). A workgroup takes one block for several o and i: its invocations
// are lanes_outer x lanes_len x lanes_inner (powers of two, inner fastest, so that neighbours load neighbours). Lanes along len add
// up their share, iterations at most, then a tree in workgroup memory adds up the lanes. Workgroups in a linear grid: o, block, i.
// Op: Reduce, src/ops/reduce.rs.

const LARGEST: bool = false; // rather than the sum
const NEGATIVE: bool = false; // of -x, and the negative of that: the smallest
const PRODUCT: bool = false;
const SQUARES: bool = false;
const ROOT: bool = false;

struct Params {
    outer: u32,
    len: u32,
    inner: u32,
    n_blocks: u32,
    block_len: u32, // iterations * lanes_len
    lanes_len_log2: u32,
    lanes_inner_log2: u32,
    n_groups_inner: u32, // workgroups along inner
    factor: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<Element>;
@group(0) @binding(2) var<storage, read_write> y: array<Element>;

var<workgroup> sh_sum: array<vec4<f32>, 256>;

fn term(x: vec4<f32>) -> vec4<f32> {
    if (NEGATIVE) {
        return -x;
    }
    if (SQUARES) {
        return x * x;
    }
    return x;
}

// By bits: a NaN is above everything.
fn join(a: vec4<f32>, b: vec4<f32>) -> vec4<f32> {
    if (LARGEST) {
        return select(a, b, order_key(bitcast<vec4<u32>>(b)) > order_key(bitcast<vec4<u32>>(a)));
    }
    if (PRODUCT) {
        return a * b;
    }
    return a + b;
}

fn result(sum: vec4<f32>) -> vec4<f32> {
    if (NEGATIVE) {
        return -sum;
    }
    if (ROOT) {
        return sqrt(sum);
    }
    return params.factor * sum;
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

    let row_ix = group_ix / params.n_groups_inner;
    let block_ix = row_ix % params.n_blocks;
    let i = (group_ix % params.n_groups_inner) * lanes_inner + lane_inner;
    let o = (row_ix / params.n_blocks) * lanes_outer + lane_outer;
    let inside = o < params.outer && i < params.inner;

    var sum = vec4<f32>(select(0.0, 1.0, PRODUCT));
    if (inside) {
        if (LARGEST) {
            // Of the first one there may be two.
            sum = term(widen(x[o * params.len * params.inner + i]));
        }
        let first = block_ix * params.block_len;
        let end = min(first + params.block_len, params.len);
        for (var l = first + lane_len; l < end; l += lanes_len) {
            sum = join(sum, term(widen(x[(o * params.len + l) * params.inner + i])));
        }
    }
    sh_sum[local_ix] = sum;
    for (var step = lanes_len >> 1u; step > 0u; step = step >> 1u) {
        workgroupBarrier();
        if (lane_len < step) {
            sh_sum[local_ix] = join(sh_sum[local_ix], sh_sum[local_ix + (step << params.lanes_inner_log2)]);
        }
    }
    if (inside && lane_len == 0u) {
        y[(o * params.n_blocks + block_ix) * params.inner + i] = narrow(result(sh_sum[local_ix]));
    }
}
