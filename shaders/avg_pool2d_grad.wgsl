// dx[n, h_in, w_in, c] = sum over the windows that have the element of dy[n, h_out, w_out, c] / the number of the window's
// elements. DISJOINT windows share no element: an invocation takes a Real of dy and writes what its window owns. Else a gather, in
// row-major order of the windows; an invocation computes a Real of dx.
// Grid of `linear_grid(n_vecs / WORKGROUP)`. Op: AvgPool2dGrad.

alias Real = f32; // or vec4<f32>
const DISJOINT: bool = false;

@group(0) @binding(1) var<storage, read> dy: array<Real>;
@group(0) @binding(2) var<storage, read_write> dx: array<Real>;

fn scatter(ix: u32) {
    let h_axis = axis_h();
    let w_axis = axis_w();
    let e = element_at(ix, params.h_out, params.w_out);
    let h_start = start_of(h_axis, e.h);
    let w_start = start_of(w_axis, e.w);
    let v = dy[ix] / Real(f32(n_counted(h_axis, h_start)) * f32(n_counted(w_axis, w_start)));
    let h_end = end_owned(h_axis, e.h);
    let w_first = first_owned(w_axis, e.w);
    let w_end = end_owned(w_axis, e.w);
    for (var h = first_owned(h_axis, e.h); h < h_end; h++) {
        for (var w = w_first; w < w_end; w++) {
            let inside = (h - h_start < h_axis.kernel) & (w - w_start < w_axis.kernel);
            dx[vec_ix(e, h, w, params.h_in, params.w_in)] = select(Real(0.0), v, inside);
        }
    }
}

fn gather(ix: u32) {
    let e = element_at(ix, params.h_in, params.w_in);
    let h_end = end_window(axis_h(), e.h);
    let w_first = first_window(axis_w(), e.w);
    let w_end = end_window(axis_w(), e.w);
    var sum = Real(0.0);
    for (var h = first_window(axis_h(), e.h); h < h_end; h++) {
        let h_start = start_of(axis_h(), h);
        if (DILATED && (e.h - h_start) % params.dilation_h != 0) {
            continue;
        }
        let h_counted = f32(n_counted(axis_h(), h_start));
        for (var w = w_first; w < w_end; w++) {
            let w_start = start_of(axis_w(), w);
            if (!DILATED || (e.w - w_start) % params.dilation_w == 0) {
                let at = vec_ix(e, h, w, params.h_out, params.w_out);
                sum += dy[at] / Real(h_counted * f32(n_counted(axis_w(), w_start)));
            }
        }
    }
    dx[ix] = sum;
}

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
    if (DISJOINT) {
        scatter(ix);
    } else {
        gather(ix);
    }
}
