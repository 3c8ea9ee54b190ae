//! The file of measured choices: JSON, a section for each adapter, backend, driver and version of the kernels.

use crate::error::{Error, Result};
use crate::file;
use crate::op::{Choice, Choices, ProductKey};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// What a section's choices were measured on, and what they are about.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TuningKey {
    /// Name of the adapter.
    pub adapter: String,
    /// The API.
    pub backend: String,
    /// Driver and its version.
    pub driver: String,
    /// Hash of the kernels.
    pub kernels: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    striate_tuning: u32,
    devices: Vec<Section>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Section {
    #[serde(flatten)]
    key: TuningKey,
    choices: Vec<Entry>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    #[serde(flatten)]
    product: ProductKey,
    #[serde(flatten)]
    choice: Choice,
}

/// Version of the format.
const FORMAT: u32 = 1;

fn read(path: &Path) -> Result<File> {
    let text = std::fs::read_to_string(path).map_err(|e| Error::file(path, e))?;
    match serde_json::from_str::<File>(&text) {
        Ok(file) if file.striate_tuning == FORMAT => Ok(file),
        Ok(file) => Err(Error::file(path, format!("tuning of format {}, want {FORMAT}", file.striate_tuning))),
        Err(e) => Err(Error::file(path, format!("no file of tuned choices: {e}"))),
    }
}

/// The choices of a file for a device: none if it can't be read, is no such file, or has none for this device; then a warning is logged.
pub fn load_tuning(path: &Path, key: &TuningKey) -> Choices {
    let file = match read(path) {
        Ok(file) => file,
        Err(e) => {
            log::warn!("tuned choices are left out: {e}");
            return Choices::new();
        }
    };
    let Some(section) = file.devices.into_iter().find(|s| s.key == *key) else {
        log::warn!("tuned choices are left out: {} has none for {key:?}", path.display());
        return Choices::new();
    };
    let choices: Choices = section.choices.into_iter().map(|e| (e.product, e.choice)).collect();
    log::info!("{} tuned choices from {}", choices.len(), path.display());
    choices
}

/// Writes the choices of a device to a file in place of those that it has for the device; those for others stay. The file is whole at
/// all times: a new one is written beside it, and renamed.
///
/// # Errors
/// [`Error::File`] if there is a file that isn't of this format, or the new one can't be written.
pub fn save_tuning(path: &Path, key: &TuningKey, choices: &Choices) -> Result<()> {
    let mut file = if path.exists() { read(path)? } else { File { striate_tuning: FORMAT, devices: Vec::new() } };
    // What was measured with another driver or other kernels is of no use any more.
    file.devices.retain(|s| (&s.key.adapter, &s.key.backend) != (&key.adapter, &key.backend));
    let entry = |(product, choice): (&ProductKey, &Choice)| Entry { product: product.clone(), choice: *choice };
    file.devices.push(Section { key: key.clone(), choices: choices.iter().map(entry).collect() });
    let mut text = serde_json::to_string_pretty(&file).map_err(|e| Error::file(path, e))?;
    text.push('\n');
    file::replace(path, text.as_bytes())
}
