//! What is known of a network besides its numbers: which layer reads which, and what its classes are called.

use crate::nn::Model;

/// What a layer reads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Source {
    /// An input of the network.
    Input(usize),
    /// A layer before it.
    Layer(usize),
}

/// What each layer reads, in the order of [`Model::summary`].
pub(super) fn sources(model: &Model) -> Vec<Vec<Source>> {
    let layers = model.summary().layers;
    let inputs: Vec<String> = model.inputs().into_iter().map(|(name, _)| name.to_string()).collect();
    let find = |name: &str, i: usize| match layers[..i].iter().rposition(|l| l.name == name) {
        Some(layer) => Source::Layer(layer),
        None => Source::Input(inputs.iter().position(|input| input == name).unwrap_or(0)),
    };
    let of = |i: usize| match (layers[i].inputs.is_empty(), i) {
        (true, 0) => vec![Source::Input(0)],
        (true, i) => vec![Source::Layer(i - 1)],
        (false, i) => layers[i].inputs.iter().map(|name| find(name, i)).collect(),
    };
    (0..layers.len()).map(of).collect()
}

/// Which layers the last one of this name depends on; itself is one of them.
pub(super) fn ancestors(model: &Model, layer: &str) -> Vec<bool> {
    let sources = sources(model);
    let mut needed = vec![false; sources.len()];
    if let Some(last) = model.summary().layers.iter().rposition(|l| l.name == layer) {
        needed[last] = true;
    }
    // A layer comes after those that it reads.
    for i in (0..needed.len()).rev() {
        if needed[i] {
            for source in &sources[i] {
                if let Source::Layer(before) = *source {
                    needed[before] = true;
                }
            }
        }
    }
    needed
}

/// The class's name; `class 3` where it has none.
pub(super) fn class_name(names: &[String], class: usize) -> String {
    names.get(class).filter(|name| !name.is_empty()).cloned().unwrap_or_else(|| format!("class {class}"))
}
