//! The filters of a convolution.

use super::canvas::{Align, Canvas, LEGEND, NORMAL, Ruler, SMALL, TITLE, number};
use super::colours::{DIM, INK, Scale};
use super::photo::coloured;
use super::sheet::{Sheet, enlarged};
use crate::error::{Error, Result};
use crate::nn::Model;
use crate::tensor::Tensor;
use image::{Rgb, RgbImage};

/// Most filters of a picture of colours, and of one by input channels.
const MOST: usize = 256;
const MOST_BY_CHANNEL: usize = 32;

/// The filters of a convolution, all in one scale: of the layer with this name, or of the first whose filters have several taps. Those that
/// read three channels are in colour, with grey for 0; those that read one in colours from dark blue below 0 to yellow above it; of others
/// there is a row a filter, with a picture for each channel that it reads.
///
/// ```no_run
/// # use striate::{Device, Result, Seed, nn::Sequential, vis};
/// # fn main() -> Result<()> {
/// let mut model = Sequential::new([28, 28, 1]).conv2d(32, 5).relu().flatten().dense(10).build(&Device::best()?, Seed(1))?;
/// vis::save(&vis::filters(&mut model, None)?, "filters.png")?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`Error::Invalid`] if there is no such layer or it isn't a convolution; [`Error::Gpu`], [`Error::DeviceLost`].
pub fn filters(model: &mut Model, layer: Option<&str>) -> Result<RgbImage> {
    let weights = model.weights()?;
    let convolutions: Vec<&(String, Tensor)> =
        weights.iter().filter(|(name, w)| w.shape().rank() == 4 && name.ends_with("weight")).collect();
    let layer_of = |name: &str| name.rsplit_once('/').map_or(name.to_string(), |(layer, _)| layer.to_string());
    let several_taps = |w: &Tensor| w.shape().dims()[0] * w.shape().dims()[1] > 1;
    let found = match layer {
        Some(layer) => convolutions.iter().find(|(name, _)| layer_of(name) == layer),
        None => convolutions.iter().find(|(_, w)| several_taps(w)).or(convolutions.first()),
    };
    let Some((name, w)) = found else {
        let names: Vec<String> = convolutions.iter().map(|(name, _)| layer_of(name)).collect();
        let want = if names.is_empty() { "a network with one".to_string() } else { format!("one of {}", names.join(", ")) };
        return Err(Error::invalid("convolution", layer.map_or("none".to_string(), |l| format!("'{l}'")), want));
    };
    let name = layer_of(name);
    let is_transposed = model.summary().layers.iter().any(|l| l.name == name && l.kind == "conv_transpose2d");
    let filters = Filters::new(w, is_transposed)?;
    let (n, c) = (filters.n, filters.channels);
    let title = format!("{name}: {n} filters of {} x {} x {c}", filters.taps[0], filters.taps[1]);
    match c {
        1 | 3 => filters.sheet(title),
        _ => filters.by_channel(&title),
    }
}

struct Filters {
    /// `[k_h, k_w, channels, n]`.
    values: Vec<f32>,
    taps: [usize; 2],
    channels: usize,
    n: usize,
    /// Largest magnitude, or 1.
    largest: f32,
}

impl Filters {
    fn new(w: &Tensor, is_transposed: bool) -> Result<Filters> {
        let [k_h, k_w, a, b] = w.shape().nhwc("filters")?;
        let mut values = w.as_f32()?.to_vec();
        if is_transposed {
            values = values.chunks(a * b).flat_map(|tap| (0..a * b).map(|i| tap[i % a * b + i / a])).collect();
        }
        let [channels, n] = if is_transposed { [b, a] } else { [a, b] };
        let largest = values.iter().fold(0.0f32, |m, v| m.max(v.abs()));
        let largest = if largest > 0.0 && largest.is_finite() { largest } else { 1.0 };
        Ok(Filters { values, taps: [k_h, k_w], channels, n, largest })
    }

    fn value(&self, tap: usize, channel: usize, filter: usize) -> f32 {
        self.values[(tap * self.channels + channel) * self.n + filter] / self.largest
    }

    fn limits(&self) -> Vec<(f32, String)> {
        [(0.0, -self.largest), (0.5, 0.0), (1.0, self.largest)].map(|(at, v)| (at, number(v))).into()
    }

