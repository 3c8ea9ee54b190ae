// Activation functions y = f(x), and dx = dy f'(x) from y, four elements at a time. ACTIVATION selects one; each is a row of
// src/ops/unary.rs. Imported by: unary, unary_grad, and the epilogue of the GEMM family.

const ACTIVATION: u32 = 0u; // 0 is none: y = x

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
    let e = exp(-abs(x));
    let y = select(vec4<f32>(1.0), e, x < vec4<f32>(0.0)) / (vec4<f32>(1.0) + e);
    return select(y, x, nan_lanes(x));
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
        default: {
            return x;
        }
    }
}

fn activate_grad(y: vec4<f32>, dy: vec4<f32>) -> vec4<f32> {
    switch ACTIVATION {
        case 1u: {
            return select(dy, vec4<f32>(0.0), nonpositive_lanes(y));
        }
        case 2u: {
            return dy * (y * (vec4<f32>(1.0) - y));
        }
        case 3u: {
            // Not 1 - y^2, which loses digits where y is near 1.
            return dy * ((vec4<f32>(1.0) - y) * (vec4<f32>(1.0) + y));
        }
        case 4u: {
            // 1 - e^-y, which would cancel where y is small.
            let t = hyperbolic_tangent(0.5 * y);
            return dy * ((t + t) / (vec4<f32>(1.0) + t));
        }
        case 5u: {
            return select(dy, vec4<f32>(0.0), nonpositive_lanes(y) | six_lanes(y));
        }
        default: {
            return dy;
        }
    }
}
