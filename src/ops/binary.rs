//! Elementwise functions of two tensors, which are repeated where they are shorter: a table, one row an op.

use crate::error::{Error, Result};
use crate::linalg::Real;
use crate::op::{
    ACTIVATION, Activation, Bound, Buffer, Case, Cpu, CpuArgs, Declaration, FLOAT, Gradient, Interchange, Op, Recorder, Source,
    StandardNode, TINY, Term, UNIT, expect_inputs, no_counterpart, sample, shader,
};
use crate::ops::broadcasting::{Broadcasting, FLOATS, map, set_reduced};
use crate::ops::matmul::{refuse_fused, refuse_fused_export};
use crate::ops::running_error::Running;
use crate::ops::scale::Scale;
use crate::ops::unary::{POWER, Tanh, activation, power};
use crate::tensor::{DType, Tensor, TensorType};
use std::fmt::Debug;
use std::marker::PhantomData;
use std::sync::Arc;

static BINARY: Source = shader!("binary");
static BINARY_GRAD: Source = shader!("binary_grad");

/// A row of the table.
pub trait BinaryRow: Debug + Send + Sync + 'static {
    /// Name of the op.
    const NAME: &'static str;
    /// The `case` of `OPERATION` in `shaders/binary.wgsl`.
    const CODE: u32;
    /// The standard's name of the function, if it has one.
    const STANDARD: Option<&'static str> = None;
    /// Why it has no gradient, if it has none.
    const NO_GRADIENT: Option<&'static str> = None;
    /// Whether it is differentiable where both are positive only.
    const POSITIVE: bool = false;

    /// The function.
    fn y<T: Real>(a: T, b: T) -> T;

    /// Rounding error of the shader's value, for an exact `y`. By default that of one rounding.
    fn error(a: f64, b: f64, y: f64) -> f64 {
        let _ = (a, b);
        UNIT * y.abs() + TINY
    }

    /// The nodes of the gradient.
    fn gradient(g: &mut Gradient<'_>) -> Result<()>;

    /// The function in the standard's words.
    fn describe(d: &mut Interchange<'_>) -> Result<Term> {
        let op_type = Self::STANDARD.ok_or_else(|| no_counterpart(Self::NAME))?;
        let shape = d.output_type(0).shape.clone();
        Ok(d.add(StandardNode::free(op_type, &d.all()), shape))
    }
}

/// A row whose gradient is an op of its own, [`BinaryGrad`].
pub trait GradientRow: BinaryRow {
    /// Name of the gradient.
    const GRAD_NAME: &'static str;

    /// `dy` times the derivative by a, or by b.
    fn dx<T: Real>(by_b: bool, a: T, b: T, dy: T) -> T;

    /// Rounding error of the shader's `dx`. By default that of [`GradientRow::dx`] in running error analysis.
    fn grad_error(by_b: bool, a: f64, b: f64, dy: f64) -> f64 {
        let [a, b, dy] = [a, b, dy].map(|v| Running::new(v, 0.0));
        Self::dx(by_b, a, b, dy).error()
    }
}

/// The gradient of a [`GradientRow`].
fn gradient<R: GradientRow>(g: &mut Gradient<'_>) -> Result<()> {
    let (a, b, dy) = (g.x(0), g.x(1), g.dy0()?);
    for i in [0, 1] {
        if g.wants(i) {
            let dx = g.node(BinaryGrad::<R>::new(i == 1), &[a, b, dy])?;
            set_reduced(g, i, dx)?;
        }
    }
    Ok(())
}

/// `a + b`.
#[derive(Debug)]
pub struct Add;

impl BinaryRow for Add {
    const NAME: &'static str = "add";
    const CODE: u32 = 0;
    const STANDARD: Option<&'static str> = Some("Add");

    fn y<T: Real>(a: T, b: T) -> T {
        a + b
    }

    fn gradient(g: &mut Gradient<'_>) -> Result<()> {
        let dy = g.dy0()?;
        for i in [0, 1] {
            if g.wants(i) {
                set_reduced(g, i, dy)?;
            }
        }
        Ok(())
    }
}

/// `a - b`.
#[derive(Debug)]
pub struct Sub;

impl BinaryRow for Sub {
    const NAME: &'static str = "sub";
    const CODE: u32 = 1;
    const STANDARD: Option<&'static str> = Some("Sub");

    fn y<T: Real>(a: T, b: T) -> T {
        a - b
    }

