//! Images at another height and width, each element of a side a fixed mean of some of the input's: resizing, adaptive pooling, and
//! padding with what the image has.

use super::pool_window::{WORKGROUP, vector};
use crate::error::{Error, Result};
use crate::linalg::{Real, for_each_row};
use crate::op::{
    Bound, Buffer, Case, Cost, Cpu, CpuArgs, Declaration, GRID, Gradient, Interchange, Kernel, MAX_ITERATIONS, Op, Recorder,
    Source, StandardNode, Term, Word, expect_inputs, moved_bytes, sample, shader,
};
use crate::ops::elements::QUOTIENT;
use crate::tensor::{DType, Tensor, TensorType};

/// Axes that are resampled, in WGSL.
static RESAMPLE: Source = shader!("shared/resample");
static SHADER: Source = shader!("resample2d");
static GRAD_SHADER: Source = shader!("resample2d_grad");

/// Where the elements of a resized side lie on the input's, from `in` elements to `out`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Corners {
    /// Elements are areas, and the sides' ends meet: `(o + 1/2) in / out - 1/2`. Keras and TensorFlow 2, PyTorch's
    /// `align_corners=False`, ONNX's `half_pixel`.
    #[default]
    HalfPixel,
    /// Elements are points, and the first and the last ones meet: `o (in - 1) / (out - 1)`, 0 for one element. PyTorch's
    /// `align_corners=True`.
    Align,
    /// The first elements meet: `o in / out`. PyTorch's mode `nearest`, TensorFlow 1, ONNX's `asymmetric`.
    Asymmetric,
}

/// What the elements of a resampled side are.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Sampling {
    /// The nearest element of the input: halves are rounded up, but all are rounded down for [`Corners::Asymmetric`], as PyTorch's
    /// `nearest` does. [`Corners::HalfPixel`] is its `nearest-exact`.
    Nearest(Corners),
    /// On the line between the two nearest elements; beyond the outermost ones, those.
    Linear(Corners),
    /// The mean of elements `floor(o in / out) ..` to before `ceil((o + 1) in / out)`: adaptive average pooling.
    Mean,
    /// The input from element `before` on, the outermost elements repeated around it. `[height, width]`
    Edge {
        /// Elements above and on the left.
        before: [usize; 2],
    },
    /// The input from element `before` on, mirrored at the outermost elements, which aren't repeated. `[height, width]`
    Reflect {
        /// Elements above and on the left.
        before: [usize; 2],
    },
}

/// Images of another size. Input `x [n, h_in, w_in, c]` f32, output `y [n, size[0], size[1], c]` f32.
///
/// Fails for a size of 0; for sizes whose product on a side is 2^30 or more; for an edge or a mirror image that lacks something of the
/// input; for a mirror image that is larger than the input; for a mean of more than 32,768 elements.
#[derive(Clone, PartialEq, Debug)]
pub struct Resample2d {
    /// Height and width of the output.
    pub size: [usize; 2],
    /// What its elements are.
    pub sampling: Sampling,
}

/// Gradient of [`Resample2d`], its transpose. Input `dy [n, size[0], size[1], c]` f32, output `dx [n, h_in, w_in, c]`.
#[derive(Clone, PartialEq, Debug)]
pub struct Resample2dGrad {
    /// Height and width of the resampling's input.
    pub size: [usize; 2],
    /// As of the resampling.
    pub sampling: Sampling,
}

/// A side, in whole numbers: `shared/resample.wgsl` says what they mean.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Axis {
    len: usize,
    out: usize,
    kind: Kind,
    a: i64,
    b: i64,
    d: i64,
}

/// The numbers are those of the shader.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Nearest = 0,
    Linear = 1,
    Mean = 2,
    Reflect = 3,
}

/// Elements of one side that an element of the other is made of, each with its share.
type Taps = Vec<(usize, f64)>;

