// Operands of a convolution's gradient by its input as a GEMM: m runs over (n, h_in, w_in), k over (k_h, k_w, c_out / groups), n over
// c_in / groups. a: dy [n, h_out, w_out, c_out]. b: w [k_h, k_w, c_in / groups, c_out]. c: dx [n, h_in, w_in, c_in].
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
    h_in: u32,
    w_in: u32,
    c_in_group: u32,
    h_out: u32,
    w_out: u32,
    c_out: u32,
    c_out_group: u32,
    k_w: u32,
    dilation_h: u32,
    dilation_w: u32,
    pad_top: u32,
    pad_left: u32,
}

const A_ALONG_K: bool = true;
const B_ALONG_K: bool = true;

// Constants, so that a division by 1 or 2 is none.
const STRIDE_H: u32 = 1u;
const STRIDE_W: u32 = 1u;
const UNIT_STRIDE: bool = STRIDE_H == 1u && STRIDE_W == 1u;

fn k_at(k: u32) -> Position {
    return digits(k, params.k_w, params.c_out_group);
}

fn k_add(p: Position, q: Position) -> Position {
    return add_digits(p, q, params.k_w, params.c_out_group);
}

// An input pixel's place in the padded input, and the first element of its image's output. If the stride is 1, the first element
// of the output pixel whose first tap it is, which need not lie inside.
struct AState {
    h: u32,
    w: u32,
    base: u32,
}

fn a_prepare(m: u32, group: u32) -> AState {
    let p = digits(min(m, params.m - 1u), params.h_in, params.w_in);
    let h = p.mid + params.pad_top;
    let w = p.low + params.pad_left;
    let image = p.high * params.h_out * params.w_out;
    let pixel = select(image, image + h * params.w_out + w, UNIT_STRIDE);
    return AState(h, w, pixel * params.c_out + group * params.c_out_group);
}

// Element index of (pixel, k), and whether there is such an output pixel.
struct Tap {
    i: u32,
    inside: bool,
}

fn a_tap(s: AState, p: Position) -> Tap {
    let down = p.high * params.dilation_h;
    let right = p.mid * params.dilation_w;
    // A negative number is a large one.
    let h_strided = s.h - down;
    let w_strided = s.w - right;
    if (UNIT_STRIDE) {
        let inside = (h_strided < params.h_out) & (w_strided < params.w_out) & in_k(p.k);
        return Tap(s.base - (down * params.w_out + right) * params.c_out + p.low, inside);
    }
    let h = h_strided / STRIDE_H;
    let w = w_strided / STRIDE_W;
    let inside = (i32(h_strided) >= 0) & (i32(w_strided) >= 0) & (h < params.h_out) & (w < params.w_out) & in_k(p.k)
        & (h * STRIDE_H == h_strided) & (w * STRIDE_W == w_strided);
    return Tap(s.base + (h * params.w_out + w) * params.c_out + p.low, inside);
}

fn a_at(s: AState, p: Position) -> f32 {
    let t = a_tap(s, p);
    return a_scalar(t.i, t.inside);
}

fn a_fetch(s: AState, p: Position) -> Load {
    if (A_VECTOR) {
        let t = a_tap(s, p);
        return a_vector(t.i, t.inside);
    }
    let one = k_at(1u);
    let p1 = k_add(p, one);
    let p2 = k_add(p1, one);
    return Load(vec4<f32>(a_at(s, p), a_at(s, p1), a_at(s, p2), a_at(s, k_add(p2, one))), true);
}

// A weight's first tap.
struct BState {
    base: u32,
}

fn b_prepare(n: u32, group: u32) -> BState {
    return BState(min(n, params.n - 1u) * params.c_out + group * params.c_out_group);
}

fn b_index(s: BState, p: Position) -> u32 {
    return s.base + (p.high * params.k_w + p.mid) * (params.c_in_group * params.c_out) + p.low;
}

fn b_at(s: BState, p: Position) -> f32 {
    return b_scalar(b_index(s, p), in_k(p.k));
}

fn b_fetch(s: BState, p: Position) -> Load {
    if (B_VECTOR) {
        return b_vector(b_index(s, p), in_k(p.k));
    }
    let one = k_at(1u);
    let p1 = k_add(p, one);
    let p2 = k_add(p1, one);
    return Load(vec4<f32>(b_at(s, p), b_at(s, p1), b_at(s, p2), b_at(s, k_add(p2, one))), true);
}
