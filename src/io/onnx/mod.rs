//! ONNX files (<https://onnx.ai>): networks that other programs wrote, and files of ours that other engines run.

mod array;
mod card;
mod element;
mod export;
mod guard;
mod import;
// Written by `tools/onnx-proto`.
#[allow(clippy::all)]
#[rustfmt::skip]
mod proto;

pub use array::Array;
pub use card::ModelCard;
pub use element::Element;
pub use export::OnnxExport;
pub use import::{Dimension, Input, NodeInfo, Onnx, Unsupported};
