//! The lesson of dogs and cats (F. Chollet, "Deep Learning with Python", chapter 5) on photos of 150 x 150 pixels: a small network from scratch, the same with
//! augmentation and dropout, and, with a network that was trained on other photos, a new layer on its features, then fine-tuning.
//!
//!     cargo run --release --example dogs_vs_cats -- examples/data/pets --epochs 10

#[macro_use]
mod common;
#[path = "common/photos.rs"]
mod photos;
#[path = "common/stop.rs"]
mod stop;
#[path = "common/subject.rs"]
mod subject;

use anyhow::{Result, ensure};
use clap::Parser;
use photos::{Backbone, Results};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use striate::data::{self, Dataset, Resize};
use striate::io::ModelCard;
use striate::nn::{Model, Sequential};
use striate::train::{Adam, Fit, History, Monitor, RmsProp};
use striate::{Device, Seed};
use subject::InputOptions;

/// Trains networks that tell dogs from cats, each lesson a better one, on any folder with a sub folder of photos for each of the two. It ends with a table, and with
/// curves of each lesson and pictures of the last one's network in a folder.
#[derive(Parser)]
struct Arguments {
    /// The folder: two sub folders with photos (JPEG or PNG)
    dir: PathBuf,
    /// The folder for what comes of it
    #[arg(long, default_value = "dogs_vs_cats", value_name = "DIR")]
    out: PathBuf,
    /// Passes over the photos in each lesson
    #[arg(long, default_value_t = 30, value_name = "N")]
    epochs: usize,
    /// An ONNX file with a network that was trained on other photos, for the last two lessons
    #[arg(long, value_name = "FILE")]
    backbone: Option<PathBuf>,
    #[command(flatten)]
    input: InputOptions,
    /// Photos a step
    #[arg(long, default_value_t = 20, value_name = "N")]
    batch: usize,
    /// Seed of everything random
    #[arg(long, default_value_t = 42, value_name = "N")]
    seed: u64,
    /// `cpu`, `gpu`, or a part of a GPU's name [default: the best device]
    #[arg(long)]
    device: Option<String>,
}

/// Height and width of the photos, but for a network that was trained on others.
const SIDE: usize = 150;

/// The book's network: four blocks of a convolution and a pooling, a dense layer of 512 units.
fn network(dropout: bool, device: &Device, seed: Seed) -> Result<Model> {
    let mut net = Sequential::new([SIDE, SIDE, 3]);
    for filters in [32, 64, 128, 128] {
        net = net.conv2d(filters, 3).relu().max_pool2d(2);
    }
    net = net.flatten();
    if dropout {
        net = net.dropout(0.5);
    }
    Ok(net.dense(512).relu().dense(2).build(device, seed)?)
}

/// What all lessons share.
struct School {
    arguments: Arguments,
    device: Device,
    results: Results,
    stop: Arc<AtomicBool>,
    /// Names of the lessons, with what training came to.
    lessons: Vec<(String, History)>,
}

impl School {
    fn photos(&self, size: [usize; 2]) -> Result<[Dataset; 2]> {
        let folder = data::image_folder(&self.arguments.dir).size(size[0], size[1]).resize(Resize::Crop);
        let (data, _) = folder.load()?;
        if self.lessons.is_empty() {
            photos::describe(&data)?;
        }
        ensure!(data.classes() == 2, "{} has {} classes, want 2", self.arguments.dir.display(), data.classes());
        let (train, validation) = data.split_stratified(0.75, Seed(self.arguments.seed))?;
        Ok([train.named("training photos"), validation.named("validation photos")])
    }

    fn fit(&self) -> Fit {
        Fit::epochs(self.arguments.epochs).batch(self.arguments.batch).stop_flag(self.stop.clone())
    }

    /// Trains, and draws the curves.
    fn lesson(&mut self, name: &str, model: &mut Model, [train, validation]: &[Dataset; 2], fit: Fit) -> Result<()> {
        let n = self.lessons.len() + 1;
        println!("\nLesson {n}: {name}, {} parameters, on {}.", model.parameters(), self.device);
        let history = model.fit(train, fit.validate(validation))?;
        self.results.curves(&format!("lesson_{n}.png"), &history)?;
        self.lessons.push((name.to_string(), history));
        Ok(())
    }
}

fn main() -> Result<()> {
    common::start_logging();
    let arguments = Arguments::parse();
    let device = subject::device(arguments.device.as_deref())?;
    let seed = Seed(arguments.seed);
    // A file that is no network shows before the first lesson and not after it.
    let backbone = arguments.backbone.as_ref().map(|path| Backbone::read(path, None, arguments.input, &device)).transpose()?;
    let results = Results::new(&arguments.out)?;
    let mut school = School { arguments, device, results, stop: stop::on_ctrl_c()?, lessons: Vec::new() };

    let photos = school.photos([SIDE; 2])?;
    let mut model = network(false, &school.device, seed)?;
    school.lesson("from scratch", &mut model, &photos, school.fit().optimizer(RmsProp::new(1e-4)))?;
    let mut model = network(true, &school.device, seed)?;
    let fit = school.fit().optimizer(RmsProp::new(1e-4)).augment(photos::usual_changes());
    school.lesson("with augmentation and dropout", &mut model, &photos, fit)?;
    let (mut model, photos) = match backbone {
        Some(backbone) => transfer(&mut school, backbone, seed)?,
        None => {
            println!("\nThe last two lessons need --backbone FILE; examples/models/efficientnet_lite0.py writes one.");
            (model, photos)
        }
    };

    println!("\n{:<34}{:>12}{:>12}{:>18}", "lesson", "training", "validation", "best validation");
    for (name, history) in &school.lessons {
        let percent = |share: Option<f64>| share.map_or(String::new(), |share| format!("{:.1}%", 100.0 * share));
        let last = history.epochs.last();
        let best = history.best(Monitor::ValAccuracy).map(|best| best.value);
        let [train, validation, best] = [last.map(|e| e.accuracy), last.and_then(|e| e.val_accuracy), best].map(percent);
        println!("{name:<34}{train:>12}{validation:>12}{best:>18}");
    }
    println!("\nIn {}, of the last lesson's network:", school.arguments.out.display());
    let validation = &photos[1];
    school.results.model(&mut model, validation, ModelCard::of(validation, Resize::Crop)?)
}

/// A new layer on the features of a network that was trained on other photos; then training of both, slowly.
fn transfer(school: &mut School, mut backbone: Backbone, seed: Seed) -> Result<(Model, [Dataset; 2])> {
    let [train, validation] = school.photos(backbone.size())?;
    let photos = [backbone.normalised(train)?, backbone.normalised(validation)?];
    let features = [backbone.features(&photos[0])?, backbone.features(&photos[1])?];
    let mut head = backbone.head(&features[0], seed)?;
    school.lesson("features of another network", &mut head, &features, school.fit().optimizer(Adam::new(1e-3)))?;
    let mut model = backbone.with_head(&mut head, 2, seed)?;
    let fit = school.fit().optimizer(Adam::new(1e-5)).augment(photos::usual_changes());
    school.lesson("fine-tuning", &mut model, &photos, fit)?;
    Ok((model, photos))
}
