//! Which parts of a photo a network's answer comes from.

use super::canvas::{Align, Canvas, LEGEND, NORMAL, Ruler, TITLE, number, percent};
use super::colours::{DIM, FAINT, INK, Scale};
use super::photo::{Photo, coloured};
use super::sheet::Sheet;
use super::structure::{ancestors, class_name};
use crate::data::Dataset;
use crate::error::{Error, Result};
use crate::nn::Model;
use crate::random::{Seed, Stream};
use crate::tensor::Tensor;
use image::imageops::{self, FilterType};
use image::{Rgb, RgbImage};

/// What [`saliency`] and [`grad_cam`] explain.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Explain {
    class: Option<usize>,
    layer: Option<String>,
    names: Vec<String>,
    smooth: Option<(usize, f32, Seed)>,
}

impl Explain {
    /// The most probable class; Grad-CAM by the last layer whose output has rows and columns.
    pub fn new() -> Explain {
        Explain::default()
    }

    /// Another class than the most probable one: what would speak for it.
    pub fn class(mut self, class: usize) -> Explain {
        self.class = Some(class);
        self
    }

    /// The layer of Grad-CAM: an earlier one shows finer parts, but less of what the class is told by.
    pub fn layer(mut self, name: impl Into<String>) -> Explain {
        self.layer = Some(name.into());
        self
    }

    /// Names of the classes, for the picture.
    pub fn names(mut self, names: &[String]) -> Explain {
        self.names = names.to_vec();
        self
    }

    /// SmoothGrad (D. Smilkov and others, 2017) for saliency: the mean gradient of so many copies of the photo, each with other noise, whose
    /// standard deviation is this share of the range of the photo's numbers; 0.15 is usual.
    pub fn smooth(mut self, samples: usize, noise: f32, seed: Seed) -> Explain {
        self.smooth = Some((samples, noise, seed));
        self
    }
}

/// How much each place of a photo speaks for a class.
#[derive(Clone, PartialEq, Debug)]
pub struct Attribution {
    /// The class.
    pub class: usize,
    /// How probable the network finds it.
    pub probability: f32,
    /// The layer, for Grad-CAM.
    pub layer: Option<String>,
    /// From 0 on, f32 `[h, w]`: of the photo for saliency, of the layer's output for Grad-CAM.
    pub values: Tensor,
}

/// The class that is explained, and its probability.
fn class_of(model: &mut Model, photo: &Photo, explain: &Explain) -> Result<(usize, f32)> {
    let p = model.predict_probabilities(photo.input())?;
    let p = p.as_f32()?;
    let best = || p.iter().enumerate().fold(0, |best, (i, v)| if *v > p[best] { i } else { best });
    let class = explain.class.unwrap_or_else(best);
    match p.get(class) {
        Some(&probability) => Ok((class, probability)),
        None => Err(Error::invalid("class", class, format!("below {}", p.len()))),
    }
}

/// 1 for the class, 0 for the others, `[1, classes]`.
fn one_hot(model: &Model, class: usize) -> Result<Tensor> {
    let mut weights = vec![0.0; model.output_shape().elements()];
    weights[class] = 1.0;
    Tensor::f32([1, weights.len()], weights)
}

/// How strongly a class's score changes with each pixel (K. Simonyan and others, "Deep inside convolutional networks", 2013): the magnitude
/// of the score's gradient, of the channel where it is largest. [`saliency`] draws it.
///
/// # Errors
/// As there.
pub fn saliency_map(model: &mut Model, photo: &Photo, explain: &Explain) -> Result<Attribution> {
    let (class, probability) = class_of(model, photo, explain)?;
    let weights = one_hot(model, class)?;
    let (scores, input) = (model.logits_layer().to_string(), model.inputs()[0].0.to_string());
    let mut slopes = |shown: &Tensor| -> Result<Tensor> {
        Ok(model.gradients(shown, &scores, &weights, &[&input])?.by.swap_remove(0).gradient)
    };
    let gradient = match explain.smooth {
        None => slopes(photo.input())?,
        Some((samples, noise, seed)) => {
            if samples == 0 || !(noise.is_finite() && noise >= 0.0) {
                let got = format!("{samples} samples, noise of {noise}");
                return Err(Error::invalid("SmoothGrad", got, "at least 1 sample, and noise from 0 on"));
            }
            let values = photo.input().as_f32()?;
            let least = values.iter().copied().fold(f32::INFINITY, f32::min);
            let most = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let deviation = noise * (most - least);
            let mut sum = vec![0.0f64; values.len()];
            for sample in 0..samples {
                let mut random = Stream::new(seed, sample as u32);
                let noisy = values.iter().map(|v| v + deviation * random.normal() as f32).collect();
                let found = slopes(&Tensor::f32(photo.input().shape().clone(), noisy)?)?;
                sum.iter_mut().zip(found.as_f32()?).for_each(|(sum, g)| *sum += f64::from(*g));
            }
            let mean = sum.iter().map(|sum| (sum / samples as f64) as f32).collect();
            Tensor::f32(photo.input().shape().clone(), mean)?
        }
    };
    let channels = gradient.shape().last();
    let largest = |pixel: &[f32]| pixel.iter().fold(0.0f32, |m, g| m.max(g.abs()));
    let values = gradient.as_f32()?.chunks(channels).map(largest).collect();
    Ok(Attribution { class, probability, layer: None, values: Tensor::f32(photo.size(), values)? })
}

