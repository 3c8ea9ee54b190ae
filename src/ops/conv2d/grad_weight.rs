//! Gradient of a convolution by its weights.

use super::{Conv2d, Conv2dGradInput, GRAD_WEIGHT, depthwise};
use crate::error::{Error, Result};
use crate::linalg::{self, Geometry, Matrix, Real, column_block_rows, map_indices, matmul};
use crate::op::Buffer::{Input, Output};
use crate::op::{Bound, Cost, Cpu, CpuArgs, Gradient, Op, Recorder, expect_inputs, moved_bytes};
use crate::ops::gemm::{Epilogue, Gemm};
use crate::ops::matmul::product;
use crate::tensor::{DType, Shape, TensorType, Window2d};

/// `dw` [k_h, k_w, c_in / groups, c_out] from `x` [n, h_in, w_in, c_in] and `dy` [n, h_out, w_out, c_out]:
/// `dw[a, b, i, o] = sum over n, h, w of dy[n, h, w, o] x[n, h * s + a * d - pad, w * s + b * d - pad, i]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Conv2dGradWeight {
    /// The convolution's window.
    pub window: Window2d,
    /// The convolution's groups.
    pub groups: usize,
}

impl Conv2dGradWeight {
    fn geometry(&self, inputs: &[TensorType]) -> Result<Geometry> {
        let c_out = inputs[1].shape.nhwc("dy shape")?[3];
        let g = Geometry::new(&self.window, self.groups, &inputs[0].shape, c_out)?;
        if inputs[1].shape.dims() != g.y_shape() {
            return Err(Error::invalid("dy shape", &inputs[1].shape, Shape::from(g.y_shape())));
        }
        Ok(g)
    }
}

impl Op for Conv2dGradWeight {
    fn name(&self) -> &'static str {
        "conv2d_grad_weight"
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>> {
        expect_inputs(inputs, &["x", "dy"])?;
        inputs[0].expect_dtype("x", DType::F32)?;
        inputs[1].expect_dtype("dy", DType::F32)?;
        let g = self.geometry(inputs)?;
        Ok(vec![TensorType::f32(Shape::from(g.w_shape()).checked("weight shape")?)])
    }

    fn gradient(&self, g: &mut Gradient<'_>) -> Result<()> {
        let (d, x, dy) = (g.dy0()?, g.x(0), g.x(1));
        if g.wants(0) {
            let x_shape = g.type_of(x).shape;
            let grad = g.node(Conv2dGradInput::new(self.window, self.groups, x_shape), &[dy, d])?;
            g.set(0, grad);
        }
        if g.wants(1) {
            let grad = g.node(Conv2d::new(self.window, self.groups), &[x, d])?;
            g.set(1, grad);
        }
        Ok(())
    }

    fn gpu(&self, r: &mut Recorder<'_>) -> Result<()> {
        let g = self.geometry(r.inputs())?;
        let (c_in_4, c_out_4) = g.vectors();
        let size = [g.taps(), g.c_out / g.groups, g.output_pixels()];
        if g.is_pointwise() {
            product(r, size, true, false).record(r, Input(0), Input(1), Epilogue::default(), Output(0));
            return Ok(());
        }
        if depthwise::applies(&g) {
            depthwise::grad_weight(r, &g);
            return Ok(());
        }
        let gemm = Gemm {
            operand: &GRAD_WEIGHT,
            consts: g.stride_consts(),
            size,
            phases: Vec::new(),
            joined: 1,
            k_digit: g.output[1],
            groups: g.groups,
            batch: false,
            vector: [c_in_4, c_out_4, c_out_4],
            params: g.params(&[
                "h_in", "w_in", "c_in", "c_in_group", "h_out", "w_out", "c_out", "k_w", "dilation_h",
                "dilation_w", "pad_top", "pad_left",
            ]),
        };
        gemm.record(r, Input(0), Input(1), Epilogue::default(), Output(0));
        Ok(())
    }

    fn cost(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Cost {
        Cost { flops: self.geometry(inputs).unwrap_or_default().flops(), bytes: moved_bytes(inputs, outputs) }
    }

    fn error_bound(&self, b: &Bound<'_>) -> Result<Vec<Vec<f64>>> {
        b.sum_of_products(self)
    }
}

impl Cpu for Conv2dGradWeight {
    fn cpu_single(&self, args: &mut CpuArgs<'_, f32>) {
        let g = self.geometry(args.input_types()).unwrap_or_default();
        linalg::conv2d_grad_weight(&g, args.x(0), args.x(1), args.y(0));
    }

    /// The images are cut into a number of parts that doesn't depend on the number of threads; each part sums its own `dw`, and the
    /// parts are added in order: the same bits on any machine.
    fn cpu<T: Real>(&self, args: &mut CpuArgs<'_, T>) {
        const PARTS: usize = 16;
        const PARTS_ELEMENTS: usize = 4 << 20;
        let g = self.geometry(args.input_types()).unwrap_or_default();
        let (x, dy) = (args.x(0), args.x(1));
        let [h_out, w_out] = g.output;
        let (taps, c_out_group) = (g.taps(), g.c_out / g.groups);
        let image_len = g.input[0] * g.input[1] * g.c_in;
        let dw = args.y(0);
        let (w_len, n_rows) = (dw.len(), g.n * h_out);
        let n_parts = (PARTS_ELEMENTS / w_len.max(1)).clamp(2, PARTS).min(n_rows);
        let part_rows = n_rows.div_ceil(n_parts);
        let block = column_block_rows(w_out * taps).min(part_rows);
        let parts = map_indices(n_rows.div_ceil(part_rows), |p| {
            let mut part = vec![T::ZERO; w_len];
            let mut columns = vec![T::ZERO; block * w_out * taps];
            let end = n_rows.min((p + 1) * part_rows);
            for first in (p * part_rows..end).step_by(block) {
                let rows = block.min(end - first);
                for group in 0..g.groups {
                    let im2col = g.im2col(group);
                    let a = if im2col.is_identity() {
                        Matrix::new(&x[first * w_out * g.c_in + im2col.c0..], g.c_in)
                    } else {
                        for (i, columns) in columns.chunks_mut(w_out * taps).take(rows).enumerate() {
                            let (image, h) = ((first + i) / h_out, (first + i) % h_out);
                            im2col.gather(&x[image * image_len..][..image_len], h, columns);
                        }
                        Matrix::new(&columns, taps)
                    };
                    let b = Matrix::new(&dy[first * w_out * g.c_out + group * c_out_group..], g.c_out);
                    let size = [taps, c_out_group, rows * w_out];
                    matmul(size, a.t(), b, &mut part[group * c_out_group..], g.c_out, true, false);
                }
            }
            part
        });
        dw.fill(T::ZERO);
        for part in parts {
            for (sum, x) in dw.iter_mut().zip(part) {
                *sum += x;
            }
        }
    }
}
