//! What a spool promises when nothing goes wrong, and what it refuses.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use hiq_core::spool::{Record, Recovered, Spool, SpoolError, SpoolLimits, StoredRecord};
use tempfile::tempdir;

fn open(dir: &Path) -> Spool {
    Spool::open(dir, "otlp", SpoolLimits::default()).unwrap()
}

fn limited(dir: &Path, set: impl FnOnce(&mut SpoolLimits)) -> Spool {
    let mut limits = SpoolLimits::default();
    set(&mut limits);
    Spool::open(dir, "otlp", limits).unwrap()
}

fn record(body: &[u8]) -> Record<'_> {
    Record::new("otlp_proto", "application/x-protobuf", 1, body)
}

/// All records that were left, which are then settled.
fn drain(spool: &mut Spool) -> Vec<Vec<u8>> {
    let mut bodies = Vec::new();
    while let Some(recovered) = spool.next_recovered() {
        let Recovered::Record(found) = recovered else {
            panic!("{recovered:?}");
        };
        spool.settle(found.id);
        bodies.push(found.body);
    }
    bodies
}

fn walk(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.symlink_metadata().unwrap().is_dir() {
            found.extend(walk(&path));
        }
        found.push(path);
    }
    found
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    let mut found = walk(dir);
    found.retain(|path| path.extension().is_some_and(|end| end == "spool"));
    found.sort();
    found
}

#[test]
fn what_is_appended_is_loaded_with_all_its_fields() {
    let dir = tempdir().unwrap();
    let mut spool = open(dir.path());
    let mut full = record(b"\x1f\x8bbody");
    full.content_encoding = Some("gzip");
    full.key = Some("schlüssel");
    full.items = 4_000_000_000;
    let before = hiq_core::time::Clock::unix_nanos();
    let id = spool.append(&full).unwrap();
    let check = |found: &StoredRecord| {
        assert_eq!(found.encoding, "otlp_proto");
        assert_eq!(found.content_type, "application/x-protobuf");
        assert_eq!(found.content_encoding.as_deref(), Some("gzip"));
        assert_eq!(found.key.as_deref(), Some("schlüssel"));
        assert_eq!(found.items, 4_000_000_000);
        assert_eq!(found.body, b"\x1f\x8bbody");
        let age = found.written.0.abs_diff(before.0);
        assert!(age < 60_000_000_000, "{age} ns");
    };
    check(&spool.load(&id).unwrap());
    drop(spool);
    let mut next = open(dir.path());
    let Some(Recovered::Record(found)) = next.next_recovered() else {
        panic!();
    };
    check(&found);
    check(&next.load(&found.id).unwrap());
    assert!(next.next_recovered().is_none());
}

#[test]
fn records_are_recovered_in_the_order_written_over_many_segments_and_processes() {
    let dir = tempdir().unwrap();
    let mut written = Vec::new();
    for process in 0..3_u32 {
        let mut spool = limited(dir.path(), |limits| limits.segment_bytes = 500);
        for number in 0..20_u32 {
            let body = format!("{process} {number} {}", "x".repeat(number as usize * 7));
            spool.append(&record(body.as_bytes())).unwrap();
            written.push(body.into_bytes());
        }
        drop(spool);
    }
    assert!(segments(dir.path()).len() > 6);
    let mut spool = open(dir.path());
    assert_eq!(drain(&mut spool), written);
    assert!(drain(&mut spool).is_empty(), "each is handed out once");
}

#[test]
fn settled_records_are_not_found_again() {
    let dir = tempdir().unwrap();
    let mut spool = open(dir.path());
    let ids: Vec<_> = (0..10_u8)
        .map(|number| spool.append(&record(&[number])).unwrap())
        .collect();
    for (number, id) in ids.into_iter().enumerate() {
        if number % 3 != 0 {
            spool.settle(id);
        }
    }
    drop(spool);
    let mut next = open(dir.path());
    assert_eq!(drain(&mut next), [vec![0], vec![3], vec![6], vec![9]]);
    drop(next);
    assert_eq!(drain(&mut open(dir.path())), Vec::<Vec<u8>>::new());
}

#[test]
fn a_segment_goes_when_its_last_record_is_settled() {
    let dir = tempdir().unwrap();
    let mut spool = limited(dir.path(), |limits| limits.segment_bytes = 300);
    let ids: Vec<_> = (0..12)
        .map(|_| spool.append(&record(&[7; 100])).unwrap())
        .collect();
    let all = segments(dir.path());
    assert_eq!(all.len(), 12, "two records do not fit into one");
    let mut left = all.len();
    for (id, path) in ids.into_iter().zip(&all) {
        assert!(path.exists());
        spool.settle(id);
        left -= 1;
        assert_eq!(
            path.exists(),
            left == 0,
            "only the one that is written to stays"
        );
    }
    drop(spool);
    assert!(segments(dir.path()).is_empty());
}

#[test]
fn a_spool_without_content_leaves_only_the_exporters_folder() {
    let dir = tempdir().unwrap();
    let mut spool = open(dir.path());
    let id = spool.append(&record(b"x")).unwrap();
    spool.settle(id);
    drop(spool);
    assert_eq!(walk(dir.path()), [dir.path().join("otlp")]);

    let mut spool = open(dir.path());
    spool.append(&record(b"left")).unwrap();
    drop(spool);
    drain(&mut open(dir.path()));
    assert_eq!(
        walk(dir.path()),
        [dir.path().join("otlp")],
        "what was adopted is cleaned up"
    );
}

