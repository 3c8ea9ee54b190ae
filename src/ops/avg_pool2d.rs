//! Average pooling and its gradient.

use super::max_pool2d::windows;
use super::pool_window::{Pool, WORKGROUP, padded, vector};
use crate::error::{Error, Result};
use crate::linalg::{Real, for_each_row};
use crate::op::{
    Bound, Buffer, Case, Cost, Cpu, CpuArgs, Declaration, Gradient, Interchange, MAX_ITERATIONS, Op, Recorder, Source, Term,
    expect_inputs, moved_bytes, sample, shader,
};
use crate::tensor::{DType, Padding, Shape, TensorType, Window2d};

static SHADER: Source = shader!("avg_pool2d");
static GRAD_SHADER: Source = shader!("avg_pool2d_grad");

/// Mean of each window. Input `x [n, h_in, w_in, c]` f32, output `y [n, h_out, w_out, c]` f32.
///
/// Fails for a window that [`Window2d::place`] refuses, for padding as large as the window, for a window without any element, and
/// for one of more than 32,768 rows or columns.
#[derive(Clone, PartialEq, Debug)]
pub struct AvgPool2d {
    /// The window.
    pub window: Window2d,
    /// Whether the mean counts padding as zeros (PyTorch's default) or leaves it out (Keras's and ONNX's). What a last window of
    /// ceil mode has beyond the padding is never counted (PyTorch's rule).
    pub count_include_pad: bool,
}

/// Gradient of [`AvgPool2d`]: spreads each element of `dy` evenly over its window. Input `dy [n, h_out, w_out, c]` f32, output
/// `dx [n, h_in, w_in, c]`.
#[derive(Clone, PartialEq, Debug)]
pub struct AvgPool2dGrad {
    /// The window.
    pub window: Window2d,
    /// As of the pooling.
    pub count_include_pad: bool,
    /// Height of the pooling's input.
    pub h_in: usize,
    /// Width of the pooling's input.
    pub w_in: usize,
}

impl Op for AvgPool2d {
    fn name(&self) -> &'static str {
        "avg_pool2d"
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>> {
        expect_inputs(inputs, &["x"])?;
        inputs[0].expect_dtype("x", DType::F32)?;
        let [n, h_in, w_in, c] = inputs[0].shape.clone().checked("x")?.nhwc("x")?;
        let pool = Pool::place(&self.window, h_in, w_in)?;
        if pool.iterations() > MAX_ITERATIONS {
            if pool.separated().iter().any(|pass| pass.iterations() > MAX_ITERATIONS) {
                let kernel = format!("{:?} on {h_in} by {w_in}", self.window.kernel);
                return Err(Error::invalid("kernel", kernel, format!("at most {} rows and columns", MAX_ITERATIONS / 2)));
            }
            Shape::from([n, h_in, pool.w.out, c]).checked("pooled rows")?;
        }
        let y = TensorType::f32([n, pool.h.out, pool.w.out, c]);
        y.shape.clone().checked("output")?;
        Ok(vec![y])
    }

    fn gradient(&self, g: &mut Gradient<'_>) -> Result<()> {
        let [_, h_in, w_in, _] = g.type_of(g.x(0)).shape.nhwc("x")?;
        let dy = g.dy0()?;
        let grad = AvgPool2dGrad { window: self.window, count_include_pad: self.count_include_pad, h_in, w_in };
        let dx = g.node(grad, &[dy])?;
        g.set(0, dx);
        Ok(())
    }

