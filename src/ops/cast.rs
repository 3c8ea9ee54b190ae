//! From floats to integers and truth values, and back; and floats rounded to 16 bits.

use super::elements::Elements;
use super::strided::expect_words;
use super::words::{INTEGER, Integer, integers};
use crate::error::{Error, Result};
use crate::linalg::{Real, for_each_chunk};
use crate::op::{
    BFLOAT16, BOOL, Bound, Buffer, Case, Cpu, CpuArgs, Declaration, FLOAT, FLOAT16, Gradient, INT32, Interchange, Op, Recorder,
    Source, StandardNode, Term, UINT32, UNIT, View, expect_inputs, no_counterpart, sample, shader,
};
use crate::tensor::{DType, Tensor, TensorType};
use half::{bf16, f16};

static SHADER: Source = shader!("cast");

/// Elements as elements of another kind, of the same shape.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Cast {
    /// f32 to integers, towards zero, modulo 2 to the power of their width; of what isn't finite 0.
    ToInteger(Integer),
    /// f32 to integers, towards zero; beyond the largest or the smallest to that; of a NaN 0.
    ToIntegerSaturating(Integer),
    /// Integers of 32 bits or less to the nearest f32.
    FromInteger {
        /// Whether they are signed.
        signed: bool,
    },
    /// Integers to such of another width: the low bits of them.
    Wrap(Integer),
    /// f32 or integers to 1, or to 0 where they are 0. A NaN isn't.
    ToBool,
    /// f32 to the nearest float16 (IEEE 754 binary16), halves to even, as f32: infinite from 65,520 on.
    ToFloat16,
    /// f32 to the nearest bfloat16 (the upper half of an f32), halves to even, as f32.
    ToBfloat16,
}

impl Cast {
    fn integer(self) -> Integer {
        match self {
            Cast::ToInteger(integer) | Cast::ToIntegerSaturating(integer) | Cast::Wrap(integer) => integer,
            Cast::FromInteger { signed } => Integer { signed, bits: 32 },
            Cast::ToBool | Cast::ToFloat16 | Cast::ToBfloat16 => Integer::U32,
        }
    }

    /// The `CAST` of `shaders/cast.wgsl`.
    fn code(self, dtype: DType) -> u32 {
        match self {
            Cast::ToInteger(_) => 0,
            Cast::ToIntegerSaturating(_) => 1,
            Cast::FromInteger { .. } => 2,
            Cast::Wrap(_) => 3,
            Cast::ToBool if dtype == DType::F32 => 4,
            Cast::ToBool => 5,
            Cast::ToFloat16 => 6,
            Cast::ToBfloat16 => 7,
        }
    }
}

impl Op for Cast {
    fn name(&self) -> &'static str {
        "cast"
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>> {
        expect_inputs(inputs, &["x"])?;
        self.integer().check()?;
        let x = &inputs[0];
        let dtype = match self {
            Cast::ToInteger(_) | Cast::ToIntegerSaturating(_) => {
                x.expect_dtype("x", DType::F32)?;
                DType::U32
            }
            Cast::FromInteger { .. } => {
                x.expect_dtype("x", DType::U32)?;
                DType::F32
            }
            Cast::Wrap(_) => {
                x.expect_dtype("x", DType::U32)?;
                DType::U32
            }
            Cast::ToBool => {
                expect_words("x", x)?;
                DType::U32
            }
            Cast::ToFloat16 | Cast::ToBfloat16 => {
                x.expect_dtype("x", DType::F32)?;
                DType::F32
            }
        };
        Ok(vec![TensorType::new(dtype, x.shape.clone())])
    }

    fn gradient(&self, g: &mut Gradient<'_>) -> Result<()> {
        if matches!(self, Cast::ToFloat16 | Cast::ToBfloat16) {
            let dy = g.dy0()?;
            g.set(0, dy);
            return Ok(());
        }
        Err(Error::invalid("gradient", "a loss that depends on a cast to or from integers", "differentiable ops only"))
    }

