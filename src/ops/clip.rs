//! Values kept between two bounds.

use crate::error::{Error, Result};
use crate::linalg::{Real, for_each_chunk};
use crate::op::{
    ACTIVATION, Bound, Buffer, Case, Cpu, CpuArgs, Declaration, Gradient, Op, Recorder, Source, TINY, expect_inputs, sample, shader,
};
use crate::ops::elements::Elements;
use crate::tensor::{DType, Tensor, TensorType};

static CLIP: Source = shader!("clip");
static CLIP_GRAD: Source = shader!("clip_grad");

/// `y = min(max(x, low), high)`, elementwise: f32 of any shape to the same. NaN stays NaN. The gradient passes from low to high, both
/// included, as in PyTorch's `clamp`, and where x is NaN.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Clip {
    /// The least value; `-f32::MAX` for none.
    pub low: f32,
    /// The largest value, not less; `f32::MAX` for none.
    pub high: f32,
}

/// The gradient of [`Clip`], from inputs `x` and `dy`: f32 of any shape, equal.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct ClipGrad {
    /// The clip's.
    pub low: f32,
    /// The clip's.
    pub high: f32,
}

fn check(low: f32, high: f32) -> Result<()> {
    if low.is_finite() && high.is_finite() && low <= high {
        Ok(())
    } else {
        Err(Error::invalid("bounds", format!("{low} to {high}"), "two finite numbers, the lower one first"))
    }
}

impl Op for Clip {
    fn name(&self) -> &'static str {
        "clip"
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>> {
        expect_inputs(inputs, &["x"])?;
        inputs[0].expect_dtype("x", DType::F32)?;
        check(self.low, self.high)?;
        Ok(vec![inputs[0].clone()])
    }

    fn gradient(&self, g: &mut Gradient<'_>) -> Result<()> {
        let (x, dy) = (g.x(0), g.dy0()?);
        let dx = g.node(ClipGrad { low: self.low, high: self.high }, &[x, dy])?;
        g.set(0, dx);
        Ok(())
    }

    fn gpu(&self, r: &mut Recorder<'_>) -> Result<()> {
        let e = Elements::of(r.y(0).elements());
        let params = [("n", e.n()), ("low", self.low.into()), ("high", self.high.into())];
        let grid = e.grid(r);
        r.dispatch(e.kernel(&CLIP, &[&ACTIVATION]), &[Buffer::Input(0)], &[Buffer::Output(0)], &params, grid);
        Ok(())
    }

    fn error_bound(&self, b: &Bound<'_>) -> Result<Vec<Vec<f64>>> {
        // A comparison may take a denormal for 0.
        Ok(b.each(|_, _| TINY))
    }
}

impl Cpu for Clip {
    fn cpu<T: Real>(&self, args: &mut CpuArgs<'_, T>) {
        let (x, low, high) = (args.x(0), T::from_f32(self.low), T::from_f32(self.high));
        for_each_chunk(args.y(0), |at, y| {
            for (y, &x) in y.iter_mut().zip(&x[at..]) {
                *y = if x < low {
                    low
                } else if x > high {
                    high
                } else {
                    x
                };
            }
        });
    }
}

impl Op for ClipGrad {
    fn name(&self) -> &'static str {
        "clip_grad"
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>> {
        expect_inputs(inputs, &["x", "dy"])?;
        inputs[0].expect_dtype("x", DType::F32)?;
        inputs[1].expect("dy", &inputs[0])?;
        check(self.low, self.high)?;
        Ok(vec![inputs[0].clone()])
    }

    fn gpu(&self, r: &mut Recorder<'_>) -> Result<()> {
        let e = Elements::of(r.y(0).elements());
        let params = [("n", e.n()), ("low", self.low.into()), ("high", self.high.into())];
        let grid = e.grid(r);
        let reads = [Buffer::Input(0), Buffer::Input(1)];
        r.dispatch(e.kernel(&CLIP_GRAD, &[&ACTIVATION]), &reads, &[Buffer::Output(0)], &params, grid);
        Ok(())
    }
}

impl Cpu for ClipGrad {
    fn cpu<T: Real>(&self, args: &mut CpuArgs<'_, T>) {
        let (x, dy, low, high) = (args.x(0), args.x(1), T::from_f32(self.low), T::from_f32(self.high));
        for_each_chunk(args.y(0), |at, dx| {
            for ((dx, &x), &dy) in dx.iter_mut().zip(&x[at..]).zip(&dy[at..]) {
                *dx = if x < low || x > high { T::ZERO } else { dy };
            }
        });
    }
}

/// The list's entries.
pub static DECLARATIONS: &[Declaration] = &[
    Declaration { name: "clip", no_gradient: None, shaders: &[&CLIP], cases },
    Declaration {
        name: "clip_grad",
        no_gradient: Some("gradient op: second derivatives are not needed for training"),
        shaders: &[&CLIP_GRAD],
        cases: grad_cases,
    },
];

fn row(values: &[f32]) -> Tensor {
    Tensor::f32([values.len()], values.to_vec()).unwrap_or_else(|_| unreachable!("made to fit"))
}

const SPECIAL: [f32; 8] = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -0.5, 1.25, 0.0, 3e38, -f32::NAN];

fn cases() -> Vec<Case> {
    let op = Clip { low: -0.5, high: 1.25 };
    vec![
        Case::new("one", op, vec![row(&[0.75])]),
        Case::new("odd", op, vec![sample::distinct(1, [3, 5, 7])]),
        Case::new("vec4_workgroups", op, vec![sample::distinct(2, [2, 11, 5, 12])]),
        Case::new("one_sided", Clip { low: 0.0, high: f32::MAX }, vec![sample::distinct(3, [19, 17])]),
        Case::new("special", op, vec![row(&SPECIAL)]).differentiable_by(&[]),
    ]
}

fn grad_cases() -> Vec<Case> {
    let op = ClipGrad { low: -0.5, high: 1.25 };
    vec![
        Case::new("one", op, vec![row(&[0.75]), row(&[-2.0])]),
        Case::new("odd", op, vec![sample::normal(1, [3, 5, 7]), sample::normal(2, [3, 5, 7])]),
        Case::new("vec4_workgroups", op, vec![sample::normal(3, [2, 11, 5, 12]), sample::normal(4, [2, 11, 5, 12])]),
        Case::new("special", op, vec![row(&SPECIAL), row(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0])]),
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

    #[test]
    fn bad_bounds_are_refused() {
        let x = [TensorType::f32([3])];
        for (low, high) in [(1.0, 0.0), (f32::NAN, 0.0), (0.0, f32::INFINITY)] {
            assert!(Clip { low, high }.infer(&x).is_err());
        }
        assert!(Clip { low: 1.0, high: 1.0 }.infer(&x).is_ok());
    }
}
