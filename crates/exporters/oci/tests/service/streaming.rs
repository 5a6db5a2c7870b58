//! Messages of a stream: what a call holds, and what becomes of each message.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hiq_core::batch::{BatchCursor, TreeBatch};
use hiq_core::config::{Env, ProxySettings};
use hiq_core::encode::{Encoded, Encoder, Encoding, Limits, Page, Verdict, fill};
use hiq_core::export::{Deadline, Progress};
use hiq_core::ledger::{Ledger, LedgerSnapshot};
use hiq_core::span::Span;
use hiq_core::transport::{Outcome, Payload, PayloadId, Reply, Transport};
use hiq_oci::{Message, StreamExporter, StreamKey, StreamOptions, StreamSettings};
use hiq_testkit::assert_balances;
use hiq_testkit::lines::span_ids;
use hiq_testkit::trees::tree_of;
use serde_json::{Value, json};

use crate::server::{Answer, Request, Service, ok};
use crate::who::{KEY, User, public_half};

const STREAM: &str = "ocid1.stream.oc1.eu-frankfurt-1.aaaa";

fn exporter(url: &str, key: StreamKey) -> StreamExporter {
    let mut options = StreamOptions::default();
    options.key = key;
    let env = Env::from_pairs([("OCI_STM_END", url), ("OCI_STM_OCID", STREAM)]);
    let settings = StreamSettings::new(&options, &env, &mut Vec::new()).unwrap();
    let user = User::usual().settings();
    let exporter = StreamExporter::new(settings, user, ProxySettings::default());
    let mut exporter = exporter.unwrap();
    let retry = &mut exporter.delivery_mut().retry;
    (retry.initial, retry.max) = (Duration::from_millis(1), Duration::from_millis(1));
    exporter
}

/// A span a line, with the cuts and keys that every real encoder makes.
#[derive(Debug)]
struct Lines;

struct Written<'o>(&'o mut Vec<u8>, usize);

impl<'a> Page<'a> for Written<'_> {
    fn push(&mut self, span: Span<'a>) -> bool {
        self.1 = self.0.len();
        self.0
            .extend_from_slice(format!("{} {}\n", span.id(), span.name().as_str()).as_bytes());
        true
    }

    fn fits(&self, max_bytes: usize) -> bool {
        self.0.len() <= max_bytes
    }

    fn pop(&mut self) {
        self.0.truncate(self.1);
    }

    fn finish(&mut self) {}
}

impl Encoder<TreeBatch> for Lines {
    fn encoding(&self) -> Encoding {
        Encoding::new("lines", "text/plain")
    }

    fn encode(
        &mut self,
        cursor: &mut BatchCursor<'_>,
        limits: &Limits,
        out: &mut Vec<u8>,
    ) -> Encoded {
        fill(cursor, limits, &mut Written(out, 0))
    }

    fn judge(&self, reply: &Reply, _items: usize) -> Verdict {
        panic!("the format is asked about {reply:?}")
    }
}

/// The messages of a call as the service would take them: signed, base64, within the limits.
fn messages(request: &Request) -> Vec<(Option<String>, Vec<u8>)> {
    assert_eq!(
        request.target,
        format!("/20180418/streams/{STREAM}/messages")
    );
    let (_, names) = request.signer(&public_half(KEY)).unwrap();
    assert_eq!(names, "date (request-target) host");
    let decoded = |value: &Value| BASE64_STANDARD.decode(value.as_str().unwrap()).unwrap();
    let body = request.json();
    let messages = body["messages"].as_array().unwrap();
    let messages: Vec<_> = messages
        .iter()
        .map(|message| {
            let key = message
                .get("key")
                .map(|key| String::from_utf8(decoded(key)).unwrap());
            (key, decoded(&message["value"]))
        })
        .collect();
    let bytes = |(key, value): &(Option<String>, Vec<u8>)| {
        key.as_ref().map_or(0, String::len) + value.len()
    };
    assert!(
        messages.iter().map(bytes).sum::<usize>() <= 1 << 20,
        "a call of more than 1 MiB"
    );
    messages
}

