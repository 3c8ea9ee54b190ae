// A step of an optimizer: p and its moments a, b, c, in place, from the gradient g. RULE selects the formula; each is a row of
// src/ops/update.rs. hyper: rate, three numbers of the rule, factor of the gradient, 0 if nothing is to happen. Nothing changes if
// health[0] isn't 0 either: training has met a NaN. factors: for each BLOCK elements factors of the rate and of the weight decay.
// All other tensors: a page, [len]. An invocation an Element (shared/elements_*), workgroups in a linear grid.
// Op: Update, src/ops/update.rs.

const RULE: u32 = 0u;
const N_MOMENTS: u32 = 0u; // the others are neither read nor written
const FACTORS: bool = false; // else both are 1, and something else is bound in their place
const SCALED: bool = true; // whether the gradient has the factor of hyper
const DECAY: u32 = 0u; // weight decay is 0: added to the gradient, 1: taken off p, 2: none
const BLOCK: u32 = 64u;

struct Params {
    n: u32, // Elements
    momentum: f32,
    beta1: f32,
    one_minus_beta1: f32,
    beta2: f32,
    one_minus_beta2: f32,
    epsilon: f32,
    weight_decay: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> g: array<Element>;
@group(0) @binding(2) var<storage, read> hyper: array<f32>;
@group(0) @binding(3) var<storage, read> health: array<u32>;
@group(0) @binding(4) var<storage, read> factors: array<vec2<f32>>;
@group(0) @binding(5) var<storage, read_write> p: array<Element>;
@group(0) @binding(6) var<storage, read_write> a: array<Element>;
@group(0) @binding(7) var<storage, read_write> b: array<Element>;
@group(0) @binding(8) var<storage, read_write> c: array<Element>;

struct State {
    p: vec4<f32>,
    a: vec4<f32>,
    b: vec4<f32>,
    c: vec4<f32>,
}

// A NaN of either stays one, whatever max does with it.
fn larger(x: vec4<f32>, y: vec4<f32>) -> vec4<f32> {
    return select(max(x, y), x + y, nan_lanes(x) | nan_lanes(y));
}

fn mean1(old: vec4<f32>, x: vec4<f32>) -> vec4<f32> {
    return params.beta1 * old + params.one_minus_beta1 * x;
}

fn mean2(old: vec4<f32>, x: vec4<f32>) -> vec4<f32> {
    return params.beta2 * old + params.one_minus_beta2 * x;
}

fn rule(old: State, grad: vec4<f32>, rate: f32) -> State {
    var s = old;
    let epsilon = vec4<f32>(params.epsilon);
    switch RULE {
        // Momentum.
        case 1u: {
            s.a = params.momentum * s.a + grad;
            s.p = s.p - rate * s.a;
        }
        // Nesterov.
        case 2u: {
            s.a = params.momentum * s.a + grad;
            s.p = s.p - rate * (grad + params.momentum * s.a);
        }
        // Lars.
        case 3u: {
            s.a = params.momentum * s.a + rate * grad;
            s.p = s.p - s.a;
        }
        // Adagrad.
        case 4u: {
            s.a = s.a + grad * grad;
            s.p = s.p - rate * (grad / (sqrt(s.a) + epsilon));
        }
        // RmsProp.
        case 5u: {
            s.a = mean2(s.a, grad * grad);
            s.p = s.p - rate * (grad / (sqrt(s.a) + epsilon));
        }
        // RmsPropMomentum.
        case 6u: {
            s.a = mean2(s.a, grad * grad);
            s.b = params.momentum * s.b + grad / (sqrt(s.a) + epsilon);
            s.p = s.p - rate * s.b;
        }
        // RmsPropCentered.
        case 7u: {
            s.a = mean2(s.a, grad * grad);
            s.b = mean2(s.b, grad);
            let variance = larger(s.a - s.b * s.b, vec4<f32>(0.0));
            s.c = params.momentum * s.c + grad / (sqrt(variance) + epsilon);
            s.p = s.p - rate * s.c;
        }
        // Adadelta.
        case 8u: {
            s.a = mean2(s.a, grad * grad);
            let delta = sqrt(s.b + epsilon) / sqrt(s.a + epsilon) * grad;
            s.b = mean2(s.b, delta * delta);
            s.p = s.p - rate * delta;
        }
        // Adam.
        case 9u: {
            s.a = mean1(s.a, grad);
            s.b = mean2(s.b, grad * grad);
            let scale = sqrt(s.b / vec4<f32>(hyper[2])) + epsilon;
            s.p = s.p - rate / hyper[1] * (s.a / scale);
        }
        // AmsGrad.
        case 10u: {
            s.a = mean1(s.a, grad);
            s.b = mean2(s.b, grad * grad);
            s.c = larger(s.c, s.b);
            let scale = sqrt(s.c / vec4<f32>(hyper[2])) + epsilon;
            s.p = s.p - rate / hyper[1] * (s.a / scale);
        }
        // Adamax.
        case 11u: {
            s.a = mean1(s.a, grad);
            s.b = larger(params.beta2 * s.b, abs(grad) + epsilon);
            s.p = s.p - rate / hyper[1] * (s.a / s.b);
        }
        // Nadam.
        case 12u: {
            s.a = mean1(s.a, grad);
            s.b = mean2(s.b, grad * grad);
            let scale = sqrt(s.b / vec4<f32>(hyper[3])) + epsilon;
            s.p = s.p - rate * (hyper[1] * (grad / scale) + hyper[2] * (s.a / scale));
        }
        // Lion.
        case 13u: {
            let direction = mean1(s.a, grad);
            s.a = mean2(s.a, grad);
            s.p = s.p - rate * select(sign(direction), direction, nan_lanes(direction));
        }
        // Direction.
        case 14u: {
            s.a = mean1(s.a, grad);
            s.b = mean2(s.b, grad * grad);
            let scale = sqrt(s.b / vec4<f32>(hyper[2])) + epsilon;
            s.p = s.a / vec4<f32>(hyper[1]) / scale;
        }
        // Follow.
        case 15u: {
            s.p = s.p + params.one_minus_beta1 * (grad - s.p);
        }
        // Accumulate.
        case 16u: {
            s.p = hyper[1] * s.p + rate * grad;
        }
        // Sgd and Along.
        default: {
            s.p = s.p - rate * grad;
        }
    }
    return s;
}

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) n_workgroups: vec3<u32>,
    @builtin(local_invocation_index) local_ix: u32,
) {
    let i = workgroup_ix(workgroup_id, n_workgroups) * 256u + local_ix;
    if (i >= params.n || health[0] != 0u || hyper[5] == 0.0) {
        return;
    }
    var rate = hyper[0];
    var decay = params.weight_decay;
    if (FACTORS) {
        let f = factors[i / (BLOCK / LANES)];
        rate = rate * f.x;
        decay = decay * f.y;
    }
    let zero = vec4<f32>(0.0);
    var s = State(widen(p[i]), zero, zero, zero);
    if (N_MOMENTS > 0u) {
        s.a = widen(a[i]);
    }
    if (N_MOMENTS > 1u) {
        s.b = widen(b[i]);
    }
    if (N_MOMENTS > 2u) {
        s.c = widen(c[i]);
    }
    var grad = widen(g[i]);
    if (SCALED) {
        grad = hyper[4] * grad;
    }
    if (DECAY == 0u) {
        grad = grad + decay * s.p;
    } else if (DECAY == 1u) {
        s.p = s.p - rate * decay * s.p;
    }
    s = rule(s, grad, rate);
    p[i] = narrow(s.p);
    if (N_MOMENTS > 0u) {
        a[i] = narrow(s.a);
    }
    if (N_MOMENTS > 1u) {
        b[i] = narrow(s.b);
    }
    if (N_MOMENTS > 2u) {
        c[i] = narrow(s.c);
    }
}
