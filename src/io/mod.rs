//! Weights in files: [`Model::save`](crate::nn::Model::save), [`Model::load`](crate::nn::Model::load), and state dicts of PyTorch. Networks
//! in files: ONNX.

#[cfg(feature = "onnx")]
pub mod onnx;
mod pytorch;
pub(crate) mod safetensors;

#[cfg(feature = "onnx")]
pub use self::onnx::{ModelCard, OnnxExport};
pub use self::safetensors::{read_tensors, write_tensors};
