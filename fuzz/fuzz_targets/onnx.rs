//! Whatever bytes a file of ONNX has, reading it and what follows ends with a result or a typed error. `cargo fuzz run onnx`, on a stable toolchain
//! `RUSTC_BOOTSTRAP=1 cargo fuzz run --sanitizer none onnx`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use striate::Device;
use striate::io::onnx::{Array, Dimension, Onnx};

/// Most elements of a tensor, so that running a graph takes no time.
const MOST: usize = 1 << 12;

/// Zeros for each input, 2 where a dimension isn't known.
fn zeros(onnx: &Onnx) -> Option<Vec<(String, Array)>> {
    let mut all = Vec::new();
    for input in onnx.inputs() {
        let dims = input.dims.unwrap_or_default();
        let dims: Vec<usize> = dims.iter().map(|d| if let Dimension::Known(d) = d { *d } else { 2 }).collect();
        let n = dims.iter().try_fold(1usize, |n, &d| n.checked_mul(d).filter(|&n| n <= MOST))?;
        all.push((input.name, Array::zeros(input.element, dims).ok().filter(|a| a.len() == n)?));
    }
    Some(all)
}

fuzz_target!(|bytes: &[u8]| {
    let Ok(onnx) = Onnx::from_bytes(bytes.to_vec()) else { return };
    drop((onnx.unsupported(), onnx.nets(), onnx.clone().channels_last(true).nets()));
    let small = |nodes: Vec<striate::io::onnx::NodeInfo>| {
        nodes.iter().all(|node| node.output.as_ref().is_some_and(|(_, dims)| dims.iter().product::<usize>() <= MOST))
    };
    if !onnx.nodes().is_ok_and(small) {
        return;
    }
    if let Some(inputs) = zeros(&onnx) {
        let inputs: Vec<(&str, Array)> = inputs.iter().map(|(name, array)| (name.as_str(), array.clone())).collect();
        drop(onnx.run(&Device::cpu(), &inputs));
    }
});
