//! Normalisations by statistics of each sample.

use crate::error::{Error, Result};
use crate::nn::layer::batched;
use crate::nn::{Init, Layer, LayerContext};
use crate::op::Value;
use crate::ops::group_norm::{self, Grouping};
use crate::ops::view::View;

/// Layer normalisation: each sample's values along the last axes get mean 0 and variance 1, then a scale `gamma` and a shift `beta`, learned,
/// of the shape of those axes (J. L. Ba, J. R. Kiros, G. E. Hinton, arXiv:1607.06450). Input `[n, ..]`, output of the same shape.
///
/// Defaults are Keras's: the last axis, epsilon 1e-3. PyTorch's epsilon is 1e-5.
#[derive(Clone, Copy, Debug)]
pub struct LayerNorm {
    axes: usize,
    epsilon: f64,
}

impl LayerNorm {
    /// Over the last axis.
    pub fn new() -> Self {
        LayerNorm { axes: 1, epsilon: 1e-3 }
    }

    /// Over so many last axes: 3 for whole images.
    pub fn axes(mut self, axes: usize) -> Self {
        self.axes = axes;
        self
    }

    /// What is added to the variance.
    pub fn epsilon(mut self, epsilon: f64) -> Self {
        self.epsilon = epsilon;
        self
    }
}

impl Default for LayerNorm {
    fn default() -> Self {
        LayerNorm::new()
    }
}

impl Layer for LayerNorm {
    fn type_name(&self) -> &'static str {
        "layer_norm"
    }

    fn build(&self, ctx: &mut LayerContext<'_>, x: &[Value]) -> Result<Value> {
        let x = ctx.only(x)?;
        let rank = ctx.shape(x).rank();
        if !(1..rank).contains(&self.axes) {
            let want = format!("1 to {}, the axes of {} behind the batch", rank - 1, batched(ctx.shape(x)));
            return Err(Error::invalid("axes", self.axes, want));
        }
        let shape = ctx.shape(x).dims()[rank - self.axes..].to_vec();
        let mut parameter = |name: &str, init| -> Result<Value> {
            let v = ctx.parameter(name, shape.clone(), init)?;
            if self.axes == 1 { Ok(v) } else { ctx.node(View::reshape([shape.iter().product()]), &[v]) }
        };
        let (gamma, beta) = (parameter("gamma", Init::Ones)?, parameter("beta", Init::Zeros)?);
        ctx.node(group_norm::GroupNorm::new(Grouping::layer(rank, self.axes), self.epsilon), &[x, gamma, beta])
    }
}

/// Group normalisation: the channels are cut in groups, and each group of each sample gets mean 0 and variance 1, over all its pixels; then
/// each channel a scale `gamma` and a shift `beta`, learned, `[c]` (Y. Wu, K. He, ECCV 2018). Input `[n, .., c]`, output of the same shape.
///
/// The default epsilon is Keras's, 1e-3; PyTorch's is 1e-5.
#[derive(Clone, Copy, Debug)]
pub struct GroupNorm {
    groups: usize,
    epsilon: f64,
}

impl GroupNorm {
    /// So many groups, which divide the channels: 32 in the paper and in Keras.
    pub fn new(groups: usize) -> Self {
        GroupNorm { groups, epsilon: 1e-3 }
    }

    /// What is added to the variance.
    pub fn epsilon(mut self, epsilon: f64) -> Self {
        self.epsilon = epsilon;
        self
    }
}

/// Instance normalisation: each channel of each sample gets mean 0 and variance 1; then a scale `gamma` and a shift `beta`, learned, `[c]` (D.
/// Ulyanov and others, arXiv:1607.08022). Input `[n, .., c]` with an axis between, output of the same shape.
///
/// The default epsilon is PyTorch's, 1e-5, whose scale and shift are only there on request; in Keras it is a group norm of as many groups as
/// channels, with 1e-3.
#[derive(Clone, Copy, Debug)]
pub struct InstanceNorm {
    epsilon: f64,
}

impl InstanceNorm {
    /// With PyTorch's epsilon.
    pub fn new() -> Self {
        InstanceNorm { epsilon: 1e-5 }
    }

    /// What is added to the variance.
    pub fn epsilon(mut self, epsilon: f64) -> Self {
        self.epsilon = epsilon;
        self
    }
}

impl Default for InstanceNorm {
    fn default() -> Self {
        InstanceNorm::new()
    }
}

/// The node of a norm of groups of channels; a group a channel if none are said.
fn channels(ctx: &mut LayerContext<'_>, x: &[Value], groups: Option<usize>, epsilon: f64) -> Result<Value> {
    let x = ctx.only(x)?;
    let c = ctx.shape(x).last();
    let op = group_norm::GroupNorm::new(Grouping::channels(groups.unwrap_or(c)), epsilon);
    let gamma = ctx.parameter("gamma", [c], Init::Ones)?;
    let beta = ctx.parameter("beta", [c], Init::Zeros)?;
    ctx.node(op, &[x, gamma, beta])
}

impl Layer for GroupNorm {
    fn type_name(&self) -> &'static str {
        "group_norm"
    }

    fn build(&self, ctx: &mut LayerContext<'_>, x: &[Value]) -> Result<Value> {
        channels(ctx, x, Some(self.groups), self.epsilon)
    }
}

impl Layer for InstanceNorm {
    fn type_name(&self) -> &'static str {
        "instance_norm"
    }

    fn build(&self, ctx: &mut LayerContext<'_>, x: &[Value]) -> Result<Value> {
        channels(ctx, x, None, self.epsilon)
    }
}
