//! Do the kernels reach every backend? Each distinct kernel is validated by naga and translated to SPIR-V, MSL and HLSL with the
//! options that wgpu has for these; `spirv-val`, where it is installed, checks the SPIR-V.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // Tests may stop at what they don't expect.

mod common;

use common::recorded;
use naga::back::{hlsl, msl, spv};
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use std::collections::{HashMap, HashSet};
use std::process::Command;
use striate::gpu::compose;
use striate::op::Kernel;

/// A kernel, parsed and validated.
struct Valid {
    /// The first case that runs it.
    id: String,
    kernel: Kernel,
    module: naga::Module,
    info: ModuleInfo,
}

/// Every distinct kernel of all ops and variants.
fn kernels() -> Vec<Valid> {
    let mut seen = HashSet::new();
    let mut all = Vec::new();
    for r in recorded() {
        for d in r.dispatches {
            if !seen.insert(d.kernel.clone()) {
                continue;
            }
            let id = format!("{}: {}", r.id, d.kernel.name);
            let wgsl = compose(&d.kernel).unwrap_or_else(|e| panic!("{id}: {e}"));
            let module = naga::front::wgsl::parse_str(&wgsl).unwrap_or_else(|e| panic!("{id}: {}", e.emit_to_string(&wgsl)));
            // Only what a device needs to have beyond the defaults is allowed, and only where the kernel says so.
            let capabilities = if d.kernel.subgroups { Capabilities::SUBGROUP } else { Capabilities::empty() };
            let info = Validator::new(ValidationFlags::all(), capabilities)
                .subgroup_stages(naga::valid::ShaderStages::COMPUTE)
                .subgroup_operations(naga::valid::SubgroupOperationSet::all())
                .validate(&module)
                .unwrap_or_else(|e| panic!("{id}: {}", e.emit_to_string(&wgsl)));
            all.push(Valid { id, kernel: d.kernel, module, info });
        }
    }
    println!("{} kernels, of which {} use subgroups", all.len(), all.iter().filter(|v| v.kernel.subgroups).count());
    all
}

fn spirv(v: &Valid, lang_version: (u8, u8)) -> Vec<u32> {
    let options = spv::Options { lang_version, ..spv::Options::default() };
    let pipeline = spv::PipelineOptions { shader_stage: naga::ShaderStage::Compute, entry_point: "main".to_string() };
    spv::write_vec(&v.module, &v.info, &options, Some(&pipeline)).unwrap_or_else(|e| panic!("{}, SPIR-V: {e}", v.id))
}

#[test]
fn spirv_is_valid() {
    // Vulkan 1.0 takes SPIR-V 1.0; subgroups came with 1.1, which takes 1.3.
    let mut batches: HashMap<&str, Vec<(String, Vec<u32>)>> = HashMap::new();
    for v in kernels() {
        if !v.kernel.subgroups {
            batches.entry("vulkan1.0").or_default().push((v.id.clone(), spirv(&v, (1, 0))));
        }
        batches.entry("vulkan1.1").or_default().push((v.id.clone(), spirv(&v, (1, 3))));
    }
    if Command::new("spirv-val").arg("--version").output().is_err() {
        println!("spirv-val isn't installed: left out");
        return;
    }
    let folder = std::env::temp_dir().join(format!("striate-spirv-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let mut wrong = Vec::new();
    for (target, batch) in &batches {
        for (i, (id, words)) in batch.iter().enumerate() {
            let file = folder.join(format!("{target}-{i}.spv"));
            std::fs::write(&file, words.iter().flat_map(|w| w.to_le_bytes()).collect::<Vec<u8>>()).unwrap();
            let out = Command::new("spirv-val").args(["--target-env", target]).arg(&file).output().unwrap();
            if !out.status.success() {
                wrong.push(format!("{id} for {target}: {}", String::from_utf8_lossy(&out.stderr)));
            }
        }
    }
    std::fs::remove_dir_all(&folder).unwrap();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn all_translate_to_msl() {
    for v in kernels() {
        // Subgroup operations need Metal 2.1; macOS 10.14 and iOS 12 have that.
        let options = msl::Options { lang_version: (2, 1), ..msl::Options::default() };
        let pipeline = msl::PipelineOptions::default();
        let (text, info) =
            msl::write_string(&v.module, &v.info, &options, &pipeline).unwrap_or_else(|e| panic!("{}, MSL: {e}", v.id));
        for name in info.entry_point_names {
            let name = name.unwrap_or_else(|e| panic!("{}, MSL: {e}", v.id));
            assert!(text.contains(&format!("kernel void {name}")), "{}", v.id);
        }
    }
}

#[test]
fn all_translate_to_hlsl() {
    for v in kernels() {
        // FXC, which every Windows has, knows shader model 5.1; wave operations need 6.0 and DXC.
        let shader_model = if v.kernel.subgroups { hlsl::ShaderModel::V6_0 } else { hlsl::ShaderModel::V5_1 };
        let options = hlsl::Options { shader_model, ..hlsl::Options::default() };
        let pipeline = hlsl::PipelineOptions::default();
        let mut text = String::new();
        let info = hlsl::Writer::new(&mut text, &options, &pipeline)
            .write(&v.module, &v.info, None)
            .unwrap_or_else(|e| panic!("{}, HLSL: {e}", v.id));
        for name in info.entry_point_names {
            let name = name.unwrap_or_else(|e| panic!("{}, HLSL: {e}", v.id));
            assert!(text.contains(&format!("void {name}(")), "{}", v.id);
        }
    }
}
