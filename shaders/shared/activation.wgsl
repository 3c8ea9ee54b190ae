// Activation functions y = f(x), four elements at a time. ACTIVATION selects one, with up to two attributes; each is a row of
// src/ops/unary/activations.rs. Imported by: unary, unary_grad, and every kernel with an activation in its epilogue.

const ACTIVATION: u32 = 0u; // 0 is none: y = x
const ACTIVATION_A: f32 = 0.0;
const ACTIVATION_B: f32 = 0.0;

// NaN by its bits: compilers of shaders may assume that there is none.
fn nan_lanes(x: vec4<f32>) -> vec4<bool> {
    return (bitcast<vec4<u32>>(x) & vec4<u32>(0x7fffffffu)) > vec4<u32>(0x7f800000u);
}

// Lanes that are zero or negative, by bits so that NaN is not among them.
fn nonpositive_lanes(x: vec4<f32>) -> vec4<bool> {
    let bits = bitcast<vec4<u32>>(x);
    let negative = (bits >> vec4<u32>(31u)) == vec4<u32>(1u);
    return (negative | (bits == vec4<u32>(0u))) & !nan_lanes(x);
}

fn relu(x: vec4<f32>) -> vec4<f32> {
    return select(x, vec4<f32>(0.0), nonpositive_lanes(x));
}

// min(max(x, 0), 6).
fn relu6(x: vec4<f32>) -> vec4<f32> {
    return select(relu(x), vec4<f32>(6.0), six_lanes(x));
}

// Lanes from 6 to infinity, by bits so that NaN is not among them.
fn six_lanes(x: vec4<f32>) -> vec4<bool> {
    let bits = bitcast<vec4<u32>>(x);
    return (bits >= vec4<u32>(0x40c00000u)) & (bits <= vec4<u32>(0x7f800000u));
}

// exp of a negative number only, so that nothing overflows: 1 / (1 + e^-x), or e^x / (1 + e^x) for negative x.
fn sigmoid(x: vec4<f32>) -> vec4<f32> {
    return select(sigmoid_of(x, exp(-abs(x))), x, nan_lanes(x));
}

fn sigmoid_of(x: vec4<f32>, e: vec4<f32>) -> vec4<f32> {
    return select(vec4<f32>(1.0), e, x < vec4<f32>(0.0)) / (vec4<f32>(1.0) + e);
}

// After tanhf of the Cephes library (S. Moshier): an odd polynomial near 0, where 1 - 2 / (e^2x + 1) would cancel. From 15 on the
// result is 1 and e^2x need not overflow.
fn hyperbolic_tangent(x: vec4<f32>) -> vec4<f32> {
    let a = min(abs(x), vec4<f32>(15.0));
    let far = vec4<f32>(1.0) - vec4<f32>(2.0) / (exp(2.0 * a) + vec4<f32>(1.0));
    let z = a * a;
    var p = vec4<f32>(-5.70498872745e-3);
    p = p * z + vec4<f32>(2.06390887954e-2);
    p = p * z + vec4<f32>(-5.37397155531e-2);
    p = p * z + vec4<f32>(1.33314422036e-1);
    p = p * z + vec4<f32>(-3.33332819422e-1);
    let near = p * z * a + a;
    let magnitude = select(far, near, a < vec4<f32>(0.625));
    return select(select(magnitude, -magnitude, x < vec4<f32>(0.0)), x, nan_lanes(x));
}

// max(x, 0) + ln(1 + t), t = e^-|x|, with ln(1 + t) = 2 atanh(s), s = t / (2 + t) <= 1/3, as a series: log(1 + t) would lose all
// digits of a small t.
fn softplus(x: vec4<f32>) -> vec4<f32> {
    let t = exp(-abs(x));
    let s = t / (vec4<f32>(2.0) + t);
    let z = s * s;
    var p = vec4<f32>(2.0 / 15.0);
    p = p * z + vec4<f32>(2.0 / 13.0);
    p = p * z + vec4<f32>(2.0 / 11.0);
    p = p * z + vec4<f32>(2.0 / 9.0);
    p = p * z + vec4<f32>(2.0 / 7.0);
    p = p * z + vec4<f32>(2.0 / 5.0);
    p = p * z + vec4<f32>(2.0 / 3.0);
    p = p * z + vec4<f32>(2.0);
    let y = select(vec4<f32>(0.0), x, x > vec4<f32>(0.0)) + s * p;
    return select(y, x, nan_lanes(x));
}

// min(max(x, low), high).
fn clip(x: vec4<f32>, low: f32, high: f32) -> vec4<f32> {
    let y = select(select(x, vec4<f32>(low), x <= vec4<f32>(low)), vec4<f32>(high), x >= vec4<f32>(high));
    return select(y, x, nan_lanes(x));
}

// e^x - 1 of negative x, which would cancel near 0: 2 t / (1 - t), t = tanh(x / 2).
fn elu(x: vec4<f32>) -> vec4<f32> {
    let t = hyperbolic_tangent(0.5 * x);
    let y = ACTIVATION_A * ((t + t) / (vec4<f32>(1.0) - t));
    return select(ACTIVATION_B * x, y, nonpositive_lanes(x));
}

