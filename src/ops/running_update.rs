//! Running means of what each batch gives: how batch norm's statistics for inference come about.

use crate::error::{Error, Result};
use crate::linalg::{Real, for_each_chunk};
use crate::op::{
    Bound, Buffer, Case, Cost, Cpu, CpuArgs, Declaration, Op, Oracle, Recorder, Source, expect_inputs, moved_bytes, sample, shader,
};
use crate::ops::elements::Elements;
use crate::ops::running_error::Running;
use crate::tensor::{DType, Tensor, TensorType};

static RUNNING_UPDATE: Source = shader!("running_update");

/// `running += (1 - momentum) (value - running)`, in place. Inputs: running and value, f32 of one shape; health, u32 `[2]`, whose
/// first must be 0 for anything to happen, see [`Track`](crate::ops::track::Track). Output: running.
///
/// Momentum is Keras's, the share that is kept; PyTorch gives that name to `1 - momentum`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct RunningUpdate {
    /// 0 to 1.
    pub momentum: f64,
}

impl RunningUpdate {
    /// Where `value` is `running` nothing changes, not even by a rounding.
    fn step<T: Real>(&self, running: T, value: T) -> T {
        running + T::from_f64(1.0 - self.momentum) * (value - running)
    }
}

impl Op for RunningUpdate {
    fn name(&self) -> &'static str {
        "running_update"
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>> {
        expect_inputs(inputs, &["running", "value", "health"])?;
        if !(0.0..=1.0).contains(&self.momentum) {
            return Err(Error::invalid("momentum", self.momentum, "0 to 1, the share that is kept"));
        }
        inputs[0].expect_dtype("running", DType::F32)?;
        inputs[1].expect("value", &inputs[0])?;
        inputs[2].expect("health", &TensorType::u32([2]))?;
        Ok(vec![inputs[0].clone()])
    }

    fn gpu(&self, r: &mut Recorder<'_>) -> Result<()> {
        let e = Elements::of(r.y(0).elements());
        let params = [("n", e.n()), ("rate", ((1.0 - self.momentum) as f32).into())];
        let grid = e.grid(r);
        let reads = [Buffer::Input(1), Buffer::Input(2)];
        r.dispatch(e.kernel(&RUNNING_UPDATE, &[]), &reads, &[Buffer::Output(0)], &params, grid);
        Ok(())
    }

    fn cost(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Cost {
        Cost { flops: 3 * inputs[0].elements() as u64, bytes: moved_bytes(inputs, outputs) }
    }

    fn error_bound(&self, b: &Bound<'_>) -> Result<Vec<Vec<f64>>> {
        if matches!(&b.inputs[2], Oracle::U32(health) if health[0] != 0) {
            return Ok(b.exact());
        }
        let at = |input: usize, i: usize| Running::from_f32(b.inputs[input].real()[i] as f32);
        Ok(b.each(|i, _| self.step(at(0, i), at(1, i)).error()))
    }

    fn in_place(&self) -> &[(usize, usize)] {
        &[(0, 0)]
    }
}

impl Cpu for RunningUpdate {
    fn cpu<T: Real>(&self, args: &mut CpuArgs<'_, T>) {
        if args.x_u32(2)[0] != 0 {
            return;
        }
        let value = args.x(1);
        for_each_chunk(args.y(0), |at, running| {
            for (running, &value) in running.iter_mut().zip(&value[at..]) {
                *running = self.step(*running, value);
            }
        });
    }
}

/// The list's entry.
pub static DECLARATIONS: &[Declaration] = &[Declaration {
    name: "running_update",
    no_gradient: Some("it updates statistics"),
    shaders: &[&RUNNING_UPDATE],
    cases,
}];

fn cases() -> Vec<Case> {
    let case = |name: &str, momentum: f64, len: usize, health: u32| {
        let health = Tensor::u32([2], vec![health, 7]).unwrap_or_else(|_| unreachable!("made to fit"));
        let inputs = vec![sample::normal(len as u64, [len]), sample::normal(len as u64 + 1, [len]), health];
        Case::new(name, RunningUpdate { momentum }, inputs)
    };
    vec![
        case("one", 0.9, 1, 0),
        case("vec4_workgroups", 0.99, 1088, 0),
        case("odd", 0.5, 517, 0),
        case("kept", 1.0, 20, 0),
        case("stopped", 0.9, 64, 1),
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

    #[test]
    fn follows() {
        let op = RunningUpdate { momentum: 0.75 };
        assert_eq!((op.step(4.0, 8.0), op.step(0.3f32, 0.3)), (5.0, 0.3));
        let types = [TensorType::f32([8]), TensorType::f32([8]), TensorType::u32([2])];
        assert_eq!(op.infer(&types).unwrap(), types[..1]);
        assert!(op.infer(&[types[0].clone(), TensorType::f32([9]), types[2].clone()]).is_err());
        for momentum in [-0.1, 1.1, f64::NAN] {
            assert!(RunningUpdate { momentum }.infer(&types).is_err());
        }
    }
}
