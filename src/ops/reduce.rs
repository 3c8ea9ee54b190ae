//! Sums, means, products, extremes and norms over axes, and the inverse of the first two, which repeats a tensor over new axes.

use crate::error::{Error, Result};
use crate::linalg::{Real, for_each_row};
use crate::op::{
    Bound, Buffer, Case, Cost, Cpu, CpuArgs, Declaration, Gradient, Interchange, NodeBuilder, Op, Recorder, Source, StandardNode,
    TINY, Term, UNIT, Value, expect_inputs, gamma, moved_bytes, sample, shader,
};
use crate::ops::binary::{Add, Binary, Div, Equal, Mul, Sub};
use crate::ops::column_reduction::{Fold, sum_of};
use crate::ops::elements::Elements;
use crate::ops::fill::Fill;
use crate::ops::max_pool2d::ORDER;
use crate::ops::running_error::Running;
use crate::ops::unary::{Clip, Unary};
use crate::ops::view::View;
use crate::tensor::{DType, Shape, Tensor, TensorType};
use std::ops::Range;
use std::sync::Arc;

static REDUCE: Source = shader!("reduce");
static BROADCAST: Source = shader!("broadcast");

/// What a reduction makes of its elements.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Reduction {
    /// Their sum.
    Sum,
    /// Their mean.
    Mean,
    /// The largest; NaN if there is one. Equal ones share the gradient evenly, as in PyTorch's `amax`.
    Max,
    /// The smallest; NaN if there is one. Equal ones share the gradient evenly.
    Min,
    /// Their product, 1 of none. Its gradient is right also where elements are 0.
    Product,
    /// The root of the sum of their squares, which overflows where a square does. The gradient where it is 0 is 0.
    L2,
}

impl Reduction {
    fn factor(self, len: usize) -> f64 {
        if self == Reduction::Mean { 1.0 / len as f64 } else { 1.0 }
    }
}

/// A shape seen as `[outer, len, inner]`, where `len` runs over adjacent axes.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Run {
    pub outer: usize,
    pub len: usize,
    pub inner: usize,
}

impl Run {
    pub fn new(shape: &Shape, axes: &Range<usize>) -> Result<Run> {
        let dims = shape.dims();
        if axes.is_empty() || axes.end > dims.len() {
            return Err(Error::invalid(
                "axes",
                format!("{axes:?}"),
                format!("one or more of the {} axes of {shape}", dims.len()),
            ));
        }
        let product = |dims: &[usize]| dims.iter().product();
        Ok(Run { outer: product(&dims[..axes.start]), len: product(&dims[axes.clone()]), inner: product(&dims[axes.end..]) })
    }
}

pub(super) fn without(shape: &Shape, axes: &Range<usize>) -> Shape {
    let dims = shape.dims();
    [&dims[..axes.start], &dims[axes.end..]].concat().into()
}

/// `shape` with 1 in the place of these axes.
fn with_ones(shape: &Shape, axes: &Range<usize>) -> Shape {
    let mut dims = shape.dims().to_vec();
    dims[axes.clone()].fill(1);
    dims.into()
}

/// A reduction over adjacent axes: f32 `[.., axes, ..]` to the shape without them, `[]` if none is left.
#[derive(Clone, PartialEq, Debug)]
pub struct Reduce {
    /// What is made of the elements.
    pub reduction: Reduction,
    /// The axes, `first .. last + 1`.
    pub axes: Range<usize>,
}

impl Reduce {
    /// Over all axes of a tensor of rank `rank`: a scalar, shape `[]`.
    pub fn all(reduction: Reduction, rank: usize) -> Reduce {
        Reduce { reduction, axes: 0..rank }
    }

    /// The ops that, one after the other, reduce any set of axes, in any order; one for each run of adjacent axes. The mean over
    /// several runs is the mean of means, as all have the same length. Equal extremes share the gradient run by run.
    pub fn each(reduction: Reduction, axes: &[usize]) -> Vec<Reduce> {
        let mut axes = axes.to_vec();
        axes.sort_unstable();
        axes.dedup();
        // Last run first: the numbers of the axes before it stay as they are.
        let runs = axes.chunk_by(|a, b| a + 1 == *b).rev();
        runs.map(|run| Reduce { reduction, axes: run[0]..run[0] + run.len() }).collect()
    }

