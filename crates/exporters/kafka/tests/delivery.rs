//! What arrives at a broker, what becomes of what does not, and what is said about it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hiq_core::batch::TreeBatch;
use hiq_core::encode::DropReason;
use hiq_core::export::{Exporter, Health, Progress};
use hiq_core::ledger::LedgerSnapshot;
use hiq_kafka::{KafkaKey, KafkaProfile, KafkaSecurity};
use hiq_testkit::assert_balances;
use hiq_testkit::delivery::Delivery;
use hiq_testkit::lines::{LineEncoder, span_ids};
use hiq_testkit::trees::tree_of;
use rdkafka::bindings::rd_kafka_resp_err_t as Wrong;
use rdkafka::types::RDKafkaApiKey;

use support::{Broker, delivery, options};

fn exported(ledger: &LedgerSnapshot, spans: u64) {
    assert_balances(ledger);
    assert_eq!(
        (ledger.offered, ledger.exported),
        (spans, spans),
        "{ledger:?}"
    );
}

/// Goes on until `is_there`, and returns what the status line would say.
fn until<E: hiq_core::encode::Encoder<TreeBatch>, T: hiq_core::transport::Transport>(
    delivery: &mut Delivery<E, T>,
    is_there: impl Fn(&Health) -> bool,
) -> String {
    let end = Instant::now() + hiq_testkit::PATIENCE;
    loop {
        let health = delivery.exporter.health();
        if is_there(&health) {
            return match health {
                Health::Fine => String::new(),
                Health::Warned(words) | Health::Waiting(words) | Health::Losing(words) => words,
                other => format!("{other:?}"),
            };
        }
        assert!(Instant::now() < end, "{health:?}");
        if let Progress::Waiting { until, .. } = delivery.exporter.poll(&delivery.deadline) {
            delivery
                .deadline
                .sleep(until.saturating_duration_since(Instant::now()));
        }
    }
}

#[test]
fn each_trace_is_one_message_with_its_key_its_headers_and_its_spans() {
    let broker = Broker::with_topic("spans", 4);
    let mut delivery = delivery(&broker.options("spans"));
    let (tree, mut sent) = tree_of(3);
    let key = tree.trace_id().to_string();
    exported(&delivery.deliver(tree), 3);

    let read = broker.read("spans", 1);
    assert_eq!(read[0].key.as_deref(), Some(&*key));
    let headers = [
        ("content-type", "text/plain"),
        ("hiq-encoding", "lines"),
        ("hiq-signal", "traces"),
    ];
    assert_eq!(
        read[0].headers,
        headers.map(|(key, value)| (key.to_owned(), value.to_owned()))
    );
    let mut arrived = span_ids(read[0].value.as_bytes());
    arrived.sort();
    sent.sort();
    assert_eq!(arrived, sent);
}

#[test]
fn without_a_key_there_is_none_on_the_message() {
    let broker = Broker::with_topic("spans", 1);
    let mut options = broker.options("spans");
    options.key = Some(KafkaKey::None);
    exported(&delivery(&options).deliver(tree_of(1).0), 1);
    assert_eq!(broker.read("spans", 1)[0].key, None);
}

#[test]
fn every_compression_of_this_build_is_read_by_consumers() {
    let broker = Broker::with_topic("spans", 1);
    for compression in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let mut options = broker.options("spans");
        options.compression = Some(compression.parse().unwrap());
        exported(&delivery(&options).deliver(tree_of(50).0), 50);
    }
    for message in broker.read("spans", 5) {
        assert_eq!(span_ids(message.value.as_bytes()).len(), 50);
    }
}

#[test]
fn messages_that_find_no_room_wait_and_none_is_lost() {
    let broker = Broker::with_topic("spans", 1);
    broker
        .cluster
        .broker_round_trip_time(1, Duration::from_millis(20))
        .unwrap();
    let mut options = broker.options("spans");
    let room = [("queue.buffering.max.messages", "2"), ("linger.ms", "0")];
    options.properties = room
        .map(|(name, value)| (name.to_owned(), hiq_core::config::Secret::new(value)))
        .to_vec();
    let mut delivery = delivery(&options);
    let trees = (0..30).map(|_| Arc::new(tree_of(1).0)).collect();
    delivery.ledger.offer(30);
    let custody = delivery.ledger.take(30, Instant::now());
    let batch = Arc::new(TreeBatch::new(trees));
    let progress = delivery.exporter.export(batch, custody, &delivery.deadline);
    // None came back to be sent again: waiting for room is no trouble.
    assert_eq!(delivery.exporter.health(), Health::Fine);
    exported(&delivery.finish(progress), 30);
    assert_eq!(broker.read("spans", 30).len(), 30);
}

