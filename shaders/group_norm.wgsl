// y = activate(gamma (x - mean) / sqrt(variance + epsilon) + beta), by statistics of groups. x, y: [n, pixels, c]; mean, variance:
// [n, groups]; gamma, beta: [c]. c counts Elements (shared/elements_*); an invocation an Element of PIXELS pixels, so that a channel's
// numbers are loaded once for all of them; workgroups in a linear grid. Op: GroupNorm, src/ops/group_norm/mod.rs.

const PIXELS: u32 = 4u;

struct Params {
    n: u32, // Elements of a tensor with a pixel in place of PIXELS
    pixels: u32,
    n_blocks: u32, // of PIXELS pixels, of a sample
    c: u32,
    n_groups: u32,
    per_group: u32, // channels
    epsilon: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<Element>;
@group(0) @binding(2) var<storage, read> mean: array<f32>;
@group(0) @binding(3) var<storage, read> variance: array<f32>;
@group(0) @binding(4) var<storage, read> gamma: array<Element>;
@group(0) @binding(5) var<storage, read> beta: array<Element>;
@group(0) @binding(6) var<storage, read_write> y: array<Element>;

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
    let block_ix = quotient(ix, params.c);
    let i = ix - block_ix * params.c;
    let o = quotient(block_ix, params.n_blocks);
    let first = (block_ix - o * params.n_blocks) * PIXELS;
    let g = groups_of(o, i, params.n_groups, params.per_group);
    let center = vec4<f32>(mean[g.x], mean[g.y], mean[g.z], mean[g.w]);
    let v = vec4<f32>(variance[g.x], variance[g.y], variance[g.z], variance[g.w]);
    let scale = widen(gamma[i]) * inverseSqrt(v + vec4<f32>(params.epsilon));
    let shift = widen(beta[i]);
    let end = min(first + PIXELS, params.pixels);
    for (var pixel = first; pixel < end; pixel++) {
        let at = (o * params.pixels + pixel) * params.c + i;
        y[at] = narrow(activate((widen(x[at]) - center) * scale + shift));
    }
}
