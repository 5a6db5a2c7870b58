//! A member of a group reads what nobody has committed, once it has committed something it is nobody's any more.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[allow(dead_code, reason = "shared with the other tests")]
mod support;

use std::time::{Duration, Instant};

use hiq_core::config::Env;
use hiq_kafka::{KafkaConnection, KafkaPositions, KafkaSource, KafkaSourceSettings, Polled};
use hiq_testkit::trees::tree_of;
use hiq_testkit::{PATIENCE, assert_balances};

use support::{Broker, delivery};

const TOPIC: &str = "spans";

/// The mock cluster takes a member that has left for one that is silent, and waits for it this long.
const MISSED_SOON: &str = "session.timeout.ms=1000,heartbeat.interval.ms=200";

fn source(broker: &Broker, group: &str) -> KafkaSource {
    let brokers = broker.cluster.bootstrap_servers();
    let env = Env::from_pairs([
        ("HIQ_KAFKA_BROKERS", &*brokers),
        ("HIQ_KAFKA_PROPERTIES", MISSED_SOON),
    ]);
    let connection =
        KafkaConnection::new(&hiq_kafka::KafkaOptions::default(), &env, &mut Vec::new());
    let mut settings =
        KafkaSourceSettings::new(connection.unwrap(), vec![TOPIC.to_owned()], group).unwrap();
    settings.until_end = true;
    KafkaSource::open(settings).unwrap()
}

fn write(broker: &Broker, messages: usize) {
    let mut delivery = delivery(&broker.options(TOPIC));
    for _ in 0..messages {
        let ledger = delivery.deliver(tree_of(1).0);
        assert_balances(&ledger);
    }
}

/// Reads to the end; where each message was, and what is to be committed.
fn read(source: &mut KafkaSource) -> (Vec<(i32, i64)>, KafkaPositions) {
    let (mut places, mut positions) = (Vec::new(), KafkaPositions::default());
    let end = Instant::now() + PATIENCE;
    while !source.is_at_end() {
        assert!(Instant::now() < end, "{places:?}");
        let polled = source.poll(Duration::from_millis(100), |message| {
            assert_eq!((message.topic, message.encoding), (TOPIC, Some("lines")));
            assert_eq!(message.signal, Some("traces"));
            assert!(!message.value.is_empty());
            places.push((message.partition, message.offset));
            positions.note(&message);
        });
        assert!(!matches!(polled, Polled::Trouble(_)), "{polled:?}");
    }
    (places, positions)
}

#[test]
fn what_was_not_committed_is_read_again_and_what_was_is_not() {
    let broker = Broker::with_topic(TOPIC, 3);
    write(&broker, 12);
    let (first, _) = read(&mut source(&broker, "group"));
    assert_eq!(first.len(), 12);

    let mut second = source(&broker, "group");
    let (again, positions) = read(&mut second);
    let sorted = |mut places: Vec<_>| {
        places.sort_unstable();
        places
    };
    assert_eq!(sorted(first), sorted(again));
    second.commit(&positions).unwrap();
    drop(second);

    write(&broker, 2);
    let (new, _) = read(&mut source(&broker, "group"));
    assert_eq!(new.len(), 2);
    let (all, _) = read(&mut source(&broker, "another group"));
    assert_eq!(all.len(), 14);
}

#[test]
fn a_paused_source_hands_out_nothing_and_goes_on_where_it_was() {
    let broker = Broker::with_topic(TOPIC, 1);
    write(&broker, 3);
    let mut source = source(&broker, "group");
    let read_one = |source: &mut KafkaSource| {
        let mut found = None;
        source.poll(Duration::from_millis(100), |message| {
            found = Some(message.offset);
        });
        found
    };
    let end = Instant::now() + PATIENCE;
    while read_one(&mut source) != Some(0) {
        assert!(Instant::now() < end);
    }
    source.pause();
    assert_eq!((0..5).find_map(|_| read_one(&mut source)), None);
    source.resume();
    let mut rest = Vec::new();
    while rest.len() < 2 {
        assert!(Instant::now() < end);
        rest.extend(read_one(&mut source));
    }
    assert_eq!(rest, [1, 2]);
}

#[test]
fn a_source_without_a_topic_or_group_is_refused_with_the_form_of_its_address() {
    let env = Env::from_pairs::<&str, &str>([]);
    let connection =
        KafkaConnection::new(&hiq_kafka::KafkaOptions::default(), &env, &mut Vec::new());
    let connection = connection.unwrap();
    for (topics, group) in [(vec![], "group"), (vec!["t".to_owned()], "")] {
        let refused = KafkaSourceSettings::new(connection.clone(), topics, group).unwrap_err();
        assert!(
            refused
                .to_string()
                .ends_with("write kafka://host:port/topic?group=name"),
            "{refused}"
        );
    }
    let wrong = KafkaSourceSettings::new(connection, vec!["no topic".to_owned()], "group");
    assert!(
        wrong
            .unwrap_err()
            .to_string()
            .starts_with("topic: `no topic` is no topic")
    );
}
