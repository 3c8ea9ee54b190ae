//! Loss and accuracy over the epochs.

use super::canvas::{Align, Canvas, NORMAL, SMALL, TITLE, number};
use super::colours::{DIM, FAINT, INK, TRAINING, VALIDATION};
use crate::error::{Error, Result};
use crate::train::{Epoch, History};
use image::{Rgb, RgbImage};
use plotters::chart::ChartBuilder;
use plotters::coord::Shift;
use plotters::drawing::{DrawingArea, DrawingAreaErrorKind, IntoDrawingArea};
use plotters::element::{Circle, EmptyElement, Rectangle, Text};
use plotters::series::{DashedLineSeries, LineSeries};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, IntoFont, IntoTextStyle, RGBColor, ShapeStyle};
use plotters_backend::{
    BackendColor, BackendCoord, BackendStyle, BackendTextStyle, DrawingBackend, DrawingErrorKind, FontTransform,
};
use std::convert::Infallible;

/// Size of a chart.
const CHART: (u32, u32) = (620, 400);

/// The loss and, where there is one, the accuracy of each epoch of training, of the training set and, where there is one, of the validation set. The best
/// epoch is marked: of the validation set where there is one.
///
/// ```
/// use striate::train::{Epoch, History};
/// use striate::vis;
///
/// let epoch = |loss, accuracy| Epoch {
///     loss,
///     accuracy,
///     val_loss: Some(1.1 * loss),
///     val_accuracy: Some(0.9 * accuracy),
///     seconds: 1.0,
///     images_per_second: 1.0,
///     learning_rate: 0.001,
///     step: 1,
/// };
/// let history = History { epochs: vec![epoch(2.0, 0.3), epoch(1.0, 0.7)], ..History::default() };
/// let picture = vis::curves(&history)?;
/// # assert!(picture.width() > 1000);
/// # Ok::<(), striate::Error>(())
/// ```
///
/// # Errors
/// [`Error::Invalid`] for a history without a finite loss.
pub fn curves(history: &History) -> Result<RgbImage> {
    let of = |value: fn(&Epoch) -> Option<f64>| -> Vec<(f64, f64)> {
        let values = history.epochs.iter().enumerate().map(|(i, epoch)| ((i + 1) as f64, value(epoch)));
        values.filter_map(|(at, v)| Some((at, v.filter(|v| v.is_finite())?))).collect()
    };
    let loss = Chart { name: "loss", is_share: false, training: of(|e| Some(e.loss)), validation: of(|e| e.val_loss) };
    let accuracy =
        Chart { name: "accuracy", is_share: true, training: of(|e| Some(e.accuracy)), validation: of(|e| e.val_accuracy) };
    if loss.training.is_empty() && loss.validation.is_empty() {
        return Err(Error::invalid("history", format!("{} epochs without a finite loss", history.epochs.len()), "an epoch"));
    }
    let charts: Vec<&Chart> = [&loss, &accuracy].into_iter().filter(|chart| !chart.points().is_empty()).collect();
    let (width, top) = (CHART.0 * charts.len() as u32 + 20, 78);
    let mut canvas = Canvas::new(width, top + CHART.1 + 10)?;
    let epochs = history.epochs.len();
    let title = format!("Training, {epochs} epoch{}", if epochs == 1 { "" } else { "s" });
    canvas.text(&title, (20, 30), TITLE, INK, Align::Start);
    let mut x = 20.0;
    for (name, colour, is_square, there) in [
        ("training set", TRAINING, false, !loss.training.is_empty()),
        ("validation set", VALIDATION, true, !loss.validation.is_empty()),
    ] {
        if there {
            canvas.line((x, 58.0), (x + 34.0, 58.0), 2.0, colour);
            if is_square {
                canvas.fill([x as i64 + 13, 54, 8, 8], colour);
            } else {
                canvas.line((x + 17.0, 58.0), (x + 17.0, 58.0), 8.0, colour);
            }
            canvas.text(name, (x as i64 + 44, 58), NORMAL, INK, Align::Start);
            x += 170.0;
        }
    }
    for (i, chart) in charts.iter().enumerate() {
        let area = Brush(&mut canvas).into_drawing_area();
        let left = CHART.0 as i32 * i as i32 + 10;
        let area = area.shrink((left, top as i32), CHART);
        chart.draw(&area, epochs).map_err(|e| Error::invalid("curves", e, "a chart"))?;
    }
    Ok(canvas.image)
}