fn taken(offset: usize) -> Value {
    json!({"partition": "0", "offset": offset, "timestamp": "2026-11-21T00:00:00Z", "error": null, "errorMessage": null})
}

fn refused() -> Value {
    json!({"partition": null, "offset": null, "timestamp": null, "error": "429", "errorMessage": "too fast"})
}

fn result(entries: &[Value]) -> Answer {
    let failures = entries
        .iter()
        .filter(|entry| !entry["error"].is_null())
        .count();
    ok(json!({"failures": failures, "entries": entries}).to_string())
}

fn deliver(exporter: &StreamExporter, trees: usize) -> (LedgerSnapshot, Vec<String>) {
    let mut exporter = exporter.build::<TreeBatch>(Box::new(Lines)).unwrap();
    let (ledger, deadline) = (Ledger::new(), Deadline::never());
    let mut ids = Vec::new();
    let trees: Vec<_> = (0..trees)
        .map(|_| {
            let (tree, own) = tree_of(3);
            ids.extend(own.iter().map(ToString::to_string));
            Arc::new(tree)
        })
        .collect();
    let spans = trees.len() * 3;
    ledger.offer(spans);
    let custody = ledger.take(spans, Instant::now());
    let mut progress = exporter.export(Arc::new(TreeBatch::new(trees)), custody, &deadline);
    while progress != Progress::Done {
        if let Progress::Waiting { until, .. } = progress {
            deadline.sleep(until.saturating_duration_since(Instant::now()));
        }
        progress = exporter.poll(&deadline);
        assert_balances(&ledger.snapshot());
    }
    ids.sort();
    (ledger.snapshot(), ids)
}

#[test]
fn payloads_share_a_call_and_only_those_that_were_not_taken_are_sent_again() {
    let stored = Arc::new(Mutex::new(BTreeMap::<String, usize>::new()));
    let keeps = Arc::clone(&stored);
    let service = Service::start(move |request, before| {
        let messages = messages(request);
        // Of the first call every third, of the second the first is not taken.
        let is_refused =
            |at: usize| (before == 0 && at.is_multiple_of(3)) || (before == 1 && at == 0);
        let entries: Vec<_> = (0..messages.len())
            .map(|at| if is_refused(at) { refused() } else { taken(at) })
            .collect();
        for (at, (key, value)) in messages.iter().enumerate() {
            assert_eq!(key.as_ref().unwrap().len(), 32, "a trace id");
            if !is_refused(at) {
                for id in span_ids(value) {
                    *keeps.lock().unwrap().entry(id.to_string()).or_default() += 1;
                }
            }
        }
        result(&entries)
    });
    let (ledger, ids) = deliver(&exporter(&service.url(), StreamKey::Trace), 10);
    assert_eq!((ledger.exported, ledger.offered), (30, 30));
    let stored = stored.lock().unwrap();
    assert_eq!(stored.keys().cloned().collect::<Vec<_>>(), ids);
    assert!(
        stored.values().all(|times| *times == 1),
        "each once: {stored:?}"
    );
    let calls: Vec<_> = service
        .requests()
        .iter()
        .map(|call| messages(call).len())
        .collect();
    assert_eq!(calls, [10, 4, 1]);
}

#[test]
fn a_message_without_a_key_leaves_the_choice_to_the_service() {
    let service = Service::start(|request, _| result(&vec![taken(0); messages(request).len()]));
    let (ledger, _) = deliver(&exporter(&service.url(), StreamKey::None), 4);
    assert_eq!(ledger.exported, 12);
    let calls: Vec<_> = service.requests().iter().map(messages).collect();
    assert_eq!(calls.len(), 1);
    assert!(
        matches!(&calls[0][..], [(None, _)]),
        "one message for all: {calls:?}"
    );
}

