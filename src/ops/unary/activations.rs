//! The rows that are activation functions: kernels take them into their epilogue, by `shaders/shared/activation.wgsl`.

use super::{Reads, UnaryRow, attribute, finite};
use crate::error::{Error, Result};
use crate::linalg::Real;
use crate::op::{Interchange, StandardNode, TINY, Term, UNIT};

/// `max(x, 0)`. NaN stays NaN; the gradient at 0 is 0 and passes where y is NaN, as in PyTorch.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Relu;

impl UnaryRow for Relu {
    const NAME: &'static str = "relu";
    const GRAD_NAME: &'static str = "relu_grad";
    const CODE: u32 = 1;
    const STANDARD: Option<&'static str> = Some("Relu");

    fn lipschitz(&self) -> f64 {
        1.0
    }

    fn y<T: Real>(&self, x: T) -> T {
        if x <= T::ZERO { T::ZERO } else { x }
    }

    fn dx<T: Real>(&self, y: T, dy: T) -> T {
        if y <= T::ZERO { T::ZERO } else { dy }
    }
}

/// `1 / (1 + e^-x)`, with its parts: of e = e^-|x|, which never overflows.
fn sigmoid<T: Real>(x: T) -> (T, T) {
    let e = (-x.abs()).exp();
    ((if x < T::ZERO { e } else { T::ONE }) / (T::ONE + e), e)
}

/// `sigmoid'(x)`, from e = e^-|x|.
fn sigmoid_slope<T: Real>(e: T) -> T {
    e / ((T::ONE + e) * (T::ONE + e))
}

/// `1 / (1 + e^-x)`.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Sigmoid;

impl UnaryRow for Sigmoid {
    const NAME: &'static str = "sigmoid";
    const GRAD_NAME: &'static str = "sigmoid_grad";
    const CODE: u32 = 2;
    const STANDARD: Option<&'static str> = Some("Sigmoid");

    fn lipschitz(&self) -> f64 {
        0.25
    }

    fn y<T: Real>(&self, x: T) -> T {
        sigmoid(x).0
    }

    fn dx<T: Real>(&self, y: T, dy: T) -> T {
        dy * (y * (T::ONE - y))
    }

    fn error(&self, x: f64, y: f64) -> f64 {
        // e = exp(-|x|) has a relative error of 3 + 2|x| units, of which a share of 1 - y reaches y: e / (1 + e) for positive x,
        // 1 / (1 + e) for negative. The sum has 1 unit, the quotient 2.5; 0.1 covers products of errors. Beyond 128, e is 0.
        let exp = 3.0 + 2.0 * x.abs().min(128.0);
        (1.1 * exp * (1.0 - y) + 3.6) * UNIT * y + TINY
    }
}

/// Hyperbolic tangent.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Tanh;

impl UnaryRow for Tanh {
    const NAME: &'static str = "tanh";
    const GRAD_NAME: &'static str = "tanh_grad";
    const CODE: u32 = 3;
    const STANDARD: Option<&'static str> = Some("Tanh");

    fn lipschitz(&self) -> f64 {
        1.0
    }

    fn y<T: Real>(&self, x: T) -> T {
        x.tanh()
    }

    fn dx<T: Real>(&self, y: T, dy: T) -> T {
        dy * ((T::ONE - y) * (T::ONE + y))
    }

    fn error(&self, x: f64, y: f64) -> f64 {
        let (x, y) = (x.abs(), y.abs());
        // Polynomial a + a * z * p(z), z = a * a < 0.39: the correction is at most 0.14 a, with z (1 unit), p (about 3, as its
        // first coefficient dominates), two products: 7 units of it, 1 unit of a; the last sum 1 unit; Cephes' own error of
        // approximation 1 unit. Together below 3.
        if x < 0.5 {
            return 3.0 * UNIT * y + TINY;
        }
        // 1 - t, t = 2 / (e + 1), e = exp(2a) with 3 + 4a units, of which less than all reaches t; 1 for the sum, 2.5 for the
        // quotient; 1 for the difference. This is larger than the other between 0.5 and 0.625, where an x that carries an error may
        // take either way. From 15 on the kernel takes 15: t is below 2e-13.
        (1.1 * (1.0 - y) * (6.5 + 4.0 * x.min(15.0)) + 1.1 * y) * UNIT
    }
}

/// Most units of its value that the kernels' tanh is off by: [`Tanh`]'s bound where its formula changes.
const TANH_UNITS: f64 = 13.0;

