// g += weight_decay * p; s = rho * s + (1 - rho) * g^2; delta = sqrt(a + epsilon) / sqrt(s + epsilon) * g;
// a = rho * a + (1 - rho) * delta^2; p -= rate * delta, with rate = hyper[0]. Nothing changes if health[0] isn't 0: training has
// met a NaN.
// All tensors: a page, [len]; hyper: [4]; health: [2]. An invocation an Element (shared/elements_*), workgroups in a linear grid.
// Op: AdadeltaUpdate, src/ops/adadelta_update.rs.

struct Params {
    n: u32, // Elements
    rho: f32,
    one_minus_rho: f32,
    epsilon: f32,
    weight_decay: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> g: array<Element>;
@group(0) @binding(2) var<storage, read> hyper: array<f32>;
@group(0) @binding(3) var<storage, read> health: array<u32>;
@group(0) @binding(4) var<storage, read_write> p: array<Element>;
@group(0) @binding(5) var<storage, read_write> s: array<Element>;
@group(0) @binding(6) var<storage, read_write> a: array<Element>;

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
    let a_old = widen(a[i]);
    let epsilon = vec4<f32>(params.epsilon);
    let grad = widen(g[i]) + params.weight_decay * p_old;
    let square = params.rho * widen(s[i]) + params.one_minus_rho * (grad * grad);
    let delta = sqrt(a_old + epsilon) / sqrt(square + epsilon) * grad;
    s[i] = narrow(square);
    a[i] = narrow(params.rho * a_old + params.one_minus_rho * (delta * delta));
    p[i] = narrow(p_old - hyper[0] * delta);
}
