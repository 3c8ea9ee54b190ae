//! ONNX's own conformance tests of nodes, on the CPU and, where there is one, on a GPU or an adapter that the CPU runs. `tests/onnx/nodes.py`
//! fetches them; `STRIATE_ONNX_NODES=FOLDER` runs all that lie in a folder (`onnx/backend/test/data/node` of the wheel).
#![cfg(feature = "onnx")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // Tests may stop at what they don't expect.

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use striate::io::onnx::{Array, Onnx};
use striate::{Device, Tensor};

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

fn run(device: &Device, case: &Path, as_model: bool) -> Result<(), String> {
    let onnx = Onnx::read(case.join("model.onnx")).map_err(|e| e.to_string())?;
    let folder = case.join("test_data_set_0");
    let (inputs, want) = (tensors(&folder, "input")?, tensors(&folder, "output")?);
    let names: Vec<String> = onnx.inputs().into_iter().map(|input| input.name).collect();
    let inputs: Vec<(&str, Array)> = names.iter().map(String::as_str).zip(inputs).collect();
    let got = if as_model { predicted(&onnx, device, &inputs)? } else { onnx.run(device, &inputs).map_err(|e| e.to_string())? };
    for ((name, got), want) in got.iter().zip(&want) {
        compare(name, got, want)?;
    }
    Ok(())
}

/// The outputs of the model that the file becomes.
fn predicted(onnx: &Onnx, device: &Device, inputs: &[(&str, Array)]) -> Result<Vec<(String, Array)>, String> {
    let mut model = onnx.build(device).map_err(|e| e.to_string())?;
    let tensors = inputs.iter().map(|(_, x)| Tensor::f32(x.dims(), x.to_floats().unwrap()).unwrap()).collect::<Vec<_>>();
    let names: Vec<String> = model.inputs().iter().map(|(name, _)| name.to_string()).collect();
    let feeds: Vec<(&str, &Tensor)> = names.iter().map(String::as_str).zip(&tensors).collect();
    let made = model.predict_all(&feeds).map_err(|e| e.to_string())?;
    let array = |t: &Tensor| Array::floats(t.shape().dims(), t.as_f32().unwrap().to_vec()).unwrap();
    Ok(made.iter().map(|(name, t)| (name.clone(), array(t))).collect())
}

/// Networks in a folder as `tests/onnx/light.py` makes it, as graphs and as models.
#[test]
fn networks_in_a_folder() {
    let Some(folder) = std::env::var_os("STRIATE_ONNX_NETWORKS").map(PathBuf::from) else { return };
    for device in common::devices("onnx_networks") {
        for as_model in [false, true] {
            let failed = all(&device, &folder, as_model);
            assert!(failed.is_empty(), "{failed:?}");
        }
    }
}

#[test]
fn all_in_a_folder() {
    let Some(folder) = std::env::var_os("STRIATE_ONNX_NODES").map(PathBuf::from) else { return };
    for device in common::devices("onnx_nodes") {
        for (name, why) in all(&device, &folder, false) {
            println!("{name}: {}", why.replace('\n', " | "));
        }
    }
}

/// Those of a folder's cases that fail, and why.
fn all(device: &Device, folder: &Path, as_model: bool) -> BTreeMap<String, String> {
    let mut cases: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    let (mut failed, mut passed) = (BTreeMap::new(), 0);
    for case in cases.iter().filter(|case| case.join("model.onnx").exists()) {
        match run(device, case, as_model) {
            Ok(()) => passed += 1,
            Err(e) => drop(failed.insert(case.file_name().unwrap().to_string_lossy().into_owned(), e)),
        }
    }
    println!("{}: {passed} passed, {} failed", device.name(), failed.len());
    failed
}
