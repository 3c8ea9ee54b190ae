//! Which tensors share memory: slots, each a buffer of its own, in which tensors lie that aren't alive together, or that lie side by
//! side.
//!
//! "Greedy by size" and "greedy by breadth": Y. Pisarchyk, J. Lee, "Efficient Memory Management for Deep Neural Net Inference", MLSys
//! 2020 workshop. One buffer for all would be simplest, but WebGPU tracks whole buffers: a dispatch may not read and write the same
//! one. So tensors lie side by side only where no step writes one of them and binds the other.

use crate::random::{Seed, Stream};
use crate::tensor::DType;
use std::cmp::Reverse;

/// Bytes to which a tensor in a slot is aligned: WebGPU's default alignment of a storage binding.
const ALIGNMENT: usize = 256;

/// A tensor that needs memory for a while.
pub(super) struct Lifetime {
    /// Element type.
    pub dtype: DType,
    /// Elements.
    pub elements: usize,
    /// First step in which it is alive.
    pub first: usize,
    /// Last step in which it is alive.
    pub last: usize,
    /// Steps that bind it, in order, and whether they write it.
    pub bound: Vec<(usize, bool)>,
}

/// Not in `usize`, which has 32 bits in a browser: a plan must be too large before it can be refused.
fn bytes(dtype: DType, elements: usize) -> u64 {
    elements as u64 * dtype.bytes() as u64
}

impl Lifetime {
    fn bytes(&self) -> u64 {
        bytes(self.dtype, self.elements)
    }

    fn overlaps(&self, other: &Lifetime) -> bool {
        self.first <= other.last && other.first <= self.last
    }

    /// Whether a step writes one of the two while the other is bound.
    fn conflicts(&self, other: &Lifetime) -> bool {
        self.bound.iter().any(|&(s, writes)| other.bound.iter().any(|&(t, also)| s == t && (writes || also)))
    }
}

/// Where tensors lie.
#[derive(Default)]
pub(super) struct Slots {
    /// Element type and length of each slot.
    pub slots: Vec<(DType, usize)>,
    /// Slot and first element of each tensor.
    pub places: Vec<(usize, usize)>,
}

impl Slots {
    fn bytes(&self) -> u64 {
        self.slots.iter().map(|&(dtype, elements)| bytes(dtype, elements)).sum()
    }
}

/// Changes of the order that are tried, times the number of tensors.
const DRAWS: usize = 30_000;
/// Nearer than this to the least that could do, no better places are looked for.
const GOOD: f64 = 1.02;

/// Gives each tensor a place. Two orders are tried, as neither is better on all graphs; then tensors change their place in the better
/// one, at random, as long as it helps. With `typed` memory, as on the CPU, a slot's tensors have one element type; else element types of one size.
pub(super) fn assign(tensors: &[Lifetime], typed: bool) -> Slots {
    let mut by_size: Vec<usize> = (0..tensors.len()).collect();
    // Stable sorts keep equal plans equal.
    by_size.sort_by_key(|&i| Reverse(tensors[i].bytes()));
    let n_steps = tensors.iter().map(|t| t.last + 1).max().unwrap_or(0);
    let mut breadth = vec![0u64; n_steps];
    for t in tensors {
        breadth[t.first..=t.last].iter_mut().for_each(|b| *b += t.bytes());
    }
    // Tensors of the step that needs most memory first, by size; then those of the next.
    let widest = |t: &Lifetime| breadth[t.first..=t.last].iter().max().copied();
    let mut by_breadth = by_size.clone();
    by_breadth.sort_by_key(|&i| Reverse(widest(&tensors[i])));
    let candidates = [by_size, by_breadth].map(|order| (in_order(tensors, &order, typed), order));
    let Some((mut best, mut order)) = candidates.into_iter().min_by_key(|(slots, _)| slots.bytes()) else {
        return Slots::default();
    };
    let enough = GOOD * breadth.iter().max().copied().unwrap_or(0) as f64;
    // The same draws for the same graph. The larger the graph, the fewer.
    let mut random = Stream::new(Seed(0), 0);
    for _ in 0..DRAWS / tensors.len().max(1) {
        if best.bytes() as f64 <= enough {
            break;
        }
        let mut other = order.clone();
        let moved = other.remove(random.below(other.len() as u32) as usize);
        other.insert(random.below(other.len() as u32 + 1) as usize, moved);
        let slots = in_order(tensors, &other, typed);
        if slots.bytes() <= best.bytes() {
            (best, order) = (slots, other);
        }
    }
    best
}

