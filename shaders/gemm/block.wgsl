// Blocks of 4 x 4 elements of A and B with k as the matrix column, whichever way the operand's memory runs, and the epilogue:
// c = activate(sum + bias + residual). Imported by every main loop, after its operand.

const HAS_RESIDUAL: bool = false; // a tensor like c

// What a workgroup computes: a tile of a group's rows and columns, summed over a split of k.
struct Part {
    tile_m: u32,
    tile_n: u32,
    group: u32,
    split: u32,
}

// Columns run fastest, then slices, which are splits within groups, then rows: a workgroup that fills up the grid has rows beyond
// the last, and writes nothing. Not in the grid's z: that holds 65,535, and a depthwise convolution can have more slices.
fn part_of(ix: u32) -> Part {
    let row_ix = ix / params.n_tiles;
    let tile_m = row_ix / params.n_slices;
    let slice = row_ix - tile_m * params.n_slices;
    let group = slice / params.n_splits;
    return Part(tile_m, ix - row_ix * params.n_tiles, group, slice - group * params.n_splits);
}

// Where the four loads of a block lie. Nothing, if they go element by element.
struct BlockTaps {
    i: vec4<u32>,
    inside: vec4<bool>,
}

fn block_taps(x: Tap, y: Tap, z: Tap, w: Tap) -> BlockTaps {
    let inside = vec4<bool>(x.inside, y.inside, z.inside, w.inside);
    return BlockTaps(select(vec4<u32>(), vec4<u32>(x.i, y.i, z.i, w.i), inside), inside);
}

// Four loads of a block, and which of them count.
struct BlockLoad {
    v: mat4x4<f32>,
    inside: vec4<bool>,
}

// Column j holds k + j.
fn block_loaded(block: BlockLoad, along_k: bool) -> mat4x4<f32> {
    const ZERO: vec4<f32> = vec4<f32>();
    let v = mat4x4<f32>(
        select(ZERO, block.v[0], block.inside.x),
        select(ZERO, block.v[1], block.inside.y),
        select(ZERO, block.v[2], block.inside.z),
        select(ZERO, block.v[3], block.inside.w),
    );
    if (along_k) {
        return transpose(v);
    }
    return v;
}

struct ABlock {
    s0: AState,
    s1: AState,
    s2: AState,
    s3: AState,
}

fn a_block_prepare(m: u32, group: u32) -> ABlock {
    let s0 = a_prepare(m, group);
    if (A_ALONG_K) {
        return ABlock(s0, a_prepare(m + 1u, group), a_prepare(m + 2u, group), a_prepare(m + 3u, group));
    }
    return ABlock(s0, s0, s0, s0);
}

// `one` is k_at(1).
fn k_next(p: Position, one: Position) -> Position {
    if (K_ALIGNED) {
        return k_within(p, 1u);
    }
    return k_add(p, one);
}

fn a_block_taps(s: ABlock, p: Position, one: Position) -> BlockTaps {
    if (!A_VECTOR) {
        return BlockTaps();
    }
    if (A_ALONG_K) {
        return block_taps(a_tap(s.s0, p), a_tap(s.s1, p), a_tap(s.s2, p), a_tap(s.s3, p));
    }
    let p1 = k_next(p, one);
    let p2 = k_next(p1, one);
    return block_taps(a_tap(s.s0, p), a_tap(s.s0, p1), a_tap(s.s0, p2), a_tap(s.s0, k_next(p2, one)));
}

// The block at p, whose taps are known.
fn a_block_fetch(t: BlockTaps, s: ABlock, p: Position, one: Position) -> BlockLoad {
    if (A_VECTOR) {
        return BlockLoad(mat4x4<f32>(a_vector(t.i.x), a_vector(t.i.y), a_vector(t.i.z), a_vector(t.i.w)), t.inside);
    }
    if (A_ALONG_K) {
        let v = mat4x4<f32>(a_elements(s.s0, p), a_elements(s.s1, p), a_elements(s.s2, p), a_elements(s.s3, p));
        return BlockLoad(v, vec4<bool>(true));
    }
    let p1 = k_next(p, one);
    let p2 = k_next(p1, one);
    let v = mat4x4<f32>(a_elements(s.s0, p), a_elements(s.s0, p1), a_elements(s.s0, p2), a_elements(s.s0, k_next(p2, one)));
    return BlockLoad(v, vec4<bool>(true));
}

