//! How the elements of a value of ours lie in a tensor of the file. Transposing and reshaping a value writes nothing: it changes what is
//! known of where its elements lie, until somebody wants them in another order.

use std::ops::Range;

/// The length of an axis, in a batch of [`BATCHES`]`[0]` samples and in one of `[1]`: an axis whose lengths differ has to do with the batch.
pub(super) type Len = [usize; 2];

/// Sizes of batches for which a network is looked at. Neither is 1, so that no axis of the batch looks like one that may be left out.
pub(super) const BATCHES: Len = [2, 3];

const ONE: Len = [1, 1];

/// Whether a length is a number, or a number times the batch.
fn is_plain([a, b]: Len) -> bool {
    a == b || a * BATCHES[1] == b * BATCHES[0]
}

fn quotient(a: Len, b: Len) -> Option<Len> {
    let divides = |i: usize| b[i] > 0 && a[i].is_multiple_of(b[i]);
    let q = (divides(0) && divides(1)).then(|| [a[0] / b[0], a[1] / b[1]])?;
    is_plain(q).then_some(q)
}

fn product(lens: impl IntoIterator<Item = Len>) -> Len {
    lens.into_iter().fold(ONE, |p, len| [p[0] * len[0], p[1] * len[1]])
}

/// Where the elements of a value lie in a tensor, whose memory is cut up into factors, outermost first: each axis of the value runs over some
/// of them. Factors of 1 may be in no axis, and an axis of 1 may have none.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Arrangement {
    /// Number of the tensor.
    pub tensor: usize,
    factors: Vec<Len>,
    /// Of each axis of the tensor, its factors.
    tensor_axes: Vec<Range<usize>>,
    /// Of each axis of the value, its factors, outermost first.
    axes: Vec<Vec<usize>>,
}

/// What brings a tensor's elements into another order: a reshape, a transpose, a reshape, each only if it is needed.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(super) struct Moves {
    pub first: Option<Vec<Len>>,
    pub permutation: Option<Vec<usize>>,
    pub last: Option<Vec<Len>>,
}

impl Arrangement {
    /// Of a value that is the tensor, but that axis `i` of the tensor is the value's axis `order[i]`.
    pub fn permuted(tensor: usize, shape: &[Len], order: &[usize]) -> Arrangement {
        let mut axes = vec![Vec::new(); order.len()];
        order.iter().enumerate().for_each(|(i, &axis)| axes[axis].push(i));
        let tensor_axes = (0..shape.len()).map(|i| i..i + 1).collect();
        Arrangement { tensor, factors: shape.to_vec(), tensor_axes, axes }
    }

    /// Of a value that is the tensor.
    pub fn plain(tensor: usize, shape: &[Len]) -> Arrangement {
        Arrangement::permuted(tensor, shape, &(0..shape.len()).collect::<Vec<_>>())
    }

    /// The value whose axis `i` is this one's axis `permutation[i]`.
    pub fn transposed(&self, permutation: &[usize]) -> Arrangement {
        Arrangement { axes: permutation.iter().map(|&axis| self.axes[axis].clone()).collect(), ..self.clone() }
    }

    /// The same places of another tensor.
    pub fn of(&self, tensor: usize) -> Arrangement {
        Arrangement { tensor, ..self.clone() }
    }

    /// With one more axis, the last of the value and of the tensor.
    pub fn with_last(mut self, len: Len) -> Arrangement {
        let n = self.factors.len();
        self.factors.push(len);
        self.tensor_axes.push(n..n + 1);
        self.axes.push(vec![n]);
        self
    }

    /// Whether the elements lie at the same places of another tensor.
    pub fn is_like(&self, other: &Arrangement) -> bool {
        other.of(self.tensor) == *self
    }

    fn axis_len(&self, axis: usize) -> Len {
        product(self.axes[axis].iter().map(|&f| self.factors[f]))
    }

    /// The value's elements in their order under another shape; none if that cuts through factors.
    pub fn reshaped(&self, shape: &[Len]) -> Option<Arrangement> {
        let mut new = self.clone();
        if shape.len() == self.axes.len() && (0..shape.len()).all(|axis| self.axis_len(axis) == shape[axis]) {
            return Some(new);
        }
        // What is left, innermost first.
        let mut rest: Vec<usize> = self.axes.iter().flatten().copied().filter(|&f| self.factors[f] != ONE).rev().collect();
        new.axes.clear();
        for &len in shape {
            let (mut axis, mut have) = (Vec::new(), ONE);
            while have != len {
                let f = rest.pop()?;
                let missing = quotient(len, have)?;
                if quotient(missing, new.factors[f]).is_none() {
                    let inner = quotient(new.factors[f], missing)?;
                    new.split(f, [missing, inner]);
                    let behind = |g: &mut usize| *g += usize::from(*g > f);
                    new.axes.iter_mut().flatten().chain(&mut axis).chain(&mut rest).for_each(behind);
                    rest.push(f + 1);
                }
                have = product([have, new.factors[f]]);
                axis.push(f);
            }
            new.axes.push(axis);
        }
        rest.is_empty().then_some(new)
    }

