// Powers of any numbers, and what they may come to. Imported by: unary, unary_grad, binary, binary_grad; after shared/activation.

// Not as constants: of those, a NaN and an infinity are errors.
fn not_a_number() -> f32 {
    var bits = 0x7fc00000u;
    return bitcast<f32>(bits);
}

fn infinity() -> f32 {
    var bits = 0x7f800000u;
    return bitcast<f32>(bits);
}

// a^b = e^(b ln |a|), negative for negative a and odd b, NaN for negative a and b that isn't whole. WGSL's pow has no negative a.
fn general_power(a: vec4<f32>, b: vec4<f32>) -> vec4<f32> {
    const ZERO: vec4<f32> = vec4<f32>();
    let is_zero = a == ZERO;
    // The logarithm of 0 may be anything.
    let m = exp(b * log(select(abs(a), vec4<f32>(1.0), is_zero)));
    let of_zero = select(vec4<f32>(infinity()), ZERO, b > ZERO);
    let magnitude = select(m, of_zero, is_zero);
    let whole = floor(b) == b;
    let odd = whole & (floor(0.5 * b) * 2.0 != b);
    let negative = (bitcast<vec4<u32>>(a) >> vec4<u32>(31u)) == vec4<u32>(1u);
    var y = select(magnitude, -magnitude, negative & odd);
    y = select(y, vec4<f32>(not_a_number()), negative & !is_zero & !whole);
    y = select(y, a + b, nan_lanes(a) | nan_lanes(b));
    return select(y, vec4<f32>(1.0), b == ZERO);
}

const LARGEST_PRODUCT: f32 = 4.0;

// a^b for one b: of a whole one a product.
fn power(a: vec4<f32>, b: f32) -> vec4<f32> {
    if (floor(b) != b || abs(b) > LARGEST_PRODUCT) {
        return general_power(a, vec4<f32>(b));
    }
    var product = vec4<f32>(1.0);
    var square = a;
    var n = u32(abs(b));
    while (n > 0u) {
        if (n % 2u == 1u) {
            product *= square;
        }
        square *= square;
        n /= 2u;
    }
    if (b < 0.0) {
        return vec4<f32>(1.0) / product;
    }
    return product;
}
