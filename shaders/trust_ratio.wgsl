// For each piece, a tensor of a page: ratio = eta P / (U + weight_decay f P), P and U the roots of the sums of its blocks' squares, U also
// times hyper[4] if SCALED, f its factor of the weight decay; 1 if P, U or f is 0. It becomes the factor of the rate of all its blocks.
// squares, factors, made[n_blocks]; pieces[n_pieces]: first block and number of blocks; each block is some piece's. A workgroup a
// piece, in a linear grid. Op: TrustRatio.

const FACTORS: bool = false; // else both are 1, and something else is bound in their place
const SCALED: bool = false;

struct Params {
    n_pieces: u32,
    n_blocks: u32,
    eta: f32,
    weight_decay: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> squares: array<vec2<f32>>;
@group(0) @binding(2) var<storage, read> pieces: array<vec2<u32>>;
@group(0) @binding(3) var<storage, read> hyper: array<f32>;
@group(0) @binding(4) var<storage, read> factors: array<vec2<f32>>;
@group(0) @binding(5) var<storage, read_write> made: array<vec2<f32>>;

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) n_workgroups: vec3<u32>,
    @builtin(local_invocation_index) local_ix: u32,
) {
    let piece_ix = workgroup_ix(workgroup_id, n_workgroups);
    // Past the last piece there is nothing to add up or to write, yet all must reach the barriers.
    var first = 0u;
    var end = 0u;
    if (piece_ix < params.n_pieces) {
        let piece = pieces[piece_ix];
        first = min(piece.x, params.n_blocks);
        end = min(piece.x + piece.y, params.n_blocks);
    }
    var sum = vec2<f32>(0.0);
    for (var i = first + local_ix; i < end; i += LANES) {
        sum += squares[i];
    }
    let p_norm = sqrt(row_sum(local_ix, sum.x));
    var u_norm = sqrt(row_sum(local_ix, sum.y));
    if (SCALED) {
        u_norm = hyper[4] * u_norm;
    }
    for (var i = first + local_ix; i < end; i += LANES) {
        var f = vec2<f32>(1.0);
        if (FACTORS) {
            f = factors[i];
        }
        let ratio = params.eta * p_norm / (u_norm + params.weight_decay * f.y * p_norm);
        let plain = p_norm == 0.0 || u_norm == 0.0 || f.y == 0.0;
        made[i] = vec2<f32>(f.x * select(ratio, 1.0, plain), f.y);
    }
}
