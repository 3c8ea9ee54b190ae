// dx[n, h_in, w_in, c] = sum over the windows that have the element of dy[n, h_out, w_out, c] sign(x) (|x| / y)^(P - 1), 0 where x or y is.
// A gather, in row-major order of the windows. An invocation computes a Real of dx; grid of `linear_grid(n_vecs / WORKGROUP)`.
// Op: LpPool2dGrad, src/ops/lp_pool2d.rs.

@group(0) @binding(1) var<storage, read> x: array<Real>;
@group(0) @binding(2) var<storage, read> y: array<Real>;
@group(0) @binding(3) var<storage, read> dy: array<Real>;
@group(0) @binding(4) var<storage, read_write> dx: array<Real>;

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
    let e = element_at(ix, params.h_in, params.w_in);
    let v = x[ix];
    let direction = keep_nan(sign(v), v);
    let h_end = end_window(axis_h(), e.h);
    let w_first = first_window(axis_w(), e.w);
    let w_end = end_window(axis_w(), e.w);
    var sum = Real(0.0);
    for (var h = first_window(axis_h(), e.h); h < h_end; h++) {
        if (DILATED && (e.h - start_of(axis_h(), h)) % params.dilation_h != 0) {
            continue;
        }
        for (var w = w_first; w < w_end; w++) {
            if (DILATED && (e.w - start_of(axis_w(), w)) % params.dilation_w != 0) {
                continue;
            }
            let at = vec_ix(e, h, w, params.h_out, params.w_out);
            let norm = y[at];
            var share = direction;
            if (P == 2.0) {
                share = v / norm;
            } else if (P != 1.0) {
                share = direction * power(abs(v) / norm, P - 1.0);
            }
            sum += select(dy[at] * share, Real(0.0), is_zero(v) | is_zero(norm));
        }
    }
    dx[ix] = sum;
}
