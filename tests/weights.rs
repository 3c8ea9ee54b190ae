//! Weights in files: written and read, in part, from PyTorch, and files that are no such thing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // Tests may stop at what they don't expect.

use std::path::PathBuf;
use striate::io::{read_tensors, write_tensors};
use striate::nn::{BatchNorm, Conv2d, ConvTranspose2d, GroupNorm, Model, Net};
use striate::op::sample;
use striate::tensor::Padding;
use striate::{Device, Error, Seed, Tensor, zoo};

/// A folder of its own for each test.
fn folder(test: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("striate-weights-{test}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

fn net(classes: usize) -> Net {
    let x = Net::input([6, 5, 3]).conv2d(4, 3).batch_norm().relu();
    x.within("head").flatten().dropout(0.5).dense(classes).named("fc")
}

fn build(net: &Net, seed: u64) -> Model {
    net.build(&Device::cpu(), Seed(seed)).unwrap()
}

#[test]
fn saved_weights_come_back() {
    let folder = folder("saved");
    let path = folder.join("model.safetensors");
    let mut model = build(&net(5), 1);
    model.save(&path).unwrap();
    let names: Vec<String> = read_tensors(&path).unwrap().into_iter().map(|(name, _)| name).collect();
    let norm = ["beta", "gamma", "running_mean", "running_variance"].map(|part| format!("batch_norm.{part}"));
    let rest = ["conv2d.bias", "conv2d.weight", "head.fc.bias", "head.fc.weight"].map(String::from);
    assert_eq!(names, [&norm[..], &rest[..]].concat());
    let mut other = build(&net(5), 2);
    assert_ne!(other.weights().unwrap(), model.weights().unwrap());
    other.load(&path).unwrap();
    assert_eq!(other.weights().unwrap(), model.weights().unwrap());
    // Nothing but the file is left behind, and it is replaced as a whole.
    other.save(&path).unwrap();
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);

    let mut wider = build(&net(7), 3);
    let before = wider.weights().unwrap();
    let refused = wider.load(&path).unwrap_err().to_string();
    assert!(refused.contains("got 6 set; 2 of another shape: head.fc/weight (got [48, 5], want [48, 7])"), "{refused}");
    assert_eq!(wider.weights().unwrap(), before);
    let report = wider.load_matching(&path).unwrap();
    assert_eq!((report.matched.len(), report.wrong_shape.len()), (6, 2));
    assert_eq!(report.wrong_shape[1].0, "head.fc/bias");
    write_tensors(&path, &[("conv2d.bias".to_string(), sample::normal(1, [4])), ("x".to_string(), sample::normal(1, [1]))])
        .unwrap();
    let report = wider.load_matching(&path).unwrap();
    assert_eq!(
        (report.matched, report.unexpected, report.missing.len()),
        (vec!["conv2d/bias".to_string()], vec!["x".to_string()], 7)
    );
    write_tensors(&path, &[("conv2d.bias".to_string(), Tensor::u32([4], vec![1; 4]).unwrap())]).unwrap();
    assert_eq!(wider.load_matching(&path).unwrap_err().to_string(), "conv2d/bias: tensor type: got u32, want f32");
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn tensors_of_all_types() {
    let folder = folder("types");
    let path = folder.join("tensors.safetensors");
    let tensors = vec![
        ("a".to_string(), Tensor::f32([2], vec![f32::NAN, -0.0]).unwrap()),
        ("b".to_string(), Tensor::u32([1, 2], vec![7, u32::MAX]).unwrap()),
        ("c".to_string(), Tensor::u8([3], vec![1, 2, 255]).unwrap()),
        ("d".to_string(), Tensor::f32([0], vec![]).unwrap()),
        ("e".to_string(), Tensor::f32([], vec![1.5]).unwrap()),
    ];
    write_tensors(&path, &tensors).unwrap();
    let read = read_tensors(&path).unwrap();
    assert_eq!(format!("{read:?}"), format!("{tensors:?}"));
    assert!(write_tensors(&path, &[tensors[0].clone(), tensors[0].clone()]).unwrap_err().to_string().contains("'a' twice"));
    // 1.5 in 16 and 64 bits, and a counter, which is left out.
    let header = br#"{"h":{"dtype":"F16","shape":[1],"data_offsets":[0,2]},"b":{"dtype":"BF16","shape":[1],"data_offsets":[2,4]},"n":{"dtype":"I32","shape":[1],"data_offsets":[4,8]},"d":{"dtype":"F64","shape":[1],"data_offsets":[8,16]}}"#;
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend_from_slice(header);
    file.extend([0x00, 0x3e, 0xc0, 0x3f, 1, 0, 0, 0]);
    file.extend(1.5f64.to_le_bytes());
    std::fs::write(&path, file).unwrap();
    let read = read_tensors(&path).unwrap();
    assert_eq!(
        read.iter().map(|(name, t)| (name.as_str(), t.as_f32().unwrap()[0])).collect::<Vec<_>>(),
        [("b", 1.5), ("d", 1.5), ("h", 1.5)]
    );
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn broken_files_are_refused() {
    let folder = folder("broken");
    let path = folder.join("broken.safetensors");
    let mut model = build(&net(5), 1);
    model.save(&path).unwrap();
    let good = std::fs::read(&path).unwrap();
    let header = |text: &str| [&(text.len() as u64).to_le_bytes()[..], text.as_bytes(), &[0; 8]].concat();
    let one = |dtype: &str, shape: &str, offsets: &str| {
        header(&format!(r#"{{"a":{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}}}}}"#))
    };
    let mut cases = vec![
        Vec::new(),
        vec![1, 2, 3],
        u64::MAX.to_le_bytes().to_vec(),
        (1u64 << 40).to_le_bytes().to_vec(),
        [&good[..], &[0]].concat(),
        header("{"),
        header("[]"),
        header(&"[".repeat(100_000)),
        one("F32", "[3]", "[0,8]"),
        one("F32", "[2]", "[8,0]"),
        one("F32", "[2]", "[0,18446744073709551615]"),
        one("F32", "[4294967296,4294967296,4]", "[0,8]"),
        one("F32", "[-1]", "[0,8]"),
        one("F33", "[2]", "[0,8]"),
        one("F32", "[2]", "[4,12]"),
    ];
    for at in [1, 7, 8, 9, 100, good.len() / 2, good.len() - 1] {
        cases.push(good[..at].to_vec());
    }
    let before = model.weights().unwrap();
    for (i, bytes) in cases.into_iter().enumerate() {
        std::fs::write(&path, bytes).unwrap();
        let refused = model.load(&path).unwrap_err();
        assert!(matches!(refused, Error::File { .. }), "case {i}: {refused}");
    }
    assert!(matches!(model.load(folder.join("none")).unwrap_err(), Error::File { .. }));
    assert!(matches!(model.save(folder.join("none").join("deep")).unwrap_err(), Error::File { .. }));
    assert_eq!(model.weights().unwrap(), before);
    // Any byte changed is refused or gives other numbers, but never a panic.
    for at in 0..good.len().min(600) {
        let mut bytes = good.clone();
        bytes[at] ^= 0x55;
        std::fs::write(&path, bytes).unwrap();
        let _ = read_tensors(&path);
    }
    std::fs::remove_dir_all(folder).unwrap();
}

/// What `model` has, as PyTorch would.
fn state_dict(model: &mut Model, image: Option<[usize; 3]>) -> Vec<(String, Tensor)> {
    let mut dict = Vec::new();
    for (name, tensor) in model.weights().unwrap() {
        let (layer, parameter) = name.rsplit_once('/').unwrap();
        let parameter = match parameter {
            "gamma" => "weight",
            "beta" => "bias",
            "running_variance" => "running_var",
            same => same,
        };
        let x = tensor.as_f32().unwrap();
        let tensor = match *tensor.shape().dims() {
            [h, w, c_in, c_out] => {
                let at = |o: usize, i: usize, tap: usize| x[(tap * c_in + i) * c_out + o];
                let all = (0..c_out).flat_map(|o| (0..c_in).flat_map(move |i| (0..h * w).map(move |tap| at(o, i, tap))));
                Tensor::f32([c_out, c_in, h, w], all.collect()).unwrap()
            }
            [rows, columns] => {
                // Row r of the image's order [h, w, c] is PyTorch's input [c, h, w].
                let [h, w, c] = image.filter(|image| image.iter().product::<usize>() == rows).unwrap_or([1, 1, rows]);
                let row = |i: usize| i % (h * w) * c + i / (h * w);
                let all = (0..columns).flat_map(|o| (0..rows).map(move |i| x[row(i) * columns + o]));
                Tensor::f32([columns, rows], all.collect()).unwrap()
            }
            _ => tensor,
        };
        dict.push((format!("{layer}.{parameter}"), tensor));
    }
    dict
}

#[test]
fn state_dicts_of_pytorch() {
    let folder = folder("pytorch");
    let path = folder.join("dict.safetensors");
    for (net, image) in [
        (net(5), Some([4, 3, 4])),
        (zoo::resnet18([32, 32, 3], 10), None),
        (zoo::squeezenet1_1([64, 64, 3], 10), None),
        (zoo::mobilenet_v3_small([32, 32, 3], 10), None),
    ] {
        let mut model = build(&net, 1);
        let dict = state_dict(&mut model, image);
        let mut other = build(&net, 2);
        write_tensors(&path, &dict).unwrap();
        other.load_pytorch(&path, |layer| layer.to_string()).unwrap().complete().unwrap();
        assert_eq!(other.weights().unwrap(), model.weights().unwrap());
    }
    // Other names, and what is left.
    let mut model = build(&net(5), 1);
    let mut dict = state_dict(&mut model, Some([4, 3, 4]));
    dict.iter_mut().for_each(|(name, _)| *name = format!("module.{name}"));
    dict.push(("module.extra".to_string(), sample::normal(1, [2])));
    dict.retain(|(name, _)| name != "module.conv2d.bias");
    write_tensors(&path, &dict).unwrap();
    let mut other = build(&net(5), 2);
    let report = other.load_pytorch(&path, |layer| format!("module.{layer}")).unwrap();
    assert_eq!(
        (report.matched.len(), report.missing, report.unexpected),
        (7, vec!["conv2d/bias".to_string()], vec!["module.extra".to_string()])
    );
    std::fs::remove_dir_all(folder).unwrap();
}

/// The network of `tests/goldens/state_dict.py`, from the file that PyTorch wrote.
#[test]
fn a_network_of_pytorch() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/goldens/state_dict.safetensors");
    let all = Padding::all;
    let x = Net::input([6, 7, 3]).layer(Conv2d::new(8, [3, 2]).padding(all(1)).no_bias()).named("stem");
    let x = x.layer(BatchNorm::pytorch()).relu().layer(Conv2d::new(12, 3).stride(2).padding(all(1)).groups(4)).named("grouped");
    let up = ConvTranspose2d::new(6, 3).stride(2).padding(all(1)).output_padding(1).groups(2);
    let x = x.prelu().layer(up).named("up").layer(GroupNorm::new(2).epsilon(1e-5)).named("norm");
    let x = x.max_pool2d(2).flatten().dense(16).named("hidden").tanh().dense(5).named("classes");
    let mut model = build(&x, 1);
    let name = |layer: &str| {
        let theirs =
            [("stem", "stem.0"), ("batch_norm", "stem.1"), ("prelu", "slopes"), ("hidden", "head.1"), ("classes", "head.3")];
        theirs.iter().find(|(own, _)| *own == layer).map_or(layer, |(_, theirs)| theirs).to_string()
    };
    let report = model.load_pytorch(path, name).unwrap();
    assert_eq!(report.matched.len(), model.weight_shapes().len());
    assert_eq!(report.unexpected, ["example.input", "example.output"]);
    assert_eq!((report.missing, report.wrong_shape), (vec![], vec![]));

    let file = read_tensors(path).unwrap();
    let example = |name: &str| &file.iter().find(|(n, _)| *n == format!("example.{name}")).unwrap().1;
    let (input, output) = (example("input"), example("output"));
    let &[n, c, h, w] = input.shape().dims() else { panic!("{}", input.shape()) };
    let from = input.as_f32().unwrap();
    let at = |i: usize| from[(i / (h * w * c) * c + i % c) * h * w + i / c % (h * w)];
    let images = Tensor::f32([n, h, w, c], (0..n * h * w * c).map(at).collect()).unwrap();
    let got = model.predict(&images).unwrap();
    let largest = output.as_f32().unwrap().iter().fold(0.0f32, |m, v| m.max(v.abs()));
    assert_eq!(got.shape(), output.shape());
    for (got, want) in got.as_f32().unwrap().iter().zip(output.as_f32().unwrap()) {
        assert!((got - want).abs() <= 1e-5 * largest, "{got}, PyTorch {want}");
    }
}
