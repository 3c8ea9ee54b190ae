//! Elementwise functions of one tensor: a table, one row an op. The WGSL of a row is a case of `shaders/shared/activation.wgsl`, so a
//! GEMM can have it as its epilogue too.

use crate::error::Result;
use crate::linalg::{Real, for_each_chunk, vectorized};
use crate::op::{
    ACTIVATION, Activation, Bound, Buffer, Case, Cpu, CpuArgs, Declaration, Gradient, Op, Recorder,
    Source, TINY, UNIT, expect_inputs, sample, shader,
};
use crate::ops::elements::Elements;
use crate::tensor::{DType, Tensor, TensorType};
use std::fmt::Debug;
use std::marker::PhantomData;
use std::sync::Arc;

static UNARY: Source = shader!("unary");
static UNARY_GRAD: Source = shader!("unary_grad");

/// A row of the table: a function `y = f(x)` whose derivative can be computed from `y`.
pub trait UnaryRow: Debug + Send + Sync + 'static {
    /// Name of the op.
    const NAME: &'static str;
    /// Name of its gradient.
    const GRAD_NAME: &'static str;
    /// The `case` of `ACTIVATION` in `shaders/shared/activation.wgsl`.
    const CODE: u32;
    /// Largest slope.
    const LIPSCHITZ: f64;
    /// `f(x)`.
    fn y<T: Real>(x: T) -> T;
    /// `dy * f'(x)`, where `y = f(x)`.
    fn dx<T: Real>(y: T, dy: T) -> T;
    /// Rounding error of the shader's `f(x)`, for an exact `y = f(x)`.
    fn error(x: f64, y: f64) -> f64;
    /// Rounding error of the shader's `dx`, for an exact `dx`.
    fn grad_error(y: f64, dx: f64) -> f64;
}

/// `max(x, 0)`. NaN stays NaN; the gradient at 0 is 0 and passes where y is NaN, as in PyTorch.
#[derive(Debug)]
pub struct Relu;

impl UnaryRow for Relu {
    const NAME: &'static str = "relu";
    const GRAD_NAME: &'static str = "relu_grad";
    const CODE: u32 = 1;
    const LIPSCHITZ: f64 = 1.0;

    fn y<T: Real>(x: T) -> T {
        if x <= T::ZERO { T::ZERO } else { x }
    }

    fn dx<T: Real>(y: T, dy: T) -> T {
        if y <= T::ZERO { T::ZERO } else { dy }
    }

    fn error(_: f64, _: f64) -> f64 {
        0.0
    }

    fn grad_error(_: f64, _: f64) -> f64 {
        0.0
    }
}

/// `1 / (1 + e^-x)`.
#[derive(Debug)]
pub struct Sigmoid;

impl UnaryRow for Sigmoid {
    const NAME: &'static str = "sigmoid";
    const GRAD_NAME: &'static str = "sigmoid_grad";
    const CODE: u32 = 2;
    const LIPSCHITZ: f64 = 0.25;

    fn y<T: Real>(x: T) -> T {
        let e = (-x.abs()).exp();
        (if x < T::ZERO { e } else { T::ONE }) / (T::ONE + e)
    }

    fn dx<T: Real>(y: T, dy: T) -> T {
        dy * (y * (T::ONE - y))
    }

    fn error(x: f64, y: f64) -> f64 {
        // e = exp(-|x|) has a relative error of 3 + 2|x| units, of which a share of 1 - y reaches y: e / (1 + e) for positive x,
        // 1 / (1 + e) for negative. The sum has 1 unit, the quotient 2.5; 0.1 covers products of errors. Beyond 128, e is 0.
        let exp = 3.0 + 2.0 * x.abs().min(128.0);
        (1.1 * exp * (1.0 - y) + 3.6) * UNIT * y + TINY
    }

    fn grad_error(_: f64, dx: f64) -> f64 {
        // 1 - y and two products, each 1 unit.
        3.1 * UNIT * dx.abs() + TINY
    }
}

/// Hyperbolic tangent.
#[derive(Debug)]
pub struct Tanh;

impl UnaryRow for Tanh {
    const NAME: &'static str = "tanh";
    const GRAD_NAME: &'static str = "tanh_grad";
    const CODE: u32 = 3;
    const LIPSCHITZ: f64 = 1.0;

    fn y<T: Real>(x: T) -> T {
        x.tanh()
    }

    fn dx<T: Real>(y: T, dy: T) -> T {
        dy * ((T::ONE - y) * (T::ONE + y))
    }

