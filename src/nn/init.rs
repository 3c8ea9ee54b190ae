//! Initial values of parameters.

use crate::error::{Error, Result};
use crate::random::{Seed, Stream};
use crate::tensor::{Shape, Tensor};

/// How a parameter is filled before training.
///
/// Fan in and fan out are the numbers of inputs that an output sees and of outputs that see an input: for a convolution's weights
/// `[k_h, k_w, c_in / groups, c_out]`, `k_h * k_w * c_in / groups` and `k_h * k_w * c_out`; for a dense layer's `[in, out]`, `in` and
/// `out`. Numbers are drawn on the host, so they are the same for every device.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Init {
    /// Zeros: the default of biases.
    Zeros,
    /// Ones.
    Ones,
    /// One value.
    Constant(f32),
    /// Uniform from `low` to `high`.
    Uniform {
        /// The least value.
        low: f32,
        /// The largest value.
        high: f32,
    },
    /// Normal with mean 0 and this deviation.
    Normal {
        /// Standard deviation, above 0. Keras's default is 0.05, PyTorch's 1.
        deviation: f32,
    },
    /// [`Init::Normal`] of which what is further from 0 than two deviations is drawn again (Keras's `truncated_normal`).
    TruncatedNormal {
        /// Standard deviation before the tails are cut off, which leaves 0.8796 of it; above 0.
        deviation: f32,
    },
    /// Normal with deviation `sqrt(1 / fan_in)`, for layers that SELU follows (Y. LeCun et al., "Efficient BackProp", 1998). Not truncated;
    /// Keras's `lecun_normal` is.
    LecunNormal,
    /// Uniform between `-sqrt(3 / fan_in)` and `sqrt(3 / fan_in)`.
    LecunUniform,
    /// An orthogonal matrix times `gain`: the rows or the columns, whichever are fewer, of the weights as a matrix
    /// `[product of the other dimensions, c_out]` are orthogonal to each other and of length `gain` (A. Saxe, J. McClelland, S. Ganguli,
    /// "Exact solutions to the nonlinear dynamics of learning in deep linear neural networks", ICLR 2014; so Keras, while PyTorch takes
    /// `[c_out, product of the others]`). It takes `rows * columns * the fewer of both` multiplications on the host.
    Orthogonal {
        /// Length of the rows or columns, above 0; 1 by default in Keras and PyTorch.
        gain: f32,
    },
    /// Normal with deviation `sqrt(2 / fan_in)`, for layers that ReLU follows (K. He et al., "Delving Deep into Rectifiers", ICCV 2015).
    /// Not truncated, as in PyTorch; Keras's `he_normal` cuts the tails at two deviations.
    HeNormal,
    /// Uniform between `-sqrt(6 / fan_in)` and `sqrt(6 / fan_in)`.
    HeUniform,
    /// Normal with deviation `sqrt(2 / (fan_in + fan_out))` (X. Glorot, Y. Bengio, "Understanding the difficulty of training deep
    /// feedforward neural networks", AISTATS 2010). Not truncated, as in PyTorch; Keras's is.
    GlorotNormal,
    /// Uniform between `-sqrt(6 / (fan_in + fan_out))` and `sqrt(6 / (fan_in + fan_out))`: the default of weights, as in Keras (PyTorch's
    /// is uniform to `sqrt(1 / fan_in)`).
    GlorotUniform,
}

impl Init {
    /// Fails for numbers that make no sense.
    pub(crate) fn check(self) -> Result<()> {
        let positive = |what: &str, x: f32| {
            if x > 0.0 && x.is_finite() { Ok(()) } else { Err(Error::invalid(what, x, "a positive number")) }
        };
        match self {
            Init::Constant(value) if !value.is_finite() => Err(Error::invalid("initial value", value, "a finite number")),
            Init::Uniform { low, high } if !(low.is_finite() && high.is_finite() && low <= high) => Err(Error::invalid(
                "range of initial values",
                format!("{low} to {high}"),
                "two finite numbers, the lower one first",
            )),
            Init::Normal { deviation } | Init::TruncatedNormal { deviation } => {
                positive("deviation of initial values", deviation)
            }
            Init::Orthogonal { gain } => positive("gain of initial values", gain),
            _ => Ok(()),
        }
    }

