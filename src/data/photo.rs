//! The size and colours to which photos of all sizes are brought.

use crate::error::{Error, Result};
use crate::tensor::Shape;

/// How a photo comes to another shape. Whatever it is, the photo is scaled by a bilinear filter that is as wide as its pixels are reduced
/// (Pillow's `BILINEAR`, torchvision's with `antialias=True`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Resize {
    /// Height and width are scaled each by itself, so nothing is lost and proportions change (Keras's `image_dataset_from_directory`,
    /// torchvision's `Resize((h, w))`).
    #[default]
    Stretch,
    /// The shorter side fits, and the middle of the longer one is kept (`crop_to_aspect_ratio=True`; `Resize(s)` and `CenterCrop(s)`).
    Crop,
    /// The longer side fits, and what is left is black on both sides (`pad_to_aspect_ratio=True`).
    Pad,
}

/// What a network takes of a photo.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct PhotoFormat {
    /// Rows of pixels.
    pub height: usize,
    /// Columns of pixels.
    pub width: usize,
    /// 3 for red, green and blue, 1 for grey.
    pub channels: usize,
    /// How photos of other proportions are brought to these.
    pub resize: Resize,
}

impl PhotoFormat {
    /// In colour, stretched.
    pub fn new(height: usize, width: usize) -> PhotoFormat {
        PhotoFormat { height, width, channels: 3, resize: Resize::default() }
    }

    /// The shape of a photo, `[height, width, channels]`.
    pub fn shape(&self) -> Shape {
        Shape::from([self.height, self.width, self.channels])
    }

    /// Fails unless photos can be brought to this.
    ///
    /// # Errors
    /// [`Error::Invalid`] for sides that aren't 1 to 16,384 pixels and channels other than 1 and 3.
    pub fn check(&self) -> Result<()> {
        for (side, len) in [("height", self.height), ("width", self.width)] {
            if !(1..=16_384).contains(&len) {
                return Err(Error::invalid(format!("{side} of photos"), len, "1 to 16384 pixels"));
            }
        }
        match self.channels {
            1 | 3 => Ok(()),
            channels => Err(Error::invalid("channels of photos", channels, "3 for colours or 1 for grey")),
        }
    }
}
