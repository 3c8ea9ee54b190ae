//! The best instructions that the machine has.

use pulp::Arch;

/// Calls `f`, compiled with the widest vectors of the machine. That holds for what is inlined into it: loops over slices, and calls of
/// functions marked `#[inline(always)]`.
#[inline(always)]
pub fn vectorized<R>(f: impl FnOnce() -> R) -> R {
    Arch::new().dispatch(f)
}