    fn gpu(&self, r: &mut Recorder<'_>) -> Result<()> {
        let [n, h_in, w_in, c] = r.x(0).shape.nhwc("x")?;
        let pool = Pool::place(&self.window, h_in, w_in)?;
        let (width, real, _) = vector(c);
        let pass = |r: &mut Recorder<'_>, pool: &Pool, from: Buffer, to: Buffer| {
            let n_vecs = n * pool.h.out * pool.w.out * c / width;
            r.dispatch(
                pool.kernel(&SHADER, &[]).set("Real", real),
                &[from],
                &[to],
                &pool.params(n_vecs, c / width, self.count_include_pad),
                r.linear_grid(n_vecs.div_ceil(WORKGROUP)),
            );
            // Sums of rows, then of columns. A divisor over 2^24 may be rounded (1), division is within 2.5 ULP (3).
            pool.h.most_elements() + pool.w.most_elements() + 4
        };
        let depth = if pool.iterations() <= MAX_ITERATIONS {
            pass(r, &pool, Buffer::Input(0), Buffer::Output(0))
        } else {
            // The mean over a window is the mean over its rows of their means: all rows of a window count equally many.
            let [rows, columns] = pool.separated();
            let means = r.temp(TensorType::f32([n, rows.h.out, rows.w.out, c]));
            pass(r, &rows, Buffer::Input(0), means) + pass(r, &columns, means, Buffer::Output(0))
        };
        r.declare_depth(depth);
        Ok(())
    }

    fn cost(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Cost {
        let taps = (self.window.kernel[0] * self.window.kernel[1]) as u64;
        Cost { flops: outputs[0].elements() as u64 * taps, bytes: moved_bytes(inputs, outputs) }
    }

    fn error_bound(&self, b: &Bound<'_>) -> Result<Vec<Vec<f64>>> {
        b.sum_of_products(self)
    }

    fn interchange(&self, d: &mut Interchange<'_>) -> Result<Vec<Term>> {
        let [_, h_in, w_in, _] = d.input_type(0).shape.nhwc("x")?;
        let pool = Pool::place(&self.window, h_in, w_in)?;
        let since = if self.window.dilation == [1, 1] { 18 } else { 19 };
        let [top, left, bottom, right] = pool.pads();
        let [asked_bottom, asked_right] = pool.asked_after();
        if !self.count_include_pad {
            let node = pool.standard(d, "AveragePool", d.x(0), None, [top, left, bottom, right])?;
            return pool.pooled(d, node.since(since));
        }
        if bottom <= asked_bottom && right <= asked_right {
            let node = pool.standard(d, "AveragePool", d.x(0), Some(0.0), [top, left, bottom, right])?;
            return pool.pooled(d, node.int("count_include_pad", 1).since(since));
        }
        // What counts is put there; what ceil mode adds is padding.
        let counted = [top, left, asked_bottom.min(bottom), asked_right.min(right)];
        let x = padded(d, d.x(0), counted, 0.0)?;
        let node = pool.standard(d, "AveragePool", x, None, [0, 0, bottom - counted[2], right - counted[3]])?;
        pool.pooled(d, node.since(since))
    }
}

impl Cpu for AvgPool2d {
    fn cpu<T: Real>(&self, args: &mut CpuArgs<'_, T>) {
        let &[_, h_in, w_in, c] = args.x_shape(0).dims() else { unreachable!("infer checks the rank") };
        let pool = Pool::placed(&self.window, h_in, w_in);
        let (x, y) = (args.x(0), args.y(0));
        for_each_row(y, pool.w.out * c, |row, y| {
            let (image, h_out) = (row / pool.h.out, row % pool.h.out);
            let mut row_sum = vec![T::ZERO; c];
            for (w_out, y) in y.chunks_exact_mut(c).enumerate() {
                y.fill(T::ZERO);
                for h in pool.h.elements(h_out) {
                    row_sum.fill(T::ZERO);
                    for w in pool.w.elements(w_out) {
                        let x = &x[((image * h_in + h) * w_in + w) * c..][..c];
                        row_sum.iter_mut().zip(x).for_each(|(sum, &x)| *sum += x);
                    }
                    y.iter_mut().zip(&row_sum).for_each(|(y, &sum)| *y += sum);
                }
                let divisor = T::from_f64(divisor(&pool, self.count_include_pad, h_out, w_out));
                y.iter_mut().for_each(|y| *y /= divisor);
            }
        });
    }
}

fn divisor(pool: &Pool, count_include_pad: bool, h_out: usize, w_out: usize) -> f64 {
    pool.h.n_counted(h_out, count_include_pad) as f64 * pool.w.n_counted(w_out, count_include_pad) as f64
}

