//! Elementwise functions of one tensor: a table, one row an op. The WGSL of an activation is a case of `shaders/shared/activation.wgsl`,
//! so a GEMM can have it as its epilogue too.

mod activations;
mod arithmetic;

pub use activations::{
    Clip, Elu, Gelu, GeluTanh, HardSigmoid, HardSwish, LeakyRelu, Mish, Relu, Relu6, Sigmoid, Silu, Softplus, Softsign, Tanh,
};
pub use arithmetic::{Abs, Exp, Log, Pow, Reciprocal, Sqrt, power};

use crate::error::{Error, Result};
use crate::linalg::{Elementwise, Real, for_each_chunk, vectorized};
use crate::op::{
    ACTIVATION, Activation, Bound, Buffer, Case, Cpu, CpuArgs, Declaration, Gradient, Interchange, Op, Recorder, Source,
    StandardNode, Term, expect_inputs, no_counterpart, sample, shader,
};
use crate::ops::elements::Elements;
use crate::ops::running_error::Running;
use crate::tensor::{DType, Tensor, TensorType};
use std::fmt::Debug;
use std::sync::Arc;

/// Powers in WGSL.
pub(super) static POWER: Source = shader!("shared/power");
static UNARY: Source = shader!("unary");
static UNARY_GRAD: Source = shader!("unary_grad");

/// What the gradient of a row is computed from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reads {
    /// The function's value. In training a producer can still take the function into its epilogue.
    Output,
    /// The function's argument, which then is kept in training, so that a producer takes the function in inference alone.
    Input,
}

/// A row of the table: a function `y = f(x)`, with up to two numbers as attributes. Its default is the one with the usual attributes.
pub trait UnaryRow: Copy + PartialEq + Debug + Default + Send + Sync + 'static {
    /// Name of the op.
    const NAME: &'static str;
    /// Name of its gradient.
    const GRAD_NAME: &'static str;
    /// The `case` of `ACTIVATION` in `shaders/shared/activation.wgsl` and `shaders/unary_grad.wgsl`; from 101 on in `shaders/unary.wgsl`.
    const CODE: u32;
    /// The standard's name of the function, if it has one without attributes.
    const STANDARD: Option<&'static str> = None;
    /// What [`UnaryRow::dx`] reads.
    const READS: Reads = Reads::Output;
    /// Whether it is differentiable where x is positive only.
    const POSITIVE: bool = false;

    /// The attributes: the shader's `ACTIVATION_A` and `ACTIVATION_B`.
    fn attributes(&self) -> [f64; 2] {
        [0.0; 2]
    }

    /// The row with these attributes.
    fn of(_: [f64; 2]) -> Self {
        Self::default()
    }

    /// Fails for attributes that make no sense.
    fn check(&self) -> Result<()> {
        Ok(())
    }

    /// Largest slope; infinite for what is no activation.
    fn lipschitz(&self) -> f64 {
        f64::INFINITY
    }

    /// `f(x)`.
    fn y<T: Real>(&self, x: T) -> T;

    /// `dy * f'(x)`, from what the row [`Reads`].
    fn dx<T: Real>(&self, from: T, dy: T) -> T;

    /// Rounding error of the shader's `f(x)`, for an exact `y = f(x)`. By default that of [`UnaryRow::y`], which then has the shader's
    /// formula.
    fn error(&self, x: f64, y: f64) -> f64 {
        let _ = y;
        self.y(Running::new(x, 0.0)).error()
    }

    /// Rounding error of the shader's `dx`, for an exact `dx`. By default that of [`UnaryRow::dx`].
    fn grad_error(&self, from: f64, dy: f64, dx: f64) -> f64 {
        let _ = dx;
        self.dx(Running::new(from, 0.0), Running::new(dy, 0.0)).error()
    }

    /// The function of a term in the standard's words.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a row that isn't described.
    fn describe(&self, d: &mut Interchange<'_>, x: Term) -> Result<Term> {
        let op_type = Self::STANDARD.ok_or_else(|| no_counterpart(Self::NAME))?;
        Ok(d.same(StandardNode::free(op_type, &[x])))
    }

    /// Attributes to run cases with.
    fn samples() -> Vec<Self> {
        vec![Self::default()]
    }
}

