// y = min(max(x, low), high); NaN stays NaN. x, y: any shape, equal. An invocation an Element (shared/elements_*), workgroups in a
// linear grid. Op: Clip, src/ops/clip.rs.

struct Params {
    n: u32, // Elements
    low: f32,
    high: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<Element>;
@group(0) @binding(2) var<storage, read_write> y: array<Element>;

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
    let v = widen(x[i]);
    let low = vec4<f32>(params.low);
    let high = vec4<f32>(params.high);
    let clipped = select(select(v, low, v < low), high, v > high);
    y[i] = narrow(select(clipped, v, nan_lanes(v)));
}
