//! A photo as people see it, and as a network does.

use crate::data::Dataset;
use crate::error::{Error, Result};
use crate::tensor::{DType, Tensor};
use image::{Rgb, RgbImage};

/// A photo, and what a network is shown of it: each channel of a pixel is `value * scale + offset`.
#[derive(Clone, PartialEq, Debug)]
pub struct Photo {
    image: RgbImage,
    input: Tensor,
}

/// The channels that a picture has.
const CHANNELS: &str = "[h, w, 1] or [h, w, 3]";

impl Photo {
    /// A photo of bytes, u8 `[h, w, c]` with 1 or 3 channels. `scale` and `offset` are one number for all channels, or one for each: a network
    /// that was trained on [`Dataset::new`]'s bytes as they come wants `1.0 / 255.0` and 0.
    ///
    /// # Errors
    /// [`Error::Invalid`] for another type or shape, other numbers of scales and offsets, and those that aren't finite.
    pub fn new(pixels: &Tensor, scale: &[f32], offset: &[f32]) -> Result<Photo> {
        let &[h, w, c] = pixels.shape().dims() else {
            return Err(Error::invalid("photo", pixels.tensor_type(), format!("u8 {CHANNELS}")));
        };
        let bytes = pixels.as_u8()?;
        for (what, numbers) in [("scale", scale), ("offset", offset)] {
            if (numbers.len() != 1 && numbers.len() != c) || numbers.iter().any(|v| !v.is_finite()) {
                return Err(Error::invalid(what, format!("{numbers:?}"), format!("1 or {c} finite numbers")));
            }
        }
        let of = |numbers: &[f32], channel: usize| numbers[if numbers.len() == 1 { 0 } else { channel }];
        let normalise = |(i, &v): (usize, &u8)| f32::from(v) * of(scale, i % c) + of(offset, i % c);
        let input = Tensor::f32([1, h, w, c], bytes.iter().enumerate().map(normalise).collect())?;
        Ok(Photo { image: picture(bytes, [h, w, c])?, input })
    }

    /// A network's input that is known as such, f32 `[h, w, c]` or `[1, h, w, c]` with 1 or 3 channels. It is shown with black for 0 and white for 1
    /// where all its numbers are within, else for the smallest and the largest.
    ///
    /// # Errors
    /// [`Error::Invalid`] for another type or shape, and for numbers that aren't finite.
    pub fn of_input(input: &Tensor) -> Result<Photo> {
        let shape @ [h, w, c] = match *input.shape().dims() {
            [h, w, c] | [1, h, w, c] => [h, w, c],
            _ => return Err(Error::invalid("photo", input.tensor_type(), format!("f32 {CHANNELS}"))),
        };
        let values = input.as_f32()?;
        if let Some(v) = values.iter().find(|v| !v.is_finite()) {
            return Err(Error::invalid("photo", v, "finite numbers"));
        }
        let (mut least, mut most) = (0.0f32, 1.0f32);
        if values.iter().any(|v| !(0.0..=1.0).contains(v)) {
            least = values.iter().copied().fold(f32::INFINITY, f32::min);
            most = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        }
        let range = if most > least { most - least } else { 1.0 };
        let bytes: Vec<u8> = values.iter().map(|v| (255.0 * (v - least) / range).round() as u8).collect();
        Ok(Photo { image: picture(&bytes, shape)?, input: Tensor::f32([1, h, w, c], values.to_vec())? })
    }

    /// Sample `index` of a data set, normalised as that says.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an index that isn't below the number of samples, and for images of other than 1 or 3 channels; [`Error::File`] for a photo that
    /// can't be read any more.
    pub fn of(data: &Dataset, index: usize) -> Result<Photo> {
        let row = u32::try_from(index).map_err(|_| Error::invalid("index", index, format!("below {}", data.len())))?;
        let raw = data.raw_images(&[row])?.reshaped(data.image_shape())?;
        if raw.dtype() == DType::U8 {
            return Photo::new(&raw, data.scale(), data.offset());
        }
        let input = Tensor::f32(data.image_shape().with_batch(1), data.batch_images(&[row])?)?;
        Ok(Photo { image: Photo::of_input(&raw)?.image, input })
    }

    /// The photo to look at.
    pub fn image(&self) -> &RgbImage {
        &self.image
    }

    /// What the network is shown, f32 `[1, h, w, c]`.
    pub fn input(&self) -> &Tensor {
        &self.input
    }

    /// Height and width.
    pub(super) fn size(&self) -> [usize; 2] {
        [self.image.height() as usize, self.image.width() as usize]
    }
}

/// Bytes `[h, w, c]` as a picture.
pub(super) fn picture(bytes: &[u8], [h, w, c]: [usize; 3]) -> Result<RgbImage> {
    let pixels: Vec<u8> = match c {
        1 => bytes.iter().flat_map(|&v| [v; 3]).collect(),
        3 => bytes.to_vec(),
        _ => return Err(Error::invalid("channels of a picture", c, "1 or 3")),
    };
    let sides = u32::try_from(w).ok().zip(u32::try_from(h).ok());
    sides
        .and_then(|(w, h)| RgbImage::from_raw(w, h, pixels))
        .ok_or_else(|| Error::invalid("picture", format!("{w} x {h}"), "sides that fit its bytes"))
}

/// Numbers `[h, w]` in colours.
pub(super) fn coloured(values: &[f32], width: usize, colour: impl Fn(f32) -> Rgb<u8>) -> RgbImage {
    let width = width.max(1);
    RgbImage::from_fn(width as u32, (values.len() / width) as u32, |x, y| colour(values[y as usize * width + x as usize]))
}
