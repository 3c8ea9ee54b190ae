//! A network's layers as a diagram.

use super::canvas::{Ruler, SMALL};
use super::structure::{Source, sources};
use crate::error::Result;
use crate::nn::{Model, grouped};
use std::fmt::Write;

/// Sizes in pixels: of a box, of the room between boxes beside each other, from a row to the next, and of a line that passes a row.
const BOX: [f64; 2] = [204.0, 54.0];
const GAP: f64 = 22.0;
const ROW: f64 = 80.0;
const LANE: f64 = 8.0;
/// Around the diagram, and above it for the heading.
const MARGIN: f64 = 24.0;
const HEADING: f64 = 78.0;

/// How often rows are put in order and moved to where their neighbours are.
const SWEEPS: usize = 12;

/// Kinds of layers: what they are called, words that are in their names, and the colour of their boxes.
const FAMILIES: &[(&str, &[&str], &str)] = &[
    ("input", &["input"], "#ffffff"),
    ("convolution", &["conv"], "#bcd9f2"),
    ("dense", &["dense", "matmul", "gemm", "embedding"], "#d9c8ee"),
    ("pooling and sampling", &["pool", "sample", "resize", "crop", "pad"], "#f6d9a8"),
    ("normalisation", &["norm", "lrn"], "#d5ead0"),
    ("join", &["add", "concat", "mul", "sub", "max", "min"], "#f5c6c0"),
    ("other", &[""], "#ececec"),
];

fn family(kind: &str) -> usize {
    let is = |(_, words, _): &(_, &[&str], _)| words.iter().any(|word| kind.contains(word));
    FAMILIES.iter().position(is).unwrap_or(FAMILIES.len() - 1)
}

/// What a box says.
struct Words {
    name: String,
    kind: String,
    shape: String,
    parameters: usize,
    /// Indices of the boxes that it reads.
    reads: Vec<usize>,
}

/// The inputs, then the layers in order.
fn boxes(model: &Model) -> Vec<Words> {
    let dims = |dims: &[usize]| dims.iter().map(usize::to_string).collect::<Vec<_>>().join(" x ");
    let mut all = Vec::new();
    for (name, ty) in model.inputs() {
        let (name, shape) = (name.to_string(), dims(ty.shape.dims()));
        all.push(Words { name, kind: "input".to_string(), shape, parameters: 0, reads: Vec::new() });
    }
    let inputs = all.len();
    for (layer, sources) in model.summary().layers.into_iter().zip(sources(model)) {
        let place = |source: Source| match source {
            Source::Input(i) => i,
            Source::Layer(i) => inputs + i,
        };
        let mut reads: Vec<usize> = Vec::new();
        for at in sources.into_iter().map(place) {
            if !reads.contains(&at) {
                reads.push(at);
            }
        }
        let (kind, shape) = (layer.kind.to_string(), dims(layer.output.dims()));
        all.push(Words { name: layer.name, kind, shape, parameters: layer.parameters, reads });
    }
    all
}

fn parameters(n: usize) -> String {
    if n == 0 { String::new() } else { format!("{} parameters", grouped(n as u64)) }
}

