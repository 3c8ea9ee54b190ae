//! The safetensors format: names, shapes and types as JSON, then the numbers. It can't hold code, and is checked before anything is read.

use crate::error::{Error, Result};
use crate::file;
use crate::nn::{Matching, Model};
use crate::tensor::{Data, Shape, Tensor};
use half::{bf16, f16};
use safetensors::tensor::{Dtype, SafeTensorError, SafeTensors, TensorView, serialize};
use sha2::{Digest, Sha256};
use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::path::Path;

/// The tensors of a file, by name. Numbers of 16 and 64 bits become f32, bytes and u32 stay as they are; tensors of other types, such as
/// PyTorch's counters of batches, are left out. Takes the memory of the file twice.
///
/// # Errors
/// [`Error::File`] for a file that can't be read, isn't a whole file of this format, or was changed after it was written, where it holds
/// a digest, as checkpoints do.
pub fn read_tensors(path: impl AsRef<Path>) -> Result<Vec<(String, Tensor)>> {
    let path = path.as_ref();
    let bytes = std::fs::read(path).map_err(|e| Error::file(path, e))?;
    Ok(decode(&bytes).map_err(|e| Error::file(path, e))?.tensors)
}

/// Writes tensors to a file, which is replaced once all is written.
///
/// # Errors
/// [`Error::Invalid`] for a name that comes twice; [`Error::File`].
pub fn write_tensors(path: impl AsRef<Path>, tensors: &[(String, Tensor)]) -> Result<()> {
    file::replace(path.as_ref(), &encode(tensors, None)?)
}

/// What a file holds.
#[derive(Debug)]
pub(crate) struct Contents {
    /// The tensors, by name.
    pub tensors: Vec<(String, Tensor)>,
    /// The format's metadata. Of a file that has a digest, this is what was written.
    pub texts: HashMap<String, String>,
}

impl Contents {
    /// Whether the file holds a digest, which was found to be right.
    pub fn has_digest(&self) -> bool {
        self.texts.contains_key(DIGEST)
    }
}

/// The entry of the metadata that holds the SHA-256 of the whole file, taken with zeros in its own place.
const DIGEST: &str = "sha256";

/// Hexadecimal digits of a SHA-256.
const DIGITS: usize = 64;

/// The bytes of a file with a digest, so that no bit of it can change unseen.
pub(crate) fn encode_with_digest(tensors: &[(String, Tensor)], mut texts: HashMap<String, String>) -> Result<Vec<u8>> {
    texts.insert(DIGEST.to_string(), "0".repeat(DIGITS));
    let mut bytes = encode(tensors, Some(texts))?;
    let Some(place) = digest_place(&bytes) else { unreachable!("an entry of the metadata") };
    let digest = digest(&bytes, &place);
    bytes[place].copy_from_slice(digest.as_bytes());
    Ok(bytes)
}

/// What is in a file. Fails, saying why, for bytes that aren't a whole file, or have another digest than they say.
pub(crate) fn decode(bytes: &[u8]) -> Result<Contents, String> {
    let not_whole = |e: SafeTensorError| format!("not a whole safetensors file: {e:?}");
    let texts = SafeTensors::read_metadata(bytes).map_err(not_whole)?.1.metadata().clone();
    let texts: HashMap<String, String> = texts.into_iter().flatten().collect();
    if texts.contains_key(DIGEST) {
        let is_right = digest_place(bytes).is_some_and(|place| digest(bytes, &place).as_bytes() == &bytes[place]);
        if !is_right {
            return Err("damaged: its SHA-256 isn't the one that was written into it".to_string());
        }
    }
    let file = SafeTensors::deserialize(bytes).map_err(not_whole)?;
    let mut tensors = Vec::with_capacity(file.len());
    for (name, view) in file.iter() {
        if let Some(tensor) = tensor(&view).map_err(|e| e.at(name).to_string())? {
            tensors.push((name.to_string(), tensor));
        }
    }
    tensors.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(Contents { tensors, texts })
}

/// Where the digits of the digest are. Texts in the metadata can't hold what is looked for: there quotes are escaped.
fn digest_place(bytes: &[u8]) -> Option<Range<usize>> {
    let (len, rest) = bytes.split_first_chunk()?;
    let header = rest.get(..usize::try_from(u64::from_le_bytes(*len)).ok()?)?;
    let entry = format!("\"{DIGEST}\":\"");
    let at = header.windows(entry.len()).position(|w| w == entry.as_bytes())? + len.len() + entry.len();
    (at + DIGITS <= bytes.len()).then_some(at..at + DIGITS)
}

fn digest(bytes: &[u8], place: &Range<usize>) -> String {
    sha256([&bytes[..place.start], &[b'0'; DIGITS], &bytes[place.end..]])
}

/// The SHA-256 of parts, one after the other, in hexadecimal digits.
pub(crate) fn sha256<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut hash = Sha256::new();
    parts.into_iter().for_each(|part| hash.update(part));
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn encode(tensors: &[(String, Tensor)], texts: Option<HashMap<String, String>>) -> Result<Vec<u8>> {
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
    let refused = |e: SafeTensorError| Error::invalid("tensors", format!("{e:?}"), "what a safetensors file can hold");
    let mut views = Vec::with_capacity(parts.len());
    for (name, dtype, shape, bytes) in &parts {
        views.push((name.as_str(), TensorView::new(*dtype, shape.clone(), bytes).map_err(|e| refused(e).at(name))?));
    }
    // The crate's map isn't that of `std`.
    serialize(views, texts.map(|texts| texts.into_iter().collect())).map_err(refused)
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
pub(crate) fn in_file(name: &str) -> String {
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
        let known: HashMap<String, &String> = names.iter().map(|name| (in_file(name), name)).collect();
        let renamed = |(name, tensor): (String, Tensor)| (known.get(&name).map_or(name, |&known| known.clone()), tensor);
        Ok(read_tensors(path)?.into_iter().map(renamed).collect())
    }
}
