//! The best instructions that the machine has.

use pulp::{Arch, NullaryFnOnce};

/// A loop to be compiled for the widest vectors of the machine. [`Vectorize::run`] must be marked `#[inline(always)]`, and so must
/// functions that it calls: what is not inlined keeps the instructions that every machine has.
pub trait Vectorize {
    /// What it makes.
    type Output;
    /// Runs it.
    fn run(self) -> Self::Output;
}

/// Runs a loop, or a small closure that is inlined by itself, with the widest vectors of the machine.
#[inline(always)]
pub fn vectorized<F: Vectorize>(f: F) -> F::Output {
    struct Call<F>(F);
    impl<F: Vectorize> NullaryFnOnce for Call<F> {
        type Output = F::Output;
        #[inline(always)]
        fn call(self) -> F::Output {
            self.0.run()
        }
    }
    Arch::new().dispatch(Call(f))
}

impl<R, F: FnOnce() -> R> Vectorize for F {
    type Output = R;

    #[inline(always)]
    fn run(self) -> R {
        self()
    }
}
