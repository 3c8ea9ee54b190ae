//! From descriptions of ops to nodes of the standard's.

use super::arrangement::{Arrangement, Len, Moves};
use crate::error::{Error, Result};
use crate::graph::{Graph, Node};
use crate::op::{Attribute, AxisOrder, Interchange, StandardNode, Step, Term, Value, no_counterpart};
use crate::tensor::{Data, Tensor};
use std::collections::HashMap;
use std::sync::Arc;

/// Numbers that are in the file.
#[derive(Clone, Debug)]
pub(super) enum Constant {
    Numbers(Arc<Tensor>),
    Integers(Vec<i64>),
}

/// A tensor of the file.
#[derive(Clone, Debug)]
pub(super) struct FileTensor {
    /// What it would be called if nothing else is.
    pub name: String,
    pub shape: Vec<Len>,
    pub constant: Option<Constant>,
}

/// A node of the file.
#[derive(Clone, Debug)]
pub(super) struct FileNode {
    pub name: String,
    pub op_type: &'static str,
    pub inputs: Vec<Option<usize>>,
    pub output: usize,
    pub attributes: Vec<(&'static str, Attribute)>,
}

/// A value of ours, and where it is.
#[derive(Clone, Debug)]
struct Known {
    shape: Vec<Len>,
    at: Arrangement,
}

/// The part of the file that has been written.
#[derive(Debug, Default)]
pub(super) struct Writer {
    pub tensors: Vec<FileTensor>,
    pub nodes: Vec<FileNode>,
    /// The newest version of the operator set that a node needs.
    pub opset: i64,
    values: HashMap<Value, Known>,
    moved: HashMap<(usize, Moves), usize>,
    /// The layer that is being written.
    scope: String,
    /// Whether a node has the scope's name already.
    scope_named: bool,
}

/// A term of a description.
enum Described {
    Known(Known),
    Integers(Vec<i64>),
    Axes(Vec<usize>),
}

/// Shapes for both sizes of batches as one.
pub(super) fn lens([a, b]: [&[usize]; 2]) -> Vec<Len> {
    a.iter().zip(b).map(|(&a, &b)| [a, b]).collect()
}

impl Writer {
    /// Nothing yet, for at least this version of the operator set.
    pub fn new(opset: i64) -> Writer {
        Writer { opset, ..Writer::default() }
    }

    /// A tensor.
    fn tensor(&mut self, name: String, shape: Vec<Len>, constant: Option<Constant>) -> usize {
        self.tensors.push(FileTensor { name, shape, constant });
        self.tensors.len() - 1
    }

    /// An input of the network, of this shape, whose tensor's axis `i` is its axis `order[i]`.
    pub fn input(&mut self, value: Value, name: &str, shape: Vec<Len>, order: &[usize]) -> usize {
        let in_file: Vec<Len> = order.iter().map(|&axis| shape[axis]).collect();
        let tensor = self.tensor(name.to_string(), in_file.clone(), None);
        self.values.insert(value, Known { shape, at: Arrangement::permuted(tensor, &in_file, order) });
        tensor
    }

    /// A parameter.
    pub fn parameter(&mut self, value: Value, name: &str, values: Tensor) {
        let known = self.numbers(name.to_string(), Arc::new(values));
        self.values.insert(value, known);
    }

    fn numbers(&mut self, name: String, values: Arc<Tensor>) -> Known {
        let dims = values.shape().dims();
        let shape = lens([dims, dims]);
        let tensor = self.tensor(name, shape.clone(), Some(Constant::Numbers(values)));
        Known { at: Arrangement::plain(tensor, &shape), shape }
    }

    fn integers(&mut self, name: &str, values: Vec<i64>) -> usize {
        let name = format!("{}/{name}", self.scope);
        self.tensor(name, vec![[values.len(); 2]], Some(Constant::Integers(values)))
    }

    /// A value as a tensor whose axis `i` is its axis `order[i]`.
    pub fn tensor_of(&mut self, value: Value, order: &[usize]) -> Result<usize> {
        let known = self
            .values
            .get(&value)
            .cloned()
            .ok_or_else(|| Error::invalid("export", "a value that nothing makes", "one of a node"))?;
        self.place(&known, order)
    }

