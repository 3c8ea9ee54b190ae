//! Elementwise functions of two tensors of the same shape: a table, one row an op.

use crate::error::{Error, Result};
use crate::linalg::{Real, for_each_chunk};
use crate::op::{
    ACTIVATION, Activation, Bound, Buffer, Case, Cpu, CpuArgs, Declaration, Gradient, Op, Recorder, Source, TINY, UNIT,
    expect_inputs, sample, shader,
};
use crate::ops::elements::Elements;
use crate::ops::matmul::refuse_fused;
use crate::ops::scale::Scale;
use crate::ops::unary::{Tanh, activation};
use crate::tensor::{DType, TensorType};
use std::fmt::Debug;
use std::marker::PhantomData;
use std::sync::Arc;

static BINARY: Source = shader!("binary");

/// A row of the table.
pub trait BinaryRow: Debug + Send + Sync + 'static {
    /// Name of the op.
    const NAME: &'static str;
    /// The `case` of `OPERATION` in `shaders/binary.wgsl`.
    const CODE: u32;
    /// The function: one operation of floating-point arithmetic.
    fn y<T: Real>(a: T, b: T) -> T;
    /// The nodes of the gradient.
    fn gradient(g: &mut Gradient<'_>) -> Result<()>;
}

/// `a + b`.
#[derive(Debug)]
pub struct Add;

impl BinaryRow for Add {
    const NAME: &'static str = "add";
    const CODE: u32 = 0;

    fn y<T: Real>(a: T, b: T) -> T {
        a + b
    }

    fn gradient(g: &mut Gradient<'_>) -> Result<()> {
        let dy = g.dy0()?;
        g.set(0, dy);
        g.set(1, dy);
        Ok(())
    }
}

/// `a - b`.
#[derive(Debug)]
pub struct Sub;

impl BinaryRow for Sub {
    const NAME: &'static str = "sub";
    const CODE: u32 = 1;

    fn y<T: Real>(a: T, b: T) -> T {
        a - b
    }

    fn gradient(g: &mut Gradient<'_>) -> Result<()> {
        let dy = g.dy0()?;
        g.set(0, dy);
        if g.wants(1) {
            let db = g.node(Scale { factor: -1.0 }, &[dy])?;
            g.set(1, db);
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

    fn y<T: Real>(a: T, b: T) -> T {
        a * b
    }

    fn gradient(g: &mut Gradient<'_>) -> Result<()> {
        let dy = g.dy0()?;
        for (i, other) in [(0, g.x(1)), (1, g.x(0))] {
            if g.wants(i) {
                let dx = g.node(Binary::<Mul>::new(), &[dy, other])?;
                g.set(i, dx);
            }
        }
        Ok(())
    }
}

/// Makes the list's entries from the rows.
macro_rules! rows {
    ($($row:ident),* $(,)?) => {
        /// The list's entries.
        pub static DECLARATIONS: &[Declaration] = &[$(
            Declaration {
                name: $row::NAME,
                no_gradient: None,
                shaders: &[&BINARY],
                cases: cases::<$row>,
            },
        )*];
    };
}

rows! { Add, Sub, Mul }

/// `y = activation(a op b)`, elementwise: two f32 tensors of equal shape to one of that shape.
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

impl<R: BinaryRow> Op for Binary<R> {
    fn name(&self) -> &'static str {
        R::NAME
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>> {
        expect_inputs(inputs, &["a", "b"])?;
        let (a, b) = (&inputs[0], &inputs[1]);
        a.expect_dtype("a", DType::F32)?;
        b.expect_dtype("b", DType::F32)?;
        if a.shape != b.shape {
            return Err(Error::invalid("shapes", format!("{} and {}", a.shape, b.shape), "two equal shapes"));
        }
        Ok(vec![a.clone()])
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
        let e = Elements::of(r.y(0).elements());
        let kernel = e.kernel(&BINARY, &[&ACTIVATION]).set("OPERATION", R::CODE);
        let kernel = kernel.set("ACTIVATION", self.activation.map_or(0, |f| f.code));
        let grid = e.grid(r);
        r.dispatch(kernel, &[Buffer::Input(0), Buffer::Input(1)], &[Buffer::Output(0)], &[("n", e.n())], grid);
        Ok(())
    }

    fn error_bound(&self, b: &Bound<'_>) -> Result<Vec<Vec<f64>>> {
        // One rounding.
        let Some(f) = self.activation else { return Ok(b.each(|_, y| UNIT * y.abs() + TINY)) };
        let (x, z) = (b.inputs[0].real(), b.inputs[1].real());
        // The activation's own error is taken at an argument that is off by the rounding; its slope covers that.
        Ok(b.each(|i, y| {
            let before = R::y(x[i], z[i]);
            (UNIT * before.abs() + TINY) * f.lipschitz * (1.0 + 16.0 * UNIT) + (f.error)(before, y)
        }))
    }

    fn with_activation(&self, activation: Activation) -> Option<Arc<dyn Op>> {
        self.activation.is_none().then(|| Arc::new(Binary { activation: Some(activation), ..Self::new() }) as Arc<dyn Op>)
    }

    fn is_sum(&self) -> bool {
        R::CODE == Add::CODE && self.activation.is_none()
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
                (f.f32)(y);
            }
        });
    }
}

impl<R: BinaryRow> Binary<R> {
    fn run<T: Real>(&self, args: &mut CpuArgs<'_, T>, activate: impl Fn(&mut [T]) + Sync) {
        let (a, b) = (args.x(0), args.x(1));
        for_each_chunk(args.y(0), |at, y| {
            for ((y, &a), &b) in y.iter_mut().zip(&a[at..]).zip(&b[at..]) {
                *y = R::y(a, b);
            }
            activate(y);
        });
    }
}

fn cases<R: BinaryRow>() -> Vec<Case> {
    let op = Binary::<R>::new;
    let pair = |seed, shape: &[usize]| vec![sample::normal(seed, shape), sample::normal(seed + 1, shape)];
    let mut cases = vec![
        Case::new("one", op(), pair(1, &[1, 1])),
        Case::new("scalar_workgroups", op(), pair(3, &[3, 5, 7, 5])),
        Case::new("vec4_workgroups", op(), pair(5, &[2, 11, 5, 12])),
        Case::new("integers", op(), vec![sample::integers(7, [3, 6, 4], 1000), sample::integers(8, [3, 6, 4], 1000)]),
        Case::new("positive", op(), vec![sample::positive(9, [4, 9]), sample::positive(10, [4, 9])]),
        Case::new("random_11", op(), pair(11, &[6, 13])),
    ];
    if let Some(op) = op().with_activation(activation::<Tanh>()) {
        cases.push(Case { name: "tanh".to_string(), op, inputs: pair(13, &[5, 7]), differentiable: Vec::new() });
    }
    cases
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
    fn unequal_shapes_are_named() {
        let types = [TensorType::f32([2, 3]), TensorType::f32([3])];
        let message = Binary::<Add>::new().infer(&types).unwrap_err().to_string();
        assert!(message.contains("[2, 3] and [3]"), "{message}");
        assert!(Binary::<Mul>::new().infer(&types[..1]).is_err());
        assert!(Binary::<Sub>::new().infer(&[TensorType::u32([2]), TensorType::u32([2])]).is_err());
    }
}
