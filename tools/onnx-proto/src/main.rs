//! Writes `src/io/onnx/proto.rs` from `src/io/onnx/onnx.proto`, ONNX's own file (of onnx 1.22). Run it in the repository's root after
//! that file was replaced: `cargo run --manifest-path tools/onnx-proto/Cargo.toml`.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = "src/io/onnx";
    let set = protox::compile(["onnx.proto"], [folder])?;
    let mut config = prost_build::Config::new();
    // Tensors stay slices of the file's bytes.
    config.bytes(["."]).disable_comments(["."]).out_dir(folder);
    config.compile_fds(set)?;
    std::fs::rename(format!("{folder}/onnx.rs"), format!("{folder}/proto.rs"))?;
    Ok(())
}
