//! Does a photo of a digit reach the network of the example `mnist` as MNIST would have it?
#![cfg(feature = "photos")]
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
    let pixels = test.images().unwrap().as_u8().unwrap();
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

/// Sum of the differences as a share of the ink, at the best of nine places: a centre of mass midway between two pixels may go to either.
fn difference(found: &[f32], want: &[f32]) -> f32 {
    let at = |x: i32, y: i32| if (0..28).contains(&x) && (0..28).contains(&y) { found[(28 * y + x) as usize] } else { 0.0 };
    let moved = |right: i32, down: i32| {
        let off = |(i, want): (usize, &f32)| (at(i as i32 % 28 - right, i as i32 / 28 - down) - want).abs();
        want.iter().enumerate().map(off).sum::<f32>() / want.iter().sum::<f32>()
    };
    let moves = [-1, 0, 1].into_iter().flat_map(|right| [-1, 0, 1].map(|down| moved(right, down)));
    moves.fold(f32::INFINITY, f32::min)
}

#[test]
fn digits_on_paper_become_what_they_were() {
    let of = |digit: &GrayImage| {
        let want: Vec<f32> = digit.pixels().map(|p| f32::from(p.0[0]) / 255.0).collect();
        difference(&photo::as_mnist(&sheet(digit)).unwrap(), &want)
    };
    let mut differences: Vec<f32> = digits(200).iter().map(of).collect();
    differences.sort_unstable_by(f32::total_cmp);
    let (median, nine_of_ten) = (differences[100], differences[180]);
    println!("difference as a share of the ink: {median:.3} in the median, at most {nine_of_ten:.3} for nine of ten");
    // The faint ends of strokes are cut off, and what is left is scaled to 20 pixels again.
    assert!(median < 0.2 && nine_of_ten < 0.3, "{median} {nine_of_ten}");
}

#[test]
fn bright_ink_transparent_paper_and_size_make_little_difference() {
    let sheet = sheet(&digits(1)[0]);
    let want = Scratch::new("dark.png", sheet.clone()).read();
    let same = |name: &str, picture: DynamicImage, tolerance: f32| {
        let difference = difference(&Scratch::new(name, picture).read(), &want);
        assert!(difference <= tolerance, "{name}: {difference}");
    };
    let mut bright = sheet.clone();
    imageops::invert(&mut bright);
    same("bright.png", bright.into(), 0.01);
    // Black ink that lets more of the white ground through the less there is of it.
    let alpha = |x, y| Rgba([0, 0, 0, 255 - sheet.get_pixel(x, y).0[0]]);
    same("transparent.png", RgbaImage::from_fn(200, 300, alpha).into(), 0.01);
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