/// How much each place of a layer's output speaks for a class (R. Selvaraju and others, "Grad-CAM", 2017): the sum of its channels, each times the
/// mean of the class's score's gradient by it, where that is above 0. [`grad_cam`] draws it.
///
/// # Errors
/// As there.
pub fn grad_cam_map(model: &mut Model, photo: &Photo, explain: &Explain) -> Result<Attribution> {
    let layer = match &explain.layer {
        Some(layer) => layer.clone(),
        None => last_image(model)?,
    };
    let (class, probability) = class_of(model, photo, explain)?;
    let weights = one_hot(model, class)?;
    let scores = model.logits_layer().to_string();
    let found = model.gradients(photo.input(), &scores, &weights, &[&layer])?.by.swap_remove(0);
    let &[1, h, w, c] = found.output.shape().dims() else {
        return Err(Error::invalid("output", found.output.shape(), "an image, [1, h, w, c]").at(&layer));
    };
    let mut means = vec![0.0f64; c];
    for place in found.gradient.as_f32()?.chunks(c) {
        means.iter_mut().zip(place).for_each(|(mean, g)| *mean += f64::from(*g) / (h * w) as f64);
    }
    let sum = |place: &[f32]| place.iter().zip(&means).map(|(a, mean)| f64::from(*a) * mean).sum::<f64>().max(0.0) as f32;
    let values = found.output.as_f32()?.chunks(c).map(sum).collect();
    Ok(Attribution { class, probability, layer: Some(layer), values: Tensor::f32([h, w], values)? })
}

/// The last layer before the scores whose output has more than one place.
fn last_image(model: &Model) -> Result<String> {
    let layers = model.summary().layers;
    let is_needed = ancestors(model, model.logits_layer());
    let is_image = |dims: &[usize]| matches!(*dims, [h, w, _] if h * w > 1);
    let last = (0..layers.len()).rev().find(|&i| is_needed[i] && is_image(layers[i].output.dims()));
    last.map(|i| layers[i].name.clone()).ok_or_else(|| {
        let want = "a layer with an output of several rows or columns, [h, w, c]: Grad-CAM shows where it is large";
        Error::invalid("layers", "none whose output is an image", want)
    })
}

/// A photo beside its [`saliency_map`]: bright where a small change would change the class's score most. The scale ends at the 99th percentile, since
/// a few pixels are far above all others.
///
/// # Errors
/// [`Error::Invalid`] for a network that doesn't end in a number a class, for a class that it doesn't have, and for a photo that it doesn't take;
/// [`Error::DoesNotFit`], [`Error::Gpu`], [`Error::DeviceLost`].
pub fn saliency(model: &mut Model, photo: &Photo, explain: &Explain) -> Result<RgbImage> {
    let found = saliency_map(model, photo, explain)?;
    let values = found.values.as_f32()?;
    let mut sorted = values.to_vec();
    sorted.sort_by(f32::total_cmp);
    let top = sorted.get((sorted.len() * 99).div_ceil(100).saturating_sub(1)).copied().unwrap_or(0.0);
    let how = match explain.smooth {
        Some((samples, ..)) => format!("SmoothGrad: the mean gradient of {samples} copies with noise"),
        None => "how strongly each pixel would change the score".to_string(),
    };
    // Few pixels are shown as squares, as the photo's are.
    let smooth = photo.size().into_iter().max() > Some(SMALL_PHOTO as usize);
    Panels { photo, explain, found: &found, kind: "Saliency", how, top, smooth }.draw()
}

