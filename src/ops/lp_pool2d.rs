//! Lp pooling, the norm of each window, and its gradient.

use super::max_pool2d::windows;
use super::pool_window::{Pool, WORKGROUP, vector};
use super::running_error::Running;
use crate::error::{Error, Result};
use crate::linalg::{Real, for_each_row};
use crate::op::{
    Bound, Buffer, Case, Cost, Cpu, CpuArgs, Declaration, Gradient, Interchange, Kernel, MAX_ITERATIONS, Op, Oracle, Recorder,
    Source, StandardNode, Term, expect_inputs, moved_bytes, run_f64, sample, shader,
};
use crate::tensor::{DType, Tensor, TensorType, Window2d};

/// What norms are made of, in WGSL.
static NORM: Source = shader!("shared/norm");
static SHADER: Source = shader!("lp_pool2d");
static GRAD_SHADER: Source = shader!("lp_pool2d_grad");

/// `y = (sum of |x|^p)^(1 / p)` over each window: its p-norm. Input `x [n, h_in, w_in, c]` f32, output `y [n, h_out, w_out, c]` f32. Padding
/// counts as zeros, and so does what a window of ceil mode lacks; PyTorch's `lp_pool2d` makes up for that, and takes powers of `x`, not
/// `|x|`, which is another sum for an odd `p`.
///
/// Fails for a window that [`Window2d::place`] refuses, for padding as large as the window, for a window without any element, for one of
/// more than 16,384 elements, and for a `p` below 1 or not finite.
#[derive(Clone, PartialEq, Debug)]
pub struct LpPool2d {
    /// The window.
    pub window: Window2d,
    /// Which norm.
    pub p: f32,
}

/// Gradient of [`LpPool2d`]: `dx = sum over the windows of dy sign(x) (|x| / y)^(p - 1)`, 0 where `x` is 0, also where `y` has no slope there.
/// Inputs `x [n, h_in, w_in, c]`, `y` and `dy` `[n, h_out, w_out, c]`, all f32; output `dx`, of `x`'s shape.
#[derive(Clone, PartialEq, Debug)]
pub struct LpPool2dGrad {
    /// The window.
    pub window: Window2d,
    /// Which norm.
    pub p: f32,
}

fn check_p(p: f32) -> Result<()> {
    if p.is_finite() && p >= 1.0 { Ok(()) } else { Err(Error::invalid("p", p, "a finite number, 1 or more")) }
}

/// `t^q` for `t` that isn't negative, as the kernels make it.
fn power<T: Real>(t: T, q: f64) -> T {
    if t == T::ZERO { t } else { (T::from_f64(q) * t.ln()).exp() }
}

/// The norms of the windows of an output row's pixels.
fn norms<T: Real>(pool: &Pool, p: f64, x: &[T], c: usize, h_out: usize, y: &mut [T]) {
    let mut largest = vec![T::ZERO; c];
    for (w_out, y) in y.chunks_exact_mut(c).enumerate() {
        let rows = || pool.h.elements(h_out);
        let pixels = || rows().flat_map(|h| pool.w.elements(w_out).map(move |w| &x[(h * pool.w.len + w) * c..][..c]));
        y.fill(T::ZERO);
        if p == 1.0 {
            pixels().for_each(|x| y.iter_mut().zip(x).for_each(|(y, x)| *y += x.abs()));
        } else if p == 2.0 {
            pixels().for_each(|x| y.iter_mut().zip(x).for_each(|(y, &x)| *y += x * x));
            y.iter_mut().for_each(|y| *y = y.sqrt());
        } else {
            largest.fill(T::ZERO);
            for x in pixels() {
                largest.iter_mut().zip(x).for_each(|(m, x)| *m = if x.abs() > *m { x.abs() } else { *m });
            }
            for x in pixels() {
                for ((y, &x), &largest) in y.iter_mut().zip(x).zip(&largest) {
                    *y += power(if x.abs() == largest { T::ONE } else { x.abs() / largest }, p);
                }
            }
            y.iter_mut().zip(&largest).for_each(|(y, &largest)| *y = largest * power(*y, 1.0 / p));
        }
    }
}

