//! Normalisation by statistics of groups of channels of each sample: group norm (Y. Wu, K. He, "Group Normalization", ECCV 2018), instance
//! norm (D. Ulyanov and others, arXiv:1607.08022), which has a group a channel, and layer norm (J. L. Ba and others, arXiv:1607.06450),
//! whose one group is the last axes.

mod cases;
mod grad;
mod sums;

pub use grad::{GroupNormGradInput, GroupNormGradParameters};

use super::elements::{Elements, QUOTIENT};
use super::running_error::Running;
use super::update::expect_positive;
use crate::error::{Error, Result};
use crate::linalg::{Real, for_each_row, for_each_row_2};
use crate::op::{
    ACTIVATION, Activation, Bound, Buffer, Cost, Cpu, CpuArgs, Declaration, Gradient, Interchange, Op, Recorder, Source,
    StandardNode, TINY, Term, UNIT, Word, expect_inputs, gamma as rounding, moved_bytes, no_counterpart, shader,
};
use crate::ops::matmul::{refuse_fused, refuse_fused_export};
use crate::tensor::{DType, Shape, Tensor, TensorType};
use std::sync::Arc;
use sums::{Statistic, pair_sums};

static GROUP_NORM: Source = shader!("group_norm");
/// Statistics of the group of an element in WGSL.
static GROUPS: Source = shader!("shared/groups");
static SUMS: Source = shader!("group_norm_sums");
static STATISTICS: Source = shader!("group_norm_statistics");

/// Which numbers are normalised together, and which have a scale of their own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Grouping {
    /// Leading axes, along which nothing is put together.
    pub batch_axes: usize,
    /// Last axes: a place along them has a scale and a shift of its own, for all places along the axes between.
    pub channel_axes: usize,
    /// Parts of the last axes that are normalised apart, each together with the axes between.
    pub groups: usize,
}

impl Grouping {
    /// `x` [n, .., c] in so many groups of channels.
    pub fn channels(groups: usize) -> Grouping {
        Grouping { batch_axes: 1, channel_axes: 1, groups }
    }

    /// The last `axes` of `rank` together: layer norm.
    pub fn layer(rank: usize, axes: usize) -> Grouping {
        Grouping { batch_axes: rank.saturating_sub(axes), channel_axes: axes, groups: 1 }
    }

    /// Of `x`, or what is wrong.
    fn of(&self, x: &TensorType) -> Result<Groups> {
        x.expect_dtype("x", DType::F32)?;
        let least = self.batch_axes + self.channel_axes;
        if self.channel_axes == 0 || x.shape.rank() < least {
            return Err(Error::invalid("x", x, format!("{} or more dimensions, channels last", least.max(1))));
        }
        let product = |dims: &[usize]| dims.iter().product::<usize>();
        let (batch, rest) = x.shape.dims().split_at(self.batch_axes);
        let (pixels, channels) = rest.split_at(rest.len() - self.channel_axes);
        let c = product(channels);
        if self.groups == 0 || !c.is_multiple_of(self.groups) {
            return Err(Error::invalid("groups", self.groups, format!("a divisor of the {c} channels")));
        }
        let groups = Groups { n: product(batch), pixels: product(pixels), c, groups: self.groups };
        if groups.len() < 2 {
            return Err(Error::invalid("x", x, "2 or more values in a group"));
        }
        Ok(groups)
    }

    /// Of a shape that infer has accepted.
    fn checked(&self, shape: &Shape) -> Groups {
        let Ok(groups) = self.of(&TensorType::f32(shape.clone())) else { unreachable!("infer checks the groups") };
        groups
    }
}

/// A tensor seen as `[n, pixels, groups, c / groups]`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Groups {
    n: usize,
    pixels: usize,
    c: usize,
    groups: usize,
}

impl Groups {
    /// Channels of a group.
    fn per(&self) -> usize {
        self.c / self.groups
    }

    /// Values of a group.
    fn len(&self) -> usize {
        self.pixels * self.per()
    }

    fn elements(&self) -> Elements {
        Elements::aligned(self.n * self.pixels * self.c, self.c)
    }

