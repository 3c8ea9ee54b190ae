//! The tail of the normal distribution, which the error function is another name of: `P(X > a) = erfc(a / sqrt(2)) / 2`.

use super::Real;

/// Coefficients of [`tail_by_exp`], from the constant one on; all are single-precision numbers.
const COEFFICIENTS: [f64; 9] =
    [-1.835_112_8, 0.996_978_76, 0.373_005_1, -0.185_107_22, 0.551_12, -1.764_824_3, 1.960_641_3, -0.981_641_1, 0.191_793_07];

/// By how much [`tail_by_exp`] is off at most, as a share of its value, without roundings.
pub const TAIL_ERROR: f64 = 2.5e-7;

/// `P(X > a)`, X standard normal, for `a` of 0 or more, as single precision and shaders have it: `t exp(p(t) - a^2 / 2)` with
/// `t = 1 / (1 + 0.4 a)`. The polynomial p was fitted to the logarithm of what is left, at Chebyshev points for a up to 14; from there on
/// the tail is 0 in single precision.
pub fn tail_by_exp<T: Real>(a: T) -> T {
    // Squares mustn't overflow.
    let a = if a > T::from_f64(16.0) { T::from_f64(16.0) } else { a };
    let t = T::ONE / (T::ONE + T::from_f32(0.4) * a);
    let p = COEFFICIENTS.iter().rev().fold(T::ZERO, |p, &c| p * t + T::from_f32(c as f32));
    t * (p - T::from_f32(0.5) * a * a).exp()
}

/// `P(X > a)`, X standard normal, for `a` of 0 or more, to a few units of double precision: by the series of the integral from 0 (M.
/// Abramowitz, I. Stegun, "Handbook of Mathematical Functions", 26.2.11), by Laplace's continued fraction (26.2.14) from 3 on.
pub fn tail(a: f64) -> f64 {
    let density = (-0.5 * a * a).exp() / (2.0 * std::f64::consts::PI).sqrt();
    if a < 3.0 {
        let (mut term, mut sum, mut k) = (a, a, 3.0);
        while term > 1e-17 * sum {
            term *= a * a / k;
            sum += term;
            k += 2.0;
        }
        return 0.5 - density * sum;
    }
    // Of infinity 0, of a NaN NaN.
    density / (1..=80).rev().fold(a, |rest, k| a + f64::from(k) / rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values_and_where_the_formula_changes() {
        for (a, want) in
            [(0.0, 0.5), (1.0, 0.158_655_253_931_457_05), (2.0, 0.022_750_131_948_179_21), (6.0, 9.865_876_450_376_98e-10)]
        {
            assert!((tail(a) - want).abs() < 1e-13 * want, "{a}: {}", tail(a));
        }
        let (below, above) = (tail(3.0 - 1e-13), tail(3.0));
        assert!((below / above - 1.0).abs() < 2e-12, "{below} {above}");
        assert!(tail(f64::NAN).is_nan() && tail(f64::INFINITY) == 0.0);
    }

    #[test]
    fn the_fit_is_as_good_as_it_says() {
        for i in 0..14_000 {
            let a = f64::from(i) * 1e-3;
            let share = tail_by_exp(a) / tail(a) - 1.0;
            assert!(share.abs() < TAIL_ERROR, "{a}: {share}");
        }
        assert!(tail_by_exp(f32::MAX) == 0.0 && tail_by_exp(f32::NAN).is_nan());
    }
}