    /// The initial values of parameter number `index` of a model.
    pub fn tensor(self, shape: &Shape, seed: Seed, index: u32) -> Result<Tensor> {
        let shape = shape.clone().checked("shape")?;
        let n = shape.elements();
        let (fan_in, fan_out) = fans(&shape);
        let mut stream = Stream::new(seed, index);
        let mut normal = |variance: f64| {
            let deviation = variance.sqrt();
            (0..n).map(|_| (stream.normal() * deviation) as f32).collect()
        };
        let values = match self {
            Init::Zeros => vec![0.0; n],
            Init::Ones => vec![1.0; n],
            Init::Constant(value) => vec![value; n],
            Init::Uniform { low, high } => {
                let (low, high) = (f64::from(low), f64::from(high));
                (0..n).map(|_| (low + stream.uniform() * (high - low)) as f32).collect()
            }
            Init::Normal { deviation } => normal(f64::from(deviation).powi(2)),
            Init::TruncatedNormal { deviation } => {
                (0..n).map(|_| (truncated(&mut stream) * f64::from(deviation)) as f32).collect()
            }
            Init::Orthogonal { gain } => orthogonal(&mut stream, n / shape.last(), shape.last(), f64::from(gain)),
            Init::LecunNormal => normal(1.0 / fan_in),
            Init::LecunUniform => uniform(&mut stream, n, 3.0 / fan_in),
            Init::HeNormal => normal(2.0 / fan_in),
            Init::GlorotNormal => normal(2.0 / (fan_in + fan_out)),
            Init::HeUniform => uniform(&mut stream, n, 6.0 / fan_in),
            Init::GlorotUniform => uniform(&mut stream, n, 6.0 / (fan_in + fan_out)),
        };
        Tensor::f32(shape, values)
    }
}

/// Between plus and minus the root of `square`.
fn uniform(stream: &mut Stream, n: usize, square: f64) -> Vec<f32> {
    let bound = square.sqrt();
    (0..n).map(|_| ((2.0 * stream.uniform() - 1.0) * bound) as f32).collect()
}

/// A normal number within two deviations.
fn truncated(stream: &mut Stream) -> f64 {
    loop {
        let x = stream.normal();
        if x.abs() <= 2.0 {
            return x;
        }
    }
}

/// A matrix `[rows, columns]`: as many orthogonal vectors as its shorter side has, of normal numbers by Gram and Schmidt's way, each made
/// orthogonal to those before it twice, as once leaves too much of them.
fn orthogonal(stream: &mut Stream, rows: usize, columns: usize, gain: f64) -> Vec<f32> {
    let (n, len) = (rows.min(columns), rows.max(columns));
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let mut vectors: Vec<Vec<f64>> = Vec::with_capacity(n);
    for _ in 0..n {
        let mut v: Vec<f64> = (0..len).map(|_| stream.normal()).collect();
        for _ in 0..2 {
            for earlier in &vectors {
                let along = dot(&v, earlier);
                v.iter_mut().zip(earlier).for_each(|(v, e)| *v -= along * e);
            }
        }
        let norm = dot(&v, &v).sqrt();
        v.iter_mut().for_each(|v| *v /= norm);
        vectors.push(v);
    }
    let at = |row: usize, column: usize| if columns <= rows { vectors[column][row] } else { vectors[row][column] };
    (0..rows * columns).map(|i| (gain * at(i / columns, i % columns)) as f32).collect()
}

