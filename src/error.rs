//! The one public error type of the crate.

use std::path::PathBuf;

/// What can go wrong, each with the names a user needs to find the cause: the layer or tensor, what it got, what it wants.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An argument or a shape that an op, a layer or a setting can't work with.
    #[error("{}{what}: got {got}, want {want}", prefix(.place))]
    Invalid {
        /// The layer, op or tensor at fault, outermost first (`conv2d_1`).
        place: String,
        /// The argument or property (`stride`, `input shape`).
        what: String,
        /// What was given.
        got: String,
        /// What would be right.
        want: String,
    },
    /// A file that is missing, unreadable or not of its format.
    #[error("{}: {message}", .path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong and what was expected.
        message: String,
    },
    /// No device answers to the name that was asked for.
    #[error("no device matches '{wanted}'; there are: {}", list(.available))]
    NoDevice {
        /// What was asked for.
        wanted: String,
        /// The devices of this machine.
        available: Vec<String>,
    },
    /// The device can't hold a plan; `table` says which tensors need how much.
    #[error("the plan doesn't fit on {device}: {reason}\n{table}")]
    DoesNotFit {
        /// The device.
        device: String,
        /// Which limit is exceeded, by what.
        reason: String,
        /// The largest tensors, one a line.
        table: String,
    },
    /// The GPU or its driver reported an error.
    #[error("{device}: {message}")]
    Gpu {
        /// The device.
        device: String,
        /// The driver's or wgpu's words.
        message: String,
    },
    /// The GPU is gone: unplugged, reset, or its driver restarted.
    #[error("{device} was lost: {message}")]
    DeviceLost {
        /// The device.
        device: String,
        /// The driver's words.
        message: String,
    },
    /// A network from a file has nodes that can't be run.
    #[error("{count} of the network's nodes can't be run:\n{nodes}")]
    Unsupported {
        /// How many.
        count: usize,
        /// Each one's op, name, version, what is missing and what would help, one a line.
        nodes: String,
    },
    /// Training made a NaN or an infinity.
    #[error(
        "step {step}: the first non-finite value (NaN or infinity) is in {what} of layer '{layer}'; a lower learning rate or normalised input usually helps"
    )]
    NonFinite {
        /// First layer, in network order, with a non-finite value.
        layer: String,
        /// `output`, `parameters` or `loss`.
        what: String,
        /// Training step, counted from 1.
        step: u64,
    },
    /// `STRIATE_VALIDATE` found a node whose GPU result is outside its error bound.
    #[error(
        "validation: node '{node}' ({op}), output {output}, element {element}: {device} has {got:e}, the f64 CPU {want:e}, bound {bound:e}"
    )]
    Validation {
        /// The node, named after its layer.
        node: String,
        /// Its op.
        op: String,
        /// Which output.
        output: usize,
        /// Index of the worst element.
        element: usize,
        /// The device.
        device: String,
        /// The device's value.
        got: f64,
        /// The oracle's value.
        want: f64,
        /// The largest difference allowed.
        bound: f64,
    },
}

/// `Result` with the crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An [`Error::Invalid`] without a place yet; [`Error::at`] adds it on the way up.
    pub fn invalid(what: impl Into<String>, got: impl ToString, want: impl ToString) -> Self {
        Error::Invalid { place: String::new(), what: what.into(), got: got.to_string(), want: want.to_string() }
    }

    /// An [`Error::File`].
    pub fn file(path: impl Into<PathBuf>, message: impl ToString) -> Self {
        Error::File { path: path.into(), message: message.to_string() }
    }

    /// Puts `place` (a layer, an op) before the places that the error already names.
    pub fn at(self, place: &str) -> Self {
        match self {
            Error::Invalid { place: inner, what, got, want } => {
                let place = if inner.is_empty() { place.to_string() } else { format!("{place}: {inner}") };
                Error::Invalid { place, what, got, want }
            }
            other => other,
        }
    }
}

fn prefix(place: &str) -> String {
    if place.is_empty() { String::new() } else { format!("{place}: ") }
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "none".to_string() } else { names.join(", ") }
}