// Column j holds A[m ..= m + 3, k + j], where p stands at k.
fn a_block(s: ABlock, p: Position) -> mat4x4<f32> {
    let one = k_at(1u);
    return block_loaded(a_block_fetch(a_block_taps(s, p, one), s, p, one), A_ALONG_K);
}

fn a_load(s: AState, p: Position) -> vec4<f32> {
    if (A_VECTOR) {
        let t = a_tap(s, p);
        return select(vec4<f32>(), a_vector(select(0u, t.i, t.inside)), t.inside);
    }
    return a_elements(s, p);
}

struct BBlock {
    s0: BState,
    s1: BState,
    s2: BState,
    s3: BState,
}

fn b_block_prepare(n: u32, group: u32) -> BBlock {
    let s0 = b_prepare(n, group);
    if (B_ALONG_K) {
        return BBlock(s0, b_prepare(n + 1u, group), b_prepare(n + 2u, group), b_prepare(n + 3u, group));
    }
    return BBlock(s0, s0, s0, s0);
}

fn b_block_taps(s: BBlock, p: Position, one: Position) -> BlockTaps {
    if (!B_VECTOR) {
        return BlockTaps();
    }
    if (B_ALONG_K) {
        return block_taps(b_tap(s.s0, p), b_tap(s.s1, p), b_tap(s.s2, p), b_tap(s.s3, p));
    }
    let p1 = k_next(p, one);
    let p2 = k_next(p1, one);
    return block_taps(b_tap(s.s0, p), b_tap(s.s0, p1), b_tap(s.s0, p2), b_tap(s.s0, k_next(p2, one)));
}

fn b_block_fetch(t: BlockTaps, s: BBlock, p: Position, one: Position) -> BlockLoad {
    if (B_VECTOR) {
        return BlockLoad(mat4x4<f32>(b_vector(t.i.x), b_vector(t.i.y), b_vector(t.i.z), b_vector(t.i.w)), t.inside);
    }
    if (B_ALONG_K) {
        let v = mat4x4<f32>(b_elements(s.s0, p), b_elements(s.s1, p), b_elements(s.s2, p), b_elements(s.s3, p));
        return BlockLoad(v, vec4<bool>(true));
    }
    let p1 = k_next(p, one);
    let p2 = k_next(p1, one);
    let v = mat4x4<f32>(b_elements(s.s0, p), b_elements(s.s0, p1), b_elements(s.s0, p2), b_elements(s.s0, k_next(p2, one)));
    return BlockLoad(v, vec4<bool>(true));
}

// Column j holds B[k + j, n ..= n + 3].
fn b_block(s: BBlock, p: Position) -> mat4x4<f32> {
    let one = k_at(1u);
    return block_loaded(b_block_fetch(b_block_taps(s, p, one), s, p, one), B_ALONG_K);
}

// sum + A[r, k ..= k + 3] B[k ..= k + 3, n ..= n + 3] for one row r, as one chain.
fn row(bv: mat4x4<f32>, av: vec4<f32>, sum: vec4<f32>) -> vec4<f32> {
    var y = fma(vec4<f32>(av.x), bv[0], sum);
    y = fma(vec4<f32>(av.y), bv[1], y);
    y = fma(vec4<f32>(av.z), bv[2], y);
    return fma(vec4<f32>(av.w), bv[3], y);
}

fn bias_of(n: u32, group: u32) -> f32 {
    if (n < params.n_biased) {
        return bias[group * params.n + c_column(n)];
    }
    return 0.0;
}

// The bias of columns n ..= n + 3 of a group, or zeros without one. Apart from the epilogue, as all rows have the same.
fn bias_at(n: u32, group: u32) -> vec4<f32> {
    return vec4<f32>(bias_of(n, group), bias_of(n + 1u, group), bias_of(n + 2u, group), bias_of(n + 3u, group));
}

// c from a sum and what is added to it.
fn epilogue(sum: vec4<f32>, added: vec4<f32>, residual: vec4<f32>) -> vec4<f32> {
    var y = sum + added;
    if (HAS_RESIDUAL) {
        y += residual;
    }
    return activate(y);
}
