// Main loop of the GEMM family for GPUs: C[m, n] = epilogue(sum_k A[m, k] B[k, n]) in tiles of TILE_M x TILE_N.
// A workgroup stages 16 columns of A and rows of B in workgroup memory, k-major, as 4 x 4 blocks, a block an invocation; meanwhile
// the next blocks are on their way to registers. An invocation keeps BLOCKS_M x BLOCKS_N (at most 2 x 2) blocks of C in registers,
// named one by one: an array that some compiler doesn't unroll lies in memory.
// Dispatch: a linear grid of `part_of`. Owner: src/ops/gemm.rs.

const TILE_M: u32 = 64u;
const TILE_N: u32 = 64u;
const BLOCKS_M: u32 = 2u;
const BLOCKS_N: u32 = 1u;
const THREADS: u32 = 128u; // (TILE_M / 4 / BLOCKS_M) * (TILE_N / 4 / BLOCKS_N), at least A_BLOCKS + B_BLOCKS

const TILE_K: u32 = 16u;
const ROW_M: u32 = TILE_M / 4u;
const ROW_N: u32 = TILE_N / 4u;
const THREADS_M: u32 = ROW_M / BLOCKS_M;
const THREADS_N: u32 = ROW_N / BLOCKS_N;
const A_BLOCKS: u32 = ROW_M * (TILE_K / 4u);
const B_BLOCKS: u32 = ROW_N * (TILE_K / 4u);

var<workgroup> sh_a: array<vec4<f32>, TILE_K * ROW_M>;
var<workgroup> sh_b: array<vec4<f32>, TILE_K * ROW_N>;

// The block of a tile that an invocation stages: first the next along the operand's memory, so that loads side by side are.
struct Place {
    block: u32,
    k: u32,
}

fn place(i: u32, row: u32, along_k: bool) -> Place {
    if (along_k) {
        return Place(i / 4u, i % 4u * 4u);
    }
    return Place(i % row, i / row * 4u);
}

// Invocations side by side write blocks below each other if memory runs along k. Rows are then permuted so that these lie in
// different banks.
fn permuted(block: u32, k: u32, along_k: bool) -> u32 {
    return select(block, block ^ (k / 4u * 2u), along_k);
}

struct Sums {
    s00: mat4x4<f32>,
    s01: mat4x4<f32>,
    s10: mat4x4<f32>,
    s11: mat4x4<f32>,
}

// Column r of the block is row r of C.
fn outer(av: vec4<f32>, bv: vec4<f32>, sum: mat4x4<f32>) -> mat4x4<f32> {
    return mat4x4<f32>(
        fma(vec4<f32>(av.x), bv, sum[0]),
        fma(vec4<f32>(av.y), bv, sum[1]),
        fma(vec4<f32>(av.z), bv, sum[2]),
        fma(vec4<f32>(av.w), bv, sum[3]),
    );
}

// What an invocation multiplies for one k.
struct Vectors {
    a0: vec4<f32>,
    a1: vec4<f32>,
    b0: vec4<f32>,
    b1: vec4<f32>,
}

fn vectors(thread_m: u32, thread_n: u32, k: u32) -> Vectors {
    let a_ix = k * ROW_M + permuted(thread_m, k, A_ALONG_K);
    let b_ix = k * ROW_N + permuted(thread_n, k, B_ALONG_K);
    var v: Vectors;
    v.a0 = sh_a[a_ix];
    v.b0 = sh_b[b_ix];
    if (BLOCKS_N == 2u) {
        v.b1 = sh_b[b_ix + ROW_N / 2u];
    }
    if (BLOCKS_M == 2u) {
        v.a1 = sh_a[a_ix + ROW_M / 2u];
    }
    return v;
}

fn multiply_add(v: Vectors, sums: ptr<function, Sums>) {
    (*sums).s00 = outer(v.a0, v.b0, (*sums).s00);
    if (BLOCKS_N == 2u) {
        (*sums).s01 = outer(v.a0, v.b1, (*sums).s01);
    }
    if (BLOCKS_M == 2u) {
        (*sums).s10 = outer(v.a1, v.b0, (*sums).s10);
    }
    if (BLOCKS_M == 2u && BLOCKS_N == 2u) {
        (*sums).s11 = outer(v.a1, v.b1, (*sums).s11);
    }
}

// Four k, each read while the one before it is multiplied.
fn multiply_add_4(thread_m: u32, thread_n: u32, k: u32, sums: ptr<function, Sums>) {
    let v0 = vectors(thread_m, thread_n, k);
    let v1 = vectors(thread_m, thread_n, k + 1u);
    multiply_add(v0, sums);
    let v2 = vectors(thread_m, thread_n, k + 2u);
    multiply_add(v1, sums);
    let v3 = vectors(thread_m, thread_n, k + 3u);
    multiply_add(v2, sums);
    multiply_add(v3, sums);
}

