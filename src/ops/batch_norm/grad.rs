//! The gradients of a batch norm in training: one pass adds up those by its parameters, another makes that by its input of them.

use super::{Channels, rows_of};
use crate::error::Result;
use crate::linalg::{Real, for_each_row};
use crate::op::{
    Bound, Buffer, Cost, Cpu, CpuArgs, Op, Recorder, Source, TINY, expect_inputs, gamma as rounding, moved_bytes, shader,
};
use crate::ops::channel_sums::{CHANNEL_SUMS, Constants, Pass, channel_sums};
use crate::ops::running_error::Running;
use crate::ops::update::expect_positive;
use crate::tensor::TensorType;

pub(super) static SUMS: Source = shader!("batch_norm_grad_sums");
pub(super) static PARAMETERS: Source = shader!("batch_norm_grad_parameters");
pub(super) static INPUT: Source = shader!("batch_norm_grad_input");

/// The gradients of a [`BatchNorm`](super::BatchNorm) by gamma and beta. Inputs: `dy` and `x` [.., c], `mean` and `variance` `[c]`, as the
/// batch norm gave them. Outputs, `[c]`: `dgamma = sum of dy (x - mean) / sqrt(variance + epsilon)`, `dbeta = sum of dy`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct BatchNormGradParameters {
    /// The batch norm's.
    pub epsilon: f64,
}

/// The gradient of a [`BatchNorm`](super::BatchNorm) by its input. Inputs: `dy` and `x` [.., c], `mean`, `variance` and `gamma` `[c]`, and what
/// [`BatchNormGradParameters`] gives; output like x:
/// `dx = gamma s (dy - dbeta / N - (x - mean) s dgamma / N)`, with `s = 1 / sqrt(variance + epsilon)` and N values a channel.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct BatchNormGradInput {
    /// The batch norm's.
    pub epsilon: f64,
}

/// Checks `dy`, `x` and the vectors after them.
fn check(inputs: &[TensorType], vectors: &[&str], epsilon: f64) -> Result<Channels> {
    let names: Vec<&str> = ["dy", "x"].iter().chain(vectors).copied().collect();
    expect_inputs(inputs, &names)?;
    expect_positive("epsilon", epsilon)?;
    let channels = Channels::of(&inputs[1])?;
    inputs[0].expect("dy", &inputs[1])?;
    channels.expect(&inputs[2..], vectors)?;
    Ok(channels)
}

impl Op for BatchNormGradParameters {
    fn name(&self) -> &'static str {
        "batch_norm_grad_parameters"
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>> {
        let channels = check(inputs, &["mean", "variance"], self.epsilon)?;
        Ok(vec![TensorType::f32([channels.c]); 2])
    }

    fn gpu(&self, r: &mut Recorder<'_>) -> Result<()> {
        let channels = Channels::checked(&r.x(1).shape);
        let e = channels.elements();
        let first = Pass::first(channels.rows, e.count(channels.c));
        let last = first.last();
        let partial = r.temp(TensorType::f32([first.n_blocks, 2, channels.c]));
        let constants = Constants { len: channels.rows, epsilon: self.epsilon, ..Constants::default() };
        let reads = [Buffer::Input(0), Buffer::Input(1), Buffer::Input(2)];
        first.record(r, e.kernel(&SUMS, &[&CHANNEL_SUMS]), &reads, &[partial], constants);
        let writes = [Buffer::Output(0), Buffer::Output(1)];
        last.record(r, e.kernel(&PARAMETERS, &[&CHANNEL_SUMS]), &[partial, Buffer::Input(3)], &writes, constants);
        r.declare_depth(first.additions() + last.additions());
        Ok(())
    }

