// The first pass of the gradient of a group norm by its input: sums of g = dy gamma and of g (x - mean). mean: [outer, groups], gamma: the
// channels. Lanes, grid, x, dy and partial: shared/group_sums. Op: GroupNormGradInput, src/ops/group_norm/grad.rs.

@group(0) @binding(1) var<storage, read> dy: array<Element>;
@group(0) @binding(2) var<storage, read> x: array<Element>;
@group(0) @binding(3) var<storage, read> mean: array<f32>;
@group(0) @binding(4) var<storage, read> gamma: array<Element>;
@group(0) @binding(5) var<storage, read_write> partial: array<Element>;

fn center_of(o: u32, i: u32) -> vec4<f32> {
    let group = group_at(o, i);
    if (WHOLE || LANES == 1u) {
        return vec4<f32>(mean[group]);
    }
    return vec4<f32>(mean[group], mean[group + 1u], mean[group + 2u], mean[group + 3u]);
}

fn term(o: u32, l: u32, i: u32, center: vec4<f32>) -> Pair {
    let at = (o * params.len + l) * params.inner + i;
    let channel = select(i, l * params.inner + i, IS_ROW);
    let g = widen(dy[at]) * widen(gamma[channel]);
    return Pair(g, g * (widen(x[at]) - center));
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
