// Operands of matrix products C[m, n] = sum_k A[m, k] B[k, n]: of one, or of a batch, of which a group is one.
// a: [m, k], or [k, m] if A_ALONG_K is false. b: [k, n], or [n, k] if B_ALONG_K. c: [m, n]. Owner: src/ops/matmul.rs.

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
    a_group: u32, // from a product of a batch to the next
    b_group: u32,
}

const A_ALONG_K: bool = true;
const B_ALONG_K: bool = false;

fn k_at(k: u32) -> Position {
    return Position(k, 0u, 0u, 0u);
}

fn k_add(p: Position, q: Position) -> Position {
    return Position(p.k + q.k, 0u, 0u, 0u);
}

// The row or column, at most the last, and where it starts; `left` counts the rows or columns up to the last.
struct AState {
    base: u32,
    left: u32,
}

fn a_prepare(m: u32, group: u32) -> AState {
    let row = min(m, params.m - 1u);
    let base = select(select(row, row & ~3u, A_VECTOR), row * params.k, A_ALONG_K);
    return AState(group * params.a_group + base, params.m - row);
}

// Along k: (m, k ..= k + 3); else (m ..= m + 3, k).
fn a_fetch(s: AState, p: Position) -> Load {
    if (A_ALONG_K) {
        return a_along(s.base + p.k, params.k - p.k, in_k(p.k));
    }
    return a_along(s.base + p.k * params.m, s.left, in_k(p.k));
}

struct BState {
    base: u32,
    left: u32,
}

fn b_prepare(n: u32, group: u32) -> BState {
    let column = min(n, params.n - 1u);
    let base = select(select(column, column & ~3u, B_VECTOR), column * params.k, B_ALONG_K);
    return BState(group * params.b_group + base, params.n - column);
}

// Along k: (k ..= k + 3, n); else (k, n ..= n + 3).
fn b_fetch(s: BState, p: Position) -> Load {
    if (B_ALONG_K) {
        return b_along(s.base + p.k, params.k - p.k, in_k(p.k));
    }
    return b_along(s.base + p.k * params.n, s.left, in_k(p.k));
}

fn c_row(m: u32) -> u32 {
    return m;
}
