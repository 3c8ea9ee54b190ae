// Operands of a convolution's gradient by its weights as a GEMM: m runs over (k_h, k_w, c_in / groups), k over (n, h_out, w_out), n
// over c_out / groups. a: x [n, h_in, w_in, c_in]. b: dy [n, h_out, w_out, c_out]. c: dw [k_h, k_w, c_in / groups, c_out].
// Owner: src/ops/conv2d/.

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
    h_in: u32,
    w_in: u32,
    c_in: u32,
    c_in_group: u32,
    h_out: u32,
    w_out: u32,
    c_out: u32,
    k_w: u32,
    dilation_h: u32,
    dilation_w: u32,
    pad_top: u32,
    pad_left: u32,
}

const A_ALONG_K: bool = false;
const B_ALONG_K: bool = false;

// Constants, so that a product by 1 or 2 is none.
const STRIDE_H: u32 = 1u;
const STRIDE_W: u32 = 1u;

fn k_at(k: u32) -> Position {
    return digits(k, params.h_out, params.w_out);
}

fn k_add(p: Position, q: Position) -> Position {
    return add_digits(p, q, params.h_out, params.w_out);
}

// A weight's tap, as a distance in the input, and what it adds to an element's index.
struct Shift {
    h: u32,
    w: u32,
    base: u32,
}

// Four of them, of which the first stands for all where the channels come in fours.
struct AState {
    t0: Shift,
    t1: Shift,
    t2: Shift,
    t3: Shift,
}

fn shift_of(m: u32, group: u32) -> Shift {
    let p = digits(min(m, params.m - 1u), params.k_w, params.c_in_group);
    let h = p.high * params.dilation_h - params.pad_top;
    let w = p.mid * params.dilation_w - params.pad_left;
    return Shift(h, w, (h * params.w_in + w) * a_len(params.c_in) + a_len(group * params.c_in_group + p.low));
}

fn a_prepare(m: u32, group: u32) -> AState {
    let t0 = shift_of(m, group);
    if (A_VECTOR) {
        return AState(t0, t0, t0, t0);
    }
    return AState(t0, shift_of(m + 1u, group), shift_of(m + 2u, group), shift_of(m + 3u, group));
}

// An output pixel: the input pixel under tap (0, 0) of an unpadded window, and its first element.
struct Pixel {
    h: u32,
    w: u32,
    base: u32,
    inside: bool,
}

fn pixel_of(p: Position) -> Pixel {
    let h = p.mid * STRIDE_H;
    let w = p.low * STRIDE_W;
    return Pixel(h, w, ((p.high * params.h_in + h) * params.w_in + w) * a_len(params.c_in), in_k(p.k));
}

// A negative number is a large one.
fn inside(t: Shift, p: Pixel) -> bool {
    return (p.h + t.h < params.h_in) & (p.w + t.w < params.w_in) & p.inside;
}

fn a_at(t: Shift, p: Pixel) -> f32 {
    return a_scalar(p.base + t.base, inside(t, p));
}

// (m ..= m + 3, k)
fn a_tap(s: AState, at: Position) -> Tap {
    let p = pixel_of(at);
    return Tap(p.base + s.t0.base, inside(s.t0, p));
}

fn a_elements(s: AState, at: Position) -> vec4<f32> {
    let p = pixel_of(at);
    return vec4<f32>(a_at(s.t0, p), a_at(s.t1, p), a_at(s.t2, p), a_at(s.t3, p));
}

// The first of four columns, or the last columns of all, and how many of them there are.
struct BState {
    base: u32,
    left: u32,
}

fn b_prepare(n: u32, group: u32) -> BState {
    let column = min(n, params.n - 1u);
    return BState(b_len(group * params.n + select(column, column & ~3u, B_VECTOR)), params.n - column);
}

fn b_tap(s: BState, p: Position) -> Tap {
    return Tap(s.base + p.k * b_len(params.c_out), in_k(p.k));
}

fn b_elements(s: BState, p: Position) -> vec4<f32> {
    let t = b_tap(s, p);
    return b_along(t.i, s.left, t.inside);
}

fn c_row(m: u32, n: u32) -> u32 {
    return m;
}