/// Whether single precision has the number.
fn finite(v: f64) -> bool {
    (v as f32).is_finite()
}

/// Fails for an attribute that isn't finite or doesn't hold.
fn attribute(name: &str, value: f64, want: &str, holds: bool) -> Result<()> {
    if finite(value) && holds { Ok(()) } else { Err(Error::invalid(name, value, want)) }
}

/// Makes the list's entries from the rows.
macro_rules! rows {
    ($($row:ident),* $(,)?) => {
        /// The list's entries: for each row the function and its gradient.
        pub static DECLARATIONS: &[Declaration] = &[$(
            Declaration {
                name: $row::NAME,
                no_gradient: None,
                shaders: &[&UNARY],
                cases: cases::<$row>,
            },
            Declaration {
                name: $row::GRAD_NAME,
                no_gradient: Some("gradient op: second derivatives are not needed for training"),
                shaders: &[&UNARY_GRAD],
                cases: grad_cases::<$row>,
            },
        )*];

        #[cfg(test)]
        fn each_row() {
            let mut codes = std::collections::BTreeSet::new();
            $(
                assert!($row::CODE != 0 && codes.insert($row::CODE), "{}", $row::NAME);
                $row::samples().into_iter().for_each(tests::derivative);
            )*
        }
    };
}

rows! {
    Relu,
    Sigmoid,
    Tanh,
    Softplus,
    Relu6,
    Clip,
    LeakyRelu,
    Elu,
    Gelu,
    GeluTanh,
    Silu,
    Mish,
    Softsign,
    HardSigmoid,
    HardSwish,
    Exp,
    Log,
    Sqrt,
    Abs,
    Reciprocal,
    Pow,
}

/// The row with its usual attributes as an [`Activation`], for a kernel to take into its epilogue.
pub fn activation<R: UnaryRow>() -> Activation {
    R::default().activation()
}

trait ToActivation: UnaryRow {
    /// The row as an activation.
    fn activation(&self) -> Activation {
        fn map<R: UnaryRow>(attributes: [f64; 2], v: &mut [f32]) {
            let row = R::of(attributes);
            vectorized(|| v.iter_mut().for_each(|x| *x = row.y(*x)));
        }
        Activation {
            name: Self::NAME,
            code: Self::CODE,
            f32: Elementwise { function: map::<Self>, attributes: self.attributes() },
            f64: |attributes, x| Self::of(attributes).y(x),
            lipschitz: self.lipschitz(),
            error: |attributes, x, y| Self::of(attributes).error(x, y),
        }
    }
}

impl<R: UnaryRow> ToActivation for R {}

/// `y = f(x)`, elementwise: f32 of any shape to the same.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Unary<R>(pub R);

impl<R: UnaryRow> Unary<R> {
    /// The op with the row's usual attributes.
    pub fn new() -> Self {
        Unary::default()
    }
}

impl<R: UnaryRow> Op for Unary<R> {
    fn name(&self) -> &'static str {
        R::NAME
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>> {
        expect_inputs(inputs, &["x"])?;
        inputs[0].expect_dtype("x", DType::F32)?;
        self.0.check()?;
        Ok(vec![inputs[0].clone()])
    }

    fn gradient(&self, g: &mut Gradient<'_>) -> Result<()> {
        let from = match R::READS {
            Reads::Output => g.y(0),
            Reads::Input => g.x(0),
        };
        let dy = g.dy0()?;
        let dx = g.node(UnaryGrad(self.0), &[from, dy])?;
        g.set(0, dx);
        Ok(())
    }

    fn remake(&self) -> Option<(Arc<dyn Op>, Vec<Buffer>)> {
        Some((Arc::new(*self), vec![Buffer::Input(0)]))
    }

