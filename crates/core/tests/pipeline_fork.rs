//! Forks while other threads record and export. Each child is given a few seconds and then killed.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test may panic, its helpers as well")]
#![allow(unsafe_code, reason = "fork, and what a test of it needs")]

use std::collections::HashMap;
use std::convert::Infallible;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use hiq_core::batch::TreeBatch;
use hiq_core::config::PipelineSettings;
use hiq_core::deliver::{DeliveryOptions, EncodedExporter};
use hiq_core::export::{Deadline, Exporter};
use hiq_core::fork;
use hiq_core::id::reseed_thread;
use hiq_core::pipeline::Pipeline;
use hiq_core::status::StatusSink;
use hiq_core::transport::{
    HttpReply, Outcome, Payload, PayloadId, Reply, Transport, TransportLimits,
};
use hiq_testkit::PATIENCE;
use hiq_testkit::lines::{LineEncoder, span_ids};
use hiq_testkit::trees::tree_of;

/// The longest that a child may live.
const CHILD_MILLIS: i32 = 5_000;

/// Runs `child` in a forked process and waits for its end. Returns what it returned.
///
/// # Panics
/// When it does not end in time or dies of something else.
#[track_caller]
fn in_child(child: impl FnOnce() -> u8) -> u8 {
    // SAFETY: the child runs only code that must work there, which is what is tested, and leaves by `_exit`.
    match unsafe { libc::fork() } {
        0 => {
            let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(child));
            // SAFETY: ends the process.
            unsafe { libc::_exit(i32::from(ended.unwrap_or(255))) }
        }
        pid => wait_for(pid),
    }
}

#[track_caller]
fn wait_for(pid: libc::pid_t) -> u8 {
    assert!(pid > 0, "fork failed");
    // SAFETY: opens a descriptor of our own child, polls it, reaps the child.
    unsafe {
        let handle = i32::try_from(libc::syscall(libc::SYS_pidfd_open, pid, 0)).unwrap();
        let mut poll = libc::pollfd {
            fd: handle,
            events: libc::POLLIN,
            revents: 0,
        };
        let ended = libc::poll(&raw mut poll, 1, CHILD_MILLIS) == 1;
        if !ended {
            libc::kill(pid, libc::SIGKILL);
        }
        let mut status = 0;
        libc::waitpid(pid, &raw mut status, 0);
        libc::close(handle);
        assert!(ended, "the child hung");
        assert!(libc::WIFEXITED(status), "the child died: {status:#x}");
        u8::try_from(libc::WEXITSTATUS(status)).unwrap()
    }
}

/// Appends payloads to a file: one `write` each, so that processes can share it.
#[derive(Debug)]
struct ToFile {
    file: File,
    settled: Vec<Outcome>,
}

impl ToFile {
    fn new(path: &Path) -> std::io::Result<Self> {
        let file = OpenOptions::new().append(true).create(true).open(path)?;
        let settled = Vec::new();
        Ok(Self { file, settled })
    }
}

impl Transport for ToFile {
    fn limits(&self) -> TransportLimits {
        TransportLimits::one_at_a_time(usize::MAX)
    }

    fn submit(&mut self, id: PayloadId, payload: &Payload<'_>, _: &Deadline) {
        assert_eq!(self.file.write(payload.body).unwrap(), payload.body.len());
        let reply = Reply::Http(HttpReply::new(200));
        self.settled.push(Outcome::new(id, Ok(reply)));
    }

    fn poll(&mut self, _: &Deadline, outcomes: &mut Vec<Outcome>) {
        outcomes.append(&mut self.settled);
    }
}

fn pipeline_to(path: PathBuf) -> Pipeline {
    let build = move || {
        let wire = ToFile::new(&path).unwrap();
        let exporter = EncodedExporter::new(LineEncoder::new(), wire, DeliveryOptions::default());
        Ok::<_, Infallible>(Box::new(exporter) as Box<dyn Exporter<TreeBatch>>)
    };
    let mut settings = PipelineSettings::default();
    settings.schedule_delay = Duration::from_millis(1);
    let builder = Pipeline::builder().status(StatusSink::silent());
    builder.settings(settings).exporter("file", build).build()
}