/// `ln(1 + e^x)`: a smooth ReLU (C. Dugas and others, NIPS 2000).
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Softplus;

impl UnaryRow for Softplus {
    const NAME: &'static str = "softplus";
    const GRAD_NAME: &'static str = "softplus_grad";
    const CODE: u32 = 4;
    const STANDARD: Option<&'static str> = Some("Softplus");

    fn lipschitz(&self) -> f64 {
        1.0
    }

    fn y<T: Real>(&self, x: T) -> T {
        (if x > T::ZERO { x } else { T::ZERO }) + (-x.abs()).exp().ln_1p()
    }

    /// The slope is `1 - e^-y = 2 t / (1 + t)`, `t = tanh(y / 2)`, which doesn't cancel where y is small.
    fn dx<T: Real>(&self, y: T, dy: T) -> T {
        let t = (y * T::from_f64(0.5)).tanh();
        dy * ((t + t) / (T::ONE + t))
    }

    fn error(&self, x: f64, y: f64) -> f64 {
        // t = exp(-|x|) has 3 + 2|x| units, s = t / (2 + t) adds 1 and 2.5, the polynomial 1.3, as its first coefficient dominates,
        // the product 1; none of these steps magnifies what it is given. Then the sum: 1 unit of y.
        let log = y - x.max(0.0);
        (1.1 * (8.8 + 2.0 * x.abs().min(128.0)) * log + 1.1 * y) * UNIT + TINY
    }

    fn grad_error(&self, _: f64, _: f64, dx: f64) -> f64 {
        // tanh's units, which 2 t / (1 + t) doesn't magnify; the sum 1, the quotient 2.5, the product 1.
        (TANH_UNITS + 5.0) * UNIT * dx.abs() + TINY
    }
}

/// `min(max(x, 0), 6)` (A. Krizhevsky, "Convolutional Deep Belief Networks on CIFAR-10", 2010). NaN stays NaN; the gradient at 0 and 6 is 0
/// and passes where y is NaN, as in PyTorch.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Relu6;

impl UnaryRow for Relu6 {
    const NAME: &'static str = "relu6";
    const GRAD_NAME: &'static str = "relu6_grad";
    const CODE: u32 = 5;

    fn lipschitz(&self) -> f64 {
        1.0
    }

    fn y<T: Real>(&self, x: T) -> T {
        clamp(x, T::ZERO, T::from_f64(6.0))
    }

    fn dx<T: Real>(&self, y: T, dy: T) -> T {
        if y <= T::ZERO || y >= T::from_f64(6.0) { T::ZERO } else { dy }
    }

    fn describe(&self, d: &mut Interchange<'_>, x: Term) -> Result<Term> {
        Clip { low: 0.0, high: 6.0 }.describe(d, x)
    }
}

/// `min(max(x, low), high)`; NaN stays NaN.
fn clamp<T: Real>(x: T, low: T, high: T) -> T {
    if x <= low {
        low
    } else if x >= high {
        high
    } else {
        x
    }
}

/// `min(max(x, low), high)`. NaN stays NaN. The gradient passes from low to high, both included, as in PyTorch's `clamp`, and where x is
/// NaN.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Clip {
    /// The least value; `f32::MIN` for none.
    pub low: f64,
    /// The largest value, not less; `f32::MAX` for none.
    pub high: f64,
}

impl Default for Clip {
    /// No bounds.
    fn default() -> Clip {
        Clip { low: f64::from(f32::MIN), high: f64::from(f32::MAX) }
    }
}

impl UnaryRow for Clip {
    const NAME: &'static str = "clip";
    const GRAD_NAME: &'static str = "clip_grad";
    const CODE: u32 = 6;
    const READS: Reads = Reads::Input;

    fn attributes(&self) -> [f64; 2] {
        [self.low, self.high]
    }

    fn of([low, high]: [f64; 2]) -> Clip {
        Clip { low, high }
    }

    fn check(&self) -> Result<()> {
        let Clip { low, high } = *self;
        if finite(low) && finite(high) && low <= high {
            return Ok(());
        }
        Err(Error::invalid("bounds", format!("{low} to {high}"), "two finite numbers, the lower one first"))
    }

    fn lipschitz(&self) -> f64 {
        1.0
    }

    fn y<T: Real>(&self, x: T) -> T {
        clamp(x, T::from_f32(self.low as f32), T::from_f32(self.high as f32))
    }

