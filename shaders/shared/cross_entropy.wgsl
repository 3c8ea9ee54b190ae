// What softmax_cross_entropy and its gradient share: labels, as class indices or as a distribution a row, weights of the
// classes, and label smoothing.

const SOFT_LABELS: bool = false;
const WEIGHTS: bool = false; // else all are 1, and something else is bound in their place
const UNLABELLED: u32 = 0xfffffffeu; // has no loss
const NAN_BITS: u32 = 0x7fc00000u;

struct Params {
    n_rows: u32,
    c: u32,
    keep: f32,
    base: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
// Class indices, or the bits of a distribution over the classes for each row.
@group(0) @binding(2) var<storage, read> labels: array<u32>;
@group(0) @binding(3) var<storage, read> weights: array<f32>; // [c]

// What the row aims at for class j: keep = 1 - smoothing of the label, base = smoothing / c for every class; times its weight.
fn target_of(row: u32, j: u32) -> f32 {
    var t = 0.0;
    if (SOFT_LABELS) {
        t = params.keep * bitcast<f32>(labels[row * params.c + j]) + params.base;
    } else {
        t = select(params.base, params.keep + params.base, labels[row] == j);
    }
    if (WEIGHTS) {
        t = t * weights[j];
    }
    return t;
}

fn is_unlabelled(row: u32) -> bool {
    return !SOFT_LABELS && labels[row] == UNLABELLED;
}

fn label_is_bad(row: u32) -> bool {
    if (SOFT_LABELS) {
        return false;
    }
    return labels[row] >= params.c && labels[row] != UNLABELLED;
}
