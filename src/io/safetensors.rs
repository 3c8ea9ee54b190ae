//! The safetensors format: names, shapes and types as JSON, then the numbers. It can't hold code, and is checked before anything is read.

use crate::error::{Error, Result};
use crate::file;
use crate::nn::{Matching, Model};
use crate::tensor::{Data, Shape, Tensor};
use half::{bf16, f16};
use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize};
use std::collections::HashSet;
use std::path::Path;

/// The tensors of a file, by name. Numbers of 16 and 64 bits become f32, bytes and u32 stay as they are; tensors of other types, such as
/// PyTorch's counters of batches, are left out. Takes the memory of the file twice.
///
/// # Errors
/// [`Error::File`] for a file that can't be read or isn't a whole file of this format.
pub fn read_tensors(path: impl AsRef<Path>) -> Result<Vec<(String, Tensor)>> {
    let path = path.as_ref();
    let bytes = std::fs::read(path).map_err(|e| Error::file(path, e))?;
    let file = SafeTensors::deserialize(&bytes).map_err(|e| Error::file(path, format!("not a whole safetensors file: {e:?}")))?;
    let mut tensors = Vec::with_capacity(file.len());
    for (name, view) in file.iter() {
        if let Some(tensor) = tensor(&view).map_err(|e| Error::file(path, e.at(name)))? {
            tensors.push((name.to_string(), tensor));
        }
    }
    tensors.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(tensors)
}

/// Writes tensors to a file, which is replaced once all is written.
///
/// # Errors
/// [`Error::Invalid`] for a name that comes twice; [`Error::File`].
pub fn write_tensors(path: impl AsRef<Path>, tensors: &[(String, Tensor)]) -> Result<()> {
    let path = path.as_ref();
    let mut names = HashSet::new();
    let mut parts = Vec::with_capacity(tensors.len());
    for (name, tensor) in tensors {
        if !names.insert(name) {
            return Err(Error::invalid("tensors", format!("'{name}' twice"), "each name once"));
        }
        let dtype = match tensor.data() {
            Data::F32(_) => Dtype::F32,
            Data::U32(_) => Dtype::U32,
            Data::U8(_) => Dtype::U8,
        };
        parts.push((name, dtype, tensor.shape().dims().to_vec(), tensor.to_le_bytes()));
    }
    let mut views = Vec::with_capacity(parts.len());
    for (name, dtype, shape, bytes) in &parts {
        let view = TensorView::new(*dtype, shape.clone(), bytes).map_err(|e| Error::file(path, format!("{name}: {e:?}")))?;
        views.push((name.as_str(), view));
    }
    let bytes = serialize(views, None).map_err(|e| Error::file(path, format!("{e:?}")))?;
    file::replace(path, &bytes)
}

/// A tensor of a file; none for types that there is no use for.
fn tensor(view: &TensorView<'_>) -> Result<Option<Tensor>> {
    fn each<const N: usize, T>(bytes: &[u8], number: impl Fn([u8; N]) -> T) -> Vec<T> {
        bytes.chunks_exact(N).filter_map(|c| c.try_into().ok()).map(number).collect()
    }
    let (bytes, shape) = (view.data(), Shape::new(view.shape()));
    Ok(Some(match view.dtype() {
        Dtype::F32 => Tensor::f32(shape, each(bytes, f32::from_le_bytes))?,
        Dtype::F64 => Tensor::f32(shape, each(bytes, |b| f64::from_le_bytes(b) as f32))?,
        Dtype::F16 => Tensor::f32(shape, each(bytes, |b| f16::from_le_bytes(b).to_f32()))?,
        Dtype::BF16 => Tensor::f32(shape, each(bytes, |b| bf16::from_le_bytes(b).to_f32()))?,
        Dtype::U32 => Tensor::u32(shape, each(bytes, u32::from_le_bytes))?,
        Dtype::U8 => Tensor::u8(shape, bytes.to_vec())?,
        _ => return Ok(None),
    }))
}

/// A weight's name in files: `conv2d_1.weight`.
fn in_file(name: &str) -> String {
    name.replace('/', ".")
}

impl Model {
    /// Writes the weights ([`Model::weights`]) to a safetensors file, named `layer.weight`. The file is replaced once all is written.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::Gpu`], [`Error::DeviceLost`].
    pub fn save(&mut self, path: impl AsRef<Path>) -> Result<()> {
        let weights: Vec<(String, Tensor)> = self.weights()?.into_iter().map(|(name, t)| (in_file(&name), t)).collect();
        write_tensors(path, &weights)
    }

    /// Reads the weights from a file that [`Model::save`] wrote.
    ///
    /// # Errors
    /// [`Error::Invalid`] unless the file has each of the model's weights, in its shape, and no others; then nothing is changed.
    /// [`Error::File`], [`Error::Gpu`], [`Error::DeviceLost`].
    pub fn load(&mut self, path: impl AsRef<Path>) -> Result<()> {
        let weights = self.read_file(path.as_ref())?;
        self.matching(&weights).complete().map_err(|e| e.at(&path.as_ref().display().to_string()))?;
        self.set_weights(&weights)
    }

    /// Reads those of the weights in a file that are the model's, and says what became of the others.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::Gpu`], [`Error::DeviceLost`]; [`Error::Invalid`] for weights that aren't floating-point numbers.
    pub fn load_matching(&mut self, path: impl AsRef<Path>) -> Result<Matching> {
        let weights = self.read_file(path.as_ref())?;
        self.set_matching_weights(&weights)
    }

    /// The tensors of a file, with the names that the model has for them.
    fn read_file(&self, path: &Path) -> Result<Vec<(String, Tensor)>> {
        let names: Vec<String> = self.weight_shapes().into_iter().map(|(name, _)| name).collect();
        let known: std::collections::HashMap<String, &String> = names.iter().map(|name| (in_file(name), name)).collect();
        let renamed = |(name, tensor): (String, Tensor)| (known.get(&name).map_or(name, |&known| known.clone()), tensor);
        Ok(read_tensors(path)?.into_iter().map(renamed).collect())
    }
}
