//! Digits as text, with what the network makes of them.

use crate::photo::SIDE;
use anyhow::Result;
use std::path::Path;
use striate::Tensor;
use striate::data::Dataset;
use striate::nn::Model;

/// Digits side by side; with a border of two pixels cut off, three fit into 80 columns.
const PER_ROW: usize = 3;
const BORDER: usize = 2;

/// From dark to bright.
const INK: &[u8] = b" .:-=+*#%@";

struct Drawn {
    title: String,
    lines: Vec<String>,
}

/// Prints a few test digits that the model gets right, and some that it gets wrong.
pub fn show(model: &mut Model, test: &Dataset) -> Result<()> {
    let logits = model.predict_dataset(test)?;
    let classes = test.classes();
    let rows: Vec<&[f32]> = logits.as_f32()?.chunks(classes).collect();
    let is_right = |i: &usize| arg_max(rows[*i]) == test.labels()[*i] as usize;
    let (right, wrong): (Vec<usize>, Vec<usize>) = (0..test.len()).partition(is_right);
    for (heading, which) in [("Right", &right), ("Wrong", &wrong)] {
        println!("{heading}: {} of {}", which.len(), test.len());
        let draw = |&i: &usize| {
            let pixels = test.batch_images(&[i as u32])?;
            Ok(drawn(&pixels, rows[i], Some(test.labels()[i])))
        };
        print_row(&which.iter().take(PER_ROW).map(draw).collect::<Result<Vec<_>>>()?);
    }
    Ok(())
}

/// Prints a photo as the network sees it, and what it makes of it.
pub fn show_photo(model: &mut Model, path: &Path, pixels: &[f32]) -> Result<()> {
    let logits = model.predict(&Tensor::f32([1, SIDE, SIDE, 1], pixels.to_vec())?)?;
    println!("{}", path.display());
    print_row(&[drawn(pixels, logits.as_f32()?, None)]);
    Ok(())
}

fn arg_max(row: &[f32]) -> usize {
    (0..row.len()).max_by(|&a, &b| row[a].total_cmp(&row[b]).then(b.cmp(&a))).unwrap_or(0)
}

fn drawn(pixels: &[f32], logits: &[f32], label: Option<u32>) -> Drawn {
    let best = arg_max(logits);
    let total: f32 = logits.iter().map(|x| (x - logits[best]).exp()).sum();
    let says = format!("net: {best} ({:.1}%)", 100.0 / total);
    let title = label.map_or(says.clone(), |l| format!("is: {l}  {says}"));
    // A character is about twice as high as wide: two rows of pixels make a line.
    let shade = |row: usize, column: usize| {
        let v = (pixels[row * SIDE + column] + pixels[(row + 1) * SIDE + column]) / 2.0;
        char::from(INK[((v * INK.len() as f32) as usize).min(INK.len() - 1)])
    };
    let lines = (BORDER..SIDE - BORDER).step_by(2).map(|r| (BORDER..SIDE - BORDER).map(|c| shade(r, c)).collect());
    Drawn { title, lines: lines.collect() }
}

fn print_row(digits: &[Drawn]) {
    let width = SIDE - 2 * BORDER;
    let line = |texts: Vec<&str>| {
        let padded: Vec<String> = texts.iter().map(|t| format!("{t:width$}")).collect();
        println!("{}", format!("  {}", padded.join("  ")).trim_end());
    };
    line(digits.iter().map(|d| d.title.as_str()).collect());
    for i in 0..digits.first().map_or(0, |d| d.lines.len()) {
        line(digits.iter().map(|d| d.lines[i].as_str()).collect());
    }
    println!();
}
