//! Two sums a channel over all rows: how they are split among workgroups, and the same on the CPU. `shaders/shared/channel_sums.wgsl`
//! is the WGSL part.

use crate::linalg::{Real, map_indices};
use crate::op::{Buffer, Kernel, Recorder, Source, shader};
use crate::ops::column_reduction::join_pairs;

pub(super) static CHANNEL_SUMS: Source = shader!("shared/channel_sums");

/// A pass of a kernel over `[rows, c]`, to sums of `n_blocks` blocks of rows. `c` counts `Element`s.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Pass {
    rows: usize,
    c: usize,
    lanes_rows: usize,
    lanes_c: usize,
    iterations: usize,
    pub n_blocks: usize,
}

/// Numbers that the kernels need besides.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Constants {
    /// Row that is taken off all others.
    pub pivot_row: usize,
    /// Elements of a channel.
    pub len: usize,
    /// What the variance is multiplied by for the running one.
    pub correction: f64,
    /// Added to the variance.
    pub epsilon: f64,
    /// Rows of a sample, where statistics are a sample's and a group's.
    pub pixels: usize,
    /// Groups of channels.
    pub n_groups: usize,
    /// Channels of a group.
    pub per_group: usize,
}

impl Pass {
    /// As `Reduce` does it: along channels as far as 64 lanes go, the others along rows. Chains of 32 additions, longer ones only
    /// where there would be more than 1,024 workgroups, which fill any GPU; none above 128, for accuracy, but no more
    /// blocks than 4,096 times the lanes, for one more pass adds them up.
    pub fn first(rows: usize, c: usize) -> Pass {
        let pass = Pass::one_block(rows, c);
        let total = pass.iterations;
        let iterations = (total * pass.n_groups_c() / 1024).clamp(32, 128).max(total.div_ceil(4096)).min(total);
        Pass { iterations, n_blocks: total.div_ceil(iterations), ..pass }
    }

    /// The pass that adds up this one's blocks.
    pub fn last(&self) -> Pass {
        Pass::one_block(self.n_blocks, self.c)
    }

    fn one_block(rows: usize, c: usize) -> Pass {
        let lanes_c = c.next_power_of_two().min(64);
        let lanes_rows = rows.next_power_of_two().min(256 / lanes_c);
        Pass { rows, c, lanes_rows, lanes_c, iterations: rows.div_ceil(lanes_rows), n_blocks: 1 }
    }

    fn n_groups_c(&self) -> usize {
        self.c.div_ceil(self.lanes_c)
    }

    /// Longest chain of additions: a lane's, then the tree's.
    pub fn additions(&self) -> usize {
        self.iterations + self.lanes_rows.ilog2() as usize
    }

    /// Records the pass with a kernel that imports [`CHANNEL_SUMS`].
    pub fn record(&self, r: &mut Recorder<'_>, kernel: Kernel, reads: &[Buffer], writes: &[Buffer], constants: Constants) {
        let params = [
            ("rows", self.rows.into()),
            ("c", self.c.into()),
            ("n_blocks", self.n_blocks.into()),
            ("block_len", (self.iterations * self.lanes_rows).into()),
            ("lanes_rows_log2", self.lanes_rows.ilog2().into()),
            ("lanes_c_log2", self.lanes_c.ilog2().into()),
            ("n_groups_c", self.n_groups_c().into()),
            ("pivot_row", constants.pivot_row.into()),
            ("inverse_len", ((1.0 / constants.len as f64) as f32).into()),
            ("correction", (constants.correction as f32).into()),
            ("epsilon", (constants.epsilon as f32).into()),
            ("pixels", constants.pixels.into()),
            ("n_groups", constants.n_groups.into()),
            ("per_group", constants.per_group.into()),
        ];
        let grid = r.linear_grid(self.n_blocks * self.n_groups_c());
        r.dispatch(kernel, reads, writes, &params, grid);
    }
}

/// Rows that are added up one after the other. A block is a sum of such sums, and blocks are added up in pairs, so that chains
/// stay short.
const LEAF: usize = 16;

/// Two sums a channel over all rows, of what `add(row, a, b)` adds to `a` and `b`, both `[c]`.
pub(super) fn channel_sums<T: Real>(rows: usize, c: usize, add: impl Fn(usize, &mut [T], &mut [T]) + Sync + Send) -> [Vec<T>; 2] {
    let block = (16 * 1024 / c).clamp(LEAF, LEAF * LEAF) / LEAF * LEAF;
    let parts = map_indices(rows.div_ceil(block), |k| {
        let (mut sums, mut leaf) = (vec![T::ZERO; 2 * c], vec![T::ZERO; 2 * c]);
        let end = rows.min((k + 1) * block);
        for start in (k * block..end).step_by(LEAF) {
            leaf.fill(T::ZERO);
            let (a, b) = leaf.split_at_mut(c);
            (start..end.min(start + LEAF)).for_each(|row| add(row, a, b));
            sums.iter_mut().zip(&leaf).for_each(|(sum, &x)| *sum += x);
        }
        sums
    });
    let mut a = parts.concat();
    join_pairs(&mut a, 2 * c, |a, b| a + b);
    a.truncate(2 * c);
    let b = a.split_off(c);
    [a, b]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::MAX_ITERATIONS;

    #[test]
    fn passes_take_each_row_once_and_stay_short() {
        for c in [1, 3, 16, 64, 100, 4096] {
            for rows in [1, 2, 255, 256, 8192, 8193, 401_408, (1 << 31) / c] {
                let first = Pass::first(rows, c);
                let block = first.iterations * first.lanes_rows;
                assert!((first.n_blocks - 1) * block < rows && first.n_blocks * block >= rows, "{rows} x {c}: {first:?}");
                let last = first.last();
                assert!(last.n_blocks == 1 && first.lanes_rows * first.lanes_c <= 256);
                assert!(first.additions().max(last.additions()) <= MAX_ITERATIONS / 4, "{rows} x {c}");
            }
        }
        assert_eq!(Pass::first(401_408, 16).additions(), 32 + 4);
    }

    #[test]
    fn sums_take_each_row_once() {
        for (rows, c) in [(1, 1), (15, 3), (16, 1), (17, 5), (257, 2), (5000, 7)] {
            let [a, b] = channel_sums(rows, c, |row, a, b| {
                for i in 0..c {
                    a[i] += (row * c + i) as f64;
                    b[i] += 1.0;
                }
            });
            for i in 0..c {
                let want: usize = (0..rows).map(|row| row * c + i).sum();
                assert_eq!((a[i], b[i]), (want as f64, rows as f64), "{rows} x {c}");
            }
        }
    }
}