/// The network as a diagram, an SVG file's text: a box a layer with its name, kind, output shape and parameters, from the input at the top down;
/// branches lie beside each other, and what skips layers passes them at the side.
///
/// ```
/// use striate::{Device, Seed, nn::Sequential, vis};
///
/// let model = Sequential::new([28, 28, 1]).conv2d(8, 3).relu().flatten().dense(10).build(&Device::cpu(), Seed(1))?;
/// let svg = vis::diagram(&model)?;
/// assert!(svg.starts_with("<svg") && svg.contains("conv2d"));
/// # Ok::<(), striate::Error>(())
/// ```
///
/// # Errors
/// None that a model can give; the text's widths are measured.
pub fn diagram(model: &Model) -> Result<String> {
    let words = boxes(model);
    let layout = Layout::new(&words.iter().map(|w| &w.reads[..]).collect::<Vec<_>>());
    let ruler = Ruler::new()?;
    let summary = model.summary();
    let used: Vec<usize> = (0..FAMILIES.len()).filter(|&f| words.iter().any(|w| family(&w.kind) == f)).collect();
    let legend: f64 = used.iter().map(|&f| f64::from(ruler.width(FAMILIES[f].0, SMALL)) + 40.0).sum();
    let width = (layout.width + 2.0 * MARGIN).max(legend + 2.0 * MARGIN).max(420.0);
    let height = HEADING + ROW * layout.rows as f64 - (ROW - BOX[1]) + MARGIN;
    let centre = (width - layout.width) / 2.0;
    let place = |cell: usize| {
        let cell = &layout.cells[cell];
        (centre + cell.x, HEADING + ROW * cell.row as f64)
    };

    let mut svg = String::new();
    let _ = writeln!(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" viewBox=\"0 0 {width:.0} {height:.0}\" \
         font-family=\"Noto Sans, Helvetica, Arial, sans-serif\" font-size=\"12\" fill=\"#191919\">"
    );
    svg.push_str("<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n");
    svg.push_str(
        "<defs><marker id=\"tip\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"7\" markerHeight=\"7\" orient=\"auto\">\
         <path d=\"M0 0L8 4L0 8z\" fill=\"#5f5f5f\"/></marker></defs>\n",
    );
    let heading = format!(
        "{} layers, {} parameters, {} multiply-accumulates an image",
        summary.layers.len(),
        grouped(summary.parameters() as u64),
        grouped(summary.macs())
    );
    let _ = writeln!(svg, "<text x=\"{MARGIN}\" y=\"30\" font-size=\"14\">{heading}</text>");
    let mut x = MARGIN;
    for &f in &used {
        let (name, _, colour) = FAMILIES[f];
        let _ = writeln!(
            svg,
            "<rect x=\"{x:.1}\" y=\"44\" width=\"14\" height=\"14\" rx=\"3\" fill=\"{colour}\" stroke=\"#5f5f5f\"/>"
        );
        let _ = writeln!(svg, "<text x=\"{:.1}\" y=\"55\">{name}</text>", x + 20.0);
        x += f64::from(ruler.width(name, SMALL)) + 40.0;
    }
    svg.push_str("<g fill=\"none\" stroke=\"#5f5f5f\" stroke-width=\"1.3\">\n");
    for line in &layout.lines {
        let (x, y) = place(line[0]);
        let _ = write!(svg, "<path d=\"M{x:.1} {:.1}", y + BOX[1]);
        for pair in line.windows(2) {
            let ((x0, y0), (x1, y1)) = (place(pair[0]), place(pair[1]));
            let (from, middle) = (y0 + BOX[1], (y0 + BOX[1] + y1) / 2.0);
            let _ = match (x0 - x1).abs() < 0.5 {
                true => write!(svg, "L{x1:.1} {y1:.1}"),
                false => write!(svg, "L{x0:.1} {from:.1}C{x0:.1} {middle:.1} {x1:.1} {middle:.1} {x1:.1} {y1:.1}"),
            };
            if !layout.is_box(pair[1]) {
                let _ = write!(svg, "L{x1:.1} {:.1}", y1 + BOX[1]);
            }
        }
        let tip = if line.last().is_some_and(|&end| layout.is_box(end)) { " marker-end=\"url(#tip)\"" } else { "" };
        let _ = writeln!(svg, "\"{tip}/>");
    }
    svg.push_str("</g>\n");
    for (i, w) in words.iter().enumerate() {
        let (x, y) = place(i);
        let (left, colour) = (x - BOX[0] / 2.0, FAMILIES[family(&w.kind)].2);
        let _ = writeln!(
            svg,
            "<g><title>{}</title><rect x=\"{left:.1}\" y=\"{y:.1}\" width=\"{}\" height=\"{}\" rx=\"6\" fill=\"{colour}\" stroke=\"#5f5f5f\"/>",
            escaped(&format!("{} ({}): {}, {} parameters", w.name, w.kind, w.shape, grouped(w.parameters as u64))),
            BOX[0],
            BOX[1]
        );
        let room = BOX[0] as u32 - 16;
        let second = if w.name == w.kind { w.shape.clone() } else { format!("{}, {}", w.kind, w.shape) };
        let lines = [
            (&w.name, " font-weight=\"bold\"", 13.0),
            (&second, "", 12.0),
            (&parameters(w.parameters), " fill=\"#5f5f5f\"", 12.0),
        ];
        // Two lines stand in the middle.
        let first = if w.parameters == 0 { 23.5 } else { 16.0 };
        for (l, (text, style, size)) in lines.iter().enumerate().filter(|(_, (text, ..))| !text.is_empty()) {
            // Bold letters are about a tenth wider.
            let text = match l {
                0 => escaped(&ruler.cut_front(text, *size * 1.1, room)),
                _ => escaped(&ruler.cut(text, *size, room)),
            };
            let y = y + first + 16.0 * l as f64;
            let _ =
                writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"middle\" font-size=\"{size}\"{style}>{text}</text>");
        }
        svg.push_str("</g>\n");
    }
    svg.push_str("</svg>\n");
    Ok(svg)
}

