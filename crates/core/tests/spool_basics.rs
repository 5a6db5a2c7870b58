//! What a spool promises when nothing goes wrong, and what it refuses.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use hiq_core::spool::{Record, Recovered, Spool, SpoolError, SpoolLimits, StoredRecord};
use tempfile::{TempDir, tempdir};

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
    assert_eq!(spool.sync_due(), Some(due), "not yet");
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

#[test]
fn files_and_folders_are_for_their_owner_only() {
    let base = tempdir().unwrap();
    let dir = base.path().join("new/spool");
    let mut spool = open(&dir);
    spool.append(&record(b"x")).unwrap();
    let mut kinds = (0, 0);
    for path in walk(base.path()) {
        let metadata = path.metadata().unwrap();
        let expected = if metadata.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(
            metadata.permissions().mode() & 0o777,
            expected,
            "{}",
            path.display()
        );
        *(if metadata.is_dir() {
            &mut kinds.0
        } else {
            &mut kinds.1
        }) += 1;
    }
    assert_eq!(
        kinds,
        (4, 2),
        "new, spool, otlp and the process's; lock and segment"
    );
}

#[test]
fn a_folder_that_others_can_write_to_is_refused() {
    let dir = tempdir().unwrap();
    let exporter = dir.path().join("otlp");
    fs::create_dir(&exporter).unwrap();
    fs::set_permissions(&exporter, fs::Permissions::from_mode(0o770)).unwrap();
    let error = Spool::open(dir.path(), "otlp", SpoolLimits::default()).unwrap_err();
    assert!(
        error.to_string().contains("other users can write to it"),
        "{error}"
    );
    fs::set_permissions(&exporter, fs::Permissions::from_mode(0o750)).unwrap();
    open(dir.path());
}

#[test]
fn symbolic_links_are_not_followed() {
    let (dir, elsewhere) = (tempdir().unwrap(), tempdir().unwrap());
    symlink(elsewhere.path(), dir.path().join("otlp")).unwrap();
    let error = Spool::open(dir.path(), "otlp", SpoolLimits::default()).unwrap_err();
    assert!(matches!(error, SpoolError::Unsafe { .. }), "{error}");
    fs::remove_file(dir.path().join("otlp")).unwrap();

    let victim = elsewhere.path().join("victim");
    fs::write(&victim, "precious").unwrap();
    open(dir.path()).append(&record(b"left")).unwrap();
    let segment = segments(dir.path()).remove(0);
    let home = segment.parent().unwrap();
    symlink(
        &victim,
        home.join("0000000000000002-0000000000000002.spool"),
    )
    .unwrap();
    let second = dir.path().join("otlp/00000000000000000001-1-1");
    fs::create_dir(&second).unwrap();
    fs::set_permissions(&second, fs::Permissions::from_mode(0o700)).unwrap();
    symlink(&victim, second.join("lock")).unwrap();
    let mut spool = open(dir.path());
    assert_eq!(drain(&mut spool), [b"left"]);
    let said = spool.take_notices();
    assert!(
        said.iter()
            .any(|notice| notice.contains("00000000000000000001-1-1/lock")),
        "{said:?}"
    );
    drop(spool);
    assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
    assert_eq!(victim.metadata().unwrap().nlink(), 1);
}

#[test]
fn a_folder_that_cannot_be_made_is_an_error_that_names_it() {
    let dir = tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let error = Spool::open(&file.join("spool"), "otlp", SpoolLimits::default()).unwrap_err();
    assert!(error.to_string().contains("file/spool"), "{error}");
}

