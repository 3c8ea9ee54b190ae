// The number of an invocation in a grid of one or two dimensions (`Recorder::linear_grid` in `src/op/`): a dimension holds at most 65,535
// workgroups, so a long grid wraps to rows. Imported by: the elementwise kernels.

fn workgroup_ix(workgroup_id: vec3<u32>, n_workgroups: vec3<u32>) -> u32 {
    return workgroup_id.y * n_workgroups.x + workgroup_id.x;
}
