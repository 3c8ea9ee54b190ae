// Two sums a channel over the rows of a tensor [rows, c], c in Elements (shared/elements_*): what is added up is the importing
// kernel's `term(row, i, center)`, where center is what its `center_of(i)` gives for a channel, loaded once for all rows. A workgroup takes one block of rows for some channels: its invocations are lanes_rows x lanes_c (powers
// of two, c fastest, so that neighbours load neighbours). A lane adds up its share of the rows, then a tree in workgroup memory adds
// up the lanes. Workgroups in a linear grid: block, channels.
// Imported by: batch_norm_sums, batch_norm_statistics, batch_norm_grad_sums, batch_norm_grad_parameters,
// group_norm_grad_parameters, group_norm_grad_total.

struct Params {
    rows: u32,
    c: u32,
    n_blocks: u32,
    block_len: u32, // rows
    lanes_rows_log2: u32,
    lanes_c_log2: u32,
    n_groups_c: u32, // workgroups along c
    pivot_row: u32,
    inverse_len: f32, // 1 / elements of a channel
    correction: f32,
    epsilon: f32,
    pixels: u32, // rows of a sample, where statistics are a sample's and a group's
    n_groups: u32,
    per_group: u32, // channels
}

@group(0) @binding(0) var<uniform> params: Params;

struct Pair {
    a: vec4<f32>,
    b: vec4<f32>,
}

// What a lane takes: rows first, first + 2^lanes_rows_log2, .. below end, of channels i. One lane of each channel writes.
struct Lane {
    block: u32,
    i: u32,
    first: u32,
    end: u32,
    inside: bool,
    writes: bool,
}

var<workgroup> sh_a: array<vec4<f32>, 256>;
var<workgroup> sh_b: array<vec4<f32>, 256>;

fn lane_at(group_ix: u32, local_ix: u32) -> Lane {
    let lanes_c = 1u << params.lanes_c_log2;
    let lane_row = local_ix >> params.lanes_c_log2;
    let block = group_ix / params.n_groups_c;
    let i = (group_ix % params.n_groups_c) * lanes_c + (local_ix & (lanes_c - 1u));
    let start = block * params.block_len;
    let inside = i < params.c && block < params.n_blocks && lane_row < (1u << params.lanes_rows_log2);
    return Lane(block, i, start + lane_row, min(start + params.block_len, params.rows), inside, inside && lane_row == 0u);
}

// The sums of a block, in the lanes that write.
fn block_sums(lane: Lane, local_ix: u32) -> Pair {
    let lanes_rows = 1u << params.lanes_rows_log2;
    var a = vec4<f32>(0.0);
    var b = vec4<f32>(0.0);
    if (lane.inside) {
        let center = center_of(lane.i);
        for (var row = lane.first; row < lane.end; row += lanes_rows) {
            let t = term(row, lane.i, center);
            a += t.a;
            b += t.b;
        }
    }
    sh_a[local_ix] = a;
    sh_b[local_ix] = b;
    for (var step = lanes_rows >> 1u; step > 0u; step = step >> 1u) {
        workgroupBarrier();
        let other = local_ix + (step << params.lanes_c_log2);
        if ((local_ix >> params.lanes_c_log2) < step) {
            sh_a[local_ix] += sh_a[other];
            sh_b[local_ix] += sh_b[other];
        }
    }
    return Pair(sh_a[local_ix], sh_b[local_ix]);
}
