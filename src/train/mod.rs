//! Training: losses, optimizers, and [`Model::fit`](crate::nn::Model::fit) and [`Model::evaluate`](crate::nn::Model::evaluate).

mod augment;
mod callback;
mod checkpoint;
mod clock;
mod diagnose;
mod evaluate;
mod events;
mod exact;
mod fit;
mod logs;
mod loss;
mod metrics;
mod monitor;
mod optimizer;
mod order;
mod profile;
mod progress;
mod rate_finder;
mod repeat;
mod run;
mod saved;
mod schedule;
mod state;
mod step;
#[cfg(feature = "tensorboard")]
mod tensorboard;

pub use crate::graph::Recompute;
pub use crate::ops::augment::Border;
pub use augment::Augmentation;
pub use callback::{Callback, CallbackState, Context};
pub use checkpoint::{Checkpoints, Resume};
pub use fit::{Epoch, Fit, History, Validation};
pub use logs::{CsvLog, JsonLog};
pub use loss::{
    BinaryCrossEntropy, Hinge, Huber, KlDivergence, Loss, LossInputs, MeanAbsoluteError, MeanSquaredError, SoftmaxCrossEntropy,
    SquaredHinge, Target,
};
pub use metrics::{ConfusionMatrix, Metric, Score};
pub use monitor::{Best, EarlyStopping, Monitor};
pub use optimizer::{Adadelta, Adagrad, Adam, AdamW, Adamax, Lamb, Lars, Lion, Nadam, Optimizer, Page, RmsProp, Sgd};
pub use profile::{Pass, Peak, Profile, ProfileStep};
pub use progress::Progress;
pub use rate_finder::RateCurve;
pub use repeat::{Runs, Statistic, repeat};
pub use saved::{Checkpoint, read_checkpoint};
pub use schedule::{Place, Schedule};
#[cfg(feature = "tensorboard")]
pub use tensorboard::TensorBoard;
