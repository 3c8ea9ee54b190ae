//! Batch norm taken into the weights before it.

use super::{Normalise, exact_channel};
use crate::error::{Error, Result};
use crate::linalg::{Real, for_each_row};
use crate::op::{Bound, Buffer, Cost, Cpu, CpuArgs, Op, Recorder, Source, expect_inputs, moved_bytes, shader};
use crate::ops::elements::Elements;
use crate::ops::running_error::Running;
use crate::ops::update::expect_positive;
use crate::tensor::{DType, TensorType};

pub(super) static FOLD: Source = shader!("batch_norm_fold");

/// Weights and bias of the convolution, or product, that is one followed by a [`BatchNormInference`](super::BatchNormInference). Inputs: `w`
/// [.., c], the bias `[c]` if there is one, `mean`, `variance`, `gamma`, `beta` `[c]`. Outputs: `w scale` like w and
/// `(bias - mean) scale + beta` `[c]`, with `scale = gamma / sqrt(variance + epsilon)` along the last axis.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct BatchNormFold {
    /// The batch norm's.
    pub epsilon: f64,
    /// Whether there is a bias to fold.
    pub bias: bool,
}

impl BatchNormFold {
    /// Index of the input `mean`.
    fn first(&self) -> usize {
        1 + usize::from(self.bias)
    }
}

impl Op for BatchNormFold {
    fn name(&self) -> &'static str {
        "batch_norm_fold"
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>> {
        let all = ["w", "bias", "mean", "variance", "gamma", "beta"];
        let names: Vec<&str> = all.into_iter().filter(|&name| self.bias || name != "bias").collect();
        expect_inputs(inputs, &names)?;
        expect_positive("epsilon", self.epsilon)?;
        inputs[0].expect_dtype("w", DType::F32)?;
        if inputs[0].shape.rank() == 0 {
            return Err(Error::invalid("w", &inputs[0], "1 or more dimensions, channels last"));
        }
        let vector = TensorType::f32([inputs[0].shape.last()]);
        inputs[1..].iter().zip(&names[1..]).try_for_each(|(ty, name)| ty.expect(name, &vector))?;
        Ok(vec![inputs[0].clone(), vector])
    }

    fn gpu(&self, r: &mut Recorder<'_>) -> Result<()> {
        let c = r.y(1).elements();
        let e = Elements::aligned(r.y(0).elements(), c);
        let params = [("n", e.n()), ("c", e.count(c).into()), ("epsilon", (self.epsilon as f32).into())];
        let input = |k: usize| Buffer::Input(self.first() + k);
        let bias = if self.bias { Buffer::Input(1) } else { input(0) };
        let reads = [Buffer::Input(0), bias, input(0), input(1), input(2), input(3)];
        let kernel = e.kernel(&FOLD, &[]).set("HAS_BIAS", self.bias);
        let grid = e.grid(r);
        r.dispatch(kernel, &reads, &[Buffer::Output(0), Buffer::Output(1)], &params, grid);
        Ok(())
    }

    fn cost(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Cost {
        Cost { flops: inputs[0].elements() as u64, bytes: moved_bytes(inputs, outputs) }
    }

    fn error_bound(&self, b: &Bound<'_>) -> Result<Vec<Vec<f64>>> {
        let c = b.outputs[1].real().len();
        let input = |k: usize, i: usize| Running::new(b.inputs[k].real()[i], 0.0);
        let (mut scales, mut biases) = (Vec::with_capacity(c), Vec::with_capacity(c));
        for i in 0..c {
            let [mean, variance, gamma, beta] = exact_channel(b, self.first(), i);
            let scale = gamma * (Running::ONE / (variance + Running::from_f64(self.epsilon)).sqrt());
            let bias = if self.bias { input(1, i) } else { Running::ZERO };
            biases.push(((bias - mean) * scale + beta).error());
            scales.push(scale);
        }
        let w = (0..b.outputs[0].real().len()).map(|i| (input(0, i) * scales[i % c]).error()).collect();
        Ok(vec![w, biases])
    }
}

impl Cpu for BatchNormFold {
    fn cpu<T: Real>(&self, args: &mut CpuArgs<'_, T>) {
        let first = self.first();
        let (w, bias) = (args.x(0), self.bias.then(|| args.x(1)));
        let [mean, variance, gamma, beta] = [0, 1, 2, 3].map(|k| args.x(first + k));
        let scale = Normalise { mean, variance, gamma, beta, epsilon: self.epsilon }.scale();
        let (folded_w, folded_bias) = (args.y(0), args.y(1));
        let c = scale.len();
        for_each_row(folded_w, c, |row, y| {
            for ((y, &w), &scale) in y.iter_mut().zip(&w[row * c..][..c]).zip(&scale) {
                *y = w * scale;
            }
        });
        for i in 0..c {
            folded_bias[i] = (bias.map_or(T::ZERO, |bias| bias[i]) - mean[i]) * scale[i] + beta[i];
        }
    }
}
