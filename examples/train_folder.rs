//! Trains a network on any folder of photos with a sub folder for each class: `train_folder DIR`.
//!
//!     cargo run --release --example train_folder -- examples/data/pets --epochs 30

#[macro_use]
mod common;
#[path = "common/photos.rs"]
mod photos;
#[path = "common/stop.rs"]
mod stop;
#[path = "common/subject.rs"]
mod subject;

use anyhow::{Result, bail, ensure};
use clap::Parser;
use photos::{Backbone, Results};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use striate::Seed;
use striate::data::{self, Dataset, Resize};
use striate::io::ModelCard;
use striate::nn::{Conv2d, Model, Sequential};
use striate::train::{Adam, Checkpoints, CsvLog, Fit, History, Monitor, Resume, Schedule};
use subject::InputOptions;

/// Trains a network on a folder of photos with a sub folder for each class. It writes the network, its curves and pictures of what it has learned to a folder, and
/// checkpoints while it trains: run again with --resume, it goes on where it was stopped.
#[derive(Parser)]
struct Arguments {
    /// The folder: a sub folder with photos (JPEG or PNG) for each class
    dir: PathBuf,
    /// The folder for what comes of it
    #[arg(long, default_value = "train_folder", value_name = "DIR")]
    out: PathBuf,
    /// Height and width that photos are brought to [default: 64, or what the backbone takes]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(16..=1024))]
    size: Option<u32>,
    /// Passes over the photos
    #[arg(long, default_value_t = 30, value_name = "N")]
    epochs: usize,
    /// Photos a step
    #[arg(long, default_value_t = 32, value_name = "N")]
    batch: usize,
    /// Share of the photos that is kept for validation
    #[arg(long, default_value_t = 0.2, value_name = "SHARE")]
    validation: f64,
    /// Shows photos as they are, instead of changing them at random
    #[arg(long)]
    no_augment: bool,
    /// Learning rate at the start [default: 0.001, or 0.0001 with a backbone]
    #[arg(long, value_name = "RATE")]
    lr: Option<f64>,
    /// An ONNX file with a network that was trained on other photos: its last layers are replaced
    #[arg(long, value_name = "FILE")]
    backbone: Option<PathBuf>,
    #[command(flatten)]
    input: InputOptions,
    /// The last layer of the backbone that is kept [default: the last one with height and width]
    #[arg(long, requires = "backbone", value_name = "NAME")]
    until: Option<String>,
    /// Passes over the photos in which only the new layer of a backbone is trained
    #[arg(long, default_value_t = 30, requires = "backbone", value_name = "N")]
    head_epochs: usize,
    /// Goes on from the last checkpoint in the folder
    #[arg(long)]
    resume: bool,
    /// Megabytes of memory for photos that were read
    #[arg(long, default_value_t = 1024, value_name = "MB")]
    cache: usize,
    /// Threads that read photos ahead [default: the cores, 8 at most]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Seed of everything random
    #[arg(long, default_value_t = 42, value_name = "N")]
    seed: u64,
    /// `cpu`, `gpu`, or a part of a GPU's name [default: the best device]
    #[arg(long)]
    device: Option<String>,
}

/// Folder of the checkpoints among the results.
const CHECKPOINTS: &str = "checkpoints";

/// A small network: blocks of convolutions, each with twice the filters at half the height and width, until 8 pixels are left or fewer.
fn small_network(side: usize, classes: usize) -> Sequential {
    let mut net = Sequential::new([side, side, 3]);
    let (mut side, mut filters) = (side, 32);
    while side > 8 && filters <= 256 {
        net = net.layer(Conv2d::new(filters, 3).same()).batch_norm().relu().max_pool2d(2);
        (side, filters) = (side / 2, 2 * filters);
    }
    net.layer(Conv2d::new(filters.min(256), 3).same())
        .batch_norm()
        .relu()
        .global_avg_pool2d()
        .dropout(0.3)
        .dense(classes)
        .named(photos::CLASSES)
}

