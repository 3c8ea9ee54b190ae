//! A small data set, and folders to write to.

// Each test file is a crate of its own and uses a part of this one.
#![allow(dead_code)]

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use striate::data::Dataset;
use striate::{Tensor, op};

/// Images of 6 by 6 with 3 classes: class 0 bright on the left, 1 on the right, 2 below, with noise.
pub fn shapes(n: usize) -> Dataset {
    let noise = op::sample::normal(5, [n * 36]);
    let noise = noise.as_f32().unwrap();
    let pixel = |i: usize| {
        let (class, row, column) = (i / 36 % 3, i % 36 / 6, i % 6);
        let bright = [column < 3, column >= 3, row >= 3][class];
        0.3 * noise[i] + if bright { 1.0 } else { 0.0 }
    };
    let images = Tensor::f32([n, 6, 6, 1], (0..n * 36).map(pixel).collect()).unwrap();
    Dataset::new(images, (0..n as u32).map(|i| i % 3).collect(), 3).unwrap().named("shapes")
}

/// An empty folder, which is removed in the end.
pub struct Scratch(pub PathBuf);

impl Scratch {
    pub fn new() -> Scratch {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("striate-scratch-{}-{n}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Scratch(folder)
    }

    pub fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The names of the files, in order.
    pub fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.0).unwrap();
        let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
