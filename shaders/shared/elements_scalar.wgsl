// An elementwise kernel computes on vec4<f32>; `Element` is what it loads and stores. This file: one f32 at a time, in all four
// lanes, for tensors of any size; compilers drop the three lanes that nothing reads. The other is elements_vec4. Imported by:
// every elementwise kernel, one of the two.

alias Element = f32;

const LANES: u32 = 1u; // elements of the tensor in an Element

fn widen(e: Element) -> vec4<f32> {
    return vec4<f32>(e);
}

fn narrow(v: vec4<f32>) -> Element {
    return v.x;
}
