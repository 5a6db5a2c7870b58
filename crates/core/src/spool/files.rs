//! Opening and removing files: never through a symbolic link, never readable by others.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use super::SpoolError;

/// Makes a file that must not be there yet.
pub(super) fn create(path: &Path) -> Result<File, SpoolError> {
    let made = options().create_new(true).open(path);
    made.map_err(|error| SpoolError::io("create", path, error))
}

/// Opens a file for reading and writing.
pub(super) fn open(path: &Path) -> Result<File, SpoolError> {
    options().open(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => SpoolError::Gone,
        _ => SpoolError::io("open", path, error),
    })
}

/// Opens a file, or makes it.
pub(super) fn open_or_create(path: &Path) -> Result<File, SpoolError> {
    let opened = options().create(true).truncate(false).open(path);
    opened.map_err(|error| SpoolError::io("open", path, error))
}

/// A file that is gone already is fine.
pub(super) fn remove(path: &Path) -> Result<(), SpoolError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(SpoolError::io("delete", path, error))
        }
        _ => Ok(()),
    }
}

/// Makes entries of the folder survive a power cut.
pub(super) fn sync_folder(path: &Path) -> Result<(), SpoolError> {
    let synced = File::open(path).and_then(|folder| folder.sync_all());
    synced.map_err(|error| SpoolError::io("sync", path, error))
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options
        .read(true)
        .write(true)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW);
    options
}
