//! One file an op, and the list of all of them.

use crate::op::Declaration;

#[cfg(test)]
pub(crate) mod check;
mod elements;
mod running_error;
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
    adadelta_update,
    adam_update,
    binary,
    dropout,
    fill,
    gather_rows,
    pack,
    reduce,
    scale,
    sgd_update,
    track,
    unary,
    view,
}
