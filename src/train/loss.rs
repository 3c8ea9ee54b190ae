//! What training makes small.

use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::op::Value;
use crate::ops::{mean_squared_error, softmax_cross_entropy};
use std::fmt::Debug;

/// The form in which a loss wants the labels.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Target {
    /// Class indices, u32 `[n]`.
    Class,
    /// 1 in the class's column and 0 in the others, f32 `[n, classes]`.
    OneHot,
}

/// A loss: a number for each sample, of which training takes the mean over the batch. Its `Debug` text must tell of all its settings:
/// losses of equal text share programs.
pub trait Loss: Debug + Send + Sync {
    /// The form of the labels.
    fn target(&self) -> Target;

    /// Whether the network's outputs are taken before softmax, so that it must not end in one.
    fn takes_logits(&self) -> bool;

    /// Fails, naming the setting, if one makes no sense.
    ///
    /// # Errors
    /// [`Error::Invalid`].
    fn check(&self) -> Result<()> {
        Ok(())
    }

    /// Adds the nodes. `outputs` is f32 `[n, classes]`, the loss f32 `[n]`.
    ///
    /// # Errors
    /// Those of the ops.
    fn add(&self, graph: &mut Graph, outputs: Value, target: Value) -> Result<Value>;
}

/// Cross-entropy of the softmax of the outputs, the loss of classifiers. The network ends in a dense layer of one unit a class, with no
/// softmax after it.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct SoftmaxCrossEntropy {
    /// Share of each label that is spread evenly over all classes, 0 (the default) to 1.
    pub label_smoothing: f32,
}

impl SoftmaxCrossEntropy {
    /// With label smoothing (C. Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", CVPR 2016).
    pub fn smoothed(label_smoothing: f32) -> Self {
        SoftmaxCrossEntropy { label_smoothing }
    }
}

impl Loss for SoftmaxCrossEntropy {
    fn target(&self) -> Target {
        Target::Class
    }

    fn takes_logits(&self) -> bool {
        true
    }

    fn check(&self) -> Result<()> {
        if (0.0..=1.0).contains(&self.label_smoothing) {
            Ok(())
        } else {
            Err(Error::invalid("label smoothing", self.label_smoothing, "0 to 1"))
        }
    }

    fn add(&self, graph: &mut Graph, outputs: Value, target: Value) -> Result<Value> {
        graph.node(softmax_cross_entropy::SoftmaxCrossEntropy { label_smoothing: self.label_smoothing }, &[outputs, target])
    }
}

/// Mean over the classes of the squared differences between outputs and one-hot labels.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct MeanSquaredError;

impl Loss for MeanSquaredError {
    fn target(&self) -> Target {
        Target::OneHot
    }

    fn takes_logits(&self) -> bool {
        false
    }

    fn add(&self, graph: &mut Graph, outputs: Value, target: Value) -> Result<Value> {
        graph.node(mean_squared_error::MeanSquaredError, &[outputs, target])
    }
}
