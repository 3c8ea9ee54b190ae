//! Samples mixed with others of their batch: mixup (H. Zhang et al., "mixup: Beyond Empirical Risk Minimization", ICLR 2018) and CutMix (S. Yun et
//! al., "CutMix: Regularization Strategy to Train Strong Classifiers with Localizable Features", ICCV 2019).

use crate::error::{Error, Result};
use crate::linalg::{Real, for_each_row};
use crate::op::{
    Bound, Buffer, Case, Cost, Cpu, CpuArgs, Declaration, GRID, Kernel, Op, Oracle, Recorder, Source, TINY, expect_inputs, gamma, moved_bytes,
    sample, shader,
};
use crate::ops::elements::QUOTIENT;
use crate::random::{Seed, Stream};
use crate::tensor::{DType, Tensor, TensorType};

static SHADER: Source = shader!("mix");

/// Whole numbers of a sample among `partners`: see [`Mix`].
pub const PARTNERS: usize = 5;

/// `y[i] = share[i] x[i] + (1 - share[i]) x[p]`, and `x[p]` alone in a rectangle.
///
/// Inputs: x, f32 `[n, h, w, c]`, or without rectangles of any shape `[n, ..]`; partners, u32 `[n, 5]` ([`PARTNERS`]): p, of which one beyond the last
/// means the last, then top, bottom, left and right of the rectangle in pixels, ends not included; shares, f32 `[n]`. A share of 1 takes nothing of
/// the partner, were it a NaN.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mix {
    /// Whether rectangles count.
    pub rectangles: bool,
}

impl Mix {
    /// Height, width and channels; without rectangles a sample is one pixel.
    fn sides(self, x: &TensorType) -> [usize; 3] {
        match *x.shape.dims() {
            [_, h, w, c] if self.rectangles => [h, w, c],
            _ => [1, 1, x.elements() / x.shape.dims().first().copied().unwrap_or(1)],
        }
    }

    /// The outputs, or with `absolute` the sums of the absolute values of what is added up in them.
    fn apply<T: Real>(self, x: &[T], ty: &TensorType, partners: &[u32], shares: &[T], y: &mut [T], absolute: bool) {
        let [h, w, c] = self.sides(ty);
        let sign = |v: T| if absolute { v.abs() } else { v };
        for_each_row(y, w * c, |row, y| {
            let (i, at) = (row / h, row % h);
            let numbers = &partners[i * PARTNERS..][..PARTNERS];
            let [partner, top, bottom, left, right] = [0, 1, 2, 3, 4].map(|k| numbers[k] as usize);
            let of = |sample: usize| &x[(sample * h + at) * w * c..][..w * c];
            let (own, other, share) = (of(i), of(partner.min(shares.len() - 1)), shares[i]);
            for (column, y) in y.chunks_exact_mut(c).enumerate() {
                let range = column * c..(column + 1) * c;
                let (own, other) = (&own[range.clone()], &other[range]);
                if self.rectangles && (top..bottom).contains(&at) && (left..right).contains(&column) {
                    y.copy_from_slice(other);
                } else if share == T::ONE {
                    y.copy_from_slice(own);
                } else {
                    let pairs = own.iter().zip(other);
                    y.iter_mut().zip(pairs).for_each(|(y, (&a, &b))| *y = sign(share) * sign(a) + sign(T::ONE - share) * sign(b));
                }
            }
        });
    }
}

impl Op for Mix {
    fn name(&self) -> &'static str {
        "mix"
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>> {
        expect_inputs(inputs, &["x", "partners", "shares"])?;
        inputs[0].expect_dtype("x", DType::F32)?;
        let shape = inputs[0].shape.clone().checked("x")?;
        let Some(&n) = shape.dims().first() else {
            return Err(Error::invalid("x", &inputs[0], "a first dimension, of samples"));
        };
        if self.rectangles {
            shape.nhwc("x")?;
        }
        inputs[1].expect("partners", &TensorType::u32([n, PARTNERS]))?;
        inputs[2].expect("shares", &TensorType::f32([n]))?;
        Ok(vec![inputs[0].clone()])
    }

