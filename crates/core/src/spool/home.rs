//! Folders: one an exporter, one a process in it, owned through a lock; what a dead process left is adopted.

use std::fs::{DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use super::{SpoolError, files, format};
use crate::id::SpanIds;
use crate::time::Clock;

/// Names an adopted home within a [`super::Spool`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct HomeKey(pub(super) u32);

/// A folder of segments, and the lock that says whose it is.
#[derive(Debug)]
pub(super) struct Home {
    path: PathBuf,
    lock: File,
    /// Whose it is: a forked child has its parent's lock as well.
    process: u32,
}

/// A lock lasts as long as anybody has the file open, as children have that were forked meanwhile: who has ended in order
/// gives it up himself, so that the next process need not wait for their ends.
impl Drop for Home {
    fn drop(&mut self) {
        if self.process == std::process::id() {
            // It ends with the last descriptor else.
            let _ = self.lock.unlock();
        }
    }
}

/// What is not the folder of a process.
const QUARANTINE: &str = "quarantine";
const LOCK: &str = "lock";
/// Hidden until it is locked, so that nobody adopts it in between.
const UNFINISHED: &str = ".new-";
/// Files in quarantine; older ones make room.
const MAX_QUARANTINED: usize = 8;

/// The folder of `exporter`'s spools, made if need be.
pub(super) fn exporter_dir(dir: &Path, exporter: &str) -> Result<PathBuf, SpoolError> {
    let path = dir.join(folder_name(exporter));
    let made = DirBuilder::new().recursive(true).mode(0o700).create(&path);
    made.map_err(|error| SpoolError::io("create", &path, error))?;
    check_safe(&path)?;
    files::sync_folder(dir)?;
    Ok(path)
}

/// Letters, digits, `-` and `_` as they are; the rest as `%XX`.
fn folder_name(exporter: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let escaped = exporter.bytes().map(|byte| {
        if plain(byte) {
            char::from(byte).to_string()
        } else {
            format!("%{byte:02X}")
        }
    });
    escaped.collect()
}

/// Refuses folders that others own or can write to: they could put payloads in, or read ours.
fn check_safe(path: &Path) -> Result<(), SpoolError> {
    let found =
        std::fs::symlink_metadata(path).map_err(|error| SpoolError::io("look at", path, error))?;
    let problem = if !found.is_dir() {
        "it is no folder"
    } else if found.uid() != rustix::process::geteuid().as_raw() {
        "it belongs to another user"
    } else if found.mode() & 0o022 != 0 {
        "other users can write to it"
    } else {
        return Ok(());
    };
    Err(SpoolError::Unsafe {
        path: path.to_owned(),
        problem,
    })
}

/// True when some dead process left segments for some exporter.
pub(super) fn has_backlog(dir: &Path) -> bool {
    folders(dir).iter().any(|exporter| {
        check_safe(exporter).is_ok() && {
            let orphans = orphan_paths(exporter);
            let mut left = orphans.iter().filter(|path| !segments(path).is_empty());
            left.any(|path| matches!(Home::adopt(path), Ok(Some(_))))
        }
    })
}

impl Home {
    /// A new folder for this process, locked before anybody else can see it.
    pub(super) fn create(exporter_dir: &Path) -> Result<Self, SpoolError> {
        let (now, random) = (Clock::unix_nanos().0, SpanIds::new().take());
        let name = format!("{now:020}-{}-{random}", std::process::id());
        let hidden = exporter_dir.join(format!("{UNFINISHED}{name}"));
        let path = exporter_dir.join(name);
        let made = DirBuilder::new().mode(0o700).create(&hidden);
        made.map_err(|error| SpoolError::io("create", &hidden, error))?;
        let locked = lock_new(&hidden).and_then(|lock| {
            let renamed = std::fs::rename(&hidden, &path);
            renamed.map_err(|error| SpoolError::io("rename", &hidden, error))?;
            files::sync_folder(exporter_dir)?;
            Ok(lock)
        });
        let lock = locked.inspect_err(|_| remove_folder(&hidden))?;
        Ok(Self::owned(path, lock))
    }

    /// Takes over the folder of a process that is dead; `None` when it lives or somebody else was faster.
    pub(super) fn adopt(path: &Path) -> Result<Option<Self>, SpoolError> {
        let adopted = Self::try_adopt(path);
        // Somebody may have emptied and removed it since it was listed.
        let is_gone = || {
            path.symlink_metadata()
                .is_err_and(|e| e.kind() == io::ErrorKind::NotFound)
        };
        if adopted.is_err() && is_gone() {
            return Ok(None);
        }
        adopted
    }

    fn try_adopt(path: &Path) -> Result<Option<Self>, SpoolError> {
        check_safe(path)?;
        let lock_path = path.join(LOCK);
        let lock = files::open_or_create(&lock_path)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => {
                return Err(SpoolError::io("lock", &lock_path, error));
            }
        }
        // Its last owner may have removed it between the opening and the locking.
        let is_same = is_same_file(&lock, &lock_path).unwrap_or(false);
        Ok(is_same.then(|| Self::owned(path.to_owned(), lock)))
    }

    fn owned(path: PathBuf, lock: File) -> Self {
        let process = std::process::id();
        Self {
            path,
            lock,
            process,
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// True when somebody removed the folder, or put another one in its place, which nobody has locked.
    pub(super) fn is_gone(&self) -> bool {
        !is_same_file(&self.lock, &self.path.join(LOCK)).unwrap_or(false)
    }

    /// Removes the folder, if it is empty but for the lock.
    pub(super) fn remove(&self) {
        if segments(&self.path).is_empty() {
            remove_folder(&self.path);
        }
    }
}

fn lock_new(folder: &Path) -> Result<File, SpoolError> {
    let path = folder.join(LOCK);
    let lock = files::create(&path)?;
    lock.try_lock()
        .map_err(|error| SpoolError::io("lock", &path, error.into()))?;
    Ok(lock)
}

fn is_same_file(file: &File, path: &Path) -> io::Result<bool> {
    let (ours, there) = (file.metadata()?, std::fs::symlink_metadata(path)?);
    Ok(ours.dev() == there.dev() && ours.ino() == there.ino())
}

/// What cannot be removed (somebody has put a file there) stays for the next owner.
fn remove_folder(path: &Path) {
    let _ = files::remove(&path.join(LOCK));
    let _ = std::fs::remove_dir(path);
}

/// Removes what processes left that died while they made their folder.
pub(super) fn remove_unfinished(exporter_dir: &Path) {
    const MAX_AGE_NANOS: u64 = 3_600_000_000_000;
    let limit = Clock::unix_nanos().0.saturating_sub(MAX_AGE_NANOS);
    for path in folders(exporter_dir) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let made = name
            .strip_prefix(UNFINISHED)
            .and_then(|name| name.get(..20)?.parse().ok());
        if made.is_some_and(|made: u64| made < limit) {
            remove_folder(&path);
        }
    }
}

/// Folders of processes, the oldest first.
pub(super) fn orphan_paths(exporter_dir: &Path) -> Vec<PathBuf> {
    let mut found = folders(exporter_dir);
    found.retain(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name != QUARANTINE && !name.starts_with('.')
    });
    found.sort();
    found
}

