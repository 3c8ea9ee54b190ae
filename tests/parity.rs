//! Does the GPU compute what the f64 CPU computes? Every case of every op, on every variant of its kernels, within the op's own error
//! bound; with guard zones behind all buffers and NaN in unused memory.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // Tests may stop at what they don't expect.

mod common;

use common::{gpu, is_gemm, parity, parity_of_tile};
use std::ops::Range;
use striate::device::{Device, GpuOptions};
use striate::op::MainLoop;
use striate::ops::gemm;

fn variant(what: &str, main_loop: Option<MainLoop>, tile: Option<usize>, checked: bool) -> Option<Device> {
    gpu(&format!("parity from variant {what} on"), GpuOptions { guard: true, main_loop, tile, checked, ..GpuOptions::default() })
}

/// The kernels as they run in production, without the shader compiler's checks, and with them.
#[test]
fn ops_outside_the_gemm_family() {
    for (name, checked) in [("unchecked", false), ("checked", true)] {
        let Some(device) = variant(name, None, None, checked) else { return };
        let share = parity(&device, name, |d| !is_gemm(d));
        // A comparison that finds no difference anywhere would be one of a thing with itself.
        assert!(share > 0.0);
    }
}

#[test]
fn tiled() {
    // Without a tile asked for, products of few rows take another loop.
    let Some(device) = variant("tiled", Some(MainLoop::Tiled), None, false) else { return };
    assert!(parity(&device, "tiled", is_gemm) > 0.0);
    tiles(MainLoop::Tiled, 0..gemm::N_TILES / 2);
}

/// Apart from the others, so that two cores have work.
#[test]
fn tiled_by_the_last_tiles() {
    tiles(MainLoop::Tiled, gemm::N_TILES / 2..gemm::N_TILES);
}

/// Each of these tiles for all products.
fn tiles(main_loop: MainLoop, tiles: Range<usize>) {
    for tile in tiles {
        let name = format!("{main_loop:?}_{tile}").to_lowercase();
        let Some(device) = variant(&name, Some(main_loop), Some(tile), false) else { return };
        assert!(parity_of_tile(&device, &name) > 0.0);
    }
}

#[test]
fn main_loops_without_barriers_and_checked_tiles() {
    let Some(device) = variant("plain", Some(MainLoop::Plain), None, false) else { return };
    assert!(parity(&device, "plain", is_gemm) > 0.0);
    let subgroup_len = device.profile().and_then(|p| p.subgroup_len);
    if let Some(4 | 8) = subgroup_len {
        for (name, checked) in [("subgroup", false), ("subgroup_checked", true)] {
            let Some(device) = variant(name, Some(MainLoop::Subgroup), None, checked) else { return };
            assert!(parity(&device, name, is_gemm) > 0.0);
        }
        tiles(MainLoop::Subgroup, 0..gemm::N_SUBGROUP_TILES);
    } else {
        println!("subgroups of {subgroup_len:?}: the main loop for subgroups of 4 or 8 doesn't run here");
    }
    for (name, main_loop) in [("plain_checked", MainLoop::Plain), ("tiled_checked", MainLoop::Tiled)] {
        let Some(device) = variant(name, Some(main_loop), None, true) else { return };
        assert!(parity(&device, name, is_gemm) > 0.0);
    }
}
