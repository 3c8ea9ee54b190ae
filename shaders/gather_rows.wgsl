// y[i, ...] = data[indices[i], ...] * scale + offset. data: [n_rows, ...] of u8 (four to a word), f32 or u32; indices: [n] (shared/row_number);
// y: [n, ...] f32, or u32 for u32. A row that doesn't exist gives `missing`. data and y are bound as words, so that copies and
// NaN keep their bits. An invocation an element of y, workgroups in a linear grid. Op: GatherRows, src/ops/gather_rows.rs.

const DATA: u32 = 0u; // 0: u8; 1: f32; 2: words, copied as they are

struct Params {
    n: u32, // elements of y
    row_len: u32, // elements of a row
    n_rows: u32,
    missing: u32,
    scale: f32,
    offset: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> data: array<u32>;
@group(0) @binding(2) var<storage, read> indices: array<u32>;
@group(0) @binding(3) var<storage, read_write> y: array<u32>;

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
    let row_ix = row_number(indices[i / params.row_len], params.n_rows);
    if (row_ix >= params.n_rows) {
        y[i] = params.missing;
        return;
    }
    let element_ix = row_ix * params.row_len + i % params.row_len;
    switch DATA {
        case 0u: {
            let byte = (data[element_ix >> 2u] >> ((element_ix & 3u) * 8u)) & 0xffu;
            y[i] = bitcast<u32>(f32(byte) * params.scale + params.offset);
        }
        case 1u: {
            y[i] = bitcast<u32>(bitcast<f32>(data[element_ix]) * params.scale + params.offset);
        }
        default: {
            y[i] = data[element_ix];
        }
    }
}
