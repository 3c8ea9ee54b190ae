//! Dropout (Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting", JMLR 15, 2014), inverted: what is
//! kept is scaled up in training, and inference has nothing to do.

use crate::error::{Error, Result};
use crate::linalg::{Real, Vectorize, for_each_chunk, for_each_row, vectorized};
use crate::op::{
    Bound, Buffer, Case, Cpu, CpuArgs, Declaration, Gradient, Op, RANDOM, Recorder, Source,
    TINY, UNIT, expect_inputs, sample, shader,
};
use crate::ops::elements::{Elements, QUOTIENT};
use crate::random::{Seed, pcg4d};
use crate::tensor::{DType, Tensor, TensorType};
use std::sync::Arc;

static DROPOUT: Source = shader!("dropout");

/// `y = x / (1 - rate)` for a random share `1 - rate` of the elements and 0 for the others, whatever x is there. Inputs: x, f32 of any
/// shape, and the number of the training step, u32 `[1]`. The choice is a function of seed, stream, step and element, so the
/// gradient is the same op on dy and no mask is stored. Spatial, it drops whole channels of samples (J. Tompson et al., "Efficient object
/// localization using convolutional networks", CVPR 2015): x is then `[n, .., c]`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Dropout {
    /// Share of the elements that become 0, from 0 to less than 1.
    pub rate: f32,
    /// Seed of the model.
    pub seed: Seed,
    /// Number of this layer, so that two of them make different choices.
    pub stream: u32,
    /// Whether all elements of a channel in a sample share their fate.
    pub spatial: bool,
}

impl Dropout {
    /// Words below it are dropped. A rate below 1 is at most 1 - 2^-24, so this fits.
    fn threshold(&self) -> u32 {
        (f64::from(self.rate) * 2f64.powi(32)).round() as u32
    }

    fn scale(&self) -> f32 {
        (1.0 / (1.0 - f64::from(self.rate))) as f32
    }

    /// The last two words of the counter: stream and seed. The seed's upper half is spread over the stream's word, whose own low bits
    /// then differ between layers.
    fn key(&self) -> (u32, u32) {
        let seed = self.seed.0;
        (self.stream ^ ((seed >> 32) as u32).wrapping_mul(0x9e37_79b9), seed as u32)
    }
}

impl Op for Dropout {
    fn name(&self) -> &'static str {
        "dropout"
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>> {
        expect_inputs(inputs, &["x", "step"])?;
        inputs[0].expect_dtype("x", DType::F32)?;
        inputs[1].expect("step", &TensorType::u32([1]))?;
        if !(0.0..1.0).contains(&self.rate) {
            return Err(Error::invalid("rate", self.rate, "0 to less than 1"));
        }
        if self.spatial && inputs[0].shape.rank() < 2 {
            return Err(Error::invalid("x", &inputs[0], "2 or more dimensions [n, .., c]"));
        }
        Ok(vec![inputs[0].clone()])
    }

    fn gradient(&self, g: &mut Gradient<'_>) -> Result<()> {
        let (dy, step) = (g.dy0()?, g.x(1));
        let dx = g.node(*self, &[dy, step])?;
        g.set(0, dx);
        Ok(())
    }

    fn remake(&self) -> Option<(Arc<dyn Op>, Vec<Buffer>)> {
        Some((Arc::new(*self), vec![Buffer::Input(0), Buffer::Input(1)]))
    }

    fn gpu(&self, r: &mut Recorder<'_>) -> Result<()> {
        let y = r.y(0);
        let (len, channels) = (y.elements(), y.shape.last());
        let e = Elements::aligned(len, if self.spatial { channels } else { len });
        let sample = len / y.shape.dims().first().copied().unwrap_or(1);
        let (stream, seed) = self.key();
        let params = [
            ("n", e.n()),
            ("stream", stream.into()),
            ("seed", seed.into()),
            ("threshold", self.threshold().into()),
            ("scale", self.scale().into()),
            ("sample", e.count(sample).into()),
            ("channels", e.count(channels).into()),
        ];
        let grid = e.grid(r);
        let kernel = e.kernel(&DROPOUT, &[&RANDOM, &QUOTIENT]).set("SPATIAL", self.spatial);
        r.dispatch(kernel, &[Buffer::Input(0), Buffer::Input(1)], &[Buffer::Output(0)], &params, grid);
        Ok(())
    }

