//! Files that are either the old ones or the new ones.

use crate::error::{Error, Result};
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

/// What the name of a file ends in that isn't written to the end yet.
pub(crate) const UNFINISHED: &str = ".new";

/// Writes a file under another name beside it, waits until it is on the disk, and gives it its name: whoever reads `path`, even after a
/// crash, finds all of the old file or all of the new one. When this returns, the new one stays, even if the power fails.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut new = PathBuf::from(path).into_os_string();
    new.push(format!(".{}{UNFINISHED}", std::process::id()));
    let new = PathBuf::from(new);
    let write = || {
        let mut file = File::create(&new)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        drop(file);
        std::fs::rename(&new, path)?;
        sync_folder(path)
    };
    write().map_err(|e| {
        // Nothing is lost if that fails, too.
        let _ = std::fs::remove_file(&new);
        Error::file(path, e)
    })
}

/// Waits until the folder of `path` is on the disk as it is: the names of its files. Systems other than Unix do that by themselves, as do
/// file systems that refuse to.
fn sync_folder(path: &Path) -> std::io::Result<()> {
    if !cfg!(unix) {
        return Ok(());
    }
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match File::open(folder).and_then(|folder| folder.sync_all()) {
        Err(e) if matches!(e.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported | ErrorKind::PermissionDenied) => Ok(()),
        result => result,
    }
}
