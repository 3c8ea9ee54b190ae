//! What an op computes, in the words of the ONNX standard (<https://onnx.ai/onnx/operators>), as plain data: from it a file is written that
//! other engines run. Axes are this crate's everywhere; in which order they lie in the file is the writer's concern.

use crate::tensor::{Shape, Tensor, TensorType};

/// The standard's number of f32, for `Cast`.
pub const FLOAT: i64 = 1;
/// The standard's number of i32, for `Cast`.
pub const INT32: i64 = 6;
/// The standard's number of i64, for `Cast`.
pub const INT64: i64 = 7;
/// The standard's number of truth values, for `Cast`.
pub const BOOL: i64 = 9;
/// The standard's number of 16-bit floats of IEEE 754, for `Cast`.
pub const FLOAT16: i64 = 10;
/// The standard's number of u32, for `Cast`.
pub const UINT32: i64 = 12;
/// The standard's number of the upper halves of f32, for `Cast`.
pub const BFLOAT16: i64 = 16;

/// A tensor of a description: one of the op's inputs, or what a step makes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Term(usize);

impl Term {
    /// Its place among the terms of its description.
    pub fn index(self) -> usize {
        self.0
    }
}

/// How a term comes about.
#[derive(Clone, PartialEq, Debug)]
pub enum Step {
    /// It is the op's input of this number.
    Input(usize),
    /// A constant f32 or u32 tensor.
    Numbers(Tensor),
    /// A constant list of integers.
    Integers(Vec<i64>),
    /// A constant list of axes, of input 0 of the node that reads it.
    Axes(Vec<usize>),
    /// Axis `i` is axis `permutation[i]` of the other.
    Transpose(Term, Vec<usize>),
    /// The elements of the other, in the same order, under this term's shape.
    Reshape(Term),
    /// The output of a node.
    Node(StandardNode),
}

/// An attribute of a node.
#[derive(Clone, PartialEq, Debug)]
pub enum Attribute {
    /// An integer.
    Int(i64),
    /// A number.
    Float(f32),
    /// Integers.
    Ints(Vec<i64>),
    /// A word.
    Text(&'static str),
    /// The number of an axis of input 0.
    Axis(usize),
}

/// How a node takes the axes of what it reads.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AxisOrder {
    /// As they are.
    Fixed,
    /// As they are, but the last axis of input 0 and the first of input 1 are summed over, so that both may have the elements along them in
    /// another order.
    Contracted,
    /// Each element of input 1 is a number in the place of which there is a row of input 0, along one more axis, the last: the others may be in
    /// any order.
    Rows,
    /// In any order that is the same for all inputs, whose shapes meet by NumPy's rules.
    Free {
        /// Axes that the output doesn't have.
        removed: Vec<usize>,
    },
}

/// A node of the standard's, with one output.
#[derive(Clone, PartialEq, Debug)]
pub struct StandardNode {
    /// The standard's name of the operator.
    pub op_type: &'static str,
    /// What it reads; none for an optional input that is left out.
    pub inputs: Vec<Option<Term>>,
    /// Its attributes by name.
    pub attributes: Vec<(&'static str, Attribute)>,
    /// How it takes the axes of its inputs.
    pub axes: AxisOrder,
    /// The first version of the standard's operator set that has the operator as it is used here, 18 if it is older.
    pub since: i64,
}

impl StandardNode {
    fn new(op_type: &'static str, inputs: &[Term], axes: AxisOrder) -> StandardNode {
        StandardNode { op_type, inputs: inputs.iter().copied().map(Some).collect(), attributes: Vec::new(), axes, since: 18 }
    }

    /// A node that takes axes as they are.
    pub fn fixed(op_type: &'static str, inputs: &[Term]) -> StandardNode {
        StandardNode::new(op_type, inputs, AxisOrder::Fixed)
    }

    /// A product of input 0 with the matrix in input 1.
    pub fn contracted(op_type: &'static str, inputs: &[Term]) -> StandardNode {
        StandardNode::new(op_type, inputs, AxisOrder::Contracted)
    }

    /// Rows of input 0, a matrix, by the numbers in input 1.
    pub fn rows(op_type: &'static str, inputs: [Term; 2]) -> StandardNode {
        StandardNode::new(op_type, &inputs, AxisOrder::Rows)
    }

    /// A node that works on axes in any order.
    pub fn free(op_type: &'static str, inputs: &[Term]) -> StandardNode {
        StandardNode::new(op_type, inputs, AxisOrder::Free { removed: Vec::new() })
    }

    /// A [`StandardNode::free`] whose output lacks some of the axes.
    pub fn removing(op_type: &'static str, inputs: &[Term], axes: impl IntoIterator<Item = usize>) -> StandardNode {
        StandardNode::new(op_type, inputs, AxisOrder::Free { removed: axes.into_iter().collect() })
    }

    /// With one more input.
    pub fn input(mut self, input: Term) -> Self {
        self.inputs.push(Some(input));
        self
    }

    /// With an optional input left out.
    pub fn no_input(mut self) -> Self {
        self.inputs.push(None);
        self
    }

    fn attribute(mut self, name: &'static str, value: Attribute) -> Self {
        self.attributes.push((name, value));
        self
    }

    /// With an integer.
    pub fn int(self, name: &'static str, value: i64) -> Self {
        self.attribute(name, Attribute::Int(value))
    }

