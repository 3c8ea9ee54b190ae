// Operands of a convolution as a GEMM: m runs over (n, h_out, w_out), k over (k_h, k_w, c_in / groups), n over c_out / groups.
// a: x [n, h_in, w_in, c_in]. b: w [k_h, k_w, c_in / groups, c_out]. c: y [n, h_out, w_out, c_out]. Owner: src/ops/conv2d.rs.

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

const A_ALONG_K: bool = true;
const B_ALONG_K: bool = false;

// An output pixel: its image's first pixel, and the input pixel under the window's first tap. A row beyond the last has h0 so
// negative that no tap falls inside.
struct AState {
    image: u32,
    h0: i32,
    w0: i32,
    c0: u32,
}

fn a_prepare(m: u32, group: u32) -> AState {
    let w_out = m % params.w_out;
    let row = m / params.w_out;
    let h_out = row % params.h_out;
    let image = row / params.h_out;
    let h0 = i32(h_out * params.stride_h) - i32(params.pad_top);
    let w0 = i32(w_out * params.stride_w) - i32(params.pad_left);
    return AState(image * params.h_in * params.w_in, select(h0, -0x40000000, m >= params.m), w0, group * params.c_in_group);
}

fn k_at(k: u32) -> Position {
    return digits(k, params.k_w, params.c_in_group);
}

fn k_add(p: Position, q: Position) -> Position {
    return add_digits(p, q, params.k_w, params.c_in_group);
}

// Element index of (pixel, k), and whether it lies inside the input.
struct Tap {
    i: u32,
    inside: bool,
}

fn a_tap(s: AState, p: Position) -> Tap {
    let h = s.h0 + i32(p.high * params.dilation_h);
    let w = s.w0 + i32(p.mid * params.dilation_w);
    let inside = h >= 0 && h < i32(params.h_in) && w >= 0 && w < i32(params.w_in) && p.k < params.k;
    return Tap((s.image + u32(h) * params.w_in + u32(w)) * params.c_in + s.c0 + p.low, inside);
}

fn a_at(s: AState, p: Position) -> f32 {
    let t = a_tap(s, p);
    if (t.inside) {
        return a_scalar(t.i);
    }
    return 0.0;
}

fn a_load(s: AState, p: Position) -> vec4<f32> {
    if (A_VECTOR) {
        let t = a_tap(s, p);
        if (t.inside) {
            return a_vector(t.i);
        }
        return vec4<f32>(0.0);
    }
    let one = k_at(1u);
    let p1 = k_add(p, one);
    let p2 = k_add(p1, one);
    return vec4<f32>(a_at(s, p), a_at(s, p1), a_at(s, p2), a_at(s, k_add(p2, one)));
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
