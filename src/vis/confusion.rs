//! What classes are taken for, and the photos of which a network was most wrong.

use super::canvas::{Align, Canvas, LEGEND, NORMAL, Ruler, SMALL, TITLE, percent};
use super::colours::{DIM, FAINT, INK, Scale, ink_on};
use super::photo::Photo;
use super::sheet::Sheet;
use super::structure::class_name;
use crate::data::Dataset;
use crate::error::{Error, Result};
use crate::nn::Model;
use crate::train::ConfusionMatrix;
use image::RgbImage;

/// Width of the longest name that is written out.
const NAME: u32 = 200;

/// A confusion matrix: rows are the true classes, columns what they were taken for. A cell's colour is its share of its row, on a scale of roots, so that rare
/// classes and rare mistakes read as well as common ones; counts stand in the cells where there is room, and shares where there is more. `names` are those of the classes; without them they have numbers.
///
/// ```
/// use striate::{train::ConfusionMatrix, vis};
///
/// let found = ConfusionMatrix::of(2, [(0, 0), (0, 0), (0, 1), (1, 1)])?;
/// let picture = vis::confusion(&found, &["cat".to_string(), "dog".to_string()])?;
/// # assert!(picture.width() > 100);
/// # Ok::<(), striate::Error>(())
/// ```
///
/// # Errors
/// [`Error::Invalid`] for other names than one a class or none, and for more classes than a picture has room for.
pub fn confusion(matrix: &ConfusionMatrix, names: &[String]) -> Result<RgbImage> {
    let n = matrix.classes();
    if !names.is_empty() && names.len() != n {
        return Err(Error::invalid("names of classes", names.len(), format!("{n}, or none")));
    }
    let ruler = Ruler::new()?;
    let widest = ruler.width(&(0..n * n).map(|i| matrix.count(i / n, i % n)).max().unwrap_or(0).to_string(), SMALL) + 6;
    let (cell, named) = match n {
        0..=12 => (widest.max(68), true),
        13..=30 => (widest.max(30), true),
        31..=100 => (14, true),
        _ => ((1400 / n as u32).clamp(1, 8), false),
    };
    let names: Vec<String> = (0..n).map(|c| ruler.cut(&class_name(names, c), SMALL, NAME)).collect();
    let room = if named { ruler.widest(names.iter().map(String::as_str), SMALL) + 10 } else { 46 };
    // Names that fit stand upright above their columns.
    let upright = named && room <= cell;
    let above = if upright { 24 } else { room };
    let per_class = n <= 30;
    let (grid, side) = (cell * n as u32, if per_class { 64 } else { 0 });
    let (left, top) = (i64::from(20 + 26 + room), i64::from(20 + 62 + 26 + above));
    let width = (left as u32 + grid + side + 20).max(460);
    let mut canvas = Canvas::new(width, top as u32 + grid + side / 2 + 20 + LEGEND + 24)?;

    let total: u64 = (0..n * n).map(|i| u64::from(matrix.count(i / n, i % n))).sum();
    canvas.text("Confusion matrix", (20, 30), TITLE, INK, Align::Start);
    let right: u64 = (0..n).map(|c| u64::from(matrix.count(c, c))).sum();
    let summary = format!("{right} of {total} right, {}", percent(matrix.accuracy() as f32));
    canvas.text(&summary, (20, 57), NORMAL, DIM, Align::Start);
    let middle = i64::from(grid) / 2;
    let heading =
        |text: &str, room: i64| if i64::from(ruler.width(text, NORMAL)) <= room { text.to_string() } else { String::new() };
    canvas.text(&heading("taken for", width.into()), ((left + middle).max(left + 30), 88), NORMAL, INK, Align::Middle);
    canvas.text_up("true class", (28, top + middle.max(36)), NORMAL, INK, Align::Middle);

    // Where classes have no names, numbers of round ones.
    let step =
        if named { 1 } else { [10, 20, 50, 100, 200, 500, 1000].into_iter().find(|s| s * cell as usize >= 40).unwrap_or(5000) };
    for c in (0..n).step_by(step) {
        let at = i64::from(cell) * c as i64 + i64::from(cell) / 2;
        let name = if named { names[c].clone() } else { c.to_string() };
        canvas.text(&name, (left - 6, top + at), SMALL, INK, Align::End);
        match upright {
            true => canvas.text(&name, (left + at, top - 12), SMALL, INK, Align::Middle),
            false => canvas.text_up(&name, (left + at, top - 6), SMALL, INK, Align::Start),
        }
    }
    for row in 0..n {
        let all: u64 = (0..n).map(|c| u64::from(matrix.count(row, c))).sum();
        for column in 0..n {
            let count = matrix.count(row, column);
            let [x, y] = [column, row].map(|i| i64::from(cell) * i as i64);
            let gap = i64::from(cell > 20);
            let share = if all == 0 { 0.0 } else { (f64::from(count) / all as f64) as f32 };
            let colour = if all == 0 { FAINT } else { Scale::Viridis.colour(share.sqrt()) };
            canvas.fill([left + x, top + y, i64::from(cell) - gap, i64::from(cell) - gap], colour);
            if cell < 24 || all == 0 || (count == 0 && cell < 60) {
                continue;
            }
            let centre = (left + x + i64::from(cell) / 2, top + y + i64::from(cell) / 2);
            let ink = ink_on(colour);
            if cell >= 60 && count == 0 {
                canvas.text("0", centre, SMALL, ink, Align::Middle);
            } else if cell >= 60 {
                canvas.text(&count.to_string(), (centre.0, centre.1 - 8), NORMAL, ink, Align::Middle);
                canvas.text(&percent(share), (centre.0, centre.1 + 11), SMALL, ink, Align::Middle);
            } else {
                canvas.text(&count.to_string(), centre, SMALL, ink, Align::Middle);
            }
        }
    }
    if per_class {
        let (x, y) = (left + i64::from(grid) + 8, top + i64::from(grid) + 14);
        canvas.text("recall", (x, top - 12), SMALL, DIM, Align::Start);
        canvas.text("precision", (left - 6, y), SMALL, DIM, Align::End);
        for c in 0..n {
            let at = i64::from(cell) * c as i64 + i64::from(cell) / 2;
            let whole = |share: f64| if cell >= 60 { percent(share as f32) } else { format!("{:.0}", 100.0 * share) };
            canvas.text(&percent(matrix.recall(c) as f32), (x, top + at), SMALL, DIM, Align::Start);
            canvas.text(&whole(matrix.precision(c)), (left + at, y), SMALL, DIM, Align::Middle);
        }
    }
    // The root: a few percent of a class are seen.
    let labels = [0.0f32, 0.02, 0.1, 0.4, 1.0].map(|share| (share.sqrt(), format!("{:.0}%", 100.0 * share)));
    let (x, y) = (20.max(left.min(i64::from(width) - 400)), top + i64::from(grid + side / 2 + 14));
    canvas.legend([x, y, 240, 14], Scale::Viridis, &labels);
    canvas.text("of the true class", (x + 254, y + 7), SMALL, INK, Align::Start);
    Ok(canvas.image)
}