#[test]
fn a_broker_that_goes_away_and_comes_back_gets_every_span() {
    let broker = Broker::with_topic("spans", 1);
    let mut options = broker.options("spans");
    options.timeout = Some(Duration::from_secs(1));
    let mut delivery = delivery(&options);
    exported(&delivery.deliver(tree_of(1).0), 1);

    broker.cluster.broker_down(1).unwrap();
    let progress = delivery.export(tree_of(2).0);
    assert!(
        matches!(progress, Progress::Sending { room: true }),
        "{progress:?}"
    );
    let words = until(&mut delivery, |health| matches!(health, Health::Waiting(_)));
    assert!(words.contains("/spans: "), "{words}");
    assert_balances(&delivery.ledger.snapshot());

    broker.cluster.broker_up(1).unwrap();
    let progress = delivery.exporter.poll(&delivery.deadline);
    exported(&delivery.finish(progress), 3);
    assert_eq!(delivery.exporter.health(), Health::Fine);
    let spans: usize = broker
        .read("spans", 2)
        .iter()
        .map(|read| read.value.lines().count())
        .sum();
    assert_eq!(spans, 3);
}

fn until_sent_again(delivery: &mut Delivery<LineEncoder, hiq_kafka::KafkaTransport>) {
    let end = Instant::now() + hiq_testkit::PATIENCE;
    let mut sent = 0;
    while sent < 2 {
        assert!(Instant::now() < end);
        match delivery.exporter.poll(&delivery.deadline) {
            Progress::Sending { .. } => sent += 1,
            Progress::Waiting { until, .. } => {
                delivery
                    .deadline
                    .sleep(until.saturating_duration_since(Instant::now()));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_port_where_nobody_listens_is_named_within_seconds_and_the_end_is_not_delayed() {
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let mut delivery = delivery(&options(&format!("127.0.0.1:{port}"), "spans"));
    let began = Instant::now();
    delivery.export(tree_of(2).0);
    let words = until(&mut delivery, |health| matches!(health, Health::Waiting(_)));
    assert!(
        began.elapsed() < Duration::from_secs(8),
        "{:?}",
        began.elapsed()
    );
    assert!(
        words.starts_with(&format!("kafka://127.0.0.1:{port}/spans: ")),
        "{words}"
    );
    assert!(
        words.contains("Connection refused") && words.ends_with("is the broker running there?"),
        "{words}"
    );

    // Another attempt, which is counted as a possible repeat unless it is certain that the first did not arrive.
    until_sent_again(&mut delivery);

    let began = Instant::now();
    delivery
        .exporter
        .shutdown(&delivery.deadline.within(Duration::from_millis(200)));
    assert!(
        began.elapsed() < Duration::from_secs(2),
        "{:?}",
        began.elapsed()
    );
    let ledger = delivery.ledger.snapshot();
    assert_balances(&ledger);
    assert_eq!(ledger.dropped[DropReason::Shutdown], 2, "{ledger:?}");
    assert_eq!(
        ledger.possible_repeats, 0,
        "nothing can have arrived: {ledger:?}"
    );
}

#[test]
fn a_pulled_deadline_ends_a_wait_for_the_broker() {
    let broker = Broker::with_topic("spans", 1);
    broker
        .cluster
        .broker_round_trip_time(1, Duration::from_secs(20))
        .unwrap();
    let mut delivery = delivery(&broker.options("spans"));
    delivery.export(tree_of(1).0);
    let deadline = delivery.deadline.clone();
    let puller = std::thread::spawn(move || deadline.pull_forward(Instant::now()));
    let began = Instant::now();
    delivery.exporter.poll(&delivery.deadline);
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
    puller.join().unwrap();
    delivery.exporter.shutdown(&delivery.deadline);
    let ledger = delivery.ledger.snapshot();
    assert_balances(&ledger);
    assert_eq!(ledger.dropped[DropReason::Shutdown], 1, "{ledger:?}");
}

#[test]
fn a_topic_that_is_not_there_is_named_and_waited_for() {
    let broker = Broker::with_topic("spans", 1);
    let missing = Wrong::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
    broker.cluster.topic_error("spans", missing).unwrap();
    let mut delivery = delivery(&broker.options("spans"));
    delivery.export(tree_of(1).0);
    let words = until(&mut delivery, |health| matches!(health, Health::Waiting(_)));
    assert!(
        words.ends_with("there is no topic `spans`; create it, or name another (HIQ_KAFKA_TOPIC)"),
        "{words}"
    );
    broker
        .cluster
        .topic_error("spans", Wrong::RD_KAFKA_RESP_ERR_NO_ERROR)
        .unwrap();
    let progress = delivery.exporter.poll(&delivery.deadline);
    exported(&delivery.finish(progress), 1);
}

#[test]
fn a_topic_that_must_not_be_written_to_refuses_at_once_and_is_counted() {
    let broker = Broker::with_topic("spans", 1);
    let denied = Wrong::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
    broker.cluster.topic_error("spans", denied).unwrap();
    let mut delivery = delivery(&broker.options("spans"));
    let ledger = delivery.deliver(tree_of(2).0);
    assert_balances(&ledger);
    assert_eq!(ledger.dropped[DropReason::Refused], 2, "{ledger:?}");
    let Health::Losing(words) = delivery.exporter.health() else {
        panic!("{:?}", delivery.exporter.health());
    };
    assert!(
        words.contains(
            "not allowed to write to the topic `spans`; give this user the right to WRITE"
        ),
        "{words}"
    );
}

#[test]
fn a_message_over_the_brokers_limit_is_cut_in_halves_and_all_spans_arrive() {
    let broker = Broker::with_topic("spans", 1);
    let mut delivery = delivery(&broker.options("spans"));
    let too_large = Wrong::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE;
    broker
        .cluster
        .request_errors(RDKafkaApiKey::Produce, &[too_large]);
    let (tree, mut sent) = tree_of(100);
    exported(&delivery.deliver(tree), 100);
    let read = broker.read("spans", 2);
    let mut arrived: Vec<_> = read
        .iter()
        .flat_map(|read| span_ids(read.value.as_bytes()))
        .collect();
    arrived.sort();
    sent.sort();
    assert_eq!(arrived, sent);
}

#[test]
fn payloads_stay_under_the_limit_that_was_set() {
    let broker = Broker::with_topic("spans", 1);
    let mut options = broker.options("spans");
    options.max_message_bytes = Some(4_096);
    let spans = 4_096 / LineEncoder::line_bytes("work") * 2;
    exported(&delivery(&options).deliver(tree_of(spans).0), spans as u64);
    let sizes: Vec<_> = broker
        .read("spans", 3)
        .iter()
        .map(|message| message.value.len())
        .collect();
    assert!(
        sizes.iter().all(|bytes| *bytes <= 4_096 - 1_024),
        "{sizes:?}"
    );
    // The broker's limit was met at once, not found by halving.
    assert!(sizes.iter().any(|bytes| *bytes > 4_096 / 2), "{sizes:?}");
}

#[test]
fn oci_streaming_is_never_asked_for_an_idempotent_producer_and_kafka_is() {
    let refuse_ids = |broker: &Broker| {
        let refused = [Wrong::RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED; 50];
        broker
            .cluster
            .request_errors(RDKafkaApiKey::InitProducerId, &refused);
    };
    let broker = Broker::with_topic("spans", 1);
    refuse_ids(&broker);
    let mut options = broker.options("spans");
    let mut asks = delivery(&options);
    asks.export(tree_of(1).0);
    until(&mut asks, |health| !matches!(health, Health::Fine));
    asks.exporter
        .shutdown(&asks.deadline.within(Duration::ZERO));
    assert_balances(&asks.ledger.snapshot());

    let broker = Broker::with_topic("spans", 1);
    refuse_ids(&broker);
    options = broker.options("spans");
    options.profile = Some(KafkaProfile::OciStreaming);
    options.user = Some("tenancy/user/ocid1.streampool.oc1..x".to_owned());
    options.password = Some(hiq_core::config::Secret::new("auth token"));
    // The mock cluster speaks neither TLS nor SASL: of the profile, only those are taken back.
    options.security = Some(KafkaSecurity::SaslSsl);
    let plain = (
        "security.protocol".to_owned(),
        hiq_core::config::Secret::new("plaintext"),
    );
    options.properties = vec![plain];
    exported(&delivery(&options).deliver(tree_of(1).0), 1);
}

#[test]
fn the_end_lets_go_of_nothing_that_can_still_be_delivered() {
    let broker = Broker::with_topic("spans", 1);
    broker
        .cluster
        .broker_round_trip_time(1, Duration::from_millis(100))
        .unwrap();
    let mut delivery = delivery(&broker.options("spans"));
    delivery.export(tree_of(3).0);
    delivery
        .exporter
        .shutdown(&delivery.deadline.within(Duration::from_secs(20)));
    exported(&delivery.ledger.snapshot(), 3);
}
