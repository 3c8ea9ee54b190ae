//! What a network's file says of the photos that it takes and the classes that it tells apart.

use crate::data::{Dataset, PhotoFormat, Resize};
use crate::error::{Error, Result};
use crate::nn::Model;
use serde::{Deserialize, Serialize};

/// Key of the entry of ONNX's `metadata_props` that holds a card, as JSON.
pub(super) const KEY: &str = "striate.card";

/// Most bytes of a card: room for some ten thousand classes.
const LARGEST: usize = 4 << 20;

/// The only version so far.
const VERSION: u32 = 1;

/// What somebody with a photo must know of a network: how photos come to its input, and what its outputs are called. An ONNX file of this crate may
/// hold one ([`OnnxExport::card`](super::OnnxExport::card), [`Onnx::card`](super::Onnx::card)); other engines pass over it.
#[derive(Clone, PartialEq, Debug)]
pub struct ModelCard {
    /// Names of the classes, in the order of the outputs; empty where they have none.
    pub classes: Vec<String>,
    /// How a photo becomes bytes of the input's height, width and channels.
    pub photo: PhotoFormat,
    /// The network is shown `value * scale + offset` of a byte: one number for all channels, or one for each.
    pub scale: Vec<f32>,
    /// See `scale`.
    pub offset: Vec<f32>,
}

/// A card as it is written. Numbers are f64, whose digits keep an f32 as it is.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    version: u32,
    classes: Vec<String>,
    photo: WrittenPhoto,
    scale: Vec<f64>,
    offset: Vec<f64>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenPhoto {
    height: usize,
    width: usize,
    channels: usize,
    resize: String,
}

/// Names of the ways to resize in a file.
const RESIZES: [(Resize, &str); 3] = [(Resize::Stretch, "stretch"), (Resize::Crop, "crop"), (Resize::Pad, "pad")];

impl ModelCard {
    /// That of a network that was trained on this data set: its class names and normalisation, and photos of the size of its images, resized like this.
    ///
    /// ```
    /// use striate::data::{Dataset, Resize};
    /// use striate::{Tensor, io::ModelCard};
    ///
    /// let data = Dataset::new(Tensor::u8([2, 4, 4, 3], vec![0; 96])?, vec![0, 1], 2)?.named_classes(["cat", "dog"])?;
    /// let card = ModelCard::of(&data, Resize::Crop)?;
    /// assert_eq!((card.classes[1].as_str(), card.photo.height), ("dog", 4));
    /// # Ok::<(), striate::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Invalid`] for images of other than 1 or 3 channels.
    pub fn of(data: &Dataset, resize: Resize) -> Result<ModelCard> {
        let [_, height, width, channels] = data.image_shape().with_batch(1).nhwc("images")?;
        let card = ModelCard {
            classes: data.class_names().to_vec(),
            photo: PhotoFormat { height, width, channels, resize },
            scale: data.scale().to_vec(),
            offset: data.offset().to_vec(),
        };
        card.check()?;
        Ok(card)
    }

    /// Fails for a card that says nothing sensible.
    pub(super) fn check(&self) -> Result<()> {
        self.photo.check()?;
        for (what, numbers) in [("scale", &self.scale), ("offset", &self.offset)] {
            let fits = numbers.len() == 1 || numbers.len() == self.photo.channels;
            if !fits || numbers.iter().any(|v| !v.is_finite() || (what == "scale" && *v == 0.0)) {
                let zero = if what == "scale" { " other than 0" } else { "" };
                let want = format!("1 or {} finite numbers{zero}", self.photo.channels);
                return Err(Error::invalid(what, format!("{numbers:?}"), want));
            }
        }
        Ok(())
    }

    /// Fails for a card of another model.
    pub(super) fn check_for(&self, model: &Model) -> Result<()> {
        self.check()?;
        if *model.input_shape() != self.photo.shape() {
            return Err(Error::invalid(
                "photo's shape",
                self.photo.shape(),
                format!("{}, the model's input", model.input_shape()),
            ));
        }
        let outputs = model.output_shape().elements();
        if !self.classes.is_empty() && self.classes.len() != outputs {
            return Err(Error::invalid(
                "names of classes",
                self.classes.len(),
                format!("{outputs}, one for each output, or none"),
            ));
        }
        Ok(())
    }

