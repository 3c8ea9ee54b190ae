//! Gradient of a convolution by its input (a transposed convolution).

use super::{Conv2d, Conv2dGradWeight, GRAD_INPUT, depthwise, standard, winograd};
use crate::error::{Error, Result};
use crate::linalg::{self, Geometry, Matrix, Real, for_each_chunk_with};
use crate::op::Buffer::{Input, Output};
use crate::op::{
    Activation, Bound, Cost, Cpu, CpuArgs, Gradient, Interchange, MainLoop, Op, Recorder, Term, moved_bytes,
};
use crate::ops::gemm::{self, Gemm, Phase};
use crate::ops::matmul::{self, finish_rows, refuse_fused, refuse_fused_export};
use crate::ops::reduce::{Reduce, Reduction};
use crate::tensor::{Shape, TensorType, Window2d};
use std::sync::Arc;

/// `dx` [n, h_in, w_in, c_in] from `dy` [n, h_out, w_out, c_out] and `w` [k_h, k_w, c_in / groups, c_out]: each `dy` times the
/// weights, added to the inputs that its window covered. Optionally, a `bias` `[c_in]`, which is added to each pixel: a transposed
/// convolution's.
#[derive(Clone, Debug, PartialEq)]
pub struct Conv2dGradInput {
    /// The convolution's window.
    pub window: Window2d,
    /// The convolution's groups.
    pub groups: usize,
    /// Shape of the convolution's input: several have the same output.
    pub x_shape: Shape,
    activation: Option<Activation>,
}

impl Conv2dGradInput {
    /// The gradient by an input of this shape, without activation.
    pub fn new(window: Window2d, groups: usize, x_shape: impl Into<Shape>) -> Self {
        Conv2dGradInput { window, groups, x_shape: x_shape.into(), activation: None }
    }

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

/// The pixels of `dx` along an axis that lie at the same place between two windows, and the taps that reach them.
struct AxisPhase {
    /// The first pixel, and how many there are.
    first: usize,
    len: usize,
    /// The first tap, how many there are, and from tap to tap.
    tap: i32,
    taps: usize,
    tap_step: usize,
    /// Where the first tap of the first pixel lies in `dy`, and by how much the next tap's is before that.
    at: i32,
    back: usize,
}

impl AxisPhase {
    /// The phases of an axis: pixel `i` is reached by tap `k` if `i + pad - k * dilation` is a multiple of the stride.
    fn all(g: &Geometry, axis: usize) -> Vec<AxisPhase> {
        let (stride, dilation, pad, kernel) = (g.stride[axis], g.dilation[axis], g.pad[axis], g.kernel[axis]);
        let phase = |first: usize| {
            let reached = |k: usize| (first + pad) as i64 - (k * dilation) as i64;
            let taps: Vec<usize> = (0..kernel).filter(|&k| reached(k).rem_euclid(stride as i64) == 0).collect();
            let tap = taps.first().copied().unwrap_or(0);
            let tap_step = taps.get(1).map_or(0, |second| second - tap);
            AxisPhase {
                first,
                len: (g.input[axis] - first).div_ceil(stride),
                tap: tap as i32,
                taps: taps.len(),
                tap_step,
                at: reached(tap).div_euclid(stride as i64) as i32,
                back: tap_step * dilation / stride,
            }
        };
        (0..stride.min(g.input[axis])).map(phase).collect()
    }

