// y[n, h_out, w_out, c] = (sum of |x[n, h_in, w_in, c]|^P over the window)^(1 / P). For a P that is neither 1 nor 2, of |x| as shares of the
// largest of the window, so that no power overflows. An invocation computes a Real of y; grid of `linear_grid(n_vecs / WORKGROUP)`.
// Op: LpPool2d, src/ops/lp_pool2d.rs.

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
    let h_first = first_tap(h_axis, h_start);
    let h_end = end_tap(h_axis, h_start, h_axis.len);
    let w_first = first_tap(w_axis, w_start);
    let w_end = end_tap(w_axis, w_start, w_axis.len);
    var largest = Real(0.0);
    if (P != 1.0 && P != 2.0) {
        for (var k_h = h_first; k_h < h_end; k_h++) {
            for (var k_w = w_first; k_w < w_end; k_w++) {
                let at = vec_ix(e, h_start + k_h * h_axis.dilation, w_start + k_w * w_axis.dilation, params.h_in, params.w_in);
                largest = max(largest, abs(x[at]));
            }
        }
    }
    var sum = Real(0.0);
    for (var k_h = h_first; k_h < h_end; k_h++) {
        for (var k_w = w_first; k_w < w_end; k_w++) {
            let at = vec_ix(e, h_start + k_h * h_axis.dilation, w_start + k_w * w_axis.dilation, params.h_in, params.w_in);
            let v = abs(x[at]);
            if (P == 1.0) {
                sum += v;
            } else if (P == 2.0) {
                sum += v * v;
            } else {
                // Of zeros, and of infinities, the largest is 1 too.
                sum += power(select(v / largest, Real(1.0), v == largest), P);
            }
        }
    }
    if (P == 1.0) {
        y[ix] = sum;
    } else if (P == 2.0) {
        y[ix] = keep_nan(sqrt(sum), sum);
    } else {
        y[ix] = keep_nan(largest * power(sum, 1.0 / P), sum);
    }
}
