//! The best instructions that the machine has.

use pulp::{Arch, NullaryFnOnce};

/// A loop to be compiled for the widest vectors of the machine. [`Vectorize::run`] must be marked `#[inline(always)]`, and so must
/// functions that it calls: what is not inlined keeps the instructions that every machine has.
pub trait Vectorize {
    /// Runs it.
    fn run(self);
}

/// Runs a loop, or a small closure that is inlined by itself, with the widest vectors of the machine.
#[inline(always)]
pub fn vectorized(f: impl Vectorize) {
    struct Call<F>(F);
    impl<F: Vectorize> NullaryFnOnce for Call<F> {
        type Output = ();
        #[inline(always)]
        fn call(self) {
            self.0.run();
        }
    }
    Arch::new().dispatch(Call(f));
}

impl<F: FnOnce()> Vectorize for F {
    #[inline(always)]
    fn run(self) {
        self();
    }
}
