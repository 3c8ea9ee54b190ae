//! Mean squared error, and its gradient.

use super::row_reduction::{Lanes, ROW, check_row, sum};
use crate::error::{Error, Result};
use crate::linalg::{Real, for_each_row, map_indices};
use crate::op::{
    Bound, Buffer, Case, Cost, Cpu, CpuArgs, Declaration, GRID, Gradient, Kernel, Op, Recorder, Source, TINY, expect_inputs,
    gamma, moved_bytes, sample, shader,
};
use crate::tensor::{DType, Tensor, TensorType};

static SHADER: Source = shader!("mean_squared_error");
static TOTAL_SHADER: Source = shader!("mean_squared_error_total");
static GRAD_SHADER: Source = shader!("mean_squared_error_grad");

/// Longest piece of a row that a workgroup sums. Longer rows take a second pass.
const PART: usize = 4096;

/// `loss[i] = mean of (prediction[i, ..] - target[i, ..])^2`, a loss for each element of the batch. Inputs: `prediction` and `target`
/// f32 of the same shape, whose first axis is the batch's; output: `loss [n]` f32, not yet averaged.
///
/// Fails for tensors of other types, unequal shapes, and a shape without axes.
#[derive(Clone, PartialEq, Debug)]
pub struct MeanSquaredError;

/// Gradient of [`MeanSquaredError`]: `2 / row_len * dloss[i] * (prediction - target)`, negative `by_target`. Inputs `prediction`,
/// `target` and `dloss [n]` f32; output of the prediction's shape.
#[derive(Clone, PartialEq, Debug)]
pub struct MeanSquaredErrorGrad {
    /// Whether this is the gradient by the target instead of the prediction.
    pub by_target: bool,
}

/// Checks prediction and target, and gives rows and their length.
fn check(inputs: &[TensorType]) -> Result<[usize; 2]> {
    inputs[0].expect_dtype("prediction", DType::F32)?;
    let shape = inputs[0].shape.clone().checked("prediction")?;
    inputs[1].expect("target", &inputs[0])?;
    let Some(&n) = shape.dims().first() else {
        return Err(Error::invalid("prediction", &inputs[0], "at least one axis, the batch's"));
    };
    check_row("pieces of a row", (shape.elements() / n).div_ceil(PART))?;
    Ok([n, shape.elements() / n])
}

impl Op for MeanSquaredError {
    fn name(&self) -> &'static str {
        "mean_squared_error"
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>> {
        expect_inputs(inputs, &["prediction", "target"])?;
        let [n, _] = check(inputs)?;
        Ok(vec![TensorType::f32([n])])
    }

    fn gradient(&self, g: &mut Gradient<'_>) -> Result<()> {
        let inputs = [g.x(0), g.x(1), g.dy0()?];
        for (i, by_target) in [(0, false), (1, true)] {
            if g.wants(i) {
                let d = g.node(MeanSquaredErrorGrad { by_target }, &inputs)?;
                g.set(i, d);
            }
        }
        Ok(())
    }

    fn gpu(&self, r: &mut Recorder<'_>) -> Result<()> {
        let [n, row_len] = check(r.inputs())?;
        let n_parts = row_len.div_ceil(PART);
        let part_len = row_len.min(PART);
        let mean = (1.0 / row_len as f64) as f32;
        let (sums, scale) = match n_parts {
            1 => (Buffer::Output(0), mean),
            _ => (r.temp(TensorType::f32([n, n_parts])), 1.0),
        };
        let lanes = Lanes::of(part_len);
        r.dispatch(
            lanes.set(Kernel::new(&SHADER, &[&GRID, &ROW])),
            &[Buffer::Input(0), Buffer::Input(1)],
            &[sums],
            &[
                ("n_rows", (n * n_parts).into()),
                ("row_len", row_len.into()),
                ("n_parts", n_parts.into()),
                ("part_len", part_len.into()),
                ("scale", scale.into()),
            ],
            lanes.grid(r, n * n_parts),
        );
        let mut additions = lanes.additions();
        if n_parts > 1 {
            let lanes = Lanes::of(n_parts);
            r.dispatch(
                lanes.set(Kernel::new(&TOTAL_SHADER, &[&GRID, &ROW])),
                &[sums],
                &[Buffer::Output(0)],
                &[("n_rows", n.into()), ("c", n_parts.into()), ("scale", mean.into())],
                lanes.grid(r, n),
            );
            additions += lanes.additions();
        }
        // The difference, which is squared (2), the square, the factor 1 / row_len and the product with it.
        r.declare_depth(additions + 5);
        Ok(())
    }

    fn cost(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Cost {
        Cost { flops: 3 * inputs[0].elements() as u64, bytes: moved_bytes(inputs, outputs) }
    }

    /// No term is negative, so all roundings are relative to the result. Squares that underflow are averaged.
    fn error_bound(&self, b: &Bound<'_>) -> Result<Vec<Vec<f64>>> {
        Ok(b.each(|_, y| gamma(b.depth) * y + TINY))
    }
}

impl Cpu for MeanSquaredError {
    fn cpu<T: Real>(&self, args: &mut CpuArgs<'_, T>) {
        let (prediction, target, loss) = (args.x(0), args.x(1), args.y(0));
        let row_len = prediction.len() / loss.len();
        let losses = map_indices(loss.len(), |row| {
            let (p, t) = (&prediction[row * row_len..][..row_len], &target[row * row_len..][..row_len]);
            sum(0..row_len, &|j| (p[j] - t[j]) * (p[j] - t[j])) / T::from_f64(row_len as f64)
        });
        loss.copy_from_slice(&losses);
    }
}

impl Op for MeanSquaredErrorGrad {
    fn name(&self) -> &'static str {
        "mean_squared_error_grad"
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>> {
        expect_inputs(inputs, &["prediction", "target", "dloss"])?;
        let [n, _] = check(inputs)?;
        inputs[2].expect("dloss", &TensorType::f32([n]))?;
        Ok(vec![inputs[0].clone()])
    }

