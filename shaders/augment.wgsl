// y[n, h, w, c] = clip(colour(x at (i, j)) + sigma z, low, high), or fill where the cut-out of sample n is. x: [n, h_in, w_in, c]; places: [n, 12]; numbers: [n, 3], with COLOURS
// [n, 13] and c = 3; y: [n, h_out, w_out, c]. The place (i, j) is an affine function of (h, w) in whole numbers, 65,536 a pixel, so that it is the same on every device;
// between pixels the mean of four, weighted by nearness. z is the sum of eight uniform numbers of 16 bits, brought to deviation 1.
// An invocation a pixel of y, workgroups in a linear grid. Op: Augment, src/ops/augment.rs.

const BORDER: u32 = 0u; // what lies outside: fill 0, the edge 1, the image mirrored 2, the image again 3
const COLOURS: bool = false;

struct Params {
    n: u32, // pixels of y
    h_in: i32,
    w_in: i32,
    h_out: u32,
    w_out: u32,
    c: u32,
    fill: f32,
    low: f32,
    high: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> places: array<u32>;
@group(0) @binding(3) var<storage, read> numbers: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;

const PLACES: u32 = 12u;
const Z_SCALE: f32 = 0.00001868812365; // sqrt(12 / (8 (2^32 - 1)))

fn modulo(i: i32, n: i32) -> i32 {
    let rest = i % n;
    return select(rest, rest + n, rest < 0);
}

// The row or column of the image that lies at i; -1 if none does.
fn inside(i: i32, len: i32) -> i32 {
    if (BORDER == 1u) {
        return clamp(i, 0, len - 1);
    }
    if (BORDER == 2u) {
        let at = modulo(i, 2 * len);
        return min(at, 2 * len - 1 - at);
    }
    if (BORDER == 3u) {
        return modulo(i, len);
    }
    return select(-1, i, i >= 0 && i < len);
}

struct Taps {
    at: array<i32, 4>, // first elements of pixels, -1 for fill
    h: f32, // how far the place is from the upper ones to the lower ones
    w: f32,
}

fn value(at: i32, channel: u32) -> f32 {
    if (at < 0) {
        return params.fill;
    }
    return x[u32(at) + channel];
}

// A neighbour of no share isn't read: it may be a NaN.
fn sampled(taps: Taps, channel: u32) -> f32 {
    var upper = value(taps.at[0], channel);
    if (taps.w > 0.0) {
        upper = (1.0 - taps.w) * upper + taps.w * value(taps.at[1], channel);
    }
    if (taps.h == 0.0) {
        return upper;
    }
    var lower = value(taps.at[2], channel);
    if (taps.w > 0.0) {
        lower = (1.0 - taps.w) * lower + taps.w * value(taps.at[3], channel);
    }
    return (1.0 - taps.h) * upper + taps.h * lower;
}

// Whole numbers until the last product, so that every device adds the same.
fn noise(element: u32, key: vec2<u32>) -> f32 {
    let words = pcg4d(vec4<u32>(element, key, 0u));
    let halves = (words & vec4<u32>(0xffffu)) + (words >> vec4<u32>(16u));
    return f32(i32(halves.x + halves.y + halves.z + halves.w) - 262140) * Z_SCALE;
}

fn clipped(v: f32) -> f32 {
    let inner = select(select(v, params.low, v <= params.low), params.high, v >= params.high);
    return select(inner, v, is_nan(v));
}

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) n_workgroups: vec3<u32>,
    @builtin(local_invocation_index) local_ix: u32,
) {
    let pixel = workgroup_ix(workgroup_id, n_workgroups) * 256u + local_ix;
    if (pixel >= params.n) {
        return;
    }
    let row = quotient(pixel, params.w_out);
    let sample = quotient(row, params.h_out);
    let w = pixel - row * params.w_out;
    let h = row - sample * params.h_out;
    let first = sample * PLACES;
    let y_ix = pixel * params.c;
    if (h >= places[first + 6u] && h < places[first + 7u] && w >= places[first + 8u] && w < places[first + 9u]) {
        for (var channel = 0u; channel < params.c; channel++) {
            y[y_ix + channel] = params.fill;
        }
        return;
    }

    let i = bitcast<i32>(places[first] * h + places[first + 1u] * w + places[first + 2u]);
    let j = bitcast<i32>(places[first + 3u] * h + places[first + 4u] * w + places[first + 5u]);
    let h_0 = inside(i >> 16u, params.h_in);
    let h_1 = inside((i >> 16u) + 1, params.h_in);
    let w_0 = inside(j >> 16u, params.w_in);
    let w_1 = inside((j >> 16u) + 1, params.w_in);
    let rows = array<i32, 4>(h_0, h_0, h_1, h_1);
    let columns = array<i32, 4>(w_0, w_1, w_0, w_1);
    var taps: Taps;
    taps.h = f32(i & 0xffff) * 0.0000152587890625;
    taps.w = f32(j & 0xffff) * 0.0000152587890625;
    let x_ix = i32(sample) * params.h_in * params.w_in;
    for (var tap = 0; tap < 4; tap++) {
        let at = (x_ix + rows[tap] * params.w_in + columns[tap]) * i32(params.c);
        taps.at[tap] = select(at, -1, rows[tap] < 0 || columns[tap] < 0);
    }

    let numbers_ix = sample * select(3u, 13u, COLOURS);
    let sigma = numbers[numbers_ix];
    let key = vec2<u32>(places[first + 10u], places[first + 11u]);
    let within = (h * params.w_out + w) * params.c;
    var colour = vec3<f32>(0.0);
    if (COLOURS) {
        colour = vec3<f32>(sampled(taps, 0u), sampled(taps, 1u), sampled(taps, 2u));
    }
    for (var channel = 0u; channel < params.c; channel++) {
        var v: f32;
        if (COLOURS) {
            let m = numbers_ix + 1u + 4u * channel;
            v = numbers[m] * colour.x + numbers[m + 1u] * colour.y + numbers[m + 2u] * colour.z + numbers[m + 3u];
        } else {
            v = numbers[numbers_ix + 1u] * sampled(taps, channel) + numbers[numbers_ix + 2u];
        }
        if (sigma != 0.0) {
            v += sigma * noise(within + channel, key);
        }
        y[y_ix + channel] = clipped(v);
    }
}