    /// Number of the group, of all samples, that element `i` belongs to.
    fn group_of(&self, i: usize) -> usize {
        i / (self.pixels * self.c) * self.groups + i % self.c / self.per()
    }

    /// The type of a statistic.
    fn statistic(&self) -> TensorType {
        TensorType::f32([self.n, self.groups])
    }

    fn vector(&self) -> TensorType {
        TensorType::f32([self.c])
    }

    /// The element of a group, by its number, that is taken off all others: the one that the kernels take.
    fn pivot(&self, group: usize) -> usize {
        let (o, g) = (group / self.groups, group % self.groups);
        (o * self.pixels + Statistic::of(self).pivot()) * self.c + g * self.per()
    }
}

/// Pixels that an invocation of the elementwise kernels takes.
const PIXELS: usize = 4;

/// `Params` of the elementwise kernels and their grid.
fn elementwise(groups: &Groups, r: &Recorder<'_>, epsilon: f64) -> (Vec<(&'static str, Word)>, [u32; 3], bool) {
    let e = groups.elements();
    let n_blocks = groups.pixels.div_ceil(PIXELS);
    let taken = Elements::aligned(groups.n * n_blocks * groups.c, groups.c);
    let params = vec![
        ("n", taken.n()),
        ("pixels", groups.pixels.into()),
        ("n_blocks", n_blocks.into()),
        ("c", e.count(groups.c).into()),
        ("n_groups", groups.groups.into()),
        ("per_group", groups.per().into()),
        ("epsilon", (epsilon as f32).into()),
    ];
    let whole = e.count(4) == 4 || groups.per().is_multiple_of(4);
    (params, taken.grid(r), whole)
}

/// `y = activation(gamma (x - mean) / sqrt(variance + epsilon) + beta)` with the mean and the biased variance of x's groups.
///
/// Inputs: `x`, which [`Grouping`] divides; `gamma` and `beta` `[c]`, c being the places along the channel axes. Outputs: `y` like x; `mean`
/// and `variance` `[n, groups]`. Only `y` is differentiable, by all inputs.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct GroupNorm {
    /// How x is divided.
    pub grouping: Grouping,
    /// Added to the variance.
    pub epsilon: f64,
    activation: Option<Activation>,
}

impl GroupNorm {
    /// A norm without activation.
    pub fn new(grouping: Grouping, epsilon: f64) -> GroupNorm {
        GroupNorm { grouping, epsilon, activation: None }
    }
}

impl Op for GroupNorm {
    fn name(&self) -> &'static str {
        "group_norm"
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>> {
        expect_inputs(inputs, &["x", "gamma", "beta"])?;
        expect_positive("epsilon", self.epsilon)?;
        let groups = self.grouping.of(&inputs[0])?;
        inputs[1].expect("gamma", &groups.vector())?;
        inputs[2].expect("beta", &groups.vector())?;
        Ok(vec![inputs[0].clone(), groups.statistic(), groups.statistic()])
    }

    fn gradient(&self, g: &mut Gradient<'_>) -> Result<()> {
        refuse_fused(false, self.activation)?;
        let (dy, x, mean, variance) = (g.dy0()?, g.x(0), g.y(1), g.y(2));
        let (grouping, epsilon) = (self.grouping, self.epsilon);
        if g.wants(0) {
            let dx = g.node(GroupNormGradInput { grouping, epsilon }, &[dy, x, mean, variance, g.x(1)])?;
            g.set(0, dx);
        }
        if g.wants(1) || g.wants(2) {
            let parameters = g.nodes(GroupNormGradParameters { grouping, epsilon }, &[dy, x, mean, variance])?;
            g.set(1, parameters[0]);
            g.set(2, parameters[1]);
        }
        Ok(())
    }

