//! What optimizers do with a page of parameters: a table, one row a rule. An update overwrites the page and its moments, element by
//! element, from the page's gradient; a rule's formula is written once, in [`UpdateRow::step`], for both precisions of the CPU and for
//! the error bound. Its WGSL is a case of `shaders/update.wgsl`.

use crate::error::{Error, Result};
use crate::linalg::{Real, for_each_chunks};
use crate::op::{
    ACTIVATION, Bound, Buffer, Case, Cost, Cpu, CpuArgs, Declaration, Op, Oracle, PAGE_ALIGNMENT, Recorder, Source, Word, moved_bytes,
    sample, shader,
};
use crate::ops::elements::Elements;
use crate::ops::running_error::Running;
use crate::tensor::{DType, Tensor, TensorType};
use std::fmt::Debug;
use std::marker::PhantomData;

static UPDATE: Source = shader!("update");

/// Elements of a page that share factors of the rate and of the weight decay: parameters begin at multiples of this.
pub const BLOCK: usize = PAGE_ALIGNMENT;

/// Length of `hyper`, the numbers that change from step to step: learning rate, three numbers of the rule, factor of the gradient,
/// and 0 if the step is to change nothing.
pub const HYPER: usize = 6;

/// Type of the factors of a page of `len` elements: for each [`BLOCK`] that of the rate and that of the weight decay.
pub fn factors_type(len: usize) -> TensorType {
    TensorType::f32([len.div_ceil(BLOCK), 2])
}

/// Numbers of the rules, each of which uses some.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Coefficients {
    /// Share of the velocity that is kept, 0 to less than 1.
    pub momentum: f64,
    /// Share of the mean of gradients that is kept, 0 to less than 1.
    pub beta1: f64,
    /// Share of the mean of squared gradients that is kept, 0 to less than 1.
    pub beta2: f64,
    /// What keeps a divisor from 0.
    pub epsilon: f64,
    /// Weight decay, 0 or more: of an L2 penalty in the gradient, or [`Coefficients::decoupled`].
    pub weight_decay: f64,
    /// Whether the weight decay is taken off the parameters, times the rate, instead of being added to the gradient (I. Loshchilov,
    /// F. Hutter, "Decoupled Weight Decay Regularization", ICLR 2019).
    pub decoupled: bool,
}

impl Default for Coefficients {
    /// No momentum, betas 0.9 and 0.999, epsilon 1e-8, no weight decay.
    fn default() -> Self {
        Coefficients { momentum: 0.0, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.0, decoupled: false }
    }
}

/// [`Coefficients`] in some arithmetic.
#[derive(Clone, Copy, Debug)]
pub struct Constants<T> {
    /// As in the coefficients.
    pub momentum: T,
    /// As in the coefficients.
    pub beta1: T,
    /// `1 - beta1`.
    pub one_minus_beta1: T,
    /// As in the coefficients.
    pub beta2: T,
    /// `1 - beta2`.
    pub one_minus_beta2: T,
    /// As in the coefficients.
    pub epsilon: T,
}

impl<T: Real> Constants<T> {
    fn mean1(&self, old: T, new: T) -> T {
        self.beta1 * old + self.one_minus_beta1 * new
    }

    fn mean2(&self, old: T, new: T) -> T {
        self.beta2 * old + self.one_minus_beta2 * new
    }
}

/// An element of a page, and what a rule makes of it.
#[derive(Clone, Copy, Debug)]
pub struct Element<T> {
    /// The parameter.
    pub p: T,
    /// Its moments, of which the rule has the first [`UpdateRow::MOMENTS`].
    pub moments: [T; 3],
}

/// What a rule works with besides [`Element`].
#[derive(Clone, Copy, Debug)]
pub struct Slope<T> {
    /// The gradient, with its factor and what the weight decay adds.
    pub g: T,
    /// The learning rate.
    pub rate: T,
    /// Three numbers of the rule that change from step to step.
    pub hyper: [T; 3],
}

/// A row of the table.
pub trait UpdateRow: Debug + Send + Sync + 'static {
    /// Name of the op.
    const NAME: &'static str;
    /// The `case` of `RULE` in `shaders/update.wgsl`.
    const CODE: u32;
    /// Names of the moments, at most three.
    const MOMENTS: &'static [&'static str] = &[];
    /// Whether the gradient is multiplied by its factor of `hyper`.
    const SCALED: bool = true;
    /// Whether there is weight decay.
    const DECAYS: bool = true;
    /// The formula.
    fn step<T: Real>(k: &Constants<T>, e: Element<T>, s: Slope<T>) -> Element<T>;
}

