//! Vectors for numbers of words.

use crate::error::{Error, Result};
use crate::nn::layer::batched;
use crate::nn::{Init, Layer, LayerContext};
use crate::op::Value;
use crate::ops::gather_rows::GatherRows;
use crate::ops::view::View;

/// A trained vector for each of a vocabulary's numbers. Input `[n, ..]`, whole numbers from 0 to below `vocabulary`, output `[n, .., width]`;
/// parameter `weight` `[vocabulary, width]`. A number that isn't one of them gives a vector of NaN, so that training stops at it, and
/// nothing outside the table is read.
///
/// Initial values are Glorot-uniform unless set; Keras's default is uniform to 0.05, PyTorch's standard normal.
#[derive(Clone, Debug)]
pub struct Embedding {
    vocabulary: usize,
    width: usize,
    init: Option<Init>,
}

impl Embedding {
    /// So many vectors of this length. At most 2^24: inputs are f32, which has no larger odd numbers.
    pub fn new(vocabulary: usize, width: usize) -> Self {
        Embedding { vocabulary, width, init: None }
    }

    /// Initial values of the vectors.
    pub fn init(mut self, init: Init) -> Self {
        self.init = Some(init);
        self
    }
}

impl Layer for Embedding {
    fn type_name(&self) -> &'static str {
        "embedding"
    }

    fn build(&self, ctx: &mut LayerContext<'_>, x: &[Value]) -> Result<Value> {
        let x = ctx.only(x)?;
        if !(1..=1 << 24).contains(&self.vocabulary) || self.width == 0 {
            let got = format!("{} vectors of {}", self.vocabulary, self.width);
            return Err(Error::invalid("size", got, format!("1 to {} vectors of at least 1", 1 << 24)));
        }
        let shape = ctx.shape(x).clone();
        if shape.rank() == 0 {
            return Err(Error::invalid("input shape", batched(&shape), "1 or more dimensions [n, ..]"));
        }
        let table = ctx.parameter("weight", [self.vocabulary, self.width], self.init.unwrap_or(ctx.default_init()))?;
        let numbers = ctx.node(View::reshape([shape.elements()]), &[x])?;
        let vectors = ctx.node(GatherRows::default(), &[table, numbers])?;
        ctx.node(View::reshape([shape.dims(), &[self.width]].concat()), &[vectors])
    }
}
