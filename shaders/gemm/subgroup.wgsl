// Main loop of the GEMM family for adapters whose workgroups run on CPU cores: a workgroup is one subgroup of LANES (4 or 8), which
// needs no barrier. C[m, n] = epilogue(sum_k A[m, k] B[k, n]); an invocation keeps all rows of the tile and 4 of its columns. Such
// adapters load lane by lane, which costs more than the arithmetic: so tiles are large, and a step of 4 k loads each element of A
// and B once. A lane's vec4 of A are handed to all lanes by broadcasts.
// Dispatch: a linear grid of `part_of`, with tiles of (A_LOADS * LANES) x (4 * LANES).
// Owner: src/ops/gemm.rs.

const LANES: u32 = 8u;
// vec4 of A that a lane loads in a step: 1, 2 or 4.
const A_LOADS: u32 = 4u;

// A lane's loads of A are LANES rows apart. Along k: row `lane` of k ..= k + 3. Else: rows 4 * (lane / 4) ..= + 3 of k + lane % 4.
fn a_row(lane: u32) -> u32 {
    return select(lane / 4u * 4u, lane, A_ALONG_K);
}

fn a_step(lane: u32) -> u32 {
    return select(lane % 4u, 0u, A_ALONG_K);
}

// Four rows r of C gain the products of A[r, k ..= k + 3] with B, where av is what four lanes loaded.
fn four_rows(bv: mat4x4<f32>, av: mat4x4<f32>, sum: mat4x4<f32>) -> mat4x4<f32> {
    var rows = av;
    if (!A_ALONG_K) {
        rows = transpose(av);
    }
    return mat4x4<f32>(row(bv, rows[0], sum[0]), row(bv, rows[1], sum[1]), row(bv, rows[2], sum[2]), row(bv, rows[3], sum[3]));
}

fn lower_lanes(v: vec4<f32>) -> mat4x4<f32> {
    return mat4x4<f32>(subgroupBroadcast(v, 0u), subgroupBroadcast(v, 1u), subgroupBroadcast(v, 2u), subgroupBroadcast(v, 3u));
}

// The last four lanes; only called where they aren't the first four, too.
fn upper_lanes(v: vec4<f32>) -> mat4x4<f32> {
    const FIRST: u32 = LANES - 4u;
    return mat4x4<f32>(
        subgroupBroadcast(v, FIRST),
        subgroupBroadcast(v, FIRST + 1u),
        subgroupBroadcast(v, FIRST + 2u),
        subgroupBroadcast(v, FIRST + 3u),
    );
}

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) n_workgroups: vec3<u32>,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let part = part_of(workgroup_ix(workgroup_id, n_workgroups));
    let m = part.tile_m * A_LOADS * LANES;
    let n = (part.tile_n * LANES + lane) * 4u;
    let group = part.group;
    let split = part.split;
    let k_begin = split * params.k_chunk;
    let k_end = min(k_begin + params.k_chunk, params.k);

    let m_load = m + a_row(lane);
    let a_0 = a_prepare(m_load, group);
    let a_1 = a_prepare(m_load + LANES, group);
    let a_2 = a_prepare(m_load + 2u * LANES, group);
    let a_3 = a_prepare(m_load + 3u * LANES, group);
    let b_state = b_block_prepare(n, group);
    let four = k_at(4u);
    var a_position = k_at(k_begin + a_step(lane));
    var b_position = k_at(k_begin);
    // The rows of a load, from lower and upper lanes. Without a loop over the loads, whose iterations would count.
    var lower_0 = mat4x4<f32>();
    var lower_1 = mat4x4<f32>();
    var lower_2 = mat4x4<f32>();
    var lower_3 = mat4x4<f32>();
    var upper_0 = mat4x4<f32>();
    var upper_1 = mat4x4<f32>();
    var upper_2 = mat4x4<f32>();
    var upper_3 = mat4x4<f32>();
    for (var k = k_begin; k < k_end; k += 4u) {
        if (A_ALONG_K) {
            b_position = a_position;
        }
        let bv = b_block(b_state, b_position);
        let v_0 = a_load(a_0, a_position);
        lower_0 = four_rows(bv, lower_lanes(v_0), lower_0);
        if (LANES > 4u) {
            upper_0 = four_rows(bv, upper_lanes(v_0), upper_0);
        }
        if (A_LOADS > 1u) {
            let v_1 = a_load(a_1, a_position);
            lower_1 = four_rows(bv, lower_lanes(v_1), lower_1);
            if (LANES > 4u) {
                upper_1 = four_rows(bv, upper_lanes(v_1), upper_1);
            }
        }
        if (A_LOADS > 2u) {
            let v_2 = a_load(a_2, a_position);
            let v_3 = a_load(a_3, a_position);
            lower_2 = four_rows(bv, lower_lanes(v_2), lower_2);
            lower_3 = four_rows(bv, lower_lanes(v_3), lower_3);
            if (LANES > 4u) {
                upper_2 = four_rows(bv, upper_lanes(v_2), upper_2);
                upper_3 = four_rows(bv, upper_lanes(v_3), upper_3);
            }
        }
        a_position = k_add(a_position, four);
        b_position = k_add(b_position, four);
    }
    let added = bias_at(n, group);
    // Always the first four rows, and then all move up: code for four rows instead of for all, as such adapters compile slowly what they
    // would unroll. They don't as long as they don't know the number of rows.
    let m_end = min(m + A_LOADS * LANES, params.m);
    for (var row_m = m; row_m < m_end; row_m += 4u) {
        store(row_m, n, group, split, lower_0[0], added);
        store(row_m + 1u, n, group, split, lower_0[1], added);
        store(row_m + 2u, n, group, split, lower_0[2], added);
        store(row_m + 3u, n, group, split, lower_0[3], added);
        if (LANES > 4u) {
            lower_0 = upper_0;
            upper_0 = lower_1;
            lower_1 = upper_1;
            upper_1 = lower_2;
            lower_2 = upper_2;
            upper_2 = lower_3;
            lower_3 = upper_3;
        } else {
            lower_0 = lower_1;
            lower_1 = lower_2;
            lower_2 = lower_3;
        }
    }
}
