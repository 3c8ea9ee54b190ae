//! Layers, and models made of them.
//!
//! The vocabulary is Keras's. A [`Sequential`], or a [`Net`] where layers branch, takes layers and builds a [`Model`], which predicts,
//! and trains by what [`crate::train`] adds to it.

pub(crate) mod feed;
pub(crate) mod feeder;
mod init;
mod inspect;
mod layer;
mod layers;
pub(crate) mod model;
mod net;
mod network;
pub(crate) mod parameters;
mod predict;
mod sequential;
mod size;
pub(crate) mod summary;
mod weights;

pub use crate::ops::resample2d::Corners;
pub use init::Init;
pub use inspect::{GradientBy, Gradients};
pub use layer::{Layer, LayerContext, Mode, Penalty};
#[cfg(feature = "onnx")]
pub(crate) use layers::product_by_rows;
pub use layers::*;
pub use model::Model;
pub use net::{Net, Outputs, Piece, Shared};
pub use parameters::{Given, Initial};
pub use sequential::Sequential;
pub use size::Size2;
pub use summary::{LayerSummary, Summary, grouped};
pub use weights::Matching;
