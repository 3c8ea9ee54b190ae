//! Does a photo reach a network of a file as the file, or the options, say? What the examples `classify`, `predict` and `explain` share.
#![cfg(all(feature = "onnx", feature = "photos"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // Tests may stop at what they don't expect.

#[path = "../examples/common/subject.rs"]
mod subject;

use clap::Parser;
use image::RgbImage;
use std::path::{Path, PathBuf};
use striate::data::{PhotoFormat, Resize};
use striate::io::{ModelCard, OnnxExport};
use striate::nn::{Model, Sequential};
use striate::{Device, Seed};
use subject::{PhotoOptions, Subject};

#[derive(Parser)]
struct Options {
    #[command(flatten)]
    options: PhotoOptions,
}

fn options(words: &[&str]) -> PhotoOptions {
    Options::try_parse_from([&["test"], words].concat()).unwrap_or_else(|e| panic!("{e}")).options
}

/// A folder of this test, gone when it is dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let folder = std::env::temp_dir().join(format!("striate-subject-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Scratch(folder)
    }

    fn model(&self, channels: usize, options: OnnxExport) -> PathBuf {
        let path = self.0.join("model.onnx");
        model(channels).export_onnx(&path, options).unwrap();
        path
    }

    /// Eight columns, four rows: red grows to the right, green downwards.
    fn photo(&self) -> PathBuf {
        let path = self.0.join("photo.png");
        RgbImage::from_fn(8, 4, |x, y| image::Rgb([30 * x as u8, 60 * y as u8, 7])).save(&path).unwrap();
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn model(channels: usize) -> Model {
    Sequential::new([4, 4, channels]).conv2d(2, 3).global_avg_pool2d().dense(3).build(&Device::cpu(), Seed(1)).unwrap()
}

fn error(path: &Path, words: &[&str]) -> String {
    match Subject::open(path, &options(words)).and_then(|s| s.build(&Device::cpu())) {
        Ok(_) => panic!("{words:?} are taken"),
        Err(e) => format!("{e:#}"),
    }
}

#[test]
fn a_card_says_all() {
    let scratch = Scratch::new("card");
    let card = ModelCard {
        classes: ["a", "b", "c"].map(String::from).into(),
        photo: PhotoFormat { resize: Resize::Crop, ..PhotoFormat::new(4, 4) },
        scale: vec![0.5, 1.0, 2.0],
        offset: vec![-1.0],
    };
    for export in [OnnxExport::new(), OnnxExport::new().channels_first()] {
        let path = scratch.model(3, export.card(card.clone()));
        let subject = Subject::open(&path, &options(&[])).unwrap();
        assert_eq!((subject.name(2), subject.name(3)), ("c".to_string(), "class 3".to_string()));
        let photo = subject.photo(&scratch.photo()).unwrap();
        // The middle: columns 2 to 5.
        assert_eq!(photo.as_u8().unwrap()[..6], [60, 0, 7, 90, 0, 7]);
        let input = subject.input(&[photo.clone(), photo]).unwrap();
        assert_eq!(input.shape().dims(), [2, 4, 4, 3]);
        assert_eq!(input.as_f32().unwrap()[..3], [29.0, -1.0, 13.0]);
        let mut built = subject.build(&Device::cpu()).unwrap();
        let (got, want) = (built.predict(&input).unwrap(), model(3).predict(&input).unwrap());
        let pairs = got.as_f32().unwrap().iter().zip(want.as_f32().unwrap());
        assert!(pairs.into_iter().all(|(a, b)| (a - b).abs() < 1e-3));
        // Options go before the file.
        let labels = scratch.0.join("labels.txt");
        std::fs::write(&labels, "x\ny\nz\n").unwrap();
        let words = ["--labels", labels.to_str().unwrap(), "--mean", "0.5", "--std", "0.25", "--crop", "1"];
        let other = Subject::open(&path, &options(&words)).unwrap();
        assert_eq!((other.name(0), other.offset[0], other.scale[0]), ("x".to_string(), -2.0, 4.0 / 255.0));
    }
}

#[test]
fn without_a_card_the_channels_tell_the_layout() {
    let scratch = Scratch::new("foreign");
    for (channels, export) in [(3, OnnxExport::new()), (3, OnnxExport::new().channels_first()), (1, OnnxExport::new())] {
        let subject = Subject::open(&scratch.model(channels, export), &options(&["--crop", "1"])).unwrap();
        let photo = subject.photo(&scratch.photo()).unwrap();
        assert_eq!(photo.shape().dims(), [4, 4, channels]);
        if channels == 3 {
            assert_eq!(photo.as_u8().unwrap()[..6], [60, 0, 7, 90, 0, 7]);
        }
        assert_eq!((subject.scale.len(), subject.name(1)), (channels, "class 1".to_string()));
        assert_eq!(subject.build(&Device::cpu()).unwrap().input_shape().dims(), [4, 4, channels]);
    }
}

#[test]
fn what_does_not_fit_is_said() {
    let scratch = Scratch::new("errors");
    let path = scratch.model(3, OnnxExport::new());
    let labels = scratch.0.join("two.txt");
    std::fs::write(&labels, "x\ny\n").unwrap();
    assert!(error(&path, &["--labels", labels.to_str().unwrap()]).contains("2 names of classes for a network of 3 outputs"));
    assert!(error(&path, &["--labels", "no/such.txt"]).contains("can't read no/such.txt"));
    assert!(error(&path, &["--mean", "0.5"]).contains("given together"));
    assert!(error(&path, &["--layout", "nchw"]).contains("`--layout`"));
    assert!(error(&scratch.photo(), &[]).contains("photo.png"));
    assert!(error(Path::new("no/such.onnx"), &[]).contains("no/such.onnx"));
    for words in [["--crop", "0"], ["--crop", "1.5"], ["--mean", "1,2"], ["--mean", "x"], ["--layout", "hwc"]] {
        assert!(Options::try_parse_from([&["test"][..], &words].concat()).is_err(), "{words:?}");
    }
}
