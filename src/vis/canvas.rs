//! A picture to draw on: areas, lines, pictures, text. Everything is worked out the same way on every machine, so bytes don't differ.

use super::colours::{DIM, INK, Scale, WHITE};
use crate::error::{Error, Result};
use ab_glyph::{Font, FontRef, Glyph, ScaleFont, point};
use image::{Rgb, RgbImage};

/// Most pixels of a picture.
const MOST_PIXELS: u64 = 120_000_000;

/// Height of a capital letter of Noto Sans, as a share of the text's size.
const CAPITAL: f32 = 0.714;

/// Which part of a text is at the place that was given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Align {
    Start,
    Middle,
    End,
}

/// A picture under the brush.
pub(super) struct Canvas {
    pub image: RgbImage,
    font: FontRef<'static>,
}

/// Text in Noto Sans (SIL Open Font License), measured and drawn.
fn font() -> Result<FontRef<'static>> {
    FontRef::try_from_slice(notosans::REGULAR_TTF).map_err(|e| Error::invalid("font", e, "Noto Sans"))
}

/// Measures text before there is a canvas.
pub(super) struct Ruler(FontRef<'static>);

impl Ruler {
    pub fn new() -> Result<Ruler> {
        Ok(Ruler(font()?))
    }

    /// Width of a line of text of this size in pixels, rounded up.
    pub fn width(&self, text: &str, size: f32) -> u32 {
        width(&self.0, text, size).ceil() as u32
    }

    /// Width of the widest of these.
    pub fn widest<'a>(&self, texts: impl IntoIterator<Item = &'a str>, size: f32) -> u32 {
        texts.into_iter().map(|text| self.width(text, size)).max().unwrap_or(0)
    }

    /// The text, or as much of its beginning as is not wider than this, with `…` behind it.
    pub fn cut(&self, text: &str, size: f32, most: u32) -> String {
        if self.width(text, size) <= most {
            return text.to_string();
        }
        let mut kept: Vec<char> = text.chars().collect();
        while !kept.is_empty() {
            kept.pop();
            let shorter: String = kept.iter().chain(&['…']).collect();
            if self.width(&shorter, size) <= most {
                return shorter;
            }
        }
        String::new()
    }

    /// The text, or as much of its end as is not wider than this, with `…` before it: names of layers differ at their ends.
    pub fn cut_front(&self, text: &str, size: f32, most: u32) -> String {
        if self.width(text, size) <= most {
            return text.to_string();
        }
        let mut rest = text.chars();
        while rest.next().is_some() {
            let shorter = format!("…{}", rest.as_str());
            if self.width(&shorter, size) <= most {
                return shorter;
            }
        }
        String::new()
    }

    /// The text in lines that are not wider than this, broken at spaces where there are any.
    pub fn wrap(&self, text: &str, size: f32, most: u32) -> Vec<String> {
        let mut lines: Vec<String> = Vec::new();
        for given in text.lines() {
            let mut line = String::new();
            for word in given.split(' ') {
                let longer = if line.is_empty() { word.to_string() } else { format!("{line} {word}") };
                if self.width(&longer, size) > most && !line.is_empty() {
                    lines.push(std::mem::replace(&mut line, word.to_string()));
                } else {
                    line = longer;
                }
            }
            lines.push(line);
        }
        lines.iter().map(|line| self.cut(line, size, most)).collect()
    }
}

/// Glyphs of a line that begins at 0 on the base line 0, and its width.
fn line(font: &FontRef<'static>, text: &str, size: f32) -> (Vec<Glyph>, f32) {
    let em = font.units_per_em().unwrap_or(1000.0);
    let scale = size * font.height_unscaled() / em;
    let scaled = font.as_scaled(scale);
    let (mut x, mut before, mut glyphs) = (0.0, None, Vec::new());
    for c in text.chars().filter(|c| !c.is_control()) {
        let id = scaled.glyph_id(c);
        if let Some(before) = before {
            x += scaled.kern(before, id);
        }
        glyphs.push(id.with_scale_and_position(scale, point(x, 0.0)));
        x += scaled.h_advance(id);
        before = Some(id);
    }
    (glyphs, x)
}

fn width(font: &FontRef<'static>, text: &str, size: f32) -> f32 {
    line(font, text, size).1
}

impl Canvas {
    /// A white picture.
    ///
    /// # Errors
    /// [`Error::Invalid`] for one that is too large.
    pub fn new(width: u32, height: u32) -> Result<Canvas> {
        if u64::from(width) * u64::from(height) > MOST_PIXELS {
            let want = format!("at most {MOST_PIXELS} pixels; show less at once");
            return Err(Error::invalid("size of the picture", format!("{width} x {height}"), want));
        }
        Ok(Canvas { image: RgbImage::from_pixel(width.max(1), height.max(1), WHITE), font: font()? })
    }

