// Writes of the GEMM family, element by element.

@group(0) @binding(4) var<storage, read_write> c: array<f32>;

// c[m, n ..= n + 3] of a group and, where k is split, of a split.
fn store(m: u32, n: u32, group: u32, split: u32, sum: vec4<f32>) {
    if (m >= params.m) {
        return;
    }
    let y = epilogue(sum, group, n);
    let i = (split * params.c_rows + c_row(m)) * params.c_stride + group * params.n + n;
    if (n < params.n) {
        c[i] = y.x;
    }
    if (n + 1u < params.n) {
        c[i + 1u] = y.y;
    }
    if (n + 2u < params.n) {
        c[i + 2u] = y.z;
    }
    if (n + 3u < params.n) {
        c[i + 3u] = y.w;
    }
}
