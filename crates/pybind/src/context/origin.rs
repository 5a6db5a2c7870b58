//! Where a place was captured: by that, work that is handed over finds it again in a copied context.
//!
//! A pool's job is run with the place that was captured when it was submitted. It may enter a context that was copied before,
//! as `asyncio.to_thread` does, where the ContextVar holds what it held then. As long as that is what was attached when the
//! place was captured, nothing is closer than the place.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use super::copied::Copied;
use super::{Attached, PyContext};

/// Tells context objects apart for as long as the process lives. Zero is none.
static SERIALS: AtomicU64 = AtomicU64::new(1);

#[derive(Debug)]
pub(super) struct Origin {
    serial: u64,
    /// The number of the object that was attached, zero for none. `None`: it was not captured.
    captured_in: Option<u64>,
    /// It has been attached by hand.
    was_attached: AtomicBool,
    /// It was made for a copy.
    pub(super) copied: Option<Copied>,
}

impl Origin {
    pub(super) fn new() -> Self {
        // With the GIL held nobody comes between.
        let serial = SERIALS.load(Relaxed);
        SERIALS.store(serial + 1, Relaxed);
        Self {
            serial,
            captured_in: None,
            was_attached: AtomicBool::new(false),
            copied: None,
        }
    }

    /// Of what is captured now.
    pub(super) fn captured() -> Self {
        Self {
            captured_in: Some(Attached::now().with_object(number)),
            ..Self::new()
        }
    }

    /// Of what is made for a copy.
    pub(super) fn copied(copied: Copied) -> Self {
        Self {
            copied: Some(copied),
            ..Self::captured()
        }
    }

    /// The same for one to its like.
    pub(super) fn without_around(&self) -> Self {
        Self {
            serial: self.serial,
            captured_in: self.captured_in,
            ..Self::new()
        }
    }

    pub(super) fn is_captured(&self) -> bool {
        self.captured_in.is_some()
    }

    pub(super) fn was_attached(&self) -> bool {
        self.was_attached.load(Relaxed)
    }

    pub(super) fn note_attached(&self) {
        self.was_attached.store(true, Relaxed);
    }

    /// True where `attached` is what was attached there.
    pub(super) fn was_captured_in(&self, attached: Option<&PyContext>) -> bool {
        self.captured_in == Some(number(attached))
    }
}

fn number(attached: Option<&PyContext>) -> u64 {
    attached.map_or(0, |attached| attached.3.serial)
}
