//! Adadelta (M. Zeiler, "ADADELTA: An Adaptive Learning Rate Method", arXiv:1212.5701, 2012), as PyTorch has it
//! (`torch.optim.Adadelta`).

use crate::error::Result;
use crate::linalg::Real;
use crate::op::{
    Bound, Case, Cost, Cpu, CpuArgs, Declaration, Op, Recorder, Source, moved_bytes, shader,
};
use crate::ops::update::{self, UpdateRule, constant};
use crate::tensor::TensorType;

static ADADELTA_UPDATE: Source = shader!("adadelta_update");

/// A step of Adadelta, in place. Inputs: parameters p, running means s of squared gradients and a of squared steps (0 before the first
/// step), gradient g, f32 of one shape; hyper, f32 `[4]`, the learning rate first (1 in the paper); health, u32 `[2]`, whose first
/// must be 0 for anything to happen. Outputs: p, s, a.
///
/// `g += weight_decay p; s = rho s + (1 - rho) g^2; delta = sqrt(a + epsilon) / sqrt(s + epsilon) g;`
/// `a = rho a + (1 - rho) delta^2; p -= rate delta`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct AdadeltaUpdate {
    /// Decay of the running means.
    pub rho: f64,
    /// Added under the roots.
    pub epsilon: f64,
    /// Factor of an L2 penalty.
    pub weight_decay: f64,
}

impl Default for AdadeltaUpdate {
    /// rho 0.95 and epsilon 1e-6, the paper's choice on MNIST and Keras's rho; PyTorch has 0.9 and 1e-6. No weight decay.
    fn default() -> Self {
        AdadeltaUpdate { rho: 0.95, epsilon: 1e-6, weight_decay: 0.0 }
    }
}

impl UpdateRule<3> for AdadeltaUpdate {
    fn step<T: Real>(&self, [p, s, a]: [T; 3], g: T, hyper: [T; 4]) -> [T; 3] {
        let (rho, one_minus_rho) = (T::from_f64(self.rho), T::from_f64(1.0 - self.rho));
        let epsilon = T::from_f64(self.epsilon);
        let g = g + T::from_f64(self.weight_decay) * p;
        let s = rho * s + one_minus_rho * (g * g);
        let delta = (a + epsilon).sqrt() / (s + epsilon).sqrt() * g;
        [p - hyper[0] * delta, s, rho * a + one_minus_rho * (delta * delta)]
    }
}

impl Op for AdadeltaUpdate {
    fn name(&self) -> &'static str {
        "adadelta_update"
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>> {
        update::expect_share("rho", self.rho)?;
        update::expect_positive("epsilon", self.epsilon)?;
        update::expect_nonnegative("weight_decay", self.weight_decay)?;
        update::types(inputs, &["p", "s", "a", "g", "hyper", "health"])
    }

    fn gpu(&self, r: &mut Recorder<'_>) -> Result<()> {
        let params = [
            ("rho", constant(self.rho)),
            ("one_minus_rho", constant(1.0 - self.rho)),
            ("epsilon", constant(self.epsilon)),
            ("weight_decay", constant(self.weight_decay)),
        ];
        update::gpu::<3>(r, &ADADELTA_UPDATE, &[], &params);
        Ok(())
    }

    fn cost(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Cost {
        Cost { flops: 18 * inputs[0].elements() as u64, bytes: moved_bytes(inputs, outputs) }
    }

    fn error_bound(&self, b: &Bound<'_>) -> Result<Vec<Vec<f64>>> {
        Ok(update::error_bound(self, b))
    }

    fn in_place(&self) -> &[(usize, usize)] {
        &[(0, 0), (1, 1), (2, 2)]
    }
}

impl Cpu for AdadeltaUpdate {
    fn cpu<T: Real>(&self, args: &mut CpuArgs<'_, T>) {
        update::cpu(self, args);
    }
}

/// The list's entry.
pub static DECLARATIONS: &[Declaration] = &[Declaration {
    name: "adadelta_update",
    no_gradient: Some("it updates parameters"),
    shaders: &[&ADADELTA_UPDATE],
    cases,
}];

fn cases() -> Vec<Case> {
    let op = AdadeltaUpdate::default();
    let mut first = update::sample_inputs(1, 3, 64, 1, 0);
    for mean in &mut first[1..3] {
        *mean = crate::tensor::Tensor::zeros(&mean.tensor_type());
    }
    vec![
        Case::new("one", op, update::sample_inputs(2, 3, 1, 1, 0)),
        Case::new("first_step", op, first),
        Case::new("vec4_workgroups", AdadeltaUpdate { weight_decay: 1e-2, ..op }, update::sample_inputs(3, 3, 1088, 1, 0)),
        Case::new("odd", AdadeltaUpdate { rho: 0.9, epsilon: 1e-7, ..op }, update::sample_inputs(4, 3, 517, 1, 0)),
        Case::new("stopped", op, update::sample_inputs(5, 3, 64, 1, 1)),
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

    /// From means of 0: delta = sqrt(1e-6) / sqrt(0.05 * 4 + 1e-6) * 2, by hand.
    #[test]
    fn first_step() {
        let [p, s, a] = AdadeltaUpdate::default().step([1.0f64, 0.0, 0.0], 2.0, [1.0, 0.0, 0.0, 0.0]);
        let delta = 1e-3 / 0.200_001f64.sqrt() * 2.0;
        assert!((p - (1.0 - delta)).abs() < 1e-14, "{p}");
        assert!((s - 0.2).abs() < 1e-14 && (a - 0.05 * delta * delta).abs() < 1e-18);
    }

    #[test]
    fn bad_arguments_are_refused() {
        let page = TensorType::f32([8]);
        let types = [page.clone(), page.clone(), page.clone(), page, TensorType::f32([4]), TensorType::u32([2])];
        let op = AdadeltaUpdate::default();
        assert_eq!(op.infer(&types).unwrap(), types[..3]);
        assert!(AdadeltaUpdate { rho: 1.0, ..op }.infer(&types).is_err());
        assert!(AdadeltaUpdate { epsilon: 0.0, ..op }.infer(&types).is_err());
        assert!(op.infer(&types[1..]).is_err());
    }
}
