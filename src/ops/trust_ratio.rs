//! Learning rates by the norms of tensors: the layer-wise part of LARS and LAMB.

use super::clip_norm::{running_sum, sum_of_squares};
use super::row_reduction::{Lanes, ROW};
use super::running_error::Running;
use super::update::{BLOCK, HYPER, factors_type};
use crate::error::{Error, Result};
use crate::linalg::Real;
use crate::op::{
    Bound, Buffer, Case, Cost, Cpu, CpuArgs, Declaration, GRID, Kernel, Op, Oracle, Recorder, Source, TINY, moved_bytes, sample, shader,
};
use crate::tensor::{DType, Shape, Tensor, TensorType};

static TRUST_SQUARES: Source = shader!("trust_squares");
static TRUST_RATIO: Source = shader!("trust_ratio");

/// Factors of the learning rate by the norms of a page's tensors: `eta |p| / (|u| + weight_decay |p|)`, or, joined,
/// `eta |p| / |u + weight_decay p|`; 1 where a norm is 0 and for tensors that weight decay passes by, as is usual for biases and
/// normalisations. Inputs: parameters p and their gradient or direction u, f32 `[len]`; pieces, u32 `[tensors, 2]`, the first [`BLOCK`] of
/// each tensor and their number, of which all are some tensor's; hyper, f32 `[6]` ([`HYPER`]); and, if there are some, factors as in
/// [`Update`](super::update::Update). Output: factors.
///
/// LARS (Y. You, I. Gitman, B. Ginsburg, arXiv:1708.03888, 2017) has the gradient as u; LAMB (Y. You et al., ICLR 2020) its direction,
/// joined, and an eta of 1.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct TrustRatio {
    /// The trust coefficient.
    pub eta: f64,
    /// Weight decay, which u doesn't have yet.
    pub weight_decay: f64,
    /// Whether the norm is that of the sum with the weight decay, or the norms are added up.
    pub joined: bool,
    /// Whether u has yet to be multiplied by the gradient's factor of `hyper`.
    pub scaled: bool,
}

impl TrustRatio {
    /// Weight decay in the sum, and beside it.
    fn decays(&self) -> [f64; 2] {
        if self.joined { [self.weight_decay, 0.0] } else { [0.0, self.weight_decay] }
    }

    fn ratio<T: Real>(&self, p_squares: T, u_squares: T, scale: T, decay: T) -> T {
        let (p, u) = (p_squares.sqrt(), u_squares.sqrt());
        let u = if self.scaled { scale * u } else { u };
        if p == T::ZERO || u == T::ZERO || decay == T::ZERO {
            return T::ONE;
        }
        T::from_f64(self.eta) * p / (u + T::from_f64(self.decays()[1]) * decay * p)
    }
}

/// Blocks of a tensor, of `n_blocks`.
fn blocks(pieces: &[u32], n_blocks: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
    let range = move |piece: &[u32]| {
        let first = (piece[0] as usize).min(n_blocks);
        first..n_blocks.min(first + piece[1] as usize)
    };
    pieces.chunks_exact(2).map(range)
}

/// Elements of blocks, of `len`.
fn elements(blocks: &std::ops::Range<usize>, len: usize) -> std::ops::Range<usize> {
    (blocks.start * BLOCK).min(len)..(blocks.end * BLOCK).min(len)
}

impl Op for TrustRatio {
    fn name(&self) -> &'static str {
        "trust_ratio"
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>> {
        if inputs.len() != 4 && inputs.len() != 5 {
            return Err(Error::invalid("inputs", inputs.len(), "4 (p, u, pieces, hyper), or factors too"));
        }
        for (what, value) in [("eta", self.eta), ("weight_decay", self.weight_decay)] {
            if !(value >= 0.0 && (value as f32).is_finite()) {
                return Err(Error::invalid(what, value, "0 or a positive number"));
            }
        }
        inputs[0].expect_dtype("p", DType::F32)?;
        let &[len] = inputs[0].shape.dims() else {
            return Err(Error::invalid("p", &inputs[0], "1 dimension [len]"));
        };
        inputs[1].expect("u", &inputs[0])?;
        inputs[2].expect_dtype("pieces", DType::U32)?;
        let [n_pieces, 2] = inputs[2].shape.matrix("pieces")? else {
            return Err(Error::invalid("pieces", &inputs[2], "[tensors, 2]"));
        };
        Shape::from([n_pieces]).checked("pieces")?;
        inputs[3].expect("hyper", &TensorType::f32([HYPER]))?;
        if let Some(factors) = inputs.get(4) {
            factors.expect("factors", &factors_type(len))?;
        }
        Ok(vec![factors_type(len)])
    }