    fn dx<T: Real>(&self, x: T, dy: T) -> T {
        if x < T::from_f32(self.low as f32) || x > T::from_f32(self.high as f32) { T::ZERO } else { dy }
    }

    fn samples() -> Vec<Clip> {
        vec![Clip { low: -0.5, high: 1.25 }, Clip { low: 0.0, ..Clip::default() }]
    }

    fn describe(&self, d: &mut Interchange<'_>, x: Term) -> Result<Term> {
        let none = Clip::default();
        let mut node = StandardNode::free("Clip", &[x]);
        for (bound, none) in [(self.low, none.low), (self.high, none.high)] {
            node = if bound == none { node.no_input() } else { node.input(d.number(bound as f32)) };
        }
        Ok(d.same(node))
    }
}

/// `x`, or `slope x` where x is negative (A. L. Maas and others, "Rectifier Nonlinearities Improve Neural Network Acoustic Models", ICML
/// 2013). The gradient at 0 is the slope, as in PyTorch.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct LeakyRelu {
    /// 0 or more.
    pub slope: f64,
}

impl Default for LeakyRelu {
    /// PyTorch's and the paper's slope, 0.01; Keras's is 0.3.
    fn default() -> LeakyRelu {
        LeakyRelu { slope: 0.01 }
    }
}

impl UnaryRow for LeakyRelu {
    const NAME: &'static str = "leaky_relu";
    const GRAD_NAME: &'static str = "leaky_relu_grad";
    const CODE: u32 = 7;

    fn attributes(&self) -> [f64; 2] {
        [self.slope, 0.0]
    }

    fn of([slope, _]: [f64; 2]) -> LeakyRelu {
        LeakyRelu { slope }
    }

    fn check(&self) -> Result<()> {
        attribute("slope", self.slope, "0 or more", self.slope >= 0.0)
    }

    fn lipschitz(&self) -> f64 {
        self.slope.max(1.0)
    }

    fn y<T: Real>(&self, x: T) -> T {
        if x <= T::ZERO { T::from_f64(self.slope) * x } else { x }
    }

    fn dx<T: Real>(&self, y: T, dy: T) -> T {
        if y <= T::ZERO { T::from_f64(self.slope) * dy } else { dy }
    }

    fn samples() -> Vec<LeakyRelu> {
        vec![LeakyRelu::default(), LeakyRelu { slope: 1.5 }]
    }

    fn describe(&self, d: &mut Interchange<'_>, x: Term) -> Result<Term> {
        Ok(d.same(StandardNode::free("LeakyRelu", &[x]).float("alpha", self.slope)))
    }
}

/// `scale x`, or `alpha (e^x - 1)` where x is negative: ELU with a scale of 1 (D.-A. Clevert and others, "Fast and Accurate Deep Network
/// Learning by Exponential Linear Units", ICLR 2016), and [`Elu::selu`]. The gradient at 0 is alpha, as in PyTorch.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Elu {
    /// Where negative values end; 0 or more.
    pub alpha: f64,
    /// Slope where x is positive; above 0.
    pub scale: f64,
}

impl Elu {
    /// The scaled ELU, for which mean 0 and variance 1 are a fixed point (G. Klambauer and others, "Self-Normalizing Neural Networks",
    /// NeurIPS 2017).
    pub const fn selu() -> Elu {
        let scale = 1.050_700_987_355_480_5;
        Elu { alpha: 1.673_263_242_354_377_2 * scale, scale }
    }
}

impl Default for Elu {
    /// ELU with an alpha of 1, as in Keras and PyTorch.
    fn default() -> Elu {
        Elu { alpha: 1.0, scale: 1.0 }
    }
}

impl UnaryRow for Elu {
    const NAME: &'static str = "elu";
    const GRAD_NAME: &'static str = "elu_grad";
    const CODE: u32 = 8;

    fn attributes(&self) -> [f64; 2] {
        [self.alpha, self.scale]
    }

    fn of([alpha, scale]: [f64; 2]) -> Elu {
        Elu { alpha, scale }
    }

    fn check(&self) -> Result<()> {
        attribute("alpha", self.alpha, "0 or more", self.alpha >= 0.0)?;
        attribute("scale", self.scale, "above 0", self.scale > 0.0)
    }

    fn lipschitz(&self) -> f64 {
        self.alpha.max(self.scale)
    }

