//! Where along an axis the largest or the smallest element is.

use super::max_pool2d::ORDER;
use super::reduce::Run;
use crate::error::{Error, Result};
use crate::linalg::{Real, for_each_row};
use crate::op::{
    Buffer, Case, Cost, Cpu, CpuArgs, Declaration, GRID, Interchange, Kernel, MAX_ITERATIONS, Op, Recorder, Source, StandardNode,
    Term, UINT32, expect_inputs, moved_bytes, sample, shader,
};
use crate::tensor::{DType, Shape, Tensor, TensorType};

static SHADER: Source = shader!("argmax");

/// Invocations of a workgroup of the kernel.
const WORKGROUP: usize = 256;

/// The index along an axis of the largest element, or of the smallest: f32 `[.., axis, ..]` to u32 of the shape without the axis. Of equal
/// ones the first, or the last; a NaN counts as larger, or smaller, than everything, as in NumPy.
///
/// Fails for an axis longer than 8,388,608.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ArgMax {
    /// The axis.
    pub axis: usize,
    /// Whether the smallest is looked for: `argmin`.
    pub smallest: bool,
    /// Whether of equal ones the last is taken.
    pub last: bool,
}

/// Fails for elements too many for one pass of a kernel that [`record_lanes`] records.
pub(super) fn check_lanes(len: usize) -> Result<()> {
    const MOST: usize = WORKGROUP * MAX_ITERATIONS;
    if len <= MOST { Ok(()) } else { Err(Error::invalid("length of the axis", len, format!("at most {MOST}"))) }
}

/// Records a kernel that makes one word of the elements of `run` in a single pass, by a workgroup's invocations along len, inner and outer.
pub(super) fn record_lanes(r: &mut Recorder<'_>, run: Run, kernel: Kernel) {
    let Run { outer, len, inner } = run;
    // Lanes along inner as far as it goes, so that neighbours load neighbours, then along the axis; all of them if it is very long.
    let wanted = len.next_power_of_two().min(WORKGROUP);
    let lanes_inner = inner.next_power_of_two().min(64).min(if len > 1 << 16 { 1 } else { 64 });
    let lanes_len = wanted.min(WORKGROUP / lanes_inner);
    let lanes_outer = WORKGROUP / (lanes_inner * lanes_len);
    let n_groups_inner = inner.div_ceil(lanes_inner);
    let params = [
        ("outer", outer.into()),
        ("len", len.into()),
        ("inner", inner.into()),
        ("lanes_len_log2", lanes_len.ilog2().into()),
        ("lanes_inner_log2", lanes_inner.ilog2().into()),
        ("n_groups_inner", n_groups_inner.into()),
    ];
    let grid = r.linear_grid(outer.div_ceil(lanes_outer) * n_groups_inner);
    r.dispatch(kernel, &[Buffer::Input(0)], &[Buffer::Output(0)], &params, grid);
}

impl Op for ArgMax {
    fn name(&self) -> &'static str {
        if self.smallest { "argmin" } else { "argmax" }
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>> {
        expect_inputs(inputs, &["x"])?;
        inputs[0].expect_dtype("x", DType::F32)?;
        let shape = inputs[0].shape.clone().checked("x")?;
        let Some(&len) = shape.dims().get(self.axis) else {
            return Err(Error::invalid("axis", self.axis, format!("one of the {} axes of x, which is {shape}", shape.rank())));
        };
        check_lanes(len)?;
        let dims = [&shape.dims()[..self.axis], &shape.dims()[self.axis + 1..]].concat();
        Ok(vec![TensorType::u32(Shape::from(dims))])
    }

    fn gpu(&self, r: &mut Recorder<'_>) -> Result<()> {
        let run = Run::new(&r.x(0).shape, &(self.axis..self.axis + 1))?;
        let kernel = Kernel::new(&SHADER, &[&GRID, &ORDER]).set("SMALLEST", self.smallest).set("LAST", self.last);
        record_lanes(r, run, kernel);
        Ok(())
    }

