//! The filters that a lecture on convolution begins with, on a photo: `image_filters PHOTO`.

#[macro_use]
mod common;

use anyhow::{Context, Result};
use clap::Parser;
use image::RgbImage;
use image::imageops::{self, FilterType};
use std::path::PathBuf;
use std::time::Instant;
use striate::nn::{DepthwiseConv2d, Net, Pad};
use striate::vis::{self, Sheet};
use striate::{Device, Seed, Tensor, data};

/// Applies edge detectors, sharpening and Gaussian blurs to a photo, each a convolution with a kernel that is known beforehand, and writes a sheet of what comes of it.
#[derive(Parser)]
struct Arguments {
    /// The photo (JPEG or PNG)
    photo: PathBuf,
    /// The sheet
    #[arg(long, default_value = "image_filters.png", value_name = "FILE")]
    out: PathBuf,
    /// The photo's longer side is made so many pixels, if it has more
    #[arg(long, default_value_t = 360, value_parser = clap::value_parser!(u32).range(8..=4096))]
    size: u32,
    /// `cpu`, `gpu`, or a part of a GPU's name [default: the best device]
    #[arg(long)]
    device: Option<String>,
}

/// What is shown of numbers that needn't be colours.
#[derive(Clone, Copy)]
enum Shown {
    /// Below 0 is black, above 255 white.
    Cut,
    /// The magnitude: an edge is an edge in either direction.
    Magnitude,
    /// 0 is grey.
    AroundGrey,
}

struct Kernel {
    name: &'static str,
    side: usize,
    taps: Vec<f32>,
    /// What the taps are divided by.
    divisor: f32,
    shown: Shown,
}

fn kernel(name: &'static str, taps: &[i32], divisor: i32, shown: Shown) -> Kernel {
    let side = taps.len().isqrt();
    Kernel { name, side, taps: taps.iter().map(|&v| v as f32).collect(), divisor: divisor as f32, shown }
}

/// Rows of Pascal's triangle times each other: the Gaussian of whole numbers.
fn gaussian(row: &[i32]) -> Vec<i32> {
    row.iter().flat_map(|a| row.iter().map(move |b| a * b)).collect()
}

fn kernels() -> Vec<Kernel> {
    let wide = gaussian(&[1, 8, 28, 56, 70, 56, 28, 8, 1]);
    vec![
        kernel("edge detector", &[-1, -1, -1, -1, 8, -1, -1, -1, -1], 1, Shown::Cut),
        kernel("sharpening", &[0, -1, 0, -1, 5, -1, 0, -1, 0], 1, Shown::Cut),
        kernel("Gaussian blur, 3 x 3", &gaussian(&[1, 2, 1]), 16, Shown::Cut),
        kernel("Gaussian blur, 5 x 5", &gaussian(&[1, 4, 6, 4, 1]), 256, Shown::Cut),
        kernel("Gaussian blur, 9 x 9", &wide, 65536, Shown::Cut),
        kernel("mean, 5 x 5", &[1; 25], 25, Shown::Cut),
        kernel("vertical edges (Sobel)", &[-1, 0, 1, -2, 0, 2, -1, 0, 1], 1, Shown::Magnitude),
        kernel("horizontal edges (Sobel)", &[-1, -2, -1, 0, 0, 0, 1, 2, 1], 1, Shown::Magnitude),
        kernel("emboss", &[-2, -1, 0, -1, 0, 1, 0, 1, 2], 1, Shown::AroundGrey),
    ]
}

impl Kernel {
    /// The kernel, as it is written on a board: a line a row, or what it is made of if it is large.
    fn written(&self) -> String {
        let over = if self.divisor == 1.0 { String::new() } else { format!(" / {}", self.divisor) };
        if self.side > 3 {
            let row: Vec<String> = self.taps.iter().take(self.side).map(f32::to_string).collect();
            return format!("[{}, ..]{over}", row.join(" "));
        }
        let rows: Vec<String> =
            self.taps.chunks(self.side).map(|row| row.iter().map(f32::to_string).collect::<Vec<_>>().join(" ")).collect();
        format!("[{}]{over}", rows.join(", "))
    }

    /// The photo, bytes as f32 `[1, h, w, 3]`, after a convolution of each of its colours with the kernel; the border is repeated.
    fn apply(&self, device: &Device, photo: &Tensor) -> Result<RgbImage> {
        let &[_, h, w, 3] = photo.shape().dims() else { unreachable!("a photo has three colours") };
        let net = Net::input([h, w, 3]).layer(Pad::images(self.side / 2).edge());
        let mut model = net.layer(DepthwiseConv2d::new(self.side).no_bias()).named("filter").build(device, Seed(0))?;
        let taps = self.taps.iter().flat_map(|tap| [tap / self.divisor; 3]).collect();
        model.set_weights(&[("filter/weight".to_string(), Tensor::f32([self.side, self.side, 1, 3], taps)?)])?;
        let y = model.predict(photo)?;
        let byte = |v: &f32| match self.shown {
            Shown::Cut => *v,
            Shown::Magnitude => v.abs(),
            Shown::AroundGrey => v + 128.0,
        };
        let bytes = y.as_f32()?.iter().map(|v| byte(v).round().clamp(0.0, 255.0) as u8).collect();
        RgbImage::from_raw(w as u32, h as u32, bytes).context("an image has three bytes a pixel")
    }
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    common::start_logging();
    let mut photo = data::open_photo(&arguments.photo)?.into_rgb8();
    let (w, h) = photo.dimensions();
    let longer = w.max(h);
    if longer > arguments.size {
        let side = |length: u32| (u64::from(length) * u64::from(arguments.size) / u64::from(longer)).max(1) as u32;
        photo = imageops::resize(&photo, side(w), side(h), FilterType::Triangle);
    }
    let (w, h) = photo.dimensions();
    let device = match &arguments.device {
        Some(name) => Device::named(name)?,
        None => Device::best()?,
    };
    println!("{} at {w} x {h} pixels, on {device}", arguments.photo.display());
    let bytes = Tensor::f32([1, h as usize, w as usize, 3], photo.iter().map(|&v| f32::from(v)).collect())?;
    let name = arguments.photo.file_name().map_or("photo".into(), |name| name.to_string_lossy());
    let mut sheet = Sheet::new(format!("Filters on {name}"))
        .note("Each colour is convolved with the kernel; beyond the border, the nearest pixel counts.")
        .side(w.max(h))
        .columns(if w > 480 { 2 } else { 3 })
        .tile("the photo\n", photo);
    for kernel in kernels() {
        let start = Instant::now();
        let picture = kernel.apply(&device, &bytes)?;
        println!("  {:<26}{:<36}{:>6.0} ms", kernel.name, kernel.written(), 1e3 * start.elapsed().as_secs_f64());
        sheet = sheet.tile(format!("{}\n{}", kernel.name, kernel.written()), picture);
    }
    vis::save(&sheet.draw()?, &arguments.out)?;
    println!("The sheet is {}", arguments.out.display());
    Ok(())
}
