// y[n, h_out, w_out, c] = the sum of x[n, h_in, w_in, c] over the window / the number of its elements, with or without padding.
// An invocation computes a Real of y; grid of `linear_grid(n_vecs / WORKGROUP)`. Op: AvgPool2d.

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
    let h_start = start_of(h_axis, e.h);
    let w_start = start_of(w_axis, e.w);
    let h_end = end_tap(h_axis, h_start, h_axis.len);
    let w_first = first_tap(w_axis, w_start);
    let w_end = end_tap(w_axis, w_start, w_axis.len);
    var sum = Real(0.0);
    for (var k_h = first_tap(h_axis, h_start); k_h < h_end; k_h++) {
        let h = h_start + k_h * h_axis.dilation;
        var row_sum = Real(0.0);
        for (var k_w = w_first; k_w < w_end; k_w++) {
            row_sum += x[vec_ix(e, h, w_start + k_w * w_axis.dilation, params.h_in, params.w_in)];
        }
        sum += row_sum;
    }
    y[ix] = sum / Real(f32(n_counted(h_axis, h_start)) * f32(n_counted(w_axis, w_start)));
}
