//! Each call of the system that a spool makes fails once: what was confirmed is there afterwards, and nothing else.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod spool_common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use hiq_core::spool::{Recovered, Spool, SpoolLimits};
use spool_common::{
    append, command, drain, drain_and_count_torn, number_of, numbers, quick_dir, role, run, say,
    take_all,
};
use tempfile::{TempDir, tempdir};

/// Not a test by itself: the others run it as a process of its own, with a role.
#[test]
fn child() {
    let Some((role, dir)) = role() else {
        return;
    };
    match role.as_str() {
        "faulty" => write_some(&dir),
        "take" => take_all(&dir),
        other => panic!("{other}"),
    }
}

/// Those that 7 divides fill a segment each.
const NUMBERS: [u64; 17] = [1, 2, 3, 7, 4, 5, 6, 14, 8, 9, 10, 11, 12, 13, 21, 15, 16];

/// A short life with every kind of call to the file system in it.
fn write_some(dir: &Path) {
    let mut limits = SpoolLimits::default();
    limits.segment_bytes = 2_000;
    let mut spool = match Spool::open(dir, "otlp", limits) {
        Ok(spool) => spool,
        Err(error) => return say(&format!("closed {error}")),
    };
    let mut open = Vec::new();
    for number in NUMBERS {
        match append(&mut spool, number) {
            Ok(id) => {
                say(&format!("appended {number}"));
                open.push((number, id));
            }
            Err(error) => say(&format!("refused {number} {error}")),
        }
        if open.len() > 5 {
            let (settled, id) = open.remove(1);
            spool.settle(id);
            say(&format!("settled {settled}"));
        }
        if number % 4 == 0
            && let Err(error) = spool.sync()
        {
            say(&format!("unsynced {error}"));
        }
    }
    // What goes on when a fault is over.
    let last = (101..110).find(|number| append(&mut spool, *number).is_ok());
    say(&format!("appended {}", last.unwrap()));
    while let Some(Recovered::Record(found)) = spool.next_recovered() {
        let number = number_of(&found.body);
        spool.settle(found.id);
        say(&format!("settled {number}"));
    }
    if let Err(error) = spool.sync() {
        say(&format!("unsynced {error}"));
    }
    for notice in spool.take_notices() {
        say(&format!("notice {notice}"));
    }
    drop(spool);
    say("done");
}

/// The library that makes calls fail, built once.
fn fault_library() -> &'static Path {
    static BUILT: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = BUILT.get_or_init(|| {
        let dir = tempdir().unwrap();
        let library = dir.path().join("libfaults.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/spool_faults.c");
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-o"])
            .arg(&library)
            .arg(source)
            .status();
        assert!(
            built
                .expect("a C compiler, which Rust links with as well")
                .success()
        );
        (dir, library)
    });
    path
}

/// `count` calls fail with `errno` from the `nth` on; those to `also` always do.
#[derive(Clone, Copy, Debug, Default)]
struct Fault {
    call: &'static str,
    nth: u32,
    count: u32,
    errno: i32,
    also: &'static str,
}

struct Outcome {
    said: Vec<String>,
    log: Vec<String>,
}

impl Outcome {
    fn of(role: &str, dir: &Path, fault: &Fault) -> Self {
        let scratch = tempdir().unwrap();
        let log = scratch.path().join("log");
        let mut command = command(role, dir);
        command
            .env("LD_PRELOAD", fault_library())
            .env("FAULT_CALL", fault.call)
            .env("FAULT_NTH", fault.nth.to_string())
            .env("FAULT_COUNT", fault.count.to_string())
            .env("FAULT_ERRNO", fault.errno.to_string())
            .env("FAULT_ALSO", fault.also)
            .env("FAULT_DIR", dir.join("otlp"))
            .env("FAULT_LOG", &log)
            .stdin(Stdio::null());
        let said = run(command);
        let log = fs::read_to_string(log).unwrap_or_default();
        Self {
            said,
            log: log.lines().map(str::to_owned).collect(),
        }
    }

    fn says(&self, word: &str) -> bool {
        self.said.iter().any(|line| line.starts_with(word))
    }

    fn failed(&self) -> bool {
        self.log.iter().any(|line| line.starts_with("failed"))
    }
}

/// What a process before left.
const ORPHAN: u64 = 500;

fn leave_orphan(dir: &Path) {
    let mut spool = Spool::open(dir, "otlp", SpoolLimits::default()).unwrap();
    append(&mut spool, ORPHAN).unwrap();
}

/// Runs the child with the fault at each call that it makes; what it confirmed must be there, and nothing else.
fn fail_everywhere(call: &'static str, errno: i32, count: u32) {
    fail_everywhere_with(Fault {
        call,
        count,
        errno,
        ..Fault::default()
    });
}

fn fail_everywhere_with(fault: Fault) {
    for nth in 1.. {
        let fault = Fault { nth, ..fault };
        let dir = quick_dir();
        leave_orphan(dir.path());
        let outcome = Outcome::of("faulty", dir.path(), &fault);
        let story = format!("{fault:?}: {:#?}", outcome.said);
        if !outcome.failed() {
            assert!(nth > 1, "the fault never struck: {story}");
            assert!(
                !outcome.says("refused") && !outcome.says("closed"),
                "{story}"
            );
            return;
        }
        if outcome.says("closed") {
            assert_eq!(outcome.said.len(), 1, "{story}");
            assert_eq!(drain(dir.path()), [ORPHAN], "{story}");
        } else {
            check_what_is_left(&outcome, dir.path(), &fault, &story);
        }
    }
}

