//! Pictures of what a model has learned and how it came to it. Each is one call on a model, and gives an image (or, for diagrams, text);
//! [`save`] writes it to a file.
//!
//! | what | shows |
//! | --- | --- |
//! | [`curves`] | loss and accuracy over the epochs |
//! | [`confusion`] | what classes are taken for |
//! | [`worst_mistakes`] | the photos of which a model was most wrong |
//! | [`filters`] | the filters of a convolution |
//! | [`activations`] | what layers give for a photo |
//! | [`maximise_filter`] | images that make a filter answer most |
//! | [`saliency`] | the pixels that a class's score changes most with |
//! | [`grad_cam`], [`grad_cam_sheet`] | the parts of a photo, or of many, that speak for a class |
//! | [`diagram`], [`diagram_dot`] | the network's layers |
//! | [`sheet`] | any pictures in a grid |
//!
//! Numbers are in colours that grow lighter all the way, so that they read in grey and by those who see colours otherwise. Text is set in Noto Sans,
//! which comes with the crate: a machine needs no fonts. The same numbers give the same bytes on every machine.

mod activations;
mod attribution;
mod canvas;
mod colours;
mod confusion;
mod curves;
mod diagram;
mod filters;
mod maximise;
mod photo;
mod sheet;
mod structure;

pub use activations::activations;
pub use attribution::{Attribution, Explain, grad_cam, grad_cam_map, grad_cam_sheet, saliency, saliency_map};
pub use confusion::{confusion, worst_mistakes};
pub use curves::curves;
pub use diagram::{diagram, diagram_dot};
pub use filters::filters;
pub use maximise::{Maximise, maximise_filter};
pub use photo::Photo;
pub use sheet::{Sheet, sheet};

use crate::error::{Error, Result};
use crate::file;
use image::{ImageFormat, RgbImage};
use std::io::Cursor;
use std::path::Path;

/// Writes a picture to a PNG file, which is replaced once all is written.
///
/// # Errors
/// [`Error::File`].
pub fn save(picture: &RgbImage, path: impl AsRef<Path>) -> Result<()> {
    let path = path.as_ref();
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, ImageFormat::Png).map_err(|e| Error::file(path, e))?;
    file::replace(path, bytes.get_ref())
}
