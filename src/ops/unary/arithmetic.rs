//! The rows that are arithmetic: no activations, as errors of their argument may grow without bound. `shaders/unary.wgsl` has their WGSL.
//! The negative of a tensor is [`Scale`](crate::ops::scale::Scale) by -1.

use super::{Reads, UnaryRow, attribute};
use crate::error::Result;
use crate::linalg::Real;
use crate::op::{Interchange, StandardNode, TINY, Term, UNIT};
use crate::ops::running_error::Running;

/// The bound of a result that may overflow single precision: infinite then.
fn unless_overflow(y: f64, bound: f64) -> f64 {
    if y.abs() > f64::from(f32::MAX) * (1.0 - 1e-3) { f64::INFINITY } else { bound }
}

/// `e^x`.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Exp;

impl UnaryRow for Exp {
    const NAME: &'static str = "exp";
    const GRAD_NAME: &'static str = "exp_grad";
    const CODE: u32 = 101;
    const STANDARD: Option<&'static str> = Some("Exp");

    fn y<T: Real>(&self, x: T) -> T {
        x.exp()
    }

    fn dx<T: Real>(&self, y: T, dy: T) -> T {
        dy * y
    }

    fn error(&self, x: f64, y: f64) -> f64 {
        unless_overflow(y, Running::new(x, 0.0).exp().error())
    }
}

/// Natural logarithm: of 0 negative infinity, of negative numbers NaN.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Log;

impl UnaryRow for Log {
    const NAME: &'static str = "log";
    const GRAD_NAME: &'static str = "log_grad";
    const CODE: u32 = 102;
    const STANDARD: Option<&'static str> = Some("Log");
    const READS: Reads = Reads::Input;
    const POSITIVE: bool = true;

    fn y<T: Real>(&self, x: T) -> T {
        x.ln()
    }

    fn dx<T: Real>(&self, x: T, dy: T) -> T {
        dy / x
    }

    fn grad_error(&self, _: f64, _: f64, dx: f64) -> f64 {
        2.6 * UNIT * dx.abs() + TINY
    }
}

/// Square root: of negative numbers NaN. The gradient at 0 is infinite.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Sqrt;

impl UnaryRow for Sqrt {
    const NAME: &'static str = "sqrt";
    const GRAD_NAME: &'static str = "sqrt_grad";
    const CODE: u32 = 103;
    const STANDARD: Option<&'static str> = Some("Sqrt");
    const POSITIVE: bool = true;

    fn y<T: Real>(&self, x: T) -> T {
        x.sqrt()
    }

    fn dx<T: Real>(&self, y: T, dy: T) -> T {
        (T::from_f64(0.5) * dy) / y
    }

    fn grad_error(&self, _: f64, _: f64, dx: f64) -> f64 {
        2.6 * UNIT * dx.abs() + TINY
    }
}

/// Absolute value. The gradient at 0 is 0, as in PyTorch.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Abs;

impl UnaryRow for Abs {
    const NAME: &'static str = "abs";
    const GRAD_NAME: &'static str = "abs_grad";
    const CODE: u32 = 104;
    const STANDARD: Option<&'static str> = Some("Abs");
    const READS: Reads = Reads::Input;

    fn y<T: Real>(&self, x: T) -> T {
        x.abs()
    }

    fn dx<T: Real>(&self, x: T, dy: T) -> T {
        if x > T::ZERO {
            dy
        } else if x < T::ZERO {
            -dy
        } else {
            x * dy
        }
    }
}

/// `1 / x`.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Reciprocal;

impl UnaryRow for Reciprocal {
    const NAME: &'static str = "reciprocal";
    const GRAD_NAME: &'static str = "reciprocal_grad";
    const CODE: u32 = 105;
    const STANDARD: Option<&'static str> = Some("Reciprocal");
    const POSITIVE: bool = true;

    fn y<T: Real>(&self, x: T) -> T {
        T::ONE / x
    }

    fn dx<T: Real>(&self, y: T, dy: T) -> T {
        -(dy * (y * y))
    }

    fn error(&self, _: f64, y: f64) -> f64 {
        2.6 * UNIT * y.abs() + TINY
    }
}

/// `x^exponent`, for whole exponents up to 4 by products, for others as `e^(exponent ln |x|)`: 1 for an exponent of 0; negative x have a
/// power for whole exponents alone, for others NaN.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Pow {
    /// The exponent, finite.
    pub exponent: f64,
}

impl Default for Pow {
    /// The square.
    fn default() -> Pow {
        Pow { exponent: 2.0 }
    }
}

/// The largest whole exponent whose power is a product.
const LARGEST_PRODUCT: f64 = 4.0;

fn is_whole(x: f64) -> bool {
    x.fract() == 0.0
}

/// `a^b` as the shaders have it for any numbers.
pub fn power<T: Real>(a: T, b: T) -> T {
    let exponent = b.to_f64();
    if exponent == 0.0 {
        return T::ONE;
    }
    if a.is_nan() || b.is_nan() {
        return a + b;
    }
    if a == T::ZERO {
        let m = if exponent > 0.0 { T::ZERO } else { -T::NEG_INFINITY };
        let negative = a.to_f64().is_sign_negative() && is_whole(exponent) && !is_whole(0.5 * exponent);
        return if negative { -m } else { m };
    }
    let m = (b * a.abs().ln()).exp();
    if a > T::ZERO {
        m
    } else if !is_whole(exponent) {
        T::from_f64(f64::NAN)
    } else if is_whole(0.5 * exponent) {
        m
    } else {
        -m
    }
}

impl Pow {
    fn power<T: Real>(x: T, exponent: f64) -> T {
        if !is_whole(exponent) || exponent.abs() > LARGEST_PRODUCT {
            return power(x, T::from_f64(exponent));
        }
        let (mut product, mut square, mut n) = (T::ONE, x, exponent.abs() as u32);
        while n > 0 {
            if n % 2 == 1 {
                product *= square;
            }
            square *= square;
            n /= 2;
        }
        if exponent < 0.0 { T::ONE / product } else { product }
    }
}

impl UnaryRow for Pow {
    const NAME: &'static str = "pow";
    const GRAD_NAME: &'static str = "pow_grad";
    const CODE: u32 = 106;
    const READS: Reads = Reads::Input;
    const POSITIVE: bool = true;

    fn attributes(&self) -> [f64; 2] {
        [self.exponent, 0.0]
    }

    fn of([exponent, _]: [f64; 2]) -> Pow {
        Pow { exponent }
    }

    fn check(&self) -> Result<()> {
        attribute("exponent", self.exponent, "a finite number", true)
    }

    fn y<T: Real>(&self, x: T) -> T {
        Pow::power(x, self.exponent)
    }

    fn dx<T: Real>(&self, x: T, dy: T) -> T {
        dy * (T::from_f64(self.exponent) * Pow::power(x, self.exponent - 1.0))
    }

    fn error(&self, x: f64, y: f64) -> f64 {
        unless_overflow(y, self.y(Running::new(x, 0.0)).error())
    }

    fn samples() -> Vec<Pow> {
        [2.0, 1.5, -0.75, 3.0, -2.0, 0.0, 5.0].map(|exponent| Pow { exponent }).to_vec()
    }

    fn describe(&self, d: &mut Interchange<'_>, x: Term) -> Result<Term> {
        let exponent = d.number(self.exponent as f32);
        Ok(d.same(StandardNode::free("Pow", &[x, exponent])))
    }
}
