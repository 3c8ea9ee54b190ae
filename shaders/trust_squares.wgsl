// sums[block] = (sum of p^2, sum of (u + penalty f p)^2) over a page's blocks of BLOCK elements, with f the block's factor of the weight
// decay. p, u[len]; factors[n_rows]. LANES invocations a block; grid of `linear_grid(n_rows * LANES / WORKGROUP)`. Op: TrustRatio.

const FACTORS: bool = false; // else all are 1, and something else is bound in their place
const BLOCK: u32 = 64u;

struct Params {
    n_rows: u32,
    len: u32,
    penalty: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> p: array<f32>;
@group(0) @binding(2) var<storage, read> u: array<f32>;
@group(0) @binding(3) var<storage, read> factors: array<f32>;
@group(0) @binding(4) var<storage, read_write> sums: array<vec2<f32>>;

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) n_workgroups: vec3<u32>,
    @builtin(local_invocation_index) local_ix: u32,
) {
    let lane = local_ix % LANES;
    let row_ix = row_of(workgroup_ix(workgroup_id, n_workgroups), local_ix);
    let row = min(row_ix, params.n_rows - 1u);
    let end = min((row + 1u) * BLOCK, params.len);
    var penalty = params.penalty;
    if (FACTORS) {
        penalty = penalty * factors[2u * row + 1u];
    }
    var p_sum = 0.0;
    var u_sum = 0.0;
    for (var i = row * BLOCK + lane; i < end; i += LANES) {
        let step = u[i] + penalty * p[i];
        p_sum += p[i] * p[i];
        u_sum += step * step;
    }
    p_sum = row_sum(local_ix, p_sum);
    u_sum = row_sum(local_ix, u_sum);
    if (lane == 0u && row_ix < params.n_rows) {
        sums[row] = vec2<f32>(p_sum, u_sum);
    }
}
