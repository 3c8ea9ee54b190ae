// If health[0] is 0 and every loss is finite: metrics += (sum of loss, sum of correct). If a loss isn't: health = (1, step).
// loss, correct: [n]; step: [1]; metrics, health: [2]. One workgroup: lanes add up their share in order, then a tree adds up the
// lanes. Op: Track, src/ops/track.rs.

struct Params {
    n: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> loss: array<f32>;
@group(0) @binding(2) var<storage, read> correct: array<f32>;
@group(0) @binding(3) var<storage, read> step: array<u32>;
@group(0) @binding(4) var<storage, read_write> metrics: array<f32>;
@group(0) @binding(5) var<storage, read_write> health: array<u32>;

var<workgroup> sh_sum: array<vec2<f32>, 256>;
var<workgroup> sh_bad: array<u32, 256>;

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) local_ix: u32) {
    var sum = vec2<f32>(0.0);
    var bad = 0u;
    for (var i = local_ix; i < params.n; i += 256u) {
        sum += vec2<f32>(loss[i], correct[i]);
        bad |= select(1u, 0u, is_finite(loss[i]));
    }
    sh_sum[local_ix] = sum;
    sh_bad[local_ix] = bad;
    for (var half = 128u; half > 0u; half = half >> 1u) {
        workgroupBarrier();
        if (local_ix < half) {
            sh_sum[local_ix] += sh_sum[local_ix + half];
            sh_bad[local_ix] |= sh_bad[local_ix + half];
        }
    }
    if (local_ix == 0u && health[0] == 0u) {
        if (sh_bad[0] == 0u) {
            metrics[0] += sh_sum[0].x;
            metrics[1] += sh_sum[0].y;
        } else {
            health[0] = 1u;
            health[1] = step[0];
        }
    }
}