    /// `e^x - 1 = 2 t / (1 - t)`, `t = tanh(x / 2)`, which doesn't cancel where x is small.
    fn y<T: Real>(&self, x: T) -> T {
        if x <= T::ZERO {
            let t = (x * T::from_f64(0.5)).tanh();
            T::from_f64(self.alpha) * ((t + t) / (T::ONE - t))
        } else {
            T::from_f64(self.scale) * x
        }
    }

    fn dx<T: Real>(&self, y: T, dy: T) -> T {
        dy * if y <= T::ZERO { y + T::from_f64(self.alpha) } else { T::from_f64(self.scale) }
    }

    fn error(&self, x: f64, y: f64) -> f64 {
        // The scale's rounding and the product's; tanh's units, which 2 t / (1 - t) doesn't magnify, the difference 1, the quotient 2.5,
        // alpha's rounding and the product's.
        let units = if x > 0.0 { 2.1 } else { TANH_UNITS + 6.0 };
        units * UNIT * y.abs() + TINY
    }

    fn samples() -> Vec<Elu> {
        vec![Elu::default(), Elu::selu(), Elu { alpha: 0.25, scale: 1.0 }]
    }

    fn describe(&self, d: &mut Interchange<'_>, x: Term) -> Result<Term> {
        if self.scale == 1.0 {
            return Ok(d.same(StandardNode::free("Elu", &[x]).float("alpha", self.alpha)));
        }
        let node = StandardNode::free("Selu", &[x]).float("alpha", self.alpha / self.scale);
        Ok(d.same(node.float("gamma", self.scale)))
    }
}

/// `x P(X <= x)` with X standard normal (D. Hendrycks, K. Gimpel, "Gaussian Error Linear Units", arXiv:1606.08415): the exact one.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Gelu;

/// The largest slope of [`Gelu`], at the square root of 2.
const GELU_SLOPE: f64 = 1.128_904_145_185_8;

/// 1 over the root of 2 pi: the normal density at 0.
const DENSITY: f64 = 0.398_942_280_401_432_7;

/// `P(X <= x)`, X standard normal.
fn normal_below<T: Real>(x: T) -> T {
    let tail = x.abs().normal_tail();
    if x < T::ZERO { tail } else { T::ONE - tail }
}

impl UnaryRow for Gelu {
    const NAME: &'static str = "gelu";
    const GRAD_NAME: &'static str = "gelu_grad";
    const CODE: u32 = 9;
    const READS: Reads = Reads::Input;

    fn lipschitz(&self) -> f64 {
        GELU_SLOPE
    }

    fn y<T: Real>(&self, x: T) -> T {
        x * normal_below(x)
    }

    fn dx<T: Real>(&self, x: T, dy: T) -> T {
        // Beyond 16 the density is 0, and squares mustn't overflow.
        let a = clamp(x, -T::from_f64(16.0), T::from_f64(16.0));
        dy * (normal_below(x) + a * (T::from_f64(DENSITY) * (-(T::from_f64(0.5) * a * a)).exp()))
    }

    fn describe(&self, d: &mut Interchange<'_>, x: Term) -> Result<Term> {
        Ok(d.same(StandardNode::free("Gelu", &[x]).since(20)))
    }
}

/// `x sigmoid(2 u)`, `u = sqrt(2 / pi) (x + 0.044715 x^3)`: the approximation of [`Gelu`] by a tanh, `0.5 x (1 + tanh u)`, from the same
/// paper.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct GeluTanh;

/// `2 sqrt(2 / pi)`.
const GELU_FACTOR: f64 = 1.595_769_121_605_730_8;
const GELU_CUBIC: f64 = 0.044_715;

impl GeluTanh {
    /// `2 u` and its derivative. Beyond 16 the sigmoid is 0 or 1, and cubes mustn't overflow.
    fn inner<T: Real>(x: T) -> (T, T) {
        let a = clamp(x, -T::from_f64(16.0), T::from_f64(16.0));
        let (factor, cubic) = (T::from_f64(GELU_FACTOR), T::from_f64(GELU_CUBIC) * (a * a));
        (factor * (a + a * cubic), factor * (T::ONE + T::from_f64(3.0) * cubic))
    }
}

impl UnaryRow for GeluTanh {
    const NAME: &'static str = "gelu_tanh";
    const GRAD_NAME: &'static str = "gelu_tanh_grad";
    const CODE: u32 = 10;
    const READS: Reads = Reads::Input;