    fn gpu(&self, r: &mut Recorder<'_>) -> Result<()> {
        const WORKGROUP: usize = 256; // as in the shader
        let [n, row_len] = check(r.inputs())?;
        let (width, real) = if row_len.is_multiple_of(4) { (4, "vec4<f32>") } else { (1, "f32") };
        let n_vecs = n * row_len / width;
        let sign = if self.by_target { -2.0 } else { 2.0 };
        r.dispatch(
            Kernel::new(&GRAD_SHADER, &[&GRID]).set("Real", real),
            &[Buffer::Input(0), Buffer::Input(1), Buffer::Input(2)],
            &[Buffer::Output(0)],
            &[
                ("n_vecs", n_vecs.into()),
                ("row_vecs", (row_len / width).into()),
                ("scale", ((sign / row_len as f64) as f32).into()),
            ],
            r.linear_grid(n_vecs.div_ceil(WORKGROUP)),
        );
        Ok(())
    }

    fn cost(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Cost {
        Cost { flops: 2 * inputs[0].elements() as u64, bytes: moved_bytes(inputs, outputs) }
    }

    /// Roundings of the factor, of its product with dloss, of the difference, and of their product. The first product may underflow,
    /// and is multiplied by the difference.
    fn error_bound(&self, b: &Bound<'_>) -> Result<Vec<Vec<f64>>> {
        let (p, t) = (b.inputs[0].real(), b.inputs[1].real());
        Ok(b.each(|i, y| gamma(4) * y.abs() + TINY * (1.0 + (p[i] - t[i]).abs())))
    }
}

impl Cpu for MeanSquaredErrorGrad {
    fn cpu<T: Real>(&self, args: &mut CpuArgs<'_, T>) {
        let (prediction, target, dloss, d) = (args.x(0), args.x(1), args.x(2), args.y(0));
        let row_len = d.len() / dloss.len();
        let scale = T::from_f64(if self.by_target { -2.0 } else { 2.0 } / row_len as f64);
        for_each_row(d, row_len, |row, d| {
            let factor = scale * dloss[row];
            let (p, t) = (&prediction[row * row_len..][..row_len], &target[row * row_len..][..row_len]);
            d.iter_mut().zip(p.iter().zip(t)).for_each(|(d, (&p, &t))| *d = factor * (p - t));
        });
    }
}

/// The list's entries.
pub static DECLARATIONS: &[Declaration] = &[
    Declaration { name: "mean_squared_error", no_gradient: None, shaders: &[&SHADER, &TOTAL_SHADER], cases },
    Declaration {
        name: "mean_squared_error_grad",
        no_gradient: Some("gradient op: second derivatives are not needed for training"),
        shaders: &[&GRAD_SHADER],
        cases: grad_cases,
    },
];

/// Names, predictions and targets.
fn inputs() -> Vec<(&'static str, Tensor, Tensor)> {
    let mut s = crate::random::Stream::new(crate::random::Seed(80), 0);
    let random = [s.below(9) as usize + 1, s.below(9) as usize + 1, s.below(9) as usize + 1];
    vec![
        ("one_element", sample::normal(1, [1]), sample::normal(2, [1])),
        ("one_output", sample::normal(3, [70]), sample::normal(4, [70])),
        ("matrix", sample::normal(5, [5, 10]), sample::normal(6, [5, 10])),
        ("image", sample::positive(7, [3, 5, 4, 3]), sample::positive(8, [3, 5, 4, 3])),
        ("integers", sample::integers(9, [2, 64], 9), sample::integers(10, [2, 64], 9)),
        ("long_rows", sample::normal(11, [2, 9001]), sample::normal(12, [2, 9001])),
        ("random", sample::normal(13, random), sample::normal(14, random)),
    ]
}

fn cases() -> Vec<Case> {
    let case = |(name, p, t): (&str, Tensor, Tensor)| {
        let by: &[usize] = if name == "long_rows" { &[] } else { &[0, 1] };
        Case::new(name, MeanSquaredError, vec![p, t]).differentiable_by(by)
    };
    inputs().into_iter().map(case).collect()
}

fn grad_cases() -> Vec<Case> {
    let case = |(i, (name, p, t)): (usize, (&str, Tensor, Tensor))| {
        let dloss = sample::normal(20 + i as u64, [p.shape().dims()[0]]);
        Case::new(name, MeanSquaredErrorGrad { by_target: i % 2 == 1 }, vec![p, t, dloss])
    };
    inputs().into_iter().enumerate().map(case).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::{View, run_f64};

    #[test]
    fn values() {
        let types = [TensorType::f32([2, 2]), TensorType::f32([2, 2])];
        let inputs = [View::Real(&[1.0, 2.0, 3.0, 4.0]), View::Real(&[1.0, 0.0, 6.0, 5.0])];
        assert_eq!(run_f64(&MeanSquaredError, &types, &inputs).unwrap()[0].real(), [2.0, 5.0]);
    }

    #[test]
    fn bad_arguments_are_refused() {
        let infer = |p: TensorType, t: TensorType| MeanSquaredError.infer(&[p, t]).unwrap_err().to_string();
        assert!(infer(TensorType::f32([2, 3]), TensorType::f32([2])).contains("target"));
        assert!(infer(TensorType::u32([2]), TensorType::u32([2])).contains("prediction"));
        assert!(infer(TensorType::f32([]), TensorType::f32([])).contains("batch"));
    }
}