    /// The gradient of an extreme, a norm or a product.
    fn gradient_by_comparison(&self, g: &mut Gradient<'_>) -> Result<Value> {
        let x = g.x(0);
        let kept = View::reshape(with_ones(&g.type_of(x).shape, &self.axes));
        let [y, dy] = [g.y(0), g.dy0()?];
        let [y, dy] = [g.node(kept.clone(), &[y])?, g.node(kept.clone(), &[dy])?];
        if self.reduction == Reduction::L2 {
            // x dy / y; where y is 0, so is x. No other y is below the least, as squares of less are 0 in single precision.
            let least = g.node(Unary(Clip { low: 1e-20, ..Clip::default() }), &[y])?;
            let share = g.node(Binary::<Div>::new(), &[dy, least])?;
            return g.node(Binary::<Mul>::new(), &[x, share]);
        }
        if self.reduction == Reduction::Product {
            return self.gradient_of_product(g, kept, dy);
        }
        let equal = g.node(Binary::<Equal>::new(), &[x, y])?;
        let count = g.node(Reduce { reduction: Reduction::Sum, axes: self.axes.clone() }, &[equal])?;
        let count = g.node(kept, &[count])?;
        let share = g.node(Binary::<Div>::new(), &[dy, count])?;
        g.node(Binary::<Mul>::new(), &[equal, share])
    }
}

impl Reduce {
    /// The gradient of a product: the product of all but the element. Zeros are taken for ones at first; where there is another 0 than the
    /// element, that product is 0.
    fn gradient_of_product(&self, g: &mut Gradient<'_>, kept: View, dy: Value) -> Result<Value> {
        let x = g.x(0);
        let over = |reduction| Reduce { reduction, axes: self.axes.clone() };
        let zero = g.node(Fill { value: 0.0, shape: Shape::new([]) }, &[])?;
        let is_zero = g.node(Binary::<Equal>::new(), &[x, zero])?;
        let factors = g.node(Binary::<Add>::new(), &[x, is_zero])?;
        let product = g.node(over(Reduction::Product), &[factors])?;
        let zeros = g.node(over(Reduction::Sum), &[is_zero])?;
        let [product, zeros] = [g.node(kept.clone(), &[product])?, g.node(kept, &[zeros])?];
        let others = g.node(Binary::<Sub>::new(), &[zeros, is_zero])?;
        let counts = g.node(Binary::<Equal>::new(), &[others, zero])?;
        let share = g.node(Binary::<Div>::new(), &[product, factors])?;
        let share = g.node(Binary::<Mul>::new(), &[share, counts])?;
        g.node(Binary::<Mul>::new(), &[share, dy])
    }
}

/// Adds the nodes that reduce `x` over any axes, in any order; with `keep_dims` each stays, with a length of 1.
///
/// # Errors
/// [`Error::Invalid`] for an axis that `x` doesn't have, and for an `x` that isn't f32.
pub fn reduce(graph: &mut dyn NodeBuilder, x: Value, reduction: Reduction, axes: &[usize], keep_dims: bool) -> Result<Value> {
    let mut y = x;
    let mut kept = graph.type_of(x).shape.dims().to_vec();
    for reduce in Reduce::each(reduction, axes) {
        let run = reduce.axes.clone();
        y = graph.add(Arc::new(reduce), &[y])?[0];
        kept[run].fill(1);
    }
    if keep_dims { Ok(graph.add(Arc::new(View::reshape(kept)), &[y])?[0]) } else { Ok(y) }
}

/// One pass of the kernel: `[outer, len, inner]` to `[outer, n_blocks, inner]`.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Pass {
    lanes_len: usize,
    lanes_inner: usize,
    iterations: usize,
    n_blocks: usize,
    n_groups_inner: usize,
    n_groups: usize,
}

