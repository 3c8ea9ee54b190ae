//! How one axis is resized, as a matrix for [`resample_axis`](super::resample_axis): all that ONNX's `Resize` knows. Kinds whose places are quotients of
//! small whole numbers are also in [`resample2d`](super::resample2d), which needs no table.

use super::resample_axis::Band;
use crate::error::{Error, Result};

/// What an element of the output is made of.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Interpolation {
    /// The nearest element of the input; this one between two.
    Nearest(Nearest),
    /// The line through the two elements beside the place.
    Linear,
    /// The cubic convolution of four elements (R. Keys, "Cubic convolution interpolation for digital image processing", IEEE Transactions on
    /// Acoustics, Speech, and Signal Processing, 1981).
    Cubic {
        /// Slope of the kernel at 1: -0.75 in ONNX and PyTorch, -0.5 in TensorFlow.
        a: f64,
    },
}

/// Which element is the nearest of a place between two.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Nearest {
    /// The nearer one; in the middle the first.
    RoundPreferFloor,
    /// The nearer one; in the middle the second.
    RoundPreferCeil,
    /// The first.
    Floor,
    /// The second.
    Ceil,
}

/// Which place of the input, counted in elements from the first one's middle, element `o` of the output has. `scale` is output by input.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Coordinates {
    /// `(o + 0.5) / scale - 0.5`: elements are as wide as they are apart.
    HalfPixel,
    /// The same around the middle of the input, also where the output isn't `scale` times as long.
    HalfPixelSymmetric,
    /// As `HalfPixel`, but 0 if the output is one element.
    PytorchHalfPixel,
    /// `o (len - 1) / (scale len - 1)`: the first and the last elements meet. 0 if that is no number.
    AlignCorners,
    /// `o / scale`.
    Asymmetric,
    /// From `start` to `end`, as parts of the way from the first to the last element of the input (TensorFlow's `crop_and_resize`). Places beyond these
    /// are outside.
    CropAndResize {
        /// Place of the first element.
        start: f64,
        /// Place of the last.
        end: f64,
    },
}

/// An axis of `len` elements resized to one of `out`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct ResizeAxis {
    /// Elements of the input.
    pub len: usize,
    /// Elements of the output.
    pub out: usize,
    /// What coordinates are divided by: `out / len`, or the factor from which `out` was rounded.
    pub scale: f64,
    /// Which places the elements of the output have.
    pub coordinates: Coordinates,
    /// What they are made of there.
    pub interpolation: Interpolation,
    /// Whether the kernel of the interpolation becomes wider where the output is shorter, so that each element of the input counts. Not for
    /// [`Interpolation::Nearest`].
    pub antialias: bool,
    /// Whether the kernel's elements beyond the ends are left out, and the others count more; else the first or the last one is in their place.
    pub exclude_outside: bool,
}

impl ResizeAxis {
    /// The place of an element of the output.
    fn place(&self, o: usize) -> f64 {
        let (o, len, out, scale) = (o as f64, self.len as f64, self.out as f64, self.scale);
        let half_pixel = (o + 0.5) / scale - 0.5;
        match self.coordinates {
            Coordinates::HalfPixel => half_pixel,
            Coordinates::HalfPixelSymmetric => len / 2.0 * (1.0 - out / (scale * len)) + half_pixel,
            Coordinates::PytorchHalfPixel => {
                if self.out > 1 {
                    half_pixel
                } else {
                    0.0
                }
            }
            Coordinates::AlignCorners if scale * len == 1.0 => 0.0,
            Coordinates::AlignCorners => o * (len - 1.0) / (scale * len - 1.0),
            Coordinates::Asymmetric => o / scale,
            Coordinates::CropAndResize { start, end } => {
                let way = if self.out > 1 { o / (out - 1.0) } else { 0.5 };
                (start + way * (end - start)) * (len - 1.0)
            }
        }
    }

    /// Whether the place of an element of the output is outside of the input: of [`Coordinates::CropAndResize`] alone. Its row of the matrix is 0.
    pub fn is_outside(&self, o: usize) -> bool {
        let inside = 0.0..=(self.len as f64 - 1.0);
        matches!(self.coordinates, Coordinates::CropAndResize { .. }) && !inside.contains(&self.place(o))
    }

    /// By how much a distance in the kernel is less than one in the input.
    fn narrow(&self) -> f64 {
        if self.antialias { self.scale.min(1.0) } else { 1.0 }
    }

    /// How far the kernel reaches in the input.
    fn reach(&self) -> f64 {
        let reach = if matches!(self.interpolation, Interpolation::Cubic { .. }) { 2.0 } else { 1.0 };
        reach / self.narrow()
    }

    /// The weight of a distance.
    fn kernel(&self) -> impl Fn(f64) -> f64 {
        let interpolation = self.interpolation;
        move |d: f64| match interpolation {
            Interpolation::Cubic { a } if d <= 1.0 => ((a + 2.0) * d - (a + 3.0)) * d * d + 1.0,
            Interpolation::Cubic { a } if d < 2.0 => ((a * d - 5.0 * a) * d + 8.0 * a) * d - 4.0 * a,
            Interpolation::Cubic { .. } => 0.0,
            Interpolation::Linear | Interpolation::Nearest(_) => (1.0 - d).max(0.0),
        }
    }

