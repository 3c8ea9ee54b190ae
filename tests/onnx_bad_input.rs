//! Files of ONNX that somebody broke, by mistake or on purpose: reading one, or what follows, ends with a typed error that names the node or the
//! tensor; never a panic, and never an hour or the machine's memory.
#![cfg(feature = "onnx")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // Tests may stop at what they don't expect.

#[path = "common/protobuf.rs"]
mod protobuf;

use protobuf::{FLOAT, INT64, attribute, int, ints, join, model, node, number, part, tensor, text, value, word};
use std::path::Path;
use std::time::{Duration, Instant};
use striate::io::onnx::{Array, Dimension, Element, Input, Onnx};
use striate::{Device, Error};

/// Holds reading these bytes to fail with a message that has all of these words.
#[track_caller]
fn refused(bytes: Vec<u8>, words: &[&str]) {
    assert_words(Onnx::from_bytes(bytes).map(|_| ()), words);
}

/// Holds a network of these bytes to be refused with a message that has all of these words, wherever that is found out; and everything else that
/// may be asked of it to end soon.
#[track_caller]
fn refused_later(bytes: Vec<u8>, words: &[&str]) {
    let start = Instant::now();
    let onnx = Onnx::from_bytes(bytes).unwrap();
    assert_words(onnx.nets().map(|_| ()), words);
    assert_words(onnx.run(&Device::cpu(), &feeds(&onnx)).map(|_| ()), words);
    assert!(!onnx.unsupported().is_ok_and(|nodes| nodes.is_empty()));
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
}

#[track_caller]
fn assert_words(result: Result<(), Error>, words: &[&str]) {
    let e = result.expect_err(&format!("nothing wrong: {words:?}"));
    assert!(
        matches!(e, Error::Invalid { .. } | Error::Unsupported { .. } | Error::File { .. } | Error::DoesNotFit { .. }),
        "{e:?}"
    );
    let message = e.to_string();
    for word in words {
        assert!(message.contains(word), "no '{word}' in: {message}");
    }
}

/// Zeros for all inputs, 2 where a dimension isn't known.
fn feeds(onnx: &Onnx) -> Vec<(&'static str, Array)> {
    let zeros = |input: Input| {
        let dim = |d: &Dimension| if let Dimension::Known(d) = d { *d } else { 2 };
        let dims: Vec<usize> = input.dims.unwrap_or_default().iter().map(dim).collect();
        (&*input.name.leak(), Array::zeros(input.element, dims).unwrap())
    };
    onnx.inputs().into_iter().map(zeros).collect()
}

/// A graph of one node, which reads `x` of these dimensions, of floats, and these constants, and gives `y`.
fn one_node(op: &str, dims: &[i64], constants: &[Vec<u8>], attributes: &[Vec<u8>]) -> Vec<u8> {
    let names: Vec<String> = (0..constants.len()).map(|i| format!("c{i}")).collect();
    let inputs: Vec<&str> = std::iter::once("x").chain(names.iter().map(String::as_str)).collect();
    let mut graph =
        vec![value(11, "x", FLOAT, dims), node("the_node", op, &inputs, &["y"], attributes), value(12, "y", FLOAT, &[])];
    graph.extend(names.iter().zip(constants).map(|(name, c)| part(5, &join(&[c.clone(), text(8, name)]))));
    model(&graph)
}

/// A vector of 64-bit integers without a name.
fn vector(values: &[i64]) -> Vec<u8> {
    let raw: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    join(&[number(1, values.len() as u64), number(2, INT64), part(9, &raw)])
}

fn identity() -> [Vec<u8>; 3] {
    [value(11, "x", FLOAT, &[1, 2]), node("", "Relu", &["x"], &["y"], &[]), value(12, "y", FLOAT, &[])]
}

/// The graph of `identity` with more parts.
fn with(parts: &[Vec<u8>]) -> Vec<u8> {
    model(&[&identity()[..], parts].concat())
}