impl Pass {
    /// `inner` counts `Element`s.
    fn new(outer: usize, len: usize, inner: usize) -> Pass {
        // A workgroup's 256 invocations: along inner as far as it goes, but no more than 64, so that the tree over len has work;
        // then along len; what is left takes further values of outer.
        let lanes_inner = inner.next_power_of_two().min(64);
        let lanes_len = len.next_power_of_two().min(256 / lanes_inner);
        let lanes_outer = 256 / (lanes_inner * lanes_len);
        let n_groups_inner = inner.div_ceil(lanes_inner);
        let n_groups = outer.div_ceil(lanes_outer) * n_groups_inner;
        // Chains of 32 additions, longer ones only where there would be more than 1,024 workgroups, which fill any GPU; none above
        // 128, for accuracy.
        let total = len.div_ceil(lanes_len);
        let iterations = (total * n_groups / 1024).clamp(32, 128).min(total);
        let n_blocks = total.div_ceil(iterations);
        Pass { lanes_len, lanes_inner, iterations, n_blocks, n_groups_inner, n_groups: n_groups * n_blocks }
    }
}

impl Op for Reduce {
    fn name(&self) -> &'static str {
        "reduce"
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>> {
        expect_inputs(inputs, &["x"])?;
        inputs[0].expect_dtype("x", DType::F32)?;
        Run::new(&inputs[0].shape, &self.axes)?;
        Ok(vec![TensorType::f32(without(&inputs[0].shape, &self.axes))])
    }

    fn gradient(&self, g: &mut Gradient<'_>) -> Result<()> {
        let shape = g.type_of(g.x(0)).shape;
        let dx = match self.reduction {
            Reduction::Sum | Reduction::Mean => {
                let dy = g.dy0()?;
                g.node(Broadcast { reduction: self.reduction, axes: self.axes.clone(), shape }, &[dy])?
            }
            Reduction::Max | Reduction::Min | Reduction::L2 | Reduction::Product => self.gradient_by_comparison(g)?,
        };
        g.set(0, dx);
        Ok(())
    }

    fn gpu(&self, r: &mut Recorder<'_>) -> Result<()> {
        let is_l2 = self.reduction == Reduction::L2;
        let run = Run::new(&r.x(0).shape, &self.axes)?;
        let e = Elements::aligned(r.x(0).elements(), run.inner);
        let inner = e.count(run.inner);
        let (mut from, mut len, mut depth) = (Buffer::Input(0), run.len, 0);
        loop {
            let pass = Pass::new(run.outer, len, inner);
            let last = pass.n_blocks == 1;
            let to = match last {
                true => Buffer::Output(0),
                false => r.temp(TensorType::f32([run.outer, pass.n_blocks, run.inner])),
            };
            let factor = if last { self.reduction.factor(run.len) as f32 } else { 1.0 };
            let params = [
                ("outer", run.outer.into()),
                ("len", len.into()),
                ("inner", inner.into()),
                ("n_blocks", pass.n_blocks.into()),
                ("block_len", (pass.iterations * pass.lanes_len).into()),
                ("lanes_len_log2", pass.lanes_len.ilog2().into()),
                ("lanes_inner_log2", pass.lanes_inner.ilog2().into()),
                ("n_groups_inner", pass.n_groups_inner.into()),
                ("factor", factor.into()),
            ];
            let grid = r.linear_grid(pass.n_groups);
            let kernel = e.kernel(&REDUCE, &[&ORDER]).set("Bits", "vec4<u32>");
            let kernel = kernel
                .set("LARGEST", matches!(self.reduction, Reduction::Max | Reduction::Min))
                .set("NEGATIVE", self.reduction == Reduction::Min)
                .set("PRODUCT", self.reduction == Reduction::Product)
                .set("SQUARES", is_l2 && from == Buffer::Input(0))
                .set("ROOT", is_l2 && last);
            r.dispatch(kernel, &[from], &[to], &params, grid);
            depth += pass.iterations + pass.lanes_len.ilog2() as usize;
            if last {
                break;
            }
            (from, len) = (to, pass.n_blocks);
        }
        // The factor of a mean: its own rounding and the product's. Or a square's.
        r.declare_depth(depth + 2);
        Ok(())
    }