impl Axis {
    fn new(sampling: Sampling, axis: usize, len: usize, out: usize) -> Result<Axis> {
        let side = ["height", "width"][axis];
        if out == 0 {
            return Err(Error::invalid(format!("size ({side})"), 0, "at least 1"));
        }
        // Positions times twice a length must fit in an i32.
        if (len + 1).saturating_mul(out.saturating_add(1)) >= 1 << 30 {
            return Err(Error::invalid(format!("size ({side})"), out, format!("a product with the input's {len} below 2^30")));
        }
        let (i, o) = (len as i64, out as i64);
        let of_corners = |corners: Corners, rounded: bool| {
            // Where an element lies, (a o + b) / d; half an element further if it is then rounded down.
            let (a, b, d) = match corners {
                Corners::HalfPixel => (2 * i, if rounded { i } else { i - o }, 2 * o),
                Corners::Align if len == 1 || out == 1 => (1, 0, o.max(1)),
                Corners::Align => (2 * (i - 1), if rounded { o - 1 } else { 0 }, 2 * (o - 1)),
                Corners::Asymmetric => (i, 0, o),
            };
            (a, b, d)
        };
        let padded = |what: &str, before: [usize; 2], most: usize| {
            let before = before[axis];
            let after = out.checked_sub(len.saturating_add(before));
            match after {
                Some(after) if before.max(after) <= most => Ok(before as i64),
                _ => Err(Error::invalid(
                    format!("{what} ({side})"),
                    format!("{before} before the input's {len}, of {out}"),
                    format!("all of the input, and at most {most} on a side"),
                )),
            }
        };
        let (kind, (a, b, d)) = match sampling {
            Sampling::Nearest(corners) => (Kind::Nearest, of_corners(corners, true)),
            Sampling::Linear(corners) => (Kind::Linear, of_corners(corners, false)),
            Sampling::Mean => (Kind::Mean, (i, 0, o)),
            Sampling::Edge { before } => (Kind::Nearest, (1, -padded("edge", before, out)?, 1)),
            Sampling::Reflect { before } => (Kind::Reflect, (1, padded("reflection", before, len - 1)?, 1)),
        };
        Ok(Axis { len, out, kind, a, b, d })
    }

    /// What element `o` of the output is made of.
    fn taps(&self, o: usize) -> Taps {
        let (o, last) = (o as i64, self.len as i64 - 1);
        let at = self.a * o + self.b;
        match self.kind {
            Kind::Nearest => vec![(at.div_euclid(self.d).clamp(0, last) as usize, 1.0)],
            Kind::Linear => {
                let at = at.clamp(0, last * self.d);
                let share = |i: i64| (i as usize, (self.d - (at - i * self.d).abs()) as f64 / self.d as f64);
                let first = at / self.d;
                (first..=last.min(first + 1)).map(share).filter(|&(_, share)| share > 0.0).collect()
            }
            Kind::Mean => {
                let (first, end) = (at / self.d, (self.a * (o + 1) + self.d - 1) / self.d);
                (first..end).map(|i| (i as usize, 1.0 / (end - first) as f64)).collect()
            }
            Kind::Reflect => {
                let from_first = (o - self.b).abs();
                vec![(from_first.min(2 * last - from_first) as usize, 1.0)]
            }
        }
    }

    /// Whether each element of the input comes equally often, one after the other.
    fn repeats(&self) -> bool {
        let times = self.out / self.len;
        self.out.is_multiple_of(self.len) && (0..self.out).all(|o| self.taps(o) == [(o / times, 1.0)])
    }

    /// Which element of the input each of the output is.
    fn sources(&self) -> Vec<i64> {
        self.forward().iter().flatten().map(|&(i, _)| i as i64).collect()
    }

    /// `[out, len]`: the shares of the input's elements in each of the output.
    fn matrix(&self) -> Result<Tensor> {
        let mut shares = vec![0.0; self.out * self.len];
        for (row, taps) in shares.chunks_exact_mut(self.len).zip(self.forward()) {
            taps.into_iter().for_each(|(i, share)| row[i] = share as f32);
        }
        Tensor::f32([self.out, self.len], shares)
    }

