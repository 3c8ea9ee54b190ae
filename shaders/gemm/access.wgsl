// Bindings of the GEMM family, and how operands read them: four elements at once where the channels allow it. An element type of f32
// goes with VECTOR false. Without a bias, b is bound in its place.
// Imported by every GEMM, before its operand, which declares: A_ALONG_K and B_ALONG_K (whether memory runs along k); what stays the
// same over k (AState a_prepare(m, group), BState b_prepare(n, group)); positions (Position k_at(k), k_add(position, position)); where
// four elements lie that can be read at once (Tap a_tap(AState, Position), b_tap(BState, Position)), and the loads of four that can't
// (vec4<f32> a_elements(AState, Position), b_elements(BState, Position)); and the row of C in which (m, n) lies (c_row(m, n)). Loads at
// k beyond the last give zeros, those at m or n beyond the last anything: such results are never stored.

alias AElement = vec4<f32>;
alias BElement = vec4<f32>;
const A_VECTOR: bool = true;
const B_VECTOR: bool = true;
// k is a multiple of the main loop's step, so that no load lies beyond the last.
const K_WHOLE: bool = false;
// The lowest digit of a position counts a multiple of the main loop's step: the other digits are the same for all of a step.
const K_ALIGNED: bool = false;
// A row of the product is several rows of C, side by side.
const JOINED: bool = false;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<AElement>;
@group(0) @binding(2) var<storage, read> b: array<BElement>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;

// A position along k, also as a number of three digits: (k_h, k_w, channel) or (image, h, w).
struct Position {
    k: u32,
    high: u32,
    mid: u32,
    low: u32,
}

fn digits(k: u32, n_mid: u32, n_low: u32) -> Position {
    let row = quotient(k, n_low);
    let high = quotient(row, n_mid);
    return Position(k, high, row - high * n_mid, k - row * n_low);
}

// Sum of two positions without division: a loop over k moves on by it. In u32, min(x, x - n) is x % n for x < 2 n.
fn add_digits(p: Position, q: Position, n_mid: u32, n_low: u32) -> Position {
    let low = p.low + q.low;
    let mid = p.mid + q.mid + u32(low >= n_low);
    let high = p.high + q.high + u32(mid >= n_mid);
    return Position(p.k + q.k, high, min(mid, mid - n_mid), min(low, low - n_low));
}

// The position if `yes`, or else the first, which is all zeros.
fn position_if(p: Position, yes: bool) -> Position {
    return Position(select(0u, p.k, yes), select(0u, p.high, yes), select(0u, p.mid, yes), select(0u, p.low, yes));
}

// The position `k` further in the same step, for K_ALIGNED.
fn k_within(p: Position, k: u32) -> Position {
    return Position(p.k + k, p.high, p.mid, p.low + k);
}

fn in_k(k: u32) -> bool {
    return K_WHOLE || k < params.k;
}

// Where an element, or four, lie, and whether they are inside. Else they count as zeros.
struct Tap {
    i: u32,
    inside: bool,
}

// The column of C in which column n of the product lies, in a group.
fn c_column(n: u32) -> u32 {
    if (JOINED) {
        return n % params.c_stride;
    }
    return n;
}

// How many AElement or BElement a number of elements is. An index is made of such numbers, so that nothing is left to divide.
fn a_len(elements: u32) -> u32 {
    return elements / select(1u, 4u, A_VECTOR);
}

fn b_len(elements: u32) -> u32 {
    return elements / select(1u, 4u, B_VECTOR);
}

// vec4<f32>(element) is right for both element types, so that either branch compiles.
fn a_vector(i: u32) -> vec4<f32> {
    return vec4<f32>(a[i]);
}

fn b_vector(i: u32) -> vec4<f32> {
    return vec4<f32>(b[i]);
}

fn a_scalar(i: u32, inside: bool) -> f32 {
    return select(0.0, a_vector(select(0u, i, inside)).x, inside);
}

fn b_scalar(i: u32, inside: bool) -> f32 {
    return select(0.0, b_vector(select(0u, i, inside)).x, inside);
}

// Elements i ..= i + 3, of which `left` lie inside.
fn a_along(i: u32, left: u32, inside: bool) -> vec4<f32> {
    return vec4<f32>(
        a_scalar(i, inside && left > 0u),
        a_scalar(i + 1u, inside && left > 1u),
        a_scalar(i + 2u, inside && left > 2u),
        a_scalar(i + 3u, inside && left > 3u),
    );
}

fn b_along(i: u32, left: u32, inside: bool) -> vec4<f32> {
    return vec4<f32>(
        b_scalar(i, inside && left > 0u),
        b_scalar(i + 1u, inside && left > 1u),
        b_scalar(i + 2u, inside && left > 2u),
        b_scalar(i + 3u, inside && left > 3u),
    );
}
