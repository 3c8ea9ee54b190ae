//! Shows what augmentation makes of a photo: a contact sheet with a row for each kind of change, and one for all of them together.
//!
//!     cargo run --release --example augment -- PHOTO...

#[macro_use]
mod common;

use anyhow::{Context, Result};
use clap::Parser;
use image::RgbImage;
use std::path::PathBuf;
use striate::data::{self, PhotoFormat, Resize};
use striate::train::{Augmentation, Border};
use striate::vis::{self, Sheet};
use striate::{Device, Seed, Tensor};

/// Shows what augmentation makes of photos.
#[derive(Parser)]
struct Arguments {
    /// One photo, or several: then mixtures of them are shown too
    #[arg(required = true)]
    photos: Vec<PathBuf>,
    /// The sheet, a PNG file
    #[arg(long, default_value = "augment.png")]
    out: PathBuf,
    /// Height and width of the pictures
    #[arg(long, default_value_t = 150)]
    size: usize,
    /// Pictures of each kind
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u32).range(1..=100))]
    count: u32,
    /// Seed of what is drawn
    #[arg(long, default_value_t = 42)]
    seed: u64,
    /// `cpu`, `gpu`, or a part of a GPU's name [default: the best device]
    #[arg(long)]
    device: Option<String>,
}

/// Kinds of changes, each with what it is called.
fn kinds(size: usize) -> Vec<(&'static str, Augmentation)> {
    let new = Augmentation::new;
    let cut = size * 4 / 5;
    vec![
        ("flip_horizontal(0.5)", new().flip_horizontal(0.5)),
        ("shift(0.2, 0.2)", new().shift(0.2, 0.2)),
        ("rotate(30), border: fill", new().rotate(30.0).border(Border::Fill)),
        ("shear(20)", new().shear(20.0)),
        ("zoom(0.7, 1.4)", new().zoom(0.7, 1.4)),
        ("crop", new().crop(cut, cut, 0)),
        ("resized_crop", new().resized_crop(size, size, [0.2, 1.0], [0.75, 4.0 / 3.0])),
        ("brightness(0.5)", new().brightness(0.5)),
        ("contrast(0.7)", new().contrast(0.7)),
        ("saturation(0.9)", new().saturation(0.9)),
        ("hue(0.5)", new().hue(0.5)),
        ("noise(0.1)", new().noise(0.1)),
        ("cutout(1, 0.4)", new().cutout(1.0, 0.4)),
    ]
}

fn all() -> Augmentation {
    Augmentation::new()
        .flip_horizontal(0.5)
        .shift(0.1, 0.1)
        .rotate(15.0)
        .zoom(0.8, 1.2)
        .brightness(0.2)
        .contrast(0.2)
        .saturation(0.3)
        .hue(0.03)
        .noise(0.02)
        .cutout(0.5, 0.3)
}

fn main() -> Result<()> {
    common::start_logging();
    let arguments = Arguments::parse();
    let device = match &arguments.device {
        Some(name) => Device::named(name)?,
        None => Device::best()?,
    };
    let format = PhotoFormat { resize: Resize::Crop, ..PhotoFormat::new(arguments.size, arguments.size) };
    let mut photos = Vec::new();
    for path in &arguments.photos {
        photos.push(data::read_photo(path, &format)?);
    }
    let mut kinds = kinds(arguments.size);
    if photos.len() > 1 {
        kinds.push(("mixup(1)", Augmentation::new().mixup(1.0)));
        kinds.push(("cutmix(1)", Augmentation::new().cutmix(1.0)));
    }
    kinds.push(("all but crops", all()));

    // Mixtures are of different photos of a batch, so a batch has all of them, over and over.
    let count = arguments.count as usize;
    let batch = stacked(&photos, count.max(photos.len()))?;
    let mut rows = vec![("as they are", batch.clone())];
    for (name, augmentation) in kinds {
        let changed = augmentation.apply(&device, &batch, Seed(arguments.seed), 0).with_context(|| name.to_string())?;
        rows.push((name, changed));
    }
    let mut sheet = Sheet::new("Augmentation").columns(count).side(arguments.size.min(150) as u32);
    for (name, pictures) in &rows {
        for i in 0..count {
            sheet = sheet.tile(if i == 0 { *name } else { "" }, picture(pictures, i)?);
        }
    }
    vis::save(&sheet.draw()?, &arguments.out)?;
    println!("{} photos on {device}; the sheet is {}.", photos.len(), arguments.out.display());
    Ok(())
}

/// The photos one after the other, again and again, u8 `[n, h, w, c]`.
fn stacked(photos: &[Tensor], n: usize) -> Result<Tensor> {
    let mut dims = vec![n];
    dims.extend(photos[0].shape().dims());
    let mut bytes = Vec::new();
    for photo in photos.iter().cycle().take(n) {
        bytes.extend_from_slice(photo.as_u8()?);
    }
    Ok(Tensor::u8(dims, bytes)?)
}

/// Picture `i` of a batch.
fn picture(batch: &Tensor, i: usize) -> Result<RgbImage> {
    let &[_, h, w, c] = batch.shape().dims() else { anyhow::bail!("pictures have 4 dimensions") };
    let bytes = batch.as_u8()?[i * h * w * c..][..h * w * c].to_vec();
    RgbImage::from_raw(w as u32, h as u32, bytes).context("pictures have 3 colours")
}
