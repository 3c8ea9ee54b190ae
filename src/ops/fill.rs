//! A constant tensor.

use crate::error::Result;
use crate::linalg::{Real, for_each_chunk};
use crate::op::{
    Buffer, Case, Cpu, CpuArgs, Declaration, Gradient, Interchange, Op, Recorder, Source, Term, Word, expect_inputs, shader,
};
use crate::ops::elements::Elements;
use crate::tensor::{Shape, Tensor, TensorType};

pub(crate) static FILL: Source = shader!("fill");

/// An f32 tensor of one value, from no inputs. The gradient of a loss by itself, with which backward starts, is one.
#[derive(Clone, PartialEq, Debug)]
pub struct Fill {
    /// Value of every element.
    pub value: f32,
    /// Shape of the output.
    pub shape: Shape,
}

impl Op for Fill {
    fn name(&self) -> &'static str {
        "fill"
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>> {
        expect_inputs(inputs, &[])?;
        Ok(vec![TensorType::f32(self.shape.clone().checked("shape")?)])
    }

    fn gradient(&self, _: &mut Gradient<'_>) -> Result<()> {
        // No input: the chain ends here.
        Ok(())
    }

    fn gpu(&self, r: &mut Recorder<'_>) -> Result<()> {
        let e = Elements::of(r.y(0).elements());
        fill(r, e, 0, self.value);
        Ok(())
    }

    fn interchange(&self, d: &mut Interchange<'_>) -> Result<Vec<Term>> {
        Ok(vec![d.numbers(Tensor::f32(self.shape.clone(), vec![self.value; self.shape.elements()])?)])
    }
}

/// Records that the elements of output 0 that `e` counts, from element `start`, become `value`.
pub(crate) fn fill(r: &mut Recorder<'_>, e: Elements, start: usize, value: f32) {
    let params = [("n", e.n()), ("start", e.count(start).into()), ("value", Word::F32(value))];
    let grid = e.grid(r);
    r.dispatch(e.kernel(&FILL, &[]), &[], &[Buffer::Output(0)], &params, grid);
}

impl Cpu for Fill {
    fn cpu<T: Real>(&self, args: &mut CpuArgs<'_, T>) {
        let value = T::from_f32(self.value);
        for_each_chunk(args.y(0), |_, y| y.fill(value));
    }
}

/// The list's entry.
pub static DECLARATIONS: &[Declaration] = &[Declaration {
    name: "fill",
    no_gradient: None,
    shaders: &[&FILL],
    cases,
}];

fn cases() -> Vec<Case> {
    vec![
        Case::new("scalar", Fill { value: 1.0, shape: Shape::new([]) }, vec![]),
        Case::new("scalar_workgroups", Fill { value: -0.3, shape: [3, 5, 7, 5].into() }, vec![]),
        Case::new("vec4_workgroups", Fill { value: 1.0 / 128.0, shape: [4, 19, 16].into() }, vec![]),
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
    fn bad_shapes_are_refused() {
        assert!(Fill { value: 0.0, shape: [1 << 20, 1 << 20].into() }.infer(&[]).is_err());
        assert!(Fill { value: 0.0, shape: [2].into() }.infer(&[TensorType::f32([2])]).is_err());
    }
}
