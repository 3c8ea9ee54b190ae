// Numbers of rows, as u32 or as whole numbers in f32. Imported by: gather, gather_rows, gather_rows_grad.

const FLOATS: bool = false;
const FROM_END: bool = false; // of u32: those from 2^31 on are negative, and count from the end

// The row that `bits` say, n_rows if there is none. NaN and infinity are told by their bits.
fn row_number(bits: u32, n_rows: u32) -> u32 {
    if (!FLOATS) {
        return min(select(bits, bits + n_rows, FROM_END && bits >= 0x80000000u), n_rows);
    }
    let v = bitcast<f32>(bits);
    let row = u32(clamp(v, 0.0, 2147483520.0));
    let is_row = (bits & 0x7f800000u) != 0x7f800000u && f32(row) == v;
    return select(n_rows, min(row, n_rows), is_row);
}