    fn lipschitz(&self) -> f64 {
        1.129
    }

    fn y<T: Real>(&self, x: T) -> T {
        x * sigmoid(GeluTanh::inner(x).0).0
    }

    fn dx<T: Real>(&self, x: T, dy: T) -> T {
        let (u, slope) = GeluTanh::inner(x);
        let (s, e) = sigmoid(u);
        dy * (s + clamp(x, -T::from_f64(16.0), T::from_f64(16.0)) * (sigmoid_slope(e) * slope))
    }

    fn describe(&self, d: &mut Interchange<'_>, x: Term) -> Result<Term> {
        Ok(d.same(StandardNode::free("Gelu", &[x]).text("approximate", "tanh").since(20)))
    }
}

/// `x sigmoid(x)`, also called swish (P. Ramachandran and others, "Searching for Activation Functions", arXiv:1710.05941).
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Silu;

impl UnaryRow for Silu {
    const NAME: &'static str = "silu";
    const GRAD_NAME: &'static str = "silu_grad";
    const CODE: u32 = 11;
    const READS: Reads = Reads::Input;

    fn lipschitz(&self) -> f64 {
        1.1
    }

    fn y<T: Real>(&self, x: T) -> T {
        x * sigmoid(x).0
    }

    fn dx<T: Real>(&self, x: T, dy: T) -> T {
        let (s, e) = sigmoid(x);
        dy * (s + x * sigmoid_slope(e))
    }

    fn describe(&self, d: &mut Interchange<'_>, x: Term) -> Result<Term> {
        let sigmoid = d.same(StandardNode::free("Sigmoid", &[x]));
        Ok(d.same(StandardNode::free("Mul", &[x, sigmoid])))
    }
}

/// `x tanh(ln(1 + e^x))` (D. Misra, "Mish: A Self Regularized Non-Monotonic Activation Function", BMVC 2020).
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Mish;

impl Mish {
    /// The tanh, `((1 + e^x)^2 - 1) / ((1 + e^x)^2 + 1)`, as a fraction of sums of positive numbers of e = e^-|x|: numerator,
    /// denominator, e.
    fn tanh<T: Real>(x: T) -> (T, T, T) {
        let (e, two) = ((-x.abs()).exp(), T::from_f64(2.0));
        if x < T::ZERO {
            let n = e * (e + two);
            (n, n + two, e)
        } else {
            let n = T::ONE + two * e;
            (n, n + two * (e * e), e)
        }
    }
}

impl UnaryRow for Mish {
    const NAME: &'static str = "mish";
    const GRAD_NAME: &'static str = "mish_grad";
    const CODE: u32 = 12;
    const STANDARD: Option<&'static str> = Some("Mish");
    const READS: Reads = Reads::Input;

    fn lipschitz(&self) -> f64 {
        1.089
    }

    fn y<T: Real>(&self, x: T) -> T {
        let (n, d, _) = Mish::tanh(x);
        x * (n / d)
    }

    /// `tanh + x (1 - tanh^2) sigmoid(x)`, where `(1 - tanh^2) sigmoid(x) = 4 (1 + e) e / d^2`, with another factor e for positive x.
    fn dx<T: Real>(&self, x: T, dy: T) -> T {
        let (n, d, e) = Mish::tanh(x);
        let k = if x < T::ZERO { e } else { e * e };
        dy * (n / d + x * (T::from_f64(4.0) * (T::ONE + e) * k / (d * d)))
    }
}

/// `x / (1 + |x|)`.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Softsign;

impl UnaryRow for Softsign {
    const NAME: &'static str = "softsign";
    const GRAD_NAME: &'static str = "softsign_grad";
    const CODE: u32 = 13;
    const STANDARD: Option<&'static str> = Some("Softsign");

    fn lipschitz(&self) -> f64 {
        1.0
    }

    fn y<T: Real>(&self, x: T) -> T {
        x / (T::ONE + x.abs())
    }

    fn dx<T: Real>(&self, y: T, dy: T) -> T {
        let d = T::ONE - y.abs();
        dy * (d * d)
    }

    fn error(&self, _: f64, y: f64) -> f64 {
        // The sum, and the quotient; where WGSL promises nothing of a quotient, beyond 2^126, that is the value 1.
        3.6 * UNIT * y.abs() + TINY
    }
}

