//! View: the same memory, or a contiguous piece of it, under another shape. Reshape and flatten are views; so is a parameter in
//! its page.

use crate::error::{Error, Result};
use crate::op::{
    Case, Cost, Cpu, CpuArgs, Declaration, Gradient, Interchange, Op, PAGE_ALIGNMENT, Recorder, Term, expect_inputs,
    no_counterpart, sample,
};
use crate::linalg::Real;
use crate::tensor::{Shape, TensorType};

/// The elements `offset ..` of the input, as many as `shape` has. No work: input and output are the same memory.
#[derive(Clone, PartialEq, Debug)]
pub struct View {
    /// First element.
    pub offset: usize,
    /// Shape of the output.
    pub shape: Shape,
}

impl View {
    /// All elements under another shape.
    pub fn reshape(shape: impl Into<Shape>) -> View {
        View { offset: 0, shape: shape.into() }
    }
}

impl Op for View {
    fn name(&self) -> &'static str {
        "view"
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>> {
        expect_inputs(inputs, &["x"])?;
        let shape = self.shape.clone().checked("shape")?;
        if !self.offset.is_multiple_of(PAGE_ALIGNMENT) {
            return Err(Error::invalid("offset", self.offset, format!("a multiple of {PAGE_ALIGNMENT} elements")));
        }
        let (have, want) = (inputs[0].elements(), shape.elements());
        if self.offset.checked_add(want).is_none_or(|end| end > have) {
            return Err(Error::invalid(
                "shape",
                format!("{shape} at element {}", self.offset),
                format!("at most the {have} elements of input {}", inputs[0]),
            ));
        }
        Ok(vec![TensorType { dtype: inputs[0].dtype, shape }])
    }

    fn gradient(&self, g: &mut Gradient<'_>) -> Result<()> {
        let x = g.type_of(g.x(0));
        if self.shape.elements() != x.elements() {
            return Err(Error::invalid("gradient", "a loss that depends on a piece of a tensor", "views of whole tensors"));
        }
        let dy = g.dy0()?;
        let dx = g.node(View::reshape(x.shape), &[dy])?;
        g.set(0, dx);
        Ok(())
    }

    fn gpu(&self, _: &mut Recorder<'_>) -> Result<()> {
        Ok(())
    }

    fn cost(&self, _: &[TensorType], _: &[TensorType]) -> Cost {
        Cost::default()
    }

    fn view(&self) -> Option<usize> {
        Some(self.offset)
    }

    fn interchange(&self, d: &mut Interchange<'_>) -> Result<Vec<Term>> {
        if self.shape.elements() != d.input_type(0).elements() {
            return Err(no_counterpart("view of a piece of a tensor"));
        }
        Ok(vec![d.reshape(d.x(0), self.shape.clone())])
    }
}

impl Cpu for View {
    fn cpu<T: Real>(&self, _: &mut CpuArgs<'_, T>) {}
}

/// The list's entry.
pub static DECLARATIONS: &[Declaration] = &[Declaration { name: "view", no_gradient: None, shaders: &[], cases }];

fn cases() -> Vec<Case> {
    vec![
        Case::new("flatten", View::reshape([2, 12]), vec![sample::normal(1, [2, 2, 2, 3])]),
        Case::new("split_dimension", View::reshape([3, 5, 1, 1]), vec![sample::normal(2, [15])]),
    ]
}
