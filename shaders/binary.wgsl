// y = activate(a op b), elementwise, a and b repeated where they are shorter (shared/broadcasting). An invocation an Element of y
// (shared/elements_*), workgroups in a linear grid. Op: Binary, src/ops/binary.rs.

const OPERATION: u32 = 0u; // 0: a + b, 1: a - b, 2: a * b, 3: a / b, 4: a^b, 5: min, 6: max, 7: a, or b a for negative a, 8: 1 if equal

@group(0) @binding(1) var<storage, read> a: array<AElement>;
@group(0) @binding(2) var<storage, read> b: array<BElement>;
@group(0) @binding(3) var<storage, read_write> y: array<Element>;

fn operate(a: vec4<f32>, b: vec4<f32>) -> vec4<f32> {
    switch OPERATION {
        case 1u: {
            return a - b;
        }
        case 2u: {
            return a * b;
        }
        case 3u: {
            return a / b;
        }
        case 4u: {
            return general_power(a, b);
        }
        case 5u: {
            return select(select(b, a, a < b), a + b, nan_lanes(a) | nan_lanes(b));
        }
        case 6u: {
            return select(select(b, a, a > b), a + b, nan_lanes(a) | nan_lanes(b));
        }
        case 7u: {
            return select(a, b * a, nonpositive_lanes(a));
        }
        case 8u: {
            return select(vec4<f32>(0.0), vec4<f32>(1.0), (a == b) & !(nan_lanes(a) | nan_lanes(b)));
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
    let at = places(i);
    y[i] = narrow(activate(operate(vec4<f32>(a[at.a]), vec4<f32>(b[at.b]))));
}