    /// The most elements of the input that one of the output is made of, or a few more.
    fn most_taps(&self) -> usize {
        match self.kind {
            Kind::Nearest | Kind::Reflect => 1,
            Kind::Linear => 2,
            Kind::Mean => (self.len / self.out + 2).min(self.len),
        }
    }

    /// The number of elements of the output that have element `i` of the input, as the shader finds them.
    fn n_users(&self, i: usize) -> usize {
        let (i, out) = (i as i64, self.out as i64);
        let ceil = |n: i64| (n.max(0) + self.a - 1) / self.a;
        let least = match self.kind {
            Kind::Nearest => i * self.d - self.b,
            Kind::Linear => (i - 1) * self.d - self.b + 1,
            Kind::Mean => i * self.d - self.a + 1,
            Kind::Reflect => return 3,
        };
        let first = if i == 0 { 0 } else { ceil(least) };
        let end = if i + 1 == self.len as i64 { out } else { ceil((i + 1) * self.d - self.b).min(out) };
        (end - first).max(0) as usize
    }

    /// The most elements of the output that have one of the input, or a few more.
    fn most_users(&self) -> usize {
        let inner = match self.kind {
            Kind::Nearest => self.d,
            Kind::Linear => 2 * self.d,
            Kind::Mean => self.d + self.a,
            Kind::Reflect => 2,
        };
        let outermost = self.n_users(0).max(self.n_users(self.len - 1));
        outermost.max((inner / self.a) as usize + 1).min(self.out.max(3))
    }

    /// What each element of the output is made of.
    fn forward(&self) -> Vec<Taps> {
        (0..self.out).map(|o| self.taps(o)).collect()
    }

    /// What each element of the input is part of.
    fn backward(&self) -> Vec<Taps> {
        let mut all = vec![Taps::new(); self.len];
        for (o, taps) in self.forward().into_iter().enumerate() {
            taps.into_iter().for_each(|(i, share)| all[i].push((o, share)));
        }
        all
    }
}


/// Images `[n, c, h, w]` resized in the standard's words.
fn resize(d: &mut Interchange<'_>, x: Term, size: [usize; 4], how: impl Fn(StandardNode) -> StandardNode) -> Result<Term> {
    // Engines round the products of lengths and factors down, and the batch has no number that could be given instead.
    let dims = d.shape(x).dims();
    let factors = [[1, 1], [1, 1], [dims[2], size[2]], [dims[3], size[3]]].map(|[from, to]| {
        let factor = to as f32 / from as f32;
        if f64::from(factor) * (from as f64) < to as f64 { factor.next_up() } else { factor }
    });
    let factors = d.numbers(Tensor::f32([4], factors.to_vec())?);
    let node = StandardNode::fixed("Resize", &[x]).no_input().input(factors);
    Ok(d.add(how(node), size))
}

/// Both sides.
fn axes(sampling: Sampling, input: [usize; 2], output: [usize; 2]) -> Result<[Axis; 2]> {
    Ok([Axis::new(sampling, 0, input[0], output[0])?, Axis::new(sampling, 1, input[1], output[1])?])
}

/// [`axes`] of what infer has accepted.
fn checked_axes(sampling: Sampling, input: [usize; 2], output: [usize; 2]) -> [Axis; 2] {
    axes(sampling, input, output).unwrap_or_else(|e| unreachable!("infer accepted these sizes: {e}"))
}

fn check_iterations([h, w]: [usize; 2]) -> Result<()> {
    if h * (w + 1) <= MAX_ITERATIONS {
        return Ok(());
    }
    Err(Error::invalid(
        "elements that an element is the mean of",
        format!("{h} by {w}"),
        format!("at most {MAX_ITERATIONS} in all; resample in several steps"),
    ))
}

/// Roundings of a sum of products with weights: the quotient of two converted numbers has 1 + 1 + 2.5, its product 1, on both sides.
fn depth([h, w]: [usize; 2]) -> usize {
    h + w + 12
}

