// Operands of a matrix product C[m, n] = sum_k A[m, k] B[k, n].
// a: [m, k], or [k, m] if A_ALONG_K is false. b: [k, n], or [n, k] if B_ALONG_K. c: [m, n]. Owner: src/ops/matmul.rs.

struct Params {
    m: u32,
    n: u32,
    k: u32,
    k_chunk: u32,
    n_tiles: u32,
    n_splits: u32,
    c_stride: u32,
}

const A_ALONG_K: bool = true;
const B_ALONG_K: bool = false;

fn k_at(k: u32) -> Position {
    return Position(k, 0u, 0u, 0u);
}

fn k_add(p: Position, q: Position) -> Position {
    return k_at(p.k + q.k);
}

struct AState {
    m: u32,
    base: u32,
}

fn a_prepare(m: u32, group: u32) -> AState {
    return AState(m, m * params.k);
}

fn a_at(m: u32, k: u32, i: u32) -> f32 {
    if (m < params.m && k < params.k) {
        return a_scalar(i);
    }
    return 0.0;
}

// Along k: (m, k ..= k + 3); else (m ..= m + 3, k).
fn a_load(s: AState, p: Position) -> vec4<f32> {
    let k = p.k;
    let i = select(k * params.m + s.m, s.base + k, A_ALONG_K);
    if (A_VECTOR) {
        if (s.m < params.m && k < params.k) {
            return a_vector(i);
        }
        return vec4<f32>(0.0);
    }
    if (A_ALONG_K) {
        return vec4<f32>(a_at(s.m, k, i), a_at(s.m, k + 1u, i + 1u), a_at(s.m, k + 2u, i + 2u), a_at(s.m, k + 3u, i + 3u));
    }
    return vec4<f32>(a_at(s.m, k, i), a_at(s.m + 1u, k, i + 1u), a_at(s.m + 2u, k, i + 2u), a_at(s.m + 3u, k, i + 3u));
}

struct BState {
    n: u32,
    base: u32,
}

fn b_prepare(n: u32, group: u32) -> BState {
    return BState(n, n * params.k);
}

fn b_at(k: u32, n: u32, i: u32) -> f32 {
    if (k < params.k && n < params.n) {
        return b_scalar(i);
    }
    return 0.0;
}

// Along k: (k ..= k + 3, n); else (k, n ..= n + 3).
fn b_load(s: BState, p: Position) -> vec4<f32> {
    let k = p.k;
    let i = select(k * params.n + s.n, s.base + k, B_ALONG_K);
    if (B_VECTOR) {
        if (k < params.k && s.n < params.n) {
            return b_vector(i);
        }
        return vec4<f32>(0.0);
    }
    if (B_ALONG_K) {
        return vec4<f32>(b_at(k, s.n, i), b_at(k + 1u, s.n, i + 1u), b_at(k + 2u, s.n, i + 2u), b_at(k + 3u, s.n, i + 3u));
    }
    return vec4<f32>(b_at(k, s.n, i), b_at(k, s.n + 1u, i + 1u), b_at(k, s.n + 2u, i + 2u), b_at(k, s.n + 3u, i + 3u));
}
