// Main loop of the GEMM family for adapters whose workgroups run on CPU cores and that lack subgroups: no workgroup memory and no
// barrier, which such adapters run as coroutines. C[m, n] = epilogue(sum_k A[m, k] B[k, n]); an invocation keeps 16 rows of 8 columns,
// in two fours that are 4 * LANES apart.
// Dispatch: x and y count the tiles of 16 x (8 * LANES) (n fastest), z counts group * n_splits + split. Owner: src/ops/gemm.rs.

const LANES: u32 = 8u;

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) n_workgroups: vec3<u32>,
    @builtin(local_invocation_index) local_ix: u32,
) {
    let tile_ix = workgroup_ix(workgroup_id, n_workgroups);
    let tile_m = tile_ix / params.n_tiles;
    let m = tile_m * 16u;
    let n_left = ((tile_ix - tile_m * params.n_tiles) * 2u * LANES + local_ix) * 4u;
    let n_right = n_left + 4u * LANES;
    let group = workgroup_id.z / params.n_splits;
    let split = workgroup_id.z - group * params.n_splits;
    let k_begin = split * params.k_chunk;
    let k_end = min(k_begin + params.k_chunk, params.k);

    let a_0 = a_block_prepare(m, group);
    let a_1 = a_block_prepare(m + 4u, group);
    let a_2 = a_block_prepare(m + 8u, group);
    let a_3 = a_block_prepare(m + 12u, group);
    let b_left = b_block_prepare(n_left, group);
    let b_right = b_block_prepare(n_right, group);
    var left_0 = mat4x4<f32>();
    var left_1 = mat4x4<f32>();
    var left_2 = mat4x4<f32>();
    var left_3 = mat4x4<f32>();
    var right_0 = mat4x4<f32>();
    var right_1 = mat4x4<f32>();
    var right_2 = mat4x4<f32>();
    var right_3 = mat4x4<f32>();
    let four = k_at(4u);
    var p = k_at(k_begin);
    for (var k = k_begin; k < k_end; k += 4u) {
        let left = b_block(b_left, p);
        let right = b_block(b_right, p);
        let av_0 = a_block(a_0, p);
        left_0 = multiply_add(left, av_0, left_0);
        right_0 = multiply_add(right, av_0, right_0);
        let av_1 = a_block(a_1, p);
        left_1 = multiply_add(left, av_1, left_1);
        right_1 = multiply_add(right, av_1, right_1);
        let av_2 = a_block(a_2, p);
        left_2 = multiply_add(left, av_2, left_2);
        right_2 = multiply_add(right, av_2, right_2);
        let av_3 = a_block(a_3, p);
        left_3 = multiply_add(left, av_3, left_3);
        right_3 = multiply_add(right, av_3, right_3);
        p = k_add(p, four);
    }
    for (var r = 0u; r < 4u; r++) {
        store(m + r, n_left, group, split, left_0[r]);
        store(m + r, n_right, group, split, right_0[r]);
        store(m + 4u + r, n_left, group, split, left_1[r]);
        store(m + 4u + r, n_right, group, split, right_1[r]);
        store(m + 8u + r, n_left, group, split, left_2[r]);
        store(m + 8u + r, n_right, group, split, right_2[r]);
        store(m + 12u + r, n_left, group, split, left_3[r]);
        store(m + 12u + r, n_right, group, split, right_3[r]);
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