#[test]
fn used_bytes_are_those_of_the_files() {
    let dir = tempdir().unwrap();
    let on_disk = || {
        segments(dir.path())
            .iter()
            .map(|path| path.metadata().unwrap().len())
            .sum::<u64>()
    };
    let mut spool = limited(dir.path(), |limits| limits.segment_bytes = 1_000);
    let mut ids = Vec::new();
    for size in 0..50 {
        ids.push(spool.append(&record(&vec![1; size * 10])).unwrap());
        assert_eq!(spool.used_bytes(), on_disk());
    }
    for id in ids.drain(..).rev().step_by(2) {
        spool.settle(id);
        assert_eq!(spool.used_bytes(), on_disk());
    }
    drop(spool);
    let mut next = open(dir.path());
    assert_eq!(next.used_bytes(), on_disk(), "what is adopted counts");
    drain(&mut next);
    assert_eq!((next.used_bytes(), on_disk()), (0, 0));
}

#[test]
fn a_full_spool_refuses_until_something_is_settled() {
    let dir = tempdir().unwrap();
    let mut spool = limited(dir.path(), |limits| limits.max_bytes = 10_000);
    let mut ids = Vec::new();
    let refused = loop {
        match spool.append(&record(&[1; 500])) {
            Ok(id) => ids.push(id),
            Err(error) => break error,
        }
    };
    assert!(
        matches!(
            refused,
            SpoolError::Full {
                limit_bytes: 10_000
            }
        ),
        "{refused}"
    );
    assert!(refused.to_string().contains("10000 bytes"));
    assert!(
        spool.used_bytes() <= 10_000 && ids.len() >= 15,
        "{}",
        ids.len()
    );
    let kept = ids.len();
    spool.settle(ids.remove(0));
    spool.settle(ids.remove(0));
    ids.push(spool.append(&record(&[2; 500])).unwrap());
    drop(spool);
    assert_eq!(drain(&mut open(dir.path())).len(), kept - 1);
}

#[test]
fn a_full_segment_of_settled_records_makes_room() {
    let dir = tempdir().unwrap();
    let mut spool = limited(dir.path(), |limits| limits.max_bytes = 10_000);
    for _ in 0..100 {
        let id = spool.append(&record(&[1; 5_000])).unwrap();
        spool.settle(id);
        assert!(spool.used_bytes() <= 10_000);
    }
}

#[test]
fn what_another_process_left_counts_towards_the_limit() {
    let dir = tempdir().unwrap();
    open(dir.path()).append(&record(&[1; 900])).unwrap();
    let mut spool = limited(dir.path(), |limits| limits.max_bytes = 1_800);
    assert!(matches!(
        spool.append(&record(&[2; 800])),
        Err(SpoolError::Full { .. })
    ));
    drain(&mut spool);
    spool.append(&record(&[2; 800])).unwrap();
}

#[test]
fn a_record_that_never_fits_is_refused() {
    let dir = tempdir().unwrap();
    let mut spool = open(dir.path());
    let long = "k".repeat(70_000);
    let mut keyed = record(b"x");
    keyed.key = Some(&long);
    let error = spool.append(&keyed).unwrap_err();
    assert!(
        matches!(
            error,
            SpoolError::TooLarge {
                limit_bytes: 65_535,
                ..
            }
        ),
        "{error}"
    );
    let error = spool.append(&record(&vec![0; (64 << 20) + 1])).unwrap_err();
    assert!(error.to_string().contains("67108865 bytes"), "{error}");
    assert!(
        segments(dir.path()).is_empty(),
        "nothing was begun for them"
    );
    let id = spool.append(&record(&vec![5; 20 << 20])).unwrap();
    assert_eq!(
        spool.load(&id).unwrap().body.len(),
        20 << 20,
        "longer than a segment, in one of its own"
    );
}

#[test]
fn old_records_are_counted_and_not_delivered() {
    let dir = tempdir().unwrap();
    let mut spool = open(dir.path());
    let mut dozen = record(b"old");
    dozen.items = 12;
    spool.append(&dozen).unwrap();
    drop(spool);
    let mut strict = limited(dir.path(), |limits| limits.max_age = Duration::ZERO);
    assert!(matches!(
        strict.next_recovered(),
        Some(Recovered::Expired { items: 12 })
    ));
    assert!(strict.next_recovered().is_none());
    drop(strict);
    assert!(segments(dir.path()).is_empty());
}

#[test]
fn what_is_written_waits_for_a_sync_no_longer_than_it_may() {
    let dir = tempdir().unwrap();
    let mut spool = open(dir.path());
    assert_eq!(spool.sync_due(), None);
    let before = Instant::now();
    spool.append(&record(b"x")).unwrap();
    let due = spool.sync_due().unwrap();
    let half_a_second = Duration::from_millis(500);
    assert!(due >= before + half_a_second && due <= Instant::now() + half_a_second);
    spool.append(&record(b"y")).unwrap();
    assert_eq!(spool.sync_due(), Some(due), "counted from the first");
    spool.sync_if_due();
    if Instant::now() < due {
        assert_eq!(spool.sync_due(), Some(due), "not yet");
    }
    spool.sync().unwrap();
    assert_eq!(spool.sync_due(), None);
    spool.append(&record(&vec![0; 1 << 20])).unwrap();
    assert_eq!(spool.sync_due(), None, "a MiB is synced at once");

    let mut eager = limited(dir.path(), |limits| limits.sync_interval = Duration::ZERO);
    eager.append(&record(b"x")).unwrap();
    assert_eq!(
        eager.sync_due(),
        None,
        "what is due is synced by the append itself"
    );
}
