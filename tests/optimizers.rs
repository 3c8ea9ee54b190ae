//! Optimizers against ten steps of PyTorch's, or of the formulas of papers (tests/goldens/optimizers.py), and schedules against its rates.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // Tests may stop at what they don't expect.

use serde_json::Value as Json;
use std::sync::Arc;
use striate::cpu::Runtime;
use striate::graph::{Graph, Plan};
use striate::op::Buf;
use striate::ops::update::{HYPER, factors_type};
use striate::tensor::TensorType;
use striate::train::{
    Adadelta, Adagrad, Adam, AdamW, Adamax, Lamb, Lars, Lion, Nadam, Optimizer, Page, Place, RmsProp, Schedule, Sgd,
};

/// A weight of 15 elements, and a bias of 5 at the next multiple of 64.
const LEN: usize = 72;
const PLACES: [std::ops::Range<usize>; 2] = [0..15, 64..69];

fn goldens() -> Json {
    serde_json::from_str(include_str!("goldens/optimizers.json")).unwrap()
}

fn numbers(json: &Json) -> Vec<f64> {
    json.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

fn page(values: &[f64]) -> Buf<f64> {
    let mut page = vec![0.0; LEN];
    let mut values = values.iter();
    for i in PLACES.into_iter().flatten() {
        page[i] = *values.next().unwrap();
    }
    Buf::Real(page)
}

/// Parameters after each step, in double precision but for the numbers of a step, which are f32.
fn steps(optimizer: &dyn Optimizer, weights_only: bool, json: &Json) -> Vec<Vec<f64>> {
    let mut graph = Graph::new();
    let ty = TensorType::f32([LEN]);
    let p = graph.state("p", ty.clone()).unwrap();
    let moments = optimizer.moments().iter().map(|name| graph.state(name, ty.clone()).unwrap()).collect();
    let g = graph.input("g", ty).unwrap();
    let hyper = graph.input("hyper", TensorType::f32([HYPER])).unwrap();
    let health = graph.state("health", TensorType::u32([2])).unwrap();
    let factors = weights_only.then(|| graph.state("factors", factors_type(LEN)).unwrap());
    let pieces = graph.state("pieces", TensorType::u32([2, 2])).unwrap();
    let new = optimizer.update(&mut graph, &Page { p, moments, g, hyper, health, factors, pieces }).unwrap();
    let plan = Plan::new(graph, &[new], None).unwrap();
    let mut runtime = Runtime::<f64>::new();
    runtime.set_state("p", page(&numbers(&json["start"])));
    for name in optimizer.moments() {
        runtime.set_state(name, Buf::Real(vec![f64::from(optimizer.initial_moment()); LEN]));
    }
    runtime.set_state("factors", Buf::Real(vec![1.0, 1.0, 1.0, 0.0]));
    runtime.set_state("pieces", Buf::U32(vec![0, 1, 1, 1]));
    let mut program = runtime.load(Arc::new(plan));
    let mut after = Vec::new();
    for (t, gradient) in json["gradients"].as_array().unwrap().iter().enumerate() {
        let numbers_now = optimizer.hyper(t as u64 + 1, optimizer.learning_rate());
        let hyper_now = numbers_now.into_iter().chain([1.0, 1.0]).map(f64::from).collect();
        let feeds = vec![(g, page(&numbers(gradient))), (hyper, Buf::Real(hyper_now))];
        runtime.run(&mut program, feeds, None).unwrap();
        let p = runtime.fetch(&program, new);
        after.push(PLACES.into_iter().flatten().map(|i| p.real()[i]).collect());
    }
    after
}

#[test]
fn ten_steps() {
    let json = goldens();
    let adamw = || AdamW::new(0.01);
    let all: Vec<(&str, Box<dyn Optimizer>, bool)> = vec![
        ("sgd", Box::new(Sgd::new(0.1)), false),
        ("sgd_weight_decay", Box::new(Sgd::new(0.1).weight_decay(0.05)), false),
        ("momentum", Box::new(Sgd::new(0.1).momentum(0.9)), false),
        ("nesterov_weight_decay", Box::new(Sgd::new(0.1).momentum(0.9).nesterov().weight_decay(0.05)), false),
        ("adagrad", Box::new(Adagrad::new(0.1)), false),
        ("adagrad_initial", Box::new(Adagrad::new(0.1).initial(0.1).epsilon(1e-7).weight_decay(0.05)), false),
        ("rmsprop", Box::new(RmsProp::new(0.01)), false),
        ("rmsprop_momentum", Box::new(RmsProp::new(0.01).rho(0.9).momentum(0.9)), false),
        ("rmsprop_centered", Box::new(RmsProp::new(0.01).rho(0.9).centered()), false),
        ("rmsprop_centered_momentum", Box::new(RmsProp::new(0.01).rho(0.9).centered().momentum(0.9).weight_decay(0.05)), false),
        ("adadelta", Box::new(Adadelta::new(1.0).rho(0.9).weight_decay(0.05)), false),
        ("adam", Box::new(Adam::new(0.01).weight_decay(0.05)), false),
        ("adam_amsgrad", Box::new(Adam::new(0.01).betas(0.9, 0.5).amsgrad()), false),
        ("adamw", Box::new(adamw()), false),
        ("adamw_amsgrad", Box::new(adamw().betas(0.9, 0.5).weight_decay(0.1).amsgrad()), false),
        ("adamw_weights_only", Box::new(adamw().weight_decay(0.1)), true),
        ("adamax", Box::new(Adamax::new(0.01).weight_decay(0.05)), false),
        ("nadam", Box::new(Nadam::new(0.01).weight_decay(0.05)), false),
        ("lion", Box::new(Lion::new(0.01).weight_decay(0.1)), false),
        ("lars", Box::new(Lars::new(1.0).weight_decay(0.05).eta(0.02)), false),
        ("lamb", Box::new(Lamb::new(0.01).weight_decay(0.05)), false),
        ("lamb_weights_only", Box::new(Lamb::new(0.01).weight_decay(0.05)), true),
    ];
    assert_eq!(all.len(), json["optimizers"].as_object().unwrap().len());
    let start = numbers(&json["start"]);
    for (name, optimizer, weights_only) in all {
        optimizer.check().unwrap();
        let got = steps(&*optimizer, weights_only, &json);
        let mut worst: f64 = 0.0;
        for (t, (got, want)) in got.iter().zip(json["optimizers"][name].as_array().unwrap()).enumerate() {
            let want = numbers(want);
            assert_eq!(got.len(), want.len());
            // Rates and corrections are rounded to f32, 6e-8 each; what a parameter has moved is off by a few of them.
            let moved = want.iter().zip(&start).fold(0.0, |m: f64, (w, s)| m.max((w - s).abs()));
            for (i, (g, w)) in got.iter().zip(&want).enumerate() {
                let error = (g - w).abs() / moved;
                assert!(error <= 5e-7, "{name}, step {}, element {i}: {g}, want {w}", t + 1);
                worst = worst.max(error);
            }
        }
        println!("{name}: {worst:.1e} of what moved most");
    }
}

#[test]
fn schedules() {
    let json = &goldens()["schedules"];
    let (n_steps, epoch_steps) = (json["steps"].as_u64().unwrap(), json["epoch_steps"].as_u64().unwrap());
    let cosine = Schedule::Cosine { last: 0.0 };
    let all = [
        ("constant", Schedule::Constant),
        ("step", Schedule::Step { epochs: 3, factor: 0.1 }),
        ("multi_step", Schedule::MultiStep { epochs: vec![2, 5, 6], factor: 0.5 }),
        ("exponential", Schedule::Exponential { factor: 0.9 }),
        ("polynomial", Schedule::Polynomial { last: 0.0, power: 2.0 }),
        ("cosine", Schedule::Cosine { last: 0.1 }),
        ("cosine_restarts", Schedule::CosineRestarts { epochs: 2, growth: 2, last: 0.05 }),
        ("one_cycle", Schedule::one_cycle()),
        ("warm_up_cosine", Schedule::WarmUp { steps: 8, first: 0.1, then: Box::new(cosine) }),
    ];
    for (name, schedule) in all {
        let want = numbers(&json[name]);
        assert_eq!(want.len() as u64, n_steps);
        for (step, want) in (0..).zip(want) {
            let got = schedule.factor(Place { step, n_steps, epoch_steps, reductions: 0 });
            assert!((got - want).abs() <= 1e-9, "{name}, step {step}: {got}, want {want}");
        }
    }
}
