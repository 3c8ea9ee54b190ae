//! Local response normalisation across channels, and its gradient.

use super::running_error::Running;
use crate::error::{Error, Result};
use crate::linalg::{Real, for_each_row};
use crate::op::{
    Bound, Buffer, Case, Cost, Cpu, CpuArgs, Declaration, FINITE, GRID, Gradient, Interchange, Kernel, MAX_ITERATIONS, Op,
    Recorder, Source, StandardNode, Term, Word, expect_inputs, moved_bytes, no_counterpart, sample, shader,
};
use crate::tensor::{DType, Tensor, TensorType};
use std::ops::Range;

static SHADER: Source = shader!("local_response_norm");
static GRAD_SHADER: Source = shader!("local_response_norm_grad");
static POWERS: Source = shader!("shared/inverse_power");

/// `y = x s^-beta`, `s = k + alpha / size * sum of x^2` over `size` channels, from `size / 2` before a channel to `(size - 1) / 2` behind it, as
/// far as there are any (A. Krizhevsky and others, "ImageNet Classification with Deep Convolutional Neural Networks", NeurIPS 2012, where
/// alpha isn't divided). PyTorch's definition; ONNX's is the same for odd sizes, and has the extra channel of even ones behind.
/// Input `x` [.., c] f32, output of the same shape.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct LocalResponseNorm {
    /// Channels that a value is divided by, at least 1.
    pub size: usize,
    /// The factor of the mean of squares, 0 or more.
    pub alpha: f64,
    /// The exponent.
    pub beta: f64,
    /// What is added, above 0.
    pub k: f64,
}

/// The gradient of [`LocalResponseNorm`], from inputs `x` and `dy`: `dx = dy s^-beta - 2 alpha beta / size * x * sum of dy x s^(-beta - 1)`
/// over the channels whose sums have x.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct LocalResponseNormGrad(pub LocalResponseNorm);

/// `s^-beta`. For the usual beta by roots, which are faster and more exact than logarithms.
fn inverse_power<T: Real>(s: T, beta: f64) -> T {
    if beta == 0.75 {
        let root = s.sqrt();
        T::ONE / (root * root.sqrt())
    } else {
        (-(T::from_f64(beta) * s.ln())).exp()
    }
}

impl LocalResponseNorm {
    fn check(&self, x: &TensorType) -> Result<()> {
        x.expect_dtype("x", DType::F32)?;
        if x.shape.rank() == 0 {
            return Err(Error::invalid("x", x, "1 or more dimensions, channels last"));
        }
        if self.size == 0 || self.size.min(x.shape.last()) > MAX_ITERATIONS / 2 {
            return Err(Error::invalid("size", self.size, format!("1 to {} channels", MAX_ITERATIONS / 2)));
        }
        for (name, value, want, holds) in [
            ("alpha", self.alpha, "a finite number of 0 or more", self.alpha >= 0.0),
            ("beta", self.beta, "a finite number", true),
            ("k", self.k, "a finite number above 0", self.k as f32 > 0.0),
        ] {
            if !holds || !(value as f32).is_finite() {
                return Err(Error::invalid(name, value, want));
            }
        }
        Ok(())
    }

    /// Channels that are summed for channel `i` of `c`.
    fn window(&self, i: usize, c: usize) -> Range<usize> {
        i.saturating_sub(self.size / 2)..c.min(i + (self.size - 1) / 2 + 1)
    }

    /// Channels whose sums have channel `i`.
    fn readers(&self, i: usize, c: usize) -> Range<usize> {
        i.saturating_sub((self.size - 1) / 2)..c.min(i + self.size / 2 + 1)
    }

    fn factor(&self) -> f64 {
        self.alpha / self.size as f64
    }

    /// The sums of a row. Channel after channel of the window is added to all at once, which vectorises.
    fn sums<T: Real>(&self, x: &[T], s: &mut [T]) {
        self.add_up(x, s, |x| x * x, false);
        let (k, factor) = (T::from_f64(self.k), T::from_f64(self.factor()));
        s.iter_mut().for_each(|s| *s = k + factor * *s);
    }

    /// `sum = sum of f(x)` over the window of each, or over its readers.
    fn add_up<T: Real>(&self, x: &[T], sum: &mut [T], f: impl Fn(T) -> T, of_readers: bool) {
        let (c, mut before, mut after) = (x.len(), self.size / 2, (self.size - 1) / 2);
        if of_readers {
            (before, after) = (after, before);
        }
        sum.fill(T::ZERO);
        for d in (1..=before.min(c - 1)).rev() {
            sum[d..].iter_mut().zip(x).for_each(|(s, &x)| *s += f(x));
        }
        for d in 0..=after.min(c - 1) {
            sum.iter_mut().zip(&x[d..]).for_each(|(s, &x)| *s += f(x));
        }
    }

