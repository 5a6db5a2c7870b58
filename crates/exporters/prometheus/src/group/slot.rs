//! A slot: where one process lays down what it has counted.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use hiq_core::config::ConfigError;
use hiq_core::metric::pack::pack;
use hiq_core::metric::record::{CollectOptions, Registry};

use super::folder::{Folder, trouble};
use super::header::{HEADER_BYTES, Header, Words, area_of};
use super::lock;

/// Processes of a group at most, those included that have ended since the last scrape.
const MAX_SLOTS: usize = 256;
/// Bytes of a snapshot at most; a slot has room for two. What is not used takes no room.
const MAX_AREA_BYTES: u64 = 64 << 20;

/// The slot of this process. Its lock is given back with the file.
#[derive(Debug)]
pub(super) struct Slot {
    path: PathBuf,
    header: &'static Header,
    file: File,
    scratch: Mutex<Vec<u8>>,
}

impl Slot {
    /// Takes the first free slot of `folder`.
    pub(super) fn take(folder: &Folder) -> Result<Self, ConfigError> {
        for number in 0..MAX_SLOTS {
            let path = folder.slot(number);
            let made = File::options()
                .read(true)
                .write(true)
                .create_new(true)
                .open(&path);
            match made {
                Ok(file) => return Self::begin(path, file),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(trouble(&path, &error)),
            }
        }
        let full = io::Error::other(format!("all {MAX_SLOTS} slots are taken"));
        Err(trouble(folder.path(), &full))
    }

    fn begin(path: PathBuf, file: File) -> Result<Self, ConfigError> {
        let header = Self::fill_in(&file).map_err(|error| trouble(&path, &error))?;
        Ok(Self {
            path,
            header,
            file,
            scratch: Mutex::default(),
        })
    }

    fn fill_in(file: &File) -> io::Result<&'static Header> {
        lock::lock(file)?;
        let header = Header::map(file)?;
        header.begin(random_id()?);
        Ok(header)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Spans that were offered to be counted.
    pub(super) fn offered(&self) -> &'static AtomicU64 {
        &self.header.offered
    }

    /// Lays down what `registry` holds now, beside what was laid down before.
    pub(super) fn publish(&self, registry: &Registry) -> Result<(), ConfigError> {
        let mut bytes = self.scratch.lock().unwrap_or_else(PoisonError::into_inner);
        let snapshot = registry.collect(&CollectOptions::to_merge());
        bytes.clear();
        pack(&snapshot, &mut bytes);
        let length = bytes.len() as u64;
        if length > MAX_AREA_BYTES {
            let problem = format!("a snapshot of {length} bytes is more than {MAX_AREA_BYTES}");
            return Err(trouble(&self.path, &io::Error::other(problem)));
        }
        let next = self.header.sequence.load(Ordering::Relaxed) + 1;
        let area = area_of(next);
        let written = self.file.write_all_at(&bytes, area_start(area));
        written.map_err(|error| trouble(&self.path, &error))?;
        self.header.lengths[area].store(length, Ordering::Relaxed);
        let counted = registry.spans_in(&snapshot);
        self.header.counted[area].store(counted, Ordering::Relaxed);
        self.header.sequence.store(next, Ordering::Release);
        Ok(())
    }
}

fn area_start(area: usize) -> u64 {
    HEADER_BYTES + area as u64 * MAX_AREA_BYTES
}

/// Never zero, and from the system: two children of one process would take the same from a generator that they inherit.
fn random_id() -> io::Result<u64> {
    let random = getrandom::u64();
    let random = random.map_err(|error| io::Error::other(error.to_string()))?;
    Ok(random.max(1))
}

/// What another process has laid down.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) words: Words,
    /// `None` before the first snapshot.
    pub(super) packed: Option<Vec<u8>>,
    /// The process lives no more.
    pub(super) is_dead: bool,
}

/// Times that a snapshot is read again because a newer one took its place meanwhile.
const MAX_TRIES: usize = 8;

impl Found {
    /// What stands in the slot of another process at `path`; `None` when there is nothing to be read.
    pub(super) fn read(path: &Path) -> Option<Self> {
        let file = File::options().read(true).write(true).open(path).ok()?;
        let is_dead = !lock::is_locked_by_other(&file).ok()?;
        for _ in 0..MAX_TRIES {
            let words = Words::read(&file)?;
            let packed = read_area(&file, &words);
            let later = Words::read(&file)?;
            if later.sequence.wrapping_sub(words.sequence) < 2 {
                return Some(Self {
                    words,
                    packed,
                    is_dead,
                });
            }
        }
        None
    }

    /// Spans that were offered and are in no snapshot.
    pub(super) fn lost(&self) -> u64 {
        self.words.offered.saturating_sub(self.words.counted)
    }
}

fn read_area(file: &File, words: &Words) -> Option<Vec<u8>> {
    if words.sequence == 0 || words.length > MAX_AREA_BYTES {
        return None;
    }
    let mut packed = vec![0; usize::try_from(words.length).ok()?];
    let start = area_start(area_of(words.sequence));
    file.read_exact_at(&mut packed, start).ok()?;
    Some(packed)
}
