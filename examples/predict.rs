//! What is on many photos, by a trained network: `predict MODEL PHOTO...`, photos or folders of them.

#[macro_use]
mod common;
#[path = "common/subject.rs"]
mod subject;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use std::path::{Path, PathBuf};
use std::time::Instant;
use striate::Tensor;
use striate::nn::Model;
use subject::{PhotoOptions, Subject, ranked};

/// Prints a table of photos with their most probable classes. MODEL is an ONNX file: one of this crate's examples, which says itself what photos it takes and what
/// its classes are called, or one of another program, for which options say it. A photo that can't be read is reported, and the others go on.
#[derive(Parser)]
struct Arguments {
    /// The ONNX file
    model: PathBuf,
    /// Photos (JPEG or PNG), and folders with photos, whose folders are searched too
    #[arg(required = true, value_name = "PHOTO")]
    photos: Vec<PathBuf>,
    /// How many classes are shown for each photo
    #[arg(long, default_value_t = 3)]
    top: usize,
    /// Photos that go through the network at once
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=4096))]
    batch: u32,
    /// `cpu`, `gpu`, or a part of a GPU's name [default: the best device]
    #[arg(long)]
    device: Option<String>,
    #[command(flatten)]
    options: PhotoOptions,
}

/// The files, and those in the folders, in the order of their names.
fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for path in paths {
        if !path.is_dir() {
            found.push(path.clone());
            continue;
        }
        let mut inside = Vec::new();
        search(path, &mut inside)?;
        inside.sort();
        ensure!(!inside.is_empty(), "{}: no photos in this folder", path.display());
        found.extend(inside);
    }
    Ok(found)
}

fn search(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("can't read {}", folder.display()))?;
    for entry in entries {
        let entry = entry.with_context(|| format!("can't read {}", folder.display()))?;
        let path = entry.path();
        let is = |endings: &[&str]| path.extension().is_some_and(|e| endings.iter().any(|ending| e.eq_ignore_ascii_case(ending)));
        // Folders that are links may lead back here.
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            search(&path, found)?;
        } else if is(&["jpg", "jpeg", "png"]) {
            found.push(path);
        }
    }
    Ok(())
}

/// The text in so many columns: the end of it where it is too long, which tells files apart.
fn column(text: &str, width: usize) -> String {
    let len = text.chars().count();
    if len <= width {
        format!("{text:<width$}")
    } else {
        format!("…{}", text.chars().skip(len + 1 - width).collect::<String>())
    }
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    common::start_logging();
    let subject = Subject::open(&arguments.model, &arguments.options)?;
    let paths = files(&arguments.photos)?;
    let device = subject::device(arguments.device.as_deref())?;
    let mut model = subject.build(&device)?;
    eprintln!("{} on {device}, {} photo{}", arguments.model.display(), paths.len(), if paths.len() == 1 { "" } else { "s" });

    let start = Instant::now();
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} photos, {per_sec}, {eta} left")?;
    let progress = if paths.len() > 64 { ProgressBar::new(paths.len() as u64).with_style(style) } else { ProgressBar::hidden() };
    let mut failed = 0;
    println!("{:<38}{:<32}{:>10}", "photo", "class", "probability");
    for some in paths.chunks(arguments.batch as usize) {
        let (mut read, mut photos) = (Vec::new(), Vec::new());
        for path in some {
            match subject.photo(path) {
                Ok(photo) => {
                    read.push(path);
                    photos.push(photo);
                }
                Err(e) => {
                    failed += 1;
                    progress.suspend(|| eprintln!("left out: {e:#}"));
                }
            }
        }
        if !photos.is_empty() {
            let lines = table(&subject, &mut model, &read, &photos, arguments.top)?;
            progress.suspend(|| lines.iter().for_each(|line| println!("{line}")));
        }
        progress.inc(some.len() as u64);
    }
    progress.finish_and_clear();
    let seconds = start.elapsed().as_secs_f64();
    let done = paths.len() - failed;
    eprintln!("{done} photos in {seconds:.1} s, {:.0} a second", done as f64 / seconds.max(1e-9));
    ensure!(failed == 0, "{failed} of {} photos couldn't be read", paths.len());
    Ok(())
}

fn table(subject: &Subject, model: &mut Model, paths: &[&PathBuf], photos: &[Tensor], top: usize) -> Result<Vec<String>> {
    let scores = model.predict(&subject.input(photos)?)?;
    let scores = scores.as_f32()?;
    let mut lines = Vec::new();
    for (path, scores) in paths.iter().zip(scores.chunks(scores.len() / photos.len())) {
        for (i, (class, p)) in ranked(scores).into_iter().take(top).enumerate() {
            let photo = if i == 0 { path.display().to_string() } else { String::new() };
            let name: String = subject.name(class).chars().take(30).collect();
            lines.push(format!("{}  {name:<32}{:>9.1}%", column(&photo, 36), 100.0 * p));
        }
    }
    Ok(lines)
}