// P(X > a), X standard normal, for a of 0 or more: t exp(p(t) - a^2 / 2), t = 1 / (1 + 0.4 a) (tail_by_exp in src/linalg/normal.rs).
fn normal_tail(x: vec4<f32>) -> vec4<f32> {
    let a = min(x, vec4<f32>(16.0));
    let t = vec4<f32>(1.0) / (vec4<f32>(1.0) + 0.4 * a);
    var p = vec4<f32>(0.19179307);
    p = p * t + vec4<f32>(-0.9816411);
    p = p * t + vec4<f32>(1.9606413);
    p = p * t + vec4<f32>(-1.7648243);
    p = p * t + vec4<f32>(0.55112);
    p = p * t + vec4<f32>(-0.18510722);
    p = p * t + vec4<f32>(0.3730051);
    p = p * t + vec4<f32>(0.99697876);
    p = p * t + vec4<f32>(-1.8351128);
    return t * exp(p - 0.5 * a * a);
}

// P(X <= x).
fn normal_below(x: vec4<f32>) -> vec4<f32> {
    let tail = normal_tail(abs(x));
    return select(vec4<f32>(1.0) - tail, tail, x < vec4<f32>(0.0));
}

fn gelu(x: vec4<f32>) -> vec4<f32> {
    return select(x * normal_below(x), x, nan_lanes(x));
}

// x between -16 and 16: what is made of squares and cubes doesn't change any more beyond, and they mustn't overflow.
fn near(x: vec4<f32>) -> vec4<f32> {
    return clamp(x, vec4<f32>(-16.0), vec4<f32>(16.0));
}

const GELU_FACTOR: f32 = 1.5957691216057308; // 2 sqrt(2 / pi)
const GELU_CUBIC: f32 = 0.044715;

// 0.5 x (1 + tanh(u)) = x sigmoid(2 u), which doesn't cancel; u = sqrt(2 / pi) (x + 0.044715 x^3).
fn gelu_tanh(x: vec4<f32>) -> vec4<f32> {
    let a = near(x);
    return select(x * sigmoid(GELU_FACTOR * (a + a * (GELU_CUBIC * (a * a)))), x, nan_lanes(x));
}

fn silu(x: vec4<f32>) -> vec4<f32> {
    return select(x * sigmoid(x), x, nan_lanes(x));
}

// tanh(ln(1 + e^x)) = n / d, with sums of positive numbers of e = e^-|x| for n and d.
struct MishFraction {
    n: vec4<f32>,
    d: vec4<f32>,
}

fn mish_fraction(x: vec4<f32>, e: vec4<f32>) -> MishFraction {
    let negative = x < vec4<f32>(0.0);
    let n = select(vec4<f32>(1.0) + 2.0 * e, e * (e + vec4<f32>(2.0)), negative);
    return MishFraction(n, n + select(2.0 * (e * e), vec4<f32>(2.0), negative));
}

fn mish(x: vec4<f32>) -> vec4<f32> {
    let f = mish_fraction(x, exp(-abs(x)));
    return select(x * (f.n / f.d), x, nan_lanes(x));
}

fn softsign(x: vec4<f32>) -> vec4<f32> {
    // From 2^60 on the result is 1, and of quotients of the largest numbers WGSL promises nothing.
    let a = clamp(x, vec4<f32>(-1.2e18), vec4<f32>(1.2e18));
    return select(a / (vec4<f32>(1.0) + abs(a)), x, nan_lanes(x));
}

fn hard_swish(x: vec4<f32>) -> vec4<f32> {
    let middle = x * ((x + vec4<f32>(3.0)) * (1.0 / 6.0));
    let y = select(select(middle, vec4<f32>(0.0), x <= vec4<f32>(-3.0)), x, x >= vec4<f32>(3.0));
    return select(y, x, nan_lanes(x));
}

fn activate(x: vec4<f32>) -> vec4<f32> {
    switch ACTIVATION {
        case 1u: {
            return relu(x);
        }
        case 2u: {
            return sigmoid(x);
        }
        case 3u: {
            return hyperbolic_tangent(x);
        }
        case 4u: {
            return softplus(x);
        }
        case 5u: {
            return relu6(x);
        }
        case 6u: {
            return clip(x, ACTIVATION_A, ACTIVATION_B);
        }
        case 7u: {
            return select(x, ACTIVATION_A * x, nonpositive_lanes(x));
        }
        case 8u: {
            return elu(x);
        }
        case 9u: {
            return gelu(x);
        }
        case 10u: {
            return gelu_tanh(x);
        }
        case 11u: {
            return silu(x);
        }
        case 12u: {
            return mish(x);
        }
        case 13u: {
            return softsign(x);
        }
        case 14u: {
            return clip(ACTIVATION_A * x + vec4<f32>(ACTIVATION_B), 0.0, 1.0);
        }
        case 15u: {
            return hard_swish(x);
        }
        default: {
            return x;
        }
    }
}
