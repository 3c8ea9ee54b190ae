// Main loop of the GEMM family without workgroup memory and subgroups: for adapters whose workgroups run on CPU cores, which run a barrier
// as coroutines, and where rows or columns of C are few. C[m, n] = epilogue(sum_k A[m, k] B[k, n]); an invocation keeps
// BLOCKS_M x BLOCKS_N blocks of 4 x 4. The invocations of a workgroup lie side by side in columns, or LANES_ALONG_M in rows; their blocks
// along that axis are 4 * LANES apart, so that loads side by side are neighbours.
// Dispatch: a linear grid of `part_of`, with tiles of 4 * BLOCKS_M x 4 * BLOCKS_N, times LANES along their axis. Owner: src/ops/gemm.rs.

const LANES: u32 = 8u;
const LANES_ALONG_M: bool = false;
const BLOCKS_M: u32 = 4u;
const BLOCKS_N: u32 = 2u;
const STEP_M: u32 = select(4u, 4u * LANES, LANES_ALONG_M);
const STEP_N: u32 = select(4u * LANES, 4u, LANES_ALONG_M);

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) n_workgroups: vec3<u32>,
    @builtin(local_invocation_index) local_ix: u32,
) {
    let part = part_of(workgroup_ix(workgroup_id, n_workgroups));
    let m = part.tile_m * BLOCKS_M * STEP_M + select(0u, local_ix * 4u, LANES_ALONG_M);
    let n = part.tile_n * BLOCKS_N * STEP_N + select(local_ix * 4u, 0u, LANES_ALONG_M);
    let group = part.group;
    let split = part.split;
    let k_begin = split * params.k_chunk;
    let k_end = min(k_begin + params.k_chunk, params.k);

    var a_states: array<ABlock, BLOCKS_M>;
    for (var i = 0u; i < BLOCKS_M; i++) {
        a_states[i] = a_block_prepare(m + i * STEP_M, group);
    }
    var b_states: array<BBlock, BLOCKS_N>;
    for (var j = 0u; j < BLOCKS_N; j++) {
        b_states[j] = b_block_prepare(n + j * STEP_N, group);
    }
    var sums: array<mat4x4<f32>, BLOCKS_M * BLOCKS_N>;
    let four = k_at(4u);
    var p = k_at(k_begin);
    for (var k = k_begin; k < k_end; k += 4u) {
        var bv: array<mat4x4<f32>, BLOCKS_N>;
        for (var j = 0u; j < BLOCKS_N; j++) {
            bv[j] = b_block(b_states[j], p);
        }
        for (var i = 0u; i < BLOCKS_M; i++) {
            let av = a_block(a_states[i], p);
            for (var j = 0u; j < BLOCKS_N; j++) {
                sums[i * BLOCKS_N + j] = multiply_add(bv[j], av, sums[i * BLOCKS_N + j]);
            }
        }
        p = k_add(p, four);
    }
    var added: array<vec4<f32>, BLOCKS_N>;
    for (var j = 0u; j < BLOCKS_N; j++) {
        added[j] = bias_at(n + j * STEP_N, group);
    }
    // Always the first row, and then all move up by one: code for one row of blocks instead of for all, as such adapters compile
    // slowly what they would unroll. They don't as long as they don't know the number of rows.
    let m_end = min(m + BLOCKS_M * STEP_M, params.m);
    for (var row_m = m; row_m < m_end; row_m += STEP_M) {
        for (var j = 0u; j < BLOCKS_N; j++) {
            for (var r = 0u; r < 4u; r++) {
                store(row_m + r, n + j * STEP_N, group, split, sums[j][r], added[j]);
            }
        }
        for (var i = BLOCKS_N; i < BLOCKS_M * BLOCKS_N; i++) {
            sums[i - BLOCKS_N] = sums[i];
        }
    }
}

// Matrix product with c's row as the column: each column r gains sum_j B[k + j] * A[r, k + j].
fn multiply_add(bv: mat4x4<f32>, av: mat4x4<f32>, sum: mat4x4<f32>) -> mat4x4<f32> {
    return mat4x4<f32>(
        row(bv, vec4<f32>(av[0].x, av[1].x, av[2].x, av[3].x), sum[0]),
        row(bv, vec4<f32>(av[0].y, av[1].y, av[2].y, av[3].y), sum[1]),
        row(bv, vec4<f32>(av[0].z, av[1].z, av[2].z, av[3].z), sum[2]),
        row(bv, vec4<f32>(av[0].w, av[1].w, av[2].w, av[3].w), sum[3]),
    );
}
