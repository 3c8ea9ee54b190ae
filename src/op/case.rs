//! What the list of ops says of one, and the cases that every test and bench of it runs.

use super::{Op, Source};
use crate::tensor::{DType, Tensor};
use std::sync::Arc;

/// What the list of ops says of one.
#[derive(Debug)]
pub struct Declaration {
    /// [`Op::name`].
    pub name: &'static str,
    /// Why it has no gradient, for an op that has none.
    pub no_gradient: Option<&'static str>,
    /// The shader files that are its own, without those of `shared/` and `gemm/`, of which many ops are composed.
    pub shaders: &'static [&'static Source],
    /// Cases that every test and bench of the op runs.
    pub cases: fn() -> Vec<Case>,
}

/// An op with inputs, for tests, the self-test and benches.
#[derive(Debug)]
pub struct Case {
    /// Readable id within the op (`odd_width_stride_2`).
    pub name: String,
    /// The op.
    pub op: Arc<dyn Op>,
    /// Its inputs.
    pub inputs: Vec<Tensor>,
    /// Inputs that the op is differentiable by at this case's data; finite differences are taken for these.
    pub differentiable: Vec<usize>,
}

impl Case {
    /// A case that is differentiable by all its f32 inputs.
    pub fn new(name: impl Into<String>, op: impl Op, inputs: Vec<Tensor>) -> Self {
        let differentiable = (0..inputs.len()).filter(|&i| inputs[i].dtype() == DType::F32).collect();
        Case { name: name.into(), op: Arc::new(op), inputs, differentiable }
    }

    /// The same, differentiable only by these inputs.
    pub fn differentiable_by(mut self, inputs: &[usize]) -> Self {
        self.differentiable = inputs.to_vec();
        self
    }
}

/// Test data for [`Case`]s, reproducible by `seed`.
pub mod sample {
    use crate::random::{Seed, Stream};
    use crate::tensor::{Shape, Tensor};

    fn make(shape: Shape, mut f: impl FnMut(usize) -> f32) -> Tensor {
        let data = (0..shape.elements()).map(&mut f).collect();
        Tensor::f32(shape, data).unwrap_or_else(|_| unreachable!("made to fit"))
    }

    /// Standard normal.
    pub fn normal(seed: u64, shape: impl Into<Shape>) -> Tensor {
        let mut s = Stream::new(Seed(seed), 0);
        make(shape.into(), |_| s.normal() as f32)
    }

    /// Uniform in (0, 1], where sums have no cancellation and long chains of roundings show.
    pub fn positive(seed: u64, shape: impl Into<Shape>) -> Tensor {
        let mut s = Stream::new(Seed(seed), 1);
        make(shape.into(), |_| (1.0 - s.uniform()) as f32)
    }

    /// Integers in `-range..=range`, on which sums of products must be exact.
    pub fn integers(seed: u64, shape: impl Into<Shape>, range: u32) -> Tensor {
        let mut s = Stream::new(Seed(seed), 2);
        make(shape.into(), |_| s.below(2 * range + 1) as f32 - range as f32)
    }

    /// All elements different and at least 0.01 apart, in random order around 0: no ties for maxima, no kink near an element.
    pub fn distinct(seed: u64, shape: impl Into<Shape>) -> Tensor {
        let shape = shape.into();
        let n = shape.elements() as u32;
        let order = Stream::new(Seed(seed), 3).permutation(n);
        make(shape, |i| (order[i] as f32 - n as f32 / 2.0 + 0.25) * 0.01)
    }

    /// Class or row indices below `n`.
    pub fn indices(seed: u64, len: usize, n: u32) -> Tensor {
        let mut s = Stream::new(Seed(seed), 4);
        let data = (0..len).map(|_| s.below(n)).collect();
        Tensor::u32([len], data).unwrap_or_else(|_| unreachable!("made to fit"))
    }
}
