//! The delivery loop: an encoder and a scripted far side, without a queue or thread.

use std::io::Read;
use std::time::{Duration, Instant};

use hiq_core::deliver::{Compression, DeliveryOptions, RetryPolicy};
use hiq_core::encode::{Cut, DropReason};
use hiq_core::export::{Exporter, Health, Progress};
use hiq_core::id::SpanId;
use hiq_core::transport::{Reply, TransportErrorKind};
use hiq_testkit::delivery::{Delivery, Wait};
use hiq_testkit::lines::{LineEncoder, span_ids};
use hiq_testkit::script::{Answer, Attempt, Script};
use hiq_testkit::trees::{tree_named, tree_of};
use hiq_testkit::{PATIENCE, assert_balances};

/// Delivers without waiting between attempts.
fn at_once() -> DeliveryOptions {
    let mut options = DeliveryOptions::default();
    options.retry.jitter = || 0.0;
    options
}

/// Waits as long as the policy allows.
fn patiently() -> DeliveryOptions {
    let mut options = DeliveryOptions::default();
    options.retry.jitter = || 1.0;
    options
}

/// The ids of all payloads that were answered with 200, in the order of delivery.
fn ids_of(attempts: &[Attempt]) -> Vec<SpanId> {
    attempts
        .iter()
        .flat_map(|attempt| span_ids(&attempt.body))
        .collect()
}

#[test]
fn what_is_tried_again_is_the_same_bytes_and_a_possible_repeat_is_counted_once() {
    let script = Script::answers([
        Answer::status(503),
        Answer::Error(TransportErrorKind::Reset),
        Answer::Error(TransportErrorKind::Timeout),
        Answer::status(200),
    ]);
    let mut options = at_once();
    options.compression = Compression::Gzip;
    let (tree, _) = tree_of(40);
    let ledger = Delivery::new(&script, options).deliver(tree);
    let attempts = script.attempts();
    assert_eq!(attempts.len(), 4);
    assert!(
        attempts
            .iter()
            .all(|attempt| attempt.body == attempts[0].body)
    );
    assert!(attempts.iter().all(|attempt| attempt.id == attempts[0].id));
    assert_eq!((ledger.exported, ledger.possible_repeats), (40, 40));
}

#[test]
fn a_refused_connection_makes_no_repeat() {
    let script = Script::answers([
        Answer::Error(TransportErrorKind::Connect),
        Answer::Error(TransportErrorKind::Dns),
        Answer::status(503),
    ]);
    let ledger = Delivery::new(&script, at_once()).deliver(tree_of(3).0);
    assert_eq!(script.attempts().len(), 4);
    assert_eq!((ledger.exported, ledger.possible_repeats), (3, 0));
}

#[test]
fn what_cannot_get_better_is_not_tried_again() {
    let finals = [
        TransportErrorKind::Invalid,
        TransportErrorKind::Protocol,
        TransportErrorKind::ReplyTooLarge,
    ];
    for kind in finals {
        let script = Script::answers([Answer::Error(kind)]);
        let mut delivery = Delivery::new(&script, at_once());
        let ledger = delivery.deliver(tree_of(5).0);
        assert_eq!(script.attempts().len(), 1, "{kind:?}");
        assert_eq!(ledger.dropped[DropReason::Refused], 5, "{kind:?}");
        assert!(matches!(delivery.exporter.health(), Health::Losing(_)));
    }
    for status in [400, 403, 404, 500] {
        let script = Script::answers([Answer::status(status)]);
        let ledger = Delivery::new(&script, at_once()).deliver(tree_of(5).0);
        assert_eq!(
            (script.attempts().len(), ledger.rejected),
            (1, 5),
            "{status}"
        );
    }
}

#[test]
fn a_servers_wish_is_waited_for() {
    let script = Script::answers([Answer::retry_after(429, Duration::from_secs(30))]);
    let mut delivery = Delivery::new(&script, at_once());
    let wait = Wait::of(|| delivery.export(tree_of(1).0));
    assert!(wait.is(Duration::from_secs(30)), "{wait:?}");
    assert!(matches!(delivery.exporter.health(), Health::Waiting(_)));
    delivery.exporter.poll(&delivery.deadline);
    assert_eq!(
        script.attempts().len(),
        1,
        "nothing is sent before its time"
    );
    assert_eq!(delivery.ledger.snapshot().in_flight, 1);
}

