//! Running error analysis (Higham, "Accuracy and Stability of Numerical Algorithms", section 3.3): a number that carries a bound on
//! its error. A formula that is generic over [`Real`] derives the error bound of its kernel by running in this arithmetic. Each
//! operation has the accuracy that the WGSL specification allows it; contraction to FMA only saves a rounding.

use crate::linalg::{Real, TAIL_ERROR, tail_by_exp};
use crate::op::{TINY, UNIT};
use std::cmp::Ordering;
use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Div, DivAssign, Mul, MulAssign, Neg, Sub, SubAssign};

/// The exact value, and by how much a GPU's may differ.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Running {
    value: f64,
    error: f64,
}

impl Running {
    /// A number that is off by up to `error` already.
    pub fn new(value: f64, error: f64) -> Running {
        Running { value, error }
    }

    /// By how much a GPU's value may differ.
    pub fn error(self) -> f64 {
        self.error
    }

    /// A result with an error from its operands, rounded to `ulp` units.
    fn rounded(value: f64, inherited: f64, ulp: f64) -> Running {
        Running { value, error: inherited + ulp * UNIT * (value.abs() + inherited) + TINY }
    }
}

impl PartialEq for Running {
    fn eq(&self, other: &Running) -> bool {
        self.value == other.value
    }
}

impl PartialOrd for Running {
    fn partial_cmp(&self, other: &Running) -> Option<Ordering> {
        self.value.partial_cmp(&other.value)
    }
}

impl fmt::Display for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} +- {}", self.value, self.error)
    }
}

impl Add for Running {
    type Output = Running;
    fn add(self, b: Running) -> Running {
        Running::rounded(self.value + b.value, self.error + b.error, 1.0)
    }
}

impl Sub for Running {
    type Output = Running;
    fn sub(self, b: Running) -> Running {
        self + -b
    }
}

impl Mul for Running {
    type Output = Running;
    fn mul(self, b: Running) -> Running {
        let inherited = self.value.abs() * b.error + b.value.abs() * self.error + self.error * b.error;
        Running::rounded(self.value * b.value, inherited, 1.0)
    }
}

impl Div for Running {
    type Output = Running;
    fn div(self, b: Running) -> Running {
        // (a + ea) / (b + eb) - a / b = (ea - q eb) / (b + eb). If b may be 0, nothing is known of the quotient.
        let q = self.value / b.value;
        let least = b.value.abs() - b.error;
        let inherited = if least > 0.0 { (self.error + q.abs() * b.error) / least } else { f64::INFINITY };
        Running::rounded(q, inherited, 2.5)
    }
}

impl Neg for Running {
    type Output = Running;
    fn neg(self) -> Running {
        Running { value: -self.value, error: self.error }
    }
}

impl AddAssign for Running {
    fn add_assign(&mut self, b: Running) {
        *self = *self + b;
    }
}

impl SubAssign for Running {
    fn sub_assign(&mut self, b: Running) {
        *self = *self - b;
    }
}

impl MulAssign for Running {
    fn mul_assign(&mut self, b: Running) {
        *self = *self * b;
    }
}

impl DivAssign for Running {
    fn div_assign(&mut self, b: Running) {
        *self = *self / b;
    }
}

impl Sum for Running {
    fn sum<I: Iterator<Item = Running>>(iter: I) -> Running {
        iter.fold(Running::ZERO, Add::add)
    }
}

impl Real for Running {
    const ZERO: Running = Running { value: 0.0, error: 0.0 };
    const ONE: Running = Running { value: 1.0, error: 0.0 };
    const NEG_INFINITY: Running = Running { value: f64::NEG_INFINITY, error: 0.0 };

    /// A constant, which reaches the GPU rounded to f32.
    fn from_f64(v: f64) -> Running {
        Running { value: v, error: (v - f64::from(v as f32)).abs() }
    }

    fn from_f32(v: f32) -> Running {
        Running { value: f64::from(v), error: 0.0 }
    }

    fn to_f64(self) -> f64 {
        self.value
    }

    fn to_f32(self) -> f32 {
        self.value as f32
    }

    fn exp(self) -> Running {
        let value = self.value.exp();
        Running::rounded(value, value * self.error.exp_m1(), 3.0 + 2.0 * (self.value.abs() + self.error))
    }

    fn ln(self) -> Running {
        // Slope 1 / x at the nearer end of the interval; 2^-21 absolute from 0.5 to 2, 3 units elsewhere.
        let value = self.value.ln();
        let least = self.value - self.error;
        let inherited = if least > 0.0 { self.error / least } else { f64::INFINITY };
        Running::rounded(value, inherited + 4.0 * UNIT, 3.0)
    }

    fn ln_1p(self) -> Running {
        (Running::ONE + self).ln()
    }

    fn tanh(self) -> Running {
        // 1 - 2 / (e^2x + 1), as far from 0 as kernels use it.
        let two = Running::ONE + Running::ONE;
        let e = (two * self).exp();
        Running { value: self.value.tanh(), error: (Running::ONE - two / (e + Running::ONE)).error }
    }

    fn sqrt(self) -> Running {
        // WGSL: inherited from 1 / inverseSqrt(x), which is 2 units and a division's 2.5. The ends of the interval bound what the
        // argument's error does; near 0 its lower end is cut off.
        let (value, least) = (self.value.sqrt(), (self.value - self.error).max(0.0).sqrt());
        Running::rounded(value, (value - least).max((self.value + self.error).sqrt() - value), 4.5)
    }

    fn abs(self) -> Running {
        Running { value: self.value.abs(), error: self.error }
    }

    fn normal_tail(self) -> Running {
        let y = tail_by_exp(self);
        Running { error: y.error + 1.01 * TAIL_ERROR * y.value, ..y }
    }

    fn max(self, other: Running) -> Running {
        // Either may be taken where they are close.
        Running { value: Real::max(self.value, other.value), error: self.error.max(other.error) }
    }

    fn sign(self) -> Running {
        // Of a number that may be on either side of 0 nothing is known.
        Running { value: self.value.sign(), error: if self.value.abs() > self.error { 0.0 } else { 2.0 } }
    }

    fn is_nan(self) -> bool {
        self.value.is_nan()
    }

    fn is_finite(self) -> bool {
        self.value.is_finite()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// sqrt(a * a + b * b) / (a - b) in some arithmetic.
    fn formula<T: Real>(a: f32, b: f32) -> T {
        let (a, b) = (T::from_f32(a), T::from_f32(b));
        (a * a + b * b).sqrt() / (a - b)
    }

    #[test]
    fn covers_single_precision_without_being_vague() {
        for i in 1..200 {
            let (a, b) = (1.0 + i as f32 * 0.37, 0.3 * i as f32);
            let bound = formula::<Running>(a, b);
            let difference = (f64::from(formula::<f32>(a, b)) - formula::<f64>(a, b)).abs();
            assert!(difference <= bound.error(), "{a} {b}: {difference} > {bound}");
            assert!(bound.error() < 1e-4 * bound.to_f64().abs(), "{bound}");
        }
    }

    #[test]
    fn cancellation_magnifies() {
        let one = Running::from_f32(1.0);
        let third = one / Running::from_f32(3.0);
        let zero = third + third + third - one;
        assert!(zero.to_f64().abs() < 1e-15 && zero.error() > UNIT);
        assert!((one / zero).error().is_infinite());
    }
}