    fn gradient(g: &mut Gradient<'_>) -> Result<()> {
        let dy = g.dy0()?;
        if g.wants(0) {
            set_reduced(g, 0, dy)?;
        }
        if g.wants(1) {
            let db = g.node(Scale { factor: -1.0 }, &[dy])?;
            set_reduced(g, 1, db)?;
        }
        Ok(())
    }
}

/// `a * b`.
#[derive(Debug)]
pub struct Mul;

impl BinaryRow for Mul {
    const NAME: &'static str = "mul";
    const CODE: u32 = 2;
    const STANDARD: Option<&'static str> = Some("Mul");

    fn y<T: Real>(a: T, b: T) -> T {
        a * b
    }

    fn gradient(g: &mut Gradient<'_>) -> Result<()> {
        let dy = g.dy0()?;
        for (i, other) in [(0, g.x(1)), (1, g.x(0))] {
            if g.wants(i) {
                let dx = g.node(Binary::<Mul>::new(), &[dy, other])?;
                set_reduced(g, i, dx)?;
            }
        }
        Ok(())
    }
}

/// `a / b`.
#[derive(Debug)]
pub struct Div;

impl BinaryRow for Div {
    const NAME: &'static str = "div";
    const CODE: u32 = 3;
    const STANDARD: Option<&'static str> = Some("Div");
    const POSITIVE: bool = true;

    fn y<T: Real>(a: T, b: T) -> T {
        a / b
    }

    fn error(_: f64, _: f64, y: f64) -> f64 {
        2.6 * UNIT * y.abs() + TINY
    }

    fn gradient(g: &mut Gradient<'_>) -> Result<()> {
        let dy = g.dy0()?;
        let da = g.node(Binary::<Div>::new(), &[dy, g.x(1)])?;
        if g.wants(0) {
            set_reduced(g, 0, da)?;
        }
        if g.wants(1) {
            let product = g.node(Binary::<Mul>::new(), &[da, g.y(0)])?;
            let db = g.node(Scale { factor: -1.0 }, &[product])?;
            set_reduced(g, 1, db)?;
        }
        Ok(())
    }
}

/// `a^b` ([`power`]). The gradient by b where a is 0 and b isn't negative is 0, as in PyTorch.
#[derive(Debug)]
pub struct Pow;

impl BinaryRow for Pow {
    const NAME: &'static str = "power";
    const CODE: u32 = 4;
    const STANDARD: Option<&'static str> = Some("Pow");
    const POSITIVE: bool = true;

    fn y<T: Real>(a: T, b: T) -> T {
        power(a, b)
    }

    fn error(a: f64, b: f64, _: f64) -> f64 {
        power(Running::new(a, 0.0), Running::new(b, 0.0)).error()
    }

    fn gradient(g: &mut Gradient<'_>) -> Result<()> {
        gradient::<Pow>(g)
    }
}

impl GradientRow for Pow {
    const GRAD_NAME: &'static str = "power_grad";

    fn dx<T: Real>(by_b: bool, a: T, b: T, dy: T) -> T {
        match by_b {
            true if a == T::ZERO && b >= T::ZERO => T::ZERO,
            true => dy * (power(a, b) * a.ln()),
            false if b == T::ZERO => T::ZERO,
            false => dy * (b * power(a, b - T::ONE)),
        }
    }
}

/// The smaller one; NaN if either is. Where both are equal, each has half of the gradient, as in PyTorch.
#[derive(Debug)]
pub struct Min;

/// The larger one; NaN if either is. Where both are equal, each has half of the gradient, as in PyTorch.
#[derive(Debug)]
pub struct Max;

/// `dy` if the one is chosen, half of it if both are equal.
fn chosen<T: Real>(lost: bool, equal: bool, dy: T) -> T {
    if lost {
        T::ZERO
    } else if equal {
        T::from_f64(0.5) * dy
    } else {
        dy
    }
}

impl BinaryRow for Min {
    const NAME: &'static str = "min";
    const CODE: u32 = 5;
    const STANDARD: Option<&'static str> = Some("Min");

    fn y<T: Real>(a: T, b: T) -> T {
        if a < b || a.is_nan() { a } else { b }
    }

    fn error(_: f64, _: f64, _: f64) -> f64 {
        // A comparison may take a denormal for 0.
        TINY
    }

    fn gradient(g: &mut Gradient<'_>) -> Result<()> {
        gradient::<Min>(g)
    }
}

impl GradientRow for Min {
    const GRAD_NAME: &'static str = "min_grad";