    fn error_bound(&self, b: &Bound<'_>) -> Result<Vec<Vec<f64>>> {
        // One product; what is dropped is 0 exactly.
        Ok(b.each(|_, y| if y == 0.0 { 0.0 } else { UNIT * y.abs() + TINY }))
    }
}

impl Cpu for Dropout {
    fn cpu<T: Real>(&self, args: &mut CpuArgs<'_, T>) {
        let (x, step) = (args.x(0), args.x_u32(1)[0]);
        let (stream, seed) = self.key();
        let (threshold, scale) = (self.threshold(), T::from_f32(self.scale()));
        if self.spatial {
            let shape = args.x_shape(0);
            let (n, c) = (shape.dims()[0], shape.last());
            let ones = vec![T::ONE; n * c];
            let mut factors = vec![T::ZERO; n * c];
            Choice { x: &ones, y: &mut factors, first: 0, rest: [step, stream, seed], threshold, scale }.run();
            let pixels = x.len() / (n * c);
            for_each_row(args.y(0), c, |pixel, y| {
                let factors = &factors[pixel / pixels * c..];
                for ((y, &x), &factor) in y.iter_mut().zip(&x[pixel * c..]).zip(factors) {
                    *y = if factor > T::ZERO { x * factor } else { T::ZERO };
                }
            });
            return;
        }
        for_each_chunk(args.y(0), |at, y| {
            vectorized(Choice { x: &x[at..], y, first: (at / 4) as u32, rest: [step, stream, seed], threshold, scale });
        });
    }
}

/// Keeps or drops elements; four share a counter.
struct Choice<'a, T> {
    x: &'a [T],
    y: &'a mut [T],
    /// Of the counter: its first word for the first elements, and the other three.
    first: u32,
    rest: [u32; 3],
    threshold: u32,
    scale: T,
}

impl<T: Real> Vectorize for Choice<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        // Counters are mixed side by side in vectors.
        const COUNTERS: usize = 16;
        let [step, stream, seed] = self.rest;
        let blocks = self.y.chunks_mut(4 * COUNTERS).zip(self.x.chunks(4 * COUNTERS));
        for (block, (y, x)) in blocks.enumerate() {
            let first = self.first.wrapping_add((block * COUNTERS) as u32);
            let mut words = [[0; 4]; COUNTERS];
            for (i, words) in words.iter_mut().enumerate() {
                *words = pcg4d([first.wrapping_add(i as u32), step, stream, seed]);
            }
            for ((y, &x), &word) in y.iter_mut().zip(x).zip(words.as_flattened()) {
                *y = if word >= self.threshold { x * self.scale } else { T::ZERO };
            }
        }
    }
}

/// The list's entry.
pub static DECLARATIONS: &[Declaration] = &[Declaration {
    name: "dropout",
    no_gradient: None,
    shaders: &[&DROPOUT],
    cases,
}];

