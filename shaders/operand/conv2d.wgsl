// Operands of a convolution as a GEMM: m runs over (n, h_out, w_out), k over (k_h, k_w, c_in / groups), n over c_out / groups.
// a: x [n, h_in, w_in, c_in]. b: w [k_h, k_w, c_in / groups, c_out]. c: y [n, h_out, w_out, c_out]. Owner: src/ops/conv2d/.

struct Params {
    m: u32,
    n: u32,
    k: u32,
    k_chunk: u32,
    n_tiles: u32,
    n_splits: u32,
    n_slices: u32,
    c_stride: u32,
    c_rows: u32,
    c_group: u32,
    n_biased: u32, // n, or 0 without a bias
    h_in: u32,
    w_in: u32,
    c_in: u32,
    c_in_group: u32,
    h_out: u32,
    w_out: u32,
    c_out: u32,
    k_w: u32,
    stride_h: u32,
    stride_w: u32,
    dilation_h: u32,
    dilation_w: u32,
    pad_top: u32,
    pad_left: u32,
}

const A_ALONG_K: bool = true;
const B_ALONG_K: bool = false;
// Whether what lies under a row of a window, k_w * c_in elements, is a run in memory, of at least four. Then a position is (k_h, place in
// the run), and loads element by element ask only once for a row whether it lies inside.
const RUNS: bool = false;

fn k_at(k: u32) -> Position {
    if (RUNS) {
        let p = digits(k, 1u, params.k_w * params.c_in);
        return Position(k, p.high, 0u, p.low);
    }
    return digits(k, params.k_w, params.c_in_group);
}

fn k_add(p: Position, q: Position) -> Position {
    if (RUNS) {
        let run = params.k_w * params.c_in;
        let low = p.low + q.low;
        return Position(p.k + q.k, p.high + q.high + u32(low >= run), 0u, min(low, low - run));
    }
    return add_digits(p, q, params.k_w, params.c_in_group);
}

// An output pixel's window: the input pixel under its first tap, and that pixel's first element. They need not lie inside: a negative
// number is a large one. For RUNS, w0 counts elements.
struct AState {
    h0: u32,
    w0: u32,
    base: u32,
}

fn a_prepare(m: u32, group: u32) -> AState {
    let p = digits(min(m, params.m - 1u), params.h_out, params.w_out);
    let h0 = p.mid * params.stride_h - params.pad_top;
    let w0 = p.low * params.stride_w - params.pad_left;
    let pixel = (p.high * params.h_in + h0) * params.w_in + w0;
    return AState(h0, select(w0, w0 * params.c_in, RUNS), pixel * a_len(params.c_in) + a_len(group * params.c_in_group));
}

// (pixel, k)
fn a_tap(s: AState, p: Position) -> Tap {
    let h = p.high * params.dilation_h;
    let w = p.mid * params.dilation_w;
    let inside = (s.h0 + h < params.h_in) & (s.w0 + w < params.w_in) & in_k(p.k);
    return Tap(s.base + ((h * params.w_in + w) * a_len(params.c_in) + a_len(p.low)), inside);
}

fn a_at(s: AState, p: Position) -> f32 {
    let t = a_tap(s, p);
    return a_scalar(t.i, t.inside);
}

// A place in a run, whether that is the next run, and how far it lies from the first run's start.
struct RunPlace {
    low: u32,
    next: bool,
    i: u32,
}

fn run_place(low: u32) -> RunPlace {
    let run = params.k_w * params.c_in;
    let next = low >= run;
    let down = params.dilation_h * params.w_in * params.c_in - run;
    return RunPlace(min(low, low - run), next, low + select(0u, down, next));
}

fn a_in_run(s: AState, row: u32, place: RunPlace, rows: vec2<bool>) -> f32 {
    let inside = select(rows.x, rows.y, place.next) & (s.w0 + place.low < params.w_in * params.c_in);
    // 0 - base + base is 0, in one instruction with the shift to bytes.
    return select(0.0, vec4<f32>(a[s.base + select(0u - s.base, row + place.i, inside)]).x, inside);
}

fn a_elements(s: AState, p: Position) -> vec4<f32> {
    if (RUNS) {
        let h = p.high * params.dilation_h;
        let row = h * (params.w_in * params.c_in);
        // This run's, and the next.
        let rows = vec2<bool>(
            (s.h0 + h < params.h_in) & in_k(p.k),
            (s.h0 + h + params.dilation_h < params.h_in) & in_k(p.k - p.low + params.k_w * params.c_in),
        );
        return vec4<f32>(
            a_in_run(s, row, run_place(p.low), rows),
            a_in_run(s, row, run_place(p.low + 1u), rows),
            a_in_run(s, row, run_place(p.low + 2u), rows),
            a_in_run(s, row, run_place(p.low + 3u), rows),
        );
    }
    let one = k_at(1u);
    let p1 = k_add(p, one);
    let p2 = k_add(p1, one);
    return vec4<f32>(a_at(s, p), a_at(s, p1), a_at(s, p2), a_at(s, k_add(p2, one)));
}

// The first of four columns, or the last columns of all, and how many of them there are.
struct BState {
    base: u32,
    left: u32,
}

fn b_prepare(n: u32, group: u32) -> BState {
    let column = min(n, params.n - 1u);
    return BState(b_len(group * params.n + select(column, column & ~3u, B_VECTOR)), params.n - column);
}

fn b_tap(s: BState, p: Position) -> Tap {
    return Tap(s.base + p.k * b_len(params.c_out), in_k(p.k));
}

fn b_elements(s: BState, p: Position) -> vec4<f32> {
    let t = b_tap(s, p);
    return b_along(t.i, s.left, t.inside);
}

fn c_row(m: u32, n: u32) -> u32 {
    return m;
}
