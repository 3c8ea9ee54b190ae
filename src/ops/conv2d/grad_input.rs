//! Gradient of a convolution by its input (a transposed convolution).

use super::{Conv2d, Conv2dGradWeight, GRAD_INPUT};
use crate::error::{Error, Result};
use crate::linalg::{self, Geometry, Matrix, Real, for_each_chunk_with, matmul};
use crate::op::Buffer::{Input, Output};
use crate::op::{Bound, Cost, Cpu, CpuArgs, Gradient, Op, Recorder, expect_inputs, moved_bytes};
use crate::ops::gemm::Gemm;
use crate::ops::matmul::product;
use crate::tensor::{DType, Shape, TensorType, Window2d};

/// `dx` [n, h_in, w_in, c_in] from `dy` [n, h_out, w_out, c_out] and `w` [k_h, k_w, c_in / groups, c_out]: each `dy` times the
/// weights, added to the inputs that its window covered.
#[derive(Clone, Debug, PartialEq)]
pub struct Conv2dGradInput {
    /// The convolution's window.
    pub window: Window2d,
    /// The convolution's groups.
    pub groups: usize,
    /// Shape of the convolution's input: several have the same output.
    pub x_shape: Shape,
}

impl Conv2dGradInput {
    fn geometry(&self, inputs: &[TensorType]) -> Result<Geometry> {
        let c_out = inputs[0].shape.nhwc("dy shape")?[3];
        let g = Geometry::new(&self.window, self.groups, &self.x_shape.clone().checked("input shape")?, c_out)?;
        for (ty, name, want) in [(&inputs[0], "dy shape", g.y_shape()), (&inputs[1], "weight shape", g.w_shape())] {
            if ty.shape.dims() != want {
                return Err(Error::invalid(name, &ty.shape, Shape::from(want)));
            }
        }
        Ok(g)
    }
}

impl Op for Conv2dGradInput {
    fn name(&self) -> &'static str {
        "conv2d_grad_input"
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>> {
        expect_inputs(inputs, &["dy", "w"])?;
        inputs[0].expect_dtype("dy", DType::F32)?;
        inputs[1].expect_dtype("w", DType::F32)?;
        let g = self.geometry(inputs)?;
        Ok(vec![TensorType::f32(g.x_shape())])
    }

    /// It is linear in both inputs, and the transpose of a convolution.
    fn gradient(&self, g: &mut Gradient<'_>) -> Result<()> {
        let (d, dy, w) = (g.dy0()?, g.x(0), g.x(1));
        if g.wants(0) {
            let grad = g.node(Conv2d::new(self.window, self.groups), &[d, w])?;
            g.set(0, grad);
        }
        if g.wants(1) {
            let grad = g.node(Conv2dGradWeight { window: self.window, groups: self.groups }, &[d, dy])?;
            g.set(1, grad);
        }
        Ok(())
    }

    fn gpu(&self, r: &mut Recorder<'_>) -> Result<()> {
        let g = self.geometry(r.inputs())?;
        let (c_in_4, c_out_4) = g.vectors();
        let size = [g.n * g.input[0] * g.input[1], g.c_in / g.groups, g.kernel[0] * g.kernel[1] * (g.c_out / g.groups)];
        if g.is_pointwise() {
            product(size, false, true, None).record(r, Input(0), Input(1), None, Output(0));
            return Ok(());
        }
        let gemm = Gemm {
            operand: &GRAD_INPUT,
            consts: g.stride_consts(),
            size,
            groups: g.groups,
            vector: [c_out_4, c_out_4, c_in_4],
            params: g.params(&[
                "h_in", "w_in", "c_in_group", "h_out", "w_out", "c_out", "c_out_group", "k_w",
                "dilation_h", "dilation_w", "pad_top", "pad_left",
            ]),
            activation: None,
        };
        gemm.record(r, Input(0), Input(1), None, Output(0));
        Ok(())
    }

    fn cost(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Cost {
        Cost { flops: self.geometry(inputs).unwrap_or_default().flops(), bytes: moved_bytes(inputs, outputs) }
    }

    fn error_bound(&self, b: &Bound<'_>) -> Result<Vec<Vec<f64>>> {
        b.sum_of_products(self)
    }
}

impl Cpu for Conv2dGradInput {
    fn cpu_single(&self, args: &mut CpuArgs<'_, f32>) {
        let g = self.geometry(args.input_types()).unwrap_or_default();
        linalg::conv2d_grad_input(&g, args.x(0), args.x(1), args.y(0));
    }

    /// An image at a time: rows of `dy` times the transposed weights give columns, which are added to the pixels they came from.
    fn cpu<T: Real>(&self, args: &mut CpuArgs<'_, T>) {
        let g = self.geometry(args.input_types()).unwrap_or_default();
        let (dy, w) = (args.x(0), args.x(1));
        let [h_out, w_out] = g.output;
        let (taps, c_out_group) = (g.taps(), g.c_out / g.groups);
        let dy_len = h_out * w_out * g.c_out;
        let image_len = g.input[0] * g.input[1] * g.c_in;
        let rows = crate::linalg::column_block_rows(w_out * taps).min(h_out);
        for_each_chunk_with(args.y(0), image_len, Vec::new, |columns, image, dx| {
            let dy = &dy[image * dy_len..][..dy_len];
            dx.fill(T::ZERO);
            columns.resize(rows * w_out * taps, T::ZERO);
            for group in 0..g.groups {
                let im2col = g.im2col(group);
                for first in (0..h_out).step_by(rows) {
                    let n_rows = rows.min(h_out - first);
                    let a = Matrix::new(&dy[first * w_out * g.c_out + group * c_out_group..], g.c_out);
                    let size = [n_rows * w_out, taps, c_out_group];
                    matmul(size, a, g.w_group(w, group).t(), columns, taps, false, false);
                    for (i, columns) in columns.chunks(w_out * taps).take(n_rows).enumerate() {
                        im2col.scatter_add(columns, first + i, dx);
                    }
                }
            }
        });
    }
}