    fn gpu(&self, r: &mut Recorder<'_>) -> Result<()> {
        let (len, n_pieces) = (r.x(0).elements(), r.x(2).shape.dims()[0]);
        let n_blocks = len.div_ceil(BLOCK);
        let factors = r.inputs().len() > 4;
        let reads = [2, 3, if factors { 4 } else { 3 }].map(Buffer::Input);
        let squares = r.temp(TensorType::f32([n_blocks, 2]));
        let [inside, beside] = self.decays().map(|decay| decay as f32);
        let (blocks, whole) = (Lanes::of(BLOCK), Lanes::whole(n_blocks));
        let kernel = blocks.set(Kernel::new(&TRUST_SQUARES, &[&GRID, &ROW])).set("FACTORS", factors);
        let params = [("n_rows", n_blocks.into()), ("len", len.into()), ("penalty", inside.into())];
        let grid = blocks.grid(r, n_blocks);
        r.dispatch(kernel, &[Buffer::Input(0), Buffer::Input(1), reads[2]], &[squares], &params, grid);
        let kernel = whole.set(Kernel::new(&TRUST_RATIO, &[&GRID, &ROW])).set("FACTORS", factors).set("SCALED", self.scaled);
        let params = [
            ("n_pieces", n_pieces.into()),
            ("n_blocks", n_blocks.into()),
            ("eta", (self.eta as f32).into()),
            ("weight_decay", beside.into()),
        ];
        let grid = whole.grid(r, n_pieces);
        r.dispatch(kernel, &[&[squares], &reads[..]].concat(), &[Buffer::Output(0)], &params, grid);
        r.declare_depth(blocks.additions() + whole.additions());
        Ok(())
    }

