// Blocks of 4 x 4 elements of A and B with k as the matrix column, whichever way the operand's memory runs, and the epilogue:
// c = activate(sum + bias). Imported by every main loop, after its operand.

const HAS_BIAS: bool = false;

struct ABlock {
    s0: AState,
    s1: AState,
    s2: AState,
    s3: AState,
}

fn a_block_prepare(m: u32, group: u32) -> ABlock {
    let s0 = a_prepare(m, group);
    if (A_ALONG_K) {
        return ABlock(s0, a_prepare(m + 1u, group), a_prepare(m + 2u, group), a_prepare(m + 3u, group));
    }
    return ABlock(s0, s0, s0, s0);
}

// Column j holds A[m ..= m + 3, k + j], where p stands at k.
fn a_block(s: ABlock, p: Position) -> mat4x4<f32> {
    if (A_ALONG_K) {
        return transpose(mat4x4<f32>(a_load(s.s0, p), a_load(s.s1, p), a_load(s.s2, p), a_load(s.s3, p)));
    }
    let one = k_at(1u);
    let p1 = k_add(p, one);
    let p2 = k_add(p1, one);
    return mat4x4<f32>(a_load(s.s0, p), a_load(s.s0, p1), a_load(s.s0, p2), a_load(s.s0, k_add(p2, one)));
}

struct BBlock {
    s0: BState,
    s1: BState,
    s2: BState,
    s3: BState,
}

fn b_block_prepare(n: u32, group: u32) -> BBlock {
    let s0 = b_prepare(n, group);
    if (B_ALONG_K) {
        return BBlock(s0, b_prepare(n + 1u, group), b_prepare(n + 2u, group), b_prepare(n + 3u, group));
    }
    return BBlock(s0, s0, s0, s0);
}

// Column j holds B[k + j, n ..= n + 3].
fn b_block(s: BBlock, p: Position) -> mat4x4<f32> {
    if (B_ALONG_K) {
        return transpose(mat4x4<f32>(b_load(s.s0, p), b_load(s.s1, p), b_load(s.s2, p), b_load(s.s3, p)));
    }
    let one = k_at(1u);
    let p1 = k_add(p, one);
    let p2 = k_add(p1, one);
    return mat4x4<f32>(b_load(s.s0, p), b_load(s.s0, p1), b_load(s.s0, p2), b_load(s.s0, k_add(p2, one)));
}

// sum + A[r, k ..= k + 3] B[k ..= k + 3, n ..= n + 3] for one row r, as one chain.
fn row(bv: mat4x4<f32>, av: vec4<f32>, sum: vec4<f32>) -> vec4<f32> {
    var y = fma(vec4<f32>(av.x), bv[0], sum);
    y = fma(vec4<f32>(av.y), bv[1], y);
    y = fma(vec4<f32>(av.z), bv[2], y);
    return fma(vec4<f32>(av.w), bv[3], y);
}

fn bias_at(n: u32, i: u32) -> f32 {
    if (n < params.n) {
        return bias[i];
    }
    return 0.0;
}

// c for columns n ..= n + 3 of a group.
fn epilogue(sum: vec4<f32>, group: u32, n: u32) -> vec4<f32> {
    var y = sum;
    if (HAS_BIAS) {
        let i = group * params.n + n;
        y += vec4<f32>(bias_at(n, i), bias_at(n + 1u, i + 1u), bias_at(n + 2u, i + 2u), bias_at(n + 3u, i + 3u));
    }
    return activate(y);
}
