//! Gradients kept to a norm.

use super::row_reduction::{Lanes, ROW, sum};
use super::running_error::Running;
use super::update::HYPER;
use crate::error::{Error, Result};
use crate::linalg::{Real, map_indices};
use crate::op::{
    Bound, Buffer, Case, Cost, Cpu, CpuArgs, Declaration, FINITE, GRID, Kernel, Op, Recorder, Source, TINY, gamma, moved_bytes, sample,
    shader,
};
use crate::tensor::{DType, Tensor, TensorType};
use std::ops::Range;

static SQUARES: Source = shader!("squares");
static CLIP_NORM: Source = shader!("clip_norm");

/// Elements whose squares a workgroup adds up.
const RUN: usize = 4096;

/// What keeps the divisor from 0, as in PyTorch.
const EPSILON: f64 = 1e-6;

/// The factor with which the norm of all gradients together is at most `max_norm`, taken into `hyper`. Inputs: hyper, f32 `[6]`
/// ([`HYPER`]), and gradients, f32 of any shapes; output: hyper with its factor of the gradient times
/// `min(1, max_norm / (norm + 1e-6))`, as PyTorch's `clip_grad_norm_` has it. NaN if the norm is.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct ClipNorm {
    /// The largest norm, positive and finite.
    pub max_norm: f64,
}

/// Sum of the squares of `x(i)` for `i` in `range`, in an order that depends on their number alone.
pub(super) fn sum_of_squares<T: Real>(range: Range<usize>, x: impl Fn(usize) -> T + Sync) -> T {
    let parts = map_indices(range.len().div_ceil(RUN), |i| {
        let start = range.start + i * RUN;
        sum(start..range.end.min(start + RUN), &|j| x(j) * x(j))
    });
    sum(0..parts.len(), &|i| parts[i])
}

/// A sum of `n` squares whose chain of additions was `depth` long.
pub(super) fn running_sum(squares: f64, n: usize, depth: usize) -> Running {
    Running::new(squares, gamma(depth + 1) * squares + n as f64 * TINY)
}

impl ClipNorm {
    fn factor<T: Real>(&self, squares: T, scale: T) -> T {
        let norm = scale * squares.sqrt();
        let factor = T::from_f64(self.max_norm) / (norm + T::from_f64(EPSILON));
        -(-T::ONE).max(-factor)
    }
}

impl Op for ClipNorm {
    fn name(&self) -> &'static str {
        "clip_norm"
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>> {
        if !(self.max_norm > 0.0 && (self.max_norm as f32).is_finite() && self.max_norm as f32 > 0.0) {
            return Err(Error::invalid("max_norm", self.max_norm, "a positive number"));
        }
        let [hyper, gradients @ ..] = inputs else {
            return Err(Error::invalid("inputs", 0, "hyper and gradients"));
        };
        hyper.expect("hyper", &TensorType::f32([HYPER]))?;
        if gradients.is_empty() {
            return Err(Error::invalid("gradients", 0, "at least 1"));
        }
        for (i, g) in gradients.iter().enumerate() {
            g.expect_dtype(&format!("gradient {i}"), DType::F32)?;
        }
        Ok(vec![hyper.clone()])
    }

    fn gpu(&self, r: &mut Recorder<'_>) -> Result<()> {
        let lens: Vec<usize> = r.inputs()[1..].iter().map(TensorType::elements).collect();
        let n: usize = lens.iter().map(|len| len.div_ceil(RUN)).sum();
        let sums = r.temp(TensorType::f32([n]));
        let mut start = 0;
        let lanes = Lanes::of(RUN);
        for (i, &len) in lens.iter().enumerate() {
            let n_rows = len.div_ceil(RUN);
            let params = [("n_rows", n_rows.into()), ("len", len.into()), ("run_len", RUN.into()), ("start", start.into())];
            let grid = lanes.grid(r, n_rows);
            r.dispatch(lanes.set(Kernel::new(&SQUARES, &[&GRID, &ROW])), &[Buffer::Input(i + 1)], &[sums], &params, grid);
            start += n_rows;
        }
        // One workgroup, which has a lane for each element of hyper too.
        let whole = Lanes::whole(n);
        let params = [("n", n.into()), ("n_hyper", HYPER.into()), ("max_norm", (self.max_norm as f32).into())];
        let kernel = whole.set(Kernel::new(&CLIP_NORM, &[&FINITE, &ROW]));
        r.dispatch(kernel, &[Buffer::Input(0), sums], &[Buffer::Output(0)], &params, [1, 1, 1]);
        r.declare_depth(lanes.additions() + whole.additions());
        Ok(())
    }

