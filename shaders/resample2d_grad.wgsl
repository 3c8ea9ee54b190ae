// dx[n, h_in, w_in, c] = sum over the elements of the output that have the input's of weight_h weight_w dy[n, h_out, w_out, c]
// (shared/resample), in row-major order but for images of REFLECT. A gather: no atomics and always the same order.
// An invocation computes a Real of dx; grid of `linear_grid(n_vecs / WORKGROUP)`. Op: Resample2dGrad, src/ops/resample2d.rs.

alias Real = f32; // or vec4<f32>

@group(0) @binding(1) var<storage, read> dy: array<Real>;
@group(0) @binding(2) var<storage, read_write> dx: array<Real>;

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
    let e = element_at(ix, params.h_in, params.w_in);
    let h_users = users_of(h_axis, e.h);
    let w_users = users_of(w_axis, e.w);
    var sum = Real(0.0);
    for (var h_k = h_users.first; h_k < h_users.end; h_k++) {
        let h = user_at(h_axis, e.h, h_k);
        if (h < 0 || h >= params.h_out) {
            continue;
        }
        var row_sum = Real(0.0);
        for (var w_k = w_users.first; w_k < w_users.end; w_k++) {
            let w = user_at(w_axis, e.w, w_k);
            if (w >= 0 && w < params.w_out) {
                let share = weight(w_axis, taps_of(w_axis, w), e.w);
                row_sum += share * dy[vec_ix(e, h, w, params.h_out, params.w_out)];
            }
        }
        sum += weight(h_axis, taps_of(h_axis, h), e.h) * row_sum;
    }
    dx[ix] = sum;
}
