// Main loop of the GEMM family for GPUs: C[m, n] = epilogue(sum_k A[m, k] B[k, n]) in tiles of TILE_M x TILE_N.
// A workgroup stages 16 columns of A and rows of B in workgroup memory, k-major, as 4 x 4 blocks; meanwhile the next blocks are on their
// way to registers. An invocation keeps BLOCKS_M x BLOCKS_N (at most 2 x 2) blocks of C in registers, named one by one: an array that
// some compiler doesn't unroll lies in memory.
// Dispatch: a linear grid of `part_of`. Owner: src/ops/gemm.rs.

const TILE_M: u32 = 64u;
const TILE_N: u32 = 64u;
const BLOCKS_M: u32 = 2u;
const BLOCKS_N: u32 = 1u;
const THREADS: u32 = 128u; // (TILE_M / 4 / BLOCKS_M) * (TILE_N / 4 / BLOCKS_N)

const TILE_K: u32 = 16u;
const ROW_M: u32 = TILE_M / 4u;
const ROW_N: u32 = TILE_N / 4u;
const THREADS_M: u32 = ROW_M / BLOCKS_M;
const THREADS_N: u32 = ROW_N / BLOCKS_N;
const A_BLOCKS: u32 = ROW_M * (TILE_K / 4u);
const B_BLOCKS: u32 = ROW_N * (TILE_K / 4u);
// Invocations stage a block of A or of B each, or, if there are too few of them, all of them one or two of A and some one of B, too: for
// the same block, all of them load, so that no branch stands around loads.
const TOGETHER: bool = THREADS < A_BLOCKS + B_BLOCKS;
const A_TWICE: bool = THREADS < A_BLOCKS; // the second block is half a tile further down
const A_ROW: u32 = select(ROW_M, ROW_M / 2u, A_TWICE);
const A_LOADERS: u32 = A_ROW * (TILE_K / 4u);

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
// different banks: within eights or fours, whichever divides a row's `threads`, as what an invocation reads lies that far apart.
fn permuted(block: u32, k: u32, threads: u32, along_k: bool) -> u32 {
    return select(block, block ^ (k / 4u * 2u % select(8u, 4u, threads % 8u == 4u)), along_k);
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
    let a_ix = k * ROW_M + permuted(thread_m, k, THREADS_M, A_ALONG_K);
    let b_ix = k * ROW_N + permuted(thread_n, k, THREADS_N, B_ALONG_K);
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

// Loads element by element are zeros already where they are outside: the compiler sees only here that nothing is left to do.
fn stage_a(to: u32, load: BlockLoad) {
    let v = block_loaded(BlockLoad(load.v, load.inside | vec4<bool>(!A_VECTOR)), A_ALONG_K);
    sh_a[to] = v[0];
    sh_a[to + ROW_M] = v[1];
    sh_a[to + 2u * ROW_M] = v[2];
    sh_a[to + 3u * ROW_M] = v[3];
}

fn stage_b(to: u32, load: BlockLoad) {
    let v = block_loaded(BlockLoad(load.v, load.inside | vec4<bool>(K_WHOLE && !JOINED || !B_VECTOR)), B_ALONG_K);
    sh_b[to] = v[0];
    sh_b[to + ROW_N] = v[1];
    sh_b[to + 2u * ROW_N] = v[2];
    sh_b[to + 3u * ROW_N] = v[3];
}

// Where a block lies whose first k is the step's and `k`.
fn in_step(p: Position, k: u32) -> Position {
    if (K_ALIGNED) {
        return k_within(p, k);
    }
    return p;
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

    // Where this invocation's blocks come from stays the same in every step over k.
    let loads_a = TOGETHER || local_ix < A_LOADERS;
    let b_ix = local_ix - select(A_LOADERS, 0u, TOGETHER);
    let loads_b = THREADS == A_LOADERS + B_BLOCKS || b_ix < B_BLOCKS;
    let a_place = place(local_ix % A_LOADERS, A_ROW, A_ALONG_K);
    let b_place = place(b_ix % B_BLOCKS, ROW_N, B_ALONG_K);
    let a_state = a_block_prepare(m0 + a_place.block * 4u, group);
    let a_state_2 = a_block_prepare(m0 + (a_place.block + A_ROW) * 4u, group);
    let b_state = b_block_prepare(n0 + b_place.block * 4u, group);
    let a_to = a_place.k * ROW_M + permuted(a_place.block, a_place.k, THREADS_M, A_ALONG_K);
    let b_to = b_place.k * ROW_N + permuted(b_place.block, b_place.k, THREADS_N, B_ALONG_K);
    let one = k_at(1u);
    let step = k_at(TILE_K);
    // If aligned, the step's, and so the same for all invocations.
    let own_k = select(b_place.k, a_place.k, loads_a);
    var position = k_at(k_begin + select(own_k, 0u, K_ALIGNED));
    var b_position = k_at(k_begin + select(b_place.k, 0u, K_ALIGNED));

    // The blocks on their way, and where the next ones lie. Without TOGETHER, `next` is one of A or of B, by the invocation.
    var next: BlockLoad;
    var next_2: BlockLoad;
    var b_next: BlockLoad;
    var taps: BlockTaps;
    var taps_2: BlockTaps;
    var b_taps: BlockTaps;
    if (loads_a) {
        let p = in_step(position, a_place.k);
        next = a_block_fetch(a_block_taps(a_state, p, one), a_state, p, one);
        if (A_TWICE) {
            next_2 = a_block_fetch(a_block_taps(a_state_2, p, one), a_state_2, p, one);
        }
    } else if (loads_b) {
        let p = in_step(position, b_place.k);
        next = b_block_fetch(b_block_taps(b_state, p, one), b_state, p, one);
    }
    if (TOGETHER) {
        let p = in_step(b_position, b_place.k);
        b_next = b_block_fetch(b_block_taps(b_state, p, one), b_state, p, one);
    }
    let thread_m = local_ix / THREADS_N;
    let thread_n = local_ix % THREADS_N;
    var sums: Sums;
    for (var k0 = k_begin; k0 < k_end; k0 += TILE_K) {
        // The last step loads its own blocks again: with a branch around the loads, they would be waited for where the branch ends.
        let further = position_if(step, k0 + TILE_K < k_end);
        position = k_add(position, further);
        b_position = k_add(b_position, further);
        // All taps are found while the blocks before still fill their registers. So nothing else is put there, the next blocks go to
        // the same ones, and none has to be moved, for which it would be waited for.
        if (TOGETHER) {
            b_taps = b_block_taps(b_state, in_step(b_position, b_place.k), one);
        }
        if (loads_a) {
            taps = a_block_taps(a_state, in_step(position, a_place.k), one);
            if (A_TWICE) {
                taps_2 = a_block_taps(a_state_2, in_step(position, a_place.k), one);
                stage_a(a_to + A_ROW, next_2);
            }
            stage_a(a_to, next);
        } else if (loads_b) {
            taps = b_block_taps(b_state, in_step(position, b_place.k), one);
            stage_b(b_to, next);
        }
        if (TOGETHER && loads_b) {
            stage_b(b_to, b_next);
        }
        workgroupBarrier();
        if (loads_a) {
            let p = in_step(position, a_place.k);
            next = a_block_fetch(taps, a_state, p, one);
            if (A_TWICE) {
                next_2 = a_block_fetch(taps_2, a_state_2, p, one);
            }
        } else if (loads_b) {
            next = b_block_fetch(taps, b_state, in_step(position, b_place.k), one);
        }
        if (TOGETHER) {
            b_next = b_block_fetch(b_taps, b_state, in_step(b_position, b_place.k), one);
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