    fn gpu(&self, r: &mut Recorder<'_>) -> Result<()> {
        let groups = self.grouping.checked(&r.x(0).shape);
        let statistic = Statistic::of(&groups);
        let x = Buffer::Input(0);
        let [mean, variance] = [1, 2].map(Buffer::Output);
        let partial = statistic.record_sums(r, &SUMS, &[x]);
        statistic.record_total(r, &STATISTICS, &[partial, x], &[mean, variance], self.epsilon);
        r.declare_depth(statistic.additions());
        let (params, grid, whole) = elementwise(&groups, r, self.epsilon);
        let kernel = groups.elements().kernel(&GROUP_NORM, &[&QUOTIENT, &ACTIVATION, &GROUPS]).set("WHOLE", whole);
        let reads = [x, mean, variance, Buffer::Input(1), Buffer::Input(2)];
        r.dispatch(kernel.activation(self.activation), &reads, &[Buffer::Output(0)], &params, grid);
        Ok(())
    }

    fn cost(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Cost {
        // Statistics: difference, square, two sums. Then difference, product, sum.
        Cost { flops: 7 * inputs[0].elements() as u64, bytes: moved_bytes(inputs, outputs) }
    }

    fn error_bound(&self, b: &Bound<'_>) -> Result<Vec<Vec<f64>>> {
        let groups = self.grouping.checked(&b.types[0].shape);
        let [x, gamma, beta] = [0, 1, 2].map(|k| b.inputs[k].real());
        let [mean, variance] = [1, 2].map(|k| b.outputs[k].real());
        let [mut absolute, mut square] = [vec![0.0; mean.len()], vec![0.0; mean.len()]];
        for (i, &x_i) in x.iter().enumerate() {
            let k = groups.group_of(i);
            let d = x_i - x[groups.pivot(k)];
            absolute[k] += d.abs() / groups.len() as f64;
            square[k] += d * d / groups.len() as f64;
        }
        // As for a batch norm: d = x - pivot is rounded once, d^2 three times in all, sums `depth` times; the factor 1 / N twice. So the
        // mean of d is off by g A, A the mean of |d|, that of d^2 by g Q, with g for 5 roundings more; its square by 2 |d| g A + (g A)^2,
        // and the difference is rounded twice more.
        let g = rounding(b.depth + 5);
        let off = |k: usize| {
            let d = (mean[k] - x[groups.pivot(k)]).abs();
            let off_d = g * absolute[k];
            let off_mean = off_d + UNIT * (mean[k].abs() + off_d) + TINY;
            let off_variance = g * square[k] + 2.0 * d * off_d + off_d * off_d + UNIT * d * d;
            [off_mean, off_variance + UNIT * (variance[k] + off_variance) + TINY]
        };
        let off: Vec<[f64; 2]> = (0..mean.len()).map(off).collect();
        let epsilon = Running::from_f64(self.epsilon);
        let scales: Vec<[Running; 2]> = (0..mean.len())
            .map(|k| {
                let variance = Running::new(variance[k], off[k][1]);
                [Running::new(mean[k], off[k][0]), Running::ONE / (variance + epsilon).sqrt()]
            })
            .collect();
        let bound = |(i, &y): (usize, &f64)| {
            let [mean, scale] = scales[groups.group_of(i)];
            let exact = |v: &[f64]| Running::new(v[i % groups.c], 0.0);
            let v = (Running::new(x[i], 0.0) - mean) * (exact(gamma) * scale) + exact(beta);
            self.activation.map_or(v.error(), |f| f.bound(v.error(), v.to_f64(), y))
        };
        let y = b.outputs[0].real().iter().enumerate().map(bound).collect();
        Ok(vec![y, off.iter().map(|off| off[0]).collect(), off.iter().map(|off| off[1]).collect()])
    }

    fn with_activation(&self, activation: Activation) -> Option<Arc<dyn Op>> {
        self.activation.is_none().then(|| Arc::new(GroupNorm { activation: Some(activation), ..*self }) as Arc<dyn Op>)
    }

    fn interchange(&self, d: &mut Interchange<'_>) -> Result<Vec<Term>> {
        refuse_fused_export(false, self.activation)?;
        let Grouping { batch_axes, channel_axes, groups } = self.grouping;
        let shape = d.input_type(0).shape.clone();
        let [x, gamma, beta] = [0, 1, 2].map(|i| d.x(i));
        if batch_axes + channel_axes == shape.rank() && groups == 1 {
            let channels = &shape.dims()[batch_axes..];
            let [gamma, beta] = [gamma, beta].map(|v| d.reshape(v, channels));
            let node = StandardNode::fixed("LayerNormalization", &[x, gamma, beta]);
            return Ok(vec![d.same(node.axis("axis", batch_axes).float("epsilon", self.epsilon))]);
        }
        if (batch_axes, channel_axes) != (1, 1) {
            return Err(no_counterpart(format!("group_norm of {:?}", self.grouping)));
        }
        let (n, c) = (shape.dims()[0], shape.last());
        let first = d.channels_first(x);
        let instance = |d: &mut Interchange<'_>, x: Term, gamma: Term, beta: Term| {
            d.same(StandardNode::fixed("InstanceNormalization", &[x, gamma, beta]).float("epsilon", self.epsilon))
        };
        if groups == c {
            let y = instance(d, first, gamma, beta);
            return Ok(vec![d.channels_last(y)]);
        }
        // A group as an instance; then each channel its scale and shift.
        let grouped = d.reshape(first, [n, groups, shape.elements() / n / groups]);
        let [ones, zeros] = [1.0, 0.0].map(|v| Tensor::f32([groups], vec![v; groups]));
        let (ones, zeros) = (d.numbers(ones?), d.numbers(zeros?));
        let y = instance(d, grouped, ones, zeros);
        let like_first = d.shape(first).clone();
        let y = d.reshape(y, like_first);
        let y = d.channels_last(y);
        let y = d.same(StandardNode::free("Mul", &[y, gamma]));
        Ok(vec![d.same(StandardNode::free("Add", &[y, beta]))])
    }
}

