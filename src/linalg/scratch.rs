//! Memory for intermediate results, kept by each thread from one use to the next.

use std::cell::RefCell;

thread_local! {
    static FREE: RefCell<Vec<Vec<f32>>> = const { RefCell::new(Vec::new()) };
}

/// Calls `f` with `len` elements that hold whatever the last use left. Getting them costs nothing once the thread has had as many:
/// memory fresh from the system would cost a page fault every 4 KiB, in each step again.
pub fn with_scratch<R>(len: usize, f: impl FnOnce(&mut [f32]) -> R) -> R {
    let mut memory = FREE.with(|free| free.borrow_mut().pop()).unwrap_or_default();
    if memory.len() < len {
        memory.resize(len, 0.0);
    }
    let result = f(&mut memory[..len]);
    FREE.with(|free| free.borrow_mut().push(memory));
    result
}
