// Main loop of the GEMM family for GPUs: C[m, n] = epilogue(sum_k A[m, k] B[k, n]) in tiles of TILE_M x TILE_N.
// A workgroup stages TILE_K columns of A and rows of B in workgroup memory, k-major, as 4 x 4 blocks; an invocation keeps
// BLOCKS_M x BLOCKS_N blocks of C in registers.
// Dispatch: x and y count the tiles (n fastest), z counts group * n_splits + split. Owner: src/ops/gemm.rs.

const TILE_M: u32 = 64u;
const TILE_N: u32 = 64u;
const TILE_K: u32 = 16u;
const BLOCKS_M: u32 = 1u;
const BLOCKS_N: u32 = 1u;
const THREADS: u32 = 256u; // (TILE_M / 4 / BLOCKS_M) * (TILE_N / 4 / BLOCKS_N)

const THREADS_N: u32 = TILE_N / 4u / BLOCKS_N;
const THREADS_M: u32 = TILE_M / 4u / BLOCKS_M;
const A_BLOCKS: u32 = TILE_M / 4u * (TILE_K / 4u);
const B_BLOCKS: u32 = TILE_N / 4u * (TILE_K / 4u);
const A_LOADS: u32 = (A_BLOCKS + THREADS - 1u) / THREADS;
const B_LOADS: u32 = (B_BLOCKS + THREADS - 1u) / THREADS;

var<workgroup> sh_a: array<vec4<f32>, TILE_K * TILE_M / 4u>;
var<workgroup> sh_b: array<vec4<f32>, TILE_K * TILE_N / 4u>;

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) n_workgroups: vec3<u32>,
    @builtin(local_invocation_index) local_ix: u32,
) {
    let tile_ix = workgroup_ix(workgroup_id, n_workgroups);
    let tile_m = tile_ix / params.n_tiles;
    let m0 = tile_m * TILE_M;
    let n0 = (tile_ix - tile_m * params.n_tiles) * TILE_N;
    let group = workgroup_id.z / params.n_splits;
    let split = workgroup_id.z - group * params.n_splits;
    let k_begin = split * params.k_chunk;
    let k_end = min(k_begin + params.k_chunk, params.k);

    // Where this invocation's blocks come from stays the same in every step over k.
    var a_states: array<ABlock, A_LOADS>;
    for (var i = 0u; i < A_LOADS; i++) {
        let block = local_ix + i * THREADS;
        a_states[i] = a_block_prepare(m0 + block % (TILE_M / 4u) * 4u, group);
    }
    var b_states: array<BBlock, B_LOADS>;
    for (var i = 0u; i < B_LOADS; i++) {
        let block = local_ix + i * THREADS;
        b_states[i] = b_block_prepare(n0 + block % (TILE_N / 4u) * 4u, group);
    }

    let thread_m = local_ix / THREADS_N;
    let thread_n = local_ix % THREADS_N;
    var sum: array<mat4x4<f32>, BLOCKS_M * BLOCKS_N>;

    for (var k0 = k_begin; k0 < k_end; k0 += TILE_K) {
        for (var i = 0u; i < A_LOADS; i++) {
            let block = local_ix + i * THREADS;
            if (block < A_BLOCKS) {
                let block_m = block % (TILE_M / 4u);
                let block_k = block / (TILE_M / 4u) * 4u;
                let v = a_block(a_states[i], k_at(k0 + block_k));
                for (var j = 0u; j < 4u; j++) {
                    sh_a[(block_k + j) * (TILE_M / 4u) + block_m] = v[j];
                }
            }
        }
        for (var i = 0u; i < B_LOADS; i++) {
            let block = local_ix + i * THREADS;
            if (block < B_BLOCKS) {
                let block_n = block % (TILE_N / 4u);
                let block_k = block / (TILE_N / 4u) * 4u;
                let v = b_block(b_states[i], k_at(k0 + block_k));
                for (var j = 0u; j < 4u; j++) {
                    sh_b[(block_k + j) * (TILE_N / 4u) + block_n] = v[j];
                }
            }
        }
        workgroupBarrier();
        for (var k = 0u; k < TILE_K; k++) {
            var bv: array<vec4<f32>, BLOCKS_N>;
            for (var j = 0u; j < BLOCKS_N; j++) {
                bv[j] = sh_b[k * (TILE_N / 4u) + thread_n + j * THREADS_N];
            }
            for (var i = 0u; i < BLOCKS_M; i++) {
                let av = sh_a[k * (TILE_M / 4u) + thread_m + i * THREADS_M];
                for (var j = 0u; j < BLOCKS_N; j++) {
                    // Column r of the block is row r of C.
                    let at = i * BLOCKS_N + j;
                    sum[at][0] = fma(vec4<f32>(av.x), bv[j], sum[at][0]);
                    sum[at][1] = fma(vec4<f32>(av.y), bv[j], sum[at][1]);
                    sum[at][2] = fma(vec4<f32>(av.z), bv[j], sum[at][2]);
                    sum[at][3] = fma(vec4<f32>(av.w), bv[j], sum[at][3]);
                }
            }
        }
        workgroupBarrier();
    }

    for (var i = 0u; i < BLOCKS_M; i++) {
        for (var j = 0u; j < BLOCKS_N; j++) {
            let m = m0 + (thread_m + i * THREADS_M) * 4u;
            let n = n0 + (thread_n + j * THREADS_N) * 4u;
            for (var r = 0u; r < 4u; r++) {
                store(m + r, n, group, split, sum[i * BLOCKS_N + j][r]);
            }
        }
    }
}
