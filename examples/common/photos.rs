//! Networks that learn from folders of photos: what the examples `train_folder` and `dogs_vs_cats` share.

// Each example is a crate of its own and uses a part of this one.
#![allow(dead_code)]

use crate::subject::{InputOptions, PhotoOptions, Subject};
use anyhow::{Context, Result, bail};
use image::RgbImage;
use std::path::{Path, PathBuf};
use striate::data::Dataset;
use striate::io::{ModelCard, OnnxExport};
use striate::nn::{Model, Sequential};
use striate::train::{Augmentation, History, Metric, SoftmaxCrossEntropy};
use striate::vis::{self, Photo};
use striate::{Device, Seed};

/// Photos shown in a sheet.
const SHOWN: usize = 12;

/// The name of the layer that gives a new network's classes.
pub const CLASSES: &str = "classes";

/// Says what was found. What was left out the crate has warned of.
pub fn describe(data: &Dataset) -> Result<()> {
    let counts = data.class_counts()?;
    let classes: Vec<String> = data.class_names().iter().zip(&counts).map(|(name, n)| format!("{name} {n}")).collect();
    println!("{} photos: {}.", data.len(), classes.join(", "));
    Ok(())
}

/// What photos of things that may be seen from either side are changed by.
pub fn usual_changes() -> Augmentation {
    Augmentation::new().flip_horizontal(0.5).rotate(15.0).shift(0.1, 0.1).zoom(0.85, 1.2).brightness(0.2).contrast(0.2)
}

/// A network of an ONNX file that was trained on other photos, less its last layers.
pub struct Backbone {
    model: Model,
    /// The last layer that is kept.
    layer: String,
    subject: Subject,
}

impl Backbone {
    /// Keeps the layers until this one; else until the last one with height and width.
    pub fn read(path: &Path, until: Option<&str>, input: InputOptions, device: &Device) -> Result<Backbone> {
        let subject = Subject::open(path, &PhotoOptions { input, ..PhotoOptions::default() })?;
        let model = subject.build(device)?;
        let layers = model.summary().layers;
        let layer = match until {
            Some(name) if layers.iter().any(|l| l.name == name) => name.to_string(),
            Some(name) => bail!("{} has no layer '{name}'; `onnx_info` lists them", path.display()),
            None => {
                let has_sides = |dims: &[usize]| matches!(*dims, [h, w, _] if h * w > 1);
                let last = layers.iter().rev().find(|l| has_sides(l.output.dims()));
                last.with_context(|| format!("{} has no layer with height and width", path.display()))?.name.clone()
            }
        };
        Ok(Backbone { model, layer, subject })
    }

    /// Height and width of its photos.
    pub fn size(&self) -> [usize; 2] {
        [self.model.input_shape().dims()[0], self.model.input_shape().dims()[1]]
    }

    /// The name of the last layer that is kept.
    pub fn layer(&self) -> &str {
        &self.layer
    }

    /// Photos as it was trained to see them.
    pub fn normalised(&self, data: Dataset) -> Result<Dataset> {
        let (scale, offset) = (&self.subject.scale, &self.subject.offset);
        // `scale` and `offset` are of bytes, means and deviations in parts of 255.
        let deviations: Vec<f32> = scale.iter().map(|s| 1.0 / (255.0 * s)).collect();
        let means: Vec<f32> = offset.iter().zip(&deviations).map(|(o, d)| -o * d).collect();
        Ok(data.normalized_channels(&means, &deviations)?)
    }

    /// The means over height and width of what it makes of photos, as a data set of images of one pixel: what a new head can be trained on without running the
    /// backbone again.
    pub fn features(&mut self, data: &Dataset) -> Result<Dataset> {
        let mut model = self.model.net_up_to(&self.layer)?.global_avg_pool2d().build(self.model.device(), Seed(0))?;
        model.set_matching_weights(&self.model.weights()?)?;
        let features = model.predict_dataset(data)?;
        let &[n, c] = features.shape().dims() else { bail!("features have shape {}", features.shape()) };
        let features = Dataset::new(features.reshaped([n, 1, 1, c])?, data.labels().to_vec(), data.classes())?;
        Ok(features.named(format!("features of the {}", data.name())).named_classes(data.class_names().to_vec())?)
    }

    /// A new head for features of a data set.
    pub fn head(&self, features: &Dataset, seed: Seed) -> Result<Model> {
        let head = Sequential::new(features.image_shape()).flatten().dropout(0.3).dense(features.classes()).named(CLASSES);
        Ok(head.build(self.model.device(), seed)?)
    }

    /// The backbone with a trained head. Of its layers with parameters training changes those that make up the last third; what comes before has learned what all
    /// photos have in common.
    pub fn with_head(&mut self, head: &mut Model, classes: usize, seed: Seed) -> Result<Model> {
        let net = self.model.net_up_to(&self.layer)?.global_avg_pool2d().dropout(0.3).dense(classes).named(CLASSES);
        let mut model = net.build(self.model.device(), seed)?;
        model.set_matching_weights(&self.model.weights()?)?;
        model.set_matching_weights(&head.weights()?)?;
        let trained: Vec<String> = model.summary().layers.iter().filter(|l| l.parameters > 0).map(|l| l.name.clone()).collect();
        for name in &trained[..trained.len() * 2 / 3] {
            model.set_trainable(name, false)?;
        }
        Ok(model)
    }
}

/// The folder for what a program writes.
pub struct Results {
    folder: PathBuf,
}

impl Results {
    /// Makes the folder if it isn't there.
    pub fn new(folder: &Path) -> Result<Results> {
        std::fs::create_dir_all(folder).with_context(|| format!("can't make the folder {}", folder.display()))?;
        Ok(Results { folder: folder.to_path_buf() })
    }

    /// The path of a file in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn save(&self, name: &str, what: &str, picture: &RgbImage) -> Result<()> {
        vis::save(picture, self.path(name))?;
        println!("  {name:<20} {what}");
        Ok(())
    }

    /// Loss and accuracy by epoch.
    pub fn curves(&self, name: &str, history: &History) -> Result<()> {
        self.save(name, "loss and accuracy of each epoch", &vis::curves(history)?)
    }

    /// All pictures of a model that was trained on photos, and the model.
    pub fn model(&self, model: &mut Model, data: &Dataset, card: ModelCard) -> Result<()> {
        let names = data.class_names();
        model.export_onnx(self.path("model.onnx"), OnnxExport::new().card(card))?;
        println!("  {:<20} the network, for `predict` and `explain` and for other engines", "model.onnx");
        let score = model.evaluate_metrics(data, &SoftmaxCrossEntropy::default(), &[Metric::Confusion])?;
        if let Some(confusion) = &score.confusion {
            self.save(
                "confusion.png",
                "what the classes of the validation photos are taken for",
                &vis::confusion(confusion, names)?,
            )?;
        }
        self.save("mistakes.png", "the photos of which it was most wrong", &vis::worst_mistakes(model, data, 2 * SHOWN)?)?;
        self.save("grad_cam.png", "the parts of photos that speak for their classes", &vis::grad_cam_sheet(model, data, SHOWN)?)?;
        self.save("filters.png", "the filters of the first convolution", &vis::filters(model, None)?)?;
        let first = Photo::of(data, 0)?;
        self.save("activations.png", "what each layer gives for a photo", &vis::activations(model, &first, None)?)?;
        let diagram = self.path("network.svg");
        std::fs::write(&diagram, vis::diagram(model)?).with_context(|| format!("can't write {}", diagram.display()))?;
        println!("  {:<20} the network's layers", "network.svg");
        Ok(())
    }
}
