// The first pass of two sums a group over x seen as [outer, len, inner], inner in Elements (shared/elements_*): for each block of len,
// partial[o, block, 0, i] and partial[o, block, 1, i] are sums of the importing kernel's `term(o, l, i)`. A workgroup takes one block for
// several o and i: its invocations are lanes_outer x lanes_len x lanes_inner (powers of two, inner fastest, so that neighbours load
// neighbours). A lane adds up its share, then a tree in workgroup memory adds up the lanes. Workgroups in a linear grid: o, block, i.
// Imported by: group_norm_sums, group_norm_grad_sums.

const WHOLE: bool = true; // an Element's channels are of one group; else each is a group of its own
const IS_ROW: bool = false; // a sample is one row of channels, cut in pieces of inner

struct Params {
    outer: u32,
    len: u32,
    inner: u32,
    n_blocks: u32,
    block_len: u32,
    lanes_len_log2: u32,
    lanes_inner_log2: u32,
    n_groups_inner: u32, // workgroups along inner
    n_groups: u32, // of channels
    per_group: u32, // channels
    pivot: u32, // a place along len
}

@group(0) @binding(0) var<uniform> params: Params;

struct Pair {
    a: vec4<f32>,
    b: vec4<f32>,
}

var<workgroup> sh_a: array<vec4<f32>, 256>;
var<workgroup> sh_b: array<vec4<f32>, 256>;

// The group's number, of all samples, of Element i's first channel.
fn group_at(o: u32, i: u32) -> u32 {
    return o * params.n_groups + i * LANES / params.per_group;
}

// The sums of a block, and where in partial they belong; nowhere for a lane that has none.
struct BlockSums {
    sums: Pair,
    at: u32,
    writes: bool,
}

fn block_sums(group_ix: u32, local_ix: u32) -> BlockSums {
    let lanes_len = 1u << params.lanes_len_log2;
    let lanes_inner = 1u << params.lanes_inner_log2;
    let lanes_outer = 256u >> (params.lanes_len_log2 + params.lanes_inner_log2);
    let lane_len = (local_ix >> params.lanes_inner_log2) & (lanes_len - 1u);
    let lane_outer = local_ix >> (params.lanes_inner_log2 + params.lanes_len_log2);
    let row_ix = group_ix / params.n_groups_inner;
    let block = row_ix % params.n_blocks;
    let i = (group_ix % params.n_groups_inner) * lanes_inner + (local_ix & (lanes_inner - 1u));
    let o = (row_ix / params.n_blocks) * lanes_outer + lane_outer;
    let inside = o < params.outer && i < params.inner;
    var a = vec4<f32>(0.0);
    var b = vec4<f32>(0.0);
    if (inside) {
        let center = center_of(o, i);
        let first = block * params.block_len;
        let end = min(first + params.block_len, params.len);
        for (var l = first + lane_len; l < end; l += lanes_len) {
            let t = term(o, l, i, center);
            a += t.a;
            b += t.b;
        }
    }
    sh_a[local_ix] = a;
    sh_b[local_ix] = b;
    for (var step = lanes_len >> 1u; step > 0u; step = step >> 1u) {
        workgroupBarrier();
        let other = local_ix + (step << params.lanes_inner_log2);
        if (lane_len < step) {
            sh_a[local_ix] += sh_a[other];
            sh_b[local_ix] += sh_b[other];
        }
    }
    let at = (o * params.n_blocks + block) * 2u * params.inner + i;
    return BlockSums(Pair(sh_a[local_ix], sh_b[local_ix]), at, inside && lane_len == 0u);
}