fn main() -> Result<()> {
    common::start_logging();
    let arguments = Arguments::parse();
    let device = subject::device(arguments.device.as_deref())?;
    let seed = Seed(arguments.seed);
    let results = Results::new(&arguments.out)?;
    if !arguments.resume && results.path(CHECKPOINTS).exists() {
        bail!(
            "{} has checkpoints of another run: --resume goes on from them, --out takes another folder",
            arguments.out.display()
        );
    }
    let stop = stop::on_ctrl_c()?;
    let mut backbone = match &arguments.backbone {
        Some(path) => Some(Backbone::read(path, arguments.until.as_deref(), arguments.input, &device)?),
        None => None,
    };
    let side = arguments.size.map(|side| side as usize);
    let [h, w] = match (&backbone, side) {
        (Some(backbone), None) => backbone.size(),
        (Some(backbone), Some(side)) => {
            let size = backbone.size();
            ensure!(size == [side; 2], "--size is {side}, the backbone takes photos of {} x {}", size[0], size[1]);
            size
        }
        (None, side) => [side.unwrap_or(64); 2],
    };

    let (data, _) = data::image_folder(&arguments.dir).size(h, w).resize(Resize::Crop).open()?;
    photos::describe(&data)?;
    let (train, validation) = data.cached(arguments.cache << 20).split_stratified(1.0 - arguments.validation, seed)?;
    let (train, validation) = match &backbone {
        Some(backbone) => (backbone.normalised(train)?, backbone.normalised(validation)?),
        None => {
            let (means, deviations) = train.channel_statistics()?;
            (train.normalized_channels(&means, &deviations)?, validation.normalized_channels(&means, &deviations)?)
        }
    };
    let (train, validation) = (train.named("training photos"), validation.named("validation photos"));
    println!("{} to train on, {} for validation, as {h} x {w} pixels, on {device}.\n", train.len(), validation.len());

    let mut model = match &mut backbone {
        Some(backbone) => with_new_head(backbone, [&train, &validation], &arguments, &stop)?,
        None => small_network(h, train.classes()).build(&device, seed)?,
    };
    println!("{}\n", model.summary());
    let history = fit(&mut model, [&train, &validation], &arguments, &results, &stop)?;
    finish(&mut model, &validation, &history, &results, &arguments.out)
}

/// A backbone with a new layer for the classes, which is trained on what the backbone makes of the photos; then both can be trained together.
fn with_new_head(
    backbone: &mut Backbone,
    [train, validation]: [&Dataset; 2],
    arguments: &Arguments,
    stop: &Arc<AtomicBool>,
) -> Result<Model> {
    println!("Training a layer for the classes on what the backbone gives at layer {}.", backbone.layer());
    let (features, validation) = (backbone.features(train)?, backbone.features(validation)?);
    let mut head = backbone.head(&features, Seed(arguments.seed))?;
    let fit = Fit::epochs(arguments.head_epochs).batch(arguments.batch).optimizer(Adam::new(0.001)).validate(&validation);
    head.fit(&features, fit.stop_flag(stop.clone()))?;
    println!();
    backbone.with_head(&mut head, train.classes(), Seed(arguments.seed))
}

/// Trains, and puts the best weights in their places.
fn fit(
    model: &mut Model,
    [train, validation]: [&Dataset; 2],
    arguments: &Arguments,
    results: &Results,
    stop: &Arc<AtomicBool>,
) -> Result<History> {
    let rate = arguments.lr.unwrap_or(if arguments.backbone.is_some() { 1e-4 } else { 1e-3 });
    let checkpoints = results.path(CHECKPOINTS);
    let mut fit = Fit::epochs(arguments.epochs)
        .batch(arguments.batch)
        .optimizer(Adam::new(rate))
        .schedule(Schedule::Cosine { last: 0.0 })
        .validate(validation)
        .checkpoints(Checkpoints::in_folder(&checkpoints).best(Monitor::ValLoss))
        .resume(if arguments.resume { Resume::LatestWhole } else { Resume::Never })
        .callback(CsvLog::new(results.path("log.csv")))
        .stop_flag(stop.clone());
    if !arguments.no_augment {
        fit = fit.augment(photos::usual_changes());
    }
    if let Some(threads) = arguments.threads {
        fit = fit.loader_threads(threads);
    }
    let history = model.fit(train, fit)?;
    if history.stopped {
        println!("\nStopped by Ctrl-C; --resume goes on from here.");
    }
    if let Some(best) = history.best(Monitor::ValLoss) {
        println!(
            "\nThe smallest loss on the validation photos was {:.4}, in epoch {}; its weights are taken.",
            best.value,
            best.epoch + 1
        );
        model.load(checkpoints.join("best.safetensors"))?;
    }
    Ok(history)
}

fn finish(model: &mut Model, validation: &Dataset, history: &History, results: &Results, out: &Path) -> Result<()> {
    let score = model.evaluate(validation)?;
    println!("Accuracy on the validation photos {:.1}%, loss {:.4}.", 100.0 * score.accuracy, score.loss);
    println!("\nIn {}:", out.display());
    results.curves("curves.png", history)?;
    results.model(model, validation, ModelCard::of(validation, Resize::Crop)?)?;
    println!("  {:<20} numbers of each epoch", "log.csv");
    println!("  {CHECKPOINTS:<20} the last two states of training, and the best weights");
    Ok(())
}
