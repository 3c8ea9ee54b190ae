//! Convolutional networks on any GPU.

pub use device::{Device, Runtime};
pub use error::{Error, Result};
pub use random::Seed;
pub use tensor::Tensor;

pub mod cpu;
pub mod data;
pub mod device;
pub mod error;
pub mod gpu;
pub mod graph;
pub mod linalg;
pub mod nn;
pub mod op;
pub mod ops;
pub mod random;
pub mod selftest;
pub mod tensor;
pub mod train;
