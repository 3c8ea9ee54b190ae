//! Picks along any axis by number.

use crate::error::{Error, Result};
use crate::linalg::{Real, for_each_row};
use crate::op::{
    Buffer, Case, Cost, Cpu, CpuArgs, Declaration, Gradient, INT32, Interchange, Op, Recorder, Source, StandardNode, Term, View,
    ViewMut, expect_inputs, sample, shader,
};
use crate::ops::elements::{Elements, QUOTIENT};
use crate::ops::gather_rows::{GatherRowsGrad, ROW_NUMBER, row_numbers};
use crate::ops::reduce::Run;
use crate::ops::strided::{expect_words, special, words};
use crate::ops::transpose::Transpose;
use crate::ops::view;
use crate::tensor::{DType, Shape, Tensor, TensorType};

static SHADER: Source = shader!("gather");

/// `y[.., j, ..] = data[.., indices[j], ..]`: f32 or u32 data `[.., d, ..]` and u32 indices of any shape, to the data's type and shape with that of the
/// indices in the place of the axis. Indices from 2^31 on are negative ones in two's complement, which count from the end. An index that is none
/// gives NaN, or `u32::MAX`. Differentiable by f32 data; a row that was picked several times gets the sum.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Gather {
    /// The axis of the data.
    pub axis: usize,
}

impl Gather {
    fn run(&self, data: &Shape) -> Result<Run> {
        Run::new(data, &(self.axis..self.axis.saturating_add(1)))
    }
}

impl Op for Gather {
    fn name(&self) -> &'static str {
        "gather"
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>> {
        expect_inputs(inputs, &["data", "indices"])?;
        let (data, indices) = (&inputs[0], &inputs[1]);
        expect_words("data", data)?;
        indices.expect_dtype("indices", DType::U32)?;
        let (shape, picked) = (data.shape.clone().checked("data")?, indices.shape.clone().checked("indices")?);
        if self.axis >= shape.rank() {
            return Err(Error::invalid("axis", self.axis, format!("one of the {} axes of the data, {shape}", shape.rank())));
        }
        let dims = [&shape.dims()[..self.axis], picked.dims(), &shape.dims()[self.axis + 1..]].concat();
        Ok(vec![TensorType::new(data.dtype, Shape::from(dims).checked("what is picked")?)])
    }

    fn gradient(&self, g: &mut Gradient<'_>) -> Result<()> {
        if !g.wants(0) {
            return Ok(());
        }
        let data = g.type_of(g.x(0)).shape;
        let Run { outer, len, inner } = self.run(&data)?;
        let n = g.type_of(g.x(1)).elements();
        let indices = g.node(view::View::reshape([n]), &[g.x(1)])?;
        let dy = g.dy0()?;
        let mut dx = g.node(view::View::reshape([outer, n, inner]), &[dy])?;
        let swapped = Transpose::new([1, 0, 2]);
        if outer > 1 {
            dx = g.node(swapped.clone(), &[dx])?;
        }
        dx = g.node(view::View::reshape([n, outer * inner]), &[dx])?;
        dx = g.node(GatherRowsGrad { rows: len, from_end: true }, &[indices, dx])?;
        if outer > 1 {
            dx = g.node(view::View::reshape([len, outer, inner]), &[dx])?;
            dx = g.node(swapped, &[dx])?;
        }
        dx = g.node(view::View::reshape(data), &[dx])?;
        g.set(0, dx);
        Ok(())
    }

    fn gpu(&self, r: &mut Recorder<'_>) -> Result<()> {
        let run = self.run(&r.x(0).shape)?;
        let e = Elements::aligned(r.y(0).elements(), run.inner);
        let missing = if r.x(0).dtype == DType::U32 { u32::MAX } else { f32::NAN.to_bits() };
        let params = [
            ("n", e.n()),
            ("len", run.len.into()),
            ("inner", e.count(run.inner).into()),
            ("n_indices", r.x(1).elements().into()),
            ("missing", missing.into()),
        ];
        let kernel = e.words(&SHADER, &[&QUOTIENT, &ROW_NUMBER]).set("FROM_END", true);
        let grid = e.grid(r);
        r.dispatch(kernel, &[Buffer::Input(0), Buffer::Input(1)], &[Buffer::Output(0)], &params, grid);
        Ok(())
    }

