// y = x * scale where the random word of the element is at least threshold, else 0. x, y: any shape, equal; step: [1]. Element e
// has word e % 4 of pcg4d(e / 4, step, stream, seed), the same bits as src/ops/dropout.rs. SPATIAL: x [n, .., c], and all elements of
// channel c in sample n have the word of element n * c_len + c. An invocation an Element (shared/elements_*; SPATIAL: vec4 if c is a
// multiple of 4), workgroups in a linear grid. Op: Dropout, src/ops/dropout.rs.

const SPATIAL: bool = false;

struct Params {
    n: u32, // Elements
    stream: u32,
    seed: u32,
    threshold: u32,
    scale: f32,
    sample: u32, // Elements of a sample
    channels: u32, // Elements of its last axis
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<Element>;
@group(0) @binding(2) var<storage, read> step: array<u32>;
@group(0) @binding(3) var<storage, read_write> y: array<Element>;

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
    var e = i;
    if (SPATIAL) {
        e = quotient(i, params.sample) * params.channels + (i - quotient(i, params.channels) * params.channels);
    }
    let four = pcg4d(vec4<u32>(e * LANES / 4u, step[0], params.stream, params.seed));
    let words = select(vec4<u32>(four[e & 3u]), four, LANES == 4u);
    y[i] = narrow(select(vec4<f32>(0.0), widen(x[i]) * params.scale, words >= vec4<u32>(params.threshold)));
}