#[test]
fn of_our_wait_and_the_servers_wish_the_longer_one_counts() {
    let mut options = patiently();
    options.retry.initial = Duration::from_secs(10);
    for (wish, expected) in [(1, 10), (20, 20)] {
        let script = Script::answers([Answer::retry_after(503, Duration::from_secs(wish))]);
        let mut delivery = Delivery::new(&script, options.clone());
        let wait = Wait::of(|| delivery.export(tree_of(1).0));
        assert!(wait.is(Duration::from_secs(expected)), "{wish} s: {wait:?}");
    }
}

#[test]
fn an_absurd_wish_is_cut() {
    let script = Script::answers([Answer::retry_after(429, Duration::from_secs(1_000_000_000))]);
    let mut delivery = Delivery::new(&script, at_once());
    let wait = Wait::of(|| delivery.export(tree_of(1).0));
    assert!(wait.is(RetryPolicy::default().max_server_wish), "{wait:?}");
}

#[test]
fn waits_double_up_to_the_maximum() {
    let script = Script::refusing_connections();
    let mut delivery = Delivery::new(&script, patiently());
    let mut waits = vec![Wait::of(|| delivery.export(tree_of(1).0))];
    waits.extend((0..7).map(|_| delivery.wait_after_flush()));
    for (wait, expected) in waits.iter().zip([1, 2, 4, 8, 16, 30, 30, 30]) {
        assert!(wait.is(Duration::from_secs(expected)), "{waits:?}");
    }
}

#[test]
fn a_success_ends_the_backoff() {
    let connect = || Answer::Error(TransportErrorKind::Connect);
    let script = Script::answers([
        connect(),
        connect(),
        connect(),
        Answer::status(200),
        connect(),
    ]);
    let mut delivery = Delivery::new(&script, patiently());
    delivery.export(tree_of(1).0);
    delivery.wait_after_flush();
    delivery.wait_after_flush();
    assert_eq!(delivery.exporter.flush(&delivery.deadline), Progress::Done);
    assert_eq!(delivery.exporter.health(), Health::Fine);
    let wait = Wait::of(|| delivery.export(tree_of(1).0));
    assert!(wait.is(Duration::from_secs(1)), "{wait:?}");
}

#[test]
fn a_flush_overrules_our_backoff_but_not_the_servers_wish() {
    let script = Script::answers([
        Answer::Error(TransportErrorKind::Connect),
        Answer::retry_after(429, Duration::from_secs(60)),
    ]);
    let mut delivery = Delivery::new(&script, patiently());
    delivery.export(tree_of(1).0);
    delivery.wait_after_flush();
    assert_eq!(script.attempts().len(), 2, "the flush made an attempt");
    let wait = delivery.wait_after_flush();
    assert_eq!(script.attempts().len(), 2, "the server's wish holds");
    assert!(wait.is(Duration::from_secs(60)), "{wait:?}");
}

#[test]
fn the_exit_overrules_the_servers_wish_once() {
    let script = Script::new(|_| Answer::retry_after(429, Duration::from_secs(60)));
    let mut delivery = Delivery::new(&script, patiently());
    delivery.export(tree_of(1).0);
    delivery
        .deadline
        .pull_forward(Instant::now() + PATIENCE / 2);
    delivery.wait_after_flush();
    assert_eq!(script.attempts().len(), 2, "one last attempt");
    delivery.exporter.poll(&delivery.deadline);
    assert_eq!(script.attempts().len(), 2, "and no hammering");
    delivery.exporter.shutdown(&delivery.deadline);
    let ledger = delivery.ledger.snapshot();
    assert_balances(&ledger);
    assert_eq!(ledger.dropped[DropReason::Shutdown], 1);
}

#[test]
fn nothing_waits_longer_than_it_lives_and_the_last_attempt_is_made() {
    let mut options = patiently();
    options.max_age = Duration::from_secs(3);
    let script = Script::new(|_| Answer::retry_after(503, Duration::from_secs(60)));
    let mut delivery = Delivery::new(&script, options.clone());
    let wait = Wait::of(|| delivery.export(tree_of(1).0));
    assert!(wait.is(Duration::from_secs(3)), "{wait:?}");

    options.max_age = Duration::ZERO;
    let script = Script::refusing_connections();
    let ledger = Delivery::new(&script, options).deliver(tree_of(2).0);
    assert_eq!(
        (script.attempts().len(), ledger.dropped[DropReason::Expired]),
        (1, 2)
    );
}

