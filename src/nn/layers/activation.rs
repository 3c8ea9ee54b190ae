//! Activations.

use crate::error::Result;
use crate::nn::{Init, Layer, LayerContext};
use crate::op::Value;
use crate::ops::{binary, softmax, unary};

/// `max(x, 0)`, elementwise. After a convolution or a dense layer it costs no pass over memory.
#[derive(Clone, Copy, Debug)]
pub struct Relu;

/// `min(max(x, 0), 6)`, elementwise, as MobileNets have it.
#[derive(Clone, Copy, Debug)]
pub struct Relu6;

/// `1 / (1 + e^-x)`, elementwise.
#[derive(Clone, Copy, Debug)]
pub struct Sigmoid;

/// Hyperbolic tangent, elementwise.
#[derive(Clone, Copy, Debug)]
pub struct Tanh;

/// `ln(1 + e^x)`, elementwise: a smooth ReLU.
#[derive(Clone, Copy, Debug)]
pub struct Softplus;

/// `x P(X <= x)`, X standard normal, elementwise: the exact GELU, PyTorch's default and Keras's `approximate=False`.
#[derive(Clone, Copy, Debug)]
pub struct Gelu;

/// The GELU's approximation by a tanh, `0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))`, elementwise.
#[derive(Clone, Copy, Debug)]
pub struct GeluTanh;

/// `x sigmoid(x)`, elementwise, also called swish.
#[derive(Clone, Copy, Debug)]
pub struct Silu;

/// `x tanh(ln(1 + e^x))`, elementwise.
#[derive(Clone, Copy, Debug)]
pub struct Mish;

/// `x / (1 + |x|)`, elementwise.
#[derive(Clone, Copy, Debug)]
pub struct Softsign;

/// `relu6(x + 3) / 6`, elementwise, as in Keras 3 and PyTorch. ONNX's `max(0, min(1, alpha x + beta))` is
/// [`HardSigmoid::with`].
#[derive(Clone, Copy, Debug, Default)]
pub struct HardSigmoid(unary::HardSigmoid);

/// `x relu6(x + 3) / 6`, elementwise, as MobileNetV3 has it; Keras calls it `hard_silu`.
#[derive(Clone, Copy, Debug)]
pub struct HardSwish;

/// `x`, or `slope x` where x is negative, elementwise.
#[derive(Clone, Copy, Debug)]
pub struct LeakyRelu {
    slope: f64,
}

/// `x`, or `slope x` where x is negative, elementwise, with a learned `slope` a channel, `[c]`, or one for all, `[1]`.
///
/// Defaults are PyTorch's but for the number of slopes: one a channel, beginning at 0.25. In Keras they begin at 0.
#[derive(Clone, Copy, Debug)]
pub struct Prelu {
    shared: bool,
    slope: f32,
}

/// `x`, or `alpha (e^x - 1)` where x is negative, elementwise.
#[derive(Clone, Copy, Debug)]
pub struct Elu {
    alpha: f64,
}

/// The scaled ELU, for which mean 0 and variance 1 are a fixed point, elementwise. Weights before it want
/// a variance of 1 / fan_in.
#[derive(Clone, Copy, Debug)]
pub struct Selu;

/// `e^x / sum of e^x` along the last dimension. A classifier doesn't end with it: the loss takes the values before it, and
/// [`Model::predict_probabilities`](crate::nn::Model::predict_probabilities) applies it.
#[derive(Clone, Copy, Debug)]
pub struct Softmax;

/// `min(max(x, low), high)`, elementwise.
#[derive(Clone, Copy, Debug)]
pub struct Clip {
    low: f32,
    high: f32,
}

impl Clip {
    /// Keeps values from `low` to `high`, both finite.
    pub fn new(low: f32, high: f32) -> Self {
        Clip { low, high }
    }
}

impl Layer for Clip {
    fn type_name(&self) -> &'static str {
        "clip"
    }

    fn build(&self, ctx: &mut LayerContext<'_>, x: &[Value]) -> Result<Value> {
        let x = ctx.only(x)?;
        let [low, high] = [self.low, self.high].map(f64::from);
        ctx.node(unary::Unary(unary::Clip { low, high }), &[x])
    }
}

impl HardSigmoid {
    /// Keras 3's and PyTorch's.
    pub fn new() -> Self {
        HardSigmoid::default()
    }

    /// `min(max(alpha x + beta, 0), 1)`.
    pub fn with(alpha: f64, beta: f64) -> Self {
        HardSigmoid(unary::HardSigmoid { alpha, beta })
    }
}

impl LeakyRelu {
    /// A slope of 0 or more: PyTorch's default is 0.01, Keras's 0.3.
    pub fn new(slope: f64) -> Self {
        LeakyRelu { slope }
    }
}

impl Elu {
    /// `alpha`, 0 or more: 1 in Keras and PyTorch.
    pub fn new(alpha: f64) -> Self {
        Elu { alpha }
    }
}

impl Prelu {
    /// A slope a channel, beginning at 0.25.
    pub fn new() -> Self {
        Prelu { shared: false, slope: 0.25 }
    }

    /// One slope for all channels.
    pub fn shared(mut self) -> Self {
        self.shared = true;
        self
    }

    /// What the slopes begin at.
    pub fn slope(mut self, slope: f32) -> Self {
        self.slope = slope;
        self
    }
}

impl Default for Prelu {
    fn default() -> Self {
        Prelu::new()
    }
}

impl Layer for Prelu {
    fn type_name(&self) -> &'static str {
        "prelu"
    }

    fn build(&self, ctx: &mut LayerContext<'_>, x: &[Value]) -> Result<Value> {
        let x = ctx.only(x)?;
        let n = if self.shared { 1 } else { ctx.shape(x).last() };
        let slope = ctx.parameter("slope", [n], Init::Constant(self.slope))?;
        ctx.node(binary::Binary::<binary::Prelu>::new(), &[x, slope])
    }
}

macro_rules! layers {
    ($($layer:ident $name:literal $this:pat => $op:expr;)*) => {$(
        impl Layer for $layer {
            fn type_name(&self) -> &'static str {
                $name
            }

            fn build(&self, ctx: &mut LayerContext<'_>, x: &[Value]) -> Result<Value> {
                let x = ctx.only(x)?;
                let $this = *self;
                ctx.node($op, &[x])
            }
        }
    )*};
}

layers! {
    Relu "relu" _ => unary::Unary(unary::Relu);
    Relu6 "relu6" _ => unary::Unary(unary::Relu6);
    LeakyRelu "leaky_relu" LeakyRelu { slope } => unary::Unary(unary::LeakyRelu { slope });
    Elu "elu" Elu { alpha } => unary::Unary(unary::Elu { alpha, scale: 1.0 });
    Selu "selu" _ => unary::Unary(unary::Elu::selu());
    Gelu "gelu" _ => unary::Unary(unary::Gelu);
    GeluTanh "gelu_tanh" _ => unary::Unary(unary::GeluTanh);
    Silu "silu" _ => unary::Unary(unary::Silu);
    Mish "mish" _ => unary::Unary(unary::Mish);
    HardSwish "hard_swish" _ => unary::Unary(unary::HardSwish);
    HardSigmoid "hard_sigmoid" HardSigmoid(row) => unary::Unary(row);
    Sigmoid "sigmoid" _ => unary::Unary(unary::Sigmoid);
    Tanh "tanh" _ => unary::Unary(unary::Tanh);
    Softplus "softplus" _ => unary::Unary(unary::Softplus);
    Softsign "softsign" _ => unary::Unary(unary::Softsign);
    Softmax "softmax" _ => softmax::Softmax;
}
