//! Layers, and models made of them.
//!
//! The vocabulary is Keras's. A [`Sequential`], or a [`Net`] where layers branch, takes layers and builds a [`Model`], which predicts,
//! and trains by what [`crate::train`] adds to it.

pub(crate) mod feed;
mod init;
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

pub use crate::ops::resample2d::Corners;
pub use init::Init;
pub use layer::{Layer, LayerContext, Mode};
pub use layers::{
    AdaptiveAvgPool2d, Add, AvgPool2d, BatchNorm, ChannelShuffle, Clip, Concat, Conv1d, Conv2d, ConvTranspose2d, Crop2d, Dense,
    DepthwiseConv2d, Dropout, Embedding, Flatten, GlobalAvgPool2d, GlobalMaxPool2d, LpPool2d, MaxPool2d, Pad, Permute, Relu,
    Relu6, Reshape, Resize2d, SeparableConv2d, Sigmoid, Slice, Softmax, Softplus, SpatialDropout, Tanh, Upsample2d,
};
pub use model::Model;
pub use net::Net;
pub use sequential::Sequential;
pub use size::Size2;
pub use summary::{LayerSummary, Summary};