fn submit(exporter: &StreamExporter, values: &[Vec<u8>]) -> Vec<Outcome> {
    let mut transport = exporter.transport().unwrap();
    let deadline = Deadline::never().within(Duration::from_secs(20));
    let mut outcomes = Vec::new();
    for (at, value) in (0..).zip(values) {
        let mut payload = Payload::new(value, "text/plain", 1);
        payload.key = Some("key");
        transport.submit(PayloadId(at), &payload, &deadline);
        transport.poll(&deadline.within(Duration::ZERO), &mut outcomes);
    }
    transport.poll(&deadline, &mut outcomes);
    while outcomes.len() < values.len() {
        transport.poll(&deadline, &mut outcomes);
    }
    outcomes
}

#[test]
fn a_call_ends_before_it_is_too_large_and_each_message_comes_back_once() {
    let service = Service::start(|request, _| result(&vec![taken(0); messages(request).len()]));
    let exporter = exporter(&service.url(), StreamKey::None);
    let largest = exporter.transport().unwrap().limits().max_payload_bytes;
    let sizes = [400_000, 400_000, 400_000, largest, 1];
    let values: Vec<_> = sizes.iter().map(|size| vec![b'x'; *size]).collect();
    let outcomes = submit(&exporter, &values);
    let ids: Vec<_> = outcomes.iter().map(|outcome| outcome.id.0).collect();
    assert_eq!(ids, [0, 1, 2, 3, 4]);
    let calls: Vec<_> = service
        .requests()
        .iter()
        .map(|call| messages(call).len())
        .collect();
    assert_eq!(calls, [2, 1, 2]);
}

#[test]
fn a_call_that_fails_fails_for_all_its_messages() {
    for (status, exported, rejected) in [(503, 12, 0), (404, 0, 12)] {
        let service = Service::start(move |request, before| match before {
            0 => (
                status,
                String::new(),
                r#"{"code":"NotAuthorizedOrNotFound"}"#.to_owned(),
            ),
            _ => result(&vec![taken(0); messages(request).len()]),
        });
        let (ledger, _) = deliver(&exporter(&service.url(), StreamKey::Trace), 4);
        assert_eq!(
            (ledger.exported, ledger.rejected),
            (exported, rejected),
            "{status}"
        );
    }
}

#[test]
fn an_answer_that_leaves_messages_out_is_no_success() {
    let service = Service::start(|_, _| result(&[taken(0)]));
    let exporter = exporter(&service.url(), StreamKey::None);
    let outcomes = submit(&exporter, &[b"a".to_vec(), b"b".to_vec()]);
    for outcome in outcomes {
        let error = outcome.result.unwrap_err();
        assert!(
            error
                .message
                .contains("does not say what became of each message"),
            "{error}"
        );
    }
}

#[test]
fn the_service_names_the_fate_of_each_message() {
    let service = Service::start(|_, _| result(&[taken(7), refused()]));
    let mut transport = exporter(&service.url(), StreamKey::None)
        .transport()
        .unwrap();
    let message = |value: &'static [u8]| Message { key: None, value };
    let sent = [message(b"a"), message(b"b")];
    let answer = transport.put(&sent, &Deadline::never().within(Duration::from_secs(20)));
    let entries = answer.unwrap().entries().unwrap();
    assert_eq!((entries[0].offset, &entries[0].error), (Some(7), &None));
    assert_eq!(entries[1].error.as_deref(), Some("429"));
    assert_eq!(entries[0].problem("it"), None);
    assert_eq!(
        entries[1].problem("it").unwrap(),
        "it did not take a message: 429: too fast"
    );
}

#[test]
fn a_refused_signature_is_asked_for_again_once_a_key_is_new() {
    let service = Service::start(|_, _| {
        (
            401,
            String::new(),
            r#"{"code":"NotAuthenticated"}"#.to_owned(),
        )
    });
    let exporter = exporter(&service.url(), StreamKey::None);
    let outcomes = submit(&exporter, &[b"a".to_vec()]);
    match &outcomes[0].result {
        Ok(Reply::Http(reply)) => assert_eq!(reply.status, 401),
        other => panic!("{other:?}"),
    }
    let (ledger, _) = deliver(&exporter, 1);
    assert_eq!(ledger.rejected, 3);
}