/// A unit struct with its row.
macro_rules! row {
    ($(#[$doc:meta])* $row:ident, $name:literal, $code:literal, [$($moment:literal),*] $(, $key:ident = $value:literal)*; $k:ident, $e:ident, $s:ident => $step:block) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Debug)]
        pub struct $row;

        impl UpdateRow for $row {
            const NAME: &'static str = $name;
            const CODE: u32 = $code;
            const MOMENTS: &'static [&'static str] = &[$($moment),*];
            $(const $key: bool = $value;)*

            fn step<T: Real>($k: &Constants<T>, $e: Element<T>, $s: Slope<T>) -> Element<T> $step
        }
    };
}

row! {
    /// Gradient descent: `p -= rate g`.
    Sgd, "sgd_update", 0, [];
    _k, e, s => { Element { p: e.p - s.rate * s.g, ..e } }
}

row! {
    /// Momentum in the form of Sutskever et al., "On the importance of initialization and momentum in deep learning", ICML 2013, as
    /// PyTorch has it (`torch.optim.SGD`, dampening 0): `v = momentum v + g; p -= rate v`.
    Momentum, "momentum_update", 1, ["velocity"];
    k, e, s => {
        let v = k.momentum * e.moments[0] + s.g;
        Element { p: e.p - s.rate * v, moments: [v, e.moments[1], e.moments[2]] }
    }
}

row! {
    /// Nesterov's form of momentum, as PyTorch has it: `v = momentum v + g; p -= rate (g + momentum v)`.
    Nesterov, "nesterov_update", 2, ["velocity"];
    k, e, s => {
        let v = k.momentum * e.moments[0] + s.g;
        Element { p: e.p - s.rate * (s.g + k.momentum * v), moments: [v, e.moments[1], e.moments[2]] }
    }
}

row! {
    /// The step of LARS (Y. You, I. Gitman, B. Ginsburg, "Large Batch Training of Convolutional Networks", arXiv:1708.03888, 2017), whose
    /// rates are a parameter's own: `v = momentum v + rate g; p -= v`.
    Lars, "lars_update", 3, ["velocity"];
    k, e, s => {
        let v = k.momentum * e.moments[0] + s.rate * s.g;
        Element { p: e.p - v, moments: [v, e.moments[1], e.moments[2]] }
    }
}

row! {
    /// Adagrad (J. Duchi, E. Hazan, Y. Singer, "Adaptive Subgradient Methods for Online Learning and Stochastic Optimization", JMLR 2011):
    /// `s += g^2; p -= rate g / (sqrt(s) + epsilon)`.
    Adagrad, "adagrad_update", 4, ["squares"];
    k, e, s => {
        let sum = e.moments[0] + s.g * s.g;
        Element { p: e.p - s.rate * (s.g / (sum.sqrt() + k.epsilon)), moments: [sum, e.moments[1], e.moments[2]] }
    }
}

row! {
    /// RMSprop (T. Tieleman, G. Hinton, "Lecture 6.5", Coursera, 2012), as PyTorch has it:
    /// `s = beta2 s + (1 - beta2) g^2; p -= rate g / (sqrt(s) + epsilon)`.
    RmsProp, "rmsprop_update", 5, ["squares"];
    k, e, s => {
        let square = k.mean2(e.moments[0], s.g * s.g);
        Element { p: e.p - s.rate * (s.g / (square.sqrt() + k.epsilon)), moments: [square, e.moments[1], e.moments[2]] }
    }
}

row! {
    /// [`RmsProp`] with momentum: `v = momentum v + g / (sqrt(s) + epsilon); p -= rate v`.
    RmsPropMomentum, "rmsprop_momentum_update", 6, ["squares", "velocity"];
    k, e, s => {
        let square = k.mean2(e.moments[0], s.g * s.g);
        let v = k.momentum * e.moments[1] + s.g / (square.sqrt() + k.epsilon);
        Element { p: e.p - s.rate * v, moments: [square, v, e.moments[2]] }
    }
}