fn cases() -> Vec<Case> {
    let op = |rate, seed, stream| Dropout { rate, seed: Seed(seed), stream, spatial: false };
    let spatial = |rate, seed| Dropout { rate, seed: Seed(seed), stream: 2, spatial: true };
    let inputs = |seed, shape: &[usize], step: u32| {
        let step = Tensor::u32([1], vec![step]).unwrap_or_else(|_| unreachable!("made to fit"));
        vec![sample::normal(seed, shape), step]
    };
    vec![
        Case::new("one", op(0.5, 42, 0), inputs(1, &[1], 1)),
        Case::new("rate_0", op(0.0, 42, 0), inputs(2, &[3, 5], 1)),
        Case::new("rate_near_1", op(1.0 - f32::EPSILON, 42, 0), inputs(3, &[16], 1)),
        Case::new("scalar_workgroups", op(0.25, 7, 1), inputs(4, &[3, 5, 7, 5], 2)),
        Case::new("vec4_workgroups", op(0.4, u64::MAX, u32::MAX), inputs(5, &[2, 11, 5, 12], u32::MAX)),
        Case::new("spatial_vec4", spatial(0.5, 8), inputs(7, &[3, 7, 11, 12], 3)),
        Case::new("spatial_scalar", spatial(0.3, 9), inputs(8, &[5, 9, 7], 4)),
        Case::new("spatial_rows", spatial(0.6, 10), inputs(9, &[13, 5], 5)),
        Case::new("random_6", op(0.5, 1 << 40, 3), inputs(6, &[6, 13], 1000)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::{View, run_f64};
    use crate::ops::check;

    fn kept(op: Dropout, step: u32, n: usize) -> Vec<bool> {
        let types = [TensorType::f32([n]), TensorType::u32([1])];
        let y = run_f64(&op, &types, &[View::Real(&vec![1.0; n]), View::U32(&[step])]).unwrap();
        y[0].real().iter().map(|&y| y != 0.0).collect()
    }

    #[test]
    fn cases_hold() {
        check::declarations(DECLARATIONS);
    }

    #[test]
    fn keeps_the_share_and_scales_it() {
        let n = 100_000;
        for rate in [0.1, 0.25, 0.5, 0.9] {
            let op = Dropout { rate, seed: Seed(1), stream: 0, spatial: false };
            let share = kept(op, 1, n).iter().filter(|&&k| k).count() as f64 / n as f64;
            // Five standard errors of a share of n.
            assert!((share - (1.0 - f64::from(rate))).abs() < 5.0 * 0.5 / (n as f64).sqrt(), "{rate}: {share}");
            assert!((f64::from(op.scale()) * (1.0 - f64::from(rate)) - 1.0).abs() < 1e-7);
        }
    }

    #[test]
    fn steps_streams_and_seeds_choose_differently() {
        let base = Dropout { rate: 0.5, seed: Seed(1), stream: 0, spatial: false };
        let first = kept(base, 1, 1000);
        assert_eq!(first, kept(base, 1, 1000));
        let others = [
            kept(base, 2, 1000),
            kept(Dropout { stream: 1, ..base }, 1, 1000),
            kept(Dropout { seed: Seed(2), ..base }, 1, 1000),
            kept(Dropout { seed: Seed(1 + (1 << 32)), ..base }, 1, 1000),
        ];
        for other in others {
            let equal = first.iter().zip(&other).filter(|(a, b)| a == b).count();
            assert!((400..600).contains(&equal), "{equal}");
        }
    }

    #[test]
    fn whole_channels_of_samples_are_dropped() {
        let op = Dropout { rate: 0.5, seed: Seed(1), stream: 0, spatial: true };
        let (n, pixels, c) = (50, 6, 7);
        let types = [TensorType::f32([n, 2, 3, c]), TensorType::u32([1])];
        let y = run_f64(&op, &types, &[View::Real(&vec![1.0; n * pixels * c]), View::U32(&[1])]).unwrap();
        let mut kept = 0;
        for sample in y[0].real().chunks_exact(pixels * c) {
            assert!(sample.chunks_exact(c).all(|pixel| pixel == &sample[..c]));
            kept += sample[..c].iter().filter(|&&y| y == 2.0).count();
        }
        assert!((120..230).contains(&kept), "{kept} of 350");
    }

    #[test]
    fn bad_arguments_are_refused() {
        let types = [TensorType::f32([3]), TensorType::u32([1])];
        for rate in [-0.1, 1.0, f32::NAN, f32::INFINITY] {
            assert!(Dropout { rate, seed: Seed(1), stream: 0, spatial: false }.infer(&types).is_err());
        }
        assert!(Dropout { rate: 0.5, seed: Seed(1), stream: 0, spatial: false }.infer(&[types[0].clone(), TensorType::u32([2])]).is_err());
        assert!(Dropout { rate: 0.5, seed: Seed(1), stream: 0, spatial: true }.infer(&types).is_err());
    }
}
