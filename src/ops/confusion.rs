//! Counts of what a classifier took each class for.

use super::accuracy::{ARGMAX, argmax};
use super::max_pool2d::ORDER;
use super::row_reduction::{Lanes, ROW};
use super::softmax_cross_entropy::check_labels;
use crate::error::{Error, Result};
use crate::linalg::Real;
use crate::op::{
    Buffer, Case, Cost, Cpu, CpuArgs, Declaration, GRID, Kernel, Op, Recorder, Source, expect_inputs, moved_bytes, sample, shader,
};
use crate::tensor::{DType, Tensor, TensorType, UNLABELLED};

static SHADER: Source = shader!("confusion");

/// Most classes: their matrix fits the smallest binding that devices have.
pub const MAX_CLASSES: usize = 4096;

/// A confusion matrix, in place: `counts[label, first maximum] += 1` for each row. Inputs: counts, u32 `[c, c]`; health, u32 `[2]`, whose
/// first must be 0 for anything to happen, see [`Track`](super::track::Track); logits, f32 `[.., c]`; labels, u32 `[..]`. Output: counts.
///
/// A row with a NaN isn't counted, nor one whose label is no class, as [`UNLABELLED`]. Counts are integers, so their order doesn't matter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Confusion;

impl Op for Confusion {
    fn name(&self) -> &'static str {
        "confusion"
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>> {
        expect_inputs(inputs, &["counts", "health", "logits", "labels"])?;
        check_labels(&inputs[2..])?;
        inputs[3].expect_dtype("labels", DType::U32)?;
        let c = inputs[2].shape.last();
        if c > MAX_CLASSES {
            return Err(Error::invalid("number of classes", c, format!("at most {MAX_CLASSES}")));
        }
        inputs[0].expect("counts", &TensorType::u32([c, c]))?;
        inputs[1].expect("health", &TensorType::u32([2]))?;
        Ok(vec![inputs[0].clone()])
    }

    fn gpu(&self, r: &mut Recorder<'_>) -> Result<()> {
        let c = r.x(2).shape.last();
        let rows = r.x(2).elements() / c;
        let lanes = Lanes::of(c);
        let kernel = lanes.set(Kernel::new(&SHADER, &[&GRID, &ORDER, &ROW, &ARGMAX]));
        let grid = lanes.grid(r, rows);
        let params = [("n_rows", rows.into()), ("c", c.into())];
        r.dispatch(kernel, &[2, 3, 1].map(Buffer::Input), &[Buffer::Output(0)], &params, grid);
        Ok(())
    }

    fn cost(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Cost {
        Cost { flops: inputs[2].elements() as u64, bytes: moved_bytes(inputs, outputs) }
    }

    fn in_place(&self) -> &[(usize, usize)] {
        &[(0, 0)]
    }
}

impl Cpu for Confusion {
    fn cpu<T: Real>(&self, args: &mut CpuArgs<'_, T>) {
        if args.x_u32(1)[0] != 0 {
            return;
        }
        let c = args.x_shape(2).last();
        let (x, labels, counts) = (args.x(2), args.x_u32(3), args.y_u32(0));
        for (row, &label) in labels.iter().enumerate() {
            if (label as usize) < c
                && let Some(best) = argmax(&x[row * c..][..c])
            {
                counts[label as usize * c + best] += 1;
            }
        }
    }
}

/// The list's entry.
pub static DECLARATIONS: &[Declaration] =
    &[Declaration { name: "confusion", no_gradient: Some("it counts predictions"), shaders: &[&SHADER], cases }];

fn cases() -> Vec<Case> {
    let case = |name: &str, seed: u64, rows: &[usize], c: usize, health: u32| {
        let u32s = |shape: &[usize], v: Vec<u32>| Tensor::u32(shape, v).unwrap_or_else(|_| unreachable!("made to fit"));
        let n: usize = rows.iter().product();
        let mut labels = sample::indices(seed, n, c as u32).as_u32().unwrap_or(&[]).to_vec();
        labels.iter_mut().skip(1).step_by(7).for_each(|l| *l = UNLABELLED);
        let counts = u32s(&[c, c], (0..(c * c) as u32).collect());
        let logits = sample::integers(seed + 1, [rows, &[c]].concat(), 20);
        Case::new(name, Confusion, vec![counts, u32s(&[2], vec![health, 3]), logits, u32s(rows, labels)])
    };
    let mut nan = case("nan", 9, &[20], 5, 0);
    nan.inputs[2] = super::softmax::with_element(nan.inputs[2].clone(), 12, f32::NAN);
    vec![
        case("one", 1, &[1], 1, 0),
        case("ten", 3, &[500], 10, 0),
        case("hundred", 5, &[30], 100, 0),
        case("maps", 7, &[2, 9, 5], 3, 0),
        nan,
        case("stopped", 11, &[40], 4, 1),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::Oracle;
    use crate::ops::check;

    #[test]
    fn cases_hold() {
        check::declarations(DECLARATIONS);
    }

    #[test]
    fn counts_every_labelled_row_once() {
        let case = &cases()[1];
        let Oracle::U32(counts) = &check::outputs(case)[0] else { panic!("counts are u32") };
        let before: u32 = (0..100).sum();
        // Of 500, 72 are unlabelled.
        assert_eq!(counts.iter().sum::<u32>() - before, 500 - 72);
    }

    #[test]
    fn bad_arguments_are_refused() {
        let types: Vec<_> = cases()[1].inputs.iter().map(Tensor::tensor_type).collect();
        assert!(Confusion.infer(&types).is_ok());
        let mut other = types.clone();
        other[0] = TensorType::u32([9, 9]);
        assert!(Confusion.infer(&other).is_err());
        other = types.clone();
        other[3] = types[2].clone();
        assert!(Confusion.infer(&other).is_err());
    }
}