    /// Cuts a factor into two; those behind it move up.
    fn split(&mut self, f: usize, [outer, inner]: [Len; 2]) {
        self.factors[f] = outer;
        self.factors.insert(f + 1, inner);
        for range in &mut self.tensor_axes {
            range.start += usize::from(range.start > f);
            range.end += usize::from(range.end > f);
        }
    }

    /// The order in which the value's axes lie in memory, if each lies in one piece. An axis of 1 that the tensor doesn't have is put before the
    /// one that follows it.
    pub fn order(&self) -> Option<Vec<usize>> {
        let place = |axis: usize| (axis..self.axes.len()).find_map(|next| self.axes[next].first()).copied().unwrap_or(usize::MAX);
        let mut order: Vec<usize> = (0..self.axes.len()).collect();
        order.sort_by_key(|&axis| place(axis));
        let sequence = order.iter().flat_map(|&axis| &self.axes[axis]).filter(|&&f| self.factors[f] != ONE);
        sequence.is_sorted().then_some(order)
    }

    /// The lengths that an axis of the value is a product of, outermost first, and their places in the order in which they lie in memory.
    pub fn parts(&self, axis: usize) -> (Vec<Len>, Vec<usize>) {
        let parts: Vec<usize> = self.axes[axis].iter().copied().filter(|&f| self.factors[f] != ONE).collect();
        let mut in_memory: Vec<usize> = (0..parts.len()).collect();
        in_memory.sort_unstable_by_key(|&i| parts[i]);
        (parts.iter().map(|&f| self.factors[f]).collect(), in_memory)
    }

    /// The same with the elements along an axis renumbered, so that they lie in memory in order.
    pub fn sorted(&self, axis: usize) -> Arrangement {
        let mut sorted = self.clone();
        sorted.axes[axis].sort_unstable();
        sorted
    }

    /// What makes the tensor, of this shape, one of shape `target` whose axis `i` is the value's axis `order[i]`. The target may have axes of
    /// 1 before those.
    pub fn moves(&self, shape: &[Len], order: &[usize], target: &[Len]) -> Moves {
        let wanted: Vec<Vec<usize>> =
            order.iter().map(|&axis| self.axes[axis].iter().copied().filter(|&f| self.factors[f] != ONE).collect()).collect();
        let sequence: Vec<usize> = wanted.iter().flatten().copied().collect();
        let unless = |target: &[Len], is: &[Len]| (target != is).then(|| target.to_vec());
        if sequence.is_sorted() {
            return Moves { last: unless(target, shape), ..Moves::default() };
        }
        if let Some(permutation) = self.whole_axes(&wanted, order).filter(|p| p.len() == target.len()) {
            return Moves { permutation: Some(permutation), ..Moves::default() };
        }
        // Neighbours that stay neighbours are moved as one.
        let mut blocks: Vec<Range<usize>> = Vec::new();
        let mut in_memory = sequence.clone();
        in_memory.sort_unstable();
        let place = |f: usize| in_memory.partition_point(|&g| g < f);
        for f in sequence.into_iter().map(place) {
            match blocks.last_mut() {
                Some(block) if block.end == f => block.end += 1,
                _ => blocks.push(f..f + 1),
            }
        }
        let len = |block: &Range<usize>| product(in_memory[block.clone()].iter().map(|&f| self.factors[f]));
        let mut by_memory = blocks.clone();
        by_memory.sort_unstable_by_key(|block| block.start);
        let first: Vec<Len> = by_memory.iter().map(len).collect();
        let moved: Vec<Len> = blocks.iter().map(len).collect();
        let permutation = blocks.iter().map(|block| by_memory.partition_point(|b| b.start < block.start)).collect();
        Moves { first: unless(&first, shape), permutation: Some(permutation), last: unless(target, &moved) }
    }

