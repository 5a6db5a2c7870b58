//! A trace file is whole after every payload, whoever writes to it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

use flate2::read::{GzDecoder, MultiGzDecoder};
use hiq_chrome::{ChromeExporter, ChromeSettings, TraceFormat};
use hiq_core::config::Env;
use hiq_core::id::SpanId;
use hiq_core::pipeline::Pipeline;
use hiq_testkit::trees::tree_of;
use hiq_testkit::{PATIENCE, assert_balances};
use serde_json::Value;

fn pipeline(path: &Path) -> Pipeline {
    let chrome = ChromeExporter::new(path).unwrap();
    Pipeline::builder()
        .exporter("chrome", move || chrome.build())
        .build()
}

/// The events of the document, read by a strict parser.
fn events(path: &Path) -> Vec<Value> {
    let mut text = Vec::new();
    let file = std::fs::File::open(path).unwrap();
    if path.extension().unwrap() == "gz" {
        MultiGzDecoder::new(file).read_to_end(&mut text).unwrap();
    } else {
        std::fs::read(path).unwrap().clone_into(&mut text);
    }
    let mut document: Value = serde_json::from_slice(&text).unwrap();
    match document["traceEvents"].take() {
        Value::Array(events) => events,
        other => panic!("{other}"),
    }
}

fn span_ids(path: &Path) -> Vec<SpanId> {
    let events = events(path);
    let spans = events.iter().filter(|event| event["ph"] == "X");
    let id = |event: &Value| {
        event["args"]["hiq.span_id"]
            .as_str()
            .unwrap()
            .parse()
            .unwrap()
    };
    let mut ids: Vec<SpanId> = spans.map(id).collect();
    ids.sort();
    ids
}

#[test]
fn the_file_is_a_strict_document_from_the_first_moment_and_after_every_batch() {
    for name in ["trace.json", "trace.json.gz"] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        let pipeline = pipeline(&path);
        assert!(events(&path).is_empty(), "nothing was traced yet");
        let mut expected = Vec::new();
        for _ in 0..5 {
            let (tree, ids) = tree_of(300);
            expected.extend(ids);
            expected.sort();
            pipeline.offer(tree);
            assert!(pipeline.flush(PATIENCE).is_complete());
            assert_eq!(span_ids(&path), expected);
        }
        assert!(pipeline.shutdown(PATIENCE).is_complete());
        let stats = pipeline.stats();
        let ledger = stats.ledger("chrome").unwrap();
        assert_balances(ledger);
        assert_eq!(ledger.exported, 1_500);
    }
}

#[test]
fn one_process_writes_one_gzip_member_which_every_reader_reads_to_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trace.json.gz");
    let pipeline = pipeline(&path);
    for _ in 0..3 {
        pipeline.offer(tree_of(50).0);
        pipeline.flush(PATIENCE);
    }
    pipeline.shutdown(PATIENCE);
    let mut text = String::new();
    let mut first_member = GzDecoder::new(std::fs::File::open(&path).unwrap());
    first_member.read_to_string(&mut text).unwrap();
    assert!(text.ends_with("\n]}\n"));
    assert_eq!(text.matches("\"ph\":\"X\"").count(), 150);
    assert_balances(pipeline.stats().ledger("chrome").unwrap());
}

#[test]
fn several_writers_share_a_file_and_later_ones_continue_it() {
    for name in ["trace.json", "trace.json.gz"] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        let write = || {
            let pipeline = pipeline(&path);
            let mut ids = Vec::new();
            for _ in 0..10 {
                let (tree, more) = tree_of(40);
                ids.extend(more);
                pipeline.offer(tree);
                pipeline.flush(PATIENCE);
            }
            pipeline.shutdown(PATIENCE);
            assert_balances(pipeline.stats().ledger("chrome").unwrap());
            ids
        };
        let mut expected: Vec<_> = std::thread::scope(|scope| {
            let writers: Vec<_> = (0..4).map(|_| scope.spawn(write)).collect();
            writers
                .into_iter()
                .flat_map(|writer| writer.join().unwrap())
                .collect()
        });
        expected.extend(write());
        expected.sort();
        assert_eq!(span_ids(&path), expected, "{name}");
    }
}

#[test]
fn a_file_of_another_kind_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in [
        ("a.json", "{\"traceEvents\":[]}"),
        ("b.json", "my diary"),
        ("c.json.gz", "no gzip"),
        ("d.pftrace", "my diary"),
    ] {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        let error = ChromeExporter::new(&path).unwrap_err().to_string();
        assert!(error.contains("trace written by hiq"), "{error}");
        assert!(
            error.contains("name another file, or delete this one"),
            "{error}"
        );
        assert_eq!(std::fs::read_to_string(&path).unwrap(), content);
    }
    let path = folder.path().join("no such folder").join("trace.json");
    let error = ChromeExporter::new(&path).unwrap_err().to_string();
    assert!(
        error.contains("no such folder/trace.json cannot be written"),
        "{error}"
    );
}

#[test]
fn a_trace_that_was_cut_is_not_continued() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["trace.json", "trace.json.gz"] {
        let path = folder.path().join(name);
        let pipeline = pipeline(&path);
        pipeline.offer(tree_of(20).0);
        pipeline.shutdown(PATIENCE);
        assert_balances(pipeline.stats().ledger("chrome").unwrap());
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() - 1]).unwrap();
        assert!(ChromeExporter::new(&path).is_err());
    }
}

#[test]
fn what_somebody_appends_meanwhile_is_not_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trace.json");
    let pipeline = pipeline(&path);
    pipeline.offer(tree_of(1).0);
    pipeline.flush(PATIENCE);
    let foreign = std::fs::read_to_string(&path).unwrap() + "a note";
    std::fs::write(&path, &foreign).unwrap();
    pipeline.offer(tree_of(1).0);
    pipeline.shutdown(Duration::from_millis(200));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), foreign);
    assert_balances(pipeline.stats().ledger("chrome").unwrap());
}

#[test]
fn the_name_says_the_format_and_the_variable_the_name() {
    let env = Env::from_pairs([("HIQ_CHROME_FILE", "from-env.pftrace.gz")]);
    let settings = ChromeSettings::new(None, None, &env).unwrap();
    assert_eq!(settings.path, Path::new("from-env.pftrace.gz"));
    assert_eq!(settings.format, TraceFormat::Perfetto);
    let code = ChromeSettings::new(Some("code.json".into()), None, &env).unwrap();
    assert_eq!(code.path, Path::new("code.json"));
    assert_eq!(code.format, TraceFormat::ChromeJson);
    let none = Env::from_pairs::<&str, &str>([]);
    let default = ChromeSettings::new(None, None, &none).unwrap();
    assert_eq!(default.path, Path::new("hiq-trace.json.gz"));
    let forced = ChromeSettings::new(None, Some(TraceFormat::Perfetto), &none).unwrap();
    assert_eq!(forced.format, TraceFormat::Perfetto);
    let error = ChromeSettings::new(Some("..".into()), None, &none).unwrap_err();
    assert!(error.to_string().contains("is not the name of a file"));
    let error = "jaeger".parse::<TraceFormat>().unwrap_err().to_string();
    assert!(error.contains("use chrome or perfetto"), "{error}");
}
