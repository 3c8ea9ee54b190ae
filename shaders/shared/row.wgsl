// LANES invocations work on a row together: each takes every LANES-th element, and a tree in workgroup memory puts their results
// together, always in the same order. With one lane there is no tree and no barrier. All invocations of a workgroup must call
// these functions; one without a row works on the last row and writes nothing.
// Imported by: the kernels that reduce rows.

const WORKGROUP: u32 = 64u;
const LANES: u32 = 64u;

var<workgroup> sh_row: array<f32, WORKGROUP>;

// The row of an invocation, which can lie past the last row.
fn row_of(group_ix: u32, local_ix: u32) -> u32 {
    return group_ix * (WORKGROUP / LANES) + local_ix / LANES;
}

fn row_sum(local_ix: u32, lane_value: f32) -> f32 {
    if (LANES == 1u) {
        return lane_value;
    }
    let lane = local_ix % LANES;
    sh_row[local_ix] = lane_value;
    workgroupBarrier();
    for (var step = LANES / 2u; step > 0u; step = step / 2u) {
        if (lane < step) {
            sh_row[local_ix] += sh_row[local_ix + step];
        }
        workgroupBarrier();
    }
    let sum = sh_row[local_ix - lane];
    workgroupBarrier(); // before the next reduction writes
    return sum;
}

// A NaN may be lost, so whoever uses the result must do arithmetic with all elements too.
fn row_max(local_ix: u32, lane_value: f32) -> f32 {
    if (LANES == 1u) {
        return lane_value;
    }
    let lane = local_ix % LANES;
    sh_row[local_ix] = lane_value;
    workgroupBarrier();
    for (var step = LANES / 2u; step > 0u; step = step / 2u) {
        if (lane < step) {
            sh_row[local_ix] = max(sh_row[local_ix], sh_row[local_ix + step]);
        }
        workgroupBarrier();
    }
    let largest = sh_row[local_ix - lane];
    workgroupBarrier();
    return largest;
}
