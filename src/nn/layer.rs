//! What a layer is, and what it is handed.

use super::Init;
use super::parameters::{Declared, Initial, Kind, Pages};
use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::op::{NodeBuilder, Op, Value};
use crate::ops::fill::Fill;
use crate::ops::losses::{AbsoluteError, ElementLoss, SquaredError};
use crate::ops::scale::Scale;
use crate::ops::view::View;
use crate::random::Seed;
use crate::tensor::{Shape, TensorType};
use std::fmt::Debug;
use std::sync::Arc;

/// What a network is built for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Mode {
    /// Dropout drops.
    Training,
    /// Dropout passes everything on.
    Inference,
}

/// A piece of a network: how it turns an input into an output, with which parameters.
///
/// `build` is called anew for each graph (training, evaluation, prediction, each at its batch size) and must ask for the same parameters
/// each time.
pub trait Layer: Debug + Send + Sync {
    /// The kind of layer (`conv2d`); names of layers that were given none begin with it.
    fn type_name(&self) -> &'static str;

    /// Adds the layer's nodes to the graph and returns its output. `x` are its inputs, each `[n, ..]`, and so must the output be; a
    /// layer of one input takes it by [`LayerContext::only`].
    ///
    /// # Errors
    /// [`Error::Invalid`] for an input or an option that the layer can't work with. The layer's name is put before it.
    fn build(&self, ctx: &mut LayerContext<'_>, x: &[Value]) -> Result<Value>;

    /// For a layer whose input is numbers of rows of a table: how many rows there are. Samples that the network reads from the host are then
    /// held to be whole numbers below that, where they go into the layer as they are.
    fn rows(&self) -> Option<usize> {
        None
    }
}

/// Penalties of a layer's weights, which training adds to the loss (Keras's `kernel_regularizer`).
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Penalty {
    /// Factor of the sum of magnitudes.
    pub l1: f64,
    /// Factor of the sum of squares.
    pub l2: f64,
}

/// The graph being built, and what a layer may know of it.
#[derive(Debug)]
pub struct LayerContext<'a> {
    pub(super) graph: &'a mut Graph,
    pub(super) parameters: Parameters<'a>,
    pub(super) mode: Mode,
    pub(super) step: Option<Value>,
    pub(super) seed: Seed,
    pub(super) default_init: Init,
    pub(super) trainable: bool,
    pub(super) name: &'a str,
    pub(super) index: u32,
    pub(super) input_names: &'a [&'a str],
}

/// Where parameters come from.
#[derive(Debug)]
pub(super) enum Parameters<'a> {
    /// They are being found out: each is an input of a graph that is never run.
    Declare {
        declared: &'a mut Vec<(Declared, Value)>,
        /// Whether the layer has been looked at before, at another place.
        again: bool,
    },
    /// They lie in pages.
    Use(&'a mut Pages),
}

impl<'a> LayerContext<'a> {
    /// For layers outside a network, in inference: their parameters become inputs of the graph, and are listed in `declared`.
    pub(crate) fn declaring(graph: &'a mut Graph, declared: &'a mut Vec<(Declared, Value)>, name: &'a str) -> Self {
        graph.set_scope(name);
        LayerContext {
            graph,
            parameters: Parameters::Declare { declared, again: false },
            mode: Mode::Inference,
            step: None,
            seed: Seed(0),
            default_init: Init::Zeros,
            trainable: true,
            name,
            index: 0,
            input_names: &[],
        }
    }

    /// What ops that add several nodes take.
    pub(crate) fn graph(&mut self) -> &mut Graph {
        self.graph
    }
}

