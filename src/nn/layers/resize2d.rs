//! Images made larger or smaller.

use super::image;
use crate::error::{Error, Result};
use crate::nn::{Layer, LayerContext, Size2};
use crate::op::Value;
use crate::ops::resample2d::{Corners, Resample2d, Sampling};

/// Images of this height and width, whatever the input's. Input `[n, h, w, c]`, output `[n, size[0], size[1], c]`. Smaller images aren't
/// smoothed first, as in Keras and PyTorch without `antialias`.
///
/// Defaults are those of Keras's `Resizing`: bilinear, pixels as areas ([`Corners::HalfPixel`]).
#[derive(Clone, Copy, Debug)]
pub struct Resize2d {
    size: [usize; 2],
    sampling: Sampling,
}

/// Images so many times as high and wide. Input `[n, h, w, c]`, output `[n, h * factor[0], w * factor[1], c]`.
///
/// Defaults are those of Keras's `UpSampling2D` and PyTorch's `Upsample`: each pixel repeated. Bilinear it is Keras's, and PyTorch's
/// `UpsamplingBilinear2d` with `.corners(Corners::Align)`.
#[derive(Clone, Copy, Debug)]
pub struct Upsample2d {
    factor: [usize; 2],
    sampling: Sampling,
}

/// The options that both have.
macro_rules! sampling_options {
    ($layer:ident) => {
        impl $layer {
            /// Takes the nearest pixel.
            pub fn nearest(mut self) -> Self {
                self.sampling = Sampling::Nearest(corners(self.sampling));
                self
            }

            /// Takes what lies on the lines between the nearest pixels.
            pub fn bilinear(mut self) -> Self {
                self.sampling = Sampling::Linear(corners(self.sampling));
                self
            }

            /// Says where the output's pixels lie on the input.
            pub fn corners(mut self, corners: Corners) -> Self {
                self.sampling = match self.sampling {
                    Sampling::Linear(_) => Sampling::Linear(corners),
                    _ => Sampling::Nearest(corners),
                };
                self
            }
        }
    };
}

sampling_options!(Resize2d);
sampling_options!(Upsample2d);

fn corners(sampling: Sampling) -> Corners {
    match sampling {
        Sampling::Nearest(corners) | Sampling::Linear(corners) => corners,
        _ => Corners::default(),
    }
}

impl Resize2d {
    /// Images of a size: `Resize2d::new([224, 224])`.
    pub fn new(size: impl Into<Size2>) -> Self {
        Resize2d { size: size.into().0, sampling: Sampling::Linear(Corners::HalfPixel) }
    }
}

impl Upsample2d {
    /// Images a number of times as large: `Upsample2d::new(2)`.
    pub fn new(factor: impl Into<Size2>) -> Self {
        Upsample2d { factor: factor.into().0, sampling: Sampling::Nearest(Corners::HalfPixel) }
    }
}

impl Layer for Resize2d {
    fn type_name(&self) -> &'static str {
        "resize2d"
    }

    fn build(&self, ctx: &mut LayerContext<'_>, x: &[Value]) -> Result<Value> {
        let x = ctx.only(x)?;
        image(ctx.shape(x))?;
        ctx.node(Resample2d { size: self.size, sampling: self.sampling }, &[x])
    }
}

impl Layer for Upsample2d {
    fn type_name(&self) -> &'static str {
        "upsample2d"
    }

    fn build(&self, ctx: &mut LayerContext<'_>, x: &[Value]) -> Result<Value> {
        let x = ctx.only(x)?;
        let [_, h, w, _] = image(ctx.shape(x))?;
        if self.factor.contains(&0) {
            return Err(Error::invalid("factor", format!("{:?}", self.factor), "at least 1 by 1"));
        }
        let size = [h.saturating_mul(self.factor[0]), w.saturating_mul(self.factor[1])];
        ctx.node(Resample2d { size, sampling: self.sampling }, &[x])
    }
}
