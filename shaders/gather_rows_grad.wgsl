// d_data[r, c] = sum over the i of block b with indices[i] == r of dy[i, c], in order. indices: [n]; dy: [n, row_len]; d_data: [n_blocks, n_rows,
// row_len], of which gemm/combine makes the sum where there are several. Every element looks at all indices of its block, so no atomics,
// and always the same order; neighbours look at the same ones. An invocation an Element of d_data (shared/elements_*), workgroups in a linear
// grid. Op: GatherRowsGrad, src/ops/gather_rows.rs.

struct Params {
    n: u32, // Elements of d_data
    row_len: u32, // Elements of a row
    n_rows: u32,
    n_indices: u32,
    block: u32, // indices of a block
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> indices: array<u32>;
@group(0) @binding(2) var<storage, read> dy: array<Element>;
@group(0) @binding(3) var<storage, read_write> d_data: array<Element>;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) n_workgroups: vec3<u32>,
    @builtin(local_invocation_index) local_ix: u32,
) {
    let i = workgroup_ix(workgroup_id, n_workgroups) * 256u + local_ix;
    if (i >= params.n) {
        return;
    }
    let row = quotient(i, params.row_len);
    let column = i - row * params.row_len;
    let block = quotient(row, params.n_rows);
    let row_ix = row - block * params.n_rows;
    let end = min((block + 1u) * params.block, params.n_indices);
    var sum = vec4<f32>(0.0);
    for (var at = block * params.block; at < end; at++) {
        if (row_number(indices[at], params.n_rows) == row_ix) {
            sum += widen(dy[at * params.row_len + column]);
        }
    }
    d_data[i] = narrow(sum);
}
