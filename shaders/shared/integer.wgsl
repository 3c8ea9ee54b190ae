// Integers of BITS bits in words, two's complement: with the sign in all bits above if SIGNED, else with zeros. Who imports it says what
// Bits are. Imported by: words, cast, integer_reduce.

alias Int = i32; // or vec4<i32>, as wide as Bits
const SIGNED: bool = false;
const BITS: u32 = 32u;

// The low BITS bits.
fn wrap(x: Bits) -> Bits {
    const ABOVE: u32 = 32u - BITS;
    if (SIGNED) {
        return bitcast<Bits>(bitcast<Int>(x << Bits(ABOVE)) >> Bits(ABOVE));
    }
    return (x << Bits(ABOVE)) >> Bits(ABOVE);
}

// Ordered as words like the integers.
fn integer_key(x: Bits) -> Bits {
    if (SIGNED) {
        return x ^ Bits(0x80000000u);
    }
    return x;
}
