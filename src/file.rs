//! Files that are either the old ones or the new ones.

use crate::error::{Error, Result};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Writes a file under another name beside it, waits until it is on the disk, and gives it its name: whoever reads `path`, even after a
/// crash, finds all of the old file or all of the new one.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut new = PathBuf::from(path).into_os_string();
    new.push(format!(".{}.new", std::process::id()));
    let new = PathBuf::from(new);
    let write = || {
        let mut file = File::create(&new)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        drop(file);
        std::fs::rename(&new, path)
    };
    write().map_err(|e| {
        // Nothing is lost if that fails, too.
        let _ = std::fs::remove_file(&new);
        Error::file(path, e)
    })
}
