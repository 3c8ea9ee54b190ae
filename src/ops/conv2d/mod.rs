//! Two-dimensional convolution (cross-correlation, as all engines of the field call it) and its gradients by input and weights:
//! three ops on one geometry.

mod cases;
mod depthwise;
mod grad_input;
mod grad_weight;
mod winograd;

pub use grad_input::Conv2dGradInput;
pub use grad_weight::Conv2dGradWeight;

use super::gemm::{self, Gemm};
use super::matmul::{self, finish_rows, refuse_fused, refuse_fused_export};
use super::reduce::{Reduce, Reduction};
use crate::error::{Error, Result};
use crate::linalg::{self, Geometry, Im2col, Matrix, Real, column_block_rows, for_each_chunk_with};
use crate::op::Buffer::{Input, Output};
use crate::op::{
    Activation, Bound, ConstValue, Cost, Cpu, CpuArgs, Declaration, Gradient, Interchange, Op, Recorder, Source, StandardNode,
    Term, Word, moved_bytes, shader,
};
use crate::tensor::{Shape, TensorType, Window2d};
use std::sync::Arc;

/// `y[n, h, w, o] = activation(bias[o] + residual[n, h, w, o] + sum over k_h, k_w, i of x[n, h * s + k_h * d - pad, w * s + k_w * d - pad, i] w[k_h, k_w, i, o])`.
///
/// Inputs: `x` [n, h_in, w_in, c_in], `w` [k_h, k_w, c_in / groups, c_out], optionally `bias` `[c_out]`, and, fused,
/// a `residual` like the output, [n, h_out, w_out, c_out]. With groups, output channels of a group see only the group's input channels.
#[derive(Clone, Debug, PartialEq)]
pub struct Conv2d {
    /// Window, stride, dilation, padding. `ceil` doesn't apply.
    pub window: Window2d,
    /// Number of groups; must divide `c_in` and `c_out`.
    pub groups: usize,
    residual: bool,
    activation: Option<Activation>,
}

impl Conv2d {
    /// A convolution without residual and activation.
    pub fn new(window: Window2d, groups: usize) -> Self {
        Conv2d { window, groups, residual: false, activation: None }
    }
}

/// A node of the standard's for a convolution or a transposed one, without its padding.
fn standard(op_type: &'static str, window: &Window2d, groups: usize, inputs: [Term; 2]) -> StandardNode {
    StandardNode::fixed(op_type, &inputs)
        .sizes("kernel_shape", &window.kernel)
        .sizes("strides", &window.stride)
        .sizes("dilations", &window.dilation)
        .int("group", groups as i64)
}

/// What the three ops ask of a convolution's sizes.
impl Geometry {
    /// Checks the window and the groups against an input and the number of output channels.
    fn new(window: &Window2d, groups: usize, x: &Shape, c_out: usize) -> Result<Geometry> {
        let [n, h_in, w_in, c_in] = x.nhwc("input shape")?;
        if window.ceil {
            return Err(Error::invalid("ceil mode", true, "false; a convolution has no windows cut short"));
        }
        if groups == 0 || !c_in.is_multiple_of(groups) || !c_out.is_multiple_of(groups) {
            return Err(Error::invalid(
                "groups",
                groups,
                format!("a divisor of the {c_in} input and {c_out} output channels"),
            ));
        }
        let placed = window.place(h_in, w_in)?;
        Ok(Geometry {
            n,
            input: [h_in, w_in],
            c_in,
            output: [placed.h_out, placed.w_out],
            c_out,
            kernel: window.kernel,
            stride: window.stride,
            dilation: window.dilation,
            pad: [placed.pad_top, placed.pad_left],
            groups,
        })
    }

    fn x_shape(&self) -> [usize; 4] {
        [self.n, self.input[0], self.input[1], self.c_in]
    }

    fn y_shape(&self) -> [usize; 4] {
        [self.n, self.output[0], self.output[1], self.c_out]
    }

    fn w_shape(&self) -> [usize; 4] {
        [self.kernel[0], self.kernel[1], self.c_in / self.groups, self.c_out]
    }