    fn cost(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Cost {
        Cost { flops: inputs[0].elements() as u64, bytes: moved_bytes(inputs, outputs) }
    }

    fn error_bound(&self, b: &Bound<'_>) -> Result<Vec<Vec<f64>>> {
        match self.reduction {
            Reduction::Sum | Reduction::Mean => b.sum_of_products(self),
            Reduction::Product => {
                // A rounding for each factor, in any order; what is flushed to 0 on the way is multiplied by what comes later.
                let Run { outer: _, len, inner } = Run::new(&b.types[0].shape, &self.axes)?;
                let x = b.inputs[0].real();
                let largest = |i: usize| -> f64 {
                    let first = i / inner * len * inner + i % inner;
                    (0..len).map(|l| x[first + l * inner].abs().max(1.0)).product()
                };
                Ok(b.each(|i, y| gamma(len + 1) * y.abs() + len as f64 * TINY * largest(i)))
            }
            // A comparison may take a denormal for 0.
            Reduction::Max | Reduction::Min => Ok(b.each(|_, _| TINY)),
            Reduction::L2 => {
                // The sum of squares, of which each may be a denormal; then its root.
                let len = b.inputs[0].real().len() / b.outputs[0].real().len();
                let off = |sum: f64| gamma(b.depth) * sum + len as f64 * TINY;
                Ok(b.each(|_, y| Running::new(y * y, off(y * y)).sqrt().error()))
            }
        }
    }

    fn interchange(&self, d: &mut Interchange<'_>) -> Result<Vec<Term>> {
        let op_type = match self.reduction {
            Reduction::Sum => "ReduceSum",
            Reduction::Mean => "ReduceMean",
            Reduction::Max => "ReduceMax",
            Reduction::Min => "ReduceMin",
            Reduction::L2 => "ReduceL2",
            Reduction::Product => "ReduceProd",
        };
        let axes = d.axes(self.axes.clone());
        let node = StandardNode::removing(op_type, &[d.x(0), axes], self.axes.clone()).int("keepdims", 0);
        let shape = d.output_type(0).shape.clone();
        Ok(vec![d.add(node, shape)])
    }
}

impl Cpu for Reduce {
    fn cpu<T: Real>(&self, args: &mut CpuArgs<'_, T>) {
        let Ok(run) = Run::new(args.x_shape(0), &self.axes) else { unreachable!("infer checks the axes") };
        let (x, y) = (args.x(0), args.y(0));
        let len = T::from_f64(run.len as f64);
        let largest = |a: T, b: T| if ((b > a) | b.is_nan()) & !a.is_nan() { b } else { a };
        let smallest = |a: T, b: T| if ((b < a) | b.is_nan()) & !a.is_nan() { b } else { a };
        match self.reduction {
            Reduction::Sum => sum_of(|x| x).reduce(x, run, y),
            Reduction::Mean => {
                sum_of(|x| x).reduce(x, run, y);
                y.iter_mut().for_each(|y| *y /= len);
            }
            Reduction::L2 => {
                sum_of(|x| x * x).reduce(x, run, y);
                y.iter_mut().for_each(|y| *y = y.sqrt());
            }
            Reduction::Product => Fold { identity: T::ONE, map: |x| x, join: |a, b| a * b }.reduce(x, run, y),
            Reduction::Max => Fold { identity: T::NEG_INFINITY, map: |x| x, join: largest }.reduce(x, run, y),
            Reduction::Min => Fold { identity: -T::NEG_INFINITY, map: |x| x, join: smallest }.reduce(x, run, y),
        }
    }
}

/// The gradient of a [`Reduce`] that is a sum or a mean: repeats f32 `[..]` over new adjacent axes, giving `[.., axes, ..]`, and divides by
/// their length for a mean.
#[derive(Clone, PartialEq, Debug)]
pub struct Broadcast {
    /// Which reduction it is the gradient of: the sum or the mean.
    pub reduction: Reduction,
    /// The new axes, as numbered in `shape`.
    pub axes: Range<usize>,
    /// Shape of the output.
    pub shape: Shape,
}

impl Op for Broadcast {
    fn name(&self) -> &'static str {
        "broadcast"
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>> {
        expect_inputs(inputs, &["x"])?;
        let shape = self.shape.clone().checked("shape")?;
        if !matches!(self.reduction, Reduction::Sum | Reduction::Mean) {
            return Err(Error::invalid("reduction", format!("{:?}", self.reduction), "the sum or the mean"));
        }
        Run::new(&shape, &self.axes)?;
        inputs[0].expect("x", &TensorType::f32(without(&shape, &self.axes)))?;
        Ok(vec![TensorType::f32(shape)])
    }

