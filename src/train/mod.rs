//! Training: losses, optimizers, and [`Model::fit`](crate::nn::Model::fit) and [`Model::evaluate`](crate::nn::Model::evaluate).

mod clock;
mod diagnose;
mod evaluate;
mod fit;
mod loss;
mod optimizer;
mod profile;
mod progress;
mod run;
mod schedule;
mod step;

pub use crate::graph::Recompute;
pub use fit::{Epoch, Fit, History, Score};
pub use loss::{Loss, MeanSquaredError, SoftmaxCrossEntropy, Target};
pub use optimizer::{Adadelta, Adam, Optimizer, Page, Sgd};
pub use profile::{Pass, Peak, Profile, ProfileStep};
pub use progress::Progress;
pub use schedule::Schedule;
