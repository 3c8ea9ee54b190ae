// clipped = hyper, with hyper[4], the factor of all gradients, times min(1, max_norm / (norm + 1e-6)), norm = hyper[4] sqrt(sum of
// sums): the factor with which the norm is at most max_norm. NaN if the norm is. sums[n]; hyper, clipped[n_hyper].
// One workgroup. Op: ClipNorm.

struct Params {
    n: u32,
    n_hyper: u32,
    max_norm: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> hyper: array<f32>;
@group(0) @binding(2) var<storage, read> sums: array<f32>;
@group(0) @binding(3) var<storage, read_write> clipped: array<f32>;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(local_invocation_index) local_ix: u32) {
    var sum = 0.0;
    for (var i = local_ix; i < params.n; i += LANES) {
        sum += sums[i];
    }
    let norm = hyper[4] * sqrt(row_sum(local_ix, sum));
    let factor = params.max_norm / (norm + 1e-6);
    if (local_ix < params.n_hyper) {
        let least = select(min(1.0, factor), factor, is_nan(factor));
        clipped[local_ix] = hyper[local_ix] * select(1.0, least, local_ix == 4u);
    }
}