    /// The first element of the input that a place has, and the weights from it on.
    fn row(&self, at: f64) -> (usize, Vec<f64>) {
        let last = self.len - 1;
        let clamped = |i: f64| i.clamp(0.0, last as f64) as usize;
        if let Interpolation::Nearest(nearest) = self.interpolation {
            let first = at.floor();
            let second = match nearest {
                Nearest::RoundPreferFloor => at - first > 0.5,
                Nearest::RoundPreferCeil => at - first >= 0.5,
                Nearest::Floor => false,
                Nearest::Ceil => at > first,
            };
            return (clamped(first + f64::from(u8::from(second))), vec![1.0]);
        }
        let (kernel, narrow) = (self.kernel(), self.narrow());
        let reach = self.reach();
        let (first, end) = ((at - reach).ceil(), (at + reach).floor() + 1.0);
        let start = clamped(first);
        let mut weights = vec![0.0; clamped(end - 1.0) - start + 1];
        for k in 0..(end - first) as usize {
            let i = first + k as f64;
            if self.exclude_outside && (i < 0.0 || i > last as f64) {
                continue;
            }
            weights[clamped(i) - start] += kernel(((i - at) * narrow).abs());
        }
        let sum: f64 = weights.iter().sum();
        if sum == 0.0 {
            // Nothing of the kernel lies inside.
            return (clamped(at), vec![1.0]);
        }
        weights.iter_mut().for_each(|weight| *weight /= sum);
        // Where the kernel ends there is nothing to read.
        while weights.last() == Some(&0.0) {
            weights.pop();
        }
        let zeros = weights.iter().take_while(|weight| **weight == 0.0).count();
        (start + zeros, weights.split_off(zeros))
    }