/// The network in the language of Graphviz: `dot -Tsvg network.dot` draws it.
pub fn diagram_dot(model: &Model) -> String {
    let mut dot =
        String::from("digraph network {\n  node [shape=box, style=\"rounded,filled\", fontname=\"sans-serif\", fontsize=11];\n");
    let words = boxes(model);
    for (i, w) in words.iter().enumerate() {
        let lines = [w.name.clone(), format!("{}, {}", w.kind, w.shape), parameters(w.parameters)];
        let label: Vec<String> =
            lines.iter().filter(|line| !line.is_empty()).map(|line| line.replace('\\', "\\\\").replace('"', "\\\"")).collect();
        let _ = writeln!(dot, "  n{i} [label=\"{}\", fillcolor=\"{}\"];", label.join("\\n"), FAMILIES[family(&w.kind)].2);
    }
    for (i, w) in words.iter().enumerate() {
        for read in &w.reads {
            let _ = writeln!(dot, "  n{read} -> n{i};");
        }
    }
    dot.push_str("}\n");
    dot
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            // XML has no others.
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

/// A box, or a place where a line passes a row (K. Sugiyama and others, 1981: rows by the longest way, order by the means of neighbours).
struct Cell {
    row: usize,
    /// Middle, from the left of the diagram.
    x: f64,
    width: f64,
    above: Vec<usize>,
    below: Vec<usize>,
}

struct Layout {
    cells: Vec<Cell>,
    boxes: usize,
    rows: usize,
    width: f64,
    /// Lines from a cell to a cell in the next row and on, to a box or to where another line goes on.
    lines: Vec<Vec<usize>>,
}

impl Layout {
    fn new(reads: &[&[usize]]) -> Layout {
        let boxes = reads.len();
        let mut cells: Vec<Cell> = Vec::with_capacity(boxes);
        for of in reads {
            let row = of.iter().map(|&i: &usize| cells[i].row + 1).max().unwrap_or(0);
            cells.push(Cell { row, x: 0.0, width: BOX[0], above: Vec::new(), below: Vec::new() });
        }
        // A box that several read far below has one line down, which they leave at their row.
        let mut lines = Vec::new();
        for from in 0..boxes {
            let mut to: Vec<usize> = (from + 1..boxes).filter(|&i| reads[i].contains(&from)).collect();
            to.sort_by_key(|&i| cells[i].row);
            let mut way = vec![from];
            for to in to {
                let first = way.len() - 1;
                while cells[from].row + way.len() < cells[to].row {
                    let (row, above) = (cells[from].row + way.len(), way[way.len() - 1]);
                    cells.push(Cell { row, x: 0.0, width: LANE, above: vec![above], below: Vec::new() });
                    let passed = cells.len() - 1;
                    cells[above].below.push(passed);
                    way.push(passed);
                }
                let last = way[cells[to].row - cells[from].row - 1];
                cells[last].below.push(to);
                cells[to].above.push(last);
                let start = first.min(cells[to].row - cells[from].row - 1);
                lines.push(way[start..cells[to].row - cells[from].row].iter().copied().chain([to]).collect());
            }
        }
        let n_rows = cells.iter().map(|c| c.row + 1).max().unwrap_or(0);
        let mut rows: Vec<Vec<usize>> = vec![Vec::new(); n_rows];
        for (i, cell) in cells.iter().enumerate() {
            rows[cell.row].push(i);
        }
        let mut layout = Layout { cells, boxes, rows: n_rows, width: 0.0, lines };
        layout.arrange(&mut rows);
        layout
    }

    fn is_box(&self, cell: usize) -> bool {
        cell < self.boxes
    }

    /// Mean of the middles of a cell's neighbours, or its own.
    fn wish(&self, cell: usize, down: bool) -> f64 {
        let cell = &self.cells[cell];
        let near = if down { &cell.above } else { &cell.below };
        if near.is_empty() { cell.x } else { near.iter().map(|&i| self.cells[i].x).sum::<f64>() / near.len() as f64 }
    }

    fn arrange(&mut self, rows: &mut [Vec<usize>]) {
        // The order first, by places in the row.
        for row in rows.iter() {
            row.iter().enumerate().for_each(|(at, &i)| self.cells[i].x = at as f64);
        }
        for sweep in 0..SWEEPS {
            let down = sweep % 2 == 0;
            for r in 0..rows.len() {
                let row = &mut rows[if down { r } else { self.rows - 1 - r }];
                let wishes: Vec<f64> = row.iter().map(|&i| self.wish(i, down)).collect();
                let mut order: Vec<usize> = (0..row.len()).collect();
                order.sort_by(|&a, &b| wishes[a].total_cmp(&wishes[b]));
                *row = order.iter().map(|&at| row[at]).collect();
                row.iter().enumerate().for_each(|(at, &i)| self.cells[i].x = at as f64);
            }
        }
        for row in rows.iter() {
            self.spread(row, &row.iter().map(|&i| self.cells[i].x * (BOX[0] + GAP)).collect::<Vec<_>>());
        }
        for sweep in 0..2 * SWEEPS {
            for r in 0..rows.len() {
                let row = &rows[if sweep % 2 == 0 { r } else { self.rows - 1 - r }];
                let wishes: Vec<f64> = row.iter().map(|&i| self.wish(i, sweep % 2 == 0)).collect();
                self.spread(row, &wishes);
            }
        }
        let edge = |of: fn(&Cell) -> f64, pick: fn(f64, f64) -> f64, start| self.cells.iter().map(of).fold(start, pick);
        let left = edge(|c| c.x - c.width / 2.0, f64::min, f64::INFINITY);
        let right = edge(|c| c.x + c.width / 2.0, f64::max, f64::NEG_INFINITY);
        self.cells.iter_mut().for_each(|c| c.x -= left);
        self.width = right - left;
    }

    /// Moves a row's cells as near as possible, in the sum of squares, to where they wish to be, in their order and without touching: neighbours that
    /// would overlap move together.
    fn spread(&mut self, row: &[usize], wishes: &[f64]) {
        // Where each cell is if the first is at 0 and all touch.
        let mut offset = 0.0;
        let mut offsets = Vec::with_capacity(row.len());
        for (at, &i) in row.iter().enumerate() {
            if at > 0 {
                offset += (self.cells[row[at - 1]].width + self.cells[i].width) / 2.0 + GAP;
            }
            offsets.push(offset);
        }
        // Groups that move together: the mean of where they begin, and how many they are.
        let mut groups: Vec<(f64, usize)> = Vec::new();
        for (wish, offset) in wishes.iter().zip(&offsets) {
            let mut group = (wish - offset, 1);
            while let Some(&(start, n)) = groups.last().filter(|(start, _)| *start > group.0) {
                group = ((start * n as f64 + group.0 * group.1 as f64) / (n + group.1) as f64, n + group.1);
                groups.pop();
            }
            groups.push(group);
        }
        let starts = groups.iter().flat_map(|&(start, n)| std::iter::repeat_n(start, n));
        for ((&i, start), offset) in row.iter().zip(starts).zip(&offsets) {
            self.cells[i].x = start + offset;
        }
    }
}