    /// A node, named after its layer if it is the layer's first, and its output's tensor.
    fn node(
        &mut self,
        op_type: &'static str,
        inputs: Vec<Option<usize>>,
        attributes: Vec<(&'static str, Attribute)>,
        shape: Vec<Len>,
    ) -> usize {
        let moves = matches!(op_type, "Transpose" | "Reshape" | "Identity");
        let name = if self.scope_named || moves { format!("{}/{op_type}", self.scope) } else { self.scope.clone() };
        self.scope_named |= !moves;
        let output = self.tensor(name.clone(), shape, None);
        self.nodes.push(FileNode { name, op_type, inputs, output, attributes });
        output
    }

    /// A copy of a tensor under a name of its own.
    pub fn copy(&mut self, tensor: usize) -> usize {
        let shape = self.tensors[tensor].shape.clone();
        self.node("Identity", vec![Some(tensor)], Vec::new(), shape)
    }

    /// Says which layer is being written.
    pub fn set_scope(&mut self, name: &str) {
        if self.scope != name {
            self.scope = name.to_string();
            self.scope_named = self.nodes.iter().any(|node| node.name == name);
        }
    }

    fn place(&mut self, known: &Known, order: &[usize]) -> Result<usize> {
        let target: Vec<Len> = order.iter().map(|&axis| known.shape[axis]).collect();
        self.place_as(known, order, &target)
    }

    /// A value as a tensor of shape `target`, whose last axes are the value's in this order, those before them of 1.
    fn place_as(&mut self, known: &Known, order: &[usize], target: &[Len]) -> Result<usize> {
        let moves = self.moves(known, order, target);
        let source = known.at.tensor;
        if moves == Moves::default() {
            return Ok(source);
        }
        if let Some(&tensor) = self.moved.get(&(source, moves.clone())) {
            return Ok(tensor);
        }
        let tensor = match self.tensors[source].constant.clone() {
            Some(Constant::Numbers(values)) => {
                let moved = moved(&values, &moves)?;
                let dims = moved.shape().dims();
                let (name, shape) = (self.tensors[source].name.clone(), lens([dims, dims]));
                self.tensor(name, shape, Some(Constant::Numbers(Arc::new(moved))))
            }
            _ => {
                let mut tensor = source;
                if let Some(shape) = &moves.first {
                    tensor = self.reshape(tensor, shape)?;
                }
                if let Some(permutation) = &moves.permutation {
                    let shape = permutation.iter().map(|&axis| self.tensors[tensor].shape[axis]).collect();
                    let perm = Attribute::Ints(permutation.iter().map(|&axis| axis as i64).collect());
                    tensor = self.node("Transpose", vec![Some(tensor)], vec![("perm", perm)], shape);
                }
                if let Some(shape) = &moves.last {
                    tensor = self.reshape(tensor, shape)?;
                }
                tensor
            }
        };
        self.moved.insert((source, moves), tensor);
        Ok(tensor)
    }

    fn moves(&self, known: &Known, order: &[usize], target: &[Len]) -> Moves {
        known.at.moves(&self.tensors[known.at.tensor].shape, order, target)
    }

    fn reshape(&mut self, tensor: usize, shape: &[Len]) -> Result<usize> {
        // One length may be left open.
        let open = shape.iter().filter(|len| len[0] != len[1]).count();
        if open > 1 {
            return Err(no_counterpart("a reshape to a shape that has the batch in two axes"));
        }
        let dims = shape.iter().map(|&[a, b]| if a == b { a as i64 } else { -1 }).collect();
        let dims = self.integers("shape", dims);
        Ok(self.node("Reshape", vec![Some(tensor), Some(dims)], Vec::new(), shape.to_vec()))
    }

    /// Writes a node of both graphs, which are the same network with batches of different sizes.
    pub fn write(&mut self, graphs: [&Graph; 2], nodes: [&Node; 2]) -> Result<()> {
        self.set_scope(&nodes[0].name);
        let op = &nodes[0].op;
        self.describe(graphs, nodes).map_err(|e| {
            let e = if nodes[0].name.starts_with(op.name()) { e } else { e.at(op.name()) };
            e.at(&nodes[0].name)
        })
    }

    fn describe(&mut self, graphs: [&Graph; 2], nodes: [&Node; 2]) -> Result<()> {
        let inputs = [0, 1].map(|i| graphs[i].types(&nodes[i].inputs));
        let outputs = [0, 1].map(|i| graphs[i].types(&nodes[i].outputs));
        let mut described = [0, 1].map(|i| Interchange::new(&inputs[i], &outputs[i]));
        let made = [nodes[0].op.interchange(&mut described[0])?, nodes[1].op.interchange(&mut described[1])?];
        let [a, b] = described.each_ref().map(|d| d.terms());
        let differs = || Error::invalid("export", "a description that depends on the batch's length", "one that holds for all");
        if a.len() != b.len() || made[0] != made[1] {
            return Err(differs());
        }
        let mut terms: Vec<Described> = Vec::with_capacity(a.len());
        for ((step, shape), (other, other_shape)) in a.iter().zip(b) {
            if step != other || shape.rank() != other_shape.rank() {
                return Err(differs());
            }
            let shape = lens([shape.dims(), other_shape.dims()]);
            let term = self.term(step, shape, &terms, &nodes[0].inputs)?;
            terms.push(term);
        }
        for (&value, term) in nodes[0].outputs.iter().zip(&made[0]) {
            let Described::Known(known) = &terms[term.index()] else { return Err(no_counterpart("a list as an output")) };
            self.values.insert(value, known.clone());
        }
        Ok(())
    }

    fn term(&mut self, step: &Step, shape: Vec<Len>, terms: &[Described], inputs: &[Value]) -> Result<Described> {
        let known = |t: &Term| match &terms[t.index()] {
            Described::Known(known) => Ok(known),
            _ => Err(no_counterpart("a list in the place of a tensor")),
        };
        Ok(Described::Known(match step {
            Step::Input(i) => {
                let known = self.values.get(&inputs[*i]).cloned();
                known.ok_or_else(|| no_counterpart(format!("input {i}, an output that its op doesn't describe")))?
            }
            Step::Numbers(values) => self.numbers(format!("{}/constant", self.scope), Arc::new(values.clone())),
            Step::Integers(values) => return Ok(Described::Integers(values.clone())),
            Step::Axes(axes) => return Ok(Described::Axes(axes.clone())),
            Step::Transpose(x, permutation) => Known { shape, at: known(x)?.at.transposed(permutation) },
            Step::Reshape(x) => {
                let x = known(x)?;
                match x.at.reshaped(&shape) {
                    Some(at) => Known { shape, at },
                    None => {
                        let tensor = self.place(x, &(0..x.shape.len()).collect::<Vec<_>>())?;
                        let tensor = self.reshape(tensor, &shape)?;
                        Known { at: Arrangement::plain(tensor, &shape), shape }
                    }
                }
            }
            Step::Node(node) => {
                self.opset = self.opset.max(node.since);
                match &node.axes {
                    AxisOrder::Fixed => self.fixed(node, shape, terms)?,
                    AxisOrder::Contracted => self.contracted(node, shape, terms)?,
                    AxisOrder::Rows => self.rows(node, shape, terms)?,
                    AxisOrder::Free { removed } => self.free(node, removed, shape, terms)?,
                }
            }
        }))
    }

    /// The inputs of a node as tensors, those that aren't lists by `place`. Axes are numbered by `axis`.
    fn inputs(
        &mut self,
        node: &StandardNode,
        terms: &[Described],
        axis: impl Fn(usize) -> usize,
        mut place: impl FnMut(&mut Writer, usize, &Known) -> Result<usize>,
    ) -> Result<Vec<Option<usize>>> {
        let mut inputs = Vec::with_capacity(node.inputs.len());
        for (i, input) in node.inputs.iter().enumerate() {
            inputs.push(match input.map(|t| &terms[t.index()]) {
                None => None,
                Some(Described::Known(known)) => Some(place(self, i, known)?),
                Some(Described::Integers(values)) => Some(self.integers("constant", values.clone())),
                Some(Described::Axes(axes)) => {
                    let axes = axes.iter().map(|&a| axis(a) as i64).collect();
                    Some(self.integers("axes", axes))
                }
            });
        }
        Ok(inputs)
    }

    /// A node that takes axes as they are.
    fn fixed(&mut self, node: &StandardNode, shape: Vec<Len>, terms: &[Described]) -> Result<Known> {
        let inputs =
            self.inputs(node, terms, |a| a, |w, _, known| w.place(known, &(0..known.shape.len()).collect::<Vec<_>>()))?;
        let tensor = self.node(node.op_type, inputs, attributes(node, |a| a), shape.clone());
        Ok(Known { at: Arrangement::plain(tensor, &shape), shape })
    }

    /// Rows of a matrix by their numbers, wherever those lie.
    fn rows(&mut self, node: &StandardNode, shape: Vec<Len>, terms: &[Described]) -> Result<Known> {
        let mut numbers = None;
        let inputs = self.inputs(
            node,
            terms,
            |a| a,
            |w, i, known| {
                if i == 1 {
                    numbers = Some(known.at.clone());
                    return Ok(known.at.tensor);
                }
                w.place(known, &(0..known.shape.len()).collect::<Vec<_>>())
            },
        )?;
        let (Some(numbers), Some(&width)) = (numbers, shape.last()) else { return Err(no_counterpart("rows without numbers")) };
        let in_file = [&self.tensors[numbers.tensor].shape[..], &[width]].concat();
        let tensor = self.node(node.op_type, inputs, attributes(node, |a| a), in_file);
        Ok(Known { shape, at: numbers.of(tensor).with_last(width) })
    }

    /// A product with a matrix: if that is constant, its rows are put in the order in which the other's columns lie.
    fn contracted(&mut self, node: &StandardNode, shape: Vec<Len>, terms: &[Described]) -> Result<Known> {
        let known = |i: usize| match node.inputs.get(i).copied().flatten().map(|t| &terms[t.index()]) {
            Some(Described::Known(known)) => Some(known.clone()),
            _ => None,
        };
        let (Some(mut x), Some(mut w)) = (known(0), known(1)) else { return self.fixed(node, shape, terms) };
        let last = x.shape.len() - 1;
        let (parts, in_memory) = x.at.parts(last);
        let is_constant = self.tensors[w.at.tensor].constant.is_some();
        if is_constant && !in_memory.is_sorted() {
            let cut: Vec<Len> = parts.into_iter().chain(w.shape[1..].iter().copied()).collect();
            let permutation: Vec<usize> = in_memory.iter().copied().chain(in_memory.len()..cut.len()).collect();
            let turned = w.at.reshaped(&cut).and_then(|at| at.transposed(&permutation).reshaped(&w.shape));
            if let Some(turned) = turned {
                (x.at, w.at) = (x.at.sorted(last), turned);
            }
        }
        let replaced = [x, w];
        let place = |writer: &mut Writer, i: usize, known: &Known| {
            let known = replaced.get(i).unwrap_or(known);
            writer.place(known, &(0..known.shape.len()).collect::<Vec<_>>())
        };
        let inputs = self.inputs(node, terms, |a| a, place)?;
        let tensor = self.node(node.op_type, inputs, attributes(node, |a| a), shape.clone());
        Ok(Known { at: Arrangement::plain(tensor, &shape), shape })
    }

    /// A node that takes axes in any order: in that which its largest inputs have.
    fn free(&mut self, node: &StandardNode, removed: &[usize], shape: Vec<Len>, terms: &[Described]) -> Result<Known> {
        let read = node.inputs.iter().flatten().map(|t| &terms[t.index()]);
        let tensors: Vec<&Known> =
            read.filter_map(|t| if let Described::Known(known) = t { Some(known) } else { None }).collect();
        let is_number = |known: &Known| known.shape.iter().all(|&len| len == [1, 1]);
        let names_axes = node.attributes.iter().any(|(_, value)| matches!(value, Attribute::Axis(_)))
            || node.inputs.iter().flatten().any(|t| matches!(terms[t.index()], Described::Axes(_)));
        let of_size: Vec<&&Known> = tensors.iter().filter(|known| !is_number(known)).collect();
        if let ([x, others @ ..], false) = (&of_size[..], names_axes)
            && x.shape == shape
            && others.iter().all(|other| other.shape == shape && other.at.is_like(&x.at))
        {
            // An elementwise function is the same wherever the elements lie.
            let at = x.at.clone();
            let inputs = self.inputs(
                node,
                terms,
                |a| a,
                |w, _, known| if is_number(known) { w.number(known) } else { Ok(known.at.tensor) },
            )?;
            let in_file = self.tensors[at.tensor].shape.clone();
            let tensor = self.node(node.op_type, inputs, attributes(node, |a| a), in_file);
            return Ok(Known { shape, at: at.of(tensor) });
        }
        let rank = tensors.iter().map(|known| known.shape.len()).max().unwrap_or(0);
        // The orders that full inputs have, and what would have to be moved for each.
        let as_is: Vec<usize> = (0..rank).collect();
        let orders = tensors.iter().filter(|known| known.shape.len() == rank && self.tensors[known.at.tensor].constant.is_none());
        let mut orders: Vec<Vec<usize>> = orders.filter_map(|known| known.at.order()).collect();
        orders.push(as_is);
        let cost = |order: &Vec<usize>| -> usize {
            let moved = tensors.iter().filter(|known| {
                let (order, target) = aligned(known, order, rank);
                let moves = self.moves(known, &order, &target);
                let is_new = !self.moved.contains_key(&(known.at.tensor, moves.clone()));
                moves.permutation.is_some() && is_new && self.tensors[known.at.tensor].constant.is_none()
            });
            moved.map(|known| known.shape.iter().map(|len| len[0]).product::<usize>()).sum()
        };
        let order = orders.iter().min_by_key(|order| cost(order)).cloned().unwrap_or_default();
        let axis = |a: usize| order.iter().position(|&b| b == a).unwrap_or(a);
        let inputs = self.inputs(node, terms, axis, |w, _, known| {
            if is_number(known) && known.shape.len() < rank {
                return w.number(known);
            }
            let (order, target) = aligned(known, &order, rank);
            w.place_as(known, &order, &target)
        })?;
        // What is left of the order, in the output's numbers.
        let left = order.iter().filter(|a| !removed.contains(a));
        let left: Vec<usize> = left.map(|&a| a - removed.iter().filter(|&&r| r < a).count()).collect();
        let in_file: Vec<Len> = left.iter().map(|&a| shape[a]).collect();
        let tensor = self.node(node.op_type, inputs, attributes(node, axis), in_file.clone());
        Ok(Known { at: Arrangement::permuted(tensor, &in_file, &left), shape })
    }

    /// A single number, as a tensor of at most one axis.
    fn number(&mut self, known: &Known) -> Result<usize> {
        let rank = known.shape.len();
        if rank <= 1 {
            return self.place(known, &(0..rank).collect::<Vec<_>>());
        }
        self.place_as(known, &[], &[[1, 1]])
    }
}

/// The order of a value's own axes, and its shape in the file, where it meets others of up to `rank` axes in an order.
fn aligned(known: &Known, order: &[usize], rank: usize) -> (Vec<usize>, Vec<Len>) {
    let missing = rank - known.shape.len();
    let own: Vec<usize> = order.iter().filter(|&&a| a >= missing).map(|&a| a - missing).collect();
    let lens = order.iter().map(|&a| if a < missing { [1, 1] } else { known.shape[a - missing] });
    let mut target: Vec<Len> = lens.collect();
    if missing > 0 {
        // Axes of 1 before all others go without saying.
        let leading = target.iter().take_while(|&&len| len == [1, 1]).count().min(rank - 1);
        target.drain(..leading);
    }
    (own, target)
}

/// The attributes, with axes as numbers of the file's.
fn attributes(node: &StandardNode, axis: impl Fn(usize) -> usize) -> Vec<(&'static str, Attribute)> {
    let numbered = |value: &Attribute| match value {
        Attribute::Axis(a) => Attribute::Int(axis(*a) as i64),
        other => other.clone(),
    };
    node.attributes.iter().map(|(name, value)| (*name, numbered(value))).collect()
}

/// Constant numbers in another order.
fn moved(values: &Tensor, moves: &Moves) -> Result<Tensor> {
    let dims = |lens: &Vec<Len>| lens.iter().map(|len| len[0]).collect::<Vec<usize>>();
    let from = moves.first.as_ref().map_or_else(|| values.shape().dims().to_vec(), dims);
    let to = match (&moves.permutation, &moves.last) {
        (_, Some(last)) => dims(last),
        (Some(permutation), None) => permutation.iter().map(|&axis| from[axis]).collect(),
        (None, None) => from.clone(),
    };
    let permutation = moves.permutation.as_deref();
    match values.data() {
        Data::F32(x) => Tensor::f32(to, transposed(x, &from, permutation)),
        Data::U32(x) => Tensor::u32(to, transposed(x, &from, permutation)),
        Data::U8(x) => Tensor::u8(to, transposed(x, &from, permutation)),
    }
}

fn transposed<T: Copy>(x: &[T], dims: &[usize], permutation: Option<&[usize]>) -> Vec<T> {
    let Some(permutation) = permutation else { return x.to_vec() };
    let mut strides = vec![1; dims.len()];
    for axis in (1..dims.len()).rev() {
        strides[axis - 1] = strides[axis] * dims[axis];
    }
    let axes: Vec<(usize, usize)> = permutation.iter().map(|&axis| (dims[axis], strides[axis])).collect();
    let Some((&(len, stride), outer)) = axes.split_last() else { return x.to_vec() };
    let mut y = Vec::with_capacity(x.len());
    let mut index = vec![0; outer.len()];
    let mut at = 0;
    while y.len() < x.len() {
        match stride {
            1 => y.extend_from_slice(&x[at..at + len]),
            _ => y.extend((0..len).map(|i| x[at + i * stride])),
        }
        for (i, &(len, stride)) in index.iter_mut().zip(outer).rev() {
            (*i, at) = (*i + 1, at + stride);
            if *i < len {
                break;
            }
            (*i, at) = (0, at - len * stride);
        }
    }
    y
}