row! {
    /// [`RmsPropMomentum`] by the variance instead of the mean square (A. Graves, arXiv:1308.0850, 2013): `m = beta2 m + (1 - beta2) g`, and
    /// `s - m^2` in the place of `s`. Where that is negative by a rounding it is 0.
    RmsPropCentered, "rmsprop_centered_update", 7, ["squares", "mean", "velocity"];
    k, e, s => {
        let square = k.mean2(e.moments[0], s.g * s.g);
        let mean = k.mean2(e.moments[1], s.g);
        let variance = (square - mean * mean).max(T::ZERO);
        let v = k.momentum * e.moments[2] + s.g / (variance.sqrt() + k.epsilon);
        Element { p: e.p - s.rate * v, moments: [square, mean, v] }
    }
}

row! {
    /// Adadelta (M. Zeiler, "ADADELTA: An Adaptive Learning Rate Method", arXiv:1212.5701, 2012):
    /// `s = beta2 s + (1 - beta2) g^2; d = sqrt(a + epsilon) / sqrt(s + epsilon) g; a = beta2 a + (1 - beta2) d^2; p -= rate d`.
    Adadelta, "adadelta_update", 8, ["squared_gradient", "squared_step"];
    k, e, s => {
        let square = k.mean2(e.moments[0], s.g * s.g);
        let delta = (e.moments[1] + k.epsilon).sqrt() / (square + k.epsilon).sqrt() * s.g;
        Element { p: e.p - s.rate * delta, moments: [square, k.mean2(e.moments[1], delta * delta), e.moments[2]] }
    }
}

row! {
    /// Adam (D. Kingma, J. Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015): `m = beta1 m + (1 - beta1) g;`
    /// `v = beta2 v + (1 - beta2) g^2; p -= rate / h0 m / (sqrt(v / h1) + epsilon)`, `h0 = 1 - beta1^t` and `h1 = 1 - beta2^t` at step t.
    Adam, "adam_update", 9, ["m", "v"];
    k, e, s => {
        let m = k.mean1(e.moments[0], s.g);
        let v = k.mean2(e.moments[1], s.g * s.g);
        let scale = (v / s.hyper[1]).sqrt() + k.epsilon;
        Element { p: e.p - s.rate / s.hyper[0] * (m / scale), moments: [m, v, e.moments[2]] }
    }
}

row! {
    /// AMSGrad (S. Reddi, S. Kale, S. Kumar, "On the Convergence of Adam and Beyond", ICLR 2018): [`Adam`] by the largest `v` so far.
    AmsGrad, "amsgrad_update", 10, ["m", "v", "largest_v"];
    k, e, s => {
        let m = k.mean1(e.moments[0], s.g);
        let v = k.mean2(e.moments[1], s.g * s.g);
        let largest = e.moments[2].max(v);
        let scale = (largest / s.hyper[1]).sqrt() + k.epsilon;
        Element { p: e.p - s.rate / s.hyper[0] * (m / scale), moments: [m, v, largest] }
    }
}

row! {
    /// Adamax (in the paper of [`Adam`]), as PyTorch has it: `u = max(beta2 u, |g| + epsilon); p -= rate / h0 m / u`.
    Adamax, "adamax_update", 11, ["m", "u"];
    k, e, s => {
        let m = k.mean1(e.moments[0], s.g);
        let u = (k.beta2 * e.moments[1]).max(s.g.abs() + k.epsilon);
        Element { p: e.p - s.rate / s.hyper[0] * (m / u), moments: [m, u, e.moments[2]] }
    }
}

row! {
    /// Nadam (T. Dozat, "Incorporating Nesterov Momentum into Adam", ICLR workshop 2016): [`Adam`]'s moments, and
    /// `p -= rate (h0 g + h1 m) / (sqrt(v / h2) + epsilon)`.
    Nadam, "nadam_update", 12, ["m", "v"];
    k, e, s => {
        let m = k.mean1(e.moments[0], s.g);
        let v = k.mean2(e.moments[1], s.g * s.g);
        let scale = (v / s.hyper[2]).sqrt() + k.epsilon;
        let step = s.hyper[0] * (s.g / scale) + s.hyper[1] * (m / scale);
        Element { p: e.p - s.rate * step, moments: [m, v, e.moments[2]] }
    }
}

