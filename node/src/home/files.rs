//! Files that are there whole or not at all, and that only their owner may read.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use super::HomeError;

/// Writes a file of mode 0600: beside it, synced, renamed, the folder synced. After a crash it holds the old or the new.
pub(crate) fn write_private(path: &Path, content: &[u8]) -> Result<(), HomeError> {
    let write = || {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(".new");
        let beside = path.with_file_name(name);
        remove_if_there(&beside)?;
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&beside, path)?;
        sync_folder(path)
    };
    write().map_err(|error| HomeError::io(path, error))
}

/// Removes a file for good; one that is not there is removed already.
pub(super) fn remove(path: &Path) -> Result<(), HomeError> {
    let remove = || {
        remove_if_there(path)?;
        sync_folder(path)
    };
    remove().map_err(|error| HomeError::io(path, error))
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn sync_folder(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}
