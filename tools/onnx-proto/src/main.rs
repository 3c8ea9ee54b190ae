//! Writes `src/io/onnx/proto.rs` from `src/io/onnx/onnx.proto`, ONNX's own file (of onnx 1.22). Run it in the repository's root after
//! that file was replaced: `cargo run --manifest-path tools/onnx-proto/Cargo.toml`.

use prost_types::field_descriptor_proto::{Label, Type};
use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = "src/io/onnx";
    let mut set = protox::compile(["onnx.proto"], [folder])?;
    // Packed numbers are bytes on the wire. As such they stay slices of the file, and one byte of a varint doesn't become eight.
    let tensor = set.file.iter_mut().flat_map(|file| &mut file.message_type).find(|m| m.name() == "TensorProto");
    let tensor = tensor.ok_or("no TensorProto")?;
    for field in tensor.field.iter_mut().filter(|f| f.options.as_ref().is_some_and(|options| options.packed())) {
        field.set_type(Type::Bytes);
        field.set_label(Label::Optional);
        field.options = None;
    }
    let mut config = prost_build::Config::new();
    // Tensors stay slices of the file's bytes.
    config.bytes(["."]).disable_comments(["."]).out_dir(folder);
    // What few attributes have takes no place in the others.
    for field in ["t", "g", "tp", "sparse_tensor"] {
        config.boxed(format!(".onnx.AttributeProto.{field}"));
    }
    config.compile_fds(set)?;
    std::fs::rename(format!("{folder}/onnx.rs"), format!("{folder}/proto.rs"))?;
    Ok(())
}
