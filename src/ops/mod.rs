//! One file an op, and the list of all of them.

use crate::op::Declaration;

mod broadcasting;
#[cfg(test)]
pub(crate) mod check;
mod elements;
pub mod gemm;
mod pool_window;
mod row_reduction;
mod running_error;
mod strided;
mod update;

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
    adadelta_update,
    adam_update,
    avg_pool2d,
    batch_norm,
    binary,
    concat,
    conv2d,
    dropout,
    fill,
    gather_rows,
    local_response_norm,
    lp_pool2d,
    matmul,
    max_pool2d,
    mean_squared_error,
    pack,
    reduce,
    resample2d,
    running_update,
    scale,
    sgd_update,
    slice,
    softmax,
    softmax_cross_entropy,
    track,
    transpose,
    unary,
    view,
}
