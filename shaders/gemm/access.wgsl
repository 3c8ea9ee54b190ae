// Bindings of the GEMM family, and how operands read them: four elements at once where the channels allow it. An element type of f32
// goes with VECTOR false. Without a bias, b is bound in its place.
// Imported by every GEMM, before its operand.

alias AElement = vec4<f32>;
alias BElement = vec4<f32>;
const A_VECTOR: bool = true;
const B_VECTOR: bool = true;

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
    let row = k / n_low;
    let high = row / n_mid;
    return Position(k, high, row - high * n_mid, k - row * n_low);
}

// Sum of two positions without division: a loop over k moves on by it. In u32, min(x, x - n) is x % n for x < 2 n.
fn add_digits(p: Position, q: Position, n_mid: u32, n_low: u32) -> Position {
    let low = p.low + q.low;
    let mid = p.mid + q.mid + u32(low >= n_low);
    let high = p.high + q.high + u32(mid >= n_mid);
    return Position(p.k + q.k, high, min(mid, mid - n_mid), min(low, low - n_low));
}

// vec4<f32>(element) is right for both element types, so that either branch compiles.
fn a_vector(i: u32) -> vec4<f32> {
    return vec4<f32>(a[i / 4u]);
}

fn a_scalar(i: u32) -> f32 {
    return vec4<f32>(a[i]).x;
}

fn b_vector(i: u32) -> vec4<f32> {
    return vec4<f32>(b[i / 4u]);
}

fn b_scalar(i: u32) -> f32 {
    return vec4<f32>(b[i]).x;
}
