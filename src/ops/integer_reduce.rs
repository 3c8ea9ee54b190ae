//! Sums, products and extremes of integers over axes.

use super::argmax::{check_lanes, record_lanes};
use super::reduce::{Run, without};
use super::words::{INTEGER, Integer, integers};
use crate::error::Result;
use crate::linalg::{Real, for_each_row};
use crate::op::{
    Case, Cost, Cpu, CpuArgs, Declaration, GRID, Kernel, Op, Recorder, Source, expect_inputs, moved_bytes, shader,
};
use crate::tensor::{DType, Tensor, TensorType};
use std::ops::Range;

static SHADER: Source = shader!("integer_reduce");

/// What is made of the integers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum IntegerReduction {
    /// Their sum.
    Sum,
    /// Their product.
    Product,
    /// The smallest.
    Min,
    /// The largest.
    Max,
}

/// A reduction of integers over adjacent axes, wrapped to their width: u32 `[.., axes, ..]` to u32 of the shape without them.
///
/// Fails for axes of more than 8,388,608 elements together.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IntegerReduce {
    /// What is made of them.
    pub reduction: IntegerReduction,
    /// What the words are.
    pub integer: Integer,
    /// The axes, `first .. last + 1`.
    pub axes: Range<usize>,
}

impl IntegerReduce {
    fn join(&self, a: u32, b: u32) -> u32 {
        let less = self.integer.value(a) < self.integer.value(b);
        match self.reduction {
            IntegerReduction::Sum => a.wrapping_add(b),
            IntegerReduction::Product => a.wrapping_mul(b),
            IntegerReduction::Min => if less { a } else { b },
            IntegerReduction::Max => if less { b } else { a },
        }
    }
}

impl Op for IntegerReduce {
    fn name(&self) -> &'static str {
        "integer_reduce"
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>> {
        expect_inputs(inputs, &["x"])?;
        self.integer.check()?;
        inputs[0].expect_dtype("x", DType::U32)?;
        let shape = inputs[0].shape.clone().checked("x")?;
        check_lanes(Run::new(&shape, &self.axes)?.len)?;
        Ok(vec![TensorType::u32(without(&shape, &self.axes))])
    }

    fn gpu(&self, r: &mut Recorder<'_>) -> Result<()> {
        let run = Run::new(&r.x(0).shape, &self.axes)?;
        let kernel = Kernel::new(&SHADER, &[&GRID, &INTEGER]).set("REDUCTION", self.reduction as u32);
        record_lanes(r, run, self.integer.set(kernel, false));
        Ok(())
    }

    fn cost(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Cost {
        Cost { flops: inputs[0].elements() as u64, bytes: moved_bytes(inputs, outputs) }
    }
}

impl Cpu for IntegerReduce {
    fn cpu<T: Real>(&self, args: &mut CpuArgs<'_, T>) {
        let Ok(Run { len, inner, .. }) = Run::new(args.x_shape(0), &self.axes) else { unreachable!("infer checks the axes") };
        let x = args.x_u32(0);
        for_each_row(args.y_u32(0), inner, |row, y| {
            let x = &x[row * len * inner..][..len * inner];
            y.copy_from_slice(&x[..inner]);
            for x in x[inner..].chunks_exact(inner) {
                y.iter_mut().zip(x).for_each(|(y, &x)| *y = self.join(*y, x));
            }
            y.iter_mut().for_each(|y| *y = self.integer.wrap(*y));
        });
    }
}

/// The list's entry.
pub static DECLARATIONS: &[Declaration] = &[Declaration {
    name: "integer_reduce",
    no_gradient: Some("integers have no slope"),
    shaders: &[&SHADER],
    cases,
}];

fn cases() -> Vec<Case> {
    use IntegerReduction::{Max, Min, Product, Sum};
    let mut cases = Vec::new();
    for (name, reduction) in [("sum", Sum), ("product", Product), ("min", Min), ("max", Max)] {
        let mut case = |case: &str, integer, axes, x: Tensor| {
            cases.push(Case::new(format!("{name}_{case}"), IntegerReduce { reduction, integer, axes }, vec![x]));
        };
        let i8 = Integer { signed: true, bits: 8 };
        case("one", Integer::I32, 0..1, integers(1, Integer::I32, &[1]));
        case("rows", i8, 1..2, integers(2, i8, &[31, 10]));
        case("middle", Integer::U32, 1..2, integers(3, Integer::U32, &[7, 11, 6]));
        case("signed", Integer::I32, 1..3, integers(4, Integer::I32, &[3, 7, 7, 20]));
        case("unsigned", Integer { signed: false, bits: 16 }, 0..2, integers(5, Integer { signed: false, bits: 16 }, &[9, 5, 3]));
        case("long", Integer::I32, 0..1, integers(6, Integer::I32, &[70_001]));
    }
    cases
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::{Oracle, View, run_f64};
    use crate::ops::check;

    #[test]
    fn cases_hold() {
        check::declarations(DECLARATIONS);
    }

    #[test]
    fn by_hand() {
        let x = [-3i32, 100, 7, 100].map(|v| v as u32);
        let run = |reduction, signed| {
            let op = IntegerReduce { reduction, integer: Integer { signed, bits: 8 }, axes: 0..1 };
            let y = run_f64(&op, &[TensorType::u32([4])], &[View::U32(&x)]).unwrap();
            let Oracle::U32(y) = &y[0] else { panic!("integers") };
            y[0] as i32
        };
        assert_eq!((run(IntegerReduction::Sum, true), run(IntegerReduction::Sum, false)), (-52, 204));
        assert_eq!((run(IntegerReduction::Min, true), run(IntegerReduction::Max, true)), (-3, 100));
        assert_eq!(run(IntegerReduction::Product, true), (-3 * 100 * 7 * 100) as i8 as i32);
    }

    #[test]
    fn bad_inputs_are_refused() {
        let op = IntegerReduce { reduction: IntegerReduction::Sum, integer: Integer::I32, axes: 0..2 };
        assert!(op.infer(&[TensorType::u32([2])]).is_err() && op.infer(&[TensorType::f32([2, 2])]).is_err());
        assert!(op.infer(&[TensorType::u32([1, 1 << 24])]).is_err());
    }
}
