// How the elements of a resampled axis are made of the input's, in whole numbers: no rounding decides which elements they are. The same
// in Rust: src/ops/resample2d.rs. KIND says what element `o` of the output is:
//   NEAREST: element floor((a o + b) / d) of the input, or the nearest that there is;
//   LINEAR:  that of the line through the elements beside p / d, p = a o + b, which ends at the first and the last element;
//   MEAN:    the mean of the elements from floor(a o / d) to before ceil(a (o + 1) / d);
//   REFLECT: element |o - b|, mirrored at the last element too.
// Images are NHWC; c_vecs is the number of channels over the width of a kernel's element type.
// Imported by: resample2d, resample2d_grad.

const WORKGROUP: u32 = 256u;
const NEAREST: u32 = 0u;
const LINEAR: u32 = 1u;
const MEAN: u32 = 2u;
const REFLECT: u32 = 3u;
const KIND: u32 = 0u;

struct Params {
    n_vecs: u32,
    c_vecs: u32,
    h_in: i32,
    w_in: i32,
    h_out: i32,
    w_out: i32,
    a_h: i32,
    a_w: i32,
    b_h: i32,
    b_w: i32,
    d_h: i32,
    d_w: i32,
}

@group(0) @binding(0) var<uniform> params: Params;

struct Axis {
    len: i32,
    out: i32,
    a: i32,
    b: i32,
    d: i32,
}

fn axis_h() -> Axis {
    return Axis(params.h_in, params.h_out, params.a_h, params.b_h, params.d_h);
}

fn axis_w() -> Axis {
    return Axis(params.w_in, params.w_out, params.a_w, params.b_w, params.d_w);
}

// The largest whole number up to n / d, 0 for a negative n.
fn floor_div(n: i32, d: i32) -> i32 {
    return i32(quotient(u32(max(n, 0)), u32(d)));
}

// The smallest whole number from n / d on, 0 for a negative n.
fn ceil_div(n: i32, d: i32) -> i32 {
    return floor_div(n + d - 1, d);
}

// What an element of the output is made of: elements first .. end of the input.
struct Taps {
    first: i32,
    end: i32,
    at: i32, // LINEAR: p
}

fn taps_of(axis: Axis, o: i32) -> Taps {
    let last = axis.len - 1;
    switch KIND {
        case LINEAR: {
            let at = clamp(axis.a * o + axis.b, 0, last * axis.d);
            let first = floor_div(at, axis.d);
            return Taps(first, first + select(1, 2, at > first * axis.d), at);
        }
        case MEAN: {
            return Taps(floor_div(axis.a * o, axis.d), ceil_div(axis.a * (o + 1), axis.d), 0);
        }
        case REFLECT: {
            let from_first = abs(o - axis.b);
            let first = min(from_first, 2 * last - from_first);
            return Taps(first, first + 1, 0);
        }
        default: {
            let first = min(floor_div(axis.a * o + axis.b, axis.d), last);
            return Taps(first, first + 1, 0);
        }
    }
}

// The share of element `i` of the input, one of the taps.
fn weight(axis: Axis, taps: Taps, i: i32) -> f32 {
    switch KIND {
        case LINEAR: {
            return f32(axis.d - abs(taps.at - i * axis.d)) / f32(axis.d);
        }
        case MEAN: {
            return 1.0 / f32(taps.end - taps.first);
        }
        default: {
            return 1.0;
        }
    }
}

// The elements of the output that have element `i` of the input: those of numbers first .. end (user_at).
struct Users {
    first: i32,
    end: i32,
}

fn users_of(axis: Axis, i: i32) -> Users {
    var least = i * axis.d - axis.b;
    switch KIND {
        case REFLECT: {
            return Users(0, 3);
        }
        case LINEAR: {
            least -= axis.d - 1;
        }
        case MEAN: {
            least -= axis.a - 1;
        }
        default: {}
    }
    let first = select(ceil_div(least, axis.a), 0, i == 0);
    let end = select(ceil_div((i + 1) * axis.d - axis.b, axis.a), axis.out, i + 1 == axis.len);
    return Users(first, min(end, axis.out));
}

// The element of the output; none if it isn't one of 0 .. out.
fn user_at(axis: Axis, i: i32, k: i32) -> i32 {
    if (KIND != REFLECT) {
        return k;
    }
    // The element itself, and its images in front of the first element and behind the last.
    if (k == 0) {
        return axis.b + i;
    }
    if (k == 1) {
        return select(-1, axis.b - i, i > 0);
    }
    let last = axis.len - 1;
    return select(-1, axis.b + 2 * last - i, i < last);
}

// The place of vector `ix` of an image of h_len by w_len.
struct Element {
    image: u32,
    h: i32,
    w: i32,
    ch: u32,
}

fn element_at(ix: u32, h_len: i32, w_len: i32) -> Element {
    let pixel = quotient(ix, params.c_vecs);
    let row = quotient(pixel, u32(w_len));
    let image = quotient(row, u32(h_len));
    return Element(image, i32(row - image * u32(h_len)), i32(pixel - row * u32(w_len)), ix - pixel * params.c_vecs);
}

// The number of the vector at (h, w) in the image and channel of `e`.
fn vec_ix(e: Element, h: i32, w: i32, h_len: i32, w_len: i32) -> u32 {
    return ((e.image * u32(h_len) + u32(h)) * u32(w_len) + u32(w)) * params.c_vecs + e.ch;
}
