//! Comparisons of two tensors, and functions of two tensors of integers or truth values, which are repeated where they are shorter.

use super::broadcasting::{Broadcasting, WORDS, map};
use super::elements::Elements;
use super::max_pool2d::ORDER;
use super::strided::expect_words;
use crate::error::{Error, Result};
use crate::linalg::Real;
use crate::op::{
    Case, Cpu, CpuArgs, Declaration, INT32, INT64, Interchange, Kernel, Op, Recorder, Source, StandardNode, Term, UINT32, View,
    expect_inputs, sample, shader,
};
use crate::tensor::{DType, Tensor, TensorType};

static SHADER: Source = shader!("words");
/// Integers in WGSL.
pub(super) static INTEGER: Source = shader!("shared/integer");

/// What a word of a u32 tensor is as an integer: two's complement of `bits` bits, with the sign in all bits above if it is signed, else with
/// zeros.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Integer {
    /// Whether there are negative ones.
    pub signed: bool,
    /// Width, 1 to 32 bits.
    pub bits: u32,
}

impl Integer {
    /// Signed, of 32 bits.
    pub const I32: Integer = Integer { signed: true, bits: 32 };
    /// Unsigned, of 32 bits.
    pub const U32: Integer = Integer { signed: false, bits: 32 };
    /// A truth value: 0 or 1.
    pub const BOOL: Integer = Integer { signed: false, bits: 1 };

    /// Fails for a width that isn't 1 to 32.
    pub(super) fn check(self) -> Result<()> {
        if (1..=32).contains(&self.bits) { Ok(()) } else { Err(Error::invalid("width in bits", self.bits, "1 to 32")) }
    }

    /// The low bits of a word.
    pub fn wrap(self, word: u32) -> u32 {
        let above = 32 - self.bits;
        if self.signed { ((word << above) as i32 >> above) as u32 } else { word << above >> above }
    }

    /// The smallest and the largest.
    pub fn range(self) -> [i64; 2] {
        if self.signed { [-(1 << (self.bits - 1)), (1 << (self.bits - 1)) - 1] } else { [0, (1 << self.bits) - 1] }
    }

    /// The number that a word is.
    pub fn value(self, word: u32) -> i64 {
        if self.signed { i64::from(word as i32) } else { i64::from(word) }
    }

    /// Sets the constants of `shared/integer`, for one or four at a time.
    pub(super) fn set(self, kernel: Kernel, is_vec4: bool) -> Kernel {
        let int = if is_vec4 { "vec4<i32>" } else { "i32" };
        kernel.set("Int", int).set("SIGNED", self.signed).set("BITS", self.bits)
    }
}

/// Which comparison.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Comparison {
    /// `a = b`.
    Equal,
    /// `a < b`.
    Less,
    /// `a <= b`.
    LessOrEqual,
    /// `a > b`.
    Greater,
    /// `a >= b`.
    GreaterOrEqual,
}

impl Comparison {
    fn holds<T: PartialOrd>(self, a: T, b: T) -> u32 {
        u32::from(match self {
            Comparison::Equal => a == b,
            Comparison::Less => a < b,
            Comparison::LessOrEqual => a <= b,
            Comparison::Greater => a > b,
            Comparison::GreaterOrEqual => a >= b,
        })
    }
}

/// `y = a ? b`, 1 where it holds, else 0: two f32 tensors, or two u32 tensors of integers, to u32 of their common shape by NumPy's rules. Nothing
/// holds of a NaN; zeros of both signs are equal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Compare {
    /// Which comparison.
    pub comparison: Comparison,
    /// Whether u32 tensors are of signed integers.
    pub signed: bool,
}

/// A function of two integers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum IntegerFunction {
    /// `a + b`.
    Add,
    /// `a - b`.
    Sub,
    /// `a b`.
    Mul,
    /// `a / b` towards zero; `a` where b is 0, as in WGSL.
    Div,
    /// What [`IntegerFunction::Div`] leaves, with the sign of a; 0 where b is 0.
    Remainder,
    /// The same with the sign of b, as Python's `%`.
    Modulo,
    /// The smaller one.
    Min,
    /// The larger one.
    Max,
    /// `a^b`, the low bits of it. To a negative power 1 and -1 are what they are, all others 0.
    Power,
    /// Bit by bit; of truth values, whether both are true.
    And,
    /// Bit by bit; of truth values, whether one is true.
    Or,
    /// Bit by bit; of truth values, whether they differ.
    Xor,
}

