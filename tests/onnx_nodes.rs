//! ONNX's own conformance tests of nodes, on the CPU and, where there is one, on a GPU or an adapter that the CPU runs. `tests/onnx/nodes.py`
//! fetches them; `STRIATE_ONNX_NODES=FOLDER` runs all that lie in a folder (`onnx/backend/test/data/node` of the wheel).
#![cfg(feature = "onnx")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // Tests may stop at what they don't expect.

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use striate::Device;
use striate::io::onnx::{Array, Onnx};

/// The tensors `input_0.pb`, `input_1.pb`, ... of a case.
fn tensors(folder: &Path, kind: &str) -> Result<Vec<Array>, String> {
    let mut all = Vec::new();
    while let Ok(bytes) = std::fs::read(folder.join(format!("{kind}_{}.pb", all.len()))) {
        all.push(Array::from_bytes(bytes).map_err(|e| format!("{kind} {}: {e}", all.len()))?);
    }
    Ok(all)
}

/// Whether all elements are equal by ONNX's tolerance.
fn compare(name: &str, got: &Array, want: &Array) -> Result<(), String> {
    if got.dims() != want.dims() || got.element() != want.element() {
        return Err(format!("{name}: {got:?} instead of {want:?}"));
    }
    let (a, b) = (got.to_floats().unwrap(), want.to_floats().unwrap());
    for (i, (a, b)) in a.iter().zip(&b).enumerate() {
        let is_same = a == b || (a.is_nan() && b.is_nan());
        if !is_same && !((a - b).abs() <= 1e-7 + 1e-3 * b.abs()) {
            return Err(format!("{name}: element {i} is {a} instead of {b}"));
        }
    }
    Ok(())
}

fn run(device: &Device, case: &Path) -> Result<(), String> {
    let onnx = Onnx::read(case.join("model.onnx")).map_err(|e| e.to_string())?;
    let folder = case.join("test_data_set_0");
    let (inputs, want) = (tensors(&folder, "input")?, tensors(&folder, "output")?);
    let names: Vec<String> = onnx.inputs().into_iter().map(|input| input.name).collect();
    let inputs: Vec<(&str, Array)> = names.iter().map(String::as_str).zip(inputs).collect();
    let got = onnx.run(device, &inputs).map_err(|e| e.to_string())?;
    for ((name, got), want) in got.iter().zip(&want) {
        compare(name, got, want)?;
    }
    Ok(())
}

#[test]
fn all_in_a_folder() {
    let Some(folder) = std::env::var_os("STRIATE_ONNX_NODES").map(PathBuf::from) else { return };
    let only = std::env::var("STRIATE_ONNX_ONLY").unwrap_or_default();
    let mut cases: Vec<PathBuf> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    for device in common::devices("onnx_nodes") {
        let mut failed = BTreeMap::new();
        let mut passed = 0;
        for case in &cases {
            let name = case.file_name().unwrap().to_string_lossy().into_owned();
            if !only.split(',').any(|part| name.contains(part)) {
                continue;
            }
            match run(&device, case) {
                Ok(()) => passed += 1,
                Err(e) => drop(failed.insert(name, e)),
            }
        }
        println!("{}: {passed} passed, {} failed", device.name(), failed.len());
        for (name, why) in failed {
            println!("{name}: {}", why.replace('\n', " | "));
        }
    }
}
