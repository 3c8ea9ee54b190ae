//! What training makes small.

use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::op::{NodeBuilder, Value};
use crate::ops::label_mean::LabelMean;
use crate::ops::losses::{self, ElementLoss, LossRow};
use crate::ops::reduce::{Reduce, Reduction};
use crate::ops::softmax::LogSoftmax;
use crate::ops::softmax_cross_entropy;
use crate::tensor::DType;
use std::fmt::Debug;

/// The form in which a loss wants classes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Target {
    /// Their indices: u32 `[n]`, or `[n, h, w]` for a class a pixel. A data set of numbers gives those instead: f32, as the outputs.
    Class,
    /// Numbers, f32 as the outputs: those of the data set, or 1 in the class's column and 0 in the others. With one output and two
    /// classes, 1 for class 1.
    Values,
}

/// What a loss is made of.
#[derive(Clone, Copy, Debug)]
pub struct LossInputs {
    /// The network's outputs, f32 `[n, ..]`.
    pub outputs: Value,
    /// What they are to be, in the form that [`Loss::target`] asked for.
    pub target: Value,
    /// The weights of [`Loss::class_weights`], f32 `[classes]`, if there are some.
    pub weights: Option<Value>,
}

/// A loss: a number for each sample, of which training takes the mean over the batch. Its `Debug` text must tell of all its settings:
/// losses of equal text share programs.
pub trait Loss: Debug + Send + Sync {
    /// The form of the targets.
    fn target(&self) -> Target;

    /// Whether the network's outputs are taken before softmax or sigmoid, so that it must not end in softmax.
    fn takes_logits(&self) -> bool;

    /// Weights of the classes, none if they count alike.
    fn class_weights(&self) -> &[f32] {
        &[]
    }

    /// Whether the mean over the samples that [`Loss::add`] gives is a mean over the batch's labels, each with its class's weight. Then an
    /// evaluation's loss is the mean over all labels, however its batches are cut.
    fn averages_labels(&self) -> bool {
        false
    }

    /// Fails, naming the setting, if one makes no sense.
    ///
    /// # Errors
    /// [`Error::Invalid`].
    fn check(&self) -> Result<()> {
        Ok(())
    }

    /// Adds the nodes. The loss is f32 `[n]`.
    ///
    /// # Errors
    /// Those of the ops.
    fn add(&self, graph: &mut Graph, inputs: &LossInputs) -> Result<Value>;
}

/// Mean of numbers `[n, ..]` with labels `[n, ..]` over the labels: of each sample so much that the mean over samples is that mean.
pub(super) fn mean_by_label(graph: &mut Graph, x: Value, labels: Value, weights: Option<Value>) -> Result<Value> {
    let rank = graph.type_of(x).shape.rank();
    let x = if rank > 1 { graph.node(Reduce { reduction: Reduction::Sum, axes: 1..rank }, &[x])? } else { x };
    let inputs: Vec<Value> = [x, labels].into_iter().chain(weights).collect();
    graph.node(LabelMean, &inputs)
}

/// Cross-entropy of the softmax of the outputs, the loss of classifiers. The network ends in a dense layer of one unit a class, with no
/// softmax after it; for a class a pixel in a convolution of one filter a class.
///
/// A mean over labels: pixels that nobody labelled don't count, and with class weights it is divided by their sum, as in PyTorch
/// (Keras divides by the number of samples). In training each batch is averaged by itself; an evaluation averages all labels.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct SoftmaxCrossEntropy {
    label_smoothing: f32,
    class_weights: Vec<f32>,
}

impl SoftmaxCrossEntropy {
    /// With label smoothing: this share of each label, 0 to 1, is spread evenly over all classes (C. Szegedy et al., "Rethinking the Inception
    /// Architecture for Computer Vision", CVPR 2016).
    pub fn smoothed(label_smoothing: f32) -> Self {
        SoftmaxCrossEntropy { label_smoothing, ..Self::default() }
    }

    /// How much each class counts, a number of 0 or more each: more for rare ones.
    pub fn class_weights(mut self, weights: impl Into<Vec<f32>>) -> Self {
        self.class_weights = weights.into();
        self
    }
}

impl Loss for SoftmaxCrossEntropy {
    fn target(&self) -> Target {
        Target::Class
    }

    fn takes_logits(&self) -> bool {
        true
    }

    fn class_weights(&self) -> &[f32] {
        &self.class_weights
    }

    fn averages_labels(&self) -> bool {
        true
    }

    fn check(&self) -> Result<()> {
        if let Some((class, weight)) = self.class_weights.iter().enumerate().find(|(_, w)| !(**w >= 0.0 && w.is_finite())) {
            return Err(Error::invalid(format!("weight of class {class}"), weight, "0 or a positive number"));
        }
        if (0.0..=1.0).contains(&self.label_smoothing) {
            Ok(())
        } else {
            Err(Error::invalid("label smoothing", self.label_smoothing, "0 to 1"))
        }
    }

