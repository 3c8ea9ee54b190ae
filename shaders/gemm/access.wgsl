// Bindings of the GEMM family, and how operands read them: four elements at once where the channels allow it. An element type of f32
// goes with VECTOR false. Without a bias, b is bound in its place.
// Imported by every GEMM, before its operand.

alias AElement = vec4<f32>;
alias BElement = vec4<f32>;
const A_VECTOR: bool = true;
const B_VECTOR: bool = true;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<AElement>;
@group(0) @binding(2) var<storage, read> b: array<BElement>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;

// vec4<f32>(element) is right for both element types, so that either branch compiles.
fn a_vector(i: u32) -> vec4<f32> {
    return vec4<f32>(a[i / 4u]);
}

// Without a branch: a block has 16 of these, whose loads may all be under way at once, and compilers of software GPUs take minutes
// over as many branches. Element 0 is always there to be read in vain.
fn a_scalar_if(inside: bool, i: u32) -> f32 {
    return select(0.0, vec4<f32>(a[select(0u, i, inside)]).x, inside);
}

fn b_vector(i: u32) -> vec4<f32> {
    return vec4<f32>(b[i / 4u]);
}

fn b_scalar_if(inside: bool, i: u32) -> f32 {
    return select(0.0, vec4<f32>(b[select(0u, i, inside)]).x, inside);
}
