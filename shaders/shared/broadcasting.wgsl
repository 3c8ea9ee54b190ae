// Where the operands of an elementwise function of two tensors lie that are repeated along some dimensions. Dimensions that are alike
// are one run; run 0 is the last. Lengths and strides count what is loaded: four elements, or one, in which case AElement or BElement is
// f32 or u32, also where the operand is repeated along run 0 (stride 0). Imported by: binary, binary_grad, words.

const RUNS: u32 = 1u;

alias AElement = vec4<f32>;
alias BElement = vec4<f32>;

struct Params {
    n: u32, // Elements of the result
    len_0: u32,
    a_0: u32, // strides of a and b along run 0
    b_0: u32,
    len_1: u32,
    a_1: u32,
    b_1: u32,
    len_2: u32,
    a_2: u32,
    b_2: u32,
    len_3: u32,
    a_3: u32,
    b_3: u32,
    len_4: u32,
    a_4: u32,
    b_4: u32,
    len_5: u32,
    a_5: u32,
    b_5: u32,
}

@group(0) @binding(0) var<uniform> params: Params;

struct Places {
    a: u32,
    b: u32,
    rest: u32, // of the element's number, in the runs that are left
}

// One run more; the outermost has all of the rest.
fn along(p: Places, k: u32, len: u32, a: u32, b: u32) -> Places {
    if (k >= RUNS) {
        return p;
    }
    var i = p.rest;
    var rest = 0u;
    if (k + 1u < RUNS) {
        rest = quotient(p.rest, len);
        i = p.rest - rest * len;
    }
    return Places(p.a + i * a, p.b + i * b, rest);
}

// The operands' elements for Element i of the result.
fn places(i: u32) -> Places {
    var p = along(Places(0u, 0u, i), 0u, params.len_0, params.a_0, params.b_0);
    p = along(p, 1u, params.len_1, params.a_1, params.b_1);
    p = along(p, 2u, params.len_2, params.a_2, params.b_2);
    p = along(p, 3u, params.len_3, params.a_3, params.b_3);
    p = along(p, 4u, params.len_4, params.a_4, params.b_4);
    return along(p, 5u, params.len_5, params.a_5, params.b_5);
}
