//! A tensor times a number.

use crate::error::{Error, Result};
use crate::linalg::{Real, for_each_chunk};
use crate::op::{
    Bound, Buffer, Case, Cpu, CpuArgs, Declaration, Gradient, Interchange, Op, Recorder, Source, StandardNode, TINY, Term, UNIT,
    expect_inputs, sample, shader,
};
use crate::ops::elements::Elements;
use crate::tensor::{DType, TensorType};
use std::sync::Arc;

static SCALE: Source = shader!("scale");

/// `y = factor * x`: f32 of any shape to the same.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Scale {
    /// The factor, finite.
    pub factor: f32,
}

impl Op for Scale {
    fn name(&self) -> &'static str {
        "scale"
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>> {
        expect_inputs(inputs, &["x"])?;
        inputs[0].expect_dtype("x", DType::F32)?;
        if !self.factor.is_finite() {
            return Err(Error::invalid("factor", self.factor, "a finite number"));
        }
        Ok(vec![inputs[0].clone()])
    }

    fn gradient(&self, g: &mut Gradient<'_>) -> Result<()> {
        let dy = g.dy0()?;
        let dx = g.node(*self, &[dy])?;
        g.set(0, dx);
        Ok(())
    }

    fn remake(&self) -> Option<(Arc<dyn Op>, Vec<Buffer>)> {
        Some((Arc::new(*self), vec![Buffer::Input(0)]))
    }

    fn gpu(&self, r: &mut Recorder<'_>) -> Result<()> {
        let e = Elements::of(r.y(0).elements());
        let params = [("n", e.n()), ("factor", self.factor.into())];
        let grid = e.grid(r);
        r.dispatch(e.kernel(&SCALE, &[]), &[Buffer::Input(0)], &[Buffer::Output(0)], &params, grid);
        Ok(())
    }

    fn error_bound(&self, b: &Bound<'_>) -> Result<Vec<Vec<f64>>> {
        // One rounding.
        Ok(b.each(|_, y| UNIT * y.abs() + TINY))
    }

    fn interchange(&self, d: &mut Interchange<'_>) -> Result<Vec<Term>> {
        let factor = d.number(self.factor);
        Ok(vec![d.same(StandardNode::free("Mul", &[d.x(0), factor]))])
    }
}

impl Cpu for Scale {
    fn cpu<T: Real>(&self, args: &mut CpuArgs<'_, T>) {
        let (x, factor) = (args.x(0), T::from_f32(self.factor));
        for_each_chunk(args.y(0), |at, y| {
            for (y, &x) in y.iter_mut().zip(&x[at..]) {
                *y = factor * x;
            }
        });
    }
}

/// The list's entry.
pub static DECLARATIONS: &[Declaration] = &[Declaration {
    name: "scale",
    no_gradient: None,
    shaders: &[&SCALE],
    cases,
}];

fn cases() -> Vec<Case> {
    vec![
        Case::new("one", Scale { factor: 0.3 }, vec![sample::normal(1, [1])]),
        Case::new("scalar_workgroups", Scale { factor: -1.0 }, vec![sample::normal(2, [3, 5, 7, 5])]),
        Case::new("vec4_workgroups", Scale { factor: 1.0 / 3.0 }, vec![sample::normal(3, [2, 11, 5, 12])]),
        Case::new("integers", Scale { factor: 3.0 }, vec![sample::integers(4, [6, 7], 1000)]),
        Case::new("random_5", Scale { factor: 1e-3 }, vec![sample::normal(5, [9, 4])]),
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
    fn bad_factors_are_refused() {
        assert!(Scale { factor: f32::NAN }.infer(&[TensorType::f32([2])]).is_err());
        assert!(Scale { factor: 1.0 }.infer(&[TensorType::new(DType::U8, [2])]).is_err());
    }
}