/// A number over the epochs, which count from 1.
struct Chart {
    name: &'static str,
    is_share: bool,
    training: Vec<(f64, f64)>,
    validation: Vec<(f64, f64)>,
}

fn plain(Rgb([r, g, b]): Rgb<u8>) -> RGBColor {
    RGBColor(r, g, b)
}

type Area<'a> = DrawingArea<Brush<'a>, Shift>;

impl Chart {
    fn points(&self) -> Vec<(f64, f64)> {
        [&self.training[..], &self.validation].concat()
    }

    /// The epoch and number of the best one, of the validation set if there is one.
    fn best(&self) -> (f64, f64) {
        let of = if self.validation.is_empty() { &self.training } else { &self.validation };
        let better = |a: f64, b: f64| if self.is_share { a > b } else { a < b };
        of.iter().copied().reduce(|best, p| if better(p.1, best.1) { p } else { best }).unwrap_or((1.0, 0.0))
    }

    fn written(&self, v: f64) -> String {
        if self.is_share { format!("{:.1}%", 100.0 * v) } else { number(v as f32) }
    }

    /// A number at the axis, of so large a range.
    fn mark(&self, v: f64, range: f64) -> String {
        match self.is_share {
            true if range < 0.08 => self.written(v),
            true => format!("{:.0}%", 100.0 * v),
            // What isn't 0 only by rounding.
            false if v.abs() < 1e-6 * range => "0".to_string(),
            false => number(v as f32),
        }
    }

    fn draw(&self, area: &Area<'_>, epochs: usize) -> Result<(), DrawingAreaErrorKind<Infallible>> {
        let points = self.points();
        let (least, most) = points.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, m), p| (l.min(p.1), m.max(p.1)));
        let room = if most > least { 0.08 * (most - least) } else { 0.1 * most.abs().max(0.1) };
        // Losses and accuracies that come near 0 or 1 show it.
        let bottom = if least >= 0.0 && least < 0.3 * most { 0.0 } else { least - room };
        let upper = if self.is_share { (most + room).min(1.02) } else { most + room };
        let x_range = if epochs > 1 { 1.0..epochs as f64 } else { 0.5..1.5 };
        let text = |size: f32, colour| ("sans-serif", size).into_font().color(&plain(colour));
        let mut chart = ChartBuilder::on(area)
            .margin_top(14)
            .margin_right(24)
            .x_label_area_size(44)
            .y_label_area_size(66)
            .build_cartesian_2d(x_range, bottom..upper)?;
        chart
            .configure_mesh()
            .max_light_lines(0)
            .bold_line_style(plain(FAINT))
            .axis_style(plain(DIM))
            .x_labels(epochs.clamp(2, 11))
            .y_labels(7)
            .x_label_formatter(&|at| if at.fract() == 0.0 { format!("{at}") } else { String::new() })
            .y_label_formatter(&|v| self.mark(*v, upper - bottom))
            .label_style(text(SMALL, INK))
            .axis_desc_style(text(NORMAL, INK))
            .x_desc("epoch")
            .y_desc(self.name)
            .draw()?;

        let (at, value) = self.best();
        chart.draw_series(DashedLineSeries::new([(at, bottom), (at, upper)], 4, 4, plain(DIM).into()))?;
        // Each epoch's own mark, as long as they don't run together.
        let marks = epochs <= 60;
        for (points, colour, is_square) in [(&self.training, TRAINING, false), (&self.validation, VALIDATION, true)] {
            let colour = plain(colour);
            chart.draw_series(LineSeries::new(points.iter().copied(), ShapeStyle::from(colour).stroke_width(2)))?;
            let shown = points.iter().copied().filter(|_| marks || points.len() == 1);
            match is_square {
                true => {
                    let mark = |p| EmptyElement::at(p) + Rectangle::new([(-3, -3), (4, 4)], colour.filled());
                    chart.draw_series(shown.map(mark))?;
                }
                false => {
                    chart.draw_series(shown.map(|p| Circle::new(p, 4, colour.filled())))?;
                }
            }
        }
        let is_late = at > 1.0 + 0.6 * (epochs as f64 - 1.0);
        let (side, gap) = if is_late { (HPos::Right, -9) } else { (HPos::Left, 9) };
        let (anchor, below) = if self.is_share { (VPos::Bottom, -6) } else { (VPos::Top, 6) };
        let label = format!("best: {} in epoch {at}", self.written(value));
        // At the far end from the curve, where accuracy is low and loss is high.
        let place = if self.is_share { bottom } else { upper };
        let style = text(SMALL, INK).into_text_style(area).pos(Pos::new(side, anchor));
        chart.draw_series([EmptyElement::at((at, place)) + Text::new(label, (gap, below), style)])?;
        chart.draw_series([Circle::new((at, value), 7, ShapeStyle::from(plain(INK)).stroke_width(2))])?;
        Ok(())
    }
}