    /// Fields of the kernels' `Params`.
    fn params(&self, n: usize, c: usize) -> Vec<(&'static str, Word)> {
        vec![
            ("n", n.into()),
            ("c", c.into()),
            ("before", (self.size / 2).min(c).into()),
            ("after", ((self.size - 1) / 2).min(c).into()),
            ("factor", (self.factor() as f32).into()),
            ("k", (self.k as f32).into()),
            ("beta", (self.beta as f32).into()),
        ]
    }

    fn kernel(&self, source: &'static Source) -> Kernel {
        Kernel::new(source, &[&GRID, &FINITE, &POWERS])
    }

    /// What single precision makes of the sums of a row.
    fn running_sums(&self, x: &[f64]) -> Vec<Running> {
        let exact = |i: usize| Running::new(x[i], 0.0);
        let sum = |i| self.window(i, x.len()).map(|j| exact(j) * exact(j)).sum::<Running>();
        (0..x.len()).map(|i| Running::from_f64(self.k) + Running::from_f64(self.factor()) * sum(i)).collect()
    }
}

/// Invocations of a workgroup of the kernels.
const WORKGROUP: usize = 256;

impl Op for LocalResponseNorm {
    fn name(&self) -> &'static str {
        "local_response_norm"
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>> {
        expect_inputs(inputs, &["x"])?;
        self.check(&inputs[0])?;
        Ok(vec![inputs[0].clone()])
    }

    fn gradient(&self, g: &mut Gradient<'_>) -> Result<()> {
        let (x, dy) = (g.x(0), g.dy0()?);
        let dx = g.node(LocalResponseNormGrad(*self), &[x, dy])?;
        g.set(0, dx);
        Ok(())
    }

    fn gpu(&self, r: &mut Recorder<'_>) -> Result<()> {
        let (n, c) = (r.x(0).elements(), r.x(0).shape.last());
        let grid = r.linear_grid(n.div_ceil(WORKGROUP));
        r.dispatch(self.kernel(&SHADER), &[Buffer::Input(0)], &[Buffer::Output(0)], &self.params(n, c), grid);
        Ok(())
    }

    fn cost(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Cost {
        let window = self.size.min(inputs[0].shape.last()) as u64;
        Cost { flops: inputs[0].elements() as u64 * (2 * window + 8), bytes: moved_bytes(inputs, outputs) }
    }

    fn error_bound(&self, b: &Bound<'_>) -> Result<Vec<Vec<f64>>> {
        let rows = b.inputs[0].real().chunks_exact(b.types[0].shape.last());
        let row = |x: &[f64]| {
            let scaled = |(&x, s): (&f64, Running)| (Running::new(x, 0.0) * inverse_power(s, self.beta)).error();
            x.iter().zip(self.running_sums(x)).map(scaled).collect::<Vec<f64>>()
        };
        Ok(vec![rows.flat_map(row).collect()])
    }

    fn interchange(&self, d: &mut Interchange<'_>) -> Result<Vec<Term>> {
        let shape = d.input_type(0).shape.clone();
        let rank = shape.rank();
        if rank == 4 && self.size % 2 == 1 {
            let x = d.channels_first(d.x(0));
            let node = StandardNode::fixed("LRN", &[x]).int("size", self.size as i64);
            let y = d.same(node.float("alpha", self.alpha).float("beta", self.beta).float("bias", self.k));
            return Ok(vec![d.channels_last(y)]);
        }
        // Engines have it for odd sizes alone: the mean of the squares is that of a column of images of one channel.
        if rank < 2 {
            return Err(no_counterpart("local_response_norm without a batch"));
        }
        let (n, c) = (shape.dims()[0], shape.last());
        let square = d.same(StandardNode::free("Mul", &[d.x(0), d.x(0)]));
        let first = d.channels_first(square);
        let like_first = d.shape(first).clone();
        let column = d.reshape(first, [n, 1, c, shape.elements() / n / c]);
        let node = StandardNode::fixed("AveragePool", &[column]).sizes("kernel_shape", &[self.size, 1]).sizes("strides", &[1, 1]);
        let mean = d.same(node.sizes("pads", &[self.size / 2, 0, (self.size - 1) / 2, 0]).int("count_include_pad", 1));
        let mean = d.reshape(mean, like_first);
        let mut s = d.channels_last(mean);
        for (op_type, number) in [("Mul", self.alpha), ("Add", self.k), ("Pow", self.beta)] {
            let number = d.number(number as f32);
            s = d.same(StandardNode::free(op_type, &[s, number]));
        }
        Ok(vec![d.same(StandardNode::free("Div", &[d.x(0), s]))])
    }
}

impl Cpu for LocalResponseNorm {
    fn cpu<T: Real>(&self, args: &mut CpuArgs<'_, T>) {
        let (x, c) = (args.x(0), args.x_shape(0).last());
        for_each_row(args.y(0), c, |row, y| {
            let x = &x[row * c..][..c];
            self.sums(x, y);
            y.iter_mut().zip(x).for_each(|(y, &x)| *y = x * inverse_power(*y, self.beta));
        });
    }
}

impl Op for LocalResponseNormGrad {
    fn name(&self) -> &'static str {
        "local_response_norm_grad"
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>> {
        expect_inputs(inputs, &["x", "dy"])?;
        self.0.check(&inputs[0])?;
        inputs[1].expect("dy", &inputs[0])?;
        Ok(vec![inputs[0].clone()])
    }

