// y = a op b on words, elementwise, a and b repeated where they are shorter (shared/broadcasting). A comparison gives 1 or 0, of integers or, if
// FLOATS, of the floats whose bits the words are; integers are wrapped to their width (shared/integer). An invocation a Bits of y, workgroups in
// a linear grid. Ops: Compare and IntegerBinary, src/ops/words.rs.

const OPERATION: u32 = 0u; // 0: a = b, 1: a < b, 2: a <= b, 3: a > b, 4: a >= b, then those of `integer`
const FLOATS: bool = false;

@group(0) @binding(1) var<storage, read> a: array<AElement>;
@group(0) @binding(2) var<storage, read> b: array<BElement>;
@group(0) @binding(3) var<storage, read_write> y: array<Bits>;

fn key(x: Bits) -> Bits {
    if (FLOATS) {
        return order_key(x);
    }
    return integer_key(x);
}

fn compare(a: Bits, b: Bits) -> Bits {
    const NO: Bits = Bits(0u);
    const YES: Bits = Bits(1u);
    let k = key(a);
    let l = key(b);
    var holds = select(NO, YES, k == l);
    switch OPERATION {
        case 1u: {
            holds = select(NO, YES, k < l);
        }
        case 2u: {
            holds = select(NO, YES, k <= l);
        }
        case 3u: {
            holds = select(NO, YES, k > l);
        }
        case 4u: {
            holds = select(NO, YES, k >= l);
        }
        default: {}
    }
    if (FLOATS) {
        const INFINITY: Bits = Bits(0x7f800000u);
        const MAGNITUDE: Bits = Bits(0x7fffffffu);
        return select(holds, NO, ((a & MAGNITUDE) > INFINITY) | ((b & MAGNITUDE) > INFINITY));
    }
    return holds;
}

// The divisor, or 1 where there is no quotient: b is 0, or the quotient of signed numbers is too large for them. Then a / b is a.
fn divisor(a: Bits, b: Bits) -> Bits {
    const NONE: Bits = Bits(0u);
    const ONE: Bits = Bits(1u);
    let d = select(b, ONE, b == NONE);
    if (SIGNED) {
        return select(d, ONE, (a == Bits(0x80000000u)) & (b == Bits(0xffffffffu)));
    }
    return d;
}

// Towards zero.
fn divide(a: Bits, b: Bits) -> Bits {
    let d = divisor(a, b);
    if (SIGNED) {
        return bitcast<Bits>(bitcast<Int>(a) / bitcast<Int>(d));
    }
    return a / d;
}

// By squaring. To a negative power only 1 and -1 are whole numbers.
fn integer_power(a: Bits, b: Bits) -> Bits {
    const ONE: Bits = Bits(1u);
    var power = ONE;
    var square = a;
    var rest = b;
    for (var i = 0u; i < 32u; i++) {
        power = select(power, power * square, (rest & ONE) == ONE);
        square *= square;
        rest = rest >> ONE;
    }
    if (SIGNED) {
        let is_unit = (a == ONE) | (a == Bits(0xffffffffu));
        return select(power, Bits(0u), ((b >> Bits(31u)) == ONE) & !is_unit);
    }
    return power;
}

fn integer(a: Bits, b: Bits) -> Bits {
    switch OPERATION {
        case 5u: {
            return a + b;
        }
        case 6u: {
            return a - b;
        }
        case 7u: {
            return a * b;
        }
        case 8u: {
            return divide(a, b);
        }
        case 9u: {
            return a - divide(a, b) * divisor(a, b);
        }
        case 10u: {
            let rest = a - divide(a, b) * divisor(a, b);
            if (SIGNED) {
                return select(rest, rest + b, (rest != Bits(0u)) & (((rest ^ b) >> Bits(31u)) == Bits(1u)));
            }
            return rest;
        }
        case 11u: {
            return select(b, a, integer_key(a) < integer_key(b));
        }
        case 12u: {
            return select(b, a, integer_key(a) > integer_key(b));
        }
        case 13u: {
            return integer_power(a, b);
        }
        case 14u: {
            return a & b;
        }
        case 15u: {
            return a | b;
        }
        default: {
            return a ^ b;
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
    let at = places(i);
    let x = Bits(a[at.a]);
    let z = Bits(b[at.b]);
    if (OPERATION < 5u) {
        y[i] = compare(x, z);
    } else {
        y[i] = wrap(integer(x, z));
    }
}