/// Draws what plotters works out on a canvas, with the canvas's text.
struct Brush<'a>(&'a mut Canvas);

type Drawn = Result<(), DrawingErrorKind<Infallible>>;

fn rgb(colour: BackendColor) -> Rgb<u8> {
    let (r, g, b) = colour.rgb;
    Rgb([r, g, b])
}

impl DrawingBackend for Brush<'_> {
    type ErrorType = Infallible;

    fn get_size(&self) -> (u32, u32) {
        self.0.image.dimensions()
    }

    fn ensure_prepared(&mut self) -> Drawn {
        Ok(())
    }

    fn present(&mut self) -> Drawn {
        Ok(())
    }

    fn draw_pixel(&mut self, (x, y): BackendCoord, colour: BackendColor) -> Drawn {
        self.0.blend(x.into(), y.into(), rgb(colour), colour.alpha as f32);
        Ok(())
    }

    fn draw_line<S: BackendStyle>(&mut self, from: BackendCoord, to: BackendCoord, style: &S) -> Drawn {
        let [from, to] = [from, to].map(|(x, y)| (x as f32, y as f32));
        self.0.line(from, to, style.stroke_width().max(1) as f32, rgb(style.color()));
        Ok(())
    }

    fn draw_path<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(&mut self, path: I, style: &S) -> Drawn {
        let mut before = None;
        for to in path {
            if let Some(from) = before.replace(to) {
                self.draw_line(from, to, style)?;
            }
        }
        Ok(())
    }

    fn draw_circle<S: BackendStyle>(&mut self, (x, y): BackendCoord, radius: u32, style: &S, fill: bool) -> Drawn {
        let centre = (x as f32, y as f32);
        match fill {
            true => self.0.line(centre, centre, 2.0 * radius as f32, rgb(style.color())),
            false => self.0.ring(centre, radius as f32, style.stroke_width().max(1) as f32, rgb(style.color())),
        }
        Ok(())
    }

    fn draw_text<T: BackendTextStyle>(&mut self, text: &str, style: &T, (x, y): BackendCoord) -> Drawn {
        use plotters_backend::text_anchor::{HPos, VPos};
        let size = style.size() as f32;
        let anchor = style.anchor();
        let align = match anchor.h_pos {
            HPos::Left => Align::Start,
            HPos::Center => Align::Middle,
            HPos::Right => Align::End,
        };
        // A canvas wants the middle of the line.
        let down = match anchor.v_pos {
            VPos::Top => (size / 2.0) as i64,
            VPos::Center => 0,
            VPos::Bottom => -(size / 2.0) as i64,
        };
        let (x, y, colour) = (i64::from(x), i64::from(y), rgb(style.color()));
        match style.transform() {
            FontTransform::Rotate270 => self.0.text_up(text, (x + down, y), size, colour, align),
            _ => self.0.text(text, (x, y + down), size, colour, align),
        }
        Ok(())
    }

    fn estimate_text_size<T: BackendTextStyle>(&self, text: &str, style: &T) -> Result<(u32, u32), DrawingErrorKind<Infallible>> {
        let size = style.size() as f32;
        Ok((self.0.text_width(text, size), size.ceil() as u32))
    }
}