#[test]
fn attempts_share_the_time_of_their_series_and_a_timeout_ends_only_the_series() {
    let timeout = Duration::from_secs(1);
    let script = Script::answers([Answer::status(503), Answer::Stall, Answer::Stall]);
    let mut options = at_once();
    options.timeout = Some(timeout);
    let before = Instant::now();
    let ledger = Delivery::new(&script, options).deliver(tree_of(2).0);
    let attempts = script.attempts();
    let left: Vec<_> = attempts
        .iter()
        .map(|attempt| attempt.time_left.unwrap())
        .collect();
    assert!(
        left[1] < left[0],
        "the second attempt has what the first has left: {left:?}"
    );
    assert!(attempts[2].at >= before + timeout);
    assert!(
        attempts[2].at + left[2] >= before + 2 * timeout,
        "a new series has the whole time: {left:?}"
    );
    assert_eq!((ledger.exported, ledger.possible_repeats), (2, 2));
}

#[test]
fn without_a_timeout_an_attempt_may_take_any_time() {
    let script = Script::accepting();
    let mut options = at_once();
    options.timeout = None;
    Delivery::new(&script, options).deliver(tree_of(1).0);
    assert_eq!(script.attempts()[0].time_left, None);
}

#[test]
fn a_payload_over_the_servers_limit_is_divided_and_the_limit_remembered() {
    let limit = 80 * LineEncoder::line_bytes("work");
    let taken = move |attempt: &Attempt| attempt.body.len() <= limit;
    let script = Script::new(move |attempt| Answer::status(if taken(attempt) { 200 } else { 413 }));
    let mut delivery = Delivery::new(&script, at_once());
    let (tree, mut sent) = tree_of(300);
    delivery.deliver(tree);
    let first_round = script.attempts().len();
    let (tree, more) = tree_of(50);
    sent.extend(more);
    let ledger = delivery.deliver(tree);
    let attempts = script.attempts();
    assert!(
        attempts[first_round..].iter().all(taken),
        "the second batch respects the limit"
    );
    let delivered: Vec<_> = attempts.into_iter().filter(taken).collect();
    assert_eq!(ids_of(&delivered), sent, "each span once, in order");
    assert_eq!((ledger.exported, ledger.possible_repeats), (350, 0));
}

#[test]
fn one_span_over_the_servers_limit_is_dropped_alone() {
    let ids: Vec<_> = (0..8).map(|_| SpanId::next()).collect();
    let long = "x".repeat(3_000);
    let names = ids
        .iter()
        .map(|id| (*id, if *id == ids[5] { long.as_str() } else { "work" }));
    let script =
        Script::new(|attempt| Answer::status(if attempt.body.len() < 2_000 { 200 } else { 413 }));
    let mut delivery = Delivery::new(&script, at_once());
    let ledger = delivery.deliver(tree_named(&names.collect::<Vec<_>>()));
    assert_eq!(
        (ledger.exported, ledger.dropped[DropReason::TooLarge]),
        (7, 1)
    );
}

#[test]
fn spans_left_out_are_counted_once_although_their_payload_is_divided() {
    let ids: Vec<_> = (0..100).map(|_| SpanId::next()).collect();
    let long = "x".repeat(9_000);
    let names = ids.iter().map(|id| {
        (
            *id,
            if *id == ids[70] {
                long.as_str()
            } else {
                "work"
            },
        )
    });
    let script =
        Script::new(|attempt| Answer::status(if attempt.body.len() < 1_500 { 200 } else { 413 }));
    let wire = script.transport().with_max_payload_bytes(8_000);
    let mut delivery = Delivery::over(wire, LineEncoder::new(), at_once());
    let ledger = delivery.deliver(tree_named(&names.collect::<Vec<_>>()));
    assert_eq!(
        (ledger.exported, ledger.dropped[DropReason::TooLarge]),
        (99, 1)
    );
    assert_eq!(ledger.dropped.total(), 1);
}

