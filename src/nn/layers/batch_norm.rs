//! Batch normalisation.

use crate::error::{Error, Result};
use crate::nn::layer::batched;
use crate::nn::{Init, Initial, Layer, LayerContext, Mode};
use crate::op::Value;
use crate::ops::batch_norm;

/// Batch normalisation (S. Ioffe, C. Szegedy, ICML 2015): `y = gamma (x - mean) / sqrt(variance + epsilon) + beta`, for each channel, the
/// last dimension. Input `[n, .., c]`, output the same; parameters `gamma` (ones) and `beta` (zeros), `[c]`. In training, mean and
/// (biased) variance are those of the batch, and the running means `running_mean` (zeros) and `running_variance` (ones), `[c]`,
/// follow them; in inference those are used. They are among the model's weights, but aren't trained.
///
/// At each step of training `running = momentum running + (1 - momentum) of the batch`. Defaults are Keras 3's: momentum 0.99, epsilon
/// 1e-3, and the running variance follows the biased variance. PyTorch's are [`BatchNorm::pytorch`]; what it calls momentum, 0.1, is
/// `1 - momentum` here.
///
/// One that is frozen ([`Net::trainable`](crate::nn::Net::trainable)) does in training what it does in inference, as Keras's.
///
/// In inference a batch norm right after a convolution or a dense layer is taken into their weights; activation and sum after it cost
/// no pass over memory.
#[derive(Clone, Copy, Debug)]
pub struct BatchNorm {
    momentum: f64,
    epsilon: f64,
    unbiased: bool,
}

impl Default for BatchNorm {
    fn default() -> Self {
        BatchNorm::new()
    }
}

impl BatchNorm {
    /// With the defaults of Keras 3.
    pub fn new() -> Self {
        BatchNorm { momentum: 0.99, epsilon: 1e-3, unbiased: false }
    }

    /// With the defaults of PyTorch: momentum 0.9 (there 0.1), epsilon 1e-5, and the running variance follows the unbiased variance.
    pub fn pytorch() -> Self {
        BatchNorm { momentum: 0.9, epsilon: 1e-5, unbiased: true }
    }

    /// Share of themselves that the running means keep at a step, 0 to 1.
    pub fn momentum(mut self, momentum: f64) -> Self {
        self.momentum = momentum;
        self
    }

    /// Added to the variance; positive.
    pub fn epsilon(mut self, epsilon: f64) -> Self {
        self.epsilon = epsilon;
        self
    }

    /// Whether the running variance follows the variance times N / (N - 1), N being the values of a channel in a batch.
    pub fn unbiased(mut self, unbiased: bool) -> Self {
        self.unbiased = unbiased;
        self
    }
}

impl Layer for BatchNorm {
    fn type_name(&self) -> &'static str {
        "batch_norm"
    }

    fn build(&self, ctx: &mut LayerContext<'_>, x: &[Value]) -> Result<Value> {
        let x = ctx.only(x)?;
        self.build_from(ctx, x, [Init::Ones, Init::Zeros, Init::Zeros, Init::Ones].map(Initial::from))
    }
}

impl BatchNorm {
    /// The layer with these initial values of gamma, beta, the running mean and the running variance.
    pub(crate) fn build_from(&self, ctx: &mut LayerContext<'_>, x: Value, initial: [Initial; 4]) -> Result<Value> {
        let [gamma, beta, mean, variance] = initial;
        if ctx.shape(x).rank() < 2 {
            let want = "2 or more dimensions [n, .., channels]";
            return Err(Error::invalid("input shape", batched(ctx.shape(x)), want));
        }
        let c = ctx.shape(x).last();
        let gamma = ctx.parameter("gamma", [c], gamma)?;
        let beta = ctx.parameter("beta", [c], beta)?;
        match ctx.mode() {
            Mode::Training if ctx.trainable() => {
                let made = ctx.nodes(batch_norm::BatchNorm::new(self.epsilon, self.unbiased), &[x, gamma, beta])?;
                let &[y, mean, _, running_variance] = made.as_slice() else { unreachable!("four outputs") };
                ctx.follow("running_mean", mean)?;
                ctx.follow("running_variance", running_variance)?;
                Ok(y)
            }
            _ => {
                let mean = ctx.running("running_mean", [c], mean, self.momentum)?;
                let variance = ctx.running("running_variance", [c], variance, self.momentum)?;
                ctx.node(batch_norm::BatchNormInference::new(self.epsilon), &[x, mean, variance, gamma, beta])
            }
        }
    }
}
