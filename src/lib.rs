//! Convolutional networks on any GPU.

pub mod data;
pub mod error;
pub mod linalg;
pub mod op;
pub mod ops;
pub mod random;
pub mod tensor;
