//! Adds up a step's loss and number of correct predictions on the device, and notices NaN and infinity, so that nothing needs to be
//! read back at every step.

use crate::error::{Error, Result};
use crate::linalg::Real;
use crate::op::{
    Bound, Buffer, Case, Cost, Cpu, CpuArgs, Declaration, FINITE, Kernel, Op, Oracle, Recorder, Source, TINY, expect_inputs, gamma,
    moved_bytes, sample, shader,
};
use crate::ops::column_reduction::sum;
use crate::tensor::{DType, Tensor, TensorType};

static TRACK: Source = shader!("track");

/// Invocations of the workgroup.
const LANES: usize = 256;

/// Largest batch: 256 iterations of a lane.
pub const MAX_BATCH: usize = 65_536;

/// Keeps count of training, in place. Inputs: metrics, f32 `[2]`, sums of loss and of correct predictions; health, u32 `[2]`; loss
/// and correct, f32 `[n]`, of the samples of a step; step, u32 `[1]`. Outputs: metrics and health.
///
/// As long as `health[0]` is 0: if all losses are finite, metrics grow by the sums of loss and correct; else health becomes
/// `[1, step]`, and this op and the optimizers' updates do nothing from then on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Track;

impl Op for Track {
    fn name(&self) -> &'static str {
        "track"
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>> {
        expect_inputs(inputs, &["metrics", "health", "loss", "correct", "step"])?;
        inputs[0].expect("metrics", &TensorType::f32([2]))?;
        inputs[1].expect("health", &TensorType::u32([2]))?;
        inputs[2].expect_dtype("loss", DType::F32)?;
        match inputs[2].shape.dims() {
            [n] if *n <= MAX_BATCH => {}
            _ => return Err(Error::invalid("loss", &inputs[2], format!("1 dimension [n], at most {MAX_BATCH}"))),
        }
        inputs[3].expect("correct", &inputs[2])?;
        inputs[4].expect("step", &TensorType::u32([1]))?;
        Ok(inputs[..2].to_vec())
    }

    fn gpu(&self, r: &mut Recorder<'_>) -> Result<()> {
        let n = r.x(2).elements();
        // A lane's chain, the tree over the lanes, and the sum so far.
        r.declare_depth(n.div_ceil(LANES) + LANES.ilog2() as usize + 1);
        let reads = [Buffer::Input(2), Buffer::Input(3), Buffer::Input(4)];
        let writes = [Buffer::Output(0), Buffer::Output(1)];
        r.dispatch(Kernel::new(&TRACK, &[&FINITE]), &reads, &writes, &[("n", n.into())], [1, 1, 1]);
        Ok(())
    }

    fn cost(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Cost {
        Cost { flops: 2 * inputs[2].elements() as u64, bytes: moved_bytes(inputs, outputs) }
    }

    fn error_bound(&self, b: &Bound<'_>) -> Result<Vec<Vec<f64>>> {
        let mut bounds = b.exact();
        let stopped = matches!(&b.outputs[1], Oracle::U32(health) if health[0] != 0);
        if !stopped {
            for (i, bound) in bounds[0].iter_mut().enumerate() {
                let all = b.inputs[2 + i].real().iter().map(|x| x.abs()).sum::<f64>() + b.inputs[0].real()[i].abs();
                *bound = gamma(b.depth) * all + TINY;
            }
        }
        Ok(bounds)
    }

    fn in_place(&self) -> &[(usize, usize)] {
        &[(0, 0), (1, 1)]
    }
}

impl Cpu for Track {
    fn cpu<T: Real>(&self, args: &mut CpuArgs<'_, T>) {
        let (loss, correct, step) = (args.x(2), args.x(3), args.x_u32(4)[0]);
        let (metrics, health) = (args.y(0), args.y_u32(1));
        if health[0] != 0 {
            return;
        }
        if loss.iter().all(|x| x.is_finite()) {
            metrics[0] += sum(loss);
            metrics[1] += sum(correct);
        } else {
            health.copy_from_slice(&[1, step]);
        }
    }
}

/// The list's entry.
pub static DECLARATIONS: &[Declaration] = &[Declaration {
    name: "track",
    no_gradient: Some("it updates metrics"),
    shaders: &[&TRACK],
    cases,
}];

fn cases() -> Vec<Case> {
    let case = |name: &str, loss: Tensor, health: [u32; 2]| {
        let n = loss.shape().elements();
        let u32s = |v: &[u32]| Tensor::u32([v.len()], v.to_vec()).unwrap_or_else(|_| unreachable!("made to fit"));
        let metrics = Tensor::f32([2], vec![3.5, 40.0]).unwrap_or_else(|_| unreachable!("made to fit"));
        Case::new(name, Track, vec![metrics, u32s(&health), loss, sample::integers(1, [n], 1), u32s(&[17])])
    };
    let with = |n: usize, at: usize, value: f32| {
        let mut data = vec![0.5; n];
        data[at] = value;
        Tensor::f32([n], data).unwrap_or_else(|_| unreachable!("made to fit"))
    };
    vec![
        case("one", sample::positive(2, [1]), [0, 0]),
        case("odd", sample::normal(3, [257]), [0, 0]),
        case("many", sample::positive(4, [2100]), [0, 0]),
        case("integers", sample::integers(5, [1000], 20), [0, 0]),
        case("nan", with(300, 299, f32::NAN), [0, 0]),
        case("infinite", with(128, 0, f32::NEG_INFINITY), [0, 0]),
        case("stopped", with(128, 5, f32::NAN), [1, 3]),
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
    fn notices_the_first_bad_step() {
        for (name, want) in [("many", [0, 0]), ("nan", [1, 17]), ("infinite", [1, 17]), ("stopped", [1, 3])] {
            let case = cases().into_iter().find(|c| c.name == name).unwrap();
            let y = check::outputs(&case);
            assert_eq!(y[1], Oracle::U32(want.to_vec()), "{name}");
            assert_eq!(y[0].real() == [3.5, 40.0], want[0] != 0, "{name}");
        }
    }

    #[test]
    fn bad_inputs_are_refused() {
        let mut types: Vec<_> = cases()[0].inputs.iter().map(Tensor::tensor_type).collect();
        assert!(Track.infer(&types).is_ok());
        assert!(Track.infer(&types[..4]).is_err());
        types[2] = TensorType::f32([70_000]);
        types[3] = types[2].clone();
        assert!(Track.infer(&types).is_err());
    }
}
