// y = x * n / (sum of parts), 0 if that is 0. x, y: [n]; parts: [n_parts]. One workgroup. Op: LabelMean.

struct Params {
    n: u32,
    n_parts: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> parts: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(local_invocation_index) local_ix: u32) {
    var sum = 0.0;
    for (var i = local_ix; i < params.n_parts; i += LANES) {
        sum += parts[i];
    }
    let total = row_sum(local_ix, sum);
    let factor = f32(params.n) / select(total, 1.0, total == 0.0);
    for (var i = local_ix; i < params.n; i += LANES) {
        y[i] = select(x[i] * factor, 0.0, total == 0.0);
    }
}
