// Floats compared as integers. A compiler that assumes that there is no NaN may do anything with a float comparison of one, and
// hardware may flush denormals; integers are safe from both. Imported by: max_pool2d, accuracy.

alias Bits = u32; // or vec4<u32>

// Ordered like the floats whose bits these are: -0 equals 0, and NaN is above everything. Never 0, so that 0 is below every key.
fn order_key(bits: Bits) -> Bits {
    let magnitude = bits & Bits(0x7fffffffu);
    let key = select(Bits(0x80000000u) + magnitude, Bits(0x80000000u) - magnitude, (bits >> Bits(31u)) == Bits(1u));
    return select(key, Bits(0xffffffffu), magnitude > Bits(0x7f800000u));
}