#[test]
fn no_files_of_onnx() {
    let folder = std::env::temp_dir().join(format!("striate_onnx_bad_input_{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let read = |name: &str, bytes: &[u8]| {
        std::fs::write(folder.join(name), bytes).unwrap();
        Onnx::read(folder.join(name)).map(|_| ())
    };
    assert_words(read("empty.onnx", &[]), &["empty.onnx", "no graph"]);
    assert_words(read("text.onnx", b"Not a network, but a letter.\n"), &["text.onnx", "want whole messages"]);
    assert_words(read("zeros.onnx", &[0; 100]), &["zeros.onnx"]);
    assert_words(read("png.onnx", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"), &["png.onnx"]);
    assert_words(Onnx::read(&folder).map(|_| ()), &[folder.to_str().unwrap()]);
    assert_words(Onnx::read(folder.join("missing.onnx")).map(|_| ()), &["missing.onnx"]);
    std::fs::remove_dir_all(folder).unwrap();
}

/// Whatever is cut off, there is no panic; and each byte may be any other.
#[test]
fn cut_off_and_changed() {
    let weights = tensor("w", FLOAT, &[3, 2], &[part(4, &[0; 24])]);
    let gemm = node("dense", "Gemm", &["x", "w"], &["y"], &[int("transB", 1)]);
    let whole = model(&[value(11, "x", FLOAT, &[1, 2]), weights, gemm, value(12, "y", FLOAT, &[])]);
    assert!(Onnx::from_bytes(whole.clone()).unwrap().nets().is_ok());
    for len in 0..whole.len() {
        drop(Onnx::from_bytes(whole[..len].to_vec()).map(|onnx| onnx.nets()));
    }
    for at in 0..whole.len() {
        for byte in [0, 1, 0x7f, 0x80, 0xff, whole[at] ^ 1, whole[at] ^ 0x80, whole[at].wrapping_add(8)] {
            let mut changed = whole.clone();
            changed[at] = byte;
            drop(Onnx::from_bytes(changed).map(|onnx| (onnx.unsupported(), onnx.nets())));
        }
    }
}

#[test]
fn broken_messages() {
    // A length and a number that go on for ever, a length beyond the end, and a group.
    refused([&[0x3a][..], &[0xff; 11]].concat(), &["ONNX file"]);
    refused([&[0x08][..], &[0xff; 4]].concat(), &["ONNX file"]);
    refused(vec![0x3a, 0x7f, 0], &["goes on after the end"]);
    refused(vec![0x3b, 0x3c], &["a group"]);
    // A number where there must be a name.
    refused(with(&[part(1, &number(4, 1))]), &["node 1"]);
}

#[test]
fn tensors() {
    let bad = |parts: &[Vec<u8>], dims: &[i64], words: &[&str]| {
        refused(with(&[tensor("the_weights", FLOAT, dims, parts)]), &[&["the_weights"], words].concat());
        // In an attribute the node is named.
        let nameless = join(&[dims.iter().flat_map(|&d| number(1, d as u64)).collect(), number(2, FLOAT), join(parts)]);
        let attribute = attribute("value", &[part(5, &nameless), number(20, 4)]);
        let nodes = [node("the_constant", "Constant", &[], &["k"], &[attribute]), node("sum", "Add", &["x", "k"], &["y"], &[])];
        let graph = [&[value(11, "x", FLOAT, &[1, 2]), value(12, "y", FLOAT, &[])], &nodes[..]].concat();
        refused_later(model(&graph), &[&["the_constant", "value"], words].concat());
    };
    bad(&[part(9, &[0; 7])], &[2], &["7 bytes of raw_data", "8"]);
    bad(&[part(9, &[0; 12])], &[2], &["12 bytes of raw_data"]);
    bad(&[part(4, &[0; 12])], &[2], &["3 numbers in float_data", "2"]);
    bad(&[part(4, &[0; 9])], &[2], &["float_data", "9 bytes"]);
    bad(&[part(4, &[0; 8]), part(9, &[0; 8])], &[2], &["float_data and raw_data"]);
    bad(&[part(7, &[0; 2])], &[2], &["int64_data", "float_data or raw_data"]);
    bad(&[part(6, b"two"), part(6, b"words")], &[2], &["string_data"]);
    bad(&[], &[2], &["none", "2 elements"]);
    bad(&[part(3, &number(1, 0)), part(9, &[0; 8])], &[2], &["segment"]);
    bad(&[], &[-1], &["[-1]"]);
    bad(&[part(9, &[0; 8])], &[i64::MIN, 2], &["dimensions"]);
    bad(&[part(9, &[0; 8])], &[i64::MAX, i64::MAX], &["dimensions"]);
    bad(&[part(9, &[0; 8])], &[0, i64::MAX, i64::MAX], &["dimensions"]);
    bad(&[part(9, &[0; 8])], &[1 << 62], &["dimensions"]);
    bad(&[part(9, &[0; 8])], &[1 << 40, 1 << 40], &["dimensions"]);
    bad(&[part(9, &[0; 4])], &[1; 65], &["dimensions", "65"]);
    for (ty, name) in [(0, "undefined"), (8, "string"), (14, "complex64"), (17, "float8e4m3fn"), (99, "number 99")] {
        refused(with(&[tensor("the_weights", ty, &[1], &[part(9, &[0])])]), &["the_weights", "element type", name]);
    }
    refused(with(&[tensor("the_weights", u64::MAX, &[1], &[part(9, &[0])])]), &["the_weights", "number -1"]);
    // Numbers of any length: too few, cut off, longer than any.
    for (data, word) in [(vec![1], "1 numbers"), (vec![1, 0x80], "whole varints"), (vec![0xff; 20], "whole varints")] {
        refused(with(&[tensor("the_weights", INT64, &[2], &[part(7, &data)])]), &["the_weights", word]);
    }
    refused(with(&[part(5, &join(&[number(1, 1), number(2, FLOAT), part(9, &[0; 4])]))]), &["name", "none"]);
    let one = tensor("twin", FLOAT, &[1], &[part(9, &[0; 4])]);
    refused(with(&[one.clone(), one]), &["twin", "another initializer"]);
    refused(with(&[part(15, &[])]), &["sparse"]);
    let broken = [part(9, &[0; 8]), number(2, FLOAT), number(1, 3)].concat();
    assert_words(Array::from_bytes(broken).map(|_| ()), &["8 bytes of raw_data"]);
    assert_words(Array::from_bytes(vec![0xff]).map(|_| ()), &["tensor"]);
}

#[test]
fn names_and_order() {
    let relu = |name: &str, from: &str, to: &str| node(name, "Relu", &[from], &[to], &[]);
    refused(with(&[relu("lost", "nobody", "z")]), &["lost", "nobody", "nothing gives"]);
    refused(with(&[relu("again", "x", "y")]), &["again", "'y'", "node 'y' gives too"]);
    refused(with(&[relu("back", "y", "x")]), &["back", "'x'", "an input gives too"]);
    refused(with(&[node("both", "Split", &["x"], &["a", "a"], &[])]), &["both", "'a'", "it gives too"]);
    refused(with(&[value(11, "x", FLOAT, &[1])]), &["input 'x'", "twice"]);
    refused(with(&[value(11, "", FLOAT, &[1])]), &["input ''", "name"]);
    refused(with(&[value(12, "z", FLOAT, &[])]), &["graph's output", "'z'"]);
    refused(model(&identity()[..2]), &["outputs", "none"]);
    refused(with(&[relu("own", "own", "own")]), &["own", "cycles"]);
    refused(with(&[relu("first", "b", "a"), relu("second", "a", "b")]), &["cycles", "first"]);
    refused(with(&[value(11, "z", 8, &[1])]), &["input 'z'", "string"]);
    refused(with(&[part(11, &text(1, "z"))]), &["input 'z'", "a tensor"]);
    refused(with(&[value(11, "z", FLOAT, &[-2])]), &["input 'z'", "-2"]);
    refused(number(1, 8), &["no graph"]);
    // Names that aren't text for a screen are escaped.
    refused(with(&[relu("a\u{1b}[2Jb", "nobody", "z")]), &["a\\u{1b}[2Jb"]);
    refused(with(&[part(1, &[part(3, &[0xff, 0xfe]), part(4, b"Relu")].concat())]), &["node 1"]);
}

#[test]
fn attributes() {
    let conv = |attributes: &[Vec<u8>], words: &[&str]| {
        let weights = join(&[number(1, 1), number(1, 1), number(1, 1), number(1, 1), number(2, FLOAT), part(9, &[0; 4])]);
        refused_later(one_node("Conv", &[1, 1, 4, 4], &[weights], attributes), &[&["the_node"], words].concat());
    };
    conv(&[ints("strides", &[1, 1]), ints("strides", &[1, 1])], &["strides", "twice"]);
    conv(&[attribute("strides", &[number(20, 77), number(8, 1)])], &["strides", "77"]);
    conv(&[attribute("strides", &[number(20, 4)])], &["strides", "none"]);
    conv(&[int("strides", 1)], &["strides", "a list of integers"]);
    conv(&[attribute("auto_pad", &[number(20, 3), part(4, &[0xff])])], &["auto_pad", "UTF-8"]);
    conv(&[word("auto_pad", "SOME")], &["auto_pad", "SOME"]);
    conv(&[ints("strides", &[0, 1])], &["stride"]);
    conv(&[ints("strides", &[-1, 1])], &["strides", "-1"]);
    conv(&[ints("strides", &[1])], &["strides", "2 numbers"]);
    conv(&[ints("strides", &[i64::MAX, 1])], &["stride"]);
    conv(&[ints("dilations", &[i64::MAX, 1])], &["dilation"]);
    conv(&[ints("pads", &[i64::MAX, 0, i64::MAX, 0])], &["padding"]);
    conv(&[ints("pads", &[-1, 0, 0, 0])], &["pads", "-1"]);
    conv(&[ints("pads", &[1, 1])], &["pads"]);
    conv(&[ints("kernel_shape", &[2, 2])], &["kernel_shape"]);
    conv(&[int("group", 0)], &["group"]);
    conv(&[int("group", -1)], &["group"]);
}

#[test]
fn depth() {
    // A graph in an attribute of a node of a graph in an attribute ...
    let mut inner = Vec::new();
    for _ in 0..2000 {
        let attribute = part(5, &join(&[text(1, "body"), part(6, &inner)]));
        inner = part(1, &join(&[text(4, "If"), attribute]));
    }
    refused(with(std::slice::from_ref(&inner)), &["deep"]);
    // A chain of nodes isn't deep. What doesn't depend on the input is worked out once, also where each node reads the one before twice.
    let large = tensor("k0", FLOAT, &[1 << 17], &[part(9, &[0; 4 << 17])]);
    let name = |i: usize| format!("k{i}");
    let sum = |i: usize| node("", "Add", &[&name(i), &name(i)], &[&name(i + 1)], &[]);
    let mut graph = vec![value(11, "x", FLOAT, &[1, 1 << 17]), large, value(12, "y", FLOAT, &[])];
    graph.extend((0..200).map(sum));
    graph.push(node("", "Add", &["x", "k200"], &["y"], &[]));
    let onnx = Onnx::from_bytes(model(&graph)).unwrap();
    assert_eq!(onnx.build(&Device::cpu()).unwrap().summary().trainable, 1 << 17);
    let mut graph = vec![value(11, "k0", FLOAT, &[1, 2]), value(12, "k5000", FLOAT, &[])];
    graph.extend((0..5000).map(|i| node("", "Relu", &[&name(i)], &[&name(i + 1)], &[])));
    let onnx = Onnx::from_bytes(model(&graph)).unwrap();
    assert!(onnx.unsupported().unwrap().is_empty() && onnx.nets().is_ok());
}

/// What a few bytes can ask for, by their values or by what is made of them.
#[test]
fn huge_results() {
    let huge = [1i64 << 20, 1 << 30, i64::from(i32::MAX), 1 << 45, i64::MAX / 2, i64::MAX];
    for n in huge {
        for dims in [vec![n, 1 << 12], vec![n, n], vec![n, n, n, n]] {
            let value = |ty: u64| {
                attribute(
                    "value",
                    &[part(5, &join(&[number(1, 1), number(2, ty), part(9, &vec![0; ty as usize / 7 * 4 + 4])])), number(20, 4)],
                )
            };
            for ty in [FLOAT, INT64] {
                let graph = [
                    part(5, &join(&[vector(&dims), text(8, "d")])),
                    node("the_node", "ConstantOfShape", &["d"], &["c"], &[value(ty)]),
                    node("", "Cast", &["c"], &["f"], &[int("to", 1)]),
                    node("", "Add", &["x", "f"], &["y"], &[]),
                    self::value(11, "x", FLOAT, &[1]),
                    self::value(12, "y", FLOAT, &[]),
                ];
                too_large(model(&graph));
            }
            too_large(one_node("Expand", &[1], &[vector(&dims)], &[]));
        }
        too_large(one_node("Tile", &[2, 2], &[vector(&[n, n])], &[]));
        too_large(one_node("Tile", &[2, 2], &[vector(&[n, 1 << 12])], &[]));
        for mode in ["constant", "edge", "reflect", "wrap"] {
            let mode = word("mode", mode);
            too_large(one_node("Pad", &[2, 2], &[vector(&[0, n, 1 << 12, n])], std::slice::from_ref(&mode)));
            too_large(one_node("Pad", &[2, 2], &[vector(&[n, -n, n, n])], &[mode]));
        }
        too_large(one_node("Reshape", &[2, 2], &[vector(&[n, n])], &[]));
        too_large(one_node("Reshape", &[2, 2], &[vector(&[n, -1])], &[]));
        for op in ["DepthToSpace", "SpaceToDepth"] {
            too_large(one_node(op, &[1, 4, 4, 4], &[], &[int("blocksize", n)]));
        }
        too_large(one_node("Split", &[2, 4], &[vector(&[n, n, 4, n])], &[]));
        too_large(one_node("Split", &[2, 4], &[], &[int("num_outputs", n)]));
        too_large(one_node("MaxPool", &[1, 1, 4, 4], &[], &[ints("kernel_shape", &[n, n])]));
        too_large(one_node("AveragePool", &[1, 1, 4, 4], &[], &[ints("kernel_shape", &[1, 1]), ints("pads", &[n, n, n, n])]));
        too_large(one_node("Flatten", &[1, 2], &[], &[int("axis", n)]));
        too_large(one_node("Softmax", &[1, 2], &[], &[int("axis", n)]));
        too_large(one_node("Unsqueeze", &[1, 2], &[vector(&[n])], &[]));
        too_large(one_node("Gather", &[1, 2], &[vector(&[n])], &[]));
        let none = join(&[number(1, 0), number(2, FLOAT)]);
        for mode in ["nearest", "linear", "cubic"] {
            too_large(one_node("Resize", &[1, 2], &[none.clone(), none.clone(), vector(&[1, n])], &[word("mode", mode)]));
        }
    }
    let scales = |values: [f32; 2]| {
        let raw: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        join(&[number(1, 2), number(2, FLOAT), part(9, &raw)])
    };
    for scale in [f32::MIN_POSITIVE, 1e-30, 1e30, f32::INFINITY, f32::NAN, -1.0, 0.0] {
        for antialias in [0, 1] {
            let attributes = [word("mode", "cubic"), int("antialias", antialias)];
            let none = join(&[number(1, 0), number(2, FLOAT)]);
            too_large(one_node("Resize", &[1, 2], &[none, scales([1.0, scale])], &attributes));
        }
    }
    // Dimensions of inputs.
    for dims in [[1 << 30, 1 << 30], [i64::MAX, i64::MAX], [1, i64::MAX]] {
        let onnx = Onnx::from_bytes(one_node("Relu", &dims, &[], &[])).unwrap();
        assert_words(onnx.nets().map(|_| ()), &["'x'"]);
    }
    let axes: Vec<i64> = (0..1000).collect();
    refused_later(one_node("Unsqueeze", &[1, 2], &[vector(&axes)], &[]), &["the_node", "at most 64"]);
}

/// Holds it to end soon, with an error when it is run.
#[track_caller]
fn too_large(bytes: Vec<u8>) {
    let start = Instant::now();
    if let Ok(onnx) = Onnx::from_bytes(bytes) {
        drop((onnx.unsupported(), onnx.nets(), onnx.nodes()));
        assert_words(onnx.run(&Device::cpu(), &feeds(&onnx)).map(|_| ()), &[]);
    }
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

/// Few bytes each, but many: what is worked out at load has an end, and nothing takes the square of their number.
#[test]
fn much_of_it() {
    let start = Instant::now();
    let input = || value(11, "x", FLOAT, &[1, 1 << 16]);
    let k = tensor("k", FLOAT, &[1 << 16], &[part(9, &[0; 4 << 16])]);
    // What could all be worked out, and would take 2 GiB.
    let sums = (0..4000).map(|i| node("", "Max", &["k", "k"], &[&format!("k{i}")], &[]));
    let mut graph: Vec<Vec<u8>> = [input(), k, value(12, "y", FLOAT, &[])].into_iter().chain(sums).collect();
    graph.push(node("", "Add", &["x", "k3999"], &["y"], &[]));
    let onnx = Onnx::from_bytes(model(&graph)).unwrap();
    assert!(onnx.unsupported().unwrap().is_empty() && onnx.nets().is_ok());
    // One name for all nodes, parts of one name, rows of one length.
    let relu = |i: usize| node("same", "Relu", &[&format!("x{i}")], &[&format!("x{}", i + 1)], &[]);
    let mut graph: Vec<Vec<u8>> = (0..10_000).map(relu).collect();
    graph.extend([value(11, "x0", FLOAT, &[1, 2]), value(12, "x10000", FLOAT, &[])]);
    assert!(Onnx::from_bytes(model(&graph)).unwrap().nets().is_ok());
    let outputs: Vec<String> = (0..10_000).map(|i| format!("y{i}")).collect();
    let outputs: Vec<&str> = outputs.iter().map(String::as_str).collect();
    let split = node("parts", "Split", &["x"], &outputs, &[int("axis", 1)]);
    let onnx = Onnx::from_bytes(model(&[value(11, "x", FLOAT, &[1, 10_000]), split, value(12, "y5", FLOAT, &[])])).unwrap();
    assert!(onnx.unsupported().unwrap().is_empty() && onnx.nets().is_ok());
    // A padding of as many turns as an axis may get.
    let pad = one_node("Pad", &[2, 3], &[vector(&[0, 30_000, 0, 30_000])], &[word("mode", "reflect")]);
    let onnx = Onnx::from_bytes(pad).unwrap();
    assert_eq!(onnx.run(&Device::cpu(), &feeds(&onnx)).unwrap()[0].1.dims(), [2, 60_003]);
    assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
}

#[test]
fn odd_arguments() {
    let equation = |text: &str| word("equation", text);
    for bad in
        ["", "->", "ab->", "i", "ijk->i", "ij->k", "ij->ii", "...", "i...j...", "ij,jk", "é", "i1->i", "ij->ij->i", ",", "A"]
    {
        let onnx = Onnx::from_bytes(one_node("Einsum", &[2, 2], &[], &[equation(bad)])).unwrap();
        drop((onnx.unsupported(), onnx.nets(), onnx.run(&Device::cpu(), &feeds(&onnx))));
    }
    refused_later(one_node("Einsum", &[2, 2], &[], &[equation("ijk->i")]), &["the_node", "equation"]);
    refused_later(one_node("Transpose", &[1, 2], &[], &[ints("perm", &[0, 0])]), &["the_node", "each once"]);
    refused_later(one_node("Transpose", &[1, 2], &[], &[ints("perm", &[0])]), &["the_node", "perm"]);
    refused_later(one_node("Slice", &[1, 8], &[vector(&[0]), vector(&[4]), vector(&[1]), vector(&[0])], &[]), &["steps"]);
    refused_later(one_node("Slice", &[1, 8], &[vector(&[0, 0]), vector(&[4]), vector(&[1])], &[]), &["the_node"]);
    refused_later(one_node("Slice", &[1, 8], &[vector(&[0, 0]), vector(&[4, 4]), vector(&[1, 1])], &[]), &["each once"]);
    refused_later(one_node("Pad", &[1, 2], &[vector(&[0, 0, 1])], &[]), &["pads", "3 numbers"]);
    refused_later(one_node("ReduceSum", &[1, 2], &[vector(&[1, 1])], &[]), &["each once"]);
    refused_later(one_node("PRelu", &[1, 1], &[join(&[number(1, 3), number(2, FLOAT), part(9, &[0; 12])])], &[]), &["slope"]);
    refused_later(one_node("Add", &[1, 2], &[join(&[number(1, 3), number(2, FLOAT), part(9, &[0; 12])])], &[]), &["shapes"]);
}

/// Every node that can't be run is listed, with its name, its op, the version of its set, and what would help.
#[test]
fn lists_all_that_is_unsupported() {
    let named = |field: u64, domain: &str| join(&[number(2, field), text(1, domain)]);
    let mut graph = vec![value(11, "x", FLOAT, &[1, 2]), value(12, "f", FLOAT, &[])];
    graph.extend([
        node("decide", "If", &["x"], &["a"], &[]),
        node("", "TopK", &["x"], &["b", "c"], &[]),
        node("fine", "Relu", &["x"], &["d"], &[]),
        node("odd", "Transpose", &["d"], &["e"], &[ints("perm", &[5, 6])]),
        part(1, &join(&[text(1, "x"), text(2, "f"), text(3, "theirs"), text(4, "Fused"), text(7, "com.example")])),
    ]);
    let bytes = [number(1, 8), part(7, &join(&graph)), part(8, &number(2, 18)), part(8, &named(3, "com.example"))].concat();
    let onnx = Onnx::from_bytes(bytes).unwrap();
    let found = onnx.unsupported().unwrap();
    let what: Vec<(&str, &str, i64)> = found.iter().map(|n| (n.node.as_str(), n.op.as_str(), n.opset)).collect();
    assert_eq!(what, [("decide", "If", 18), ("b", "TopK", 18), ("odd", "Transpose", 18), ("theirs", "com.example.Fused", 3)]);
    assert!(found.iter().all(|n| !n.help.is_empty() && !n.why.is_empty()));
    for result in [onnx.nets().map(|_| ()), onnx.net().map(|_| ()), onnx.build(&Device::cpu()).map(|_| ())] {
        assert_words(
            result,
            &["4 of", "If 'decide' (opset 18)", "TopK 'b'", "Transpose 'odd'", "com.example.Fused 'theirs' (opset 3)"],
        );
    }
    assert_words(onnx.run(&Device::cpu(), &feeds(&onnx)).map(|_| ()), &["4 of", "'decide'", "control flow"]);
    assert_eq!(onnx.nodes().unwrap().len(), 5);
}

#[test]
fn what_is_fed() {
    let onnx = Onnx::from_bytes(with(&[])).unwrap();
    let run = |inputs: &[(&str, Array)]| onnx.run(&Device::cpu(), inputs).map(|_| ());
    let x = |element: Element, dims: &[usize]| Array::zeros(element, dims).unwrap();
    run(&[("x", x(Element::Float, &[1, 2]))]).unwrap();
    assert_words(run(&[]), &["input 'x'", "none"]);
    assert_words(run(&[("x", x(Element::Float, &[1, 3]))]), &["input 'x'", "[1, 3]"]);
    assert_words(run(&[("x", x(Element::Float, &[2]))]), &["input 'x'", "[2]"]);
    assert_words(run(&[("x", x(Element::Int64, &[1, 2]))]), &["input 'x'", "int64", "float"]);
    assert_words(run(&[("x", x(Element::Float, &[1, 2])), ("z", x(Element::Float, &[1]))]), &["'z'", "one of x"]);
    assert_words(Array::floats([2], vec![0.0]).map(|_| ()), &["1 elements", "2"]);
    assert_words(Array::zeros(Element::Double, [1 << 40, 1 << 40]).map(|_| ()), &["dimensions"]);
}

#[test]
fn external_data() {
    let folder = std::env::temp_dir().join(format!("striate_onnx_external_{}", std::process::id()));
    let models = folder.join("models");
    std::fs::create_dir_all(models.join("below")).unwrap();
    for place in [models.join("here.bin"), models.join("below/there.bin"), folder.join("secret.bin")] {
        std::fs::write(place, [0u8; 16]).unwrap();
    }
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(folder.join("secret.bin"), models.join("link.bin")).unwrap();
        std::os::unix::fs::symlink(&folder, models.join("up")).unwrap();
    }
    let entry = |key: &str, v: &str| part(13, &join(&[text(1, key), text(2, v)]));
    let read = |fields: &[Vec<u8>]| {
        let data = join(&[number(14, 1), join(fields)]);
        std::fs::write(models.join("model.onnx"), with(&[tensor("the_weights", FLOAT, &[2], &[data])])).unwrap();
        Onnx::read(models.join("model.onnx")).map(|_| ())
    };
    let located = |location: &str| read(&[entry("location", location)]);
    let bad = |result: Result<(), Error>, words: &[&str]| {
        let message = result.as_ref().err().map(ToString::to_string).unwrap_or_default();
        assert!(message.contains("the_weights"), "{message}");
        assert_words(result, words);
    };
    located("here.bin").unwrap();
    located("./below/there.bin").unwrap();
    read(&[entry("location", "here.bin"), entry("offset", "8"), entry("length", "8")]).unwrap();
    let absolute = folder.join("secret.bin");
    let outside = ["../secret.bin", "below/../../secret.bin", absolute.to_str().unwrap(), "", "..\\secret.bin", "C:\\secret.bin"];
    for location in outside {
        bad(located(location), &["location", "a file in the model's folder"]);
    }
    if cfg!(unix) {
        bad(located("link.bin"), &["a file in the model's folder"]);
        bad(located("up/secret.bin"), &["a file in the model's folder"]);
    }
    bad(located("missing.bin"), &["missing.bin"]);
    bad(located("below"), &["below", "not a file"]);
    bad(located("nul\0byte"), &[]);
    bad(read(&[]), &["no location"]);
    let here = || entry("location", "here.bin");
    bad(read(&[here(), entry("offset", "12")]), &["8 bytes from 12 on", "16 bytes"]);
    bad(read(&[here(), entry("offset", "18446744073709551615")]), &["here.bin"]);
    bad(read(&[here(), entry("offset", "-1")]), &["offset", "-1"]);
    bad(read(&[here(), entry("offset", "99999999999999999999")]), &["offset"]);
    bad(read(&[here(), entry("length", "4")]), &["length", "4"]);
    bad(read(&[here(), part(9, &[0; 8])]), &["raw_data and in another file"]);
    let bytes = with(&[tensor("the_weights", FLOAT, &[2], &[number(14, 1), here()])]);
    refused(bytes, &["the_weights", "external data", "read from a file"]);
    gone(&models);
    std::fs::remove_dir_all(folder).unwrap();
}

/// Data that is there when the file is read, and gone when it is needed.
fn gone(folder: &Path) {
    let entry = |key: &str, v: &str| part(13, &join(&[text(1, key), text(2, v)]));
    std::fs::write(folder.join("soon.bin"), [0u8; 8]).unwrap();
    let weights = tensor("w", FLOAT, &[2], &[number(14, 1), entry("location", "soon.bin")]);
    let graph =
        [value(11, "x", FLOAT, &[1, 2]), weights, node("sum", "Add", &["x", "w"], &["y"], &[]), value(12, "y", FLOAT, &[])];
    std::fs::write(folder.join("soon.onnx"), model(&graph)).unwrap();
    let onnx = Onnx::read(folder.join("soon.onnx")).unwrap();
    std::fs::remove_file(folder.join("soon.bin")).unwrap();
    assert_words(onnx.run(&Device::cpu(), &feeds(&onnx)).map(|_| ()), &["soon.bin"]);
    assert_words(onnx.build(&Device::cpu()).map(|_| ()), &["soon.bin"]);
}
