//! Rows that are reduced by several invocations together: how many, with which kernel settings. Also the sums of such rows on the CPU.
//! `shaders/shared/row.wgsl` is the WGSL part.

use crate::error::{Error, Result};
use crate::linalg::Real;
use crate::op::{Kernel, Recorder, Source, shader};
use std::ops::Range;

/// Reductions of rows in WGSL.
pub(super) static ROW: Source = shader!("shared/row");

/// Longest row that a kernel may reduce: with 256 lanes and three loops over it, an invocation makes 24,576 iterations.
pub(super) const MAX_ROW: usize = 1 << 21;

/// Fails for a row that is too long for one pass.
pub(super) fn check_row(what: &str, len: usize) -> Result<()> {
    if len <= MAX_ROW { Ok(()) } else { Err(Error::invalid(what, len, format!("at most {MAX_ROW}"))) }
}

/// How rows of a length are split among invocations.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Lanes {
    len: usize,
    lanes: usize,
    workgroup: usize,
}

impl Lanes {
    /// For rows of `len` elements: one lane for short ones, a workgroup for long ones.
    pub fn of(len: usize) -> Lanes {
        let (lanes, workgroup) = match len {
            0..=32 => (1, 64),
            33..=4096 => (64, 64),
            _ => (256, 256),
        };
        Lanes { len, lanes, workgroup }
    }

    /// For rows of `len` elements, each by a whole workgroup of 256.
    pub fn whole(len: usize) -> Lanes {
        Lanes { len, lanes: 256, workgroup: 256 }
    }

    /// `kernel`, which imports [`ROW`], for these lanes.
    pub fn set(&self, kernel: Kernel) -> Kernel {
        kernel.set("LANES", self.lanes).set("WORKGROUP", self.workgroup)
    }

    /// Workgroups for `rows` rows.
    pub fn grid(&self, r: &Recorder<'_>, rows: usize) -> [u32; 3] {
        r.linear_grid(rows.div_ceil(self.workgroup / self.lanes))
    }

    /// Longest chain of additions of a row's sum: a lane's own, then the tree's.
    pub fn additions(&self) -> usize {
        self.len.div_ceil(self.lanes) + self.lanes.ilog2() as usize
    }
}

/// The sum of `f` over `range`, in blocks added up as a tree, so that roundings don't pile up in single precision.
pub(super) fn sum<T: Real>(range: Range<usize>, f: &impl Fn(usize) -> T) -> T {
    const BLOCK: usize = 32;
    if range.len() <= BLOCK {
        return range.fold(T::ZERO, |sum, i| sum + f(i));
    }
    let middle = range.start + (range.len() / 2).next_multiple_of(BLOCK);
    sum(range.start..middle, f) + sum(middle..range.end, f)
}

/// The largest of a row; a NaN may be passed over.
pub(super) fn largest<T: Real>(row: &[T]) -> T {
    row.iter().fold(row[0], |m, &v| if v > m { v } else { m })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::MAX_ITERATIONS;

    #[test]
    fn loops_and_chains_stay_short() {
        for len in [1, 32, 33, 100, 4096, 4097, 1_000_000, MAX_ROW] {
            let lanes = Lanes::of(len);
            assert!(3 * len.div_ceil(lanes.lanes) + 8 <= MAX_ITERATIONS, "{len}");
        }
        assert_eq!(Lanes::of(1000).additions(), 16 + 6);
        assert!(check_row("c", MAX_ROW + 1).is_err());
    }

    #[test]
    fn sum_takes_each_element_once() {
        for n in [0, 1, 31, 32, 33, 63, 64, 65, 97, 1000, 4097] {
            assert_eq!(sum(0..n, &|i| i as f64), (0..n).sum::<usize>() as f64, "{n}");
        }
    }
}