#[test]
fn an_encoder_that_ignores_the_limit_does_not_keep_the_worker_for_ever() {
    let script = Script::new(|_| Answer::status(413));
    let encoder = LineEncoder::that_ignores_limits();
    let mut delivery = Delivery::over(script.transport(), encoder, at_once());
    let ledger = delivery.deliver(tree_of(100).0);
    assert_eq!(ledger.dropped[DropReason::TooLarge], 100);
    assert!(script.attempts().len() < 50);
}

#[test]
fn one_bad_span_among_512_costs_one_span() {
    let (tree, ids) = tree_of(512);
    let bad = ids[333];
    let is_good = move |attempt: &Attempt| !span_ids(&attempt.body).contains(&bad);
    let script =
        Script::new(move |attempt| Answer::status(if is_good(attempt) { 200 } else { 400 }));
    let mut delivery = Delivery::over(script.transport(), LineEncoder::that_bisects(), at_once());
    let ledger = delivery.deliver(tree);
    assert_eq!((ledger.exported, ledger.rejected), (511, 1));
    let attempts = script.attempts();
    assert!(attempts.len() <= 1 + 2 * 9, "{} attempts", attempts.len());
    let delivered: Vec<_> = attempts.into_iter().filter(is_good).collect();
    let good: Vec<_> = ids.into_iter().filter(|id| *id != bad).collect();
    assert_eq!(ids_of(&delivered), good);
}

#[test]
fn a_server_that_finds_everything_bad_is_not_asked_for_every_span() {
    let script = Script::new(|_| Answer::status(400));
    let mut delivery = Delivery::over(script.transport(), LineEncoder::that_bisects(), at_once());
    let ledger = delivery.deliver(tree_of(512).0);
    assert_eq!(ledger.rejected, 512);
    assert!(
        script.attempts().len() < 60,
        "{} attempts",
        script.attempts().len()
    );
}

#[test]
fn an_unauthorized_payload_is_sent_once_more_with_new_credentials() {
    let script = Script::answers([Answer::status(401)]);
    let ledger = Delivery::new(&script, patiently()).deliver(tree_of(2).0);
    assert_eq!(
        (script.attempts().len(), script.renewals(), ledger.exported),
        (2, 1, 2)
    );

    let script = Script::new(|_| Answer::status(401));
    let ledger = Delivery::new(&script, patiently()).deliver(tree_of(2).0);
    assert_eq!(
        (script.attempts().len(), script.renewals(), ledger.rejected),
        (2, 1, 2)
    );
}

#[test]
fn a_partial_success_is_counted_and_not_tried_again() {
    let script = Script::answers([Answer::text(200, "rejected 3 of them")]);
    let mut delivery = Delivery::new(&script, at_once());
    let ledger = delivery.deliver(tree_of(10).0);
    assert_eq!((ledger.exported, ledger.rejected), (7, 3));
    assert_eq!(script.attempts().len(), 1);
    assert!(
        matches!(delivery.exporter.health(), Health::Losing(why) if why.contains("rejected 3"))
    );
}

#[test]
fn a_server_that_rejects_more_than_it_was_sent_does_not_upset_the_ledger() {
    let script = Script::answers([Answer::text(200, "rejected 999")]);
    let ledger = Delivery::new(&script, at_once()).deliver(tree_of(10).0);
    assert_eq!((ledger.exported, ledger.rejected), (0, 10));
}

#[test]
fn words_of_the_server_without_a_loss_are_a_warning() {
    let script = Script::answers([Answer::text(200, "this endpoint goes away")]);
    let mut delivery = Delivery::new(&script, at_once());
    assert_eq!(delivery.deliver(tree_of(1).0).exported, 1);
    assert_eq!(
        delivery.exporter.health(),
        Health::Warned("this endpoint goes away".into())
    );
}

#[test]
fn a_wire_that_never_answers_is_counted_apart() {
    let script = Script::new(|_| Answer::Reply(Reply::Unconfirmed));
    let ledger = Delivery::new(&script, at_once()).deliver(tree_of(4).0);
    assert_eq!((ledger.sent_unconfirmed, ledger.exported), (4, 0));
}

