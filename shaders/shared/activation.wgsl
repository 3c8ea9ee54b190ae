// Activation functions y = f(x), and dx = dy f'(x) from y, four elements at a time. ACTIVATION selects one; each is a row of
// src/ops/unary.rs. Imported by: unary, unary_grad, and the epilogue of the GEMM family.

const ACTIVATION: u32 = 0u; // 0 is none: y = x

fn relu(x: vec4<f32>) -> vec4<f32> {
    // By bits, so that NaN stays NaN: max(NaN, 0) may be 0.
    let bits = bitcast<vec4<u32>>(x);
    let nan = (bits & vec4<u32>(0x7fffffffu)) > vec4<u32>(0x7f800000u);
    let negative = (bits >> vec4<u32>(31u)) == vec4<u32>(1u);
    return select(x, vec4<f32>(0.0), negative & !nan);
}

fn activate(x: vec4<f32>) -> vec4<f32> {
    if (ACTIVATION == 1u) {
        return relu(x);
    }
    return x;
}

fn activate_grad(y: vec4<f32>, dy: vec4<f32>) -> vec4<f32> {
    if (ACTIVATION == 1u) {
        return select(dy, vec4<f32>(0.0), y == vec4<f32>(0.0));
    }
    return dy;
}