    fn cost(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Cost {
        Cost { flops: 4 * inputs[0].elements() as u64, bytes: moved_bytes(inputs, outputs) }
    }

    fn error_bound(&self, b: &Bound<'_>) -> Result<Vec<Vec<f64>>> {
        let c = b.types[1].shape.last();
        let [dy, x, mean, variance] = [0, 1, 2, 3].map(|k| b.inputs[k].real());
        let [mut of_dy, mut of_products, mut products] = [vec![0.0; c], vec![0.0; c], vec![0.0; c]];
        for (dy, x) in dy.chunks_exact(c).zip(x.chunks_exact(c)) {
            for i in 0..c {
                let product = dy[i] * (x[i] - mean[i]);
                of_dy[i] += dy[i].abs();
                products[i] += product;
                of_products[i] += product.abs();
            }
        }
        // A difference and a product, each rounded, then the sum.
        let g = rounding(b.depth + 2);
        let dgamma = |i: usize| {
            let sum = Running::new(products[i], g * of_products[i] + TINY);
            let root = (Running::new(variance[i], 0.0) + Running::from_f64(self.epsilon)).sqrt();
            (sum * (Running::ONE / root)).error()
        };
        Ok(vec![(0..c).map(dgamma).collect(), of_dy.iter().map(|sum| g * sum + TINY).collect()])
    }
}

impl Cpu for BatchNormGradParameters {
    fn cpu<T: Real>(&self, args: &mut CpuArgs<'_, T>) {
        let Channels { rows, c } = Channels::checked(args.x_shape(1));
        let [dy, x, mean, variance] = [0, 1, 2, 3].map(|k| args.x(k));
        let (dgamma, dbeta) = (args.y(0), args.y(1));
        let [of_dy, of_products] = channel_sums(rows, c, |row, a, b| {
            let (dy, x) = (&dy[row * c..][..c], &x[row * c..][..c]);
            for ((((a, b), &dy), &x), &mean) in a.iter_mut().zip(b).zip(dy).zip(x).zip(mean) {
                *a += dy;
                *b += dy * (x - mean);
            }
        });
        let epsilon = T::from_f64(self.epsilon);
        dbeta.copy_from_slice(&of_dy);
        for ((dgamma, sum), &v) in dgamma.iter_mut().zip(of_products).zip(variance) {
            *dgamma = sum * (T::ONE / (v + epsilon).sqrt());
        }
    }
}

impl BatchNormGradInput {
    /// What an element of dx needs of its channel: mean, scale, along, offset; `dx = scale (dy - offset - (x - mean) along)`.
    fn channel<T: Real>(&self, inverse_len: T, [mean, variance, gamma, dgamma, dbeta]: [T; 5]) -> [T; 4] {
        let s = T::ONE / (variance + T::from_f64(self.epsilon)).sqrt();
        [mean, gamma * s, s * (inverse_len * dgamma), inverse_len * dbeta]
    }

    fn dx<T: Real>(dy: T, x: T, [mean, scale, along, offset]: [T; 4]) -> T {
        scale * (dy - offset - (x - mean) * along)
    }
}

impl Op for BatchNormGradInput {
    fn name(&self) -> &'static str {
        "batch_norm_grad_input"
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>> {
        check(inputs, &["mean", "variance", "gamma", "dgamma", "dbeta"], self.epsilon)?;
        Ok(vec![inputs[1].clone()])
    }

    fn gpu(&self, r: &mut Recorder<'_>) -> Result<()> {
        let channels = Channels::checked(&r.x(1).shape);
        let e = channels.elements();
        let groups = rows_of(&e, channels);
        let params = [
            ("n", groups.n()),
            ("rows", channels.rows.into()),
            ("c", e.count(channels.c).into()),
            ("epsilon", (self.epsilon as f32).into()),
            ("inverse_len", ((1.0 / channels.rows as f64) as f32).into()),
        ];
        let reads: [Buffer; 7] = std::array::from_fn(Buffer::Input);
        let grid = groups.grid(r);
        r.dispatch(e.kernel(&INPUT, &[]), &reads, &[Buffer::Output(0)], &params, grid);
        Ok(())
    }

    fn cost(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Cost {
        Cost { flops: 5 * inputs[0].elements() as u64, bytes: moved_bytes(inputs, outputs) }
    }

    fn error_bound(&self, b: &Bound<'_>) -> Result<Vec<Vec<f64>>> {
        let Channels { rows, c } = Channels::checked(&b.types[1].shape);
        let exact = |k: usize, i: usize| Running::new(b.inputs[k].real()[i], 0.0);
        let inverse_len = Running::from_f64(1.0 / rows as f64);
        let of_channel = |i: usize| self.channel(inverse_len, std::array::from_fn(|k| exact(k + 2, i)));
        let channels: Vec<[Running; 4]> = (0..c).map(of_channel).collect();
        Ok(b.each(|i, _| Self::dx(exact(0, i), exact(1, i), channels[i % c]).error()))
    }
}

impl Cpu for BatchNormGradInput {
    fn cpu<T: Real>(&self, args: &mut CpuArgs<'_, T>) {
        let Channels { rows, c } = Channels::checked(args.x_shape(1));
        let (dy, x) = (args.x(0), args.x(1));
        let inverse_len = T::from_f64(1.0 / rows as f64);
        let mut channels: [Vec<T>; 4] = std::array::from_fn(|_| Vec::with_capacity(c));
        for i in 0..c {
            let of_channel = self.channel(inverse_len, std::array::from_fn(|k| args.x(k + 2)[i]));
            channels.iter_mut().zip(of_channel).for_each(|(all, v)| all.push(v));
        }
        let [mean, scale, along, offset] = &channels;
        for_each_row(args.y(0), c, |row, dx| {
            let (dy, x) = (&dy[row * c..][..c], &x[row * c..][..c]);
            let channel = mean.iter().zip(scale).zip(along.iter().zip(offset));
            for (((dx, &dy), &x), ((&mean, &scale), (&along, &offset))) in dx.iter_mut().zip(dy).zip(x).zip(channel) {
                *dx = Self::dx(dy, x, [mean, scale, along, offset]);
            }
        });
    }
}
