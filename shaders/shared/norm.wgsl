// What norms are made of, of one number or four at once: powers of numbers that aren't negative, and bit tests, as a shader's compiler may
// assume that there is no NaN.
// Imported by: lp_pool2d, lp_pool2d_grad.

alias Real = f32; // or vec4<f32>
alias Bits = u32; // or vec4<u32>
alias Lanes = bool; // or vec4<bool>
const P: f32 = 2.0;

// `value`, or `origin` where that is a NaN.
fn keep_nan(value: Real, origin: Real) -> Real {
    return select(value, origin, (bitcast<Bits>(origin) & Bits(0x7fffffffu)) > Bits(0x7f800000u));
}

fn is_zero(v: Real) -> Lanes {
    return (bitcast<Bits>(v) & Bits(0x7fffffffu)) == Bits(0u);
}

// t^q for t >= 0 and q > 0.
fn power(t: Real, q: f32) -> Real {
    let v = exp(q * log(t));
    return keep_nan(select(v, Real(0.0), is_zero(t)), t);
}