    fn cost(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Cost {
        // Of the data only what is picked is read.
        Cost { flops: 0, bytes: (2 * outputs[0].bytes() + inputs[1].bytes()) as u64 }
    }

    /// The standard knows no rows that don't exist: engines refuse their numbers.
    fn interchange(&self, d: &mut Interchange<'_>) -> Result<Vec<Term>> {
        let indices = d.same(StandardNode::free("Cast", &[d.x(1)]).int("to", INT32));
        let shape = d.output_type(0).shape.clone();
        Ok(vec![d.add(StandardNode::fixed("Gather", &[d.x(0), indices]).int("axis", self.axis as i64), shape)])
    }
}

fn pick<E: Copy + Send + Sync>(run: Run, data: &[E], indices: &[usize], y: &mut [E], missing: E) {
    for_each_row(y, run.inner, |row, y| {
        let (o, j) = (row / indices.len(), row % indices.len());
        match indices[j] {
            at if at < run.len => y.copy_from_slice(&data[(o * run.len + at) * run.inner..][..run.inner]),
            _ => y.fill(missing),
        }
    });
}

impl Cpu for Gather {
    fn cpu<T: Real>(&self, args: &mut CpuArgs<'_, T>) {
        let Ok(run) = self.run(args.x_shape(0)) else { unreachable!("infer checks the axis") };
        let indices = row_numbers(args.view(1), Some(run.len));
        match (args.view(0), args.take(0)) {
            (View::Real(data), ViewMut::Real(y)) => pick(run, data, &indices, y, T::from_f32(f32::NAN)),
            (View::U32(data), ViewMut::U32(y)) => pick(run, data, &indices, y, u32::MAX),
            _ => unreachable!("infer checks the types"),
        }
    }
}

/// The list's entry.
pub static DECLARATIONS: &[Declaration] = &[Declaration { name: "gather", no_gradient: None, shaders: &[&SHADER], cases }];

fn cases() -> Vec<Case> {
    let indices = |shape: &[usize], values: &[i32]| {
        let data = values.iter().map(|&v| v as u32).collect();
        Tensor::u32(shape, data).unwrap_or_else(|_| unreachable!("made to fit"))
    };
    let case = |name: &str, axis, data, indices| Case::new(name, Gather { axis }, vec![data, indices]);
    vec![
        case("one", 0, sample::normal(1, [1]), indices(&[], &[0])),
        case("rows", 0, sample::normal(2, [7, 12]), sample::indices(3, 20, 7)),
        case("columns", 1, sample::normal(4, [9, 5]), indices(&[2, 3], &[0, 4, -1, -5, 4, 2])),
        case("middle", 1, sample::normal(5, [3, 7, 8]), indices(&[4], &[6, -7, 3, 3])),
        case("middle_odd", 2, sample::normal(6, [2, 3, 5, 3]), indices(&[2, 1], &[-2, 1])),
        case("one_of_an_axis", 1, sample::normal(7, [4, 3, 5]), indices(&[], &[-1])),
        case("workgroups", 1, sample::normal(8, [5, 40, 12]), sample::indices(9, 33, 40)),
        case("missing", 1, sample::normal(10, [2, 3, 4]), indices(&[5], &[3, -4, 2, i32::MIN, i32::MAX])).differentiable_by(&[]),
        case("special", 0, special([7, 4]), indices(&[3], &[1, 6, -7])).differentiable_by(&[]),
        case("words", 1, words(11, [3, 5]), indices(&[2, 2], &[0, -1, 5, 2])),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::run_f64;
    use crate::ops::check;

    #[test]
    fn cases_hold() {
        check::declarations(DECLARATIONS);
    }

    #[test]
    fn by_hand() {
        let types = [TensorType::f32([2, 3]), TensorType::u32([2, 2])];
        let x = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let op = Gather { axis: 1 };
        assert_eq!(op.infer(&types).unwrap()[0].shape.dims(), [2, 2, 2]);
        let y = run_f64(&op, &types, &[View::Real(&x), View::U32(&[2, u32::MAX, 0, u32::MAX - 2])]).unwrap();
        assert_eq!(y[0].real(), [3.0, 3.0, 1.0, 1.0, 6.0, 6.0, 4.0, 4.0]);
    }

    #[test]
    fn bad_inputs_are_refused() {
        let (data, indices) = (TensorType::f32([2, 3]), TensorType::u32([2]));
        assert!(Gather { axis: 2 }.infer(&[data.clone(), indices.clone()]).is_err());
        assert!(Gather { axis: usize::MAX }.infer(&[data.clone(), indices.clone()]).is_err());
        assert!(Gather { axis: 0 }.infer(&[data, TensorType::f32([2])]).is_err());
        assert!(Gather { axis: 0 }.infer(&[TensorType::new(DType::U8, [2]), indices]).is_err());
    }
}