    fn gpu(&self, r: &mut Recorder<'_>) -> Result<()> {
        let ([h, w, c], n) = (self.sides(r.x(0)), r.x(0).elements());
        let params =
            [("n", n.into()), ("samples", r.x(2).elements().into()), ("h", h.into()), ("w", w.into()), ("c", c.into())];
        let kernel = Kernel::new(&SHADER, &[&GRID, &QUOTIENT]).set("RECTANGLES", self.rectangles);
        let grid = r.linear_grid(n.div_ceil(256));
        r.dispatch(kernel, &[0, 1, 2].map(Buffer::Input), &[Buffer::Output(0)], &params, grid);
        // One less the share, the product, the sum.
        r.declare_depth(3);
        Ok(())
    }

    fn cost(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Cost {
        Cost { flops: 3 * outputs[0].elements() as u64, bytes: moved_bytes(inputs, outputs) }
    }

    fn error_bound(&self, b: &Bound<'_>) -> Result<Vec<Vec<f64>>> {
        let Oracle::U32(partners) = &b.inputs[1] else { unreachable!("infer accepts only u32") };
        let mut sums = vec![0.0; b.outputs[0].real().len()];
        self.apply(b.inputs[0].real(), &b.types[0], partners, b.inputs[2].real(), &mut sums, true);
        Ok(b.each(|i, _| gamma(b.depth) * sums[i].abs() + TINY))
    }
}

impl Cpu for Mix {
    fn cpu<T: Real>(&self, args: &mut CpuArgs<'_, T>) {
        let (x, partners, shares) = (args.x(0), args.x_u32(1), args.x(2));
        let ty = &args.input_types()[0];
        self.apply(x, ty, partners, shares, args.y(0), false);
    }
}

/// The list's entry.
pub static DECLARATIONS: &[Declaration] =
    &[Declaration { name: "mix", no_gradient: Some("it mixes samples before anything that learns"), shaders: &[&SHADER], cases }];

fn cases() -> Vec<Case> {
    let case = |name: &str, seed: u64, shape: &[usize], shares: &[f32]| {
        let n = shape[0];
        let mut random = Stream::new(Seed(seed), 0);
        // A partner that there isn't, at times.
        let partners: Vec<u32> = (0..n).flat_map(|_| [n as u32 + 1, 5, 6, 5, 6].map(|below| random.below(below))).collect();
        let shares = (0..n).map(|i| shares[i % shares.len()]).collect();
        let fits = "made to fit";
        let partners = Tensor::u32([n, PARTNERS], partners).unwrap_or_else(|_| unreachable!("{fits}"));
        let shares = Tensor::f32([n], shares).unwrap_or_else(|_| unreachable!("{fits}"));
        Case::new(name, Mix { rectangles: shape.len() == 4 }, vec![sample::normal(seed, shape.to_vec()), partners, shares]).differentiable_by(&[])
    };
    let mut nan = case("partner_nan", 9, &[2, 1, 2, 1], &[1.0, 0.5]);
    if let Ok(x) = Tensor::f32([2, 1, 2, 1], vec![1.0, f32::NAN, 2.0, 3.0]) {
        nan.inputs[0] = x;
    }
    vec![
        case("one", 1, &[1, 1, 1, 1], &[0.3]),
        case("pictures", 2, &[5, 7, 6, 3], &[0.3, 0.0, 1.0, 0.9]),
        case("targets", 3, &[8, 10], &[0.7, 1.0, 0.001]),
        case("maps", 4, &[3, 4, 5], &[0.5]),
        case("many", 5, &[33, 12, 11, 4], &[0.25, 1.0]),
        nan,
    ]
}

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
        let run = |shape: &[usize], x: &[f64], partners: &[u32], shares: &[f64]| {
            let n = shape[0];
            let types = [TensorType::f32(shape), TensorType::u32([n, PARTNERS]), TensorType::f32([n])];
            run_f64(&Mix { rectangles: shape.len() == 4 }, &types, &[View::Real(x), View::U32(partners), View::Real(shares)]).unwrap()[0].real().to_vec()
        };
        let none = [0; 4];
        let partners = [&[1][..], &none, &[0], &none].concat();
        assert_eq!(run(&[2, 2], &[1.0, 0.0, 0.0, 1.0], &partners, &[0.75, 1.0]), [0.75, 0.25, 0.0, 1.0]);
        let x: Vec<f64> = (0..8).map(f64::from).collect();
        assert_eq!(run(&[2, 2, 2, 1], &x, &[1, 0, 1, 1, 2, 0, 0, 2, 0, 1], &[1.0; 2]), [0.0, 5.0, 2.0, 3.0, 0.0, 5.0, 2.0, 7.0]);
    }
}