fn check_what_is_left(outcome: &Outcome, dir: &Path, fault: &Fault, story: &str) {
    assert_eq!(
        outcome.said.last().map(String::as_str),
        Some("done"),
        "{story}"
    );
    let settled = numbers(&outcome.said, "settled");
    let mut kept = vec![ORPHAN];
    kept.extend(numbers(&outcome.said, "appended"));
    kept.retain(|number| !settled.contains(number));
    let (mut found, torn) = drain_and_count_torn(dir);
    let may_miss_a_mark = ["pwrite", "open"].contains(&fault.call);
    if may_miss_a_mark {
        found.retain(|number| !settled.contains(number));
    }
    assert_eq!(found, kept, "{story}");
    assert!(
        torn == 0 || fault.also == "ftruncate",
        "of what was refused nothing is kept: {story}"
    );
    // Marks and removals may fail in silence, as may giving up a lock, which ends with the process: nothing is lost by it.
    let is_removal = ["rmdir", "unlink"].contains(&fault.call);
    let is_unlocking = fault.call == "flock" && outcome.says("settled");
    let was_said = ["refused", "notice", "unsynced"]
        .iter()
        .any(|word| outcome.says(word));
    assert!(
        was_said || may_miss_a_mark || is_removal || is_unlocking,
        "{story}"
    );
}

#[test]
fn no_space_at_any_write_keeps_all_that_was_confirmed() {
    fail_everywhere("pwrite", libc::ENOSPC, 2);
}

#[test]
fn an_input_output_error_at_any_write_keeps_all_that_was_confirmed() {
    fail_everywhere("pwrite", libc::EIO, 3);
}

#[test]
fn a_torn_end_that_cannot_be_cut_off_hides_nothing_that_follows() {
    let (call, also, errno) = ("pwrite", "ftruncate", libc::ENOSPC);
    fail_everywhere_with(Fault {
        call,
        also,
        errno,
        count: 1,
        ..Fault::default()
    });
    fail_everywhere_with(Fault {
        call,
        also,
        errno,
        count: 2,
        ..Fault::default()
    });
}

#[test]
fn a_failed_sync_is_said_and_loses_nothing_by_itself() {
    fail_everywhere("fdatasync", libc::EIO, 1);
    fail_everywhere("fsync", libc::EIO, 1);
}

#[test]
fn a_file_or_folder_that_cannot_be_made_refuses_its_records_only() {
    fail_everywhere("open", libc::EMFILE, 1);
    fail_everywhere("open", libc::EROFS, 2);
    fail_everywhere("mkdir", libc::ENOSPC, 1);
    fail_everywhere("rename", libc::EIO, 1);
}

#[test]
fn a_lock_that_does_not_work_closes_the_spool() {
    fail_everywhere("flock", libc::ENOLCK, 1);
}

#[test]
fn files_that_cannot_be_removed_are_not_taken_for_records() {
    fail_everywhere("rmdir", libc::EBUSY, 1);
    fail_everywhere("unlink", libc::EACCES, 1);
}

#[test]
fn an_orphan_whose_lock_fails_is_left_to_others() {
    let dir = quick_dir();
    append(
        &mut Spool::open(dir.path(), "otlp", SpoolLimits::default()).unwrap(),
        5,
    )
    .unwrap();
    let fault = Fault {
        call: "flock",
        nth: 2,
        count: 1,
        errno: libc::ENOLCK,
        ..Fault::default()
    };
    let outcome = Outcome::of("take", dir.path(), &fault);
    assert!(outcome.failed());
    assert!(
        numbers(&outcome.said, "found").is_empty(),
        "{:?}",
        outcome.said
    );
    assert!(
        outcome
            .said
            .iter()
            .any(|line| line.starts_with("notice cannot lock")),
        "{:?}",
        outcome.said
    );
    assert_eq!(drain(dir.path()), [5]);
}

#[test]
fn a_lock_that_was_removed_before_it_was_taken_is_not_trusted() {
    let dir = quick_dir();
    leave_orphan(dir.path());
    let fault = Fault {
        call: "flock-steal",
        nth: 2,
        count: 1,
        ..Fault::default()
    };
    let outcome = Outcome::of("take", dir.path(), &fault);
    assert!(outcome.failed());
    assert_eq!(
        outcome.said,
        ["ready"],
        "nothing found, nothing to complain of"
    );
    assert_eq!(drain(dir.path()), [ORPHAN]);
}

#[test]
fn a_sync_reaches_the_disk_with_all_bytes_and_the_folder_that_names_the_file() {
    let dir = quick_dir();
    let fault = Fault::default();
    let outcome = Outcome::of("faulty", dir.path(), &fault);
    assert_eq!(outcome.said.last().unwrap(), "done");
    let homes = fs::read_dir(dir.path().join("otlp")).unwrap();
    let files = homes.flat_map(|home| fs::read_dir(home.unwrap().path()).unwrap());
    let left: Vec<u64> = files
        .map(|file| file.unwrap())
        .filter(|file| file.file_name().to_string_lossy().ends_with(".spool"))
        .map(|file| file.metadata().unwrap().len())
        .collect();
    assert!(left.len() > 1);
    for bytes in left {
        let line = format!("fdatasync {bytes}");
        assert!(outcome.log.contains(&line), "{line} in {:?}", outcome.log);
    }
    let folders = outcome
        .log
        .iter()
        .filter(|line| line.starts_with("fsync-folder"))
        .count();
    assert!(folders > 3, "one for each new file: {:?}", outcome.log);
}