/// A photo with its [`grad_cam_map`] over it as heat, and the heat alone. It is made for networks that end in a mean over all places; in one that is flattened
/// before a dense layer each place has weights of its own, which a mean over the places loses.
///
/// ```no_run
/// # use striate::{Device, Result, Tensor, io::onnx::Onnx, vis::{self, Explain, Photo}};
/// # fn main() -> Result<()> {
/// # let pixels = Tensor::u8([224, 224, 3], vec![0; 224 * 224 * 3])?;
/// let mut model = Onnx::read("model.onnx")?.channels_last(true).build(&Device::best()?)?;
/// let photo = Photo::new(&pixels, &[1.0 / 255.0], &[0.0])?;
/// vis::save(&vis::grad_cam(&mut model, &photo, &Explain::new())?, "why.png")?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// As for [`saliency`]; [`Error::Invalid`] also for a layer that there isn't or whose output has no rows and columns, and for a network without one that
/// has.
pub fn grad_cam(model: &mut Model, photo: &Photo, explain: &Explain) -> Result<RgbImage> {
    let found = grad_cam_map(model, photo, explain)?;
    let top = found.values.as_f32()?.iter().copied().fold(0.0, f32::max);
    let [h, w] = [0, 1].map(|axis| found.values.shape().dims()[axis]);
    let how = format!("layer {}, {h} x {w} places", found.layer.as_deref().unwrap_or_default());
    Panels { photo, explain, found: &found, kind: "Grad-CAM", how, top, smooth: true }.draw()
}

/// Photos of a data set with their [`grad_cam_map`]s over them as heat, each with its true class and the one that the network finds most probable, which the heat is for:
/// `most` photos, of each class in turn.
///
/// # Errors
/// As for [`grad_cam`]; [`Error::Invalid`] also for a data set whose samples have no class each, and for 0 photos; [`Error::File`].
pub fn grad_cam_sheet(model: &mut Model, data: &Dataset, most: usize) -> Result<RgbImage> {
    if data.labels().is_empty() {
        return Err(Error::invalid("data set", "samples without a class", "a class for each sample").at(data.name()));
    }
    if most == 0 {
        return Err(Error::invalid("photos to show", 0, "at least 1"));
    }
    let mut by_class = vec![Vec::new(); data.classes()];
    for (i, &label) in data.labels().iter().enumerate() {
        by_class[label as usize].push(i);
    }
    let longest = by_class.iter().map(Vec::len).max().unwrap_or(0);
    let in_turn = (0..longest).flat_map(|k| by_class.iter().filter_map(move |of_class| of_class.get(k)));
    let name = |class| class_name(data.class_names(), class);
    let (mut sheet, mut layer) = (Sheet::new("Grad-CAM").side(SIDE / 2), None);
    for &i in in_turn.take(most) {
        let (photo, explain) = (Photo::of(data, i)?, Explain::new());
        let found = grad_cam_map(model, &photo, &explain)?;
        let top = found.values.as_f32()?.iter().copied().fold(0.0, f32::max);
        let panels = Panels { photo: &photo, explain: &explain, found: &found, kind: "", how: String::new(), top, smooth: true };
        let [.., over] = panels.pictures()?;
        let (said, is) = (name(found.class), name(data.labels()[i] as usize));
        let title = if said == is { String::new() } else { format!("\nis {is}") };
        sheet = sheet.tile(format!("{said}, {}{title}", percent(found.probability)), over);
        layer = found.layer;
    }
    let note = format!("bright: what speaks for the class that each photo is taken for, by layer {}", layer.unwrap_or_default());
    sheet.note(note).draw()
}

/// A photo, heat over it, and the heat.
struct Panels<'a> {
    photo: &'a Photo,
    explain: &'a Explain,
    found: &'a Attribution,
    kind: &'a str,
    how: String,
    /// The number that has the lightest colour.
    top: f32,
    /// Whether the heat goes over gradually from number to number.
    smooth: bool,
}

/// Longer side of a panel, in pixels.
const SIDE: u32 = 336;
/// Longer side of the largest photo whose pixels are shown as squares.
const SMALL_PHOTO: u32 = 96;

