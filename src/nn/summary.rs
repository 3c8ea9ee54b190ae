//! The table of a model's layers.

use super::parameters::{Declared, Kind};
use crate::graph::Memory;
use crate::tensor::Shape;
use std::fmt;

/// A line of a [`Summary`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LayerSummary {
    /// The layer's name.
    pub name: String,
    /// The kind of layer.
    pub kind: &'static str,
    /// Names of the layers that it reads, `input` for the network's input; empty if that is the layer on the line before.
    pub inputs: Vec<String>,
    /// Shape of its output for one sample.
    pub output: Shape,
    /// Values of its parameters and running means.
    pub parameters: usize,
    /// Floating-point operations of a forward pass on one sample; a multiply-accumulate is two.
    pub flops: u64,
    /// Multiply-accumulates with parameters of a forward pass on one sample, which is what papers count.
    pub macs: u64,
}

/// What a model is made of, and what it costs. Its `Display` is a table of 80 columns.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Summary {
    /// The layers in order.
    pub layers: Vec<LayerSummary>,
    /// Values that training changes.
    pub trainable: usize,
    /// Values that it doesn't.
    pub non_trainable: usize,
    /// Batch size of training and the device memory that it takes at most, if it was asked for.
    pub training: Option<(usize, Memory)>,
}

impl Summary {
    pub(super) fn new(declared: &[Declared], layers: Vec<LayerSummary>) -> Summary {
        let count = |trained: bool| {
            let those = declared.iter().filter(|d| (d.kind == Kind::Trained) == trained);
            those.map(|d| d.shape.elements()).sum()
        };
        Summary { layers, trainable: count(true), non_trainable: count(false), training: None }
    }

    /// Number of all parameters.
    pub fn parameters(&self) -> usize {
        self.trainable + self.non_trainable
    }

    /// Bytes of all parameters.
    pub fn bytes(&self) -> usize {
        4 * self.parameters()
    }

    /// Floating-point operations of a forward pass on one sample.
    pub fn flops(&self) -> u64 {
        self.layers.iter().map(|l| l.flops).sum()
    }

    /// Multiply-accumulates with parameters of a forward pass on one sample.
    pub fn macs(&self) -> u64 {
        self.layers.iter().map(|l| l.macs).sum()
    }
}

/// Widths of the columns: layer, output, parameters, multiply-accumulates.
const COLUMNS: [usize; 4] = [29, 23, 13, 15];
const WIDTH: usize = 80;

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        row(f, ["Layer (type)", "Output shape", "Parameters", "MACs"])?;
        writeln!(f, "{}", "=".repeat(WIDTH))?;
        for l in &self.layers {
            let shape: String = l.output.dims().iter().map(|d| format!(", {d}")).collect();
            let macs = if l.macs == 0 { String::new() } else { grouped(l.macs) };
            let name = format!("{} ({})", l.name, l.kind);
            row(f, [&name, &format!("(None{shape})"), &grouped(l.parameters as u64), &macs])?;
            if !l.inputs.is_empty() {
                writeln!(f, "{}", cut(&format!("  of {}", l.inputs.join(", ")), WIDTH))?;
            }
        }
        writeln!(f, "{}", "=".repeat(WIDTH))?;
        writeln!(f, "Parameters: {} ({})", grouped(self.parameters() as u64), binary(self.bytes() as u64))?;
        writeln!(f, "  trainable: {}", grouped(self.trainable as u64))?;
        writeln!(f, "  non-trainable: {}", grouped(self.non_trainable as u64))?;
        write!(f, "Forward pass of one sample: {} MACs, {} FLOPs", grouped(self.macs()), grouped(self.flops()))?;
        if let Some((batch, memory)) = self.training {
            write!(f, "\nTraining on batches of {batch}: {} of device memory", binary(memory.total()))?;
            write!(f, "\n  parameters and moments: {}", binary(memory.states))?;
            write!(f, "\n  activations and gradients: {}", binary(memory.total() - memory.states))?;
        }
        Ok(())
    }
}

fn row(f: &mut fmt::Formatter<'_>, cells: [&str; 4]) -> fmt::Result {
    let [a, b, c, d] = COLUMNS;
    let line = format!("{:<a$}{:<b$}{:>c$}{:>d$}", cut(cells[0], a - 1), cut(cells[1], b - 1), cells[2], cells[3]);
    writeln!(f, "{}", line.trim_end())
}

/// The text, cut to `width` characters.
pub(crate) fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width { text.to_string() } else { text.chars().take(width - 1).chain(['…']).collect() }
}

/// The digits in groups of three, as summaries have them: `61,100,840`.
pub fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() * 4 / 3);
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

fn binary(bytes: u64) -> String {
    let mut value = bytes as f64;
    let units = ["bytes", "KiB", "MiB", "GiB", "TiB"];
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} bytes") } else { format!("{value:.2} {}", units[unit]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        assert_eq!(["0", "999", "1,000", "12,345,678"], [0, 999, 1000, 12_345_678].map(grouped)[..]);
        assert_eq!((binary(1023), binary(1536)), ("1023 bytes".to_string(), "1.50 KiB".to_string()));
    }

    #[test]
    fn long_names_stay_inside_80_columns() {
        let layer = LayerSummary {
            name: "ä".repeat(100),
            kind: "conv2d",
            inputs: vec!["x".repeat(50), "y".repeat(50)],
            output: [usize::MAX / 2; 3].into(),
            parameters: 2_147_483_647,
            flops: 1,
            macs: 999_999_999_999,
        };
        let summary = Summary { layers: vec![layer], trainable: 1, non_trainable: 0, training: None };
        let text = summary.to_string();
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
    }
}
