//! Weights in files: [`Model::save`](crate::nn::Model::save), [`Model::load`](crate::nn::Model::load), and state dicts of PyTorch.

mod pytorch;
mod safetensors;

pub use self::safetensors::{read_tensors, write_tensors};
