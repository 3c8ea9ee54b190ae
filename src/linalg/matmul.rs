//! Matrix products through the `gemm` crate.
#![allow(unsafe_code)] // The crate's one entry point takes pointers; extents are checked here first.

use super::Real;
use std::any::TypeId;

/// A matrix in a slice: element (i, j) at `i * row_stride + j * col_stride`.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a, T> {
    /// The elements.
    pub data: &'a [T],
    /// Distance of two rows.
    pub row_stride: usize,
    /// Distance of two columns.
    pub col_stride: usize,
}

impl<'a, T> Matrix<'a, T> {
    /// A row-major matrix of `cols` columns.
    pub fn new(data: &'a [T], cols: usize) -> Self {
        Matrix { data, row_stride: cols, col_stride: 1 }
    }

    /// The transpose, without moving anything.
    pub fn t(self) -> Self {
        Matrix { data: self.data, row_stride: self.col_stride, col_stride: self.row_stride }
    }
}

fn extent(rows: usize, cols: usize, row_stride: usize, col_stride: usize) -> usize {
    if rows == 0 || cols == 0 { 0 } else { (rows - 1) * row_stride + (cols - 1) * col_stride + 1 }
}

/// `c = a * b`, or `c += a * b` if `accumulate`, for `a` of `m` x `k`, `b` of `k` x `n` and `c` of `m` rows that lie `c_stride`
/// apart. Uses all threads if `parallel`; the result is the same bits either way.
///
/// # Panics
/// If a slice is too short for its matrix: a bug of the calling op.
#[allow(clippy::too_many_arguments)] // The nine words of a GEMM.
pub fn matmul<T: Real>(
    [m, n, k]: [usize; 3],
    a: Matrix<'_, T>,
    b: Matrix<'_, T>,
    c: &mut [T],
    c_stride: usize,
    accumulate: bool,
    parallel: bool,
) {
    assert!(extent(m, k, a.row_stride, a.col_stride) <= a.data.len(), "matmul: a is too short");
    assert!(extent(k, n, b.row_stride, b.col_stride) <= b.data.len(), "matmul: b is too short");
    assert!(extent(m, n, c_stride, 1) <= c.len() && c_stride >= n, "matmul: c is too short");
    assert!(TypeId::of::<T>() == TypeId::of::<f32>() || TypeId::of::<T>() == TypeId::of::<f64>());
    let parallelism =
        if parallel && (m * n).saturating_mul(k) > 1 << 18 { gemm::Parallelism::Rayon(0) } else { gemm::Parallelism::None };
    // SAFETY: the pointers are to slices that the assertions above found long enough for the strides given; `c` is borrowed
    // mutably, so it overlaps neither `a` nor `b`; `T` is f32 or f64, which `gemm` supports.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            c.as_mut_ptr(),
            1,
            c_stride as isize,
            accumulate,
            a.data.as_ptr(),
            a.col_stride as isize,
            a.row_stride as isize,
            b.data.as_ptr(),
            b.col_stride as isize,
            b.row_stride as isize,
            T::ONE,
            T::ONE,
            false,
            false,
            false,
            parallelism,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Seed, Stream};

    #[test]
    fn agrees_with_three_loops_in_every_layout() {
        let mut s = Stream::new(Seed(3), 0);
        for [m, n, k] in [[1, 1, 1], [3, 5, 7], [17, 33, 65], [64, 10, 300]] {
            let a: Vec<f64> = (0..m * k).map(|_| s.normal()).collect();
            let b: Vec<f64> = (0..k * n).map(|_| s.normal()).collect();
            for (ta, tb) in [(false, false), (false, true), (true, false), (true, true)] {
                let at = |i: usize, p: usize| if ta { a[p * m + i] } else { a[i * k + p] };
                let bt = |p: usize, j: usize| if tb { b[j * k + p] } else { b[p * n + j] };
                let ma = if ta { Matrix::new(&a, m).t() } else { Matrix::new(&a, k) };
                let mb = if tb { Matrix::new(&b, k).t() } else { Matrix::new(&b, n) };
                let mut c = vec![1.0; m * n];
                matmul([m, n, k], ma, mb, &mut c, n, true, true);
                for i in 0..m {
                    for j in 0..n {
                        let want: f64 = 1.0 + (0..k).map(|p| at(i, p) * bt(p, j)).sum::<f64>();
                        assert!((c[i * n + j] - want).abs() < 1e-11, "{m}x{n}x{k} {ta} {tb}");
                    }
                }
            }
        }
    }
}