impl Op for AvgPool2dGrad {
    fn name(&self) -> &'static str {
        "avg_pool2d_grad"
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>> {
        expect_inputs(inputs, &["dy"])?;
        inputs[0].expect_dtype("dy", DType::F32)?;
        let [n, h_out, w_out, c] = inputs[0].shape.clone().checked("dy")?.nhwc("dy")?;
        let pool = Pool::place(&self.window, self.h_in, self.w_in)?;
        pool.check_gather()?;
        if [pool.h.out, pool.w.out] != [h_out, w_out] {
            return Err(Error::invalid("dy", &inputs[0], format!("{} by {} pixels", pool.h.out, pool.w.out)));
        }
        let dx = TensorType::f32([n, self.h_in, self.w_in, c]);
        dx.shape.clone().checked("input of the pooling")?;
        Ok(vec![dx])
    }

    fn gpu(&self, r: &mut Recorder<'_>) -> Result<()> {
        let pool = Pool::place(&self.window, self.h_in, self.w_in)?;
        let c = r.x(0).shape.last();
        let (width, real, _) = vector(c);
        let n_vecs = if pool.is_disjoint() { r.x(0) } else { r.y(0) }.elements() / width;
        // A rounding for each window; a divisor over 2^24 may be rounded (1), division is within 2.5 ULP (3).
        r.declare_depth(pool.most_windows() + 4);
        r.dispatch(
            pool.kernel(&GRAD_SHADER, &[]).set("Real", real).set("DISJOINT", pool.is_disjoint()),
            &[Buffer::Input(0)],
            &[Buffer::Output(0)],
            &pool.params(n_vecs, c / width, self.count_include_pad),
            r.linear_grid(n_vecs.div_ceil(WORKGROUP)),
        );
        Ok(())
    }

    fn error_bound(&self, b: &Bound<'_>) -> Result<Vec<Vec<f64>>> {
        b.sum_of_products(self)
    }
}

impl Cpu for AvgPool2dGrad {
    fn cpu<T: Real>(&self, args: &mut CpuArgs<'_, T>) {
        let c = args.x_shape(0).last();
        let pool = Pool::placed(&self.window, self.h_in, self.w_in);
        let (dy, dx) = (args.x(0), args.y(0));
        for_each_row(dx, self.w_in * c, |row, dx| {
            let (image, h) = (row / self.h_in, row % self.h_in);
            dx.fill(T::ZERO);
            for h_out in pool.h.windows(h).filter(|&o| pool.h.has_tap(o, h)) {
                for w_out in 0..pool.w.out {
                    let divisor = T::from_f64(divisor(&pool, self.count_include_pad, h_out, w_out));
                    let dy = &dy[((image * pool.h.out + h_out) * pool.w.out + w_out) * c..][..c];
                    for w in pool.w.elements(w_out) {
                        dx[w * c..][..c].iter_mut().zip(dy).for_each(|(dx, &dy)| *dx += dy / divisor);
                    }
                }
            }
        });
    }
}

/// The list's entries.
pub static DECLARATIONS: &[Declaration] = &[
    Declaration { name: "avg_pool2d", no_gradient: None, shaders: &[&SHADER], cases },
    Declaration {
        name: "avg_pool2d_grad",
        no_gradient: Some("gradient op: second derivatives are not needed for training"),
        shaders: &[&GRAD_SHADER],
        cases: grad_cases,
    },
];

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (i, (name, window, shape)) in windows(42).into_iter().enumerate() {
        let x = if i % 2 == 0 { sample::normal(i as u64, shape) } else { sample::positive(i as u64, shape) };
        cases.push(Case::new(name, AvgPool2d { window, count_include_pad: false }, vec![x.clone()]));
        if window.padding != Padding::Valid || window.ceil {
            cases.push(Case::new(format!("{name}_count_padding"), AvgPool2d { window, count_include_pad: true }, vec![x]));
        }
    }
    // More elements than an invocation may loop over: two passes. Too many for finite differences.
    let op = AvgPool2d { window: Window2d { stride: [250, 20], ..Window2d::new([240, 140]) }, count_include_pad: false };
    cases.push(Case::new("global_two_passes", op, vec![sample::positive(30, [1, 240, 163, 1])]).differentiable_by(&[]));
    cases
}

