//! ONNX's own conformance tests of nodes, on the CPU and on a GPU or an adapter that the CPU runs: a fixed set, `tests/onnx/nodes.gz`. All of them:
//! `tests/onnx/nodes.py` fetches them, `STRIATE_ONNX_NODES=FOLDER` runs those in a folder (`onnx/backend/test/data/node` of the wheel) that
//! `tests/onnx/nodes.txt` lists.
#![cfg(feature = "onnx")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // Tests may stop at what they don't expect.

mod common;

use flate2::read::GzDecoder;
use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use striate::io::onnx::{Array, Onnx};
use striate::{Device, Tensor};

/// Files by their names in a case's folder.
type Case = BTreeMap<String, Vec<u8>>;

/// The tensors `input_0.pb`, `input_1.pb`, ... of a case.
fn tensors(case: &Case, kind: &str) -> Result<Vec<Array>, String> {
    let mut all = Vec::new();
    while let Some(bytes) = case.get(&format!("test_data_set_0/{kind}_{}.pb", all.len())) {
        all.push(Array::from_bytes(bytes.clone()).map_err(|e| format!("{kind} {}: {e}", all.len()))?);
    }
    Ok(all)
}

/// The cases in a folder that are wanted.
fn in_folder(folder: &Path, wanted: impl Fn(&str) -> bool) -> BTreeMap<String, Case> {
    let mut cases = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if !wanted(&name) {
            continue;
        }
        let mut case = Case::new();
        for part in ["", "test_data_set_0/"] {
            for entry in std::fs::read_dir(path.join(part)).into_iter().flatten() {
                let file = entry.unwrap().path();
                if file.is_file() {
                    case.insert(format!("{part}{}", file.file_name().unwrap().to_string_lossy()), std::fs::read(&file).unwrap());
                }
            }
        }
        cases.insert(name, case);
    }
    cases
}

/// The fixed set, as `tests/onnx/nodes.py` packs it.
fn packed() -> BTreeMap<String, Case> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/onnx/nodes.gz");
    let mut bytes = Vec::new();
    GzDecoder::new(File::open(path).unwrap()).read_to_end(&mut bytes).unwrap();
    let mut cases: BTreeMap<String, Case> = BTreeMap::new();
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        let mut take = |n: usize| rest.split_off(..n).unwrap();
        let mut len = || u32::from_le_bytes(take(4).try_into().unwrap()) as usize;
        let lens = [len(), len()];
        let name = String::from_utf8(take(lens[0]).to_vec()).unwrap();
        let (case, file) = name.split_once('/').unwrap();
        cases.entry(case.to_string()).or_default().insert(file.to_string(), take(lens[1]).to_vec());
    }
    cases
}

/// How far an element may be off.
#[derive(Clone, Copy)]
enum Tolerance {
    /// ONNX's own: a share of the element.
    OfElement,
    /// A share of the largest element: what sums of many numbers of both signs allow.
    OfLargest,
}

fn compare(name: &str, got: &Array, want: &Array, tolerance: Tolerance) -> Result<(), String> {
    if got.dims() != want.dims() || got.element() != want.element() {
        return Err(format!("{name}: {got:?} instead of {want:?}"));
    }
    let (a, b) = (got.to_floats().unwrap(), want.to_floats().unwrap());
    let largest = b.iter().fold(0.0, |m: f32, v| m.max(v.abs()));
    for (i, (a, b)) in a.iter().zip(&b).enumerate() {
        let is_same = a == b || (a.is_nan() && b.is_nan());
        let allowed = match tolerance {
            Tolerance::OfElement => 1e-7 + 1e-3 * b.abs(),
            Tolerance::OfLargest => 1e-4 * largest,
        };
        if !is_same && !((a - b).abs() <= allowed) {
            return Err(format!("{name}: element {i} is {a} instead of {b}"));
        }
    }
    Ok(())
}

fn run(device: &Device, case: &Case, as_model: bool, tolerance: Tolerance) -> Result<(), String> {
    let onnx = Onnx::from_bytes(case["model.onnx"].clone()).map_err(|e| e.to_string())?;
    let (inputs, want) = (tensors(case, "input")?, tensors(case, "output")?);
    let names: Vec<String> = onnx.inputs().into_iter().map(|input| input.name).collect();
    let inputs: Vec<(&str, Array)> = names.iter().map(String::as_str).zip(inputs).collect();
    let got = if as_model { predicted(&onnx, device, &inputs)? } else { onnx.run(device, &inputs).map_err(|e| e.to_string())? };
    for ((name, got), want) in got.iter().zip(&want) {
        compare(name, got, want, tolerance)?;
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

/// Fails with all that fail.
fn all(cases: &BTreeMap<String, Case>, as_model: bool, tolerance: Tolerance) {
    for device in common::devices("onnx_nodes") {
        let run = |(name, case)| run(&device, case, as_model, tolerance).err().map(|why| format!("{name}: {why}"));
        let failed: Vec<String> = cases.iter().filter_map(run).collect();
        println!("{}: {} of {} passed", device.name(), cases.len() - failed.len(), cases.len());
        assert!(failed.is_empty(), "on {}:\n{}", device.name(), failed.join("\n"));
    }
}

#[test]
fn a_fixed_set() {
    let cases = packed();
    assert!(cases.len() > 250, "{} cases", cases.len());
    all(&cases, false, Tolerance::OfElement);
}

#[test]
fn those_in_a_folder() {
    let Some(folder) = std::env::var_os("STRIATE_ONNX_NODES").map(PathBuf::from) else { return };
    let list = include_str!("onnx/nodes.txt");
    let wanted: HashSet<&str> = list.split_whitespace().collect();
    let cases = in_folder(&folder, |name| wanted.contains(name));
    assert_eq!(cases.len(), wanted.len(), "all of the list are in {}", folder.display());
    all(&cases, false, Tolerance::OfElement);
}

/// Networks in a folder as `tests/onnx/light.py` makes it, as models: those lie in pieces where a device can't bind a matrix as a whole.
#[test]
fn networks_in_a_folder() {
    let Some(folder) = std::env::var_os("STRIATE_ONNX_NETWORKS").map(PathBuf::from) else { return };
    let cases = in_folder(&folder, |_| true);
    assert!(!cases.is_empty(), "{} has cases", folder.display());
    all(&cases, true, Tolerance::OfLargest);
}