#[test]
fn names_of_exporters_cannot_leave_the_folder() {
    let dir = tempdir().unwrap();
    let inner = dir.path().join("spool");
    for name in ["../evil", "a/b", "..", "", "otlp grpc", "naïve"] {
        let mut spool = Spool::open(&inner, name, SpoolLimits::default()).unwrap();
        spool.append(&record(name.as_bytes())).unwrap();
        drop(spool);
        let mut spool = Spool::open(&inner, name, SpoolLimits::default()).unwrap();
        assert_eq!(drain(&mut spool), [name.as_bytes()]);
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn exporters_do_not_see_each_others_records() {
    let dir = tempdir().unwrap();
    open(dir.path()).append(&record(b"otlp")).unwrap();
    let mut other = Spool::open(dir.path(), "zipkin", SpoolLimits::default()).unwrap();
    assert!(other.next_recovered().is_none());
    assert_eq!(drain(&mut open(dir.path())), [b"otlp"]);
}

#[test]
fn a_living_spool_is_not_adopted_not_even_by_its_own_process() {
    let dir = tempdir().unwrap();
    let mut first = open(dir.path());
    let id = first.append(&record(b"mine")).unwrap();
    assert!(!Spool::has_backlog(dir.path()));
    let mut second = open(dir.path());
    assert!(second.next_recovered().is_none());
    assert_eq!(first.load(&id).unwrap().body, b"mine");
    drop(first);
    assert!(Spool::has_backlog(dir.path()));
    let mut third = open(dir.path());
    assert!(!Spool::has_backlog(dir.path()), "it has an owner again");
    assert_eq!(drain(&mut third), [b"mine"]);
    drop((second, third));
    assert!(!Spool::has_backlog(dir.path()));
    assert!(!Spool::has_backlog(&dir.path().join("missing")));
}

#[test]
fn more_orphans_than_are_held_at_once_are_all_recovered() {
    let dir = tempdir().unwrap();
    let mut expected = Vec::new();
    let held: Vec<_> = (0..50_u8)
        .map(|number| {
            let mut spool = open(dir.path());
            spool.append(&record(&[number])).unwrap();
            expected.push(vec![number]);
            spool
        })
        .collect();
    drop(held);
    let mut spool = open(dir.path());
    let mut found = drain(&mut spool);
    found.sort();
    assert_eq!(found, expected);
    drop(spool);
    assert_eq!(walk(dir.path()).len(), 1);
}

#[test]
fn a_folder_that_a_process_died_over_is_removed_when_it_is_old() {
    let dir = tempdir().unwrap();
    drop(open(dir.path()));
    let now = hiq_core::time::Clock::unix_nanos().0;
    let hour = 3_600_000_000_000;
    let fresh = dir
        .path()
        .join(format!("otlp/.new-{:020}-1-1", now - hour / 2));
    let stale = dir
        .path()
        .join(format!("otlp/.new-{:020}-1-1", now - hour * 2));
    for folder in [&fresh, &stale] {
        fs::create_dir(folder).unwrap();
        fs::write(folder.join("lock"), "").unwrap();
    }
    drop(open(dir.path()));
    assert!(fresh.exists() && !stale.exists());
}

/// A folder with one unsettled record, and its segment.
fn one_left(body: &[u8]) -> (TempDir, PathBuf) {
    let dir = tempdir().unwrap();
    open(dir.path()).append(&record(body)).unwrap();
    let segment = segments(dir.path()).remove(0);
    (dir, segment)
}

#[test]
fn a_file_of_a_newer_version_is_left_alone_and_named() {
    let (dir, segment) = one_left(b"future");
    let mut bytes = fs::read(&segment).unwrap();
    bytes[8..10].copy_from_slice(&2_u16.to_le_bytes());
    let crc = crc32c::crc32c(&bytes[..28]);
    bytes[28..32].copy_from_slice(&crc.to_le_bytes());
    fs::write(&segment, &bytes).unwrap();
    let mut spool = open(dir.path());
    assert!(spool.next_recovered().is_none());
    let said = spool.take_notices().join("\n");
    assert!(
        said.contains("has version 2") && said.contains("reads 1"),
        "{said}"
    );
    assert_eq!((spool.damage().newer_files, spool.used_bytes()), (1, 0));
    drop(spool);
    assert_eq!(fs::read(&segment).unwrap(), bytes);
}

#[test]
fn a_file_in_which_nothing_can_be_read_is_put_aside_and_kept() {
    let (dir, segment) = one_left(b"x");
    fs::write(
        &segment,
        "this was never a segment, and it is longer than its header",
    )
    .unwrap();
    let mut spool = open(dir.path());
    assert!(matches!(
        spool.next_recovered(),
        Some(Recovered::Corrupt { items: 0 })
    ));
    assert!(spool.next_recovered().is_none());
    assert_eq!(spool.damage().files, 1);
    assert!(spool.take_notices()[0].contains("quarantine"));
    assert!(!segment.exists());
    drop(spool);
    let kept: Vec<_> = fs::read_dir(dir.path().join("otlp/quarantine"))
        .unwrap()
        .collect();
    assert_eq!(kept.len(), 1);
    let mut next = open(dir.path());
    assert!(next.next_recovered().is_none(), "it is not read again");
}

#[test]
fn quarantine_holds_the_eight_newest() {
    let dir = tempdir().unwrap();
    for number in 0..12_u8 {
        open(dir.path()).append(&record(b"x")).unwrap();
        let segment = segments(dir.path())
            .into_iter()
            .find(|path| !path.to_string_lossy().contains("quarantine"));
        fs::write(segment.unwrap(), [b'a' + number; 100]).unwrap();
        let mut spool = open(dir.path());
        while spool.next_recovered().is_some() {}
    }
    let kept = fs::read_dir(dir.path().join("otlp/quarantine")).unwrap();
    let mut first_bytes: Vec<u8> = kept
        .map(|entry| fs::read(entry.unwrap().path()).unwrap()[0])
        .collect();
    first_bytes.sort_unstable();
    assert_eq!(first_bytes, b"efghijkl");
}