    fn gpu(&self, r: &mut Recorder<'_>) -> Result<()> {
        let LocalResponseNorm { beta, .. } = self.0;
        let (n, c) = (r.x(0).elements(), r.x(0).shape.last());
        let ratio = r.temp(r.x(0).clone());
        let mut params = self.0.params(n, c);
        params.push(("along", ((2.0 * self.0.factor() * beta) as f32).into()));
        let inputs = [Buffer::Input(0), Buffer::Input(1)];
        let grid = r.linear_grid(n.div_ceil(WORKGROUP));
        // The first pass has no sums of another: dy stands in their place.
        let kernel = |last: bool| self.0.kernel(&GRAD_SHADER).set("LAST", last);
        r.dispatch(kernel(false), &[inputs[0], inputs[1], inputs[1]], &[ratio], &params, grid);
        r.dispatch(kernel(true), &[inputs[0], inputs[1], ratio], &[Buffer::Output(0)], &params, grid);
        Ok(())
    }

    fn cost(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Cost {
        let window = self.0.size.min(inputs[0].shape.last()) as u64;
        Cost { flops: inputs[0].elements() as u64 * (5 * window + 20), bytes: moved_bytes(inputs, outputs) }
    }

    fn error_bound(&self, b: &Bound<'_>) -> Result<Vec<Vec<f64>>> {
        let (op, c) = (self.0, b.types[0].shape.last());
        let [x, dy] = [0, 1].map(|k| b.inputs[k].real().chunks_exact(c));
        let along = Running::from_f64(2.0 * op.factor() * op.beta);
        let row = |(x, dy): (&[f64], &[f64])| {
            let [exact_x, exact_dy] = [x, dy].map(|v| v.iter().map(|&v| Running::new(v, 0.0)).collect::<Vec<_>>());
            let s = op.running_sums(x);
            let powers: Vec<Running> = s.iter().map(|&s| inverse_power(s, op.beta)).collect();
            let ratio: Vec<Running> = (0..c).map(|i| exact_dy[i] * exact_x[i] * powers[i] / s[i]).collect();
            let dx = |i: usize| exact_dy[i] * powers[i] - along * exact_x[i] * op.readers(i, c).map(|j| ratio[j]).sum::<Running>();
            (0..c).map(|i| dx(i).error()).collect::<Vec<f64>>()
        };
        Ok(vec![x.zip(dy).flat_map(row).collect()])
    }
}

impl Cpu for LocalResponseNormGrad {
    fn cpu<T: Real>(&self, args: &mut CpuArgs<'_, T>) {
        let (op, x, dy, c) = (self.0, args.x(0), args.x(1), args.x_shape(0).last());
        let along = T::from_f64(2.0 * op.factor() * op.beta);
        for_each_row(args.y(0), c, |row, dx| {
            let (x, dy) = (&x[row * c..][..c], &dy[row * c..][..c]);
            let (mut powers, mut ratio) = (vec![T::ZERO; c], vec![T::ZERO; c]);
            op.sums(x, &mut ratio);
            for (((power, ratio), &x), &dy) in powers.iter_mut().zip(&mut ratio).zip(x).zip(dy) {
                *power = inverse_power(*ratio, op.beta);
                *ratio = dy * x * *power / *ratio;
            }
            op.add_up(&ratio, dx, |r| r, true);
            for (((dx, &power), &x), &dy) in dx.iter_mut().zip(&powers).zip(x).zip(dy) {
                *dx = dy * power - along * x * *dx;
            }
        });
    }
}

/// The list's entries.
pub static DECLARATIONS: &[Declaration] = &[
    Declaration { name: "local_response_norm", no_gradient: None, shaders: &[&SHADER], cases },
    Declaration {
        name: "local_response_norm_grad",
        no_gradient: Some("gradient op: second derivatives are not needed for training"),
        shaders: &[&GRAD_SHADER],
        cases: grad_cases,
    },
];

/// A large alpha, so that the neighbours count.
fn op(size: usize) -> LocalResponseNorm {
    LocalResponseNorm { size, alpha: 0.5, beta: 0.75, k: 1.0 }
}

/// Names, shapes, attributes.
fn settings() -> Vec<(&'static str, Vec<usize>, LocalResponseNorm)> {
    vec![
        ("one", vec![1], op(1)),
        ("alexnet", vec![2, 5, 3, 48], LocalResponseNorm { alpha: 5e-4, k: 2.0, ..op(5) }),
        ("odd_channels", vec![3, 5, 7], op(5)),
        ("even_size", vec![4, 11], op(4)),
        ("wider_than_the_channels", vec![6, 3], op(9)),
        ("size_1", vec![19, 17], op(1)),
        ("another_beta", vec![5, 9], LocalResponseNorm { beta: 0.5, k: 0.25, ..op(3) }),
        ("negative_beta", vec![5, 9], LocalResponseNorm { beta: -0.3, ..op(3) }),
        ("workgroups", vec![3, 4, 5, 20], op(5)),
    ]
}

fn nan(shape: [usize; 2], at: usize) -> Tensor {
    let mut data = vec![0.5; shape[0] * shape[1]];
    data[at] = f32::NAN;
    Tensor::f32(shape, data).unwrap_or_else(|_| unreachable!("made to fit"))
}

fn cases() -> Vec<Case> {
    let with_data = |(i, (name, shape, op)): (usize, (&str, Vec<usize>, LocalResponseNorm))| {
        let seed = i as u64;
        let x = if i % 2 == 0 { sample::normal(seed, shape) } else { sample::positive(seed, shape) };
        Case::new(name, op, vec![x])
    };
    let mut cases: Vec<Case> = settings().into_iter().enumerate().map(with_data).collect();
    for (name, beta) in [("nan", 0.75), ("nan_another_beta", 0.5)] {
        cases.push(Case::new(name, LocalResponseNorm { beta, ..op(3) }, vec![nan([4, 6], 9)]).differentiable_by(&[]));
    }
    cases
}

fn grad_cases() -> Vec<Case> {
    let with_data = |(i, (name, shape, op)): (usize, (&str, Vec<usize>, LocalResponseNorm))| {
        let seed = 20 + 2 * i as u64;
        let x = if i % 2 == 0 { sample::normal(seed, shape.clone()) } else { sample::positive(seed, shape.clone()) };
        Case::new(name, LocalResponseNormGrad(op), vec![x, sample::normal(seed + 1, shape)])
    };
    let mut cases: Vec<Case> = settings().into_iter().enumerate().map(with_data).collect();
    cases.push(Case::new("nan", LocalResponseNormGrad(op(3)), vec![nan([4, 6], 9), sample::normal(50, [4, 6])]));
    cases
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

    /// PyTorch's window of an even size has one more before the channel.
    #[test]
    fn windows_by_hand() {
        let op = LocalResponseNorm { size: 2, alpha: 2.0, beta: 1.0, k: 1.0 };
        let y = run_f64(&op, &[TensorType::f32([3])], &[View::Real(&[1.0, 2.0, 3.0])]).unwrap();
        for (y, want) in y[0].real().iter().zip([0.5, 2.0 / 6.0, 3.0 / 14.0]) {
            assert!((y - want).abs() < 1e-15, "{y} {want}");
        }
    }

    #[test]
    fn bad_attributes_are_refused() {
        let x = [TensorType::f32([2, 6])];
        let good = op(3);
        assert!(good.infer(&x).is_ok() && LocalResponseNorm { size: 1 << 20, ..good }.infer(&x).is_ok());
        for bad in [
            LocalResponseNorm { size: 0, ..good },
            LocalResponseNorm { alpha: -1.0, ..good },
            LocalResponseNorm { beta: f64::NAN, ..good },
            LocalResponseNorm { k: 0.0, ..good },
        ] {
            assert!(bad.infer(&x).is_err(), "{bad:?}");
        }
        assert!(LocalResponseNorm { size: 100_000, ..good }.infer(&[TensorType::f32([1, 100_000])]).is_err());
    }
}