/// The gradients of an input row's pixels. `x` is the row, `y` and `dy` the image's outputs.
fn gradients<T: Real>(pool: &Pool, p: f64, [x, y, dy]: [&[T]; 3], c: usize, h: usize, dx: &mut [T]) {
    for (w, (dx, x)) in dx.chunks_exact_mut(c).zip(x.chunks_exact(c)).enumerate() {
        dx.fill(T::ZERO);
        for h_out in pool.h.windows(h).filter(|&o| pool.h.has_tap(o, h)) {
            for w_out in pool.w.windows(w).filter(|&o| pool.w.has_tap(o, w)) {
                let at = (h_out * pool.w.out + w_out) * c;
                for (((dx, &x), &y), &dy) in dx.iter_mut().zip(x).zip(&y[at..]).zip(&dy[at..]) {
                    if x == T::ZERO || y == T::ZERO {
                        continue;
                    }
                    let sign = if x < T::ZERO { -T::ONE } else { T::ONE };
                    let direction = if x.is_nan() { x } else { sign };
                    let share = if p == 1.0 {
                        direction
                    } else if p == 2.0 {
                        x / y
                    } else {
                        direction * power(x.abs() / y, p - 1.0)
                    };
                    *dx += dy * share;
                }
            }
        }
    }
}

fn kernel(pool: &Pool, source: &'static Source, p: f32, c: usize) -> Kernel {
    let (width, real, bits) = vector(c);
    let lanes = if width == 4 { "vec4<bool>" } else { "bool" };
    pool.kernel(source, &[&NORM]).set("Real", real).set("Bits", bits).set("Lanes", lanes).set("P", p)
}

impl Op for LpPool2d {
    fn name(&self) -> &'static str {
        "lp_pool2d"
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>> {
        expect_inputs(inputs, &["x"])?;
        inputs[0].expect_dtype("x", DType::F32)?;
        check_p(self.p)?;
        let [n, h_in, w_in, c] = inputs[0].shape.clone().checked("x")?.nhwc("x")?;
        let pool = Pool::place(&self.window, h_in, w_in)?;
        if 2 * pool.iterations() > MAX_ITERATIONS {
            let kernel = format!("{:?} on {h_in} by {w_in}", self.window.kernel);
            return Err(Error::invalid("kernel", kernel, format!("windows of at most {} elements", MAX_ITERATIONS / 2)));
        }
        let y = TensorType::f32([n, pool.h.out, pool.w.out, c]);
        y.shape.clone().checked("output")?;
        Ok(vec![y])
    }

    fn gradient(&self, g: &mut Gradient<'_>) -> Result<()> {
        let (x, y, dy) = (g.x(0), g.y(0), g.dy0()?);
        let dx = g.node(LpPool2dGrad { window: self.window, p: self.p }, &[x, y, dy])?;
        g.set(0, dx);
        Ok(())
    }

    fn gpu(&self, r: &mut Recorder<'_>) -> Result<()> {
        let [_, h_in, w_in, c] = r.x(0).shape.nhwc("x")?;
        let pool = Pool::place(&self.window, h_in, w_in)?;
        let width = vector(c).0;
        let n_vecs = r.y(0).elements() / width;
        let grid = r.linear_grid(n_vecs.div_ceil(WORKGROUP));
        let params = pool.params(n_vecs, c / width, false);
        r.dispatch(kernel(&pool, &SHADER, self.p, c), &[Buffer::Input(0)], &[Buffer::Output(0)], &params, grid);
        Ok(())
    }

