//! Two sums a group over its values: how they are split among workgroups, and the same on the CPU. `shaders/shared/group_sums.wgsl` and
//! `shaders/shared/group_total.wgsl` are the WGSL parts.

use super::Groups;
use crate::linalg::Real;
use crate::op::{Buffer, FINITE, GRID, Kernel, Recorder, Source, shader};
use crate::ops::channel_sums::channel_sums;
use crate::ops::elements::{Elements, QUOTIENT};
use crate::ops::row_reduction::{Lanes, ROW, sum};
use crate::tensor::TensorType;

static GROUP_SUMS: Source = shader!("shared/group_sums");
static GROUP_TOTAL: Source = shader!("shared/group_total");

/// A tensor seen as `[outer, len, inner]`: a first pass adds up over parts of len, a second puts the rest together: parts, and the channels
/// of a group, which lie side by side in inner. Where a sample is a row of channels, that row is `[len, inner]`, with an inner of four or
/// one.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Statistic {
    pub outer: usize,
    pub len: usize,
    pub inner: usize,
    /// Groups in inner.
    pub groups: usize,
    /// Whether a sample is a row.
    pub is_row: bool,
    lanes_len: usize,
    lanes_inner: usize,
    iterations: usize,
    n_blocks: usize,
}

impl Statistic {
    pub fn of(g: &Groups) -> Statistic {
        let is_row = g.pixels == 1 && g.groups == 1;
        let width = if g.c.is_multiple_of(4) { 4 } else { 1 };
        let [len, inner, groups] = if is_row { [g.c / width, width, 1] } else { [g.pixels, g.c, g.groups] };
        let statistic = Statistic {
            outer: g.n,
            len,
            inner,
            groups,
            is_row,
            lanes_len: 1,
            lanes_inner: 1,
            iterations: 1,
            n_blocks: 1,
        };
        // Lanes as `Reduce` has them.
        let vectors = statistic.elements().count(inner);
        let lanes_inner = vectors.next_power_of_two().min(64);
        let lanes_len = len.next_power_of_two().min(256 / lanes_inner);
        let total = len.div_ceil(lanes_len);
        let iterations = total.min(64).max(total.div_ceil(4096));
        Statistic { lanes_len, lanes_inner, iterations, n_blocks: total.div_ceil(iterations), ..statistic }
    }

    /// Channels of a group.
    fn per(&self) -> usize {
        self.inner / self.groups
    }

    /// Vectors where a vector's channels are of one group or each of its own.
    fn elements(&self) -> Elements {
        let aligned = self.per().is_multiple_of(4) || self.per() == 1;
        Elements::aligned(self.outer * self.len * self.inner, if aligned { self.inner } else { 1 })
    }

    /// The place along len whose value is taken off all others of a group: in the middle of an image, as one at the edge of a padded
    /// feature map can be far from typical.
    pub fn pivot(&self) -> usize {
        if self.is_row { 0 } else { (self.len + self.len.isqrt()) / 2 % self.len }
    }

    /// Longest chain of additions: a lane's, the tree's, then the same of the second pass.
    pub fn additions(&self) -> usize {
        self.iterations + self.lanes_len.ilog2() as usize + self.lanes().additions()
    }

    fn lanes(&self) -> Lanes {
        Lanes::of(self.n_blocks * self.per())
    }

