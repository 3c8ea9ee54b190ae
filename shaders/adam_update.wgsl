// g += weight_decay * p; m = beta1 * m + (1 - beta1) * g; v = beta2 * v + (1 - beta2) * g^2;
// p -= rate / correction1 * m / (sqrt(v / correction2) + epsilon), with rate, correction1 = 1 - beta1^t, correction2 = 1 - beta2^t
// = hyper[0 .. 3]. Nothing changes if health[0] isn't 0: training has met a NaN.
// All tensors: a page, [len]; hyper: [4]; health: [2]. An invocation an Element (shared/elements_*), workgroups in a linear grid.
// Op: AdamUpdate, src/ops/adam_update.rs.

struct Params {
    n: u32, // Elements
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
@group(0) @binding(4) var<storage, read_write> p: array<Element>;
@group(0) @binding(5) var<storage, read_write> m: array<Element>;
@group(0) @binding(6) var<storage, read_write> v: array<Element>;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) n_workgroups: vec3<u32>,
    @builtin(local_invocation_index) local_ix: u32,
) {
    let i = workgroup_ix(workgroup_id, n_workgroups) * 256u + local_ix;
    if (i >= params.n || health[0] != 0u) {
        return;
    }
    let p_old = widen(p[i]);
    let grad = widen(g[i]) + params.weight_decay * p_old;
    let mean = params.beta1 * widen(m[i]) + params.one_minus_beta1 * grad;
    let square = params.beta2 * widen(v[i]) + params.one_minus_beta2 * (grad * grad);
    m[i] = narrow(mean);
    v[i] = narrow(square);
    let scale = sqrt(square / vec4<f32>(hyper[2])) + vec4<f32>(params.epsilon);
    p[i] = narrow(p_old - hyper[0] / hyper[1] * (mean / scale));
}