    fn gpu(&self, r: &mut Recorder<'_>) -> Result<()> {
        let e = Elements::of(r.y(0).elements());
        let kernel = e.kernel(&UNARY, &[&ACTIVATION, &POWER]).function(R::CODE, self.0.attributes());
        let grid = e.grid(r);
        r.dispatch(kernel, &[Buffer::Input(0)], &[Buffer::Output(0)], &[("n", e.n())], grid);
        Ok(())
    }

    fn error_bound(&self, b: &Bound<'_>) -> Result<Vec<Vec<f64>>> {
        let x = b.inputs[0].real();
        Ok(b.each(|i, y| self.0.error(x[i], y)))
    }

    fn activation(&self) -> Option<Activation> {
        self.0.lipschitz().is_finite().then(|| self.0.activation())
    }

    fn interchange(&self, d: &mut Interchange<'_>) -> Result<Vec<Term>> {
        Ok(vec![self.0.describe(d, d.x(0))?])
    }
}

impl<R: UnaryRow> Cpu for Unary<R> {
    fn cpu<T: Real>(&self, args: &mut CpuArgs<'_, T>) {
        let (x, row) = (args.x(0), self.0);
        for_each_chunk(args.y(0), |at, y| {
            for (y, &x) in y.iter_mut().zip(&x[at..]) {
                *y = row.y(x);
            }
        });
    }
}

/// `dx = dy * f'(x)`, elementwise, from inputs `from`, which is x or `y = f(x)` as the row [`Reads`], and `dy`: f32 of any shape, equal.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct UnaryGrad<R>(pub R);

impl<R: UnaryRow> Op for UnaryGrad<R> {
    fn name(&self) -> &'static str {
        R::GRAD_NAME
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>> {
        expect_inputs(inputs, &["from", "dy"])?;
        inputs[0].expect_dtype("from", DType::F32)?;
        inputs[1].expect("dy", &inputs[0])?;
        self.0.check()?;
        Ok(vec![inputs[0].clone()])
    }

    fn gpu(&self, r: &mut Recorder<'_>) -> Result<()> {
        let e = Elements::of(r.y(0).elements());
        let kernel = e.kernel(&UNARY_GRAD, &[&ACTIVATION, &POWER]).function(R::CODE, self.0.attributes());
        let grid = e.grid(r);
        r.dispatch(kernel, &[Buffer::Input(0), Buffer::Input(1)], &[Buffer::Output(0)], &[("n", e.n())], grid);
        Ok(())
    }

    fn error_bound(&self, b: &Bound<'_>) -> Result<Vec<Vec<f64>>> {
        let (from, dy) = (b.inputs[0].real(), b.inputs[1].real());
        Ok(b.each(|i, dx| self.0.grad_error(from[i], dy[i], dx)))
    }
}

impl<R: UnaryRow> Cpu for UnaryGrad<R> {
    fn cpu<T: Real>(&self, args: &mut CpuArgs<'_, T>) {
        let (from, dy, row) = (args.x(0), args.x(1), self.0);
        for_each_chunk(args.y(0), |at, dx| {
            for ((dx, &from), &dy) in dx.iter_mut().zip(&from[at..]).zip(&dy[at..]) {
                *dx = row.dx(from, dy);
            }
        });
    }
}

fn row(values: &[f32]) -> Tensor {
    Tensor::f32([values.len()], values.to_vec()).unwrap_or_else(|_| unreachable!("made to fit"))
}

/// Normal numbers, or positive ones where the row is differentiable there only.
fn differentiable<R: UnaryRow>(seed: u64, shape: &[usize]) -> Tensor {
    if !R::POSITIVE {
        return sample::distinct(seed, shape);
    }
    let x = sample::positive(seed, shape);
    let data = x.as_f32().unwrap_or_default().iter().map(|x| 2.0 * x + 0.75).collect();
    Tensor::f32(shape, data).unwrap_or_else(|_| unreachable!("made to fit"))
}