/// The photos of a data set with the largest losses (cross-entropy), the worst first: each with its true class, the one that the network finds most probable and how probable it
/// finds that, and its number in the data set. `most` is how many there are at most. Photos that were taken for what they are come too, where there are no
/// more mistakes, and say so.
///
/// # Errors
/// [`Error::Invalid`] for a data set whose samples have no class each, for one that the model doesn't take, and for 0 photos; [`Error::DoesNotFit`],
/// [`Error::File`], [`Error::Gpu`], [`Error::DeviceLost`].
pub fn worst_mistakes(model: &mut Model, data: &Dataset, most: usize) -> Result<RgbImage> {
    let classes = model.classes()?;
    if data.labels().is_empty() || data.classes() != classes {
        let got = format!("{} classes, {} labels", data.classes(), data.labels().len());
        return Err(Error::invalid("data set", got, format!("a class, of {classes}, for each sample")).at(data.name()));
    }
    if most == 0 {
        return Err(Error::invalid("photos to show", 0, "at least 1"));
    }
    let are_probabilities = model.ends_in_softmax();
    let outputs = model.predict_dataset(data)?;
    let mut found: Vec<Answer> = Vec::with_capacity(data.len());
    for (index, (row, &label)) in outputs.as_f32()?.chunks_exact(classes).zip(data.labels()).enumerate() {
        found.push(Answer::new(index, row, label as usize, are_probabilities));
    }
    // A NaN is the worst of all; of equals the first in the data set.
    found.sort_by(|a, b| b.loss.total_cmp(&a.loss).then(a.index.cmp(&b.index)));
    let mistakes = found.iter().filter(|a| a.said != a.label).count();
    let note = format!("{mistakes} of {} photos were taken for another class; the largest losses first.", data.len());
    let longer = data.image_shape().dims().iter().take(2).copied().max().unwrap_or(0);
    let mut sheet = Sheet::new("Worst mistakes").note(note).side((longer as u32).clamp(128, 256));
    for answer in found.iter().take(most) {
        let name = |class| class_name(data.class_names(), class);
        let said = match answer.said == answer.label {
            true => format!("right, {}", percent(answer.probability)),
            false => format!("taken for {}, {}", name(answer.said), percent(answer.probability)),
        };
        let title = format!("{}\n{said}\nphoto {}, loss {:.2}", name(answer.label), answer.index, answer.loss);
        sheet = sheet.tile(title, Photo::of(data, answer.index)?.image().clone());
    }
    sheet.draw()
}

/// What a network says of a sample.
struct Answer {
    index: usize,
    label: usize,
    said: usize,
    probability: f32,
    loss: f64,
}

impl Answer {
    fn new(index: usize, row: &[f32], label: usize, are_probabilities: bool) -> Answer {
        let said = row.iter().enumerate().fold(0, |best, (i, v)| if *v > row[best] { i } else { best });
        let largest = f64::from(row[said]);
        let sum: f64 = row.iter().map(|v| (f64::from(*v) - largest).exp()).sum();
        let (probability, loss) = match are_probabilities {
            true => (largest, -f64::from(row[label]).ln()),
            false => (1.0 / sum, sum.ln() + largest - f64::from(row[label])),
        };
        Answer { index, label, said, probability: probability as f32, loss }
    }
}