fn folders(path: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    folders.map(|entry| entry.path()).collect()
}

/// A segment in a folder.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SegmentFile {
    pub(super) number: u64,
    pub(super) salt: u64,
    pub(super) path: PathBuf,
    pub(super) bytes: u64,
}

/// The segments of a process, the oldest first.
pub(super) fn segments(home: &Path) -> Vec<SegmentFile> {
    let entries = std::fs::read_dir(home).into_iter().flatten().flatten();
    let mut found: Vec<SegmentFile> = entries
        .filter_map(|entry| {
            let (number, salt) = format::parse_file_name(entry.file_name().to_str()?)?;
            let metadata = entry.metadata().ok().filter(std::fs::Metadata::is_file)?;
            Some(SegmentFile {
                number,
                salt,
                path: entry.path(),
                bytes: metadata.len(),
            })
        })
        .collect();
    found.sort();
    found
}

/// Puts a file aside in which nothing can be read, for somebody to look at.
pub(super) fn quarantine(exporter_dir: &Path, file: &Path) -> Result<PathBuf, SpoolError> {
    let folder = exporter_dir.join(QUARANTINE);
    let made = DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&folder);
    made.map_err(|error| SpoolError::io("create", &folder, error))?;
    make_room(&folder);
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let there = folder.join(format!("{:020}-{name}", Clock::unix_nanos().0));
    let moved = std::fs::rename(file, &there);
    moved.map_err(|error| SpoolError::io("move", file, error))?;
    Ok(there)
}

fn make_room(folder: &Path) {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    names.sort();
    let surplus = (names.len() + 1).saturating_sub(MAX_QUARANTINED);
    for oldest in names.iter().take(surplus) {
        // A file that stays is one too many, and no harm.
        let _ = files::remove(oldest);
    }
}
