//! Accuracy: whether the largest logit, or one of the k largest, is the label's.

use super::max_pool2d::ORDER;
use super::row_reduction::{Lanes, ROW};
use super::softmax::{ROWS, with_element};
use super::softmax_cross_entropy::{check_labels, distributions};
use crate::error::{Error, Result};
use crate::linalg::{Real, map_indices};
use crate::op::{
    Buffer, Case, Cpu, CpuArgs, Declaration, GRID, Kernel, Op, Recorder, Source, View, expect_inputs, sample, shader,
};
use crate::tensor::{DType, TensorType};

static SHADER: Source = shader!("accuracy");
/// The largest of a row in WGSL.
pub(super) static ARGMAX: Source = shader!("shared/argmax");

/// 1 for each row in which the label is among the first `k`, else 0: those of the largest logits, of equal ones the lower class first.
/// Inputs: `logits [.., c]` f32, as `[n, c]` or `[n, h, w, c]`, and `labels`, either class indices `[..]` u32 or distributions over the
/// classes `[.., c]` f32, of which the first maximum is the label; output: `hit [..]` f32.
///
/// A row with a NaN counts 0, and so does a class index that is out of range. Fails for other shapes, for more than 2,097,152
/// classes and for a `k` of 0.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Accuracy {
    /// How many classes a hit is among; 1 for accuracy.
    pub k: usize,
}

/// Where the first maximum is, none if there is a NaN.
pub(super) fn argmax<T: Real>(row: &[T]) -> Option<usize> {
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
        if self.k == 0 {
            return Err(Error::invalid("k", 0, "at least 1"));
        }
        Ok(vec![TensorType::f32(check_labels(inputs)?)])
    }

    fn gpu(&self, r: &mut Recorder<'_>) -> Result<()> {
        let c = r.x(0).shape.last();
        let rows = r.x(0).elements() / c;
        let lanes = Lanes::of(c);
        r.dispatch(
            lanes.set(Kernel::new(&SHADER, &[&GRID, &ORDER, &ROW, &ARGMAX]).set("SOFT_LABELS", r.x(1).dtype == DType::F32)),
            &[Buffer::Input(0), Buffer::Input(1)],
            &[Buffer::Output(0)],
            &[("n_rows", rows.into()), ("c", c.into()), ("k", self.k.min(c).into())],
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
            let x = &x[row * c..][..c];
            let Some(label) = label.filter(|&l| l < c && !x.iter().any(|v| v.is_nan())) else { return T::ZERO };
            let before = x.iter().enumerate().filter(|&(j, &v)| v > x[label] || v == x[label] && j < label).count();
            if before < self.k { T::ONE } else { T::ZERO }
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
        cases.push(Case::new(name, Accuracy { k: [1, 2, 5][i as usize % 3] }, vec![x, labels]));
    }
    // The labels are the logits: every row is a hit but for the one with a NaN.
    for (name, shape) in [("nan", [5, 9]), ("nan_100", [5, 100]), ("nan_5000", [2, 5000])] {
        let x = sample::integers(30, shape, 3);
        cases.push(Case::new(name, Accuracy { k: 1 }, vec![with_element(x.clone(), shape[1] + 2, f32::NAN), x.clone()]));
        cases.push(Case::new(format!("{name}_label"), Accuracy { k: 1 }, vec![x.clone(), with_element(x, 3, f32::NAN)]));
    }
    let maps = sample::indices(40, 30, 5);
    let maps = crate::tensor::Tensor::u32([2, 5, 3], maps.as_u32().unwrap_or(&[]).to_vec()).unwrap_or_else(|_| unreachable!("made to fit"));
    cases.push(Case::new("maps", Accuracy { k: 2 }, vec![sample::integers(41, [2, 5, 3, 5], 4), maps]));
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
            run_f64(&Accuracy { k: 1 }, &[TensorType::f32([4, 3]), ty], &[View::Real(&x), labels]).unwrap()[0].real().to_vec()
        };
        assert_eq!(hits(View::U32(&[1, 2, 0, 0]), TensorType::u32([4])), [1.0, 0.0, 1.0, 1.0]);
        assert_eq!(hits(View::U32(&[2, 1, 7, 1]), TensorType::u32([4])), [0.0; 4]);
        let soft = [0.1, 0.6, 0.3, 0.0, 1.0, 0.0, 0.2, 0.3, 0.5, 1.0, 0.0, f64::NAN];
        assert_eq!(hits(View::Real(&soft), TensorType::f32([4, 3])), [1.0, 0.0, 0.0, 0.0]);
    }
}
