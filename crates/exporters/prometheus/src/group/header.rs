//! The header of a slot: words in memory that is shared with whoever reads the slot, and outlives its process.
#![allow(unsafe_code, reason = "a shared mapping, argued at its place")]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes of the header in the file: a page.
pub(super) const HEADER_BYTES: u64 = 4_096;

/// The words of a slot that change while its process lives.
#[repr(C)]
#[derive(Debug)]
pub(super) struct Header {
    /// Names the slot's content among all that were ever folded.
    pub(super) id: AtomicU64,
    pub(super) pid: AtomicU64,
    /// Spans that were offered to be counted.
    pub(super) offered: AtomicU64,
    /// Snapshots that were laid down. The last stands in the area of its last bit.
    pub(super) sequence: AtomicU64,
    /// Bytes of the snapshot in each area.
    pub(super) lengths: [AtomicU64; 2],
    /// Spans that are counted in it.
    pub(super) counted: [AtomicU64; 2],
}

const WORDS: usize = 8;
const _: () = assert!(size_of::<Header>() == WORDS * 8);

impl Header {
    /// The header of `file`, mapped for as long as the process lives.
    pub(super) fn map(file: &File) -> io::Result<&'static Self> {
        file.set_len(HEADER_BYTES)?;
        // SAFETY: a shared mapping of the first page of a file that is at least as long; nobody shortens a slot. The words are
        // valid whatever their bits, aligned to a page, and the mapping is never undone.
        unsafe {
            let page = libc::mmap(
                ptr::null_mut(),
                size_of::<Self>(),
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                file.as_raw_fd(),
                0,
            );
            if page == libc::MAP_FAILED {
                return Err(io::Error::last_os_error());
            }
            Ok(&*page.cast::<Self>())
        }
    }
}

/// The words of a header at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Words {
    pub(super) id: u64,
    pub(super) pid: u32,
    pub(super) offered: u64,
    pub(super) sequence: u64,
    pub(super) length: u64,
    pub(super) counted: u64,
}

impl Words {
    /// Those of a slot of any process; `None` before it is filled in.
    pub(super) fn read(file: &File) -> Option<Self> {
        let mut bytes = [0; WORDS * 8];
        file.read_exact_at(&mut bytes, 0).ok()?;
        let word = |place: usize| {
            let bytes = bytes[place * 8..].first_chunk().copied();
            u64::from_ne_bytes(bytes.unwrap_or_default())
        };
        let sequence = word(3);
        let area = area_of(sequence);
        (word(0) != 0).then(|| Self {
            id: word(0),
            pid: u32::try_from(word(1)).unwrap_or(0),
            offered: word(2),
            sequence,
            length: word(4 + area),
            counted: word(6 + area),
        })
    }
}

/// Where the snapshot of this number stands.
pub(super) fn area_of(sequence: u64) -> usize {
    usize::from(sequence % 2 == 1)
}

impl Header {
    /// Fills in who owns the slot.
    pub(super) fn begin(&self, id: u64) {
        self.pid
            .store(u64::from(std::process::id()), Ordering::Relaxed);
        self.id.store(id, Ordering::Release);
    }
}
