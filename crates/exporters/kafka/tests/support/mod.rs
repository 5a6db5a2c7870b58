//! librdkafka's mock cluster as the broker, and its consumer as the reader: neither knows hiq.

use std::time::{Duration, Instant};

use hiq_core::config::Env;
use hiq_core::deliver::DeliveryOptions;
use hiq_kafka::{KafkaKey, KafkaOptions, KafkaSettings, KafkaTransport};
use hiq_testkit::PATIENCE;
use hiq_testkit::delivery::Delivery;
use hiq_testkit::lines::LineEncoder;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{Headers as _, Message as _};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;

pub(crate) struct Broker {
    pub(crate) cluster: MockCluster<'static, DefaultProducerContext>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Read {
    pub(crate) key: Option<String>,
    pub(crate) value: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) partition: i32,
}

impl Broker {
    pub(crate) fn with_topic(topic: &str, partitions: i32) -> Self {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic(topic, partitions, 1).unwrap();
        Self { cluster }
    }

    pub(crate) fn options(&self, topic: &str) -> KafkaOptions {
        options(&self.cluster.bootstrap_servers(), topic)
    }

    /// Reads `count` messages from the topic's start; fails when that takes too long.
    pub(crate) fn read(&self, topic: &str, count: usize) -> Vec<Read> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", self.cluster.bootstrap_servers())
            .set("group.id", format!("test-{count}"))
            .set("auto.offset.reset", "earliest")
            .create()
            .unwrap();
        consumer.subscribe(&[topic]).unwrap();
        let end = Instant::now() + PATIENCE;
        let mut read = Vec::new();
        while read.len() < count {
            assert!(Instant::now() < end, "{} of {count}", read.len());
            let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) else {
                continue;
            };
            let text = |bytes: Option<&[u8]>| String::from_utf8(bytes.unwrap().to_vec()).unwrap();
            let headers = message.headers().unwrap();
            let headers = headers
                .iter()
                .map(|header| (header.key.to_owned(), text(header.value)));
            read.push(Read {
                key: message.key().map(|key| text(Some(key))),
                value: text(message.payload()),
                headers: headers.collect(),
                partition: message.partition(),
            });
        }
        read
    }
}

pub(crate) fn options(brokers: &str, topic: &str) -> KafkaOptions {
    let mut options = KafkaOptions::default();
    options.brokers = Some(brokers.to_owned());
    options.topic = Some(topic.to_owned());
    options.key = Some(KafkaKey::Trace);
    options
}

pub(crate) fn settings(options: &KafkaOptions) -> KafkaSettings {
    KafkaSettings::new(options, &Env::from_pairs::<&str, &str>([]), &mut Vec::new()).unwrap()
}

/// An exporter of lines; failed attempts are repeated soon.
pub(crate) fn delivery(options: &KafkaOptions) -> Delivery<LineEncoder, KafkaTransport> {
    let transport = KafkaTransport::new(settings(options), "lines").unwrap();
    let mut delivery = DeliveryOptions::default();
    delivery.retry.initial = Duration::from_millis(50);
    delivery.retry.max = Duration::from_millis(200);
    delivery.cut = hiq_core::encode::Cut::Trace;
    Delivery::over(transport, LineEncoder::new(), delivery)
}
