// What a convolution's or product's weights and bias become when the batch norm after it is taken into them: with
// scale = gamma / sqrt(variance + epsilon), folded_w = w scale and folded_bias = (bias - mean) scale + beta. w, folded_w: [rows, c];
// the others: [c]. c counts Elements (shared/elements_*); an invocation an Element of w, those of the first row one of the bias too;
// workgroups in a linear grid. Without bias, mean is bound in its place. Op: BatchNormFold, src/ops/batch_norm/fold.rs.

const HAS_BIAS: bool = false;

struct Params {
    n: u32, // Elements of w
    c: u32,
    epsilon: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> w: array<Element>;
@group(0) @binding(2) var<storage, read> bias: array<Element>;
@group(0) @binding(3) var<storage, read> mean: array<Element>;
@group(0) @binding(4) var<storage, read> variance: array<Element>;
@group(0) @binding(5) var<storage, read> gamma: array<Element>;
@group(0) @binding(6) var<storage, read> beta: array<Element>;
@group(0) @binding(7) var<storage, read_write> folded_w: array<Element>;
@group(0) @binding(8) var<storage, read_write> folded_bias: array<Element>;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) n_workgroups: vec3<u32>,
    @builtin(local_invocation_index) local_ix: u32,
) {
    let ix = workgroup_ix(workgroup_id, n_workgroups) * 256u + local_ix;
    if (ix >= params.n) {
        return;
    }
    let i = ix % params.c;
    let scale = widen(gamma[i]) * inverseSqrt(widen(variance[i]) + vec4<f32>(params.epsilon));
    folded_w[ix] = narrow(widen(w[ix]) * scale);
    if (ix < params.c) {
        var b = vec4<f32>(0.0);
        if (HAS_BIAS) {
            b = widen(bias[i]);
        }
        folded_bias[i] = narrow((b - widen(mean[i])) * scale + widen(beta[i]));
    }
}
