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
    /// Fails for a constant that isn't finite.
    pub(crate) fn check(self) -> Result<()> {
        match self {
            Init::Constant(value) if !value.is_finite() => Err(Error::invalid("initial value", value, "a finite number")),
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
    }

    #[test]
    fn values_depend_on_seed_and_index() {
        let make = |seed, index| Init::HeNormal.tensor(&[3, 5].into(), Seed(seed), index).unwrap();
        assert_eq!(make(1, 0), make(1, 0));
        assert_ne!(make(1, 0), make(1, 1));
        assert_ne!(make(1, 0), make(2, 0));
    }
}
