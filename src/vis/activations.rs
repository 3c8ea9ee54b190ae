//! What layers give for a photo.

use super::canvas::{Align, Canvas, LEGEND, NORMAL, Ruler, SMALL, TITLE, number};
use super::colours::{DIM, FAINT, INK, Scale};
use super::photo::{Photo, coloured};
use super::sheet::{Sheet, fitted};
use crate::error::{Error, Result};
use crate::nn::Model;
use crate::tensor::Tensor;
use image::RgbImage;

/// Channels of a layer that the picture of all layers shows.
const CHANNELS: usize = 12;
/// Side of a channel there.
const SIDE: u32 = 72;
/// Most channels of the picture of one layer.
const MOST: usize = 256;

/// What layers give for a photo: a row a layer, with its name, shape and range, and its first channels; or, of one layer, all channels. Each layer
/// has its own scale from its first percentile, dark, to its last, light. Vectors, such as a dense layer's, are shown as rows of cells.
///
/// # Errors
/// [`Error::Invalid`] for a layer that the model doesn't have or whose output isn't `[n, h, w, c]` or `[n, c]`, and for a photo that isn't what it takes.
/// [`Error::DoesNotFit`], [`Error::Gpu`], [`Error::DeviceLost`].
pub fn activations(model: &mut Model, photo: &Photo, layer: Option<&str>) -> Result<RgbImage> {
    let outputs = model.layer_outputs(photo.input())?;
    let Some(layer) = layer else { return all(photo, &outputs) };
    let Some((name, output)) = outputs.iter().rfind(|(name, _)| name == layer) else {
        let names: Vec<&str> = outputs.iter().map(|(name, _)| name.as_str()).collect();
        return Err(Error::invalid("layer", format!("'{layer}'"), format!("one of {}", names.join(", "))));
    };
    one(name, &Maps::new(output).map_err(|e| e.at(name))?)
}

/// A layer's output for one sample.
struct Maps<'a> {
    values: &'a [f32],
    shape: Shape,
    /// As it is written: without the batch.
    dims: String,
    /// The scale's ends: the first and the last percentile.
    least: f32,
    most: f32,
    /// Its smallest and largest number.
    range: String,
}

enum Shape {
    Image([usize; 3]),
    Vector(usize),
}

