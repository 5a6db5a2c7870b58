#![allow(clippy::unwrap_used, reason = "a test may fail by a panic")]
//! A snapshot of metrics through the same delivery loop as trees: cut, divided, bisected, and all of it counted.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use hiq_core::batch::Batch;
use hiq_core::deliver::{DeliveryOptions, EncodedExporter};
use hiq_core::encode::{DropReason, Encodable, Encoded, Encoder, Encoding, Limits, Verdict};
use hiq_core::export::{Deadline, Exporter, Progress};
use hiq_core::ledger::{Ledger, LedgerSnapshot};
use hiq_core::metric::{
    Descriptor, Family, Kind, LabelSet, MetricBatch, MetricCursor, Number, Point, PointPage,
    Summary, fill_points,
};
use hiq_core::time::UnixNanos;
use hiq_core::transport::Reply;
use hiq_testkit::assert_balances;
use hiq_testkit::script::{Answer, Attempt, Script};

/// One line a point, `family label`, under a head line for each family.
#[derive(Debug)]
struct Lines;

struct Page<'o> {
    out: &'o mut Vec<u8>,
    start: usize,
    before: usize,
    open: Option<String>,
    open_before: Option<String>,
}

impl<'a> PointPage<'a> for Page<'_> {
    fn push(&mut self, family: &'a Family, point: &'a Point) -> bool {
        if point.labels().get("n") == Some("bad") {
            return false;
        }
        self.before = self.out.len();
        self.open_before.clone_from(&self.open);
        let name = family.descriptor().name();
        if self.open.as_deref() != Some(name) {
            self.out.extend_from_slice(format!("# {name}\n").as_bytes());
            self.open = Some(name.to_owned());
        }
        let label = point.labels().get("n").unwrap_or_default();
        self.out
            .extend_from_slice(format!("{name} {label}\n").as_bytes());
        true
    }

    fn fits(&self, max_bytes: usize) -> bool {
        self.out.len() - self.start <= max_bytes
    }

    fn pop(&mut self) {
        self.out.truncate(self.before);
        self.open.clone_from(&self.open_before);
    }

    fn finish(&mut self) {}
}

impl Encoder<MetricBatch> for Lines {
    fn encoding(&self) -> Encoding {
        Encoding::new("lines", "text/plain")
    }

    fn encode(
        &mut self,
        cursor: &mut MetricCursor<'_>,
        limits: &Limits,
        out: &mut Vec<u8>,
    ) -> Encoded {
        let start = out.len();
        let mut page = Page {
            out,
            start,
            before: start,
            open: None,
            open_before: None,
        };
        fill_points(cursor, limits, &mut page)
    }

    fn judge(&self, reply: &Reply, _items: usize) -> Verdict {
        let message = String::new();
        match reply {
            Reply::Http(reply) if reply.status == 413 => Verdict::TooLarge { message },
            Reply::Http(reply) if reply.status == 400 => Verdict::Split { message },
            _ => Verdict::Delivered {
                rejected: 0,
                message: None,
            },
        }
    }
}

fn family(name: &str, labels: &[&str]) -> Family {
    let points = labels.iter().map(|label| {
        let labels = LabelSet::new([("n", *label)]);
        Point::new(labels, UnixNanos(1), UnixNanos(2), Number::Int(1))
    });
    let descriptor = Arc::new(Descriptor::new(name, Kind::COUNTER));
    Family::new(descriptor, points.collect())
}

fn batch(families: Vec<Family>) -> MetricBatch {
    MetricBatch::new(Arc::default(), Arc::default(), families)
}

fn deliver(batch: MetricBatch, script: &Script, options: DeliveryOptions) -> LedgerSnapshot {
    deliver_by(Lines, batch, script, options)
}

fn deliver_by(
    encoder: impl Encoder<MetricBatch>,
    batch: MetricBatch,
    script: &Script,
    options: DeliveryOptions,
) -> LedgerSnapshot {
    let ledger = Ledger::new();
    let mut exporter = EncodedExporter::new(encoder, script.transport(), options);
    ledger.offer(batch.items());
    let custody = ledger.take(batch.items(), Instant::now());
    let deadline = Deadline::never();
    let mut progress = exporter.export(Arc::new(batch), custody, &deadline);
    while progress != Progress::Done {
        assert_balances(&ledger.snapshot());
        progress = exporter.poll(&deadline);
    }
    let snapshot = ledger.snapshot();
    assert_balances(&snapshot);
    snapshot
}

fn points_of<'a>(attempts: impl IntoIterator<Item = &'a Attempt>) -> Vec<String> {
    let mut points = Vec::new();
    for attempt in attempts {
        let text = String::from_utf8(attempt.body.clone()).unwrap();
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        points.extend(lines.map(str::to_owned));
    }
    points
}

const NAMES: [&str; 5] = ["0", "1", "2", "3", "4"];

#[test]
fn families_without_points_and_values_of_another_kind_are_not_in_a_snapshot() {
    let summary = Point::new(
        LabelSet::empty(),
        UnixNanos(1),
        UnixNanos(2),
        Summary::default(),
    );
    let counter = Arc::new(Descriptor::new("c", Kind::COUNTER));
    let batch = batch(vec![
        family("empty", &[]),
        family("a", &NAMES),
        Family::new(counter, vec![summary]),
    ]);
    assert_eq!(batch.items(), 5);
    assert_eq!(batch.families().len(), 1);
}