fn record(r: &mut Recorder<'_>, source: &'static Source, [h, w]: [Axis; 2]) {
    let c = r.y(0).shape.last();
    let (width, real, _) = vector(c);
    let n_vecs = r.y(0).elements() / width;
    // Their products fit in an i32, as `Axis::new` checks.
    let int = |v: i64| Word::I32(v as i32);
    let params = [
        ("n_vecs", n_vecs.into()),
        ("c_vecs", (c / width).into()),
        ("h_in", int(h.len as i64)),
        ("w_in", int(w.len as i64)),
        ("h_out", int(h.out as i64)),
        ("w_out", int(w.out as i64)),
        ("a_h", int(h.a)),
        ("a_w", int(w.a)),
        ("b_h", int(h.b)),
        ("b_w", int(w.b)),
        ("d_h", int(h.d)),
        ("d_w", int(w.d)),
    ];
    let kernel = Kernel::new(source, &[&GRID, &QUOTIENT, &RESAMPLE]).set("Real", real).set("KIND", h.kind as u32);
    let grid = r.linear_grid(n_vecs.div_ceil(WORKGROUP));
    r.dispatch(kernel, &[Buffer::Input(0)], &[Buffer::Output(0)], &params, grid);
}

/// `y[n, h, w, c] = sum over the taps of h and w of their shares times x`.
fn apply<T: Real>(x: &[T], w_in: usize, h_in: usize, [h_taps, w_taps]: [&[Taps]; 2], c: usize, y: &mut [T]) {
    for_each_row(y, w_taps.len() * c, |row, y| {
        let (image, h) = (row / h_taps.len(), row % h_taps.len());
        if let [(h, 1.0)] = h_taps[h][..] {
            // Rows that are copied, or whose pixels are.
            let x = &x[(image * h_in + h) * w_in * c..][..w_in * c];
            for (y, taps) in y.chunks_exact_mut(c).zip(w_taps) {
                if let [(w, 1.0)] = taps[..] {
                    y.copy_from_slice(&x[w * c..][..c]);
                    continue;
                }
                y.fill(T::ZERO);
                for &(w, share) in taps {
                    let share = T::from_f64(share);
                    y.iter_mut().zip(&x[w * c..]).for_each(|(y, &x)| *y += share * x);
                }
            }
            return;
        }
        y.fill(T::ZERO);
        for &(h, h_share) in &h_taps[h] {
            let x = &x[(image * h_in + h) * w_in * c..][..w_in * c];
            for (y, taps) in y.chunks_exact_mut(c).zip(w_taps) {
                for &(w, w_share) in taps {
                    let share = T::from_f64(h_share * w_share);
                    y.iter_mut().zip(&x[w * c..]).for_each(|(y, &x)| *y += share * x);
                }
            }
        }
    });
}

impl Op for Resample2d {
    fn name(&self) -> &'static str {
        "resample2d"
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>> {
        expect_inputs(inputs, &["x"])?;
        inputs[0].expect_dtype("x", DType::F32)?;
        let [n, h_in, w_in, c] = inputs[0].shape.clone().checked("x")?.nhwc("x")?;
        let axes = axes(self.sampling, [h_in, w_in], self.size)?;
        let y = TensorType::f32([n, self.size[0], self.size[1], c]);
        y.shape.clone().checked("output")?;
        check_iterations(axes.map(|axis| axis.most_taps()))?;
        Ok(vec![y])
    }

    fn gradient(&self, g: &mut Gradient<'_>) -> Result<()> {
        let [_, h_in, w_in, _] = g.type_of(g.x(0)).shape.nhwc("x")?;
        let dy = g.dy0()?;
        let dx = g.node(Resample2dGrad { size: [h_in, w_in], sampling: self.sampling }, &[dy])?;
        g.set(0, dx);
        Ok(())
    }

    fn gpu(&self, r: &mut Recorder<'_>) -> Result<()> {
        let [_, h_in, w_in, _] = r.x(0).shape.nhwc("x")?;
        let axes = axes(self.sampling, [h_in, w_in], self.size)?;
        r.declare_depth(depth(axes.map(|axis| axis.most_taps())));
        record(r, &SHADER, axes);
        Ok(())
    }

