//! One of two tensors, element by element.

use crate::error::Result;
use crate::linalg::{Real, for_each_chunk};
use crate::op::{
    BOOL, Buffer, Case, Cpu, CpuArgs, Declaration, Gradient, Interchange, NodeBuilder, Op, Recorder, Source, StandardNode, Term,
    Value, View, ViewMut, expect_inputs, sample, shader,
};
use crate::ops::broadcasting::Broadcasting;
use crate::ops::elements::Elements;
use crate::ops::expand::Expand;
use crate::ops::fill::Fill;
use crate::ops::strided::{expect_words, special, words};
use crate::tensor::TensorType;
use std::sync::Arc;

static SHADER: Source = shader!("select");

/// `y = a` where the condition isn't 0, else `b`: a u32 condition, and two f32 or two u32 tensors, all of one shape, to one like a. What isn't taken
/// counts for nothing, also if it is a NaN.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Select;

/// Adds the nodes of NumPy's `where`: [`Select`] of tensors whose dimensions of 1, or missing ones, are repeated.
///
/// # Errors
/// [`Error::Invalid`](crate::error::Error::Invalid) for shapes that don't meet, and for types that [`Select`] doesn't take.
pub fn select(graph: &mut dyn NodeBuilder, condition: Value, a: Value, b: Value) -> Result<Value> {
    let inputs = [condition, a, b];
    let [of_condition, of_a, of_b] = inputs.map(|v| graph.type_of(v).shape.clone());
    let (shape, _) = Broadcasting::of(&of_a, &of_b)?;
    let (shape, _) = Broadcasting::of(&of_condition, &shape)?;
    let mut expanded = Vec::new();
    for v in inputs {
        expanded.push(match graph.type_of(v).shape == shape {
            true => v,
            false => graph.add(Arc::new(Expand { shape: shape.clone() }), &[v])?[0],
        });
    }
    Ok(graph.add(Arc::new(Select), &expanded)?[0])
}

impl Op for Select {
    fn name(&self) -> &'static str {
        "select"
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>> {
        expect_inputs(inputs, &["condition", "a", "b"])?;
        let a = &inputs[1];
        expect_words("a", a)?;
        inputs[0].expect("condition", &TensorType::u32(a.shape.clone()))?;
        inputs[2].expect("b", a)?;
        Ok(vec![a.clone()])
    }

    fn gradient(&self, g: &mut Gradient<'_>) -> Result<()> {
        let (condition, dy) = (g.x(0), g.dy0()?);
        let shape = g.type_of(dy).shape;
        let zeros = g.node(Fill { value: 0.0, shape }, &[])?;
        for (i, from) in [(1, [condition, dy, zeros]), (2, [condition, zeros, dy])] {
            if g.wants(i) {
                let dx = g.node(Select, &from)?;
                g.set(i, dx);
            }
        }
        Ok(())
    }

    fn gpu(&self, r: &mut Recorder<'_>) -> Result<()> {
        let e = Elements::of(r.y(0).elements());
        let grid = e.grid(r);
        r.dispatch(e.words(&SHADER, &[]), &[0, 1, 2].map(Buffer::Input), &[Buffer::Output(0)], &[("n", e.n())], grid);
        Ok(())
    }

    fn interchange(&self, d: &mut Interchange<'_>) -> Result<Vec<Term>> {
        let condition = d.same(StandardNode::free("Cast", &[d.x(0)]).int("to", BOOL));
        Ok(vec![d.same(StandardNode::free("Where", &[condition, d.x(1), d.x(2)]))])
    }
}

fn run<E: Copy + Send + Sync>(condition: &[u32], a: &[E], b: &[E], y: &mut [E]) {
    for_each_chunk(y, |at, y| {
        let inputs = condition[at..].iter().zip(&a[at..]).zip(&b[at..]);
        y.iter_mut().zip(inputs).for_each(|(y, ((&condition, &a), &b))| *y = if condition != 0 { a } else { b });
    });
}

impl Cpu for Select {
    fn cpu<T: Real>(&self, args: &mut CpuArgs<'_, T>) {
        let condition = args.x_u32(0);
        match (args.view(1), args.view(2), args.take(0)) {
            (View::Real(a), View::Real(b), ViewMut::Real(y)) => run(condition, a, b, y),
            (View::U32(a), View::U32(b), ViewMut::U32(y)) => run(condition, a, b, y),
            _ => unreachable!("infer checks the types"),
        }
    }
}

/// The list's entry.
pub static DECLARATIONS: &[Declaration] = &[Declaration { name: "select", no_gradient: None, shaders: &[&SHADER], cases }];

fn cases() -> Vec<Case> {
    let condition = |seed, shape: &[usize]| {
        let words = sample::indices(seed, shape.iter().product(), 3);
        words.reshaped(shape).unwrap_or_else(|_| unreachable!("made to fit"))
    };
    let floats = |name: &str, seed, shape: &[usize]| {
        Case::new(name, Select, vec![condition(seed, shape), sample::normal(seed + 1, shape), sample::normal(seed + 2, shape)])
    };
    vec![
        floats("one", 1, &[1]),
        floats("scalar_workgroups", 4, &[3, 5, 7, 5]),
        floats("vec4_workgroups", 7, &[2, 11, 5, 12]),
        Case::new("special", Select, vec![condition(10, &[3, 8]), special([3, 8]), sample::normal(11, [3, 8])]).differentiable_by(&[]),
        Case::new("words", Select, vec![condition(12, &[7, 5]), words(13, [7, 5]), words(14, [7, 5])]),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::Oracle;
    use crate::ops::check::{self, Tape};

    #[test]
    fn cases_hold() {
        check::declarations(DECLARATIONS);
    }

    #[test]
    fn where_repeats_all_three() {
        let mut tape = Tape::default();
        let condition = tape.push(TensorType::u32([2, 1]), Oracle::U32(vec![1, 0]));
        let a = tape.push(TensorType::f32([3]), Oracle::Real(vec![1.0, 2.0, 3.0]));
        let b = tape.push(TensorType::f32([]), Oracle::Real(vec![f64::NAN]));
        let y = select(&mut tape, condition, a, b).unwrap();
        assert_eq!(tape.type_of(y), &TensorType::f32([2, 3]));
        let y = tape.value(y).real();
        assert!(y[..3] == [1.0, 2.0, 3.0] && y[3..].iter().all(|y| y.is_nan()));
        let other = tape.push(TensorType::f32([4]), Oracle::Real(vec![0.0; 4]));
        assert!(select(&mut tape, condition, a, other).is_err() && select(&mut tape, a, a, b).is_err());
    }
}