    /// The matrix.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an axis without elements, for a scale that isn't positive, for coordinates that aren't finite, and for a matrix that
    /// [`Band::new`] refuses.
    pub fn band(&self) -> Result<Band> {
        if self.len == 0 || self.out == 0 {
            return Err(Error::invalid("resized axis", format!("{} to {} elements", self.len, self.out), "at least 1"));
        }
        // Within these, no place is too large for a number of an element, and no kernel too wide.
        if !(2f64.powi(-20)..=2f64.powi(20)).contains(&self.scale) {
            return Err(Error::invalid("scale", self.scale, "2^-20 to 2^20"));
        }
        if let Interpolation::Cubic { a } = self.interpolation {
            if !a.is_finite() {
                return Err(Error::invalid("coefficient of cubic interpolation", a, "a finite number"));
            }
        }
        let n_weights = self.out as f64 * (2.0 * self.reach() + 1.0);
        if n_weights > f64::from(1 << 26) {
            return Err(Error::invalid("weights of a resized axis", n_weights, "at most 2^26"));
        }
        let mut rows = Vec::with_capacity(self.out);
        for o in 0..self.out {
            let at = self.place(o);
            if !at.is_finite() {
                return Err(Error::invalid("place in the resized axis", at, "a finite number"));
            }
            rows.push(if self.is_outside(o) { (0, vec![0.0]) } else { self.row(at) });
        }
        Band::new(self.len, &rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows of the matrix, as ONNX's reference implementation (`onnx.reference.ops.op_resize`, of 1.22) makes them of unit vectors.
    #[test]
    fn matrices_of_onnx() {
        use Coordinates::{AlignCorners, Asymmetric, CropAndResize, HalfPixel, HalfPixelSymmetric, PytorchHalfPixel};
        use Interpolation::{Cubic, Linear};
        use Nearest::{Ceil, Floor, RoundPreferCeil, RoundPreferFloor};
        let axis = |len, out, scale, coordinates, interpolation| ResizeAxis {
            len,
            out,
            scale,
            coordinates,
            interpolation,
            antialias: false,
            exclude_outside: false,
        };
        let nearest = |len, out, scale, coordinates, rule| axis(len, out, scale, coordinates, Interpolation::Nearest(rule));
        let cubic = Cubic { a: -0.75 };
        let third = 1.0 / 3.0;
        let crop = CropAndResize { start: 0.4, end: 1.2 };
        let check = |resize: ResizeAxis, want: &[&[f64]]| {
            let got = resize.band().unwrap().dense();
            assert_eq!(got.len(), want.len());
            for (got, want) in got.iter().flatten().zip(want.iter().copied().flatten()) {
                assert!((f64::from(*got) - want).abs() < 1e-7, "{resize:?}: {got} {want}");
            }
        };
        check(
            axis(5, 3, 0.6, HalfPixel, Linear),
            &[&[2.0 * third, third, 0.0, 0.0, 0.0], &[0.0, 0.0, 1.0, 0.0, 0.0], &[0.0, 0.0, 0.0, third, 2.0 * third]],
        );
        check(axis(5, 2, 0.5, HalfPixelSymmetric, Linear), &[&[0.0, 1.0, 0.0, 0.0, 0.0], &[0.0, 0.0, 0.0, 1.0, 0.0]]);
        check(axis(4, 1, 0.25, PytorchHalfPixel, Linear), &[&[1.0, 0.0, 0.0, 0.0]]);
        check(axis(4, 2, 0.6, AlignCorners, Linear), &[&[1.0, 0.0, 0.0, 0.0], &[0.0, 0.0, 0.857142857, 0.142857143]]);
        check(
            axis(3, 5, 1.7, Asymmetric, cubic),
            &[
                &[1.0, 0.0, 0.0],
                &[0.401078771, 0.705780582, -0.106859353],
                &[-0.089761856, 0.936800326, 0.152961531],
                &[-0.031752493, 0.243232241, 0.788520252],
                &[0.0, -0.110828414, 1.110828414],
            ],
        );
        check(
            ResizeAxis { exclude_outside: true, ..axis(4, 3, 0.8, HalfPixel, Cubic { a: -0.5 }) },
            &[
                &[0.919850885, 0.08667288, -0.006523765, 0.0],
                &[-0.073242188, 0.727539062, 0.389648438, -0.043945312],
                &[0.0, -0.040946315, 0.363057325, 0.67788899],
            ],
        );
        check(
            ResizeAxis { antialias: true, ..axis(6, 3, 0.6, HalfPixel, Linear) },
            &[
                &[0.625, 0.375, 0.0, 0.0, 0.0, 0.0],
                &[0.0, 0.222222222, 0.555555556, 0.222222222, 0.0, 0.0],
                &[0.0, 0.0, 0.0, 0.375, 0.5, 0.125],
            ],
        );
        check(
            ResizeAxis { antialias: true, ..axis(6, 2, 0.4, HalfPixel, cubic) },
            &[&[0.3985, 0.3915, 0.2375, 0.0355, -0.0441, -0.0189], &[-0.063, 0.0355, 0.2375, 0.3915, 0.3325, 0.066]],
        );
        check(axis(5, 3, 0.6, crop, Linear), &[&[0.0, 0.4, 0.6, 0.0, 0.0], &[0.0, 0.0, 0.0, 0.8, 0.2], &[0.0; 5]]);
        let outside = axis(5, 3, 0.6, crop, Linear);
        assert_eq!([0, 1, 2].map(|o| outside.is_outside(o)), [false, false, true]);

        let picks = |resize: ResizeAxis, want: &[usize]| {
            let rows = resize.band().unwrap().dense();
            let got: Vec<_> = rows.iter().map(|row| row.iter().position(|&weight| weight == 1.0).unwrap()).collect();
            assert_eq!(got, want, "{resize:?}");
        };
        picks(nearest(4, 3, 0.8, Asymmetric, Floor), &[0, 1, 2]);
        picks(nearest(4, 7, 1.75, HalfPixel, Ceil), &[0, 1, 1, 2, 3, 3, 3]);
        picks(nearest(4, 8, 2.0, HalfPixel, RoundPreferFloor), &[0, 0, 1, 1, 2, 2, 3, 3]);
        picks(nearest(6, 3, 0.5, Asymmetric, RoundPreferCeil), &[0, 2, 4]);
        picks(nearest(5, 2, 0.4, HalfPixel, RoundPreferCeil), &[1, 3]);
        picks(nearest(4, 6, 1.5, AlignCorners, Floor), &[0, 0, 1, 1, 2, 3]);
    }

    #[test]
    fn weights_of_a_row_are_1_together() {
        for (len, out) in [(1, 1), (1, 7), (7, 1), (2, 5), (30, 7), (7, 30)] {
            for antialias in [false, true] {
                for exclude_outside in [false, true] {
                    let interpolation = Interpolation::Cubic { a: -0.5 };
                    let scale = out as f64 / len as f64;
                    let resize = ResizeAxis {
                        len,
                        out,
                        scale,
                        coordinates: Coordinates::HalfPixel,
                        interpolation,
                        antialias,
                        exclude_outside,
                    };
                    for row in resize.band().unwrap().dense() {
                        assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-6, "{resize:?}: {row:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn bad_axes_are_refused() {
        let good = ResizeAxis {
            len: 4,
            out: 2,
            scale: 0.5,
            coordinates: Coordinates::HalfPixel,
            interpolation: Interpolation::Linear,
            antialias: false,
            exclude_outside: false,
        };
        assert!(good.band().is_ok());
        for bad in [
            ResizeAxis { len: 0, ..good },
            ResizeAxis { out: 0, ..good },
            ResizeAxis { scale: 0.0, ..good },
            ResizeAxis { scale: f64::NAN, ..good },
            ResizeAxis { scale: -1.0, ..good },
            ResizeAxis { out: 1 << 20, ..good },
            ResizeAxis { out: 1 << 10, scale: 1e-6, antialias: true, ..good },
            ResizeAxis { interpolation: Interpolation::Cubic { a: f64::NAN }, ..good },
            ResizeAxis { coordinates: Coordinates::CropAndResize { start: f64::INFINITY, end: 1.0 }, ..good },
        ] {
            assert!(bad.band().is_err(), "{bad:?}");
        }
    }
}