    /// Records the first pass with a kernel that has `term`; returns its sums, [outer, n_blocks, 2, inner].
    pub fn record_sums(&self, r: &mut Recorder<'_>, source: &'static Source, reads: &[Buffer]) -> Buffer {
        let e = self.elements();
        let inner = e.count(self.inner);
        let lanes_outer = 256 / (self.lanes_inner * self.lanes_len);
        let n_groups_inner = inner.div_ceil(self.lanes_inner);
        let params = [
            ("outer", self.outer.into()),
            ("len", self.len.into()),
            ("inner", inner.into()),
            ("n_blocks", self.n_blocks.into()),
            ("block_len", (self.iterations * self.lanes_len).into()),
            ("lanes_len_log2", self.lanes_len.ilog2().into()),
            ("lanes_inner_log2", self.lanes_inner.ilog2().into()),
            ("n_groups_inner", n_groups_inner.into()),
            ("n_groups", self.groups.into()),
            ("per_group", self.per().into()),
            ("pivot", self.pivot().into()),
        ];
        let partial = r.temp(TensorType::f32([self.outer, self.n_blocks, 2, self.inner]));
        let kernel = e.kernel(source, &[&GROUP_SUMS]).set("WHOLE", self.per() > 1 || e.count(4) == 4).set("IS_ROW", self.is_row);
        let grid = r.linear_grid(self.outer.div_ceil(lanes_outer) * self.n_blocks * n_groups_inner);
        r.dispatch(kernel, reads, &[partial], &params, grid);
        partial
    }

    /// Records the second pass with a kernel that makes of the sums of a group what it likes.
    pub fn record_total(&self, r: &mut Recorder<'_>, source: &'static Source, reads: &[Buffer], writes: &[Buffer], epsilon: f64) {
        let lanes = self.lanes();
        let rows = self.outer * self.groups;
        let params = [
            ("n_rows", rows.into()),
            ("n_groups", self.groups.into()),
            ("per_group", self.per().into()),
            ("n_blocks", self.n_blocks.into()),
            ("len", self.len.into()),
            ("inner", self.inner.into()),
            ("pivot", self.pivot().into()),
            ("inverse_len", ((1.0 / (self.len * self.per()) as f64) as f32).into()),
            ("epsilon", (epsilon as f32).into()),
        ];
        let kernel = lanes.set(Kernel::new(source, &[&FINITE, &GRID, &ROW, &QUOTIENT, &GROUP_TOTAL]));
        let grid = lanes.grid(r, rows);
        r.dispatch(kernel, reads, writes, &params, grid);
    }
}

/// Two sums for each group of sample `o`, of what `add(first element, first channel, group, a, b)` adds to `a` and `b` for the channels of a
/// group at a pixel.
pub(super) fn pair_sums<T: Real>(
    groups: &Groups,
    o: usize,
    add: impl Fn(usize, usize, usize, &mut [T], &mut [T]) + Sync + Send,
) -> Vec<[T; 2]> {
    let (c, per) = (groups.c, groups.per());
    let pixel = |row: usize, a: &mut [T], b: &mut [T]| {
        for (g, (a, b)) in a.chunks_exact_mut(per).zip(b.chunks_exact_mut(per)).enumerate() {
            add((o * groups.pixels + row) * c + g * per, g * per, g, a, b);
        }
    };
    let of_channels = if groups.pixels == 1 {
        let (mut a, mut b) = (vec![T::ZERO; c], vec![T::ZERO; c]);
        pixel(0, &mut a, &mut b);
        [a, b]
    } else {
        channel_sums(groups.pixels, c, pixel)
    };
    (0..groups.groups).map(|g| [0, 1].map(|k| sum(g * per..(g + 1) * per, &|i| of_channels[k][i]))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::MAX_ITERATIONS;

    #[test]
    fn passes_take_each_value_once_and_stay_short() {
        for (n, pixels, c, groups) in [
            (2, 1, 96, 1),
            (3, 1, 7, 1),
            (2, 196, 96, 32),
            (2, 50_176, 64, 64),
            (1, 1 << 20, 3, 1),
            (1, 1, 1 << 21, 1),
            (1, 1 << 24, 64, 8),
        ] {
            let s = Statistic::of(&Groups { n, pixels, c, groups });
            let block = s.iterations * s.lanes_len;
            assert!((s.n_blocks - 1) * block < s.len && s.n_blocks * block >= s.len, "{s:?}");
            assert!(s.lanes_len * s.lanes_inner <= 256 && s.iterations <= MAX_ITERATIONS);
            assert!(s.n_blocks * s.per() / 256 <= MAX_ITERATIONS / 2, "{s:?}");
            assert_eq!(s.outer * s.len * s.inner, n * pixels * c);
        }
    }
}