    fn error(x: f64, y: f64) -> f64 {
        let (x, y) = (x.abs(), y.abs());
        // Polynomial a + a * z * p(z), z = a * a < 0.39: the correction is at most 0.14 a, with z (1 unit), p (about 3, as its
        // first coefficient dominates), two products: 7 units of it, 1 unit of a; the last sum 1 unit; Cephes' own error of
        // approximation 1 unit. Together below 3.
        if x < 0.5 {
            return 3.0 * UNIT * y + TINY;
        }
        // 1 - t, t = 2 / (e + 1), e = exp(2a) with 3 + 4a units, of which less than all reaches t; 1 for the sum, 2.5 for the
        // quotient; 1 for the difference. This is larger than the other between 0.5 and 0.625, where an x that carries an error may
        // take either way. From 15 on the kernel takes 15: t is below 2e-13.
        (1.1 * (1.0 - y) * (6.5 + 4.0 * x.min(15.0)) + 1.1 * y) * UNIT
    }

    fn grad_error(_: f64, dx: f64) -> f64 {
        // 1 - y, 1 + y and two products, each 1 unit.
        4.1 * UNIT * dx.abs() + TINY
    }
}

/// `ln(1 + e^x)`: a smooth ReLU (C. Dugas and others, NIPS 2000).
#[derive(Debug)]
pub struct Softplus;

impl UnaryRow for Softplus {
    const NAME: &'static str = "softplus";
    const GRAD_NAME: &'static str = "softplus_grad";
    const CODE: u32 = 4;
    const LIPSCHITZ: f64 = 1.0;

    fn y<T: Real>(x: T) -> T {
        (if x > T::ZERO { x } else { T::ZERO }) + (-x.abs()).exp().ln_1p()
    }

    /// The slope is `1 - e^-y = 2 t / (1 + t)`, `t = tanh(y / 2)`, which doesn't cancel where y is small.
    fn dx<T: Real>(y: T, dy: T) -> T {
        let t = (y * T::from_f64(0.5)).tanh();
        dy * ((t + t) / (T::ONE + t))
    }

    fn error(x: f64, y: f64) -> f64 {
        // t = exp(-|x|) has 3 + 2|x| units, s = t / (2 + t) adds 1 and 2.5, the polynomial 1.3, as its first coefficient dominates,
        // the product 1; none of these steps magnifies what it is given. Then the sum: 1 unit of y.
        let log = y - x.max(0.0);
        (1.1 * (8.8 + 2.0 * x.abs().min(128.0)) * log + 1.1 * y) * UNIT + TINY
    }

    fn grad_error(_: f64, dx: f64) -> f64 {
        // tanh has at most 13 units of its value (where its formula changes), which 2 t / (1 + t) doesn't magnify; the sum 1, the
        // quotient 2.5, the product 1.
        18.0 * UNIT * dx.abs() + TINY
    }
}

/// `min(max(x, 0), 6)` (A. Krizhevsky, "Convolutional Deep Belief Networks on CIFAR-10", 2010). NaN stays NaN; the gradient at 0 and 6 is 0
/// and passes where y is NaN, as in PyTorch.
#[derive(Debug)]
pub struct Relu6;

impl UnaryRow for Relu6 {
    const NAME: &'static str = "relu6";
    const GRAD_NAME: &'static str = "relu6_grad";
    const CODE: u32 = 5;
    const LIPSCHITZ: f64 = 1.0;

    fn y<T: Real>(x: T) -> T {
        let six = T::from_f64(6.0);
        if x <= T::ZERO {
            T::ZERO
        } else if x >= six {
            six
        } else {
            x
        }
    }

    fn dx<T: Real>(y: T, dy: T) -> T {
        if y <= T::ZERO || y >= T::from_f64(6.0) { T::ZERO } else { dy }
    }

    fn error(_: f64, _: f64) -> f64 {
        0.0
    }

    fn grad_error(_: f64, _: f64) -> f64 {
        0.0
    }
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
        const ROWS: &[(u32, fn(f64) -> f64, fn(f64, f64) -> f64, f64)] = &[$(
            ($row::CODE, $row::y::<f64>, $row::dx::<f64>, $row::LIPSCHITZ),
        )*];
    };
}

rows! { Relu, Sigmoid, Tanh, Softplus, Relu6 }

