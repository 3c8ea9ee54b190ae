//! Does everything run on a device that has no more than WebGPU's default limits?
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // Tests may stop at what they don't expect.

mod common;

use common::{gpu, is_gemm, parity};
use striate::device::GpuOptions;
use striate::op::{DeviceProfile, MainLoop};

#[test]
fn all_ops_at_the_default_limits() {
    let options = GpuOptions { guard: true, default_limits: true, ..GpuOptions::default() };
    let Some(device) = gpu("the default limits", options.clone()) else { return };
    let profile = device.profile().expect("a GPU has a profile").clone();
    // The limits of the WebGPU standard, section 3.6.2; main loop and subgroups are the adapter's own.
    let limits = DeviceProfile { main_loop: profile.main_loop, subgroup_len: profile.subgroup_len, ..DeviceProfile::baseline() };
    assert_eq!(profile, limits);
    assert_eq!((profile.max_binding_bytes, profile.max_buffer_bytes), (128 << 20, 256 << 20));
    assert_eq!((profile.max_workgroups, profile.storage_alignment, profile.uniform_alignment), (65_535, 256, 256));
    parity(&device, "default_limits", |_| true);
    if profile.main_loop != MainLoop::Tiled {
        let options = GpuOptions { main_loop: Some(MainLoop::Tiled), ..options };
        let Some(device) = gpu("the default limits", options) else { return };
        parity(&device, "default_limits_tiled", is_gemm);
    }
}

/// Long grids wrap to rows; with few workgroups a row all grids do, also those that need millions of elements to do it elsewhere.
#[test]
fn all_ops_in_grids_of_short_rows() {
    for main_loop in [None, Some(MainLoop::Tiled)] {
        let options = GpuOptions { guard: true, max_workgroups: Some(3), main_loop, ..GpuOptions::default() };
        let Some(device) = gpu("grids of short rows", options) else { return };
        assert_eq!(device.profile().map(|p| p.max_workgroups), Some(3));
        parity(&device, "short_rows", |d| main_loop.is_none() || is_gemm(d));
    }
}
