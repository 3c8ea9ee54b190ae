//! Reductions over adjacent axes on the CPU, at the speed of memory: `[outer, len, inner]` to `[outer, inner]`.

use crate::linalg::{Real, Vectorize, for_each_chunk_with, vectorized};
use crate::ops::reduce::Run;

/// Results that are accumulated side by side, at most: enough for the processor to have many additions under way, few enough for its
/// first-level cache.
const WIDTH: usize = 512;

/// Rows that are added up one after the other. A block is a sum of such sums, and blocks are added up in pairs, so that chains
/// stay short.
const LEAF: usize = 32;

/// Elements of a thread's piece of work, about.
const BLOCK: usize = 32 * 1024;

/// What is made of the elements: of each one `map`, and of these, by pairs in some fixed order, `join`, which `identity` doesn't change.
#[derive(Clone, Copy)]
pub(super) struct Fold<T, M, J> {
    pub identity: T,
    pub map: M,
    pub join: J,
}

/// The sum of what `map` makes of elements.
pub(super) fn sum_of<T: Real, M: Fn(T) -> T + Copy + Sync>(map: M) -> Fold<T, M, impl Fn(T, T) -> T + Copy + Sync> {
    Fold { identity: T::ZERO, map, join: |a, b| a + b }
}

/// Sum of all elements, in an order that depends on their number alone.
pub(crate) fn sum<T: Real>(x: &[T]) -> T {
    let mut y = [T::ZERO];
    sum_of(|x| x).reduce(x, Run { outer: 1, len: x.len(), inner: 1 }, &mut y);
    y[0]
}

/// Makes of vectors of `len` elements the first one, joined with all others in pairs.
#[inline(always)]
pub(super) fn join_pairs<T: Copy>(parts: &mut [T], len: usize, join: impl Fn(T, T) -> T) {
    let mut end = parts.len();
    while end > len {
        let half = (end / len).div_ceil(2) * len;
        let (to, from) = parts[..end].split_at_mut(half);
        to.iter_mut().zip(from).for_each(|(to, from)| *to = join(*to, *from));
        end = half;
    }
}

impl<T: Real, M: Fn(T) -> T + Copy + Sync, J: Fn(T, T) -> T + Copy + Sync> Fold<T, M, J> {
    /// Reduces `x` to `y`. How the work is cut depends on `run` alone.
    pub fn reduce(self, x: &[T], run: Run, y: &mut [T]) {
        let block_len = (BLOCK / run.inner.min(WIDTH)).min(run.len).max(1);
        let n_blocks = run.len.div_ceil(block_len).max(1);
        let blocks = Blocks { fold: self, x, run, block_len, n_blocks };
        if n_blocks == 1 {
            return blocks.reduce(y);
        }
        let mut parts = vec![self.identity; run.outer * n_blocks * run.inner];
        blocks.reduce(&mut parts);
        for (parts, y) in parts.chunks_exact_mut(n_blocks * run.inner).zip(y.chunks_exact_mut(run.inner)) {
            join_pairs(parts, run.inner, self.join);
            y.copy_from_slice(&parts[..run.inner]);
        }
    }
}

/// A tensor whose `len` is cut into `n_blocks` of `block_len`.
#[derive(Clone, Copy)]
struct Blocks<'a, T, M, J> {
    fold: Fold<T, M, J>,
    x: &'a [T],
    run: Run,
    block_len: usize,
    n_blocks: usize,
}

impl<T: Real, M: Fn(T) -> T + Copy + Sync, J: Fn(T, T) -> T + Copy + Sync> Blocks<'_, T, M, J> {
    /// Reduces each block, to `parts` [outer, n_blocks, inner].
    fn reduce(self, parts: &mut [T]) {
        let chunk_len = match self.run.inner {
            inner @ ..=WIDTH => (BLOCK / (self.block_len * inner)).max(1) * inner,
            _ => (BLOCK / self.block_len).next_multiple_of(WIDTH),
        };
        let scratch = || [self.fold.identity; 2 * WIDTH];
        let chunk = |scratch: &mut [T; 2 * WIDTH], i: usize, parts: &mut [T]| {
            vectorized(Chunk { blocks: self, first: i * chunk_len, parts, scratch });
        };
        if parts.len() <= chunk_len {
            chunk(&mut scratch(), 0, parts)
        } else {
            for_each_chunk_with(parts, chunk_len, scratch, chunk)
        }
    }
}