impl LayerContext<'_> {
    /// What the network is built for.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Whether training changes the layer's parameters. If not, what follows the batches' statistics stays as it is too.
    pub fn trainable(&self) -> bool {
        self.trainable
    }

    /// Name of the layer.
    pub fn name(&self) -> &str {
        self.name
    }

    /// Number of the layer in its network, from 0, a shared one's at each place another: a stream of random numbers of its own.
    pub fn index(&self) -> u32 {
        self.index
    }

    /// Name of the layer that input `i` comes from, or that of the network's input.
    pub fn input_name(&self, i: usize) -> &str {
        self.input_names.get(i).copied().unwrap_or_default()
    }

    /// The input of a layer that takes one.
    ///
    /// # Errors
    /// [`Error::Invalid`] for none and for several.
    pub fn only(&self, x: &[Value]) -> Result<Value> {
        match *x {
            [x] => Ok(x),
            _ => Err(Error::invalid("inputs", format!("{} ({})", x.len(), self.input_names.join(", ")), "1")),
        }
    }

    /// Seed of the model.
    pub fn seed(&self) -> Seed {
        self.seed
    }

    /// Initial values of weights where the layer has no wish.
    pub fn default_init(&self) -> Init {
        self.default_init
    }

    /// The number of the training step, u32 `[1]`, for ops that draw random numbers.
    ///
    /// # Errors
    /// [`Error::Invalid`] in inference, which has no steps.
    pub fn step(&self) -> Result<Value> {
        self.step.ok_or_else(|| Error::invalid("step", "none", "training; inference draws no random numbers"))
    }

    /// Type of a value.
    pub fn type_of(&self, v: Value) -> &TensorType {
        self.graph.type_of(v)
    }

    /// Shape of a value.
    pub fn shape(&self, v: Value) -> &Shape {
        &self.graph.type_of(v).shape
    }

    /// Batch size: the first dimension of a value.
    pub fn batch(&self, v: Value) -> usize {
        self.shape(v).dims().first().copied().unwrap_or(1)
    }

    /// Adds a node and returns its first output.
    ///
    /// # Errors
    /// Those of [`Op::infer`].
    pub fn node(&mut self, op: impl Op, inputs: &[Value]) -> Result<Value> {
        self.graph.node(op, inputs)
    }

    /// Adds a node and returns all its outputs.
    ///
    /// # Errors
    /// Those of [`Op::infer`].
    pub fn nodes(&mut self, op: impl Op, inputs: &[Value]) -> Result<Vec<Value>> {
        self.graph.add(Arc::new(op), inputs)
    }

    /// A trainable tensor, f32 of this shape, called `layer/name`.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a dimension of 0, too many elements, a name that the layer already used.
    pub fn parameter(&mut self, name: &str, shape: impl Into<Shape>, init: impl Into<Initial>) -> Result<Value> {
        Ok(self.pieces(name, shape.into(), init.into(), false, Kind::Trained)?[0])
    }

    /// A tensor as [`LayerContext::parameter`] makes it, that training doesn't change.
    ///
    /// # Errors
    /// As for [`LayerContext::parameter`].
    pub fn fixed(&mut self, name: &str, shape: impl Into<Shape>, init: impl Into<Initial>) -> Result<Value> {
        Ok(self.pieces(name, shape.into(), init.into(), false, Kind::Frozen)?[0])
    }

    /// A trainable tensor as [`LayerContext::parameter`] makes it, in pieces of whole rows, in order: one piece, or several where the
    /// tensor is larger than what the device can bind.
    ///
    /// # Errors
    /// As for [`LayerContext::parameter`].
    pub fn parameter_by_rows(&mut self, name: &str, shape: impl Into<Shape>, init: impl Into<Initial>) -> Result<Vec<Value>> {
        self.pieces(name, shape.into(), init.into(), true, Kind::Trained)
    }

    /// A tensor that isn't trained but follows a number of each batch, f32 of this shape, called `layer/name`: a training step makes it
    /// `momentum` times itself plus `1 - momentum` times what was given to [`LayerContext::follow`]. It is one of the model's weights,
    /// but no optimizer sees it.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a momentum that isn't from 0 to 1, and as for [`LayerContext::parameter`].
    pub fn running(&mut self, name: &str, shape: impl Into<Shape>, init: impl Into<Initial>, momentum: f64) -> Result<Value> {
        if !(0.0..=1.0).contains(&momentum) {
            return Err(Error::invalid("momentum", momentum, "0 to 1, the share that is kept at a step"));
        }
        Ok(self.pieces(name, shape.into(), init.into(), false, Kind::Running { momentum })?[0])
    }

    /// Says what [`LayerContext::running`]'s tensor of this name, which need not have been asked for here, takes in at a step of
    /// training; nothing if the step's loss isn't finite.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a name or a shape that the layer didn't ask for when the network was checked, in inference.
    pub fn follow(&mut self, name: &str, value: Value) -> Result<()> {
        let full_name = format!("{}/{name}", self.name);
        match &mut self.parameters {
            Parameters::Declare { .. } => Ok(()),
            Parameters::Use(pages) => pages.follow(self.graph, &full_name, value),
        }
    }

    /// Adds `l1 sum of |w| + l2 sum of w^2` over these tensors to the loss, in training and in evaluation; once, however often the layer
    /// is read.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a factor below 0 or one that isn't finite.
    pub fn penalise(&mut self, tensors: &[Value], Penalty { l1, l2 }: Penalty) -> Result<()> {
        for (what, factor) in [("l1", l1), ("l2", l2)] {
            if !(factor >= 0.0 && (factor as f32).is_finite()) {
                return Err(Error::invalid(what, factor, "0 or a positive number"));
            }
        }
        for &w in tensors {
            let len = self.shape(w).elements();
            if let Parameters::Use(pages) = &mut self.parameters
                && !pages.begin_penalty(w)
            {
                continue;
            }
            for (factor, is_l1) in [(l1, true), (l2, false)] {
                let Parameters::Use(pages) = &mut self.parameters else { return Ok(()) };
                if factor == 0.0 {
                    continue;
                }
                let row = self.graph.node(View::reshape([1, len]), &[w])?;
                let zeros = self.graph.node(Fill { value: 0.0, shape: [1, len].into() }, &[])?;
                let mean = match is_l1 {
                    true => self.graph.node(ElementLoss::<AbsoluteError>::default(), &[row, zeros])?,
                    false => self.graph.node(ElementLoss::<SquaredError>::default(), &[row, zeros])?,
                };
                pages.penalise(self.graph.node(Scale { factor: (factor * len as f64) as f32 }, &[mean])?);
            }
        }
        Ok(())
    }

    fn pieces(&mut self, name: &str, shape: Shape, init: Initial, by_rows: bool, kind: Kind) -> Result<Vec<Value>> {
        let full_name = format!("{}/{name}", self.name);
        let shape = shape.checked(name)?;
        let kind = if self.trainable { kind } else { Kind::Frozen };
        match &mut self.parameters {
            Parameters::Declare { declared, again } => {
                init.check()?;
                if let Some((known, value)) = declared.iter().find(|(d, _)| d.name == full_name) {
                    if !*again {
                        return Err(Error::invalid("parameter name", name, "one that the layer has not used yet"));
                    }
                    if known.shape != shape {
                        let want = format!("{}, as where the shared layer was read first", known.shape);
                        return Err(Error::invalid(format!("shape of {name}"), shape, want));
                    }
                    return Ok(vec![*value]);
                }
                let value = self.graph.input(&full_name, TensorType::f32(shape.clone()))?;
                declared.push((Declared { name: full_name, shape, init, by_rows, kind }, value));
                Ok(vec![value])
            }
            Parameters::Use(pages) => pages.views_of(self.graph, &full_name, &shape),
        }
    }
}

/// `[n, 28, 28, 1]` for a shape whose first dimension is the batch.
pub(super) fn batched(shape: &Shape) -> String {
    let rest = shape.dims().iter().skip(1).map(|d| format!(", {d}"));
    format!("[n{}]", rest.collect::<String>())
}