    fn gpu(&self, r: &mut Recorder<'_>) -> Result<()> {
        let e = Elements::of(r.y(0).elements());
        let kernel = e.words(&SHADER, &[&INTEGER]).set("Real", if e.is_vec4() { "vec4<f32>" } else { "f32" });
        let kernel = self.integer().set(kernel, e.is_vec4()).set("CAST", self.code(r.x(0).dtype));
        let grid = e.grid(r);
        r.dispatch(kernel, &[Buffer::Input(0)], &[Buffer::Output(0)], &[("n", e.n())], grid);
        Ok(())
    }

    fn error_bound(&self, b: &Bound<'_>) -> Result<Vec<Vec<f64>>> {
        // Of an integer that isn't an f32, either neighbour is.
        Ok(match self {
            Cast::FromInteger { .. } => b.each(|_, y| if y.abs() <= 16_777_216.0 { 0.0 } else { UNIT * y.abs() }),
            _ => b.exact(),
        })
    }

    /// Words in two's complement are unsigned ones in the file.
    fn interchange(&self, d: &mut Interchange<'_>) -> Result<Vec<Term>> {
        let between = match self {
            Cast::ToInteger(Integer { signed: true, bits: 32 }) => INT32,
            Cast::FromInteger { signed } => if *signed { INT32 } else { UINT32 },
            Cast::ToBool => BOOL,
            Cast::ToFloat16 => FLOAT16,
            Cast::ToBfloat16 => BFLOAT16,
            other => return Err(no_counterpart(format!("cast, {other:?}"))),
        };
        let to = if d.output_type(0).dtype == DType::F32 { FLOAT } else { UINT32 };
        let between = d.same(StandardNode::free("Cast", &[d.x(0)]).int("to", between));
        Ok(vec![d.same(StandardNode::free("Cast", &[between]).int("to", to))])
    }
}

/// `v`, a whole number or infinite, modulo 2^32.
fn modulo_word(v: f64) -> u32 {
    if v.is_finite() { (v % 4_294_967_296.0) as i64 as u32 } else { 0 }
}

fn run<X: Copy + Sync, Y: Send>(x: &[X], y: &mut [Y], f: impl Fn(X) -> Y + Sync) {
    for_each_chunk(y, |at, y| y.iter_mut().zip(&x[at..]).for_each(|(y, &x)| *y = f(x)));
}

impl Cpu for Cast {
    fn cpu<T: Real>(&self, args: &mut CpuArgs<'_, T>) {
        let integer = self.integer();
        match *self {
            Cast::ToInteger(_) => run(args.x(0), args.y_u32(0), |x| integer.wrap(modulo_word(x.to_f64().trunc()))),
            Cast::ToIntegerSaturating(_) => {
                // A conversion takes a NaN for 0.
                let [least, most] = integer.range();
                run(args.x(0), args.y_u32(0), |x| (x.to_f64().trunc() as i64).clamp(least, most) as u32);
            }
            Cast::FromInteger { .. } => run(args.x_u32(0), args.y(0), |x| T::from_f64(integer.value(x) as f64)),
            Cast::Wrap(_) => run(args.x_u32(0), args.y_u32(0), |x| integer.wrap(x)),
            Cast::ToBool => match args.view(0) {
                View::Real(x) => run(x, args.y_u32(0), |x| u32::from(x != T::ZERO)),
                View::U32(x) => run(x, args.y_u32(0), |x| u32::from(x != 0)),
                View::U8(_) => unreachable!("infer checks the type"),
            },
            Cast::ToFloat16 => run(args.x(0), args.y(0), |x| T::from_f32(f16::from_f32(x.to_f32()).to_f32())),
            Cast::ToBfloat16 => run(args.x(0), args.y(0), |x| T::from_f32(bf16::from_f32(x.to_f32()).to_f32())),
        }
    }
}

/// The list's entry.
pub static DECLARATIONS: &[Declaration] = &[Declaration {
    name: "cast",
    no_gradient: Some("step functions; training takes rounding to 16 bits for the identity, as PyTorch does"),
    shaders: &[&SHADER],
    cases,
}];

fn row(values: Vec<f32>) -> Tensor {
    Tensor::f32([values.len()], values).unwrap_or_else(|_| unreachable!("made to fit"))
}

