//! One file an op, and the list of all of them.

use crate::op::Declaration;

mod broadcasting;
mod channel_sums;
#[cfg(test)]
pub(crate) mod check;
mod column_reduction;
mod elements;
pub mod gemm;
mod pool_window;
mod row_reduction;
mod running_error;
mod strided;

/// Declares the modules and the list. A module has a `DECLARATIONS`, with one entry an op.
macro_rules! ops {
    ($($module:ident),* $(,)?) => {
        $(pub mod $module;)*

        /// All ops.
        pub fn all() -> impl Iterator<Item = &'static Declaration> {
            [$($module::DECLARATIONS),*].into_iter().flatten()
        }
    };
}

ops! {
    accuracy,
    argmax,
    augment,
    avg_pool2d,
    batch_norm,
    binary,
    cast,
    clip_norm,
    concat,
    confusion,
    constant,
    conv2d,
    dropout,
    expand,
    fill,
    gather,
    gather_rows,
    group_norm,
    integer_reduce,
    label_mean,
    local_response_norm,
    losses,
    lp_pool2d,
    matmul,
    max_pool2d,
    mix,
    pack,
    reduce,
    resample2d,
    resample_axis,
    running_update,
    scale,
    select,
    slice,
    softmax,
    softmax_cross_entropy,
    track,
    transpose,
    trust_ratio,
    unary,
    update,
    view,
    words,
}
