//! Does the comparison that all parity rests on fail where it should? The comparator is tested first, with what it must not pass.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // Tests may stop at what they don't expect.

mod common;

use common::types;
use striate::op::{Case, Oracle, View, compare, run_f64, sample};
use striate::ops;
use striate::ops::matmul::Matmul;
use striate::ops::unary::{Relu, Unary};
use striate::tensor::{Data, Tensor};

fn oracle(case: &Case) -> Vec<Oracle> {
    case.inputs.iter().map(Oracle::from_tensor).collect()
}

/// The f64 result, rounded to what a device could return at best.
fn exact(case: &Case) -> Vec<Tensor> {
    let inputs = oracle(case);
    let views: Vec<View<'_, f64>> = inputs.iter().map(Oracle::view).collect();
    let shapes = case.op.infer(&types(case)).unwrap();
    let outputs = run_f64(&*case.op, &types(case), &views).unwrap();
    outputs.iter().zip(shapes).map(|(o, ty)| o.to_tensor(&ty.shape).unwrap()).collect()
}

fn share(case: &Case, got: &[Tensor]) -> f64 {
    compare(&*case.op, &types(case), &oracle(case), got, 8).unwrap().share
}

fn passes(share: f64) -> bool {
    share <= 1.0
}

fn matmul() -> Case {
    Case::new("m", Matmul::default(), vec![sample::normal(1, [6, 7]), sample::normal(2, [7, 5])])
}

fn relu(x: &[f32]) -> Case {
    Case::new("r", Unary::<Relu>::new(), vec![Tensor::f32([x.len()], x.to_vec()).unwrap()])
}

fn with(t: &Tensor, at: usize, f: impl Fn(f32) -> f32) -> Tensor {
    let mut data = t.as_f32().unwrap().to_vec();
    data[at] = f(data[at]);
    Tensor::f32(t.shape().clone(), data).unwrap()
}

#[test]
fn the_exact_result_of_every_case_passes() {
    for d in ops::all() {
        for case in (d.cases)() {
            let w = compare(&*case.op, &types(&case), &oracle(&case), &exact(&case), 8).unwrap();
            assert!(passes(w.share), "{}/{}: {w:?}", d.name, case.name);
        }
    }
}

#[test]
fn nan_fails() {
    let case = matmul();
    let got = with(&exact(&case)[0], 29, |_| f32::NAN);
    assert!(share(&case, &[got]).is_nan());
}

#[test]
fn a_number_in_place_of_a_nan_fails_and_a_nan_passes() {
    let case = relu(&[1.0, f32::NAN, -2.0]);
    assert!(passes(share(&case, &[Tensor::f32([3], vec![1.0, f32::NAN, 0.0]).unwrap()])));
    assert!(!passes(share(&case, &[Tensor::f32([3], vec![1.0, 0.0, 0.0]).unwrap()])));
}

#[test]
fn an_infinity_passes_only_for_itself() {
    let case = relu(&[f32::INFINITY, 1.0]);
    assert!(passes(share(&case, &[Tensor::f32([2], vec![f32::INFINITY, 1.0]).unwrap()])));
    assert!(!passes(share(&case, &[Tensor::f32([2], vec![f32::MAX, 1.0]).unwrap()])));
    assert!(!passes(share(&case, &[Tensor::f32([2], vec![f32::NEG_INFINITY, 1.0]).unwrap()])));
    assert!(!passes(share(&case, &[Tensor::f32([2], vec![f32::INFINITY, f32::INFINITY]).unwrap()])));
}

#[test]
fn a_swapped_buffer_fails() {
    let case = matmul();
    let swapped = Case::new("s", Matmul::default(), vec![sample::normal(3, [6, 7]), case.inputs[1].clone()]);
    assert!(!passes(share(&case, &exact(&swapped))));
    let zeros = Tensor::zeros(&exact(&case)[0].tensor_type());
    assert!(!passes(share(&case, &[zeros])));
    // Two outputs in each other's place.
    let pool = ops::all().find(|d| d.name == "max_pool2d").unwrap();
    let case = (pool.cases)().pop().unwrap();
    let mut outputs = exact(&case);
    outputs.swap(0, 1);
    assert!(compare(&*case.op, &types(&case), &oracle(&case), &outputs, 8).is_err());
}

#[test]
fn one_wrong_element_fails_wherever_it_is() {
    let case = matmul();
    let good = exact(&case);
    for at in 0..30 {
        let w = compare(&*case.op, &types(&case), &oracle(&case), &[with(&good[0], at, |x| x + 1e-3)], 8).unwrap();
        assert!(!passes(w.share) && w.element == at, "{w:?}");
    }
    // For an op that only moves or selects, the last bit counts.
    let case = relu(&[0.5, 0.25]);
    let off = with(&exact(&case)[0], 1, |x| f32::from_bits(x.to_bits() + 1));
    assert!(!passes(share(&case, &[off])));
}

#[test]
fn one_wrong_integer_fails() {
    let pool = ops::all().find(|d| d.name == "max_pool2d").unwrap();
    let case = (pool.cases)().pop().unwrap();
    let mut outputs = exact(&case);
    let Data::U32(argmax) = outputs[1].data() else { panic!("u32") };
    let mut argmax = argmax.clone();
    *argmax.last_mut().unwrap() += 1;
    outputs[1] = Tensor::u32(outputs[1].shape().clone(), argmax).unwrap();
    assert!(!passes(share(&case, &outputs)));
}

#[test]
fn a_short_buffer_fails() {
    let case = matmul();
    let short = exact(&case)[0].as_f32().unwrap()[..29].to_vec();
    let short = Tensor::f32([29], short).unwrap();
    assert!(compare(&*case.op, &types(&case), &oracle(&case), &[short], 8).is_err());
    assert!(compare(&*case.op, &types(&case), &oracle(&case), &[], 8).is_err());
}
