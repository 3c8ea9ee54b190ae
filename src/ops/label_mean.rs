//! Means over labels instead of samples.

use super::row_reduction::{Lanes, ROW, sum};
use super::running_error::Running;
use crate::error::{Error, Result};
use crate::linalg::{Real, map_indices};
use crate::op::{
    Bound, Buffer, Case, Cost, Cpu, CpuArgs, Declaration, GRID, Gradient, Kernel, Op, Oracle, Recorder, Source, TINY, gamma, moved_bytes,
    sample, shader,
};
use crate::tensor::{DType, Tensor, TensorType, UNLABELLED};

static WEIGHTS_SHADER: Source = shader!("label_weights");
static SHADER: Source = shader!("label_mean");

/// Labels that a workgroup counts.
const PART: usize = 4096;

/// Largest batch: 256 iterations of an invocation.
const MAX_BATCH: usize = 65_536;

/// Sums of samples so scaled that their mean over samples is the mean over labels: `y = x n / (sum of the labels' weights)`. Inputs: x,
/// f32 `[n]`; labels, u32 `[n, ..]`; and, if classes don't count alike, their weights, f32 `[c]`. Output: y, f32 `[n]`.
///
/// A label weighs 1 or what its class does, [`UNLABELLED`] and a class that there isn't nothing; if all weigh nothing y is 0. So PyTorch's
/// cross-entropy averages with `weight` and `ignore_index`. Differentiable by x.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LabelMean;

fn weight<T: Real>(label: u32, weights: Option<&[T]>) -> T {
    match weights {
        Some(w) => w.get(label as usize).copied().unwrap_or(T::ZERO),
        None if label == UNLABELLED => T::ZERO,
        None => T::ONE,
    }
}

fn factor<T: Real>(n: usize, total: T) -> T {
    if total == T::ZERO { T::ZERO } else { T::from_f64(n as f64) / total }
}

impl Op for LabelMean {
    fn name(&self) -> &'static str {
        "label_mean"
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>> {
        if inputs.len() != 2 && inputs.len() != 3 {
            return Err(Error::invalid("inputs", inputs.len(), "2 (x, labels), or weights too"));
        }
        inputs[0].expect_dtype("x", DType::F32)?;
        inputs[1].expect_dtype("labels", DType::U32)?;
        let n = match inputs[0].shape.dims() {
            [n] if *n <= MAX_BATCH => *n,
            _ => return Err(Error::invalid("x", &inputs[0], format!("1 dimension [n], at most {MAX_BATCH}"))),
        };
        if inputs[1].shape.dims().first() != Some(&n) {
            return Err(Error::invalid("labels", &inputs[1], format!("{n} rows")));
        }
        if let Some(weights) = inputs.get(2) {
            weights.expect("weights", &TensorType::f32([weights.elements()]))?;
        }
        Ok(vec![inputs[0].clone()])
    }

    fn gradient(&self, g: &mut Gradient<'_>) -> Result<()> {
        let mut inputs = vec![g.dy0()?];
        inputs.extend((1..g.n_inputs()).map(|i| g.x(i)));
        let dx = g.node(LabelMean, &inputs)?;
        g.set(0, dx);
        Ok(())
    }

    fn gpu(&self, r: &mut Recorder<'_>) -> Result<()> {
        let (n, len) = (r.x(0).elements(), r.x(1).elements());
        let weights = r.inputs().len() > 2;
        let n_parts = len.div_ceil(PART);
        let parts = r.temp(TensorType::f32([n_parts]));
        let (lanes, whole) = (Lanes::of(PART), Lanes::whole(n_parts));
        let kernel = lanes.set(Kernel::new(&WEIGHTS_SHADER, &[&GRID, &ROW])).set("WEIGHTS", weights);
        let c = if weights { r.x(2).elements() } else { 0 };
        let params = [("n_rows", n_parts.into()), ("len", len.into()), ("part_len", PART.into()), ("c", c.into())];
        let reads = [Buffer::Input(1), Buffer::Input(if weights { 2 } else { 0 })];
        let grid = lanes.grid(r, n_parts);
        r.dispatch(kernel, &reads, &[parts], &params, grid);
        let params = [("n", n.into()), ("n_parts", n_parts.into())];
        let kernel = whole.set(Kernel::new(&SHADER, &[&ROW]));
        r.dispatch(kernel, &[Buffer::Input(0), parts], &[Buffer::Output(0)], &params, [1, 1, 1]);
        r.declare_depth(lanes.additions() + whole.additions());
        Ok(())
    }

