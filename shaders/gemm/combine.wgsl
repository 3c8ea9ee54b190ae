// Second pass of sums that were split: c[m, n] = activate(sum of the partial results in their order + bias[n] +
// residual[m, n]). partial_sums: [n_parts, m, n]. bias: [n], residual: [m, n], or anything if there is none. c: [m, n]. An invocation makes one Element
// (shared/elements_*; vec4 if n is a multiple of 4); sizes are in Elements.
// Of very many parts it first makes fewer, c: [fewer, m, n], each of every fewer-th of partial_sums.
// Dispatch: a linear grid of workgroups of 64. Owner: src/ops/gemm.rs.

const HAS_BIAS: bool = false;
const HAS_RESIDUAL: bool = false;

struct Params {
    n_elements: u32, // of c
    n: u32,
    n_partial: u32, // of partial_sums
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> partial_sums: array<Element>;
@group(0) @binding(2) var<storage, read> bias: array<Element>;
@group(0) @binding(3) var<storage, read> residual: array<Element>;
@group(0) @binding(4) var<storage, read_write> c: array<Element>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) n_workgroups: vec3<u32>,
    @builtin(local_invocation_index) local_ix: u32,
) {
    let i = workgroup_ix(workgroup_id, n_workgroups) * 64u + local_ix;
    if (i >= params.n_elements) {
        return;
    }
    var sum = widen(partial_sums[i]);
    for (var at = i + params.n_elements; at < params.n_partial; at += params.n_elements) {
        sum += widen(partial_sums[at]);
    }
    if (HAS_BIAS) {
        sum += widen(bias[i % params.n]);
    }
    if (HAS_RESIDUAL) {
        sum += widen(residual[i]);
    }
    c[i] = narrow(activate(sum));
}