    fn cost(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Cost {
        let taps = (self.window.kernel[0] * self.window.kernel[1]) as u64;
        Cost { flops: 2 * outputs[0].elements() as u64 * taps, bytes: moved_bytes(inputs, outputs) }
    }

    fn error_bound(&self, b: &Bound<'_>) -> Result<Vec<Vec<f64>>> {
        let [_, h_in, w_in, c] = b.types[0].shape.nhwc("x")?;
        let pool = Pool::place(&self.window, h_in, w_in)?;
        let x = running(b.inputs[0].real());
        let mut y = vec![Running::ZERO; b.outputs[0].real().len()];
        for (row, y) in y.chunks_exact_mut(pool.w.out * c).enumerate() {
            let (image, h_out) = (row / pool.h.out, row % pool.h.out);
            norms(&pool, f64::from(self.p), &x[image * h_in * w_in * c..], c, h_out, y);
        }
        Ok(vec![y.into_iter().map(Running::error).collect()])
    }

    fn interchange(&self, d: &mut Interchange<'_>) -> Result<Vec<Term>> {
        let [_, h_in, w_in, _] = d.input_type(0).shape.nhwc("x")?;
        let pool = Pool::place(&self.window, h_in, w_in)?;
        if self.p.fract() == 0.0 && f64::from(self.p) <= f64::from(i32::MAX) {
            let node = pool.standard(d, "LpPool", d.x(0), Some(0.0), pool.pads())?.int("p", self.p as i64);
            return pool.pooled(d, node);
        }
        // (mean of |x|^p over whole windows, times their taps)^(1 / p)
        let p = d.number(self.p);
        let size = d.same(StandardNode::free("Abs", &[d.x(0)]));
        let power = d.same(StandardNode::free("Pow", &[size, p]));
        let node = pool.standard(d, "AveragePool", power, Some(0.0), pool.pads())?.int("count_include_pad", 1);
        let node = if self.window.dilation == [1, 1] { node } else { node.since(19) };
        let mean = pool.pooled(d, node)?[0];
        let taps = d.number((self.window.kernel[0] * self.window.kernel[1]) as f32);
        let sum = d.same(StandardNode::free("Mul", &[mean, taps]));
        let root = d.number(1.0 / self.p);
        Ok(vec![d.same(StandardNode::free("Pow", &[sum, root]))])
    }
}

fn running(v: &[f64]) -> Vec<Running> {
    v.iter().map(|&v| Running::new(v, 0.0)).collect()
}

impl Cpu for LpPool2d {
    fn cpu<T: Real>(&self, args: &mut CpuArgs<'_, T>) {
        let &[_, h_in, w_in, c] = args.x_shape(0).dims() else { unreachable!("infer checks the rank") };
        let pool = Pool::placed(&self.window, h_in, w_in);
        let x = args.x(0);
        for_each_row(args.y(0), pool.w.out * c, |row, y| {
            let (image, h_out) = (row / pool.h.out, row % pool.h.out);
            norms(&pool, f64::from(self.p), &x[image * h_in * w_in * c..], c, h_out, y);
        });
    }
}

impl Op for LpPool2dGrad {
    fn name(&self) -> &'static str {
        "lp_pool2d_grad"
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>> {
        expect_inputs(inputs, &["x", "y", "dy"])?;
        let y = LpPool2d { window: self.window, p: self.p }.infer(&inputs[..1])?;
        inputs[1].expect("y", &y[0])?;
        inputs[2].expect("dy", &y[0])?;
        let [_, h_in, w_in, _] = inputs[0].shape.nhwc("x")?;
        Pool::place(&self.window, h_in, w_in)?.check_gather()?;
        Ok(vec![inputs[0].clone()])
    }

    fn gpu(&self, r: &mut Recorder<'_>) -> Result<()> {
        let [_, h_in, w_in, c] = r.x(0).shape.nhwc("x")?;
        let pool = Pool::place(&self.window, h_in, w_in)?;
        let width = vector(c).0;
        let n_vecs = r.y(0).elements() / width;
        let grid = r.linear_grid(n_vecs.div_ceil(WORKGROUP));
        let params = pool.params(n_vecs, c / width, false);
        let inputs = [0, 1, 2].map(Buffer::Input);
        r.dispatch(kernel(&pool, &GRAD_SHADER, self.p, c), &inputs, &[Buffer::Output(0)], &params, grid);
        Ok(())
    }

