//! Constants that the host made.

use crate::error::{Error, Result};
use crate::linalg::Real;
use crate::op::{
    Buffer, Case, Cpu, CpuArgs, Declaration, Gradient, Interchange, Kernel, Op, Recorder, Source, Term, ViewMut, Word,
    expect_inputs, sample, shader,
};
use crate::ops::strided::{expect_words, special};
use crate::tensor::{Data, Tensor, TensorType};
use std::sync::Arc;

static SHADER: Source = shader!("constant");

/// Names of the words that a dispatch writes: with `n` and `start` no more than a slot of the uniform buffer, 256 bytes.
const WORDS: [&str; 60] = [
    "word_0", "word_1", "word_2", "word_3", "word_4", "word_5", "word_6", "word_7", "word_8", "word_9",
    "word_10", "word_11", "word_12", "word_13", "word_14", "word_15", "word_16", "word_17", "word_18", "word_19",
    "word_20", "word_21", "word_22", "word_23", "word_24", "word_25", "word_26", "word_27", "word_28", "word_29",
    "word_30", "word_31", "word_32", "word_33", "word_34", "word_35", "word_36", "word_37", "word_38", "word_39",
    "word_40", "word_41", "word_42", "word_43", "word_44", "word_45", "word_46", "word_47", "word_48", "word_49",
    "word_50", "word_51", "word_52", "word_53", "word_54", "word_55", "word_56", "word_57", "word_58", "word_59",
];

/// Most elements of a [`Constant`]: a dispatch writes 60.
pub const MAX_CONSTANT: usize = 1 << 16;

/// An f32 or u32 tensor of given elements, from no inputs: tables and small constants. A plan makes it at its first run and keeps it. Larger
/// ones, of more than 65,536 elements, are states.
#[derive(Clone, PartialEq, Debug)]
pub struct Constant {
    /// The elements.
    pub value: Arc<Tensor>,
}

impl Constant {
    /// With these elements.
    pub fn new(value: Tensor) -> Constant {
        Constant { value: Arc::new(value) }
    }
}

impl Op for Constant {
    fn name(&self) -> &'static str {
        "constant"
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>> {
        expect_inputs(inputs, &[])?;
        let ty = self.value.tensor_type();
        expect_words("constant", &ty)?;
        ty.shape.clone().checked("constant")?;
        if ty.elements() > MAX_CONSTANT {
            return Err(Error::invalid("constant", &ty, format!("at most {MAX_CONSTANT} elements")));
        }
        Ok(vec![ty])
    }

    fn gradient(&self, _: &mut Gradient<'_>) -> Result<()> {
        // No input: the chain ends here.
        Ok(())
    }

    fn gpu(&self, r: &mut Recorder<'_>) -> Result<()> {
        let words: Vec<u32> = match self.value.data() {
            Data::F32(v) => v.iter().map(|x| x.to_bits()).collect(),
            Data::U32(v) => v.clone(),
            Data::U8(_) => unreachable!("infer checks the type"),
        };
        for (piece, words) in words.chunks(WORDS.len()).enumerate() {
            let mut params = vec![("n", Word::from(words.len())), ("start", (piece * WORDS.len()).into())];
            let words = words.iter().copied().chain(std::iter::repeat(0));
            params.extend(WORDS.into_iter().zip(words).map(|(name, word)| (name, Word::U32(word))));
            r.dispatch(Kernel::new(&SHADER, &[]), &[], &[Buffer::Output(0)], &params, [1, 1, 1]);
        }
        Ok(())
    }

    fn interchange(&self, d: &mut Interchange<'_>) -> Result<Vec<Term>> {
        Ok(vec![d.numbers(Tensor::clone(&self.value))])
    }
}

impl Cpu for Constant {
    fn cpu<T: Real>(&self, args: &mut CpuArgs<'_, T>) {
        match (self.value.data(), args.take(0)) {
            (Data::F32(v), ViewMut::Real(y)) => y.iter_mut().zip(v).for_each(|(y, &v)| *y = T::from_f32(v)),
            (Data::U32(v), ViewMut::U32(y)) => y.copy_from_slice(v),
            _ => unreachable!("infer takes the type from the value"),
        }
    }
}

/// The list's entry.
pub static DECLARATIONS: &[Declaration] = &[Declaration { name: "constant", no_gradient: None, shaders: &[&SHADER], cases }];

fn cases() -> Vec<Case> {
    let case = |name: &str, value: Tensor| Case::new(name, Constant::new(value), Vec::new());
    vec![
        case("number", sample::normal(1, [])),
        case("floats", sample::normal(2, [7, 5])),
        case("two_dispatches", sample::normal(3, [61])),
        case("five_dispatches", sample::normal(4, [3, 100])),
        case("special", special([8])),
        case("words", sample::indices(5, 130, u32::MAX)),
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
    fn bad_constants_are_refused() {
        let refused = |value: Tensor| Constant::new(value).infer(&[]).is_err();
        assert!(refused(sample::normal(1, [MAX_CONSTANT + 1])) && !refused(sample::normal(1, [MAX_CONSTANT])));
        assert!(refused(sample::normal(1, [0])));
        assert!(Tensor::u8([1], vec![0]).is_ok_and(refused));
        assert!(Constant::new(sample::normal(1, [1])).infer(&[TensorType::f32([1])]).is_err());
    }
}