/// What normalises a channel of a group: mean, scale.
fn scales<T: Real>(mean: &[T], variance: &[T], epsilon: f64) -> Vec<[T; 2]> {
    let epsilon = T::from_f64(epsilon);
    mean.iter().zip(variance).map(|(&mean, &v)| [mean, T::ONE / (v + epsilon).sqrt()]).collect()
}

impl Cpu for GroupNorm {
    fn cpu<T: Real>(&self, args: &mut CpuArgs<'_, T>) {
        let groups = self.grouping.checked(args.x_shape(0));
        let (x, gamma, beta) = (args.x(0), args.x(1), args.x(2));
        let (y, mean, variance) = (args.y(0), args.y(1), args.y(2));
        let inverse = T::from_f64(1.0 / groups.len() as f64);
        for_each_row_2(mean, groups.groups, variance, groups.groups, |o, mean, variance| {
            let pivots: Vec<T> = (0..groups.groups).map(|g| x[groups.pivot(o * groups.groups + g)]).collect();
            let sums = pair_sums(&groups, o, |at, _, g, a, b| {
                for ((a, b), &x) in a.iter_mut().zip(b).zip(&x[at..]) {
                    let d = x - pivots[g];
                    *a += d;
                    *b += d * d;
                }
            });
            for (g, [sum, squares]) in sums.into_iter().enumerate() {
                let d = inverse * sum;
                let v = inverse * squares - d * d;
                mean[g] = pivots[g] + d;
                // Roundings can leave a little less than 0.
                variance[g] = if v < T::ZERO { T::ZERO } else { v };
            }
        });
        let scales = scales(mean, variance, self.epsilon);
        for_each_row(y, groups.c, |row, y| {
            let (x, o) = (&x[row * groups.c..][..groups.c], row / groups.pixels);
            let per = groups.per();
            for (g, y) in y.chunks_exact_mut(per).enumerate() {
                let [mean, scale] = scales[o * groups.groups + g];
                let channels = g * per..(g + 1) * per;
                let parameters = gamma[channels.clone()].iter().zip(&beta[channels.clone()]);
                for ((y, &x), (&gamma, &beta)) in y.iter_mut().zip(&x[channels]).zip(parameters) {
                    *y = (x - mean) * (gamma * scale) + beta;
                }
            }
            if let Some(f) = self.activation {
                f.apply(y);
            }
        });
    }
}