    /// Pixels of a window.
    fn n_taps(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    /// Elements summed for an output, in a group.
    fn taps(&self) -> usize {
        self.n_taps() * (self.c_in / self.groups)
    }

    fn output_pixels(&self) -> usize {
        self.n * self.output[0] * self.output[1]
    }

    /// Floating-point operations of each of the three ops.
    fn flops(&self) -> u64 {
        2 * self.output_pixels() as u64 * self.taps() as u64 * self.c_out as u64
    }

    fn im2col(&self, group: usize) -> Im2col {
        let c_group = self.c_in / self.groups;
        Im2col {
            input: self.input,
            output: self.output,
            kernel: self.kernel,
            stride: self.stride,
            dilation: self.dilation,
            pad: self.pad,
            c_in: self.c_in,
            c0: group * c_group,
            c_group,
        }
    }

    /// The part of the weights that belongs to a group, as a matrix of [`Geometry::taps`] rows.
    fn w_group<'a, T>(&self, w: &'a [T], group: usize) -> Matrix<'a, T> {
        Matrix::new(&w[group * (self.c_out / self.groups)..], self.c_out)
    }

    /// Fields of an operand's `Params`, all of them; an operand declares those that it uses.
    fn params(&self, names: &[&'static str]) -> Vec<(&'static str, Word)> {
        let value = |name: &str| match name {
            "h_in" => self.input[0],
            "w_in" => self.input[1],
            "c_in" => self.c_in,
            "c_in_group" => self.c_in / self.groups,
            "h_out" => self.output[0],
            "w_out" => self.output[1],
            "c_out" => self.c_out,
            "c_out_group" => self.c_out / self.groups,
            "k_h" => self.kernel[0],
            "k_w" => self.kernel[1],
            "stride_h" => self.stride[0],
            "stride_w" => self.stride[1],
            "dilation_h" => self.dilation[0],
            "dilation_w" => self.dilation[1],
            "pad_top" => self.pad[0],
            "pad_left" => self.pad[1],
            other => unreachable!("no such parameter: {other}"),
        };
        names.iter().map(|&name| (name, value(name).into())).collect()
    }

    /// Strides as constants of an operand that would divide by them in its main loop.
    fn stride_consts(&self) -> Vec<(&'static str, ConstValue)> {
        vec![("STRIDE_H", self.stride[0].into()), ("STRIDE_W", self.stride[1].into())]
    }

    /// Whether the channels of a group of the input, and of the output, come in fours.
    fn vectors(&self) -> (bool, bool) {
        let fours = |c: usize| (c / self.groups).is_multiple_of(4);
        (fours(self.c_in), fours(self.c_out))
    }
}

impl Conv2d {
    fn geometry(&self, inputs: &[TensorType]) -> Result<Geometry> {
        let [k_h, k_w, c_in_group, c_out] = inputs[1].shape.nhwc("weight shape")?;
        let g = Geometry::new(&self.window, self.groups, &inputs[0].shape, c_out)?;
        let want = g.w_shape();
        if [k_h, k_w, c_in_group, c_out] != want {
            let layout = "[k_h, k_w, c_in / groups, c_out]";
            return Err(Error::invalid("weight shape", &inputs[1].shape, format!("{} {layout}", Shape::from(want))));
        }
        Ok(g)
    }

    fn geometry_unchecked(&self, inputs: &[TensorType]) -> Geometry {
        self.geometry(inputs).unwrap_or_default()
    }
}

impl Op for Conv2d {
    fn name(&self) -> &'static str {
        "conv2d"
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>> {
        let has_bias = matmul::expect_inputs(inputs, ["x", "w"], self.residual)?;
        let g = self.geometry(inputs)?;
        if has_bias {
            inputs[2].expect("bias", &TensorType::f32([g.c_out]))?;
        }
        let y = TensorType::f32(Shape::from(g.y_shape()).checked("output shape")?);
        if self.residual {
            inputs[inputs.len() - 1].expect("residual", &y)?;
        }
        Ok(vec![y])
    }