    fn dx<T: Real>(by_b: bool, a: T, b: T, dy: T) -> T {
        chosen(if by_b { b > a } else { a > b }, a == b, dy)
    }
}

impl BinaryRow for Max {
    const NAME: &'static str = "max";
    const CODE: u32 = 6;
    const STANDARD: Option<&'static str> = Some("Max");

    fn y<T: Real>(a: T, b: T) -> T {
        if a > b || a.is_nan() { a } else { b }
    }

    fn error(_: f64, _: f64, _: f64) -> f64 {
        TINY
    }

    fn gradient(g: &mut Gradient<'_>) -> Result<()> {
        gradient::<Max>(g)
    }
}

impl GradientRow for Max {
    const GRAD_NAME: &'static str = "max_grad";

    fn dx<T: Real>(by_b: bool, a: T, b: T, dy: T) -> T {
        chosen(if by_b { b < a } else { a < b }, a == b, dy)
    }
}

/// `a`, or `b a` where a is negative: a leaky ReLU whose slope b is learned (K. He and others, "Delving Deep into Rectifiers", ICCV
/// 2015). At 0 it is as for negative a, as in PyTorch.
#[derive(Debug)]
pub struct Prelu;

impl BinaryRow for Prelu {
    const NAME: &'static str = "prelu";
    const CODE: u32 = 7;

    fn y<T: Real>(a: T, b: T) -> T {
        if a <= T::ZERO { b * a } else { a }
    }

    fn gradient(g: &mut Gradient<'_>) -> Result<()> {
        gradient::<Prelu>(g)
    }

    fn describe(d: &mut Interchange<'_>) -> Result<Term> {
        let x = d.x(0);
        if *d.shape(x) != d.output_type(0).shape {
            return Err(no_counterpart("prelu of a tensor that is repeated"));
        }
        Ok(d.same(StandardNode::free("PRelu", &d.all())))
    }
}

impl GradientRow for Prelu {
    const GRAD_NAME: &'static str = "prelu_grad";

    fn dx<T: Real>(by_b: bool, a: T, b: T, dy: T) -> T {
        match by_b {
            true if a > T::ZERO => T::ZERO,
            true => dy * a,
            false if a <= T::ZERO => b * dy,
            false => dy,
        }
    }
}

/// 1 where both are equal, else 0.
#[derive(Debug)]
pub struct Equal;

impl BinaryRow for Equal {
    const NAME: &'static str = "equal";
    const CODE: u32 = 8;
    const NO_GRADIENT: Option<&'static str> = Some("a step function");

    fn y<T: Real>(a: T, b: T) -> T {
        if a == b { T::ONE } else { T::ZERO }
    }

    fn error(_: f64, _: f64, _: f64) -> f64 {
        0.0
    }

    fn gradient(_: &mut Gradient<'_>) -> Result<()> {
        Err(Error::invalid("gradient", "a loss that depends on equal", "differentiable ops only"))
    }

    fn describe(d: &mut Interchange<'_>) -> Result<Term> {
        let shape = d.output_type(0).shape.clone();
        let equal = d.add(StandardNode::free("Equal", &d.all()), shape);
        Ok(d.same(StandardNode::free("Cast", &[equal]).int("to", FLOAT)))
    }
}

/// Makes the list's entries from the rows: those whose gradient is made of other ops, and those with one of their own.
macro_rules! rows {
    ($($row:ident),* ; $($with_gradient:ident),* $(,)?) => {
        /// The list's entries.
        pub static DECLARATIONS: &[Declaration] = &[
            $(
                Declaration {
                    name: $row::NAME,
                    no_gradient: $row::NO_GRADIENT,
                    shaders: &[&BINARY],
                    cases: cases::<$row>,
                },
            )*
            $(
                Declaration {
                    name: $with_gradient::NAME,
                    no_gradient: None,
                    shaders: &[&BINARY],
                    cases: cases::<$with_gradient>,
                },
                Declaration {
                    name: $with_gradient::GRAD_NAME,
                    no_gradient: Some("gradient op: second derivatives are not needed for training"),
                    shaders: &[&BINARY_GRAD],
                    cases: grad_cases::<$with_gradient>,
                },
            )*
        ];
    };
}

rows! { Add, Sub, Mul, Div, Equal; Pow, Min, Max, Prelu }

/// `y = activation(a op b)`, elementwise: two f32 tensors to one of their common shape by NumPy's rules: from the last dimension on, those of 1
/// and those that one of them doesn't have are repeated.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Binary<R> {
    row: PhantomData<R>,
    activation: Option<Activation>,
}