#[test]
fn payloads_are_gzipped_when_asked_for() {
    let script = Script::accepting();
    let mut options = at_once();
    options.compression = Compression::Gzip;
    let mut delivery = Delivery::new(&script, options);
    let mut sent = Vec::new();
    // From the smallest to several steps of the output buffer; the compressor is used again for each.
    for spans in [1, 10_000, 1, 500] {
        let (tree, ids) = tree_of(spans);
        sent.push(ids);
        delivery.deliver(tree);
    }
    for (attempt, ids) in script.attempts().iter().zip(sent) {
        assert_eq!(attempt.content_encoding, Some("gzip"));
        let mut plain = Vec::new();
        flate2::read::GzDecoder::new(&*attempt.body)
            .read_to_end(&mut plain)
            .unwrap();
        assert_eq!(span_ids(&plain), ids);
    }
}

#[test]
fn payloads_end_where_they_are_told_to() {
    let mut options = at_once();
    options.cut = Cut::Span;
    let script = Script::accepting();
    let (tree, ids) = tree_of(5);
    Delivery::new(&script, options).deliver(tree);
    assert!(script.attempts().iter().all(|attempt| attempt.items == 1));
    assert_eq!(ids_of(&script.attempts()), ids);

    let mut options = at_once();
    options.max_payload_bytes = 7 * LineEncoder::line_bytes("work") + 1;
    let script = Script::accepting();
    Delivery::new(&script, options).deliver(tree_of(20).0);
    let items: Vec<_> = script
        .attempts()
        .iter()
        .map(|attempt| attempt.items)
        .collect();
    assert_eq!(items, [7, 7, 6]);
}

#[test]
fn several_payloads_are_under_way_and_a_failed_one_comes_first_again() {
    let mut options = at_once();
    options.cut = Cut::Span;
    let script = Script::new(|attempt| Answer::status(if attempt.number == 1 { 503 } else { 200 }));
    let mut delivery = Delivery::over(
        script.transport_with_in_flight(3),
        LineEncoder::new(),
        options,
    );
    let (tree, ids) = tree_of(8);
    let progress = delivery.export(tree);
    assert_eq!(progress, Progress::Sending { room: false });
    assert_eq!(script.attempts().len(), 3, "no more than the wire takes");
    while delivery.exporter.poll(&delivery.deadline) != Progress::Done {
        assert_balances(&delivery.ledger.snapshot());
    }
    let order = ids_of(&script.attempts());
    assert_eq!(order.iter().filter(|id| **id == ids[1]).count(), 2);
    let again = order.iter().rposition(|id| *id == ids[1]).unwrap();
    assert!(
        again < order.len() - 1,
        "not after everything else: {again}"
    );
    assert_eq!(delivery.ledger.snapshot().exported, 8);
}

#[test]
fn an_exporter_with_room_on_its_wire_takes_the_next_batch() {
    let script = Script::accepting();
    let mut delivery = Delivery::over(
        script.transport_with_in_flight(2),
        LineEncoder::new(),
        at_once(),
    );
    assert_eq!(
        delivery.export(tree_of(1).0),
        Progress::Sending { room: true }
    );
    assert_eq!(
        delivery.export(tree_of(1).0),
        Progress::Sending { room: false }
    );
    assert_eq!(
        delivery.exporter.poll(&delivery.deadline),
        Progress::Sending { room: true }
    );
    assert_eq!(delivery.exporter.poll(&delivery.deadline), Progress::Done);
    assert_eq!(delivery.ledger.snapshot().exported, 2);
}

#[test]
fn what_a_defective_encoder_forgets_is_counted() {
    let script = Script::accepting();
    let mut delivery = Delivery::over(script.transport(), LineEncoder::that_forgets(), at_once());
    let ledger = delivery.deliver(tree_of(10).0);
    assert_eq!(
        (ledger.exported, ledger.dropped[DropReason::Encode]),
        (9, 1)
    );
}

#[test]
fn shutdown_counts_what_it_leaves_behind() {
    let script = Script::refusing_connections();
    let mut options = patiently();
    options.cut = Cut::Span;
    let mut delivery = Delivery::new(&script, options);
    delivery.export(tree_of(6).0);
    assert_eq!(delivery.ledger.snapshot().in_flight, 6);
    delivery.exporter.shutdown(&delivery.deadline);
    let ledger = delivery.ledger.snapshot();
    assert_balances(&ledger);
    assert_eq!(
        (ledger.dropped[DropReason::Shutdown], ledger.in_flight),
        (6, 0)
    );
}
