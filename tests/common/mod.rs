//! What the tests of `tests/` share.

use striate::device::{Device, GpuOptions};

/// The devices to test on: the CPU backend, and a GPU, with guard zones, at its own limits.
///
/// Without any GPU this fails, unless `STRIATE_ALLOW_NO_GPU=1` says that the machine has none; then it prints what is left out.
pub fn devices(test: &str) -> Vec<Device> {
    let mut devices = vec![Device::cpu()];
    match Device::gpu_with("gpu", GpuOptions { guard: true, ..GpuOptions::from_env() }) {
        Ok(gpu) => devices.push(gpu),
        Err(e) if std::env::var("STRIATE_ALLOW_NO_GPU").is_ok_and(|v| v == "1") => {
            println!("{test}: the GPU half is left out: {e}");
        }
        Err(e) => panic!("{test} needs a GPU, a software one will do; STRIATE_ALLOW_NO_GPU=1 leaves that half out: {e}"),
    }
    devices
}
