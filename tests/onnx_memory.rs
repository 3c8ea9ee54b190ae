//! Reading a file of ONNX takes at most twice the file and 16 MiB, whatever is in it: the allocator counts.
#![cfg(feature = "onnx")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // Tests may stop at what they don't expect.
#![allow(unsafe_code)] // An allocator that counts.

#[path = "common/protobuf.rs"]
mod protobuf;

use protobuf::{FLOAT, INT64, join, model, node, number, part, tensor, text, value};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use striate::io::onnx::Onnx;

struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

fn more(bytes: usize) {
    let now = NOW.fetch_add(bytes, Relaxed) + bytes;
    PEAK.fetch_max(now, Relaxed);
}

// SAFETY: all is done by the system's allocator, as it was asked.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        more(layout.size());
        // SAFETY: as the caller holds it.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as the caller holds it.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        more(size);
        NOW.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as the caller holds it.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Reads a file's bytes, and whether that went well.
fn read(what: &str, bytes: Vec<u8>) -> bool {
    let len = bytes.len();
    // The bytes are there already.
    let before = NOW.load(Relaxed) - len;
    PEAK.store(NOW.load(Relaxed), Relaxed);
    let onnx = Onnx::from_bytes(bytes);
    let peak = PEAK.load(Relaxed) - before;
    let bound = 2 * len + (16 << 20);
    println!("{what}: {len} bytes, {peak} at most of {bound} allowed, {:?}", onnx.as_ref().err().map(ToString::to_string));
    assert!(peak <= bound, "{what}: {len} bytes took {peak}");
    onnx.is_ok()
}

const LARGE: usize = 40 << 20;

