//! Who may see a spool's folders, whom they belong to, and what is done with files that are none of ours.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use hiq_core::spool::{Record, Recovered, Spool, SpoolError, SpoolLimits};
use tempfile::{TempDir, tempdir};

fn open(dir: &Path) -> Spool {
    Spool::open(dir, "otlp", SpoolLimits::default()).unwrap()
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
