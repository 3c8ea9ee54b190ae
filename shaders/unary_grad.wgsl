// dx = dy f'(x), with f' computed from y = f(x) (shared/activation, unary) or, where that isn't enough, from x: what `Reads` in
// src/ops/unary/ says is bound as v. v, dy, dx: any shape, equal. An invocation an Element (shared/elements_*), workgroups in a linear
// grid. Op: UnaryGrad, src/ops/unary/.

struct Params {
    n: u32, // Elements
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> v: array<Element>;
@group(0) @binding(2) var<storage, read> dy: array<Element>;
@group(0) @binding(3) var<storage, read_write> dx: array<Element>;

// sigmoid'(x), from e = e^-|x|.
fn sigmoid_slope(e: vec4<f32>) -> vec4<f32> {
    let d = vec4<f32>(1.0) + e;
    return e / (d * d);
}

// v is y up to 5, and where it says so.
fn slope(v: vec4<f32>) -> vec4<f32> {
    const ONE: vec4<f32> = vec4<f32>(1.0);
    let negative = v < vec4<f32>(0.0);
    let e = exp(-abs(v));
    switch ACTIVATION {
        case 2u: {
            return v * (ONE - v);
        }
        case 3u: {
            // Not 1 - y^2, which loses digits where y is near 1.
            return (ONE - v) * (ONE + v);
        }
        case 4u: {
            // 1 - e^-y, which would cancel where y is small.
            let t = hyperbolic_tangent(0.5 * v);
            return (t + t) / (ONE + t);
        }
        case 8u: { // of y
            return select(vec4<f32>(ACTIVATION_B), v + vec4<f32>(ACTIVATION_A), nonpositive_lanes(v));
        }
        case 9u: {
            let a = near(v);
            return normal_below(v) + a * (0.3989422804014327 * exp(-(0.5 * a * a)));
        }
        case 10u: {
            let a = near(v);
            let cubic = GELU_CUBIC * (a * a);
            let u = GELU_FACTOR * (a + a * cubic);
            let of_u = exp(-abs(u));
            return sigmoid_of(u, of_u) + a * (sigmoid_slope(of_u) * (GELU_FACTOR * (ONE + 3.0 * cubic)));
        }
        case 11u: {
            return sigmoid_of(v, e) + v * sigmoid_slope(e);
        }
        case 12u: {
            let f = mish_fraction(v, e);
            return f.n / f.d + v * (4.0 * (ONE + e) * select(e * e, e, negative) / (f.d * f.d));
        }
        case 13u: { // of y
            let d = ONE - abs(v);
            return d * d;
        }
        case 15u: {
            let middle = v * (1.0 / 3.0) + vec4<f32>(0.5);
            return select(select(middle, vec4<f32>(0.0), v <= vec4<f32>(-3.0)), ONE, v >= vec4<f32>(3.0));
        }
        case 101u: { // of y
            return v;
        }
        case 105u: { // of y
            return -(v * v);
        }
        case 106u: {
            return ACTIVATION_A * power(v, ACTIVATION_A - 1.0);
        }
        default: {
            return ONE;
        }
    }
}

fn gradient(v: vec4<f32>, dy: vec4<f32>) -> vec4<f32> {
    const ZERO: vec4<f32> = vec4<f32>();
    let is_nan = nan_lanes(v);
    switch ACTIVATION {
        // Of y: where it is NaN, dy passes.
        case 1u: {
            return select(dy, ZERO, nonpositive_lanes(v));
        }
        case 5u: {
            return select(dy, ZERO, nonpositive_lanes(v) | six_lanes(v));
        }
        case 7u: {
            return select(dy, ACTIVATION_A * dy, nonpositive_lanes(v));
        }
        case 8u: {
            return dy * slope(v);
        }
        case 14u: {
            return select(ACTIVATION_A * dy, ZERO, ((v <= ZERO) | (v >= vec4<f32>(1.0))) & !is_nan);
        }
        // Of x.
        case 6u: {
            return select(dy, ZERO, ((v < vec4<f32>(ACTIVATION_A)) | (v > vec4<f32>(ACTIVATION_B))) & !is_nan);
        }
        case 15u: {
            // A NaN of dy doesn't count where the slope is 0, as in PyTorch.
            let y = select(dy * slope(v), ZERO, (v <= vec4<f32>(-3.0)) & !is_nan);
            return select(y, v, is_nan);
        }
        case 102u: {
            return select(dy / v, v, is_nan);
        }
        case 103u: { // of y
            return select((0.5 * dy) / v, v, is_nan);
        }
        case 104u: {
            let y = select(select(v * dy, dy, v > ZERO), -dy, v < ZERO);
            return select(y, v, is_nan);
        }
        default: {
            return select(dy * slope(v), v, is_nan);
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
    dx[i] = narrow(gradient(widen(v[i]), widen(dy[i])));
}
