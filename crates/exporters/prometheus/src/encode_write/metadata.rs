//! When the metadata of each target was written last.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};

use crate::series::Target;

/// Targets that are remembered; whoever forwards for others may see any number of them.
const MAX_TARGETS: usize = 65_536;

/// A server takes no `target_info` that is older than the one it has, and refuses the points that come with it. Snapshots may be
/// late without being of no use: of another scope, from another partition.
#[derive(Debug, Default)]
pub(super) struct Metadata {
    hasher: RandomState,
    last_millis: HashMap<u64, u64>,
}

impl Metadata {
    /// True when the target's is to be written for this moment; it is taken for written then.
    pub(super) fn is_to_be_written(&mut self, target: &Target, millis: u64) -> bool {
        if self.last_millis.len() >= MAX_TARGETS {
            self.last_millis.clear();
        }
        let last = self.last_millis.entry(self.hasher.hash_one(target));
        let last = last.or_insert(millis);
        let is_late = millis < *last;
        *last = millis.max(*last);
        !is_late
    }
}