fn fans(shape: &Shape) -> (f64, f64) {
    match shape.dims() {
        [window @ .., c_in, c_out] => {
            let taps = window.iter().product::<usize>() as f64;
            (taps * *c_in as f64, taps * *c_out as f64)
        }
        dims => {
            let n = dims.iter().product::<usize>() as f64;
            (n, n)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moments(init: Init, shape: [usize; 4]) -> (f64, f64, f64) {
        let t = init.tensor(&shape.into(), Seed(7), 3).unwrap();
        let v: Vec<f64> = t.as_f32().unwrap().iter().map(|&x| f64::from(x)).collect();
        let n = v.len() as f64;
        let mean = v.iter().sum::<f64>() / n;
        let variance = v.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
        (mean, variance.sqrt(), v.iter().fold(0.0, |a, x| a.max(x.abs())))
    }

    #[test]
    fn deviations_and_bounds() {
        // 3x3x64 to 128: fan in 576, fan out 1,152; 73,728 values, so the deviation is known to 0.3% and the mean to 0.4% of it.
        let shape = [3, 3, 64, 128];
        let (fan_in, fan_out) = (576.0f64, 1152.0f64);
        let he = (2.0 / fan_in).sqrt();
        assert!((he - 0.05893).abs() < 1e-5);
        let glorot = (2.0 / (fan_in + fan_out)).sqrt();
        for (init, deviation, bound) in [
            (Init::HeNormal, he, f64::INFINITY),
            (Init::HeUniform, he, he * 3f64.sqrt()),
            (Init::GlorotNormal, glorot, f64::INFINITY),
            (Init::GlorotUniform, glorot, glorot * 3f64.sqrt()),
        ] {
            let (mean, found, largest) = moments(init, shape);
            assert!(mean.abs() < 0.015 * deviation, "{init:?} {mean}");
            assert!((found / deviation - 1.0).abs() < 0.012, "{init:?} {found}");
            assert!(largest <= bound * 1.000001, "{init:?} {largest}");
            assert!(largest > 1.7 * deviation, "{init:?} {largest}");
        }
        assert_eq!(moments(Init::Constant(0.5), shape), (0.5, 0.0, 0.5));
        assert_eq!((moments(Init::Zeros, shape), moments(Init::Ones, shape)), ((0.0, 0.0, 0.0), (1.0, 0.0, 1.0)));
        let lecun = (1.0 / fan_in).sqrt();
        // A normal distribution cut off at two deviations has 0.8796 of its deviation.
        for (init, deviation, least, most) in [
            (Init::Normal { deviation: 0.05 }, 0.05, 0.19, f64::INFINITY),
            (Init::TruncatedNormal { deviation: 0.05 }, 0.05 * 0.879_626, 0.0999, 0.1),
            (Init::LecunNormal, lecun, 3.8 * lecun, f64::INFINITY),
            (Init::LecunUniform, lecun, 0.999 * lecun * 3f64.sqrt(), lecun * 3f64.sqrt()),
            (Init::Uniform { low: -0.3, high: 0.3 }, 0.3 / 3f64.sqrt(), 0.2999, 0.3),
        ] {
            let (mean, found, largest) = moments(init, shape);
            assert!(mean.abs() < 0.015 * deviation, "{init:?} {mean}");
            assert!((found / deviation - 1.0).abs() < 0.012, "{init:?} {found}");
            assert!((least..=most * 1.000_001).contains(&largest), "{init:?} {largest}");
        }
        let (mean, _, largest) = moments(Init::Uniform { low: 0.5, high: 1.5 }, shape);
        assert!((mean - 1.0).abs() < 0.005 && largest <= 1.5, "{mean} {largest}");
    }

    #[test]
    fn orthogonal_rows_or_columns() {
        for (shape, rows, columns) in [([3, 3, 4, 8], 36, 8), ([1, 1, 3, 10], 3, 10), ([1, 1, 7, 7], 7, 7)] {
            let t = Init::Orthogonal { gain: 1.5 }.tensor(&shape.into(), Seed(7), 3).unwrap();
            let v: Vec<f64> = t.as_f32().unwrap().iter().map(|&x| f64::from(x)).collect();
            let (n, len) = (rows.min(columns), rows.max(columns));
            let at = |vector: usize, i: usize| if columns <= rows { v[i * columns + vector] } else { v[vector * columns + i] };
            for (a, b) in (0..n).flat_map(|a| (0..n).map(move |b| (a, b))) {
                let product: f64 = (0..len).map(|i| at(a, i) * at(b, i)).sum();
                let want = if a == b { 2.25 } else { 0.0 };
                assert!((product - want).abs() < 1e-6, "{shape:?} {a} {b}: {product}");
            }
        }
    }

    #[test]
    fn numbers_that_make_no_sense_are_refused() {
        for bad in [
            Init::Constant(f32::NAN),
            Init::Uniform { low: 1.0, high: 0.0 },
            Init::Normal { deviation: 0.0 },
            Init::TruncatedNormal { deviation: f32::INFINITY },
            Init::Orthogonal { gain: -1.0 },
        ] {
            assert!(bad.check().is_err(), "{bad:?}");
        }
        assert!(Init::Uniform { low: 0.5, high: 0.5 }.check().is_ok());
    }

    #[test]
    fn values_depend_on_seed_and_index() {
        let make = |seed, index| Init::HeNormal.tensor(&[3, 5].into(), Seed(seed), index).unwrap();
        assert_eq!(make(1, 0), make(1, 0));
        assert_ne!(make(1, 0), make(1, 1));
        assert_ne!(make(1, 0), make(2, 0));
    }
}
