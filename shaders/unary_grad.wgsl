// dx = dy f'(x), with f' computed from y = f(x) (shared/activation). y, dy, dx: any shape, equal. An invocation an Element
// (shared/elements_*), workgroups in a linear grid. Op: UnaryGrad, src/ops/unary.rs.

struct Params {
    n: u32, // Elements
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> y: array<Element>;
@group(0) @binding(2) var<storage, read> dy: array<Element>;
@group(0) @binding(3) var<storage, read_write> dx: array<Element>;

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
    dx[i] = narrow(activate_grad(widen(y[i]), widen(dy[i])));
}