row! {
    /// Lion (X. Chen et al., "Symbolic Discovery of Optimization Algorithms", NeurIPS 2023):
    /// `p -= rate sign(beta1 m + (1 - beta1) g); m = beta2 m + (1 - beta2) g`.
    Lion, "lion_update", 13, ["m"];
    k, e, s => {
        let direction = k.mean1(e.moments[0], s.g).sign();
        Element { p: e.p - s.rate * direction, moments: [k.mean2(e.moments[0], s.g), e.moments[1], e.moments[2]] }
    }
}

row! {
    /// The direction of LAMB (Y. You et al., "Large Batch Optimization for Deep Learning: Training BERT in 76 minutes", ICLR 2020), which takes
    /// the parameters' place: `p = m / h0 / (sqrt(v / h1) + epsilon)`, with [`Adam`]'s moments.
    Direction, "direction_update", 14, ["m", "v"], DECAYS = false;
    k, e, s => {
        let m = k.mean1(e.moments[0], s.g);
        let v = k.mean2(e.moments[1], s.g * s.g);
        let scale = (v / s.hyper[1]).sqrt() + k.epsilon;
        Element { p: m / s.hyper[0] / scale, moments: [m, v, e.moments[2]] }
    }
}

row! {
    /// A running mean: `p += (1 - beta1) (g - p)`, so that where `g` is `p` nothing changes, not even by a rounding.
    Follow, "follow_update", 15, [], SCALED = false, DECAYS = false;
    k, e, s => { Element { p: e.p + k.one_minus_beta1 * (s.g - e.p), ..e } }
}

row! {
    /// A sum of gradients: `p = h0 p + rate g`.
    Accumulate, "accumulate_update", 16, [], SCALED = false, DECAYS = false;
    _k, e, s => { Element { p: s.hyper[0] * e.p + s.rate * s.g, ..e } }
}

row! {
    /// A step along a direction that is ready: [`Sgd`] without the gradient's factor.
    Along, "along_update", 17, [], SCALED = false;
    _k, e, s => { Element { p: e.p - s.rate * s.g, ..e } }
}

/// Makes the list's entries from the rows.
macro_rules! rows {
    ($($row:ident),* $(,)?) => {
        /// The list's entries.
        pub static DECLARATIONS: &[Declaration] = &[$(
            Declaration {
                name: $row::NAME,
                no_gradient: Some("it updates parameters"),
                shaders: &[&UPDATE],
                cases: cases::<$row>,
            },
        )*];

        #[cfg(test)]
        const CODES: &[u32] = &[$($row::CODE),*];
    };
}

rows! {
    Sgd,
    Momentum,
    Nesterov,
    Lars,
    Adagrad,
    RmsProp,
    RmsPropMomentum,
    RmsPropCentered,
    Adadelta,
    Adam,
    AmsGrad,
    Adamax,
    Nadam,
    Lion,
    Direction,
    Follow,
    Accumulate,
    Along,
}

/// A step of an optimizer, in place. Inputs: parameters p and the rule's moments, gradient g, f32 of one shape; hyper, f32 `[6]`
/// ([`HYPER`]); health, u32 `[2]`, whose first must be 0 for anything to happen, see [`Track`](crate::ops::track::Track); and, if
/// parameters are not all treated alike, factors, f32 `[blocks, 2]` ([`factors_type`]). Outputs: p and the moments.
///
/// `g = hyper[4] g + weight_decay p`, or, decoupled, `p -= rate weight_decay p`; then the rule.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Update<R> {
    /// The rule's numbers.
    pub coefficients: Coefficients,
    row: PhantomData<R>,
}

impl<R: UpdateRow> Default for Update<R> {
    fn default() -> Self {
        Update::new(Coefficients::default())
    }
}

/// Fails unless `value` is a number from 0 to less than 1.
fn expect_share(what: &str, value: f64) -> Result<()> {
    if (0.0..1.0).contains(&value) { Ok(()) } else { Err(Error::invalid(what, value, "0 to less than 1")) }
}

/// Fails unless `value` is positive and finite, also in f32.
pub(crate) fn expect_positive(what: &str, value: f64) -> Result<()> {
    let single = value as f32;
    if single > 0.0 && single.is_finite() { Ok(()) } else { Err(Error::invalid(what, value, "a positive number")) }
}

impl<R: UpdateRow> Update<R> {
    /// The op.
    pub const fn new(coefficients: Coefficients) -> Self {
        Update { coefficients, row: PhantomData }
    }