    fn gradient(&self, g: &mut Gradient<'_>) -> Result<()> {
        refuse_fused(self.residual, self.activation)?;
        let (dy, x, w) = (g.dy0()?, g.x(0), g.x(1));
        let x_shape = g.type_of(x).shape;
        if g.wants(0) {
            let op = Conv2dGradInput::new(self.window, self.groups, x_shape.clone());
            let dx = g.node(op, &[dy, w])?;
            g.set(0, dx);
        }
        if g.wants(1) {
            let dw = g.node(Conv2dGradWeight { window: self.window, groups: self.groups }, &[x, dy])?;
            g.set(1, dw);
        }
        if g.n_inputs() == 3 && g.wants(2) {
            let db = g.node(Reduce { reduction: Reduction::Sum, axes: 0..3 }, &[dy])?;
            g.set(2, db);
        }
        Ok(())
    }

    fn gpu(&self, r: &mut Recorder<'_>) -> Result<()> {
        let g = self.geometry(r.inputs())?;
        let (c_in_4, c_out_4) = g.vectors();
        let size = [g.output_pixels(), g.c_out / g.groups, g.taps()];
        let epilogue = matmul::epilogue(r.inputs().len(), self.residual, self.activation);
        if g.is_pointwise() {
            matmul::product(r, size, false, false).record(r, Input(0), Input(1), epilogue, Output(0));
            return Ok(());
        }
        if depthwise::applies(&g) {
            depthwise::forward(r, &g, epilogue);
            return Ok(());
        }
        if winograd::is_faster(r, &g) {
            winograd::record(r, &g, false, epilogue);
            return Ok(());
        }
        // What lies under a row of a window is a run in memory.
        let runs = !c_in_4 && g.groups == 1 && g.dilation[1] == 1 && g.kernel[1] * g.c_in >= 4;
        let gemm = Gemm {
            operand: &CONV2D,
            consts: vec![("RUNS", runs.into())],
            size,
            phases: Vec::new(),
            joined: 1,
            k_digit: if runs { g.kernel[1] * g.c_in } else { g.c_in / g.groups },
            groups: g.groups,
            batch: false,
            vector: [c_in_4, c_out_4, c_out_4],
            params: g.params(&[
                "h_in", "w_in", "c_in", "c_in_group", "h_out", "w_out", "c_out", "k_w", "stride_h", "stride_w", "dilation_h",
                "dilation_w", "pad_top", "pad_left",
            ]),
        };
        gemm.record(r, Input(0), Input(1), epilogue, Output(0));
        Ok(())
    }

    fn cost(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Cost {
        Cost { flops: self.geometry_unchecked(inputs).flops(), bytes: moved_bytes(inputs, outputs) }
    }

    fn error_bound(&self, b: &Bound<'_>) -> Result<Vec<Vec<f64>>> {
        let linear = Conv2d { activation: None, ..self.clone() };
        let g = self.geometry(b.types)?;
        let bounds = if winograd::is_possible(&g) {
            let has_bias = matmul::has_bias(b.inputs.len(), self.residual);
            let bias = has_bias.then(|| b.inputs[2].real());
            let residual = self.residual.then(|| b.inputs[b.inputs.len() - 1].real());
            let added = |i: usize| bias.map_or(0.0, |b| b[i % g.c_out].abs()) + residual.map_or(0.0, |r| r[i].abs());
            vec![winograd::error_bound(b, &g, false, added)]
        } else {
            b.sum_of_products(&linear)?
        };
        gemm::error_bound(b, bounds, &linear, self.activation)
    }

    fn with_residual(&self) -> Option<Arc<dyn Op>> {
        let free = !self.residual && self.activation.is_none();
        free.then(|| Arc::new(Conv2d { residual: true, ..self.clone() }) as Arc<dyn Op>)
    }

    fn with_activation(&self, activation: Activation) -> Option<Arc<dyn Op>> {
        self.activation.is_none().then(|| Arc::new(Conv2d { activation: Some(activation), ..self.clone() }) as Arc<dyn Op>)
    }

    fn has_channel_weights(&self) -> bool {
        self.activation.is_none() && !self.residual
    }

    fn interchange(&self, d: &mut Interchange<'_>) -> Result<Vec<Term>> {
        refuse_fused_export(self.residual, self.activation)?;
        let x = d.channels_first(d.x(0));
        let w = d.transpose(d.x(1), [3, 2, 0, 1]);
        let [_, h_in, w_in, _] = d.input_type(0).shape.nhwc("x")?;
        let p = self.window.place(h_in, w_in)?;
        let mut node = standard("Conv", &self.window, self.groups, [x, w]);
        node = node.sizes("pads", &[p.pad_top, p.pad_left, p.pad_bottom, p.pad_right]);
        if d.n_inputs() > 2 {
            node = node.input(d.x(2));
        }
        let [n, h_out, w_out, c_out] = d.output_type(0).shape.nhwc("y")?;
        let y = d.add(node, [n, c_out, h_out, w_out]);
        Ok(vec![d.channels_last(y)])
    }
}

impl Cpu for Conv2d {
    fn cpu_single(&self, args: &mut CpuArgs<'_, f32>) {
        let g = self.geometry_unchecked(args.input_types());
        let bias = matmul::has_bias(args.n_inputs(), self.residual).then(|| args.x(2));
        let residual = self.residual.then(|| args.x(args.n_inputs() - 1));
        let epilogue = linalg::Epilogue { bias, residual, finish: self.activation.map(|f| f.f32) };
        linalg::conv2d(&g, args.x(0), args.x(1), epilogue, args.y(0));
    }