    fn add(&self, graph: &mut Graph, &LossInputs { outputs, target, weights }: &LossInputs) -> Result<Value> {
        let op = softmax_cross_entropy::SoftmaxCrossEntropy { label_smoothing: self.label_smoothing };
        let inputs: Vec<Value> = [outputs, target].into_iter().chain(weights).collect();
        let rows = graph.node(op, &inputs)?;
        let rank = graph.type_of(rows).shape.rank();
        match graph.type_of(target).dtype {
            DType::U32 if rank > 1 || weights.is_some() => mean_by_label(graph, rows, target, weights),
            _ if rank > 1 => graph.node(Reduce { reduction: Reduction::Mean, axes: 1..rank }, &[rows]),
            _ => Ok(rows),
        }
    }
}

fn element_loss<R: LossRow>(graph: &mut Graph, inputs: &LossInputs, parameter: f64) -> Result<Value> {
    graph.node(ElementLoss::<R>::new(parameter), &[inputs.outputs, inputs.target])
}

/// Losses without settings.
macro_rules! plain {
    ($($(#[$doc:meta])* $loss:ident => $row:ident, $logits:literal;)+) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Copy, PartialEq, Debug, Default)]
            pub struct $loss;

            impl Loss for $loss {
                fn target(&self) -> Target {
                    Target::Values
                }

                fn takes_logits(&self) -> bool {
                    $logits
                }

                fn add(&self, graph: &mut Graph, inputs: &LossInputs) -> Result<Value> {
                    element_loss::<losses::$row>(graph, inputs, 1.0)
                }
            }
        )+
    };
}

plain! {
    /// Mean of the squared differences between outputs and numbers, or one-hot classes.
    MeanSquaredError => SquaredError, false;
    /// Mean of the absolute differences between outputs and numbers, or one-hot classes.
    MeanAbsoluteError => AbsoluteError, false;
    /// Mean of `max(0, 1 - s y)` over the outputs y, with s 1 for the class, and for numbers above 0, and -1 for the others.
    Hinge => Hinge, true;
    /// Mean of the squares of [`Hinge`]'s terms.
    SquaredHinge => SquaredHinge, true;
}

/// Huber's loss: half the squared difference, but a straight line where it is larger than `delta`, so that outliers count less (P. Huber,
/// "Robust Estimation of a Location Parameter", 1964). `delta` is 1 by default, as in Keras and PyTorch.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Huber {
    delta: f64,
}

impl Default for Huber {
    fn default() -> Self {
        Huber::new(1.0)
    }
}

impl Huber {
    /// With a straight line from this difference on.
    pub fn new(delta: f64) -> Self {
        Huber { delta }
    }
}

impl Loss for Huber {
    fn target(&self) -> Target {
        Target::Values
    }

    fn takes_logits(&self) -> bool {
        false
    }

    fn check(&self) -> Result<()> {
        check_positive("delta of Huber's loss", self.delta)
    }

    fn add(&self, graph: &mut Graph, inputs: &LossInputs) -> Result<Value> {
        element_loss::<losses::Huber>(graph, inputs, self.delta)
    }
}

/// Cross-entropy of the sigmoid of each output, for a yes or no each: one output for two classes, or several that don't exclude each
/// other. The network ends in a dense layer with no sigmoid after it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct BinaryCrossEntropy {
    positive_weight: f64,
}

impl Default for BinaryCrossEntropy {
    /// Yes and no count alike.
    fn default() -> Self {
        BinaryCrossEntropy { positive_weight: 1.0 }
    }
}

impl BinaryCrossEntropy {
    /// How many times a no a yes counts (PyTorch's `pos_weight`).
    pub fn positive_weight(mut self, weight: f64) -> Self {
        self.positive_weight = weight;
        self
    }
}

impl Loss for BinaryCrossEntropy {
    fn target(&self) -> Target {
        Target::Values
    }

    fn takes_logits(&self) -> bool {
        true
    }

    fn check(&self) -> Result<()> {
        check_positive("weight of yes", self.positive_weight)
    }

    fn add(&self, graph: &mut Graph, inputs: &LossInputs) -> Result<Value> {
        element_loss::<losses::BinaryCrossEntropy>(graph, inputs, self.positive_weight)
    }
}

/// The divergence of the softmax of the outputs from distributions over the classes, which the data set has as its numbers (S. Kullback,
/// R. Leibler, "On Information and Sufficiency", 1951): cross-entropy less what no network can help, so that it is 0 at best. The mean over
/// samples (PyTorch's `batchmean`).
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct KlDivergence;

impl Loss for KlDivergence {
    fn target(&self) -> Target {
        Target::Values
    }

    fn takes_logits(&self) -> bool {
        true
    }

    fn add(&self, graph: &mut Graph, inputs: &LossInputs) -> Result<Value> {
        let outputs = graph.node(LogSoftmax, &[inputs.outputs])?;
        element_loss::<losses::KlDivergence>(graph, &LossInputs { outputs, ..*inputs }, 1.0)
    }
}

fn check_positive(what: &str, value: f64) -> Result<()> {
    if value as f32 > 0.0 && (value as f32).is_finite() { Ok(()) } else { Err(Error::invalid(what, value, "a positive number")) }
}
