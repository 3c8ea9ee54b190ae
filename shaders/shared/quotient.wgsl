// Whole quotients by numbers that no compiler knows. Adapters that the CPU runs divide integers lane by lane, GPUs in a long sequence;
// floats divide at once. Imported by: kernels that find a pixel from the number of an invocation.

// a / b for a and b below 2^31. The first quotient of floats may be off by a 2^-21st of itself, the second, of what is left, by less than
// one.
fn quotient(a: u32, b: u32) -> u32 {
    let n = i32(a);
    let d = i32(b);
    let inverse = 1.0 / f32(d);
    var q = i32(f32(n) * inverse);
    q += i32(floor(f32(n - q * d) * inverse));
    let rest = n - q * d;
    return u32(q + select(0, 1, rest >= d) - select(0, 1, rest < 0));
}