    /// Lays a colour over a pixel; nothing happens outside the picture.
    pub fn blend(&mut self, x: i64, y: i64, colour: Rgb<u8>, share: f32) {
        let (Ok(x), Ok(y)) = (u32::try_from(x), u32::try_from(y)) else { return };
        if let Some(pixel) = self.image.get_pixel_mut_checked(x, y) {
            for (under, over) in pixel.0.iter_mut().zip(colour.0) {
                *under = (f32::from(*under) * (1.0 - share) + f32::from(over) * share).round() as u8;
            }
        }
    }

    /// Fills a rectangle.
    pub fn fill(&mut self, [x, y, w, h]: [i64; 4], colour: Rgb<u8>) {
        for y in y.max(0)..(y + h).min(i64::from(self.image.height())) {
            for x in x.max(0)..(x + w).min(i64::from(self.image.width())) {
                self.image.put_pixel(x as u32, y as u32, colour);
            }
        }
    }

    /// Draws a line of one pixel around a rectangle, outside of it.
    pub fn frame(&mut self, [x, y, w, h]: [i64; 4], colour: Rgb<u8>) {
        self.fill([x - 1, y - 1, w + 2, 1], colour);
        self.fill([x - 1, y + h, w + 2, 1], colour);
        self.fill([x - 1, y, 1, h], colour);
        self.fill([x + w, y, 1, h], colour);
    }

    /// Puts a picture on this one.
    pub fn put(&mut self, picture: &RgbImage, x: i64, y: i64) {
        image::imageops::replace(&mut self.image, picture, x, y);
    }

    /// Writes a line of text of `size` pixels an em. `y` is the middle of its capital letters.
    pub fn text(&mut self, text: &str, (x, y): (i64, i64), size: f32, colour: Rgb<u8>, align: Align) {
        self.write(text, size, colour, align, |dx, dy| (x + dx, y + dy));
    }

    /// Writes a line of text from the bottom up. `x` is the middle of its capital letters, `y` where the line begins, its middle, or
    /// where it ends.
    pub fn text_up(&mut self, text: &str, (x, y): (i64, i64), size: f32, colour: Rgb<u8>, align: Align) {
        self.write(text, size, colour, align, |dx, dy| (x + dy, y - dx));
    }

    /// Width of a line of text of this size in pixels, rounded up.
    pub fn text_width(&self, text: &str, size: f32) -> u32 {
        width(&self.font, text, size).ceil() as u32
    }

    fn write(&mut self, text: &str, size: f32, colour: Rgb<u8>, align: Align, place: impl Fn(i64, i64) -> (i64, i64)) {
        let (glyphs, width) = line(&self.font, text, size);
        let start = match align {
            Align::Start => 0.0,
            Align::Middle => -width / 2.0,
            Align::End => -width,
        };
        let base = (size * CAPITAL / 2.0).round() as i64;
        for mut glyph in glyphs {
            glyph.position.x += start;
            let Some(outline) = self.font.outline_glyph(glyph) else { continue };
            let corner = outline.px_bounds().min;
            let (left, top) = (corner.x.floor() as i64, corner.y.floor() as i64 + base);
            let mut dots = Vec::new();
            outline.draw(|x, y, share| dots.push((i64::from(x), i64::from(y), share.min(1.0))));
            for (x, y, share) in dots {
                let (x, y) = place(left + x, top + y);
                self.blend(x, y, colour, share);
            }
        }
    }

    /// Draws a line with round ends.
    pub fn line(&mut self, from: (f32, f32), to: (f32, f32), width: f32, colour: Rgb<u8>) {
        let (dx, dy) = (to.0 - from.0, to.1 - from.1);
        let length = dx * dx + dy * dy;
        let reach = width / 2.0 + 1.0;
        let range = |a: f32, b: f32| (a.min(b) - reach).floor() as i64..=(a.max(b) + reach).ceil() as i64;
        for y in range(from.1, to.1) {
            for x in range(from.0, to.0) {
                let (px, py) = (x as f32 - from.0, y as f32 - from.1);
                let along = if length > 0.0 { ((px * dx + py * dy) / length).clamp(0.0, 1.0) } else { 0.0 };
                let (ox, oy) = (px - along * dx, py - along * dy);
                let share = (width / 2.0 + 0.5 - (ox * ox + oy * oy).sqrt()).clamp(0.0, 1.0);
                if share > 0.0 {
                    self.blend(x, y, colour, share);
                }
            }
        }
    }

    /// Draws a circle.
    pub fn ring(&mut self, centre: (f32, f32), radius: f32, width: f32, colour: Rgb<u8>) {
        let reach = radius + width / 2.0 + 1.0;
        let range = |middle: f32| (middle - reach).floor() as i64..=(middle + reach).ceil() as i64;
        for y in range(centre.1) {
            for x in range(centre.0) {
                let (dx, dy) = (x as f32 - centre.0, y as f32 - centre.1);
                let share = (width / 2.0 + 0.5 - ((dx * dx + dy * dy).sqrt() - radius).abs()).clamp(0.0, 1.0);
                if share > 0.0 {
                    self.blend(x, y, colour, share);
                }
            }
        }
    }

