//! The two number types that the CPU runs in.

use super::normal::{tail, tail_by_exp};
use std::fmt::{Debug, Display};
use std::iter::Sum;
use std::ops::{Add, AddAssign, Div, DivAssign, Mul, MulAssign, Neg, Sub, SubAssign};

/// `f32` or `f64`.
pub trait Real:
    Copy
    + Debug
    + Display
    + Default
    + PartialOrd
    + Send
    + Sync
    + 'static
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + AddAssign
    + SubAssign
    + MulAssign
    + DivAssign
    + Sum
{
    /// 0.
    const ZERO: Self;
    /// 1.
    const ONE: Self;
    /// Negative infinity.
    const NEG_INFINITY: Self;
    /// The nearest value.
    fn from_f64(v: f64) -> Self;
    /// The nearest value.
    fn from_f32(v: f32) -> Self;
    /// The same value, or the nearest for `f32`.
    fn to_f64(self) -> f64;
    /// The nearest f32.
    fn to_f32(self) -> f32;
    /// e^x.
    fn exp(self) -> Self;
    /// Natural logarithm.
    fn ln(self) -> Self;
    /// ln(1 + x).
    fn ln_1p(self) -> Self;
    /// Hyperbolic tangent.
    fn tanh(self) -> Self;
    /// Square root.
    fn sqrt(self) -> Self;
    /// Absolute value.
    fn abs(self) -> Self;
    /// `P(X > self)`, X standard normal, of 0 or more.
    fn normal_tail(self) -> Self;
    /// The larger one; NaN if either is.
    fn max(self, other: Self) -> Self;
    /// -1, 0 or 1; NaN of a NaN.
    fn sign(self) -> Self;
    /// Whether this is a NaN.
    fn is_nan(self) -> bool;
    /// Whether this is neither a NaN nor infinite.
    fn is_finite(self) -> bool;

    /// The same numbers if they are `f32`.
    fn singles(v: &mut [Self]) -> Option<&mut [f32]> {
        let _ = v;
        None
    }
}

macro_rules! real {
    ($t:ty, $normal_tail:path $(, $singles:item)?) => {
        impl Real for $t {
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;
            const NEG_INFINITY: Self = <$t>::NEG_INFINITY;
            fn from_f64(v: f64) -> Self {
                v as $t
            }
            fn from_f32(v: f32) -> Self {
                v as $t
            }
            fn to_f64(self) -> f64 {
                self as f64
            }
            fn to_f32(self) -> f32 {
                self as f32
            }
            fn exp(self) -> Self {
                <$t>::exp(self)
            }
            fn ln(self) -> Self {
                <$t>::ln(self)
            }
            fn ln_1p(self) -> Self {
                <$t>::ln_1p(self)
            }
            fn tanh(self) -> Self {
                <$t>::tanh(self)
            }
            fn sqrt(self) -> Self {
                <$t>::sqrt(self)
            }
            fn abs(self) -> Self {
                <$t>::abs(self)
            }
            fn normal_tail(self) -> Self {
                $normal_tail(self)
            }
            fn max(self, other: Self) -> Self {
                if self >= other || <$t>::is_nan(self) { self } else { other }
            }
            fn sign(self) -> Self {
                if self > 0.0 {
                    1.0
                } else if self < 0.0 {
                    -1.0
                } else {
                    self
                }
            }
            fn is_nan(self) -> bool {
                <$t>::is_nan(self)
            }
            fn is_finite(self) -> bool {
                <$t>::is_finite(self)
            }
            $($singles)?
        }
    };
}
real!(
    f32,
    tail_by_exp,
    fn singles(v: &mut [f32]) -> Option<&mut [f32]> {
        Some(v)
    }
);
real!(f64, tail);
