//! Any sequence of appending, settling, crashing and reopening equals a list in memory.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod spool_common;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use hiq_core::spool::{Record, RecordId, Recovered, Spool, SpoolError, SpoolLimits};
use proptest::prelude::*;
use spool_common::quick_dir;
use tempfile::TempDir;

#[derive(Clone, Debug)]
enum Step {
    Append(Vec<u8>),
    Settle(prop::sample::Index),
    Load(prop::sample::Index),
    Recover,
    Sync,
    /// An orderly end, and the next process.
    Reopen,
    /// The process is killed: what the system holds of its files stays as it is.
    Kill,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let body = prop::collection::vec(any::<u8>(), 0..400);
    let step = prop_oneof![
        8 => body.prop_map(Step::Append),
        5 => any::<prop::sample::Index>().prop_map(Step::Settle),
        2 => any::<prop::sample::Index>().prop_map(Step::Load),
        4 => Just(Step::Recover),
        1 => Just(Step::Sync),
        1 => Just(Step::Reopen),
        1 => Just(Step::Kill),
    ];
    prop::collection::vec(step, 0..80)
}

/// The list: what was written and is not settled, oldest first.
#[derive(Debug, Default)]
struct Model {
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    body: Vec<u8>,
    items: u32,
    /// `None`: an earlier process wrote it, and this one has not come across it.
    id: Option<RecordId>,
}

impl Model {
    /// Places of the entries that this process knows.
    fn known(&self) -> Vec<usize> {
        (0..self.entries.len())
            .filter(|place| self.entries[*place].id.is_some())
            .collect()
    }

    fn pick(&self, index: prop::sample::Index) -> Option<usize> {
        let known = self.known();
        (!known.is_empty()).then(|| known[index.index(known.len())])
    }
}

struct World {
    dir: TempDir,
    spool: Option<Spool>,
    model: Model,
    limits: SpoolLimits,
    appended: u32,
}

impl World {
    fn new(limits: SpoolLimits) -> Self {
        let dir = quick_dir();
        let spool = Some(Spool::open(dir.path(), "otlp", limits.clone()).unwrap());
        Self {
            dir,
            spool,
            model: Model::default(),
            limits,
            appended: 0,
        }
    }

    fn spool(&mut self) -> &mut Spool {
        self.spool.as_mut().unwrap()
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Append(body) => self.append(body),
            Step::Settle(index) => {
                if let Some(place) = self.model.pick(index) {
                    let id = self.model.entries.remove(place).id.unwrap();
                    self.spool().settle(id);
                }
            }
            Step::Load(index) => {
                if let Some(place) = self.model.pick(index) {
                    let entry = &self.model.entries[place];
                    let loaded = self
                        .spool
                        .as_ref()
                        .unwrap()
                        .load(entry.id.as_ref().unwrap())
                        .unwrap();
                    assert_eq!((&loaded.body, loaded.items), (&entry.body, entry.items));
                }
            }
            Step::Recover => {
                self.recover();
            }
            Step::Sync => self.spool().sync().unwrap(),
            Step::Reopen => self.reopen(),
            Step::Kill => self.kill(),
        }
    }

    fn append(&mut self, body: Vec<u8>) {
        self.appended += 1;
        let items = self.appended;
        let before = self.spool().used_bytes();
        match self.spool().append(&Record::new(
            "otlp_proto",
            "application/x-protobuf",
            items,
            &body,
        )) {
            Ok(id) => self.model.entries.push(Entry {
                body,
                items,
                id: Some(id),
            }),
            Err(SpoolError::Full { limit_bytes }) => {
                let overhead = 200;
                assert!(
                    before + body.len() as u64 + overhead > limit_bytes,
                    "refused at {before} bytes"
                );
            }
            Err(other) => panic!("{other}"),
        }
        assert!(self.spool().used_bytes() <= self.limits.max_bytes.max(before));
    }

    /// The spool hands out the oldest entry that this process does not know.
    fn recover(&mut self) -> bool {
        let recovered = self.spool().next_recovered();
        let expected = self
            .model
            .entries
            .iter_mut()
            .find(|entry| entry.id.is_none());
        match (recovered, expected) {
            (None, None) => false,
            (Some(Recovered::Record(found)), Some(entry)) => {
                assert_eq!((&found.body, found.items), (&entry.body, entry.items));
                entry.id = Some(found.id);
                true
            }
            (found, expected) => panic!("found {found:?}, expected {expected:?}"),
        }
    }

    fn reopen(&mut self) {
        self.spool = None;
        self.spool = Some(Spool::open(self.dir.path(), "otlp", self.limits.clone()).unwrap());
        self.forget_ids();
    }

    /// The files as they are now are what the next process finds; what the old one still does happens elsewhere.
    fn kill(&mut self) {
        let after = quick_dir();
        copy(self.dir.path(), after.path());
        self.spool = None;
        self.dir = after;
        self.spool = Some(Spool::open(self.dir.path(), "otlp", self.limits.clone()).unwrap());
        self.forget_ids();
    }

    fn forget_ids(&mut self) {
        for entry in &mut self.model.entries {
            entry.id = None;
        }
    }

    fn finish(mut self) {
        while self.recover() {}
        assert_eq!(self.spool().damage(), hiq_core::spool::Damage::default());
        for entry in std::mem::take(&mut self.model.entries) {
            self.spool().settle(entry.id.unwrap());
        }
        self.spool = None;
        let exporter = self.dir.path().join("otlp");
        assert_eq!(
            fs::read_dir(exporter).unwrap().count(),
            0,
            "all is settled, nothing is left"
        );
    }
}

fn copy(from: &Path, to: &Path) {
    fs::set_permissions(to, fs::Permissions::from_mode(0o700)).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let there = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            fs::create_dir(&there).unwrap();
            copy(&entry.path(), &there);
        } else {
            fs::copy(entry.path(), &there).unwrap();
        }
    }
}

proptest! {
    #[test]
    fn a_spool_is_a_list_that_survives_its_process(
        steps in steps(),
        segment_bytes in prop_oneof![Just(1_u64), Just(600), Just(8 << 20)],
        max_bytes in prop_oneof![Just(6_000_u64), Just(512 << 20)],
    ) {
        let mut limits = SpoolLimits::default();
        limits.segment_bytes = segment_bytes;
        limits.max_bytes = max_bytes;
        let mut world = World::new(limits);
        for step in steps {
            world.take(step);
        }
        world.finish();
    }
}