    /// Tensors that it overwrites.
    const N_STATE: usize = 1 + R::MOMENTS.len();

    fn constants<T: Real>(&self) -> Constants<T> {
        let k = &self.coefficients;
        Constants {
            momentum: T::from_f64(k.momentum),
            beta1: T::from_f64(k.beta1),
            one_minus_beta1: T::from_f64(1.0 - k.beta1),
            beta2: T::from_f64(k.beta2),
            one_minus_beta2: T::from_f64(1.0 - k.beta2),
            epsilon: T::from_f64(k.epsilon),
        }
    }

    /// The new element. `rate` and `decay` have the factors of the element's block.
    fn step<T: Real>(&self, k: &Constants<T>, e: Element<T>, g: T, (rate, decay): (T, T), hyper: &[T; HYPER]) -> Element<T> {
        let mut e = e;
        let mut g = if R::SCALED { hyper[4] * g } else { g };
        if R::DECAYS {
            if self.coefficients.decoupled {
                e.p = e.p - rate * decay * e.p;
            } else {
                g += decay * e.p;
            }
        }
        R::step(k, e, Slope { g, rate, hyper: [hyper[1], hyper[2], hyper[3]] })
    }

    /// Rate and weight decay in the block of element `i`.
    fn in_block<T: Real>(&self, hyper: &[T; HYPER], factors: Option<&[T]>, i: usize) -> (T, T) {
        let decay = T::from_f64(self.coefficients.weight_decay);
        match factors {
            Some(f) => (hyper[0] * f[i / BLOCK * 2], decay * f[i / BLOCK * 2 + 1]),
            None => (hyper[0], decay),
        }
    }

    fn run<T: Real, const N: usize>(&self, args: &mut CpuArgs<'_, T>) {
        let hyper: [T; HYPER] = std::array::from_fn(|i| args.x(N + 1)[i]);
        if args.x_u32(N + 2)[0] != 0 || hyper[5] == T::ZERO {
            return;
        }
        let factors = (args.n_inputs() > N + 3).then(|| args.x(N + 3));
        let (k, g) = (self.constants::<T>(), args.x(N));
        let state: [&mut [T]; N] = std::array::from_fn(|i| args.y(i));
        for_each_chunks(state, |at, mut state| {
            let len = state[0].len();
            let block = if factors.is_some() { BLOCK } else { len };
            for start in (0..len).step_by(block.max(1)) {
                let rates = self.in_block(&hyper, factors, at + start);
                let end = len.min(start + block);
                let mut state = state.each_mut().map(|s| &mut s[start..end]);
                for (i, &g) in g[at + start..at + end].iter().enumerate() {
                    let moment = |m: usize| if m + 1 < N { state[(m + 1) % N][i] } else { T::ZERO };
                    let old = Element { p: state[0][i], moments: std::array::from_fn(moment) };
                    let new = self.step(&k, old, g, rates, &hyper);
                    state[0][i] = new.p;
                    for (state, m) in state[1..].iter_mut().zip(new.moments) {
                        state[i] = m;
                    }
                }
            }
        });
    }
}

impl<R: UpdateRow> Op for Update<R> {
    fn name(&self) -> &'static str {
        R::NAME
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>> {
        let k = &self.coefficients;
        for (what, share) in [("momentum", k.momentum), ("beta1", k.beta1), ("beta2", k.beta2)] {
            expect_share(what, share)?;
        }
        expect_positive("epsilon", k.epsilon)?;
        if !(k.weight_decay >= 0.0 && (k.weight_decay as f32).is_finite()) {
            return Err(Error::invalid("weight_decay", k.weight_decay, "0 or a positive number"));
        }
        let n = Self::N_STATE;
        if inputs.len() != n + 3 && inputs.len() != n + 4 {
            let moments = R::MOMENTS.iter().map(|m| format!("{m}, ")).collect::<String>();
            return Err(Error::invalid(
                "inputs",
                inputs.len(),
                format!("{} (p, {moments}g, hyper, health), or factors too", n + 3),
            ));
        }
        inputs[0].expect_dtype("p", DType::F32)?;
        for (name, ty) in R::MOMENTS.iter().zip(&inputs[1..]) {
            ty.expect(name, &inputs[0])?;
        }
        inputs[n].expect("g", &inputs[0])?;
        inputs[n + 1].expect("hyper", &TensorType::f32([HYPER]))?;
        inputs[n + 2].expect("health", &TensorType::u32([2]))?;
        if let Some(factors) = inputs.get(n + 3) {
            factors.expect("factors", &factors_type(inputs[0].elements()))?;
        }
        Ok(inputs[..n].to_vec())
    }