fn cases<R: UnaryRow>() -> Vec<Case> {
    let op = Unary::<R>::new;
    // Both sides of tanh's change of formula, saturation, where hard functions end, and where e^x is denormal or overflows.
    let far = [
        -1e-6, 0.62, 0.63, -0.63, 2.75, -2.75, 3.0, -3.0, 9.5, -17.0, 50.0, -80.0, 87.0, -95.0, 100.0, -200.0, 1e30, -1e30,
    ];
    let mut cases = vec![
        Case::new("one", op(), vec![row(&[0.75])]),
        Case::new("odd", op(), vec![differentiable::<R>(1, &[3, 5, 7])]),
        Case::new("vec4_workgroups", op(), vec![differentiable::<R>(2, &[2, 11, 5, 12])]),
        Case::new("scalar_workgroups", op(), vec![differentiable::<R>(3, &[19, 1, 17])]),
        Case::new("far", op(), vec![row(&far)]).differentiable_by(&[]),
        Case::new("nan", op(), vec![row(&[-1.0, f32::NAN, 0.0, -f32::NAN])]).differentiable_by(&[]),
        Case::new("random_4", op(), vec![sample::normal(4, [2, 6, 7])]).differentiable_by(if R::POSITIVE { &[] } else { &[0] }),
    ];
    for (i, sample) in R::samples().into_iter().enumerate().skip(1) {
        cases.push(Case::new(format!("attributes_{i}"), Unary(sample), vec![differentiable::<R>(10 + i as u64, &[6, 40])]));
        let any = vec![sample::normal(20 + i as u64, [3, 5])];
        cases.push(Case::new(format!("attributes_{i}_normal"), Unary(sample), any).differentiable_by(&[]));
    }
    cases
}