    /// With a number.
    pub fn float(self, name: &'static str, value: f64) -> Self {
        self.attribute(name, Attribute::Float(value as f32))
    }

    /// With sizes.
    pub fn sizes(self, name: &'static str, values: &[usize]) -> Self {
        self.attribute(name, Attribute::Ints(values.iter().map(|&v| v as i64).collect()))
    }

    /// With a word.
    pub fn text(self, name: &'static str, value: &'static str) -> Self {
        self.attribute(name, Attribute::Text(value))
    }

    /// With the number of an axis of input 0.
    pub fn axis(self, name: &'static str, axis: usize) -> Self {
        self.attribute(name, Attribute::Axis(axis))
    }

    /// Needs at least this version of the operator set.
    pub fn since(mut self, version: i64) -> Self {
        self.since = self.since.max(version);
        self
    }
}

/// The description of an op on inputs of given types: [`Op::interchange`](super::Op::interchange) adds its steps.
#[derive(Clone, Debug)]
pub struct Interchange<'a> {
    inputs: &'a [TensorType],
    outputs: &'a [TensorType],
    terms: Vec<(Step, Shape)>,
}

impl<'a> Interchange<'a> {
    /// A description whose terms are the inputs.
    pub fn new(inputs: &'a [TensorType], outputs: &'a [TensorType]) -> Interchange<'a> {
        let terms = inputs.iter().enumerate().map(|(i, ty)| (Step::Input(i), ty.shape.clone())).collect();
        Interchange { inputs, outputs, terms }
    }

    /// All terms so far, each with how it comes about and its shape.
    pub fn terms(&self) -> &[(Step, Shape)] {
        &self.terms
    }

    /// Number of the op's inputs.
    pub fn n_inputs(&self) -> usize {
        self.inputs.len()
    }

    /// The op's input `i`.
    pub fn x(&self, i: usize) -> Term {
        debug_assert!(i < self.inputs.len());
        Term(i)
    }

    /// All inputs of the op.
    pub fn all(&self) -> Vec<Term> {
        (0..self.inputs.len()).map(Term).collect()
    }

    /// Type of the op's input `i`.
    pub fn input_type(&self, i: usize) -> &TensorType {
        &self.inputs[i]
    }

    /// Type of the op's output `i`.
    pub fn output_type(&self, i: usize) -> &TensorType {
        &self.outputs[i]
    }

    /// Shape of a term.
    pub fn shape(&self, t: Term) -> &Shape {
        &self.terms[t.0].1
    }

    fn push(&mut self, step: Step, shape: Shape) -> Term {
        self.terms.push((step, shape));
        Term(self.terms.len() - 1)
    }

    /// A constant tensor, f32 or u32.
    pub fn numbers(&mut self, values: Tensor) -> Term {
        let shape = values.shape().clone();
        self.push(Step::Numbers(values), shape)
    }

    /// A constant number, shape `[]`.
    pub fn number(&mut self, value: f32) -> Term {
        self.numbers(Tensor::f32([], vec![value]).unwrap_or_else(|_| unreachable!("made to fit")))
    }

    /// A constant list of integers.
    pub fn integers(&mut self, values: impl IntoIterator<Item = i64>) -> Term {
        let values: Vec<i64> = values.into_iter().collect();
        let shape = [values.len()].into();
        self.push(Step::Integers(values), shape)
    }

    /// A constant list of axes, of input 0 of the node that reads it.
    pub fn axes(&mut self, axes: impl IntoIterator<Item = usize>) -> Term {
        let axes: Vec<usize> = axes.into_iter().collect();
        let shape = [axes.len()].into();
        self.push(Step::Axes(axes), shape)
    }

    /// Axes in another order: axis `i` is `x`'s axis `permutation[i]`.
    pub fn transpose(&mut self, x: Term, permutation: impl Into<Vec<usize>>) -> Term {
        let permutation = permutation.into();
        let dims: Vec<usize> = permutation.iter().map(|&axis| self.shape(x).dims()[axis]).collect();
        self.push(Step::Transpose(x, permutation), dims.into())
    }

    /// The elements in the same order, under another shape.
    pub fn reshape(&mut self, x: Term, shape: impl Into<Shape>) -> Term {
        self.push(Step::Reshape(x), shape.into())
    }

    /// `[n, .., c]` as `[n, c, ..]`.
    pub fn channels_first(&mut self, x: Term) -> Term {
        let rank = self.shape(x).rank();
        self.transpose(x, [0, rank - 1].into_iter().chain(1..rank - 1).collect::<Vec<_>>())
    }

    /// `[n, c, ..]` as `[n, .., c]`.
    pub fn channels_last(&mut self, x: Term) -> Term {
        let rank = self.shape(x).rank();
        self.transpose(x, [0].into_iter().chain(2..rank).chain([1]).collect::<Vec<_>>())
    }

    /// The output of a node, of this shape.
    pub fn add(&mut self, node: StandardNode, shape: impl Into<Shape>) -> Term {
        self.push(Step::Node(node), shape.into())
    }

    /// The output of a node, of the shape of its first input.
    pub fn same(&mut self, node: StandardNode) -> Term {
        let first = node.inputs.first().copied().flatten();
        let shape = first.map_or_else(Shape::default, |x| self.shape(x).clone());
        self.add(node, shape)
    }
}
