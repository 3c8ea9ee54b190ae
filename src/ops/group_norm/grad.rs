//! The gradients of a group norm: by its input from two sums a group, by its parameters from two sums a channel.

use super::sums::{Statistic, pair_sums};
use super::{GROUPS, Grouping, Groups, elementwise, scales};
use crate::error::Result;
use crate::linalg::{Real, for_each_row};
use crate::op::{
    Bound, Buffer, Cost, Cpu, CpuArgs, Op, Recorder, Source, TINY, expect_inputs, gamma as rounding, moved_bytes, shader,
};
use crate::ops::channel_sums::{CHANNEL_SUMS, Constants, Pass, channel_sums};
use crate::ops::elements::QUOTIENT;
use crate::ops::running_error::Running;
use crate::ops::update::expect_positive;
use crate::tensor::TensorType;

pub(super) static SUMS: Source = shader!("group_norm_grad_sums");
pub(super) static MEANS: Source = shader!("group_norm_grad_means");
pub(super) static INPUT: Source = shader!("group_norm_grad_input");
pub(super) static PARAMETERS: Source = shader!("group_norm_grad_parameters");
pub(super) static TOTAL: Source = shader!("group_norm_grad_total");

/// The gradient of a [`GroupNorm`](super::GroupNorm) by its input. Inputs: `dy` and `x`, which `grouping` divides, `mean` and `variance`
/// `[n, groups]`, as the norm gave them, `gamma` `[c]`; output like x: with `s = 1 / sqrt(variance + epsilon)`, `g = dy gamma` and means over
/// a group, `dx = s (g - mean of g - (x - mean) s^2 mean of g (x - mean))`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct GroupNormGradInput {
    /// The norm's.
    pub grouping: Grouping,
    /// The norm's.
    pub epsilon: f64,
}

/// The gradients of a [`GroupNorm`](super::GroupNorm) by gamma and beta. Inputs: `dy` and `x`, which `grouping` divides, `mean` and
/// `variance` `[n, groups]`, as the norm gave them. Outputs, `[c]`: `dgamma = sum of dy (x - mean) / sqrt(variance + epsilon)`,
/// `dbeta = sum of dy`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct GroupNormGradParameters {
    /// The norm's.
    pub grouping: Grouping,
    /// The norm's.
    pub epsilon: f64,
}

/// Checks `dy`, `x`, `mean`, `variance`.
fn check(inputs: &[TensorType], grouping: Grouping, epsilon: f64) -> Result<Groups> {
    expect_positive("epsilon", epsilon)?;
    let groups = grouping.of(&inputs[1])?;
    inputs[0].expect("dy", &inputs[1])?;
    inputs[2].expect("mean", &groups.statistic())?;
    inputs[3].expect("variance", &groups.statistic())?;
    Ok(groups)
}

impl Op for GroupNormGradInput {
    fn name(&self) -> &'static str {
        "group_norm_grad_input"
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>> {
        expect_inputs(inputs, &["dy", "x", "mean", "variance", "gamma"])?;
        let groups = check(inputs, self.grouping, self.epsilon)?;
        inputs[4].expect("gamma", &groups.vector())?;
        Ok(vec![inputs[1].clone()])
    }

    fn gpu(&self, r: &mut Recorder<'_>) -> Result<()> {
        let groups = self.grouping.checked(&r.x(1).shape);
        let statistic = Statistic::of(&groups);
        let [dy, x, mean, variance, gamma] = [0, 1, 2, 3, 4].map(Buffer::Input);
        let partial = statistic.record_sums(r, &SUMS, &[dy, x, mean, gamma]);
        let [of_g, along] = [(); 2].map(|()| r.temp(groups.statistic()));
        statistic.record_total(r, &MEANS, &[partial, variance], &[of_g, along], self.epsilon);
        r.declare_depth(statistic.additions());
        let (params, grid, whole) = elementwise(&groups, r, self.epsilon);
        let kernel = groups.elements().kernel(&INPUT, &[&QUOTIENT, &GROUPS]).set("WHOLE", whole);
        r.dispatch(kernel, &[dy, x, mean, variance, gamma, of_g, along], &[Buffer::Output(0)], &params, grid);
        Ok(())
    }