fn grad_cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (i, (name, window, shape)) in windows(43).into_iter().enumerate() {
        let [n, h_in, w_in, c] = shape;
        for count_include_pad in [false, true] {
            let op = AvgPool2dGrad { window, count_include_pad, h_in, w_in };
            let pool = Pool::placed(&window, h_in, w_in);
            let dy = [n, pool.h.out, pool.w.out, c];
            let dy = if i % 2 == 1 { sample::normal(i as u64, dy) } else { sample::positive(i as u64, dy) };
            let name = format!("{name}{}", if count_include_pad { "_count_padding" } else { "" });
            if !count_include_pad || window.padding != Padding::Valid {
                cases.push(Case::new(name, op, vec![dy]));
            }
        }
    }
    cases
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::{Oracle, View, run_f64};

    fn run(op: AvgPool2d, shape: [usize; 4], x: &[f64]) -> Vec<f64> {
        run_f64(&op, &[TensorType::f32(shape)], &[View::Real(x)]).unwrap()[0].real().to_vec()
    }

    /// The worked example of the teaching slides.
    #[test]
    fn two_by_two() {
        let op = AvgPool2d { window: Window2d { stride: [2, 2], ..Window2d::new([2, 2]) }, count_include_pad: false };
        let x = [3., 13., 17., 11., 5., 3., 1., 23., 7., 1., 2., 3., 11., 17., 1., 4.];
        assert_eq!(run(op, [1, 4, 4, 1], &x), [6.0, 13.0, 9.0, 2.5]);
    }

    /// PyTorch's rule: padding counts if asked for, what ceil mode adds beyond it never does.
    #[test]
    fn divisors_with_padding_and_ceil_mode() {
        let window = |padding, ceil| Window2d { kernel: [1, 4], stride: [1, 3], padding, ceil, dilation: [1, 1] };
        let one = Padding::Explicit { top: 0, bottom: 0, left: 1, right: 1 };
        let x = [1.0; 5];
        // Windows at -1 (one padding) and 2 (one padding, at 5).
        let op = |count_include_pad| AvgPool2d { window: window(one, true), count_include_pad };
        assert_eq!(run(op(false), [1, 1, 5, 1], &x), [1.0, 1.0]);
        assert_eq!(run(op(true), [1, 1, 5, 1], &x), [0.75, 0.75]);
        // Windows at -1 and 2; the second has 2 and 3, padding at 4, and 5 beyond it, which isn't counted.
        assert_eq!(run(op(true), [1, 1, 4, 1], &x[..4]), [0.75, 2.0 / 3.0]);
        assert_eq!(run(op(false), [1, 1, 4, 1], &x[..4]), [1.0, 1.0]);
    }

    #[test]
    fn gradient_is_the_transpose() {
        // <dy, pool(x)> = <grad(dy), x> for every window of the cases.
        for (_, window, shape) in windows(7) {
            for count_include_pad in [false, true] {
                let op = AvgPool2d { window, count_include_pad };
                let x = Oracle::from_tensor(&sample::normal(1, shape));
                let y_type = op.infer(&[TensorType::f32(shape)]).unwrap();
                let y = run_f64(&op, &[TensorType::f32(shape)], &[x.view()]).unwrap();
                let dy = Oracle::from_tensor(&sample::normal(2, y_type[0].shape.clone()));
                let grad = AvgPool2dGrad { window, count_include_pad, h_in: shape[1], w_in: shape[2] };
                let dx = run_f64(&grad, &y_type, &[dy.view()]).unwrap();
                let dot = |a: &Oracle, b: &Oracle| a.real().iter().zip(b.real()).map(|(a, b)| a * b).sum::<f64>();
                let (a, b) = (dot(&dy, &y[0]), dot(&dx[0], &x));
                assert!((a - b).abs() <= 1e-9 * a.abs().max(1.0), "{window:?}: {a} {b}");
            }
        }
    }
}
