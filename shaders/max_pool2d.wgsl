// y[n, h_out, w_out, c] = the maximum of x[n, h_in, w_in, c] over the window; argmax, of y's shape, = h * w_in + w of the first
// maximum in row-major order. A NaN is above everything. Padding is never chosen.
// x and y are moved as bits. An invocation computes a Bits of y; grid of `linear_grid(n_vecs / WORKGROUP)`.
// Op: MaxPool2d.

@group(0) @binding(1) var<storage, read> x: array<Bits>;
@group(0) @binding(2) var<storage, read_write> y: array<Bits>;
@group(0) @binding(3) var<storage, read_write> argmax: array<Bits>;

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
    var best = Bits(0u);
    var best_key = Bits(0u);
    var best_at = Bits(0u);
    for (var k_h = first_tap(h_axis, h_start); k_h < h_end; k_h++) {
        let h = h_start + k_h * h_axis.dilation;
        for (var k_w = w_first; k_w < w_end; k_w++) {
            let w = w_start + k_w * w_axis.dilation;
            let bits = x[vec_ix(e, h, w, params.h_in, params.w_in)];
            let key = order_key(bits);
            let better = key > best_key;
            best = select(best, bits, better);
            best_key = select(best_key, key, better);
            best_at = select(best_at, Bits(u32(h * params.w_in + w)), better);
        }
    }
    y[ix] = best;
    argmax[ix] = best_at;
}