#[test]
fn a_snapshot_is_cut_at_the_limit_and_every_point_leaves_once() {
    let script = Script::accepting();
    let mut options = DeliveryOptions::default();
    options.max_payload_bytes = 14;
    let ledger = deliver(
        batch(vec![family("a", &NAMES), family("b", &NAMES)]),
        &script,
        options,
    );
    let attempts = script.attempts();
    assert!(attempts.iter().all(|attempt| attempt.body.len() <= 14));
    assert!(attempts.len() >= 5, "{attempts:?}");
    let heads_stand_before_their_points = attempts
        .iter()
        .all(|attempt| attempt.body.starts_with(b"# "));
    assert!(heads_stand_before_their_points);
    let expected: Vec<_> = ["a", "b"]
        .iter()
        .flat_map(|family| NAMES.map(|name| format!("{family} {name}")))
        .collect();
    assert_eq!(points_of(&attempts), expected);
    assert_eq!(ledger.exported, 10);
}

#[test]
fn points_that_no_payload_can_hold_or_the_format_cannot_carry_are_counted() {
    let script = Script::accepting();
    let mut options = DeliveryOptions::default();
    options.max_payload_bytes = 14;
    let batch = batch(vec![family(
        "a",
        &["0", "bad", "a label that is long", "1"],
    )]);
    let ledger = deliver(batch, &script, options);
    assert_eq!(points_of(&script.attempts()), ["a 0", "a 1"]);
    assert_eq!(ledger.exported, 2);
    assert_eq!(ledger.dropped[DropReason::TooLarge], 1);
    assert_eq!(ledger.dropped[DropReason::Invalid], 1);
}

#[test]
fn one_bad_point_is_found_by_halving() {
    let script = Script::new(|attempt| {
        let is_bad = points_of([attempt]).contains(&"b 3".to_owned());
        Answer::status(if is_bad { 400 } else { 200 })
    });
    let ledger = deliver(
        batch(vec![family("a", &NAMES), family("b", &NAMES)]),
        &script,
        DeliveryOptions::default(),
    );
    assert_eq!((ledger.exported, ledger.rejected), (9, 1));
    let taken: BTreeSet<_> = points_of(
        script
            .attempts()
            .iter()
            .filter(|attempt| !points_of([*attempt]).contains(&"b 3".to_owned())),
    )
    .into_iter()
    .collect();
    assert_eq!(taken.len(), 9);
}

#[test]
fn the_middle_lies_between_two_points_of_a_family_or_between_families() {
    let batch = batch(vec![family("a", &["0"]), family("b", &NAMES)]);
    let mut cursor = batch.cursor();
    assert_eq!(MetricBatch::remaining(&cursor), 6);
    let middle = MetricBatch::middle(&cursor).unwrap();
    let first = batch.cursor_over(batch.whole().start..middle);
    let second = batch.cursor_over(middle..batch.whole().end);
    assert_eq!((first.remaining(), second.remaining()), (3, 3));
    for left in (0..6).rev() {
        assert!(cursor.next_point().is_some());
        assert_eq!(cursor.remaining(), left);
    }
    assert!(cursor.is_done() && cursor.middle().is_none() && cursor.next_point().is_none());
}

/// Writes what the far side has not refused yet, and says so in its type.
#[derive(Debug, Default)]
struct TwoForms {
    fallen_back: Cell<bool>,
}

impl Encoder<MetricBatch> for TwoForms {
    fn encoding(&self) -> Encoding {
        if self.fallen_back.get() {
            Encoding::new("old", "text/old")
        } else {
            Encoding::new("new", "text/new")
        }
    }

    fn encode(
        &mut self,
        cursor: &mut MetricCursor<'_>,
        limits: &Limits,
        out: &mut Vec<u8>,
    ) -> Encoded {
        out.extend_from_slice(format!("# {}\n", self.encoding().name).as_bytes());
        Lines.encode(cursor, limits, out)
    }

    fn judge(&self, reply: &Reply, items: usize) -> Verdict {
        match reply {
            Reply::Http(reply) if reply.status == 415 => {
                self.fallen_back.set(true);
                let message = "not this form".to_owned();
                Verdict::Reencode { message }
            }
            other => Lines.judge(other, items),
        }
    }
}

#[test]
fn a_form_that_the_server_does_not_take_is_encoded_anew_and_nothing_is_lost() {
    let script = Script::answers([Answer::status(415)]);
    let batch = batch(vec![family("a", &NAMES), family("b", &NAMES)]);
    let ledger = deliver_by(
        TwoForms::default(),
        batch,
        &script,
        DeliveryOptions::default(),
    );
    assert_eq!((ledger.offered, ledger.exported), (10, 10));
    let attempts = script.attempts();
    let forms: Vec<_> = attempts
        .iter()
        .map(|attempt| (attempt.content_type, attempt.body.starts_with(b"# old")))
        .collect();
    assert_eq!(forms, [("text/new", false), ("text/old", true)]);
    assert_eq!(points_of(&attempts[1..]).len(), 10);
}

#[test]
fn a_server_that_takes_no_form_at_all_ends_the_attempts() {
    let script = Script::new(|_| Answer::status(415));
    let options = DeliveryOptions::default();
    let ledger = deliver_by(
        TwoForms::default(),
        batch(vec![family("a", &NAMES)]),
        &script,
        options,
    );
    assert_eq!((ledger.exported, ledger.rejected), (0, 5));
}
