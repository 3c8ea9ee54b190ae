//! Pictures in a grid.

use super::canvas::{Align, Canvas, LEGEND, NORMAL, Ruler, SMALL, TITLE};
use super::colours::{DIM, FAINT, INK, Scale};
use crate::error::{Error, Result};
use image::RgbImage;
use image::imageops::{self, FilterType};

/// A contact sheet: pictures in a grid, each with a title.
///
/// ```
/// use image::RgbImage;
/// use striate::vis::Sheet;
///
/// let sheet = Sheet::new("Two greys")
///     .tile("dark", RgbImage::from_pixel(32, 32, image::Rgb([60; 3])))
///     .tile("light", RgbImage::from_pixel(32, 32, image::Rgb([190; 3])))
///     .draw()?;
/// # assert!(sheet.width() > 64);
/// # Ok::<(), striate::Error>(())
/// ```
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Sheet {
    title: String,
    note: String,
    columns: Option<usize>,
    side: Option<u32>,
    tiles: Vec<(String, RgbImage)>,
    legend: Option<(Scale, Vec<(f32, String)>)>,
}

const MARGIN: u32 = 20;
const GAP: u32 = 14;
/// Between a row and the titles of the next.
const ROW_GAP: u32 = 20;
/// Height of a line of a tile's title.
const LINE: u32 = 16;
/// Widths that tiles without a wish have, and that titles get at least where there is room.
const SIDES: [u32; 2] = [96, 256];
const TITLE_WIDTH: u32 = 210;
const LEGEND_WIDTH: u32 = 240;

impl Sheet {
    /// A sheet with this heading, which may be empty.
    pub fn new(title: impl Into<String>) -> Sheet {
        Sheet { title: title.into(), ..Sheet::default() }
    }

    /// Adds a picture; its title may have several lines.
    pub fn tile(mut self, title: impl Into<String>, picture: RgbImage) -> Sheet {
        self.tiles.push((title.into(), picture));
        self
    }

    /// A line below the heading: what the pictures show, and in which scale.
    pub fn note(mut self, note: impl Into<String>) -> Sheet {
        self.note = note.into();
        self
    }

    /// How many pictures a row has; else as many as make the sheet a little wider than high.
    pub fn columns(mut self, columns: usize) -> Sheet {
        self.columns = Some(columns);
        self
    }

    /// The side of the square in pixels that each picture is brought to: smaller ones are enlarged by a whole number, each pixel a
    /// square, larger ones are made smaller. Else that of the largest picture, within 96 to 256.
    pub fn side(mut self, side: u32) -> Sheet {
        self.side = Some(side);
        self
    }

    /// A scale of colours below the pictures, with numbers at places of it, of 0 to 1.
    pub(super) fn legend(mut self, scale: Scale, labels: Vec<(f32, String)>) -> Sheet {
        self.legend = Some((scale, labels));
        self
    }

