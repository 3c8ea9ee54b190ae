//! Does an ONNX file tell what it takes and what its outputs are called?
#![cfg(feature = "onnx")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // Tests may stop at what they don't expect.

use striate::data::{PhotoFormat, Resize};
use striate::io::onnx::Onnx;
use striate::io::{ModelCard, OnnxExport};
use striate::nn::{Model, Sequential};
use striate::{Device, Seed, Tensor};

fn model() -> Model {
    Sequential::new([6, 5, 3]).conv2d(4, 3).relu().global_avg_pool2d().dense(2).build(&Device::cpu(), Seed(1)).unwrap()
}

fn card() -> ModelCard {
    ModelCard {
        classes: vec!["Katze".to_string(), "犬, \"dog\"".to_string()],
        photo: PhotoFormat { resize: Resize::Pad, ..PhotoFormat::new(6, 5) },
        scale: vec![1.0 / 255.0, 0.017, 0.3],
        offset: vec![-2.1, 0.1, 1e-9],
    }
}

#[test]
fn a_card_comes_back_and_the_network_is_the_same() {
    let mut model = model();
    for options in [OnnxExport::new(), OnnxExport::new().channels_first()] {
        let plain = model.to_onnx(options.clone()).unwrap();
        assert_eq!(Onnx::from_bytes(plain).unwrap().card().unwrap(), None);
        let bytes = model.to_onnx(options.clone().card(card())).unwrap();
        assert_eq!(bytes, model.to_onnx(options.clone().card(card())).unwrap());
        let onnx = Onnx::from_bytes(bytes).unwrap();
        assert_eq!(onnx.card().unwrap(), Some(card()));
        let channels_last = options == OnnxExport::new().channels_first();
        let mut again = onnx.channels_last(channels_last).build(&Device::cpu()).unwrap();
        let x = Tensor::f32([1, 6, 5, 3], (0..90).map(|i| i as f32 / 90.0).collect()).unwrap();
        let (want, got) = (model.predict(&x).unwrap(), again.predict(&x).unwrap());
        let pairs = want.as_f32().unwrap().iter().zip(got.as_f32().unwrap());
        assert!(pairs.into_iter().all(|(a, b)| (a - b).abs() < 1e-5));
    }
    let nameless = ModelCard { classes: Vec::new(), scale: vec![1.0], offset: vec![0.0], ..card() };
    let bytes = model.to_onnx(OnnxExport::new().card(nameless.clone())).unwrap();
    assert_eq!(Onnx::from_bytes(bytes).unwrap().card().unwrap(), Some(nameless));
}

#[test]
fn a_card_of_another_model_is_refused() {
    let mut model = model();
    let mut error = |card| model.to_onnx(OnnxExport::new().card(card)).unwrap_err().to_string();
    let classes = error(ModelCard { classes: vec!["one".to_string()], ..card() });
    assert!(classes.contains("model card: names of classes: got 1, want 2"), "{classes}");
    let photo = error(ModelCard { photo: PhotoFormat::new(7, 5), ..card() });
    assert!(photo.contains("photo's shape: got [7, 5, 3], want [6, 5, 3]"), "{photo}");
    for scale in [vec![], vec![1.0; 2], vec![0.0], vec![f32::NAN]] {
        assert!(error(ModelCard { scale, ..card() }).contains("model card: scale"));
    }
    assert!(error(ModelCard { offset: vec![f32::INFINITY], ..card() }).contains("model card: offset"));
}

/// A file whose card was changed by another hand: the network is still there.
#[test]
fn a_broken_card_is_said_and_the_network_still_builds() {
    let bytes = model().to_onnx(OnnxExport::new().card(card())).unwrap();
    let at = |needle: &str| bytes.windows(needle.len()).position(|w| w == needle.as_bytes()).unwrap();
    let changed = |needle: &str, to: &str| {
        assert_eq!(needle.len(), to.len());
        let mut bytes = bytes.clone();
        bytes[at(needle)..][..to.len()].copy_from_slice(to.as_bytes());
        Onnx::from_bytes(bytes).unwrap()
    };
    for (needle, to, want) in [
        ("\"version\":1", "\"version\":9", "model card: version: got 9, want 1"),
        ("\"pad\"", "\"pat\"", "model card: resize: got 'pat'"),
        ("{\"version", "[\"version", "model card: text"),
        ("\"classes\"", "\"klasses\"", "model card: fields"),
    ] {
        let onnx = changed(needle, to);
        let got = onnx.card().unwrap_err().to_string();
        assert!(got.contains(want), "{got}");
        onnx.build(&Device::cpu()).unwrap();
    }
    // Another program's metadata is no card.
    assert_eq!(changed("striate.card", "another.card").card().unwrap(), None);
}
