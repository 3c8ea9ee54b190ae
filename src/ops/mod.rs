//! One file an op, and the list of all of them.

use crate::op::Declaration;

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

mod pool_window;
mod row_reduction;

ops! {
    accuracy,
    avg_pool2d,
    max_pool2d,
    mean_squared_error,
    softmax,
    softmax_cross_entropy,
    view,
}
