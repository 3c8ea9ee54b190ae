//! Adam (D. Kingma, J. Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015), as PyTorch has it (`torch.optim.Adam`).

use crate::error::Result;
use crate::linalg::Real;
use crate::op::{
    Bound, Case, Cost, Cpu, CpuArgs, Declaration, Op, Recorder, Source, moved_bytes, shader,
};
use crate::ops::update::{self, UpdateRule, constant};
use crate::tensor::TensorType;

static ADAM_UPDATE: Source = shader!("adam_update");

/// A step of Adam, in place. Inputs: parameters p, moments m and v (0 before the first step), gradient g, f32 of one shape; hyper, f32
/// `[4]`: learning rate, `1 - beta1^t`, `1 - beta2^t` at step t, counted from 1; health, u32 `[2]`, whose first must be 0 for
/// anything to happen. Outputs: p, m, v.
///
/// `g += weight_decay p; m = beta1 m + (1 - beta1) g; v = beta2 v + (1 - beta2) g^2;`
/// `p -= rate / (1 - beta1^t) m / (sqrt(v / (1 - beta2^t)) + epsilon)`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct AdamUpdate {
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the denominator.
    pub epsilon: f64,
    /// Factor of an L2 penalty.
    pub weight_decay: f64,
}

impl Default for AdamUpdate {
    /// The paper's and PyTorch's: 0.9, 0.999, 1e-8, no weight decay.
    fn default() -> Self {
        AdamUpdate { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.0 }
    }
}

impl UpdateRule<3> for AdamUpdate {
    fn step<T: Real>(&self, [p, m, v]: [T; 3], g: T, hyper: [T; 4]) -> [T; 3] {
        let g = g + T::from_f64(self.weight_decay) * p;
        let m = T::from_f64(self.beta1) * m + T::from_f64(1.0 - self.beta1) * g;
        let v = T::from_f64(self.beta2) * v + T::from_f64(1.0 - self.beta2) * (g * g);
        let scale = (v / hyper[2]).sqrt() + T::from_f64(self.epsilon);
        [p - hyper[0] / hyper[1] * (m / scale), m, v]
    }
}

impl Op for AdamUpdate {
    fn name(&self) -> &'static str {
        "adam_update"
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>> {
        update::expect_share("beta1", self.beta1)?;
        update::expect_share("beta2", self.beta2)?;
        update::expect_positive("epsilon", self.epsilon)?;
        update::expect_nonnegative("weight_decay", self.weight_decay)?;
        update::types(inputs, &["p", "m", "v", "g", "hyper", "health"])
    }

    fn gpu(&self, r: &mut Recorder<'_>) -> Result<()> {
        let params = [
            ("beta1", constant(self.beta1)),
            ("one_minus_beta1", constant(1.0 - self.beta1)),
            ("beta2", constant(self.beta2)),
            ("one_minus_beta2", constant(1.0 - self.beta2)),
            ("epsilon", constant(self.epsilon)),
            ("weight_decay", constant(self.weight_decay)),
        ];
        update::gpu::<3>(r, &ADAM_UPDATE, &[], &params);
        Ok(())
    }

    fn cost(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Cost {
        Cost { flops: 15 * inputs[0].elements() as u64, bytes: moved_bytes(inputs, outputs) }
    }

    fn error_bound(&self, b: &Bound<'_>) -> Result<Vec<Vec<f64>>> {
        Ok(update::error_bound(self, b))
    }

    fn in_place(&self) -> &[(usize, usize)] {
        &[(0, 0), (1, 1), (2, 2)]
    }
}

impl Cpu for AdamUpdate {
    fn cpu<T: Real>(&self, args: &mut CpuArgs<'_, T>) {
        update::cpu(self, args);
    }
}

/// The list's entry.
pub static DECLARATIONS: &[Declaration] = &[Declaration {
    name: "adam_update",
    no_gradient: Some("it updates parameters"),
    shaders: &[&ADAM_UPDATE],
    cases,
}];

fn cases() -> Vec<Case> {
    let op = AdamUpdate::default();
    let mut first = update::sample_inputs(1, 3, 64, 1, 0);
    for moment in &mut first[1..3] {
        *moment = crate::tensor::Tensor::zeros(&moment.tensor_type());
    }
    vec![
        Case::new("one", op, update::sample_inputs(2, 3, 1, 1, 0)),
        Case::new("first_step", op, first),
        Case::new("vec4_workgroups", AdamUpdate { weight_decay: 1e-2, ..op }, update::sample_inputs(3, 3, 1088, 100, 0)),
        Case::new("odd", AdamUpdate { epsilon: 1e-7, beta1: 0.5, ..op }, update::sample_inputs(4, 3, 517, 3, 0)),
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

    /// With moments of 0 the first step is the rate in the gradient's direction, but for epsilon.
    #[test]
    fn first_step_is_the_rate() {
        let hyper = [0.01, 1.0 - 0.9, 1.0 - 0.999, 0.0];
        for g in [3.0, -0.02, 1e-3] {
            let [p, m, v] = AdamUpdate::default().step([1.0f64, 0.0, 0.0], g, hyper);
            assert!((p - (1.0 - 0.01 * g.signum())).abs() < 1e-6, "{p}");
            assert!((m - 0.1 * g).abs() < 1e-15 && (v - 0.001 * g * g).abs() < 1e-15);
        }
    }

    /// Minimises (p - 3)^2, gradient 2 (p - 3).
    #[test]
    fn descends() {
        let mut state = [0.0f64; 3];
        for t in 1..2000 {
            let g = 2.0 * (state[0] - 3.0);
            state = AdamUpdate::default().step(state, g, [0.05, 1.0 - 0.9f64.powi(t), 1.0 - 0.999f64.powi(t), 0.0]);
        }
        assert!((state[0] - 3.0).abs() < 1e-3, "{}", state[0]);
    }

    #[test]
    fn bad_arguments_are_refused() {
        let page = TensorType::f32([8]);
        let types = [page.clone(), page.clone(), page.clone(), page, TensorType::f32([4]), TensorType::u32([2])];
        let op = AdamUpdate::default();
        assert_eq!(op.infer(&types).unwrap(), types[..3]);
        assert!(AdamUpdate { beta1: 1.0, ..op }.infer(&types).is_err());
        assert!(AdamUpdate { beta2: -0.1, ..op }.infer(&types).is_err());
        assert!(AdamUpdate { epsilon: 1e-60, ..op }.infer(&types).is_err());
        assert!(AdamUpdate { weight_decay: f64::NAN, ..op }.infer(&types).is_err());
    }
}
