//! How far an attempt has come: what its end means depends on it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// Where an attempt is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(clippy::exhaustive_enums, reason = "transports tell all stages apart")]
pub enum Stage {
    /// The server's or proxy's name is looked up.
    LookingUp,
    /// There is no connection, or none that took the request.
    Connecting,
    /// The head of the request is on its way: the server may have it all.
    Sending,
}

/// A stage that the client's parts share.
#[derive(Clone, Debug)]
pub struct Progress(Arc<AtomicU8>);

impl Default for Progress {
    fn default() -> Self {
        Self(Arc::new(AtomicU8::new(Stage::Connecting as u8)))
    }
}

impl Progress {
    /// It has come to this stage.
    pub fn is_at(&self, stage: Stage) {
        self.0.store(stage as u8, Ordering::Relaxed);
    }

    /// Where it has come to.
    pub fn stage(&self) -> Stage {
        match self.0.load(Ordering::Relaxed) {
            0 => Stage::LookingUp,
            1 => Stage::Connecting,
            _ => Stage::Sending,
        }
    }
}
