//! A tensor repeated along dimensions of 1, and along new ones before its first.

use crate::error::{Error, Result};
use crate::linalg::Real;
use crate::op::{
    Case, Cost, Cpu, CpuArgs, Declaration, Gradient, Interchange, Op, Recorder, StandardNode, Term, expect_inputs, moved_bytes,
    sample,
};
use crate::ops::broadcasting::set_reduced;
use crate::ops::strided::{Axis, COPY_STRIDED, StridedCopy, expect_words, special, strides};
use crate::tensor::{Shape, TensorType};

/// f32 or u32 to the same of a shape that it meets by NumPy's rules: from the last on, its dimensions are those of the shape, or 1.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Expand {
    /// Shape of the output.
    pub shape: Shape,
}

impl Expand {
    fn copy(&self, x: &Shape) -> StridedCopy {
        let new = self.shape.rank() - x.rank();
        let [from, to] = [x, &self.shape].map(strides);
        let axes = self.shape.dims().iter().enumerate().map(|(axis, &len)| {
            let x_stride = match axis.checked_sub(new) {
                Some(i) if x.dims()[i] == len => from[i] as isize,
                _ => 0,
            };
            Axis::whole(len, x_stride, to[axis])
        });
        StridedCopy::new(axes, 0, 0, 0)
    }
}

impl Op for Expand {
    fn name(&self) -> &'static str {
        "expand"
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>> {
        expect_inputs(inputs, &["x"])?;
        expect_words("x", &inputs[0])?;
        let x = inputs[0].shape.clone().checked("x")?;
        let shape = self.shape.clone().checked("shape")?;
        let meets = x.dims().iter().rev().zip(shape.dims().iter().rev()).all(|(&d, &len)| d == len || d == 1);
        if x.rank() > shape.rank() || !meets {
            return Err(Error::invalid("x", &x, format!("a shape that is {shape} but for dimensions that are 1 or missing")));
        }
        self.copy(&x).checked()?;
        Ok(vec![TensorType::new(inputs[0].dtype, shape)])
    }

    fn gradient(&self, g: &mut Gradient<'_>) -> Result<()> {
        let dy = g.dy0()?;
        set_reduced(g, 0, dy)
    }

    fn gpu(&self, r: &mut Recorder<'_>) -> Result<()> {
        self.copy(&r.x(0).shape).record(r, 0);
        Ok(())
    }

    fn cost(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Cost {
        Cost { flops: 0, bytes: moved_bytes(inputs, outputs) }
    }

    fn interchange(&self, d: &mut Interchange<'_>) -> Result<Vec<Term>> {
        // An axis that is there already, such as that of the batch, is 1 in the shape that it meets.
        let x = d.input_type(0).shape.clone();
        let new = self.shape.rank() - x.rank();
        let dims = self.shape.dims().iter().enumerate();
        let dims: Vec<i64> = dims.map(|(i, &len)| if i >= new && x.dims()[i - new] == len { 1 } else { len as i64 }).collect();
        let shape = d.integers(dims);
        Ok(vec![d.add(StandardNode::fixed("Expand", &[d.x(0), shape]), self.shape.clone())])
    }
}

impl Cpu for Expand {
    fn cpu<T: Real>(&self, args: &mut CpuArgs<'_, T>) {
        self.copy(args.x_shape(0)).run(args);
    }
}

/// The list's entry.
pub static DECLARATIONS: &[Declaration] = &[Declaration { name: "expand", no_gradient: None, shaders: &[&COPY_STRIDED], cases }];

fn cases() -> Vec<Case> {
    let op = |shape: &[usize]| Expand { shape: shape.into() };
    vec![
        Case::new("one", op(&[1]), vec![sample::normal(1, [])]),
        Case::new("number", op(&[3, 5, 7]), vec![sample::normal(2, [1])]),
        Case::new("rows", op(&[31, 12]), vec![sample::normal(3, [12])]),
        Case::new("rows_odd", op(&[5, 3, 7]), vec![sample::normal(4, [1, 7])]),
        Case::new("columns", op(&[9, 16]), vec![sample::normal(5, [9, 1])]),
        Case::new("middle", op(&[2, 6, 3, 8]), vec![sample::normal(6, [2, 1, 3, 8])]),
        Case::new("both", op(&[3, 4, 5, 2]), vec![sample::normal(7, [4, 1, 2])]),
        Case::new("same", op(&[3, 4]), vec![sample::normal(8, [3, 4])]),
        Case::new("special", op(&[3, 8]), vec![special([8])]).differentiable_by(&[]),
        Case::new("words", op(&[3, 2, 5]), vec![sample::indices(9, 5, u32::MAX)]),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::{View, run_f64};
    use crate::ops::check;

    #[test]
    fn cases_hold() {
        check::declarations(DECLARATIONS);
    }

    #[test]
    fn by_hand() {
        let op = Expand { shape: [2, 2, 3].into() };
        let y = run_f64(&op, &[TensorType::f32([2, 1])], &[View::Real(&[1.0, 2.0])]).unwrap();
        assert_eq!(y[0].real(), [1.0, 1.0, 1.0, 2.0, 2.0, 2.0, 1.0, 1.0, 1.0, 2.0, 2.0, 2.0]);
    }

    #[test]
    fn bad_shapes_are_refused() {
        let refused = |shape: &[usize], x: &[usize]| Expand { shape: shape.into() }.infer(&[TensorType::f32(x)]).is_err();
        assert!(refused(&[3], &[2]) && refused(&[3], &[1, 3]) && refused(&[2, 1], &[2, 3]) && refused(&[2, 0], &[1]));
        assert!(refused(&[1 << 20, 1 << 20], &[1]) && !refused(&[2, 3], &[3]));
    }
}
