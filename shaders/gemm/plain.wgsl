// Main loop of the GEMM family for adapters whose workgroups run on CPU cores and that lack subgroups: no workgroup memory and no
// barrier, which such adapters run as coroutines. C[m, n] = epilogue(sum_k A[m, k] B[k, n]); an invocation keeps 8 rows of 4 columns.
// Dispatch: x and y count the tiles of 8 x (4 * LANES) (n fastest), z counts group * n_splits + split. Owner: src/ops/gemm.rs.

const LANES: u32 = 8u;

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) n_workgroups: vec3<u32>,
    @builtin(local_invocation_index) local_ix: u32,
) {
    let tile_ix = workgroup_ix(workgroup_id, n_workgroups);
    let tile_m = tile_ix / params.n_tiles;
    let m = tile_m * 8u;
    let n = ((tile_ix - tile_m * params.n_tiles) * LANES + local_ix) * 4u;
    let group = workgroup_id.z / params.n_splits;
    let split = workgroup_id.z - group * params.n_splits;
    let k_begin = split * params.k_chunk;
    let k_end = min(k_begin + params.k_chunk, params.k);

    let a_upper = a_block_prepare(m, group);
    let a_lower = a_block_prepare(m + 4u, group);
    let b_state = b_block_prepare(n, group);
    var upper = mat4x4<f32>();
    var lower = mat4x4<f32>();
    let four = k_at(4u);
    var p = k_at(k_begin);
    for (var k = k_begin; k < k_end; k += 4u) {
        let bv = b_block(b_state, p);
        let u = a_block(a_upper, p);
        let l = a_block(a_lower, p);
        // Matrix product with c's row as the column: each column r gains sum_j B[k + j] * A[r, k + j].
        upper = multiply_add(bv, u, upper);
        lower = multiply_add(bv, l, lower);
        p = k_add(p, four);
    }
    for (var r = 0u; r < 4u; r++) {
        store(m + r, n, group, split, upper[r]);
        store(m + 4u + r, n, group, split, lower[r]);
    }
}

fn multiply_add(bv: mat4x4<f32>, av: mat4x4<f32>, sum: mat4x4<f32>) -> mat4x4<f32> {
    return mat4x4<f32>(
        row(bv, vec4<f32>(av[0].x, av[1].x, av[2].x, av[3].x), sum[0]),
        row(bv, vec4<f32>(av[0].y, av[1].y, av[2].y, av[3].y), sum[1]),
        row(bv, vec4<f32>(av[0].z, av[1].z, av[2].z, av[3].z), sum[2]),
        row(bv, vec4<f32>(av[0].w, av[1].w, av[2].w, av[3].w), sum[3]),
    );
}