/// Some of the blocks' results, from the one at `first` on.
struct Chunk<'a, T, M, J> {
    blocks: Blocks<'a, T, M, J>,
    first: usize,
    parts: &'a mut [T],
    scratch: &'a mut [T; 2 * WIDTH],
}

impl<T: Real, M: Fn(T) -> T + Copy + Sync, J: Fn(T, T) -> T + Copy + Sync> Vectorize for Chunk<'_, T, M, J> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Chunk { blocks: Blocks { fold, x, run: Run { len, inner, .. }, block_len, n_blocks }, first, mut parts, scratch } =
            self;
        let mut at = first;
        while !parts.is_empty() {
            let (row, column) = (at / inner, at % inner);
            let (y, rest) = parts.split_at_mut((inner - column).min(WIDTH).min(parts.len()));
            let (outer, block) = (row / n_blocks, row % n_blocks);
            let [start, end] = [block * block_len, len.min((block + 1) * block_len)].map(|l| (outer * len + l) * inner);
            at += y.len();
            // The last row ends with these columns, so that its length is what is left.
            let rows = x.get(start + column..end).unwrap_or_default();
            fold.strip(rows, inner, y, scratch);
            parts = rest;
        }
    }
}

impl<T: Real, M: Fn(T) -> T + Copy, J: Fn(T, T) -> T + Copy> Fold<T, M, J> {
    /// Reduces the first `y.len()` columns of rows that lie `stride` apart. If they are whole rows and few columns, several rows are taken as
    /// one, of as many columns more.
    #[inline(always)]
    fn strip(self, x: &[T], stride: usize, y: &mut [T], scratch: &mut [T; 2 * WIDTH]) {
        let Fold { identity, map, join } = self;
        let rows = x.len().div_ceil(stride);
        let joined = if stride == y.len() { (WIDTH / stride).min(rows / 4).max(1) } else { 1 };
        let (width, stride) = (joined * y.len(), joined * stride);
        let (sum, leaf) = scratch.split_at_mut(WIDTH);
        let (sum, leaf) = (&mut sum[..width], &mut leaf[..width]);
        sum.fill(identity);
        for rows in x.chunks(LEAF * stride) {
            leaf.fill(identity);
            for row in rows.chunks(stride) {
                leaf.iter_mut().zip(row).for_each(|(leaf, &x)| *leaf = join(*leaf, map(x)));
            }
            sum.iter_mut().zip(leaf.iter()).for_each(|(sum, &leaf)| *sum = join(*sum, leaf));
        }
        join_pairs(sum, y.len(), join);
        y.copy_from_slice(&sum[..y.len()]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_each_element_once() {
        for (outer, len, inner) in [
            (1, 1, 1),
            (3, 10, 1),
            (2, 1000, 1),
            (1, 70_001, 1),
            (5, 7, 3),
            (1, 20_000, 3),
            (2, 3001, 32),
            (700, 49, 20),
            (2, 65, 512),
            (3, 66, 513),
            (2, 130, 1100),
            (1, 2, 40_000),
        ] {
            let x: Vec<f64> = (0..outer * len * inner).map(|i| (i % 8191) as f64).collect();
            let mut y = vec![f64::NAN; outer * inner];
            sum_of(|x| x + 1.0).reduce(&x, Run { outer, len, inner }, &mut y);
            for (at, &y) in y.iter().enumerate() {
                let (o, i) = (at / inner, at % inner);
                let want: f64 = (0..len).map(|l| x[(o * len + l) * inner + i] + 1.0).sum();
                assert_eq!(y, want, "{outer} x {len} x {inner}");
            }
        }
    }

    #[test]
    fn of_nothing_the_identity_is_left() {
        assert_eq!(sum::<f32>(&[]), 0.0);
    }
}