    fn cost(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Cost {
        Cost { flops: 11 * inputs[0].elements() as u64, bytes: moved_bytes(inputs, outputs) }
    }

    fn error_bound(&self, b: &Bound<'_>) -> Result<Vec<Vec<f64>>> {
        let groups = self.grouping.checked(&b.types[1].shape);
        let [dy, x, mean, variance, gamma] = [0, 1, 2, 3, 4].map(|k| b.inputs[k].real());
        let mut sums = vec![[0.0; 4]; mean.len()];
        for (i, (&dy, &x)) in dy.iter().zip(x).enumerate() {
            let k = groups.group_of(i);
            let g = dy * gamma[i % groups.c];
            let product = g * (x - mean[k]);
            for (sum, v) in sums[k].iter_mut().zip([g, product, g.abs(), product.abs()]) {
                *sum += v;
            }
        }
        // A product, then a difference and a product, each rounded, then the sums.
        let g = rounding(b.depth + 3);
        let inverse = Running::from_f64(1.0 / groups.len() as f64);
        let of_group = |k: usize| {
            let [sum, product, of_sum, of_product] = sums[k];
            let of = |value: f64, absolute: f64| inverse * Running::new(value, g * absolute + TINY);
            let s = Running::ONE / (Running::new(variance[k], 0.0) + Running::from_f64(self.epsilon)).sqrt();
            [of(sum, of_sum), of(product, of_product) * (s * s), s]
        };
        let of_groups: Vec<[Running; 3]> = (0..mean.len()).map(of_group).collect();
        Ok(b.each(|i, _| {
            let k = groups.group_of(i);
            let [of_g, along, s] = of_groups[k];
            let exact = |v: f64| Running::new(v, 0.0);
            let g = exact(dy[i]) * exact(gamma[i % groups.c]);
            (s * (g - of_g - (exact(x[i]) - exact(mean[k])) * along)).error()
        }))
    }
}

impl Cpu for GroupNormGradInput {
    fn cpu<T: Real>(&self, args: &mut CpuArgs<'_, T>) {
        let groups = self.grouping.checked(args.x_shape(1));
        let [dy, x, mean, variance, gamma] = [0, 1, 2, 3, 4].map(|k| args.x(k));
        let scales = scales(mean, variance, self.epsilon);
        let inverse = T::from_f64(1.0 / groups.len() as f64);
        let (c, per) = (groups.c, groups.per());
        for_each_row(args.y(0), groups.pixels * c, |o, dx| {
            let sums = pair_sums(&groups, o, |at, channel, g, a, b| {
                let mean = mean[o * groups.groups + g];
                let terms = dy[at..].iter().zip(&x[at..]).zip(&gamma[channel..]);
                for ((a, b), ((&dy, &x), &gamma)) in a.iter_mut().zip(b).zip(terms) {
                    let v = dy * gamma;
                    *a += v;
                    *b += v * (x - mean);
                }
            });
            for (p, dx) in dx.chunks_exact_mut(c).enumerate() {
                let first = (o * groups.pixels + p) * c;
                for (g, (dx, [of_g, product])) in dx.chunks_exact_mut(per).zip(&sums).enumerate() {
                    let ([mean, s], at) = (scales[o * groups.groups + g], first + g * per);
                    let (of_g, along) = (inverse * *of_g, inverse * *product * (s * s));
                    let terms = dy[at..].iter().zip(&x[at..]).zip(&gamma[g * per..]);
                    for (dx, ((&dy, &x), &gamma)) in dx.iter_mut().zip(terms) {
                        *dx = s * (dy * gamma - of_g - (x - mean) * along);
                    }
                }
            }
        });
    }
}

impl Op for GroupNormGradParameters {
    fn name(&self) -> &'static str {
        "group_norm_grad_parameters"
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>> {
        expect_inputs(inputs, &["dy", "x", "mean", "variance"])?;
        let groups = check(inputs, self.grouping, self.epsilon)?;
        Ok(vec![groups.vector(); 2])
    }