/// A free range of a slot that a tensor could take.
struct Gap {
    slot: usize,
    offset: usize,
    len: usize,
}

/// Gives out places in this order: the tightest gap that is large enough, else the largest slot that is free, which grows.
fn in_order(tensors: &[Lifetime], order: &[usize], typed: bool) -> Slots {
    let mut slots: Vec<(DType, usize)> = Vec::new();
    let mut held: Vec<Vec<usize>> = Vec::new();
    let mut places = vec![(0, 0); tensors.len()];
    for &i in order {
        let t = &tensors[i];
        let mut tightest: Option<Gap> = None;
        let mut growing: Option<usize> = None;
        for (slot, &(dtype, len)) in slots.iter().enumerate() {
            let may_share = dtype == t.dtype || (!typed && dtype.bytes() == t.dtype.bytes());
            let beside: Vec<usize> = held[slot].iter().copied().filter(|&j| tensors[j].overlaps(t)).collect();
            if !may_share || beside.iter().any(|&j| tensors[j].conflicts(t)) {
                continue;
            }
            if beside.is_empty() && growing.is_none_or(|s| slots[s].1 < len) {
                growing = Some(slot);
            }
            let taken = beside.iter().map(|&j| (places[j].1, places[j].1 + tensors[j].elements)).collect();
            for (offset, end) in gaps(taken, len, ALIGNMENT / dtype.bytes()) {
                let len = end - offset;
                if len >= t.elements && tightest.as_ref().is_none_or(|g| len < g.len) {
                    tightest = Some(Gap { slot, offset, len });
                }
            }
        }
        let (slot, offset) = match (tightest, growing) {
            (Some(gap), _) => (gap.slot, gap.offset),
            (None, Some(slot)) => (slot, 0),
            (None, None) => {
                slots.push((t.dtype, 0));
                held.push(Vec::new());
                (slots.len() - 1, 0)
            }
        };
        slots[slot].1 = slots[slot].1.max(offset + t.elements);
        held[slot].push(i);
        places[i] = (slot, offset);
    }
    Slots { slots, places }
}

/// The ranges of `0..len` outside `taken`, from aligned starts.
fn gaps(mut taken: Vec<(usize, usize)>, len: usize, alignment: usize) -> Vec<(usize, usize)> {
    taken.sort_unstable();
    taken.push((len, len));
    let mut at = 0;
    let mut free = Vec::new();
    for (start, end) in taken {
        if at < start {
            free.push((at, start));
        }
        at = at.max(end.next_multiple_of(alignment));
    }
    free
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(elements: usize, first: usize, last: usize) -> Lifetime {
        // Written first, read last.
        Lifetime { dtype: DType::F32, elements, first, last, bound: vec![(first, true), (last, false)] }
    }

    #[test]
    fn tensors_of_disjoint_lifetimes_share() {
        let slots = assign(&[tensor(100, 0, 1), tensor(50, 1, 2), tensor(80, 2, 3)], true);
        assert_eq!(slots.slots, [(DType::F32, 100), (DType::F32, 50)]);
        assert_eq!(slots.places, [(0, 0), (1, 0), (0, 0)]);
    }

    #[test]
    fn small_tensors_lie_side_by_side_in_a_large_slot() {
        // Two that live together, but are never in one step, after a large one is dead.
        let slots = assign(&[tensor(1000, 0, 1), tensor(300, 2, 5), tensor(300, 3, 4)], true);
        assert_eq!(slots.slots, [(DType::F32, 1000)]);
        assert_eq!(slots.places[1..], [(0, 0), (0, 320)]);
        // Were one made from the other, they would need two buffers.
        let slots = assign(&[tensor(1000, 0, 1), tensor(300, 2, 3), tensor(300, 3, 4)], true);
        assert_eq!(slots.slots.len(), 2);
    }

    #[test]
    fn element_types_share_only_untyped_memory() {
        let tensors = [tensor(100, 0, 1), Lifetime { dtype: DType::U32, ..tensor(100, 2, 3) }];
        assert_eq!(assign(&tensors, true).slots.len(), 2);
        assert_eq!(assign(&tensors, false).slots.len(), 1);
        assert_eq!(assign(&[], false).slots.len(), 0);
    }
}
