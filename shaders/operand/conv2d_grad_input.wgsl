// Operands of a convolution's gradient by its input as a GEMM: m runs over (n, h_in, w_in), k over (k_h, k_w, c_out / groups), n over
// c_in / groups. a: dy [n, h_out, w_out, c_out]. b: w [k_h, k_w, c_in / groups, c_out]. c: dx [n, h_in, w_in, c_in].
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
    c_in_group: u32,
    h_out: u32,
    w_out: u32,
    c_out: u32,
    c_out_group: u32,
    k_w: u32,
    stride_h: u32,
    stride_w: u32,
    dilation_h: u32,
    dilation_w: u32,
    pad_top: u32,
    pad_left: u32,
}

const A_ALONG_K: bool = true;
const B_ALONG_K: bool = true;
// Whether the strides are 1: then no load divides.
const UNIT_STRIDE: bool = false;

// An input pixel: the first output pixel of its image, and its own place in the padded input. A row beyond the last has h so
// negative that no window covers it.
struct AState {
    image: u32,
    h: i32,
    w: i32,
    c0: u32,
}

fn a_prepare(m: u32, group: u32) -> AState {
    let w = m % params.w_in;
    let row = m / params.w_in;
    let h = row % params.h_in;
    let image = row / params.h_in;
    let h_padded = i32(h + params.pad_top);
    return AState(
        image * params.h_out * params.w_out,
        select(h_padded, -0x40000000, m >= params.m),
        i32(w + params.pad_left),
        group * params.c_out_group,
    );
}

fn k_at(k: u32) -> Position {
    return digits(k, params.k_w, params.c_out_group);
}

fn k_add(p: Position, q: Position) -> Position {
    return add_digits(p, q, params.k_w, params.c_out_group);
}

// Element index of (pixel, k), and whether there is such an output pixel.
struct Tap {
    i: u32,
    inside: bool,
}

fn a_tap(s: AState, p: Position) -> Tap {
    let h_strided = s.h - i32(p.high * params.dilation_h);
    let w_strided = s.w - i32(p.mid * params.dilation_w);
    var h = u32(max(h_strided, 0));
    var w = u32(max(w_strided, 0));
    if (!UNIT_STRIDE) {
        h /= params.stride_h;
        w /= params.stride_w;
    }
    let hit = UNIT_STRIDE || (h * params.stride_h == u32(h_strided) && w * params.stride_w == u32(w_strided));
    let inside = h_strided >= 0 && w_strided >= 0 && h < params.h_out && w < params.w_out && p.k < params.k && hit;
    return Tap((s.image + h * params.w_out + w) * params.c_out + s.c0 + p.low, inside);
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
    c0: u32,
}

fn b_prepare(n: u32, group: u32) -> BState {
    return BState(n, group * params.c_out_group);
}

fn b_index(s: BState, p: Position) -> u32 {
    return ((p.high * params.k_w + p.mid) * params.c_in_group + s.n) * params.c_out + s.c0 + p.low;
}

fn b_at(s: BState, p: Position) -> f32 {
    if (p.k < params.k && s.n < params.n) {
        return b_scalar(b_index(s, p));
    }
    return 0.0;
}

fn b_load(s: BState, p: Position) -> vec4<f32> {
    if (B_VECTOR) {
        if (p.k < params.k && s.n < params.n) {
            return b_vector(b_index(s, p));
        }
        return vec4<f32>(0.0);
    }
    let one = k_at(1u);
    let p1 = k_add(p, one);
    let p2 = k_add(p1, one);
    return vec4<f32>(b_at(s, p), b_at(s, p1), b_at(s, p2), b_at(s, k_add(p2, one)));
}