    fn error_bound(&self, b: &Bound<'_>) -> Result<Vec<Vec<f64>>> {
        let [_, h_in, w_in, c] = b.types[0].shape.nhwc("x")?;
        let pool = Pool::place(&self.window, h_in, w_in)?;
        let [x, y, dy] = [0, 1, 2].map(|i| running(b.inputs[i].real()));
        let out_len = pool.h.out * pool.w.out * c;
        let mut dx = vec![Running::ZERO; x.len()];
        for (row, (dx, x)) in dx.chunks_exact_mut(w_in * c).zip(x.chunks_exact(w_in * c)).enumerate() {
            let (image, h) = (row / h_in, row % h_in);
            gradients(&pool, f64::from(self.p), [x, &y[image * out_len..], &dy[image * out_len..]], c, h, dx);
        }
        Ok(vec![dx.into_iter().map(Running::error).collect()])
    }
}

impl Cpu for LpPool2dGrad {
    fn cpu<T: Real>(&self, args: &mut CpuArgs<'_, T>) {
        let &[_, h_in, w_in, c] = args.x_shape(0).dims() else { unreachable!("infer checks the rank") };
        let pool = Pool::placed(&self.window, h_in, w_in);
        let (x, y, dy) = (args.x(0), args.x(1), args.x(2));
        let out_len = pool.h.out * pool.w.out * c;
        for_each_row(args.y(0), w_in * c, |row, dx| {
            let (image, h) = (row / h_in, row % h_in);
            let x = &x[row * w_in * c..][..w_in * c];
            gradients(&pool, f64::from(self.p), [x, &y[image * out_len..], &dy[image * out_len..]], c, h, dx);
        });
    }
}

/// The list's entries.
pub static DECLARATIONS: &[Declaration] = &[
    Declaration { name: "lp_pool2d", no_gradient: None, shaders: &[&SHADER], cases },
    Declaration {
        name: "lp_pool2d_grad",
        no_gradient: Some("gradient op: second derivatives are not needed for training"),
        shaders: &[&GRAD_SHADER],
        cases: grad_cases,
    },
];

/// Windows with a norm each, and data whose elements are away from 0, where norms have a kink.
fn norms_of_windows() -> Vec<(String, Window2d, f32, Tensor)> {
    let norm = |i: usize| [1.0, 2.0, 3.0, 1.5][i % 4];
    let of = |(i, (name, window, shape)): (usize, (&str, Window2d, [usize; 4]))| {
        let x = sample::distinct(i as u64, shape);
        (format!("{name}_l{}", norm(i).to_string().replace('.', "_")), window, norm(i), x)
    };
    let mut all: Vec<_> = windows(44).into_iter().enumerate().map(of).collect();
    let two = Window2d { stride: [2, 2], ..Window2d::new([2, 2]) };
    all.push(("large_l2".to_string(), two, 2.0, sample::positive(20, [2, 16, 18, 8])));
    all.push(("large_l7".to_string(), two, 7.0, sample::positive(21, [1, 12, 10, 5])));
    all
}

fn edge_values(shape: [usize; 4]) -> Tensor {
    let values = [0.0, -0.0, 3.0, -4.0, f32::NAN, 0.0, 0.0, 1e-3, 0.0, 2.0];
    let data = values.into_iter().cycle().take(shape.iter().product()).collect();
    Tensor::f32(shape, data).unwrap_or_else(|_| unreachable!("made to fit"))
}

fn cases() -> Vec<Case> {
    let case = |(name, window, p, x)| Case::new(name, LpPool2d { window, p }, vec![x]);
    let mut cases: Vec<Case> = norms_of_windows().into_iter().map(case).collect();
    for (name, p) in [("edge_values_l1", 1.0), ("edge_values_l2", 2.0), ("edge_values_l3", 3.0)] {
        let window = Window2d::new([1, 2]);
        cases.push(Case::new(name, LpPool2d { window, p }, vec![edge_values([1, 4, 5, 4])]).differentiable_by(&[]));
    }
    cases
}

fn grad_cases() -> Vec<Case> {
    let case = |name: String, window: Window2d, p: f32, x: Tensor, seed: u64| {
        let op = LpPool2d { window, p };
        let y = op.infer(&[x.tensor_type()]).and_then(|types| {
            let y = run_f64(&op, &[x.tensor_type()], &[Oracle::from_tensor(&x).view()])?;
            y[0].to_tensor(&types[0].shape)
        });
        let Ok(y) = y else { unreachable!("a case of lp_pool2d") };
        let dy = sample::normal(seed, y.shape().clone());
        Case::new(name, LpPool2dGrad { window, p }, vec![x, y, dy])
    };
    let of = |(i, (name, window, p, x)): (usize, _)| case(name, window, p, x, 60 + i as u64);
    let mut cases: Vec<Case> = norms_of_windows().into_iter().enumerate().map(of).collect();
    for (name, p) in [("edge_values_l1", 1.0), ("edge_values_l2", 2.0), ("edge_values_l3", 3.0)] {
        cases.push(case(name.to_string(), Window2d::new([1, 2]), p, edge_values([1, 4, 5, 4]), 80));
    }
    cases
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::View;
    use crate::ops::check;

    #[test]
    fn cases_hold() {
        check::declarations(DECLARATIONS);
    }

    /// The worked example of the teaching slides.
    #[test]
    fn one_window() {
        let norm = |p: f32, x: [f64; 4]| {
            let op = LpPool2d { window: Window2d::new([2, 2]), p };
            run_f64(&op, &[TensorType::f32([1, 2, 2, 1])], &[View::Real(&x)]).unwrap()[0].real()[0]
        };
        let x = [1.0, 2.0, 3.0, 4.0];
        assert_eq!((norm(1.0, x), norm(2.0, x)), (10.0, 30f64.sqrt()));
        assert!((norm(3.0, [1.0, -2.0, 3.0, -4.0]) - 100f64.cbrt()).abs() < 1e-12);
        assert!((norm(4.0, [1e200, 1e200, 0.0, 0.0]) / 1e200 - 2f64.powf(0.25)).abs() < 1e-12);
        assert_eq!([1.0, 2.0, 3.0].map(|p| norm(p, [0.0; 4])), [0.0; 3]);
        assert_eq!([1.0, 2.0, 3.0].map(|p| norm(p, [f64::NEG_INFINITY, 1.0, 0.0, 2.0])), [f64::INFINITY; 3]);
        assert!([1.0, 2.0, 3.0].map(|p| norm(p, [f64::NAN, 1.0, 0.0, 2.0])).iter().all(|y| y.is_nan()));
    }

    #[test]
    fn the_gradient_is_0_at_0() {
        for p in [1.0, 1.5, 2.0, 3.0] {
            let op = LpPool2dGrad { window: Window2d { stride: [2, 2], ..Window2d::new([2, 2]) }, p };
            let types = [TensorType::f32([1, 2, 4, 1]), TensorType::f32([1, 1, 2, 1]), TensorType::f32([1, 1, 2, 1])];
            let x = [0.0, 3.0, 0.0, 0.0, 0.0, 0.0, -0.0, 0.0];
            let dx = run_f64(&op, &types, &[View::Real(&x), View::Real(&[3.0, 0.0]), View::Real(&[5.0, 7.0])]).unwrap();
            assert_eq!(dx[0].real(), [0.0, 5.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0], "{p}");
        }
    }

    #[test]
    fn bad_arguments_are_refused() {
        let x = [TensorType::f32([1, 4, 4, 1])];
        for p in [0.5, f32::NAN, f32::INFINITY, -1.0] {
            let error = LpPool2d { window: Window2d::new([2, 2]), p }.infer(&x).unwrap_err().to_string();
            assert!(error.contains("p: got"), "{error}");
        }
        assert!(LpPool2d { window: Window2d::new([5, 5]), p: 2.0 }.infer(&x).is_err());
        let large = LpPool2d { window: Window2d::new([150, 150]), p: 2.0 }.infer(&[TensorType::f32([1, 150, 150, 1])]);
        assert!(large.unwrap_err().to_string().contains("16384"));
        let grad = LpPool2dGrad { window: Window2d::new([2, 2]), p: 2.0 };
        assert!(grad.infer(&[x[0].clone(), TensorType::f32([1, 3, 3, 1]), TensorType::f32([1, 3, 2, 1])]).is_err());
    }
}