    fn cost(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Cost {
        cost(self.sampling, &inputs[0], &outputs[0], inputs, outputs)
    }

    fn error_bound(&self, b: &Bound<'_>) -> Result<Vec<Vec<f64>>> {
        match self.sampling {
            Sampling::Linear(_) | Sampling::Mean => b.sum_of_products(self),
            Sampling::Nearest(_) | Sampling::Edge { .. } | Sampling::Reflect { .. } => Ok(b.exact()),
        }
    }

    fn interchange(&self, d: &mut Interchange<'_>) -> Result<Vec<Term>> {
        let [n, h_in, w_in, c] = d.input_type(0).shape.nhwc("x")?;
        let [h, w] = checked_axes(self.sampling, [h_in, w_in], self.size);
        let x = d.channels_first(d.x(0));
        let size = [n, c, h.out, w.out];
        let y = match self.sampling {
            Sampling::Linear(corners) => {
                let corners = match corners {
                    Corners::HalfPixel => "half_pixel",
                    Corners::Align => "align_corners",
                    Corners::Asymmetric => "asymmetric",
                };
                resize(d, x, size, |node| node.text("mode", "linear").text("coordinate_transformation_mode", corners))?
            }
            // Pixels repeated equally often: engines can't but agree, whose places are floats.
            Sampling::Nearest(_) if h.repeats() && w.repeats() => resize(d, x, size, |node| {
                let node = node.text("mode", "nearest").text("nearest_mode", "floor");
                node.text("coordinate_transformation_mode", "asymmetric")
            })?,
            Sampling::Edge { before: [top, left] } | Sampling::Reflect { before: [top, left] } => {
                let mode = if matches!(self.sampling, Sampling::Edge { .. }) { "edge" } else { "reflect" };
                let pads = d.integers([top, left, h.out - h.len - top, w.out - w.len - left].map(|pad| pad as i64));
                let axes = d.axes([2, 3]);
                d.add(StandardNode::free("Pad", &[x, pads]).no_input().input(axes).text("mode", mode), size)
            }
            Sampling::Nearest(_) => {
                let rows = d.integers(h.sources());
                let y = d.add(StandardNode::free("Gather", &[x, rows]).axis("axis", 2), [n, c, h.out, w_in]);
                let columns = d.integers(w.sources());
                d.add(StandardNode::free("Gather", &[y, columns]).axis("axis", 3), size)
            }
            Sampling::Mean => {
                let columns = d.numbers(w.matrix()?);
                let columns = d.transpose(columns, [1, 0]);
                let y = d.add(StandardNode::fixed("MatMul", &[x, columns]), [n, c, h_in, w.out]);
                let rows = d.numbers(h.matrix()?);
                d.add(StandardNode::fixed("MatMul", &[rows, y]), size)
            }
        };
        Ok(vec![d.channels_last(y)])
    }
}

/// A multiplication and an addition for each tap of each element of the resampled `y`.
fn cost(sampling: Sampling, x: &TensorType, y: &TensorType, inputs: &[TensorType], outputs: &[TensorType]) -> Cost {
    let bytes = moved_bytes(inputs, outputs);
    let (Ok([_, h_in, w_in, _]), Ok([n, h_out, w_out, c])) = (x.shape.nhwc("x"), y.shape.nhwc("y")) else {
        return Cost { flops: 0, bytes };
    };
    if !matches!(sampling, Sampling::Linear(_) | Sampling::Mean) {
        return Cost { flops: 0, bytes };
    }
    let taps = axes(sampling, [h_in, w_in], [h_out, w_out]).map(|axes| axes.map(|axis| axis.most_taps() as u64));
    let [h, w] = taps.unwrap_or_default();
    Cost { flops: 2 * (n * h_out * w_out * c) as u64 * h * w, bytes }
}

impl Cpu for Resample2d {
    fn cpu<T: Real>(&self, args: &mut CpuArgs<'_, T>) {
        let &[_, h_in, w_in, c] = args.x_shape(0).dims() else { unreachable!("infer checks the rank") };
        let [h, w] = checked_axes(self.sampling, [h_in, w_in], self.size).map(|axis| axis.forward());
        apply(args.x(0), w_in, h_in, [&h, &w], c, args.y(0));
    }
}

impl Op for Resample2dGrad {
    fn name(&self) -> &'static str {
        "resample2d_grad"
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>> {
        expect_inputs(inputs, &["dy"])?;
        inputs[0].expect_dtype("dy", DType::F32)?;
        let [n, h_out, w_out, c] = inputs[0].shape.clone().checked("dy")?.nhwc("dy")?;
        let dx = TensorType::f32([n, self.size[0], self.size[1], c]);
        dx.shape.clone().checked("input of the resampling")?;
        check_iterations(axes(self.sampling, self.size, [h_out, w_out])?.map(|axis| axis.most_users()))?;
        Ok(vec![dx])
    }

