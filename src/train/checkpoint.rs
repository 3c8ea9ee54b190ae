//! Checkpoints: when they are written, the folder that they lie in, and which of them a run goes on from.

use super::Monitor;
use super::saved::Saved;
use crate::error::{Error, Result};
use crate::file;
use std::path::{Path, PathBuf};

/// When checkpoints are written.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Every {
    Epochs(usize),
    Steps(u64),
    Seconds(f64),
}

/// Checkpoints of a training in a folder: [`Fit::checkpoints`](super::Fit::checkpoints). A checkpoint is a safetensors file,
/// `step-000001200.safetensors`, with all that training needs to go on bit for bit: parameters, running means, the optimizer's moments, the
/// average, gradients that are being summed up, the counters of the epoch, and how far it is.
///
/// A checkpoint appears in the folder as a whole or not at all, whatever happens to the program or the machine, and holds a SHA-256 over all
/// of the file, by which a single changed bit is found. If one can't be written, as on a full disk, the older ones stay and training goes on:
/// [`History::failed_checkpoints`](super::History::failed_checkpoints) counts that. Only if the first one of a call of `fit` can't be
/// written, that is an error.
///
/// ```no_run
/// # use striate::{train::{Checkpoints, Fit, Monitor, Resume}};
/// let fit = Fit::epochs(90)
///     .checkpoints(Checkpoints::in_folder("run-7").every_steps(1000).best(Monitor::ValAccuracy))
///     .resume(Resume::Latest);
/// # drop(fit);
/// ```
#[derive(Clone, PartialEq, Debug)]
pub struct Checkpoints {
    pub(super) folder: PathBuf,
    pub(super) every: Every,
    keep: usize,
    pub(super) best: Option<Monitor>,
}

impl Checkpoints {
    /// A checkpoint after every epoch, of which the last two are kept, in a folder that is made if it isn't there. Training writes one also
    /// when it ends, and when it is stopped.
    pub fn in_folder(folder: impl AsRef<Path>) -> Checkpoints {
        Checkpoints { folder: folder.as_ref().to_path_buf(), every: Every::Epochs(1), keep: 2, best: None }
    }

    /// After every so many epochs.
    pub fn every_epochs(mut self, epochs: usize) -> Checkpoints {
        self.every = Every::Epochs(epochs);
        self
    }

    /// After every so many steps, instead of epochs.
    pub fn every_steps(mut self, steps: u64) -> Checkpoints {
        self.every = Every::Steps(steps);
        self
    }

    /// After the step in which so many seconds have passed since the last one, instead of epochs.
    pub fn every_seconds(mut self, seconds: f64) -> Checkpoints {
        self.every = Every::Seconds(seconds);
        self
    }

    /// How many of the last ones are kept; 2 by default.
    pub fn keep(mut self, n: usize) -> Checkpoints {
        self.keep = n;
        self
    }

    /// Keeps the model whose `monitor` is the best so far as `best.safetensors`, for [`Model::load`](crate::nn::Model::load): its weights, or
    /// their average where [`Fit::average`](super::Fit::average) keeps one.
    pub fn best(mut self, monitor: Monitor) -> Checkpoints {
        self.best = Some(monitor);
        self
    }

    pub(super) fn check(&self) -> Result<()> {
        let at_least_1 = "at least 1";
        match self.every {
            Every::Epochs(0) => Err(Error::invalid("epochs between checkpoints", 0, at_least_1)),
            Every::Steps(0) => Err(Error::invalid("steps between checkpoints", 0, at_least_1)),
            Every::Seconds(seconds) if !(seconds >= 0.0) => {
                Err(Error::invalid("seconds between checkpoints", seconds, "0 or a positive number"))
            }
            _ if self.keep == 0 => Err(Error::invalid("checkpoints to keep", 0, at_least_1)),
            _ => Ok(()),
        }
    }
}

/// Whether training goes on from a checkpoint: [`Fit::resume`](super::Fit::resume).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Resume {
    /// It begins anew. A folder that has checkpoints already is refused, so that none is lost.
    #[default]
    Never,
    /// From the latest in the folder; anew if there is none. If the latest is damaged that is an error, which names the last whole one.
    Latest,
    /// From the latest whole one in the folder. Damaged ones that are later get a name that ends in `.damaged`, with a warning. An error if
    /// all are damaged; anew if there is none.
    LatestWhole,
}

/// What the name of a damaged checkpoint that was passed over ends in.
const DAMAGED: &str = ".damaged";
const BEST: &str = "best.safetensors";
const PREFIX: &str = "step-";
const SUFFIX: &str = ".safetensors";

/// A folder of checkpoints that training writes to.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    keep: usize,
}

/// The number of steps in the name of a checkpoint.
fn step_of(name: &str) -> Option<u64> {
    name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?.parse().ok()
}