/// `min(max(alpha x + beta, 0), 1)`. The gradient where y is 0 or 1 is 0.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct HardSigmoid {
    /// Slope.
    pub alpha: f64,
    /// Value at 0.
    pub beta: f64,
}

impl Default for HardSigmoid {
    /// `relu6(x + 3) / 6`, as in Keras 3 and PyTorch; ONNX's are 0.2 and 0.5.
    fn default() -> HardSigmoid {
        HardSigmoid { alpha: 1.0 / 6.0, beta: 0.5 }
    }
}

impl UnaryRow for HardSigmoid {
    const NAME: &'static str = "hard_sigmoid";
    const GRAD_NAME: &'static str = "hard_sigmoid_grad";
    const CODE: u32 = 14;

    fn attributes(&self) -> [f64; 2] {
        [self.alpha, self.beta]
    }

    fn of([alpha, beta]: [f64; 2]) -> HardSigmoid {
        HardSigmoid { alpha, beta }
    }

    fn check(&self) -> Result<()> {
        attribute("alpha", self.alpha, "a finite number", true)?;
        attribute("beta", self.beta, "a finite number", true)
    }

    fn lipschitz(&self) -> f64 {
        self.alpha.abs()
    }

    fn y<T: Real>(&self, x: T) -> T {
        clamp(T::from_f64(self.alpha) * x + T::from_f64(self.beta), T::ZERO, T::ONE)
    }

    fn dx<T: Real>(&self, y: T, dy: T) -> T {
        if y <= T::ZERO || y >= T::ONE { T::ZERO } else { T::from_f64(self.alpha) * dy }
    }

    fn error(&self, x: f64, y: f64) -> f64 {
        // alpha's rounding, the product's, beta's and the sum's. What is far outside stays there.
        let (ax, sum) = ((self.alpha * x).abs(), self.alpha * x + self.beta);
        let off = (2.1 * ax + self.beta.abs() + sum.abs()) * 1.1 * UNIT + TINY;
        if (sum - off >= 1.0 || sum + off <= 0.0) && (y == 0.0 || y == 1.0) { 0.0 } else { off.min(1.0) }
    }

    fn samples() -> Vec<HardSigmoid> {
        vec![HardSigmoid::default(), HardSigmoid { alpha: 0.2, beta: 0.5 }]
    }

    fn describe(&self, d: &mut Interchange<'_>, x: Term) -> Result<Term> {
        let node = StandardNode::free("HardSigmoid", &[x]).float("alpha", self.alpha);
        Ok(d.same(node.float("beta", self.beta)))
    }
}

/// `x relu6(x + 3) / 6` (A. Howard and others, "Searching for MobileNetV3", ICCV 2019), in Keras `hard_silu`. The gradient is 0 up to -3
/// and 1 from 3 on, as in PyTorch.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct HardSwish;

impl UnaryRow for HardSwish {
    const NAME: &'static str = "hard_swish";
    const GRAD_NAME: &'static str = "hard_swish_grad";
    const CODE: u32 = 15;
    const STANDARD: Option<&'static str> = Some("HardSwish");
    const READS: Reads = Reads::Input;

    fn lipschitz(&self) -> f64 {
        1.5
    }

    fn y<T: Real>(&self, x: T) -> T {
        let (three, six) = (T::from_f64(3.0), T::from_f64(6.0));
        if x <= -three {
            T::ZERO
        } else if x >= three {
            x
        } else {
            x * ((x + three) * (T::ONE / six))
        }
    }

    fn dx<T: Real>(&self, x: T, dy: T) -> T {
        let three = T::from_f64(3.0);
        if x <= -three {
            T::ZERO
        } else if x >= three {
            dy
        } else {
            dy * (x * (T::ONE / three) + T::from_f64(0.5))
        }
    }

    fn error(&self, x: f64, y: f64) -> f64 {
        // The sum, a sixth's rounding, two products. At -3 and 3 an argument that is off may take either way: at 3 both are equal, at -3 the
        // sum's rounding is all there is.
        if (-3.1..3.1).contains(&x) { 4.1 * UNIT * y.abs() + UNIT * x.abs() + TINY } else { 0.0 }
    }

    fn grad_error(&self, x: f64, dy: f64, _: f64) -> f64 {
        // A third's rounding, its product's, the sum's of at most 1.5, the last product's.
        if (-3.0..3.0).contains(&x) { 6.0 * UNIT * dy.abs() + TINY } else { 0.0 }
    }
}
