// Operands of a convolution's gradient by its weights as a GEMM: m runs over (k_h, k_w, c_in / groups), k over (n, h_out, w_out), n
// over c_out / groups. a: x [n, h_in, w_in, c_in]. b: dy [n, h_out, w_out, c_out]. c: dw [k_h, k_w, c_in / groups, c_out].
// Owner: src/ops/conv2d.rs.

struct Params {
    m: u32,
    n: u32,
    k: u32,
    k_chunk: u32,
    n_tiles: u32,
    n_splits: u32,
    c_stride: u32,
    h_in: u32,
    w_in: u32,
    c_in: u32,
    c_in_group: u32,
    h_out: u32,
    w_out: u32,
    c_out: u32,
    k_w: u32,
    stride_h: u32,
    stride_w: u32,
    dilation_h: u32,
    dilation_w: u32,
    pad_top: u32,
    pad_left: u32,
}

const A_ALONG_K: bool = false;
const B_ALONG_K: bool = false;

// A weight's tap, as a distance in the input, and its channel. A row beyond the last has an h that lies outside every input.
struct Tap {
    h: i32,
    w: i32,
    c: u32,
}

// Of four weights; vector loads need only the first.
struct AState {
    t0: Tap,
    t1: Tap,
    t2: Tap,
    t3: Tap,
}

fn tap_of(m: u32, group: u32) -> Tap {
    let tap = m / params.c_in_group;
    let c = m - tap * params.c_in_group;
    let k_h = tap / params.k_w;
    let k_w = tap - k_h * params.k_w;
    let h = i32(k_h * params.dilation_h) - i32(params.pad_top);
    let w = i32(k_w * params.dilation_w) - i32(params.pad_left);
    return Tap(select(h, -0x40000000, m >= params.m), w, group * params.c_in_group + c);
}

fn a_prepare(m: u32, group: u32) -> AState {
    return AState(tap_of(m, group), tap_of(m + 1u, group), tap_of(m + 2u, group), tap_of(m + 3u, group));
}

fn k_at(k: u32) -> Position {
    return digits(k, params.h_out, params.w_out);
}

fn k_add(p: Position, q: Position) -> Position {
    return add_digits(p, q, params.h_out, params.w_out);
}

fn input_row(t: Tap, p: Position) -> i32 {
    return i32(p.mid * params.stride_h) + t.h;
}

fn input_column(t: Tap, p: Position) -> i32 {
    return i32(p.low * params.stride_w) + t.w;
}

fn inside(t: Tap, p: Position) -> bool {
    let h = input_row(t, p);
    let w = input_column(t, p);
    return h >= 0 && h < i32(params.h_in) && w >= 0 && w < i32(params.w_in) && p.k < params.k;
}

fn index(t: Tap, p: Position) -> u32 {
    return ((p.high * params.h_in + u32(input_row(t, p))) * params.w_in + u32(input_column(t, p))) * params.c_in + t.c;
}

fn a_at(t: Tap, p: Position) -> f32 {
    if (inside(t, p)) {
        return a_scalar(index(t, p));
    }
    return 0.0;
}

// (m ..= m + 3, k)
fn a_load(s: AState, p: Position) -> vec4<f32> {
    if (A_VECTOR) {
        if (inside(s.t0, p)) {
            return a_vector(index(s.t0, p));
        }
        return vec4<f32>(0.0);
    }
    return vec4<f32>(a_at(s.t0, p), a_at(s.t1, p), a_at(s.t2, p), a_at(s.t3, p));
}

struct BState {
    n: u32,
    base: u32,
}

fn b_prepare(n: u32, group: u32) -> BState {
    return BState(n, group * params.n + n);
}

fn b_at(k: u32, n: u32, i: u32) -> f32 {
    if (k < params.k && n < params.n) {
        return b_scalar(i);
    }
    return 0.0;
}

fn b_load(s: BState, p: Position) -> vec4<f32> {
    let k = p.k;
    let i = k * params.c_out + s.base;
    if (B_VECTOR) {
        if (k < params.k && s.n < params.n) {
            return b_vector(i);
        }
        return vec4<f32>(0.0);
    }
    return vec4<f32>(b_at(k, s.n, i), b_at(k, s.n + 1u, i + 1u), b_at(k, s.n + 2u, i + 2u), b_at(k, s.n + 3u, i + 3u));
}
