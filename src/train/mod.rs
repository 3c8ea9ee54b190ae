//! Training: losses, optimizers, and [`Model::fit`](crate::nn::Model::fit) and [`Model::evaluate`](crate::nn::Model::evaluate).

mod clock;
mod diagnose;
mod evaluate;
mod fit;
mod loss;
mod metrics;
mod optimizer;
mod order;
mod profile;
mod progress;
mod run;
mod schedule;
mod step;

pub use crate::graph::Recompute;
pub use fit::{Epoch, Fit, History};
pub use loss::{
    BinaryCrossEntropy, Hinge, Huber, KlDivergence, Loss, LossInputs, MeanAbsoluteError, MeanSquaredError, SoftmaxCrossEntropy,
    SquaredHinge, Target,
};
pub use metrics::{ConfusionMatrix, Metric, Score};
pub use optimizer::{Adadelta, Adagrad, Adam, AdamW, Adamax, Lamb, Lars, Lion, Nadam, Optimizer, Page, RmsProp, Sgd};
pub use profile::{Pass, Peak, Profile, ProfileStep};
pub use progress::Progress;
pub use schedule::{Place, Schedule};