/// The row as an [`Activation`], for a kernel to take into its epilogue.
pub fn activation<R: UnaryRow>() -> Activation {
    fn map<R: UnaryRow>(v: &mut [f32]) {
        vectorized(|| v.iter_mut().for_each(|x| *x = R::y(*x)));
    }
    Activation { name: R::NAME, code: R::CODE, f32: map::<R>, f64: R::y::<f64>, lipschitz: R::LIPSCHITZ, error: R::error }
}

/// `y = f(x)`, elementwise: f32 of any shape to the same.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Unary<R>(PhantomData<R>);

impl<R: UnaryRow> Unary<R> {
    /// The op.
    pub const fn new() -> Self {
        Unary(PhantomData)
    }
}

impl<R: UnaryRow> Default for Unary<R> {
    fn default() -> Self {
        Unary::new()
    }
}

impl<R: UnaryRow> Op for Unary<R> {
    fn name(&self) -> &'static str {
        R::NAME
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>> {
        expect_inputs(inputs, &["x"])?;
        inputs[0].expect_dtype("x", DType::F32)?;
        Ok(vec![inputs[0].clone()])
    }

    fn gradient(&self, g: &mut Gradient<'_>) -> Result<()> {
        let (y, dy) = (g.y(0), g.dy0()?);
        let dx = g.node(UnaryGrad::<R>::new(), &[y, dy])?;
        g.set(0, dx);
        Ok(())
    }

    fn remake(&self) -> Option<(Arc<dyn Op>, Vec<Buffer>)> {
        Some((Arc::new(Unary::<R>::new()), vec![Buffer::Input(0)]))
    }

    fn gpu(&self, r: &mut Recorder<'_>) -> Result<()> {
        let e = Elements::of(r.y(0).elements());
        let kernel = e.kernel(&UNARY, &[&ACTIVATION]).set("ACTIVATION", R::CODE);
        let grid = e.grid(r);
        r.dispatch(kernel, &[Buffer::Input(0)], &[Buffer::Output(0)], &[("n", e.n())], grid);
        Ok(())
    }

    fn error_bound(&self, b: &Bound<'_>) -> Result<Vec<Vec<f64>>> {
        let x = b.inputs[0].real();
        Ok(b.each(|i, y| R::error(x[i], y)))
    }

    fn activation(&self) -> Option<Activation> {
        Some(activation::<R>())
    }
}

impl<R: UnaryRow> Cpu for Unary<R> {
    fn cpu<T: Real>(&self, args: &mut CpuArgs<'_, T>) {
        let x = args.x(0);
        for_each_chunk(args.y(0), |at, y| {
            for (y, &x) in y.iter_mut().zip(&x[at..]) {
                *y = R::y(x);
            }
        });
    }
}

/// `dx = dy * f'(x)`, elementwise, from inputs `y = f(x)` and `dy`: f32 of any shape, equal.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct UnaryGrad<R>(PhantomData<R>);

impl<R: UnaryRow> UnaryGrad<R> {
    /// The op.
    pub const fn new() -> Self {
        UnaryGrad(PhantomData)
    }
}

impl<R: UnaryRow> Default for UnaryGrad<R> {
    fn default() -> Self {
        UnaryGrad::new()
    }
}

impl<R: UnaryRow> Op for UnaryGrad<R> {
    fn name(&self) -> &'static str {
        R::GRAD_NAME
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>> {
        expect_inputs(inputs, &["y", "dy"])?;
        inputs[0].expect_dtype("y", DType::F32)?;
        inputs[1].expect("dy", &inputs[0])?;
        Ok(vec![inputs[0].clone()])
    }

    fn gpu(&self, r: &mut Recorder<'_>) -> Result<()> {
        let e = Elements::of(r.y(0).elements());
        let kernel = e.kernel(&UNARY_GRAD, &[&ACTIVATION]).set("ACTIVATION", R::CODE);
        let grid = e.grid(r);
        r.dispatch(kernel, &[Buffer::Input(0), Buffer::Input(1)], &[Buffer::Output(0)], &[("n", e.n())], grid);
        Ok(())
    }

    fn error_bound(&self, b: &Bound<'_>) -> Result<Vec<Vec<f64>>> {
        let y = b.inputs[0].real();
        Ok(b.each(|i, dx| R::grad_error(y[i], dx)))
    }
}

impl<R: UnaryRow> Cpu for UnaryGrad<R> {
    fn cpu<T: Real>(&self, args: &mut CpuArgs<'_, T>) {
        let (y, dy) = (args.x(0), args.x(1));
        for_each_chunk(args.y(0), |at, dx| {
            for ((dx, &y), &dy) in dx.iter_mut().zip(&y[at..]).zip(&dy[at..]) {
                *dx = R::dx(y, dy);
            }
        });
    }
}

