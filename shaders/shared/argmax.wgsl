// The largest of a row that LANES invocations look at together (shared/row), and where it is. Imported by: accuracy, confusion.

var<workgroup> sh_key: array<u32, WORKGROUP>;
var<workgroup> sh_at: array<u32, WORKGROUP>;

// The largest key of a row and where it is first, from those of the row's lanes.
fn row_argmax(local_ix: u32, lane_value: vec2<u32>) -> vec2<u32> {
    if (LANES == 1u) {
        return lane_value;
    }
    let lane = local_ix % LANES;
    sh_key[local_ix] = lane_value.x;
    sh_at[local_ix] = lane_value.y;
    workgroupBarrier();
    for (var step = LANES / 2u; step > 0u; step = step / 2u) {
        if (lane < step) {
            let key = sh_key[local_ix + step];
            let at = sh_at[local_ix + step];
            if (key > sh_key[local_ix] || (key == sh_key[local_ix] && at < sh_at[local_ix])) {
                sh_key[local_ix] = key;
                sh_at[local_ix] = at;
            }
        }
        workgroupBarrier();
    }
    let best = vec2<u32>(sh_key[local_ix - lane], sh_at[local_ix - lane]);
    workgroupBarrier(); // before the next reduction writes
    return best;
}