    /// Draws a scale of colours as a bar with numbers below it: what `labels` say at places of 0 to 1.
    pub fn legend(&mut self, [x, y, w, h]: [i64; 4], scale: Scale, labels: &[(f32, String)]) {
        let least = scale.least();
        for i in 0..w {
            let at = least + (1.0 - least) * (i as f32 + 0.5) / w as f32;
            self.fill([x + i, y, 1, h], scale.colour(at));
        }
        self.frame([x, y, w, h], DIM);
        for (at, label) in labels {
            let tick = x + (at * (w - 1) as f32).round() as i64;
            self.fill([tick, y + h, 1, 4], DIM);
            let align = match *at {
                a if a <= 0.0 => Align::Start,
                a if a >= 1.0 => Align::End,
                _ => Align::Middle,
            };
            self.text(label, (tick, y + h + 13), SMALL, INK, align);
        }
    }
}

/// Sizes of text in pixels an em.
pub(super) const TITLE: f32 = 20.0;
pub(super) const NORMAL: f32 = 14.0;
pub(super) const SMALL: f32 = 12.0;

/// Height of a legend with its numbers.
pub(super) const LEGEND: u32 = 34;

/// A number in three digits or so.
pub(super) fn number(v: f32) -> String {
    match v.abs() {
        _ if !v.is_finite() => format!("{v}"),
        0.0 => "0".to_string(),
        a if !(1e-3..1e5).contains(&a) => format!("{v:.1e}"),
        a => {
            let digits = (2 - a.log10().floor() as i32).clamp(0, 5) as usize;
            let text = format!("{v:.digits$}");
            if digits == 0 { text } else { text.trim_end_matches('0').trim_end_matches('.').to_string() }
        }
    }
}

/// A share as a percentage.
pub(super) fn percent(share: f32) -> String {
    let percent = 100.0 * share;
    if (99.95..100.0).contains(&percent) || (percent > 0.0 && percent < 0.05) {
        format!("{percent:.2}%")
    } else {
        format!("{percent:.1}%")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        let texts = [0.0, 1.0, -0.25, 12.345, 1234.5, 0.001_234, 1e-7, 2.5e8, f32::NAN].map(number);
        assert_eq!(texts, ["0", "1", "-0.25", "12.3", "1234", "0.00123", "1.0e-7", "2.5e8", "NaN"]);
        assert_eq!([0.5, 1.0, 0.9999, 0.0001].map(percent), ["50.0%", "100.0%", "99.99%", "0.01%"]);
    }

    #[test]
    fn text_is_cut_and_wrapped() {
        let ruler = Ruler::new().unwrap();
        let cut = ruler.cut("a very long name of a class", SMALL, 80);
        assert!(cut.ends_with('…') && ruler.width(&cut, SMALL) <= 80, "{cut}");
        assert_eq!(ruler.cut("cat", SMALL, 80), "cat");
        assert_eq!(ruler.cut("cat", SMALL, 1), "");
        let cut = ruler.cut_front("/features/block.3/conv", SMALL, 80);
        assert!(cut.starts_with('…') && cut.ends_with("/conv") && ruler.width(&cut, SMALL) <= 80, "{cut}");
        assert_eq!((ruler.cut_front("cat", SMALL, 80).as_str(), ruler.cut_front("cat", SMALL, 1).as_str()), ("cat", ""));
        let lines = ruler.wrap("true: golden retriever\nsaid: dog", SMALL, 90);
        assert!(lines.len() >= 3 && lines.iter().all(|line| ruler.width(line, SMALL) <= 90), "{lines:?}");
    }

    #[test]
    fn text_is_where_it_was_asked_for() {
        let mut canvas = Canvas::new(60, 40).unwrap();
        canvas.text("H", (30, 20), 20.0, INK, Align::Middle);
        let dark: Vec<(u32, u32)> =
            canvas.image.enumerate_pixels().filter(|(_, _, p)| p.0[0] < 128).map(|(x, y, _)| (x, y)).collect();
        let mean = |of: fn(&(u32, u32)) -> u32| dark.iter().map(of).sum::<u32>() as f32 / dark.len() as f32;
        assert!((mean(|p| p.0) - 30.0).abs() < 1.5 && (mean(|p| p.1) - 20.0).abs() < 1.5, "{dark:?}");
        // Outside the picture nothing happens.
        canvas.text("outside", (-100, 500), 20.0, INK, Align::End);
        canvas.fill([-5, -5, 3, 3], INK);
        assert!(Canvas::new(1 << 20, 1 << 20).is_err());
    }
}
