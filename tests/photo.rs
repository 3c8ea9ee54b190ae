//! Does a photo of a digit reach the network of the example `mnist` as MNIST would have it?
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // Tests may stop at what they don't expect.

#[path = "../examples/mnist/photo.rs"]
mod photo;

use image::imageops::{self, FilterType};
use image::{DynamicImage, GrayImage, Luma, Rgba, RgbaImage};
use std::path::{Path, PathBuf};
use striate::data;

/// Times as large as in MNIST.
const ZOOM: u32 = 5;

/// A file of this test, gone when it is dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str, picture: impl Into<DynamicImage>) -> Scratch {
        let path = std::env::temp_dir().join(format!("striate-photo-{}-{name}", std::process::id()));
        picture.into().save(&path).unwrap();
        Scratch(path)
    }

    fn read(&self) -> Vec<f32> {
        photo::read(&self.0).unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Digits of the test set, 28 by 28 pixels.
fn digits(n: usize) -> Vec<GrayImage> {
    let (_, test) = data::mnist(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/data/mnist")).unwrap();
    let pixels = test.images().as_u8().unwrap();
    pixels.chunks(28 * 28).take(n).map(|digit| GrayImage::from_raw(28, 28, digit.to_vec()).unwrap()).collect()
}

/// The digit in dark ink on a sheet of 200 by 300 pixels, at the bottom on the right, where a shadow makes the paper darker.
fn sheet(digit: &GrayImage) -> GrayImage {
    let large = imageops::resize(digit, 28 * ZOOM, 28 * ZOOM, FilterType::Triangle);
    GrayImage::from_fn(200, 300, |x, y| {
        let ink = match (x.checked_sub(55), y.checked_sub(150)) {
            (Some(x), Some(y)) if x < 28 * ZOOM && y < 28 * ZOOM => f32::from(large.get_pixel(x, y).0[0]) / 255.0,
            _ => 0.0,
        };
        let paper = 240.0 - 0.1 * (x + y) as f32;
        Luma([(paper - (paper - 40.0) * ink) as u8])
    })
}

/// Sum of the differences where `found` is moved by this many pixels, as a share of the ink.
fn difference(found: &[f32], digit: &GrayImage, [right, down]: [i32; 2]) -> f32 {
    let (mut sum, mut ink) = (0.0, 0.0);
    for (x, y, p) in digit.enumerate_pixels() {
        let want = f32::from(p.0[0]) / 255.0;
        let (x, y) = (x as i32 - right, y as i32 - down);
        let inside = (0..28).contains(&x) && (0..28).contains(&y);
        let found = if inside { found[(28 * y + x) as usize] } else { 0.0 };
        (sum, ink) = (sum + (found - want).abs(), ink + want);
    }
    sum / ink
}

#[test]
fn digits_on_paper_become_what_they_were() {
    let digits = digits(200);
    let (mut in_place, mut total, mut worst) = (0, 0.0, 0.0f32);
    for digit in &digits {
        let found = photo::as_mnist(&sheet(digit)).unwrap();
        let here = difference(&found, digit, [0, 0]);
        let around = [[1, 0], [-1, 0], [0, 1], [0, -1]].map(|by| difference(&found, digit, by));
        let least = around.into_iter().fold(here, f32::min);
        in_place += usize::from(here == least);
        total += least;
        worst = worst.max(least);
    }
    let mean = total / digits.len() as f32;
    println!("{in_place} of {} in place; difference {mean:.3} of the ink in the mean, {worst:.3} at most", digits.len());
    // Cut out of its image, scaled by a fraction and blurred by that; a centre of mass midway between two pixels may go to either.
    assert!(in_place >= 180 && mean < 0.25 && worst < 0.5, "{in_place} {mean} {worst}");
}

#[test]
fn bright_ink_transparent_paper_and_size_make_no_difference() {
    let sheet = sheet(&digits(1)[0]);
    let want = Scratch::new("dark.png", sheet.clone()).read();
    let same = |name: &str, picture: DynamicImage, tolerance: f32| {
        let found = Scratch::new(name, picture).read();
        let worst = found.iter().zip(&want).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst <= tolerance, "{name}: {worst}");
    };
    let mut bright = sheet.clone();
    imageops::invert(&mut bright);
    same("bright.png", bright.into(), 0.02);
    // Black ink that lets more of the white ground through the less there is of it.
    let alpha = |x, y| Rgba([0, 0, 0, 255 - sheet.get_pixel(x, y).0[0]]);
    same("transparent.png", RgbaImage::from_fn(200, 300, alpha).into(), 0.02);
    same("photo.jpg", imageops::resize(&sheet, 1000, 1500, FilterType::Triangle).into(), 0.15);
    assert!(want.iter().all(|v| (0.0..=1.0).contains(v)) && want.contains(&1.0));
}

#[test]
fn what_is_no_digit_is_an_error() {
    let error = |path: &Path| format!("{:#}", photo::read(path).map(drop).unwrap_err());
    let blank = Scratch::new("blank.png", GrayImage::from_pixel(50, 40, Luma([250])));
    assert!(error(&blank.0).contains("blank.png: there is no digit"), "{}", error(&blank.0));
    let text = std::env::temp_dir().join(format!("striate-photo-{}-text.png", std::process::id()));
    std::fs::write(&text, "no picture").unwrap();
    let of_text = error(&text);
    std::fs::remove_file(&text).unwrap();
    assert!(of_text.contains("text.png"), "{of_text}");
    assert!(error(&text).contains("text.png"), "{}", error(&text));
    // A dot, and a line as wide as the picture, are ink.
    let dot = GrayImage::from_fn(9, 9, |x, y| Luma([if (x, y) == (2, 6) { 0 } else { 255 }]));
    assert!(photo::as_mnist(&dot).is_ok());
    let line = GrayImage::from_fn(300, 2, |_, y| Luma([if y == 0 { 0 } else { 255 }]));
    assert!(photo::as_mnist(&line).is_ok());
}