    fn gpu(&self, r: &mut Recorder<'_>) -> Result<()> {
        let n = Self::N_STATE;
        let e = Elements::of(r.y(0).elements());
        let factors = r.inputs().len() > n + 3;
        let decay = if R::DECAYS { u32::from(self.coefficients.decoupled) } else { 2 };
        let kernel = e.kernel(&UPDATE, &[&ACTIVATION]);
        let kernel = kernel.set("RULE", R::CODE).set("N_MOMENTS", R::MOMENTS.len());
        let kernel = kernel.set("FACTORS", factors).set("SCALED", R::SCALED).set("DECAY", decay);
        let k = self.constants::<f32>();
        let params: [(&str, Word); 8] = [
            ("n", e.n()),
            ("momentum", k.momentum.into()),
            ("beta1", k.beta1.into()),
            ("one_minus_beta1", k.one_minus_beta1.into()),
            ("beta2", k.beta2.into()),
            ("one_minus_beta2", k.one_minus_beta2.into()),
            ("epsilon", k.epsilon.into()),
            ("weight_decay", (self.coefficients.weight_decay as f32).into()),
        ];
        // What the rule doesn't have is bound to something that the kernel never touches, so that one layout serves all.
        let reads = [n, n + 1, n + 2, if factors { n + 3 } else { n + 1 }].map(Buffer::Input);
        let mut writes: Vec<Buffer> = (0..n).map(Buffer::Output).collect();
        while writes.len() < 4 {
            writes.push(r.temp(TensorType::f32([4])));
        }
        let grid = e.grid(r);
        r.dispatch(kernel, &reads, &writes, &params, grid);
        Ok(())
    }

