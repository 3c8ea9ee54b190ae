//! Does a profile account for a run, and leave the model as it was?
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // Tests may stop at what they don't expect.

mod common;

use common::devices;
use pollster::block_on;
use std::collections::BTreeSet;
use striate::device::Runtime;
use striate::graph::Graph;
use striate::nn::Sequential;
use striate::ops::scale::Scale;
use striate::random::Seed;
use striate::tensor::TensorType;
use striate::train::{Fit, Pass};

fn net() -> Sequential {
    Sequential::new([12, 12, 1]).conv2d(8, 3).relu().max_pool2d(2).dropout(0.5).flatten().dense(10)
}

#[test]
fn every_step_is_timed_and_named() {
    for device in devices("profiles") {
        let mut model = net().build(&device, Seed(1)).unwrap();
        let before = model.weights().unwrap();
        let profile = model.profile(&Fit::epochs(1).batch(4)).unwrap();
        assert_eq!(model.weights().unwrap(), before, "a profile trains nothing");
        assert!(profile.run_seconds > 0.0 && profile.seconds() > 0.0 && profile.peak.flops > 0.0 && profile.peak.bytes > 0.0);
        assert!(profile.steps.iter().flat_map(|s| &s.kernels).all(|(_, seconds)| *seconds >= 0.0));
        let of = |pass| profile.steps.iter().filter(|s| s.pass == pass).map(|s| s.layer.as_str()).collect::<BTreeSet<_>>();
        assert!(
            of(Pass::Forward).is_superset(&["conv2d + relu", "max_pool2d", "dropout", "dense", "loss"].into()),
            "{profile:?}"
        );
        assert!(of(Pass::Backward).is_superset(&["conv2d", "relu", "max_pool2d", "dropout", "dense"].into()), "{profile:?}");
        assert_eq!(of(Pass::Update), ["metrics", "adam"].into());
        let convolution = profile.steps.iter().find(|s| s.op == "conv2d").unwrap();
        assert_eq!(convolution.flops / (2 * 4 * 10 * 10 * 8 * 9), 1);

        let text = profile.to_string();
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        let json: serde_json::Value = serde_json::from_str(&profile.to_json()).unwrap();
        assert_eq!(json["steps"].as_array().unwrap().len(), profile.steps.len());
        assert_eq!((&json["what"], &json["batch"]), (&"training".into(), &4.into()));

        let profile = model.profile_prediction(3).unwrap();
        assert!(profile.steps.iter().all(|s| matches!(s.pass, Pass::Forward | Pass::Once)), "{profile:?}");
    }
}

#[test]
fn what_was_never_run_cannot_be_timed() {
    for device in devices("profiles") {
        let mut graph = Graph::new();
        let x = graph.input("x", TensorType::f32([4])).unwrap();
        let y = graph.node(Scale { factor: 2.0 }, &[x]).unwrap();
        let mut runtime = Runtime::new(&device);
        let program = block_on(runtime.load(device.plan(graph, &[y]).unwrap())).unwrap();
        for e in [block_on(runtime.run_again(program)).unwrap_err(), block_on(runtime.time_steps(program)).unwrap_err()] {
            assert!(e.to_string().contains("never run"), "{e}");
        }
    }
}