impl IntegerFunction {
    const ALL: [IntegerFunction; 12] = {
        use IntegerFunction::{Add, And, Div, Max, Min, Modulo, Mul, Or, Power, Remainder, Sub, Xor};
        [Add, Sub, Mul, Div, Remainder, Modulo, Min, Max, Power, And, Or, Xor]
    };

    fn of(self, signed: bool, a: u32, b: u32) -> u32 {
        let (s, t) = (a as i32, b as i32);
        match self {
            IntegerFunction::Add => a.wrapping_add(b),
            IntegerFunction::Sub => a.wrapping_sub(b),
            IntegerFunction::Mul => a.wrapping_mul(b),
            IntegerFunction::Div if b == 0 => a,
            IntegerFunction::Div if signed => s.wrapping_div(t) as u32,
            IntegerFunction::Div => a / b,
            IntegerFunction::Remainder | IntegerFunction::Modulo if b == 0 => 0,
            IntegerFunction::Remainder if signed => s.wrapping_rem(t) as u32,
            IntegerFunction::Modulo if signed => {
                let rest = s.wrapping_rem(t);
                (if rest != 0 && (rest < 0) != (t < 0) { rest + t } else { rest }) as u32
            }
            IntegerFunction::Remainder | IntegerFunction::Modulo => a % b,
            IntegerFunction::Min if signed => s.min(t) as u32,
            IntegerFunction::Min => a.min(b),
            IntegerFunction::Max if signed => s.max(t) as u32,
            IntegerFunction::Max => a.max(b),
            IntegerFunction::Power if signed && t < 0 && s != 1 && s != -1 => 0,
            // Of a unit to a negative power the lowest bit counts alone, and is that of the word.
            IntegerFunction::Power => a.wrapping_pow(b),
            IntegerFunction::And => a & b,
            IntegerFunction::Or => a | b,
            IntegerFunction::Xor => a ^ b,
        }
    }
}

/// `y = f(a, b)` of integers, wrapped to their width: two u32 tensors to u32 of their common shape by NumPy's rules.
///
/// `-a` is `0 - a`, `|a|` the larger one of a and `-a`, and "not a" is a xor 1 or a xor -1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IntegerBinary {
    /// The function.
    pub function: IntegerFunction,
    /// What the words are.
    pub integer: Integer,
}

fn common(a: &TensorType, b: &TensorType) -> Result<TensorType> {
    Ok(TensorType::u32(Broadcasting::of(&a.shape, &b.shape)?.0))
}

fn record(r: &mut Recorder<'_>, code: u32, floats: bool, integer: Integer) {
    Broadcasting::checked(&r.x(0).shape, &r.x(1).shape).record(r, WORDS, |e: &Elements, imports| {
        let kernel = e.words(&SHADER, &[&[&ORDER, &INTEGER], imports].concat());
        integer.set(kernel, e.is_vec4()).set("OPERATION", code).set("FLOATS", floats)
    });
}

fn run<X: Copy + Sync, T: Real>(args: &mut CpuArgs<'_, T>, a: &[X], b: &[X], f: impl Fn(X, X) -> u32 + Sync) {
    let y = args.y_u32(0);
    Broadcasting::checked(args.x_shape(0), args.x_shape(1)).run(a, b, y, |_, y, a, b| map(y, a, b, &f));
}

impl Op for Compare {
    fn name(&self) -> &'static str {
        "compare"
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>> {
        expect_inputs(inputs, &["a", "b"])?;
        expect_words("a", &inputs[0])?;
        inputs[1].expect_dtype("b", inputs[0].dtype)?;
        Ok(vec![common(&inputs[0], &inputs[1])?])
    }

    fn gpu(&self, r: &mut Recorder<'_>) -> Result<()> {
        let floats = r.x(0).dtype == DType::F32;
        record(r, self.comparison as u32, floats, Integer { signed: self.signed && !floats, bits: 32 });
        Ok(())
    }

    fn interchange(&self, d: &mut Interchange<'_>) -> Result<Vec<Term>> {
        let op_type = match self.comparison {
            Comparison::Equal => "Equal",
            Comparison::Less => "Less",
            Comparison::LessOrEqual => "LessOrEqual",
            Comparison::Greater => "Greater",
            Comparison::GreaterOrEqual => "GreaterOrEqual",
        };
        let mut operands = d.all();
        if d.input_type(0).dtype != DType::F32 {
            // Engines compare signed integers.
            let integer = if self.signed { INT32 } else { INT64 };
            operands.iter_mut().for_each(|x| *x = d.same(StandardNode::free("Cast", &[*x]).int("to", integer)));
        }
        let shape = d.output_type(0).shape.clone();
        let holds = d.add(StandardNode::free(op_type, &operands), shape);
        Ok(vec![d.same(StandardNode::free("Cast", &[holds]).int("to", UINT32))])
    }
}

