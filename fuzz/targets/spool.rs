//! A segment that a dead process left, in any state: whole records are found, nothing is found twice, nothing loops.
#![no_main]

use std::cell::OnceCell;
use std::fs;
use std::path::{Path, PathBuf};

use hiq_core::spool::{Record, Recovered, Spool, SpoolLimits};
use libfuzzer_sys::fuzz_target;

thread_local! {
    static SEGMENT: OnceCell<(PathBuf, Vec<u8>)> = const { OnceCell::new() };
}

fuzz_target!(|edits: Vec<(u16, u8)>| {
    SEGMENT.with(|segment| {
        let (name, good) = segment.get_or_init(good_segment);
        let mut bytes = good.clone();
        for (at, byte) in edits {
            match bytes.get_mut(usize::from(at)) {
                Some(old) => *old = byte,
                None => bytes.truncate(bytes.len() - usize::from(byte).min(bytes.len())),
            }
        }
        assert!(records_in(name, &bytes) <= RECORDS);
    });
});

const RECORDS: usize = 4;

fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .expect("a folder")
}

/// A segment as a process leaves it that is killed, and its name below the spool's folder.
fn good_segment() -> (PathBuf, Vec<u8>) {
    let dir = folder();
    let mut spool = Spool::open(dir.path(), "otlp", SpoolLimits::default()).expect("a spool");
    for size in [0, 1, 40, 300] {
        let body = vec![b'x'; size];
        let record = Record::new("otlp_proto", "application/x-protobuf", 1, &body);
        spool.append(&record).expect("room for a record");
    }
    drop(spool);
    let path = first_file(dir.path()).expect("a segment");
    let bytes = fs::read(&path).expect("a file that was just written");
    (
        path.strip_prefix(dir.path())
            .expect("below its folder")
            .to_owned(),
        bytes,
    )
}

fn first_file(folder: &Path) -> Option<PathBuf> {
    fs::read_dir(folder).ok()?.flatten().find_map(|entry| {
        let path = entry.path();
        if path.is_dir() {
            return first_file(&path);
        }
        (path.extension()? == "spool").then_some(path)
    })
}

fn records_in(name: &Path, bytes: &[u8]) -> usize {
    use std::os::unix::fs::DirBuilderExt as _;

    let dir = folder();
    let path = dir.path().join(name);
    let parent = path.parent().expect("the folder of its process");
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(parent)
        .expect("a folder");
    fs::write(&path, bytes).expect("room for the segment");
    let mut spool = Spool::open(dir.path(), "otlp", SpoolLimits::default()).expect("a spool");
    let mut records = 0;
    while let Some(recovered) = spool.next_recovered() {
        if let Recovered::Record(record) = recovered {
            records += 1;
            spool.settle(record.id);
        }
    }
    records
}