    fn cost(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Cost {
        let n: usize = inputs[1..].iter().map(TensorType::elements).sum();
        Cost { flops: 2 * n as u64, bytes: moved_bytes(inputs, outputs) }
    }

    fn error_bound(&self, b: &Bound<'_>) -> Result<Vec<Vec<f64>>> {
        let n: usize = b.types[1..].iter().map(TensorType::elements).sum();
        let squares = b.inputs[1..].iter().map(|g| g.real().iter().map(|g| g * g).sum::<f64>()).sum();
        let scale = Running::new(b.inputs[0].real()[4], 0.0);
        let factor = self.factor(running_sum(squares, n, b.depth), scale);
        let mut bounds = b.exact();
        bounds[0][4] = (scale * factor).error();
        Ok(bounds)
    }
}

impl Cpu for ClipNorm {
    fn cpu<T: Real>(&self, args: &mut CpuArgs<'_, T>) {
        let sums: Vec<T> = (1..args.n_inputs()).map(|i| {
            let x = args.x(i);
            sum_of_squares(0..x.len(), |j| x[j])
        }).collect();
        let (hyper, y) = (args.x(0), args.y(0));
        y.copy_from_slice(hyper);
        y[4] = hyper[4] * self.factor(sum(0..sums.len(), &|i| sums[i]), hyper[4]);
    }
}

/// The list's entry.
pub static DECLARATIONS: &[Declaration] = &[Declaration {
    name: "clip_norm",
    no_gradient: Some("it scales gradients for the optimizer"),
    shaders: &[&SQUARES, &CLIP_NORM],
    cases,
}];

fn cases() -> Vec<Case> {
    let case = |name: &str, max_norm: f64, scale: f32, gradients: Vec<Tensor>| {
        let hyper = Tensor::f32([HYPER], vec![0.1, 0.2, 0.3, 0.4, scale, 1.0]).unwrap_or_else(|_| unreachable!("made to fit"));
        Case::new(name, ClipNorm { max_norm }, [vec![hyper], gradients].concat())
    };
    let vast = Tensor::f32([3], vec![1.0, f32::INFINITY, 2.0]).unwrap_or_else(|_| unreachable!("made to fit"));
    let nan = Tensor::f32([3], vec![1.0, f32::NAN, 2.0]).unwrap_or_else(|_| unreachable!("made to fit"));
    vec![
        case("one", 0.5, 1.0, vec![sample::positive(1, [1])]),
        case("within", 100.0, 1.0, vec![sample::normal(2, [3, 5, 7])]),
        case("several", 1.0, 0.5, vec![sample::normal(3, [5000]), sample::normal(4, [7]), sample::positive(5, [64, 130])]),
        case("long", 1.0, 1.0, vec![sample::normal(6, [70_001])]),
        case("zeros", 1.0, 1.0, vec![Tensor::zeros(&TensorType::f32([70]))]),
        case("infinite", 1.0, 1.0, vec![vast]),
        case("nan", 1.0, 1.0, vec![sample::normal(7, [100]), nan]),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::check;

    #[test]
    fn cases_hold() {
        check::declarations(DECLARATIONS);
    }

    /// A norm of 5 times 2, to be at most 1.
    #[test]
    fn values() {
        let op = ClipNorm { max_norm: 1.0 };
        assert!((op.factor(25.0f64, 2.0) - 0.1).abs() < 1e-7);
        assert_eq!(op.factor(0.25f64, 1.0), 1.0);
        assert!(op.factor(f64::NAN, 1.0).is_nan());
    }

    #[test]
    fn bad_arguments_are_refused() {
        let types = [TensorType::f32([HYPER]), TensorType::f32([3])];
        assert!(ClipNorm { max_norm: 1.0 }.infer(&types).is_ok());
        assert!(ClipNorm { max_norm: 1.0 }.infer(&types[..1]).is_err());
        assert!(ClipNorm { max_norm: 1.0 }.infer(&types[1..]).is_err());
        for max_norm in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e-60] {
            assert!(ClipNorm { max_norm }.infer(&types).is_err(), "{max_norm}");
        }
    }
}
