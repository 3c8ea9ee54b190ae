// y[n, h_out, w_out, c] = sum over the taps of h_out and w_out of weight_h weight_w x[n, h_in, w_in, c] (shared/resample).
// An invocation computes a Real of y; grid of `linear_grid(n_vecs / WORKGROUP)`. Op: Resample2d, src/ops/resample2d.rs.

alias Real = f32; // or vec4<f32>

@group(0) @binding(1) var<storage, read> x: array<Real>;
@group(0) @binding(2) var<storage, read_write> y: array<Real>;

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) n_workgroups: vec3<u32>,
    @builtin(local_invocation_index) local_ix: u32,
) {
    let ix = workgroup_ix(workgroup_id, n_workgroups) * WORKGROUP + local_ix;
    if (ix >= params.n_vecs) {
        return;
    }
    let h_axis = axis_h();
    let w_axis = axis_w();
    let e = element_at(ix, params.h_out, params.w_out);
    let h_taps = taps_of(h_axis, e.h);
    let w_taps = taps_of(w_axis, e.w);
    if (KIND == NEAREST || KIND == REFLECT) {
        y[ix] = x[vec_ix(e, h_taps.first, w_taps.first, params.h_in, params.w_in)];
        return;
    }
    var sum = Real(0.0);
    for (var h = h_taps.first; h < h_taps.end; h++) {
        var row_sum = Real(0.0);
        for (var w = w_taps.first; w < w_taps.end; w++) {
            row_sum += weight(w_axis, w_taps, w) * x[vec_ix(e, h, w, params.h_in, params.w_in)];
        }
        sum += weight(h_axis, h_taps, h) * row_sum;
    }
    y[ix] = sum;
}