/// Around powers of two of both signs, where widths end; halves; what isn't finite; denormals.
fn floats() -> Tensor {
    let powers = (-160..=127).map(|e| 2f64.powi(e) as f32);
    let near = |x: f32| {
        let bits = x.to_bits();
        let around = [bits.wrapping_sub(1), bits, bits + 1, bits + (bits >> 3 & 0x7fffff)].map(f32::from_bits);
        around.into_iter().chain([1.5 * x, 0.75 * x, x + 0.5, 255.0 * x, 1.000_488_3 * x, 1.001_464_8 * x, 1.003_906_2 * x, 1.011_718_8 * x])
    };
    let mut values: Vec<f32> = powers.flat_map(near).collect();
    values.extend([0.0, f32::NAN, f32::INFINITY, 65_519.996, 65_520.0, 65_504.0, f32::MAX, 3.39e38, 4_294_967_295.0, 2_147_483_648.0]);
    row(values.iter().flat_map(|&x| [x, -x]).collect())
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut case = |name: String, op, x: Tensor| cases.push(Case::new(name, op, vec![x]).differentiable_by(&[]));
    for signed in [false, true] {
        let sign = if signed { 'i' } else { 'u' };
        for bits in [1, 4, 8, 16, 32] {
            let integer = Integer { signed, bits };
            case(format!("to_{sign}{bits}"), Cast::ToInteger(integer), floats());
            case(format!("to_{sign}{bits}_saturating"), Cast::ToIntegerSaturating(integer), floats());
            case(format!("wrap_to_{sign}{bits}"), Cast::Wrap(integer), integers(1, Integer::U32, &[3, 50]));
        }
        let from = Cast::FromInteger { signed };
        case(format!("from_{sign}32"), from, integers(2, Integer { signed, bits: 32 }, &[300]));
        case(format!("from_{sign}16"), from, integers(3, Integer { signed, bits: 16 }, &[7, 5]));
    }
    for (name, op) in [("bool", Cast::ToBool), ("float16", Cast::ToFloat16), ("bfloat16", Cast::ToBfloat16)] {
        case(format!("to_{name}"), op, floats());
        case(format!("to_{name}_odd"), op, sample::normal(4, [3, 5, 7]));
    }
    case("one".to_string(), Cast::ToFloat16, row(vec![0.1]));
    case("words_to_bool".to_string(), Cast::ToBool, sample::indices(5, 77, 3));
    case("vec4_workgroups".to_string(), Cast::ToInteger(Integer::I32), sample::integers(6, [2, 11, 5, 12], 100));
    cases
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::{Oracle, run_f64};
    use crate::ops::check;

    #[test]
    fn cases_hold() {
        check::declarations(DECLARATIONS);
    }

    #[test]
    fn integers_by_hand() {
        let cast = |op: Cast, x: f64| {
            let y = run_f64(&op, &[TensorType::f32([1])], &[View::Real(&[x])]).unwrap();
            let Oracle::U32(y) = &y[0] else { panic!("integers") };
            op.integer().value(y[0])
        };
        let (i8, u8) = (Integer { signed: true, bits: 8 }, Integer { signed: false, bits: 8 });
        let wrapped = [(i8, 130.9, -126), (i8, -1.9, -1), (u8, -1.9, 255), (u8, 300.0, 44), (i8, 4_294_967_296.0 * 3.0 + 7.0, 7)];
        for (integer, x, want) in wrapped {
            assert_eq!(cast(Cast::ToInteger(integer), x), want, "{x}");
        }
        for (integer, x, want) in [(i8, 130.9, 127), (i8, -1e30, -128), (u8, -1.9, 0), (u8, f64::INFINITY, 255), (u8, f64::NAN, 0)] {
            assert_eq!(cast(Cast::ToIntegerSaturating(integer), x), want, "{x}");
        }
        assert_eq!(cast(Cast::ToInteger(Integer::I32), f64::NEG_INFINITY), 0);
    }

    #[test]
    fn bad_types_are_refused() {
        assert!(Cast::Wrap(Integer::I32).infer(&[TensorType::f32([2])]).is_err());
        assert!(Cast::ToFloat16.infer(&[TensorType::u32([2])]).is_err());
        assert!(Cast::ToBool.infer(&[TensorType::new(DType::U8, [2])]).is_err());
        assert!(Cast::ToInteger(Integer { signed: true, bits: 64 }).infer(&[TensorType::f32([2])]).is_err());
    }
}