    /// Draws the sheet.
    ///
    /// # Errors
    /// [`Error::Invalid`] without pictures, for 0 columns or a side of 0, and for more than 120 megapixels.
    pub fn draw(&self) -> Result<RgbImage> {
        let ruler = Ruler::new()?;
        let largest = self.tiles.iter().map(|(_, p)| p.width().max(p.height())).max();
        let Some(largest) = largest.filter(|&l| l > 0) else {
            return Err(Error::invalid("pictures of the sheet", "none", "at least one"));
        };
        let side = self.side.unwrap_or(largest.clamp(SIDES[0], SIDES[1]));
        if side == 0 || self.columns == Some(0) {
            return Err(Error::invalid("columns and side of the sheet", 0, "at least 1"));
        }
        let pictures: Vec<RgbImage> = self.tiles.iter().map(|(_, picture)| fitted(picture, side)).collect();
        let widest_picture = pictures.iter().map(RgbImage::width).max().unwrap_or(side);
        let lines = self.tiles.iter().flat_map(|(title, _)| title.lines());
        let cell = widest_picture.max(ruler.widest(lines, SMALL).min(TITLE_WIDTH));
        let picture_height = pictures.iter().map(RgbImage::height).max().unwrap_or(side);
        let titles: Vec<Vec<String>> = self.tiles.iter().map(|(title, _)| ruler.wrap(title, SMALL, cell)).collect();
        let title_lines = titles.iter().map(Vec::len).max().unwrap_or(0) as u32;
        let title_height = if title_lines > 0 { LINE * title_lines + 4 } else { 0 };

        let n = self.tiles.len();
        let automatic = ((n as f64 * f64::from(picture_height + title_height) * 1.4 / f64::from(cell)).sqrt().ceil() as usize)
            .clamp(1, (1500 / (cell + GAP)).max(1) as usize);
        let columns = self.columns.unwrap_or(automatic).min(n);
        let rows = n.div_ceil(columns) as u32;
        // A heading that is wider than few pictures makes the sheet wider.
        let heading = [(&self.title, TITLE), (&self.note, NORMAL)].map(|(text, size)| ruler.width(text, size).min(900));
        let grid_width = (columns as u32).saturating_mul(cell + GAP).saturating_sub(GAP);
        let width = grid_width.max(heading[0]).max(heading[1]).max(if self.legend.is_some() { LEGEND_WIDTH } else { 0 });
        let note = ruler.wrap(&self.note, NORMAL, width);
        let top = MARGIN + if self.title.is_empty() { 0 } else { 34 } + 20 * note.len() as u32;
        let top = if self.title.is_empty() && note.is_empty() { top } else { top + 6 };
        let row = title_height + picture_height + ROW_GAP;
        let bottom = top.saturating_add(rows.saturating_mul(row));
        let height = bottom.saturating_add(MARGIN).saturating_add(if self.legend.is_some() { LEGEND } else { 0 }) - ROW_GAP;
        let mut canvas = Canvas::new(width.saturating_add(2 * MARGIN), height)?;
        let left = i64::from(MARGIN);
        if !self.title.is_empty() {
            let title = ruler.cut(&self.title, TITLE, width);
            canvas.text(&title, (left, i64::from(MARGIN + 11)), TITLE, INK, Align::Start);
        }
        for (i, line) in note.iter().enumerate() {
            let y = i64::from(MARGIN) + if self.title.is_empty() { 8 } else { 42 } + 20 * i as i64;
            canvas.text(line, (left, y), NORMAL, DIM, Align::Start);
        }
        for (i, (picture, title)) in pictures.iter().zip(&titles).enumerate() {
            let x = left + (i % columns) as i64 * i64::from(cell + GAP);
            let y = i64::from(top) + (i / columns) as i64 * i64::from(row);
            for (l, line) in title.iter().enumerate() {
                canvas.text(line, (x, y + 7 + l as i64 * i64::from(LINE)), SMALL, INK, Align::Start);
            }
            let y = y + i64::from(title_height);
            canvas.frame([x, y, picture.width().into(), picture.height().into()], FAINT);
            canvas.put(picture, x, y);
        }
        if let Some((scale, labels)) = &self.legend {
            canvas.legend([left, i64::from(bottom) - 6, LEGEND_WIDTH.into(), 14], *scale, labels);
        }
        Ok(canvas.image)
    }
}

/// A contact sheet of pictures, each with its title: [`Sheet`] with the choices left to it.
///
/// # Errors
/// As for [`Sheet::draw`].
pub fn sheet(title: &str, tiles: &[(String, RgbImage)]) -> Result<RgbImage> {
    Sheet { title: title.to_string(), tiles: tiles.to_vec(), ..Sheet::default() }.draw()
}

/// The picture so that its longer side is about `side`: enlarged by a whole number, or made smaller.
pub(super) fn fitted(picture: &RgbImage, side: u32) -> RgbImage {
    let (w, h) = picture.dimensions();
    let longer = w.max(h).max(1);
    if longer <= side {
        return enlarged(picture, side / longer);
    }
    let scaled = |length: u32| ((u64::from(length) * u64::from(side) / u64::from(longer)) as u32).max(1);
    imageops::resize(picture, scaled(w), scaled(h), FilterType::Triangle)
}

/// Each pixel as a square of so many.
pub(super) fn enlarged(picture: &RgbImage, times: u32) -> RgbImage {
    let times = times.max(1);
    RgbImage::from_fn(picture.width() * times, picture.height() * times, |x, y| *picture.get_pixel(x / times, y / times))
}