    /// One channel of a filter.
    fn picture(&self, channel: usize, filter: usize) -> RgbImage {
        let values: Vec<f32> = (0..self.taps[0] * self.taps[1]).map(|tap| self.value(tap, channel, filter)).collect();
        coloured(&values, self.taps[1], |v| Scale::Signed.colour(v))
    }

    /// A filter of three channels.
    fn colours(&self, filter: usize) -> RgbImage {
        let width = self.taps[1] as u32;
        RgbImage::from_fn(width, self.taps[0] as u32, |x, y| {
            let level = |c| (127.5 + 127.5 * self.value((y * width + x) as usize, c, filter)).round() as u8;
            Rgb([level(0), level(1), level(2)])
        })
    }

    /// Side of a filter's picture, in pixels a tap.
    fn zoom(&self, side: usize) -> u32 {
        (side / self.taps[0].max(self.taps[1])).max(1) as u32
    }

    fn sheet(&self, title: String) -> Result<RgbImage> {
        let shown = self.n.min(MOST);
        let zoom = self.zoom(if shown > 64 { 44 } else { 66 });
        let mut notes = Vec::new();
        if shown < self.n {
            notes.push(format!("The first {shown} are shown."));
        }
        if self.channels == 3 {
            notes.push(format!("Grey is 0; full red, green or blue is {}, none of it -{0}.", number(self.largest)));
        }
        let side = zoom * self.taps[0].max(self.taps[1]) as u32;
        let mut sheet = Sheet::new(title).note(notes.join(" ")).side(side).columns(if shown > 64 { 16 } else { 8 });
        for filter in 0..shown {
            let picture = if self.channels == 3 { self.colours(filter) } else { self.picture(0, filter) };
            sheet = sheet.tile(filter.to_string(), picture);
        }
        if self.channels == 1 {
            sheet = sheet.legend(Scale::Signed, self.limits());
        }
        sheet.draw()
    }

    fn by_channel(&self, title: &str) -> Result<RgbImage> {
        let (rows, columns) = (self.n.min(MOST_BY_CHANNEL), self.channels.min(MOST_BY_CHANNEL));
        let zoom = self.zoom(24);
        let cell = [self.taps[1] as u32 * zoom, self.taps[0] as u32 * zoom].map(|side| i64::from(side + 4));
        let note = match (rows, columns) {
            (r, c) if r == self.n && c == self.channels => "A row a filter, a column a channel that it reads.".to_string(),
            _ => format!("A row a filter, a column a channel that it reads: the first {rows} filters and {columns} channels."),
        };
        let ruler = Ruler::new()?;
        let (left, top) = (62, 106);
        let widest = ruler.width(title, TITLE).max(ruler.width(&note, NORMAL)).max(280);
        let width = left + (columns as i64 * cell[0]).max(i64::from(widest)) + 20;
        let height = top + rows as i64 * cell[1] + 20 + i64::from(LEGEND) + 10;
        let mut canvas = Canvas::new(width as u32, height as u32)?;
        canvas.text(title, (20, 30), TITLE, INK, Align::Start);
        canvas.text(&note, (20, 60), NORMAL, DIM, Align::Start);
        // Numbers that would touch are left out.
        let step = |side: i64, text: i64| if side >= text { 1 } else { 4 };
        for c in (0..columns).step_by(step(cell[0], 20)) {
            let x = left + c as i64 * cell[0] + (cell[0] - 4) / 2;
            canvas.text(&c.to_string(), (x, top - 12), SMALL, DIM, Align::Middle);
        }
        for r in 0..rows {
            let y = top + r as i64 * cell[1];
            if r % step(cell[1], 15) == 0 {
                canvas.text(&r.to_string(), (left - 10, y + (cell[1] - 4) / 2), SMALL, DIM, Align::End);
            }
            for c in 0..columns {
                canvas.put(&enlarged(&self.picture(c, r), zoom), left + c as i64 * cell[0], y);
            }
        }
        canvas.legend([left, top + rows as i64 * cell[1] + 14, 240, 14], Scale::Signed, &self.limits());
        Ok(canvas.image)
    }
}
