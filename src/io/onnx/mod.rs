//! ONNX files (<https://onnx.ai>): networks that other programs wrote, and files of ours that other engines run.

// Written by `tools/onnx-proto`.
#[allow(clippy::all)]
#[rustfmt::skip]
mod proto;

mod export;

pub use export::OnnxExport;