    /// All phases at once, without dilation: `len` places between two windows, and the taps that any phase has. The first tap is the
    /// first phase's, which may lack it; those of the next phases follow it.
    fn joined(g: &Geometry, axis: usize) -> AxisPhase {
        let (stride, pad) = (g.stride[axis], g.pad[axis]);
        let at = pad.div_ceil(stride);
        let tap = pad as i32 - (at * stride) as i32;
        AxisPhase {
            first: 0,
            len: g.input[axis] / stride,
            tap,
            taps: ((g.kernel[axis] as i32 - tap) as usize).div_ceil(stride),
            tap_step: stride,
            at: at as i32,
            back: 1,
        }
    }
}

/// What a phase needs, of both axes.
fn phase(g: &Geometry, v: &AxisPhase, h: &AxisPhase) -> Phase {
    let tap_len = g.c_in / g.groups * g.c_out;
    Phase {
        rows: g.n * v.len * h.len,
        k: v.taps * h.taps * (g.c_out / g.groups),
        params: vec![
            ("phase_h", v.first.into()),
            ("phase_w", h.first.into()),
            ("rows", v.len.into()),
            ("columns", h.len.into()),
            ("taps_w", h.taps.max(1).into()),
            ("first_h", (v.at as u32).into()),
            ("first_w", (h.at as u32).into()),
            ("back_h", v.back.into()),
            ("back_w", h.back.into()),
            ("tap_h", (v.tap as u32).into()),
            ("tap_w", (h.tap as u32).into()),
            ("tap_down", (v.tap_step * g.kernel[1] * tap_len).into()),
            ("tap_right", (h.tap_step * tap_len).into()),
        ],
    }
}

/// The products that make up the gradient, one for each phase of both axes.
fn phases(g: &Geometry) -> Vec<Phase> {
    let (rows, columns) = (AxisPhase::all(g, 0), AxisPhase::all(g, 1));
    rows.iter().flat_map(|v| columns.iter().map(move |h| phase(g, v, h))).collect()
}

/// Most columns that all phases may have together to be made at once: those of the narrowest tile.
const MOST_JOINED: usize = 16;

/// Whether one product makes all phases: where the channels are few, all of them together fill a tile that each phase would leave
/// mostly empty, and `dy` is read once. What a phase's missing taps add are zeros, at most as many as fill up the kernel to a multiple
/// of the stride; so a NaN or an infinity in `dy` makes NaN of the pixels that these would reach, too.
fn is_joined(r: &Recorder<'_>, g: &Geometry) -> bool {
    let n_phases = g.stride[0] * g.stride[1];
    r.profile().main_loop == MainLoop::Tiled
        && n_phases > 1
        && n_phases * g.c_in <= MOST_JOINED
        && g.groups == 1
        && g.dilation == [1, 1]
        && (0..2).all(|axis| g.input[axis].is_multiple_of(g.stride[axis]))
}

impl Op for Conv2dGradInput {
    fn name(&self) -> &'static str {
        "conv2d_grad_input"
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>> {
        let has_bias = matmul::expect_inputs(inputs, ["dy", "w"], false)?;
        let g = self.geometry(inputs)?;
        if has_bias {
            inputs[2].expect("bias", &TensorType::f32([g.c_in]))?;
        }
        Ok(vec![TensorType::f32(g.x_shape())])
    }

    /// It is linear in both inputs, and the transpose of a convolution.
    fn gradient(&self, g: &mut Gradient<'_>) -> Result<()> {
        refuse_fused(false, self.activation)?;
        let (d, dy, w) = (g.dy0()?, g.x(0), g.x(1));
        if g.wants(0) {
            let grad = g.node(Conv2d::new(self.window, self.groups), &[d, w])?;
            g.set(0, grad);
        }
        if g.wants(1) {
            let grad = g.node(Conv2dGradWeight { window: self.window, groups: self.groups }, &[d, dy])?;
            g.set(1, grad);
        }
        if g.n_inputs() == 3 && g.wants(2) {
            let grad = g.node(Reduce { reduction: Reduction::Sum, axes: 0..3 }, &[d])?;
            g.set(2, grad);
        }
        Ok(())
    }

    fn gpu(&self, r: &mut Recorder<'_>) -> Result<()> {
        let g = self.geometry(r.inputs())?;
        let (c_in_4, c_out_4) = g.vectors();
        let size = [g.n * g.input[0] * g.input[1], g.c_in / g.groups, g.c_out / g.groups];
        let epilogue = matmul::epilogue(r.inputs().len(), false, self.activation);
        if g.is_pointwise() {
            matmul::product(r, size, false, true).record(r, Input(0), Input(1), epilogue, Output(0));
            return Ok(());
        }
        // The kernel for strips of pixels has no epilogue, which depthwise networks have no use for.
        if depthwise::applies(&g) && epilogue.is_none() {
            depthwise::grad_input(r, &g);
            return Ok(());
        }
        let gradient = winograd::gradient(&g);
        if winograd::is_possible(&g) && winograd::is_faster(r, &gradient) {
            winograd::record(r, &gradient, true, epilogue);
            return Ok(());
        }
        let is_joined = is_joined(r, &g);
        let joined = if is_joined { g.stride[0] * g.stride[1] } else { 1 };
        let phases =
            if is_joined { vec![phase(&g, &AxisPhase::joined(&g, 0), &AxisPhase::joined(&g, 1))] } else { phases(&g) };
        let gemm = Gemm {
            operand: &GRAD_INPUT,
            consts: vec![("PHASES", (phases.len() * joined > 1).into())],
            size: [size[0] / joined, size[1] * joined, phases.iter().map(|p| p.k).max().unwrap_or(0)],
            phases,
            joined,
            k_digit: g.c_out / g.groups,
            groups: g.groups,
            batch: false,
            vector: [c_out_4, c_out_4, c_in_4],
            params: g.params(&[
                "h_in", "w_in", "h_out", "w_out", "c_in_group", "c_out", "c_out_group", "k_h", "k_w", "stride_h", "stride_w",
            ]),
        };
        gemm.record(r, Input(0), Input(1), epilogue, Output(0));
        Ok(())
    }

