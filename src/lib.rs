//! Convolutional networks on any GPU.

pub mod cpu;
pub mod data;
pub mod device;
pub mod error;
pub mod gpu;
pub mod graph;
pub mod linalg;
pub mod op;
pub mod ops;
pub mod random;
pub mod tensor;
