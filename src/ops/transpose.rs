//! Axes in another order.

use crate::error::{Error, Result};
use crate::linalg::Real;
use crate::op::{
    Case, Cost, Cpu, CpuArgs, Declaration, Gradient, Interchange, Op, Recorder, Term, expect_inputs, moved_bytes, sample,
};
use crate::ops::strided::{Axis, COPY_STRIDED, StridedCopy, expect_words, special, strides, words};
use crate::tensor::{Shape, TensorType};

/// f32 or u32 of any shape to the same whose axis `i` is the input's axis `permutation[i]`, as NumPy's `transpose` and PyTorch's `permute`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Transpose {
    /// Each axis of the input once. At most 6 runs of axes that stay neighbours.
    pub permutation: Vec<usize>,
}

impl Transpose {
    /// By this permutation.
    pub fn new(permutation: impl Into<Vec<usize>>) -> Transpose {
        Transpose { permutation: permutation.into() }
    }

    fn shape(&self, x: &Shape) -> Shape {
        self.permutation.iter().map(|&axis| x.dims()[axis]).collect::<Vec<_>>().into()
    }

    fn copy(&self, x: &Shape) -> StridedCopy {
        let y = self.shape(x);
        let [from, to] = [x, &y].map(strides);
        let axis = |(i, &axis): (usize, &usize)| Axis::whole(y.dims()[i], from[axis] as isize, to[i]);
        StridedCopy::new(self.permutation.iter().enumerate().map(axis), 0, 0, 0)
    }

    fn inverse(&self) -> Transpose {
        let mut permutation = vec![0; self.permutation.len()];
        self.permutation.iter().enumerate().for_each(|(i, &axis)| permutation[axis] = i);
        Transpose { permutation }
    }
}

impl Op for Transpose {
    fn name(&self) -> &'static str {
        "transpose"
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>> {
        expect_inputs(inputs, &["x"])?;
        expect_words("x", &inputs[0])?;
        let shape = inputs[0].shape.clone().checked("x")?;
        let mut sorted = self.permutation.clone();
        sorted.sort_unstable();
        if !sorted.into_iter().eq(0..shape.rank()) {
            let want = format!("each of the {} axes of {shape} once", shape.rank());
            return Err(Error::invalid("permutation", format!("{:?}", self.permutation), want));
        }
        self.copy(&shape).checked()?;
        Ok(vec![TensorType::new(inputs[0].dtype, self.shape(&shape))])
    }

    fn gradient(&self, g: &mut Gradient<'_>) -> Result<()> {
        let dy = g.dy0()?;
        let dx = g.node(self.inverse(), &[dy])?;
        g.set(0, dx);
        Ok(())
    }

    fn gpu(&self, r: &mut Recorder<'_>) -> Result<()> {
        self.copy(&r.x(0).shape).record(r, 0);
        Ok(())
    }

    fn cost(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Cost {
        Cost { flops: 0, bytes: moved_bytes(inputs, outputs) }
    }

    fn interchange(&self, d: &mut Interchange<'_>) -> Result<Vec<Term>> {
        Ok(vec![d.transpose(d.x(0), self.permutation.clone())])
    }
}

impl Cpu for Transpose {
    fn cpu<T: Real>(&self, args: &mut CpuArgs<'_, T>) {
        self.copy(args.x_shape(0)).run(args);
    }
}

/// The list's entry.
pub static DECLARATIONS: &[Declaration] =
    &[Declaration { name: "transpose", no_gradient: None, shaders: &[&COPY_STRIDED], cases }];

fn cases() -> Vec<Case> {
    let op = |permutation: &[usize]| Transpose::new(permutation);
    vec![
        Case::new("scalar", op(&[]), vec![sample::normal(1, [])]),
        Case::new("one", op(&[1, 0]), vec![sample::normal(2, [1, 1])]),
        Case::new("identity", op(&[0, 1, 2]), vec![sample::normal(3, [3, 5, 7])]),
        Case::new("matrix", op(&[1, 0]), vec![sample::normal(4, [37, 23])]),
        Case::new("matrix_of_4", op(&[1, 0]), vec![sample::normal(5, [16, 20])]),
        Case::new("nchw_to_nhwc", op(&[0, 2, 3, 1]), vec![sample::normal(6, [2, 3, 7, 9])]),
        Case::new("nhwc_to_nchw", op(&[0, 3, 1, 2]), vec![sample::normal(7, [2, 7, 5, 8])]),
        Case::new("rows_and_columns", op(&[0, 2, 1, 3]), vec![sample::normal(8, [2, 7, 5, 12])]),
        Case::new("channel_shuffle", op(&[0, 2, 1]), vec![sample::normal(9, [35, 3, 4])]),
        Case::new("depth_to_space", op(&[0, 1, 3, 2, 4, 5]), vec![sample::normal(10, [2, 3, 4, 2, 2, 3])]),
        Case::new("reversed_6", op(&[5, 4, 3, 2, 1, 0]), vec![sample::normal(11, [2, 3, 2, 4, 3, 2])]),
        Case::new("special", op(&[1, 0]), vec![special([5, 7])]).differentiable_by(&[]),
        Case::new("words", op(&[1, 2, 0]), vec![words(13, [3, 5, 2])]),
        Case::new("random_12", op(&[3, 0, 2, 1]), vec![sample::normal(12, [5, 3, 8, 11])]),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::{View, run_f64};
    use crate::ops::check;
    use crate::tensor::DType;

    #[test]
    fn cases_hold() {
        check::declarations(DECLARATIONS);
    }

    #[test]
    fn axes_by_hand() {
        let x: Vec<f64> = (0..24).map(f64::from).collect();
        let op = Transpose::new([2, 0, 1]);
        let types = [TensorType::f32([2, 3, 4])];
        assert_eq!(op.infer(&types).unwrap(), [TensorType::f32([4, 2, 3])]);
        let y = run_f64(&op, &types, &[View::Real(&x)]).unwrap();
        for i in 0..24 {
            let (a, b, c) = (i / 6, i / 3 % 2, i % 3);
            assert_eq!(y[0].real()[i], x[b * 12 + c * 4 + a]);
        }
        assert_eq!(op.inverse(), Transpose::new([1, 2, 0]));
    }

    #[test]
    fn bad_permutations_are_refused() {
        let x = [TensorType::f32([2, 3, 4])];
        for permutation in [&[0, 1][..], &[0, 1, 1], &[0, 1, 3], &[0, 1, 2, 3]] {
            let message = Transpose::new(permutation).infer(&x).unwrap_err().to_string();
            assert!(message.contains("permutation: got") && message.contains("[2, 3, 4]"), "{message}");
        }
        assert!(Transpose::new([0]).infer(&[TensorType::new(DType::U8, [3])]).is_err());
        assert!(Transpose::new([6, 5, 4, 3, 2, 1, 0]).infer(&[TensorType::f32([2; 7])]).is_err());
    }
}