impl Cpu for Compare {
    fn cpu<T: Real>(&self, args: &mut CpuArgs<'_, T>) {
        match (args.view(0), args.view(1)) {
            (View::Real(a), View::Real(b)) => run(args, a, b, |a, b| self.comparison.holds(a, b)),
            (View::U32(a), View::U32(b)) if self.signed => run(args, a, b, |a, b| self.comparison.holds(a as i32, b as i32)),
            (View::U32(a), View::U32(b)) => run(args, a, b, |a, b| self.comparison.holds(a, b)),
            _ => unreachable!("infer checks the types"),
        }
    }
}

impl Op for IntegerBinary {
    fn name(&self) -> &'static str {
        "integer_binary"
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>> {
        expect_inputs(inputs, &["a", "b"])?;
        self.integer.check()?;
        inputs[0].expect_dtype("a", DType::U32)?;
        inputs[1].expect_dtype("b", DType::U32)?;
        Ok(vec![common(&inputs[0], &inputs[1])?])
    }

    fn gpu(&self, r: &mut Recorder<'_>) -> Result<()> {
        record(r, 5 + self.function as u32, false, self.integer);
        Ok(())
    }
}

impl Cpu for IntegerBinary {
    fn cpu<T: Real>(&self, args: &mut CpuArgs<'_, T>) {
        let (a, b, integer) = (args.x_u32(0), args.x_u32(1), self.integer);
        run(args, a, b, |a, b| integer.wrap(self.function.of(integer.signed, a, b)));
    }
}

/// The list's entries.
pub static DECLARATIONS: &[Declaration] = &[
    Declaration { name: "compare", no_gradient: Some("a step function"), shaders: &[&SHADER], cases: compare_cases },
    Declaration { name: "integer_binary", no_gradient: Some("integers have no slope"), shaders: &[&SHADER], cases: integer_cases },
];

/// Words of which every pair is met, as `integer` has them.
fn pairs(integer: Integer) -> [Tensor; 2] {
    let [least, most] = integer.range();
    let words: Vec<u32> = [0, 1, 2, 3, -1, -2, -7, 31, 100, least, least + 1, most, most / 2].map(|v| integer.wrap(v as u32)).into();
    let all = |f: fn((u32, u32)) -> u32| words.iter().flat_map(|&a| words.iter().map(move |&b| f((a, b)))).collect();
    [all(|p| p.0), all(|p| p.1)].map(|v: Vec<u32>| row(v))
}

/// Words of this integer, of any shape.
pub(super) fn integers(seed: u64, integer: Integer, shape: &[usize]) -> Tensor {
    let words = sample::indices(seed, shape.iter().product(), u32::MAX);
    let data = words.as_u32().unwrap_or_default().iter().map(|&v| integer.wrap(v)).collect();
    Tensor::u32(shape, data).unwrap_or_else(|_| unreachable!("made to fit"))
}

fn row(words: Vec<u32>) -> Tensor {
    Tensor::u32([words.len()], words).unwrap_or_else(|_| unreachable!("made to fit"))
}

fn compare_cases() -> Vec<Case> {
    use Comparison::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual};
    let values = [0.0, -0.0, 1.0, -1.0, f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e-40, -1e-40, f32::MAX];
    let float_pairs = |first: bool| {
        let pairs = values.iter().flat_map(|&a| values.iter().map(move |&b| if first { a } else { b }));
        Tensor::f32([121], pairs.collect()).unwrap_or_else(|_| unreachable!("made to fit"))
    };
    let mut cases = Vec::new();
    for (name, comparison) in [
        ("equal", Equal),
        ("less", Less),
        ("less_or_equal", LessOrEqual),
        ("greater", Greater),
        ("greater_or_equal", GreaterOrEqual),
    ] {
        let mut case = |what: &str, signed, a: Tensor, b: Tensor| {
            let op = Compare { comparison, signed };
            cases.push(Case::new(format!("{name}_{what}"), op, vec![a, b]).differentiable_by(&[]));
        };
        case("floats", false, float_pairs(true), float_pairs(false));
        let [a, b] = pairs(Integer::I32);
        case("signed", true, a, b);
        let [a, b] = pairs(Integer::U32);
        case("unsigned", false, a, b);
        case("vec4_workgroups", false, sample::integers(1, [2, 11, 5, 12], 2), sample::integers(2, [2, 11, 5, 12], 2));
        case("channels", true, sample::integers(3, [2, 7, 5, 8], 1), sample::integers(4, [8], 1));
    }
    let op = Compare { comparison: Less, signed: false };
    for (name, a, b) in [
        ("one", &[1, 1][..], &[1, 1][..]),
        ("number", &[5, 8], &[]),
        ("outer", &[13, 1], &[1, 20]),
        ("both_odd", &[3, 1, 5, 1], &[2, 1, 3]),
        ("six_runs", &[2, 1, 3, 1, 2, 1], &[1, 3, 1, 2, 1, 4]),
    ] {
        cases.push(Case::new(name, op, vec![sample::normal(5, a), sample::normal(6, b)]).differentiable_by(&[]));
    }
    cases
}