/// One test, as the allocator counts for all threads.
#[test]
fn reading_takes_twice_the_file() {
    let graph = |parts: &[Vec<u8>]| {
        let least = [value(11, "x", FLOAT, &[1]), node("", "Relu", &["x"], &["y"], &[]), value(12, "y", FLOAT, &[])];
        model(&[&least[..], parts].concat())
    };
    let floats = (LARGE / 4) as i64;
    // What programs write is read.
    assert!(read("raw_data", graph(&[tensor("w", FLOAT, &[floats], &[part(9, &vec![0; LARGE])])])));
    assert!(read("float_data", graph(&[tensor("w", FLOAT, &[floats], &[part(4, &vec![0; LARGE])])])));
    assert!(read("int64_data", graph(&[tensor("w", INT64, &[LARGE as i64], &[part(7, &vec![1; LARGE])])])));
    let layers: Vec<Vec<u8>> = (0..3000)
        .flat_map(|i| {
            let (from, to, w, b) =
                (format!("x{i}"), format!("x{}", i + 1), format!("layers.{i}.weight"), format!("layers.{i}.bias"));
            let from = if i == 0 { "x".to_string() } else { from };
            let weights = [tensor(&w, FLOAT, &[4], &[part(9, &[0; 16])]), tensor(&b, FLOAT, &[4], &[part(9, &[0; 16])])];
            let attributes = ["dilations", "kernel_shape", "pads", "strides"].map(|name| protobuf::ints(name, &[1, 1, 1, 1]));
            let conv = node(&format!("/layers/{i}/Conv"), "Conv", &[&from, &w, &b], &[&to], &attributes);
            [conv].into_iter().chain(weights)
        })
        .collect();
    assert!(read("3,000 convolutions of small weights", graph(&layers)));

    // What nobody writes is read or refused.
    let times = |n: usize, part: Vec<u8>| part.repeat(n);
    for n in [10_000, 15_000, 20_000, 25_000, 30_000, 50_000, 1_000_000] {
        read("empty nodes", graph(&[times(n, part(1, &[]))]));
        read("nodes with an empty attribute", graph(&[times(n, part(1, &part(5, &[])))]));
        read("nodes with an empty name", graph(&[times(n, part(1, &part(1, &[])))]));
        read("empty tensors", graph(&[times(n, part(5, &[]))]));
        read("empty inputs", graph(&[times(n, part(11, &[]))]));
        read("empty outputs", graph(&[times(n, part(12, &[]))]));
        read("empty infos", graph(&[times(n, part(13, &[]))]));
        read("empty attributes of a node", graph(&[part(1, &times(n, part(5, &[])))]));
        read("empty names of a node", graph(&[part(1, &times(n, part(1, &[])))]));
        read("dimensions of a tensor", graph(&[part(5, &times(n, number(1, 1)))]));
        read("packed dimensions of a tensor", graph(&[part(5, &part(1, &vec![1; n]))]));
        read("dimensions of an input", graph(&[value(11, "z", FLOAT, &vec![1; n])]));
        read("strings of a tensor", graph(&[part(5, &times(n, part(6, &[])))]));
        read("entries of a tensor", graph(&[part(5, &times(n, part(13, &[])))]));
        let node_with = |attribute: Vec<u8>| graph(&[part(1, &part(5, &attribute))]);
        read("integers of an attribute", node_with(times(n, number(8, 1))));
        read("packed integers of an attribute", node_with(part(8, &vec![1; n])));
        read("packed numbers of an attribute", node_with(part(7, &vec![0; 4 * n])));
        read("strings of an attribute", node_with(times(n, part(9, &[]))));
        read("tensors of an attribute", node_with(times(n, part(10, &[]))));
        read("graphs of an attribute", node_with(times(n, part(11, &[]))));
        read("types of an attribute", node_with(times(n, part(15, &[]))));
        read("sparse tensors of an attribute", node_with(times(n, part(23, &part(1, &[])))));
        read("sets of ops", [number(1, 8), times(n, part(8, &[]))].concat());
        read("entries of the metadata", [graph(&[]), times(n, part(14, &[]))].concat());
        let named = |i: usize| node("", "Relu", &[&format!("{i:x}")], &[&format!("{:x}", i + 1)], &[]);
        let chain: Vec<u8> = (0..n).flat_map(named).collect();
        read("a chain", graph(&[value(11, "0", FLOAT, &[1]), chain]));
        let weights: Vec<u8> = (0..n).flat_map(|i| tensor(&format!("{i:x}"), FLOAT, &[0], &[])).collect();
        read("tensors of no elements", graph(&[weights]));
        let inputs: Vec<u8> = (0..n).flat_map(|i| value(11, &format!("{i:x}"), FLOAT, &[1])).collect();
        read("inputs", graph(&[inputs]));
        let all: Vec<String> = (0..n).map(|i| format!("{i:x}")).collect();
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        read("outputs of a node", graph(&[node("", "Split", &["x"], &all, &[])]));
        read("one tensor, often", graph(&[node("", "Max", &vec!["x"; n], &["z"], &[])]));
    }
    let long = "name".repeat(LARGE / 4);
    read("a long name of a node", graph(&[node(&long, "Relu", &["x"], &["z"], &[])]));
    read("a long name of an output", graph(&[node("", "Relu", &["x"], &[&long], &[])]));
    read("a long op", graph(&[node("", &long, &["x"], &["z"], &[])]));
    read("a long name of a tensor", graph(&[tensor(&long, FLOAT, &[1], &[part(9, &[0; 4])])]));
    read("a long name of a wrong tensor", graph(&[tensor(&long, FLOAT, &[1], &[])]));
    read("a long name of an input", graph(&[value(11, &long, FLOAT, &[1])]));
    read("a long name of an attribute", graph(&[part(1, &join(&[text(4, "Relu"), part(5, &text(1, &long))]))]));
    read("a long name of a set of ops", [number(1, 8), part(8, &text(1, &long))].concat());
    read("a long name of the program", [graph(&[]), text(2, &long)].concat());
    read("a long entry of the metadata", [graph(&[]), part(14, &join(&[text(1, "striate.card"), text(2, &long)]))].concat());
    assert!(read("a long description", [graph(&[]), text(6, &long)].concat()));
    let mut nested = Vec::new();
    while nested.len() < 1 << 20 {
        nested = part(1, &part(5, &part(6, &nested.repeat(2))));
    }
    read("graphs in graphs", model(&[nested]));
}
