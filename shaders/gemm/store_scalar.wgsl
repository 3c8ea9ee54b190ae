// Writes of the GEMM family, element by element. Without a residual, b is bound in its place.

@group(0) @binding(4) var<storage, read> residual: array<f32>;
@group(0) @binding(5) var<storage, read_write> c: array<f32>;

fn residual_at(n: u32, i: u32) -> f32 {
    if (n < params.n) {
        return residual[i];
    }
    return 0.0;
}

fn c_index(m: u32, n: u32, group: u32, split: u32) -> u32 {
    return (split * params.c_rows + c_row(m, n)) * params.c_stride + group * params.c_group + c_column(n);
}

// c[m, n ..= n + 3] of a group and, where k is split, of a split; `added` is the bias of these columns.
fn store(m: u32, n: u32, group: u32, split: u32, sum: vec4<f32>, added: vec4<f32>) {
    if (m >= params.m) {
        return;
    }
    let i = vec4<u32>(
        c_index(m, n, group, split),
        c_index(m, n + 1u, group, split),
        c_index(m, n + 2u, group, split),
        c_index(m, n + 3u, group, split),
    );
    var r = vec4<f32>();
    if (HAS_RESIDUAL) {
        r = vec4<f32>(residual_at(n, i.x), residual_at(n + 1u, i.y), residual_at(n + 2u, i.z), residual_at(n + 3u, i.w));
    }
    let y = epilogue(sum, added, r);
    if (n < params.n) {
        c[i.x] = y.x;
    }
    if (n + 1u < params.n) {
        c[i.y] = y.y;
    }
    if (n + 2u < params.n) {
        c[i.z] = y.z;
    }
    if (n + 3u < params.n) {
        c[i.w] = y.w;
    }
}