impl Panels<'_> {
    /// The photo as large as a panel, the heat, and both.
    fn pictures(&self) -> Result<[RgbImage; 3]> {
        let photo = large(self.photo.image());
        let (w, h) = photo.dimensions();
        let [rows, columns] = [0, 1].map(|axis| self.found.values.shape().dims()[axis]);
        let top = if self.top > 0.0 { self.top } else { 1.0 };
        let values: Vec<f32> = self.found.values.as_f32()?.iter().map(|v| (v / top).min(1.0)).collect();
        let values = match self.smooth {
            true => bilinear(&values, [rows, columns], [h as usize, w as usize]),
            false => nearest(&values, [rows, columns], [h as usize, w as usize]),
        };
        let heat = coloured(&values, w as usize, |v| Scale::Viridis.colour(v));
        let over = RgbImage::from_fn(w, h, |x, y| {
            let v = values[(y * w + x) as usize];
            let (under, colour) = (photo.get_pixel(x, y).0, heat.get_pixel(x, y).0);
            let share = 0.2 + 0.5 * v;
            Rgb([0, 1, 2].map(|c| (f32::from(under[c]) * (1.0 - share) + f32::from(colour[c]) * share).round() as u8))
        });
        Ok([photo, heat, over])
    }

    fn draw(self) -> Result<RgbImage> {
        let [photo, heat, over] = self.pictures()?;
        let (w, h) = photo.dimensions();
        let ruler = Ruler::new()?;
        let width = (3 * w + 2 * 16).max(520);
        let (margin, top_of_panels) = (20i64, 100i64);
        let mut canvas = Canvas::new(width + 40, top_of_panels as u32 + h + 30 + LEGEND + 24)?;
        let name = class_name(&self.explain.names, self.found.class);
        let title = format!("{}: {name}, {}", self.kind, percent(self.found.probability));
        canvas.text(&ruler.cut(&title, TITLE, width), (margin, 30), TITLE, INK, Align::Start);
        let what = match self.top > 0.0 {
            true => self.how,
            false => format!("{}; nothing speaks for this class", self.how),
        };
        canvas.text(&ruler.cut(&what, NORMAL, width), (margin, 57), NORMAL, DIM, Align::Start);
        for (i, (label, picture)) in [("photo", &photo), ("both", &over), ("alone", &heat)].into_iter().enumerate() {
            let x = margin + i as i64 * i64::from(w + 16);
            canvas.text(label, (x, top_of_panels - 14), NORMAL, INK, Align::Start);
            canvas.frame([x, top_of_panels, w.into(), h.into()], FAINT);
            canvas.put(picture, x, top_of_panels);
        }
        let labels = [(0.0, "0".to_string()), (1.0, number(self.top))];
        canvas.legend([margin, top_of_panels + i64::from(h) + 16, 240, 14], Scale::Viridis, &labels);
        Ok(canvas.image)
    }
}

/// A photo as large as a panel: few pixels as squares.
fn large(photo: &RgbImage) -> RgbImage {
    let (w, h) = photo.dimensions();
    let longer = w.max(h).max(1);
    if longer <= SMALL_PHOTO {
        return super::sheet::fitted(photo, SIDE);
    }
    let scaled = |length: u32| ((length * SIDE) as f32 / longer as f32).round().max(1.0) as u32;
    imageops::resize(photo, scaled(w), scaled(h), FilterType::CatmullRom)
}

/// Numbers `[h, w]` at another size, each new one between the four around it; at the border the nearest.
fn bilinear(values: &[f32], [h, w]: [usize; 2], [to_h, to_w]: [usize; 2]) -> Vec<f32> {
    let place = |i: usize, n: usize, to: usize| {
        let at = ((i as f32 + 0.5) * n as f32 / to as f32 - 0.5).clamp(0.0, (n - 1) as f32);
        let first = (at as usize).min(n - 1);
        (first, (first + 1).min(n - 1), at - first as f32)
    };
    let mut out = Vec::with_capacity(to_h * to_w);
    for y in 0..to_h {
        let (y0, y1, v) = place(y, h, to_h);
        for x in 0..to_w {
            let (x0, x1, u) = place(x, w, to_w);
            let row = |y: usize| values[y * w + x0] * (1.0 - u) + values[y * w + x1] * u;
            out.push(row(y0) * (1.0 - v) + row(y1) * v);
        }
    }
    out
}

fn nearest(values: &[f32], [h, w]: [usize; 2], [to_h, to_w]: [usize; 2]) -> Vec<f32> {
    (0..to_h * to_w).map(|i| values[i / to_w * h / to_h * w + i % to_w * w / to_w]).collect()
}