    fn cost(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Cost {
        Cost { flops: inputs[0].elements() as u64, bytes: moved_bytes(inputs, outputs) }
    }

    fn interchange(&self, d: &mut Interchange<'_>) -> Result<Vec<Term>> {
        let op_type = if self.smallest { "ArgMin" } else { "ArgMax" };
        let node = StandardNode::removing(op_type, &[d.x(0)], [self.axis]).axis("axis", self.axis);
        let node = node.int("keepdims", 0).int("select_last_index", i64::from(self.last));
        let shape = d.output_type(0).shape.clone();
        let wide = d.add(node, shape);
        Ok(vec![d.same(StandardNode::free("Cast", &[wide]).int("to", UINT32))])
    }
}

impl Cpu for ArgMax {
    fn cpu<T: Real>(&self, args: &mut CpuArgs<'_, T>) {
        let Ok(Run { len, inner, .. }) = Run::new(args.x_shape(0), &(self.axis..self.axis + 1)) else {
            unreachable!("infer checks the axis")
        };
        let x = args.x(0);
        let beats = |a: T, b: T| (if self.smallest { a < b } else { a > b }) || a.is_nan() && !b.is_nan();
        let wins = |a: T, b: T| if self.last { !beats(b, a) } else { beats(a, b) };
        for_each_row(args.y_u32(0), inner, |row, y| {
            let x = &x[row * len * inner..][..len * inner];
            for (i, y) in y.iter_mut().enumerate() {
                let best = (1..len).fold(0, |best, l| if wins(x[l * inner + i], x[best * inner + i]) { l } else { best });
                *y = best as u32;
            }
        });
    }
}

const NO_GRADIENT: Option<&str> = Some("indices have no slope");

/// The list's entries.
pub static DECLARATIONS: &[Declaration] = &[
    Declaration { name: "argmax", no_gradient: NO_GRADIENT, shaders: &[&SHADER], cases: || cases(false) },
    Declaration { name: "argmin", no_gradient: NO_GRADIENT, shaders: &[&SHADER], cases: || cases(true) },
];

fn cases(smallest: bool) -> Vec<Case> {
    let case = |name: &str, axis, x: Tensor| Case::new(name, ArgMax { axis, smallest, last: false }, vec![x]);
    let last = |name: &str, axis, x: Tensor| Case::new(format!("last_{name}"), ArgMax { axis, smallest, last: true }, vec![x]);
    let special = [0.0, -0.0, 1.0, f32::NAN, -1.0, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1.0, -1.0, 0.0, 2.0];
    let special = |dims: [usize; 2]| Tensor::f32(dims, special.to_vec()).unwrap_or_else(|_| unreachable!("made to fit"));
    vec![
        case("one", 0, sample::normal(1, [1])),
        case("classes", 1, sample::normal(2, [37, 10])),
        case("long_rows", 1, sample::normal(3, [3, 3001])),
        case("very_long", 0, sample::normal(4, [70_001])),
        case("very_long_of_3", 0, sample::normal(5, [70_001, 3])),
        case("middle", 1, sample::normal(6, [5, 7, 66])),
        case("first", 0, sample::normal(7, [9, 5, 3])),
        case("ties", 1, sample::integers(8, [41, 13], 2)),
        case("ties_across_lanes", 0, sample::integers(9, [513, 2], 1)),
        case("special_rows", 1, special([2, 6])),
        case("special_columns", 0, special([6, 2])),
        case("zeros_of_both_signs", 1, special([6, 2])),
        last("ties", 1, sample::integers(10, [41, 13], 2)),
        last("ties_across_lanes", 0, sample::integers(11, [513, 2], 1)),
        last("special_rows", 1, special([2, 6])),
        last("zeros_of_both_signs", 1, special([6, 2])),
    ]
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
    fn the_first_of_equals_and_the_first_nan() {
        let run = |smallest, x: &[f64]| {
            let y = run_f64(&ArgMax { axis: 0, smallest, last: false }, &[TensorType::f32([x.len()])], &[View::Real(x)]).unwrap();
            let Oracle::U32(y) = &y[0] else { panic!("indices") };
            y[0]
        };
        assert_eq!((run(false, &[1.0, 3.0, 3.0, -4.0, -4.0]), run(true, &[1.0, 3.0, 3.0, -4.0, -4.0])), (1, 3));
        let with_nan = [1.0, f64::NAN, f64::INFINITY, f64::NAN, f64::NEG_INFINITY];
        assert_eq!((run(false, &with_nan), run(true, &with_nan)), (1, 1));
    }

    #[test]
    fn the_last_of_equals() {
        let run = |smallest, x: &[f64]| {
            let y = run_f64(&ArgMax { axis: 0, smallest, last: true }, &[TensorType::f32([x.len()])], &[View::Real(x)]).unwrap();
            let Oracle::U32(y) = &y[0] else { panic!("indices") };
            y[0]
        };
        assert_eq!((run(false, &[1.0, 3.0, 3.0, -4.0, -4.0]), run(true, &[1.0, 3.0, 3.0, -4.0, -4.0])), (2, 4));
        assert_eq!(run(false, &[f64::NAN, 3.0, f64::NAN, 5.0]), 2);
    }

    #[test]
    fn bad_inputs_are_refused() {
        let op = ArgMax { axis: 1, smallest: false, last: false };
        assert_eq!(op.infer(&[TensorType::f32([2, 3, 4])]).unwrap(), [TensorType::u32([2, 4])]);
        assert!(op.infer(&[TensorType::f32([2])]).is_err() && op.infer(&[TensorType::u32([2, 3])]).is_err());
        assert!(op.infer(&[TensorType::f32([1, 1 << 24])]).is_err());
    }
}