impl<'a> Maps<'a> {
    fn new(output: &'a Tensor) -> Result<Maps<'a>> {
        let dims = output.shape().dims();
        let shape = match *dims {
            [1, h, w, c] => Shape::Image([h, w, c]),
            [1, c] => Shape::Vector(c),
            _ => return Err(Error::invalid("output", output.tensor_type(), "f32 [1, h, w, c] or [1, c]")),
        };
        let values = output.as_f32()?;
        let mut sorted: Vec<f32> = values.iter().copied().filter(|v| v.is_finite()).collect();
        sorted.sort_by(f32::total_cmp);
        // A few numbers far from all others would leave these one colour.
        let beyond = sorted.len() / 100;
        let at = |i: Option<usize>| i.and_then(|i| sorted.get(i)).copied().unwrap_or(0.0);
        let from_end = |i: usize| sorted.len().checked_sub(1 + i);
        let (least, most) = (at(Some(beyond)), at(from_end(beyond)));
        let range = format!("{} to {}", number(at(Some(0))), number(at(from_end(0))));
        let dims: Vec<String> = dims[1..].iter().map(usize::to_string).collect();
        Ok(Maps { values, shape, dims: dims.join(" x "), least, most, range })
    }

    /// Pixels of these values in this layer's scale.
    fn picture(&self, values: &[f32], width: usize) -> RgbImage {
        let range = if self.most > self.least { self.most - self.least } else { 1.0 };
        coloured(values, width, |v| Scale::Viridis.colour((v - self.least) / range))
    }

    fn channel(&self, [_, w, c]: [usize; 3], channel: usize) -> RgbImage {
        let values: Vec<f32> = self.values.iter().skip(channel).step_by(c).copied().collect();
        self.picture(&values, w)
    }

    fn limits(&self) -> Vec<(f32, String)> {
        vec![(0.0, number(self.least)), (1.0, number(self.most))]
    }
}

/// A vector as rows of square cells: their side, how many a row has, and how many there is room for.
fn grid(n: usize, [width, height]: [i64; 2], largest: i64) -> [i64; 3] {
    let n = n as i64;
    let side = (1..=largest).rev().find(|side| (width / side) * (height / side) >= n).unwrap_or(1);
    let columns = (width / side).min(n).max(1);
    [side, columns, n.min(columns * (height / side))]
}

/// Draws a vector; returns how much of it is shown.
fn cells(canvas: &mut Canvas, maps: &Maps<'_>, [x, y]: [i64; 2], [side, columns, shown]: [i64; 3]) -> usize {
    let picture = maps.picture(&maps.values[..shown as usize], shown as usize);
    for i in 0..shown {
        let gap = i64::from(side > 3);
        let at = [x + i % columns * side, y + i / columns * side, side - gap, side - gap];
        canvas.fill(at, *picture.get_pixel(i as u32, 0));
    }
    shown as usize
}

fn all(photo: &Photo, outputs: &[(String, Tensor)]) -> Result<RgbImage> {
    // A layer that gives what has another number of dimensions, as the parts of attention do, has no picture.
    let maps: Vec<(&str, Maps<'_>)> =
        outputs.iter().filter_map(|(name, output)| Some((name.as_str(), Maps::new(output).ok()?))).collect();
    let ruler = Ruler::new()?;
    let (label, gap) = (190u32, 6u32);
    let (left, row) = (20 + label + 16, i64::from(SIDE) + 14);
    let strip = CHANNELS as u32 * (SIDE + gap) - gap;
    let top = 78i64;
    let height = top + row * (maps.len() as i64 + 1) + i64::from(LEGEND) + 24;
    let mut canvas = Canvas::new(left + strip + 20, height as u32)?;
    canvas.text(&format!("What {} layers give", maps.len()), (20, 30), TITLE, INK, Align::Start);
    let note =
        format!("The first {CHANNELS} channels of each; each layer has its own scale, from its 1st percentile to its 99th.");
    canvas.text(&note, (20, 57), NORMAL, DIM, Align::Start);
    let [h, w] = photo.size();
    let input = fitted(photo.image(), SIDE);
    let words = |canvas: &mut Canvas, y: i64, name: &str, lines: [String; 2]| {
        let x = i64::from(20 + label);
        canvas.text(&ruler.cut_front(name, NORMAL, label), (x, y + 18), NORMAL, INK, Align::End);
        for (i, line) in lines.iter().enumerate() {
            canvas.text(&ruler.cut(line, SMALL, label), (x, y + 38 + 18 * i as i64), SMALL, DIM, Align::End);
        }
    };
    words(&mut canvas, top, "the photo", [format!("{h} x {w}"), String::new()]);
    canvas.put(&input, i64::from(left), top);
    for (i, (name, maps)) in maps.iter().enumerate() {
        let y = top + row * (i as i64 + 1);
        let (mut more, mut size) = (String::new(), maps.dims.clone());
        match maps.shape {
            Shape::Image(dims @ [_, _, c]) => {
                for channel in 0..c.min(CHANNELS) {
                    let picture = square(&maps.channel(dims, channel));
                    let x = i64::from(left) + channel as i64 * i64::from(SIDE + gap);
                    canvas.frame([x, y, picture.width().into(), picture.height().into()], FAINT);
                    canvas.put(&picture, x, y);
                }
            }
            Shape::Vector(n) => {
                let shown = cells(&mut canvas, maps, [left.into(), y], grid(n, [strip.into(), SIDE.into()], 20));
                if shown < n {
                    more = format!(", the first {shown}");
                }
            }
        }
        size.push_str(&more);
        words(&mut canvas, y, name, [size, maps.range.clone()]);
    }
    let labels = [(0.0, "small".to_string()), (1.0, "large".to_string())];
    canvas.legend([left.into(), top + row * (maps.len() as i64 + 1) + 4, 240, 14], Scale::Viridis, &labels);
    Ok(canvas.image)
}

/// A map whose longer side is that of a cell: few pixels as squares, of unequal size where the side is no multiple.
fn square(map: &RgbImage) -> RgbImage {
    let (w, h) = map.dimensions();
    let longer = w.max(h).max(1);
    if longer > SIDE {
        return fitted(map, SIDE);
    }
    let scaled = |length: u32| (length * SIDE / longer).max(1);
    let (to_w, to_h) = (scaled(w), scaled(h));
    RgbImage::from_fn(to_w, to_h, |x, y| *map.get_pixel(x * w / to_w, y * h / to_h))
}

fn one(name: &str, maps: &Maps<'_>) -> Result<RgbImage> {
    let title = format!("{name}: {}", maps.dims);
    match maps.shape {
        Shape::Image(dims @ [h, w, c]) => {
            let shown = c.min(MOST);
            let side = match shown {
                1..=16 => 192,
                17..=64 => 112,
                _ => 72,
            };
            // Whole pixels, if there is room for that.
            let side = (side / h.max(w).max(1) as u32).max(1) * h.max(w).max(1) as u32;
            let mut sheet = Sheet::new(title).side(side.min(256)).legend(Scale::Viridis, maps.limits());
            if shown < c {
                sheet = sheet.note(format!("The first {shown} channels."));
            }
            for channel in 0..shown {
                sheet = sheet.tile(channel.to_string(), maps.channel(dims, channel));
            }
            sheet.draw()
        }
        Shape::Vector(n) => {
            let grid @ [side, columns, shown] = grid(n, [960, 400], 40);
            let height = (shown + columns - 1) / columns * side;
            let mut canvas = Canvas::new(1000, (70 + height + 30) as u32 + LEGEND + 20)?;
            canvas.text(&Ruler::new()?.cut(&title, TITLE, 960), (20, 30), TITLE, INK, Align::Start);
            if cells(&mut canvas, maps, [20, 66], grid) < n {
                canvas.text(&format!("The first {shown} numbers."), (20, 54), NORMAL, DIM, Align::Start);
            }
            // A single row has room for the numbers of its cells.
            for i in (0..shown).filter(|_| shown <= columns && side >= 24) {
                canvas.text(&i.to_string(), (20 + i * side + side / 2, 66 + side + 10), SMALL, DIM, Align::Middle);
            }
            canvas.legend([20, 66 + height + 26, 240, 14], Scale::Viridis, &maps.limits());
            Ok(canvas.image)
        }
    }
}
