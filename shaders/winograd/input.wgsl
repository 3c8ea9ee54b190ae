// Winograd's F(2x2, 3x3), first step: a tile's 4 x 4 inputs d become v = B^T d B. A tile makes 2 x 2 outputs of a convolution of stride 1,
// so tiles overlap by two rows and two columns. Tiles are numbered down the columns of all images; a dispatch takes some columns.
// x: [n, h_in, w_in, c_in], as vec4 of channels. v: [4, 4, n_tiles, c_in], with a gap behind each of the 16. An invocation takes a vec4 of channels of a column of
// tiles, which shares the rows that tiles below each other have in common.
// Dispatch: a linear grid of workgroups of 8, as there are few columns. Owner: src/ops/conv2d/winograd.rs.
// Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016.

struct Params {
    c_vecs: u32,
    first_column: u32,
    n_columns: u32,
    product: u32, // from a product's inputs to those of the next, in vec4
    tiles_h: u32,
    tiles_w: u32,
    h_in: u32,
    w_in: u32,
    pad_top: u32,
    pad_left: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> v: array<vec4<f32>>;

// Where a column of tiles lies, and which channels.
struct Column {
    image: u32,
    w: u32,
    ch: u32,
}

fn x_at(at: Column, h: u32, w: u32) -> vec4<f32> {
    // A negative number is a large one.
    let inside = (h < params.h_in) & (w < params.w_in);
    let i = ((at.image * params.h_in + h) * params.w_in + w) * params.c_vecs + at.ch;
    return select(vec4<f32>(), x[select(0u, i, inside)], inside);
}

// Row h of d B.
fn row_at(at: Column, h: u32) -> mat4x4<f32> {
    let d0 = x_at(at, h, at.w);
    let d1 = x_at(at, h, at.w + 1u);
    let d2 = x_at(at, h, at.w + 2u);
    let d3 = x_at(at, h, at.w + 3u);
    return mat4x4<f32>(d0 - d2, d1 + d2, d2 - d1, d1 - d3);
}

fn store(i: u32, tile: u32, ch: u32, row: mat4x4<f32>) {
    let step = params.product;
    let at = i * 4u * step + tile * params.c_vecs + ch;
    v[at] = row[0];
    v[at + step] = row[1];
    v[at + 2u * step] = row[2];
    v[at + 3u * step] = row[3];
}

@compute @workgroup_size(8)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) n_workgroups: vec3<u32>,
    @builtin(local_invocation_index) local_ix: u32,
) {
    let ix = workgroup_ix(workgroup_id, n_workgroups) * 8u + local_ix;
    let column = quotient(ix, params.c_vecs);
    if (column >= params.n_columns) {
        return;
    }
    let ch = ix - column * params.c_vecs;
    let image = quotient(params.first_column + column, params.tiles_w);
    let at = Column(image, (params.first_column + column - image * params.tiles_w) * 2u - params.pad_left, ch);
    var h = 0u - params.pad_top;
    var row_0 = row_at(at, h);
    var row_1 = row_at(at, h + 1u);
    for (var t = 0u; t < params.tiles_h; t++) {
        let row_2 = row_at(at, h + 2u);
        let row_3 = row_at(at, h + 3u);
        let tile = column * params.tiles_h + t;
        store(0u, tile, ch, row_0 - row_2);
        store(1u, tile, ch, row_1 + row_2);
        store(2u, tile, ch, row_2 - row_1);
        store(3u, tile, ch, row_1 - row_3);
        row_0 = row_2;
        row_1 = row_3;
        h += 2u;
    }
}