/// The list's entries.
pub static DECLARATIONS: &[Declaration] = &[
    Declaration { name: "group_norm", no_gradient: None, shaders: &[&SUMS, &STATISTICS, &GROUP_NORM], cases: cases::group_norm },
    Declaration {
        name: "group_norm_grad_input",
        no_gradient: Some("gradient op: second derivatives are not needed for training"),
        shaders: &[&grad::SUMS, &grad::MEANS, &grad::INPUT],
        cases: cases::grad_input,
    },
    Declaration {
        name: "group_norm_grad_parameters",
        no_gradient: Some("gradient op: second derivatives are not needed for training"),
        shaders: &[&grad::PARAMETERS, &grad::TOTAL],
        cases: cases::grad_parameters,
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::{View, run_f64};
    use crate::ops::check;

    #[test]
    fn cases_hold() {
        check::declarations(DECLARATIONS);
    }

    #[test]
    fn by_hand() {
        // Two samples of two pixels of two channels: the first in groups of one, the second as a layer.
        let x = [1.0, 10.0, 3.0, 30.0, 5.0, 0.0, 9.0, 4.0];
        let run = |grouping, shape: &[usize], c: usize| {
            let types = [TensorType::f32(shape), TensorType::f32([c]), TensorType::f32([c])];
            let (gamma, beta) = (vec![2.0; c], vec![1.0; c]);
            let inputs = [View::Real(&x), View::Real(&gamma), View::Real(&beta)];
            run_f64(&GroupNorm::new(grouping, 1e-12), &types, &inputs).unwrap()
        };
        let y = run(Grouping::channels(2), &[2, 2, 2], 2);
        assert_eq!((y[1].real(), y[2].real()), (&[2.0, 20.0, 7.0, 2.0][..], &[1.0, 100.0, 4.0, 4.0][..]));
        for (y, want) in y[0].real().iter().zip([-1.0, -1.0, 3.0, 3.0, -1.0, -1.0, 3.0, 3.0]) {
            assert!((y - want).abs() < 1e-9, "{y} {want}");
        }
        let y = run(Grouping::layer(2, 1), &[2, 4], 4);
        assert_eq!((y[1].real(), y[2].real()), (&[11.0, 4.5][..], &[131.5, 10.25][..]));
        let y = run(Grouping::channels(1), &[2, 2, 2], 2);
        assert_eq!(y[1].real(), [11.0, 4.5]);
    }

    #[test]
    fn bad_inputs_are_refused() {
        let types = |x: &[usize], c: usize| vec![TensorType::f32(x), TensorType::f32([c]), TensorType::f32([c])];
        let op = |grouping| GroupNorm::new(grouping, 1e-5);
        assert!(op(Grouping::channels(3)).infer(&types(&[2, 4, 6], 6)).is_ok());
        assert!(op(Grouping::channels(4)).infer(&types(&[2, 4, 6], 6)).is_err());
        assert!(op(Grouping::channels(0)).infer(&types(&[2, 4, 6], 6)).is_err());
        assert!(op(Grouping::channels(3)).infer(&types(&[2, 4, 6], 5)).is_err());
        assert!(op(Grouping::channels(6)).infer(&types(&[2, 1, 6], 6)).is_err());
        assert!(op(Grouping::channels(1)).infer(&types(&[6], 6)).is_err());
        assert!(op(Grouping::layer(3, 2)).infer(&types(&[2, 4, 6], 24)).is_ok());
        assert!(op(Grouping::layer(3, 0)).infer(&types(&[2, 4, 6], 1)).is_err());
        assert!(GroupNorm::new(Grouping::channels(1), 0.0).infer(&types(&[2, 4, 6], 6)).is_err());
    }

    #[test]
    fn an_activation_is_taken() {
        let relu = crate::ops::unary::activation::<crate::ops::unary::Relu>();
        let op = GroupNorm::new(Grouping::channels(1), 1e-5).with_activation(relu).unwrap();
        assert!(op.with_activation(relu).is_none());
    }
}