    /// Blocks of output rows, each: windows to columns, one product a group, bias and activation while the block is in cache.
    fn cpu<T: Real>(&self, args: &mut CpuArgs<'_, T>) {
        let g = self.geometry_unchecked(args.input_types());
        let (x, w) = (args.x(0), args.x(1));
        let bias = matmul::has_bias(args.n_inputs(), self.residual).then(|| args.x(2));
        let residual = self.residual.then(|| args.x(args.n_inputs() - 1));
        let [h_out, w_out] = g.output;
        let (taps, c_out_group) = (g.taps(), g.c_out / g.groups);
        let image_len = g.input[0] * g.input[1] * g.c_in;
        let rows = column_block_rows(w_out * taps).min(h_out);
        for_each_chunk_with(args.y(0), rows * w_out * g.c_out, Vec::new, |columns, block, y| {
            let first = block * rows;
            let n_rows = y.len() / (w_out * g.c_out);
            for group in 0..g.groups {
                let im2col = g.im2col(group);
                let size = [n_rows * w_out, c_out_group, taps];
                let a = if im2col.is_identity() {
                    Matrix::new(&x[first * w_out * g.c_in + im2col.c0..], g.c_in)
                } else {
                    columns.resize(rows * w_out * taps, T::ZERO);
                    for (i, columns) in columns.chunks_mut(w_out * taps).take(n_rows).enumerate() {
                        let (image, h) = ((first + i) / h_out, (first + i) % h_out);
                        im2col.gather(&x[image * image_len..][..image_len], h, columns);
                    }
                    Matrix::new(columns.as_slice(), taps)
                };
                linalg::matmul(size, a, g.w_group(w, group), &mut y[group * c_out_group..], g.c_out, false, false);
            }
            let residual = residual.map(|r| &r[first * w_out * g.c_out..][..y.len()]);
            finish_rows(y, g.c_out, bias, residual, self.activation);
        });
    }
}

static CONV2D: Source = shader!("operand/conv2d");
static GRAD_INPUT: Source = shader!("operand/conv2d_grad_input");
static GRAD_WEIGHT: Source = shader!("operand/conv2d_grad_weight");

/// The list's entries.
pub static DECLARATIONS: &[Declaration] = &[
    Declaration {
        name: "conv2d",
        no_gradient: None,
        shaders: &[
            &CONV2D, &matmul::OPERAND, &depthwise::TILE, &depthwise::FORWARD, &winograd::INPUT, &winograd::WEIGHT, &winograd::OUTPUT,
        ],
        cases: cases::conv2d,
    },
    Declaration {
        name: "conv2d_grad_input",
        no_gradient: None,
        shaders: &[
            &GRAD_INPUT, &matmul::OPERAND, &depthwise::TILE, &depthwise::GRAD_INPUT, &winograd::INPUT, &winograd::WEIGHT,
            &winograd::OUTPUT,
        ],
        cases: cases::grad_input,
    },
    Declaration {
        name: "conv2d_grad_weight",
        no_gradient: None,
        shaders: &[&GRAD_WEIGHT, &matmul::OPERAND, &depthwise::TILE, &depthwise::GRAD_WEIGHT],
        cases: cases::grad_weight,
    },
];
