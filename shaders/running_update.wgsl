// running += (1 - momentum) (value - running), unless health[0] isn't 0: training has met a NaN.
// running, value: a page, [len]; health: [2]. An invocation an Element (shared/elements_*), workgroups in a linear grid.
// Op: RunningUpdate, src/ops/running_update.rs.

struct Params {
    n: u32, // Elements
    rate: f32, // 1 - momentum
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> value: array<Element>;
@group(0) @binding(2) var<storage, read> health: array<u32>;
@group(0) @binding(3) var<storage, read_write> running: array<Element>;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) n_workgroups: vec3<u32>,
    @builtin(local_invocation_index) local_ix: u32,
) {
    let i = workgroup_ix(workgroup_id, n_workgroups) * 256u + local_ix;
    if (i >= params.n || health[0] != 0u) {
        return;
    }
    let old = widen(running[i]);
    running[i] = narrow(old + params.rate * (widen(value[i]) - old));
}
