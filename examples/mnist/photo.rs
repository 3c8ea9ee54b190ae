//! Makes of a photo of a digit what MNIST would have made of it.
//!
//! MNIST's digits were cut out of their form, scaled with their aspect kept to fit 20 by 20 pixels, and laid with their centre of mass in
//! the centre of 28 by 28 pixels, bright on black (Y. LeCun, C. Cortes, C. J. C. Burges, "The MNIST database of handwritten digits").

use anyhow::{Context, Result, ensure};
use image::imageops::{self, FilterType};
use image::{GrayImage, Luma};
use std::path::Path;
use striate::data;

/// Height and width of MNIST's images.
pub const SIDE: usize = 28;
/// Height or width of the digit in it, whichever is longer.
const DIGIT: u32 = 20;
/// Longest side at which a photo is looked at: the paper's grain and the camera's noise are averaged away.
const LOOK: u32 = 400;
/// Least difference between ink and paper, of 255.
const CONTRAST: f32 = 30.0;
/// What is less than this share of the darkest ink is a shadow on the paper.
const LEAST_INK: f32 = 0.45;

/// Reads a picture of a digit, dark on bright or bright on dark, anywhere in the picture: 28 by 28 pixels from 0 to 1.
pub fn read(path: &Path) -> Result<Vec<f32>> {
    as_mnist(&open(path)?).with_context(|| path.display().to_string())
}

/// The picture, on white where it is transparent.
fn open(path: &Path) -> Result<GrayImage> {
    let picture = data::open_photo(path)?;
    let rgba = picture.to_rgba8();
    let mut gray = picture.to_luma8();
    for (gray, rgba) in gray.pixels_mut().zip(rgba.pixels()) {
        let (v, alpha) = (u32::from(gray.0[0]), u32::from(rgba.0[3]));
        *gray = Luma([((v * alpha + 255 * (255 - alpha)) / 255) as u8]);
    }
    Ok(gray)
}

/// The digit of a grey picture as MNIST has it.
pub fn as_mnist(picture: &GrayImage) -> Result<Vec<f32>> {
    let (width, height) = picture.dimensions();
    ensure!(width > 0 && height > 0, "the picture is empty");
    let ink = ink(&fitted(picture, LOOK.min(width.max(height))))?;
    let [left, right] = extent(ink.width(), |x| (0..ink.height()).any(|y| ink.get_pixel(x, y).0[0] > 0));
    let [top, bottom] = extent(ink.height(), |y| (0..ink.width()).any(|x| ink.get_pixel(x, y).0[0] > 0));
    let cut = imageops::crop_imm(&ink, left, top, right - left, bottom - top).to_image();
    let digit = fitted(&cut, DIGIT);
    // A thin pen's stroke is fainter than a pixel at this size; MNIST's strokes are bright.
    let brightest = digit.pixels().map(|p| f32::from(p.0[0])).fold(1.0, f32::max);
    let value = |x: u32, y: u32| f32::from(digit.get_pixel(x, y).0[0]) / brightest;
    let (mut mass, mut at) = (0.0, [0.0, 0.0]);
    for (x, y, _) in digit.enumerate_pixels() {
        let v = value(x, y);
        mass += v;
        at = [at[0] + v * x as f32, at[1] + v * y as f32];
    }
    // In MNIST the centre of mass is at pixel 14, give or take half a one. A digit may not go over the edge.
    let first = |at: f32, len: u32| ((SIDE as f32 / 2.0 - at / mass).round().max(0.0) as usize).min(SIDE - len as usize);
    let (column, row) = (first(at[0], digit.width()), first(at[1], digit.height()));
    let mut pixels = vec![0.0; SIDE * SIDE];
    for (x, y, _) in digit.enumerate_pixels() {
        pixels[(row + y as usize) * SIDE + column + x as usize] = value(x, y);
    }
    Ok(pixels)
}

/// The picture at a size at which its longer side is `side`.
fn fitted(picture: &GrayImage, side: u32) -> GrayImage {
    let longer = picture.width().max(picture.height());
    let scaled = |len: u32| ((f64::from(len) * f64::from(side) / f64::from(longer)).round() as u32).max(1);
    imageops::resize(picture, scaled(picture.width()), scaled(picture.height()), FilterType::Triangle)
}

/// Ink from 0 to 255, on a ground of 0. The ground is what most of the picture is, be it dark or bright.
fn ink(picture: &GrayImage) -> Result<GrayImage> {
    let mut values: Vec<u8> = picture.pixels().map(|p| p.0[0]).collect();
    values.sort_unstable();
    let [low, ground, high] = [0, values.len() / 2, values.len() - 1].map(|i| f32::from(values[i]));
    let full = if high - ground > ground - low { high } else { low };
    ensure!((full - ground).abs() >= CONTRAST, "there is no digit in it: it is almost all of one brightness");
    Ok(GrayImage::from_fn(picture.width(), picture.height(), |x, y| {
        let share = (f32::from(picture.get_pixel(x, y).0[0]) - ground) / (full - ground);
        Luma([if share < LEAST_INK { 0 } else { (255.0 * share.min(1.0)).round() as u8 }])
    }))
}

/// The first index that holds, and one behind the last.
fn extent(len: u32, holds: impl Fn(u32) -> bool) -> [u32; 2] {
    let first = (0..len).find(|&i| holds(i)).unwrap_or(0);
    let last = (0..len).rev().find(|&i| holds(i)).unwrap_or(0);
    [first, last + 1]
}