    fn gradient(&self, g: &mut Gradient<'_>) -> Result<()> {
        let dy = g.dy0()?;
        let dx = g.node(Reduce { reduction: self.reduction, axes: self.axes.clone() }, &[dy])?;
        g.set(0, dx);
        Ok(())
    }

    fn gpu(&self, r: &mut Recorder<'_>) -> Result<()> {
        let run = Run::new(&self.shape, &self.axes)?;
        let e = Elements::aligned(self.shape.elements(), run.inner);
        let params = [
            ("n", e.n()),
            ("slab", e.count(run.len * run.inner).into()),
            ("inner", e.count(run.inner).into()),
            ("factor", (self.reduction.factor(run.len) as f32).into()),
        ];
        let grid = e.grid(r);
        r.dispatch(e.kernel(&BROADCAST, &[]), &[Buffer::Input(0)], &[Buffer::Output(0)], &params, grid);
        Ok(())
    }

    fn error_bound(&self, b: &Bound<'_>) -> Result<Vec<Vec<f64>>> {
        if self.reduction == Reduction::Sum {
            return Ok(b.exact());
        }
        // The factor's rounding and the product's.
        Ok(b.each(|_, y| 2.1 * UNIT * y.abs() + TINY))
    }
}

impl Cpu for Broadcast {
    fn cpu<T: Real>(&self, args: &mut CpuArgs<'_, T>) {
        let Ok(run) = Run::new(&self.shape, &self.axes) else { unreachable!("infer checks the axes") };
        let x = args.x(0);
        let len = match self.reduction {
            Reduction::Mean => T::from_f64(run.len as f64),
            _ => T::ONE,
        };
        for_each_row(args.y(0), run.inner, |row, y| {
            for (y, &x) in y.iter_mut().zip(&x[row / run.len * run.inner..]) {
                *y = x / len;
            }
        });
    }
}

/// The list's entries.
pub static DECLARATIONS: &[Declaration] = &[
    Declaration { name: "reduce", no_gradient: None, shaders: &[&REDUCE], cases: reduce_cases },
    Declaration { name: "broadcast", no_gradient: None, shaders: &[&BROADCAST], cases: broadcast_cases },
];

fn reduce_cases() -> Vec<Case> {
    let sum = |axes| Reduce { reduction: Reduction::Sum, axes };
    let mean = |axes| Reduce { reduction: Reduction::Mean, axes };
    let mut cases = vec![
        Case::new("one", sum(0..1), vec![sample::normal(1, [1])]),
        Case::new("one_by_one", mean(1..3), vec![sample::normal(2, [3, 1, 1, 5])]),
        Case::new("all", sum(0..3), vec![sample::normal(3, [3, 5, 7])]),
        Case::new("bias_of_4", sum(0..3), vec![sample::normal(4, [2, 9, 7, 4])]),
        Case::new("bias_of_3", sum(0..3), vec![sample::normal(5, [2, 9, 7, 3])]),
        Case::new("bias_of_5_positive", sum(0..3), vec![sample::positive(6, [2, 5, 9, 5])]),
        Case::new("global_average_pool", mean(1..3), vec![sample::normal(7, [3, 7, 7, 20])]),
        Case::new("rows", mean(1..2), vec![sample::normal(8, [131, 10])]),
        Case::new("wide", sum(0..1), vec![sample::normal(9, [5, 524])]),
        Case::new("middle", sum(1..2), vec![sample::normal(10, [7, 11, 6])]),
        Case::new("two_passes", mean(0..1), vec![sample::positive(11, [20_011])]).differentiable_by(&[]),
        Case::new("two_passes_of_4", sum(0..1), vec![sample::normal(12, [9_001, 4])]).differentiable_by(&[]),
        Case::new("integers", sum(0..1), vec![sample::integers(13, [8_300], 100)]).differentiable_by(&[]),
        Case::new("nan", sum(1..2), vec![nan([2, 5, 4], 9)]).differentiable_by(&[]),
        Case::new("random_14", mean(1..3), vec![sample::normal(14, [4, 3, 13, 2])]),
    ];
    use Reduction::{L2, Max, Min};
    for (i, (name, reduction)) in [("max", Max), ("min", Min), ("l2", L2)].into_iter().enumerate() {
        let seed = 20 + 10 * i as u64;
        let case = |case: &str, axes, x: Tensor| Case::new(format!("{name}_{case}"), Reduce { reduction, axes }, vec![x]);
        cases.extend([
            case("one", 0..1, sample::distinct(seed, [1])),
            case("images", 1..3, sample::distinct(seed + 1, [3, 7, 7, 20])),
            case("rows", 1..2, sample::distinct(seed + 2, [31, 10])),
            case("middle", 1..2, sample::distinct(seed + 3, [7, 11, 6])),
            case("all", 0..3, sample::distinct(seed + 4, [3, 5, 7])),
            case("two_passes", 0..1, sample::normal(seed + 5, [20_011])).differentiable_by(&[]),
            case("two_passes_of_4", 0..1, sample::normal(seed + 6, [9_001, 4])).differentiable_by(&[]),
            case("negative", 1..2, sample::integers(seed + 7, [9, 17], 3)).differentiable_by(&[]),
            case("nan", 1..2, nan([2, 5, 4], 9)).differentiable_by(&[]),
            case("infinite", 0..1, infinite()).differentiable_by(&[]),
        ]);
    }
    cases.extend(product_cases());
    cases
}

/// Few factors, near 1 so that none of many vanishes; zeros; what isn't finite.
fn product_cases() -> Vec<Case> {
    let case = |case: &str, axes, x: Tensor| {
        Case::new(format!("product_{case}"), Reduce { reduction: Reduction::Product, axes }, vec![x])
    };
    let near_one = |seed, shape: &[usize]| {
        let x = sample::positive(seed, shape);
        let data = x.as_f32().unwrap_or_default().iter().map(|x| x + 0.45).collect();
        Tensor::f32(shape, data).unwrap_or_else(|_| unreachable!("made to fit"))
    };
    let zeros = [0.0, 2.0, 3.0, 0.0, 0.0, 5.0, 1.0, -4.0, 0.5, 7.0, 0.0, -2.0];
    let zeros = Tensor::f32([4, 3], zeros.to_vec()).unwrap_or_else(|_| unreachable!("made to fit"));
    vec![
        case("one", 0..1, sample::normal(50, [1])),
        case("rows", 1..2, near_one(51, &[31, 10])),
        case("middle", 1..2, near_one(52, &[7, 11, 6])),
        case("images", 1..3, near_one(53, &[3, 3, 3, 20])),
        case("two_passes", 0..1, near_one(54, &[20_011])).differentiable_by(&[]),
        case("two_passes_of_4", 0..1, near_one(55, &[9_001, 4])).differentiable_by(&[]),
        // A zero is where the slope of a reciprocal would be: the product itself is smooth.
        case("zeros", 1..2, zeros),
        case("nan", 1..2, nan([2, 5, 4], 9)).differentiable_by(&[]),
        case("infinite", 0..1, infinite()).differentiable_by(&[]),
    ]
}

/// Infinities and zeros of both signs.
fn infinite() -> Tensor {
    let values = [f32::NEG_INFINITY, f32::INFINITY, 0.0, f32::NEG_INFINITY, -1.0, -0.0, f32::NEG_INFINITY, f32::INFINITY, -0.0];
    Tensor::f32([3, 3], values.to_vec()).unwrap_or_else(|_| unreachable!("made to fit"))
}

fn nan(shape: impl Into<Shape>, at: usize) -> Tensor {
    let shape = shape.into();
    let mut data = vec![1.0; shape.elements()];
    data[at] = f32::NAN;
    Tensor::f32(shape, data).unwrap_or_else(|_| unreachable!("made to fit"))
}

fn broadcast_cases() -> Vec<Case> {
    let op = |reduction, axes, shape: &[usize]| Broadcast { reduction, axes, shape: shape.into() };
    use Reduction::{Mean, Sum};
    vec![
        Case::new("one", op(Sum, 0..1, &[1]), vec![sample::normal(1, [])]),
        Case::new("scalar_to_image", op(Mean, 0..3, &[3, 5, 7]), vec![sample::normal(2, [])]),
        Case::new("bias", op(Sum, 0..3, &[2, 5, 9, 5]), vec![sample::normal(3, [5])]),
        Case::new("global_average_pool", op(Mean, 1..3, &[3, 7, 7, 20]), vec![sample::normal(4, [3, 20])]),
        Case::new("rows", op(Mean, 1..2, &[131, 10]), vec![sample::normal(5, [131])]),
        Case::new("random_6", op(Sum, 1..2, &[7, 11, 6]), vec![sample::normal(6, [7, 6])]),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::{DeviceProfile, View, run_f64};
    use crate::ops::check;

    #[test]
    fn cases_hold() {
        check::declarations(DECLARATIONS);
    }

    #[test]
    fn agrees_with_plain_loops() {
        for case in reduce_cases().into_iter().filter(|c| !c.name.contains("nan") && !c.name.contains("infinite")) {
            let x = case.inputs[0].as_f32().unwrap();
            let shape = case.inputs[0].shape();
            let op = (case.op.as_ref() as &dyn std::any::Any).downcast_ref::<Reduce>().unwrap();
            let run = Run::new(shape, &op.axes).unwrap();
            let got = check::outputs(&case);
            for o in 0..run.outer {
                for i in 0..run.inner {
                    let all = (0..run.len).map(|l| f64::from(x[(o * run.len + l) * run.inner + i]));
                    let want = match op.reduction {
                        Reduction::Sum | Reduction::Mean => all.sum::<f64>() * op.reduction.factor(run.len),
                        Reduction::Max => all.fold(f64::MIN, f64::max),
                        Reduction::Min => all.fold(f64::MAX, f64::min),
                        Reduction::L2 => all.map(|x| x * x).sum::<f64>().sqrt(),
                        Reduction::Product => all.product(),
                    };
                    let got = got[0].real()[o * run.inner + i];
                    assert!((got - want).abs() <= 1e-11 * want.abs().max(1.0), "{}: {got} {want}", case.name);
                }
            }
        }
    }

    #[test]
    fn long_sums_in_single_precision_are_accurate() {
        for (rows, inner) in [(73_728, 3), (73_728, 32), (1 << 20, 1)] {
            let x = vec![0.1f32; rows * inner];
            let op = Reduce { reduction: Reduction::Sum, axes: 0..1 };
            let types = [TensorType::f32([rows, inner])];
            let out = op.infer(&types).unwrap();
            let mut y = vec![0.0f32; inner];
            let writes = vec![crate::op::ViewMut::Real(y.as_mut_slice())];
            op.cpu(&mut CpuArgs::new(&types, &out, vec![View::Real(&x)], writes, Vec::new()));
            let want = rows as f64 * f64::from(0.1f32);
            assert!(y.iter().all(|&y| (f64::from(y) - want).abs() < 4e-6 * want), "{rows} {inner}: {} {want}", y[0]);
        }
    }

    #[test]
    fn passes_are_short_and_few() {
        let profile = DeviceProfile::baseline();
        for (shape, axes, most) in [
            (vec![128, 24, 24, 32], 0..3, 2),
            (vec![128, 24, 24, 3], 0..3, 2),
            (vec![128, 224, 224, 64], 0..3, 3),
            (vec![1 << 30], 0..1, 4),
            (vec![128, 4096], 0..1, 1),
            (vec![128, 49, 512], 1..2, 1),
        ] {
            let op = Reduce { reduction: Reduction::Sum, axes };
            let types = [TensorType::f32(shape)];
            let out = op.infer(&types).unwrap();
            let mut r = Recorder::new(&profile, &types, &out, &[]);
            op.gpu(&mut r).unwrap();
            assert!(r.dispatches.len() <= most && r.depth() <= 420, "{types:?}: {} {}", r.dispatches.len(), r.depth());
            assert_eq!(r.temps.len(), r.dispatches.len() - 1);
            assert!(r.dispatches.iter().all(|d| d.grid.iter().all(|&n| (1..=65_535).contains(&n))));
        }
    }

    #[test]
    fn any_axes() {
        let ops = Reduce::each(Reduction::Sum, &[3, 0, 1]);
        assert_eq!(ops.iter().map(|r| r.axes.clone()).collect::<Vec<_>>(), [3..4, 0..2]);
        let x: Vec<f64> = (0..24).map(f64::from).collect();
        let mut types = vec![TensorType::f32([1, 2, 3, 4])];
        let mut values = x;
        for op in &ops {
            values = run_f64(op, &types, &[View::Real(&values)]).unwrap()[0].real().to_vec();
            types = op.infer(&types).unwrap();
        }
        assert_eq!((types[0].shape.dims(), values), (&[3][..], vec![60.0, 92.0, 124.0]));
        assert!(Reduce::each(Reduction::Mean, &[]).is_empty());
    }

    /// The gradient by `x` where that by the result is 6.
    fn gradient_of(reduction: Reduction, x: &[f64]) -> Vec<f64> {
        let mut graph = crate::ops::check::Tape::default();
        let ty = TensorType::f32([x.len()]);
        let op = Reduce::all(reduction, 1);
        let y = run_f64(&op, std::slice::from_ref(&ty), &[View::Real(x)]).unwrap();
        let x = graph.push(ty, crate::op::Oracle::Real(x.to_vec()));
        let y = graph.push(TensorType::f32([]), y[0].clone());
        let dy = graph.push(TensorType::f32([]), crate::op::Oracle::Real(vec![6.0]));
        let (xs, ys, dys) = ([x], [y], [Some(dy)]);
        let mut g = Gradient::new(&mut graph, &xs, &ys, &dys, &[true]);
        op.gradient(&mut g).unwrap();
        let dx = g.finish()[0].unwrap();
        graph.value(dx).real().to_vec()
    }

    #[test]
    fn equal_extremes_share_the_gradient_and_a_norm_of_0_has_none() {
        assert_eq!(gradient_of(Reduction::Max, &[1.0, 3.0, -2.0, 3.0, 3.0]), [0.0, 2.0, 0.0, 2.0, 2.0]);
        assert_eq!(gradient_of(Reduction::Min, &[1.0, 3.0, -2.0, 3.0]), [0.0, 0.0, 6.0, 0.0]);
        assert_eq!(gradient_of(Reduction::L2, &[0.0, 0.0]), [0.0, 0.0]);
        assert_eq!(gradient_of(Reduction::L2, &[0.0, -4.0]), [0.0, -6.0]);
    }

    #[test]
    fn bad_axes_are_refused() {
        let x = [TensorType::f32([2, 3])];
        for axes in [0..0, 1..3, 5..9, 0..usize::MAX] {
            assert!(Reduce { reduction: Reduction::Sum, axes }.infer(&x).is_err());
        }
        assert!(Reduce::all(Reduction::Mean, 2).infer(&[TensorType::u32([2, 3])]).is_err());
        assert!(Broadcast { reduction: Reduction::Sum, axes: 0..1, shape: [2, 4].into() }.infer(&x[..1]).is_err());
    }
}