    fn cost(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Cost {
        Cost { flops: (4 + 6 * R::MOMENTS.len() as u64) * inputs[0].elements() as u64, bytes: moved_bytes(inputs, outputs) }
    }

    /// The rule in running error analysis.
    fn error_bound(&self, b: &Bound<'_>) -> Result<Vec<Vec<f64>>> {
        let n = Self::N_STATE;
        let at = |input: usize, i: usize| Running::from_f32(b.inputs[input].real()[i] as f32);
        let hyper: [Running; HYPER] = std::array::from_fn(|i| at(n + 1, i));
        let stopped = matches!(&b.inputs[n + 2], Oracle::U32(health) if health[0] != 0) || hyper[5] == Running::ZERO;
        if stopped {
            return Ok(b.exact());
        }
        let factors: Option<Vec<Running>> =
            b.inputs.get(n + 3).map(|f| f.real().iter().map(|&f| Running::from_f32(f as f32)).collect());
        let k = self.constants::<Running>();
        let mut bounds = b.exact();
        for i in 0..bounds[0].len() {
            let moments = std::array::from_fn(|m| if m + 1 < n { at(m + 1, i) } else { Running::ZERO });
            let rates = self.in_block(&hyper, factors.as_deref(), i);
            let new = self.step(&k, Element { p: at(0, i), moments }, at(n, i), rates, &hyper);
            for (bound, new) in bounds.iter_mut().zip([new.p].into_iter().chain(new.moments)) {
                bound[i] = new.error();
            }
        }
        Ok(bounds)
    }

    fn in_place(&self) -> &[(usize, usize)] {
        &[(0, 0), (1, 1), (2, 2), (3, 3)][..Self::N_STATE]
    }
}

impl<R: UpdateRow> Cpu for Update<R> {
    fn cpu<T: Real>(&self, args: &mut CpuArgs<'_, T>) {
        match R::MOMENTS.len() {
            0 => self.run::<T, 1>(args),
            1 => self.run::<T, 2>(args),
            2 => self.run::<T, 3>(args),
            _ => self.run::<T, 4>(args),
        }
    }
}

/// `1 - beta^step`, what divides a running mean that began at 0.
pub fn correction(beta: f64, step: u64) -> f32 {
    (1.0 - beta.powf(step as f64)) as f32
}

fn tensor(shape: impl Into<crate::tensor::Shape>, data: Vec<f32>) -> Tensor {
    Tensor::f32(shape, data).unwrap_or_else(|_| unreachable!("made to fit"))
}

/// Inputs of a case at step `step`.
fn inputs<R: UpdateRow>(seed: u64, len: usize, step: u64, health: u32) -> Vec<Tensor> {
    let mut inputs = vec![sample::normal(seed, [len])];
    for m in 0..R::MOMENTS.len() as u64 {
        // None is negative, and the first is larger than the square of any, as a mean of squares is.
        let values = sample::positive(seed + 1 + m, [len]);
        let values = values.as_f32().unwrap_or(&[]).iter().map(|x| x + if m == 0 { 1.0 } else { 0.0 }).collect();
        inputs.push(tensor([len], values));
    }
    inputs.push(sample::normal(seed + 10, [len]));
    let nesterov = [0.08, 1.1];
    let hyper = match R::CODE {
        Nadam::CODE => vec![0.01, nesterov[0], nesterov[1], correction(0.999, step), 0.75, 1.0],
        _ => vec![0.01, correction(0.9, step), correction(0.999, step), 0.0, 0.75, 1.0],
    };
    inputs.push(tensor([HYPER], hyper));
    inputs.push(Tensor::u32([2], vec![health, 7]).unwrap_or_else(|_| unreachable!("made to fit")));
    inputs
}

fn cases<R: UpdateRow>() -> Vec<Case> {
    let k = Coefficients { momentum: 0.9, ..Coefficients::default() };
    let op = |k: Coefficients| Update::<R>::new(k);
    let n = 1 + R::MOMENTS.len();
    let mut first = inputs::<R>(1, 64, 1, 0);
    for moment in &mut first[1..n] {
        *moment = Tensor::zeros(&moment.tensor_type());
    }
    let with_factors = |seed: u64, len: usize| {
        let mut all = inputs::<R>(seed, len, 3, 0);
        let factors = sample::positive(seed + 20, factors_type(len).shape);
        all.push(factors);
        all
    };
    let mut nan = inputs::<R>(8, 70, 2, 0);
    let mut g = nan[n].as_f32().unwrap_or(&[]).to_vec();
    (g[3], g[69]) = (f32::NAN, f32::INFINITY);
    nan[n] = tensor([70], g);
    let mut skipped = inputs::<R>(9, 64, 1, 0);
    skipped[n + 1] = tensor([HYPER], vec![0.01, 0.1, 0.1, 0.1, 1.0, 0.0]);
    let decayed = Coefficients { weight_decay: 1e-2, ..k };
    vec![
        Case::new("one", op(k), inputs::<R>(2, 1, 1, 0)),
        Case::new("first_step", op(k), first),
        Case::new("vec4_workgroups", op(decayed), inputs::<R>(3, 1088, 100, 0)),
        Case::new("odd", op(Coefficients { epsilon: 1e-7, beta1: 0.5, ..k }), inputs::<R>(4, 517, 3, 0)),
        Case::new("decoupled", op(Coefficients { decoupled: true, ..decayed }), inputs::<R>(5, 260, 5, 0)),
        Case::new("factors", op(decayed), with_factors(6, 196)),
        Case::new("factors_odd", op(Coefficients { decoupled: true, ..decayed }), with_factors(7, 131)),
        Case::new("nan", op(k), nan),
        Case::new("skipped", op(k), skipped),
        Case::new("stopped", op(k), inputs::<R>(10, 64, 1, 1)),
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
    fn rows_have_their_own_code() {
        assert!(CODES.iter().enumerate().all(|(i, &code)| code as usize == i), "{CODES:?}");
    }

    fn step<R: UpdateRow>(k: Coefficients, p: f64, moments: [f64; 3], g: f64, hyper: [f64; HYPER]) -> Element<f64> {
        let op = Update::<R>::new(k);
        op.step(&op.constants(), Element { p, moments }, g, op.in_block(&hyper, None, 0), &hyper)
    }

    /// By hand: p = 1, g = 0.5 and then 0.25, rate 0.1, momentum 0.9, weight decay 0.01.
    #[test]
    fn two_steps_of_momentum() {
        let hyper = [0.1, 0.0, 0.0, 0.0, 1.0, 1.0];
        let k = Coefficients { momentum: 0.9, weight_decay: 0.01, ..Coefficients::default() };
        let one = step::<Momentum>(k, 1.0, [0.0; 3], 0.5, hyper);
        let (v1, p1) = (0.51, 1.0 - 0.051);
        assert!((one.p - p1).abs() < 1e-15 && (one.moments[0] - v1).abs() < 1e-15);
        let v2 = 0.9 * v1 + 0.25 + 0.01 * p1;
        assert!((step::<Momentum>(k, one.p, one.moments, 0.25, hyper).p - (p1 - 0.1 * v2)).abs() < 1e-15);
        let nesterov = step::<Nesterov>(k, 1.0, [0.0; 3], 0.5, hyper);
        assert!((nesterov.p - (1.0 - 0.1 * (0.51 + 0.9 * 0.51))).abs() < 1e-15);
        // Decoupled: 0.1 * 0.01 of p, and half of the gradient.
        let k = Coefficients { decoupled: true, ..k };
        let half = step::<Sgd>(k, 2.0, [0.0; 3], 0.5, [0.1, 0.0, 0.0, 0.0, 0.5, 1.0]);
        assert!((half.p - (2.0 - 0.002 - 0.025)).abs() < 1e-15);
    }

    /// Step 1 from zero moments moves by rate * sign(g), but for epsilon: m / (1 - beta1) = g, v / (1 - beta2) = g^2.
    #[test]
    fn first_steps() {
        let hyper = [0.01, 1.0 - 0.9, 1.0 - 0.999, 0.0, 1.0, 1.0];
        let adam = step::<Adam>(Coefficients::default(), 1.0, [0.0; 3], -3.0, hyper);
        assert!((adam.p - (1.0 + 0.01 / (1.0 + 1e-8 / 3.0))).abs() < 1e-12, "{}", adam.p);
        assert!((adam.moments[0] + 0.3).abs() < 1e-15 && (adam.moments[1] - 0.009).abs() < 1e-15);
        // From means of 0: delta = sqrt(1e-6) / sqrt(0.05 * 4 + 1e-6) * 2.
        let k = Coefficients { beta2: 0.95, epsilon: 1e-6, ..Coefficients::default() };
        let adadelta = step::<Adadelta>(k, 1.0, [0.0; 3], 2.0, [1.0, 0.0, 0.0, 0.0, 1.0, 1.0]);
        let delta = 1e-3 / 0.200_001f64.sqrt() * 2.0;
        assert!((adadelta.p - (1.0 - delta)).abs() < 1e-14, "{}", adadelta.p);
        let [s, a, _] = adadelta.moments;
        assert!((s - 0.2).abs() < 1e-14 && (a - 0.05 * delta * delta).abs() < 1e-18);
        assert_eq!(step::<Lion>(Coefficients::default(), 1.0, [0.0; 3], -1e-30, hyper).p, 1.01);
        assert_eq!(step::<Follow>(Coefficients { beta1: 0.75, ..k }, 4.0, [0.0; 3], 8.0, hyper).p, 5.0);
    }

    #[test]
    fn bad_arguments_are_refused() {
        let page = TensorType::f32([8]);
        let types = [page.clone(), page.clone(), page.clone(), page, TensorType::f32([HYPER]), TensorType::u32([2])];
        let k = Coefficients::default();
        let refused = |k: Coefficients, what: &str| {
            let e = Update::<Adam>::new(k).infer(&types).unwrap_err().to_string();
            assert!(e.contains(what), "{e}");
        };
        assert_eq!(Update::<Adam>::default().infer(&types).unwrap(), types[..3]);
        refused(Coefficients { beta1: 1.0, ..k }, "beta1");
        refused(Coefficients { beta2: f64::NAN, ..k }, "beta2");
        refused(Coefficients { momentum: -0.1, ..k }, "momentum");
        refused(Coefficients { epsilon: 0.0, ..k }, "epsilon");
        refused(Coefficients { weight_decay: 1e300, ..k }, "weight_decay");
        assert!(Update::<AmsGrad>::default().infer(&types).is_err());
        let mut with_factors = types.to_vec();
        with_factors.push(factors_type(8));
        assert!(Update::<Adam>::default().infer(&with_factors).is_ok());
        with_factors[6] = TensorType::f32([2, 2]);
        assert!(Update::<Adam>::default().infer(&with_factors).unwrap_err().to_string().contains("factors"));
    }
}
