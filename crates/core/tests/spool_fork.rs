//! A forked child has its parent's spool in memory, and must not touch its parent's files.

#![allow(unsafe_code, reason = "fork, the case under test, is unsafe to call")]

use std::io::Read as _;

use hiq_core::spool::{Record, Recovered, Spool, SpoolLimits};

#[test]
fn a_forked_child_that_drops_the_spool_leaves_the_parents_files_alone() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = Spool::open(dir.path(), "otlp", SpoolLimits::default()).unwrap();
    let settled = spool.append(&Record::new("e", "c", 1, b"settled")).unwrap();
    spool.settle(settled);
    // SAFETY: the child only drops what it inherited and ends without unwinding or exit handlers.
    let child = unsafe { libc::fork() };
    if child == 0 {
        drop(spool);
        // SAFETY: ends the child at once.
        unsafe { libc::_exit(0) };
    }
    let mut status = 0;
    // SAFETY: the child was made above and is waited for once.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    assert_eq!(status, 0);

    let kept = spool.append(&Record::new("e", "c", 1, b"kept")).unwrap();
    assert_eq!(spool.load(&kept).unwrap().body, b"kept");
    drop(spool);
    let mut next = Spool::open(dir.path(), "otlp", SpoolLimits::default()).unwrap();
    let Some(Recovered::Record(found)) = next.next_recovered() else {
        panic!("the record is gone");
    };
    assert_eq!(found.body, b"kept");
}

#[test]
fn what_an_ended_spool_has_left_is_taken_although_a_forked_child_lives_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = Spool::open(dir.path(), "otlp", SpoolLimits::default()).unwrap();
    spool.append(&Record::new("e", "c", 1, b"kept")).unwrap();
    let (read, write) = std::io::pipe().unwrap();
    // SAFETY: the child only waits for its parent, and ends without unwinding or exit handlers.
    let child = unsafe { libc::fork() };
    if child == 0 {
        drop(write);
        let _ = (&read).read(&mut [0]);
        // SAFETY: ends the child at once.
        unsafe { libc::_exit(0) };
    }
    drop(spool);
    let mut next = Spool::open(dir.path(), "otlp", SpoolLimits::default()).unwrap();
    let found = next.next_recovered();
    drop(write);
    let mut status = 0;
    // SAFETY: the child was made above and is waited for once.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    assert!(
        matches!(&found, Some(Recovered::Record(found)) if found.body == b"kept"),
        "{found:?}"
    );
}
