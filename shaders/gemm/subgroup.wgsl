// Main loop of the GEMM family for adapters whose workgroups run on CPU cores: a workgroup is one subgroup of LANES (4 or 8), which
// needs no barrier. C[m, n] = epilogue(sum_k A[m, k] B[k, n]); an invocation keeps 8 rows of 4 columns. Each lane loads one vec4 of A,
// and a broadcast hands it to all: a load at an address that isn't uniform costs such adapters a loop over lanes.
// Dispatch: x and y count the tiles of 8 x (4 * LANES) (n fastest), z counts group * n_splits + split. Owner: src/ops/gemm.rs.

const LANES: u32 = 8u;

// The rows or columns of A that a lane loads. Along k: row `lane` of k ..= k + 3. Else: rows 4 * (lane / 4) ..= + 3 of k + lane % 4.
// With 4 lanes, a second load has the other four rows.
fn a_row(lane: u32) -> u32 {
    return select(lane / 4u * 4u, lane, A_ALONG_K);
}

fn a_step(lane: u32) -> u32 {
    return select(lane % 4u, 0u, A_ALONG_K);
}

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) n_workgroups: vec3<u32>,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let tile_ix = workgroup_ix(workgroup_id, n_workgroups);
    let tile_m = tile_ix / params.n_tiles;
    let m = tile_m * 8u;
    let n = ((tile_ix - tile_m * params.n_tiles) * LANES + lane) * 4u;
    let group = workgroup_id.z / params.n_splits;
    let split = workgroup_id.z - group * params.n_splits;
    let k_begin = split * params.k_chunk;
    let k_end = min(k_begin + params.k_chunk, params.k);

    let a_first = a_prepare(m + a_row(lane), group);
    let a_second = a_prepare(m + 4u + a_row(lane), group);
    let step = a_step(lane);
    let b_state = b_block_prepare(n, group);
    var s0 = vec4<f32>();
    var s1 = vec4<f32>();
    var s2 = vec4<f32>();
    var s3 = vec4<f32>();
    var s4 = vec4<f32>();
    var s5 = vec4<f32>();
    var s6 = vec4<f32>();
    var s7 = vec4<f32>();
    let four = k_at(4u);
    var a_position = k_at(k_begin + step);
    var b_position = k_at(k_begin);
    for (var k = k_begin; k < k_end; k += 4u) {
        let bv = b_block(b_state, b_position);
        let first = a_load(a_first, a_position);
        var second = first;
        if (LANES == 4u) {
            second = a_load(a_second, a_position);
        }
        // With 8 lanes the lower half's data are in lanes 4 to 7, with 4 lanes in the second load.
        const LOWER: u32 = LANES - 4u;
        let v0 = subgroupBroadcast(first, 0u);
        let v1 = subgroupBroadcast(first, 1u);
        let v2 = subgroupBroadcast(first, 2u);
        let v3 = subgroupBroadcast(first, 3u);
        let v4 = subgroupBroadcast(second, LOWER);
        let v5 = subgroupBroadcast(second, LOWER + 1u);
        let v6 = subgroupBroadcast(second, LOWER + 2u);
        let v7 = subgroupBroadcast(second, LOWER + 3u);
        if (A_ALONG_K) {
            s0 = row(bv, v0, s0);
            s1 = row(bv, v1, s1);
            s2 = row(bv, v2, s2);
            s3 = row(bv, v3, s3);
            s4 = row(bv, v4, s4);
            s5 = row(bv, v5, s5);
            s6 = row(bv, v6, s6);
            s7 = row(bv, v7, s7);
        } else {
            s0 = row(bv, vec4<f32>(v0.x, v1.x, v2.x, v3.x), s0);
            s1 = row(bv, vec4<f32>(v0.y, v1.y, v2.y, v3.y), s1);
            s2 = row(bv, vec4<f32>(v0.z, v1.z, v2.z, v3.z), s2);
            s3 = row(bv, vec4<f32>(v0.w, v1.w, v2.w, v3.w), s3);
            s4 = row(bv, vec4<f32>(v4.x, v5.x, v6.x, v7.x), s4);
            s5 = row(bv, vec4<f32>(v4.y, v5.y, v6.y, v7.y), s5);
            s6 = row(bv, vec4<f32>(v4.z, v5.z, v6.z, v7.z), s6);
            s7 = row(bv, vec4<f32>(v4.w, v5.w, v6.w, v7.w), s7);
        }
        a_position = k_add(a_position, four);
        b_position = k_add(b_position, four);
    }
    store(m, n, group, split, s0);
    store(m + 1u, n, group, split, s1);
    store(m + 2u, n, group, split, s2);
    store(m + 3u, n, group, split, s3);
    store(m + 4u, n, group, split, s4);
    store(m + 5u, n, group, split, s5);
    store(m + 6u, n, group, split, s6);
    store(m + 7u, n, group, split, s7);
}