#[test]
fn children_of_a_busy_process_export_their_own_spans_once_and_nobody_hangs() {
    const FORKS: u64 = 100;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("spans");
    let pipeline = pipeline_to(path.clone());
    let (busy, offered) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicU64::new(0)));
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let (pipeline, busy, offered) =
                (pipeline.clone(), Arc::clone(&busy), Arc::clone(&offered));
            std::thread::spawn(move || {
                while busy.load(Ordering::Relaxed) {
                    pipeline.offer(tree_of(3).0);
                    offered.fetch_add(3, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for _ in 0..FORKS {
        let answer = in_child(|| {
            reseed_thread();
            let (pipeline, (tree, _)) = (pipeline.clone(), tree_of(2));
            pipeline.offer(tree);
            let flushed = pipeline.flush(PATIENCE).is_complete();
            let stats = pipeline.stats();
            let ledger = &stats.exporters()[0].ledger;
            let own = (ledger.offered, ledger.exported) == (2, 2) && ledger.balances();
            let ended = pipeline.shutdown(PATIENCE).is_complete();
            u8::from(flushed) + 2 * u8::from(own) + 4 * u8::from(ended)
        });
        assert_eq!(answer, 7, "flushed, a ledger of its own, ended");
    }
    busy.store(false, Ordering::Relaxed);
    for thread in threads {
        thread.join().unwrap();
    }
    let report = pipeline.shutdown(PATIENCE);
    assert!(report.is_complete());
    let ledger = &report.exporters()[0].ledger;
    assert!(ledger.balances());
    let offered = offered.load(Ordering::Relaxed);
    assert_eq!(ledger.offered, offered);
    let arrived = span_ids(&std::fs::read(&path).unwrap());
    let mut times = HashMap::new();
    for id in &arrived {
        *times.entry(*id).or_insert(0) += 1;
    }
    assert!(
        times.values().all(|times| *times == 1),
        "a span arrived twice"
    );
    assert_eq!(arrived.len() as u64, ledger.exported + 2 * FORKS);
}

#[test]
fn a_child_that_only_lets_go_of_its_pipeline_ends_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("spans");
    let pipeline = pipeline_to(path.clone());
    pipeline.offer(tree_of(1).0);
    assert!(pipeline.flush(PATIENCE).is_complete());
    pipeline.offer(tree_of(1).0);
    // Taken out of its handle, so that the child can drop the last one.
    let mut pipeline = Some(pipeline);
    assert_eq!(in_child(|| u8::from(pipeline.take().is_some())), 1);
    let end = pipeline.take().unwrap().shutdown(PATIENCE);
    assert_eq!(
        end.exporters()[0].ledger.exported,
        2,
        "the parent's spans are the parent's"
    );
    assert_eq!(span_ids(&std::fs::read(&path).unwrap()).len(), 2);
}

#[test]
fn a_child_of_a_process_that_was_shut_down_starts_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let pipeline = pipeline_to(directory.path().join("spans"));
    assert!(pipeline.shutdown(PATIENCE).is_complete());
    let dropped = in_child(|| {
        pipeline.offer(tree_of(3).0);
        let stats = pipeline.stats();
        u8::try_from(stats.exporters()[0].ledger.dropped.total()).unwrap()
    });
    assert_eq!(dropped, 3);
    assert!(!directory.path().join("spans").exists());
}

#[test]
fn every_fork_is_a_generation_also_without_the_c_librarys_knowledge() {
    let own = fork::generation();
    assert_eq!(own, fork::generation());
    let child = in_child(|| {
        let (child, again) = (fork::generation(), fork::generation());
        let grandchild = in_child(|| u8::from(fork::generation() != child));
        u8::from(child != own && child == again) + 2 * grandchild
    });
    assert_eq!(child, 3);
    assert_eq!(own, fork::generation());
    // SAFETY: a fork without handlers of the C library; the child looks at one word and leaves.
    let pid = unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) };
    if pid == 0 {
        let changed = fork::generation() != own;
        // SAFETY: ends the process.
        unsafe { libc::_exit(i32::from(changed)) }
    }
    assert_eq!(wait_for(libc::pid_t::try_from(pid).unwrap()), 1);
}

#[test]
fn a_status_line_is_one_write_to_standard_error() {
    let mut ends = [0; 2];
    // SAFETY: makes two descriptors of ours; a packet socket keeps single writes apart.
    let made =
        unsafe { libc::socketpair(libc::AF_UNIX, libc::SOCK_SEQPACKET, 0, ends.as_mut_ptr()) };
    assert_eq!(made, 0);
    let ended = in_child(|| {
        // SAFETY: in this process standard error is the socket from now on.
        unsafe { libc::dup2(ends[1], libc::STDERR_FILENO) };
        let build = || Err::<Box<dyn Exporter<TreeBatch>>, _>("no such file: ca.pem");
        let pipeline = Pipeline::builder().exporter("otlp", build).build();
        pipeline.start();
        u8::from(pipeline.shutdown(PATIENCE).is_complete())
    });
    assert_eq!(ended, 1);
    let mut packet = [0_u8; 1_000];
    // SAFETY: reads into a buffer of the length given; nobody else can write once our copy is closed.
    let read = unsafe {
        libc::close(ends[1]);
        libc::recv(ends[0], packet.as_mut_ptr().cast(), packet.len(), 0)
    };
    let line = &packet[..usize::try_from(read).unwrap()];
    let expected = b"hiq: otlp exporter: cannot start: no such file: ca.pem\n";
    assert_eq!(line, expected);
    // SAFETY: as above.
    let more = unsafe { libc::recv(ends[0], packet.as_mut_ptr().cast(), packet.len(), 0) };
    assert_eq!(more, 0, "and nothing else");
}