    /// If the wanted axes are those of the tensor, in another order: which ones.
    fn whole_axes(&self, wanted: &[Vec<usize>], order: &[usize]) -> Option<Vec<usize>> {
        let factors = |range: &Range<usize>| range.clone().filter(|&f| self.factors[f] != ONE).collect::<Vec<_>>();
        let of_tensor: Vec<Vec<usize>> = self.tensor_axes.iter().map(factors).collect();
        let mut taken = vec![false; of_tensor.len()];
        let mut permutation = vec![None; wanted.len()];
        // Axes of 1 that know their own first, then others.
        let own = |i: usize| self.axes[order[i]].first().and_then(|f| self.tensor_axes.iter().position(|r| r.contains(f)));
        for round in 0..2 {
            for (i, factors) in wanted.iter().enumerate().filter(|(_, factors)| (round == 1) == factors.is_empty()) {
                let fits = |&t: &usize| !taken[t] && of_tensor[t] == *factors;
                let t = own(i).filter(fits).or_else(|| (0..of_tensor.len()).find(fits))?;
                taken[t] = true;
                permutation[i] = Some(t);
            }
        }
        let all = taken.iter().all(|&t| t);
        permutation.into_iter().collect::<Option<Vec<usize>>>().filter(|_| all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lens(dims: &[usize]) -> Vec<Len> {
        // The first is the batch.
        dims.iter().enumerate().map(|(i, &d)| if i == 0 { [2 * d, 3 * d] } else { [d, d] }).collect()
    }

    #[test]
    fn a_transpose_and_back_is_nothing() {
        let shape = lens(&[1, 5, 7, 3]);
        let x = Arrangement::plain(0, &shape).transposed(&[0, 3, 1, 2]).transposed(&[0, 2, 3, 1]);
        assert_eq!(x.moves(&shape, &[0, 1, 2, 3], &shape), Moves::default());
        assert_eq!(x.order(), Some(vec![0, 1, 2, 3]));
        assert_eq!(Arrangement::permuted(0, &shape, &[0, 3, 1, 2]).order(), Some(vec![0, 3, 1, 2]));
    }

    #[test]
    fn a_channel_shuffle_is_a_reshape_a_transpose_and_a_reshape() {
        let shape = lens(&[1, 6, 5, 7]);
        let x = Arrangement::permuted(0, &shape, &[0, 3, 1, 2]);
        let grouped = x.reshaped(&lens(&[35, 2, 3])).unwrap().transposed(&[0, 2, 1]);
        let y = grouped.reshaped(&lens(&[1, 5, 7, 6])).unwrap();
        let moves = y.moves(&shape, &[0, 3, 1, 2], &shape);
        assert_eq!(moves.first, Some(lens(&[1, 2, 3, 35])));
        assert_eq!(moves.permutation, Some(vec![0, 2, 1, 3]));
        assert_eq!(moves.last, Some(shape));
    }

    #[test]
    fn flattening_channels_first_leaves_the_order_open() {
        let shape = lens(&[1, 3, 2, 5]);
        let flat = Arrangement::permuted(0, &shape, &[0, 3, 1, 2]).reshaped(&lens(&[1, 30])).unwrap();
        assert_eq!(flat.parts(1), (vec![[2, 2], [5, 5], [3, 3]], vec![2, 0, 1]));
        let moves = flat.sorted(1).moves(&shape, &[0, 1], &lens(&[1, 30]));
        assert_eq!(moves, Moves { last: Some(lens(&[1, 30])), ..Moves::default() });
        let moves = flat.moves(&shape, &[0, 1], &lens(&[1, 30]));
        assert_eq!(moves.permutation, Some(vec![0, 2, 1]));
        assert_eq!(flat.order(), None);
    }

    #[test]
    fn axes_of_one_come_and_go() {
        let shape = lens(&[1, 4, 1, 1]);
        let pooled = Arrangement::permuted(0, &shape, &[0, 3, 1, 2]).reshaped(&lens(&[1, 4])).unwrap();
        let moves = pooled.moves(&shape, &[0, 1], &lens(&[1, 4]));
        assert_eq!((moves.first, moves.permutation, moves.last), (None, None, Some(lens(&[1, 4]))));
        let back = pooled.reshaped(&lens(&[1, 1, 1, 4])).unwrap();
        assert_eq!(back.moves(&shape, &[0, 3, 1, 2], &shape), Moves::default());
        // A series is an image of one row.
        let series = lens(&[1, 9, 4]);
        let row = Arrangement::plain(0, &series).reshaped(&lens(&[1, 1, 9, 4])).unwrap();
        let moves = row.moves(&series, &[0, 3, 1, 2], &lens(&[1, 4, 1, 9]));
        assert_eq!((moves.first, moves.permutation, moves.last), (None, Some(vec![0, 2, 1]), Some(lens(&[1, 4, 1, 9]))));
    }

    #[test]
    fn what_cuts_through_factors_is_refused() {
        let x = Arrangement::plain(0, &lens(&[1, 4, 6]));
        assert!(x.reshaped(&lens(&[1, 6, 4])).is_none());
        // The batch behind the rest, which no factors can say.
        assert!(x.reshaped(&[[24, 24], [2, 3]]).is_none());
        assert!(x.reshaped(&lens(&[1, 2, 2, 6])).is_some());
    }
}
