//! Accuracy: whether the largest logit is the label's.

use super::max_pool2d::ORDER;
use super::row_reduction::{Lanes, ROW};
use super::softmax::{ROWS, with_element};
use super::softmax_cross_entropy::{check_labels, distributions};
use crate::error::Result;
use crate::linalg::{Real, map_indices};
use crate::op::{
    Buffer, Case, Cpu, CpuArgs, Declaration, GRID, Kernel, Op, Recorder, Source, View, expect_inputs, sample, shader,
};
use crate::tensor::{DType, TensorType};

static SHADER: Source = shader!("accuracy");

/// 1 for each row whose first maximum is at the label, else 0. Inputs: `logits [n, c]` f32, and `labels`, either class indices `[n]`
/// u32 or distributions over the classes `[n, c]` f32, of which the first maximum is the label; output: `hit [n]` f32.
///
/// A row with a NaN counts 0, and so does a class index that is out of range. Fails for other shapes and for more than 2,097,152
/// classes.
#[derive(Clone, PartialEq, Debug)]
pub struct Accuracy;

/// Where the first maximum is, none if there is a NaN.
fn argmax<T: Real>(row: &[T]) -> Option<usize> {
    let mut best = 0;
    for (j, &v) in row.iter().enumerate() {
        if v.is_nan() {
            return None;
        }
        if v > row[best] {
            best = j;
        }
    }
    Some(best)
}

impl Op for Accuracy {
    fn name(&self) -> &'static str {
        "accuracy"
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>> {
        expect_inputs(inputs, &["logits", "labels"])?;
        let [n, _] = check_labels(inputs)?;
        Ok(vec![TensorType::f32([n])])
    }

    fn gpu(&self, r: &mut Recorder<'_>) -> Result<()> {
        let [rows, c] = r.x(0).shape.matrix("logits")?;
        let lanes = Lanes::of(c);
        r.dispatch(
            lanes.set(Kernel::new(&SHADER, &[&GRID, &ORDER, &ROW]).set("SOFT_LABELS", r.x(1).dtype == DType::F32)),
            &[Buffer::Input(0), Buffer::Input(1)],
            &[Buffer::Output(0)],
            &[("n_rows", rows.into()), ("c", c.into())],
            lanes.grid(r, rows),
        );
        Ok(())
    }
}

impl Cpu for Accuracy {
    fn cpu<T: Real>(&self, args: &mut CpuArgs<'_, T>) {
        let c = args.x_shape(0).last();
        let (x, labels, hit) = (args.x(0), args.view(1), args.y(0));
        let hits = map_indices(hit.len(), |row| {
            let label = match labels {
                View::U32(labels) => Some(labels[row] as usize),
                View::Real(labels) => argmax(&labels[row * c..][..c]),
                View::U8(_) => unreachable!("infer refuses u8 labels"),
            };
            let best = argmax(&x[row * c..][..c]);
            if best.is_some() && best == label { T::ONE } else { T::ZERO }
        });
        hit.copy_from_slice(&hits);
    }
}

/// The list's entry.
pub static DECLARATIONS: &[Declaration] = &[Declaration {
    name: "accuracy",
    no_gradient: Some("a step function: its slope is 0 wherever it has one"),
    shaders: &[&SHADER],
    cases,
}];

fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for (i, &(name, shape)) in ROWS.iter().enumerate() {
        let i = i as u64;
        // Few different values, so that there are ties; few classes among the labels, so that there are hits.
        let x = sample::integers(i, shape, if i.is_multiple_of(2) { 2 } else { 50 });
        let labels = if i % 3 == 2 { distributions(i, shape) } else { sample::indices(i, shape[0], shape[1].min(4) as u32) };
        cases.push(Case::new(name, Accuracy, vec![x, labels]));
    }
    // The labels are the logits: every row is a hit but for the one with a NaN.
    for (name, shape) in [("nan", [5, 9]), ("nan_100", [5, 100]), ("nan_5000", [2, 5000])] {
        let x = sample::integers(30, shape, 3);
        cases.push(Case::new(name, Accuracy, vec![with_element(x.clone(), shape[1] + 2, f32::NAN), x.clone()]));
        cases.push(Case::new(format!("{name}_label"), Accuracy, vec![x.clone(), with_element(x, 3, f32::NAN)]));
    }
    cases
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::run_f64;

    #[test]
    fn first_maximum_and_nan() {
        let x = [1.0, 2.0, 2.0, /**/ 0.0, f64::NAN, 9.0, /**/ 5.0, 1.0, 0.0, /**/ -0.0, 0.0, -1.0];
        let hits = |labels: View<'_, f64>, ty: TensorType| {
            run_f64(&Accuracy, &[TensorType::f32([4, 3]), ty], &[View::Real(&x), labels]).unwrap()[0].real().to_vec()
        };
        assert_eq!(hits(View::U32(&[1, 2, 0, 0]), TensorType::u32([4])), [1.0, 0.0, 1.0, 1.0]);
        assert_eq!(hits(View::U32(&[2, 1, 7, 1]), TensorType::u32([4])), [0.0; 4]);
        let soft = [0.1, 0.6, 0.3, 0.0, 1.0, 0.0, 0.2, 0.3, 0.5, 1.0, 0.0, f64::NAN];
        assert_eq!(hits(View::Real(&soft), TensorType::f32([4, 3])), [1.0, 0.0, 0.0, 0.0]);
    }
}
