//! Event files for TensorBoard: records as TensorFlow frames them (`tensorflow/core/lib/io/record_writer.h`), each a message of its
//! `event.proto` and `summary.proto`.

use super::callback::{Callback, Context};
use super::fit::{Epoch, Validation};
use crate::error::{Error, Result};
use prost::Message;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use web_time::SystemTime;

/// `tensorflow.Event`.
#[derive(Message)]
struct Event {
    /// Seconds since 1970.
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(string, optional, tag = "3")]
    file_version: Option<String>,
    #[prost(message, optional, tag = "5")]
    summary: Option<Summary>,
    #[prost(message, optional, tag = "7")]
    session_log: Option<SessionLog>,
}

/// `tensorflow.Summary`.
#[derive(Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    value: Vec<Scalar>,
}

/// `tensorflow.Summary.Value`.
#[derive(Message)]
struct Scalar {
    #[prost(string, tag = "1")]
    tag: String,
    /// A `oneof`'s member is written also where it is 0.
    #[prost(float, optional, tag = "2")]
    simple_value: Option<f32>,
}

/// `tensorflow.SessionLog`.
#[derive(Message)]
struct SessionLog {
    #[prost(int32, tag = "1")]
    status: i32,
}

/// A session begins: what files before it have of this step and later ones doesn't count.
const START: i32 = 1;

/// A checksum as the format has it, so that one of data that holds checksums is one, too.
fn masked_crc(bytes: &[u8]) -> [u8; 4] {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes()
}

/// Length, its checksum, the message, its checksum.
fn record(event: &Event) -> Vec<u8> {
    let data = event.encode_to_vec();
    let len = (data.len() as u64).to_le_bytes();
    [&len[..], &masked_crc(&len), &data, &masked_crc(&data)].concat()
}

fn now() -> f64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64())
}

/// Curves in TensorBoard: loss, accuracy and learning rate of each epoch in the subfolder `train`, loss and accuracy of each evaluation of
/// the validation set in the subfolder `validation`, both by steps. `tensorboard --logdir FOLDER` shows them, several runs if FOLDER has a
/// folder for each.
///
/// Each call of `fit` writes files of its own. Those of a run that goes on from a checkpoint say that what was written after it doesn't
/// count. What can't be written is left out, with a warning.
#[derive(Debug)]
pub struct TensorBoard {
    folder: PathBuf,
    files: Option<[EventFile; 2]>,
}

#[derive(Debug)]
struct EventFile {
    path: PathBuf,
    file: File,
}

impl EventFile {
    /// Begins a file in a folder, which is made. What files before it have from `purged` on doesn't count.
    fn new(folder: &Path, purged: Option<u64>) -> Result<EventFile> {
        std::fs::create_dir_all(folder).map_err(|e| Error::file(folder, e))?;
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        // TensorBoard reads a folder's files in the order of their names.
        let name = format!("events.out.tfevents.{:010}.{:09}", since.as_secs(), since.subsec_nanos());
        let path = folder.join(name);
        let file = File::create(&path).map_err(|e| Error::file(&path, e))?;
        let mut file = EventFile { path, file };
        let version = Some("brain.Event:2".to_string());
        file.write(&Event { wall_time: now(), file_version: version, ..Event::default() });
        if let Some(step) = purged {
            let session_log = Some(SessionLog { status: START });
            file.write(&Event { wall_time: now(), step: step as i64, session_log, ..Event::default() });
        }
        Ok(file)
    }

    fn write(&mut self, event: &Event) {
        if let Err(e) = self.file.write_all(&record(event)) {
            log::warn!("{}: {e}; an event is left out", self.path.display());
        }
    }

    /// Points of curves at a step.
    fn scalars(&mut self, step: u64, values: &[(&str, f64)]) {
        let scalar = |&(tag, value): &(&str, f64)| Scalar { tag: tag.to_string(), simple_value: Some(value as f32) };
        let value = values.iter().filter(|(_, value)| !value.is_nan()).map(scalar).collect();
        self.write(&Event { wall_time: now(), step: step as i64, summary: Some(Summary { value }), ..Event::default() });
    }
}

impl TensorBoard {
    /// Files in two subfolders of this folder, which are made.
    pub fn in_folder(folder: impl AsRef<Path>) -> TensorBoard {
        TensorBoard { folder: folder.as_ref().to_path_buf(), files: None }
    }
}

impl Callback for TensorBoard {
    fn on_begin(&mut self, at: &mut Context<'_>) -> Result<()> {
        let purged = at.resumed.then_some(at.step + 1);
        let file = |name: &str| EventFile::new(&self.folder.join(name), purged);
        self.files = Some([file("train")?, file("validation")?]);
        Ok(())
    }

    fn on_validation(&mut self, _: &mut Context<'_>, v: &Validation) -> Result<()> {
        if let Some([_, file]) = &mut self.files {
            file.scalars(v.step, &[("loss", v.loss), ("accuracy", v.accuracy)]);
        }
        Ok(())
    }

    fn on_epoch(&mut self, _: &mut Context<'_>, e: &Epoch) -> Result<()> {
        if let Some([file, _]) = &mut self.files {
            file.scalars(e.step, &[("loss", e.loss), ("accuracy", e.accuracy), ("learning_rate", e.learning_rate)]);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes that TensorFlow's writer gives for the first record of every file, but for the time.
    #[test]
    fn a_record_byte_by_byte() {
        let event = Event { wall_time: 0.0, file_version: Some("brain.Event:2".to_string()), ..Event::default() };
        let bytes = record(&event);
        assert_eq!(bytes[..8], 15u64.to_le_bytes());
        assert_eq!(&bytes[12..27], b"\x1a\x0dbrain.Event:2");
        assert_eq!(bytes.len(), 31);
        // CRC-32C of "123456789" is e3069283.
        let masked = u32::from_le_bytes(masked_crc(b"123456789"));
        assert_eq!(masked.wrapping_sub(0xa282_ead8).rotate_left(15), 0xe306_9283);
    }
}
