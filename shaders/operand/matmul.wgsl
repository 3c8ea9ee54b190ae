// Operands of matrix products C[m, n] = sum_k A[m, k] B[k, n]: of one, or of a batch, of which a group is one.
// a: [m, k], or [k, m] if A_ALONG_K is false. b: [k, n], or [n, k] if B_ALONG_K. c: [m, n]. If STRIDED, a and b are read element by
// element, whichever way their memory runs: one kernel for all of odd sizes. Owner: src/ops/matmul.rs.

struct Params {
    m: u32,
    n: u32,
    k: u32,
    k_chunk: u32,
    n_tiles: u32,
    n_splits: u32,
    n_slices: u32,
    c_stride: u32,
    c_rows: u32,
    c_group: u32,
    n_biased: u32, // n, or 0 without a bias
    a_group: u32, // from a product of a batch to the next
    b_group: u32,
    a_m: u32, // from a row of A to the next
    a_k: u32, // from a column of A to the next
    b_k: u32,
    b_n: u32,
}

const A_ALONG_K: bool = true;
const B_ALONG_K: bool = false;
const STRIDED: bool = false;

fn k_at(k: u32) -> Position {
    return Position(k, 0u, 0u, 0u);
}

fn k_add(p: Position, q: Position) -> Position {
    return Position(p.k + q.k, 0u, 0u, 0u);
}

// Where the row, at most the last, starts; `left` counts the rows up to the last.
struct AState {
    base: u32,
    left: u32,
}

fn a_prepare(m: u32, group: u32) -> AState {
    let row = min(m, params.m - 1u);
    let first = select(row, row & ~3u, A_VECTOR && !A_ALONG_K);
    return AState(a_len(group * params.a_group + first * params.a_m), params.m - row);
}

// Along k: (m, k ..= k + 3); else (m ..= m + 3, k).
fn a_tap(s: AState, p: Position) -> Tap {
    return Tap(s.base + select(p.k * a_len(params.a_k), a_len(p.k), A_ALONG_K), in_k(p.k));
}

fn a_elements(s: AState, p: Position) -> vec4<f32> {
    if (STRIDED) {
        let i0 = s.base + p.k * params.a_k;
        let i1 = i0 + params.a_k;
        let i2 = i1 + params.a_k;
        return vec4<f32>(
            a_scalar(i0, in_k(p.k)),
            a_scalar(i1, in_k(p.k + 1u)),
            a_scalar(i2, in_k(p.k + 2u)),
            a_scalar(i2 + params.a_k, in_k(p.k + 3u)),
        );
    }
    let t = a_tap(s, p);
    return a_along(t.i, select(s.left, params.k - p.k, A_ALONG_K), t.inside);
}

// The column likewise, and the three after it from there on, or the last of all.
struct BState {
    base: u32,
    left: u32,
    next: vec3<u32>,
}

fn b_prepare(n: u32, group: u32) -> BState {
    let column = min(n, params.n - 1u);
    let first = select(column, column & ~3u, B_VECTOR && !B_ALONG_K);
    let left = params.n - column;
    return BState(b_len(group * params.b_group + first * params.b_n), left, min(vec3<u32>(1u, 2u, 3u), vec3<u32>(left - 1u)) * params.b_n);
}

// Along k: (k ..= k + 3, n); else (k, n ..= n + 3).
fn b_tap(s: BState, p: Position) -> Tap {
    return Tap(s.base + select(p.k * b_len(params.b_k), b_len(p.k), B_ALONG_K), in_k(p.k));
}

fn b_elements(s: BState, p: Position) -> vec4<f32> {
    if (STRIDED) {
        let i = s.base + p.k * params.b_k;
        let inside = in_k(p.k);
        return vec4<f32>(
            b_scalar(i, inside),
            b_scalar(i + s.next.x, inside),
            b_scalar(i + s.next.y, inside),
            b_scalar(i + s.next.z, inside),
        );
    }
    let t = b_tap(s, p);
    return b_along(t.i, select(s.left, params.k - p.k, B_ALONG_K), t.inside);
}

fn c_row(m: u32, n: u32) -> u32 {
    return m;
}
