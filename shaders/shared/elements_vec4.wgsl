// An elementwise kernel computes on vec4<f32>; `Element` is what it loads and stores. This file: four f32 at a time, for tensors
// whose number of elements is a multiple of 4. The other is elements_scalar. Imported by: every elementwise kernel, one of the two.

alias Element = vec4<f32>;

const LANES: u32 = 4u; // elements of the tensor in an Element

fn widen(e: Element) -> vec4<f32> {
    return e;
}

fn narrow(v: vec4<f32>) -> Element {
    return v;
}
