// What the kernels of depthwise convolutions share: a group an input channel, so no sum over channels and no matrix product. An
// invocation takes an Element of channels (shared/elements_*; vec4 only if the multiplier is 1) and goes down a strip of pixels, TILE_W
// wide, so that each row it loads serves all the rows that it reaches. Channels run fastest over invocations, so that loads side by
// side are neighbours.
// Strides and dilations don't go together: with a stride, the dilation of both axes is 1. With a dilation, the pixels of a strip are that
// far apart, as they share taps.
// x [n, h_in, w_in, c_in], w [k_h, k_w, 1, c_in * multiplier], y [n, h_out, w_out, c_in * multiplier]. Owner: src/ops/conv2d/depthwise.rs.

const K_H: u32 = 3u;
const K_W: u32 = 3u;
const TAPS: u32 = K_H * K_W;
const STRIDE_H: u32 = 1u;
const STRIDE_W: u32 = 1u;
const TILE_W: u32 = 4u;
const WORKGROUP: u32 = 64u;

struct Params {
    n_tiles: u32, // strips of all images
    tiles_h: u32,
    tiles_w: u32,
    tile_h: u32, // steps down a strip
    x_vecs: u32, // channels, in Elements
    y_vecs: u32,
    multiplier: u32,
    h_in: u32,
    w_in: u32,
    h_out: u32,
    w_out: u32,
    dilation_h: u32,
    dilation_w: u32,
    pad_top: u32,
    pad_left: u32,
    tiles_a_part: u32, // strips that an invocation of the gradient by the weights sums
    n_parts: u32,
}

@group(0) @binding(0) var<uniform> params: Params;

// Where a strip starts.
struct Tile {
    image: u32,
    h: u32,
    w: u32,
}

// First pixel of tile `ix` along an axis, whose tiles have `len` pixels, `dilation` apart: tiles side by side interleave.
fn first_of(ix: u32, len: u32, dilation: u32) -> u32 {
    let row = quotient(ix, dilation);
    return ix - row * dilation + row * (len * dilation);
}

// Strip `ix`, where a step goes down `rows` rows.
fn tile_of(ix: u32, rows: u32) -> Tile {
    let row = quotient(ix, params.tiles_w);
    let image = quotient(row, params.tiles_h);
    let h = first_of(row - image * params.tiles_h, params.tile_h * rows, params.dilation_h);
    return Tile(image, h, first_of(ix - row * params.tiles_w, TILE_W, params.dilation_w));
}
