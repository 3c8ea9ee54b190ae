// y[y_start + sum of k_i y_i] = x[x_start + sum of t_i x_i] for all k_i < len_i, where t_i = (k_i - before_i) / step_i must be a whole number from 0 to
// below count_i, else `value`. Axis 0 is the innermost of RANK. Strides, starts, and along axis 0 all numbers, count Bits. Bound as words, so
// that NaN and denormals keep their bits. An invocation a Bits (vec4 if axis 0 is contiguous and all numbers are multiples of 4), workgroups in
// a linear grid. Ops: Slice and Pad, src/ops/slice.rs; Concat, src/ops/concat.rs; Transpose, src/ops/transpose.rs.

alias Bits = u32; // or vec4<u32>
const RANK: u32 = 6u;
const PADDED: bool = true; // false: all steps are 1, and there is an x for every y
const SPREAD: bool = true; // false: all steps are 1

struct Params {
    n: u32, // product of all len
    value: u32,
    x_start: i32,
    y_start: u32,
    len_0: u32,
    x_0: i32,
    y_0: u32,
    before_0: i32,
    count_0: i32,
    step_0: i32,
    len_1: u32,
    x_1: i32,
    y_1: u32,
    before_1: i32,
    count_1: i32,
    step_1: i32,
    len_2: u32,
    x_2: i32,
    y_2: u32,
    before_2: i32,
    count_2: i32,
    step_2: i32,
    len_3: u32,
    x_3: i32,
    y_3: u32,
    before_3: i32,
    count_3: i32,
    step_3: i32,
    len_4: u32,
    x_4: i32,
    y_4: u32,
    before_4: i32,
    count_4: i32,
    step_4: i32,
    len_5: u32,
    x_5: i32,
    y_5: u32,
    before_5: i32,
    count_5: i32,
    step_5: i32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<Bits>;
@group(0) @binding(2) var<storage, read_write> y: array<Bits>;

struct Axis {
    len: u32,
    x: i32,
    y: u32,
    before: i32,
    count: i32,
    step: i32,
}

// Where an invocation reads and writes, so far as the axes that were looked at say; `rest` is its number among those that were not.
struct Place {
    rest: u32,
    x: i32,
    y: u32,
    inside: bool,
}

fn along(place: Place, number: u32, a: Axis) -> Place {
    if (number >= RANK) {
        return place;
    }
    var rest = 0u;
    if (number + 1u < RANK) {
        rest = quotient(place.rest, a.len);
    }
    let k = place.rest - rest * a.len;
    var t = i32(k) - a.before;
    var inside = place.inside;
    if (SPREAD) {
        let whole = i32(quotient(u32(max(t, 0)), u32(a.step)));
        inside = inside && whole * a.step == t;
        t = whole;
    }
    if (PADDED) {
        inside = inside && t >= 0 && t < a.count;
    }
    return Place(rest, place.x + t * a.x, place.y + k * a.y, inside);
}

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
    var place = Place(i, params.x_start, params.y_start, true);
    place = along(place, 0u, Axis(params.len_0, params.x_0, params.y_0, params.before_0, params.count_0, params.step_0));
    place = along(place, 1u, Axis(params.len_1, params.x_1, params.y_1, params.before_1, params.count_1, params.step_1));
    place = along(place, 2u, Axis(params.len_2, params.x_2, params.y_2, params.before_2, params.count_2, params.step_2));
    place = along(place, 3u, Axis(params.len_3, params.x_3, params.y_3, params.before_3, params.count_3, params.step_3));
    place = along(place, 4u, Axis(params.len_4, params.x_4, params.y_4, params.before_4, params.count_4, params.step_4));
    place = along(place, 5u, Axis(params.len_5, params.x_5, params.y_5, params.before_5, params.count_5, params.step_5));
    var bits = Bits(params.value);
    if (place.inside) {
        bits = x[u32(place.x)];
    }
    y[place.y] = bits;
}
