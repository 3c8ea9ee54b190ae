// The first pass of the statistics of groups: sums of d = x - pivot and of d^2, where the pivot is one value of the group. Sums of x^2
// would cancel where a group's mean is larger than its deviation. Lanes, grid, x and partial: shared/group_sums.
// Op: GroupNorm, src/ops/group_norm/mod.rs.

@group(0) @binding(1) var<storage, read> x: array<Element>;
@group(0) @binding(2) var<storage, read_write> partial: array<Element>;

// The pivot: the value at one place, of the group's first channel.
fn center_of(o: u32, i: u32) -> vec4<f32> {
    let row = (o * params.len + params.pivot) * params.inner;
    if (WHOLE) {
        return vec4<f32>(widen(x[row + i * LANES / params.per_group * params.per_group / LANES]).x);
    }
    return widen(x[row + i]);
}

fn term(o: u32, l: u32, i: u32, center: vec4<f32>) -> Pair {
    let d = widen(x[(o * params.len + l) * params.inner + i]) - center;
    return Pair(d, d * d);
}

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) n_workgroups: vec3<u32>,
    @builtin(local_invocation_index) local_ix: u32,
) {
    let s = block_sums(workgroup_ix(workgroup_id, n_workgroups), local_ix);
    if (s.writes) {
        partial[s.at] = narrow(s.sums.a);
        partial[s.at + params.inner] = narrow(s.sums.b);
    }
}