/// Whether this is the name of a checkpoint that somebody began to write.
fn is_unfinished(name: &str) -> bool {
    let Some((name, process)) = name.strip_suffix(file::UNFINISHED).and_then(|name| name.rsplit_once('.')) else { return false };
    process.parse::<u32>().is_ok() && (name == BEST || step_of(name).is_some())
}

impl Folder {
    /// Makes the folder, and takes away what killed runs left there.
    pub fn open(settings: &Checkpoints) -> Result<Folder> {
        let path = settings.folder.clone();
        std::fs::create_dir_all(&path).map_err(|e| Error::file(&path, e))?;
        let folder = Folder { path, keep: settings.keep };
        for name in folder.names()?.iter().filter(|name| is_unfinished(name)) {
            let path = folder.path.join(name);
            std::fs::remove_file(&path).map_err(|e| Error::file(&path, e))?;
        }
        Ok(folder)
    }

    fn names(&self) -> Result<Vec<String>> {
        let fault = |e: std::io::Error| Error::file(&self.path, e);
        let names = std::fs::read_dir(&self.path).map_err(fault)?.map(|entry| entry.map(|entry| entry.file_name().into_string()));
        // A name that isn't UTF-8 is none of ours.
        Ok(names.collect::<Result<Vec<_>, _>>().map_err(fault)?.into_iter().flatten().collect())
    }

    /// The checkpoints by their steps, the first one first.
    fn list(&self) -> Result<Vec<(u64, PathBuf)>> {
        let names = self.names()?;
        let mut list: Vec<_> = names.iter().filter_map(|name| Some((step_of(name)?, self.path.join(name)))).collect();
        list.sort_unstable();
        Ok(list)
    }

    /// The checkpoint that a run goes on from, and its path.
    pub fn latest(&self, resume: Resume) -> Result<Option<(PathBuf, Saved)>> {
        let list: Vec<PathBuf> = self.list()?.into_iter().map(|(_, path)| path).rev().collect();
        let Some(latest) = list.first() else { return Ok(None) };
        if resume == Resume::Never {
            let want = "a folder without checkpoints, or `Fit::resume`";
            return Err(Error::invalid("folder of checkpoints", latest.display(), want));
        }
        let mut damaged: Vec<&PathBuf> = Vec::new();
        for path in &list {
            match Saved::read(path)? {
                Ok(saved) => {
                    for path in &damaged {
                        set_aside(path)?;
                    }
                    return Ok(Some((path.clone(), saved)));
                }
                Err(why) if resume == Resume::Latest => return Err(self.damaged(path, &why, &list[1..])),
                Err(why) => {
                    log::warn!("{}: {why}; an earlier checkpoint is looked for", path.display());
                    damaged.push(path);
                }
            }
        }
        Err(Error::file(&self.path, format!("none of the {} checkpoints is whole", list.len())))
    }

    /// The error for a damaged checkpoint, with the last whole one of those before it.
    fn damaged(&self, path: &Path, why: &str, before: &[PathBuf]) -> Error {
        let whole = before.iter().find(|path| matches!(Saved::read(path), Ok(Ok(_))));
        let help = match whole {
            Some(whole) => format!("the last whole checkpoint is {}, which `Resume::LatestWhole` goes on from", whole.display()),
            None => format!("there is no whole checkpoint in {}", self.path.display()),
        };
        Error::file(path, format!("{why}; {help}"))
    }

    /// Writes the checkpoint after so many steps, then removes those that needn't be kept.
    pub fn write(&self, step: u64, bytes: &[u8]) -> Result<()> {
        file::replace(&self.path.join(format!("{PREFIX}{step:09}{SUFFIX}")), bytes)?;
        let list = self.list()?;
        for (_, path) in &list[..list.len().saturating_sub(self.keep)] {
            if let Err(e) = std::fs::remove_file(path) {
                log::warn!("{}: {e}; a checkpoint that isn't needed any more stays", path.display());
            }
        }
        Ok(())
    }

    /// Writes the best model so far.
    pub fn write_best(&self, bytes: &[u8]) -> Result<()> {
        file::replace(&self.path.join(BEST), bytes)
    }
}

/// Takes a damaged checkpoint out of the list.
fn set_aside(path: &Path) -> Result<()> {
    let mut aside = path.as_os_str().to_os_string();
    aside.push(DAMAGED);
    std::fs::rename(path, aside).map_err(|e| Error::file(path, e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert_eq!(step_of("step-000000120.safetensors"), Some(120));
        assert_eq!(step_of("step-12345678901.safetensors"), Some(12_345_678_901));
        for other in ["best.safetensors", "step-.safetensors", "step-000000120.safetensors.7.new", "step-1.safetensors.damaged"] {
            assert_eq!(step_of(other), None, "{other}");
        }
        assert!(is_unfinished("step-000000120.safetensors.4711.new") && is_unfinished("best.safetensors.1.new"));
        for other in ["step-000000120.safetensors", "notes.1.new", "step-1.safetensors.new", "step-1.safetensors.old.new"] {
            assert!(!is_unfinished(other), "{other}");
        }
    }
}
