// y = x as another kind of element. Integers as in shared/integer. Floats are taken apart as bits: what conversions of WGSL make of numbers out
// of range, and of denormals, differs between devices. An invocation a Bits, workgroups in a linear grid. Op: Cast, src/ops/cast.rs.

alias Bits = u32; // or vec4<u32>
alias Real = f32; // or vec4<f32>, as wide as Bits
const CAST: u32 = 0u; // 0: f32 to integers modulo 2^BITS, 1: f32 to the nearest integers that there are, both towards zero; 2: integers
// to f32, 3: integers to such of BITS, 4: f32 to whether it isn't 0, 5: words to that, 6: f32 to the nearest float16, 7: to the nearest bfloat16

struct Params {
    n: u32, // Bits
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<Bits>;
@group(0) @binding(2) var<storage, read_write> y: array<Bits>;

const NONE: Bits = Bits(0u);
const MAGNITUDE: Bits = Bits(0x7fffffffu);
const INFINITY: Bits = Bits(0x7f800000u);

fn exponent_of(x: Bits) -> Bits {
    return (x & MAGNITUDE) >> Bits(23u);
}

fn mantissa_of(x: Bits) -> Bits {
    return (x & Bits(0x7fffffu)) | Bits(0x800000u);
}

fn integer_of(x: Bits) -> Bits {
    let exponent = exponent_of(x);
    let mantissa = mantissa_of(x);
    let is_negative = (x >> Bits(31u)) == Bits(1u);
    // The mantissa is the number at 150; shifts of a word take less than 32.
    let right = Bits(150u) - min(exponent, Bits(150u));
    let left = max(exponent, Bits(150u)) - Bits(150u);
    var size = (mantissa >> min(right, Bits(31u))) << min(left, Bits(31u));
    if (CAST == 0u) {
        // From 2^55 on a number is a multiple of 2^32.
        size = select(size, NONE, left > Bits(31u));
    } else {
        const ALL: u32 = 0xffffffffu >> (32u - BITS);
        size = select(size, Bits(0xffffffffu), exponent >= Bits(159u));
        var most = Bits(ALL);
        if (SIGNED) {
            most = select(Bits(ALL >> 1u), Bits((ALL >> 1u) + 1u), is_negative);
        } else {
            most = select(Bits(ALL), NONE, is_negative);
        }
        size = select(min(size, most), NONE, (x & MAGNITUDE) > INFINITY);
    }
    return wrap(select(size, NONE - size, is_negative));
}

fn real_of(x: Bits) -> Bits {
    if (SIGNED) {
        return bitcast<Bits>(Real(bitcast<Int>(x)));
    }
    return bitcast<Bits>(Real(x));
}

// x >> s, to nearest, halves to even; s from 1 to 31.
fn rounded_shift(x: Bits, s: Bits) -> Bits {
    const ONE: Bits = Bits(1u);
    let floor = x >> s;
    let rest = x - (floor << s);
    let half = ONE << (s - ONE);
    return floor + select(NONE, ONE, (rest > half) | ((rest == half) & ((floor & ONE) == ONE)));
}

fn float16_of(x: Bits) -> Bits {
    let size = x & MAGNITUDE;
    // Ten bits of the mantissa stay; what overflows them belongs to the exponent.
    let normal = rounded_shift(size, Bits(13u)) << Bits(13u);
    let bounded = select(normal, INFINITY, normal >= Bits(0x47800000u));
    // Below 2^-14 all are multiples of 2^-24.
    let shift = Bits(126u) - min(exponent_of(x), Bits(125u));
    let steps = rounded_shift(mantissa_of(x), min(shift, Bits(31u)));
    let small = bitcast<Bits>(Real(steps) * Real(5.9604644775390625e-8));
    let rounded = select(bounded, small, size < Bits(0x38800000u));
    return select(x ^ size, NONE, size > INFINITY) | select(rounded, x, size > INFINITY);
}

fn bfloat16_of(x: Bits) -> Bits {
    let size = x & MAGNITUDE;
    return select((x ^ size) | (rounded_shift(size, Bits(16u)) << Bits(16u)), x, size > INFINITY);
}

fn converted(x: Bits) -> Bits {
    switch CAST {
        case 0u, 1u: {
            return integer_of(x);
        }
        case 2u: {
            return real_of(x);
        }
        case 3u: {
            return wrap(x);
        }
        case 4u: {
            return select(NONE, Bits(1u), (x & MAGNITUDE) != NONE);
        }
        case 5u: {
            return select(NONE, Bits(1u), x != NONE);
        }
        case 6u: {
            return float16_of(x);
        }
        default: {
            return bfloat16_of(x);
        }
    }
}

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) n_workgroups: vec3<u32>,
    @builtin(local_invocation_index) local_ix: u32,
) {
    let i = workgroup_ix(workgroup_id, n_workgroups) * 256u + local_ix;
    if (i >= params.n) {
        return;
    }
    y[i] = converted(x[i]);
}
