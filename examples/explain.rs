//! What a network looks at in a photo: `explain MODEL PHOTO` writes pictures to a folder.

#[macro_use]
mod common;
#[path = "common/subject.rs"]
mod subject;

use anyhow::{Context, Result, bail};
use clap::Parser;
use std::path::{Path, PathBuf};
use std::time::Instant;
use striate::nn::{LayerSummary, Model};
use striate::vis::{self, Explain, Maximise, Photo};
use striate::{Error, Seed};
use subject::{PhotoOptions, Subject, ranked};

/// Writes pictures of what a network makes of a photo: Grad-CAM (the parts that speak for a class), saliency (the pixels that its score changes most with), what
/// each layer gives, the filters of the first convolution, and a diagram of the network. MODEL is an ONNX file: one of this crate's examples, or one of another program, for
/// which options say what photos it takes.
#[derive(Parser)]
struct Arguments {
    /// The ONNX file
    model: PathBuf,
    /// The photo (JPEG or PNG)
    photo: PathBuf,
    /// The folder for the pictures, which is made [default: explain-PHOTO]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// The class to explain, by its name or number [default: the most probable]
    #[arg(long, value_name = "NAME")]
    class: Option<String>,
    /// The layer for Grad-CAM and --maximise [default: the last one with rows and columns, the last convolution]
    #[arg(long, value_name = "NAME")]
    layer: Option<String>,
    /// Noisy copies of the photo whose saliency is averaged (SmoothGrad); 0 for the photo's own
    #[arg(long, default_value_t = 16, value_name = "N")]
    smooth: usize,
    /// Also draws what makes the first N channels of a layer answer most, which takes its time
    #[arg(long, default_value_t = 0, value_name = "N")]
    maximise: usize,
    /// `cpu`, `gpu`, or a part of a GPU's name [default: the best device]
    #[arg(long)]
    device: Option<String>,
    #[command(flatten)]
    options: PhotoOptions,
}

/// A class by its name, without regard to case, or its number.
fn class_of(text: &str, subject: &Subject, classes: usize) -> Result<usize> {
    let named = |name: &String| name.eq_ignore_ascii_case(text);
    match (subject.classes.iter().position(named), text.parse::<usize>()) {
        (Some(class), _) => Ok(class),
        (None, Ok(class)) if class < classes => Ok(class),
        (None, Ok(class)) => bail!("--class is {class}, want below {classes}"),
        (None, Err(_)) => bail!("no class is called '{text}'; a number from 0 to {} does too", classes - 1),
    }
}

struct Output {
    folder: PathBuf,
}

impl Output {
    /// Says what is drawn, draws it, and writes it.
    fn write(&self, what: &str, file: &str, draw: impl FnOnce(&Path) -> striate::Result<()>) -> Result<()> {
        let path = self.folder.join(file);
        let start = Instant::now();
        match draw(&path) {
            Ok(()) => println!("  {file:<18} {what} ({:.1} s)", start.elapsed().as_secs_f64()),
            // A network without a convolution has no filters; the other pictures are there.
            Err(e @ Error::Invalid { .. }) => println!("  {file:<18} left out: {e}"),
            Err(e) => return Err(e.into()),
        }
        Ok(())
    }
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    common::start_logging();
    let subject = Subject::open(&arguments.model, &arguments.options)?;
    let pixels = subject.photo(&arguments.photo)?;
    let photo = Photo::new(&pixels, &subject.scale, &subject.offset)?;
    let device = subject::device(arguments.device.as_deref())?;
    let mut model = subject.build(&device)?;
    let classes = model.output_shape().elements();
    let mut explain = Explain::new().names(&subject.classes);
    if let Some(class) = &arguments.class {
        explain = explain.class(class_of(class, &subject, classes)?);
    }
    if let Some(layer) = &arguments.layer {
        if !model.summary().layers.iter().any(|l| l.name == *layer) {
            bail!("no layer is called '{layer}'; `onnx_info` lists them");
        }
        explain = explain.layer(layer);
    }
    let folder = arguments.out.clone().unwrap_or_else(|| {
        let stem = arguments.photo.file_stem().map_or("photo".into(), |stem| stem.to_string_lossy());
        PathBuf::from(format!("explain-{stem}"))
    });
    std::fs::create_dir_all(&folder).with_context(|| format!("can't make the folder {}", folder.display()))?;
    let out = Output { folder };

    println!("{} on {device}:", arguments.photo.display());
    let scores = model.predict(&subject.input(&[pixels])?)?;
    for (class, p) in ranked(scores.as_f32()?).into_iter().take(3) {
        println!("  {:>5.1}%  {:.60}", 100.0 * p, subject.name(class));
    }
    println!("Pictures in {}:", out.folder.display());
    pictures(&arguments, &subject, &mut model, &photo, &explain, &out)
}

fn pictures(
    arguments: &Arguments,
    subject: &Subject,
    model: &mut Model,
    photo: &Photo,
    explain: &Explain,
    out: &Output,
) -> Result<()> {
    let smooth = match arguments.smooth {
        0 => explain.clone(),
        samples => explain.clone().smooth(samples, 0.15, Seed(0)),
    };
    out.write("the parts that speak for the class", "grad_cam.png", |path| {
        vis::save(&vis::grad_cam(model, photo, explain)?, path)
    })?;
    out.write("the pixels that count", "saliency.png", |path| vis::save(&vis::saliency(model, photo, &smooth)?, path))?;
    out.write("what the layers give", "activations.png", |path| vis::save(&vis::activations(model, photo, None)?, path))?;
    out.write("the first filters", "filters.png", |path| vis::save(&vis::filters(model, None)?, path))?;
    out.write("the network", "network.svg", |path| std::fs::write(path, vis::diagram(model)?).map_err(|e| Error::file(path, e)))?;
    if arguments.maximise > 0 {
        let layers = model.summary().layers;
        // Behind a ReLU, a channel that doesn't answer yet has no slope to follow.
        let is_convolution = |l: &LayerSummary| l.kind.starts_with("conv") && l.output.rank() == 3;
        let last = layers.iter().rfind(|l| match &arguments.layer {
            Some(name) => l.name == *name,
            None => is_convolution(l),
        });
        let Some(layer) = last else { bail!("the network has no convolution; --layer says what to look at") };
        let channels = 0..arguments.maximise.min(layer.output.last());
        let what = Maximise::new(&layer.name, channels).normalized(&subject.scale, &subject.offset);
        out.write("what channels answer most to", "maximise.png", |path| vis::save(&vis::maximise_filter(model, &what)?, path))?;
    }
    Ok(())
}
