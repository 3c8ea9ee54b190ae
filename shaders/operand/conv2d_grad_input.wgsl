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
    stride_h: u32,
    stride_w: u32,
    dilation_h: u32,
    dilation_w: u32,
    pad_top: u32,
    pad_left: u32,
}

const A_ALONG_K: bool = true;
const B_ALONG_K: bool = true;

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

// Element index of (pixel, k), and whether there is such an output pixel.
struct Tap {
    i: u32,
    inside: bool,
}

fn a_tap(s: AState, k: u32) -> Tap {
    let tap = k / params.c_out_group;
    let c = k - tap * params.c_out_group;
    let k_h = tap / params.k_w;
    let k_w = tap - k_h * params.k_w;
    let h_strided = s.h - i32(k_h * params.dilation_h);
    let w_strided = s.w - i32(k_w * params.dilation_w);
    let h = u32(max(h_strided, 0)) / params.stride_h;
    let w = u32(max(w_strided, 0)) / params.stride_w;
    let inside = (h_strided >= 0) & (w_strided >= 0) & (h < params.h_out) & (w < params.w_out) & (k < params.k)
        & (h * params.stride_h == u32(h_strided)) & (w * params.stride_w == u32(w_strided));
    return Tap((s.image + h * params.w_out + w) * params.c_out + s.c0 + c, inside);
}

fn a_at(s: AState, k: u32) -> f32 {
    let t = a_tap(s, k);
    return a_scalar_if(t.inside, t.i);
}

fn a_load(s: AState, k: u32) -> vec4<f32> {
    if (A_VECTOR) {
        let t = a_tap(s, k);
        if (t.inside) {
            return a_vector(t.i);
        }
        return vec4<f32>(0.0);
    }
    return vec4<f32>(a_at(s, k), a_at(s, k + 1u), a_at(s, k + 2u), a_at(s, k + 3u));
}

struct BState {
    n: u32,
    c0: u32,
}

fn b_prepare(n: u32, group: u32) -> BState {
    return BState(n, group * params.c_out_group);
}

fn b_index(s: BState, k: u32) -> u32 {
    let tap = k / params.c_out_group;
    let c = k - tap * params.c_out_group;
    return (tap * params.c_in_group + s.n) * params.c_out + s.c0 + c;
}

fn b_at(s: BState, k: u32) -> f32 {
    return b_scalar_if((k < params.k) & (s.n < params.n), b_index(s, k));
}

fn b_load(s: BState, k: u32) -> vec4<f32> {
    if (B_VECTOR) {
        if (k < params.k && s.n < params.n) {
            return b_vector(b_index(s, k));
        }
        return vec4<f32>(0.0);
    }
    return vec4<f32>(b_at(s, k), b_at(s, k + 1u), b_at(s, k + 2u), b_at(s, k + 3u));
}