    fn cost(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Cost {
        Cost { flops: self.geometry(inputs).unwrap_or_default().flops(), bytes: moved_bytes(inputs, outputs) }
    }

    fn error_bound(&self, b: &Bound<'_>) -> Result<Vec<Vec<f64>>> {
        let g = self.geometry(b.types)?;
        let linear = Conv2dGradInput { activation: None, ..self.clone() };
        let bounds = if winograd::is_possible(&g) {
            let bias = b.inputs.get(2).map(|bias| bias.real());
            vec![winograd::error_bound(b, &winograd::gradient(&g), true, |i| bias.map_or(0.0, |b| b[i % g.c_in].abs()))]
        } else {
            b.sum_of_products(&linear)?
        };
        gemm::error_bound(b, bounds, &linear, self.activation)
    }

    fn with_activation(&self, activation: Activation) -> Option<Arc<dyn Op>> {
        let free = self.activation.is_none();
        free.then(|| Arc::new(Conv2dGradInput { activation: Some(activation), ..self.clone() }) as Arc<dyn Op>)
    }

    /// As a forward op it is a transposed convolution.
    fn interchange(&self, d: &mut Interchange<'_>) -> Result<Vec<Term>> {
        refuse_fused_export(false, self.activation)?;
        let dy = d.channels_first(d.x(0));
        let w = d.transpose(d.x(1), [3, 2, 0, 1]);
        let [n, h_in, w_in, c_in] = d.output_type(0).shape.nhwc("dx")?;
        let p = self.window.place(h_in, w_in)?;
        // What lies below and on the right of the last windows.
        let rest = |len: usize, axis: usize, out: usize, pads: usize| {
            let Window2d { kernel, stride, dilation, .. } = &self.window;
            len + pads - ((out - 1) * stride[axis] + dilation[axis] * (kernel[axis] - 1) + 1)
        };
        let rest = [rest(h_in, 0, p.h_out, p.pad_top + p.pad_bottom), rest(w_in, 1, p.w_out, p.pad_left + p.pad_right)];
        let mut node = standard("ConvTranspose", &self.window, self.groups, [dy, w]).sizes("output_padding", &rest);
        node = node.sizes("pads", &[p.pad_top, p.pad_left, p.pad_bottom, p.pad_right]);
        if d.n_inputs() > 2 {
            node = node.input(d.x(2));
        }
        let dx = d.add(node, [n, c_in, h_in, w_in]);
        Ok(vec![d.channels_last(dx)])
    }
}

impl Cpu for Conv2dGradInput {
    fn cpu_single(&self, args: &mut CpuArgs<'_, f32>) {
        let g = self.geometry(args.input_types()).unwrap_or_default();
        let bias = (args.n_inputs() == 3).then(|| args.x(2));
        let epilogue = linalg::Epilogue { bias, residual: None, finish: self.activation.map(|f| f.f32) };
        linalg::conv2d_grad_input(&g, args.x(0), args.x(1), epilogue, args.y(0));
    }

    /// An image at a time: rows of `dy` times the transposed weights give columns, which are added to the pixels they came from.
    fn cpu<T: Real>(&self, args: &mut CpuArgs<'_, T>) {
        let g = self.geometry(args.input_types()).unwrap_or_default();
        let (dy, w) = (args.x(0), args.x(1));
        let bias = (args.n_inputs() == 3).then(|| args.x(2));
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
                    linalg::matmul(size, a, g.w_group(w, group).t(), columns, taps, false, false);
                    for (i, columns) in columns.chunks(w_out * taps).take(n_rows).enumerate() {
                        im2col.scatter_add(columns, first + i, dx);
                    }
                }
            }
            finish_rows(dx, g.c_in, bias, None, self.activation);
        });
    }
}
