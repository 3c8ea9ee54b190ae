//! What the optimizers' updates share. An update overwrites a page of parameters and its moments, element by element, from the page's
//! gradient; its formula is written once, in [`UpdateRule::step`], for both precisions of the CPU and for the error bound.

use crate::error::{Error, Result};
use crate::linalg::{Real, for_each_chunks};
use crate::op::{Bound, Buffer, CpuArgs, Oracle, Recorder, Source, Word, expect_inputs};
use crate::ops::elements::Elements;
use crate::ops::running_error::Running;
use crate::tensor::{DType, TensorType};

/// A formula that makes new from old parameter and moments, `N` in all.
pub(crate) trait UpdateRule<const N: usize>: Sync {
    /// The new state of an element. `hyper`: rate and bias corrections, see [`types`].
    fn step<T: Real>(&self, state: [T; N], g: T, hyper: [T; 4]) -> [T; N];
}

/// Checks inputs (state tensors, gradient, hyper, health) and returns the types of the outputs, which are the state's. All but the
/// last two are f32 of one shape. `hyper` is f32 `[4]`: rate, `1 - beta1^t`, `1 - beta2^t`, unused. `health` is u32 `[2]`: 0 as long
/// as training is sound, see [`Track`](crate::ops::track::Track).
pub(crate) fn types(inputs: &[TensorType], names: &[&str]) -> Result<Vec<TensorType>> {
    expect_inputs(inputs, names)?;
    let n_state = names.len() - 3;
    inputs[0].expect_dtype(names[0], DType::F32)?;
    for i in 1..=n_state {
        inputs[i].expect(names[i], &inputs[0])?;
    }
    inputs[n_state + 1].expect("hyper", &TensorType::f32([4]))?;
    inputs[n_state + 2].expect("health", &TensorType::u32([2]))?;
    Ok(inputs[..n_state].to_vec())
}

/// Fails unless `value` is a number from 0 to less than 1.
pub(crate) fn expect_share(what: &str, value: f64) -> Result<()> {
    if (0.0..1.0).contains(&value) { Ok(()) } else { Err(Error::invalid(what, value, "0 to less than 1")) }
}

/// Fails unless `value` is positive and finite, also in f32.
pub(crate) fn expect_positive(what: &str, value: f64) -> Result<()> {
    let single = value as f32;
    if single > 0.0 && single.is_finite() { Ok(()) } else { Err(Error::invalid(what, value, "a positive number")) }
}

/// Fails unless `value` is finite and not negative.
pub(crate) fn expect_nonnegative(what: &str, value: f64) -> Result<()> {
    if value >= 0.0 && (value as f32).is_finite() { Ok(()) } else { Err(Error::invalid(what, value, "0 or a positive number")) }
}

/// A constant of a formula, as a field of `Params`.
pub(crate) fn constant(value: f64) -> Word {
    Word::F32(value as f32)
}

/// Records the kernel: it reads gradient, hyper and health and overwrites `N` state tensors.
pub(crate) fn gpu<const N: usize>(
    r: &mut Recorder<'_>,
    source: &'static Source,
    consts: &[(&'static str, bool)],
    constants: &[(&'static str, Word)],
) {
    let e = Elements::of(r.y(0).elements());
    let kernel = consts.iter().fold(e.kernel(source, &[]), |kernel, &(name, value)| kernel.set(name, value));
    let params: Vec<_> = [("n", e.n())].into_iter().chain(constants.iter().copied()).collect();
    let reads = [Buffer::Input(N), Buffer::Input(N + 1), Buffer::Input(N + 2)];
    let writes: [Buffer; N] = std::array::from_fn(Buffer::Output);
    let grid = e.grid(r);
    r.dispatch(kernel, &reads, &writes, &params, grid);
}

/// Runs the rule on the CPU.
pub(crate) fn cpu<T: Real, const N: usize>(rule: &impl UpdateRule<N>, args: &mut CpuArgs<'_, T>) {
    if args.x_u32(N + 2)[0] != 0 {
        return;
    }
    let (g, hyper) = (args.x(N), args.x(N + 1));
    let hyper: [T; 4] = std::array::from_fn(|i| hyper[i]);
    let state: [&mut [T]; N] = std::array::from_fn(|i| args.y(i));
    for_each_chunks(state, |at, mut state| {
        for (i, &g) in g[at..].iter().enumerate().take(state[0].len()) {
            let old = std::array::from_fn(|s| state[s][i]);
            for (state, new) in state.iter_mut().zip(rule.step(old, g, hyper)) {
                state[i] = new;
            }
        }
    });
}

/// Error bound of the kernel: the rule in running error analysis.
pub(crate) fn error_bound<const N: usize>(rule: &impl UpdateRule<N>, b: &Bound<'_>) -> Vec<Vec<f64>> {
    if matches!(&b.inputs[N + 2], Oracle::U32(health) if health[0] != 0) {
        return b.exact();
    }
    let at = |input: usize, i: usize| Running::from_f32(b.inputs[input].real()[i] as f32);
    let hyper = std::array::from_fn(|i| at(N + 1, i));
    let mut bounds = b.exact();
    for i in 0..bounds[0].len() {
        let new = rule.step(std::array::from_fn(|s| at(s, i)), at(N, i), hyper);
        for (bound, new) in bounds.iter_mut().zip(new) {
            bound[i] = new.error();
        }
    }
    bounds
}

/// Inputs for cases: state tensors (moments are not negative), gradient, hyper and health.
pub(crate) fn sample_inputs(seed: u64, n_state: usize, len: usize, step: i32, health: u32) -> Vec<crate::tensor::Tensor> {
    use crate::op::sample;
    use crate::tensor::Tensor;
    let hyper = vec![0.01, 1.0 - 0.9f32.powi(step), 1.0 - 0.999f32.powi(step), 0.0];
    let mut inputs = vec![sample::normal(seed, [len])];
    inputs.extend((1..n_state as u64).map(|i| sample::positive(seed + i, [len])));
    inputs.push(sample::normal(seed + 10, [len]));
    inputs.push(Tensor::f32([4], hyper).unwrap_or_else(|_| unreachable!("made to fit")));
    inputs.push(Tensor::u32([2], vec![health, 7]).unwrap_or_else(|_| unreachable!("made to fit")));
    inputs
}
