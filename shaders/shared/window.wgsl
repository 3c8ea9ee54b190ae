// How a pooling window meets its input, one axis at a time; `src/ops/pool_window.rs` is the same in Rust. Window `o` of an axis has
// its taps at `o * stride - before + k * dilation`, k = 0 .. kernel; only those inside the input count.
// Images are NHWC; c_vecs is the number of channels over the width of a kernel's element type.
// Imported by: max_pool2d, max_pool2d_grad, avg_pool2d, avg_pool2d_grad.

const WORKGROUP: u32 = 256u;
const DILATED: bool = false; // false: dilations are 1, and nothing is divided by them

struct Params {
    n_vecs: u32,
    c_vecs: u32,
    h_in: i32,
    w_in: i32,
    h_out: i32,
    w_out: i32,
    k_h: i32,
    k_w: i32,
    stride_h: i32,
    stride_w: i32,
    dilation_h: i32,
    dilation_w: i32,
    pad_top: i32,
    pad_left: i32,
    pad_bottom: i32,
    pad_right: i32,
    count_padding: u32,
}

@group(0) @binding(0) var<uniform> params: Params;

struct Axis {
    len: i32,
    out: i32,
    kernel: i32,
    stride: i32,
    dilation: i32,
    before: i32,
    after: i32,
}

fn axis_h() -> Axis {
    return Axis(params.h_in, params.h_out, params.k_h, params.stride_h, params.dilation_h, params.pad_top, params.pad_bottom);
}

fn axis_w() -> Axis {
    return Axis(params.w_in, params.w_out, params.k_w, params.stride_w, params.dilation_w, params.pad_left, params.pad_right);
}

// Where window `o` starts: in the padding if negative.
fn start_of(a: Axis, o: i32) -> i32 {
    return o * a.stride - a.before;
}

// First tap inside the input.
fn first_tap(a: Axis, start: i32) -> i32 {
    let before = max(-start, 0);
    return select(before, (before + a.dilation - 1) / a.dilation, DILATED);
}

// One past the last tap before position `end`, which lies behind `start`.
fn end_tap(a: Axis, start: i32, end: i32) -> i32 {
    let left = end - start;
    return min(a.kernel, select(left, (left + a.dilation - 1) / a.dilation, DILATED));
}

// What an average over window `o` divides by: its taps inside the input, or inside the padded input.
fn n_counted(a: Axis, start: i32) -> i32 {
    if (params.count_padding != 0u) {
        return end_tap(a, start, a.len + a.after);
    }
    return end_tap(a, start, a.len) - first_tap(a, start);
}

// First window whose span reaches position `i` of the input.
fn first_window(a: Axis, i: i32) -> i32 {
    let span = a.dilation * (a.kernel - 1) + 1;
    let p = i + a.before;
    return select(0, i32(quotient(u32(max(p - span + a.stride, 0)), u32(a.stride))), p >= span);
}

// One past the last window that starts at or before position `i`.
fn end_window(a: Axis, i: i32) -> i32 {
    return min(a.out, i32(quotient(u32(i + a.before), u32(a.stride))) + 1);
}

// Of a pooling whose windows share no element, and aren't dilated: window `o` owns the positions from its start to that of the next, the
// last one those to the end.
fn first_owned(a: Axis, o: i32) -> i32 {
    return max(start_of(a, o), 0);
}

fn end_owned(a: Axis, o: i32) -> i32 {
    return select(min(start_of(a, o + 1), a.len), a.len, o + 1 == a.out);
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
