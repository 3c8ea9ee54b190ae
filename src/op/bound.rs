//! By how much a device may differ from the f64 oracle, and the comparison of the two.

use super::{Buf, Op, Oracle, run_f64};
use crate::error::{Error, Result};
use crate::tensor::{Tensor, TensorType};

/// The unit roundoff that bounds are written in. WGSL lets an implementation round to either neighbour, hence 2^-23, not 2^-24.
pub const UNIT: f64 = 1.0 / (1u64 << 23) as f64;

/// What denormals flushed to zero may cost a result.
pub const TINY: f64 = 1.0e-37;

/// `d u / (1 - d u)`: bound on the relative error of `d` roundings in a chain (Higham, "Accuracy and Stability of Numerical
/// Algorithms", lemma 3.1).
pub fn gamma(depth: usize) -> f64 {
    let du = depth as f64 * UNIT;
    du / (1.0 - du)
}

/// What [`Op::error_bound`] is handed: the inputs, the oracle's outputs and the depth that the recorded kernel declared.
#[derive(Debug)]
pub struct Bound<'a> {
    /// Types of the inputs.
    pub types: &'a [TensorType],
    /// The inputs, in double precision.
    pub inputs: &'a [Oracle],
    /// The oracle's outputs.
    pub outputs: &'a [Oracle],
    /// Longest chain of roundings ([`Recorder::depth`](super::Recorder::depth)).
    pub depth: usize,
}

impl Bound<'_> {
    /// No difference allowed.
    pub fn exact(&self) -> Vec<Vec<f64>> {
        self.outputs.iter().map(|o| vec![0.0; o.real().len()]).collect()
    }

    /// `gamma(depth) * op(|inputs|) + tiny`, the bound of any sum of products whose value is `op`: on absolute inputs it
    /// computes the sum of absolute products. `op` is the op itself, less an activation.
    pub fn sum_of_products(&self, op: &dyn Op) -> Result<Vec<Vec<f64>>> {
        let absolute: Vec<Oracle> = self
            .inputs
            .iter()
            .map(|x| match x {
                Oracle::Real(v) => Oracle::Real(v.iter().map(|x| x.abs()).collect()),
                other => other.clone(),
            })
            .collect();
        let views: Vec<_> = absolute.iter().map(Oracle::view).collect();
        let sums = run_f64(op, self.types, &views)?;
        let g = gamma(self.depth);
        Ok(sums.iter().map(|s| s.real().iter().map(|s| g * s + TINY).collect()).collect())
    }

    /// A bound for output 0, element by element: `f(element index, oracle's value)`.
    pub fn each(&self, f: impl Fn(usize, f64) -> f64) -> Vec<Vec<f64>> {
        vec![self.outputs[0].real().iter().enumerate().map(|(i, &y)| f(i, y)).collect()]
    }
}

/// How far a device's outputs are from the oracle's, where they are furthest as a share of the bound.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Worst {
    /// Difference over bound: at most 1 is a pass, NaN or more is not.
    pub share: f64,
    /// Which output.
    pub output: usize,
    /// Which element.
    pub element: usize,
    /// The device's value.
    pub got: f64,
    /// The oracle's.
    pub want: f64,
    /// The largest difference allowed.
    pub bound: f64,
}

/// Compares a device's outputs `got` with those of the f64 oracle on the same inputs, in units of the op's error bound at `depth`.
///
/// # Errors
/// [`Error::Invalid`] if an output has another type or size than the oracle's.
pub fn compare(op: &dyn Op, types: &[TensorType], inputs: &[Oracle], got: &[Tensor], depth: usize) -> Result<Worst> {
    let views: Vec<_> = inputs.iter().map(Buf::view).collect();
    let outputs = run_f64(op, types, &views)?;
    let bounds = op.error_bound(&Bound { types, inputs, outputs: &outputs, depth })?;
    if got.len() != outputs.len() {
        return Err(Error::invalid("outputs", got.len(), outputs.len()));
    }
    let mut worst = Worst::default();
    for (output, (want, got)) in outputs.iter().zip(got).enumerate() {
        let got = Buf::<f64>::from_tensor(got);
        if !want.same_kind(&got) {
            return Err(Error::invalid(format!("output {output}"), format!("{} elements", got.len()), want.len()));
        }
        let bound = bounds.get(output).map_or(&[][..], Vec::as_slice);
        for element in 0..want.len() {
            let (w, g, b) = match (want, &got) {
                (Buf::Real(w), Buf::Real(g)) => (w[element], g[element], bound[element]),
                (Buf::U32(w), Buf::U32(g)) => (f64::from(w[element]), f64::from(g[element]), 0.0),
                (Buf::U8(w), Buf::U8(g)) => (f64::from(w[element]), f64::from(g[element]), 0.0),
                _ => unreachable!("of the same kind"),
            };
            let share = share_of_bound(g, w, b);
            if share.is_nan() || share > worst.share {
                worst = Worst { share, output, element, got: g, want: w, bound: b };
            }
            if share.is_nan() {
                return Ok(worst);
            }
        }
    }
    Ok(worst)
}

/// `|got - want| / bound`: 0 where both are the same value, NaN or infinity; NaN where only one is a NaN.
fn share_of_bound(got: f64, want: f64, bound: f64) -> f64 {
    // The oracle runs in double precision: what overflows single precision must overflow on the device.
    let overflows = want.is_finite() && (want as f32).is_infinite() && got.is_infinite() && (got > 0.0) == (want > 0.0);
    if got == want || (got.is_nan() && want.is_nan()) || overflows {
        0.0
    } else if got.is_nan() || want.is_nan() || bound.is_nan() {
        f64::NAN
    } else if bound == 0.0 {
        f64::INFINITY
    } else {
        (got - want).abs() / bound
    }
}
