//! Products of few rows and a matrix, which are read at the speed of memory.

use super::{Vectorize, vectorized, with_scratch};
use rayon::prelude::*;

/// Parts that a matrix is cut into by rows, at most, and their rows, at least.
const PARTS: usize = 16;
const PART_ROWS: usize = 64;

/// Up to this many elements of the matrix the calling thread reads them all.
const SERIAL: usize = 1 << 16;

/// Rows of the matrix that are added to the sums at once, if they are longer than `SHORT`: short ones are read faster one after the
/// other, in the order of memory.
const ROWS: usize = 8;
const SHORT: usize = 512;

/// `y = a * b` for `a` [m, k], `b` [k, n] and `y` [m, n], all row-major. The rows of `b` are cut into parts in a way that depends on `k`
/// alone, and the parts' sums added in order: the same bits for any number of threads.
pub fn matmul_few_rows([m, n, k]: [usize; 3], a: &[f32], b: &[f32], y: &mut [f32]) {
    let parts = (k / PART_ROWS).clamp(1, PARTS);
    with_scratch(parts * m * n, |sums| {
        let part = |(part, sums): (usize, &mut [f32])| {
            let (first, end) = (part * k / parts, (part + 1) * k / parts);
            sums.fill(0.0);
            vectorized(AddRows { a, k, first, b: &b[first * n..end * n], n, sums });
        };
        if k * n <= SERIAL {
            sums.chunks_exact_mut(m * n).enumerate().for_each(part);
        } else {
            sums.par_chunks_exact_mut(m * n).enumerate().for_each(part);
        }
        y.copy_from_slice(&sums[..m * n]);
        for part in sums.chunks_exact(m * n).skip(1) {
            y.iter_mut().zip(part).for_each(|(y, sum)| *y += sum);
        }
    });
}

/// Adds to each row of `sums` the rows of `b` times the row's elements of `a` from column `first` on.
struct AddRows<'a> {
    a: &'a [f32],
    k: usize,
    first: usize,
    b: &'a [f32],
    n: usize,
    sums: &'a mut [f32],
}

impl Vectorize for AddRows<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let AddRows { a, k, first, b, n, sums } = self;
        for (block, b) in b.chunks(ROWS * n).enumerate() {
            for (a, sums) in a.chunks_exact(k).zip(sums.chunks_exact_mut(n)) {
                let a = &a[first + block * ROWS..];
                if let Some(a) = a.first_chunk::<ROWS>().filter(|_| n > SHORT && b.len() == ROWS * n) {
                    let mut rows = b.chunks_exact(n);
                    let b: [&[f32]; ROWS] = std::array::from_fn(|_| rows.next().unwrap_or_default());
                    let b = b.map(|row| &row[..n]);
                    for (j, sum) in sums.iter_mut().enumerate() {
                        for (a, b) in a.iter().zip(b) {
                            *sum += a * b[j];
                        }
                    }
                } else {
                    for (&a, row) in a.iter().zip(b.chunks_exact(n)) {
                        sums.iter_mut().zip(row).for_each(|(sum, b)| *sum += a * b);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Seed, Stream};

    #[test]
    fn agrees_with_three_loops() {
        let mut s = Stream::new(Seed(7), 0);
        for [m, n, k] in [[1, 1, 1], [1, 10, 7], [3, 37, 130], [2, 5, 1033], [1, 600, 500]] {
            let mut random = |len: usize| (0..len).map(|_| s.below(9) as f32 - 4.0).collect::<Vec<f32>>();
            let (a, b) = (random(m * k), random(k * n));
            let mut y = vec![f32::NAN; m * n];
            matmul_few_rows([m, n, k], &a, &b, &mut y);
            for i in 0..m {
                for j in 0..n {
                    let want: f32 = (0..k).map(|p| a[i * k + p] * b[p * n + j]).sum();
                    assert_eq!(y[i * n + j], want, "{m}x{n}x{k}");
                }
            }
        }
    }
}