fn store_block(m: u32, n: u32, group: u32, split: u32, sum: mat4x4<f32>) {
    let added = bias_at(n, group);
    store(m, n, group, split, sum[0], added);
    store(m + 1u, n, group, split, sum[1], added);
    store(m + 2u, n, group, split, sum[2], added);
    store(m + 3u, n, group, split, sum[3], added);
}

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) n_workgroups: vec3<u32>,
    @builtin(local_invocation_index) local_ix: u32,
) {
    let part = part_of(workgroup_ix(workgroup_id, n_workgroups));
    let m0 = part.tile_m * TILE_M;
    let n0 = part.tile_n * TILE_N;
    let group = part.group;
    let split = part.split;
    let k_begin = split * params.k_chunk;
    let k_end = min(k_begin + params.k_chunk, params.k);

    // Where this invocation's block comes from stays the same in every step over k.
    let loads_a = local_ix < A_BLOCKS;
    let loads_b = THREADS == A_BLOCKS + B_BLOCKS || local_ix < A_BLOCKS + B_BLOCKS;
    let a_place = place(local_ix % A_BLOCKS, ROW_M, A_ALONG_K);
    let b_place = place((local_ix - A_BLOCKS) % B_BLOCKS, ROW_N, B_ALONG_K);
    let a_state = a_block_prepare(m0 + a_place.block * 4u, group);
    let b_state = b_block_prepare(n0 + b_place.block * 4u, group);
    let a_to = a_place.k * ROW_M + permuted(a_place.block, a_place.k, A_ALONG_K);
    let b_to = b_place.k * ROW_N + permuted(b_place.block, b_place.k, B_ALONG_K);
    let one = k_at(1u);
    let step = k_at(TILE_K);
    var position = k_at(k_begin + select(b_place.k, a_place.k, loads_a));

    // The block on its way.
    var next: BlockLoad;
    if (loads_a) {
        next = a_block_fetch(a_state, position, one);
    } else if (loads_b) {
        next = b_block_fetch(b_state, position, one);
    }
    let thread_m = local_ix / THREADS_N;
    let thread_n = local_ix % THREADS_N;
    var sums: Sums;
    for (var k0 = k_begin; k0 < k_end; k0 += TILE_K) {
        if (loads_a) {
            // Loads element by element are zeros already where they are outside: the compiler sees only here that nothing is left to do.
            let v = block_loaded(BlockLoad(next.v, next.inside | vec4<bool>(!A_VECTOR)), A_ALONG_K);
            sh_a[a_to] = v[0];
            sh_a[a_to + ROW_M] = v[1];
            sh_a[a_to + 2u * ROW_M] = v[2];
            sh_a[a_to + 3u * ROW_M] = v[3];
        } else if (loads_b) {
            let v = block_loaded(BlockLoad(next.v, next.inside | vec4<bool>(K_WHOLE || !B_VECTOR)), B_ALONG_K);
            sh_b[b_to] = v[0];
            sh_b[b_to + ROW_N] = v[1];
            sh_b[b_to + 2u * ROW_N] = v[2];
            sh_b[b_to + 3u * ROW_N] = v[3];
        }
        workgroupBarrier();
        // The last step loads its own block again: with a branch around the loads, they would be waited for where the branch ends.
        position = k_add(position, position_if(step, k0 + TILE_K < k_end));
        if (loads_a) {
            next = a_block_fetch(a_state, position, one);
        } else if (loads_b) {
            next = b_block_fetch(b_state, position, one);
        }
        multiply_add_4(thread_m, thread_n, 0u, &sums);
        multiply_add_4(thread_m, thread_n, 4u, &sums);
        multiply_add_4(thread_m, thread_n, 8u, &sums);
        multiply_add_4(thread_m, thread_n, 12u, &sums);
        workgroupBarrier();
    }

    let m = m0 + thread_m * 4u;
    let n = n0 + thread_n * 4u;
    store_block(m, n, group, split, sums.s00);
    if (BLOCKS_N == 2u) {
        store_block(m, n + TILE_N / 2u, group, split, sums.s01);
    }
    if (BLOCKS_M == 2u) {
        store_block(m + TILE_M / 2u, n, group, split, sums.s10);
        if (BLOCKS_N == 2u) {
            store_block(m + TILE_M / 2u, n + TILE_N / 2u, group, split, sums.s11);
        }
    }
}
