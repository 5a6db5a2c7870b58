//! Spans in a file: one OTLP/JSON request a line, as the Collector writes and reads them.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use hiq_core::encode::DropReason;
use hiq_core::export::Deadline;
use hiq_core::id::SpanId;
use hiq_core::pipeline::Pipeline;
use hiq_core::transport::{Payload, PayloadId, Transport, TransportErrorKind};
use hiq_otlp::{FileTransport, OtlpFileExporter};
use hiq_testkit::trees::tree_of;
use hiq_testkit::{PATIENCE, assert_balances, recorded_status};
use support::read_json;

fn pipeline(path: &Path) -> Pipeline {
    let file = OtlpFileExporter::new(path).unwrap();
    Pipeline::builder()
        .exporter("file", move || file.build())
        .build()
}

/// The ids of all spans in the file, each line read by itself.
fn ids_in(path: &Path) -> Vec<SpanId> {
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.ends_with('\n'), "the last line is whole");
    let spans = text
        .lines()
        .flat_map(|line| read_json::spans(line.as_bytes()));
    let id = |id: Vec<u8>| SpanId(u64::from_be_bytes(id.try_into().unwrap()));
    let mut ids: Vec<_> = spans.map(|span| id(span.span_id)).collect();
    ids.sort();
    ids
}

#[test]
fn each_batch_is_a_line_behind_what_the_file_held() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("spans.jsonl");
    let mut expected = Vec::new();
    for _ in 0..3 {
        let pipeline = pipeline(&path);
        let (tree, ids) = tree_of(100);
        expected.extend(ids);
        pipeline.offer(tree);
        assert!(pipeline.shutdown(PATIENCE).is_complete());
        let stats = pipeline.stats();
        let ledger = stats.ledger("file").unwrap();
        assert_balances(ledger);
        assert_eq!(ledger.exported, 100);
    }
    expected.sort();
    assert_eq!(ids_in(&path), expected);
    assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 3);
}

#[test]
fn several_writers_share_a_file_line_by_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("spans.jsonl");
    let write = || {
        let pipeline = pipeline(&path);
        let mut ids = Vec::new();
        for _ in 0..20 {
            let (tree, more) = tree_of(40);
            ids.extend(more);
            pipeline.offer(tree);
            pipeline.flush(PATIENCE);
        }
        ids
    };
    let mut expected: Vec<_> = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..4).map(|_| scope.spawn(write)).collect();
        writers
            .into_iter()
            .flat_map(|writer| writer.join().unwrap())
            .collect()
    });
    expected.sort();
    assert_eq!(ids_in(&path), expected);
}

#[test]
fn a_file_that_cannot_be_opened_is_said_before_anything_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("no such folder").join("spans.jsonl");
    let error = OtlpFileExporter::new(&path).unwrap_err().to_string();
    assert!(
        error.contains("no such folder/spans.jsonl cannot be written"),
        "{error}"
    );
    assert!(
        error.contains("name a file in a folder that exists"),
        "{error}"
    );
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_waited_for_and_said() {
    let file = OtlpFileExporter::new("/dev/full").unwrap();
    let (status, lines) = recorded_status();
    let pipeline = Pipeline::builder()
        .exporter("file", move || file.build())
        .status(status)
        .build();
    pipeline.offer(tree_of(7).0);
    pipeline.flush(Duration::ZERO);
    let line = lines.wait_for(|lines| lines.first().cloned());
    assert!(
        line.contains("7 spans wait: /dev/full cannot be written"),
        "{line}"
    );
    pipeline.shutdown(Duration::from_millis(100));
    let stats = pipeline.stats();
    let ledger = stats.ledger("file").unwrap();
    assert_balances(ledger);
    assert_eq!(ledger.dropped[DropReason::Shutdown], 7);
}

/// Where [`of_a_line_that_does_not_fit_nothing_stays`] lets a child write.
const FILE_WITH_A_LIMIT: &str = "spans.jsonl";

#[cfg(unix)]
#[test]
fn of_a_line_that_does_not_fit_nothing_stays() {
    let folder = tempfile::tempdir().unwrap();
    let child = "run_with_a_limit_on_file_sizes";
    let script = format!("trap '' XFSZ; ulimit -f 2; exec \"$0\" --exact {child} --ignored");
    // Through a pipe: our own output may be a file, and longer than the limit.
    let child = Command::new("sh")
        .args(["-c", &script])
        .arg(std::env::current_exe().unwrap())
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert!(child.status.success(), "{child:?}");
    let written = std::fs::read(folder.path().join(FILE_WITH_A_LIMIT)).unwrap();
    assert_eq!(written, [&[b'x'; 700][..], b"\n"].concat());
}

#[test]
#[ignore = "started by of_a_line_that_does_not_fit_nothing_stays"]
fn run_with_a_limit_on_file_sizes() {
    let mut file = FileTransport::open(Path::new(FILE_WITH_A_LIMIT)).unwrap();
    let deadline = Deadline::never();
    let mut append = |bytes: usize| {
        let body = vec![b'x'; bytes];
        let mut outcomes = Vec::new();
        file.submit(
            PayloadId(1),
            &Payload::new(&body, "application/json", 1),
            &deadline,
        );
        file.poll(&deadline, &mut outcomes);
        outcomes.remove(0).result
    };
    append(700).unwrap();
    // Two blocks of 512 or 1,024 bytes: some of it fits.
    let error = append(100_000).unwrap_err();
    assert_eq!(error.kind, TransportErrorKind::Io);
    assert!(error.kind.is_temporary());
}
