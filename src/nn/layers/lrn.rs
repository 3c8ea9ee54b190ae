//! Local response normalisation.

use crate::error::Result;
use crate::nn::{Layer, LayerContext};
use crate::op::Value;
use crate::ops::local_response_norm::LocalResponseNorm;

/// Divides each value by a power of what lies at the same place in neighbouring channels:
/// `y = x / (k + alpha / size * sum of x^2 over size channels)^beta` (A. Krizhevsky and others, "ImageNet Classification with Deep
/// Convolutional Neural Networks", NeurIPS 2012). Input `[n, .., c]`, output of the same shape.
///
/// Defaults are PyTorch's and ONNX's: alpha 1e-4, beta 0.75, k 1. In the paper, alpha isn't divided by the size: AlexNet's 5 channels,
/// alpha 1e-4 and k 2 are `Lrn::new(5).alpha(5e-4).k(2.0)`. Keras has no such layer.
#[derive(Clone, Copy, Debug)]
pub struct Lrn {
    op: LocalResponseNorm,
}

impl Lrn {
    /// Over `size` channels around each, half of them before it. For an even size, PyTorch's way, there is one more before it.
    pub fn new(size: usize) -> Self {
        Lrn { op: LocalResponseNorm { size, alpha: 1e-4, beta: 0.75, k: 1.0 } }
    }

    /// The factor of the mean of squares.
    pub fn alpha(mut self, alpha: f64) -> Self {
        self.op.alpha = alpha;
        self
    }

    /// The exponent.
    pub fn beta(mut self, beta: f64) -> Self {
        self.op.beta = beta;
        self
    }

    /// What is added to the mean of squares.
    pub fn k(mut self, k: f64) -> Self {
        self.op.k = k;
        self
    }
}

impl Layer for Lrn {
    fn type_name(&self) -> &'static str {
        "lrn"
    }

    fn build(&self, ctx: &mut LayerContext<'_>, x: &[Value]) -> Result<Value> {
        let x = ctx.only(x)?;
        ctx.node(self.op, &[x])
    }
}
