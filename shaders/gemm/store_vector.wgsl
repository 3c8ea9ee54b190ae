// Writes of the GEMM family, four elements at once: the columns of a group are a multiple of four. Without a residual, b is bound in its
// place.

@group(0) @binding(4) var<storage, read> residual: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> c: array<vec4<f32>>;

// c[m, n ..= n + 3] of a group and, where k is split, of a split; `added` is the bias of these columns.
fn store(m: u32, n: u32, group: u32, split: u32, sum: vec4<f32>, added: vec4<f32>) {
    if (m < params.m && n < params.n) {
        let i = ((split * params.c_rows + c_row(m, n)) * params.c_stride + group * params.c_group + c_column(n)) / 4u;
        var r = vec4<f32>();
        if (HAS_RESIDUAL) {
            r = residual[i];
        }
        c[i] = epilogue(sum, added, r);
    }
}