impl<R: BinaryRow> Binary<R> {
    /// The op, without activation.
    pub const fn new() -> Self {
        Binary { row: PhantomData, activation: None }
    }
}

impl<R: BinaryRow> Default for Binary<R> {
    fn default() -> Self {
        Binary::new()
    }
}

/// The type of the result for the first two inputs.
fn common(inputs: &[TensorType]) -> Result<TensorType> {
    let (a, b) = (&inputs[0], &inputs[1]);
    a.expect_dtype("a", DType::F32)?;
    b.expect_dtype("b", DType::F32)?;
    Ok(TensorType::f32(Broadcasting::of(&a.shape, &b.shape)?.0))
}

impl<R: BinaryRow> Op for Binary<R> {
    fn name(&self) -> &'static str {
        R::NAME
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>> {
        expect_inputs(inputs, &["a", "b"])?;
        Ok(vec![common(inputs)?])
    }

    fn gradient(&self, g: &mut Gradient<'_>) -> Result<()> {
        refuse_fused(false, self.activation)?;
        R::gradient(g)
    }

    fn remake(&self) -> Option<(Arc<dyn Op>, Vec<Buffer>)> {
        let op = Binary { activation: self.activation, ..Binary::<R>::new() };
        Some((Arc::new(op), vec![Buffer::Input(0), Buffer::Input(1)]))
    }

    fn gpu(&self, r: &mut Recorder<'_>) -> Result<()> {
        Broadcasting::checked(&r.x(0).shape, &r.x(1).shape).record(r, FLOATS, |e, imports| {
            let imports = [&[&ACTIVATION, &POWER], imports].concat();
            e.kernel(&BINARY, &imports).set("OPERATION", R::CODE).activation(self.activation)
        });
        Ok(())
    }

    fn error_bound(&self, b: &Bound<'_>) -> Result<Vec<Vec<f64>>> {
        let broadcasting = Broadcasting::checked(&b.types[0].shape, &b.types[1].shape);
        let (place, x, z) = (broadcasting.places(), b.inputs[0].real(), b.inputs[1].real());
        Ok(b.each(|i, y| {
            let [at_x, at_z] = place(i);
            let (x, z) = (x[at_x], z[at_z]);
            let before = R::y(x, z);
            let error = R::error(x, z, before);
            self.activation.map_or(error, |f| f.bound(error, before, y))
        }))
    }

    fn with_activation(&self, activation: Activation) -> Option<Arc<dyn Op>> {
        self.activation.is_none().then(|| Arc::new(Binary { activation: Some(activation), ..Self::new() }) as Arc<dyn Op>)
    }

    fn is_sum(&self) -> bool {
        R::CODE == Add::CODE && self.activation.is_none()
    }

    fn interchange(&self, d: &mut Interchange<'_>) -> Result<Vec<Term>> {
        refuse_fused_export(false, self.activation)?;
        Ok(vec![R::describe(d)?])
    }
}

impl<R: BinaryRow> Cpu for Binary<R> {
    fn cpu<T: Real>(&self, args: &mut CpuArgs<'_, T>) {
        self.run(args, |y| {
            if let Some(f) = self.activation {
                f.apply(y);
            }
        });
    }

    fn cpu_single(&self, args: &mut CpuArgs<'_, f32>) {
        self.run(args, |y| {
            if let Some(f) = self.activation {
                f.f32.apply(y);
            }
        });
    }
}

impl<R: BinaryRow> Binary<R> {
    fn run<T: Real>(&self, args: &mut CpuArgs<'_, T>, activate: impl Fn(&mut [T]) + Sync) {
        let (a, b) = (args.x(0), args.x(1));
        Broadcasting::checked(args.x_shape(0), args.x_shape(1)).run(a, b, args.y(0), |_, y, a, b| {
            map(y, a, b, R::y);
            activate(y);
        });
    }
}

/// The gradient of a row by a or by b, of the result's shape: inputs `a`, `b` and `dy`, f32, the last of the common shape of the others.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct BinaryGrad<R> {
    row: PhantomData<R>,
    /// By b rather than by a.
    pub by_b: bool,
}

impl<R: GradientRow> BinaryGrad<R> {
    /// The gradient by b, or by a.
    pub const fn new(by_b: bool) -> Self {
        BinaryGrad { row: PhantomData, by_b }
    }
}