    fn gradient(&self, g: &mut Gradient<'_>) -> Result<()> {
        let [_, h_out, w_out, _] = g.type_of(g.x(0)).shape.nhwc("dy")?;
        let d = g.dy0()?;
        let grad = g.node(Resample2d { size: [h_out, w_out], sampling: self.sampling }, &[d])?;
        g.set(0, grad);
        Ok(())
    }

    fn gpu(&self, r: &mut Recorder<'_>) -> Result<()> {
        let [_, h_out, w_out, _] = r.x(0).shape.nhwc("dy")?;
        let axes = axes(self.sampling, self.size, [h_out, w_out])?;
        r.declare_depth(depth(axes.map(|axis| axis.most_users())));
        record(r, &GRAD_SHADER, axes);
        Ok(())
    }

    fn cost(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Cost {
        cost(self.sampling, &outputs[0], &inputs[0], inputs, outputs)
    }

    fn error_bound(&self, b: &Bound<'_>) -> Result<Vec<Vec<f64>>> {
        b.sum_of_products(self)
    }
}

impl Cpu for Resample2dGrad {
    fn cpu<T: Real>(&self, args: &mut CpuArgs<'_, T>) {
        let &[_, h_out, w_out, c] = args.x_shape(0).dims() else { unreachable!("infer checks the rank") };
        let [h, w] = checked_axes(self.sampling, self.size, [h_out, w_out]).map(|axis| axis.backward());
        apply(args.x(0), w_out, h_out, [&h, &w], c, args.y(0));
    }
}

/// The list's entries.
pub static DECLARATIONS: &[Declaration] = &[
    Declaration { name: "resample2d", no_gradient: None, shaders: &[&SHADER], cases },
    Declaration { name: "resample2d_grad", no_gradient: None, shaders: &[&GRAD_SHADER], cases: grad_cases },
];

/// Resamplings that both ops are tested on: name, shape, output size, sampling.
fn resamplings() -> Vec<(&'static str, [usize; 4], [usize; 2], Sampling)> {
    use Corners::{Align, Asymmetric, HalfPixel};
    use Sampling::{Edge, Linear, Mean, Nearest, Reflect};
    vec![
        ("one", [1, 1, 1, 1], [1, 1], Linear(HalfPixel)),
        ("nearest_times_2", [2, 5, 7, 8], [10, 14], Nearest(HalfPixel)),
        ("nearest_up_odd", [1, 5, 3, 3], [13, 7], Nearest(HalfPixel)),
        ("nearest_down", [2, 13, 9, 4], [5, 4], Nearest(HalfPixel)),
        ("nearest_asymmetric", [1, 5, 7, 3], [13, 3], Nearest(Asymmetric)),
        ("nearest_align", [1, 5, 7, 4], [9, 4], Nearest(Align)),
        ("nearest_align_to_one", [2, 5, 1, 5], [1, 4], Nearest(Align)),
        ("linear_times_2", [2, 6, 5, 8], [12, 10], Linear(HalfPixel)),
        ("linear_times_8", [1, 3, 2, 4], [24, 16], Linear(HalfPixel)),
        ("linear_up_odd", [2, 5, 3, 3], [13, 8], Linear(HalfPixel)),
        ("linear_down", [1, 13, 17, 4], [5, 4], Linear(HalfPixel)),
        ("linear_align", [2, 5, 7, 4], [13, 16], Linear(Align)),
        ("linear_align_down", [1, 9, 11, 3], [4, 5], Linear(Align)),
        ("linear_align_one", [1, 1, 6, 4], [5, 1], Linear(Align)),
        ("linear_asymmetric", [1, 5, 7, 5], [8, 4], Linear(Asymmetric)),
        ("linear_from_one", [2, 1, 1, 3], [4, 5], Linear(HalfPixel)),
        ("mean_to_7", [1, 13, 9, 8], [7, 7], Mean),
        ("mean_to_6", [2, 9, 15, 3], [6, 6], Mean),
        ("mean_up", [1, 5, 3, 4], [7, 6], Mean),
        ("mean_all", [2, 11, 5, 4], [1, 1], Mean),
        ("edge", [2, 4, 3, 4], [9, 6], Edge { before: [2, 0] }),
        ("edge_far", [1, 1, 2, 3], [5, 12], Edge { before: [4, 3] }),
        ("reflect", [2, 5, 4, 4], [9, 10], Reflect { before: [1, 3] }),
        ("reflect_odd", [1, 3, 6, 3], [7, 7], Reflect { before: [2, 0] }),
        ("none", [1, 3, 1, 4], [3, 1], Reflect { before: [0, 0] }),
        ("random_26", [3, 17, 23, 5], [29, 19], Linear(HalfPixel)),
    ]
}

fn data(i: usize, shape: impl Into<crate::tensor::Shape>) -> crate::tensor::Tensor {
    if i.is_multiple_of(2) { sample::normal(i as u64, shape) } else { sample::positive(i as u64, shape) }
}

fn cases() -> Vec<Case> {
    let case = |(i, (name, shape, size, sampling))| Case::new(name, Resample2d { size, sampling }, vec![data(i, shape)]);
    resamplings().into_iter().enumerate().map(case).collect()
}

fn grad_cases() -> Vec<Case> {
    let case = |(i, (name, [n, h, w, c], size, sampling)): (usize, (_, [usize; 4], [usize; 2], _))| {
        Case::new(name, Resample2dGrad { size: [h, w], sampling }, vec![data(i + 1, [n, size[0], size[1], c])])
    };
    resamplings().into_iter().enumerate().map(case).collect()
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

    /// The transposed lists, which the oracle follows, against the formulas of the shader.
    #[test]
    fn users_are_found_again() {
        use Corners::{Align, Asymmetric, HalfPixel};
        let of = |corners| [Sampling::Nearest(corners), Sampling::Linear(corners)];
        let mut samplings = [Align, Asymmetric, HalfPixel].map(of).concat();
        samplings.extend([Sampling::Mean, Sampling::Edge { before: [2, 2] }, Sampling::Edge { before: [0, 0] }]);
        for sampling in samplings {
            for (len, out) in (1..14).flat_map(|len| (1..40).map(move |out| (len, out))) {
                let Ok(axis) = Axis::new(sampling, 0, len, out) else { continue };
                let forward = axis.forward();
                assert!(forward.iter().all(|taps| (1..=axis.most_taps()).contains(&taps.len())), "{axis:?}");
                for (i, users) in axis.backward().iter().enumerate() {
                    assert_eq!(users.len(), axis.n_users(i), "{axis:?} {i}");
                    assert!(users.len() <= axis.most_users(), "{axis:?} {i}");
                    assert!(users.windows(2).all(|pair| pair[0].0 + 1 == pair[1].0), "{axis:?} {i}");
                }
                let sums = forward.iter().map(|taps| taps.iter().map(|tap| tap.1).sum::<f64>());
                assert!(sums.into_iter().all(|sum| (sum - 1.0).abs() < 1e-12), "{axis:?}");
            }
        }
    }

    /// A row resampled, by hand.
    fn row(x: &[f64], out: usize, sampling: Sampling) -> Vec<f64> {
        let op = Resample2d { size: [1, out], sampling };
        run_f64(&op, &[TensorType::f32([1, 1, x.len(), 1])], &[View::Real(x)]).unwrap()[0].real().to_vec()
    }

    #[test]
    fn rows_by_hand() {
        use Corners::{Align, Asymmetric, HalfPixel};
        let x = [0.0, 10.0, 20.0, 40.0];
        assert_eq!(row(&x, 8, Sampling::Nearest(HalfPixel)), [0.0, 0.0, 10.0, 10.0, 20.0, 20.0, 40.0, 40.0]);
        assert_eq!(row(&x, 3, Sampling::Nearest(HalfPixel)), [0.0, 20.0, 40.0]);
        assert_eq!(row(&x, 3, Sampling::Nearest(Asymmetric)), [0.0, 10.0, 20.0]);
        assert_eq!(row(&x[..2], 4, Sampling::Linear(HalfPixel)), [0.0, 2.5, 7.5, 10.0]);
        assert_eq!(row(&x, 7, Sampling::Linear(Align)), [0.0, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0]);
        assert_eq!(row(&x, 8, Sampling::Linear(Asymmetric)), [0.0, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 40.0]);
        assert_eq!(row(&x, 3, Sampling::Mean), [5.0, 15.0, 30.0]);
        assert_eq!(row(&x, 7, Sampling::Edge { before: [0, 2] }), [0.0, 0.0, 0.0, 10.0, 20.0, 40.0, 40.0]);
        assert_eq!(row(&x, 8, Sampling::Reflect { before: [0, 3] }), [40.0, 20.0, 10.0, 0.0, 10.0, 20.0, 40.0, 20.0]);
    }

    /// Sampled values don't spread what they don't use: a neighbour of no share may be a NaN.
    #[test]
    fn shares_of_0_take_no_part() {
        let y = row(&[1.0, f64::NAN, 3.0], 5, Sampling::Linear(Corners::Align));
        assert_eq!((y[0], y[4]), (1.0, 3.0));
        assert!(y[1..4].iter().all(|y| y.is_nan()));
    }

    #[test]
    fn bad_arguments_are_refused() {
        let infer = |size, sampling| Resample2d { size, sampling }.infer(&[TensorType::f32([1, 4, 5, 2])]);
        let error = |size, sampling| infer(size, sampling).unwrap_err().to_string();
        assert!(error([0, 3], Sampling::Mean).contains("size (height): got 0"));
        assert!(error([3, 1 << 29], Sampling::Mean).contains("size (width)"));
        assert!(error([9, 8], Sampling::Reflect { before: [4, 2] }).contains("at most 3 on a side"));
        assert!(error([6, 4], Sampling::Edge { before: [1, 0] }).contains("all of the input"));
        assert!(error([6, 5], Sampling::Edge { before: [3, 0] }).contains("all of the input"));
        let large = Resample2d { size: [1, 1], sampling: Sampling::Mean }.infer(&[TensorType::f32([1, 200, 200, 1])]);
        assert!(large.unwrap_err().to_string().contains("200 by 200"));
        assert!(Resample2d { size: [1, 1], sampling: Sampling::Mean }.infer(&[TensorType::f32([4, 5])]).is_err());
        let grad = |size, dy: [usize; 4]| Resample2dGrad { size, sampling: Sampling::Mean }.infer(&[TensorType::f32(dy)]);
        assert!(grad([4, 0], [1, 2, 2, 1]).is_err() && grad([4, 4], [1, 300, 300, 1]).is_ok());
        assert!(Resample2dGrad { size: [1, 1], sampling: Sampling::Mean }.infer(&[TensorType::f32([1, 200, 200, 1])]).is_err());
    }
}
