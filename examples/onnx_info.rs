//! What is in an ONNX file: `onnx_info MODEL`.

#[macro_use]
mod common;

use anyhow::Context;
use clap::Parser;
use std::collections::BTreeMap;
use std::path::PathBuf;
use striate::io::onnx::{Dimension, Onnx};

/// Prints the graph of an ONNX file: inputs and outputs, nodes with their shapes, parameters, multiply-accumulates, and what can't be run.
#[derive(Parser)]
struct Arguments {
    /// The ONNX file
    model: PathBuf,
    /// The size of a dimension that has only a name in the file, other than the batch
    #[arg(long = "dim", value_name = "NAME=SIZE", value_parser = dimension)]
    dims: Vec<(String, usize)>,
    /// All nodes as the file has them, instead of the layers that they become
    #[arg(long)]
    nodes: bool,
}

fn dimension(text: &str) -> Result<(String, usize), String> {
    let (name, size) = text.split_once('=').ok_or("want NAME=SIZE, such as height=224")?;
    Ok((name.to_string(), size.parse().map_err(|_| format!("'{size}' is no size"))?))
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    common::start_logging();
    let mut onnx = Onnx::read(&arguments.model)?;
    for (name, size) in &arguments.dims {
        onnx = onnx.dimension(name, *size);
    }
    let opsets: Vec<String> =
        onnx.opsets().iter().map(|(domain, v)| format!("{domain}{}{v}", if domain.is_empty() { "" } else { " " })).collect();
    println!("file      {}", arguments.model.display());
    println!(
        "written   by {}, opset {}, IR version {}",
        if onnx.producer().is_empty() { "an unnamed program" } else { onnx.producer() },
        opsets.join(", "),
        onnx.ir_version()
    );
    for input in onnx.inputs() {
        let dims = input.dims.map_or("of any shape".to_string(), |dims| {
            let dims: Vec<String> = dims
                .iter()
                .map(|dim| match dim {
                    Dimension::Known(d) => d.to_string(),
                    Dimension::Named(name) => name.escape_debug().to_string(),
                    Dimension::Any => "?".to_string(),
                })
                .collect();
            format!("[{}]", dims.join(", "))
        });
        println!("input     {} {} {dims}", input.name.escape_debug(), input.element);
    }
    println!("outputs   {}", onnx.outputs().join(", ").escape_debug());
    println!("constants {} numbers", onnx.weights());
    let nodes = onnx.nodes().context("give the sizes of dimensions by --dim NAME=SIZE")?;
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    nodes.iter().for_each(|node| *counts.entry(&node.op).or_default() += 1);
    println!("nodes     {}", nodes.len());
    // Lines of a terminal of 80 columns.
    let mut line = String::new();
    for (op, n) in counts {
        let word = format!("  {n} {op}");
        if line.len() + word.len() > 68 {
            println!("        {line}");
            line.clear();
        }
        line += &word;
    }
    println!("        {line}");
    println!();
    if arguments.nodes {
        for node in &nodes {
            let output = node.output.as_ref().map_or("unknown".to_string(), |(element, dims)| format!("{element} {dims:?}"));
            println!("{:<24} {:<30} {output}", node.op, node.name.escape_debug());
        }
        println!();
    }
    let unsupported = onnx.unsupported()?;
    if !unsupported.is_empty() {
        println!("{} of the nodes can't be run:", unsupported.len());
        for node in &unsupported {
            println!("  {node}");
        }
        std::process::exit(1);
    }
    let nets = onnx.nets()?;
    let outputs: Vec<_> = nets.iter().map(|(_, net)| net).collect();
    let summary = striate::nn::Outputs::of(&outputs).summary()?;
    if !arguments.nodes {
        println!("{summary}");
    }
    println!("All nodes can be run. {:.1} million multiply-accumulates a sample.", summary.macs() as f64 / 1e6);
    Ok(())
}