    fn gpu(&self, r: &mut Recorder<'_>) -> Result<()> {
        let groups = self.grouping.checked(&r.x(1).shape);
        let (e, rows) = (groups.elements(), groups.n * groups.pixels);
        let first = Pass::first(rows, e.count(groups.c));
        let last = first.last();
        let partial = r.temp(TensorType::f32([first.n_blocks, 2, groups.c]));
        let constants = Constants {
            len: rows,
            epsilon: self.epsilon,
            pixels: groups.pixels,
            n_groups: groups.groups,
            per_group: groups.per(),
            ..Constants::default()
        };
        let (_, _, whole) = elementwise(&groups, r, self.epsilon);
        let kernel = e.kernel(&PARAMETERS, &[&QUOTIENT, &GROUPS, &CHANNEL_SUMS]).set("WHOLE", whole);
        first.record(r, kernel, &[0, 1, 2, 3].map(Buffer::Input), &[partial], constants);
        let kernel = e.kernel(&TOTAL, &[&CHANNEL_SUMS]);
        last.record(r, kernel, &[partial], &[Buffer::Output(0), Buffer::Output(1)], constants);
        r.declare_depth(first.additions() + last.additions());
        Ok(())
    }

    fn cost(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Cost {
        Cost { flops: 5 * inputs[0].elements() as u64, bytes: moved_bytes(inputs, outputs) }
    }

    fn error_bound(&self, b: &Bound<'_>) -> Result<Vec<Vec<f64>>> {
        let groups = self.grouping.checked(&b.types[1].shape);
        let [dy, x, mean, variance] = [0, 1, 2, 3].map(|k| b.inputs[k].real());
        let scales: Vec<Running> = variance
            .iter()
            .map(|&v| Running::ONE / (Running::new(v, 0.0) + Running::from_f64(self.epsilon)).sqrt())
            .collect();
        let [mut of_dy, mut of_products, mut off] = [(); 3].map(|()| vec![0.0; groups.c]);
        for (i, (&dy, &x)) in dy.iter().zip(x).enumerate() {
            let k = groups.group_of(i);
            let exact = |v: f64| Running::new(v, 0.0);
            let term = exact(dy) * ((exact(x) - exact(mean[k])) * scales[k]);
            of_dy[i % groups.c] += dy.abs();
            of_products[i % groups.c] += term.to_f64().abs() + term.error();
            off[i % groups.c] += term.error();
        }
        // What the terms are off by, and the sum's roundings.
        let g = rounding(b.depth);
        let dgamma = of_products.iter().zip(&off).map(|(sum, off)| g * sum + off + TINY).collect();
        Ok(vec![dgamma, of_dy.iter().map(|sum| g * sum + TINY).collect()])
    }
}

impl Cpu for GroupNormGradParameters {
    fn cpu<T: Real>(&self, args: &mut CpuArgs<'_, T>) {
        let groups = self.grouping.checked(args.x_shape(1));
        let [dy, x, mean, variance] = [0, 1, 2, 3].map(|k| args.x(k));
        let (dgamma, dbeta) = (args.y(0), args.y(1));
        let scales = scales(mean, variance, self.epsilon);
        let (c, per) = (groups.c, groups.per());
        let [of_dy, of_products] = channel_sums(groups.n * groups.pixels, c, |row, a, b| {
            let of_groups = &scales[row / groups.pixels * groups.groups..][..groups.groups];
            let (dy, x) = (&dy[row * c..][..c], &x[row * c..][..c]);
            for (g, &[mean, scale]) in of_groups.iter().enumerate() {
                let of = g * per..(g + 1) * per;
                let terms = dy[of.clone()].iter().zip(&x[of.clone()]);
                for ((a, b), (&dy, &x)) in a[of.clone()].iter_mut().zip(&mut b[of]).zip(terms) {
                    *a += dy;
                    *b += dy * ((x - mean) * scale);
                }
            }
        });
        dgamma.copy_from_slice(&of_products);
        dbeta.copy_from_slice(&of_dy);
    }
}
