// y = activate(a op b), elementwise. a, b, y: any shape, equal. An invocation an Element (shared/elements_*), workgroups in a linear grid.
// Op: Binary, src/ops/binary.rs.

const OPERATION: u32 = 0u; // 0: a + b, 1: a - b, 2: a * b

struct Params {
    n: u32, // Elements
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<Element>;
@group(0) @binding(2) var<storage, read> b: array<Element>;
@group(0) @binding(3) var<storage, read_write> y: array<Element>;

fn operate(a: vec4<f32>, b: vec4<f32>) -> vec4<f32> {
    switch OPERATION {
        case 1u: {
            return a - b;
        }
        case 2u: {
            return a * b;
        }
        default: {
            return a + b;
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
    y[i] = narrow(activate(operate(widen(a[i]), widen(b[i]))));
}
