// Operands of a convolution's gradient by its input as a GEMM. With a stride, the pixels of dx fall into phases, by their place between
// two windows: those of a phase are reached by the same taps, which come at even distances. A phase is a product of its own, so that no
// tap is multiplied that the stride leaves out: m runs over (n, h, w) of the phase's pixels, k over (k_h, k_w, c_out / groups) of its
// taps, n over c_in / groups. Without a stride there is one phase.
// a: dy [n, h_out, w_out, c_out]. b: w [k_h, k_w, c_in / groups, c_out]. c: dx [n, h_in, w_in, c_in]. Owner: src/ops/conv2d/.

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
    h_out: u32,
    w_out: u32,
    c_in_group: u32,
    c_out: u32,
    c_out_group: u32,
    k_h: u32,
    k_w: u32,
    stride_h: u32,
    stride_w: u32,
    phase_h: u32, // the phase's first pixel
    phase_w: u32,
    rows: u32, // the phase's pixels down and across
    columns: u32,
    taps_w: u32, // the phase's taps across, at least 1
    first_h: u32, // what the first tap of the first pixel reaches in dy; may be negative, which is a large number
    first_w: u32,
    back_h: u32, // by how much a next tap is further up, and further left, in dy
    back_w: u32,
    tap_h: u32, // the phase's first tap, or the first phase's, which may be negative
    tap_w: u32,
    tap_down: u32, // weights from tap to tap of a phase
    tap_right: u32,
}

const A_ALONG_K: bool = true;
const B_ALONG_K: bool = true;

// Whether there is more than one phase. If JOINED, they are made at once, side by side in the columns: n runs over (phase_h, phase_w,
// c_in), m over the places between two windows, k over the taps that any phase has; a phase that lacks one has zeros there.
const PHASES: bool = false;

fn k_at(k: u32) -> Position {
    return digits(k, params.taps_w, params.c_out_group);
}

fn k_add(p: Position, q: Position) -> Position {
    return add_digits(p, q, params.taps_w, params.c_out_group);
}

// The output pixel that the first tap reaches, and its first element. It need not lie inside: a negative number is a large one.
struct AState {
    h: u32,
    w: u32,
    base: u32,
}

fn a_prepare(m: u32, group: u32) -> AState {
    let p = digits(min(m, params.m - 1u), params.rows, params.columns);
    let h = p.mid + params.first_h;
    let w = p.low + params.first_w;
    let pixel = (p.high * params.h_out + h) * params.w_out + w;
    return AState(h, w, pixel * a_len(params.c_out) + a_len(group * params.c_out_group));
}

// (pixel, k)
fn a_tap(s: AState, p: Position) -> Tap {
    let up = p.high * params.back_h;
    let left = p.mid * params.back_w;
    let inside = (s.h - up < params.h_out) & (s.w - left < params.w_out) & in_k(p.k);
    return Tap(s.base + (a_len(p.low) - (up * params.w_out + left) * a_len(params.c_out)), inside);
}

fn a_at(s: AState, p: Position) -> f32 {
    let t = a_tap(s, p);
    return a_scalar(t.i, t.inside);
}

fn a_elements(s: AState, p: Position) -> vec4<f32> {
    let one = k_at(1u);
    let p1 = k_add(p, one);
    let p2 = k_add(p1, one);
    return vec4<f32>(a_at(s, p), a_at(s, p1), a_at(s, p2), a_at(s, k_add(p2, one)));
}

// A weight's first tap in the phase, and for JOINED, which one that is.
struct BState {
    base: u32,
    h: u32,
    w: u32,
}

fn b_prepare(n: u32, group: u32) -> BState {
    let column = min(n, params.n - 1u);
    var h = params.tap_h;
    var w = params.tap_w;
    if (JOINED) {
        let phase = column / params.c_in_group;
        h += phase / params.stride_w;
        w += phase % params.stride_w;
    }
    let tap = (h * params.k_w + w) * b_len(params.c_in_group * params.c_out);
    return BState(tap + b_len(c_column(column) * params.c_out + group * params.c_out_group), h, w);
}

fn b_tap(s: BState, p: Position) -> Tap {
    let i = s.base + (p.high * b_len(params.tap_down) + p.mid * b_len(params.tap_right) + b_len(p.low));
    let is_tap = (s.h + p.high * params.stride_h < params.k_h) & (s.w + p.mid * params.stride_w < params.k_w);
    return Tap(i, in_k(p.k) & (is_tap | !JOINED));
}

fn b_at(s: BState, p: Position) -> f32 {
    let t = b_tap(s, p);
    return b_scalar(t.i, t.inside);
}

fn b_elements(s: BState, p: Position) -> vec4<f32> {
    let one = k_at(1u);
    let p1 = k_add(p, one);
    let p2 = k_add(p1, one);
    return vec4<f32>(b_at(s, p), b_at(s, p1), b_at(s, p2), b_at(s, k_add(p2, one)));
}

fn c_row(m: u32, n: u32) -> u32 {
    if (PHASES) {
        let p = digits(m, params.rows, params.columns);
        var h = p.mid * params.stride_h;
        var w = p.low * params.stride_w;
        if (JOINED) {
            let phase = n / params.c_in_group;
            h += phase / params.stride_w;
            w += phase % params.stride_w;
        } else {
            h += params.phase_h;
            w += params.phase_w;
        }
        return (p.high * params.h_in + h) * params.w_in + w;
    }
    return m;
}