impl<R: GradientRow> Op for BinaryGrad<R> {
    fn name(&self) -> &'static str {
        R::GRAD_NAME
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>> {
        expect_inputs(inputs, &["a", "b", "dy"])?;
        let y = common(inputs)?;
        inputs[2].expect("dy", &y)?;
        Ok(vec![y])
    }

    fn gpu(&self, r: &mut Recorder<'_>) -> Result<()> {
        Broadcasting::checked(&r.x(0).shape, &r.x(1).shape).record(r, FLOATS, |e, imports| {
            let imports = [&[&ACTIVATION, &POWER], imports].concat();
            e.kernel(&BINARY_GRAD, &imports).set("OPERATION", R::CODE).set("BY_B", self.by_b)
        });
        Ok(())
    }

    fn error_bound(&self, b: &Bound<'_>) -> Result<Vec<Vec<f64>>> {
        let broadcasting = Broadcasting::checked(&b.types[0].shape, &b.types[1].shape);
        let (place, x, z, dy) = (broadcasting.places(), b.inputs[0].real(), b.inputs[1].real(), b.inputs[2].real());
        Ok(b.each(|i, _| {
            let [at_x, at_z] = place(i);
            R::grad_error(self.by_b, x[at_x], z[at_z], dy[i])
        }))
    }
}

impl<R: GradientRow> Cpu for BinaryGrad<R> {
    fn cpu<T: Real>(&self, args: &mut CpuArgs<'_, T>) {
        let (a, b, dy, by_b) = (args.x(0), args.x(1), args.x(2), self.by_b);
        Broadcasting::checked(args.x_shape(0), args.x_shape(1)).run(a, b, args.y(0), |at, dx, a, b| {
            dx.copy_from_slice(&dy[at..][..dx.len()]);
            match (a, b) {
                (a, &[b]) if a.len() == dx.len() => dx.iter_mut().zip(a).for_each(|(dx, &a)| *dx = R::dx(by_b, a, b, *dx)),
                (&[a], b) if b.len() == dx.len() => dx.iter_mut().zip(b).for_each(|(dx, &b)| *dx = R::dx(by_b, a, b, *dx)),
                (a, b) => dx.iter_mut().zip(a).zip(b).for_each(|((dx, &a), &b)| *dx = R::dx(by_b, a, b, *dx)),
            }
        });
    }
}

/// Pairs of shapes: what is repeated last, first, in the middle, on both sides; vectors and single elements.
const SHAPES: [(&str, &[usize], &[usize]); 11] = [
    ("channels_of_images", &[2, 7, 5, 8], &[2, 1, 1, 8]),
    ("channels_of_images_odd", &[3, 5, 3, 5], &[3, 1, 1, 5]),
    ("vector", &[2, 5, 3, 12], &[12]),
    ("pixels", &[2, 5, 3, 12], &[2, 5, 3, 1]),
    ("pixels_odd", &[2, 5, 3, 1], &[2, 5, 3, 7]),
    ("number", &[5, 8], &[]),
    ("number_first", &[1], &[7, 3]),
    ("outer", &[13, 1], &[1, 20]),
    ("both", &[3, 1, 5, 1], &[2, 1, 4]),
    ("five_runs", &[2, 1, 3, 1, 4], &[3, 1, 2, 1]),
    ("six_runs", &[2, 1, 3, 1, 2, 1], &[1, 3, 1, 2, 1, 4]),
];

/// Normal numbers, or positive ones where the row is differentiable there only.
fn data<R: BinaryRow>(seed: u64, shape: &[usize]) -> Tensor {
    if !R::POSITIVE {
        return sample::normal(seed, shape);
    }
    let x = sample::positive(seed, shape);
    let data = x.as_f32().unwrap_or_default().iter().map(|x| 2.0 * x + 0.75).collect();
    Tensor::f32(shape, data).unwrap_or_else(|_| unreachable!("made to fit"))
}

fn row(values: &[f32]) -> Tensor {
    Tensor::f32([values.len()], values.to_vec()).unwrap_or_else(|_| unreachable!("made to fit"))
}

/// Every pair of these is met.
fn special() -> [Tensor; 2] {
    let values = [0.0, -0.0, 1.0, -1.0, 2.0, 0.5, -3.0, f32::NAN, -f32::NAN];
    let pairs = || values.iter().flat_map(|a| values.iter().map(move |b| (*a, *b)));
    [row(&pairs().map(|p| p.0).collect::<Vec<_>>()), row(&pairs().map(|p| p.1).collect::<Vec<_>>())]
}

