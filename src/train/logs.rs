//! Training in files: a table for spreadsheets, lines of JSON for programs.

use super::callback::{Callback, CallbackState, Context};
use super::fit::{Epoch, Validation};
use crate::error::{Error, Result};
use serde_json::{Value, json};
use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// A file that lines are added to. A run that goes on from a checkpoint cuts off what was written after it.
#[derive(Debug)]
struct LogFile {
    path: PathBuf,
    file: Option<File>,
    /// Bytes that are written.
    len: u64,
}

impl LogFile {
    fn new(path: impl AsRef<Path>) -> LogFile {
        LogFile { path: path.as_ref().to_path_buf(), file: None, len: 0 }
    }

    /// Opens the file: a new one, or what it was when the checkpoint was made. Says whether it is empty.
    fn open(&mut self, resumed: bool) -> Result<bool> {
        let open = || {
            let mut file = OpenOptions::new().create(true).write(true).truncate(false).open(&self.path)?;
            let len = if resumed { self.len.min(file.metadata()?.len()) } else { 0 };
            file.set_len(len)?;
            file.seek(SeekFrom::End(0))?;
            Ok((file, len))
        };
        let (file, len) = open().map_err(|e: std::io::Error| Error::file(&self.path, e))?;
        (self.file, self.len) = (Some(file), len);
        Ok(len == 0)
    }

    /// Adds a line. A line that can't be written is left out, with a warning: training goes on.
    fn line(&mut self, line: &str) {
        let Some(file) = &mut self.file else { return };
        let line = format!("{line}\n");
        match file.write_all(line.as_bytes()) {
            Ok(()) => self.len += line.len() as u64,
            Err(e) => {
                log::warn!("{}: {e}; a line is left out", self.path.display());
                // What was written of the line.
                let _ = file.set_len(self.len).and_then(|()| file.seek(SeekFrom::End(0)));
            }
        }
    }

    fn state(&self) -> CallbackState {
        CallbackState { text: self.len.to_string(), tensors: Vec::new() }
    }

    fn restore(&mut self, state: &CallbackState) -> Result<()> {
        let want = || Error::invalid("state of a log", &state.text, "a number of bytes");
        self.len = state.text.parse().map_err(|_| want())?;
        Ok(())
    }
}

/// A row of numbers an epoch, as Keras's `CSVLogger` writes it: epoch (from 0), steps, loss, accuracy, those of the validation set, learning
/// rate, seconds. What there isn't is left empty.
///
/// A file that is there already is replaced, unless the run goes on from a checkpoint: then rows that were written after it are cut off, and
/// the others stay. A row that can't be written is left out, with a warning.
#[derive(Debug)]
pub struct CsvLog(LogFile);

impl CsvLog {
    /// Rows in this file.
    pub fn new(path: impl AsRef<Path>) -> CsvLog {
        CsvLog(LogFile::new(path))
    }
}

impl Callback for CsvLog {
    fn on_begin(&mut self, at: &mut Context<'_>) -> Result<()> {
        if self.0.open(at.resumed)? {
            self.0.line("epoch,step,loss,accuracy,val_loss,val_accuracy,learning_rate,seconds");
        }
        Ok(())
    }

    fn on_epoch(&mut self, at: &mut Context<'_>, e: &Epoch) -> Result<()> {
        let number = |x: Option<f64>| x.filter(|x| !x.is_nan()).map(|x| x.to_string()).unwrap_or_default();
        let numbers = [Some(e.loss), Some(e.accuracy), e.val_loss, e.val_accuracy, Some(e.learning_rate), Some(e.seconds)];
        self.0.line(&format!("{},{},{}", at.epoch, e.step, numbers.map(number).join(",")));
        Ok(())
    }

    fn state(&self) -> CallbackState {
        self.0.state()
    }

    fn restore(&mut self, state: CallbackState) -> Result<()> {
        self.0.restore(&state)
    }
}

/// A line of JSON an epoch and an evaluation of the validation set, told apart by `"kind"`: `"epoch"` with the names of [`Epoch`]'s fields,
/// and `"validation"` with those of [`Validation`]. What is no finite number is `null`. For the file holds what [`CsvLog`] says.
#[derive(Debug)]
pub struct JsonLog(LogFile);

impl JsonLog {
    /// Lines in this file.
    pub fn new(path: impl AsRef<Path>) -> JsonLog {
        JsonLog(LogFile::new(path))
    }

    fn line(&mut self, value: &Value) {
        self.0.line(&value.to_string());
    }
}

impl Callback for JsonLog {
    fn on_begin(&mut self, at: &mut Context<'_>) -> Result<()> {
        self.0.open(at.resumed).map(drop)
    }

    fn on_validation(&mut self, _: &mut Context<'_>, v: &Validation) -> Result<()> {
        let line = json!({ "kind": "validation", "epoch": v.epoch, "step": v.step, "loss": v.loss, "accuracy": v.accuracy });
        self.line(&line);
        Ok(())
    }

    fn on_epoch(&mut self, at: &mut Context<'_>, e: &Epoch) -> Result<()> {
        self.line(&json!({
            "kind": "epoch",
            "epoch": at.epoch,
            "step": e.step,
            "loss": e.loss,
            "accuracy": e.accuracy,
            "val_loss": e.val_loss,
            "val_accuracy": e.val_accuracy,
            "learning_rate": e.learning_rate,
            "seconds": e.seconds,
            "images_per_second": e.images_per_second,
        }));
        Ok(())
    }

    fn state(&self) -> CallbackState {
        self.0.state()
    }

    fn restore(&mut self, state: CallbackState) -> Result<()> {
        self.0.restore(&state)
    }
}
