//! Sizes of windows, as users write them.

/// Height and width of a window or its step: `3`, `[3, 5]` and `(3, 5)` convert into it, a single number to a square.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Size2(pub [usize; 2]);

impl From<usize> for Size2 {
    fn from(side: usize) -> Self {
        Size2([side, side])
    }
}

impl From<[usize; 2]> for Size2 {
    fn from(size: [usize; 2]) -> Self {
        Size2(size)
    }
}

impl From<(usize, usize)> for Size2 {
    fn from((height, width): (usize, usize)) -> Self {
        Size2([height, width])
    }
}