fn integer_cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for function in IntegerFunction::ALL {
        for signed in [false, true] {
            for bits in [1, 8, 16, 32] {
                let integer = Integer { signed, bits };
                let name = format!("{function:?}_{}{bits}", if signed { 'i' } else { 'u' }).to_lowercase();
                cases.push(Case::new(name, IntegerBinary { function, integer }, pairs(integer).to_vec()));
            }
        }
    }
    let add = IntegerBinary { function: IntegerFunction::Add, integer: Integer { signed: true, bits: 8 } };
    for (name, a, b) in [
        ("one", &[1][..], &[1][..]),
        ("vec4_workgroups", &[2, 11, 5, 12], &[2, 11, 5, 12]),
        ("number", &[5, 8], &[]),
        ("channels", &[2, 7, 5, 8], &[8]),
        ("both_odd", &[3, 1, 5, 1], &[2, 1, 3]),
    ] {
        cases.push(Case::new(name, add, vec![integers(1, add.integer, a), integers(2, add.integer, b)]));
    }
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
    fn integers_against_wide_ones() {
        for integer in [Integer { signed: true, bits: 8 }, Integer { signed: false, bits: 8 }, Integer { signed: true, bits: 3 }] {
            let [least, most] = integer.range();
            for (a, b) in (least..=most).flat_map(|a| (least..=most).map(move |b| (a, b))) {
                let f = |function| {
                    let op = IntegerBinary { function, integer };
                    integer.value(integer.wrap(op.function.of(integer.signed, a as u32, b as u32)))
                };
                let wrapped = |v: i64| integer.value(integer.wrap(v as u32));
                assert_eq!(f(IntegerFunction::Mul), wrapped(a * b));
                assert_eq!(f(IntegerFunction::Sub), wrapped(a - b));
                assert_eq!(f(IntegerFunction::Max), a.max(b));
                if b != 0 {
                    assert_eq!(f(IntegerFunction::Div), wrapped(a / b));
                    assert_eq!(f(IntegerFunction::Remainder), a % b);
                    assert_eq!(f(IntegerFunction::Modulo), wrapped(a - b * (a as f64 / b as f64).floor() as i64));
                }
            }
        }
    }

    #[test]
    fn powers_by_hand() {
        let power = |a: i32, b: i32| IntegerFunction::Power.of(true, a as u32, b as u32) as i32;
        assert_eq!((power(-3, 3), power(2, 31), power(0, 0), power(7, 1)), (-27, i32::MIN, 1, 7));
        assert_eq!((power(-1, -3), power(1, -4), power(2, -1), power(0, -1)), (-1, 1, 0, 0));
    }

    #[test]
    fn nothing_holds_of_nan() {
        let nan = [f64::NAN];
        for comparison in [Comparison::Equal, Comparison::LessOrEqual, Comparison::GreaterOrEqual] {
            let types = [TensorType::f32([1]), TensorType::f32([1])];
            let y = run_f64(&Compare { comparison, signed: false }, &types, &[View::Real(&nan), View::Real(&nan)]).unwrap();
            assert_eq!(y[0], Oracle::U32(vec![0]));
        }
    }

    #[test]
    fn bad_inputs_are_refused() {
        let compare = Compare { comparison: Comparison::Less, signed: false };
        assert!(compare.infer(&[TensorType::f32([2]), TensorType::u32([2])]).is_err());
        assert!(compare.infer(&[TensorType::new(DType::U8, [2]), TensorType::new(DType::U8, [2])]).is_err());
        assert!(compare.infer(&[TensorType::f32([2]), TensorType::f32([3])]).is_err());
        for bits in [0, 33] {
            let op = IntegerBinary { function: IntegerFunction::Add, integer: Integer { signed: false, bits } };
            assert!(op.infer(&[TensorType::u32([2]), TensorType::u32([2])]).unwrap_err().to_string().contains("1 to 32"));
        }
    }
}
