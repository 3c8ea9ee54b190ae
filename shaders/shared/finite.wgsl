// NaN and infinity by their bits: compilers of shaders may assume that neither exists, so `x != x` is no test.

fn is_nan(x: f32) -> bool {
    return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u;
}

fn is_finite(x: f32) -> bool {
    return (bitcast<u32>(x) & 0x7f800000u) != 0x7f800000u;
}

// WGSL lets exp and log of a NaN be anything; some devices make them 0 and -infinity.
fn exp_or_nan(x: f32) -> f32 {
    return select(exp(x), x, is_nan(x));
}

fn log_or_nan(x: f32) -> f32 {
    return select(log(x), x, is_nan(x));
}