fn cases<R: BinaryRow>() -> Vec<Case> {
    let op = Binary::<R>::new;
    let pair = |seed, shape: &[usize]| vec![data::<R>(seed, shape), data::<R>(seed + 1, shape)];
    let mut cases = vec![
        Case::new("one", op(), pair(1, &[1, 1])),
        Case::new("scalar_workgroups", op(), pair(3, &[3, 5, 7, 5])),
        Case::new("vec4_workgroups", op(), pair(5, &[2, 11, 5, 12])),
        // Quotients by numbers near 0 are too steep for finite differences.
        Case::new("positive", op(), vec![sample::positive(9, [4, 9]), sample::positive(10, [4, 9])])
            .differentiable_by(if R::POSITIVE { &[] } else { &[0, 1] }),
        Case::new("random_11", op(), pair(11, &[6, 13])),
        Case::new("special", op(), special().to_vec()).differentiable_by(&[]),
    ];
    // A power of integers is no sum of products, and a quotient may have no bound.
    if !R::POSITIVE {
        let integers = vec![sample::integers(7, [3, 6, 4], 1000), sample::integers(8, [3, 6, 4], 1000)];
        cases.push(Case::new("integers", op(), integers).differentiable_by(&[]));
    }
    for (i, (name, a, b)) in SHAPES.into_iter().enumerate() {
        let seed = 20 + 2 * i as u64;
        cases.push(Case::new(name, op(), vec![data::<R>(seed, a), data::<R>(seed + 1, b)]));
    }
    for (name, other) in [("tanh", [5, 7]), ("tanh_broadcast", [1, 7])] {
        if let Some(op) = op().with_activation(activation::<Tanh>()) {
            let inputs = vec![data::<R>(13, &[5, 7]), data::<R>(14, &other)];
            cases.push(Case { name: name.to_string(), op, inputs, differentiable: Vec::new() });
        }
    }
    cases
}

fn grad_cases<R: GradientRow>() -> Vec<Case> {
    let mut cases = Vec::new();
    for by_b in [false, true] {
        let op = || BinaryGrad::<R>::new(by_b);
        let name = |name: &str| format!("{name}_by_{}", if by_b { "b" } else { "a" });
        let shapes = SHAPES.into_iter().chain([("one", &[1][..], &[1][..]), ("equal_shapes", &[3, 5, 7], &[3, 5, 7])]);
        for (i, (shape, a, b)) in shapes.enumerate() {
            let seed = 60 + 3 * i as u64;
            let inputs = vec![data::<R>(seed, a), data::<R>(seed + 1, b)];
            let types: Vec<TensorType> = inputs.iter().map(Tensor::tensor_type).collect();
            let Ok(y) = common(&types) else { unreachable!("shapes that meet") };
            cases.push(Case::new(name(shape), op(), [inputs, vec![sample::normal(seed + 2, y.shape)]].concat()));
        }
        let [a, b] = special();
        cases.push(Case::new(name("special"), op(), vec![a, b, sample::normal(100, [81])]));
    }
    cases
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::{View, run_f64};
    use crate::ops::check;

    #[test]
    fn cases_hold() {
        check::declarations(DECLARATIONS);
    }

    #[test]
    fn shapes_that_do_not_meet_are_named() {
        let types = [TensorType::f32([2, 3]), TensorType::f32([4])];
        let message = Binary::<Add>::new().infer(&types).unwrap_err().to_string();
        assert!(message.contains("[2, 3] and [4]"), "{message}");
        assert!(Binary::<Mul>::new().infer(&types[..1]).is_err());
        assert!(Binary::<Sub>::new().infer(&[TensorType::u32([2]), TensorType::u32([2])]).is_err());
    }

    #[test]
    fn repeated_by_numpys_rules() {
        let run = |a: &[usize], b: &[usize], x: &[f64], y: &[f64]| {
            let types = [TensorType::f32(a), TensorType::f32(b)];
            let out = run_f64(&Binary::<Sub>::new(), &types, &[View::Real(x), View::Real(y)]).unwrap();
            out[0].real().to_vec()
        };
        assert_eq!(run(&[2, 1], &[3], &[10.0, 20.0], &[1.0, 2.0, 3.0]), [9.0, 8.0, 7.0, 19.0, 18.0, 17.0]);
        assert_eq!(run(&[1, 2], &[2, 2], &[10.0, 20.0], &[1.0, 2.0, 3.0, 4.0]), [9.0, 18.0, 7.0, 16.0]);
        assert_eq!(run(&[], &[2], &[5.0], &[1.0, 2.0]), [4.0, 3.0]);
    }
}
