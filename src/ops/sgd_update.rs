//! Stochastic gradient descent, with momentum in the form of Sutskever et al., "On the importance of initialization and momentum in
//! deep learning", ICML 2013, as PyTorch has it (`torch.optim.SGD`, dampening 0).

use crate::error::{Error, Result};
use crate::linalg::Real;
use crate::op::{
    Bound, Case, Cost, Cpu, CpuArgs, Declaration, Op, Recorder, Source, moved_bytes, shader,
};
use crate::ops::update::{self, UpdateRule, constant};
use crate::tensor::TensorType;

static SGD_UPDATE: Source = shader!("sgd_update");
static SGD_MOMENTUM_UPDATE: Source = shader!("sgd_momentum_update");

/// A step of gradient descent, in place. Inputs: parameters p, with momentum also velocity v (0 before the first step), gradient g,
/// f32 of one shape; hyper, f32 `[4]`, the learning rate first; health, u32 `[2]`, whose first must be 0 for anything to happen.
/// Outputs: p and v.
///
/// `g += weight_decay p; v = momentum v + g; p -= rate v`, or with Nesterov `p -= rate (g + momentum v)`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct SgdUpdate {
    /// Momentum, 0 for none, below 1.
    pub momentum: f64,
    /// Nesterov's form, for which momentum can't be 0.
    pub nesterov: bool,
    /// Factor of an L2 penalty.
    pub weight_decay: f64,
}

impl UpdateRule<1> for SgdUpdate {
    fn step<T: Real>(&self, [p]: [T; 1], g: T, hyper: [T; 4]) -> [T; 1] {
        let g = g + T::from_f64(self.weight_decay) * p;
        [p - hyper[0] * g]
    }
}

impl UpdateRule<2> for SgdUpdate {
    fn step<T: Real>(&self, [p, v]: [T; 2], g: T, hyper: [T; 4]) -> [T; 2] {
        let momentum = T::from_f64(self.momentum);
        let g = g + T::from_f64(self.weight_decay) * p;
        let v = momentum * v + g;
        let step = if self.nesterov { g + momentum * v } else { v };
        [p - hyper[0] * step, v]
    }
}

impl SgdUpdate {
    fn has_velocity(&self) -> bool {
        self.momentum != 0.0
    }
}

impl Op for SgdUpdate {
    fn name(&self) -> &'static str {
        "sgd_update"
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>> {
        update::expect_share("momentum", self.momentum)?;
        update::expect_nonnegative("weight_decay", self.weight_decay)?;
        if self.nesterov && !self.has_velocity() {
            return Err(Error::invalid("momentum", self.momentum, "more than 0 with Nesterov"));
        }
        match self.has_velocity() {
            true => update::types(inputs, &["p", "v", "g", "hyper", "health"]),
            false => update::types(inputs, &["p", "g", "hyper", "health"]),
        }
    }

    fn gpu(&self, r: &mut Recorder<'_>) -> Result<()> {
        let weight_decay = ("weight_decay", constant(self.weight_decay));
        if self.has_velocity() {
            let params = [("momentum", constant(self.momentum)), weight_decay];
            update::gpu::<2>(r, &SGD_MOMENTUM_UPDATE, &[("NESTEROV", self.nesterov)], &params);
        } else {
            update::gpu::<1>(r, &SGD_UPDATE, &[], &[weight_decay]);
        }
        Ok(())
    }

    fn cost(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Cost {
        let flops = if self.has_velocity() { 6 } else { 4 };
        Cost { flops: flops * inputs[0].elements() as u64, bytes: moved_bytes(inputs, outputs) }
    }

    fn error_bound(&self, b: &Bound<'_>) -> Result<Vec<Vec<f64>>> {
        Ok(if self.has_velocity() { update::error_bound::<2>(self, b) } else { update::error_bound::<1>(self, b) })
    }

    fn in_place(&self) -> &[(usize, usize)] {
        if self.has_velocity() { &[(0, 0), (1, 1)] } else { &[(0, 0)] }
    }
}

impl Cpu for SgdUpdate {
    fn cpu<T: Real>(&self, args: &mut CpuArgs<'_, T>) {
        if self.has_velocity() {
            update::cpu::<T, 2>(self, args);
        } else {
            update::cpu::<T, 1>(self, args);
        }
    }
}

/// The list's entry.
pub static DECLARATIONS: &[Declaration] = &[Declaration {
    name: "sgd_update",
    no_gradient: Some("it updates parameters"),
    shaders: &[&SGD_UPDATE, &SGD_MOMENTUM_UPDATE],
    cases,
}];

fn cases() -> Vec<Case> {
    let op = |momentum, nesterov, weight_decay| SgdUpdate { momentum, nesterov, weight_decay };
    vec![
        Case::new("one", op(0.0, false, 0.0), update::sample_inputs(1, 1, 1, 1, 0)),
        Case::new("plain", op(0.0, false, 1e-4), update::sample_inputs(2, 1, 1088, 1, 0)),
        Case::new("momentum", op(0.9, false, 5e-4), update::sample_inputs(3, 2, 1088, 1, 0)),
        Case::new("nesterov", op(0.9, true, 5e-4), update::sample_inputs(4, 2, 1088, 1, 0)),
        Case::new("odd", op(0.5, false, 0.0), update::sample_inputs(5, 2, 517, 1, 0)),
        Case::new("stopped", op(0.9, false, 0.0), update::sample_inputs(6, 2, 64, 1, 1)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::check;

    #[test]
    fn cases_hold() {
        check::declarations(DECLARATIONS);
    }

    /// By hand: p = 1, g = 0.5 and then 0.25, rate 0.1, momentum 0.9, weight decay 0.01.
    #[test]
    fn two_steps() {
        let hyper = [0.1, 0.0, 0.0, 0.0];
        let sgd = |nesterov| SgdUpdate { momentum: 0.9, nesterov, weight_decay: 0.01 };
        let plain = sgd(false).step([1.0f64, 0.0], 0.5, hyper);
        let (v1, p1) = (0.51, 1.0 - 0.051);
        assert!((plain[0] - p1).abs() < 1e-15 && (plain[1] - v1).abs() < 1e-15);
        let v2 = 0.9 * v1 + 0.25 + 0.01 * p1;
        assert!((sgd(false).step(plain, 0.25, hyper)[0] - (p1 - 0.1 * v2)).abs() < 1e-15);
        let nesterov = sgd(true).step([1.0f64, 0.0], 0.5, hyper);
        assert!((nesterov[0] - (1.0 - 0.1 * (0.51 + 0.9 * 0.51))).abs() < 1e-15);
    }

    #[test]
    fn bad_arguments_are_refused() {
        let types = [TensorType::f32([8]), TensorType::f32([8]), TensorType::f32([4]), TensorType::u32([2])];
        let op = SgdUpdate { momentum: 0.0, nesterov: false, weight_decay: 0.0 };
        assert!(op.infer(&types).is_ok());
        assert!(op.infer(&types[..3]).is_err());
        assert!(SgdUpdate { momentum: 0.9, ..op }.infer(&types).is_err());
        assert!(SgdUpdate { nesterov: true, ..op }.infer(&types).is_err());
        assert!(SgdUpdate { weight_decay: -1.0, ..op }.infer(&types).is_err());
        assert!(SgdUpdate { weight_decay: 1e300, ..op }.infer(&types).is_err());
        let mut other = types.clone();
        other[1] = TensorType::f32([4]);
        assert!(op.infer(&other).is_err());
    }
}
