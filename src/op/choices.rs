//! What measurements on a device found to be faster than the built-in table.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A kind of product: matmuls and convolutions of one kind share a choice.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct ProductKey {
    /// The device's main loop (`tiled`).
    pub main_loop: String,
    /// File of the operand (`operand/conv2d`).
    pub operand: String,
    /// Element type, which of A, B, C are read or written four elements at a time, the operand's constants and strides.
    pub form: String,
    /// Whole parts of the logarithms to base 2 of rows, columns of a group, summed elements, and groups.
    pub log2: [u32; 4],
}

/// How to cut a product up.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
pub struct Choice {
    /// Index among the tiles of the device's main loop; that of the built-in table if there is none.
    pub tile: Option<usize>,
    /// The sum over k is split into 2^splits times as many parts as the table would make of it, within the limits of the device. Their
    /// results take memory.
    pub splits: i8,
}

/// The choices of a device. A kind of product that isn't among them is cut up as the built-in table says.
pub type Choices = BTreeMap<ProductKey, Choice>;
