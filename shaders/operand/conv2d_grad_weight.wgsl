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
    n_slices: u32,
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

struct AState {
    m: u32,
    group: u32,
    tap: Tap,
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
    return AState(m, group, tap_of(m, group));
}

// An output pixel: the first pixel of its image in the input, and the input pixel under tap (0, 0) of an unpadded window.
struct Pixel {
    image: u32,
    h: i32,
    w: i32,
    inside: bool,
}

fn pixel_of(k: u32) -> Pixel {
    let row = k / params.w_out;
    let w_out = k - row * params.w_out;
    let image = row / params.h_out;
    let h_out = row - image * params.h_out;
    return Pixel(
        image * params.h_in * params.w_in,
        i32(h_out * params.stride_h),
        i32(w_out * params.stride_w),
        k < params.k,
    );
}

fn inside(t: Tap, p: Pixel) -> bool {
    let h = p.h + t.h;
    let w = p.w + t.w;
    return (h >= 0) & (h < i32(params.h_in)) & (w >= 0) & (w < i32(params.w_in)) & p.inside;
}

fn index(t: Tap, p: Pixel) -> u32 {
    return (p.image + u32(p.h + t.h) * params.w_in + u32(p.w + t.w)) * params.c_in + t.c;
}

fn a_at(t: Tap, p: Pixel) -> f32 {
    return a_scalar_if(inside(t, p), index(t, p));
}

// (m ..= m + 3, k)
fn a_load(s: AState, k: u32) -> vec4<f32> {
    let p = pixel_of(k);
    if (A_VECTOR) {
        if (inside(s.tap, p)) {
            return a_vector(index(s.tap, p));
        }
        return vec4<f32>(0.0);
    }
    return vec4<f32>(
        a_at(s.tap, p),
        a_at(tap_of(s.m + 1u, s.group), p),
        a_at(tap_of(s.m + 2u, s.group), p),
        a_at(tap_of(s.m + 3u, s.group), p),
    );
}

struct BState {
    n: u32,
    base: u32,
}

fn b_prepare(n: u32, group: u32) -> BState {
    return BState(n, group * params.n + n);
}

fn b_at(k: u32, n: u32, i: u32) -> f32 {
    return b_scalar_if((k < params.k) & (n < params.n), i);
}

fn b_load(s: BState, k: u32) -> vec4<f32> {
    let i = k * params.c_out + s.base;
    if (B_VECTOR) {
        if (k < params.k && s.n < params.n) {
            return b_vector(i);
        }
        return vec4<f32>(0.0);
    }
    return vec4<f32>(b_at(k, s.n, i), b_at(k, s.n + 1u, i + 1u), b_at(k, s.n + 2u, i + 2u), b_at(k, s.n + 3u, i + 3u));
}
