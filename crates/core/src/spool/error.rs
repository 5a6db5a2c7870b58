//! What can go wrong with a spool.

use std::io;
use std::path::{Path, PathBuf};

/// Why the spool did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpoolError {
    /// The limit is reached; settled records make room.
    #[error(
        "spool holds its limit of {limit_bytes} bytes; raise HIQ_SPOOL_MAX_BYTES or bring the backend back"
    )]
    Full {
        /// `HIQ_SPOOL_MAX_BYTES`.
        limit_bytes: u64,
    },
    /// The record could never be kept.
    #[error("record of {bytes} bytes exceeds the limit of {limit_bytes} bytes for one record")]
    TooLarge {
        /// Bytes of the record, or of the part of it that is too large.
        bytes: u64,
        /// What fits.
        limit_bytes: u64,
    },
    /// The operating system refused something.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Others could read or change what is kept there.
    #[error("{} is not safe: {problem}; give a folder that belongs to this user alone", path.display())]
    Unsafe {
        /// The folder.
        path: PathBuf,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A newer version of hiq wrote the file.
    #[error("{} has version {version} of the spool's format, this program reads {known}; it is left as it is", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: u16,
        /// The version that is read here.
        known: u16,
    },
    /// The record's bytes are not those that were written.
    #[error("record is damaged on disk")]
    Damaged,
    /// The record's file is not there any more.
    #[error("record's file is gone")]
    Gone,
}

impl SpoolError {
    pub(super) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io {
            action,
            path: path.to_owned(),
            source,
        }
    }
}