fn row(values: &[f32]) -> Tensor {
    Tensor::f32([values.len()], values.to_vec()).unwrap_or_else(|_| unreachable!("made to fit"))
}

fn cases<R: UnaryRow>() -> Vec<Case> {
    let op = Unary::<R>::new;
    // Both sides of tanh's change of formula, saturation, and where e^x is denormal or overflows.
    let far = [-1e-6, 0.62, 0.63, -0.63, 9.5, -17.0, 50.0, -80.0, 87.0, -95.0, 100.0, -200.0, 3e38, -3e38];
    vec![
        Case::new("one", op(), vec![row(&[0.75])]),
        Case::new("odd", op(), vec![sample::distinct(1, [3, 5, 7])]),
        Case::new("vec4_workgroups", op(), vec![sample::distinct(2, [2, 11, 5, 12])]),
        Case::new("scalar_workgroups", op(), vec![sample::distinct(3, [19, 1, 17])]),
        Case::new("far", op(), vec![row(&far)]).differentiable_by(&[]),
        Case::new("nan", op(), vec![row(&[-1.0, f32::NAN, 0.0, -f32::NAN])]).differentiable_by(&[]),
        Case::new("random_4", op(), vec![sample::normal(4, [2, 6, 7])]),
    ]
}

fn grad_cases<R: UnaryRow>() -> Vec<Case> {
    let op = UnaryGrad::<R>::new;
    vec![
        Case::new("one", op(), vec![row(&[0.75]), row(&[-2.0])]),
        Case::new("odd", op(), vec![sample::positive(1, [3, 5, 7]), sample::normal(2, [3, 5, 7])]),
        Case::new("vec4_workgroups", op(), vec![sample::positive(3, [2, 11, 5, 12]), sample::normal(4, [2, 11, 5, 12])]),
        Case::new("zeros", op(), vec![sample::integers(5, [19, 17], 1), sample::normal(6, [19, 17])]),
        // Where relu6 ends.
        Case::new("large", op(), vec![row(&[6.0, 5.75, 7.0, 0.25]), row(&[3.0, 1.0, -1.0, 2.0])]),
        Case::new("nan", op(), vec![row(&[f32::NAN, 0.5, -f32::NAN, 0.0]), row(&[3.0, f32::NAN, -1.0, 2.0])]),
        Case::new("random_7", op(), vec![sample::positive(7, [2, 6, 7]), sample::normal(8, [2, 6, 7])]),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::check;

    #[test]
    fn cases_hold() {
        check::declarations(DECLARATIONS);
    }

    #[test]
    fn rows_have_their_own_code_and_slope() {
        for (k, &(code, f, dx, lipschitz)) in ROWS.iter().enumerate() {
            assert!(code != 0 && ROWS[..k].iter().all(|r| r.0 != code));
            let mut steepest: f64 = 0.0;
            for i in -4000..4000 {
                let x = (f64::from(i) + 0.5) * 2e-3;
                let slope = (f(x + 1e-6) - f(x - 1e-6)) / 2e-6;
                assert!((slope - dx(f(x), 1.0)).abs() < 1e-8, "{code} at {x}: {slope}");
                steepest = steepest.max(slope.abs());
            }
            assert!(steepest <= lipschitz * (1.0 + 1e-8) && steepest > 0.99 * lipschitz, "{code}: {steepest}");
        }
    }

    #[test]
    fn relu_carries_nan() {
        assert!(Relu::y(f32::NAN).is_nan() && Relu::y(-f32::NAN).is_nan());
        assert_eq!((Relu::dx(f32::NAN, 2.0), Relu::dx(0.0, 2.0), Relu::dx(1.0, 2.0)), (2.0, 0.0, 2.0));
    }

    #[test]
    fn sigmoid_is_stable() {
        assert_eq!((Sigmoid::y(-1e4f32), Sigmoid::y(1e4f32), Sigmoid::y(0.0f64)), (0.0, 1.0, 0.5));
        assert!(Sigmoid::y(-80.0f32) > 0.0);
    }

    #[test]
    fn bad_inputs_are_refused() {
        let op = Unary::<Relu>::new();
        assert!(op.infer(&[]).is_err());
        assert!(op.infer(&[TensorType::u32([3])]).is_err());
        let grad = UnaryGrad::<Relu>::new();
        assert!(grad.infer(&[TensorType::f32([3]), TensorType::f32([4])]).is_err());
    }
}