    pub(super) fn to_json(&self) -> Result<String> {
        let wide = |numbers: &[f32]| numbers.iter().map(|&v| f64::from(v)).collect();
        let PhotoFormat { height, width, channels, resize } = self.photo;
        let name = RESIZES.iter().find(|(r, _)| *r == resize).map_or("stretch", |(_, name)| name);
        let written = Written {
            version: VERSION,
            classes: self.classes.clone(),
            photo: WrittenPhoto { height, width, channels, resize: name.to_string() },
            scale: wide(&self.scale),
            offset: wide(&self.offset),
        };
        serde_json::to_string(&written).map_err(|e| Error::invalid("model card", e, "text"))
    }

    pub(super) fn from_json(text: &str) -> Result<ModelCard> {
        let read = || -> Result<ModelCard> {
            if text.len() > LARGEST {
                return Err(Error::invalid("text", format!("{} bytes", text.len()), format!("at most {LARGEST}")));
            }
            let value: serde_json::Value =
                serde_json::from_str(text).map_err(|e| Error::invalid("text", e, "JSON, as this crate writes it"))?;
            if let Some(version) = value.get("version").filter(|v| **v != VERSION) {
                return Err(Error::invalid("version", version, format!("{VERSION}; a newer striate may read it")));
            }
            let written: Written = serde_json::from_value(value).map_err(|e| Error::invalid("fields", e, "those of a card"))?;
            let WrittenPhoto { height, width, channels, resize } = written.photo;
            let Some((resize, _)) = RESIZES.iter().find(|(_, name)| *name == resize) else {
                let names: Vec<&str> = RESIZES.iter().map(|(_, name)| *name).collect();
                return Err(Error::invalid("resize", format!("'{}'", resize.escape_debug()), names.join(" or ")));
            };
            let narrow = |numbers: &[f64]| numbers.iter().map(|&v| v as f32).collect();
            let card = ModelCard {
                classes: written.classes,
                photo: PhotoFormat { height, width, channels, resize: *resize },
                scale: narrow(&written.scale),
                offset: narrow(&written.offset),
            };
            card.check()?;
            Ok(card)
        };
        read().map_err(|e| e.at("model card"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn card() -> ModelCard {
        ModelCard {
            classes: vec!["cat".into(), "dog \"2\"\n".into()],
            photo: PhotoFormat { height: 150, width: 100, channels: 3, resize: Resize::Crop },
            scale: vec![1.0 / 255.0, 0.1, 0.5],
            offset: vec![-1.234_567_8],
        }
    }

    #[test]
    fn what_was_written_is_read() {
        assert_eq!(ModelCard::from_json(&card().to_json().unwrap()).unwrap(), card());
        for (resize, _) in RESIZES {
            let card = ModelCard { photo: PhotoFormat { resize, ..card().photo }, ..card() };
            assert_eq!(ModelCard::from_json(&card.to_json().unwrap()).unwrap(), card);
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let text = card().to_json().unwrap();
        let error = |text: &str| ModelCard::from_json(text).unwrap_err().to_string();
        for (from, to, want) in [
            ("\"version\":1", "\"version\":2", "version: got 2, want 1"),
            ("\"version\":1,", "", "missing field `version`"),
            ("crop", "squash", "resize: got 'squash'"),
            ("\"height\":150", "\"height\":0", "height of photos: got 0"),
            ("\"channels\":3", "\"channels\":2", "channels of photos: got 2"),
            ("\"height\":150", "\"height\":-1", "fields"),
            ("\"classes\"", "\"kinds\"", "unknown field `kinds`"),
            ("[-1.23", "[1.0,-1.23", "offset: got [1.0, -1.23"),
            ("0.5]", "1e400]", "text"),
            ("0.5]", "1e300]", "scale"),
            ("{", "[", "text"),
        ] {
            let got = error(&text.replacen(from, to, 1));
            assert!(got.contains(want) && got.starts_with("model card"), "{from} to {to}: {got}");
        }
        assert!(error("").contains("model card: text"));
    }
}
