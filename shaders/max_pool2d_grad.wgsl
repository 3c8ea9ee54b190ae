// dx[n, h_in, w_in, c] = sum of dy[n, h_out, w_out, c] over the windows whose argmax is the element, in row-major order of the
// windows. DISJOINT windows share no element: an invocation takes a Real of dy and writes what its window owns. Else a gather: every
// element looks at the windows that reach it, so no atomics and always the same order; an invocation computes a Real of dx.
// Grid of `linear_grid(n_vecs / WORKGROUP)`. Op: MaxPool2dGrad.

alias Real = f32; // or vec4<f32>
alias Index = u32; // or vec4<u32>
const DISJOINT: bool = false;

@group(0) @binding(1) var<storage, read> argmax: array<Index>;
@group(0) @binding(2) var<storage, read> dy: array<Real>;
@group(0) @binding(3) var<storage, read_write> dx: array<Real>;

fn scatter(ix: u32) {
    let e = element_at(ix, params.h_out, params.w_out);
    let chosen = argmax[ix];
    let v = dy[ix];
    let h_end = end_owned(axis_h(), e.h);
    let w_first = first_owned(axis_w(), e.w);
    let w_end = end_owned(axis_w(), e.w);
    for (var h = first_owned(axis_h(), e.h); h < h_end; h++) {
        for (var w = w_first; w < w_end; w++) {
            let here = Index(u32(h * params.w_in + w));
            dx[vec_ix(e, h, w, params.h_in, params.w_in)] = select(Real(0.0), v, chosen == here);
        }
    }
}

fn gather(ix: u32) {
    let e = element_at(ix, params.h_in, params.w_in);
    let here = Index(u32(e.h * params.w_in + e.w));
    let h_end = end_window(axis_h(), e.h);
    let w_first = first_window(axis_w(), e.w);
    let w_end = end_window(axis_w(), e.w);
    var sum = Real(0.0);
    for (var h = first_window(axis_h(), e.h); h < h_end; h++) {
        for (var w = w_first; w < w_end; w++) {
            let at = vec_ix(e, h, w, params.h_out, params.w_out);
            sum += select(Real(0.0), dy[at], argmax[at] == here);
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