fn grad_cases<R: UnaryRow>() -> Vec<Case> {
    let op = UnaryGrad::<R>::default;
    let mut cases = vec![
        Case::new("one", op(), vec![row(&[0.75]), row(&[-2.0])]),
        Case::new("odd", op(), vec![sample::positive(1, [3, 5, 7]), sample::normal(2, [3, 5, 7])]),
        Case::new("vec4_workgroups", op(), vec![sample::positive(3, [2, 11, 5, 12]), sample::normal(4, [2, 11, 5, 12])]),
        // Where relu6 and the hard functions end.
        Case::new("large", op(), vec![row(&[6.0, 5.75, 7.0, 0.25, 3.0, 2.75]), row(&[3.0, 1.0, -1.0, 2.0, 1.5, -0.5])]),
        Case::new("nan", op(), vec![row(&[f32::NAN, 0.5, -f32::NAN, 1.0]), row(&[3.0, f32::NAN, -1.0, 2.0])]),
        Case::new("random_7", op(), vec![sample::positive(7, [2, 6, 7]), sample::normal(8, [2, 6, 7])]),
    ];
    if !R::POSITIVE {
        cases.push(Case::new("zeros", op(), vec![sample::integers(5, [19, 17], 1), sample::normal(6, [19, 17])]));
    }
    if R::READS == Reads::Input && !R::POSITIVE {
        let negative = [-0.25, -1.5, -2.75, -3.0, -3.25, -8.0, -40.0, -100.0, -1e20, 40.0, 100.0, 1e20];
        cases.push(Case::new("far", op(), vec![row(&negative), sample::normal(9, [12])]));
    }
    for (i, sample) in R::samples().into_iter().enumerate().skip(1) {
        let from = differentiable::<R>(10 + i as u64, &[6, 40]);
        cases.push(Case::new(format!("attributes_{i}"), UnaryGrad(sample), vec![from, sample::normal(20, [6, 40])]));
    }
    cases
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::check;

    #[test]
    fn cases_hold() {
        check::declarations(DECLARATIONS);
    }

    /// The derivative is the function's, and the largest slope the largest, though not by much.
    pub(super) fn derivative<R: UnaryRow>(row: R) {
        assert_eq!(R::of(row.attributes()), row);
        row.check().unwrap();
        let (first, is_activation) = (if R::POSITIVE { 0 } else { -4000 }, row.lipschitz().is_finite());
        let mut steepest: f64 = 0.0;
        for i in first..4000 {
            let x = (f64::from(i) + 0.5) * 2e-3;
            let h = 1e-6 * if R::POSITIVE { x } else { 1.0 };
            let slope = (row.y(x + h) - row.y(x - h)) / (2.0 * h);
            let from = if R::READS == Reads::Input { x } else { row.y(x) };
            let close = (slope - row.dx(from, 1.0)).abs() < 1e-8 * slope.abs().max(1.0) * if R::POSITIVE { 100.0 } else { 1.0 };
            assert!(close || !is_activation && slope.abs() > 1e3, "{row:?} at {x}: {slope} {}", row.dx(from, 1.0));
            steepest = steepest.max(slope.abs());
        }
        let largest = row.lipschitz();
        assert!(!is_activation || steepest <= largest * (1.0 + 1e-8) && steepest > 0.99 * largest, "{row:?}: {steepest}");
    }

    #[test]
    fn rows_have_their_own_code_and_slope() {
        each_row();
    }

    #[test]
    fn relu_carries_nan() {
        assert!(Relu.y(f32::NAN).is_nan() && Relu.y(-f32::NAN).is_nan());
        assert_eq!((Relu.dx(f32::NAN, 2.0), Relu.dx(0.0, 2.0), Relu.dx(1.0, 2.0)), (2.0, 0.0, 2.0));
    }

    #[test]
    fn sigmoid_is_stable() {
        assert_eq!((Sigmoid.y(-1e4f32), Sigmoid.y(1e4f32), Sigmoid.y(0.0f64)), (0.0, 1.0, 0.5));
        assert!(Sigmoid.y(-80.0f32) > 0.0);
    }

    #[test]
    fn powers() {
        for (x, exponent, want) in [
            (-2.0, 3.0, -8.0),
            (-2.0, -2.0, 0.25),
            (0.0, 0.0, 1.0),
            (f64::NAN, 0.0, 1.0),
            (0.0, -1.0, f64::INFINITY),
            (-0.0, -3.5, f64::INFINITY),
            (0.0, 2.5, 0.0),
            (1.0, 31.0, 1.0),
            (-1.0, 31.0, -1.0),
        ] {
            assert_eq!(Pow { exponent }.y(x), want, "{x} {exponent}");
            assert!((power(x, exponent) - want).abs() <= 1e-15 * want.abs() || want.is_infinite(), "{x} {exponent}");
        }
        assert!(Pow { exponent: 0.5 }.y(-1.0f64).is_nan() && (Pow { exponent: 0.5 }.y(9.0f64) - 3.0).abs() < 1e-15);
    }

    #[test]
    fn bad_attributes_are_refused() {
        let x = [TensorType::f32([3])];
        for (low, high) in [(1.0, 0.0), (f64::NAN, 0.0), (0.0, f64::INFINITY)] {
            assert!(Unary(Clip { low, high }).infer(&x).is_err());
        }
        assert!(Unary(Clip { low: 1.0, high: 1.0 }).infer(&x).is_ok());
        assert!(Unary(LeakyRelu { slope: -0.1 }).infer(&x).is_err());
        assert!(Unary(LeakyRelu { slope: 1e40 }).infer(&x).is_err());
        assert!(UnaryGrad(Elu { alpha: f64::NAN, scale: 1.0 }).infer(&[x[0].clone(), x[0].clone()]).is_err());
    }

    #[test]
    fn an_activation_is_known_by_its_attributes() {
        let of = |slope| Unary(LeakyRelu { slope }).activation();
        assert!(of(0.1) == of(0.1) && of(0.1) != of(0.2));
        assert!(Unary(Exp).activation().is_none() && Unary(Gelu).activation().is_some());
    }

    #[test]
    fn bad_inputs_are_refused() {
        let op = Unary::<Relu>::new();
        assert!(op.infer(&[]).is_err());
        assert!(op.infer(&[TensorType::u32([3])]).is_err());
        let grad = UnaryGrad(Relu);
        assert!(grad.infer(&[TensorType::f32([3]), TensorType::f32([4])]).is_err());
    }
}
