// The gradient of a function of two tensors by a or by b, still of the result's shape. a, b: repeated where they are shorter
// (shared/broadcasting); dy, dx: like the result. An invocation an Element (shared/elements_*), workgroups in a linear grid.
// Op: BinaryGrad, src/ops/binary.rs.

const OPERATION: u32 = 4u; // as in binary
const BY_B: bool = false;

@group(0) @binding(1) var<storage, read> a: array<AElement>;
@group(0) @binding(2) var<storage, read> b: array<BElement>;
@group(0) @binding(3) var<storage, read> dy: array<Element>;
@group(0) @binding(4) var<storage, read_write> dx: array<Element>;

// dy where the one is chosen, half of it where both are equal; a NaN is chosen with whatever it meets.
fn chosen(mine: vec4<f32>, other: vec4<f32>, dy: vec4<f32>) -> vec4<f32> {
    let ordered = !(nan_lanes(mine) | nan_lanes(other));
    let lost = select((mine < other), (mine > other), vec4<bool>(OPERATION == 5u));
    let y = select(dy, vec4<f32>(0.0), lost & ordered);
    return select(y, 0.5 * dy, (mine == other) & ordered);
}

fn gradient(a: vec4<f32>, b: vec4<f32>, dy: vec4<f32>) -> vec4<f32> {
    const ZERO: vec4<f32> = vec4<f32>();
    switch OPERATION {
        case 4u: {
            if (BY_B) {
                let nowhere = (a == ZERO) & (b >= ZERO);
                let log_a = select(log(a), vec4<f32>(not_a_number()), a < ZERO);
                return select(dy * (general_power(a, b) * log_a), ZERO, nowhere);
            }
            return select(dy * (b * general_power(a, b - vec4<f32>(1.0))), ZERO, b == ZERO);
        }
        case 7u: {
            if (BY_B) {
                return select(ZERO, dy * a, nonpositive_lanes(a) | nan_lanes(a));
            }
            return select(dy, b * dy, nonpositive_lanes(a));
        }
        default: {
            if (BY_B) {
                return chosen(b, a, dy);
            }
            return chosen(a, b, dy);
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
    dx[i] = narrow(gradient(vec4<f32>(a[at.a]), vec4<f32>(b[at.b]), widen(dy[i])));
}