    fn cost(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Cost {
        Cost { flops: inputs[1].elements() as u64, bytes: moved_bytes(inputs, outputs) }
    }

    fn error_bound(&self, b: &Bound<'_>) -> Result<Vec<Vec<f64>>> {
        let Oracle::U32(labels) = &b.inputs[1] else { unreachable!("infer accepts only u32") };
        let weights = b.inputs.get(2).map(Oracle::real);
        let x = b.inputs[0].real();
        let (mut total, mut absolute) = (0.0, 0.0);
        for &label in labels {
            let w: f64 = weight(label, weights);
            (total, absolute) = (total + w, absolute + w.abs());
        }
        let factor = factor(x.len(), Running::new(total, gamma(b.depth) * absolute));
        Ok(b.each(|i, _| (Running::new(x[i], 0.0) * factor).error() + TINY))
    }
}

impl Cpu for LabelMean {
    fn cpu<T: Real>(&self, args: &mut CpuArgs<'_, T>) {
        let (x, labels, y) = (args.x(0), args.x_u32(1), args.y(0));
        let weights = (args.n_inputs() > 2).then(|| args.x(2));
        let parts = map_indices(labels.len().div_ceil(PART), |i| {
            let labels = &labels[i * PART..labels.len().min((i + 1) * PART)];
            sum(0..labels.len(), &|j| weight(labels[j], weights))
        });
        let factor = factor(x.len(), sum(0..parts.len(), &|i| parts[i]));
        y.iter_mut().zip(x).for_each(|(y, &x)| *y = x * factor);
    }
}

/// The list's entry.
pub static DECLARATIONS: &[Declaration] =
    &[Declaration { name: "label_mean", no_gradient: None, shaders: &[&WEIGHTS_SHADER, &SHADER], cases }];

fn cases() -> Vec<Case> {
    let labels = |seed, shape: &[usize], c: u32, every: usize| {
        let mut labels = sample::indices(seed, shape.iter().product(), c).as_u32().unwrap_or(&[]).to_vec();
        labels.iter_mut().step_by(every).for_each(|l| *l = UNLABELLED);
        Tensor::u32(shape, labels).unwrap_or_else(|_| unreachable!("made to fit"))
    };
    vec![
        Case::new("one", LabelMean, vec![sample::normal(1, [1]), sample::indices(2, 1, 3)]),
        Case::new("weights", LabelMean, vec![sample::normal(3, [70]), sample::indices(4, 70, 5), sample::positive(5, [5])])
            .differentiable_by(&[0]),
        Case::new("maps", LabelMean, vec![sample::normal(6, [3]), labels(7, &[3, 5, 7], 4, 4)]),
        Case::new("maps_weights", LabelMean, vec![sample::normal(8, [2]), labels(9, &[2, 9, 4], 6, 5), sample::positive(10, [6])])
            .differentiable_by(&[0]),
        Case::new("many", LabelMean, vec![sample::normal(11, [300]), labels(12, &[300, 31], 4, 3)]),
        Case::new("none", LabelMean, vec![sample::normal(13, [4]), labels(14, &[4, 2], 4, 1)]),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::check;

    #[test]
    fn cases_hold() {
        check::declarations(DECLARATIONS);
    }

    #[test]
    fn values() {
        use crate::op::{View, run_f64};
        let types = [TensorType::f32([2]), TensorType::u32([2, 2]), TensorType::f32([2])];
        let labels = [0, UNLABELLED, 1, 1];
        let run = |inputs: &[View<'_, f64>]| run_f64(&LabelMean, &types[..inputs.len()], inputs).unwrap()[0].real().to_vec();
        assert_eq!(run(&[View::Real(&[3.0, 6.0]), View::U32(&labels)]), [2.0, 4.0]);
        assert_eq!(run(&[View::Real(&[3.0, 6.0]), View::U32(&labels), View::Real(&[2.0, 1.0])]), [1.5, 3.0]);
    }

    #[test]
    fn bad_arguments_are_refused() {
        let (x, labels) = (TensorType::f32([3]), TensorType::u32([3, 2]));
        assert!(LabelMean.infer(&[x.clone(), labels.clone()]).is_ok());
        assert!(LabelMean.infer(&[x.clone(), TensorType::u32([4])]).is_err());
        assert!(LabelMean.infer(&[x.clone(), labels.clone(), TensorType::f32([2, 2])]).is_err());
        assert!(LabelMean.infer(&[x, TensorType::f32([3])]).is_err());
        assert!(LabelMean.infer(&[TensorType::f32([70_000]), TensorType::u32([70_000])]).is_err());
    }
}