    fn cost(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Cost {
        Cost { flops: 4 * inputs[0].elements() as u64, bytes: moved_bytes(inputs, outputs) }
    }

    fn error_bound(&self, b: &Bound<'_>) -> Result<Vec<Vec<f64>>> {
        let (p, u) = (b.inputs[0].real(), b.inputs[1].real());
        let Oracle::U32(pieces) = &b.inputs[2] else { unreachable!("infer accepts only u32") };
        let scale = Running::new(b.inputs[3].real()[4], 0.0);
        let mut bounds = b.exact();
        for blocks in blocks(pieces, bounds[0].len() / 2) {
            let range = elements(&blocks, p.len());
            let factor = |i: usize, k: usize| b.inputs.get(4).map_or(1.0, |f| f.real()[2 * i + k]);
            let penalty = |i: usize| self.decays()[0] * factor(i / BLOCK, 1);
            // A step has the roundings of the penalty (2), its product and the sum, relative to its parts, and is squared.
            let (mut of_p, mut of_u, mut parts) = (0.0, 0.0, 0.0);
            for i in range.clone() {
                let decay = penalty(i) * p[i];
                of_p += p[i] * p[i];
                of_u += (u[i] + decay) * (u[i] + decay);
                parts += (u[i].abs() + decay.abs()) * (u[i].abs() + decay.abs());
            }
            let p = running_sum(of_p, range.len(), b.depth);
            let u = Running::new(of_u, running_sum(parts, range.len(), b.depth + 8).error());
            for i in blocks {
                let [rate, decay] = [0, 1].map(|k| factor(i, k));
                let ratio = self.ratio(p, u, scale, Running::new(decay, 0.0));
                bounds[0][2 * i] = (Running::new(rate, 0.0) * ratio).error() + TINY;
            }
        }
        Ok(bounds)
    }
}

impl Cpu for TrustRatio {
    fn cpu<T: Real>(&self, args: &mut CpuArgs<'_, T>) {
        let (p, u, pieces, scale) = (args.x(0), args.x(1), args.x_u32(2), args.x(3)[4]);
        let factors = (args.n_inputs() > 4).then(|| args.x(4));
        let y = args.y(0);
        for blocks in blocks(pieces, y.len() / 2) {
            let range = elements(&blocks, p.len());
            let factor = |i: usize, k: usize| factors.map_or(T::ONE, |f| f[2 * i + k]);
            let inside = T::from_f64(self.decays()[0]);
            let of_p = sum_of_squares(range.clone(), |i| p[i]);
            let of_u = sum_of_squares(range, |i| u[i] + inside * factor(i / BLOCK, 1) * p[i]);
            for i in blocks {
                let [rate, decay] = [0, 1].map(|k| factor(i, k));
                y[2 * i] = rate * self.ratio(of_p, of_u, scale, decay);
                y[2 * i + 1] = decay;
            }
        }
    }
}

/// The list's entry.
pub static DECLARATIONS: &[Declaration] = &[Declaration {
    name: "trust_ratio",
    no_gradient: Some("it gives rates to the optimizer"),
    shaders: &[&TRUST_SQUARES, &TRUST_RATIO],
    cases,
}];

fn cases() -> Vec<Case> {
    let lamb = TrustRatio { eta: 1.0, weight_decay: 1e-2, joined: true, scaled: false };
    let lars = TrustRatio { eta: 1e-3, weight_decay: 1e-2, joined: false, scaled: true };
    let case = |name: &str, op: TrustRatio, seed: u64, len: usize, pieces: &[u32], factors: Option<Vec<f32>>| {
        let f32s = |shape: Shape, v| Tensor::f32(shape, v).unwrap_or_else(|_| unreachable!("made to fit"));
        let table = Tensor::u32([pieces.len() / 2, 2], pieces.to_vec()).unwrap_or_else(|_| unreachable!("made to fit"));
        let hyper = f32s([HYPER].into(), vec![0.1, 0.2, 0.3, 0.4, 0.5, 1.0]);
        let mut inputs = vec![sample::normal(seed, [len]), sample::normal(seed + 1, [len]), table, hyper];
        inputs.extend(factors.map(|f| f32s(factors_type(len).shape, f)));
        Case::new(name, op, inputs)
    };
    let mut zero = case("zero_norm", lamb, 9, 200, &[0, 2, 2, 2], None);
    let values = zero.inputs[0].as_f32().unwrap_or(&[]).iter().enumerate().map(|(i, x)| if i < 128 { 0.0 } else { *x }).collect();
    zero.inputs[0] = Tensor::f32([200], values).unwrap_or_else(|_| unreachable!("made to fit"));
    vec![
        case("one", lamb, 1, 1, &[0, 1], None),
        case("lamb", lamb, 3, 1000, &[0, 5, 5, 1, 6, 10], None),
        case("lars", lars, 5, 4160, &[0, 64, 64, 1], None),
        case("lamb_factors", lamb, 13, 190, &[0, 2, 2, 1], Some(vec![1.0, 0.5, 1.0, 0.5, 0.5, 0.0])),
        case("lars_factors", lars, 7, 256, &[0, 2, 2, 1, 3, 1], Some(vec![1.0, 1.0, 1.0, 1.0, 0.5, 0.0, 2.0, 0.5])),
        zero,
        case("many_blocks", lamb, 11, 70_000, &[0, 1000, 1000, 94], None),
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
    fn values() {
        let lars = TrustRatio { eta: 0.5, weight_decay: 0.1, joined: false, scaled: true };
        assert!((lars.ratio(9.0f64, 16.0, 2.0, 1.0) - 1.5 / 8.3).abs() < 1e-15);
        assert_eq!([lars.ratio(0.0, 1.0, 1.0, 1.0), lars.ratio(1.0, 0.0, 1.0, 1.0), lars.ratio(1.0, 1.0, 1.0, 0.0)], [1.0; 3]);
    }

    #[test]
    fn bad_arguments_are_refused() {
        let case = &cases()[1];
        let types: Vec<_> = case.inputs.iter().map(Tensor::tensor_type).collect();
        let op = TrustRatio { eta: 1.0, weight_decay: 0.0, joined: false, scaled: false };
        assert!(op.infer(&types).is_ok());
        assert!(op.infer(&types[..3]).is_err());
        assert!(TrustRatio { eta: f64::NAN, ..op }.infer(&types).is_err());
        assert!(TrustRatio { weight_decay: -1.0, ..op }.infer(&types).is_err());
        let mut other = types.clone();
        other[2] = TensorType::u32([3, 3]);
        assert!(op.infer(&other).is_err());
    }
}
