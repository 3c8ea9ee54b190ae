//! Matrices that print well.

use striate::tensor::Window2d;

/// A matrix.
#[derive(Clone, Debug)]
pub struct Grid {
    columns: usize,
    data: Vec<f32>,
}

impl<const R: usize, const C: usize> From<[[i32; C]; R]> for Grid {
    fn from(rows: [[i32; C]; R]) -> Grid {
        Grid { columns: C, data: rows.as_flattened().iter().map(|&v| v as f32).collect() }
    }
}

impl Grid {
    pub fn zeros(rows: usize, columns: usize) -> Grid {
        Grid { columns, data: vec![0.0; rows * columns] }
    }

    pub fn new(columns: usize, data: Vec<f32>) -> Grid {
        Grid { columns, data }
    }

    pub fn rows(&self) -> usize {
        self.data.len() / self.columns
    }

    pub fn columns(&self) -> usize {
        self.columns
    }

    pub fn data(&self) -> &[f32] {
        &self.data
    }

    pub fn at(&self, row: usize, column: usize) -> f32 {
        self.data[row * self.columns + column]
    }

    pub fn set(&mut self, row: usize, column: usize, value: f32) {
        self.data[row * self.columns + column] = value;
    }

    pub fn divided_by(mut self, divisor: f32) -> Grid {
        self.data.iter_mut().for_each(|v| *v /= divisor);
        self
    }

    /// Lines of equal width, all elements with equally many decimals.
    fn lines(&self) -> Vec<String> {
        let decimals = self.data.iter().map(|&v| decimals(v)).max().unwrap_or(0);
        let text: Vec<String> = self.data.iter().map(|&v| with_decimals(v, decimals)).collect();
        let width = text.iter().map(String::len).max().unwrap_or(0);
        let row = |row: &[String]| row.iter().map(|v| format!("{v:>width$}")).collect::<Vec<_>>().join(" ");
        text.chunks(self.columns).map(row).collect()
    }
}

/// How many decimals show `v`, but for errors of single precision; at most two.
fn decimals(v: f32) -> usize {
    let whole = |v: f32| (v - v.round()).abs() <= 1e-5 * v.abs().max(1.0);
    if whole(v) {
        0
    } else if whole(v * 10.0) {
        1
    } else {
        2
    }
}

fn with_decimals(v: f32, decimals: usize) -> String {
    let text = format!("{v:.decimals$}");
    // What rounds to 0 may be negative.
    if text.trim_start_matches('-').parse() == Ok(0.0) { text.trim_start_matches('-').to_string() } else { text }
}

/// With as many decimals as it needs, at most two.
pub fn number(v: f32) -> String {
    with_decimals(v, decimals(v))
}

/// Prints matrices side by side, each under its title.
pub fn show(grids: &[(&str, &Grid)]) {
    let blocks: Vec<Vec<String>> = grids
        .iter()
        .map(|(title, grid)| {
            let mut lines = vec![title.to_string()];
            lines.extend(grid.lines());
            let width = lines.iter().map(String::len).max().unwrap_or(0);
            lines.iter().map(|line| format!("{line:width$}")).collect()
        })
        .collect();
    let height = blocks.iter().map(Vec::len).max().unwrap_or(0);
    for i in 0..height {
        let cells: Vec<String> = blocks.iter().map(|b| b.get(i).cloned().unwrap_or_else(|| " ".repeat(b[0].len()))).collect();
        println!("{}", format!("  {}", cells.join("    ")).trim_end());
    }
    println!();
}

/// Prints the products of one window, a line a row of the filter, and the sum as `map` has it at `place`.
pub fn spell(input: &Grid, filter: &Grid, window: &Window2d, place: [usize; 2], map: &Grid) {
    let Ok(placed) = window.place(input.rows(), input.columns()) else { return };
    let element = |i: usize, j: usize| {
        let row = (place[0] * window.stride[0] + i).checked_sub(placed.pad_top);
        let column = (place[1] * window.stride[1] + j).checked_sub(placed.pad_left);
        match (row, column) {
            (Some(row), Some(column)) if row < input.rows() && column < input.columns() => number(input.at(row, column)),
            // What lies in the padding is 0.
            _ => "0".to_string(),
        }
    };
    let pairs: Vec<[String; 2]> = (0..filter.rows() * filter.columns())
        .map(|k| (k / filter.columns(), k % filter.columns()))
        .map(|(i, j)| [element(i, j), number(filter.at(i, j))])
        .collect();
    let [wide_x, wide_w] = [0, 1].map(|side| pairs.iter().map(|p| p[side].len()).max().unwrap_or(0));
    for (i, row) in pairs.chunks(filter.columns()).enumerate() {
        let products: Vec<String> = row.iter().map(|[x, w]| format!("{x:>wide_x$} * {w:>wide_w$}")).collect();
        let sign = if i == 0 { ' ' } else { '+' };
        let last = i + 1 == filter.rows();
        let sum = if last { format!("  =  {}", number(map.at(place[0], place[1]))) } else { String::new() };
        println!("  {sign} {}{sum}", products.join("  +  "));
    }
    println!();
}

/// The products of two matrices' elements that aren't 0, as a sum.
pub fn products(a: &Grid, b: &Grid) -> String {
    let pairs = a.data.iter().zip(&b.data).filter(|(a, b)| **a != 0.0 && **b != 0.0);
    pairs.map(|(a, b)| format!("{}*{}", number(*a), number(*b))).collect::<Vec<_>>().join(" + ")
}
