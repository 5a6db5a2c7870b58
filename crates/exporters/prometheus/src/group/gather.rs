//! What the owner of the port answers with: all of the group as one snapshot.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use hiq_core::metric::merge::{Part, merge};
use hiq_core::metric::pack::{pack, unpack};
use hiq_core::metric::record::{CollectOptions, Registry};
use hiq_core::metric::{Descriptor, Family, Kind, LabelSet, MetricBatch, Number, Point};
use hiq_core::time::Clock;

use super::folder::Folder;
use super::slot::Found;

/// Gathers what the processes of a group have counted.
#[derive(Debug)]
pub(super) struct Gather {
    registry: Registry,
    folder: Folder,
    own: PathBuf,
    base: Mutex<Option<Base>>,
}

/// What processes that have ended had counted.
#[derive(Debug, Default)]
struct Base {
    counted: MetricBatch,
    /// Spans that were offered to them and are counted nowhere.
    lost: u64,
    /// The slot that was added last: it may be there still, if its owner was killed at that moment.
    last: u64,
}

impl Gather {
    /// For the process whose slot is at `own`.
    pub(super) fn new(registry: Registry, folder: Folder, own: PathBuf) -> Self {
        Self {
            registry,
            folder,
            own,
            base: Mutex::default(),
        }
    }

    /// The group as one snapshot, of this process's resource.
    pub(super) fn collect(&self) -> MetricBatch {
        let mut base = self.base.lock().unwrap_or_else(PoisonError::into_inner);
        let base = base.get_or_insert_with(|| self.read_base());
        let mut living = Vec::new();
        // Closing a descriptor of our own slot would give back its lock.
        let others = self.folder.slots().into_iter();
        for path in others.filter(|path| *path != self.own) {
            let Some(found) = Found::read(&path) else {
                continue;
            };
            if found.is_dead {
                self.fold(base, &path, &found);
            } else if let Some(batch) = self.unpack(&found) {
                living.push((batch, found.words.pid));
            }
        }
        let own = self.registry.collect(&CollectOptions::to_merge());
        let parts = living.iter().map(|(batch, pid)| Part::living(batch, *pid));
        let own = Part::living(&own, std::process::id());
        let ended = Part::ended(&base.counted);
        let together = merge([own].into_iter().chain(parts).chain([ended]));
        with_lost(&together, base.lost)
    }

    fn unpack(&self, found: &Found) -> Option<MetricBatch> {
        let packed = found.packed.as_deref()?;
        unpack(packed, self.registry.resource(), Arc::default())
    }

    /// Adds what a dead process had counted to the base, once, whenever this one is killed: the base is written in one
    /// step, and says which slot it took in last.
    fn fold(&self, base: &mut Base, path: &Path, found: &Found) {
        if base.last != found.words.id {
            let counted = match self.unpack(found) {
                Some(batch) => merge([Part::ended(&base.counted), Part::ended(&batch)]),
                None => merge([Part::ended(&base.counted)]),
            };
            let folded = Base {
                counted,
                lost: base.lost + found.lost(),
                last: found.words.id,
            };
            if self.write_base(&folded).is_err() {
                // It is tried again with the next scrape.
                return;
            }
            *base = folded;
        }
        // Else it is removed with the next scrape.
        let _ = std::fs::remove_file(path);
    }

    fn write_base(&self, base: &Base) -> io::Result<()> {
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&base.lost.to_ne_bytes());
        bytes.extend_from_slice(&base.last.to_ne_bytes());
        pack(&base.counted, &mut bytes);
        let path = self.folder.base();
        let unfinished = path.with_extension("new");
        File::create(&unfinished)?.write_all(&bytes)?;
        std::fs::rename(&unfinished, &path)
    }

    /// What an owner before this one has written.
    fn read_base(&self) -> Base {
        let read = || {
            let bytes = std::fs::read(self.folder.base()).ok()?;
            let (lost, rest) = bytes.split_first_chunk()?;
            let (last, packed) = rest.split_first_chunk()?;
            Some(Base {
                counted: unpack(packed, self.registry.resource(), Arc::default())?,
                lost: u64::from_ne_bytes(*lost),
                last: u64::from_ne_bytes(*last),
            })
        };
        read().unwrap_or_default()
    }
}

/// The snapshot, and how many spans were lost with processes that were killed.
fn with_lost(together: &MetricBatch, lost: u64) -> MetricBatch {
    let descriptor = Descriptor::new("hiq.metric.lost_spans", Kind::COUNTER)
        .with_unit("{span}")
        .with_description("Spans that were not counted because their process was killed.");
    let lost = Number::Int(i64::try_from(lost).unwrap_or(i64::MAX));
    let now = Clock::unix_nanos();
    let start = together.families().iter().flat_map(Family::points);
    let start = start.map(Point::start).min().unwrap_or(now);
    let point = Point::new(LabelSet::empty(), start, now, lost);
    let lost = Family::new(Arc::new(descriptor), vec![point]);
    let families = together.families().iter().cloned().chain([lost]);
    MetricBatch::new(
        Arc::clone(together.resource()),
        Arc::clone(together.scope()),
        families.collect(),
    )
}
