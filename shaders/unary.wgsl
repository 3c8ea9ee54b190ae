// y = f(x), with f one of shared/activation, or arithmetic, from 101 on. x, y: any shape, equal. An invocation an Element
// (shared/elements_*), workgroups in a linear grid. Op: Unary, src/ops/unary/.

struct Params {
    n: u32, // Elements
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<Element>;
@group(0) @binding(2) var<storage, read_write> y: array<Element>;

fn arithmetic(x: vec4<f32>) -> vec4<f32> {
    let negative = x < vec4<f32>(0.0);
    switch ACTIVATION {
        case 101u: {
            return exp(x);
        }
        case 102u: {
            // WGSL promises nothing of the logarithm of 0 and of negative numbers.
            let y = select(log(x), vec4<f32>(-infinity()), x == vec4<f32>(0.0));
            return select(y, vec4<f32>(not_a_number()), negative);
        }
        case 103u: {
            return select(sqrt(x), vec4<f32>(not_a_number()), negative);
        }
        case 104u: {
            return abs(x);
        }
        case 105u: {
            return vec4<f32>(1.0) / x;
        }
        case 106u: {
            return power(x, ACTIVATION_A);
        }
        default: {
            return activate(x);
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
    let v = widen(x[i]);
    y[i] = narrow(select(arithmetic(v), v, nan_lanes(v) & vec4<bool>(ACTIVATION != 106u || ACTIVATION_A != 0.0)));
}
