// A number of each group for the channels of an Element (shared/elements_*). Imported by: the kernels of group norms, after the numbers
// of channels are known.

const WHOLE: bool = true; // an Element's channels are of one group

// The groups, among those of all samples, of Element i's channels in sample o.
fn groups_of(o: u32, i: u32, n_groups: u32, per_group: u32) -> vec4<u32> {
    let first = i * LANES;
    let at = o * n_groups;
    if (WHOLE) {
        return vec4<u32>(at + quotient(first, per_group));
    }
    return vec4<u32>(
        at + quotient(first, per_group),
        at + quotient(first + 1u, per_group),
        at + quotient(first + 2u, per_group),
        at + quotient(first + 3u, per_group),
    );
}
